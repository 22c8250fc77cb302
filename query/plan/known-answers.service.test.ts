/**
 * Answers from counts and bounds are those of reading every row (G-9): values, names of columns and types, over random tables of
 * several files with NULLs, infinity, NaN, columns that came later, files without bounds. A failure prints the seed;
 * MILLRACE_KNOWN_SEED runs it again.
 */
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { columnsOfRow, knownRowBytes } from '../../lake/engine/known-row.ts'
import { createLocalObjectStore } from '../../lake/object-store/local.ts'
import { createRangeCache, type RangeCache } from '../../lake/range-cache/range-cache.ts'
import { createSampleLake, type SampleLake } from '../sample-lake.ts'
import { checkStatement, parseSql } from '../statement/statement.ts'
import { createPlanner, type Planner, type PlanOptions } from './plan-tables.ts'
import { createStubs } from './stubs.ts'
import { createTableFileReader } from './table-files.ts'

const SEED = process.env.MILLRACE_KNOWN_SEED

let lake: SampleLake
let engine: Engine
let cache: RangeCache
let planner: Planner

beforeAll(async () => {
  lake = await createSampleLake()
  const store = createLocalObjectStore({ root: `file://${lake.folder}/lake`, world: lake.world })
  cache = await createRangeCache({ folder: join(lake.folder, 'cache'), bytesMax: 1e9, store, world: lake.world })
  engine = createEngine({
    settings: {
      name: 'query',
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      spillFolder: join(lake.folder, 'query-spill'),
      spillBytes: 1e9,
      folders: [lake.folder],
      mode: 'query',
    },
    world: lake.world,
  })
  planner = createPlanner({
    engine,
    stubs: createStubs({ engine, folder: join(lake.folder, 'stubs') }),
    cache,
    files: createTableFileReader({ store }),
    parallelMax: 8,
  })
})
afterAll(async () => {
  await engine.close()
  await cache.close()
  await lake.close()
})

const PLAIN = { params: [], sessionSetup: [], mayReplace: true }

async function planOf(sql: string, options: Pick<PlanOptions, 'params' | 'sessionSetup' | 'mayReplace'>) {
  const [row] = await engine.run(parseSql(sql.replace(/^EXPLAIN( ANALYZE)?/, (all) => ' '.repeat(all.length))))
  const statement = checkStatement(sql, String(row.tree))
  const versions = await lake.catalog.readTables(statement.tables.map((table) => table.name))
  const signal = new AbortController().signal
  return planner.plan(statement, versions, { ...options, timeoutMs: 60_000, signal, wholeFiles: false })
}

async function answer(sql: string, mayBeKnown: boolean, params: readonly unknown[] = []) {
  const sessionSetup = ["SET TimeZone = 'Asia/Kolkata'"]
  const plan = await planOf(sql, { params, sessionSetup, mayReplace: mayBeKnown })
  // What a session sets may be wrong: the engine is asked.
  expect(plan.row).toBeUndefined()
  const rows: (readonly unknown[])[] = []
  let columns: unknown
  const query = { queryId: 'q', setup: plan.setup, sql: plan.sql ?? sql, params, format: 'rows' } as const
  await engine.query(
    { ...query, rowsMax: 1e6, bytesMax: 1e9, timeoutMs: 60_000 },
    {
      onColumns: (given) => {
        columns = given
      },
      onChunk: () => {},
      onRows: (batch) => void rows.push(...batch),
    },
  )
  plan.release()
  return { columns, rows, isKnown: plan.sql !== undefined, stats: plan.stats }
}

const COLUMNS: Readonly<Record<string, string>> = {
  i: 'int',
  l: 'long',
  d: 'decimal(12,3)',
  w: 'decimal(30,2)',
  f: 'double',
  b: 'boolean',
  on_day: 'date',
  moment: 'timestamp',
  ts: 'timestamptz',
  s: 'string',
}
const KNOWN = ['i', 'l', 'd', 'b', 'on_day', 'moment', 'ts']

const value = (salt: number) => `(hash(r * 31 + ${salt}) % 2000000)::BIGINT - 1000000`
const orNull = (salt: number, nulls: number, sql: string) =>
  `CASE WHEN hash(r * 17 + ${salt}) % 10 < ${nulls} THEN NULL ELSE ${sql} END`

