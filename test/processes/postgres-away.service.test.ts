// PostgreSQL is killed and away for a minute while records keep coming: every service says so and why, memory stays where its
// maximum is, one of two ingest processes dies meanwhile, and when the server is back everything drains by itself; nothing
// lost, nothing twice (G-1, G-2, G-13).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  HELD_BYTES_MAX,
  heldBytes,
  type LoadedLake,
  openLoadedLake,
  RECORD_BYTES,
  residentMiB,
  SERVICES,
  stateOf,
} from './loaded-lake.ts'
import { until } from './observe.ts'

const AWAY_MS = 60_000
const LEAVING_AT_MS = 40_000
const LOOK_EVERY_MS = 1_000
/** Of that it may take until every service knows. */
const KNOWN_WITHIN_MS = 20_000
/** Several times what the buffers of ingest may hold at most, and two worker threads that grow warm meanwhile; less than what the minute brings. */
const GROWTH_MAX_MIB = 165
/** At the maximum one more block of records may have come, and columns grow to the next power of two. */
const BLOCK_BYTES_MAX = 16 * 1024 ** 2

let loaded: LoadedLake
beforeAll(async () => {
  loaded = await openLoadedLake()
})
afterAll(async () => {
  await loaded?.close()
})

test('a minute without the catalog', { timeout: 240_000 }, async () => {
  const { lake, postgres } = loaded
  const services = await Promise.all(SERVICES.map((name) => loaded.start(name)))
  const [ingest] = services
  const leaving = await loaded.start('ingest', {}, { extra: true })
  loaded.load()
  await lake.millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) > 10_000)
  const before = { sent: loaded.sent, memory: services.map(({ pid }) => residentMiB(pid)) }

  await postgres.kill()
  const awayAtMs = performance.now()
  for (const service of services) {
    const state = await until(
      `${service.name} knows`,
      () => stateOf(service),
      ({ status }) => status === 'unhealthy',
      KNOWN_WITHIN_MS,
    )
    expect(state).toMatchObject({ alive: 200, code: 503 })
    expect(state.why).toMatch(/catalog: .*(?:did not answer|has not answered)/)
  }
  // From now on none of them ever says that it is well, and ingest holds what it may and no more.
  let mostHeld = 0
  async function watchUntil(ms: number): Promise<void> {
    for (; performance.now() - awayAtMs < ms; await sleep(LOOK_EVERY_MS)) {
      for (const service of services) {
        const { alive, status } = await stateOf(service)
        expect([service.name, alive, status]).not.toEqual([service.name, 200, 'healthy'])
      }
      mostHeld = Math.max(mostHeld, await heldBytes(ingest))
      expect(mostHeld).toBeLessThan(HELD_BYTES_MAX + BLOCK_BYTES_MAX)
    }
  }
  await watchUntil(LEAVING_AT_MS)
  expect(mostHeld).toBeGreaterThan(HELD_BYTES_MAX / 2)
  // Its topic-partitions come to the other one while nobody can tell where they go on.
  await leaving.kill()
  await watchUntil(AWAY_MS)
  // Far more came meanwhile than memory holds.
  expect((loaded.sent - before.sent) * RECORD_BYTES).toBeGreaterThan(HELD_BYTES_MAX * 4)
  const growth = services.map(({ pid }, index) => residentMiB(pid) - before.memory[index])
  console.log(`memory grew by ${growth.map(Math.round).join(', ')} MiB while ${loaded.sent - before.sent} records came`)
  for (const [index, each] of growth.entries())
    expect([SERVICES[index], each < GROWTH_MAX_MIB]).toEqual([SERVICES[index], true])

  await postgres.restart()
  for (const service of services) {
    await until(
      `${service.name} is well again`,
      () => stateOf(service),
      ({ status }) => status === 'healthy',
    )
  }
  await loaded.expectEveryRecordOnce()
  // Nobody started them again, and all end in order.
  for (const service of services) expect(service.exit()).toBeUndefined()
  for (const service of services) expect(await service.stop()).toEqual({ code: 0, signal: null })
  await loaded.expectOnlyLiveFiles()
})
