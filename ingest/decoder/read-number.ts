/**
 * JSON numbers → column slots, exactly. Each reader returns the position after the number, or -1 when the text is no
 * number of that type (the caller then skips the value, which tells malformed JSON from a wrong type).
 *
 *   fast   up to 15 digits: the digits as one integer in a double, which holds it exactly
 *   slow   more digits or an exponent: the exact digits as text (`setScaled`), or `Number(text)` for float and double
 *
 * `1.0` and `1e3` are integers. A value that needs more digits than the column has fails; nothing is rounded, except
 * that float and double take the nearest value, as every JSON reader does.
 */
import type { ColumnBuilder } from './column-builder.ts'
import { skipNumber } from './scan-json.ts'

/** Why the last reader said no, where "wrong kind of value" does not say it; '' otherwise. */
export let readDetail = ''

export function refuse(detail: string): -1 {
  readDetail = detail
  return -1
}

const POWERS = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))
const DIGITS_FAST = 15
const INT64_MAX = 9223372036854775807n

/** Whether the number may end here: not a byte that would continue it. */
function endsNumber(bytes: Uint8Array, at: number, end: number): boolean {
  if (at >= end) return true
  const byte = bytes[at]
  return byte !== 0x2e && byte !== 0x65 && byte !== 0x45 && (byte < 0x30 || byte > 0x39)
}

/** int32 (int; date as days). */
export function readInt(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const negative = bytes[at] === 0x2d
  const first = negative ? at + 1 : at
  let position = first
  let value = 0
  while (position < end) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
    position += 1
  }
  const digits = position - first
  if (digits === 0 || digits > 9 || (digits > 1 && bytes[first] === 0x30) || !endsNumber(bytes, position, end)) {
    return readScaled(builder, row, bytes, at, end, 0)
  }
  builder.int32[row] = negative ? -value : value
  return position
}

/** int64. */
export function readLong(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const negative = bytes[at] === 0x2d
  const first = negative ? at + 1 : at
  let position = first
  let value = 0
  while (position < end) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
    position += 1
  }
  const digits = position - first
  if (
    digits === 0 ||
    digits > DIGITS_FAST ||
    (digits > 1 && bytes[first] === 0x30) ||
    !endsNumber(bytes, position, end)
  ) {
    return readScaled(builder, row, bytes, at, end, 0)
  }
  builder.setSafeInteger(row, negative ? -value : value)
  return position
}

/** float64, or float32 when `single`. */
export function readFloating(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  single: boolean,
): number {
  const negative = bytes[at] === 0x2d
  const first = negative ? at + 1 : at
  let position = first
  let value = 0
  while (position < end) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
    position += 1
  }
  let digits = position - first
  let fraction = 0
  const wellFormed = digits > 0 && (digits === 1 || bytes[first] !== 0x30)
  if (wellFormed && position < end && bytes[position] === 0x2e) {
    const dot = position
    position += 1
    while (position < end) {
      const digit = bytes[position] - 0x30
      if (digit < 0 || digit > 9) break
      value = value * 10 + digit
      position += 1
    }
    fraction = position - dot - 1
    digits = fraction === 0 ? 99 : digits + fraction
  }
  if (!wellFormed || digits > DIGITS_FAST || !endsNumber(bytes, position, end)) {
    position = skipNumber(bytes, at, end)
    if (position < 0) return refuse('')
    value = Number(latin1(bytes, at, position))
  } else {
    if (fraction > 0) value /= POWERS[fraction]
    if (negative) value = -value
  }
  if (single) {
    builder.float32[row] = value
    value = builder.float32[row]
  } else builder.float64[row] = value
  return value - value === 0 ? position : refuse('number out of range')
}

/** decimal(p,s) from a JSON number. */
export function readDecimal(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  precision: number,
  scale: number,
): number {
  const negative = bytes[at] === 0x2d
  const first = negative ? at + 1 : at
  let position = first
  let value = 0
  while (position < end) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    value = value * 10 + digit
    position += 1
  }
  let digits = position - first
  let fraction = 0
  const wellFormed = digits > 0 && (digits === 1 || bytes[first] !== 0x30)
  if (wellFormed && position < end && bytes[position] === 0x2e) {
    const dot = position
    position += 1
    while (position < end) {
      const digit = bytes[position] - 0x30
      if (digit < 0 || digit > 9) break
      value = value * 10 + digit
      position += 1
    }
    fraction = position - dot - 1
    digits = fraction === 0 ? 99 : digits + fraction
  }
  const padding = scale - fraction
  if (
    !wellFormed ||
    padding < 0 ||
    digits + padding > DIGITS_FAST ||
    digits + padding > precision ||
    !endsNumber(bytes, position, end)
  ) {
    return readScaled(builder, row, bytes, at, end, scale)
  }
  value *= POWERS[padding]
  builder.setSafeDecimal(row, negative ? -value : value)
  return position
}

/** The exact way, for every integer-like column: the number times 10^scale must be an integer in the column's range. */
export function readScaled(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  scale: number,
): number {
  const after = skipNumber(bytes, at, end)
  if (after < 0) return refuse('')
  return setScaled(builder, row, latin1(bytes, at, after), scale) ? after : -1
}

export function latin1(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('latin1')
}

/** `text` is a well-formed JSON number. False with `readDetail` when it does not fit. */
export function setScaled(builder: ColumnBuilder, row: number, text: string, scale: number): boolean {
  const [mantissa, exponentText] = text.toLowerCase().split('e')
  const negative = mantissa.startsWith('-')
  const [whole, fraction = ''] = (negative ? mantissa.slice(1) : mantissa).split('.')
  const significant = trimZeros(whole + fraction)
  const { type } = builder.column
  let unscaled = 0n
  if (significant.digits !== '') {
    const power = Number(exponentText ?? 0) - fraction.length + significant.trailing + scale
    if (power < 0) {
      readDetail = scale === 0 ? 'number with a fraction' : `number with more than ${scale} fraction digits`
      return false
    }
    const precision = type.kind === 'decimal' ? type.precision : 19
    if (significant.digits.length + power > precision) {
      readDetail = 'number out of range'
      return false
    }
    unscaled = BigInt(significant.digits) * 10n ** BigInt(power)
    if (negative) unscaled = -unscaled
  }
  if (type.kind === 'decimal') {
    builder.setInt128(row, unscaled)
    return true
  }
  const isInt32 = type.kind === 'int' || type.kind === 'date'
  const fits = isInt32 ? BigInt.asIntN(32, unscaled) === unscaled : unscaled <= INT64_MAX && unscaled >= -INT64_MAX - 1n
  if (!fits) {
    readDetail = 'number out of range'
    return false
  }
  if (isInt32) builder.int32[row] = Number(unscaled)
  else builder.setInt64(row, unscaled)
  return true
}

/** Without zeros at either end; '' for zero. Plain loops: a regular expression over a long run of zeros backtracks. */
function trimZeros(digits: string): { digits: string; trailing: number } {
  let first = 0
  while (first < digits.length && digits.charCodeAt(first) === 0x30) first += 1
  let last = digits.length
  while (last > first && digits.charCodeAt(last - 1) === 0x30) last -= 1
  return { digits: digits.slice(first, last), trailing: digits.length - last }
}
