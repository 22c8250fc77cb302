/**
 * The catalog's tables as the query builder sees them. What they are for is told beside their definition in
 * `migrations/`. Every integer is 64 bits and comes back as a bigint; `rows-as-values.ts` is where it stops being one.
 */
import type { ColumnType, Generated, Kysely, Transaction } from 'kysely'

type Int = ColumnType<bigint, bigint | number, bigint | number>
type MaybeInt = ColumnType<bigint | null, bigint | number | null, bigint | number | null>

export type FormatRow = { id: Int; minimum_reader: Int; minimum_writer: Int }
export type MigrationRow = { name: string; applied_at: Int }
export type ClockRow = { id: Int; latest: Int }

export type TableRow = {
  table_id: Generated<bigint>
  name: string
  location: string
  partition_json: string
  sort_json: string
  properties_json: string
  version: Int
  metadata_location: string | null
  metadata_checksum: string | null
  last_field_id: Int
  snapshot_rows: Int
  created_at: Int
}
export type SchemaVersionRow = { table_id: Int; schema_id: Int; columns_json: string; created_at: Int }

export type WriterRow = {
  writer_id: string
  epoch: Int
  kind: string
  registered_at: Int
  heartbeat_at: Int
  retired_at: MaybeInt
  fenced_at: MaybeInt
  speaks: MaybeInt
}
export type LeaseRow = { table_id: Int; holder: string; epoch: Int; until: Int }

export type SegmentRow = {
  segment_id: Generated<bigint>
  table_id: Int
  schema_id: Int
  path: string
  row_count: Int
  bytes: Int
  etag: string | null
  checksum: string | null
  bounds_json: string
  sources_json: string
  touched_grain: string
  touched_json: string
  commit_id: string
  writer_id: string
  added_version: Int
  added_at: Int
  removed_version: MaybeInt
  removed_at: MaybeInt
}

export type CoverageRow = {
  pipeline: string
  source: string
  partition: Int
  earlier_ranges_json: string
  range_start: Int
  range_end: Int
  records_in: Int
  records_dead: Int
  records_filtered: Int
  log_end: MaybeInt
  caught_up_at: MaybeInt
  updated_at: Int
  recorded_end: MaybeInt
}
export type ExpiredProducerRow = {
  pipeline: string
  source: string
  next_sequence: Int
  recorded_end: MaybeInt
  expired_at: Int
}
export type PipelineBindingRow = { pipeline: string; table_id: Int; topic: string }
export type CommitRow = { commit_id: string; kind: string; answer_json: string; committed_at: Int }
export type IdempotencyKeyRow = {
  table_id: Int
  key: string
  row_count: Int
  dead_count: ColumnType<bigint, bigint | number | undefined, never>
  version: Int
  commit_id: string
  created_at: Int
}

export type ReaderRow = { reader_id: string; table_id: Int; oldest_version: Int; seen_at: Int }
export type TombstoneRow = {
  tombstone_id: Generated<bigint>
  table_id: Int
  path: string
  segment_id: MaybeInt
  removed_version: Int
  removed_at: Int
}
export type SnapshotRow = {
  table_id: Int
  version: Int
  metadata_location: string
  epoch: Int
  rows_added: Int
  snapshot_rows: Int
  commit_id: string
  committed_at: Int
}

export type MaskRow = {
  mask_id: Generated<bigint>
  /** `masked-offsets.ts` writes it; `[]` when it is forgotten. */
  predicate: string
  requested_by: string
  table_id: Int
  version: Int
  created_at: Int
  applied_version: MaybeInt
  applied_at: MaybeInt
  action: string
  why: string
  /** `[[source, partition, rows], …]` */
  counts_json: string
  row_count: Int
  applied_rows: Int
  commit_id: string | null
}
export type PartitionStatusRow = {
  pipeline: string
  topic: string
  partition: Int
  source: string
  writer_id: string
  state: string
  detail: string | null
  log_start: MaybeInt
  log_end: MaybeInt
  position: MaybeInt
  rows_per_s: MaybeInt
  bytes_per_s: MaybeInt
  updated_at: Int
}
export type PipelineTaskRow = {
  pipeline: string
  writer_id: string
  state: string
  detail: string | null
  started_at: Int
}
export type OffsetMoveRow = {
  move_id: Generated<bigint>
  pipeline: string
  topic: string
  partition: Int
  source: string
  kind: string
  range_start: Int
  range_end: Int
  requested_by: string
  why: string
  moved_at: Int
}
export type ConnectorChangesRow = { id: Int; latest: Int }
export type ConnectorRow = {
  name: string
  properties_json: string
  target: string
  generation: Int
  restarts: Int
  topics_reset: Int
  request_id: string
  created_at: Int
  updated_at: Int
}
export type ConnectorTaskRow = {
  connector: string
  task_id: Int
  writer_id: string
  worker: string
  state: string
  trace: string | null
  partitions_json: string
  warnings_json: string
  generation: Int
  restarts: Int
  heartbeat_at: Int
  updated_at: Int
}
export type ConnectorTopicRow = { connector: string; topic: string }

export type Database = {
  format: FormatRow
  migrations: MigrationRow
  clock: ClockRow
  tables: TableRow
  schema_versions: SchemaVersionRow
  writers: WriterRow
  leases: LeaseRow
  segments: SegmentRow
  coverage: CoverageRow
  expired_producers: ExpiredProducerRow
  pipeline_bindings: PipelineBindingRow
  commits: CommitRow
  idempotency_keys: IdempotencyKeyRow
  readers: ReaderRow
  tombstones: TombstoneRow
  snapshots: SnapshotRow
  masks: MaskRow
  partition_status: PartitionStatusRow
  pipeline_tasks: PipelineTaskRow
  offset_moves: OffsetMoveRow
  connector_changes: ConnectorChangesRow
  connectors: ConnectorRow
  connector_tasks: ConnectorTaskRow
  connector_topics: ConnectorTopicRow
}

export type Tx = Transaction<Database>
export type Db = Kysely<Database>
