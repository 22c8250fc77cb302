/**
 * The tables that tell about the lake and how it fares, in SQL's schemas `millrace` and `information_schema`: their columns and
 * types. `docs/reference/system-tables.md` says the same of the first, and a test compares the two; the second are as the SQL
 * standard (and PostgreSQL) has them.
 */
import type { PipelineTable } from '../../lake/pipeline-rows.ts'
import { STANDARD_SCHEMA } from '../statement/standard-schema.ts'
import { STANDARD_COLUMNS } from './standard-columns.ts'
import { columns, type SystemColumn } from './system-column.ts'

export const SYSTEM_SCHEMA = 'millrace'
/** Where the lake's tables are, for those who ask; it may stand before a table's name. */
export const LAKE_SCHEMA = 'main'
/** What `current_database()` says, and `table_catalog`. */
export const LAKE_CATALOG = 'millrace'

const PIPELINE_TABLES = {
  pipelines: columns({
    pipeline: 'VARCHAR',
    state: 'VARCHAR',
    detail: 'VARCHAR',
    topics: 'VARCHAR[]',
    tables: 'VARCHAR[]',
    tasks: 'INTEGER',
    partitions: 'INTEGER',
    lag: 'BIGINT',
    freshness_ms: 'BIGINT',
    rows_per_s: 'BIGINT',
    bytes_per_s: 'BIGINT',
    records_in: 'BIGINT',
    records_dead: 'BIGINT',
    records_filtered: 'BIGINT',
    dead_letters: 'BIGINT',
  }),
  partitions: columns({
    pipeline: 'VARCHAR',
    topic: 'VARCHAR',
    partition: 'INTEGER',
    source: 'VARCHAR',
    state: 'VARCHAR',
    detail: 'VARCHAR',
    log_start: 'BIGINT',
    log_end: 'BIGINT',
    committed_offset: 'BIGINT',
    position: 'BIGINT',
    lag: 'BIGINT',
    freshness_ms: 'BIGINT',
    rows_per_s: 'BIGINT',
    bytes_per_s: 'BIGINT',
    records_in: 'BIGINT',
    records_dead: 'BIGINT',
    records_filtered: 'BIGINT',
    offsets_skipped: 'BIGINT',
    writer: 'VARCHAR',
    told_at: 'TIMESTAMPTZ',
  }),
  dead_letters: columns({
    pipeline: 'VARCHAR',
    topic: 'VARCHAR',
    partition: 'INTEGER',
    source: 'VARCHAR',
    tables: 'VARCHAR[]',
    records_dead: 'BIGINT',
    replayed: 'BIGINT',
    discarded: 'BIGINT',
    dead_letters: 'BIGINT',
  }),
  offsets: columns({
    pipeline: 'VARCHAR',
    topic: 'VARCHAR',
    partition: 'INTEGER',
    source: 'VARCHAR',
    tables: 'VARCHAR[]',
    kind: 'VARCHAR',
    range_start: 'BIGINT',
    range_end: 'BIGINT',
    records_in: 'BIGINT',
    records_dead: 'BIGINT',
    records_filtered: 'BIGINT',
    requested_by: 'VARCHAR',
    why: 'VARCHAR',
  }),
} as const satisfies Readonly<Record<PipelineTable, readonly SystemColumn[]>>

