/**
 * A PostgreSQL server that is away, frozen, full of others, on another clock, or asked with a wrong password: callers are told to
 * back off in bounded time, nothing is lost or there twice, and it goes on by itself (G-1, G-2).
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { Coverage, SourceKey } from '../../schemas/coverage.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import {
  holdClock,
  moveHeldClock,
  openTransaction,
  type PostgresServer,
  runSql,
  startPostgres,
} from '../../test/harness/postgres.ts'
import type { Catalog, FlushTick, Lease, Table, TickResult, Writer } from './catalog.ts'
import { openCatalog } from './open-catalog.ts'
import type { Restore } from './restore.ts'
import { advanceOf, newTableOf, segmentOf, sourceKey, tickOf } from './test-values.ts'

let server: PostgresServer
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server?.stop())

const world = createSystemWorld({ log: createTestWorld().log })
const key = sourceKey(0)

async function withCatalogs<T>(
  count: number,
  work: (catalogs: Catalog[], url: string) => Promise<T>,
  busyMs = 10_000,
): Promise<T> {
  const url = await server.createDatabase()
  const catalogs: Catalog[] = []
  for (let index = 0; index < count; index += 1) catalogs.push(await openCatalog({ url, world, busyMs }))
  try {
    return await work(catalogs, url)
  } finally {
    for (const catalog of catalogs) await catalog.close()
  }
}

function coverageOf(source: SourceKey, start: bigint, end: bigint): Coverage {
  const counts = { recordsIn: end - start, recordsDead: 0n, recordsFiltered: 0n }
  return { ...source, ranges: [{ start, end }], ...counts, logEnd: undefined, caughtUpAt: undefined }
}

/** So many sessions wait for somebody's lock. */
async function untilWaiting(url: string, sessions: number): Promise<void> {
  for (;;) {
    const [{ count }] = await runSql(
      url,
      `select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    )
    if (Number(count) >= sessions) return
  }
}

/** As a flusher does: the same commit id, until there is an answer. */
async function commitUntilAnswered(catalog: Catalog, tick: FlushTick): Promise<TickResult> {
  for (;;) {
    try {
      return await catalog.commitTick(tick)
    } catch (error) {
      if (!isMillraceError(error, 'catalog-busy')) throw error
      expect(error.kind).toBe('unavailable')
    }
  }
}

test('a server killed and started again under load: every tick is there once', () =>
  withCatalogs(
    2,
    async ([first, second]) => {
      const table = await first.createTable(newTableOf('flights'))
      const writers = [await first.registerWriter('ingest'), await second.registerWriter('ingest')]
      let ticks = 0
      let isOver = false
      const load = async (index: number) => {
        const source = sourceKey(index)
        let end = 0n
        while (!isOver) {
          const tick = tickOf(table, writers[index], world.random.uuid(), source, end, end + 1n)
          const result = await commitUntilAnswered([first, second][index], tick)
          expect(['committed', 'already-committed']).toContain(result.outcome)
          end += 1n
          ticks += 1
        }
      }
      const loads = [load(0), load(1)]
      const reached = async (count: number) => {
        while (ticks < count) await world.clock.sleep(5)
      }
      await reached(20)
      await server.kill()
      await world.clock.sleep(300)
      await server.restart()
      const before = ticks
      await reached(before + 20)
      isOver = true
      await Promise.all(loads)
      const [seen] = await first.readTables(['flights'])
      expect(seen.version).toBe(BigInt(ticks))
      expect(seen.coverage.reduce((sum, { ranges }) => sum + ranges[0].end, 0n)).toBe(BigInt(ticks))
      expect(seen.segments).toHaveLength(ticks)
    },
    200,
  ))

test('a server that is away, and one that is frozen, are told as unavailable; then it goes on', () =>
  withCatalogs(
    1,
    async ([catalog]) => {
      await server.kill()
      await expect(catalog.versions()).rejects.toMatchObject({ code: 'catalog-busy', kind: 'unavailable' })
      const refused = await catalog.registerWriter('ingest').catch((error: unknown) => error)
      expect(String(refused)).toContain('did not answer')
      expect(String(refused)).not.toContain(server.password)
      await server.restart()
      expect(await catalog.versions()).toEqual(new Map())
      server.pause()
      // New connections are not answered at all: connecting has a time of its own.
      await expect(openCatalog({ url: server.url, world, busyMs: 100 })).rejects.toMatchObject({ code: 'catalog-busy' })
      server.resume()
      expect(await catalog.versions()).toEqual(new Map())
    },
    200,
  ))

test('locks of somebody who stands still are waited for in bounded time', () =>
  withCatalogs(
    1,
    async ([catalog], url) => {
      const table = await catalog.createTable(newTableOf('flights'))
      const writer = await catalog.registerWriter('ingest')
      await catalog.commitTick(tickOf(table, writer, 'a', key, 0n, 1n))
      // Whoever reads is not held up, whoever writes is told.
      const release = await openTransaction(url, 'update tables set version = version')
      expect((await catalog.readTables(['flights']))[0].version).toBe(1n)
      await expect(catalog.commitTick(tickOf(table, writer, 'b', key, 1n, 2n))).rejects.toMatchObject({
        code: 'catalog-busy',
      })
      await release()
      const result = await catalog.commitTick(tickOf(table, writer, 'b', key, 1n, 2n))
      expect(result).toMatchObject({ outcome: 'committed' })
    },
    200,
  ))

test('eight writers over the same tables and sources, in any order, never deadlock, and each offset is there once', () =>
  withCatalogs(8, async (catalogs, url) => {
    const [first] = catalogs
    const tables: Table[] = []
    for (const name of ['a', 'b', 'c', 'd']) {
      tables.push(await first.createTable({ ...newTableOf(name), location: `file:///lake/${name}-1` }))
    }
    const sources = [0, 1, 2, 3, 4, 5].map((partition) => sourceKey(partition))
    let landed = 0
    const work = async (catalog: Catalog, index: number) => {
      const writer = await catalog.registerWriter('ingest')
      const compactor = await catalog.registerWriter('compactor')
      const ends = new Map<number, bigint>()
      for (let round = 0; round < 12; round += 1) {
        const commitId = `${index}-${round}`
        // Everybody names them in another order.
        const mine = sources.filter((_, at) => (at + round) % 3 !== index % 3).sort(() => (round % 2 ? 1 : -1))
        const advances = mine.map((source) => {
          const end = ends.get(source.partition) ?? 0n
          return advanceOf(source, end, end + 1n)
        })
        const segments = [...tables].reverse().map((table) =>
          segmentOf(
            table,
            `${commitId}.parquet`,
            mine.slice(0, 2).map((source) => {
              const end = ends.get(source.partition) ?? 0n
              return { ...source, range: { start: end, end: end + 1n } }
            }),
          ),
        )
        const result = await catalog.commitTick({ commitId, writer, segments, advances, idempotencyKeys: [] })
        if (result.outcome === 'committed') {
          landed += 1
          for (const source of mine) ends.set(source.partition, (ends.get(source.partition) ?? 0n) + 1n)
        } else if (result.outcome === 'stale') {
          for (const { key: stale, coverage } of result.stale) {
            ends.set(stale.partition, coverage?.ranges.at(-1)?.end ?? 0n)
          }
        }
        await catalog.touchCaughtUp(
          writer,
          sources.map((source) => ({ ...source, end: ends.get(source.partition) ?? 0n, logEnd: 100n })),
        )
        const lease = await catalog.acquireLease(tables[round % 4].tableId, compactor, 20)
        if (lease) await commitNothing(catalog, compactor, lease, tables[round % 4].name, commitId)
        await catalog.heartbeat(compactor, 20)
      }
    }
    await Promise.all(catalogs.map(work))
    const versions = await first.readTables(['a', 'b', 'c', 'd'])
    expect(landed).toBeGreaterThan(0)
    for (const { segments, coverage } of versions) {
      expect(segments).toHaveLength(landed)
      expect(new Set(segments.map(({ addedVersion }) => addedVersion)).size).toBe(landed)
      for (const { recordsIn, ranges } of coverage) expect(ranges).toEqual([{ start: 0n, end: recordsIn }])
    }
    const [{ deadlocks }] = await runSql(
      url,
      'select pg_stat_clear_snapshot(), deadlocks from pg_stat_database where datname = current_database()',
    )
    expect(Number(deadlocks)).toBe(0)
  }))

