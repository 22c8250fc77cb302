// What a process says of the catalog while it answers late, not at all, or again; and when silence of others says something.
import { describe, expect, test } from 'vitest'
import { createHealth } from '../runtime/health.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { MillraceError } from '../schemas/errors.ts'
import { openCatalog } from './catalog/open-catalog.ts'
import { watchCatalog } from './catalog-watch.ts'
import { keepAlive } from './writer-heartbeat.ts'

const LEASE_MS = 3_000
const AWAY = new MillraceError('catalog-busy', 'the catalog was busy for 10000 ms')

describe('what health says of the catalog', () => {
  function watched() {
    const world = createTestWorld()
    const health = createHealth()
    return { world, health, watch: watchCatalog({ health, world, patienceMs: 1_000 }) }
  }

  test('nothing while it answers in time', async () => {
    const { world, health, watch } = watched()
    expect(await watch.ask(async () => 7)).toBe(7)
    await world.advance(60_000)
    expect(health.report()).toEqual({ status: 'healthy', reasons: [] })
  })

  test('that no answer comes, until one does', async () => {
    const { world, health, watch } = watched()
    const answer = Promise.withResolvers<string>()
    const asked = watch.ask(() => answer.promise)
    await world.advance(999)
    expect(health.report().status).toBe('healthy')
    await world.advance(1)
    expect(health.report().reasons).toEqual([
      { component: 'catalog', status: 'unhealthy', reason: 'the catalog has not answered for 1000 ms' },
    ])
    answer.resolve('late')
    expect(await asked).toBe('late')
    expect(health.report().status).toBe('healthy')
  })

  test('why it failed; but a refusal is an answer', async () => {
    const { health, watch } = watched()
    await expect(watch.ask(() => Promise.reject(AWAY))).rejects.toBe(AWAY)
    expect(health.report().reasons[0]).toMatchObject({ component: 'catalog', reason: AWAY.message })
    const fenced = new MillraceError('writer-fenced', 'writer w was fenced')
    await expect(watch.ask(() => Promise.reject(fenced))).rejects.toBe(fenced)
    expect(health.report().status).toBe('healthy')
  })
})

test('the catalog counts as steady at first, not while it is away, and again a lease after it is back', async () => {
  const world = createTestWorld()
  const opened = await openCatalog({ url: 'sqlite::memory:', world })
  let isAway = false
  const catalog = {
    ...opened,
    heartbeat: async (...beat: Parameters<typeof opened.heartbeat>) => {
      if (isAway) throw AWAY
      return opened.heartbeat(...beat)
    },
  }
  const writer = await catalog.registerWriter('compactor')
  const heartbeat = keepAlive({
    ...{ catalog, writer, world, leasesMs: LEASE_MS, health: createHealth() },
    onFatal: (error) => {
      throw error
    },
  })
  /** The catalog's answers are promises: each third of a lease has the time for them. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 500) {
      await world.advance(500)
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  expect(heartbeat.isSteady()).toBe(true)
  await pass(10 * LEASE_MS)
  expect(heartbeat.isSteady()).toBe(true)
  isAway = true
  await pass(2 * LEASE_MS)
  expect(heartbeat.isSteady()).toBe(false)
  isAway = false
  await pass(LEASE_MS)
  expect(heartbeat.isSteady()).toBe(false)
  await pass(LEASE_MS)
  expect(heartbeat.isSteady()).toBe(true)
  await heartbeat.stop()
  await opened.close()
})
