/** `rate` and the like against a plain loop over the same points; gaps against what is written out; pruning goes on. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>
beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  const points = await lake.createTable('points', { ts: 'timestamptz', host: 'string', value: 'long' })
  for (const day of [0, 1, 2]) {
    await lake.addRows(
      points,
      `SELECT TIMESTAMPTZ '2026-03-28 00:00:00Z' + INTERVAL ${day} DAY + INTERVAL (i) HOUR, ['a', 'b'][1 + i % 2], i * 10 FROM range(24) r(i)`,
    )
  }
  const gaps = await lake.createTable('gaps', { ts: 'timestamptz', host: 'string', value: 'double' })
  await lake.addRows(
    gaps,
    `SELECT * FROM (VALUES (TIMESTAMPTZ '2026-03-29 00:10:00Z', 'a', 1.0), ('2026-03-29 00:20:00Z', 'a', 3.0), ('2026-03-29 03:10:00Z', 'a', 8.0),
      ('2026-03-29 01:00:00Z', 'b', 5.0), ('2026-03-29 02:59:59Z', 'b', NULL)) v`,
  )
  service = await startQuery({ settings: querySettings(lake), world })
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

type Answer = {
  readonly data: readonly unknown[][]
  readonly stats: { readonly files_pruned: number }
  readonly error: unknown
}

async function ask(sql: string, params: unknown = []): Promise<Answer> {
  const reply = await fetch(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql, params }),
  })
  const answer = (await reply.json()) as Answer
  if (reply.status !== 200) throw new Error(JSON.stringify(answer))
  return answer
}

type Point = { readonly second: number | null; readonly value: number | null }

/** What the page says, as a loop. */
function expected(points: readonly Point[]) {
  const known = points
    .filter((point): point is { second: number; value: number } => point.second !== null && point.value !== null)
    .sort((a, b) => a.second - b.second || a.value - b.value)
  if (known.length < 2) return [null, null, null, null]
  let increase = 0
  let resets = 0
  for (let at = 1; at < known.length; at++) {
    const step = known[at].value - known[at - 1].value
    increase += step < 0 ? known[at].value : step
    if (step < 0) resets++
  }
  const [first, last] = [known[0], known[known.length - 1]]
  const span = last.second - first.second
  return [increase, span === 0 ? null : increase / span, last.value - first.value, resets]
}

describe('counters and gauges', () => {
  test('unsorted, repeated, missing, negative points: increase, rate, delta, resets', async () => {
    const value = fc.oneof(fc.constant(null), fc.integer({ min: -50, max: 100 }))
    const second = fc.oneof(
      { weight: 1, arbitrary: fc.constant(null) },
      { weight: 9, arbitrary: fc.integer({ min: 0, max: 40 }) },
    )
    const series = fc.array(fc.record({ second, value }), { maxLength: 15 })
    await fc.assert(
      fc.asyncProperty(fc.array(series, { minLength: 40, maxLength: 40 }), async (all) => {
        const rows = all.flatMap((points, s) =>
          points.map((point) => `(${s}, ${point.second ?? 'NULL'}::BIGINT, ${point.value ?? 'NULL'}::BIGINT)`),
        )
        const { data } = await ask(
          `SELECT s.s, increase(v, ts)::DOUBLE, rate(v, ts), delta(v, ts)::DOUBLE, CASE WHEN increase(v, ts) IS NOT NULL THEN resets(v, ts)::DOUBLE END
           FROM range(${all.length}) s(s) LEFT JOIN (SELECT s, to_timestamp(t) AS ts, v FROM (VALUES ${['(-1, NULL, NULL)', ...rows].join(', ')}) r(s, t, v)) r ON s.s = r.s
           GROUP BY s.s ORDER BY s.s`,
        )
        all.forEach((points, s) => {
          const found = data[s].slice(1).map((cell) => (cell === null ? null : Number(cell)))
          const want = expected(points)
          expect(found.map((cell) => (cell === null ? null : cell.toFixed(9)))).toEqual(
            want.map((cell) => (cell === null ? null : cell.toFixed(9))),
          )
        })
      }),
      { numRuns: 5 },
    )
  })

  test('slope of a line, of two values, of one', async () => {
    const { data } = await ask(
      `SELECT round(derivative(2.5 * i + 7, TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND), 6), derivative(i, TIMESTAMP '2026-01-01') IS NULL,
         derivative(i, TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND) FILTER (WHERE i = 1) IS NULL FROM range(10) r(i)`,
    )
    expect(data).toEqual([[2.5, true, true]])
    expect(
      (
        await ask(
          `SELECT derivative(v, ts) OVER (ORDER BY ts ROWS 1 PRECEDING) FROM (VALUES (1, TIMESTAMP '2026-01-01 00:00:00'), (5, TIMESTAMP '2026-01-01 00:00:02'), (3, TIMESTAMP '2026-01-01 00:00:03')) r(v, ts) ORDER BY ts`,
        )
      ).data,
    ).toEqual([[null], [2], [-2]])
  })

  test('a counter without a sign begins again as any other', async () => {
    const points = `(VALUES (250, 0), (5, 1), (9, 2)) v(n, s)`
    const sql = (type: string) =>
      `SELECT increase(n::${type}, to_timestamp(s))::INTEGER AS grown, rate(n::${type}, to_timestamp(s)) FROM ${points}`
    for (const type of ['UTINYINT', 'UBIGINT', 'BIGINT', 'DECIMAL(5,1)'])
      expect((await ask(sql(type))).data).toEqual([[9, 4.5]])
  })

  test('calls inside of each other that would be gigabytes once written out are refused, not built', async () => {
    const nested = `SELECT ${'increase('.repeat(12)}value${', ts)'.repeat(12)} FROM points`
    await expect(ask(nested)).rejects.toThrow(/"54000".*nest fewer of them/)
    const many = `SELECT uniq(${'value, '.repeat(130_000)}value) FROM points`
    await expect(ask(many)).rejects.toThrow(/"(53200|54000|42000)"/)
  })

  test('per bucket and series, in HAVING and ORDER BY, as a window', async () => {
    const { data } = await ask(
      `SELECT time_bucket('1 day', ts) AS day, host, increase(value, ts) AS grown FROM points GROUP BY day, host HAVING rate(value, ts) > 0 ORDER BY increase(value, ts) DESC, day, host LIMIT 2`,
    )
    expect(data).toEqual([
      ['2026-03-28T00:00:00Z', 'a', '220'],
      ['2026-03-28T00:00:00Z', 'b', '220'],
    ])
    expect(
      (
        await ask(
          `SELECT increase(value, ts) OVER (PARTITION BY host ORDER BY ts ROWS 1 PRECEDING) AS grown FROM points WHERE host = 'a' ORDER BY ts LIMIT 13`,
        )
      ).data.flat(),
    ).toEqual([null, ...Array.from({ length: 11 }, () => '20'), '0'])
  })
})

