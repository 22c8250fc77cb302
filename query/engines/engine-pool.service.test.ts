// What happens to queries when an engine process dies, is made to die, or has no memory left: the guilty one fails with an
// error that says so, everybody else has his answer, and the next query is answered.

import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'undici'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

/** Nobody waits for its end. */
const ENDLESS = 'SELECT count(*) FROM small a, range(100000000) r WHERE a.n + r.range = -1'
/** Takes a while, and is not heavy by what it reads. */
const slow = (factor: number) => `SELECT count(*) FROM small a, range(${factor}) r WHERE (a.n * r.range) % 7 = 3`
const SLOW = slow(12_000)
const SLOWER = slow(40_000)
const SLOW_ANSWER = [[slowAnswer(12_000)]]
const SLOWER_ANSWER = [[slowAnswer(40_000)]]

/** Of every remainder of n but 0, one remainder of r fits. */
function slowAnswer(factor: number): string {
  let count = 0
  for (let n = 0; n < 1000; n++) {
    for (let r = 0; r < 7; r++) if ((n * r) % 7 === 3) count += Math.ceil((factor - r) / 7)
  }
  return String(count)
}

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>
let queryIds = 0

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  await lake.addRows(await lake.createTable('small', { n: 'int' }), 'SELECT i FROM range(1000) r(i)')
  service = await startQuery({
    settings: querySettings(lake, { memoryBytes: 512 * 1024 ** 2, concurrentMax: 4, batchConcurrentMax: 2 }),
    world,
  })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})
beforeEach(async () => {
  while ((await listed()).length > 0) await pause()
})

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 20))

type Answer = { readonly status: number; readonly data?: unknown; readonly error?: Record<string, unknown> }

async function ask(sql: string, more: Record<string, unknown> = {}): Promise<Answer> {
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql, query_id: `q-${++queryIds}`, ...more }),
  })
  return { status: reply.statusCode, ...((await reply.body.json()) as object) }
}

async function listed(): Promise<readonly { state: string }[]> {
  const reply = await request(`${service.url}/v1/queries`)
  const { queries } = (await reply.body.json()) as {
    queries: { state: string; elapsed_ms: number; ended_at?: unknown }[]
  }
  return queries.filter(({ state }) => state === 'running' || state === 'planning' || state === 'waiting')
}

/** One runs, and has for a while: its engine had it before it dies. */
async function underWay(): Promise<void> {
  for (let looks = 0; looks < 15; ) {
    if ((await listed()).some(({ state }) => state === 'running')) looks += 1
    await pause()
  }
}

/** Engines of this process by name: `interactive`, `batch-1`. */
function engines(): Map<string, number> {
  const found = new Map<string, number>()
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]
      const title = /^millrace engine (\S+?)\0/.exec(`${readFileSync(`/proc/${name}/cmdline`, 'utf8')}\0`)?.[1]
      if (Number(parent) === process.pid && title !== undefined) found.set(title.trim(), Number(name))
    } catch {
      // It ended meanwhile.
    }
  }
  return found
}

function kill(engine: string): void {
  const pid = engines().get(engine)
  if (pid === undefined) throw new Error(`no engine ${engine}; there are ${[...engines().keys()]}`)
  process.kill(pid, 'SIGKILL')
}

async function expectServing(): Promise<void> {
  expect(await ask('SELECT count(*), sum(n) FROM small')).toMatchObject({ status: 200, data: [['1000', '499500']] })
}

describe('kill -9 in the middle of a query', () => {
  test('of a batch engine: that query fails with a clean error, those in other engines go on', async () => {
    const killed = ask(ENDLESS, { priority: 'batch' })
    await underWay()
    const other = ask(SLOW, { priority: 'batch' })
    const small = ask(SLOW)
    kill('batch-1')
    expect(await killed).toMatchObject({ status: 503, error: { class: 'engine_lost', code: '57P02' } })
    expect(await other).toMatchObject({ status: 200, data: SLOW_ANSWER })
    expect(await small).toMatchObject({ status: 200, data: SLOW_ANSWER })
    await expectServing()
    expect(await ask(SLOW, { priority: 'batch' })).toMatchObject({ status: 200, data: SLOW_ANSWER })
  })

  test('of the interactive engine with one query in it: the same', async () => {
    const killed = ask(ENDLESS)
    await underWay()
    kill('interactive')
    const { status, error } = await killed
    expect([status, error?.class, error?.message]).toEqual([
      503,
      'engine_lost',
      expect.stringMatching(/^the engine process ended \(SIGKILL\).*try again/),
    ])
    await expectServing()
  })

  test('of the interactive engine with several: none of them is lost, each is run again', async () => {
    const several = [ask(SLOWER), ask(SLOWER)]
    while ((await listed()).filter(({ state }) => state === 'running').length < 2) await pause()
    kill('interactive')
    for (const answer of await Promise.all(several)) {
      expect(answer).toMatchObject({ status: 200, data: SLOWER_ANSWER })
    }
    await expectServing()
  })

  test('while nothing runs: nobody notices', async () => {
    await expectServing()
    kill('interactive')
    await expectServing()
  })
})

describe('memory', () => {
  test('a statement that takes the engine with it fails; who ran beside it has an answer', async () => {
    const beside = ask(SLOW)
    const greedy = ask('SELECT range(1000000000) FROM small')
    expect(await greedy).toMatchObject({ status: 507, error: { class: 'out_of_memory', code: '53200' } })
    expect(await beside).toMatchObject({ status: 200, data: SLOW_ANSWER })
    await expectServing()
    // It is known now: it ends a batch engine, and nobody else notices.
    const interactive = engines().get('interactive')
    expect(await ask('SELECT range(1000000000) FROM small')).toMatchObject({ status: 507 })
    await expectServing()
    expect(engines().get('interactive')).toBe(interactive)
  })
})

test('batch engines give way to the interactive one', async () => {
  await expectServing()
  expect((await ask('SELECT 1', { priority: 'batch' })).status).toBe(200)
  const niceOf = (engine: string) => {
    const stat = readFileSync(`/proc/${engines().get(engine)}/stat`, 'utf8')
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16])
  }
  expect(niceOf('batch-1')).toBeGreaterThan(niceOf('interactive'))
})
