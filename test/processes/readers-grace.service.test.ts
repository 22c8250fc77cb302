// A query keeps every file of its version, however many compactions and sweeps go by meanwhile, and loses them afterwards;
// one that was killed keeps them until its silence is over, and one that was frozen for longer than that never answers wrong.
// `snapshot.min-age` is nothing here: the reader's row alone counts.
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:http'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { StartedService } from '../harness/millrace.ts'
import { type SlowProxy, startSlowProxy } from '../harness/slow-proxy.ts'
import { catalogRows } from '../lake/catalog-rows.ts'
import { createProducer, type Lake, openLake, type Producer, SMALL_STEPS } from '../lake/open-lake.ts'
import { type Place, type Servers, startServers } from '../lake/places.ts'
import { logLines, until } from './observe.ts'

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']
const REQUESTS = 16
const ROWS_A_REQUEST = 4_000
/** So wide that most of the table is not read yet when the client stops reading. */
const NOTE = 'n'.repeat(300)
const COMMITS = 4

const SETTINGS = `${SMALL_STEPS.replace('log.level: warn', 'log.level: info')}
query.memory: 256 MiB
query.threads: 1
tables:
  notes: { columns: { id: long required, note: string } }
  others: { columns: { id: long required, note: string } }
`

let servers: Servers
beforeAll(async () => {
  servers = await startServers(PLACES)
})
afterAll(async () => {
  await servers?.stop()
})