function select({ salt, rows, nulls, odd }: { salt: number; rows: number; nulls: number; odd: boolean }): string {
  const v = value(salt)
  const columns = [
    v,
    `(${v}) * 9007199254741`,
    `(${v}) / 1000`,
    `(${v})::DECIMAL(30,2) * 1000000000000`,
    odd ? "CASE r % 3 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN '-0.0'::DOUBLE ELSE 0.0 END" : `(${v}) / 7.0`,
    `(${v}) > 0`,
    odd
      ? "CASE r % 2 WHEN 0 THEN 'infinity'::DATE ELSE DATE '2026-01-01' END"
      : `DATE '2026-01-01' + ((${v}) // 100)::INTEGER`,
    odd
      ? "CASE r % 2 WHEN 0 THEN '-infinity'::TIMESTAMP ELSE TIMESTAMP '0001-01-01 00:00:00' END"
      : `make_timestamp((${v}) * 1000003)`,
    odd ? "CASE r % 2 WHEN 0 THEN 'infinity'::TIMESTAMPTZ ELSE NULL END" : `make_timestamptz((${v}) * 1000000007)`,
    `'a text that is cut in bounds ' || (${v})`,
  ]
  return `SELECT ${columns.map((each, index) => orNull(salt + index, nulls, each)).join(', ')} FROM range(${rows}) t(r)`
}

const anyFile = fc.record({
  salt: fc.integer({ min: 1, max: 1e6 }),
  rows: fc.constantFrom(1, 7, 300),
  nulls: fc.constantFrom(0, 0, 3, 10),
  odd: fc.boolean().map((odd) => odd),
})

let tables = 0

test('counts and extremes of a whole table are those of its rows', async () => {
  let known = 0
  await fc.assert(
    fc.asyncProperty(fc.array(anyFile, { maxLength: 4 }), async (files) => {
      const name = `t${++tables}`
      const table = await lake.createTable(name, COLUMNS)
      for (const file of files) await lake.addRows(table, select(file))
      const isOdd = files.some(({ odd }) => odd)
      const statements = Object.keys(COLUMNS).map(
        (column) =>
          `SELECT count(*), COUNT(${column}) AS "n of", min(${name}.${column}), Max(${column}) FROM ${name} WHERE true`,
      )
      for (const sql of [
        ...statements,
        `SELECT count(*) FROM main.${name}`,
        `FROM ${name} x SELECT count(x.s), count(f)`,
      ]) {
        const [found, read] = [await answer(sql, true), await answer(sql, false)]
        expect({ sql, columns: found.columns, rows: found.rows }).toEqual({
          sql,
          columns: read.columns,
          rows: read.rows,
        })
        expect(read.isKnown).toBe(false)
        if (found.isKnown) known++
        expect(found.stats.filesPruned).toBe(found.isKnown ? files.length : read.stats.filesPruned)
        const column = /COUNT\((\w+)\)/.exec(sql)?.[1]
        const mustBeKnown = column === undefined || (KNOWN.includes(column) && !isOdd)
        if (mustBeKnown) expect({ sql, isKnown: found.isKnown }).toEqual({ sql, isKnown: true })
        if (column !== undefined && !KNOWN.includes(column) && files.some(({ nulls }) => nulls < 10))
          expect({ sql, isKnown: found.isKnown }).toEqual({ sql, isKnown: false })
      }
    }),
    { numRuns: 8, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
  )
  expect(known).toBeGreaterThan(0)
})

test('a row that no engine is asked for has the bytes that the engine gives, in every format', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyFile, { maxLength: 3 }), async (files) => {
      const name = `t${++tables}`
      const table = await lake.createTable(name, COLUMNS)
      for (const file of files) await lake.addRows(table, select(file))
      const list = 'count(*), count(s) AS " of, ""s", max(l) AS "a\tb", min(i) AS _1, max(b) AS "max(b)", min(b) AS "ü"'
      const plan = await planOf(`SELECT ${list} FROM ${name}`, PLAIN)
      const row = plan.row ?? []
      expect(row.length).toBe(6)
      for (const format of ['json', 'jsonl', 'csv', 'tsv'] as const) {
        for (const wideNumbers of [false, true]) {
          const chunks: Uint8Array[] = []
          const query = { queryId: 'q', setup: [], sql: plan.sql ?? '', params: [], format, wideNumbers }
          const { columns } = await engine.query(
            { ...query, rowsMax: 10, bytesMax: 1e6, timeoutMs: 60_000 },
            { onChunk: (chunk) => void chunks.push(chunk) },
          )
          expect(columns).toEqual(columnsOfRow(row))
          expect(String(knownRowBytes(row, { format, wideNumbers }))).toBe(String(Buffer.concat(chunks)))
        }
      }
    }),
    { numRuns: 5, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
  )
  const of = (list: string) => planOf(`SELECT ${list} FROM t1`, PLAIN)
  // Names that come twice, formats of programs, and other types are the engine's.
  const twice = (await of('count(*) AS n, count(*) AS N')).row ?? []
  expect([twice.length, knownRowBytes(twice, { format: 'json' })]).toEqual([2, undefined])
  const [once] = twice
  expect((['arrow', 'parquet'] as const).map((format) => knownRowBytes([once], { format }))).toEqual([
    undefined,
    undefined,
  ])
  const table = await lake.createTable('dated', { on_day: 'date' })
  await lake.addRows(table, "SELECT DATE '2026-01-01'")
  const dated = await planOf('SELECT count(*), max(on_day) FROM dated', PLAIN)
  expect([dated.row, dated.sql === undefined]).toEqual([undefined, false])
  expect((await planOf('EXPLAIN SELECT count(*) FROM dated', PLAIN)).row).toBeUndefined()
})

