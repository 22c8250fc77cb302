/**
 * One JSON object in bytes → one row of column slots, without making a JavaScript value in between.
 *
 * 1. Keys: the bytes `"name":` of the column that came here in the record before are compared first; else the key is
 *    looked up by its decoded bytes (case-sensitive, escapes decoded). Unknown keys are checked, skipped and counted.
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
import type { BatchBuilder, DecodeFailure, Decoder } from './decoder.ts'
import { createKeyLookup } from './key-lookup.ts'
import { readDetail } from './read-number.ts'
import { readerCodeOf, readValue, scratchOf } from './read-value.ts'
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

export function createJsonDecoder(schema: TableSchema): Decoder {
  const columns = userColumns(schema)
  const keys = createKeyLookup(columns.map((column) => column.name))
  const { lengths: keyLengths, words: keyWords, wordStarts: keyWordStarts } = keys
  const width = columns.length
  const readerCodes = Uint8Array.from(columns, (column) => readerCodeOf(column.type.kind))
  const states = new Uint8Array(width)
  const refusedAt = new Int32Array(width)
  const refusals: string[] = columns.map(() => '')
  // Which column's key came last behind that of column i (at i + 1; at 0: which came first), to be compared first.
  const following = Int32Array.from({ length: width + 1 }, (_, index) => Math.min(index, width - 1))
  // The block of bytes read last, seen as words; it is kept until the next one comes.
  let viewed: Uint8Array = new Uint8Array(0)
  let view: DataView = new DataView(viewed.buffer)
  let unknownKeys = 0

  function malformed(start: number): DecodeFailure {
    return { reason: `malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}`, column: undefined }
  }

  function broken(text: string, at: number): DecodeFailure {
    return { reason: `malformed JSON: ${text} at byte ${at}`, column: undefined }
  }

  function decode(bytes: Uint8Array, start: number, end: number, target: BatchBuilder): DecodeFailure | undefined {
    if (!(target instanceof ColumnarBatchBuilder) || target.user.length !== width) {
      throw new MillraceError('internal', 'a decoder was given a batch builder of another schema')
    }
    if (bytes !== viewed) {
      viewed = bytes
      view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    target.prepareRow()
    const row = target.rowCount
    const builders = target.user
    let position = skipSpace(bytes, start, end)
    if (position >= end) return broken('empty record', end - start)
    if (bytes[position] !== 0x7b) return notAnObject(bytes, position, start, end)
    for (let index = 0; index < width; index += 1) states[index] = MISSING
    let previous = -1
    let unknown = 0
    position = skipSpace(bytes, position + 1, end)
    if (position < end && bytes[position] === 0x7d) position += 1
    else {
      for (;;) {
        let index = following[previous + 1]
        let after = behindKey(index, view, position, end)
        if (after < 0) {
          if (position >= end) return broken('text ends inside an object', end - start)
          if (bytes[position] !== 0x22) return broken('expected a key', position - start)
          const quote = skipString(bytes, position + 1, end)
          if (quote < 0) return malformed(start)
          index = stringHasEscape ? findEscaped(bytes, position + 1, quote) : keys.find(bytes, position + 1, quote)
          after = skipColon(bytes, quote + 1, end)
          if (after < 0) return malformed(start)
          if (index >= 0) following[previous + 1] = index
        }
        position = after
        if (position < end && bytes[position] <= 0x20) position = skipSpace(bytes, position, end)
        if (position >= end) return broken('text ends where a value is expected', end - start)
        if (index < 0) {
          unknown += 1
          position = skipValue(bytes, position, end, 1)
          if (position < 0) return malformed(start)
        } else {
          previous = index
          const isNull = bytes[position] === 0x6e
          after = isNull ? -1 : readValue(readerCodes[index], builders[index], row, bytes, position, end)
          if (after >= 0) states[index] = PRESENT
          else {
            after = skipValue(bytes, position, end, 1)
            if (after < 0) return malformed(start)
            states[index] = isNull ? NULL : REFUSED
            if (!isNull) {
              refusedAt[index] = position - start
              refusals[index] = readDetail === '' ? kindOfValue(bytes[position]) : readDetail
            }
          }
          position = after
        }
        if (position < end && bytes[position] <= 0x20) position = skipSpace(bytes, position, end)
        if (position >= end) return broken('text ends inside an object', end - start)
        const byte = bytes[position]
        position += 1
        if (byte === 0x2c) {
          if (position < end && bytes[position] <= 0x20) position = skipSpace(bytes, position, end)
        } else if (byte === 0x7d) break
        else return broken('expected a comma or the end of the object', position - 1 - start)
      }
    }
    position = skipSpace(bytes, position, end)
    if (position < end) return broken('more text after the object', position - start)
    const failure = endRow(target, row)
    if (failure === undefined) unknownKeys += unknown
    return failure
  }

  /** Whether the bytes at `at` are the key of this column as usually written, with its colon: the position behind, or -1. */
  function behindKey(index: number, view: DataView, at: number, end: number): number {
    if (index < 0) return -1
    const length = keyLengths[index]
    if (length === 0 || at + length > end) return -1
    const last = keyWordStarts[index + 1] - 1
    let word = keyWordStarts[index]
    let position = at
    while (word < last) {
      if (view.getInt32(position, true) !== keyWords[word]) return -1
      position += 4
      word += 1
    }
    return view.getInt32(at + length - 4, true) === keyWords[last] ? at + length : -1
  }

  /** Every column present or null, or nothing changed and the reason why. */
  function endRow(target: ColumnarBatchBuilder, row: number): DecodeFailure | undefined {
    let isWhole = true
    for (let index = 0; index < width; index += 1) {
      if (states[index] === PRESENT) continue
      if (states[index] === REFUSED || columns[index].required) return refused(index)
      isWhole = false
    }
    if (isWhole && !target.hasNulls) return undefined
    const builders = target.user
    for (let index = 0; index < width; index += 1) {
      if (states[index] === PRESENT) builders[index].markPresent(row)
      else builders[index].markNull(row)
    }
    if (!isWhole) target.hasNulls = true
    return undefined
  }

  function findEscaped(bytes: Uint8Array, from: number, to: number): number {
    const scratch = scratchOf(to - from)
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
