// Back-pressure: who waits for room gets it when rows leave memory; the flush interval grows with live segments.
import { expect, test } from 'vitest'
import type { Catalog, TickResult } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createFlusher } from './flusher.ts'
import { createIntake, lengthenedInterval } from './intake.ts'
import { recordedSources } from './segment-writer.ts'
import { createSourceLedger } from './source-ledger.ts'
import { addBlock, sampleFeed, sampleKey, sampleTick } from './tick-samples.ts'

const A = sampleKey('a')
const FEED = sampleFeed(1, 't')

test('the interval is as set up to half of segments.live.max, and twenty times as long at it', () => {
  expect(lengthenedInterval(500, 0, 200)).toBe(500)
  expect(lengthenedInterval(500, 100, 200)).toBe(500)
  expect(lengthenedInterval(500, 200, 200)).toBe(10_000)
  expect(lengthenedInterval(500, 150, 200)).toBe(500 * 10.5)
  expect(lengthenedInterval(500, 300, 200)).toBeGreaterThan(10_000)
})

/** An intake whose one tick is larger than all the memory it may take. */
function fullIntake(answer: () => Promise<TickResult>) {
  const world = createTestWorld({ sleepAdvances: true })
  const ledger = createSourceLedger()
  ledger.reload(A, 0n)
  const tick = sampleTick()
  const flusher = createFlusher({
    catalog: { commitTick: answer } as Partial<Catalog> as Catalog,
    store: { delete: async () => {} } as Partial<ObjectStore> as ObjectStore,
    world,
    writer: { writerId: 'w', epoch: 1, kind: 'ingest' },
    ledger,
    segments: {
      plan: (batches, { advances }) => {
        const sources = recordedSources(batches, advances)
        return batches.map((sealed, index) => ({
          sealed,
          path: 'file:///lake/1.parquet',
          sources: sources[index],
          keyValues: {},
        }))
      },
      write: async ({ sealed: { rowCount, table }, path, sources }) => ({
        tableId: table.tableId,
        schemaId: 0,
        path,
        rowCount,
        bytes: 1,
        etag: undefined,
        bounds: [],
        sources,
        touched: { grain: 'all', values: [] },
      }),
    },
    ticksInFlightMax: 4,
    onCommitted() {},
    onStale() {},
    onTrouble() {},
    onFatal: (error) => {
      throw error
    },
  })
  const settings = { flushIntervalMs: 500, flushBytes: 1e9, flushRows: 1e9, memoryMax: 10, segmentsLiveMax: 200 }
  const intake = createIntake({ tick, flusher, world, settings })
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n, 2n, 3n] })
  return { intake, ledger }
}

test('a tick larger than all memory lets the waiting go on once it is committed', async () => {
  const { intake } = fullIntake(async () => ({
    outcome: 'committed',
    versions: new Map([[1, 1n]]),
    committedAt: 1n,
  }))
  expect(intake.bytesHeld).toBeGreaterThan(10)
  await Promise.all([intake.room(), intake.room()])
  expect(intake.bytesHeld).toBe(0)
})

test('and when all of it was dropped as stale, without a commit', async () => {
  const { intake, ledger } = fullIntake(async () => {
    throw new Error('nothing is left to commit')
  })
  ledger.forget(A)
  await intake.room()
  expect(intake.bytesHeld).toBe(0)
})