async function commitNothing(catalog: Catalog, writer: Writer, lease: Lease, name: string, id: string): Promise<void> {
  const [{ metadataLocation }] = await catalog.readTables([name], { coverage: false })
  const commit = catalog.commitSnapshot({
    commitId: `s-${id}`,
    writer,
    lease,
    tableId: lease.tableId,
    expectedMetadataLocation: metadataLocation,
    metadataLocation: `file:///lake/${name}/${id}.json`,
    consumedSegmentIds: [],
    removedPaths: [],
    rowsAdded: 0,
    snapshotRows: 0,
  })
  await commit.catch((error: unknown) => {
    if (!isMillraceError(error, 'lease-lost')) throw error
  })
}

test("times never run backwards when the server's clock is set back, whoever asks", async () => {
  const url = await server.createDatabase()
  const start = 1_800_000_000_000_000n
  await holdClock(url, start)
  const one = await openCatalog({ url, world })
  const table = await one.createTable(newTableOf('flights'))
  const writer = await one.registerWriter('ingest')
  await moveHeldClock(url, 5000)
  await one.commitTick(tickOf(table, writer, 'a', key, 0n, 1n))
  await moveHeldClock(url, -60_000)
  const two = await openCatalog({ url, world })
  try {
    expect(await two.now()).toBe(start + 5_000_000n)
    const result = await two.commitTick(tickOf(table, writer, 'b', key, 1n, 2n))
    expect(result).toMatchObject({ committedAt: start + 5_000_000n })
    const [seen] = await two.readTables(['flights'])
    expect(seen.readAt).toBe(start + 5_000_000n)
    expect(seen.segments.map(({ addedAt }) => addedAt)).toEqual([start + 5_000_000n, start + 5_000_000n])
    // A heartbeat's time counts too.
    await moveHeldClock(url, 70_000)
    await one.heartbeat(writer, 1000)
    await moveHeldClock(url, -70_000)
    expect(await two.now()).toBe(start + 15_000_000n)
  } finally {
    await one.close()
    await two.close()
  }
})