test('what is not surely known is read', async () => {
  const table = await lake.createTable('later', { a: 'int', year: 'long', version: 'int' })
  await lake.addRows(table, 'SELECT 1, 2026, 3')
  const next = await lake.catalog.addSchema(table.tableId, 1, [
    { fieldId: table.schemas[0].columns[0].fieldId, name: 'a', type: { kind: 'long' }, required: false },
    { ...table.schemas[0].columns[2] },
    { fieldId: 40, name: 'b', type: { kind: 'int' }, required: false },
    { fieldId: 41, name: 'year', type: { kind: 'int' }, required: false },
  ])
  expect(next).toBeDefined()
  await lake.addRows(await lake.catalog.getTable(table.tableId), 'SELECT 5, 6, 7, 8')
  const statements: readonly (readonly [string, boolean])[] = [
    ['SELECT count(*) FROM later', true],
    ['SELECT count(year) FROM later', false],
    ['SELECT max(a) FROM later', false],
    ['SELECT count(b) FROM later', false],
    ['SELECT count("a") FROM later', false],
    ['SELECT count(version), count(LATER.Version) AS n FROM later', false],
    ['SELECT count(LATER._OFFSET), count(version) AS n, MIN(version) AS "Min" FROM later', true],
    ['SELECT count(later) FROM later', false],
    ['SELECT count(*) FROM later WHERE a > 1', false],
    ['SELECT count(*) FROM later WHERE false', false],
    ['SELECT count(*) FROM later LIMIT 0', false],
    ['SELECT count(*) FROM later HAVING count(*) > 5', false],
    ['SELECT count(*) FROM later GROUP BY a ORDER BY 1', false],
    ['SELECT count(DISTINCT a) FROM later', false],
    ['SELECT count(a) FILTER (WHERE a > 1) FROM later', false],
    ['SELECT count(*) OVER () FROM later', false],
    ['SELECT max(a, 1) FROM later', false],
    ['SELECT count(*) + 1 FROM later', false],
    ['SELECT count(*) FROM later, later x', false],
    ['SELECT count(*) FROM later USING SAMPLE 100%', false],
    ['WITH later AS (SELECT 1) SELECT count(*) FROM later', false],
    ['SELECT DISTINCT count(*) FROM later', false],
    ['SELECT count(*) AS "é", count(*) FROM later', true],
  ]
  for (const [sql, isKnown] of statements) {
    const [found, read] = [await answer(sql, true), await answer(sql, false)]
    expect({ sql, isKnown: found.isKnown }).toEqual({ sql, isKnown })
    expect([found.columns, found.rows]).toEqual([read.columns, read.rows])
  }
  await lake.commitFile(table, await lake.writeFile(table, 'SELECT 1, 2, 3'), { withBounds: false })
  expect((await answer('SELECT count(*), max(_offset) FROM later', true)).isKnown).toBe(false)
  expect((await answer('SELECT count(*) FROM later', true)).rows).toEqual([[3n]])
  await expect(answer('SELECT count(nosuch) FROM later', true)).rejects.toMatchObject({ code: 'undefined-column' })
})

test('EXPLAIN ANALYZE runs what runs: constants', async () => {
  const table = await lake.createTable('explained', { a: 'int' })
  await lake.addRows(table, 'SELECT 1 UNION ALL SELECT NULL')
  const { rows, stats } = await answer('EXPLAIN ANALYZE SELECT count(*), count(a) FROM explained', true)
  expect(String(rows[0].at(-1))).not.toContain('READ_PARQUET')
  expect([stats.files, stats.filesPruned, stats.bytesNeeded]).toEqual([1, 1, 0])
})
