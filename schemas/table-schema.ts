/**
 * A table's schema: columns with Iceberg field ids, and the five hidden columns every table has.
 *
 * Schemas are versions handed out by the catalog (`schema_versions`). A segment names the schema id it was
 * written with; readers map every file to the current schema by field id, so dropping `a` and adding a new `a`
 * never brings old values back.
 */
import type { Field } from './column-type.ts'

/** A record without a value for a required column becomes a dead letter. */
export type Column = Field

export type TableSchema = {
  readonly schemaId: number
  /** User columns first, in declared order; then the hidden columns (`HIDDEN_COLUMNS`), always all five. */
  readonly columns: readonly Column[]
}

/**
 * `(_source, _partition, _offset)` is unique in a table, also across a recreated topic.
 *  - `_source`     `kafka:<topic>:<topic id>` or `http:<producer>`
 *  - `_partition`  topic-partition number; 0 for HTTP
 *  - `_offset`     Kafka offset, or the row's sequence number of its HTTP producer
 *  - `_timestamp`  the record's own timestamp; null where it has none
 *  - `_arrived`    when ingest decoded it, by the ingest process's clock
 */
export const HIDDEN_COLUMNS: readonly Column[] = [
  { fieldId: 1, name: '_source', type: { kind: 'string' }, required: true },
  { fieldId: 2, name: '_partition', type: { kind: 'int' }, required: true },
  { fieldId: 3, name: '_offset', type: { kind: 'long' }, required: true },
  { fieldId: 4, name: '_timestamp', type: { kind: 'timestamptz' }, required: false },
  { fieldId: 5, name: '_arrived', type: { kind: 'timestamptz' }, required: true },
]

/** Field ids below this one are kept for hidden columns. */
export const FIRST_USER_FIELD_ID = 16

export function isHidden(column: Column): boolean {
  return column.fieldId < FIRST_USER_FIELD_ID
}

export function userColumns(schema: TableSchema): readonly Column[] {
  return schema.columns.filter((column) => !isHidden(column))
}

/** No field of a struct is called so: the engine takes it for the struct's own field id when it writes a file. */
export const OWN_ID_KEY = '__duckdb_field_id'

/** Name and columns of a table's dead letters: `<table>__dead_letters`. It is a table like any other. */
export const DEAD_LETTERS_SUFFIX = '__dead_letters'

export const DEAD_LETTER_COLUMNS: readonly Column[] = [
  { fieldId: 16, name: 'topic', type: { kind: 'string' }, required: false },
  { fieldId: 17, name: 'partition', type: { kind: 'int' }, required: false },
  { fieldId: 18, name: 'offset', type: { kind: 'long' }, required: true },
  { fieldId: 19, name: 'reason', type: { kind: 'string' }, required: true },
  { fieldId: 20, name: 'column', type: { kind: 'string' }, required: false },
  { fieldId: 21, name: 'raw_key', type: { kind: 'binary' }, required: false },
  { fieldId: 22, name: 'raw', type: { kind: 'binary' }, required: false },
  // Since the release after the first: tables of before get them when they are opened.
  { fieldId: 23, name: 'raw_headers', type: { kind: 'binary' }, required: false },
  { fieldId: 24, name: 'pipeline', type: { kind: 'string' }, required: false },
  { fieldId: 25, name: 'kind', type: { kind: 'string' }, required: false },
]
