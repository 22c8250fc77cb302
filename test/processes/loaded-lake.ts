/**
 * All services over PostgreSQL and a bucket, with records coming from Kafka and over HTTP all the time, for tests that take the
 * catalog away or cut its connections. What was sent is known, so that in the end nothing may be missing and nothing twice.
 */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import type { ServiceName, StartedService } from '../harness/millrace.ts'
import type { PostgresServer } from '../harness/postgres.ts'
import { createProducer as createKafkaProducer } from '../harness/produce.ts'
import { createProducer, type Lake, openLake, SMALL_STEPS } from '../lake/open-lake.ts'
import { startServers } from '../lake/places.ts'
import { expectEveryOffsetOnce } from '../main-job/table-checks.ts'
import { readiness } from './observe.ts'

export const SERVICES: readonly ServiceName[] = ['ingest', 'compactor', 'query']
export const HELD_BYTES_MAX = 16 * 1024 ** 2

const TOPIC = 'clicks'
const PARTITIONS = 3
/** About 4 MB a second: far more than ingest may hold while it cannot commit for a minute. */
const BATCH = 100
const PAUSE_MS = 50
export const RECORD_BYTES = 2_000
const NOTE = 'n'.repeat(RECORD_BYTES)
const HTTP_ROWS = 5

const SETTINGS = `${SMALL_STEPS.replace('leases.ms: 30 s', 'leases.ms: 3 s').replace('writer-silent.ms: 60 s', 'writer-silent.ms: 12 s')}
ingest.memory.max: 16 MiB
ingest.request.bytes.max: 1 MiB
flush.bytes: 2 MiB
kafka.fetch.bytes.max: 1 MiB
query.memory: 256 MiB
# A reader's row whose write had no answer is left behind: it keeps files for this long.
query.timeout.ms: 20 s
sweep.reader-silent.ms: 20 s
tables:
  clicks:
    columns: { id: long required, kind: string, note: string }
    sort: [id]
pipelines:
  clicks: { topics: [${TOPIC}], tables: [clicks] }
`

export type LoadedLake = {
  readonly lake: Lake
  readonly postgres: PostgresServer
  /** Records that Kafka has taken. */
  readonly sent: number
  start(
    service: ServiceName,
    env?: Readonly<Record<string, string>>,
    options?: { readonly extra?: boolean },
  ): Promise<StartedService>
  /** Begins to send. */
  load(): void
  /** Ends the load and waits until every record is there; then checks each one. */
  expectEveryRecordOnce(): Promise<void>
  /** All others have ended: a new compactor leaves nothing but what is live. */
  expectOnlyLiveFiles(): Promise<void>
  close(): Promise<void>
}

export async function openLoadedLake(): Promise<LoadedLake> {
  const [servers, kafka] = await Promise.all([startServers(['PostgreSQL and a bucket']), startKafka()])
  await kafka.createTopic(TOPIC, PARTITIONS)
  const where = await servers.settingsFor('PostgreSQL and a bucket', 'loaded')
  const lake = await openLake(`${where}\nkafka.bootstrap: ["${kafka.bootstrap}"]\n${SETTINGS}`)
  const { millrace } = lake
  const http = createProducer(millrace, 'clicks', 'p')
  let sent = 0
  let isLoaded = false
  let load: Promise<unknown> = Promise.resolve()

  async function produce(): Promise<void> {
    await using producer = await createKafkaProducer(kafka.bootstrap)
    while (isLoaded) {
      const records = Array.from({ length: BATCH }, (_, each) => ({
        value: JSON.stringify({ id: sent + each, kind: 'k', note: NOTE }),
      }))
      await producer.send(TOPIC, (sent / BATCH) % PARTITIONS, records, { codec: 'lz4' })
      sent += BATCH
      await sleep(PAUSE_MS)
    }
  }

  async function post(): Promise<void> {
    while (isLoaded) {
      const first = http.next
      await http.send(Array.from({ length: HTTP_ROWS }, (_, each) => JSON.stringify({ id: first + each, kind: 'h' })))
    }
  }

  async function expectEveryRowOnce(broker: KafkaBroker): Promise<void> {
    const { data } = await millrace.sql(
      'SELECT kind, count(*), count(DISTINCT id), sum(id) FROM clicks GROUP BY 1 ORDER BY 1',
    )
    expect(data.map(([kind, ...numbers]) => [kind, ...numbers.map(Number)])).toEqual(
      [http.next, sent].map((rows, each) => [['h', 'k'][each], rows, rows, (rows * (rows - 1)) / 2]),
    )
    await expectEveryOffsetOnce(millrace, broker, { table: 'clicks', topic: TOPIC, partitions: PARTITIONS })
    expect(Number(await millrace.value('SELECT count(*) FROM clicks__dead_letters'))).toBe(0)
  }

  return {
    lake,
    postgres: servers.postgres!,
    get sent() {
      return sent
    },
    start: (service, env, { extra = false } = {}) =>
      millrace.start(service, { env, extra, withoutGrace: service === 'compactor' }),
    load() {
      isLoaded = true
      load = Promise.all([produce(), post()])
      load.catch(() => {})
    },
    async expectEveryRecordOnce() {
      isLoaded = false
      await load
      await millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) >= sent + http.next, 60_000)
      await expectEveryRowOnce(kafka)
    },
    // Files of a commit whose answer was lost are left alone as long as their writer lives.
    async expectOnlyLiveFiles() {
      const compactor = await millrace.start('compactor', { withoutGrace: true })
      const { there, referredTo } = await lake.settled(['clicks'], 60_000)
      expect(there).toEqual(referredTo)
      expect(await compactor.stop()).toEqual({ code: 0, signal: null })
    },
    async close() {
      isLoaded = false
      await lake.close()
      await Promise.all([kafka[Symbol.asyncDispose](), servers.stop()])
    },
  }
}

export type Answer = { readonly alive: number; readonly code: number; readonly status: string; readonly why: string }

/** What a service says of itself: that it lives, and why it is not well. */
export async function stateOf(service: StartedService): Promise<Answer> {
  const alive = await fetch(`${service.url}/healthz`)
  await alive.arrayBuffer()
  const { code, status, reasons } = await readiness(service.url)
  return {
    alive: alive.status,
    code,
    status,
    why: reasons.map(({ component, reason }) => `${component}: ${reason}`).join('; '),
  }
}

/** Resident memory of a process, in MiB. */
export function residentMiB(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
  return Number(kib) / 1024
}

/** Bytes of rows that ingest holds. */
export async function heldBytes(ingest: StartedService): Promise<number> {
  const text = await (await fetch(`${ingest.url}/metrics`)).text()
  return Number(/^millrace_ingest_bytes_held(?:\{[^}]*\})? (\S+)$/m.exec(text)?.[1])
}
