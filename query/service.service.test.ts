import { writeFile } from 'node:fs/promises'
import { tableFromIPC } from 'apache-arrow'
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from './sample-lake.ts'
import { startQuery } from './service.ts'

const LONG = 'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5'

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  const table = await lake.createTable('flights', {
    origin: 'string',
    delay: 'int',
    at_time: 'timestamptz',
    extra: 'json',
  })
  await lake.addRows(
    table,
    `SELECT ['SFO', 'LAX', 'JFK'][1 + i % 3], i, TIMESTAMPTZ '2026-01-01 00:00:00Z' + INTERVAL (i) MINUTE, '{"n": ' || i || '}' FROM range(3000) r(i)`,
  )
  service = await startQuery({
    settings: querySettings(lake, { concurrentMax: 2, batchConcurrentMax: 2, queueMax: 1, rowsMax: 200_000 }),
    world,
  })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

type Reply = { readonly status: number; readonly headers: Record<string, unknown>; readonly bytes: Buffer }

async function post(body: unknown, headers: Record<string, string> = {}, path = '/v1/sql'): Promise<Reply> {
  const isText = typeof body === 'string'
  const reply = await request(service.url + path, {
    method: 'POST',
    headers: { 'content-type': isText ? 'text/plain' : 'application/json', ...headers },
    body: isText ? body : JSON.stringify(body),
  })
  return { status: reply.statusCode, headers: reply.headers, bytes: Buffer.from(await reply.body.arrayBuffer()) }
}

async function get(path: string): Promise<Reply> {
  const reply = await request(service.url + path)
  return { status: reply.statusCode, headers: reply.headers, bytes: Buffer.from(await reply.body.arrayBuffer()) }
}

async function json(body: unknown): Promise<Record<string, unknown>> {
  const { status, bytes } = await post(body)
  const answer = JSON.parse(bytes.toString()) as Record<string, unknown>
  if (status !== 200) throw new Error(bytes.toString())
  return answer
}

async function errorOf(body: unknown): Promise<{ status: number; error: Record<string, unknown> }> {
  const { status, bytes } = await post(body)
  return { status, error: (JSON.parse(bytes.toString()) as { error: Record<string, unknown> }).error }
}

async function queries(): Promise<readonly { query_id: string; state: string }[]> {
  return (JSON.parse((await get('/v1/queries')).bytes.toString()) as { queries: { query_id: string; state: string }[] })
    .queries
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve))
}

