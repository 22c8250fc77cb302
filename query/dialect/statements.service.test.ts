/**
 * Statements as analysts write them, through the service's own HTTP door, against DuckDB itself over the same rows. A statement
 * must be answered alike: values, names and types of columns.
 */
import { readFileSync } from 'node:fs'
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

const SALES = `SELECT TIMESTAMPTZ '2026-03-28 20:00:00Z' + INTERVAL (i * 17) MINUTE, ['de', 'fr', 'us', NULL][1 + i % 4],
  ['web', 'shop'][1 + i % 2], (i * 37 % 101)::INTEGER, ((i * 13 % 50) / 4)::DOUBLE, CASE WHEN i % 7 = 0 THEN NULL ELSE i END,
  '{"n": ' || i || ', "tags": {"host": "h' || i % 3 || '"}, "list": [1, ' || i || ']}', DATE '2026-03-28' + (i // 80)::INTEGER,
  MAP {'host': 'h' || i % 3, 'env': ['prod', 'test'][1 + i % 2]}, [i % 3, i % 5], {'name': 'n' || i % 2, 'size': i % 4}
  FROM range(400) r(i)`
const COLUMNS = {
  at_time: 'timestamptz',
  country: 'string',
  channel: 'string',
  amount: 'int',
  price: 'double',
  user_id: 'long',
  extra: 'json',
  day: 'date',
  tags: 'map<string, string>',
  numbers: 'list<long>',
  item: 'struct<name: string, size: long>',
}
const RATES = `SELECT * FROM (VALUES (DATE '2026-03-01', 'de', 1.5::DOUBLE), (DATE '2026-03-29', 'de', 1.75), (DATE '2026-03-30', 'fr', 2.0), (DATE '2026-03-30', 'xx', 9.0)) v`

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  const sales = await lake.createTable('sales', COLUMNS)
  // Two files, so that nothing depends on there being one.
  await lake.addRows(sales, `SELECT * FROM (${SALES}) LIMIT 250`)
  await lake.addRows(sales, `SELECT * FROM (${SALES}) OFFSET 250`)
  await lake.addRows(await lake.createTable('rates', { since: 'date', country: 'string', rate: 'double' }), RATES)
  await lake.createTable('nothing', { a: 'string', b: 'long', c: 'date' })
  const named = Object.keys(COLUMNS).map((name) => `"${name}"`)
  await lake.engine.run(
    `CREATE TABLE sales AS SELECT * REPLACE (numbers::BIGINT[] AS numbers, item::STRUCT(name VARCHAR, size BIGINT) AS item) FROM (${SALES}) s(${named.join(', ')})`,
  )
  await lake.engine.run(`CREATE TABLE rates AS FROM (${RATES}) r(since, country, rate)`)
  await lake.engine.run('CREATE TABLE nothing (a VARCHAR, b BIGINT, c DATE)')
  service = await startQuery({ settings: querySettings(lake), world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

type Answer = { readonly columns: readonly { name: string; type: string }[]; readonly data: readonly unknown[][] }

async function ask(sql: string, more: Record<string, unknown> = {}): Promise<Answer> {
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql, ...more }),
  })
  const text = await reply.body.text()
  if (reply.statusCode !== 200) throw new Error(text)
  return JSON.parse(text) as Answer
}

/** From DuckDB alone, written the way the door writes values. */
async function bare(statement: string): Promise<Answer> {
  const isPivot = /\bPIVOT\b/.test(statement)
  // DuckDB makes two statements of some; a table takes them as one.
  if (isPivot) await lake.engine.run(`CREATE OR REPLACE TABLE pivoted AS FROM (${statement})`)
  const sql = isPivot ? 'FROM pivoted' : statement
  const columns: { name: string; type: string }[] = []
  const parts: Uint8Array[] = []
  await lake.engine.query(
    { queryId: 'bare', setup: [], sql, params: [], format: 'json', rowsMax: 100_000, bytesMax: 1e9, timeoutMs: 60_000 },
    { onColumns: (all) => void columns.push(...all), onChunk: (chunk) => void parts.push(chunk) },
  )
  return { columns, data: JSON.parse(`[${Buffer.concat(parts).toString()}]`) as unknown[][] }
}

function sorted(rows: readonly unknown[][]): string[] {
  return rows.map((row) => JSON.stringify(row)).sort()
}

/** One statement a line; a line that begins with `--` is a heading; a statement may go on in indented lines. */
function statements(): { readonly heading: string; readonly sql: string }[] {
  const found: { heading: string; sql: string }[] = []
  let heading = ''
  for (const line of readFileSync(new URL('./statements.sql', import.meta.url), 'utf8').split('\n')) {
    if (line.startsWith('-- ')) heading = line.slice(3)
    else if (/^\s+\S/.test(line)) found[found.length - 1].sql += `\n${line}`
    else if (line !== '') found.push({ heading, sql: line })
  }
  return found
}

const all = statements()

test('there are enough of them', () => {
  expect(all.length).toBeGreaterThanOrEqual(150)
})

describe.each([...new Set(all.map(({ heading }) => heading))])('%s', (heading) => {
  test.each(all.filter((each) => each.heading === heading).map(({ sql }) => sql))('%s', async (sql) => {
    const [answer, expected] = [await ask(sql), await bare(sql)]
    expect(answer.columns).toEqual(expected.columns)
    const isOrdered = /\border by\b[^)]*$/i.test(sql)
    expect(isOrdered ? answer.data : sorted(answer.data)).toEqual(isOrdered ? expected.data : sorted(expected.data))
  })
})
