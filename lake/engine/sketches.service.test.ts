/** Sketches in the real engine: types, errors, and how far from exact they are, over many seeds. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { runPython } from '../../test/harness/python.ts'
import { codeOf, hashOfBytes, hashOfDouble, hashOfInteger, hashOfWide } from '../sketches/value-hash.ts'
import { createEngine } from './create-engine.ts'
import type { Engine } from './engine.ts'

/** Reads sketches as docs/reference/sketches.md describes their bytes. */
const OTHER_READER = `import json, struct, sys, zlib, pyarrow.parquet as pq
table = pq.read_table(sys.argv[1])
seen = []
for g, users, amounts in zip(*[table.column(name).to_pylist() for name in ('g', 'users', 'amounts')]):
    for sketch in (users, amounts):
        assert zlib.crc32(sketch[8:], zlib.crc32(sketch[:4])) == struct.unpack('<I', sketch[4:8])[0]
    codes = struct.unpack('<%dI' % ((len(users) - 8) // 4), users[8:])
    at, key, count = 24, 0, 0
    def varint():
        global at
        value, shift = 0, 0
        while True:
            byte = amounts[at]; at += 1
            value |= (byte & 127) << shift; shift += 7
            if byte < 128: return value
    while at < len(amounts):
        varint(); count += varint()
    seen.append([g, users[0:4].hex(), len(codes), amounts[0:4].hex(), *struct.unpack('<2d', amounts[8:24]), count])
print(json.dumps(seen))`

type Row = Readonly<Record<string, unknown>>

let folder: string
let engine: Engine
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-sketches-'))
  mkdirSync(join(folder, 'data'))
  engine = createEngine({
    settings: {
      name: 'test',
      memoryBytes: 1024 * 1024 * 1024,
      threads: 2,
      spillFolder: join(folder, 'spill'),
      spillBytes: 64 * 1024 * 1024,
      folders: [join(folder, 'data')],
      mode: 'compaction',
    },
    world: createTestWorld(),
  })
})
afterAll(async () => {
  await engine.close()
  rmSync(folder, { recursive: true, force: true })
})

const one = async (sql: string): Promise<Row> => (await engine.run(sql))[0]
const asText = (number: unknown) => (typeof number !== 'number' || Number.isFinite(number) ? number : String(number))
const value = async (sql: string): Promise<unknown> => Object.values(await one(sql))[0]

