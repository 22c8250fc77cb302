/**
 * Writes a micro-batch as one Parquet file in memory: a segment.
 *
 *   PAR1, row group (column chunks in schema order) …, footer (Thrift), 4-byte footer length, PAR1
 *
 * Every column has its field id, exact logical type, statistics and null count; the footer repeats `keyValues`, so that
 * a bucket explains itself. Vectors are checked first, so a malformed batch is a bug found before any byte is written.
 */
import { invariant } from '../../schemas/errors.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { ColumnBounds } from '../catalog/catalog.ts'
import { type EncodedChunk, encodeChunk } from './chunk-pages.ts'
import { checkVector, decimalBytes } from './column-values.ts'
import type { PhysicalType, WriteParquet } from './parquet.ts'
import { ThriftWriter } from './thrift.ts'
import { type Extremes, footerStatistics, icebergBounds, widen } from './value-bounds.ts'

export const MAGIC = new TextEncoder().encode('PAR1')
export const CREATED_BY = 'millrace version 1.0.0 (build 0)'

type WrittenGroup = { readonly rowCount: number; readonly start: number; readonly chunks: readonly EncodedChunk[] }

export const writeParquet: WriteParquet = (batch, options) => {
  const { columns } = batch.schema
  invariant('parquet-columns', batch.vectors.length === columns.length, {
    columns: columns.length,
    vectors: batch.vectors.length,
  })
  invariant('parquet-row-group-rows', Number.isInteger(options.rowGroupRows) && options.rowGroupRows > 0, {
    rowGroupRows: options.rowGroupRows,
  })
  for (const vector of batch.vectors) checkVector(vector, batch.rowCount)

  const parts: Uint8Array[] = [MAGIC]
  const groups: WrittenGroup[] = []
  const columnBytes = new Array<number>(columns.length).fill(0)
  let position = MAGIC.length
  for (let from = 0; from < batch.rowCount; from += options.rowGroupRows) {
    const to = Math.min(batch.rowCount, from + options.rowGroupRows)
    const start = position
    const chunks = batch.vectors.map((vector) => encodeChunk(vector, from, to, options))
    chunks.forEach((chunk, i) => {
      for (const part of chunk.parts) parts.push(part)
      position += chunk.bytes
      columnBytes[i] += chunk.bytes
    })
    groups.push({ rowCount: to - from, start, chunks })
  }
  const footer = footerBytes(columns, groups, batch.rowCount, options.keyValues)
  const tail = new Uint8Array(4)
  new DataView(tail.buffer).setUint32(0, footer.length, true)
  parts.push(footer, tail, MAGIC)
  const bytes = joined(parts, position + footer.length + tail.length + MAGIC.length)
  return { bytes, bounds: columns.map((column, i) => boundsOf(column, i, groups)), columnBytes }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  invariant('parquet-file-length', at === length, { length, written: at })
  return bytes
}

function boundsOf(column: Column, index: number, groups: readonly WrittenGroup[]): ColumnBounds {
  let nullCount = 0
  let extremes: Extremes
  for (const group of groups) {
    nullCount += group.chunks[index].nullCount
    extremes = widen(column.type, extremes, group.chunks[index].extremes)
  }
  return { fieldId: column.fieldId, nullCount, ...icebergBounds(column.type, extremes) }
}

const PHYSICAL: readonly PhysicalType[] = [
  'BOOLEAN',
  'INT32',
  'INT64',
  'INT96',
  'FLOAT',
  'DOUBLE',
  'BYTE_ARRAY',
  'FIXED_LEN_BYTE_ARRAY',
]
const CONVERTED = { utf8: 0, decimal: 5, date: 6, timestampMicros: 10 } as const
const OPTIONAL = 1

function physicalOf(column: Column): PhysicalType {
  const { type } = column
  switch (type.kind) {
    case 'boolean':
      return 'BOOLEAN'
    case 'int':
    case 'date':
      return 'INT32'
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return 'INT64'
    case 'float':
      return 'FLOAT'
    case 'double':
      return 'DOUBLE'
    case 'decimal':
      return type.precision <= 9 ? 'INT32' : type.precision <= 18 ? 'INT64' : 'FIXED_LEN_BYTE_ARRAY'
    case 'uuid':
      return 'FIXED_LEN_BYTE_ARRAY'
    default:
      return 'BYTE_ARRAY'
  }
}

