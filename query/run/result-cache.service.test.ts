// The result cache of a running service: told by a header, right after every commit (G-4), and not for what may change by itself.

import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>
let table: Awaited<ReturnType<SampleLake['createTable']>>

beforeAll(async () => {
  lake = await createSampleLake()
  table = await lake.createTable('t', { a: 'long', b: 'string' })
  await lake.addRows(table, "SELECT r, 'x' || r FROM range(10) r(r)")
  service = await startQuery({ settings: querySettings(lake, { resultCacheBytes: 1_000_000 }), world: lake.world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

async function ask(sql: string, more: Readonly<Record<string, unknown>> = {}) {
  const { statusCode, headers, body } = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql, ...more }),
  })
  const text = await body.text()
  if (statusCode !== 200) throw new Error(`${statusCode} ${text}`)
  return { cache: headers['x-millrace-cache'], text }
}

const dataOf = ({ text }: { readonly text: string }) => (JSON.parse(text) as { data: unknown }).data

test('the same question is answered from the cache until its table has a new version', async () => {
  const sql = 'SELECT count(*), max(b) FROM t'
  const first = await ask(sql)
  const second = await ask(sql)
  expect([first.cache, second.cache]).toEqual(['miss', 'hit'])
  expect(dataOf(second)).toEqual(dataOf(first))
  expect((await ask(sql, { format: 'csv' })).cache).toBe('miss')
  await lake.addRows(table, "SELECT r, 'y' || r FROM range(5) r(r)")
  const third = await ask(sql)
  expect([third.cache, dataOf(third)]).toEqual(['miss', [['15', 'y4']]])
})

test('viewers at once share one query', async () => {
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => ask('SELECT b, sum(a) FROM t GROUP BY b ORDER BY b')),
  )
  expect(new Set(answers.map((each) => JSON.stringify(dataOf(each)))).size).toBe(1)
  expect(answers.filter(({ cache }) => cache === 'miss')).toHaveLength(1)
})

test.each([
  'SELECT random(), a FROM t LIMIT 1',
  'SELECT now(), a FROM t LIMIT 1',
  'SELECT current_date, a FROM t LIMIT 1',
  'SELECT a FROM t USING SAMPLE 3',
  'SELECT a FROM t TABLESAMPLE 50%',
  'SELECT a FROM t WHERE a > (SELECT random())',
  "SELECT a FROM t WHERE ago(INTERVAL '1 hour') > TIMESTAMPTZ '2020-01-01' AND uuid() IS NOT NULL",
  'EXPLAIN SELECT a FROM t',
  'DESCRIBE t',
  'SELECT 1',
  'SELECT * FROM millrace.tables',
  'SELECT table_name FROM information_schema.tables',
])('%s runs each time', async (sql) => {
  expect([(await ask(sql)).cache, (await ask(sql)).cache]).toEqual([undefined, undefined])
})

test('an error is not kept', async () => {
  const sql = "SELECT error('no') FROM t"
  await expect(ask(sql)).rejects.toThrow('400')
  await expect(ask('SELECT 1 / 0 + b::INTEGER FROM t')).rejects.toThrow('400')
  await expect(ask('SELECT b::INTEGER FROM t')).rejects.toThrow('400')
  await expect(ask('SELECT b::INTEGER FROM t')).rejects.toThrow('400')
})