describe('a value has one hash, as value-hash.ts defines it', () => {
  const integer = (n: bigint) => codeOf(hashOfInteger(n))
  const text = (s: string) => codeOf(hashOfBytes(Buffer.from(s)))
  const long = 'https://example.com/a?id=12345'
  const micros = BigInt(Date.UTC(2020, 0, 1)) * 1000n
  const decimal = hashOfWide(1_500_000_000_000_000_000n)
  const cases: readonly (readonly [string, number])[] = [
    ...['TINYINT', 'SMALLINT', 'INTEGER', 'BIGINT', 'HUGEINT'].map((type) => [`-7::${type}`, integer(-7n)] as const),
    ...['UTINYINT', 'USMALLINT', 'UINTEGER', 'UBIGINT', 'UHUGEINT'].map((type) => [`7::${type}`, integer(7n)] as const),
    ['9223372036854775807', integer(9223372036854775807n)],
    ['18446744073709551615::UBIGINT', text('18446744073709551615')],
    ['18446744073709551615::HUGEINT', text('18446744073709551615')],
    ['true', integer(1n)],
    ['false', integer(0n)],
    ['0.25::FLOAT', codeOf(hashOfDouble(0.25))],
    ['0.25::DOUBLE', codeOf(hashOfDouble(0.25))],
    ["'-0.0'::DOUBLE", codeOf(hashOfDouble(0))],
    ["'NaN'::DOUBLE", codeOf(hashOfDouble(Number.NaN))],
    ["-'NaN'::DOUBLE", codeOf(hashOfDouble(Number.NaN))],
    ["'-inf'::FLOAT", codeOf(hashOfDouble(Number.NEGATIVE_INFINITY))],
    ["''", text('')],
    ["'é日本'", text('é日本')],
    ["'é日本'::ENUM ('a', 'é日本')", text('é日本')],
    [`'${'x'.repeat(15)}'`, text('x'.repeat(15))],
    [`'${'x'.repeat(16)}'`, text('x'.repeat(16))],
    [`'${long}'`, text(long)],
    [`'${long}'::BLOB`, text(long)],
    [`'abc'::BLOB`, text('abc')],
    [`'"abc"'::JSON`, text('"abc"')],
    ['1.5::DECIMAL(2, 1)', codeOf(decimal)],
    ['1.50::DECIMAL(18, 2)', codeOf(decimal)],
    ['1.5::DECIMAL(38, 3)', codeOf(decimal)],
    ['-1.5::DECIMAL(9, 1)', codeOf(hashOfWide(-1_500_000_000_000_000_000n))],
    ['1.5::DECIMAL(38, 30)', text(`1.5${'0'.repeat(29)}`)],
    ['12345678901234567890123.5::DECIMAL(38, 1)', text('12345678901234567890123.5')],
    ["DATE '2020-01-01'", integer(micros)],
    ["TIMESTAMP '2020-01-01'", integer(micros)],
    ["TIMESTAMPTZ '2020-01-01 01:00:00+01'", integer(micros)],
    ["TIMESTAMP_MS '2020-01-01'", integer(micros)],
    ["TIMESTAMP_S '2020-01-01'", integer(micros)],
    ["TIMESTAMP_NS '2020-01-01'", integer(micros * 1000n)],
    ["TIME '00:00:01'", integer(1_000_000n)],
    [
      "'f47ac10b-58cc-4372-a567-0e02b2c3d479'::UUID",
      codeOf(hashOfWide(0xf47ac10b58cc4372a5670e02b2c3d479n ^ (1n << 127n))),
    ],
  ]

  test.each(cases)('%s', async (sql, code) => {
    const bytes = (await value(`SELECT hll_build(x) FROM (SELECT ${sql} AS x)`)) as Uint8Array
    expect(Buffer.from(bytes).readUInt32LE(8)).toBe(code)
    expect(bytes).toHaveLength(12)
  })

  test('thousands of random numbers and texts', async () => {
    const { codes, numbers, words, wordCodes } = await one(`
      WITH t AS (SELECT (hash(i) >> 1)::BIGINT AS n, substr(md5(i::VARCHAR) || md5((i + 1)::VARCHAR), 1, (i % 60)::INT) AS w
        FROM range(5000) t(i))
      SELECT list(hash(millrace_value_hash(n))::FLOAT::DOUBLE) AS codes, list(n::VARCHAR) AS numbers, list(w) AS words,
        list(hash(millrace_value_hash(w))::FLOAT::DOUBLE) AS wordCodes FROM t`)
    const bits = (float: number) => new Uint32Array(Float32Array.of(float).buffer)[0]
    expect((codes as number[]).map(bits)).toEqual((numbers as string[]).map((n) => integer(BigInt(n))))
    expect((wordCodes as number[]).map(bits)).toEqual((words as string[]).map(text))
  })

  test.each(['[1, 2]', '{a: 1}', 'MAP {1: 2}', 'INTERVAL 1 DAY', "'101'::BIT"])('%s has none', async (sql) => {
    await expect(engine.run(`SELECT hll_build(x) FROM (SELECT ${sql} AS x)`)).rejects.toThrow(
      'hll_build: expected a plain value, found',
    )
  })
})

