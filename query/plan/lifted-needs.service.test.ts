// A plan whose filters come from the literals of a statement of the same shape gives the answer that reading everything gives,
// and leaves out the same files as a plan of its own.
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { EXPLAIN_PREFIX } from '../../lake/engine/engine-messages.ts'
import { createLocalObjectStore } from '../../lake/object-store/local.ts'
import { createRangeCache, type RangeCache } from '../../lake/range-cache/range-cache.ts'
import { createSampleLake, type SampleLake } from '../sample-lake.ts'
import { createStatementReader, type ReadStatement, type StatementReader } from '../statement/statement-reader.ts'
import { createPlanner, type Planner, type PlanStats } from './plan-tables.ts'
import { createStubs } from './stubs.ts'
import { createTableFileReader } from './table-files.ts'

let lake: SampleLake
let engine: Engine
let cache: RangeCache
let planner: Planner
let statements: StatementReader
let parses = 0
let explains = 0
const FILES = 6

beforeAll(async () => {
  lake = await createSampleLake()
  const store = createLocalObjectStore({ root: `file://${lake.folder}/lake`, world: lake.world })
  cache = await createRangeCache({ folder: join(lake.folder, 'cache'), bytesMax: 1e9, store, world: lake.world })
  const inner = createEngine({
    settings: {
      name: 'query',
      memoryBytes: 512 * 1024 * 1024,
      threads: 1,
      spillFolder: join(lake.folder, 'query-spill'),
      spillBytes: 1e9,
      folders: [lake.folder],
      mode: 'query',
    },
    world: lake.world,
  })
  engine = {
    ...inner,
    query(query, handlers, signal) {
      if (query.sql.startsWith(EXPLAIN_PREFIX)) explains += 1
      return inner.query(query, handlers, signal)
    },
  }
  planner = createPlanner({
    engine,
    stubs: createStubs({ engine, folder: join(lake.folder, 'stubs') }),
    cache,
    files: createTableFileReader({ store }),
    parallelMax: 8,
  })
  statements = createStatementReader(async (sql) => {
    parses += 1
    return String((await engine.run(sql))[0]?.tree)
  })
  const table = await lake.createTable('t', {
    i: 'int',
    l: 'long',
    f: 'double',
    d: 'decimal(10,2)',
    s: 'string',
    day: 'date',
    moment: 'timestamp',
    ts: 'timestamptz',
  })
  for (let file = 0; file < FILES; file += 1) {
    // Values overlap a little from file to file; a few NULLs.
    await lake.addRows(
      table,
      `SELECT CASE WHEN r % 9 = 0 THEN NULL ELSE n END, n * 1000, n / 4, n / 10, 's''' || lpad(n::VARCHAR, 3, '0'),
       DATE '2026-01-25' + n::INTEGER, TIMESTAMP '2026-01-25 12:00:00' + to_hours(n), TIMESTAMPTZ '2026-01-25 12:00:00Z' + to_hours(n)
       FROM (SELECT r, r + ${file * 9 - 20} AS n FROM range(12) r(r))`,
    )
  }
  const other = await lake.createTable('u', { i: 'int', name: 'string' })
  await lake.addRows(other, `SELECT r, 'n' || r FROM range(-10, 10) r(r)`)
  await lake.addRows(other, `SELECT r, 'n' || r FROM range(10, 30) r(r)`)
})
afterAll(async () => {
  await engine?.close()
  await cache?.close()
  await lake?.close()
})

type Params = readonly unknown[]

async function planned(statement: ReadStatement, params: Params, timezone?: string) {
  const versions = await lake.catalog.readTables(statement.tables.map(({ name }) => name))
  const plan = await planner.plan(statement, versions, {
    params,
    sessionSetup: timezone ? [`SET TimeZone = '${timezone}'`] : [],
    timeoutMs: 60_000,
    scanBytesMax: 1e12,
    signal: new AbortController().signal,
    wholeFiles: false,
  } as Parameters<Planner['plan']>[2])
  plan.release()
  return plan
}

