/**
 * Quantiles that share an aggregate are those that do not: values, names and types, on one thread, over random values of every
 * type with ties and NULLs. A failure prints the seed; MILLRACE_QUANTILES_SEED runs it again.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { sharableColumns, sharedQuantiles } from './shared-quantiles.ts'

const SEED = Number(process.env.MILLRACE_QUANTILES_SEED ?? Math.floor(Math.random() * 1e9))

let engine: Engine
beforeAll(() => {
  engine = createEngine({
    settings: {
      name: 'quantiles',
      memoryBytes: 512 * 1024 * 1024,
      threads: 1,
      spillFolder: join(tmpdir(), 'millrace-shared-quantiles-test'),
      spillBytes: 0,
      folders: [],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(() => engine.close())

async function run(setup: string, sql: string) {
  const rows: unknown[][] = []
  let columns: unknown
  await engine.query(
    { queryId: 'q', setup: [setup], sql, params: [], format: 'rows', rowsMax: 1e6, bytesMax: 1e9, timeoutMs: 60_000 },
    {
      onColumns: (given) => {
        columns = given
      },
      onChunk: () => {},
      onRows: (batch) => void rows.push(...batch.map((row) => [...row])),
    },
  )
  return { columns, rows }
}

const ALL = { isWord: () => false, isSharable: () => true }
const H = `(hash(r * 7919 + ${SEED}) % 5000)::BIGINT`
const VIEW = `CREATE TEMP VIEW t AS SELECT r % 7 AS g, CASE WHEN r % 7 = 6 OR r % 11 = 0 THEN NULL ELSE v END AS X, * EXCLUDE (r)
  FROM (SELECT r, ${H} AS v, ${H}::INTEGER AS i, ${H} / 7.0::DOUBLE AS d, (${H} / 7)::FLOAT AS f, ${H}::DECIMAL(12, 3) / 8 AS c,
    DATE '2026-01-01' + ${H}::INTEGER AS dy, make_timestamp(${H} * 1000003) AS m, make_timestamptz(${H} * 1000003) AS tz, CASE r % 50 WHEN 0 THEN 'nan'::DOUBLE WHEN 1 THEN 'inf'::DOUBLE WHEN 2 THEN '-inf'::DOUBLE ELSE ${H} / 3 END AS odd FROM range(4000) n(r))`

const shares = () => [0.5, 0.05, 0.95, 0.999].map((each, index) => (index === 3 ? '0.9990' : String(each)))

test.each(['X', 'i', 't.d', 'c', 'dy', 'tz', 'odd'])(`quantiles of %s (seed ${SEED})`, async (column) => {
  for (const name of ['approx_quantile', 'quantile_cont', 'QUANTILE_DISC']) {
    const list = shares().map((share) => `${name}(${column},${share})`)
    for (const sql of [
      `SELECT g, ${list.join(', ')} FROM t GROUP BY g ORDER BY ${list[0]}, g`,
      `SELECT ${list.join(', ')}, max(d) FROM t WHERE g > 100`,
      `WITH q AS (SELECT g, ${list[0]}, ${list[1]} AS low FROM t GROUP BY ALL HAVING ${list[2]} IS NOT NULL) SELECT * FROM q ORDER BY g`,
    ]) {
      const shared = sharedQuantiles(sql, ALL)
      expect(shared).toContain('[0.5, 0.05, 0.95')
      expect({ sql, ...(await run(VIEW, shared!)) }).toEqual({ sql, ...(await run(VIEW, sql)) })
    }
  }
})

test.each([
  'SELECT approx_quantile(d, 0.5) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(i, 0.9) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(d, 0.5) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(d, 0.9) FILTER (WHERE g > 1) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(d, 0.9) OVER () FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(DISTINCT d, 0.9) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(d, 0.9) + 1 FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(d, [0.9]) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile(d, 1) FROM t',
  'SELECT approx_quantile(d, 0.5), approx_quantile("d", 0.9) FROM t',
  "SELECT approx_quantile(d, 0.5), 'approx_quantile(d, 0.9)' FROM t -- approx_quantile(d, 0.9)",
  'PIVOT t ON g USING approx_quantile(d, 0.5) AS a, approx_quantile(d, 0.9) AS b',
])('left alone: %s', (sql) => {
  expect(sharedQuantiles(sql, ALL)).toBeUndefined()
})

test('words that DuckDB quotes are left alone', () => {
  const sql = 'SELECT approx_quantile(year, 0.5), approx_quantile(year, 0.9) FROM t'
  expect(sharedQuantiles(sql, { ...ALL, isWord: (name) => name === 'year' })).toBeUndefined()
})

test('only columns that are surely a table’s own, and not FLOAT', () => {
  const column = (name: string, kind: 'double' | 'float') => ({ name, type: { kind }, fieldId: 16, required: false })
  const tables = [
    { columns: [column('a', 'double'), column('B', 'double'), column('f', 'float'), column('x', 'double')] },
  ]
  const sharable = sharableColumns([...tables, { columns: [column('x', 'float')] }], new Set(['b']))
  expect(['a', 'b', 'f', 'x', 'nosuch'].filter(sharable)).toEqual(['a'])
  expect(sharableColumns(tables, undefined)('a')).toBe(false)
})