export const LAKE_TABLES = {
  tables: columns({
    table_name: 'VARCHAR',
    table_id: 'BIGINT',
    version: 'BIGINT',
    rows: 'BIGINT',
    bytes: 'BIGINT',
    files: 'BIGINT',
    segments_live: 'BIGINT',
    rows_in_segments: 'BIGINT',
    bytes_in_segments: 'BIGINT',
    rows_masked: 'BIGINT',
    snapshot_id: 'BIGINT',
    snapshot_at: 'TIMESTAMPTZ',
    freshness_ms: 'BIGINT',
    columns: 'INTEGER',
    schema_id: 'INTEGER',
    partitioning: 'VARCHAR[]',
    sort_order: 'VARCHAR[]',
    event_time: 'VARCHAR',
    location: 'VARCHAR',
    metadata_location: 'VARCHAR',
    properties: 'MAP(VARCHAR, VARCHAR)',
    read_at: 'TIMESTAMPTZ',
  }),
  columns: columns({
    table_name: 'VARCHAR',
    column_name: 'VARCHAR',
    ordinal: 'INTEGER',
    field_id: 'INTEGER',
    type: 'VARCHAR',
    sql_type: 'VARCHAR',
    required: 'BOOLEAN',
    hidden: 'BOOLEAN',
    key: 'BOOLEAN',
    sort_position: 'INTEGER',
    partitioning: 'VARCHAR[]',
    former_names: 'VARCHAR[]',
  }),
  snapshots: columns({
    table_name: 'VARCHAR',
    snapshot_id: 'BIGINT',
    parent_id: 'BIGINT',
    sequence_number: 'BIGINT',
    committed_at: 'TIMESTAMPTZ',
    operation: 'VARCHAR',
    is_current: 'BOOLEAN',
    schema_id: 'INTEGER',
    files_added: 'BIGINT',
    rows_added: 'BIGINT',
    bytes_added: 'BIGINT',
    files_deleted: 'BIGINT',
    rows_deleted: 'BIGINT',
    bytes_deleted: 'BIGINT',
    files: 'BIGINT',
    rows: 'BIGINT',
    bytes: 'BIGINT',
    manifest_list: 'VARCHAR',
    summary: 'MAP(VARCHAR, VARCHAR)',
  }),
  files: columns({
    table_name: 'VARCHAR',
    path: 'VARCHAR',
    kind: 'VARCHAR',
    rows: 'BIGINT',
    bytes: 'BIGINT',
    partition: 'MAP(VARCHAR, VARCHAR)',
    bounds: 'MAP(VARCHAR, STRUCT(null_count BIGINT, lower VARCHAR, upper VARCHAR))',
    schema_id: 'INTEGER',
    is_sorted: 'BOOLEAN',
    added_version: 'BIGINT',
    added_at: 'TIMESTAMPTZ',
    added_snapshot_id: 'BIGINT',
    sequence_number: 'BIGINT',
    checksum: 'VARCHAR',
  }),
  table_partitions: columns({
    table_name: 'VARCHAR',
    partition: 'MAP(VARCHAR, VARCHAR)',
    files: 'BIGINT',
    rows: 'BIGINT',
    bytes: 'BIGINT',
    newest_file_at: 'TIMESTAMPTZ',
  }),
} as const satisfies Readonly<Record<string, readonly SystemColumn[]>>

export const PROCESS_TABLES = {
  queries: columns({
    query_id: 'VARCHAR',
    owner: 'VARCHAR',
    statement: 'VARCHAR',
    state: 'VARCHAR',
    door: 'VARCHAR',
    format: 'VARCHAR',
    started_at: 'TIMESTAMPTZ',
    ended_at: 'TIMESTAMPTZ',
    elapsed_ms: 'BIGINT',
    rows: 'BIGINT',
    bytes: 'BIGINT',
    error_code: 'VARCHAR',
    error: 'VARCHAR',
  }),
  settings: columns({
    name: 'VARCHAR',
    value: 'VARCHAR',
    default_value: 'VARCHAR',
    source: 'VARCHAR',
    description: 'VARCHAR',
  }),
} as const satisfies Readonly<Record<string, readonly SystemColumn[]>>

const MILLRACE_TABLES = { ...LAKE_TABLES, ...PIPELINE_TABLES, ...PROCESS_TABLES }

export type SystemTable =
  | `${typeof SYSTEM_SCHEMA}.${keyof typeof MILLRACE_TABLES}`
  | `${typeof STANDARD_SCHEMA}.${keyof typeof STANDARD_COLUMNS}`

/** By schema and name. */
export const SYSTEM_TABLES = Object.fromEntries([
  ...Object.entries(MILLRACE_TABLES).map(([name, list]) => [`${SYSTEM_SCHEMA}.${name}`, list]),
  ...Object.entries(STANDARD_COLUMNS).map(([name, list]) => [`${STANDARD_SCHEMA}.${name}`, list]),
]) as Readonly<Record<SystemTable, readonly SystemColumn[]>>

export function isSystemTable(id: string): id is SystemTable {
  return Object.hasOwn(SYSTEM_TABLES, id)
}

export const SYSTEM_SCHEMAS: readonly string[] = [SYSTEM_SCHEMA, STANDARD_SCHEMA]

export function isSystemSchema(name: string): boolean {
  return SYSTEM_SCHEMAS.includes(name)
}

/** Names without the schema. */
export function systemTablesOf(schema: string): readonly string[] {
  return Object.keys(schema === SYSTEM_SCHEMA ? MILLRACE_TABLES : STANDARD_COLUMNS)
}

/** `millrace.tables` → `['millrace', 'tables']` */
export function partsOf(id: SystemTable): readonly [schema: string, name: string] {
  const dot = id.indexOf('.')
  return [id.slice(0, dot), id.slice(dot + 1)]
}

/** What a query of `table_partitions` needs: it is made of another. */
export function readFrom(id: SystemTable): SystemTable {
  return id === 'millrace.table_partitions' ? 'millrace.files' : id
}
