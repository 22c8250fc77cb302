// What is written byte by byte is what the text of every value says, for every type and format.
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { plainLines } from './plain-lines.ts'
import { createLinesEncoder } from './result-lines.ts'

let connection: DuckDBConnection

beforeAll(async () => {
  const instance = await DuckDBInstance.create(':memory:', { threads: '1' })
  connection = await instance.connect()
})
afterAll(() => connection?.closeSync())

const FORMATS = ['json', 'jsonl', 'csv', 'tsv'] as const

async function compare(sql: string): Promise<number> {
  const result = await connection.run(sql)
  const [types, names] = [result.columnTypes(), result.deduplicatedColumnNames()]
  const ways = FORMATS.flatMap((format) =>
    [false, true].map((wideNumbers) => ({
      plain: plainLines(format, types, names, wideNumbers),
      written: createLinesEncoder(format, types, names, wideNumbers),
    })),
  )
  for (const { plain, written } of ways) expect(textOf(written.begin())).toBe(plain.head)
  let rows = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return rows
    rows += chunk.rowCount
    for (const { plain, written } of ways) {
      expect(textOf(written.encode(chunk, chunk.rowCount))).toBe(plain.lines(chunk, chunk.rowCount))
    }
  }
}

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? '' : new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
}

const DOUBLES = `[0, -0.0::DOUBLE, 1, -1, 0.1, 1e-4, 9.9999e-5, 1e-5, 1.5e-6, 1e-6, 9.99e-7, 1e-7, 1.25e-10, 5e-324, 1e15, 999999999999999.9,
  1e15 + 0.5, 123456789012345680, 1e16, 1.2345678901234567e20, 1e21, 1.7976931348623157e308, -1e16, 100, 1e2 + 1e-9, 0.30000000000000004,
  9007199254740993, 'NaN', 'Infinity', '-Infinity', NULL, 4.35, 2.5e-5, 0.00012345, 999999999.999999, -999999999.9999995, 1000000000.5]::DOUBLE[]`
const TIMES = `['2026-01-31 12:34:56', '1969-12-31 23:59:59.5', '2026-01-31 00:00:00.000001', '0001-01-01', '0001-01-01 (BC)', '0044-03-15 (BC)',
  '9999-12-31 23:59:59.999999', '10000-01-01', '294246-12-31 01:02:03.25', '275760-09-13 00:00:01', 'infinity', '-infinity', NULL, 'epoch',
  '2255-06-05 23:47:34.740992', '2255-06-05 23:47:34.740991', '2255-06-05 23:47:34.740993', '1684-07-28 00:12:25.259008', '1684-07-28 00:12:25.259007',
  '0000-12-31 23:59:59.999999', '1582-10-10', '2024-02-29 23:59:59.9', '1900-02-28 00:00:00.01', '-0001-05-05 01:01:01']`
const WHOLE = `[0, 1, -1, 9, 10, 99, 100, 127, -128, 32767, -32768, 65535, 999999999, 1000000000, 1000000001, 2147483647, -2147483648, 4294967295,
  4294967296, 562949953421311, 562949953421312, 999999999999999, 1000000000000000, 9007199254740991, 9007199254740992, 9007199254740993,
  999999999999999999, 1000000000000000000, 9223372036854775807, -9223372036854775808, -9223372036854775807, -4294967296, -4294967295, NULL]`
const TEXTS = `['', ' ', 'a', ' a', 'a ', 'a"b', 'a,b', E'a\\nb', E'\\r', chr(0), 'ä€😀', '\\u001F', '\\\\u000b', '"', '=1+1', NULL, 'null', 'NULL', '\\N', E'\\t',
  E'x\\\\y\\tz', chr(160) || 'x', 'x' || chr(8232), chr(127), 'thirteen "byte', 'twelve bytes', 'ü is no blank at either end ü', chr(12288) || 'beyond twelve']`