describe('pruning', () => {
  test.each([
    [
      "SELECT uniqExact(host), last(value, ts) FROM points WHERE ts >= timestamp_add(TIMESTAMPTZ '2026-03-29 00:00:00Z', INTERVAL 1 DAY)",
      2,
    ],
    ['SELECT countIf(value > 5) FROM points WHERE ts < from_unixtime(1774742400)', 2],
    [
      "SELECT host, rate(value, ts) FROM points WHERE ts >= date_add('day', 1, TIMESTAMPTZ '2026-03-28 00:00:00Z') GROUP BY host",
      1,
    ],
    [
      "SELECT time_bucket_gapfill('1 hour', ts) AS h, locf(avg(value)) FROM points WHERE ts >= '2026-03-30 00:00:00Z' AND ts < '2026-03-31 00:00:00Z' GROUP BY h",
      2,
    ],
    ["PIVOT (FROM points WHERE ts < TIMESTAMPTZ '2026-03-29 00:00:00Z') ON host USING sum(value) GROUP BY ts", 2],
  ])('%s', async (sql, pruned) => {
    expect((await ask(sql)).stats.files_pruned).toBe(pruned)
  })
})

test('parameters, also where they are repeated and in a PIVOT', async () => {
  const { data } = await ask(
    `SELECT host, time_bucket(?, ts, ?) AS b, div0(sum(value), ?) AS d FROM points WHERE ts < ? GROUP BY ALL ORDER BY ALL LIMIT 1`,
    ['4 hours', 'Europe/Berlin', 2, '2026-03-29 00:00:00Z'],
  )
  expect(data).toEqual([['a', '2026-03-27T23:00:00Z', 10]])
  const pivot = `PIVOT (FROM points WHERE ts < ? AND value >= ?) ON host || ? USING sum(value) AS s GROUP BY ts ORDER BY ts LIMIT 1`
  const { data: pivoted } = await ask(pivot, ['2026-03-29 00:00:00Z', 20, 'x'])
  expect(pivoted).toEqual([['2026-03-28T02:00:00Z', '20', null]])
})

