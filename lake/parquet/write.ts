/**
 * Writes a micro-batch as one Parquet file in memory: a segment.
 *
 *   PAR1, row group (a chunk for each leaf, in schema order) …, footer (Thrift), 4-byte footer length, PAR1
 *
 * Every column has its field id, exact logical type, statistics and null count; the footer repeats `keyValues`, so that
 * a bucket explains itself. Vectors are checked first, so a malformed batch is a bug found before any byte is written.
 */

import { type Field, isNested } from '../../schemas/column-type.ts'
import { invariant } from '../../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import type { ColumnBounds } from '../catalog/catalog.ts'
import { type EncodedChunk, encodeChunk } from './chunk-pages.ts'
import { checkVector } from './column-values.ts'
import { type LeafPath, leavesOf } from './nested-levels.ts'
import { encodeNested } from './nested-pages.ts'
import type { WriteParquet, WriteParquetOptions, WrittenParquet } from './parquet.ts'
import { PHYSICAL, physicalOf, writeSchema } from './schema-elements.ts'
import { ThriftWriter } from './thrift.ts'
import { type Extremes, footerStatistics, icebergBounds, widen } from './value-bounds.ts'

export const MAGIC = new TextEncoder().encode('PAR1')
export const CREATED_BY = 'millrace version 1.0.0 (build 0)'

type WrittenGroup = { readonly rowCount: number; readonly start: number; readonly chunks: readonly EncodedChunk[] }

export const writeParquet: WriteParquet = (batch, options) => {
  const { rowGroupRows } = options
  invariant('parquet-row-group-rows', Number.isInteger(rowGroupRows) && rowGroupRows > 0, { rowGroupRows })
  checkBatch(batch)
  return writeGroups(batch.schema.columns, rowGroupsOf(batch, rowGroupRows), options)
}

/** Rows [from, to) of the vectors, one for each column. */
type GroupRows = { readonly vectors: Iterable<ColumnVector>; readonly from: number; readonly to: number }

function* rowGroupsOf({ vectors, rowCount }: MicroBatch, rowGroupRows: number): Generator<GroupRows> {
  for (let from = 0; from < rowCount; from += rowGroupRows) {
    yield { vectors, from, to: Math.min(rowCount, from + rowGroupRows) }
  }
}

/** Rows of one row group: its columns in order, each of which is made when it is written. */
export type RowGroupColumns = { readonly rowCount: number; readonly vectors: Iterable<ColumnVector> }

/** A vector's memory may be used again when the next one is asked for. */
export function writeRowGroups(
  columns: readonly Field[],
  rowGroups: Iterable<RowGroupColumns>,
  options: Omit<WriteParquetOptions, 'rowGroupRows'>,
): WrittenParquet {
  function* checked({ rowCount, vectors }: RowGroupColumns): Generator<ColumnVector> {
    for (const vector of vectors) {
      checkVector(vector, rowCount)
      yield vector
    }
  }
  function* groups(): Generator<GroupRows> {
    for (const group of rowGroups) yield { vectors: checked(group), from: 0, to: group.rowCount }
  }
  return writeGroups(columns, groups(), options)
}

/** A file that leaves while it is made: nothing is kept of a row group but what the footer says of it. */
export type ParquetStream = {
  /** Each gives bytes in file order. Vectors' memory may be used again afterwards. */
  begin(): readonly Uint8Array[]
  rowGroup(rows: RowGroupColumns): readonly Uint8Array[]
  end(): readonly Uint8Array[]
}

export function createParquetStream(
  columns: readonly Field[],
  options: Omit<WriteParquetOptions, 'rowGroupRows'>,
): ParquetStream {
  const leaves = columns.flatMap((column) => leavesOf(column))
  const groups: WrittenGroup[] = []
  let position = MAGIC.length
  let rowCount = 0
  return {
    begin: () => [MAGIC],
    rowGroup({ rowCount: rows, vectors }) {
      const start = position
      const parts: Uint8Array[] = []
      const chunks: EncodedChunk[] = []
      for (const vector of vectors) {
        checkVector(vector, rows)
        for (const chunk of encodeColumn(vector, 0, rows, options)) {
          parts.push(...chunk.parts)
          chunks.push({ ...chunk, parts: [] })
          position += chunk.bytes
        }
      }
      invariant('parquet-leaves', chunks.length === leaves.length, { leaves: leaves.length, chunks: chunks.length })
      groups.push({ rowCount: rows, start, chunks })
      rowCount += rows
      return parts
    },
    end: () => tailParts(columns, leaves, groups, rowCount, options),
  }
}

function encodeColumn(
  vector: ColumnVector,
  from: number,
  to: number,
  options: Omit<WriteParquetOptions, 'rowGroupRows'>,
): readonly EncodedChunk[] {
  return isNested(vector.column.type)
    ? encodeNested(vector, from, to, options)
    : [encodeChunk(vector, from, to, options)]
}