describe('answers', () => {
  test('JSON with columns, rows, version, freshness and what was read', async () => {
    const answer = await json({
      sql: 'SELECT origin, sum(delay) AS s FROM flights WHERE delay < $1 GROUP BY 1 ORDER BY 1',
      params: [300],
      query_id: 'q-1',
      sources: true,
    })
    expect(answer).toMatchObject({
      query_id: 'q-1',
      columns: [
        { name: 'origin', type: 'VARCHAR' },
        { name: 's', type: 'HUGEINT' },
      ],
      data: [
        ['JFK', '15050'],
        ['LAX', '14950'],
        ['SFO', '14850'],
      ],
      rows: 3,
      truncated: false,
      stats: { files: 1, files_pruned: 0, bytes_fetched: 0, requests: 0 },
      tables: [
        {
          name: 'flights',
          version: '1',
          snapshot_id: null,
          freshness_ms: 0,
          sources: [{ source: 'http:sample', offset: '3000' }],
        },
      ],
    })
    expect((answer.stats as { bytes_needed: number }).bytes_needed).toBeGreaterThan(0)
  })

  test('EXPLAIN ANALYZE runs and tells what was read, as another row of the plan; EXPLAIN reads nothing', async () => {
    const sql = 'SELECT origin, count(*) FROM flights WHERE delay < $1 GROUP BY 1'
    const answer = await json({ sql: `EXPLAIN ANALYZE ${sql}`, params: [300] })
    expect(answer.columns).toEqual([
      { name: 'explain_key', type: 'VARCHAR' },
      { name: 'explain_value', type: 'VARCHAR' },
    ])
    const [[key, plan], [ours, text]] = answer.data as string[][]
    expect([key, ours]).toEqual(['analyzed_plan', 'millrace_reading'])
    expect(plan).toContain('Total Time')
    expect(text).toMatch(/table flights\n {2}files {13}1\n {2}files pruned {6}0 .*\n {2}row groups {8}1\n/)
    expect(text).toMatch(/bytes needed {6}[1-9]\d*\n {2}bytes fetched {5}0\n {2}requests {10}0\n {2}cache hits {8}1$/)
    const explained = await json({ sql: `explain (format json) ${sql}`, params: [300] })
    const lines = explained.data as string[][]
    expect(lines.map(([name]) => name)).toEqual(['physical_plan', 'millrace_reading'])
    expect(JSON.parse(lines[0][1])).toHaveLength(1)
    expect((await errorOf({ sql: 'EXPLAIN ANALYZE SELECT nothing FROM flights' })).status).toBe(400)
  })

  test('csv, jsonl and arrow carry the same facts in headers', async () => {
    const sql = 'SELECT origin, delay FROM flights ORDER BY delay LIMIT 2'
    const csv = await post({ sql, format: 'csv' })
    expect(csv.bytes.toString()).toBe('origin,delay\r\nSFO,0\r\nLAX,1\r\n')
    expect(csv.headers).toMatchObject({
      'x-millrace-versions': 'flights=1',
      'x-millrace-freshness': 'flights=0',
      'x-millrace-rows': '2',
      'x-millrace-truncated': 'false',
    })
    expect((await post(sql, { accept: 'application/x-ndjson' })).bytes.toString()).toBe(
      '{"origin":"SFO","delay":0}\n{"origin":"LAX","delay":1}\n',
    )
    const arrow = await post(sql, { accept: 'application/vnd.apache.arrow.stream' })
    expect(tableFromIPC(arrow.bytes).toArray().map(String)).toEqual([
      '{"origin": "SFO", "delay": 0}',
      '{"origin": "LAX", "delay": 1}',
    ])
  })

  test('GET, query arguments, time zone, JSON columns', async () => {
    const path = `/v1/sql?q=${encodeURIComponent("SELECT extra->>'n' AS n, hour(at_time) AS h FROM flights WHERE delay = $d")}&params={"d":7}&timezone=Asia/Tokyo&format=jsonl`
    expect((await get(path)).bytes.toString()).toBe('{"n":"7","h":"9"}\n')
  })

  test('SHOW TABLES, DESCRIBE and the table pages', async () => {
    expect((await json('SHOW TABLES')).data).toEqual([['flights']])
    const listed = (await json('SHOW ALL TABLES')).data as unknown[][]
    expect(listed.map(([database, schema, name]) => `${database}.${schema}.${name}`)).toEqual(
      expect.arrayContaining([
        'millrace.main.flights',
        'millrace.millrace.pipelines',
        'millrace.information_schema.views',
      ]),
    )
    expect((await json('DESCRIBE flights')).rows).toBe(4)
    const table = JSON.parse((await get('/v1/tables/FLIGHTS')).bytes.toString()) as Record<string, unknown>
    expect(table).toMatchObject({ name: 'flights', version: '1', segments_live: 1, rows_in_segments: 3000 })
    expect((await get('/v1/tables/nothing')).status).toBe(404)
    expect(JSON.parse((await get('/v1/tables')).bytes.toString())).toMatchObject({
      tables: [{ name: 'flights', columns: 4 }],
    })
  })

  test('wait_for waits for the version that a write was answered with (G-4), and no longer than the query may take', async () => {
    const table = await lake.createTable('awaited', { n: 'int' })
    await lake.addRows(table, 'SELECT i FROM range(3) r(i)')
    const waiting = (version: number, limit = 20_000) => ({
      sql: 'SELECT count(*) FROM awaited',
      wait_for: { awaited: version },
      timeout_ms: limit,
    })
    expect(await json(waiting(1))).toMatchObject({ data: [['3']] })
    const later = json(waiting(2))
    await lake.addRows(table, 'SELECT i FROM range(4) r(i)')
    expect(await later).toMatchObject({ data: [['7']], tables: [{ version: '2' }] })
    expect(await errorOf(waiting(3, 200))).toMatchObject({ status: 408, error: { code: '57014' } })
    expect(await errorOf({ ...waiting(1), sql: 'SELECT 1' })).toMatchObject({ status: 400, error: { code: '22023' } })
  })

  test('at_version reads an earlier version of a table, and refuses one that is not to be had', async () => {
    const table = await lake.createTable('counted', { n: 'int' })
    await lake.addRows(table, 'SELECT i FROM range(3) r(i)')
    await lake.addRows(table, 'SELECT i FROM range(10, 14) r(i)')
    const at = (version: unknown) => ({ sql: 'SELECT count(*), max(n) FROM counted', at_version: { Counted: version } })
    expect(await json(at(1))).toMatchObject({ data: [['3', 2]], tables: [{ name: 'counted', version: '1' }] })
    expect(await json(at('2'))).toMatchObject({ data: [['7', 13]] })
    expect(await json(at(0))).toMatchObject({ data: [['0', null]] })
    const byArguments = await get(
      `/v1/sql?sql=${encodeURIComponent('SELECT count(*) FROM counted')}&at_version=${encodeURIComponent('{"counted": 1}')}`,
    )
    expect(JSON.parse(byArguments.bytes.toString())).toMatchObject({ data: [['3']] })
    expect(await errorOf(at(9))).toMatchObject({ status: 400, error: { code: '22003' } })
    expect(await errorOf({ ...at(1), sql: 'SELECT 1' })).toMatchObject({ status: 400, error: { code: '22023' } })
    expect((await errorOf(at(-1))).status).toBe(400)
  })

  test('a large result streams whole, in every format', async () => {
    const sql = "SELECT i, 'row number ' || i AS t FROM range(150000) r(i)"
    expect(((await json(sql)).data as unknown[]).length).toBe(150_000)
    const lines = (await post({ sql, format: 'csv' })).bytes.toString().trimEnd().split('\r\n')
    expect([lines.length, lines.at(-1)]).toEqual([150_001, '149999,row number 149999'])
    expect(tableFromIPC((await post({ sql, format: 'arrow' })).bytes).numRows).toBe(150_000)
  })
})

