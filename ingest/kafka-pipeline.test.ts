/** What a human's decision does when two processes wait for it. */
import { expect, test } from 'vitest'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createFlusher } from './flusher.ts'
import { createIntake } from './intake.ts'
import type { AssignedPartition, KafkaSource } from './kafka/kafka-source.ts'
import { createKafkaPipeline } from './kafka-pipeline.ts'
import { createSchemaKeeper } from './schema-keeper.ts'
import { createSegmentWriter } from './segment-writer.ts'
import { createSourceLedger } from './source-ledger.ts'
import { sampleTick } from './tick-samples.ts'

const PARTITION: AssignedPartition = { topic: 'flights', topicId: 'topic-id', partition: 0, logStart: 13, logEnd: 50 }
const KEY = { pipeline: 'p', source: 'kafka:flights:topic-id', partition: 0 }

async function openPipelines() {
  const world = createTestWorld({ sleepAdvances: true })
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const writer = await catalog.registerWriter('ingest')
  const store = {} as Parameters<typeof createFlusher>[0]['store']
  const open = () => {
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
    const settings = { flushIntervalMs: 1, flushBytes: 1, flushRows: 1, memoryMax: 1, segmentsLiveMax: 1 }
    const pipeline = createKafkaPipeline({
      name: 'p',
      keeper: createSchemaKeeper({ pipeline: 'p', topics: ['flights'], tables: [], recordBytesMax: 1, world }),
      decode: () => expect.unreachable(),
      autoOffsetReset: 'earliest',
      catalog,
      intake: createIntake({ tick: sampleTick(), flusher, world, settings }),
      ledger,
      world,
      onTrouble: () => {},
      onDecision: () => {},
      count: () => {},
    })
    const log = { ...PARTITION }
    const source = { assignments: () => [log], restart: () => pipeline.handlers.assigned([log]) }
    pipeline.attach(source as unknown as KafkaSource)
    return { pipeline, log }
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