const STATEMENTS = [
  `SELECT unnest(${DOUBLES}) AS d`,
  `SELECT TRY_CAST(d AS FLOAT) AS f FROM (SELECT unnest(${DOUBLES}) AS d)`,
  'SELECT (hash(i)::DOUBLE / 1e19) * pow(10, (i % 640) - 320) AS d, -sqrt(i) AS e, i / 8 AS f, round(i / 7, 2) AS g FROM range(6000) r(i)',
  'SELECT round((hash(i)::DOUBLE / 1e19) * pow(10, i % 12), (i % 9)::INTEGER) * CASE WHEN i % 2 = 0 THEN -1 ELSE 1 END AS d FROM range(9000) r(i)',
  ...['', '_S', '_MS', '_NS'].map(
    (unit) => `SELECT TRY_CAST(t AS TIMESTAMP${unit}) AS t FROM (SELECT unnest(${TIMES}) AS t)`,
  ),
  `SELECT TRY_CAST(t AS TIMESTAMP)::TIMESTAMPTZ AS t, TRY_CAST(t AS TIMESTAMP)::DATE AS d FROM (SELECT unnest(${TIMES}) AS t)`,
  `SELECT unnest(['2026-01-31', '0001-01-01', '0001-01-01 (BC)', '0002-12-31 (BC)', '9999-12-31', '10000-01-01', '300000-01-01', 'infinity', '-infinity', NULL]::DATE[]) AS d`,
  "SELECT TIMESTAMP '1600-01-01' + to_microseconds((hash(i) % 28000000000000000)::BIGINT) AS t, (hash(i) % 99999)::INTEGER::UINTEGER AS u FROM range(5000) r(i)",
  "SELECT DATE '0000-01-01' + ((hash(i) % 3652425)::INTEGER) AS d, make_timestamp_ns((hash(i) >> 1)::BIGINT) AS n FROM range(5000) r(i)",
  ...[
    'TINYINT',
    'UTINYINT',
    'SMALLINT',
    'USMALLINT',
    'INTEGER',
    'UINTEGER',
    'BIGINT',
    'UBIGINT',
    'HUGEINT',
    'UHUGEINT',
    'BIGNUM',
  ].map((type) => `SELECT TRY_CAST(v AS ${type}) AS v FROM (SELECT unnest(${WHOLE}::HUGEINT[]) AS v)`),
  'SELECT hash(i) AS u, (hash(i) >> (i % 64)) AS v, ((hash(i) >> 1)::BIGINT >> (i % 63)) * CASE WHEN i % 2 = 0 THEN -1 ELSE 1 END AS b FROM range(9000) r(i)',
  ...['4,2', '4,4', '9,0', '9,9', '18,0', '18,1', '18,9', '18,10', '18,18', '38,0', '38,20'].map(
    (
      type,
    ) => `SELECT TRY_CAST(v AS DECIMAL(${type})) / 1 AS x, TRY_CAST(v AS DECIMAL(${type})) AS v, TRY_CAST(v / 1000000007 AS DECIMAL(${type})) AS w
       FROM (SELECT unnest(${WHOLE}::HUGEINT[]) AS v)`,
  ),
  'SELECT ((hash(i) % 2000000000000000) / 1000 - 1000000000000)::DECIMAL(18, 4) AS d, ((hash(i) % 20000) / 100 - 99)::DECIMAL(5, 2) AS e FROM range(6000) r(i)',
  `SELECT chr(i::INTEGER) AS c, 'a' || chr(i::INTEGER) || 'b' AS d, chr(i::INTEGER) || 'x' AS e, 'x' || chr(i::INTEGER) AS f
     FROM range(1, 12400) r(i)`,
  // Every byte of ASCII at every place of the words that texts are copied in, alone and beside characters of more bytes.
  `SELECT repeat('a', p::INTEGER) || chr(c::INTEGER) || repeat('é', q::INTEGER) AS s, repeat('😀', q::INTEGER) || repeat('ü', p::INTEGER) || chr(c::INTEGER) AS t
     FROM range(6) a(p), range(0, 128) b(c), range(3) d(q)`,
  // More than a mebibyte of text in a chunk.
  `SELECT repeat(chr(1), 300000) || repeat('"', 300000) || repeat(chr(9) || chr(92) || ',', 300000) || chr(92) AS s, 'x' AS after FROM range(2)`,
  `SELECT unnest(${TEXTS}) AS s`,
  `SELECT repeat(s, n::INTEGER) AS s FROM (SELECT unnest(${TEXTS}) AS s), range(5) r(n)`,
  `SELECT unnest([true, false, NULL]) AS b, 'x'::ENUM('x', 'y "z"') AS en, '{"a": "b"}'::JSON AS j, NULL::BIGINT AS n, NULL AS nothing`,
  'SELECT uuid() AS u, md5(i::VARCHAR)::UUID AS v FROM range(3000) r(i)',
  `SELECT unnest(['00000000-0000-4000-8000-0000000000AB', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '00000000-0000-0000-0000-000000000000', NULL]::UUID[]) AS u`,
  `SELECT i AS "a ""quoted"" 'name'", i AS "ü,", 'x' AS "{", NULL AS "null" FROM range(3) r(i)`,
  'SELECT i, i, i FROM range(5) r(i)',
  `SELECT unnest([INTERVAL '1 year 2 days 3.5 seconds', INTERVAL '-5 months', INTERVAL 0 DAY, NULL]) AS iv, '\\xFF\\x00a'::BLOB AS bl,
     '10101'::BIT AS bi, TIME '24:00:00' AS t1, TIME '00:00:00.000001' AS t2, '12:34:56+02'::TIMETZ AS t3`,
  `SELECT [i, NULL] AS list, {a: i, "b ""c": 'x' || chr(10), d: NULL} AS struct, MAP {'k"': 1.5, 'l': NULL} AS m, [i, 1]::BIGINT[2] AS arr,
     CASE WHEN i % 2 = 0 THEN union_value(num := i) END AS un, [{a: [0.1::FLOAT, 'NaN'::FLOAT]}] AS deep, 'NaN'::DOUBLE AS n FROM range(5) r(i)`,
  'SELECT NULL::INTEGER[] AS l, NULL::STRUCT(a INTEGER) AS s, NULL::MAP(VARCHAR, INTEGER) AS m, []::INTEGER[] AS e FROM range(3)',
  'SELECT 1 AS a WHERE false',
  'DESCRIBE SELECT 1 AS a, 2.5 AS b',
]

