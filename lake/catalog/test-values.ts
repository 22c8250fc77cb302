/**
 * Tables, segments and ticks for tests of the catalog. Apart from the suite, because processes that tests start use them too.
 */
import type { OffsetRange, SourceAdvance, SourceKey } from '../../schemas/coverage.ts'
import type { FlushTick, NewSegment, Table, Writer } from './catalog.ts'

export const TEST_COLUMNS = [
  { fieldId: 16, name: 'id', type: { kind: 'long' }, required: true },
  { fieldId: 17, name: 'price', type: { kind: 'decimal', precision: 10, scale: 2 }, required: false },
] as const

export function newTableOf(name: string) {
  return {
    name,
    location: `file:///lake/${name}-1`,
    columns: TEST_COLUMNS,
    partition: [
      { fieldId: 16, transform: { kind: 'bucket', width: 4 }, name: 'id_bucket', partitionFieldId: 1000 },
    ] as const,
    sort: [{ fieldId: 16, descending: false, nullsFirst: true }],
    properties: { 'millrace.event-time-field-id': '17' },
  }
}

export function sourceKey(partition: number, pipeline = 'p'): SourceKey {
  return { pipeline, source: 'kafka:flights:topic-id', partition }
}

export function advanceOf(key: SourceKey, start: bigint, end: bigint): SourceAdvance {
  return {
    ...key,
    range: { start, end },
    recordsIn: Number(end - start),
    recordsDead: 0,
    recordsFiltered: 0,
    logEnd: end,
    caughtUp: true,
  }
}

export function segmentOf(
  table: Table,
  path: string,
  sources: readonly (SourceKey & { range: OffsetRange })[],
): NewSegment {
  const counted = sources.map((source) => ({ ...source, rows: Number(source.range.end - source.range.start) }))
  return {
    tableId: table.tableId,
    schemaId: 0,
    path: `${table.location}/segments/${path}`,
    rowCount: counted.reduce((sum, { rows }) => sum + rows, 0),
    bytes: 1000,
    etag: 'e1',
    bounds: [
      { fieldId: 16, nullCount: 0, lower: Uint8Array.of(0, 255, 7), upper: new Uint8Array(0) },
      { fieldId: 17, nullCount: 3, lower: undefined, upper: undefined },
    ],
    sources: counted,
    touched: { grain: 'hour', values: [490_000, 490_001] },
  }
}

/** One source, one segment, from `start` to `end`. */
export function tickOf(
  table: Table,
  writer: Writer,
  commitId: string,
  key: SourceKey,
  start: bigint,
  end: bigint,
): FlushTick {
  return {
    commitId,
    writer,
    segments: [segmentOf(table, `${commitId}.parquet`, [{ ...key, range: { start, end } }])],
    advances: [advanceOf(key, start, end)],
    idempotencyKeys: [],
  }
}