/** Footer, its length, the closing magic. */
function tailParts(
  columns: readonly Field[],
  leaves: readonly LeafPath[],
  groups: readonly WrittenGroup[],
  rowCount: number,
  options: Pick<WriteParquetOptions, 'keyValues' | 'annotations'>,
): readonly Uint8Array[] {
  const footer = footerBytes(columns, leaves, groups, rowCount, options)
  const length = new Uint8Array(4)
  new DataView(length.buffer).setUint32(0, footer.length, true)
  return [footer, length, MAGIC]
}

function checkBatch({ schema, vectors, rowCount }: MicroBatch): void {
  const { length } = schema.columns
  invariant('parquet-columns', vectors.length === length, { columns: length, vectors: vectors.length })
  for (const vector of vectors) checkVector(vector, rowCount)
}

function writeGroups(
  columns: readonly Field[],
  given: Iterable<GroupRows>,
  options: Omit<WriteParquetOptions, 'rowGroupRows'>,
): WrittenParquet {
  const parts: Uint8Array[] = [MAGIC]
  const groups: WrittenGroup[] = []
  const leaves = columns.flatMap((column) => leavesOf(column))
  const columnBytes = new Array<number>(columns.length).fill(0)
  let position = MAGIC.length
  let rowCount = 0
  for (const { vectors, from, to } of given) {
    const start = position
    rowCount += to - from
    const chunks: EncodedChunk[] = []
    let column = 0
    for (const vector of vectors) {
      for (const chunk of encodeColumn(vector, from, to, options)) {
        chunks.push(chunk)
        for (const part of chunk.parts) parts.push(part)
        position += chunk.bytes
        columnBytes[column] += chunk.bytes
      }
      column += 1
    }
    invariant('parquet-leaves', chunks.length === leaves.length, { leaves: leaves.length, chunks: chunks.length })
    groups.push({ rowCount: to - from, start, chunks })
  }
  const tail = tailParts(columns, leaves, groups, rowCount, options)
  parts.push(...tail)
  const bytes = joined(
    parts,
    tail.reduce((sum, part) => sum + part.length, position),
  )
  const bounds = leaves.flatMap((leaf, i) => (leaf.isRepeated ? [] : [boundsOf(leaf, i, groups)]))
  return { bytes, bounds, columnBytes }
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

function boundsOf({ field }: LeafPath, index: number, groups: readonly WrittenGroup[]): ColumnBounds {
  let nullCount = 0
  let extremes: Extremes
  for (const group of groups) {
    nullCount += group.chunks[index].nullCount
    extremes = widen(field.type, extremes, group.chunks[index].extremes)
  }
  return { fieldId: field.fieldId, nullCount, ...icebergBounds(field.type, extremes) }
}

function footerBytes(
  columns: readonly Field[],
  leaves: readonly LeafPath[],
  groups: readonly WrittenGroup[],
  rowCount: number,
  { keyValues, annotations }: Pick<WriteParquetOptions, 'keyValues' | 'annotations'>,
): Uint8Array {
  const writer = new ThriftWriter()
  writer.beginStruct()
  writer.i32Field(1, 2)
  writeSchema(writer, 2, columns, annotations)
  writer.i64Field(3, rowCount)
  writer.structListField(4, groups, (group, ordinal) => writeRowGroup(writer, leaves, group, ordinal))
  const pairs = Object.entries(keyValues)
  if (pairs.length > 0) {
    writer.structListField(5, pairs, ([key, value]) => {
      writer.textField(1, key)
      writer.textField(2, value)
    })
  }
  writer.textField(6, CREATED_BY)
  // Statistics follow the order that the types define.
  writer.structListField(7, leaves, () => writer.structField(1, () => {}))
  writer.endStruct()
  return writer.bytes
}

function writeRowGroup(writer: ThriftWriter, leaves: readonly LeafPath[], group: WrittenGroup, ordinal: number): void {
  let position = group.start
  writer.structListField(1, group.chunks, (chunk, i) => {
    writer.i64Field(2, 0)
    writer.structField(3, () => writeChunkMetadata(writer, leaves[i], chunk, position))
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

function writeChunkMetadata(writer: ThriftWriter, { field, path }: LeafPath, chunk: EncodedChunk, start: number): void {
  writer.i32Field(1, PHYSICAL.indexOf(physicalOf(field.type)))
  writer.i32ListField(2, chunk.encodings)
  writer.textListField(3, path)
  writer.i32Field(4, chunk.codec)
  writer.i64Field(5, chunk.valueCount)
  writer.i64Field(6, chunk.uncompressedBytes)
  writer.i64Field(7, chunk.bytes)
  writer.i64Field(9, start + chunk.dictionaryBytes)
  if (chunk.dictionaryBytes > 0) writer.i64Field(11, start)
  const statistics = footerStatistics(field.type, chunk.extremes)
  writer.structField(12, () => {
    writer.i64Field(3, chunk.nullCount)
    if (statistics === undefined) return
    if (statistics.max !== undefined) writer.binaryField(5, statistics.max)
    writer.binaryField(6, statistics.min)
    if (statistics.max !== undefined) writer.booleanField(7, statistics.maxExact)
    writer.booleanField(8, statistics.minExact)
  })
}