describe('limits and errors', () => {
  test('rows are cut at the limit, and a request may only lower it', async () => {
    expect(await json({ sql: 'SELECT * FROM range(1000000)', max_rows: 10 })).toMatchObject({
      rows: 10,
      truncated: true,
    })
    expect(await json({ sql: 'SELECT * FROM range(1000000)', max_rows: 500_000 })).toMatchObject({
      rows: 200_000,
      truncated: true,
    })
    expect(await json({ sql: 'SELECT * FROM range(10)', max_rows: 0 })).toMatchObject({
      rows: 0,
      truncated: true,
      data: [],
    })
  })

  test.each([
    ['SELECT nope FROM flights', 400, '42703', 'undefined_column', { line: 1, column: 8 }],
    ['SELECT *\nFROM nowhere', 404, '42P01', 'undefined_table', { line: 2, column: 6 }],
    ['SELEC 1', 400, '42601', 'syntax_error', { line: 1, column: 1 }],
    ['DROP TABLE flights', 400, '0A000', 'statement_refused', undefined],
    ["SELECT 'x'::INTEGER", 400, '22P02', 'conversion_failed', { line: 1, column: 11 }],
    ['SELECT $1', 400, '08P01', 'parameter_missing', undefined],
    ["SELECT error('my own')", 400, '42000', 'query_invalid', undefined],
  ])('%s', async (sql, status, code, kind, position) => {
    const answer = await errorOf({ sql })
    expect(answer).toMatchObject({ status, error: { code, class: kind } })
    expect(answer.error.position).toEqual(position)
  })

  test.each([[{ sql: 1 }], [{}], [{ sql: 'SELECT 1', formt: 'csv' }], [{ sql: 'SELECT 1', query_id: 'a b' }], [[]]])(
    'body %j is refused',
    async (body) => {
      expect((await errorOf(body)).status).toBe(400)
    },
  )

  test('an error after the first bytes never looks like a whole answer', async () => {
    const sql =
      "SELECT CASE WHEN i = 199000 THEN error('late')::VARCHAR ELSE 'text ' || i END AS t FROM range(200000) r(i)"
    const late = await post({ sql, format: 'jsonl' })
    expect(late.status).toBe(200)
    expect(JSON.parse(late.bytes.toString().trimEnd().split('\n').at(-1)!)).toMatchObject({
      error: { class: 'query_invalid', message: 'late' },
    })
    const whole = JSON.parse((await post({ sql })).bytes.toString()) as Record<string, unknown>
    expect([whole.rows, (whole.error as { message: string }).message]).toEqual([undefined, 'late'])
    await expect(post({ sql, format: 'csv' })).rejects.toThrow()
    await expect(post({ sql, format: 'arrow' })).rejects.toThrow()
  })

  test('a query beyond its time ends', async () => {
    expect(await errorOf({ sql: LONG, timeout_ms: 200 })).toMatchObject({
      status: 408,
      error: { code: '57014', class: 'query_timeout' },
    })
  })

  test('a file that is gone is told by name', async () => {
    const table = await lake.createTable('gone', { a: 'int' })
    const file = await lake.addRows(table, 'SELECT 1')
    await writeFile(file, 'not parquet')
    expect(await errorOf({ sql: 'SELECT * FROM gone' })).toMatchObject({
      status: 500,
      error: { class: 'file_damaged', message: expect.stringContaining(file) },
    })
  })
})

