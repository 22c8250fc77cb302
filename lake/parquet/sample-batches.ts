/**
 * Micro-batches for tests: columns from plain JavaScript values, written the way the builders of the decoder write
 * them. A value is null, or: boolean; number (int, float, double, date in days); bigint (long, time, timestamps in
 * microseconds, decimal unscaled); string (string, json, uuid); Uint8Array (binary); an object by field names (struct), an
 * array (list), an array of [key, value] (map).
 */
import { assignFieldIds, type ColumnType, childFields, type Field, isNested } from '../../schemas/column-type.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import { type Column, FIRST_USER_FIELD_ID } from '../../schemas/table-schema.ts'

export type SampleValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly SampleValue[]
  | { readonly [name: string]: SampleValue }

export type SampleColumn = {
  readonly name: string
  readonly type: ColumnType
  readonly required?: boolean
  readonly values: readonly SampleValue[]
}

export function sampleBatch(columns: readonly SampleColumn[]): MicroBatch {
  const rowCount = columns[0]?.values.length ?? 0
  const declared = columns.map(
    ({ name, type, required }): Column => ({ fieldId: 0, name, type, required: required ?? false }),
  )
  const schemaColumns = assignFieldIds(declared, FIRST_USER_FIELD_ID).fields
  const vectors = columns.map(({ values }, i) => sampleVector(schemaColumns[i], values))
  return { schema: { schemaId: 1, columns: schemaColumns }, rowCount, vectors }
}

export function sampleVector(column: Column, values: readonly SampleValue[]): ColumnVector {
  const length = values.length
  const nullCount = values.filter((value) => value === null).length
  const bits = new Uint8Array((length + 7) >> 3)
  values.forEach((value, i) => {
    if (value !== null) bits[i >> 3] |= 1 << (i & 7)
  })
  const validity = nullCount === 0 ? undefined : bits
  const { kind } = column.type
  if (isNested(column.type)) {
    const { children, offsets } = childVectors(column.type, values)
    return { column, length, nullCount, validity, data: new Uint8Array(0), offsets, children }
  }
  if (kind === 'string' || kind === 'json' || kind === 'binary') {
    const parts = values.map((value) => (value === null ? new Uint8Array(0) : bytesOf(value)))
    const offsets = new Int32Array(length + 1)
    parts.forEach((part, i) => {
      offsets[i + 1] = offsets[i] + part.length
    })
    return { column, length, nullCount, validity, data: Buffer.concat(parts), offsets }
  }
  return { column, length, nullCount, validity, data: fixedData(column.type, values), offsets: undefined }
}

function childVectors(type: ColumnType, values: readonly SampleValue[]): Pick<ColumnVector, 'children' | 'offsets'> {
  const fields = childFields(type)
  if (type.kind === 'struct') {
    const inside = (field: Field) =>
      values.map((value) => (value === null ? null : (value as SampleStruct)[field.name]))
    return { children: fields.map((field) => sampleVector(field, inside(field))), offsets: undefined }
  }
  const lists = values.map((value) => (value ?? []) as readonly SampleValue[])
  const offsets = new Int32Array(values.length + 1)
  lists.forEach((list, i) => {
    offsets[i + 1] = offsets[i] + list.length
  })
  const slots = lists.flat()
  const inside = (i: number) =>
    type.kind === 'list' ? slots : slots.map((entry) => (entry as readonly SampleValue[])[i])
  return { children: fields.map((field, i) => sampleVector(field, inside(i))), offsets }
}

type SampleStruct = { readonly [name: string]: SampleValue }

function bytesOf(value: SampleValue): Uint8Array {
  return value instanceof Uint8Array ? value : new TextEncoder().encode(String(value))
}

function fixedData(type: ColumnType, values: readonly SampleValue[]): Uint8Array {
  const data = new Uint8Array(values.length * 16)
  const view = new DataView(data.buffer)
  values.forEach((value, i) => {
    if (value === null) {
      // A null row's slot holds anything.
      if (type.kind !== 'boolean') data.fill(0xa5, i * widthOf(type), (i + 1) * widthOf(type))
    } else if (type.kind === 'boolean') data[i >> 3] |= value ? 1 << (i & 7) : 0
    else if (type.kind === 'int' || type.kind === 'date') view.setInt32(i * 4, Number(value), true)
    else if (type.kind === 'float') view.setFloat32(i * 4, Number(value), true)
    else if (type.kind === 'double') view.setFloat64(i * 8, Number(value), true)
    else if (type.kind === 'uuid') data.set(Buffer.from(String(value).replaceAll('-', ''), 'hex'), i * 16)
    else if (type.kind === 'decimal') {
      view.setBigInt64(i * 16, BigInt.asIntN(64, value as bigint), true)
      view.setBigInt64(i * 16 + 8, (value as bigint) >> 64n, true)
    } else view.setBigInt64(i * 8, value as bigint, true)
  })
  return data
}

function widthOf(type: ColumnType): number {
  if (type.kind === 'decimal' || type.kind === 'uuid') return 16
  return type.kind === 'int' || type.kind === 'date' || type.kind === 'float' ? 4 : 8
}
