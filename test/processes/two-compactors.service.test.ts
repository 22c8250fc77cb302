// Two compactors on one table: whoever holds the lease commits, every row is there once at every moment, and one that was
// frozen in front of its commit wakes up fenced: it commits nothing, ends with 75, and its files are gone; or, when it was not
// silent for long enough, without its lease: then it plans again (G-1, G-2).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT_FENCED } from '../../runtime/lifecycle.ts'
import type { StartedProcess } from '../harness/processes.ts'
import { catalogRows } from '../lake/catalog-rows.ts'
import { createProducer, type Lake, openLake, type Producer, SMALL_STEPS } from '../lake/open-lake.ts'
import { type Place, type Servers, startServers } from '../lake/places.ts'
import { expectEnd, logLines, until } from './observe.ts'

const PLACES: readonly Place[] = ['SQLite on local disk', 'PostgreSQL and a bucket']
const ROWS_A_REQUEST = 6
const COMMITS_EACH = 5
const REQUESTS_MAX = 2_000

const SETTINGS = `${SMALL_STEPS.replace('log.level: warn', 'log.level: info')}
leases.ms: 1500 ms
sweep.writer-silent.ms: 3 s
query.memory: 256 MiB
tables:
  trips:
    columns: { id: long required, city: string, fare: "decimal(9,2)" }
    partition: ["bucket(2, id)"]
    sort: [id]
`
  .replace('leases.ms: 30 s\n', '')
  .replace('sweep.writer-silent.ms: 60 s\n', '')

let servers: Servers
beforeAll(async () => {
  servers = await startServers(PLACES)
})
afterAll(async () => {
  await servers?.stop()
})

