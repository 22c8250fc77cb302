/**
 * Rows decoded together, as Arrow columns, with the offset ranges they came from. See `column-type.ts` for the
 * layout of each vector. `toRecordBatch` of `lake/arrow.ts` shows one to apache-arrow without copying.
 */
import type { Column, TableSchema } from './table-schema.ts'

export type ColumnVector = {
  /** A column, or a field inside one. */
  readonly column: Column
  /** Rows. */
  readonly length: number
  readonly nullCount: number
  /** ceil(length / 8) bytes or more; undefined when nullCount is 0. */
  readonly validity: Uint8Array | undefined
  /** Little-endian values; may be longer than needed. A null row's slot holds anything (variable length: zero bytes). */
  readonly data: Uint8Array
  /** length + 1 entries; only for string, json, binary, list and map. For the latter two positions in `children`. */
  readonly offsets: Int32Array | undefined
  /**
   * Of nested types, one for each of `childFields(column.type)`, otherwise absent. A struct's have its length (the slots of
   * null rows are null); those of list and map have `offsets[length]` entries. `data` is empty then.
   */
  readonly children?: readonly ColumnVector[]
}

export type MicroBatch = {
  readonly schema: TableSchema
  readonly rowCount: number
  /** One per column of the schema, in its order. */
  readonly vectors: readonly ColumnVector[]
}
