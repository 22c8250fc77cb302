// PostgreSQL stops in the middle of everything and says nothing more, its connections open (SIGSTOP), while records keep coming:
// every service notices, nobody waits for ever, and what the server still does when it wakes up, late COMMITs among
// it, leaves nothing lost and nothing twice (G-1, G-2, G-13).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type LoadedLake, openLoadedLake, SERVICES, stateOf } from './loaded-lake.ts'
import { until } from './observe.ts'

/** Longer than the client waits for an answer, so that it gives up in the middle of transactions. */
const FROZEN_MS = 25_000
const SHORT_MS = 2_000
const ROUNDS = 3

let loaded: LoadedLake
beforeAll(async () => {
  loaded = await openLoadedLake()
})
afterAll(async () => {
  await loaded?.close()
})

test('a server that hangs', { timeout: 240_000 }, async () => {
  const { lake, postgres } = loaded
  const services = await Promise.all(SERVICES.map((name) => loaded.start(name)))
  const all = (status: string) =>
    Promise.all(
      services.map((service) =>
        until(
          `${service.name} ${status}`,
          () => stateOf(service),
          (state) => state.status === status,
        ),
      ),
    )
  loaded.load()
  await lake.millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) > 2_000)

  // Short ones are nothing but a wait.
  for (let round = 0; round < ROUNDS; round++) {
    postgres.pause()
    await sleep(SHORT_MS)
    postgres.resume()
    const wanted = loaded.sent
    await lake.millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) >= wanted)
  }

  postgres.pause()
  const frozenAtMs = performance.now()
  for (const state of await all('unhealthy')) {
    expect(state).toMatchObject({ alive: 200, code: 503 })
    expect(state.why).toMatch(/catalog: .*(?:has not answered|did not answer)/)
  }
  await sleep(Math.max(0, FROZEN_MS - (performance.now() - frozenAtMs)))
  for (const service of services) expect((await stateOf(service)).status).not.toBe('healthy')
  postgres.resume()
  await all('healthy')
  await loaded.expectEveryRecordOnce()
  for (const service of services) expect(service.exit()).toBeUndefined()
  for (const service of services) expect(await service.stop()).toEqual({ code: 0, signal: null })
  await loaded.expectOnlyLiveFiles()
})
