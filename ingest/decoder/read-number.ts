/**
 * JSON numbers → column slots, exactly. Each reader returns the position after the number, or -1 when the text is no
 * number of that type (the caller then skips the value, which tells malformed JSON from a wrong type).
 *
 *   fast   integers of up to 9 digits in int32 arithmetic, of up to 19 as two halves; fractions of up to 15 digits as
 *          one integer in a double, which holds it exactly, divided by an exact power of ten
 *   slow   anything else: the exact digits as text (`setScaled`), or `Number(text)` for float and double
 *
 * `1.0` and `1e3` are integers. A value that needs more digits than the column has fails; nothing is rounded, except
 * that float and double take the nearest value of their own width (`round-float.ts`), as every JSON reader does.
 */
import type { ColumnBuilder } from './column-builder.ts'
import { nearestFloat } from './round-float.ts'
import { skipNumber } from './scan-json.ts'

/** Why the last reader said no, where "wrong kind of value" does not say it; '' otherwise. */
export let readDetail = ''

export function refuse(detail: string): -1 {
  readDetail = detail
  return -1
}

const POWERS = Float64Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`))
const INT_DIGITS = 9
const LONG_DIGITS = 19
const EXACT_DIGITS = 15
/** Milliseconds in JSON numbers, microseconds in columns. */
const MILLIS_SCALE = 3
const TWO_16 = 65536
const TWO_32 = 4294967296
const BILLION_HIGH = 15258
const BILLION_LOW = 51712
const INT64_MAX = 9223372036854775807n
const DAY_MICROS = 86_400_000_000

/** Whether the number may end here: not a byte that would continue it. */
function endsNumber(bytes: Uint8Array, at: number, end: number): boolean {
  if (at >= end) return true
  const byte = bytes[at]
  return byte !== 0x2e && byte !== 0x65 && byte !== 0x45 && (byte < 0x30 || byte > 0x39)
}

/** int32 (int; date as days). */
export function readInt(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const isNegative = bytes[at] === 0x2d
  const first = isNegative ? at + 1 : at
  const stop = Math.min(end, first + INT_DIGITS)
  let position = first
  let value = 0
  while (position < stop) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    value = (Math.imul(value, 10) + digit) | 0
    position += 1
  }
  const isOdd = position === first || (position > first + 1 && bytes[first] === 0x30)
  if (isOdd || !endsNumber(bytes, position, end)) return readScaled(builder, row, bytes, at, end, 0)
  builder.int32[row] = isNegative ? -value : value
  return position
}

/** int64. */
export function readLong(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const isNegative = bytes[at] === 0x2d
  const first = isNegative ? at + 1 : at
  const stop = Math.min(end, first + INT_DIGITS)
  let position = first
  let value = 0
  while (position < stop) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    value = (Math.imul(value, 10) + digit) | 0
    position += 1
  }
  if (position === first || (position > first + 1 && bytes[first] === 0x30)) {
    return readScaled(builder, row, bytes, at, end, 0)
  }
  if (!endsNumber(bytes, position, end)) return readWideLong(builder, row, bytes, at, end)
  const signed = isNegative ? -value | 0 : value
  builder.int32[row * 2] = signed
  builder.int32[row * 2 + 1] = signed >> 31
  return position
}

/**
 * Up to 19 digits (ids made of a time and a counter have 18 or 19): the last nine are one half, the others the other,
 * and `high * 10^9 + low` is made of products that doubles hold exactly.
 */
function readWideLong(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const isNegative = bytes[at] === 0x2d
  const first = isNegative ? at + 1 : at
  let position = first
  while (position < end && bytes[position] >= 0x30 && bytes[position] <= 0x39) position += 1
  const digits = position - first
  if (digits <= INT_DIGITS || digits > LONG_DIGITS || !endsNumber(bytes, position, end)) {
    return readScaled(builder, row, bytes, at, end, 0)
  }
  let high = 0
  let low = 0
  const middle = position - INT_DIGITS
  for (let digit = first; digit < middle; digit += 1) high = high * 10 + bytes[digit] - 0x30
  for (let digit = middle; digit < position; digit += 1) low = low * 10 + bytes[digit] - 0x30
  const upper = high * BILLION_HIGH
  const rest = (upper % TWO_16) * TWO_16 + high * BILLION_LOW + low
  const highWord = Math.floor(upper / TWO_16) + Math.floor(rest / TWO_32)
  // Beyond int64, or its smallest value: the exact way says which.
  if (highWord > 0x7fffffff) return readScaled(builder, row, bytes, at, end, 0)
  const lowWord = (rest % TWO_32) | 0
  builder.int32[row * 2] = isNegative ? -lowWord : lowWord
  builder.int32[row * 2 + 1] = isNegative ? ~highWord + (lowWord === 0 ? 1 : 0) : highWord
  return position
}

// What `scanDigits` found, small integers only: a double kept here would be allocated anew for every number.
let firstDigits = 0
let lastDigits = 0
let lastDigitCount = 0
let digitCount = 0
let fractionDigits = 0

/** A number of at most 15 digits and no exponent: the position behind it, or -1 for any other text. */
function scanDigits(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at] === 0x2d ? at + 1 : at
  let position = first
  let head = 0
  let tail = 0
  let digits = 0
  let dot = -1
  while (position < end) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) {
      if (digit !== -2 || dot >= 0) break
      dot = position
    } else {
      if (digits < INT_DIGITS) head = (Math.imul(head, 10) + digit) | 0
      else tail = (Math.imul(tail, 10) + digit) | 0
      digits += 1
      if (digits > EXACT_DIGITS) return -1
    }
    position += 1
  }
  const whole = dot < 0 ? digits : dot - first
  const fraction = digits - whole
  if (whole === 0 || (whole > 1 && bytes[first] === 0x30) || (dot >= 0 && fraction === 0)) return -1
  if (!endsNumber(bytes, position, end)) return -1
  firstDigits = head
  lastDigits = tail
  lastDigitCount = digits > INT_DIGITS ? digits - INT_DIGITS : 0
  digitCount = digits
  fractionDigits = fraction
  return position
}

/** float64. */
export function readDouble(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const after = scanDigits(bytes, at, end)
  if (after < 0) return readLongDouble(builder, row, bytes, at, end)
  let value = firstDigits
  if (lastDigitCount > 0) value = value * POWERS[lastDigitCount] + lastDigits
  if (fractionDigits > 0) value /= POWERS[fractionDigits]
  builder.float64[row] = bytes[at] === 0x2d ? -value : value
  return after
}

function readLongDouble(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const after = skipNumber(bytes, at, end)
  if (after < 0) return refuse('')
  const value = Number(latin1(bytes, at, after))
  builder.float64[row] = value
  return Number.isFinite(value) ? after : refuse('number out of range')
}

/** float32: the one nearest to the number as written, which is not always the one nearest to its double. */
export function readFloat(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const after = skipNumber(bytes, at, end)
  if (after < 0) return refuse('')
  let value: number
  if (scanDigits(bytes, at, end) === after) {
    value = firstDigits
    if (lastDigitCount > 0) value = value * POWERS[lastDigitCount] + lastDigits
    if (fractionDigits > 0) value /= POWERS[fractionDigits]
    if (bytes[at] === 0x2d) value = -value
  } else value = Number(latin1(bytes, at, after))
  const nearest = nearestFloat(value, bytes, at, after)
  builder.float32[row] = nearest
  return Number.isFinite(nearest) ? after : refuse('number out of range')
}

/** decimal(p,s) from a JSON number. */
export function readDecimal(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const { type } = builder.column
  if (type.kind !== 'decimal') return refuse('')
  const { precision, scale } = type
  const after = scanDigits(bytes, at, end)
  const padding = scale - fractionDigits
  const digits = digitCount + padding
  if (after < 0 || padding < 0 || digits > EXACT_DIGITS || digits > precision) {
    return readScaled(builder, row, bytes, at, end, scale)
  }
  let value = firstDigits
  if (lastDigitCount > 0) value = value * POWERS[lastDigitCount] + lastDigits
  if (padding > 0) value *= POWERS[padding]
  builder.setSafeDecimal(row, bytes[at] === 0x2d ? -value : value)
  return after
}

/** Milliseconds, perhaps with up to three fraction digits, into a column of microseconds. */
export function readMillis(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const after = scanDigits(bytes, at, end)
  if (after < 0 || fractionDigits > 0) {
    return readScaled(builder, row, bytes, at, end, MILLIS_SCALE)
  }
  const millis = lastDigitCount > 0 ? firstDigits * POWERS[lastDigitCount] + lastDigits : firstDigits
  const micros = millis * 1000
  if (!Number.isSafeInteger(micros)) return readScaled(builder, row, bytes, at, end, MILLIS_SCALE)
  builder.setSafeInteger(row, bytes[at] === 0x2d ? -micros : micros)
  return after
}

/** Whether the int64 of the row is a time of day in microseconds. */
export function isWithinDay(builder: ColumnBuilder, row: number): boolean {
  const micros = builder.int32[row * 2 + 1] * TWO_32 + (builder.int32[row * 2] >>> 0)
  return micros >= 0 && micros < DAY_MICROS
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

const shortText = Buffer.alloc(64)

/** Numbers are short: copied to one known buffer first, since making a `Buffer` costs more than the text. */
export function latin1(bytes: Uint8Array, start: number, end: number): string {
  const length = end - start
  if (length > shortText.length) return Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1')
  for (let index = 0; index < length; index += 1) shortText[index] = bytes[start + index]
  return shortText.toString('latin1', 0, length)
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
