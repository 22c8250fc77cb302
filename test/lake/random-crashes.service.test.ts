// Twenty crashes of ingest and compactor at places that a seed chooses, under load, each process started again by a supervisor:
// no reader ever sees a row twice, in the end every record is there once, and after the last sweep the listing is exactly
// what the catalog and the metadata refer to (G-1, G-2, PROTOCOL 6).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EXIT_FENCED } from '../../runtime/lifecycle.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import type { Millrace } from '../harness/millrace.ts'
import { createProducer as createKafkaProducer, type Producer as KafkaProducer } from '../harness/produce.ts'
import { expectEveryOffsetOnce, seeded } from '../main-job/table-checks.ts'
import { crashPointsInSource } from './crash-points.ts'
import { createProducer, openLake, SMALL_STEPS } from './open-lake.ts'
import { type Place, type Servers, startServers } from './places.ts'

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']
const CRASHES = 20
const PASSES_MAX = 3
const PATIENCE_MS = 3_000
const PARTITIONS = 3
const BATCH = 40
const LINES = 5

let servers: Servers
let kafka: KafkaBroker
let kafkaProducer: KafkaProducer

beforeAll(async () => {
  servers = await startServers(PLACES)
  // A killed member is missed after this session time; the broker allows 6 s and more unless told otherwise.
  kafka = await startKafka({ properties: { 'group.min.session.timeout.ms': '500' } })
  kafkaProducer = await createKafkaProducer(kafka.bootstrap)
})
afterAll(async () => {
  kafkaProducer?.close()
  await Promise.all([kafka?.[Symbol.asyncDispose](), servers?.stop()])
})

function settingsFor(topic: string): string {
  return `${SMALL_STEPS.replace('leases.ms: 30 s', 'leases.ms: 1500 ms').replace('writer-silent.ms: 60 s', 'writer-silent.ms: 3 s')}
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 500 ms
query.memory: 256 MiB
# Dead compactors hold back files as dead query processes do.
query.timeout.ms: 3 s
sweep.reader-silent.ms: 3 s
tables:
  clicks:
    columns: { id: long required, kind: string }
    partition: ["bucket(2, id)"]
    sort: [id]
pipelines:
  clicks: { topics: [${topic}], tables: [clicks] }
`
}

const POINTS = {
  ingest: /^(?:ingest\/|catalog\/(?:tick|merge))/,
  compactor: /^(?:compactor|iceberg|sweep)\/|^catalog\/snapshot/,
} as const

/** Starts the service again and again, each time with a crash point, until it has died this many times. */
async function crashAgainAndAgain(
  millrace: Millrace,
  service: 'ingest' | 'compactor',
  times: number,
  random: () => number,
): Promise<string[]> {
  const points = crashPointsInSource().filter((name) => POINTS[service].test(name))
  const crashes: string[] = []
  while (crashes.length < times) {
    const point = points[Math.floor(random() * points.length)]
    const crashAt = `${point}:${1 + Math.floor(random() * PASSES_MAX)}`
    crashes.push(`${service} ${crashAt}`)
    const started = await millrace
      .start(service, { crashAt, withoutGrace: service === 'compactor' })
      .catch((error: unknown) => {
        if (!/ended with signal SIGKILL before ready/.test(String(error))) throw error
      })
    if (started === undefined) continue
    // Not every run comes by every point: then it dies wherever it is.
    const patience = new AbortController()
    void sleep(PATIENCE_MS, undefined, { signal: patience.signal }).then(started.kill, () => {})
    const { signal, code } = await started.exited
    patience.abort()
    // One that the machine held up for long may find itself fenced: a supervisor starts it again as well.
    if (code !== EXIT_FENCED) expect([service, crashAt, signal]).toEqual([service, crashAt, 'SIGKILL'])
  }
  return crashes
}

test.each(PLACES)('%s: every record once, and no file too many', async (place) => {
  const seed = Number(process.env.MILLRACE_TEST_SEED ?? Date.now() % 1_000_000)
  console.log(`${place}: crashes of MILLRACE_TEST_SEED=${seed}`)
  const topic = `clicks-${PLACES.indexOf(place)}`
  await kafka.createTopic(topic, PARTITIONS)
  const lake = await openLake(`${await servers.settingsFor(place, 'crashes')}\n${settingsFor(topic)}`)
  const { millrace } = lake
  let isLoaded = true
  let sent = 0
  const http = createProducer(millrace, 'clicks', 'p')

  async function produce(): Promise<void> {
    for (; isLoaded; sent += BATCH) {
      const records = Array.from({ length: BATCH }, (_, each) => ({
        value: JSON.stringify({ id: sent + each, kind: 'k' }),
      }))
      await kafkaProducer.send(topic, (sent / BATCH) % PARTITIONS, records, { codec: 'zstd' })
      await sleep(50)
    }
  }
  async function post(): Promise<void> {
    while (isLoaded) {
      const first = http.next
      await http.send(Array.from({ length: LINES }, (_, each) => JSON.stringify({ id: first + each, kind: 'h' })))
    }
  }
  async function read(): Promise<void> {
    for (let known = 0; isLoaded; await sleep(100)) {
      if ((await lake.catalog.findTable('clicks')) === undefined) continue
      const { data } = await millrace.sql('SELECT count(*), count(DISTINCT (_source, _partition, _offset)) FROM clicks')
      const [rows, places] = data[0].map(Number)
      expect(places).toBe(rows)
      expect(rows).toBeGreaterThanOrEqual(known)
      known = rows
    }
  }

  try {
    await millrace.start('query')
    const load = Promise.all([produce(), post(), read()])
    // Whichever has died often enough first goes on while the other still dies.
    const crashed = await Promise.race([
      Promise.all(
        (['ingest', 'compactor'] as const).map(async (service, each) => {
          const crashes = await crashAgainAndAgain(millrace, service, CRASHES / 2, seeded(seed + each))
          return { crashes, last: await millrace.start(service, { withoutGrace: service === 'compactor' }) }
        }),
      ),
      load.then(() => []),
    ])
    const crashes = crashed.flatMap((each) => each.crashes)
    expect(crashes).toHaveLength(CRASHES)
    console.log(crashes.join(', '))
    const last = crashed.map((each) => each.last)
    isLoaded = false
    await load
    await millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) >= sent + http.next)

    const { data } = await millrace.sql(
      'SELECT kind, count(*), count(DISTINCT id), sum(id) FROM clicks GROUP BY 1 ORDER BY 1',
    )
    expect(data.map(([kind, ...numbers]) => [kind, ...numbers.map(Number)])).toEqual(
      [http.next, sent].map((rows, each) => [['h', 'k'][each], rows, rows, (rows * (rows - 1)) / 2]),
    )
    await expectEveryOffsetOnce(millrace, kafka, { table: 'clicks', topic, partitions: PARTITIONS })
    const { there, referredTo } = await lake.settled(['clicks'], 60_000)
    expect(there).toEqual(referredTo)
    for (const service of last) expect(await service.stop()).toEqual({ code: 0, signal: null })
  } finally {
    isLoaded = false
    await lake.close()
  }
})
