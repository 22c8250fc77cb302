/**
 * Text values → column slots: what stands between the quotes, without escapes, as bytes `[start, end)`. Each reader
 * returns whether the text was a value of the type; `readDetail` says more where it helps.
 *
 *   date         2026-01-31
 *   time         23:59, 23:59:59, 23:59:59.123456; then nothing, or an offset of zero
 *   timestamps   date, `T`, `t` or a space, time, then nothing, `Z`, `+02:00`, `+0200` or `+02`
 *                timestamptz: no offset means UTC. timestamp: any offset but zero is refused, since dropping it would
 *                change the value.
 *   fraction     1 to 9 digits; digits beyond microseconds must be zero, since cutting them would change the value
 *   uuid         8-4-4-4-12 hex digits, either case
 *   binary       base64, standard or URL alphabet, padding optional but right where present
 *   decimal, long  a JSON number in quotes (JavaScript clients write large numbers so)
 */
import type { ColumnBuilder } from './column-builder.ts'
import { latin1, readDecimal, refuse, setScaled } from './read-number.ts'
import { HEX, skipNumber, skipString, stringHasEscape } from './scan-json.ts'

const DAYS_IN_MONTH = new Uint8Array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
const BAD = -1e300
/** Microseconds of the last digit, by the number of fraction digits. */
const FRACTION_UNITS = new Int32Array([0, 100_000, 10_000, 1000, 100, 10, 1])

function no(detail: string): false {
  refuse(detail)
  return false
}

/** Two digits as a number; NaN-like large value when they are none. */
function two(bytes: Uint8Array, at: number): number {
  const tens = bytes[at] - 0x30
  const ones = bytes[at + 1] - 0x30
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : 1000
}

/** Days since 1970-01-01 of the ten bytes at `at`; BAD when they are no date (years 0001 to 9999). */
function daysAt(bytes: Uint8Array, at: number): number {
  const century = two(bytes, at)
  const yearOfCentury = two(bytes, at + 2)
  const month = two(bytes, at + 5)
  const day = two(bytes, at + 8)
  if (century > 99 || yearOfCentury > 99 || bytes[at + 4] !== 0x2d || bytes[at + 7] !== 0x2d) return BAD
  const year = century * 100 + yearOfCentury
  if (year < 1 || month < 1 || month > 12 || day < 1) return BAD
  const leap = (year & 3) === 0 && (year % 100 !== 0 || year % 400 === 0)
  if (day > DAYS_IN_MONTH[month - 1] + (leap && month === 2 ? 1 : 0)) return BAD
  // Years begin in March here, so that the leap day is the last one.
  const marchYear = month > 2 ? year : year - 1
  const marchMonth = month > 2 ? month - 3 : month + 9
  const dayOfYear = (((153 * marchMonth + 2) / 5) | 0) + day - 1
  const leaps = (marchYear >> 2) - ((marchYear / 100) | 0) + ((marchYear / 400) | 0)
  return marchYear * 365 + leaps + dayOfYear - 719468
}

let timeEnd = 0

/** Microseconds since midnight from `at`; sets `timeEnd`. BAD when there is no time. */
function microsAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + 5 > end || bytes[at + 2] !== 0x3a) return BAD
  const hour = two(bytes, at)
  const minute = two(bytes, at + 3)
  if (hour > 23 || minute > 59) return BAD
  timeEnd = at + 5
  let seconds = hour * 3600 + minute * 60
  if (timeEnd >= end || bytes[timeEnd] !== 0x3a) return seconds * 1e6
  if (timeEnd + 3 > end) return BAD
  const second = two(bytes, timeEnd + 1)
  if (second > 59) return BAD
  seconds += second
  timeEnd += 3
  if (timeEnd >= end || bytes[timeEnd] !== 0x2e) return seconds * 1e6
  let position = timeEnd + 1
  let micros = 0
  let digits = 0
  while (position < end) {
    const digit = bytes[position] - 0x30
    if (digit < 0 || digit > 9) break
    if (digits < 6) micros = micros * 10 + digit
    else if (digit !== 0) {
      refuse('text with a fraction finer than microseconds')
      return BAD
    }
    digits += 1
    position += 1
  }
  if (digits === 0 || digits > 9) return BAD
  for (let missing = digits; missing < 6; missing += 1) micros *= 10
  timeEnd = position
  return seconds * 1e6 + micros
}

/** Seconds east of UTC from `at` to `end`; BAD when that is no offset. */
function offsetSecondsAt(bytes: Uint8Array, at: number, end: number): number {
  const sign = bytes[at]
  if ((sign | 0x20) === 0x7a) return at + 1 === end ? 0 : BAD
  if ((sign !== 0x2b && sign !== 0x2d) || at + 3 > end) return BAD
  const hours = two(bytes, at + 1)
  let minutes = 0
  if (end - at === 6 && bytes[at + 3] === 0x3a) minutes = two(bytes, at + 4)
  else if (end - at === 5) minutes = two(bytes, at + 3)
  else if (end - at !== 3) return BAD
  if (hours > 23 || minutes > 59) return BAD
  const seconds = hours * 3600 + minutes * 60
  return sign === 0x2d ? -seconds : seconds
}

