/**
 * What the rest of the lake sees of a Parquet file: its footer as plain data, and the result of writing one.
 * `write.ts` writes micro-batches (segments), `footer.ts` reads footers of any writer's files, `prune.ts` drops row
 * groups by their statistics, `ranges.ts` says which bytes a query needs. Source: the Apache Parquet format, v2.
 */
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import type { ColumnBounds } from '../catalog/catalog.ts'

export type PhysicalType =
  | 'BOOLEAN'
  | 'INT32'
  | 'INT64'
  | 'INT96'
  | 'FLOAT'
  | 'DOUBLE'
  | 'BYTE_ARRAY'
  | 'FIXED_LEN_BYTE_ARRAY'

export type LeafColumn = {
  /** Dotted path for nested leaves; a flat column's name otherwise. */
  readonly path: string
  readonly fieldId: number | undefined
  readonly physical: PhysicalType
  readonly typeLength: number | undefined
  /** `STRING`, `DECIMAL(10,2)`, `DATE`, `TIME(MICROS,false)`, `TIMESTAMP(MICROS,true)`, `UUID`, `JSON`, … or undefined. */
  readonly logical: string | undefined
  /** Of the leaf within its row: OPTIONAL when anything on the way may be null, REPEATED inside lists and maps. */
  readonly repetition: 'REQUIRED' | 'OPTIONAL' | 'REPEATED'
}

/** A column of the file's schema, or something inside one: what the leaves alone do not tell. */
export type SchemaNode = {
  readonly name: string
  readonly fieldId: number | undefined
  readonly repetition: LeafColumn['repetition']
  /** `LIST` and `MAP` of groups; a struct has none. */
  readonly logical: string | undefined
  /** Of a leaf: where it stands among the footer's columns; undefined for a group. */
  readonly columnIndex: number | undefined
  readonly children: readonly SchemaNode[]
}

export type ColumnStatistics = {
  /** PLAIN-encoded value without a length prefix (Iceberg's single-value binary, except decimals in INT32/INT64: little-endian). */
  readonly min: Uint8Array | undefined
  readonly max: Uint8Array | undefined
  readonly minExact: boolean
  readonly maxExact: boolean
  readonly nullCount: number | undefined
  /** Values that differ, where the writer has counted them (DuckDB does so of a dictionary). */
  readonly distinctCount?: number
}

export type ColumnChunk = {
  readonly columnIndex: number
  /** All pages of the chunk, dictionary page included: half-open file positions. */
  readonly start: number
  readonly end: number
  readonly codec: string
  readonly encodings: readonly string[]
  readonly valueCount: number
  readonly uncompressedBytes: number
  readonly statistics: ColumnStatistics | undefined
  readonly bloomFilter: { readonly start: number; readonly end: number | undefined } | undefined
}

export type RowGroup = { readonly rowCount: number; readonly chunks: readonly ColumnChunk[] }

export type ParquetFooter = {
  readonly rowCount: number
  /** The schema as a tree: one node a column of the table. */
  readonly fields: readonly SchemaNode[]
  /** The leaves of all columns, in order. */
  readonly columns: readonly LeafColumn[]
  readonly rowGroups: readonly RowGroup[]
  readonly keyValues: ReadonlyMap<string, string>
  readonly createdBy: string | undefined
  /** Bytes of the footer with its 4-byte length and the closing magic. */
  readonly footerBytes: number
}

export type WriteParquetOptions = {
  readonly compression: 'zstd' | 'none'
  /** zstd level; 1 for segments. */
  readonly level: number
  readonly rowGroupRows: number
  /** Repeated in the footer, so that a bucket explains itself. */
  readonly keyValues: Readonly<Record<string, string>>
  /** By field id, what values are that our types have no name for; their bytes and order are those of the field's type. */
  readonly annotations?: ReadonlyMap<number, ParquetAnnotation>
}

/** Of `int`, of `timestamp`. */
export type ParquetAnnotation = 'int8' | 'int16' | 'uint8' | 'uint16' | 'timestamp-ns'

export type WrittenParquet = {
  readonly bytes: Uint8Array
  /** Of every leaf outside lists and maps. */
  readonly bounds: readonly ColumnBounds[]
  /** Compressed bytes per column of the table, in schema order. */
  readonly columnBytes: readonly number[]
}

export type WriteParquet = (batch: MicroBatch, options: WriteParquetOptions) => WrittenParquet
