/** What a human's decision does when two processes wait for it, and in which order records are taken. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { createFlusher } from './flusher.ts'
import { createIntake } from './intake.ts'
import type { AssignedPartition, Delivered, KafkaSource } from './kafka/kafka-source.ts'
import { createKafkaPipeline, type Decode } from './kafka-pipeline.ts'
import { createSchemaKeeper } from './schema-keeper.ts'
import { createSegmentWriter } from './segment-writer.ts'
import { createSourceLedger } from './source-ledger.ts'
import { addBlock, idsOf, sampleFeed, sampleTick } from './tick-samples.ts'

const PARTITION: AssignedPartition = { topic: 'flights', topicId: 'topic-id', partition: 0, logStart: 13, logEnd: 50 }
const KEY = { pipeline: 'p', source: 'kafka:flights:topic-id', partition: 0 }

async function openPipelines() {
  const world = createTestWorld({ sleepAdvances: true })
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const writer = await catalog.registerWriter('ingest')
  const store = {} as Parameters<typeof createFlusher>[0]['store']
  const open = (decode: Decode = () => expect.unreachable()) => {
    const tick = sampleTick()
    const ledger = createSourceLedger()
    const flusher = createFlusher({
      catalog,
      store,
      world,
      writer,
      ledger,
      segments: createSegmentWriter({ store, world, writer, seal: () => expect.unreachable() }),
      ticksInFlightMax: 1,
      onCommitted: () => {},
      onStale: () => {},
      onTrouble: () => {},
      onFatal: (error) => expect.unreachable(String(error)),
    })
    const settings = { flushIntervalMs: 1, flushBytes: 1e9, flushRows: 1e9, memoryMax: 1e9, segmentsLiveMax: 1 }
    const pipeline = createKafkaPipeline({
      name: 'p',
      keeper: {
        ...createSchemaKeeper({ pipeline: 'p', topics: ['flights'], tables: [], recordBytesMax: 1, world }),
        feed: () => sampleFeed(1, 't'),
      },
      decode,
      autoOffsetReset: 'earliest',
      catalog,
      intake: createIntake({ tick, flusher, world, settings }),
      ledger,
      world,
      onTrouble: () => {},
      onDecision: () => {},
      count: () => {},
    })
    const log = { ...PARTITION }
    const source = { assignments: () => [log], restart: () => pipeline.handlers.assigned([log]) }
    pipeline.attach(source as unknown as KafkaSource)
    return { pipeline, log, tick }
  }
  return { catalog, open }
}

test('a topic-partition that two processes hold for undecided goes on once (G-2)', async () => {
  const { catalog, open } = await openPipelines()
  await catalog.beginCoverage(KEY, 7n)
  const one = open()
  const other = open()
  for (const { pipeline } of [one, other]) {
    await pipeline.handlers.assigned([PARTITION])
    expect([...pipeline.state.needsDecision.keys()]).toEqual(['flights/0'])
  }
  expect(await one.pipeline.decide('flights', 0, 'earliest')).toMatchObject({ source: `${KEY.source}#2` })
  const again = other.pipeline.decide('flights', 0, 'earliest')
  await expect(again).rejects.toMatchObject({ code: 'request-invalid' })
  expect((await catalog.coverage('p')).map(({ source }) => source)).toEqual([KEY.source, `${KEY.source}#2`])
  expect(other.pipeline.state.needsDecision.size).toBe(0)
  await catalog.close()
})

test('a decision goes by the log as it is, not as it was at the assignment', async () => {
  const { catalog, open } = await openPipelines()
  await catalog.beginCoverage(KEY, 40n)
  const { pipeline, log } = open()
  await pipeline.handlers.assigned([PARTITION])
  expect(pipeline.state.needsDecision.size).toBe(0)
  log.logStart = 45
  pipeline.handlers.outOfRange({ ...log }, 40)
  log.logStart = 47
  expect(await pipeline.decide('flights', 0, 'earliest')).toMatchObject({ ranges: [{ start: 47n, end: 47n }] })
  await catalog.close()
})

test('a process that lost a topic-partition decides nothing about it, however far its new owner is (G-2)', async () => {
  const { catalog, open } = await openPipelines()
  await catalog.beginCoverage(KEY, 7n)
  const { pipeline, log } = open()
  log.logEnd = 13
  await pipeline.handlers.assigned([log])
  expect(pipeline.state.needsDecision.size).toBe(1)
  // The new owner has decided, and has read on beyond what this process knows of the log.
  await catalog.beginCoverage({ ...KEY, source: `${KEY.source}#2` }, 13n)
  log.logEnd = 50
  await expect(pipeline.decide('flights', 0, 'latest')).rejects.toMatchObject({ code: 'request-invalid' })
  expect(await catalog.coverage('p')).toHaveLength(2)
  await catalog.close()
})

test('units decoded side by side, in whatever order they get ready, are taken once and in theirs (G-1, G-2)', async () => {
  const unit = fc.record({
    records: fc.integer({ min: 1, max: 20 }),
    delay: fc.nat(5),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(unit, { minLength: 1, maxLength: 12 }), fc.option(fc.nat(11)), async (units, damaged) => {
      const all = units.map((each, index) => ({ ...each, isDamaged: index === damaged }))
      const starts: number[] = []
      let end = PARTITION.logStart
      for (const { records } of all) {
        starts.push(end)
        end += records
      }
      const { catalog, open } = await openPipelines()
      let released = 0
      let pieces = 0
      const { pipeline, tick } = open(async (_plan, given, from) => {
        const index = starts.indexOf(given.startOffset)
        const { delay, isDamaged, records } = all[index]
        for (let turn = 0; turn < delay; turn += 1) await new Promise((resolve) => setImmediate(resolve))
        const good = isDamaged ? Math.floor(records / 2) : records
        const nextOffset = given.startOffset + good
        const release = () => {
          released += 1
        }
        const batch = { ...sampleRows(from, nextOffset), heldBytes: 1, release }
        const isEmpty = nextOffset <= from
        if (!isEmpty) pieces += 1
        return {
          kind: 'decoded',
          pieces: isEmpty ? [] : [{ tableId: 1, schemaId: 0, batch }],
          records: nextOffset - from,
          skipped: 0,
          valueBytes: 0,
          dead: 0,
          filtered: 0,
          unknownKeys: 0,
          deadReason: undefined,
          nextOffset,
          damage: isDamaged ? new Error('damaged') : undefined,
        }
      })
      await pipeline.handlers.assigned([{ ...PARTITION, logEnd: end }])
      let before: Promise<Delivered> | undefined
      const answers = all.map(({ records }, index) => {
        const startOffset = starts[index]
        before = pipeline.handlers.records!(
          {
            ...PARTITION,
            batches: new Uint8Array(1),
            aborted: [],
            startOffset,
            nextOffset: startOffset + records,
            logEnd: end,
          },
          before,
        )
        return before
      })
      const told = await Promise.all(answers)
      const bad = damaged !== null && damaged < all.length ? damaged : undefined
      const reached = bad === undefined ? end : starts[bad] + Math.floor(all[bad].records / 2)
      expect(told.map(({ damage }) => damage !== undefined)).toEqual(all.map((_, index) => index === bad))
      expect(told.at(-1)?.nextOffset).toBe(reached)
      const sealed = tick.seal()
      const offsets = sealed.batches.flatMap((batch) => idsOf(batch)).map(Number)
      expect(offsets).toEqual(
        Array.from({ length: reached - PARTITION.logStart }, (_, index) => PARTITION.logStart + index),
      )
      expect(sealed.advances.map(({ range }) => [Number(range.start), Number(range.end)])).toEqual(
        reached > PARTITION.logStart ? [[PARTITION.logStart, reached]] : [],
      )
      // What was not taken gave its memory back; what was taken has it until its tick leaves.
      const kept = sealed.batches.reduce((sum, batch) => sum + batch.pieces.length, 0)
      expect(released).toBe(pieces - kept)
      await catalog.close()
    }),
    { numRuns: 60 },
  )
})

/** One row for each offset, whose id it is. */
function sampleRows(from: number, to: number): MicroBatch {
  const tick = sampleTick()
  const ids = Array.from({ length: Math.max(0, to - from) }, (_, index) => BigInt(from + index))
  addBlock(tick, sampleFeed(1, 't'), { key: KEY, generation: 1, start: BigInt(from), ids })
  return (
    tick.seal().batches.at(0)?.pieces[0].batch ?? { schema: { schemaId: 0, columns: [] }, rowCount: 0, vectors: [] }
  )
}