async function rowsOf(setup: readonly string[], sql: string, params: Params): Promise<string[]> {
  const rows: string[] = []
  await engine.query(
    { queryId: 'q', setup, sql, params, format: 'rows', rowsMax: 1e6, bytesMax: 1e9, timeoutMs: 60_000 },
    { onChunk: () => {}, onRows: (batch) => void rows.push(...batch.map((row) => row.map(String).join('|'))) },
  )
  return rows.sort()
}

type Asked = { readonly rows: readonly string[]; readonly stats: PlanStats; readonly own: PlanStats }

/** By its shape where there is one; checked against a plan of its own and against reading everything. */
async function ask(sql: string, params: Params = [], timezone?: string): Promise<Asked> {
  const statement = await statements.read(sql)
  const lifted = await planned(statement, params, timezone)
  const own = await planned({ ...statement, sql: `${sql} `, lifted: undefined }, params, timezone)
  const setup = timezone ? [`SET TimeZone = '${timezone}'`] : []
  const whole = await planned({ ...statement, kind: 'explain', lifted: undefined }, params, timezone)
  const rows = await rowsOf(lifted.setup, sql, params)
  expect(rows).toEqual(await rowsOf(whole.setup, sql, params))
  expect(setup.every((each) => lifted.setup.includes(each))).toBe(true)
  return { rows, stats: lifted.stats, own: own.stats }
}

async function costOf(work: () => Promise<unknown>) {
  const before = { parses, explains }
  await work()
  return { parses: parses - before.parses, explains: explains - before.explains }
}

async function planOnly(sql: string, params: Params = [], timezone?: string): Promise<PlanStats> {
  return (await planned(await statements.read(sql), params, timezone)).stats
}

test.each<[string, (n: number) => string, (n: number) => Params]>([
  ['a long', (n) => `SELECT * FROM t WHERE l = ${n * 1000}`, () => []],
  ['an int between', (n) => `SELECT sum(f) FROM t WHERE i BETWEEN ${n} AND ${n + 3}`, () => []],
  ['negative', (n) => `SELECT count(*) FROM t WHERE i >= -${n} AND i < - ${n - 1}`, () => []],
  ['a decimal', (n) => `SELECT count(*) FROM t WHERE d > ${n}.25 AND d <= ${n + 1}.75`, () => []],
  ['a double', (n) => `SELECT count(*) FROM t WHERE f < ${n}.125`, () => []],
  ['a text with quotes', (n) => `SELECT s FROM t WHERE s = 's''0${n}'`, () => []],
  ['a list', (n) => `SELECT count(*) FROM t WHERE l IN (${n * 1000}, ${n * 2000}, 3)`, () => []],
  ['a date', (n) => `SELECT count(*) FROM t WHERE day >= DATE '2026-02-${n}' AND day < '2026-02-${n + 3}'`, () => []],
  ['a timestamp', (n) => `SELECT count(*) FROM t WHERE moment < TIMESTAMP '2026-01-26 ${n}:00:00'`, () => []],
  ['an instant', (n) => `SELECT count(*) FROM t WHERE ts >= TIMESTAMPTZ '2026-01-26T${n}:30:00.5+02:00'`, () => []],
  [
    'inside',
    (n) => `WITH a AS (SELECT i, s FROM t WHERE l > ${n * 1000}) SELECT u.name FROM a JOIN u ON a.i = u.i`,
    () => [],
  ],
  ['a parameter', () => 'SELECT count(*) FROM t WHERE l >= $1 AND s < $2', (n) => [n * 1000, `s'0${n + 5}`]],
])(
  '%s: the third of a shape is planned without asking DuckDB, like one that is asked about',
  async (_, sql, params) => {
    for (const n of [10, 11]) await ask(sql(n), params(n))
    const cost = await costOf(() => planOnly(sql(12), params(12)))
    expect(cost).toEqual({ parses: 0, explains: 0 })
    const { stats, own } = await ask(sql(13), params(13))
    expect(stats).toEqual(own)
  },
)