describe('many at once', () => {
  test('running, waiting, refused; cancelled by id and by a client that leaves', async () => {
    const leaving = new AbortController()
    const left = request(`${service.url}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sql: LONG, priority: 'batch' }),
      signal: leaving.signal,
    }).then(
      () => 'answered',
      () => 'left',
    )
    const first = errorOf({ sql: LONG, query_id: 'first', priority: 'batch' })
    await until(async () => (await queries()).filter((each) => each.state === 'running').length === 2)
    const waiting = errorOf({ sql: 'SELECT 1 AS a', query_id: 'waiting', priority: 'batch' })
    await until(async () => (await queries()).length === 3)
    const refused = await post({ sql: 'SELECT 1', priority: 'batch' })
    expect([refused.status, Number(refused.headers['retry-after'])]).toEqual([429, expect.any(Number)])
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    // What is heavy went to the batch engines: a small question has its own places.
    expect(await json('SELECT 1 AS a')).toMatchObject({ data: [[1]] })
    expect((await errorOf({ sql: 'SELECT 1', query_id: 'first' })).status).toBe(409)
    const cancel = await request(`${service.url}/v1/queries/waiting`, { method: 'DELETE' })
    expect(cancel.statusCode).toBe(202)
    await cancel.body.dump()
    expect(await waiting).toMatchObject({ status: 499, error: { code: '57014' } })
    leaving.abort()
    expect(await left).toBe('left')
    await until(async () => (await queries()).length === 1)
    await (await request(`${service.url}/v1/queries/first`, { method: 'DELETE' })).body.dump()
    expect((await first).error.class).toBe('query_cancelled')
    expect(await json('SELECT 1 AS a')).toMatchObject({ data: [[1]] })
    expect(JSON.parse((await get('/v1/queries/first')).bytes.toString())).toMatchObject({ state: 'cancelled' })
    expect((await get('/v1/queries/never')).status).toBe(404)
  })
})

test('stopping refuses new queries, lets running ones end, and leaves no reader row', async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  const settings = querySettings({ ...lake, folder: `${lake.folder}/second` })
  const second = await startQuery({ settings: { ...settings, lake: { root: `file://${lake.folder}/lake` } }, world })
  const running = request(`${second.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
    body: 'SELECT count(*) FROM flights, range(100000)',
  })
  await until(async () => {
    const reply = await request(`${second.url}/v1/queries`)
    return ((await reply.body.json()) as { queries: unknown[] }).queries.length === 1
  })
  const stopped = second.stop()
  const reply = await running
  expect([reply.statusCode, ((await reply.body.json()) as { data: unknown }).data]).toEqual([200, [['300000000']]])
  await stopped
  await expect(request(`${second.url}/healthz`)).rejects.toThrow()
})
