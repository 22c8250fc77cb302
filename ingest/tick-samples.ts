/** Small tables, rows and blocks for the unit tests of the tick, its flusher and the HTTP intake. */
import type { Table } from '../lake/catalog/catalog.ts'
import { defineTable } from '../lake/table-definition.ts'
import type { SourceAdvance, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { HIDDEN_COLUMNS } from '../schemas/table-schema.ts'
import { createBatchBuilder } from './decoder/batch-builder.ts'
import { concatBatches } from './decoder/filter-rows.ts'
import { createOpenTick, type OpenTick, type SealedBatch, type TableFeed } from './open-tick.ts'

export function sampleTable(tableId: number, name: string): Table {
  const defined = defineTable(
    {
      name,
      columns: [{ name: 'id', type: { kind: 'long' }, required: true }],
      partition: [],
      sort: [],
      eventTime: undefined,
    },
    `file:///lake/${name}`,
  )
  return {
    ...defined,
    tableId,
    schemas: [{ schemaId: 0, columns: [...(defined.columns ?? []), ...HIDDEN_COLUMNS] }],
    version: 0n,
    metadataLocation: undefined,
    lastFieldId: 16,
  }
}

export function sampleFeed(tableId: number, name: string): TableFeed {
  return { table: sampleTable(tableId, name), schemaId: 0, eventTimeFieldId: undefined }
}

export const sampleTick = (): OpenTick => createOpenTick()

export const sampleKey = (source: string): SourceKey => ({ pipeline: 'p', source, partition: 0 })

/** Rows with these ids come from the source, at these offsets; the source advances over them. */
export function addBlock(
  tick: OpenTick,
  feed: TableFeed,
  block: { key: SourceKey; generation: number; start: bigint; ids: readonly bigint[]; idempotencyKey?: string },
): void {
  const { key, generation, start, ids, idempotencyKey } = block
  const builder = createBatchBuilder(feed.table.schemas[0])
  const range = { start, end: start + BigInt(ids.length) }
  const source = builder.sourceIndex(key.source)
  ids.forEach((id, i) => {
    builder.appendValues([id])
    builder.finishRow(source, 0, Number(start) + i, Number.NaN, 0)
  })
  if (ids.length > 0) tick.add(feed, builder.seal(), { key, generation, range, idempotencyKey })
  tick.advance(sampleAdvance(key, range.start, range.end), generation)
  if (idempotencyKey !== undefined) {
    const { tableId } = feed.table
    tick.addKey({ tableId, key: idempotencyKey, rows: ids.length, dead: 0, keyText: sourceKeyText(key) })
  }
}

export function sampleAdvance(key: SourceKey, start: bigint, end: bigint): SourceAdvance {
  return {
    ...key,
    range: { start, end },
    recordsIn: Number(end - start),
    recordsDead: 0,
    recordsFiltered: 0,
    logEnd: undefined,
    caughtUp: false,
  }
}

export function idsOf({ pieces }: SealedBatch): bigint[] {
  const batch = concatBatches(pieces.map((piece) => piece.batch))
  const { data } = batch.vectors[0]
  const view = new DataView(data.buffer, data.byteOffset)
  return Array.from({ length: batch.rowCount }, (_, row) => view.getBigInt64(row * 8, true))
}