describe('as aggregates', () => {
  test('NULL is left out, no value at all makes an empty sketch', async () => {
    expect(
      await one(`SELECT hll_estimate(hll_build(x)) AS d, quantile_sketch_count(quantile_sketch_build(x)) AS n,
        quantile_sketch_estimate(quantile_sketch_build(x), 0.5) AS q FROM (VALUES (1), (NULL), (2), (2)) t(x)`),
    ).toEqual({ d: 2n, n: 3n, q: 2 })
    const nothing = await one(`SELECT hll_estimate(hll_build(x)) AS d, octet_length(hll_build(x)) AS bytes,
      hll_estimate(hll_merge(hll_build)) AS m, quantile_sketch_count(quantile_sketch_build(x)) AS n,
      quantile_sketch_estimate(quantile_sketch_build(x), 0.5) AS q, quantile_sketch_min(quantile_sketch_build(x)) AS min
      FROM (SELECT NULL::INT AS x, NULL::BLOB AS hll_build WHERE false)`)
    expect(nothing).toEqual({ d: 0n, bytes: 8n, m: 0n, n: 0n, q: null, min: null })
    expect(
      await one('SELECT hll_estimate(NULL) AS a, hll_union(NULL, NULL) AS b, quantile_sketch_sum(NULL) AS c'),
    ).toEqual({ a: null, b: null, c: null })
    expect(await value('SELECT hll_estimate(hll_build(NULL))')).toBe(0n)
  })

  test('they work in GROUP BY, ROLLUP, HAVING, ORDER BY, subqueries and over frames', async () => {
    const rows = await engine.run(`
      SELECT g, hll_estimate(hll_build(i)) AS d, quantile_sketch_estimate(quantile_sketch_build(i), [0, 1]) AS q
      FROM (SELECT i % 3 AS g, i % 50 AS i FROM range(300) t(i)) GROUP BY ROLLUP (g)
      HAVING hll_estimate(hll_build(i)) > 0 ORDER BY hll_estimate(hll_build(i)), g NULLS LAST`)
    expect(rows).toEqual([0n, 1n, 2n, null].map((g) => ({ g, d: 50n, q: [0, 49] })))
    const moving = await engine.run(`SELECT hll_estimate(hll_union(a, b)) AS d FROM (
      SELECT s AS a, lag(s) OVER (ORDER BY g) AS b, g FROM (
        SELECT i // 10 AS g, hll_build(i) AS s FROM range(30) t(i) GROUP BY g)) ORDER BY g`)
    expect(moving.map(({ d }) => d)).toEqual([10n, 20n, 20n])
  })

  test('stored sketches are the same bytes, merge across rows, and are read by others', async () => {
    const file = join(folder, 'data', 'rollup.parquet')
    await engine.run(`COPY (SELECT i % 100 AS g, hll_build(i // 2) AS users, quantile_sketch_build(i * 0.5) AS amounts
      FROM range(100000) t(i) GROUP BY g ORDER BY g) TO '${file}' (FORMAT parquet)`)
    const merged = await one(`SELECT hll_merge(users) = (SELECT hll_build(i // 2) FROM range(100000) t(i)) AS same,
      quantile_sketch_merge(amounts) = (SELECT quantile_sketch_build(i * 0.5) FROM range(100000) t(i)) AS sameAmounts,
      hll_estimate(hll_merge(users)) AS d, quantile_sketch_count(quantile_sketch_merge(amounts)) AS n,
      quantile_sketch_max(quantile_sketch_merge(amounts)) AS max FROM read_parquet('${file}')`)
    expect(merged).toMatchObject({ same: true, sameAmounts: true, n: 100_000n, max: 49_999.5 })
    expect(Math.abs(Number(merged.d) / 50_000 - 1)).toBeLessThan(0.05)
    const seen = (await runPython({ text: OTHER_READER }, [file])) as unknown[][]
    expect(seen).toHaveLength(100)
    expect(seen[7]).toEqual([7, '01480c00', 1000, '01510600', 3.5, 49_953.5, 1000])
  })

  test('of one set of values, whatever the order and the number of threads, the bytes are the same', async () => {
    const rows = await engine.run(`SELECT md5(hll_build(x)) || md5(quantile_sketch_build(x)) AS all
      FROM (SELECT s, x FROM range(3) r(s), (SELECT i * 1.25 AS x FROM range(200000) t(i)) ORDER BY hash(s, x)) GROUP BY s`)
    expect(new Set(rows.map((row) => row.all)).size).toBe(1)
  })

  test('the names of other systems', async () => {
    expect(
      await one(`SELECT hll_cardinality(hll_combine(s)) AS a, hll_cardinality(hll_union_agg(s)) AS b FROM (
        SELECT hll_accumulate(i) AS s FROM range(10) t(i) UNION ALL SELECT hll_add_agg(i) FROM range(20) t(i)
        UNION ALL SELECT approx_set(i) FROM range(5) t(i))`),
    ).toEqual({ a: 20n, b: 20n })
  })

  test.each([
    ["hll_estimate('abc'::BLOB)", 'hll_estimate: expected a sketch of distinct values, found 3 bytes'],
    ["hll_estimate('\\x02H\\x0C\\x00abcdefgh'::BLOB)", 'expected a sketch of version 1, found version 2'],
    ["hll_estimate(hll_merge('\\x01H\\x0C\\x00abcdefgh'::BLOB))", 'hll_merge: the sketch is damaged'],
    ['hll_estimate(quantile_sketch_build(1))', 'expected a sketch of distinct values, found a sketch of quantiles'],
    ['quantile_sketch_merge(hll_build(1))', 'expected a sketch of quantiles, found a sketch of distinct values'],
    ['hll_build(1, 30)', 'hll_build: precision: expected 8 to 18, found 30'],
    ['quantile_sketch_estimate(quantile_sketch_build(1), 50)', 'expected a number from 0 to 1, found 50'],
    ['quantile_sketch_estimate(quantile_sketch_build(1), [0.5, 95])', 'expected a number from 0 to 1, found 95'],
    ["millrace_hll_of(['NaN'::FLOAT, -1], 12)", 'is not the code of a hash'],
  ])('%s is refused with a reason', async (sql, message) => {
    await expect(
      engine.run(
        `SELECT ${sql.replace(/\bquantile_sketch_merge\(hll_build/, 'quantile_sketch_union(NULL, hll_build')}`,
      ),
    ).rejects.toThrow(message)
    expect(await value('SELECT 1')).toBe(1)
  })
})

