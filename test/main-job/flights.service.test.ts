// Three million real flights from Kafka to SQL: in one go, and while the ingest process dies again and again (G-1, G-2, G-3).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import type { StartedProcess } from '../harness/processes.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type Place, type Servers, startServers } from '../lake/places.ts'
import {
  type FeedBatch,
  FLIGHTS,
  FLIGHTS_TABLE,
  flightsFeed,
  PARTITIONS,
  type SourceAnswers,
  sendFeed,
} from './flights-feed.ts'
import { expectEveryOffsetOnce, seeded } from './table-checks.ts'

const KILLS = 10
/** Spread over the kills, so that every one of them meets records on their way. */
const PACED_MS = 30_000

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']

let kafka: KafkaBroker
let servers: Servers
let producer: Producer
let batches: FeedBatch[]
let answers: SourceAnswers

beforeAll(async () => {
  // A killed member is missed after this session time; the broker allows 6 s and more unless told otherwise.
  ;[kafka, servers] = await Promise.all([
    startKafka({ properties: { 'group.min.session.timeout.ms': '500' } }),
    startServers(PLACES),
  ])
  producer = await createProducer(kafka.bootstrap)
  ;({ batches, answers } = await flightsFeed())
})

afterAll(async () => {
  producer?.close()
  await Promise.all([kafka?.[Symbol.asyncDispose](), servers?.stop()])
})

function settingsFor(topic: string): string {
  return `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 2 s
flush.interval.ms: 200
flush.bytes: 4 MiB
snapshot.age.ms: 3 s
snapshot.bytes: 32 MiB
compaction.memory: 512 MiB
query.memory: 512 MiB
log.level: info
tables:${FLIGHTS_TABLE}
pipelines:
  flights: { topics: [${topic}], tables: [flights] }
`
}

async function expectSourceAnswers(millrace: Millrace, topic: string): Promise<void> {
  const sums = await millrace.sql('SELECT count(*), sum(delay) FROM flights')
  expect(sums.data[0].map(Number)).toEqual([FLIGHTS, 20_003_603])
  expect(sums.data[0].map(Number)).toEqual([answers.count, answers.delay])
  const origins = await millrace.sql('SELECT origin, count(*) FROM flights GROUP BY origin ORDER BY origin')
  expect(origins.data.map(([origin, rows]) => [origin, Number(rows)])).toEqual(answers.perOrigin)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'flights', topic, partitions: PARTITIONS })
  expect(Number(await millrace.value('SELECT count(*) FROM flights__dead_letters'))).toBe(0)
}

test('three million flights answer like bare DuckDB over the source file', { timeout: 180_000 }, async () => {
  await kafka.createTopic('flights', PARTITIONS)
  const millrace = await createMillrace({ settings: settingsFor('flights') })
  try {
    const services = await Promise.all((['query', 'ingest', 'compactor'] as const).map((name) => millrace.start(name)))
    await sendFeed(producer, 'flights', batches)
    await millrace.eventually('SELECT count(*) FROM flights', (rows) => Number(rows) >= FLIGHTS, 120_000)
    await expectSourceAnswers(millrace, 'flights')
    for (const service of services) expect(await service.stop()).toEqual({ code: 0, signal: null })
  } finally {
    await millrace.close()
  }
})

test.each(PLACES)(
  '%s: the same while ingest is killed ten times and a second one joins and leaves',
  {
    timeout: 240_000,
  },
  async (place) => {
    const topic = `killed-${PLACES.indexOf(place)}`
    await kafka.createTopic(topic, PARTITIONS)
    const seed = Date.now() % 1_000_000
    console.log(`kills at the moments of seed ${seed}`)
    const random = seeded(seed)
    const where = await servers.settingsFor(place, 'flights')
    const millrace = await createMillrace({ settings: `${where}\n${settingsFor(topic)}` })
    try {
      await Promise.all([millrace.start('query'), millrace.start('compactor')])
      let ingest: StartedProcess = await millrace.start('ingest')
      const startedMs = performance.now()
      const sending = sendFeed(producer, topic, batches, async (sent) => {
        const due = startedMs + (sent / FLIGHTS) * PACED_MS
        if (due > performance.now()) await sleep(due - performance.now())
      })
      let second: StartedProcess | undefined
      for (let kill = 1; kill <= KILLS; kill++) {
        // Some die while they start or join, some long after.
        await sleep(random() < 0.3 ? random() * 300 : 500 + random() * 3_000)
        expect(await ingest.kill()).toEqual({ code: null, signal: 'SIGKILL' })
        if (kill % 5 === 2) second = await millrace.start('ingest', { extra: true })
        ingest = await millrace.start('ingest')
        if (kill % 5 === 4) {
          expect(await second?.stop()).toEqual({ code: 0, signal: null })
        }
      }
      await sending
      await millrace.eventually('SELECT count(*) FROM flights', (rows) => Number(rows) >= FLIGHTS, 60_000)
      await expectSourceAnswers(millrace, topic)
      expect(await ingest.stop()).toEqual({ code: 0, signal: null })
    } finally {
      await millrace.close()
    }
  },
)