test.each(STATEMENTS)('%s', async (sql) => {
  await compare(sql)
})

test('a byte order mark at the start of a text is part of it', async () => {
  const result = await connection.run("SELECT chr(65279) || 'x' AS s, chr(65279) || ' more than twelve bytes' AS t")
  const chunk = (await result.fetchChunk())!
  const encoder = createLinesEncoder('csv', result.columnTypes(), result.columnNames())
  expect(textOf(encoder.encode(chunk, 1))).toBe('"\ufeffx","\ufeff more than twelve bytes"\r\n')
})

/** Of a number of 63 bits, `h`. */
const EXPRESSIONS = [
  'h % 2 = 0',
  '(h % 256 - 128)::TINYINT',
  '(h % 4294967296 - 2147483648)::INTEGER',
  '(h >> (h % 60)::INTEGER) - 1000',
  'hash(i)',
  'h::HUGEINT * h::HUGEINT',
  '(h % 2000000000000000 - 1000000000000000) / 1000',
  '(h::DOUBLE * 1.5e-7)',
  '(h % 100000 / 100)::FLOAT',
  '((h % 2000000) / 100 - 9999)::DECIMAL(12, 2)',
  '((h % 1000000000000000000))::DECIMAL(18, 0)',
  "DATE '1970-01-01' + (h % 4000000 - 800000)::INTEGER",
  "TIMESTAMP '1970-01-01' + to_microseconds(h - 4611686018427387904)",
  "TIMESTAMPTZ '2026-01-01' + to_microseconds(h % 10000000000)",
  'make_timestamp_ns(h)',
  'md5(i::VARCHAR)::UUID',
  "substr('äöü€😀 \"quoted\", \\ ' || chr(9) || chr(10) || 'and more than twelve bytes', (h % 30)::INTEGER, (h % 41)::INTEGER)",
  'repeat(chr((h % 255 + 1)::INTEGER), (h % 20)::INTEGER)',
  'to_microseconds(h % 100000000000)',
  '[h, NULL]',
  "{a: h, b: 'x'}",
  'encode(h::VARCHAR)',
] as const

test('random columns with random NULLs in chunks of all sizes', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...EXPRESSIONS), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 0, max: 5000 }),
      fc.integer({ min: 1, max: 20 }),
      fc.nat(1e9),
      async (expressions, rows, nulls, seed) => {
        const columns = expressions.map(
          (expression, index) =>
            `CASE WHEN (h + ${index}) % ${nulls} = 0 THEN NULL ELSE ${expression} END AS ${JSON.stringify(`c${index}`)}`,
        )
        const found = await compare(
          `SELECT ${columns.join(', ')} FROM (SELECT i, (hash(i + ${seed}) >> 1)::BIGINT AS h FROM range(${rows}) r(i))`,
        )
        expect(found).toBe(rows)
      },
    ),
    { numRuns: 8 },
  )
})