describe.each(PLACES)('with %s', (place) => {
  let lake: Lake
  let producer: Producer
  beforeAll(async () => {
    lake = await openLake(`${await servers.settingsFor(place, 'two')}\n${SETTINGS}`)
    await Promise.all([lake.millrace.start('ingest'), lake.millrace.start('query')])
    producer = createProducer(lake.millrace, 'trips', 'p')
    await send()
  })
  afterAll(async () => {
    await lake?.close()
  })

  async function send(): Promise<void> {
    const first = producer.next
    const ids = Array.from({ length: ROWS_A_REQUEST }, (_, each) => first + each)
    await producer.send(ids.map((id) => JSON.stringify({ id, city: `c${id % 5}`, fare: `${id}.25` })))
  }

  /** A producer's rows come in order, so every version has the ids from 0 up to some number, each once. */
  async function expectPrefix(): Promise<void> {
    const acknowledged = producer.next
    const { data } = await lake.millrace.sql(
      'SELECT count(*), count(DISTINCT id), min(id), max(id), sum(id), count(DISTINCT (_source, _partition, _offset)) FROM trips',
    )
    const [rows, ...found] = data[0].map(Number)
    expect(found).toEqual([rows, 0, rows - 1, (rows * (rows - 1)) / 2, rows])
    expect(rows).toBeGreaterThanOrEqual(acknowledged)
    expect(rows).toBeLessThanOrEqual(producer.next + ROWS_A_REQUEST)
  }

  async function expectWhole(): Promise<void> {
    const { there, referredTo } = await lake.settled(['trips'])
    expect(there).toEqual(referredTo)
    await expectPrefix()
    const [row] = await lake.rows('trips', 'SELECT count(*)::INTEGER AS rows, sum(fare)::VARCHAR AS fare FROM rows')
    const rows = producer.next
    expect(row).toEqual({ rows, fare: ((rows * (rows - 1)) / 2 + rows * 0.25).toFixed(2) })
  }

  test('both work: every row once all the while, one holder a lease, nothing damaged', async () => {
    const compactors = await Promise.all(
      [0, 1].map(() => lake.millrace.start('compactor', { extra: true, withoutGrace: true })),
    )
    let reading = true
    const reader = (async () => {
      let reads = 0
      for (; reading; reads++, await sleep(30)) await expectPrefix()
      return reads
    })()
    const busyEnough = () => compactors.every((each) => versionsCommittedBy(each).length >= COMMITS_EACH)
    try {
      for (let requests = 0; !busyEnough(); requests++) {
        expect(requests).toBeLessThan(REQUESTS_MAX)
        await Promise.race([send(), reader])
      }
    } finally {
      reading = false
    }
    expect(await reader).toBeGreaterThan(COMMITS_EACH)
    await expectWhole()
    for (const compactor of compactors) expect(await compactor.stop()).toEqual({ code: 0, signal: null })

    // Every snapshot was committed by one of the two; epochs grow with versions, and each had one holder.
    const commits = await catalogRows(
      lake.settings.catalog.url,
      'SELECT version, epoch FROM snapshots ORDER BY version',
    )
    const byVersion = new Map(
      compactors.flatMap((each, index) => versionsCommittedBy(each).map((version) => [version, index] as const)),
    )
    expect([...byVersion.keys()].sort((a, b) => a - b)).toEqual(commits.map(({ version }) => Number(version)))
    const epochs = commits.map(({ epoch }) => Number(epoch))
    expect(epochs).toEqual(epochs.toSorted((a, b) => a - b))
    const holders = new Map<number, Set<number | undefined>>()
    for (const { version, epoch } of commits) {
      const known = holders.get(Number(epoch)) ?? new Set()
      holders.set(Number(epoch), known.add(byVersion.get(Number(version))))
    }
    expect([...holders.values()].filter((each) => each.size > 1)).toEqual([])
  })

  test('one frozen before its commit is fenced: it commits nothing, ends with 75, its files go', async () => {
    const frozen = await lake.millrace.start('compactor', {
      extra: true,
      withoutGrace: true,
      pauseAt: 'compactor/before-snapshot-commit',
    })
    await send()
    await frozen.paused()
    const [lease] = await catalogRows(lake.settings.catalog.url, 'SELECT holder, epoch FROM leases')
    const ofFrozen = async () => (await lake.filesThere()).filter((path) => path.includes(String(lease.holder)))
    expect(await ofFrozen()).not.toEqual([])
    await expectPrefix()

    const other = await lake.millrace.start('compactor', { extra: true, withoutGrace: true })
    await send()
    await until(
      'the frozen writer is fenced and its files are gone',
      async () => [await lake.catalog.writerState(String(lease.holder)), await ofFrozen()] as const,
      ([state, files]) => state === 'fenced' && files.length === 0,
    )
    await expectWhole()
    const [{ epoch: later }] = await catalogRows(lake.settings.catalog.url, 'SELECT epoch FROM leases')
    expect(Number(later)).toBeGreaterThan(Number(lease.epoch))
    const before = { table: await lake.table('trips'), files: await lake.filesThere() }

    frozen.resume()
    await expectEnd(frozen, EXIT_FENCED)
    expect(versionsCommittedBy(frozen)).toEqual([])
    expect({ table: await lake.table('trips'), files: await lake.filesThere() }).toEqual(before)
    await send()
    await expectWhole()
    expect(await other.stop()).toEqual({ code: 0, signal: null })
  })

  test('one whose lease went to another while it was frozen drops that work and goes on', async () => {
    const options = { extra: true, withoutGrace: true, set: ['sweep.writer-silent.ms=10 min'] }
    const frozen = await lake.millrace.start('compactor', { ...options, pauseAt: 'compactor/before-snapshot-commit' })
    await send()
    await frozen.paused()
    const other = await lake.millrace.start('compactor', options)
    await until(
      'the other one commits',
      async () => versionsCommittedBy(other).length,
      (commits) => commits > 0,
    )
    expect(await other.stop()).toEqual({ code: 0, signal: null })
    await expectPrefix()

    frozen.resume()
    await send()
    await until(
      'it commits again',
      async () => versionsCommittedBy(frozen),
      (versions) => versions.length > 0,
    )
    expect(versionsCommittedBy(frozen)[0]).toBeGreaterThan(versionsCommittedBy(other).at(-1)!)
    await expectWhole()
    expect(await frozen.stop()).toEqual({ code: 0, signal: null })
  })
})

function versionsCommittedBy(compactor: StartedProcess): number[] {
  return logLines(compactor)
    .filter(({ message }) => message === 'snapshot committed')
    .map(({ version }) => Number(version))
}