export function readDate(builder: ColumnBuilder, row: number, bytes: Uint8Array, start: number, end: number): boolean {
  const days = end - start === 10 ? daysAt(bytes, start) : BAD
  if (days === BAD) return no('text that is no date')
  builder.int32[row] = days
  return true
}

export function readTime(builder: ColumnBuilder, row: number, bytes: Uint8Array, start: number, end: number): boolean {
  refuse('text that is no time')
  const micros = timeMicros(bytes, start, end)
  if (micros === BAD) return false
  builder.setSafeInteger(row, micros)
  return true
}

/** As for a timestamp without a zone, an offset of zero says nothing and any other one would be lost. */
function timeMicros(bytes: Uint8Array, start: number, end: number): number {
  const micros = microsAt(bytes, start, end)
  if (micros === BAD || timeEnd === end) return micros
  const offset = offsetSecondsAt(bytes, timeEnd, end)
  if (offset === 0) return micros
  if (offset !== BAD) refuse('text with an offset from UTC')
  return BAD
}

/** Days of a date, microseconds of a time or a timestamp in UTC; undefined when the text is none. */
export function textToDays(text: string): number | undefined {
  const bytes = Buffer.from(text)
  const days = bytes.length === 10 ? daysAt(bytes, 0) : BAD
  return days === BAD ? undefined : days
}

export function textToTimeMicros(text: string): number | undefined {
  const bytes = Buffer.from(text)
  const micros = timeMicros(bytes, 0, bytes.length)
  return micros === BAD ? undefined : micros
}

export function textToTimestampMicros(text: string): bigint | undefined {
  const bytes = Buffer.from(text)
  const micros = timestampMicros(bytes, 0, bytes.length, true)
  return micros === BAD ? undefined : BigInt(timestampDays) * 86_400_000_000n + BigInt(micros)
}

// The day read last: neighbouring records are mostly of the same day. Small integers only, as in `read-number.ts`.
let lastDate = 19700101
let lastDays = 0

/**
 * The usual shape `2026-01-31T23:59:59Z`, with up to six fraction digits, and its closing quote: the position behind
 * that, or -1 for any other text. `at` is behind the opening quote.
 *
 * A digit `d` is one of 0..9 exactly if neither `d` nor `9 - d` has its sign bit set, so all are checked at once.
 */
export function readUtcTimestamp(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  if (at + 21 > end) return -1
  if (bytes[at + 4] !== 0x2d || bytes[at + 7] !== 0x2d || bytes[at + 10] !== 0x54) return -1
  if (bytes[at + 13] !== 0x3a || bytes[at + 16] !== 0x3a) return -1
  let digit = bytes[at] - 0x30
  let bad = digit | (9 - digit)
  let date = digit
  for (let index = at + 1; index < at + 4; index += 1) {
    digit = bytes[index] - 0x30
    bad |= digit | (9 - digit)
    date = date * 10 + digit
  }
  const month = two(bytes, at + 5)
  const day = two(bytes, at + 8)
  const hour = two(bytes, at + 11)
  const minute = two(bytes, at + 14)
  const second = two(bytes, at + 17)
  if (bad < 0 || month > 12 || day > 31 || hour > 23 || minute > 59 || second > 59) return -1
  date = date * 10000 + month * 100 + day
  if (date !== lastDate) {
    const days = daysAt(bytes, at)
    if (days === BAD) return -1
    lastDate = date
    lastDays = days
  }
  let position = at + 19
  let fraction = 0
  if (bytes[position] === 0x2e) {
    const first = position + 1
    const stop = Math.min(end - 2, first + 6)
    position = first
    while (position < stop) {
      digit = bytes[position] - 0x30
      if (digit < 0 || digit > 9) break
      fraction = fraction * 10 + digit
      position += 1
    }
    if (position === first) return -1
    fraction *= FRACTION_UNITS[position - first]
  }
  if (bytes[position] !== 0x5a || bytes[position + 1] !== 0x22) return -1
  builder.setDayMicros(row, lastDays, (hour * 3600 + minute * 60 + second) * 1e6 + fraction)
  return position + 2
}

export function readTimestamp(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
  zoned: boolean,
): boolean {
  refuse('text that is no timestamp')
  const micros = timestampMicros(bytes, start, end, zoned)
  if (micros === BAD) return false
  builder.setDayMicros(row, timestampDays, micros)
  return true
}

let timestampDays = 0