test('an answer that is cut off or cancelled while sketches are asked leaves the engine well', async () => {
  const ask = (rowsMax: number, signal?: AbortSignal) =>
    engine.query(
      {
        queryId: 'q',
        setup: [],
        sql: 'SELECT hll_estimate(s) AS n FROM (SELECT hll_build(i) AS s FROM range(200) t(i)), range(300000)',
        params: [],
        format: 'jsonl',
        rowsMax,
        bytesMax: 1e9,
        timeoutMs: 60_000,
      },
      { onChunk: () => {} },
      signal,
    )
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask(5)))
  expect(answers.map(({ rowCount, truncated }) => [rowCount, truncated])).toEqual(answers.map(() => [5, true]))
  const stopping = new AbortController()
  const cancelled = ask(1e9, stopping.signal)
  stopping.abort()
  await expect(cancelled).rejects.toMatchObject({ code: 'query-cancelled' })
  expect(await value('SELECT hll_estimate(hll_build(i)) FROM range(500) t(i)')).toBe(500n)
})

/** 1.04 / √4096, for sketches of the usual precision. */
const STANDARD_ERROR = 1.04 / 64
const SEEDS = 200

type Errors = { readonly rms: number; readonly p99: number; readonly mean: number; readonly worst: number }

/** Of 200 sketches, each of its own `size` values; `key` is SQL over `seed` and `i`. */
async function distinctErrors(size: number, key: string, rowsPerValue = 1): Promise<Errors> {
  const seedsAtOnce = Math.max(1, Math.min(SEEDS, Math.floor(4_000_000 / Math.max(1, size * rowsPerValue))))
  const errors: number[] = []
  for (let from = 0; from < SEEDS; from += seedsAtOnce) {
    const to = Math.min(SEEDS, from + seedsAtOnce)
    const rows = await engine.run(`SELECT hll_estimate(hll_build(${key})) AS n
      FROM range(${from}, ${to}) s(seed), range(${size * rowsPerValue}) r(i) GROUP BY seed`)
    for (const { n } of rows) errors.push(Number(n) / size - 1)
  }
  errors.sort((a, b) => Math.abs(a) - Math.abs(b))
  const sum = (of: (error: number) => number) => errors.reduce((all, error) => all + of(error), 0)
  expect(errors).toHaveLength(SEEDS)
  return {
    rms: Math.sqrt(sum((error) => error * error) / SEEDS),
    p99: Math.abs(errors[Math.ceil(0.99 * SEEDS) - 1]),
    mean: sum((error) => error) / SEEDS,
    worst: Math.abs(errors[SEEDS - 1]),
  }
}

