/**
 * One JSON object in bytes → one row of column slots, without making a JavaScript value in between.
 *
 * 1. Keys: the bytes `"name":` of the column that came here in the record before are compared first; else the key is
 *    looked up by its decoded bytes (case-sensitive, escapes decoded). Unknown keys are checked, skipped and counted.
 * 2. Values: a reader for the column's type writes the slot (`read-value.ts`; objects and arrays `read-nested.ts`). One that
 *    refuses costs a second look: the value is skipped as plain JSON, which tells malformed text (the record fails there) from
 *    a wrong type (noted; a later duplicate of the key may still put it right, since the last one wins as in `JSON.parse`).
 * 3. At the closing brace every column is marked present or null; a required one without a value fails the record.
 *
 * A failure moves nothing: the row under construction is only ended by `finishRow`. Positions in reasons count bytes
 * from the record's first byte. Reasons never repeat the record's content.
 *
 * Accepted: exactly what `JSON.parse` accepts (strict UTF-8, no byte order mark), nesting up to `DEPTH_MAX`. Numbers
 * in quotes are no numbers except for long and decimal. A number is days for a date, and milliseconds with up to three
 * fraction digits for time and timestamps (integers are the usual epoch milliseconds).
 */
import { parsePath } from '../../schemas/column-path.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { type Column, type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import { ColumnarBatchBuilder } from './batch-builder.ts'
import type { ColumnBuilder } from './column-builder.ts'
import type { BatchBuilder, DecodeFailure, Decoder } from './decoder.ts'
import { FieldsNode, type JsonShapeField, PRESENT } from './json-node.ts'
import {
  beginRecord,
  FAILS,
  IS_WHOLE,
  keysNew,
  keysUnknown,
  MALFORMED,
  readFields,
  refusal,
  settleFields,
} from './read-nested.ts'
import { kindOfValue, scanProblem, scanProblemAt, skipSpace, skipValue } from './scan-json.ts'

export type JsonDecoder = Decoder & {
  /** Of the unknown keys those that nobody told of (`ignoredKeys`), with a value: they might become columns. */
  readonly newKeys: number
}

export type JsonDecoderOptions = {
  /** The columns to fill, under the names that the records use; all user columns by default. */
  readonly targets?: readonly { readonly index: number; readonly field: Column }[]
  /** What the records' own schema says; undefined: they have none, and their keys are the columns' names. */
  readonly shapes?: readonly JsonShapeField[]
  /** Paths of keys (`formatPath`) that are not new though no column has them. */
  readonly ignoredKeys?: readonly string[]
}

export function createJsonDecoder(schema: TableSchema, options: JsonDecoderOptions = {}): JsonDecoder {
  const userWidth = userColumns(schema).length
  const targets = options.targets ?? userColumns(schema).map((field, index) => ({ index, field }))
  const fields = targets.map((target) => target.field)
  const root = new FieldsNode(
    fields,
    [],
    1,
    options.shapes,
    (options.ignoredKeys ?? []).flatMap((key) => [parsePath(key) ?? [key]]),
  )
  const { states, width } = root
  const isWholeRow = targets.length === userWidth && targets.every((target, index) => target.index === index)
  let filled: ColumnarBatchBuilder | undefined
  let builders: readonly ColumnBuilder[] = []
  let unknownKeys = 0
  let newKeys = 0

  function decode(bytes: Uint8Array, start: number, end: number, target: BatchBuilder): DecodeFailure | undefined {
    if (!(target instanceof ColumnarBatchBuilder) || target.user.length !== userWidth) {
      throw new MillraceError('internal', 'a decoder was given a batch builder of another schema')
    }
    if (target !== filled) {
      filled = target
      const { user } = target
      builders = isWholeRow ? user : targets.map(({ index }) => user[index])
    }
    target.prepareRow()
    const row = target.rowCount
    beginRecord(bytes, start, end)
    let position = skipSpace(bytes, start, end)
    if (position >= end) return broken('empty record', end - start)
    if (bytes[position] !== 0x7b) return notAnObject(bytes, position, start, end)
    position = readFields(root, builders, row, bytes, position + 1, end)
    if (position === MALFORMED) return malformed(start)
    position = skipSpace(bytes, position, end)
    if (position < end) return broken('more text after the object', position - start)
    const settled = settleFields(root, builders, row)
    if (settled === FAILS) return refusal
    if (settled !== IS_WHOLE || target.hasNulls) endRow(target, row, settled === IS_WHOLE)
    unknownKeys += keysUnknown
    newKeys += keysNew
    return undefined
  }

  /** Every column present or null. */
  function endRow(target: ColumnarBatchBuilder, row: number, isWhole: boolean): void {
    for (let index = 0; index < width; index += 1) {
      if (states[index] === PRESENT) builders[index].markPresent(row)
      else builders[index].markNull(row)
    }
    if (!isWhole) target.hasNulls = true
  }

  return {
    decode,
    get unknownKeys() {
      return unknownKeys
    },
    get newKeys() {
      return newKeys
    },
  }
}

function malformed(start: number): DecodeFailure {
  return { reason: `malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}`, column: undefined }
}

function broken(text: string, at: number): DecodeFailure {
  return { reason: `malformed JSON: ${text} at byte ${at}`, column: undefined }
}

function notAnObject(bytes: Uint8Array, at: number, start: number, end: number): DecodeFailure {
  const after = skipValue(bytes, at, end, 0)
  if (after < 0) return malformed(start)
  const trailing = skipSpace(bytes, after, end)
  if (trailing < end) return broken('more text after the value', trailing - start)
  return { reason: `expected an object, found ${kindOfValue(bytes[at])} at byte ${at - start}`, column: undefined }
}
