/**
 * A lake that is fed in every way (Kafka, HTTP producers with a sequence, a sender without), whose catalog is then lost or
 * replaced by an older copy, and what it must hold afterwards: everything that was acknowledged, once.
 */
import { copyFile, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { KafkaBroker } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { type ProcessExit, startProcess } from '../harness/processes.ts'
import type { Producer } from '../harness/produce.ts'
import { createProducer as createHttpProducer } from '../lake/open-lake.ts'

export const PARTITIONS = 3
const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')

export type Ended = { readonly exit: ProcessExit; readonly output: string }

export type LostLake = {
  readonly millrace: Millrace
  readonly catalogFile: string
  /** Kafka records, every tenth of them broken. */
  produce(count: number): Promise<void>
  /** Rows of the sequenced HTTP producer, some of them dead letters; answered when committed. */
  send(count: number): Promise<void>
  /** Rows without a producer: acknowledged all the same. */
  sendAnonymous(count: number): Promise<void>
  /** Waits until readers see all that was produced and sent. */
  arrived(): Promise<void>
  /** Every record and row exactly once, where it belongs. */
  expectEverythingOnce(): Promise<void>
  deleteCatalog(): Promise<void>
  /** From now on services use this catalog. */
  useCatalog(url: string): Promise<void>
  /** A backup of it, while it is in use. */
  copyCatalog(): Promise<string>
  /** Another file in its place, as one puts a backup back. */
  putBack(copy: string): Promise<void>
  health(service: 'ingest' | 'compactor'): Promise<{ status: number; text: string }>
  rebuild(...args: readonly string[]): Promise<Ended>
  /** A rebuild that kills itself at this crash point. */
  rebuildKilledAt(point: string, ...args: readonly string[]): Promise<Ended>
  /** Every byte, every row: is the lake sound? */
  check(): Promise<Ended>
  close(): Promise<void>
}

export async function openLostLake(options: {
  kafka: KafkaBroker
  producer: Producer
  topic: string
  settings?: string
}): Promise<LostLake> {
  const { kafka, producer, topic } = options
  await kafka.createTopic(topic, PARTITIONS)
  const millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 50
snapshot.age.ms: 500 ms
snapshot.bytes: 1 GiB
compaction.interval.ms: 100
compaction.files.min: 3
compaction.memory: 256 MiB
query.memory: 256 MiB
sweep.interval.ms: 500 ms
leases.ms: 2 s
tables:
  events:
    columns: { id: long required, ts: timestamptz, name: string, extra: json }
    partition: [day(ts)]
    sort: [id]
    event-time: ts
pipelines:
  events: { topics: [${topic}], tables: [events] }
${options.settings ?? ''}`,
  })
  const catalogFile = join(millrace.folder, 'data', 'catalog.sqlite')
  let produced = 0
  let anonymous = 0
  let copies = 0
  const http = createHttpProducer(millrace, 'events', 'sender')

  const line = (id: number) =>
    id % 10 === 9
      ? `{"id": ${id}, "name": "broken`
      : JSON.stringify({ id, ts: `2026-11-2${id % 5}T10:00:00Z`, name: `n${id}`, extra: { id } })
  const good = (count: number) => count - Math.floor(count / 10)
  const idsOf = (count: number) => Array.from({ length: count }, (_, id) => id).filter((id) => id % 10 !== 9)
  const sumOf = (count: number) => idsOf(count).reduce((sum, id) => sum + id, 0)

  async function command(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
    const process_ = await startProcess({
      name: args.join(' '),
      command: process.execPath,
      args: [MAIN, ...args, '--config', millrace.configFile],
      env: { ...process.env, ...env },
    })
    return { exit: await process_.exited, output: process_.output() }
  }

  return {
    millrace,
    catalogFile,
    async produce(count) {
      for (let partition = 0; partition < PARTITIONS; partition += 1) {
        const ids = Array.from({ length: count }, (_, each) => produced + each)
        await producer.send(
          topic,
          partition,
          ids.map((id) => ({ value: line(id) })),
          { recordsPerBatch: 50 },
        )
      }
      produced += count
    },
    async send(count) {
      for (let at = 0; at < count; at += 20) {
        const lines = Array.from({ length: Math.min(20, count - at) }, (_, each) => line(http.next + each))
        await http.send(lines, '?errors=dead-letter')
      }
    },
    async sendAnonymous(count) {
      const lines = Array.from({ length: count }, (_, each) =>
        JSON.stringify({ id: anonymous + each, name: 'anonymous' }),
      )
      const { status } = await millrace.ingest('events', lines.join('\n'))
      if (status !== 200) throw new Error(`refused: ${status}`)
      anonymous += count
    },
    async arrived() {
      const wanted = good(produced) * PARTITIONS + good(http.next) + anonymous
      const dead = produced - good(produced)
      await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) >= wanted)
      await millrace.eventually(
        'SELECT count(*) FROM events__dead_letters',
        (rows) => Number(rows) >= dead * PARTITIONS + http.next - good(http.next),
      )
    },
    async expectEverythingOnce() {
      const sources = await millrace.sql(`
        SELECT CASE WHEN _source LIKE 'kafka:%' THEN 'kafka' WHEN _source = 'http:sender' THEN 'sender' ELSE 'anonymous' END AS who,
          count(*) AS rows, count(DISTINCT (_source, _partition, _offset)) AS places, sum(id) AS ids, count(extra) AS extras
        FROM events GROUP BY who ORDER BY who`)
      const rows = new Map(sources.data.map(([who, ...rest]) => [String(who), rest.map(Number)]))
      const kafkaRows = good(produced) * PARTITIONS
      const expected = new Map([
        ['kafka', [kafkaRows, kafkaRows, sumOf(produced) * PARTITIONS, kafkaRows]],
        ['sender', [good(http.next), good(http.next), sumOf(http.next), good(http.next)]],
        ['anonymous', [anonymous, anonymous, (anonymous * (anonymous - 1)) / 2, 0]],
      ])
      for (const [who, [count]] of expected) if (count === 0) expected.delete(who)
      const letters = await millrace.sql(
        `SELECT count(*), count(DISTINCT (_source, _partition, _offset)), sum("offset") FROM events__dead_letters`,
      )
      const dead = (count: number) => Array.from({ length: count }, (_, id) => id).filter((id) => id % 10 === 9)
      const deadIds = (count: number) => dead(count).reduce((sum, id) => sum + id, 0)
      const deadRows = dead(produced).length * PARTITIONS + dead(http.next).length
      const found = { rows, letters: letters.data[0].map(Number) }
      const wanted = {
        rows: expected,
        letters: [deadRows, deadRows, deadIds(produced) * PARTITIONS + deadIds(http.next)],
      }
      if (
        JSON.stringify([[...found.rows].sort(), found.letters]) !==
        JSON.stringify([[...wanted.rows].sort(), wanted.letters])
      ) {
        throw new Error(
          `expected ${JSON.stringify([[...wanted.rows], wanted.letters])}, found ${JSON.stringify([[...found.rows], found.letters])}`,
        )
      }
    },
    async deleteCatalog() {
      for (const ending of ['', '-wal', '-shm']) await rm(catalogFile + ending, { force: true })
    },
    async useCatalog(url) {
      const text = await readFile(millrace.configFile, 'utf8')
      await writeFile(millrace.configFile, text.replace(/^catalog\.url: .*$/m, `catalog.url: ${url}`))
    },
    async copyCatalog() {
      copies += 1
      const copy = join(millrace.folder, `copy-${copies}.sqlite`)
      const database = new DatabaseSync(catalogFile, { timeout: 10_000 })
      database.exec(`VACUUM INTO '${copy}'`)
      database.close()
      return copy
    },
    async putBack(copy) {
      const own = `${copy}.back`
      await copyFile(copy, own)
      for (const ending of ['-wal', '-shm']) await rm(catalogFile + ending, { force: true })
      await rename(own, catalogFile)
    },
    async health(service) {
      const reply = await fetch(`${millrace.url(service)}/readyz`).catch(() => undefined)
      return reply ? { status: reply.status, text: await reply.text() } : { status: 0, text: '' }
    },
    rebuild: (...args) => command(['catalog', 'rebuild', ...args]),
    rebuildKilledAt: (point, ...args) => command(['catalog', 'rebuild', ...args], { MILLRACE_CRASH_AT: point }),
    check: () => command(['check', '--deep']),
    close: () => millrace.close(),
  }
}
