// What DuckDB writes as text is, byte for byte, what the encoders in JavaScript write.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createEngine } from './create-engine.ts'
import type { Engine, EngineQuery } from './engine.ts'

let folder: string
let engine: Engine

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-text-'))
  engine = createEngine({
    settings: {
      name: 'test',
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1e9,
      folders: [folder],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(async () => {
  await engine?.close()
  rmSync(folder, { recursive: true, force: true })
})

async function ask(
  sql: string,
  options: Partial<EngineQuery>,
): Promise<{ text: string; rows: number; columns: unknown }> {
  const chunks: Uint8Array[] = []
  const query = {
    queryId: 'q',
    setup: [],
    sql,
    params: [],
    format: 'csv',
    rowsMax: 1e9,
    bytesMax: 1e9,
    timeoutMs: 6e4,
  } as const
  const { rowCount, columns } = await engine.query(
    { ...query, ...options },
    { onChunk: (chunk) => void chunks.push(Buffer.from(chunk)) },
  )
  return { text: Buffer.concat(chunks).toString(), rows: rowCount, columns }
}

async function compare(sql: string, options: Partial<EngineQuery> = {}): Promise<void> {
  for (const format of ['csv', 'jsonl', 'json'] as const) {
    const byDuckdb = await ask(sql, { ...options, format })
    // Small results are written in JavaScript.
    const byUs = await ask(sql, { ...options, format, isSmall: true })
    expect(byDuckdb).toEqual(byUs)
  }
}

const DOUBLES = `[0, -0.0::DOUBLE, 1, -1, 0.1, 1e-4, 9.9999e-5, 1e-5, 1.5e-6, 1e-6, 9.99e-7, 1e-7, 1.25e-10, 5e-324, 1e15, 999999999999999.9,
  1e15 + 0.5, 123456789012345680, 1e16, 1.2345678901234567e20, 1e21, 1.7976931348623157e308, -1e16, 100, 1e2 + 1e-9, 0.30000000000000004,
  9007199254740993, 'NaN', 'Infinity', '-Infinity', NULL, 4.35, 2.5e-5, 0.00012345]::DOUBLE[]`
const TIMES = `['2026-01-31 12:34:56', '1969-12-31 23:59:59.5', '2026-01-31 00:00:00.000001', '0001-01-01', '0001-01-01 (BC)', '0044-03-15 (BC)',
  '9999-12-31 23:59:59.999999', '10000-01-01', '294246-12-31 01:02:03.25', '275760-09-13 00:00:01', 'infinity', '-infinity', NULL, 'epoch']`

test.each([
  `SELECT unnest(${DOUBLES}) AS d`,
  'SELECT (hash(i)::DOUBLE / 1e19) * pow(10, (i % 640) - 320) AS d, -sqrt(i) AS e, i / 8 AS f, round(i / 7, 2) AS g FROM range(6000) r(i)',
  `SELECT unnest(${TIMES}::TIMESTAMP[]) AS t`,
  `SELECT unnest(${TIMES}::TIMESTAMP[])::TIMESTAMPTZ AS t`,
  `SELECT unnest(['2026-01-31', '0001-01-01', '0001-01-01 (BC)', '9999-12-31', '10000-01-01', '300000-01-01', 'infinity', '-infinity', NULL]::DATE[]) AS d`,
  "SELECT TIMESTAMP '1900-01-01' + to_microseconds((hash(i) % 8000000000000000)::BIGINT) AS t, (hash(i) % 99999)::INTEGER::UINTEGER AS u FROM range(5000) r(i)",
  `SELECT chr(i::INTEGER) AS c, 'a' || chr(i::INTEGER) || 'b' AS d, chr(i::INTEGER) || 'x' AS e, 'x' || chr(i::INTEGER) AS f
     FROM range(1, 12400) r(i) WHERE i < 55296`,
  `SELECT unnest(['', ' ', 'a', ' a', 'a ', 'a"b', 'a,b', E'a\\nb', E'\\r', chr(0), 'ä€😀', '\\u001F', '\\\\u000b', '"', '=1+1', NULL, 'null', 'NULL']) AS s`,
  `SELECT unnest([true, false, NULL]) AS b, 1::TINYINT AS t, (-5)::SMALLINT AS s, 255::UTINYINT AS ut, 18446744073709551615::UBIGINT AS ub,
     170141183460469231731687303715884105727::HUGEINT AS h, -9223372036854775808 AS l, -0.05::DECIMAL(10,2) AS d, 5::DECIMAL(4,0) AS e,
     '00000000-0000-4000-8000-0000000000AB'::UUID AS u, 'x'::ENUM('x', 'y "z"') AS en, '{"a": "b"}'::JSON AS j, NULL::BIGINT AS n`,
  `SELECT i AS "a ""quoted"" 'name'", i AS "ü,", 'x' AS "{", NULL AS "null" FROM range(3) r(i)`,
  'SELECT i FROM range(5) r(i) ORDER BY i DESC -- with a comment at its end;',
  'SELECT i FROM range(5) r(i);',
  'SELECT i, i FROM range(5) r(i)',
  'SELECT i, [i] AS list, {a: i} AS struct, 0.1::FLOAT AS f, INTERVAL 5 DAY AS iv FROM range(5) r(i)',
  'SELECT 1 AS a WHERE false',
  'FROM range(10)',
  'WITH a AS (SELECT 1 AS x) SELECT x, x + 1.5 AS y FROM a',
  "VALUES (1, 2.50, 'a'), (2, NULL, NULL)",
  'DESCRIBE SELECT 1 AS a, 2.5 AS b',
])('%s', async (sql) => {
  await compare(sql)
  await compare(sql, { wideNumbers: true, setup: ["SET TimeZone = 'America/New_York'"] })
})

test('many rows, cut to a number of rows, in order', async () => {
  const sql = `SELECT i, 'row ' || i AS s, i / 3 AS d, TIMESTAMPTZ '2026-01-01' + to_seconds(i) AS t,
    CASE WHEN i % 5 = 0 THEN NULL ELSE repeat('x', (i % 40)::INTEGER) END AS r FROM range(20000) r(i)`
  await compare(sql)
  await compare(sql, { rowsMax: 6_345 })
  await compare(`${sql} WHERE i >= $1 ORDER BY s DESC`, { params: [10_000] })
})

test('a statement that fails half-way is an error, with its reason', async () => {
  const sql = "SELECT CASE WHEN i = 150000 THEN error('late') ELSE i::VARCHAR END AS a FROM range(200000) r(i)"
  for (const isSmall of [true, false]) await expect(ask(sql, { isSmall })).rejects.toThrow('late')
})