describe(`distinct values, ${SEEDS} seeds for each size, against the number of values that there are`, () => {
  test.each([1, 2, 10, 100])('%i values are counted exactly', async (size) => {
    expect(await distinctErrors(size, 'seed * 1000000 + i')).toEqual({ rms: 0, p99: 0, mean: 0, worst: 0 })
  })

  test('1000 values are counted exactly, or one is missed', async () => {
    const { rms, worst } = await distinctErrors(1000, 'seed * 1000000 + i')
    expect(worst).toBeCloseTo(0.001, 10)
    expect(rms).toBeLessThan(0.0002)
  })

  test.each([
    [2_000, 'whole numbers', 'seed * 1000000 + i', 1],
    [10_000, 'whole numbers', 'seed * 1000000 + i', 1],
    [100_000, 'whole numbers', 'seed * 1000000 + i', 1],
    [1_000_000, 'whole numbers', 'seed * 1000000 + i', 1],
    [10_000, 'multiples of 2^32', '(seed * 10000 + i) * 4294967296', 1],
    [10_000, 'seconds as timestamps', 'make_timestamp((seed * 1000000 + i) * 1000000)', 1],
    [10_000, 'short texts', "'user-' || (seed * 1000000 + i)", 1],
    [10_000, 'long texts', "'https://example.com/' || (i % 100) || '/item-' || seed || '-' || (i // 100)", 1],
    [10_000, 'cents', '((seed * 1000000 + i) / 100)::DOUBLE', 1],
    [5_000, 'a few values in most of the rows', 'seed * 1000000 + if(i < 5000, i, (i % 7)::BIGINT)', 20],
  ])('%i values: %s', async (size, _, key, rowsPerValue) => {
    const { rms, p99, mean } = await distinctErrors(size, key, rowsPerValue)
    // Of 200 seeds the root of the mean square is within 15 % of the truth 999 times of 1000.
    expect(rms).toBeLessThan(1.15 * STANDARD_ERROR)
    expect(p99).toBeLessThan(3.3 * STANDARD_ERROR)
    expect(Math.abs(mean)).toBeLessThan(0.25 * STANDARD_ERROR)
  })

  test('in precision 14, a hundred thousand values', async () => {
    const rows = await engine.run(`SELECT hll_estimate(hll_build(seed * 1000000 + i, 14)) / 1e5 - 1 AS error
      FROM range(40) s(seed), range(100000) r(i) GROUP BY seed`)
    for (const { error } of rows) expect(Math.abs(Number(error))).toBeLessThan(4.5 * (1.04 / 128))
  })
})

describe('quantiles are at most 1/128 away from what quantile_disc gives', () => {
  test.each([
    ['uniform', 'r * 1000'],
    ['lognormal, three powers of ten', 'exp(r * 7 - 2)'],
    ['Pareto', '(1 - r) ^ -0.8'],
    ['both signs', '(r - 0.5) * 1e6'],
    ['whole numbers, mostly the same', 'if(r < 0.9, 200, (r * 100000)::INT)'],
    ['1e-300 to 1e-270', '1e-300 * 10 ^ (r * 30)'],
  ])('%s', async (_, expression) => {
    await engine.run(`CREATE OR REPLACE TABLE t AS SELECT seed, (${expression})::DOUBLE AS x
      FROM (SELECT (i % 200)::INT AS seed, (hash(i) >> 11) / 9007199254740992 AS r FROM range(400000) t(i))`)
    const shares = '[0, 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1]'
    const rows =
      await engine.run(`SELECT list_max(list_transform(list_zip(a, b), lambda p: abs(p[1] - p[2]) / greatest(abs(p[2]), 1e-305))) AS worst
      FROM (SELECT quantile_sketch_estimate(quantile_sketch_build(x), ${shares}) AS a, quantile_disc(x, ${shares}) AS b FROM t GROUP BY seed)
      ORDER BY worst DESC`)
    expect(rows).toHaveLength(200)
    expect(rows[0].worst).toBeLessThanOrEqual(1 / 128)
  })

  test('also with NaN, infinities and zeros of both signs', async () => {
    const values = "(VALUES ('NaN'::DOUBLE), ('inf'), ('-inf'), (0), ('-0.0'), (-4)) t(x)"
    const [at, least] = ['[0, 0.2, 0.5, 0.8, 1]', Number.NEGATIVE_INFINITY]
    const { a, b } = await one(`SELECT quantile_sketch_estimate(quantile_sketch_build(x), ${at}) AS a,
      quantile_disc(x, ${at}) AS b FROM ${values}`)
    expect(b).toEqual([least, -4, expect.closeTo(0), Number.POSITIVE_INFINITY, Number.NaN].map(asText))
    expect(a).toEqual([least, -4.03125, 0, Number.POSITIVE_INFINITY, Number.NaN].map(asText))
  })
})
