/**
 * One JSON value → the slot of a column, by the column's reader code: a small integer made once per column when the
 * decoder is compiled, so that the choice per value is a jump and not a comparison of names.
 *
 * `readValue` gets the value's first byte at `at` and returns the position behind the value, or -1: the value is
 * malformed or of another type, and only a second look (`skipValue`) tells which. `readDetail` of `read-number.ts` says
 * more where it helps. A reader that refuses may leave bytes behind `offsets[row]` or in the row's slot; both are
 * written again before anybody reads them.
 */
import type { ColumnKind } from '../../schemas/column-type.ts'
import type { ColumnBuilder } from './column-builder.ts'
import {
  isWithinDay,
  readDecimal,
  readDouble,
  readFloat,
  readInt,
  readLong,
  readMillis,
  refuse,
} from './read-number.ts'
import {
  readBase64,
  readDate,
  readDecimalText,
  readTime,
  readTimestamp,
  readUtcTimestamp,
  readUuid,
} from './read-text.ts'
import { decodeEscapes, STOPS, skipString, skipValue, stringHasEscape } from './scan-json.ts'

/** The position of a kind is its reader code; the constants below name those positions. */
const KINDS: readonly ColumnKind[] = [
  'string',
  'long',
  'timestamptz',
  'timestamp',
  'double',
  'int',
  'boolean',
  'float',
  'decimal',
  'date',
  'time',
  'uuid',
  'binary',
  'json',
  'struct',
  'list',
  'map',
]
const STRING = 0
const LONG = 1
const TIMESTAMPTZ = 2
const TIMESTAMP = 3
const DOUBLE = 4
const INT = 5
const BOOLEAN = 6
const FLOAT = 7
const DECIMAL = 8
const DATE = 9
const TIME = 10
const UUID = 11
const BINARY = 12
const JSON_TEXT = 13
/** From here on not for `readValue`: `read-nested.ts` reads these. */
export const STRUCT = 14
export const LIST = 15
export const MAP = 16
/** A map from an array of pairs. */
export const PAIRS = 17
/** A decimal from base64 of its unscaled value. */
export const SCALED_BYTES = 18

let scratch = new Uint8Array(1024)

/** Room for decoded text of at most `bytes` bytes; valid until the next call. */
export function scratchOf(bytes: number): Uint8Array {
  if (scratch.length < bytes) scratch = new Uint8Array(bytes * 2)
  return scratch
}

export function readerCodeOf(kind: ColumnKind): number {
  return KINDS.indexOf(kind)
}

export function readValue(
  code: number,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const first = bytes[at]
  switch (code) {
    case STRING:
      return first === 0x22 ? readString(builder, row, bytes, at + 1, end) : refuse('')
    case LONG:
      return isNumber(first) ? readLong(builder, row, bytes, at, end) : readQuoted(code, builder, row, bytes, at, end)
    case TIMESTAMPTZ:
    case TIMESTAMP:
      if (first === 0x22) {
        const after = readUtcTimestamp(builder, row, bytes, at + 1, end)
        return after >= 0 ? after : readQuoted(code, builder, row, bytes, at, end)
      }
      return isNumber(first) ? readMillis(builder, row, bytes, at, end) : refuse('')
    case DOUBLE:
      return isNumber(first) ? readDouble(builder, row, bytes, at, end) : refuse('')
    case INT:
      return isNumber(first) ? readInt(builder, row, bytes, at, end) : refuse('')
    case BOOLEAN:
      return readBoolean(builder, row, bytes, at, end)
    case FLOAT:
      return isNumber(first) ? readFloat(builder, row, bytes, at, end) : refuse('')
    case DECIMAL:
      return isNumber(first)
        ? readDecimal(builder, row, bytes, at, end)
        : readQuoted(code, builder, row, bytes, at, end)
    case DATE:
      return isNumber(first) ? readInt(builder, row, bytes, at, end) : readQuoted(code, builder, row, bytes, at, end)
    case TIME: {
      if (!isNumber(first)) return readQuoted(code, builder, row, bytes, at, end)
      const after = readMillis(builder, row, bytes, at, end)
      return after < 0 || isWithinDay(builder, row) ? after : refuse('number out of range')
    }
    case JSON_TEXT: {
      const after = skipValue(bytes, at, end, 1)
      if (after >= 0) builder.setBytes(row, bytes, at, after)
      return after
    }
    default:
      return readQuoted(code, builder, row, bytes, at, end)
  }
}

