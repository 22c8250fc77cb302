// Connections to PostgreSQL are cut in the middle of COMMIT, again and again, for ingest and for the compactor, under load: the
// question is lost, or its answer, or it arrives late, when the process has long asked again. Nothing is lost, nothing is there
// twice, and nobody needs help (G-1, G-2, PROTOCOL 2).
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type CommitFate, type PostgresProxy, startPostgresProxy } from '../harness/postgres-proxy.ts'
import { seeded } from '../main-job/table-checks.ts'
import { type LoadedLake, openLoadedLake, SERVICES, stateOf } from './loaded-lake.ts'
import { logLines, until } from './observe.ts'

const CUTS = 30
const FATES: readonly CommitFate[] = ['lose-answer', 'lose-request', 'hold']
const HELD_MS_MAX = 1_500
const PAUSE_MS_MAX = 300

let loaded: LoadedLake
let proxies: PostgresProxy[]
beforeAll(async () => {
  loaded = await openLoadedLake()
  proxies = await Promise.all([0, 1].map(() => startPostgresProxy(loaded.postgres.port)))
})
afterAll(async () => {
  await loaded?.close()
  await Promise.all((proxies ?? []).map((proxy) => proxy.close()))
})

test('COMMITs that are lost, unanswered or late', { timeout: 180_000 }, async () => {
  const seed = Number(process.env.MILLRACE_TEST_SEED ?? Date.now() % 1_000_000)
  console.log(`cuts of MILLRACE_TEST_SEED=${seed}`)
  const { lake } = loaded
  const direct = lake.settings.catalog.url
  const [ingest, compactor, query] = await Promise.all(
    SERVICES.map((name, index) =>
      loaded.start(name, name === 'query' ? {} : { MILLRACE_CATALOG_URL: proxies[index].url(direct) }),
    ),
  )
  loaded.load()
  await lake.millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) > 1_000)

  async function cutAgainAndAgain(proxy: PostgresProxy, random: () => number): Promise<void> {
    for (let cut = 0; cut < CUTS; cut++) {
      const fate = FATES[Math.floor(random() * FATES.length)]
      proxy.nextCommit(fate)
      await proxy.met()
      if (fate === 'hold') {
        await sleep(random() * HELD_MS_MAX)
        await proxy.release()
      }
      await sleep(random() * PAUSE_MS_MAX)
    }
  }
  let isCutting = true
  const reading = (async () => {
    for (let known = 0; isCutting; await sleep(100)) {
      const { data } = await lake.millrace.sql(
        'SELECT count(*), count(DISTINCT (_source, _partition, _offset)) FROM clicks',
      )
      const [rows, places] = data[0].map(Number)
      expect(places).toBe(rows)
      expect(rows).toBeGreaterThanOrEqual(known)
      known = rows
    }
  })()
  try {
    await Promise.race([
      Promise.all(proxies.map((proxy, index) => cutAgainAndAgain(proxy, seeded(seed + index)))),
      reading,
    ])
  } finally {
    isCutting = false
  }
  await reading
  for (const service of [ingest, compactor, query]) {
    await until(
      `${service.name} is well`,
      () => stateOf(service),
      ({ status }) => status === 'healthy',
    )
  }
  await loaded.expectEveryRecordOnce()
  for (const service of [ingest, compactor, query]) {
    expect(service.exit()).toBeUndefined()
    expect(logLines(service).filter(({ level }) => level === 'error')).toEqual([])
    expect(await service.stop()).toEqual({ code: 0, signal: null })
  }
  await loaded.expectOnlyLiveFiles()
})