describe.each(PLACES)('%s', (place) => {
  let lake: Lake
  let notes: Producer
  let others: Producer
  let proxy: SlowProxy | undefined
  let query: StartedService
  beforeEach(async () => {
    lake = await openLake(`${await servers.settingsFor(place, 'grace')}\n${SETTINGS}`)
    await lake.millrace.start('ingest')
    notes = createProducer(lake.millrace, 'notes', 'p')
    others = createProducer(lake.millrace, 'others', 'p')
    for (let each = 0; each < REQUESTS / 2; each++) await send(notes, ROWS_A_REQUEST)
    // A snapshot, and segments after it: the version that is read has both.
    const compactor = await lake.startCompactor()
    await lake.settled(['notes'])
    await compactor.stop()
    for (let each = 0; each < REQUESTS / 2; each++) await send(notes, ROWS_A_REQUEST)
    const set: string[] = []
    if (servers.s3 && place.endsWith('a bucket')) {
      proxy = await startSlowProxy({ port: Number(new URL(servers.s3.endpoint).port) })
      set.push(`storage.s3.endpoint=http://127.0.0.1:${proxy.port}`)
    }
    query = await lake.millrace.start('query', { set })
  })
  afterEach(async () => {
    await lake?.close()
    await proxy?.close()
    proxy = undefined
  })

  async function send(producer: Producer, rows: number): Promise<void> {
    const first = producer.next
    await producer.send(Array.from({ length: rows }, (_, each) => JSON.stringify({ id: first + each, note: NOTE })))
  }

  /** Starts to read the table and stops soon: on disk the client reads no further, in a bucket no more requests arrive. */
  async function startSlowly(): Promise<{ rest(): Promise<Rest>; drop(): void }> {
    proxy?.set({ holdRequests: true })
    const asked = request(`${lake.millrace.url('query')}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      agent: false,
    })
    asked.end(JSON.stringify({ sql: 'SELECT id, note FROM notes', format: 'jsonl' }))
    const answered = once(asked, 'response') as Promise<[IncomingMessage]>
    answered.catch(() => {})
    asked.on('error', () => {})
    if (!proxy) {
      const [response] = await answered
      response.pause()
      response.on('error', () => {})
    }
    await until(
      'the reader has its row',
      () => catalogRows(lake.settings.catalog.url, 'SELECT oldest_version FROM readers'),
      (rows) => rows.length === 1,
    )
    return {
      drop: () => asked.destroy(),
      async rest() {
        proxy?.set({})
        let text = ''
        let isCut = false
        try {
          const [response] = await answered
          isCut = response.statusCode !== 200
          for await (const chunk of response) text += String(chunk)
        } catch {
          isCut = true
        }
        const lines = text.split('\n').filter((line) => line !== '')
        return {
          ids: lines.filter((line) => line.startsWith('{"id"') && line.endsWith('}')).map(idOf),
          isWhole: !isCut && !lines.some((line) => line.startsWith('{"error"')),
        }
      },
    }
  }

  const ofTable = async (name: string, paths: readonly string[]) => {
    const { location } = await lake.table(name)
    return paths.filter((path) => path.startsWith(`${location}/`))
  }
  const commitsOf = (compactor: StartedService, table: string) =>
    logLines(compactor).filter((line) => line.message === 'snapshot committed' && line.table === table).length

  /** Several snapshots of both tables, and sweeps after them: of the table that nobody reads, what it left is gone. */
  async function compactAndSweep(): Promise<StartedService> {
    const compactor = await lake.millrace.start('compactor', { withoutGrace: true })
    while (commitsOf(compactor, 'notes') < COMMITS || commitsOf(compactor, 'others') < COMMITS) {
      await Promise.all([send(notes, 10), send(others, 10)])
    }
    await until(
      'garbage of the other table is gone',
      async () => {
        const there = await ofTable('others', await lake.filesThere())
        const referredTo = await ofTable('others', await lake.filesReferredTo().catch(() => []))
        return { there, referredTo }
      },
      ({ there, referredTo }) => referredTo.length > 0 && there.join() === referredTo.join(),
    )
    return compactor
  }

  async function expectAllThere(before: readonly string[]): Promise<void> {
    const there = new Set(await lake.filesThere())
    expect(before.filter((path) => !there.has(path))).toEqual([])
  }

  async function expectOnlyLive(): Promise<void> {
    const { there, referredTo } = await lake.settled(['notes', 'others'])
    expect(there).toEqual(referredTo)
  }

  test('a query slower than several compactions and sweeps is right; then the garbage goes', async () => {
    const rows = notes.next
    const before = await ofTable('notes', await lake.filesThere())
    const slow = await startSlowly()
    const compactor = await compactAndSweep()
    await expectAllThere(before)
    const live = new Set(await lake.filesReferredTo())
    expect(before.filter((path) => !live.has(path)).length).toBeGreaterThan(REQUESTS / 2)

    expectEvery(rows, await slow.rest())
    await expectOnlyLive()
    const metrics = await (await fetch(`${query.url}/metrics`)).text()
    expect(metrics).not.toMatch(/query_retries_total\{[^}]*file-missing[^}]*\} [1-9]/)
    expect(await compactor.stop()).toEqual({ code: 0, signal: null })
  })

  test('a query process killed in the middle keeps its files only until its silence is over', async () => {
    const before = await ofTable('notes', await lake.filesThere())
    const slow = await startSlowly()
    await query.kill()
    slow.drop()
    const compactor = await compactAndSweep()
    await expectAllThere(before)
    await compactor.stop()
    const impatient = await lake.millrace.start('compactor', {
      withoutGrace: true,
      set: ['query.timeout.ms=1 s', 'sweep.reader-silent.ms=1 s'],
    })
    await expectOnlyLive()
    expect(await catalogRows(lake.settings.catalog.url, 'SELECT reader_id FROM readers')).toEqual([])
    expect(await impatient.stop()).toEqual({ code: 0, signal: null })
  })

  test('a query process frozen beyond its silence answers right when it wakes up, or says that it cannot', async () => {
    const rows = notes.next
    const slow = await startSlowly()
    query.pause()
    const impatient = await lake.millrace.start('compactor', {
      withoutGrace: true,
      set: ['query.timeout.ms=1 s', 'sweep.reader-silent.ms=1 s'],
    })
    await send(others, 10)
    await expectOnlyLive()
    expect(await catalogRows(lake.settings.catalog.url, 'SELECT reader_id FROM readers')).toEqual([])
    query.resume()
    const rest = await slow.rest()
    if (rest.isWhole) expectEvery(rows, rest)
    await send(notes, 10)
    await lake.millrace.eventually('SELECT count(DISTINCT id) FROM notes', (ids) => Number(ids) === rows + 10)
    expect(await impatient.stop()).toEqual({ code: 0, signal: null })
  })
})

type Rest = { readonly ids: readonly number[]; readonly isWhole: boolean }

function idOf(line: string): number {
  return Number((JSON.parse(line) as { id: unknown }).id)
}

function expectEvery(rows: number, { ids, isWhole }: Rest): void {
  expect([isWhole, ids.length]).toEqual([true, rows])
  expect(ids.toSorted((a, b) => a - b).every((id, place) => id === place)).toBe(true)
}
