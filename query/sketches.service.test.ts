/** The examples of docs/reference/sketches.md, as an analyst would send them, and what macros do not take by themselves. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from './sample-lake.ts'
import { startQuery } from './service.ts'

const PAGE = readFileSync(join(import.meta.dirname, '..', 'docs', 'reference', 'sketches.md'), 'utf8')

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  const visits = await lake.createTable('visits', {
    country: 'string',
    user_id: 'long',
    ms: 'double',
    seen_at: 'timestamptz',
  })
  const rows = `SELECT ['DE', 'DE', 'DE', 'FR', 'FR', 'US'][1 + i % 6] AS country,
    hash(i, 1) % [700, 700, 700, 400, 400, 90][1 + i % 6] AS user_id,
    round(20 * exp((hash(i, 2) % 1000) / 250), 1) AS ms,
    TIMESTAMPTZ '2026-01-01 06:00:00Z' + INTERVAL (i // 1500) HOUR AS seen_at FROM range(6000) r(i)`
  await lake.addRows(visits, rows)
  const hourly = await lake.createTable('hourly', { hour: 'timestamptz', users: 'binary', latency: 'binary' })
  // Two files, so that a merge goes over both.
  for (const half of ['<', '>=']) {
    await lake.addRows(
      hourly,
      `SELECT seen_at, hll_build(user_id), quantile_sketch_build(ms) FROM (${rows})
       WHERE seen_at ${half} TIMESTAMPTZ '2026-01-01 08:00:00Z' GROUP BY seen_at`,
    )
  }
  service = await startQuery({ settings: querySettings(lake), world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

type Reply = { readonly data?: readonly (readonly unknown[])[]; readonly error?: { readonly message: string } }

async function sql(text: string): Promise<Reply> {
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'text/plain' },
    body: text,
  })
  return (await reply.body.json()) as Reply
}

describe('docs/reference/sketches.md', () => {
  const examples = [...PAGE.matchAll(/^```sql\n([\s\S]*?)^```/gm)]
    .flatMap(([, block]) => block.split(/\n\n/))
    .map((each) => {
      const [text, expected] = each.trim().split('\n-- → ')
      return { text: text.replace(/;$/, ''), expected: expected === undefined ? undefined : JSON.parse(expected) }
    })

  test.each(examples)('$text', async ({ text, expected }) => {
    const { data, error } = await sql(text)
    expect(error).toBeUndefined()
    if (expected) expect(data).toEqual(expected)
    else expect(data?.length).toBeGreaterThan(0)
  })

  test('has examples, and what they count is what there is', async () => {
    expect(examples.length).toBeGreaterThan(7)
    const { data } = await sql(`SELECT hll_estimate(hll_build(user_id)) - count(DISTINCT user_id),
      abs(quantile_sketch_estimate(quantile_sketch_build(ms), 0.95) / quantile_disc(ms, 0.95) - 1) < 1 / 128
      FROM visits GROUP BY country`)
    expect(data).toEqual(Array.from({ length: 3 }, () => ['0', true]))
  })
})

test('FILTER, DISTINCT and OVER, alone and together, mean what they mean for other aggregates', async () => {
  const where = { a: "country = 'DE' AND user_id < 10", b: "(country = 'FR')", c: 'user_id IS NOT NULL', d: 'ms > 1e9' }
  const { data, error } = await sql(`
    SELECT hll_estimate(hll_build(user_id) FILTER (WHERE ${where.a})), count(DISTINCT user_id) FILTER (WHERE ${where.a}),
      hll_estimate(hll_build(DISTINCT user_id) FILTER ${where.b}), count(DISTINCT user_id) FILTER ${where.b},
      quantile_sketch_count(quantile_sketch_build(DISTINCT user_id)), count(DISTINCT user_id) FILTER (${where.c}),
      hll_estimate(hll_build(user_id, 14) FILTER (WHERE ${where.d})), count(DISTINCT user_id) FILTER (WHERE ${where.d})
    FROM visits`)
  expect(error).toBeUndefined()
  const [a, exactA, b, exactB, c, exactC, d, exactD] = data?.[0] ?? []
  expect([a, b, c, d]).toEqual([exactA, exactB, exactC, exactD])
  expect([exactA, exactD]).toEqual(['10', '0'])
  const moving =
    await sql(`SELECT i, hll_estimate(hll_build(i) FILTER (WHERE i <> 3) OVER (ORDER BY i ROWS 2 PRECEDING)) AS n
    FROM range(6) r(i) ORDER BY i`)
  expect(moving.data).toEqual([0, 1, 2, 3, 4, 5].map((i) => [String(i), String([1, 2, 3, 2, 2, 2][i])]))
  expect((await sql('SELECT hll_build(user_id ORDER BY ms) FROM visits')).error?.message).toContain('ORDER BY')
})

test('a stored sketch goes out and comes back as a parameter', async () => {
  const { data } = await sql("SELECT users FROM hourly WHERE hour = TIMESTAMPTZ '2026-01-01 06:00:00Z'")
  const reply = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql: 'SELECT hll_estimate(from_base64($1)) AS n', params: [data?.[0][0]] }),
  })
  expect(((await reply.body.json()) as Reply).data).toEqual([['568']])
})

test.each([
  ['SELECT hll_estimate(hll_merge(country)) FROM visits', /hll_merge|BLOB|Conversion|sketch/],
  ['SELECT hll_estimate(user_id) FROM visits', /hll_estimate\(BIGINT\)/],
  ['SELECT quantile_sketch_estimate(users, 0.5) FROM hourly', /found a sketch of distinct values/],
  ["SELECT hll_estimate(users || 'x'::BLOB) FROM hourly", /the sketch is damaged/],
  ['SELECT hll_build(NULL) OVER (PARTITION BY country ORDER BY 1), hll_build() FROM visits', /hll_build/],
])('%s is refused', async (text, message) => {
  expect((await sql(text)).error?.message).toMatch(message)
})
