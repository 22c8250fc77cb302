/**
 * One catalog under several real processes, on both databases: all write at once, some are killed at a crash point or anywhere,
 * and what is left is whole (G-1, G-2, G-3). Two at work on everything at once (ticks on shared sources, snapshot commits among
 * them, leases that change hands, merges, schemas, sweeps) leave exactly what a model of their reports says.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type PostgresServer, startPostgres } from '../../test/harness/postgres.ts'
import { expectedState, foundState } from '../../test/releases/model.ts'
import { startWorking, type Working } from '../../test/releases/working.ts'
import type { Catalog } from './catalog.ts'
import { openCatalog } from './open-catalog.ts'
import { newTableOf } from './test-values.ts'

const CHILD = join(import.meta.dirname, 'tick-process.ts')
const TABLES = ['flights', 'planes']
const STEPS = 150

/** A seed of its own each time; a failing test says which. */
const SEED = Number(process.env.MILLRACE_TEST_SEED ?? Math.floor(Math.random() * 1e9))
const replay = `MILLRACE_TEST_SEED=${SEED} npx vitest run --project services lake/catalog/processes.service.test.ts`

type Home = { readonly url: string; end(): Promise<void> }

async function sqliteHome(): Promise<Home> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-catalog-'))
  return {
    url: `sqlite:${join(folder, 'catalog.db')}`,
    end: () => rm(folder, { recursive: true, force: true }),
  }
}

let server: Promise<PostgresServer> | undefined
async function postgresHome(): Promise<Home> {
  server ??= startPostgres()
  return { url: await (await server).createDatabase(), end: async () => {} }
}

afterAll(async () => (await server)?.stop())

describe.each([
  ['SQLite', sqliteHome],
  ['PostgreSQL', postgresHome],
] as const)('processes on %s', (name, makeHome) => {
  let home: Home
  let children: ChildProcess[]
  let working: Working[]

  beforeEach(async () => {
    home = await makeHome()
    children = []
    working = []
  })
  afterEach(async () => {
    for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    for (const each of working) each.kill()
    await home.end()
  })

  function start(ticks: number, crashAt = ''): { child: ChildProcess; ended: Promise<unknown[]> } {
    const child = fork(CHILD, [home.url, String(ticks)], {
      env: { ...process.env, MILLRACE_CRASH_AT: crashAt },
      execArgv: [],
    })
    children.push(child)
    return { child, ended: once(child, 'exit') }
  }

  async function withCatalog<T>(work: (catalog: Catalog) => Promise<T>): Promise<T> {
    const catalog = await openCatalog({ url: home.url, world: createTestWorld({ sleepAdvances: true }) })
    try {
      return await work(catalog)
    } finally {
      await catalog.close()
    }
  }

  /** Version, segments and coverage tell the same story; returns how many ticks landed. */
  function checkWhole(): Promise<number> {
    return withCatalog(async (catalog) => {
      const [seen] = await catalog.readTables(['flights'])
      const end = seen.coverage[0]?.ranges.at(-1)?.end ?? 0n
      expect(seen.version).toBe(BigInt(seen.segments.length))
      const starts = seen.segments.map(({ sources }) => sources[0].range.start)
      expect(starts).toEqual(seen.segments.map((_, index) => BigInt(index)))
      expect(end).toBe(BigInt(seen.segments.length))
      return seen.segments.length
    })
  }

  test('those that start at once on a new catalog migrate it once, and share one source without a gap', async () => {
    const running = [start(25), start(25), start(25)]
    for (const { ended } of running) expect(await ended).toEqual([0, null])
    expect(await checkWhole()).toBe(75)
  })

  for (const [point, landed] of [
    ['catalog/tick-before-commit', 4],
    ['catalog/tick-after-commit', 5],
  ] as const) {
    test(`kill -9 at ${point} leaves ${landed} whole ticks`, async () => {
      expect(await start(10, `${point}:5`).ended).toEqual([null, 'SIGKILL'])
      expect(await checkWhole()).toBe(landed)
      expect(await start(3).ended).toEqual([0, null])
      expect(await checkWhole()).toBe(landed + 3)
    })
  }

  test('kill -9 anywhere leaves whole ticks', async () => {
    await withCatalog((catalog) => catalog.createTable(newTableOf('flights')))
    let before = 0
    for (let round = 0; round < 5; round += 1) {
      const { child, ended } = start(1_000_000)
      // Each committed tick is reported; the kill meets the process at work on a later one.
      for (let reports = 0; reports <= round * 3; reports += 1) await once(child, 'message')
      child.kill('SIGKILL')
      await ended
      const now = await checkWhole()
      expect(now).toBeGreaterThan(before)
      before = now
    }
  })

  test('two at work on everything leave what a model of their reports says', async () => {
    await withCatalog(async (catalog) => {
      for (const table of TABLES) {
        await catalog.createTable({ ...newTableOf(table), location: `file:///lake/${table}-1` })
      }
    })
    working = ['a', 'b'].map((each, index) =>
      startWorking({ release: 'this', url: home.url, name: each, steps: STEPS, seed: SEED + index }),
    )
    const reports = (await Promise.all(working.map((each) => each.reports))).flat()
    const found = await withCatalog((catalog) => foundState(catalog, TABLES))
    expect(found, replay).toEqual(expectedState(TABLES, 1, reports))
    const counts = working.map((each) => each.counts())
    for (const what of ['tick committed', 'tick stale', 'tick repeated', 'snapshot committed']) {
      expect(
        counts.some((each) => (each[what] ?? 0) > 0),
        `${what} on ${name}; ${replay}`,
      ).toBe(true)
    }
  })
})
