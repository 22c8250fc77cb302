// An ingest process frozen right after its segment file was written, or in the middle of its transaction with all its locks:
// another takes over its topic-partitions and its HTTP clients, the sweep fences it and removes its files; it wakes up, commits
// nothing and ends with 75 (G-1, G-2, G-4).
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { EXIT_FENCED } from '../../runtime/lifecycle.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { catalogRows } from '../lake/catalog-rows.ts'
import { openLake, SMALL_STEPS } from '../lake/open-lake.ts'
import { type Place, type Servers, startServers } from '../lake/places.ts'
import { expectEveryOffsetOnce } from '../main-job/table-checks.ts'
import { expectEnd, until } from './observe.ts'

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']
const PARTITIONS = 4
const BATCH = 50
const HTTP_ROWS = 10
/** A SQLite catalog has one writer at a time: one frozen in a transaction holds up all others until it is killed. */
const CASES: readonly (readonly [Place, string])[] = [
  ['SQLite on local disk', 'ingest/after-segment-file:8'],
  ['PostgreSQL and a bucket', 'ingest/after-segment-file:8'],
  ['PostgreSQL and a bucket', 'catalog/tick-before-commit:8'],
]

let servers: Servers
let kafka: KafkaBroker
let producer: Producer

beforeAll(async () => {
  servers = await startServers(PLACES)
  // A frozen member is missed after this session time; the broker allows 6 s and more unless told otherwise.
  kafka = await startKafka({ properties: { 'group.min.session.timeout.ms': '500' } })
  producer = await createProducer(kafka.bootstrap)
})
afterAll(async () => {
  producer?.close()
  await Promise.all([kafka?.[Symbol.asyncDispose](), servers?.stop()])
})

function settingsFor(topic: string): string {
  return `${SMALL_STEPS.replace('leases.ms: 30 s', 'leases.ms: 1500 ms').replace('writer-silent.ms: 60 s', 'writer-silent.ms: 3 s')}
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 1 s
query.memory: 256 MiB
tables:
  clicks:
    columns: { id: long required, kind: string }
    sort: [id]
pipelines:
  clicks: { topics: [${topic}], tables: [clicks] }
`
}

test.each(CASES)('%s, frozen at %s: it loses and doubles nothing', async (place, point) => {
  const topic = `clicks-${CASES.findIndex((each) => each[0] === place && each[1] === point)}`
  await kafka.createTopic(topic, PARTITIONS)
  const lake = await openLake(`${await servers.settingsFor(place, 'frozen')}\n${settingsFor(topic)}`)
  const { millrace } = lake
  let sent = 0
  let producing = true
  async function produce(): Promise<void> {
    while (producing) {
      const from = sent
      const records = Array.from({ length: BATCH }, (_, each) => ({
        value: JSON.stringify({ id: from + each, kind: 'k' }),
      }))
      await producer.send(topic, (from / BATCH) % PARTITIONS, records, { codec: 'lz4' })
      sent += BATCH
      await sleep(20)
    }
  }
  /** Rows of one HTTP producer, under a sequence number; true when they are committed. */
  async function post(url: string, sequence: number, signal?: AbortSignal): Promise<boolean> {
    const lines = Array.from({ length: HTTP_ROWS }, (_, each) => JSON.stringify({ id: sequence + each, kind: 'h' }))
    const { statusCode, body } = await request(`${url}/v1/ingest/clicks`, {
      method: 'POST',
      headers: { 'millrace-producer': 'p', 'millrace-sequence': String(sequence) },
      body: lines.join('\n'),
      signal,
    })
    await body.dump()
    return statusCode === 200
  }
  try {
    await millrace.start('query')
    const frozen = await millrace.start('ingest', { pauseAt: point })
    const production = produce()
    let sequence = 0
    const waiting = new AbortController()
    // Requests one after the other, until the process stands still with one of them unanswered.
    const requests = (async () => {
      for (;;) {
        if (await post(millrace.url('ingest'), sequence, waiting.signal)) sequence += HTTP_ROWS
      }
    })().catch(() => {})
    await frozen.paused()
    const other = await millrace.start('ingest', { extra: true })
    waiting.abort()
    await requests
    const [writer] = await catalogRows(
      lake.settings.catalog.url,
      `SELECT writer_id FROM writers WHERE kind = 'ingest' ORDER BY epoch`,
    )
    const id = String(writer.writer_id)
    const filesOf = (paths: readonly string[]) => paths.filter((path) => path.includes(id))
    const unreferenced = async () => {
      const referredTo = new Set(await lake.filesReferredTo())
      return filesOf(await lake.filesThere()).filter((path) => !referredTo.has(path))
    }
    // The file it has just written, and those of ticks that wait for their turn.
    const orphans = await unreferenced()
    expect(orphans).not.toEqual([])

    // The other one takes over what the frozen one had read and not committed.
    expect(await post(other.url, sequence)).toBe(true)
    sequence += HTTP_ROWS
    const taken = sent
    await millrace.eventually(`SELECT count(*) FROM clicks WHERE kind = 'k'`, (rows) => Number(rows) >= taken)

    const compactor = await millrace.start('compactor', { withoutGrace: true })
    await until(
      'the frozen writer is fenced, its files gone',
      async () => {
        const there = new Set(await lake.filesThere())
        return [await lake.catalog.writerState(id), orphans.filter((path) => there.has(path))] as const
      },
      ([state, left]) => state === 'fenced' && left.length === 0,
    )
    const coverageBefore = await lake.catalog.coverage('clicks')
    expect(coverageBefore.every(({ ranges }) => ranges.length === 1)).toBe(true)

    frozen.resume()
    await expectEnd(frozen, EXIT_FENCED)
    producing = false
    await production
    await millrace.eventually(`SELECT count(*) FROM clicks WHERE kind = 'k'`, (rows) => Number(rows) >= sent)

    const { data } = await millrace.sql(
      'SELECT kind, count(*), count(DISTINCT id), sum(id) FROM clicks GROUP BY 1 ORDER BY 1',
    )
    expect(data.map(([kind, ...numbers]) => [kind, ...numbers.map(Number)])).toEqual(
      [sequence, sent].map((rows, each) => [['h', 'k'][each], rows, rows, (rows * (rows - 1)) / 2]),
    )
    await expectEveryOffsetOnce(millrace, kafka, { table: 'clicks', topic, partitions: PARTITIONS })
    const { there, referredTo } = await lake.settled(['clicks'])
    expect(there).toEqual(referredTo)
    expect(await other.stop()).toEqual({ code: 0, signal: null })
    expect(await compactor.stop()).toEqual({ code: 0, signal: null })
  } finally {
    producing = false
    await lake.close()
  }
})