test('what decides more than which rows pass is asked about each time, or part of the shape', async () => {
  const changing: readonly ((n: number) => string)[] = [
    (n) => `SELECT ${n}, count(*) FROM t GROUP BY 1`,
    (n) => `SELECT i, l FROM t ORDER BY ${n} LIMIT 3`,
    (n) => `SELECT l FROM t LIMIT ${n}`,
    (n) => `SELECT count(*) FROM t WHERE i = 1 OR l = ${n}000`,
    (n) => `SELECT count(*) FROM t WHERE NOT (i > 1 AND l > ${n}000)`,
    (n) => `SELECT count(*) FROM t WHERE s LIKE 's''0${n}%'`,
    (n) => `SELECT CASE WHEN l > ${n}000 THEN s ELSE 'x' END FROM t`,
    (n) => `SELECT count(*) FROM t WHERE f > ${n}.1::FLOAT`,
    (n) => `SELECT count(*) FROM t WHERE moment > TIMESTAMP '2026-01-25 12:00:00' + INTERVAL '${n} hours'`,
  ]
  for (const sql of changing) {
    for (const n of [1, 2]) await ask(sql(n))
    const before = parses
    await planOnly(sql(1))
    await planOnly(sql(3).replace(/ORDER BY 3/, 'ORDER BY 1, 2'))
    expect([sql(3), parses]).toEqual([sql(3), before + 1])
  }
})

test('a zone makes other instants of texts without one', async () => {
  const sql = (n: number) => `SELECT count(*) FROM t WHERE ts >= '2026-01-26 ${n}:00:00'`
  for (const zone of [undefined, 'America/New_York', 'Europe/London', undefined]) {
    for (const n of [10, 11, 12, 13]) await ask(sql(n), [], zone)
  }
})

test('a literal that DuckDB refuses is told so, in a shape that it has taken before', async () => {
  const sql = (day: string) => `SELECT count(*) FROM t WHERE day > '${day}'`
  for (const day of ['2026-02-01', '2026-02-02', '2026-02-03']) await ask(sql(day))
  await expect(ask(sql('2026-02-30'))).rejects.toMatchObject({ code: 'conversion-failed' })
})

const number = fc.oneof(
  fc.integer({ min: -30, max: 60 }).map(String),
  fc.integer({ min: -30, max: 60 }).map((n) => `${n}000`),
  fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 99 })).map(([a, b]) => `${a}.${b}`),
  fc.constantFrom('3000000000', '9223372036854775807', '-0', '0', '1e3', '1_0', 'NULL', '2147483648', '0.10'),
)
const text = fc.oneof(
  fc.integer({ min: 0, max: 60 }).map((n) => `'s''${String(n).padStart(3, '0')}'`),
  fc.constantFrom("''", "'now'", "'_offset'", "'S'", "'5'", "'2026-01-01'", "'%'"),
)
const day = fc.integer({ min: 1, max: 28 }).map((n) => `2026-0${1 + (n % 3)}-${String(n).padStart(2, '0')}`)
const hour = fc.integer({ min: 0, max: 23 }).map((n) => String(n).padStart(2, '0'))
const instant = fc.oneof(
  day.map((d) => `DATE '${d}'`),
  day.map((d) => `'${d}'`),
  fc.tuple(day, hour).map(([d, h]) => `TIMESTAMP '${d} ${h}:00:00'`),
  fc.tuple(day, hour, fc.constantFrom('Z', '+02', '-05:30', '')).map(([d, h, z]) => `'${d} ${h}:00:00.25${z}'`),
  fc.tuple(day, hour).map(([d, h]) => `TIMESTAMPTZ '${d}T${h}:00:00Z'`),
)
const op = fc.constantFrom('=', '<', '<=', '>', '>=', '<>')
const comparison = fc.oneof(
  fc
    .tuple(fc.constantFrom('i', 'l', 'f', 'd', 'i + 1', 'l::INTEGER', 'u2'), op, number)
    .map((parts) => parts.join(' ')),
  fc.tuple(number, op, fc.constantFrom('i', 'l', 'f', 'd')).map((parts) => parts.join(' ')),
  fc.tuple(fc.constantFrom('s', 'upper(s)', "s || ''"), op, text).map((parts) => parts.join(' ')),
  fc.tuple(fc.constantFrom('day', 'moment', 'ts', 'day + 1'), op, instant).map((parts) => parts.join(' ')),
  fc.tuple(fc.constantFrom('i', 'l', 'd'), number, number).map(([c, a, b]) => `${c} BETWEEN ${a} AND ${b}`),
  fc.tuple(fc.constantFrom('i', 'l', 'f'), number, number).map(([c, a, b]) => `${c} IN (${a}, ${b})`),
  fc.tuple(fc.constantFrom('s'), text, text).map(([c, a, b]) => `${c} NOT IN (${a}, ${b})`),
  text.map((t) => `s LIKE ${t}`),
)
const condition = fc
  .tuple(fc.array(comparison, { minLength: 1, maxLength: 3 }), fc.constantFrom(' AND ', ' AND ', ' AND ', ' OR '))
  .map(([parts, joint]) => parts.join(joint).replaceAll('u2', 'i'))
