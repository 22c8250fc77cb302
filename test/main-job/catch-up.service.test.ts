// Far behind: millions of records over many topic-partitions stay within the memory that the settings promise, also for a
// process that starts in that state (G-6); and a topic-partition that has most of the records holds nobody up.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LakeReader, openLakeReader, waitForLake } from '../../bench/lake-reader.ts'
import { peakMemory } from '../../bench/process-cost.ts'
import { recordOf } from '../../bench/records.ts'
import { encodeBatch } from '../harness/batch-encoder.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { expectEveryOffsetOnce } from './table-checks.ts'

const MEMORY_MAX = 512 * 1024 ** 2
const BATCH_RECORDS = 4_000
const BEHIND = { topic: 'behind', partitions: 50, batches: 1_250 }
const SKEWED = { topic: 'skewed', partitions: 8, batches: 300 }
const COLUMNS =
  '{ ts: timestamptz required, id: long required, user_id: long, country: string, device: string, url: string, ' +
  'status: int, latency: double, amount: "decimal(10,2)", ok: boolean, items: int, session: string }'
const SENT_AT_ONCE = 8
/** On a machine with other things to do. */
const PATIENCE_MS = 600_000

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

/** Twelve columns, 200 bytes a record: a few batches, sent again and again. */
const packed = Array.from({ length: 5 }, (_, batch) =>
  encodeBatch(
    Array.from({ length: BATCH_RECORDS }, (_, index) => recordOf(batch * BATCH_RECORDS + index)),
    { codec: batch % 2 === 0 ? 'lz4' : 'zstd' },
  ),
)

async function fill(topic: string, partitions: number, batches: number, partitionOf: (batch: number) => number) {
  await kafka.createTopic(topic, partitions)
  for (let batch = 0; batch < batches; batch += SENT_AT_ONCE) {
    const count = Math.min(SENT_AT_ONCE, batches - batch)
    const sent = Array.from({ length: count }, (_, index) => batch + index)
    await Promise.all(sent.map((each) => producer.sendBatch(topic, partitionOf(each), packed[each % packed.length])))
  }
}

function openMillrace(topic: string): Promise<Millrace> {
  return createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
tables:
  ${topic}: { columns: ${COLUMNS}, event-time: ts, partition: [day(ts)], sort: [ts] }
pipelines:
  ${topic}: { topics: [${topic}], tables: [${topic}] }
log.level: warn
`,
  })
}

test(
  'five million records behind in fifty topic-partitions, and killed on the way: never more than 512 MiB, each record once',
  async () => {
    const { topic, partitions, batches } = BEHIND
    const rows = batches * BATCH_RECORDS
    await fill(topic, partitions, batches, (batch) => batch % partitions)
    const millrace = await openMillrace(topic)
    let lake: LakeReader | undefined
    try {
      const first = await millrace.start('ingest')
      lake = await openLakeReader(millrace.configFile)
      await waitForLake(lake, topic, ({ consumed }) => consumed >= rows * 0.4)
      const firstPeak = peakMemory(first.pid)
      await first.kill()
      const { consumed: before } = await lake.progress(topic)
      expect(before).toBeLessThan(rows)
      // In the middle of it: no memory of what the one before had in hand.
      const second = await millrace.start('ingest')
      await waitForLake(lake, topic, ({ consumed }) => consumed >= rows)
      const secondPeak = peakMemory(second.pid)
      process.stdout.write(
        `peaks of ${[firstPeak, secondPeak].map((bytes) => Math.round(bytes / 1024 ** 2)).join(' and ')} MiB\n`,
      )
      expect(firstPeak).toBeLessThan(MEMORY_MAX)
      expect(secondPeak).toBeLessThan(MEMORY_MAX)
      await second.stop()
      const query = await millrace.start('query')
      await expectEveryOffsetOnce(millrace, kafka, { table: topic, topic, partitions })
      await query.stop()
    } finally {
      await lake?.close()
      await millrace.close()
    }
  },
  PATIENCE_MS,
)

test(
  'a topic-partition with four fifths of the records uses all threads and lets the others go before',
  async () => {
    const { topic, partitions, batches } = SKEWED
    const isHot = (batch: number) => batch % 5 !== 0
    await fill(topic, partitions, batches, (batch) => (isHot(batch) ? 0 : 1 + ((batch / 5) % (partitions - 1))))
    const millrace = await openMillrace(topic)
    let lake: LakeReader | undefined
    try {
      const ingest = await millrace.start('ingest', { set: ['ingest.threads=2'] })
      lake = await openLakeReader(millrace.configFile)
      const rows = batches * BATCH_RECORDS
      const hot = batches * 0.8 * BATCH_RECORDS
      // When the last of the others is in, the hot one is not: they did not wait behind it.
      const { consumed, ofPartition } = await waitForOthers(lake, topic, rows - hot)
      process.stdout.write(
        `the others were done at ${consumed} of ${rows} records, the hot one stood at ${ofPartition(0)}\n`,
      )
      expect(ofPartition(0)).toBeLessThan(hot)
      await waitForLake(lake, topic, (progress) => progress.consumed >= rows)
      await ingest.stop()
      const query = await millrace.start('query')
      await expectEveryOffsetOnce(millrace, kafka, { table: topic, topic, partitions })
      await query.stop()
    } finally {
      await lake?.close()
      await millrace.close()
    }
  },
  PATIENCE_MS,
)

async function waitForOthers(lake: LakeReader, table: string, others: number) {
  let ofPartition: (partition: number) => number = () => 0
  const { consumed } = await waitForLake(lake, table, ({ byPartition }) => {
    ofPartition = (partition) => byPartition.get(partition) ?? 0
    return [...byPartition].reduce((sum, [partition, count]) => sum + (partition === 0 ? 0 : count), 0) >= others
  })
  return { consumed, ofPartition }
}
