// Eight queries of one user that each group five million distinct keys under a limit of 1 GiB, and another user who asks small
// questions meanwhile: every small one is answered, the heavy ones are right or refused with a clean error, memory stays
// within bounds, and the service lives. How long it takes is for `bench/many-users.ts`.

import { readdirSync, readFileSync } from 'node:fs'
import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

const GiB = 1024 ** 3
const KEYS = 5_000_000
const HEAVY = `SELECT count(*), sum(n) FROM (SELECT hash(range) AS k, count(*) AS n FROM range(${KEYS}) GROUP BY 1)`
const TOKENS = {
  analyst: 'the-token-of-the-analyst',
  other: 'the-token-of-the-other',
  patient: 'the-token-of-the-patient',
}

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  await lake.addRows(await lake.createTable('small', { n: 'int' }), 'SELECT i FROM range(1000) r(i)')
  const tokens = [
    { name: 'analyst', token: TOKENS.analyst, rights: ['read'] },
    { name: 'other', token: TOKENS.other, rights: ['read'], limits: { scanBytes: 50_000, rows: 7 } },
    {
      name: 'patient',
      token: TOKENS.patient,
      rights: ['read'],
      limits: { queue: 1, concurrent: 1, priority: 'batch' },
    },
  ] as const
  const query = {
    memoryBytes: GiB,
    timeoutMs: 300_000,
    concurrentMax: 4,
    userConcurrentMax: 3,
    userQueueMax: 20,
    queueMax: 50,
  }
  service = await startQuery({ settings: { ...querySettings(lake, query), tokens }, world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

type Answer = { status: number; retryAfter: number; data?: unknown; error?: Record<string, unknown>; rows?: number }

async function ask(user: keyof typeof TOKENS, sql: string, more: Record<string, unknown> = {}): Promise<Answer> {
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${TOKENS[user]}` },
    body: JSON.stringify({ sql, ...more }),
  })
  return {
    status: reply.statusCode,
    retryAfter: Number(reply.headers['retry-after']),
    ...((await reply.body.json()) as object),
  }
}

/** Requests come on connections of their own: which was first is what the service says. */
async function untilState(user: keyof typeof TOKENS, id: string, wanted: string): Promise<void> {
  const headers = { authorization: `Bearer ${TOKENS[user]}` }
  for (;;) {
    const { body } = await request(`${service.url}/v1/queries/${id}`, { headers })
    if (((await body.json()) as { state?: string }).state === wanted) return
  }
}

/** Resident memory of the engines of this service. */
function engineBytes(): number {
  let bytes = 0
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue
    try {
      const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]
      if (Number(parent) !== process.pid) continue
      if (!/^millrace engine (interactive|batch)/.test(readFileSync(`/proc/${name}/cmdline`, 'utf8'))) continue
      bytes += Number(readFileSync(`/proc/${name}/statm`, 'utf8').split(' ')[1]) * 4096
    } catch {
      // It ended meanwhile.
    }
  }
  return bytes
}

test('eight heavy queries do not keep another user from his answers, nor take more memory than they may', async () => {
  let left = 8
  let largest = 0
  const heavy = Array.from({ length: left }, async (_, index) => {
    const answer = await ask('analyst', `${HEAVY} -- ${index}`)
    left -= 1
    return answer
  })
  let small = 0
  while (left > 0) {
    small += 1
    const { status, data } = await ask('other', `SELECT count(*), sum(n) FROM small WHERE n <> ${-small}`)
    expect([status, data]).toEqual([200, [['1000', '499500']]])
    largest = Math.max(largest, engineBytes())
  }
  for (const { status, data, error } of await Promise.all(heavy)) {
    if (status === 200) expect(data).toEqual([[String(KEYS), String(KEYS)]])
    else expect([status, error?.class]).toEqual([507, 'out_of_memory'])
  }
  expect(small).toBeGreaterThan(8)
  expect(largest).toBeGreaterThan(0)
  // The limit, and what two processes are without any query.
  expect(largest).toBeLessThan(GiB + 512 * 1024 ** 2)
})

test("a token's own limits: rows, bytes to read, places and priority", async () => {
  const table = await lake.createTable('wide', { a: 'long', b: 'long' })
  await lake.addRows(table, 'SELECT hash(i) >> 1, hash(i + 1) >> 1 FROM range(20000) r(i)')
  expect(await ask('other', 'SELECT n FROM small')).toMatchObject({ status: 200, rows: 7, truncated: true })
  const refused = await ask('other', 'SELECT max(a) + max(b) FROM wide WHERE a % 3 = 1')
  expect(refused).toMatchObject({ status: 413, error: { code: '54000', class: 'request_too_large' } })
  expect(refused.error?.message).toMatch(
    /would read \d{6} bytes in 1 files, expected at most 50000 .*query\.scan\.bytes\.max/,
  )
  expect(await ask('analyst', 'SELECT count(*) FROM wide WHERE a % 3 >= 0')).toMatchObject({ data: [['20000']] })

  const endless = 'SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = -1'
  const running = ask('patient', endless, { query_id: 'running' })
  await untilState('patient', 'running', 'running')
  const waiting = ask('patient', 'SELECT 1', { query_id: 'waiting' })
  await untilState('patient', 'waiting', 'waiting')
  const third = await ask('patient', 'SELECT 2')
  expect(third).toMatchObject({ status: 429, error: { code: '53300', class: 'overloaded' } })
  expect(third.error?.message).toContain('of "patient"')
  expect(third.retryAfter).toBeGreaterThan(0)
  // Another user has a place, and waiting counts as time of the query.
  expect(await ask('analyst', 'SELECT 3 AS a')).toMatchObject({ data: [[3]] })
  for (const id of ['waiting', 'running']) {
    const headers = { authorization: `Bearer ${TOKENS.patient}` }
    await (await request(`${service.url}/v1/queries/${id}`, { method: 'DELETE', headers })).body.dump()
  }
  expect([(await running).status, (await waiting).status]).toEqual([499, 499])
})

test('a waiter whose time is up leaves the queue', async () => {
  const endless = 'SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range + b.range = -2'
  const running = ask('patient', endless, { query_id: 'first', timeout_ms: 1_500 })
  await untilState('patient', 'first', 'running')
  const waiting = await ask('patient', 'SELECT 1', { timeout_ms: 300 })
  expect(waiting).toMatchObject({ status: 408, error: { class: 'query_timeout' } })
  expect((await running).status).toBe(408)
  expect(await ask('patient', 'SELECT 4 AS a')).toMatchObject({ data: [[4]] })
})