function footerBytes(
  columns: readonly Column[],
  groups: readonly WrittenGroup[],
  rowCount: number,
  keyValues: Readonly<Record<string, string>>,
): Uint8Array {
  const writer = new ThriftWriter()
  writer.beginStruct()
  writer.i32Field(1, 2)
  writer.structListField(2, [undefined, ...columns], (column) => {
    if (column === undefined) {
      writer.textField(4, 'schema')
      writer.i32Field(5, columns.length)
    } else writeSchemaElement(writer, column)
  })
  writer.i64Field(3, rowCount)
  writer.structListField(4, groups, (group, ordinal) => writeRowGroup(writer, columns, group, ordinal))
  const pairs = Object.entries(keyValues)
  if (pairs.length > 0) {
    writer.structListField(5, pairs, ([key, value]) => {
      writer.textField(1, key)
      writer.textField(2, value)
    })
  }
  writer.textField(6, CREATED_BY)
  // Statistics follow the order that the types define.
  writer.structListField(7, columns, () => writer.structField(1, () => {}))
  writer.endStruct()
  return writer.bytes
}

function writeSchemaElement(writer: ThriftWriter, column: Column): void {
  const { type } = column
  const physical = physicalOf(column)
  writer.i32Field(1, PHYSICAL.indexOf(physical))
  if (type.kind === 'uuid') writer.i32Field(2, 16)
  else if (type.kind === 'decimal' && type.precision > 18) writer.i32Field(2, decimalBytes(type.precision))
  writer.i32Field(3, column.required ? 0 : OPTIONAL)
  writer.textField(4, column.name)
  if (type.kind === 'string' || type.kind === 'json') writer.i32Field(6, CONVERTED.utf8)
  else if (type.kind === 'date') writer.i32Field(6, CONVERTED.date)
  else if (type.kind === 'timestamptz') writer.i32Field(6, CONVERTED.timestampMicros)
  else if (type.kind === 'decimal') {
    writer.i32Field(6, CONVERTED.decimal)
    writer.i32Field(7, type.scale)
    writer.i32Field(8, type.precision)
  }
  writer.i32Field(9, column.fieldId)
  writeLogicalType(writer, column)
}

/** Times and timestamps without a zone have no older annotation: it would claim UTC. */
function writeLogicalType(writer: ThriftWriter, column: Column): void {
  const { type } = column
  const logical = (id: number, write: () => void) => writer.structField(10, () => writer.structField(id, write))
  const inMicros = (isUtc: boolean) => () => {
    writer.booleanField(1, isUtc)
    writer.structField(2, () => writer.structField(2, () => {}))
  }
  switch (type.kind) {
    case 'string':
    case 'json':
      logical(1, () => {})
      return
    case 'decimal':
      logical(5, () => {
        writer.i32Field(1, type.scale)
        writer.i32Field(2, type.precision)
      })
      return
    case 'date':
      logical(6, () => {})
      return
    case 'time':
      logical(7, inMicros(false))
      return
    case 'timestamp':
      logical(8, inMicros(false))
      return
    case 'timestamptz':
      logical(8, inMicros(true))
      return
    case 'uuid':
      logical(14, () => {})
      return
  }
}

function writeRowGroup(writer: ThriftWriter, columns: readonly Column[], group: WrittenGroup, ordinal: number): void {
  let position = group.start
  writer.structListField(1, group.chunks, (chunk, i) => {
    writer.i64Field(2, 0)
    writer.structField(3, () => writeChunkMetadata(writer, columns[i], chunk, group.rowCount, position))
    position += chunk.bytes
  })
  writer.i64Field(
    2,
    group.chunks.reduce((sum, chunk) => sum + chunk.uncompressedBytes, 0),
  )
  writer.i64Field(3, group.rowCount)
  writer.i64Field(5, group.start)
  writer.i64Field(6, position - group.start)
  if (ordinal < 32768) writer.i16Field(7, ordinal)
}

function writeChunkMetadata(
  writer: ThriftWriter,
  column: Column,
  chunk: EncodedChunk,
  rowCount: number,
  start: number,
): void {
  writer.i32Field(1, PHYSICAL.indexOf(physicalOf(column)))
  writer.i32ListField(2, chunk.encodings)
  writer.textListField(3, [column.name])
  writer.i32Field(4, chunk.codec)
  writer.i64Field(5, rowCount)
  writer.i64Field(6, chunk.uncompressedBytes)
  writer.i64Field(7, chunk.bytes)
  writer.i64Field(9, start + chunk.dictionaryBytes)
  if (chunk.dictionaryBytes > 0) writer.i64Field(11, start)
  const statistics = footerStatistics(column.type, chunk.extremes)
  writer.structField(12, () => {
    writer.i64Field(3, chunk.nullCount)
    if (statistics === undefined) return
    if (statistics.max !== undefined) writer.binaryField(5, statistics.max)
    writer.binaryField(6, statistics.min)
    if (statistics.max !== undefined) writer.booleanField(7, statistics.maxExact)
    writer.booleanField(8, statistics.minExact)
  })
}
