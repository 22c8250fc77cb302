/**
 * One JSON object in bytes → one row of column slots, without making a JavaScript value in between.
 *
 * 1. Keys: the bytes `"name":` of the column expected next are compared first; else the key is looked up by its
 *    decoded bytes (case-sensitive, escapes decoded). Unknown keys are checked, skipped and counted.
 * 2. Values: a reader for the column's type writes the slot. One that refuses costs a second look: the value is
 *    skipped as plain JSON, which tells malformed text (the record fails there) from a wrong type (noted; a later
 *    duplicate of the key may still put it right, since the last one wins as in `JSON.parse`).
 * 3. At the closing brace every column is marked present or null; a required one without a value fails the record.
 *
 * A failure moves nothing: the row under construction is only ended by `finishRow`. Positions in reasons count bytes
 * from the record's first byte. Reasons never repeat the record's content.
 *
 * Accepted: exactly what `JSON.parse` accepts (strict UTF-8, no byte order mark), nesting up to `DEPTH_MAX`. Numbers
 * in quotes are no numbers except for long and decimal. A number is days for a date, and milliseconds with up to three
 * fraction digits for time and timestamps (integers are the usual epoch milliseconds).
 */
import { formatColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import { ColumnarBatchBuilder } from './batch-builder.ts'
import type { ColumnBuilder } from './column-builder.ts'
import type { BatchBuilder, DecodeFailure, Decoder } from './decoder.ts'
import { createKeyLookup } from './key-lookup.ts'
import { readDecimal, readDetail, readFloating, readInt, readLong, readScaled, refuse } from './read-number.ts'
import { readBase64, readDate, readDecimalText, readTime, readTimestamp, readUuid } from './read-text.ts'
import {
  decodeEscapes,
  kindOfValue,
  scanProblem,
  scanProblemAt,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
  stringHasEscape,
} from './scan-json.ts'

const MISSING = 0
const PRESENT = 1
const NULL = 2
const REFUSED = 3

const DAY_MICROS = 86_400_000_000n
/** Longest plain run copied byte by byte; a longer string goes through `set`. */
const COPY_LOOP_MAX = 48

let scratch = new Uint8Array(1024)

export function createJsonDecoder(schema: TableSchema): Decoder {
  const columns = userColumns(schema)
  const keys = createKeyLookup(columns.map((column) => column.name))
  const { starts: keyStarts, bytes: keyBytes } = keys
  const states = new Uint8Array(columns.length)
  const refusedAt = new Int32Array(columns.length)
  const refusals: string[] = columns.map(() => '')
  let unknownKeys = 0

  function malformed(start: number): DecodeFailure {
    return { reason: `malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}`, column: undefined }
  }

  function broken(text: string, at: number): DecodeFailure {
    return { reason: `malformed JSON: ${text} at byte ${at}`, column: undefined }
  }

  function decode(bytes: Uint8Array, start: number, end: number, target: BatchBuilder): DecodeFailure | undefined {
    if (!(target instanceof ColumnarBatchBuilder) || target.user.length !== columns.length) {
      throw new MillraceError('internal', 'a decoder was given a batch builder of another schema')
    }
    target.prepareRow()
    const row = target.rowCount
    const builders = target.user
    let position = skipSpace(bytes, start, end)
    if (position >= end) return broken('empty record', end - start)
    if (bytes[position] !== 0x7b) return notAnObject(bytes, position, start, end)
    states.fill(MISSING)
    let next = 0
    let unknown = 0
    position = skipSpace(bytes, position + 1, end)
    if (position < end && bytes[position] === 0x7d) position += 1
    else {
      for (;;) {
        let index = -1
        if (next < builders.length) {
          // The usual case: the key of the column expected next, with its quotes and colon.
          const from = keyStarts[next]
          const length = keyStarts[next + 1] - from
          let matched = 0
          if (position + length <= end) {
            while (matched < length && bytes[position + matched] === keyBytes[from + matched]) matched += 1
          }
          if (matched === length && length > 0) {
            index = next
            position = skipSpace(bytes, position + length, end)
          }
        }
        if (index < 0) {
          if (position >= end) return broken('text ends inside an object', end - start)
          if (bytes[position] !== 0x22) return broken('expected a key', position - start)
          const quote = skipString(bytes, position + 1, end)
          if (quote < 0) return malformed(start)
          index = stringHasEscape ? findEscaped(bytes, position + 1, quote) : keys.find(bytes, position + 1, quote)
          position = skipColon(bytes, quote + 1, end)
          if (position < 0) return malformed(start)
        }
        if (position >= end) return broken('text ends where a value is expected', end - start)
        if (index < 0) {
          unknown += 1
          position = skipValue(bytes, position, end, 1)
          if (position < 0) return malformed(start)
        } else {
          const after = bytes[position] === 0x6e ? -1 : readValue(builders[index], row, bytes, position, end)
          if (after >= 0) {
            states[index] = PRESENT
            position = after
          } else {
            const skipped = skipValue(bytes, position, end, 1)
            if (skipped < 0) return malformed(start)
            if (bytes[position] === 0x6e) states[index] = NULL
            else {
              states[index] = REFUSED
              refusedAt[index] = position - start
              refusals[index] = readDetail === '' ? kindOfValue(bytes[position]) : readDetail
            }
            position = skipped
          }
          next = index + 1
        }
        if (position >= end || bytes[position] !== 0x2c) position = skipSpace(bytes, position, end)
        if (position >= end) return broken('text ends inside an object', end - start)
        const byte = bytes[position]
        position += 1
        if (byte === 0x2c) position = skipSpace(bytes, position, end)
        else if (byte === 0x7d) break
        else return broken('expected a comma or the end of the object', position - 1 - start)
      }
    }
    position = skipSpace(bytes, position, end)
    if (position < end) return broken('more text after the object', position - start)
    for (let index = 0; index < builders.length; index += 1) {
      const state = states[index]
      if (state === REFUSED || (state !== PRESENT && columns[index].required)) return refused(index)
    }
    for (let index = 0; index < builders.length; index += 1) {
      if (states[index] === PRESENT) builders[index].markPresent(row)
      else builders[index].markNull(row)
    }
    unknownKeys += unknown
    return undefined
  }

  function findEscaped(bytes: Uint8Array, from: number, to: number): number {
    if (scratch.length < to - from) scratch = new Uint8Array((to - from) * 2)
    return keys.find(scratch, 0, decodeEscapes(bytes, from, to, scratch, 0))
  }

  function refused(index: number): DecodeFailure {
    const { name, type } = columns[index]
    const expected = `column "${name}": expected ${formatColumnType(type)}`
    if (states[index] === REFUSED) {
      return { reason: `${expected}, found ${refusals[index]} at byte ${refusedAt[index]}`, column: name }
    }
    return { reason: `${expected}, found ${states[index] === NULL ? 'null' : 'nothing'}; it is required`, column: name }
  }

  function notAnObject(bytes: Uint8Array, at: number, start: number, end: number): DecodeFailure {
    const after = skipValue(bytes, at, end, 0)
    if (after < 0) return malformed(start)
    const trailing = skipSpace(bytes, after, end)
    if (trailing < end) return broken('more text after the value', trailing - start)
    return { reason: `expected an object, found ${kindOfValue(bytes[at])} at byte ${at - start}`, column: undefined }
  }

  return {
    decode,
    get unknownKeys() {
      return unknownKeys
    },
  }
}

/** Writes the value at `at` into the row's slot; the position behind it, or -1 (see `readDetail`). */
function readValue(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  refuse('')
  const { type } = builder.column
  const first = bytes[at]
  switch (type.kind) {
    case 'string':
      return first === 0x22 ? readString(builder, row, bytes, at + 1, end) : -1
    case 'json': {
      const after = skipValue(bytes, at, end, 1)
      if (after >= 0) builder.setBytes(row, bytes, at, after)
      return after
    }
    case 'boolean': {
      if (first !== 0x74 && first !== 0x66) return -1
      const after = skipValue(bytes, at, end, 1)
      if (after >= 0) builder.setBoolean(row, first === 0x74)
      return after
    }
    case 'int':
      return isNumber(first) ? readInt(builder, row, bytes, at, end) : -1
    case 'double':
    case 'float':
      return isNumber(first) ? readFloating(builder, row, bytes, at, end, type.kind === 'float') : -1
    case 'long':
      if (isNumber(first)) return readLong(builder, row, bytes, at, end)
      break
    case 'decimal':
      if (isNumber(first)) return readDecimal(builder, row, bytes, at, end, type.precision, type.scale)
      break
    case 'date':
      if (isNumber(first)) return readInt(builder, row, bytes, at, end)
      break
    case 'time': {
      if (!isNumber(first)) break
      const after = readScaled(builder, row, bytes, at, end, 3)
      return after < 0 || withinDay(builder, row) ? after : refuse('number out of range')
    }
    case 'timestamp':
    case 'timestamptz':
      if (isNumber(first)) return readScaled(builder, row, bytes, at, end, 3)
      break
    case 'uuid':
    case 'binary':
      break
  }
  return first === 0x22 ? readQuoted(builder, row, bytes, at + 1, end) : -1
}

function isNumber(first: number): boolean {
  return first === 0x2d || (first >= 0x30 && first <= 0x39)
}

function withinDay(builder: ColumnBuilder, row: number): boolean {
  const micros = (BigInt(builder.int32[row * 2 + 1]) << 32n) | BigInt(builder.int32[row * 2] >>> 0)
  return micros >= 0n && micros < DAY_MICROS
}

/** Text that means something else than text; `at` is behind the quote. */
function readQuoted(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const quote = skipString(bytes, at, end)
  if (quote < 0) return -1
  let text = bytes
  let from = at
  let to = quote
  if (stringHasEscape) {
    if (scratch.length < quote - at) scratch = new Uint8Array((quote - at) * 2)
    to = decodeEscapes(bytes, at, quote, scratch, 0)
    text = scratch
    from = 0
  }
  return readText(builder, row, text, from, to) ? quote + 1 : -1
}

function readText(builder: ColumnBuilder, row: number, bytes: Uint8Array, from: number, to: number): boolean {
  switch (builder.column.type.kind) {
    case 'timestamptz':
      return readTimestamp(builder, row, bytes, from, to, true)
    case 'timestamp':
      return readTimestamp(builder, row, bytes, from, to, false)
    case 'date':
      return readDate(builder, row, bytes, from, to)
    case 'time':
      return readTime(builder, row, bytes, from, to)
    case 'uuid':
      return readUuid(builder, row, bytes, from, to)
    case 'binary':
      return readBase64(builder, row, bytes, from, to)
    default:
      return readDecimalText(builder, row, bytes, from, to)
  }
}

function readString(builder: ColumnBuilder, row: number, bytes: Uint8Array, at: number, end: number): number {
  const quote = skipString(bytes, at, end)
  if (quote < 0) return -1
  const from = builder.offsets[row]
  const length = quote - at
  if (from + length > builder.data.length) builder.growBytes(from + length)
  const { data } = builder
  if (stringHasEscape) builder.offsets[row + 1] = decodeEscapes(bytes, at, quote, data, from)
  else {
    if (length <= COPY_LOOP_MAX) for (let index = 0; index < length; index += 1) data[from + index] = bytes[at + index]
    else data.set(bytes.subarray(at, quote), from)
    builder.offsets[row + 1] = from + length
  }
  return quote + 1
}
