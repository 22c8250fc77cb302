/**
 * The tables that tell how pipelines fare, in SQL's schema `millrace`: their columns, types and what they mean.
 * `docs/reference/system-tables.md` says the same, and a test compares the two.
 */
import type { SystemTable } from '../../lake/pipeline-rows.ts'

export type SystemColumn = {
  readonly name: string
  readonly type: 'VARCHAR' | 'VARCHAR[]' | 'BIGINT' | 'INTEGER' | 'TIMESTAMPTZ'
}

const columns = <const Names extends Readonly<Record<string, SystemColumn['type']>>>(types: Names) =>
  Object.entries(types).map(([name, type]): SystemColumn => ({ name, type }))

export const SYSTEM_TABLES = {
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
} as const satisfies Readonly<Record<SystemTable, readonly SystemColumn[]>>

export function isSystemTable(name: string): name is SystemTable {
  return Object.hasOwn(SYSTEM_TABLES, name)
}
