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
function fullIntake(answer: () => Promise<TickResult>, memoryMax = 10) {
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
  const settings = { flushIntervalMs: 500, flushBytes: 1e9, flushRows: 1e9, memoryMax, segmentsLiveMax: 200 }
  const intake = createIntake({ tick, flusher, world, settings })
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n, 2n, 3n] })
  return { intake, ledger, flusher }
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

test('at the ceiling a small tick waits for the one under way, and leaves as soon as that is committed', async () => {
  const answers: (() => void)[] = []
  const committed: TickResult = { outcome: 'committed', versions: new Map([[1, 1n]]), committedAt: 1n }
  const { intake, flusher } = fullIntake(() => new Promise((done) => answers.push(() => done(committed))), 10_000)
  const many = Array.from({ length: 1000 }, (_, id) => BigInt(id))
  addBlock(intake.tick, FEED, { key: A, generation: 2, start: 3n, ids: many })
  const first = intake.room()
  await expect.poll(() => answers.length).toBe(1)
  expect(flusher.ticksInFlight).toBe(1)

  addBlock(intake.tick, FEED, { key: A, generation: 2, start: 1003n, ids: [1n] })
  const room = Promise.all([first, intake.room(20_000)])
  intake.freed()
  await new Promise(setImmediate)
  expect([flusher.ticksInFlight, intake.tick.rowCount]).toEqual([1, 1])

  answers[0]()
  await expect.poll(() => answers.length).toBe(2)
  expect(intake.tick.isEmpty).toBe(true)
  answers[1]()
  await room
})
