// Our fetch and record-batch walk against the client library's own consumer: the same records, byte for byte, in the same order.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { Log } from '../../runtime/world.ts'
import type { BatchRecord, Codec } from '../../test/harness/batch-encoder.ts'
import { type KafkaBroker, startKafka } from '../../test/harness/kafka.ts'
import { createProducer, type Producer } from '../../test/harness/produce.ts'
import { seeded } from '../../test/main-job/table-checks.ts'
import { createKafkaSource } from './fetch-source.ts'
import { type KafkaSource, type KafkaSourceHandlers, type RecordBlock, topicPartitionKey } from './kafka-source.ts'
import { readHeaders } from './record-headers.ts'
import { createStreamSource } from './stream-source.ts'

const WAIT_MS = 60_000
const PARTITIONS = 3
const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const world = createSystemWorld({ log: silent, crashAt: '' })

let kafka: KafkaBroker
let producer: Producer

beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
})
afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

type Create = typeof createKafkaSource

/** Every record as text, by topic-partition; positions are kept over assignments, as the catalog would. */
function createCollector() {
  const next = new Map<string, number>()
  const records = new Map<string, string[]>()
  const handlers: KafkaSourceHandlers = {
    async assigned(partitions) {
      return new Map(
        partitions.map((each) => {
          const key = topicPartitionKey(each)
          return [key, { at: 'offset', offset: next.get(key) ?? each.logStart }]
        }),
      )
    },
    async revoked() {},
    async block(block) {
      const key = topicPartitionKey(block)
      const seen = records.get(key) ?? []
      records.set(key, seen)
      const from = next.get(key) ?? block.startOffset
      for (let index = 0; index < block.count; index++) {
        if (block.offsets[index] >= from) seen.push(recordText(block, index))
      }
      next.set(key, Math.max(from, block.nextOffset))
    },
    outOfRange() {},
    trouble() {},
  }
  const count = () => [...records.values()].reduce((sum, { length }) => sum + length, 0)
  return { handlers, records, count }
}

function recordText(block: RecordBlock, index: number): string {
  const hex = (start: number, end: number) =>
    start < 0 ? null : Buffer.from(block.bytes.subarray(start, end)).toString('hex')
  const headers = readHeaders(block.bytes, block.headerStarts[index], block.headerEnds[index])
  return JSON.stringify([
    block.topicId,
    block.offsets[index],
    block.timestamps[index],
    hex(block.keyStarts[index], block.keyEnds[index]),
    hex(block.valueStarts[index], block.valueEnds[index]),
    headers?.map(({ name, value }) => [name, value && Buffer.from(value).toString('hex')]),
  ])
}

function start(create: Create, topic: string, groupId: string, handlers: KafkaSourceHandlers): KafkaSource {
  const settings = { bootstrap: [kafka.bootstrap], clientId: 'compare', fetchBytesMax: 4 << 20, topicsRefreshMs: 500 }
  return create({ settings, world, topics: [topic], groupId, handlers })
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = AbortSignal.timeout(WAIT_MS)
  while (!holds()) {
    if (deadline.aborted) throw new Error(`never came: ${what}`)
    await sleep(20)
  }
}

async function fill(topic: string, seed: number): Promise<number> {
  const random = seeded(seed)
  const codecs: Codec[] = ['none', 'gzip', 'snappy', 'snappy-framed', 'lz4', 'zstd']
  let sent = 0
  for (let round = 0; round < 40; round++) {
    const records = Array.from({ length: 1 + Math.floor(random() * 400) }, (): BatchRecord => {
      const id = sent++
      return {
        key: random() < 0.3 ? null : `key ${id % 50}`,
        value: random() < 0.05 ? null : 'v'.repeat(Math.floor(random() * 300)) + id,
        timestamp: 1_700_000_000_000 + Math.floor(random() * 1e6),
        headers: random() < 0.2 ? [['trace', String(id)]] : [],
      }
    })
    const codec = codecs[Math.floor(random() * codecs.length)]
    const recordsPerBatch = 1 + Math.floor(random() * 150)
    await producer.send(topic, Math.floor(random() * PARTITIONS), records, { codec, recordsPerBatch })
  }
  return sent
}

test('row for row the same as the library’s stream: codecs, keys, tombstones, times, headers', async () => {
  const seed = Date.now() % 1_000_000
  console.log(`records of seed ${seed}`)
  await kafka.createTopic('compared', PARTITIONS)
  const sent = await fill('compared', seed)
  const [ours, theirs] = [createCollector(), createCollector()]
  const sources = [
    start(createKafkaSource, 'compared', 'compared-ours', ours.handlers),
    start(createStreamSource, 'compared', 'compared-theirs', theirs.handlers),
  ]
  try {
    await Promise.all(sources.map((source) => source.start()))
    await until('all records twice', () => ours.count() >= sent && theirs.count() >= sent)
    expect(ours.count()).toBe(sent)
    expect([...theirs.records].sort()).toEqual([...ours.records].sort())
  } finally {
    await Promise.all(sources.map((source) => source.close()))
  }
})

test('the library’s stream starts again from asked positions when another member comes and goes', async () => {
  await kafka.createTopic('shared', PARTITIONS)
  const first = createCollector()
  const source = start(createStreamSource, 'shared', 'shared', first.handlers)
  await source.start()
  const sent = await fill('shared', 7)
  await until('all records', () => first.count() >= sent)
  const second = createCollector()
  const other = start(createStreamSource, 'shared', 'shared', second.handlers)
  try {
    await other.start()
    await until('topic-partitions of its own', () => other.assignments().length > 0)
    expect(source.assignments().length + other.assignments().length).toBeLessThanOrEqual(PARTITIONS)
  } finally {
    await other.close()
  }
  await until('all of them back', () => source.assignments().length === PARTITIONS)
  const more = await fill('shared', 8)
  await until('what came later', () => first.count() >= sent + more)
  await source.close()
  expect(first.count()).toBe(sent + more)
})
