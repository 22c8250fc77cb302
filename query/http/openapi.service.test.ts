// The document is true: replies of the running service are as it says, and a fuzzer that makes requests of it, valid and not,
// finds no reply that it does not describe, no invalid request that is taken, and no 500.
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { z } from 'zod'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { runToEnd } from '../../test/harness/processes.ts'
import { pythonBinary } from '../../test/harness/python.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'
import {
  aliveSchema,
  cancelSchema,
  errorSchema,
  pingSchema,
  queriesSchema,
  querySchema,
  readySchema,
  resultSchema,
  tableSchema,
  tablesSchema,
} from './reply-schemas.ts'

const REQUIREMENTS = join(import.meta.dirname, '..', '..', 'test', 'harness', 'fuzzer-requirements.txt')
const EXAMPLES = 20

/** Put where the document says "text": without them hardly a random statement would be answered. */
const STATEMENTS = [
  'SELECT 1 AS a',
  'SELECT * FROM flights LIMIT 5',
  'SELECT origin, sum(delay) FROM flights GROUP BY 1',
  'SELECT $1 AS p, $2',
  'SELECT $x',
  'SHOW TABLES',
  "SELECT [1, 2] AS l, {'a': 1.5} AS s, NULL AS n",
  "SELECT i, 'some text ' || i AS t FROM range(100000) r(i)",
  'SELECT orign FROM flights',
]

const testWorld = createTestWorld()
let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>

beforeAll(async () => {
  const world = createSystemWorld({ log: testWorld.log })
  lake = await createSampleLake(world)
  const table = await lake.createTable('flights', { origin: 'string', delay: 'int' })
  await lake.addRows(table, "SELECT ['SFO', 'LAX', 'JFK'][1 + i % 3], i FROM range(3000) r(i)")
  service = await startQuery({ settings: querySettings(lake, { timeoutMs: 10_000 }), world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

async function reply(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) {
  const found = await request(service.url + path, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
  })
  return { status: found.statusCode, body: JSON.parse(await found.body.text()) as unknown }
}

test.each<[string, string, number, z.ZodType]>([
  ['/v1/sql?q=SELECT+*+FROM+flights&sources=true', 'a result', 200, resultSchema],
  ['/v1/sql?q=SELECT+nope+FROM+flights', 'an error', 400, errorSchema],
  ['/v1/queries', 'the list of queries', 200, queriesSchema],
  ['/v1/tables', 'the list of tables', 200, tablesSchema],
  ['/v1/tables/flights', 'a table', 200, tableSchema],
  ['/v1/tables/nothing', 'no table', 404, errorSchema],
  ['/ping', 'ping', 200, pingSchema],
  ['/healthz', 'health', 200, aliveSchema],
  ['/readyz', 'readiness', 200, readySchema],
])('%s: %s', async (path, _, status, schema) => {
  const found = await reply('GET', path)
  expect(found.status).toBe(status)
  schema.parse(found.body)
})

test('a query that runs, that is cancelled, that has ended', async () => {
  const running = reply('POST', '/v1/sql', {
    sql: 'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5',
    query_id: 'long',
  })
  for (;;) {
    const { queries } = queriesSchema.parse((await reply('GET', '/v1/queries')).body)
    if (queries.some(({ query_id, state }) => query_id === 'long' && state === 'running')) break
  }
  querySchema.parse((await reply('GET', '/v1/queries/long')).body)
  const cancelled = await reply('DELETE', '/v1/queries/long')
  expect([cancelled.status, cancelSchema.parse(cancelled.body).state]).toEqual([202, 'cancelling'])
  expect(await running).toMatchObject({ status: 499, body: { error: { class: 'query_cancelled' } } })
  const again = await reply('DELETE', '/v1/queries/long')
  expect([again.status, cancelSchema.parse(again.body).state]).toEqual([200, 'cancelled'])
  expect(querySchema.parse((await reply('GET', '/v1/queries/long')).body).state).toBe('cancelled')
  expect((await reply('DELETE', '/v1/queries/never')).status).toBe(404)
})

test('fuzzed', async () => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  const file = join(lake.folder, 'openapi.json')
  await writeFile(file, JSON.stringify(withStatements((await reply('GET', '/openapi.json')).body)))
  const python = await pythonBinary(REQUIREMENTS)
  await runToEnd({
    name: `schemathesis --seed ${seed}`,
    command: join(dirname(python), 'schemathesis'),
    args: [
      ...['run', file, '--url', service.url, '--seed', String(seed), '--max-examples', String(EXAMPLES)],
      ...['--phases', 'coverage,fuzzing', '--no-color'],
      // Most random statements are wrong, whatever their schema says.
      ...['--exclude-checks', 'positive_data_acceptance'],
    ],
    cwd: lake.folder,
    env: { PYTHONDONTWRITEBYTECODE: '1', PYTHONUTF8: '1' },
  })
  const { recent } = queriesSchema.parse((await reply('GET', '/v1/queries')).body)
  expect(recent.some(({ state }) => state === 'finished')).toBe(true)
  expect(testWorld.lines.filter(({ level }) => level === 'error')).toEqual([])
})

function withStatements(document: unknown): unknown {
  const sql = { anyOf: [{ enum: STATEMENTS }, { type: 'string' }] }
  return JSON.parse(JSON.stringify(document), (key, value: unknown) => {
    if (key === 'sql') return sql
    if (key === 'text/plain' || key === 'application/sql') return { schema: sql }
    const isStatement = typeof value === 'object' && value !== null && 'name' in value && value.name === 'q'
    return isStatement ? { ...value, schema: sql } : value
  })
}