const statement = fc
  .tuple(
    fc.constantFrom<(where: string, more: string) => string>(
      (where) => `SELECT count(*), min(l), max(s) FROM t WHERE ${where}`,
      (where) => `SELECT i, s FROM t WHERE ${where} ORDER BY 2, 1`,
      (where, more) =>
        `SELECT day, count(*) FROM t WHERE ${where} GROUP BY 1 HAVING count(*) > 1 AND ${more.replace(/\b(i|l|f|d|s|moment|ts|day)\b/g, 'min($1)')}`,
      (where, more) => `SELECT l FROM t WHERE ${where} UNION ALL SELECT l FROM t WHERE ${more}`,
      (where, more) => `SELECT count(*) FROM (SELECT * FROM t WHERE ${where}) WHERE ${more}`,
      (where) => `SELECT a.l, u.name FROM (SELECT * FROM t WHERE ${where}) a LEFT JOIN u ON a.i = u.i`,
    ),
    condition,
    condition,
  )
  .map(([make, where, more]) => make(where, more))

/** The same statement with other values: every number and text changed a little. */
function varied(sql: string, shift: number): string {
  return sql.replace(/(?<=[ (-])(\d+)(?=[,) ]|$)|(?<='s'')(\d{3})(?=')|(?<=2026-\d\d-)(\d\d)/g, (digits) =>
    String((Number(digits) * 7 + shift) % 28 || 1).padStart(digits.length, '0'),
  )
}

test('random statements: answers by shape are those of reading everything', async () => {
  await fc.assert(
    fc.asyncProperty(statement, fc.integer({ min: 1, max: 20 }), async (sql, shift) => {
      for (const each of [sql, varied(sql, shift), varied(sql, shift + 5), varied(sql, shift + 11)]) {
        try {
          await ask(each)
        } catch (error) {
          // A comparison that DuckDB refuses.
          if (
            !['conversion-failed', 'type-mismatch', 'query-invalid', 'value-out-of-range'].includes(
              String((error as { code?: string }).code),
            )
          )
            throw error
        }
      }
    }),
    { numRuns: 50 },
  )
})

test('buckets by arithmetic, unless a filter compares one: its range excludes files as before', async () => {
  const isFast = ({ setup }: { readonly setup: readonly string[] }) => setup.some((each) => each.includes('MACRO'))
  const plan = async (sql: string) => planned(await statements.read(sql), [])
  const bucket = "date_trunc('day', ts)"
  for (const n of [10, 11, 12]) {
    const sql = `SELECT ${bucket}, count(*) FROM t WHERE l > ${n}000 GROUP BY ALL HAVING count(*) > 1 ORDER BY 1`
    const fast = await plan(sql)
    expect(isFast(fast)).toBe(true)
    const own = fast.setup.filter((each) => !each.includes('MACRO'))
    expect(await rowsOf(fast.setup, sql, [])).toEqual(await rowsOf(own, sql, []))
    const filtered = await plan(
      `SELECT count(*) FROM t WHERE date_trunc('hour', ts) > TIMESTAMPTZ '2026-01-28T${n}:00:00Z'`,
    )
    expect([isFast(filtered), filtered.stats.filesPruned > 0]).toEqual([false, true])
    const named = `WITH b AS (SELECT ${bucket} AS d, l FROM t) SELECT d, sum(l) FROM b WHERE d = '2026-01-${n + 16}' GROUP BY d`
    expect(isFast(await plan(named))).toBe(false)
  }
  expect(isFast(await plan('SELECT count(*) FROM t'))).toBe(false)
  await expect(plan("SELECT date_trunc('day', s) FROM t")).rejects.toMatchObject({
    message: expect.stringContaining("No function matches the given name and argument types 'date_trunc("),
  })
})