/** Sets `timestampDays`; returns the microseconds to add to that day, in UTC. BAD when the text is no timestamp. */
function timestampMicros(bytes: Uint8Array, start: number, end: number, zoned: boolean): number {
  if (end - start < 16) return BAD
  const separator = bytes[start + 10]
  if (separator !== 0x54 && separator !== 0x20 && separator !== 0x74) return BAD
  const days = daysAt(bytes, start)
  if (days === BAD) return BAD
  const micros = microsAt(bytes, start + 11, end)
  if (micros === BAD) return BAD
  let offset = 0
  if (timeEnd !== end) {
    offset = offsetSecondsAt(bytes, timeEnd, end)
    if (offset === BAD) return BAD
    if (offset !== 0 && !zoned) {
      refuse('text with an offset from UTC')
      return BAD
    }
  }
  timestampDays = days
  return micros - offset * 1e6
}

/** For inference: whether text is a timestamp, and whether it names an offset. */
export function timestampShape(bytes: Uint8Array, start: number, end: number): 'timestamptz' | 'timestamp' | undefined {
  if (timestampMicros(bytes, start, end, true) === BAD) return undefined
  return timeEnd === end ? 'timestamp' : 'timestamptz'
}

/** For inference: whether text is a date. */
export function isDate(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start === 10 && daysAt(bytes, start) !== BAD
}

export function readUuid(builder: ColumnBuilder, row: number, bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start !== 36) return no('text that is no uuid')
  let out = row * 16
  for (let at = start; at < end; ) {
    const index = at - start
    if (index === 8 || index === 13 || index === 18 || index === 23) {
      if (bytes[at] !== 0x2d) return no('text that is no uuid')
      at += 1
    }
    const high = HEX[bytes[at]]
    const low = HEX[bytes[at + 1]]
    if (high > 15 || low > 15) return no('text that is no uuid')
    builder.data[out++] = (high << 4) | low
    at += 2
  }
  return true
}

const BASE64 = new Uint8Array(256).fill(255)
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
for (let index = 0; index < 64; index += 1) BASE64[ALPHABET.charCodeAt(index)] = index
BASE64[0x2d] = 62
BASE64[0x5f] = 63

export function readBase64(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  let stop = end
  while (stop > start && end - stop < 2 && bytes[stop - 1] === 0x3d) stop -= 1
  const length = stop - start
  const tail = length & 3
  if (tail === 1 || (stop !== end && ((end - start) & 3) !== 0)) return no('text that is no base64')
  const from = builder.offsets[row]
  const to = from + (length >> 2) * 3 + (tail === 0 ? 0 : tail - 1)
  if (to > builder.data.length) builder.growBytes(to)
  const { data } = builder
  let out = from
  let bits = 0
  let held = 0
  for (let at = start; at < stop; at += 1) {
    const value = BASE64[bytes[at]]
    if (value > 63) return no('text that is no base64')
    bits = ((bits << 6) | value) & 0xffff
    held += 6
    if (held >= 8) {
      held -= 8
      data[out++] = bits >> held
    }
  }
  if ((bits & ((1 << held) - 1)) !== 0) return no('text that is no base64')
  builder.offsets[row + 1] = to
  return true
}

/** A long or decimal as text. */
export function readDecimalText(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  if (skipNumber(bytes, start, end) !== end) return no('text that is no number')
  const { type } = builder.column
  return setScaled(builder, row, latin1(bytes, start, end), type.kind === 'decimal' ? type.scale : 0)
}

/**
 * A decimal as Connect's JSON has it: base64 of the unscaled value (big-endian two's complement) in quotes, or a number. `at` is
 * the first byte; the column has `shift` more fraction digits than the writer. The position behind, or -1.
 */
export function readScaledBytes(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  shift: number,
): number {
  refuse('')
  if (bytes[at] === 0x2d || (bytes[at] >= 0x30 && bytes[at] <= 0x39)) return readDecimal(builder, row, bytes, at, end)
  if (bytes[at] !== 0x22) return -1
  const quote = skipString(bytes, at + 1, end)
  if (quote < 0) return -1
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + at + 1, quote - at - 1).toString('latin1')
  if (stringHasEscape || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return refuse('text that is no base64')
  const value = bigFromBytes(Buffer.from(text, 'base64')) * 10n ** BigInt(shift)
  return setUnscaled(builder, row, value) ? quote + 1 : -1
}

/** Big-endian two's complement. */
export function bigFromBytes(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n
  let value = BigInt.asIntN(8, BigInt(bytes[0]))
  for (let index = 1; index < bytes.length; index += 1) value = (value << 8n) | BigInt(bytes[index])
  return value
}

/** An unscaled value into a decimal column; false when it has too many digits. */
export function setUnscaled(builder: ColumnBuilder, row: number, value: bigint): boolean {
  const { type } = builder.column
  const limit = 10n ** BigInt(type.kind === 'decimal' ? type.precision : 0)
  if (value >= limit || value <= -limit) return no('number out of range')
  builder.setInt128(row, value)
  return true
}