describe('gaps', () => {
  test('of every series, with locf and interpolate, over the range that WHERE says', async () => {
    const { data } = await ask(
      `SELECT hour(time_bucket_gapfill('1 hour', ts)) AS h, host, avg(value), locf(avg(value)), interpolate(avg(value)), count(*), coalesce(sum(value), 0)
       FROM gaps WHERE ts >= '2026-03-28 23:30:00Z' AND ts < '2026-03-29 05:00:00Z' GROUP BY time_bucket_gapfill('1 hour', ts), host ORDER BY host, time_bucket_gapfill('1 hour', ts)`,
    )
    expect(data).toEqual([
      ['23', 'a', null, null, null, null, 0],
      ['0', 'a', 2, 2, 2, '2', 4],
      ['1', 'a', null, 2, 4, null, 0],
      ['2', 'a', null, 2, 6, null, 0],
      ['3', 'a', 8, 8, 8, '1', 8],
      ['4', 'a', null, 8, null, null, 0],
      ['23', 'b', null, null, null, null, 0],
      ['0', 'b', null, null, null, null, 0],
      ['1', 'b', 5, 5, 5, '1', 5],
      ['2', 'b', null, 5, null, '1', 0],
      ['3', 'b', null, 5, null, null, 0],
      ['4', 'b', null, 5, null, null, 0],
    ])
  })

  test('HAVING by the names of columns, and by the bucket itself', async () => {
    const having = async (condition: string) =>
      (
        await ask(
          `SELECT time_bucket_gapfill('1 hour', ts) AS hour, host, count(value) AS n, sum(value) AS value FROM gaps
           WHERE ts >= '2026-03-29 00:00:00Z' AND ts < '2026-03-29 02:00:00Z' GROUP BY hour, host HAVING ${condition} ORDER BY host, hour`,
        )
      ).data
    const both = [
      ['2026-03-29T00:00:00Z', 'a', '2', 4],
      ['2026-03-29T01:00:00Z', 'a', null, null],
    ]
    expect(await having('n > 1')).toEqual(both)
    expect(await having("hour < '2026-03-29 01:00:00Z'")).toEqual(both)
    expect(await having("time_bucket_gapfill('1 hour', ts) < '2026-03-29 01:00:00Z' AND n>1 AND host='a'")).toEqual(
      both,
    )
    expect(await having('sum(value) < 5 AND max(gaps.value) > 2')).toEqual(both)
  })

  test('the range from parameters, from BETWEEN, from arguments, or from the data', async () => {
    const starts = async (sql: string, params: unknown = []) => (await ask(sql, params)).data.map(([start]) => start)
    const hours = (...all: number[]) => all.map((hour) => `2026-03-29T0${hour}:00:00Z`)
    const where = (condition: string) =>
      `SELECT time_bucket_gapfill('1 hour', ts) AS h, count(*) FROM gaps WHERE host = 'a' AND ${condition} GROUP BY h ORDER BY h`
    expect(await starts(where('ts >= $1 AND ts <= $2'), ['2026-03-29 00:00:00Z', '2026-03-29 02:00:00Z'])).toEqual(
      hours(0, 1, 2),
    )
    expect(await starts(where("(ts BETWEEN '2026-03-29 01:30:00Z' AND '2026-03-29 04:30:00Z')"))).toEqual(
      hours(1, 2, 3, 4),
    )
    expect(await starts(where('true'))).toEqual(hours(0, 1, 2, 3))
    expect(
      await starts(
        `SELECT time_bucket_gapfill('1 hour', ts, '2026-03-29 02:00:00Z', '2026-03-29 05:00:00Z') AS h, count(*) FROM gaps GROUP BY h ORDER BY h`,
      ),
    ).toEqual(hours(0, 1, 2, 3, 4))
    const later = `date_trunc('hour', now()) + INTERVAL 365 DAY`
    expect(await starts(where(`ts >= ${later} AND ts < ${later} + INTERVAL 2 HOUR`))).toHaveLength(2)
  })

  test('days with a zone where one has 23 hours, hours where one comes twice', async () => {
    const days = await ask(
      `SELECT time_bucket_gapfill('1 day', ts, 'Europe/Berlin') AS d, count(*) FROM gaps WHERE ts >= '2026-03-27 23:00:00Z' AND ts < '2026-03-30 22:00:00Z' GROUP BY d ORDER BY d`,
    )
    expect(days.data.map(([day]) => day)).toEqual([
      '2026-03-27T23:00:00Z',
      '2026-03-28T23:00:00Z',
      '2026-03-29T22:00:00Z',
    ])
    const hours = await ask(
      `SELECT time_bucket_gapfill('1 hour', ts, 'Europe/Berlin', '2026-10-24 22:00:00Z', '2026-10-25 23:00:00Z') AS h, count(*) FROM gaps WHERE false GROUP BY h`,
    )
    expect(hours.data).toHaveLength(25)
  })

  test.each([
    ["SELECT time_bucket_gapfill('1 hour', ts) FROM gaps", 'expected a GROUP BY', 1, 8],
    ["SELECT time_bucket_gapfill('1 hour', ts) AS h, avg(nosuch) FROM gaps GROUP BY h", 'nosuch', 1, 52],
    [
      "SELECT time_bucket_gapfill('1 hour', ts) AS h,\n host FROM gaps GROUP BY ROLLUP (h, host)",
      'grouping sets',
      2,
      26,
    ],
    [
      "SELECT time_bucket_gapfill('1 hour', ts) AS h, locf(locf(avg(value))) FROM gaps GROUP BY h",
      'cannot be inside',
      1,
      48,
    ],
  ])('wrong: %s', async (sql, message, line, column) => {
    const error = await ask(sql).catch(
      (failure: Error) => JSON.parse(failure.message) as { error: Record<string, unknown> },
    )
    expect((error as { error: Record<string, unknown> }).error).toMatchObject({
      message: expect.stringContaining(message),
      position: { line, column },
    })
  })
})
