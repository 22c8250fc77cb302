// Results as Parquet and TSV, wide numbers, and progress: read back by pyarrow and by another DuckDB.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { runPython } from '../../test/harness/python.ts'
import { createEngine } from './create-engine.ts'
import type { Engine, EngineProgress, EngineQuery } from './engine.ts'

let folder: string
let engine: Engine

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-formats-'))
  engine = createEngine({
    settings: {
      name: 'test',
      memoryBytes: 256 * 1024 * 1024,
      threads: 2,
      spillFolder: join(folder, 'spill'),
      spillBytes: 64 * 1024 * 1024,
      folders: [join(folder, 'data')],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(async () => {
  await engine.close()
  rmSync(folder, { recursive: true, force: true })
})

async function ask(
  sql: string,
  options: Partial<EngineQuery> = {},
  onProgress?: (progress: EngineProgress) => void,
): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  await engine.query(
    {
      queryId: 'q',
      setup: [],
      sql,
      params: [],
      format: 'json',
      rowsMax: 1_000_000,
      bytesMax: 1_000_000_000,
      timeoutMs: 60_000,
      ...options,
    },
    { onChunk: (chunk) => void chunks.push(chunk), ...(onProgress ? { onProgress } : {}) },
  )
  return Buffer.concat(chunks)
}

/** The same value, of the type that DuckDB reads from the file. */
const EXACT: readonly (readonly [sql: string, readAs: string])[] = [
  ['true', 'BOOLEAN'],
  ['(-128)::TINYINT', 'TINYINT'],
  ['(-32768)::SMALLINT', 'SMALLINT'],
  ['(-2147483648)::INTEGER', 'INTEGER'],
  ['9223372036854775807::BIGINT', 'BIGINT'],
  ['255::UTINYINT', 'UTINYINT'],
  ['65535::USMALLINT', 'USMALLINT'],
  ['4294967295::UINTEGER', 'BIGINT'],
  ['18446744073709551615::UBIGINT', 'DECIMAL(20,0)'],
  ['(-99999999999999999999999999999999999999)::HUGEINT', 'DECIMAL(38,0)'],
  ['0.1::FLOAT', 'FLOAT'],
  ["'NaN'::DOUBLE", 'DOUBLE'],
  ["'-inf'::DOUBLE", 'DOUBLE'],
  ['(-0.05)::DECIMAL(4,2)', 'DECIMAL(4,2)'],
  ['123456789.01::DECIMAL(18,2)', 'DECIMAL(18,2)'],
  ['(-12345678901234567890123.45)::DECIMAL(38,2)', 'DECIMAL(38,2)'],
  ["DATE '0001-01-01'", 'DATE'],
  ["TIME '23:59:59.999999'", 'TIME'],
  ["TIMESTAMP '1969-12-31 23:59:59.5'", 'TIMESTAMP'],
  ["TIMESTAMPTZ '2026-01-31 12:34:56+02'", 'TIMESTAMP WITH TIME ZONE'],
  ["'2026-01-31 00:00:01'::TIMESTAMP_S", 'TIMESTAMP'],
  ["'2026-01-31 00:00:01.123'::TIMESTAMP_MS", 'TIMESTAMP'],
  ["'2026-01-31 00:00:01.123456789'::TIMESTAMP_NS", 'TIMESTAMP_NS'],
  ["'naïve 🦆'", 'VARCHAR'],
  ["''", 'VARCHAR'],
  ["'\\x00\\xFF'::BLOB", 'BLOB'],
  ["'5f0c8a9e-1b1a-4c7e-8d7e-0123456789ab'::UUID", 'UUID'],
  ["{'a': 1::TINYINT, 'b': [NULL, 'x'], 'c': NULL::INT}", 'STRUCT(a TINYINT, b VARCHAR[], c INTEGER)'],
  ['[]::INT[]', 'INTEGER[]'],
  ['[[1, NULL], NULL, []]', 'INTEGER[][]'],
  ['[1.5, 2.5]::DOUBLE[2]', 'DOUBLE[]'],
  ["MAP {'k': {'deep': [1::HUGEINT]}, 'l': NULL}", 'MAP(VARCHAR, STRUCT(deep DECIMAL(38,0)[]))'],
]

/** Read as text, as JSON has them. */
const AS_TEXT: readonly (readonly [sql: string, text: string])[] = [
  ["INTERVAL '1 year 2 days 3.5 seconds'", 'P1Y2DT3.5S'],
  ["'b'::ENUM('a', 'b')", 'b'],
  ["'101'::BIT", '101'],
  ['union_value(n := 7::BIGINT)', '"7"'],
  ["TIMETZ '10:00:00+01'", '10:00:00+01'],
]

test('parquet: every type with NULL beside it comes back from DuckDB, and pyarrow reads it', async () => {
  const all = [...EXACT, ...AS_TEXT].map(([sql]) => sql)
  // DuckDB has no CASE over arrays of a fixed length.
  const nullOf = (sql: string) => (sql.endsWith('[2]') ? 'NULL::DOUBLE[2]' : `CASE WHEN r % 2 = 0 THEN ${sql} END`)
  const select = all.flatMap((sql, i) => [`${sql} AS v${i}`, `${nullOf(sql)} AS n${i}`]).join(', ')
  const sql = `SELECT ${select} FROM range(5) t(r)`
  const file = join(folder, 'types.parquet')
  writeFileSync(file, await ask(sql, { format: 'parquet' }))
  const found = (await runPython(
    {
      text: `
import duckdb, json, sys, pyarrow.parquet as pq
file, sql, exact = sys.argv[1], sys.argv[2], int(sys.argv[3])
con = duckdb.connect()
con.execute("SET TimeZone='UTC'")
types = [row[1] for row in con.execute(f"DESCRIBE FROM '{file}'").fetchall()]
columns = [f'{p}{i}' for i in range(exact) for p in 'vn']
# The read value, cast to the type that went in, is that value.
differ = []
for c in columns:
    n = con.execute(f'''SELECT count(*) FROM (SELECT {c} AS a FROM ({sql})) POSITIONAL JOIN
      (SELECT {c} AS b FROM '{file}') WHERE a::VARCHAR IS DISTINCT FROM b::VARCHAR AND a IS DISTINCT FROM b''').fetchone()[0]
    if n: differ.append(c)
table = pq.read_table(file)
rest = [c for c in table.column_names if c not in columns]
print(json.dumps({'types': types[0:2*exact:2], 'differ': differ, 'rows': table.num_rows,
  'nulls': sorted({table.column(c).null_count for c in table.column_names}),
  'text': [table.column(c)[0].as_py() for c in rest if c.startswith('v')],
  'arrow': [str(table.schema.field(c).type) for c in ('v1', 'v5', 'v8', 'v22', 'v26')]}))`,
    },
    [file, sql, String(EXACT.length)],
  )) as Record<string, unknown>
  expect(found).toEqual({
    types: EXACT.map(([, readAs]) => readAs),
    differ: [],
    rows: 5,
    nulls: [0, 2, 5],
    text: AS_TEXT.map(([, text]) => text),
    arrow: ['int8', 'uint8', 'decimal128(20, 0)', 'timestamp[ns]', 'extension<arrow.uuid>'],
  })
})

test('parquet: many row groups, and no rows at all; a hugeint beyond 38 digits is refused', async () => {
  const many = join(folder, 'many.parquet')
  const none = join(folder, 'none.parquet')
  writeFileSync(
    many,
    await ask("SELECT i, 't' || i % 1000 AS t, [i, NULL] AS l FROM range(300000) r(i)", { format: 'parquet' }),
  )
  writeFileSync(none, await ask("SELECT 1 AS a, {'x': 1} AS s WHERE false", { format: 'parquet' }))
  const found = await runPython(
    {
      text: `
import json, sys, pyarrow.parquet as pq
many, none = pq.ParquetFile(sys.argv[1]), pq.read_table(sys.argv[2])
table = many.read()
print(json.dumps([many.num_row_groups, table.num_rows, sum(table['i'].to_pylist()), table['t'][299999].as_py(),
  table['l'][299999].as_py(), none.num_rows, none.column_names]))`,
    },
    [many, none],
  )
  expect(found).toEqual([3, 300_000, 44_999_850_000, 't999', [299_999, null], 0, ['a', 's']])
  await expect(ask('SELECT (10::HUGEINT * 99999999999999999999999999999999999999)', { format: 'parquet' }))
    .rejects //
    .toMatchObject({ code: 'value-out-of-range' })
})

test('tsv: a row a line, whatever is in it', async () => {
  const text = await ask(
    `SELECT 'a\tb' AS "x\ty", E'back\\\\slash\nnext\r' AS z, NULL AS n, '' AS e, [1::BIGINT] AS l`,
    {
      format: 'tsv',
    },
  )
  expect(text.toString()).toBe('x\\ty\tz\tn\te\tl\na\\tb\tback\\\\slash\\nnext\\r\t\\N\t\t["1"]\n')
})

test('wide numbers are numbers with all their digits when asked for, inside nested values too', async () => {
  const sql = `SELECT 9007199254740993 AS b, 12.50::DECIMAL(9,2) AS d, (10::HUGEINT * 10000000000000000000000000000) AS h,
    18446744073709551615::UBIGINT AS u, {'b': 9007199254740993, 'l': [1.10::DECIMAL(5,2)]} AS s, 1.5::DOUBLE AS f`
  expect((await ask(sql, { wideNumbers: true })).toString()).toBe(
    '[9007199254740993,12.50,100000000000000000000000000000,18446744073709551615,{"b":9007199254740993,"l":[1.10]},1.5]',
  )
  expect((await ask(sql, { format: 'jsonl' })).toString()).toBe(
    '{"b":"9007199254740993","d":"12.50","h":"100000000000000000000000000000","u":"18446744073709551615","s":{"b":"9007199254740993","l":["1.10"]},"f":1.5}\n',
  )
})

test('a long query tells how far it is', async () => {
  const told: EngineProgress[] = []
  await ask('SELECT count(DISTINCT hash(i)) FROM range(8000000) r(i)', {}, (progress) => void told.push(progress))
  expect(told.length).toBeGreaterThan(0)
  expect(told.every(({ percent = 0 }) => percent >= 0 && percent <= 100)).toBe(true)
  expect(told.every(({ rowsScanned }) => rowsScanned >= 0)).toBe(true)
})