test('a newer release adds a column while this one works: its prepared statements are made again', () =>
  withCatalogs(1, async ([catalog], url) => {
    const table = await catalog.createTable(newTableOf('flights'))
    const writer = await catalog.registerWriter('ingest')
    const use = async (round: number) => {
      const tick = tickOf(table, writer, `c${round}`, key, BigInt(round), BigInt(round + 1))
      expect(await catalog.commitTick(tick)).toMatchObject({ outcome: 'committed' })
      const [seen] = await catalog.readTables(['flights'])
      expect(seen.segments).toHaveLength(round + 1)
      expect(await catalog.coverage('p')).toHaveLength(1)
      expect(await catalog.listTables()).toHaveLength(1)
    }
    for (let round = 0; round < 3; round += 1) await use(round)
    for (const changed of ['coverage', 'segments', 'tables', 'writers', 'schema_versions']) {
      await runSql(url, `alter table ${changed} add column of_later bigint`)
    }
    for (let round = 3; round < 6; round += 1) await use(round)
  }))

test('what somebody must change is told as such, without the password', async () => {
  const url = new URL(await server.createDatabase())
  const messages: string[] = []
  for (const change of [
    (wrong: URL) => {
      wrong.password = 'not-it-at-all'
    },
    (wrong: URL) => {
      wrong.password = ''
    },
    (wrong: URL) => {
      wrong.pathname = '/nothing'
    },
    (wrong: URL) => {
      wrong.search = '?sslmode=require'
    },
    (wrong: URL) => {
      wrong.search = '?sslmode=sometimes'
    },
    (wrong: URL) => {
      wrong.search = '?schema=x'
    },
  ]) {
    const wrong = new URL(url)
    change(wrong)
    const error = await openCatalog({ url: wrong.href, world, busyMs: 100 }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    if (!isMillraceError(error, 'settings-invalid'))
      throw new Error(`${wrong.search}: ${String(error)}`, { cause: error })
    messages.push(JSON.stringify([error.message, String(error.cause)]))
  }
  for (const message of messages) {
    for (const secret of [server.password, url.password, 'not-it-at-all']) expect(message).not.toContain(secret)
  }
})

test('a process that registers while a catalog is made again waits until that is done', () =>
  withCatalogs(2, async ([first, second], url) => {
    const restorer = first as Catalog & Restore
    const newestEpoch = await restorer.fenceAllWriters()
    // The restore gets as far as the coverage, and stands there.
    const release = await openTransaction(url, 'lock table coverage in access exclusive mode')
    const restoring = restorer.restore({
      commitId: 'r',
      newestEpoch,
      tables: [],
      coverage: [coverageOf(key, 0n, 5n)],
      bindings: [],
      writers: [{ writerId: 'gone', epoch: 7 }],
      epochMax: 7,
    })
    await untilWaiting(url, 1)
    let isRegistered = false
    const registering = second.registerWriter('ingest').then((writer) => {
      isRegistered = true
      return writer
    })
    await Promise.race([registering, untilWaiting(url, 2)])
    expect(isRegistered).toBe(false)
    await release()
    await restoring
    expect((await registering).epoch).not.toBe(7)
    expect(await second.coverage(key.pipeline)).toHaveLength(1)
  }))

test("a database that is nobody's yet is only looked at when asked to", async () => {
  const url = await server.createDatabase()
  await expect(openCatalog({ url, world, asItIs: true })).rejects.toMatchObject({ code: 'not-found' })
  expect(await runSql(url, "select 1 from pg_tables where schemaname = 'public'")).toEqual([])
})
