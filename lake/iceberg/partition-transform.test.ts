// Transforms against the vectors of the Iceberg spec (appendix B), and the SQL of each against TypeScript (in DuckDB).
import { DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ColumnType, parseColumnType } from '../../schemas/column-type.ts'
import type { PartitionTransform } from '../catalog/catalog.ts'
import type { PartitionValue } from './iceberg.ts'
import { murmur3 } from './murmur3.ts'
import { bucketOf, partitionValue, transformSql } from './partition-transform.ts'
import { decimalBytes } from './single-value.ts'

const typed = (text: string): ColumnType => parseColumnType(text)!
// A bucket count of 2^31 - 1 shows the whole hash.
const hash = (text: string, value: PartitionValue) => bucketOf(typed(text), value, 0x7fffffff)

test('buckets are those of the spec', () => {
  const masked = (spec: number) => (spec & 0x7fffffff) % 0x7fffffff
  expect(hash('int', 34)).toBe(masked(2017239379))
  expect(hash('long', 34n)).toBe(masked(2017239379))
  expect(hash('decimal(9,2)', 1420n)).toBe(masked(-500754589))
  expect(hash('date', 17486)).toBe(masked(-653330422))
  expect(hash('time', 81_068_000_000n)).toBe(masked(-662762989))
  expect(hash('timestamp', 1_510_871_468_000_000n)).toBe(masked(-2047944441))
  expect(hash('timestamptz', 1_510_871_468_000_001n)).toBe(masked(-1207196810))
  expect(hash('string', 'iceberg')).toBe(masked(1210000089))
  expect(hash('uuid', 'f79c3e09-677c-4bbd-a479-3f349cb785e7')).toBe(masked(1488055340))
  expect(hash('binary', Uint8Array.of(0, 1, 2, 3))).toBe(masked(-188683207))
  expect(bucketOf(typed('int'), null, 16)).toBe(null)
  expect(murmur3(new Uint8Array())).toBe(0)
})

test('times before 1970 are floored, not cut', () => {
  const of = (kind: 'hour' | 'day' | 'month', type: string, value: PartitionValue) =>
    partitionValue({ kind }, typed(type), value)
  expect(of('hour', 'timestamp', -1n)).toBe(-1)
  expect(of('hour', 'timestamp', -3_600_000_000n)).toBe(-1)
  expect(of('hour', 'timestamp', -3_600_000_001n)).toBe(-2)
  expect(of('day', 'timestamptz', -1n)).toBe(-1)
  expect(of('month', 'date', -1)).toBe(-1)
  expect(of('month', 'date', 17501)).toBe(575)
  expect(of('month', 'timestamp', -1n)).toBe(-1)
  expect(of('day', 'date', null)).toBe(null)
})

test('truncation goes down, and by code points', () => {
  const of = (width: number, type: string, value: PartitionValue) =>
    partitionValue({ kind: 'truncate', width }, typed(type), value)
  expect(of(10, 'int', -1)).toBe(-10)
  expect(of(10, 'long', 9_223_372_036_854_775_807n)).toBe(9_223_372_036_854_775_800n)
  expect(of(50, 'decimal(9,2)', 1065n)).toBe(1050n)
  expect(of(50, 'decimal(9,2)', -5n)).toBe(-50n)
  expect(of(2, 'string', '😀😀😀')).toBe('😀😀')
})

test('decimals are the shortest two’s complement', () => {
  const hex = (value: bigint) => Buffer.from(decimalBytes(value)).toString('hex')
  expect([0n, 127n, 128n, -128n, -129n, 1420n].map(hex)).toEqual(['00', '7f', '0080', '80', 'ff7f', '058c'])
})

test('SQL gives the same ordinal as TypeScript', async () => {
  const instance = await DuckDBInstance.create(':memory:')
  const connection = await instance.connect()
  try {
    await connection.run(`SET TimeZone = 'Asia/Kolkata'`)
    const micros = fc.sample(fc.bigInt({ min: -60_000_000_000_000_000n, max: 200_000_000_000_000_000n }), 200)
    const edges = [0n, -1n, 1n, -3_600_000_000n, -3_600_000_001n, -86_400_000_000n, -86_400_000_001n]
    const longs = fc.sample(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), 100)
    const texts = ['', 'a', 'abc', '😀😀😀', 'São', 'e\u0301e\u0301']
    const check = async (kind: string, transform: PartitionTransform, literals: [PartitionValue, string][]) => {
      const type = typed(kind)
      const sql = transformSql(transform, 'v', type)
      const rows = literals.map(([, literal], i) => `(${i}, ${literal})`).join(', ')
      const result = await connection.runAndReadAll(
        `SELECT CAST(${sql} AS VARCHAR) FROM (VALUES ${rows}) t(i, v) ORDER BY i`,
      )
      const found = result.getRows().map(([value]) => value)
      expect(found, `${transform.kind}(${kind})`).toEqual(
        literals.map(([value]) => String(partitionValue(transform, type, value))),
      )
    }
    const stamps = [...edges, ...micros]
    for (const kind of ['hour', 'day', 'month'] as const) {
      await check(
        'timestamp',
        { kind },
        stamps.map((v) => [v, `make_timestamp(${v})`]),
      )
      await check(
        'timestamptz',
        { kind },
        stamps.map((v) => [v, `make_timestamptz(${v})`]),
      )
    }
    const days = [0, -1, 1, -365, 17501, -25567, 80000]
    for (const kind of ['day', 'month'] as const) {
      await check(
        'date',
        { kind },
        days.map((v) => [v, `DATE '1970-01-01' + ${v}`]),
      )
    }
    for (const width of [1, 7, 1000]) {
      const transform = { kind: 'truncate' as const, width }
      // The lowest longs have no multiple of the width below them that is a long: SQL and TypeScript agree there too.
      await check(
        'long',
        transform,
        longs.map((v) => [v, `CAST('${v}' AS BIGINT)`]),
      )
      await check(
        'string',
        transform,
        texts.map((v) => [v, `'${v}'`]),
      )
    }
    const cents = [0n, 5n, -5n, 1065n, -1065n, 999_999_999n]
    const decimal = typed('decimal(9,2)')
    const sql = transformSql({ kind: 'truncate', width: 50 }, 'v', decimal)
    const rows = cents.map((v, i) => `(${i}, CAST(${v} AS HUGEINT)::DECIMAL(18,0))`).join(', ')
    const result = await connection.runAndReadAll(
      `SELECT CAST(${sql} * 100 AS BIGINT) FROM (SELECT i, CAST(c / 100 AS DECIMAL(9,2)) AS v FROM (VALUES ${rows}) t(i, c)) ORDER BY i`,
    )
    expect(result.getRows().map(([value]) => value)).toEqual(
      cents.map((v) => partitionValue({ kind: 'truncate', width: 50 }, decimal, v)),
    )
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
})
