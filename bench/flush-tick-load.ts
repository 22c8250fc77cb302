/**
 * Tables, segments and ticks for the flush tick's figures: the rows a catalog gets, without Kafka, Parquet or an object
 * store behind them, so that what is measured is the catalog.
 *
 * A segment is that of a table of 17 columns (bounds of 16 bytes at most, as the segment writer makes them) whose rows come
 * from as many topic-partitions as the tick advances in its table.
 */
import type { Catalog, ColumnBounds, FlushTick, NewSegment, Table, Writer } from '../lake/catalog/catalog.ts'
import { defineTable } from '../lake/table-definition.ts'
import type { World } from '../runtime/world.ts'
import type { SourceAdvance, SourceKey } from '../schemas/coverage.ts'

export const ROWS_PER_SOURCE = 300
const USER_COLUMNS = 12
const HOUR = 490_000

export function tableName(index: number): string {
  return `bench_${String(index).padStart(3, '0')}`
}

export function pipelineOf(index: number): string {
  return `pipeline-${index}`
}

export async function createTables(catalog: Catalog, count: number): Promise<Table[]> {
  const tables: Table[] = []
  for (let index = 0; index < count; index += 1) {
    const columns = Array.from({ length: USER_COLUMNS }, (_, i) => ({
      name: `column_${i}`,
      type: i % 3 === 0 ? ({ kind: 'string' } as const) : ({ kind: 'long' } as const),
      required: i === 0,
    }))
    const definition = { name: tableName(index), columns, partition: [], sort: [], eventTime: undefined }
    tables.push(await catalog.createTable(defineTable(definition, `s3://bench/lake/${tableName(index)}`)))
  }
  return tables
}

/** Where every source of one writer stands, by table. */
export type Positions = { readonly sources: readonly SourceKey[]; next: bigint }

/** Sources of table `index` that this writer reads: `count` topic-partitions of a topic of its own. */
export function positionsOf(index: number, first: number, count: number): Positions {
  const sources = Array.from({ length: count }, (_, i) => ({
    pipeline: pipelineOf(index),
    source: `kafka:topic-${index}:1b4e28ba-2fa1-11d2-883f-0016d3cca427`,
    partition: first + i,
  }))
  return { sources, next: 0n }
}

/** A tick with one segment for each of these tables; the positions move when `advance` is called after the commit. */
export function nextTick(
  world: World,
  writer: Writer,
  sequence: number,
  feeds: readonly { readonly table: Table; readonly positions: Positions }[],
): { readonly tick: FlushTick; advance(): void } {
  const advances: SourceAdvance[] = []
  const segments: NewSegment[] = []
  for (const { table, positions } of feeds) {
    const range = { start: positions.next, end: positions.next + BigInt(ROWS_PER_SOURCE) }
    for (const key of positions.sources) {
      advances.push({
        ...key,
        range,
        recordsIn: ROWS_PER_SOURCE,
        recordsDead: 0,
        recordsFiltered: 0,
        logEnd: range.end,
        caughtUp: true,
      })
    }
    const sources = positions.sources.map((key) => ({ ...key, range, rows: ROWS_PER_SOURCE }))
    segments.push({
      tableId: table.tableId,
      schemaId: 0,
      path: `${table.location}/segments/${writer.writerId}-${String(sequence).padStart(8, '0')}.parquet`,
      rowCount: sources.length * ROWS_PER_SOURCE,
      bytes: 40_000,
      etag: '"d41d8cd98f00b204e9800998ecf8427e"',
      bounds: boundsOf(table, range.start),
      sources,
      touched: { grain: 'hour', values: [HOUR, HOUR + 1] },
    })
  }
  return {
    tick: { commitId: world.random.uuid(), writer, segments, advances, idempotencyKeys: [] },
    advance() {
      for (const { positions } of feeds) positions.next += BigInt(ROWS_PER_SOURCE)
    },
  }
}

function boundsOf(table: Table, from: bigint): ColumnBounds[] {
  return (table.schemas[0]?.columns ?? []).map(({ fieldId, type }) => {
    const lower = Buffer.alloc(type.kind === 'string' ? 16 : 8, 0x61)
    const upper = Buffer.alloc(lower.length, 0x7a)
    lower.writeBigInt64LE(from, 0)
    return { fieldId, nullCount: 0, lower, upper }
  })
}
