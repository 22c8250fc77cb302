/**
 * What every format of keys and values offers, so that one `BlockDecoder` can drive all of them.
 *
 *   writer's schema ─ OpenFormat ─▶ WriterFormat ─┬─ columns         what such records would make (evolution, new tables)
 *   (opened once for each schema)                 ├─ createDecoder   bytes → column builders, no object per record
 *                                                 └─ read            bytes → Connect data, for transforms (the general way)
 *
 * Opening throws `conversion-failed` for a schema that cannot be read, `createDecoder` `type-mismatch` for one that the table
 * cannot take: with the reason that its records' dead letters get. What a single record holds never throws: a decoder returns
 * its `DecodeFailure` and leaves the row under construction to be written again.
 *
 * A value that is no record (Avro `"long"`, a JSON Schema of text, format `string`) makes one column, `WHOLE_VALUE`.
 *
 * Behind a registry's frame a decoder gets the bytes after the frame (`readFrame`); bytes in reasons are counted from there.
 */

import { MillraceError } from '../../schemas/errors.ts'
import type { RecordSchema } from '../../schemas/record-schema.ts'
import { type Column, type TableSchema, userColumns } from '../../schemas/table-schema.ts'
import type { ConnectSchema } from '../connect/data/schema.ts'
import type { ConnectValue } from '../connect/data/values.ts'
import { ColumnarBatchBuilder } from '../decoder/batch-builder.ts'
import type { ColumnBuilder } from '../decoder/column-builder.ts'
import type { ConverterPlan, RegistrySchema } from '../decoder/decode-plan.ts'
import type { BatchBuilder, DecodeFailure, Decoder } from '../decoder/decoder.ts'

/** A schema as it came: from the registry (`ConverterPlan.registry`) or from the settings. */
export type WriterSchema = {
  readonly text: string
  readonly references: RegistrySchema['references']
  /** Becomes `RecordSchema.name`: `orders-value version 3 (id 17)`. */
  readonly label: string
  /** Protobuf with a schema from the settings: the message's full name; undefined: the file's first. */
  readonly message?: string
  /** Protobuf behind a registry's frame: `frameMessage`, the way to the message through the file: `0`, `2,1`. */
  readonly messageIndexes?: string
}

/** One for each of json-schema, avro and protobuf. */
export type OpenFormat = (writer: WriterSchema, converter: ConverterPlan) => WriterFormat

export type WriterFormat = {
  readonly columns: RecordSchema
  /** Text without types (CSV, plain text): what a column of the table is made from it by the column's type. */
  readonly isText?: boolean
  /** Its decoder marks every target present or null in each row it accepts, whether the writer has such a field or not. */
  createDecoder(schema: TableSchema, targets: readonly Target[]): Decoder
  /** The general way: bytes of a record, behind its frame, → Connect data as Confluent's converter for the format makes it. */
  readonly read: ReadValue
}

export type SchemaAndValue = { readonly schema: ConnectSchema | undefined; readonly value: ConnectValue }
/** Gives the same schema object for all records of a writer's schema. Does not throw for what a record holds. */
export type ReadValue = (bytes: Uint8Array, start: number, end: number) => SchemaAndValue | ReadFailure
export type ReadFailure = { readonly failure: DecodeFailure }

export function isReadFailure(result: SchemaAndValue | ReadFailure): result is ReadFailure {
  return 'failure' in result
}

/**
 * A column of the table that a decoder is to fill. `field` is the column under the name that the writer knows it by: without
 * the prefix of key columns. Which of the writer's fields goes there: `matchFields` of `schemas/match-fields.ts`.
 */
export type Target = {
  /** Among the table's user columns: `builder.user[index]`. */
  readonly index: number
  readonly field: Column
}

/** Every user column: the value makes the whole row. */
export function allTargets(schema: TableSchema): Target[] {
  return userColumns(schema).map((field, index) => ({ index, field }))
}

/** Column of a value that is no record. */
export const WHOLE_VALUE = 'value'

/** The builders of a row under construction, with room for it. Throws for a builder of another schema. */
export function rowBuilder(target: BatchBuilder, schema: TableSchema): ColumnarBatchBuilder {
  if (!(target instanceof ColumnarBatchBuilder) || target.schema.schemaId !== schema.schemaId) {
    throw new MillraceError('internal', 'a decoder was given a batch builder of another schema')
  }
  target.prepareRow()
  return target
}

/** No value for this target in the row: false when it is required (the caller fails the record then). */
export function markMissing(builders: ColumnarBatchBuilder, builder: ColumnBuilder): boolean {
  if (builder.column.required) return false
  builder.markNull(builders.rowCount)
  builders.hasNulls = true
  return true
}

/**
 * A registry's frame, as all of its serializers write it:
 *
 *   byte 0      magic, 0
 *   bytes 1-4   schema id, big-endian
 *   Protobuf    then which message of the file: zigzag varints, a count and as many indexes (nested: one each level);
 *               a count of 0 means index 0
 */
export let frameId = 0
/** Protobuf only. */
export let frameMessage = ''
/** Why `readFrame` returned -1. */
export let frameProblem = ''

const MESSAGE_DEPTH_MAX = 100
const FIRST_MESSAGE = '0'

/** Where the data begin; -1 when there is no such frame. */
export function readFrame(bytes: Uint8Array, start: number, end: number, hasMessage: boolean): number {
  if (end === start) return noFrame('empty record: expected a registry frame (magic byte 0, schema id)')
  if (bytes[start] !== 0) {
    return noFrame(`expected magic byte 0 of a registry frame, found ${bytes[start]} at byte 0`)
  }
  if (end - start < 5) return noFrame(`truncated: a registry frame has 5 bytes, the record ${end - start}`)
  frameId = ((bytes[start + 1] << 24) | (bytes[start + 2] << 16) | (bytes[start + 3] << 8) | bytes[start + 4]) >>> 0
  if (!hasMessage) return start + 5
  if (bytes[start + 5] === 0 && end - start > 5) {
    frameMessage = FIRST_MESSAGE
    return start + 6
  }
  return readMessageIndexes(bytes, start + 5, end, start)
}

function readMessageIndexes(bytes: Uint8Array, at: number, end: number, start: number): number {
  let position = at
  let count = -1
  const indexes: number[] = []
  while (count !== indexes.length) {
    let value = 0
    let shift = 0
    for (;;) {
      if (position >= end) return noFrame('truncated: the record ends inside the message indexes of its registry frame')
      const byte = bytes[position]
      position += 1
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
      shift += 7
      if (shift > 28) return noFrame(`malformed message index in the registry frame at byte ${position - start}`)
    }
    const number = value % 2 === 0 ? value / 2 : -1
    if (number < 0 || (count < 0 && number > MESSAGE_DEPTH_MAX)) {
      return noFrame(`malformed message index in the registry frame at byte ${position - start}`)
    }
    if (count < 0) count = number
    else indexes.push(number)
  }
  frameMessage = count === 0 ? FIRST_MESSAGE : indexes.join(',')
  return position
}

function noFrame(problem: string): -1 {
  frameProblem = problem
  return -1
}