function isNumber(first: number): boolean {
  return first === 0x2d || (first >= 0x30 && first <= 0x39)
}

function readBoolean(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const isTrue = bytes[at] === 0x74
  const after = at + (isTrue ? 4 : 5)
  if (after > end) return refuse('')
  const matches = isTrue
    ? bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === 0x65
    : bytes[at] === 0x66 &&
      bytes[at + 1] === 0x61 &&
      bytes[at + 2] === 0x6c &&
      bytes[at + 3] === 0x73 &&
      bytes[at + 4] === 0x65
  if (!matches) return refuse('')
  builder.setBoolean(row, isTrue)
  return after
}

/** `at` is behind the quote. Checks and copies in one pass while the text is plain ASCII and fits. */
function readString(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const { data, offsets } = builder
  let out = offsets[row]
  const stop = Math.min(end, at + data.length - out)
  let position = at
  while (position < stop) {
    const byte = bytes[position]
    if (STOPS[byte] !== 0) break
    data[out++] = byte
    position += 1
  }
  if (position < end && bytes[position] === 0x22) {
    offsets[row + 1] = out
    return position + 1
  }
  return readOddString(builder, row, bytes, at, end)
}

/** Escapes, other than ASCII, or the column's bytes must grow. */
function readOddString(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const quote = skipString(bytes, at, end)
  if (quote < 0) return refuse('')
  if (!stringHasEscape) {
    builder.setBytes(row, bytes, at, quote)
    return quote + 1
  }
  const from = builder.offsets[row]
  builder.growBytes(from + quote - at)
  builder.offsets[row + 1] = decodeEscapes(bytes, at, quote, builder.data, from)
  return quote + 1
}

/** Text that means something else than text; `at` is the value's first byte. */
function readQuoted(
  code: number,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  refuse('')
  if (bytes[at] !== 0x22) return -1
  const quote = skipString(bytes, at + 1, end)
  if (quote < 0) return -1
  let isRead: boolean
  if (stringHasEscape) {
    const text = scratchOf(quote - at)
    isRead = readText(code, builder, row, text, 0, decodeEscapes(bytes, at + 1, quote, text, 0))
  } else isRead = readText(code, builder, row, bytes, at + 1, quote)
  return isRead ? quote + 1 : -1
}

function readText(
  code: number,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  from: number,
  to: number,
): boolean {
  switch (code) {
    case TIMESTAMPTZ:
      return readTimestamp(builder, row, bytes, from, to, true)
    case TIMESTAMP:
      return readTimestamp(builder, row, bytes, from, to, false)
    case DATE:
      return readDate(builder, row, bytes, from, to)
    case TIME:
      return readTime(builder, row, bytes, from, to)
    case UUID:
      return readUuid(builder, row, bytes, from, to)
    case BINARY:
      return readBase64(builder, row, bytes, from, to)
    default:
      return readDecimalText(builder, row, bytes, from, to)
  }
}

/** Text, without quotes and escapes, as any flat type: the key of a map, a field of a CSV line. */
export function readPlainText(
  code: number,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  from: number,
  to: number,
): boolean {
  refuse('')
  switch (code) {
    case STRING:
      builder.setBytes(row, bytes, from, to)
      return true
    case JSON_TEXT: {
      if (skipValue(bytes, from, to, 1) !== to) return false
      builder.setBytes(row, bytes, from, to)
      return true
    }
    case TIMESTAMPTZ:
    case TIMESTAMP:
    case DATE:
    case TIME:
      if (to > from && isInteger(bytes, from, to)) return readValue(code, builder, row, bytes, from, to) === to
      return readText(code, builder, row, bytes, from, to)
    case UUID:
    case BINARY:
      return readText(code, builder, row, bytes, from, to)
    default:
      return to > from && readValue(code, builder, row, bytes, from, to) === to
  }
}

function isInteger(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = bytes[from] === 0x2d ? from + 1 : from; at < to; at += 1) {
    if (bytes[at] < 0x30 || bytes[at] > 0x39) return false
  }
  return true
}
