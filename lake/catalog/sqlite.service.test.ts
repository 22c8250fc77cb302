/**
 * The catalog's file under real processes: several write at once, some are killed at a crash point or anywhere, and what
 * is left is whole (G-1, G-2).
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { Catalog } from './catalog.ts'
import { openCatalog } from './open-catalog.ts'
import { newTableOf } from './test-values.ts'

const CHILD = join(import.meta.dirname, 'tick-process.ts')
let folder: string
let url: string
let children: ChildProcess[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-catalog-'))
  url = `sqlite:${join(folder, 'catalog.db')}`
  children = []
})
afterEach(async () => {
  for (const child of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

function start(ticks: number, crashAt = ''): { child: ChildProcess; ended: Promise<unknown[]> } {
  const child = fork(CHILD, [url, String(ticks)], {
    env: { ...process.env, MILLRACE_CRASH_AT: crashAt },
    execArgv: [],
  })
  children.push(child)
  return { child, ended: once(child, 'exit') }
}

async function withCatalog<T>(work: (catalog: Catalog) => Promise<T>): Promise<T> {
  const catalog = await openCatalog({ url, world: createTestWorld({ sleepAdvances: true }) })
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

test('processes that start at once on a new file migrate it once, and share one source without a gap', async () => {
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
