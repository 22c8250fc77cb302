import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  DuckDBBlobValue,
  type DuckDBConnection,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBInstance,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  DuckDBTimeValue,
  DuckDBUUIDValue,
} from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ColumnType, formatColumnType, SIMPLE_KINDS } from '../../schemas/column-type.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import { parseFooter } from './footer.ts'
import type { ParquetFooter, WriteParquetOptions } from './parquet.ts'
import { type SampleColumn, type SampleValue, sampleBatch, sampleVector } from './sample-batches.ts'
import { writeParquet } from './write.ts'

const OPTIONS: WriteParquetOptions = { compression: 'zstd', level: 1, rowGroupRows: 122_880, keyValues: {} }
const SQL_TYPES: Record<string, string> = {
  boolean: 'BOOLEAN',
  int: 'INTEGER',
  long: 'BIGINT',
  float: 'FLOAT',
  double: 'DOUBLE',
  date: 'DATE',
  time: 'TIME',
  timestamp: 'TIMESTAMP',
  timestamptz: 'TIMESTAMP WITH TIME ZONE',
  string: 'VARCHAR',
  uuid: 'UUID',
  binary: 'BLOB',
  json: 'VARCHAR',
}
const LONG_MIN = -(2n ** 63n)
const LONG_MAX = 2n ** 63n - 1n

let folder: string
let connection: DuckDBConnection
let files = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-parquet-'))
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
})

afterAll(() => {
  connection.closeSync()
  rmSync(folder, { recursive: true })
})

function sqlType(type: ColumnType): string {
  return type.kind === 'decimal' ? `DECIMAL(${type.precision},${type.scale})` : SQL_TYPES[type.kind]
}

function writeFile(columns: readonly SampleColumn[], options: Partial<WriteParquetOptions> = {}): string {
  const file = join(folder, `${files++}.parquet`)
  writeFileSync(file, writeParquet(sampleBatch(columns), { ...OPTIONS, ...options }).bytes)
  return file
}

async function rows(sql: string): Promise<readonly unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows() as unknown[][]
}

/** DuckDB's value in the form of `SampleValue`. */
function plain(value: unknown, type: ColumnType): SampleValue {
  if (value === null) return null
  if (value instanceof DuckDBDecimalValue) return value.value
  if (value instanceof DuckDBTimestampValue || value instanceof DuckDBTimestampTZValue) return value.micros
  if (value instanceof DuckDBTimeValue) return value.micros
  if (value instanceof DuckDBDateValue) return value.days
  if (value instanceof DuckDBUUIDValue) return value.toString()
  if (value instanceof DuckDBBlobValue) return new Uint8Array(value.bytes)
  if (type.kind === 'binary') throw new Error(`a blob was expected, found ${String(value)}`)
  return value as SampleValue
}

async function readBack(file: string, columns: readonly SampleColumn[]): Promise<SampleValue[][]> {
  const described = await rows(`DESCRIBE SELECT * FROM read_parquet('${file}')`)
  expect(described.map((row) => [row[0], row[1]])).toEqual(columns.map((each) => [each.name, sqlType(each.type)]))
  const found = await rows(`SELECT * FROM read_parquet('${file}')`)
  return columns.map(({ type }, i) => found.map((row) => plain(row[i], type)))
}

async function expectSame(columns: readonly SampleColumn[], options: Partial<WriteParquetOptions> = {}) {
  const found = await readBack(writeFile(columns, options), columns)
  columns.forEach((column, i) => {
    expect(found[i], formatColumnType(column.type)).toEqual(column.values)
  })
}

function footerOf(bytes: Uint8Array): ParquetFooter {
  const footer = parseFooter(bytes, bytes.length)
  if ('needBytes' in footer) throw new Error('the whole file was given')
  return footer
}

const EXTREMES: Record<string, readonly SampleValue[]> = {
  boolean: [true, false, false, true, true],
  int: [0, -1, 2147483647, -2147483648, 7],
  long: [0n, -1n, LONG_MAX, LONG_MIN, 9007199254740993n],
  float: [
    0,
    -0,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Math.fround(0.1),
    1.401298464324817e-45,
  ],
  double: [0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.1, 5e-324, -1.7976931348623157e308],
  date: [0, -1, -25567, 2932896, -719162],
  time: [0n, 1n, 86_399_999_999n, 43_200_000_000n],
  timestamp: [0n, -1n, -2_208_988_800_000_000n, 253_402_300_799_999_999n],
  timestamptz: [0n, -1n, -2_208_988_800_000_000n, 253_402_300_799_999_999n],
  string: ['', 'a', 'ü', '東京', '𝒳🚀', 'x'.repeat(200), '\u0000', '\uffff'],
  uuid: [
    '00000000-0000-0000-0000-000000000000',
    'ffffffff-ffff-ffff-ffff-ffffffffffff',
    '01234567-89ab-cdef-8123-456789abcdef',
  ],
  binary: [new Uint8Array(), Uint8Array.of(0), Uint8Array.of(255, 0, 128), new Uint8Array(100).fill(255)],
  json: ['{}', '{"a":[1,null,"é"]}', 'null', '""'],
}

describe('what is written is what DuckDB reads, value by value and type by type', () => {
  for (const kind of SIMPLE_KINDS) {
    test(`${kind}: extremes, with nulls among them, required and all null`, async () => {
      const values = EXTREMES[kind]
      const withNulls = values.flatMap((value) => [value, null])
      await expectSame([{ name: 'c', type: { kind }, values, required: true }])
      await expectSame([{ name: 'c', type: { kind }, values: withNulls }])
      await expectSame([{ name: 'c', type: { kind }, values: values.map(() => null) }])
      await expectSame([{ name: 'c', type: { kind }, values: withNulls }], { rowGroupRows: 3, compression: 'none' })
    })
  }

  test('decimals of every width', async () => {
    for (let precision = 1; precision <= 38; precision++) {
      const largest = 10n ** BigInt(precision) - 1n
      const type: ColumnType = { kind: 'decimal', precision, scale: precision >> 1 }
      await expectSame([{ name: 'c', type, values: [0n, largest, null, -largest, 1n, -1n] }])
    }
  })

  test('no rows, one row, exactly one row group, one row more', async () => {
    for (const count of [0, 1, 8, 9, 16, 17]) {
      const values = Array.from({ length: count }, (_, i) => BigInt(i * i))
      await expectSame(
        [
          { name: 'n', type: { kind: 'long' }, values },
          { name: 's', type: { kind: 'string' }, values: values.map((n) => (n % 2n === 0n ? null : `v${n}`)) },
        ],
        { rowGroupRows: 8 },
      )
    }
  })

  test('row groups that do not begin at a byte of the validity bits', async () => {
    const numbers = Array.from({ length: 1000 }, (_, i) => i)
    await expectSame(
      [
        { name: 'b', type: { kind: 'boolean' }, values: numbers.map((i) => (i % 3 === 0 ? null : i % 2 === 0)) },
        { name: 'r', type: { kind: 'boolean' }, required: true, values: numbers.map((i) => i % 5 === 0) },
        { name: 's', type: { kind: 'string' }, values: numbers.map((i) => (i % 7 === 0 ? null : `text ${i}`)) },
      ],
      { rowGroupRows: 333 },
    )
  })

  test('dictionaries of every index width, runs and changes mixed', async () => {
    for (const distinct of [1, 2, 3, 5, 17, 200, 1000]) {
      const values = Array.from({ length: 6000 }, (_, i) => {
        const inRun = i % 1000 < 400
        return inRun ? `v${Math.floor(i / 1000) % distinct}` : `v${(i * 7919) % distinct}`
      })
      await expectSame([
        { name: 's', type: { kind: 'string' }, values },
        { name: 'n', type: { kind: 'long' }, values: values.map((each) => BigInt(each.slice(1)) - 3n) },
        {
          name: 'o',
          type: { kind: 'int' },
          values: values.map((each, i) => (i % 11 === 0 ? null : Number(each.slice(1)))),
        },
      ])
    }
  })

  test('deltas of every width up to the widest that pays', async () => {
    for (let bits = 1; bits <= 51; bits += 5) {
      const step = 2 ** bits
      const values = Array.from(
        { length: 700 },
        (_, i) => BigInt(i * 1000) + BigInt(Math.floor(((i * 0.618034) % 1) * step)),
      )
      await expectSame([
        { name: 'n', type: { kind: 'long' }, values },
        { name: 't', type: { kind: 'timestamptz' }, values: values.map((n, i) => (i % 13 === 0 ? null : n)) },
      ])
    }
  })

  test('texts of many pages', async () => {
    const values = Array.from({ length: 3000 }, (_, i) => `${i}-${'abcdefghij'.repeat((i * 31) % 200)}`)
    await expectSame([{ name: 's', type: { kind: 'string' }, values: values.map((v, i) => (i % 4 === 0 ? null : v)) }])
  })

  test('random schemas and rows', async () => {
    const anyType: fc.Arbitrary<ColumnType> = fc.oneof(
      fc.constantFrom(...SIMPLE_KINDS).map((kind): ColumnType => ({ kind })),
      fc
        .tuple(fc.integer({ min: 1, max: 38 }), fc.nat(38))
        .map(([precision, scale]): ColumnType => ({ kind: 'decimal', precision, scale: Math.min(scale, precision) })),
    )
    const anyColumn = (count: number) =>
      fc.tuple(anyType, fc.boolean()).chain(([type, required]) => {
        const value = required ? anyValue(type) : fc.option(anyValue(type), { nil: null })
        return fc.array(value, { minLength: count, maxLength: count }).map((values) => ({ type, required, values }))
      })
    const anyBatch = fc
      .tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 6 }))
      .chain(([count, width]) => fc.array(anyColumn(count), { minLength: width, maxLength: width }))
    await fc.assert(
      fc.asyncProperty(anyBatch, fc.integer({ min: 1, max: 70 }), async (columns, rowGroupRows) => {
        await expectSame(
          columns.map((column, i) => ({ ...column, name: `c${i}` })),
          { rowGroupRows },
        )
      }),
      { numRuns: 120 },
    )
  })
})

function anyValue(type: ColumnType): fc.Arbitrary<SampleValue> {
  switch (type.kind) {
    case 'boolean':
      return fc.boolean()
    case 'int':
      return fc.integer()
    case 'date':
      return fc.integer({ min: -700_000, max: 2_000_000 })
    case 'float':
      return fc.float()
    case 'double':
      return fc.double()
    case 'long':
      return fc.oneof(fc.bigInt({ min: LONG_MIN, max: LONG_MAX }), fc.bigInt({ min: 0n, max: 1000n }))
    case 'time':
      return fc.bigInt({ min: 0n, max: 86_399_999_999n })
    case 'timestamp':
    case 'timestamptz':
      return fc.bigInt({ min: -(2n ** 55n), max: 2n ** 57n })
    case 'decimal': {
      const largest = 10n ** BigInt(type.precision) - 1n
      return fc.bigInt({ min: -largest, max: largest })
    }
    case 'uuid':
      return fc.uuid()
    case 'binary':
      return fc.uint8Array({ maxLength: 40 })
    default:
      return fc.string({ unit: 'binary', maxLength: 40 })
  }
}

describe('the footer says exactly what is in the file', () => {
  test('types, field ids, key-values, null counts', () => {
    const batch = sampleBatch([
      { name: 'id', type: { kind: 'long' }, required: true, values: [3n, -5n] },
      { name: 'price', type: { kind: 'decimal', precision: 20, scale: 3 }, values: [-1n, null] },
      { name: 'at', type: { kind: 'timestamp' }, values: [null, null] },
    ])
    const written = writeParquet(batch, { ...OPTIONS, keyValues: { table: 'flights', 'schema-id': '1' } })
    const footer = footerOf(written.bytes)
    expect(footer.rowCount).toBe(2)
    expect([...footer.keyValues]).toEqual([
      ['table', 'flights'],
      ['schema-id', '1'],
    ])
    expect(footer.columns).toEqual([
      { path: 'id', fieldId: 16, physical: 'INT64', typeLength: undefined, logical: undefined, repetition: 'REQUIRED' },
      {
        path: 'price',
        fieldId: 17,
        physical: 'FIXED_LEN_BYTE_ARRAY',
        typeLength: 9,
        logical: 'DECIMAL(20,3)',
        repetition: 'OPTIONAL',
      },
      {
        path: 'at',
        fieldId: 18,
        physical: 'INT64',
        typeLength: undefined,
        logical: 'TIMESTAMP(MICROS,false)',
        repetition: 'OPTIONAL',
      },
    ])
    expect(footer.rowGroups[0].chunks.map((chunk) => chunk.statistics?.nullCount)).toEqual([0, 1, 2])
    expect(footer.rowGroups[0].chunks.map((chunk) => chunk.end - chunk.start)).toEqual(written.columnBytes)
    expect(written.bounds).toEqual([
      { fieldId: 16, nullCount: 0, lower: long(-5n), upper: long(3n) },
      { fieldId: 17, nullCount: 1, lower: Uint8Array.of(255), upper: Uint8Array.of(255) },
      { fieldId: 18, nullCount: 2, lower: undefined, upper: undefined },
    ])
  })

  test('long texts: cut bounds, the upper one above every value, never exact', () => {
    const low = `${'a'.repeat(70)}low`
    const high = `${'z'.repeat(15)}${'🚀'.repeat(20)}`
    const written = writeParquet(sampleBatch([{ name: 's', type: { kind: 'string' }, values: [high, low] }]), OPTIONS)
    const statistics = footerOf(written.bytes).rowGroups[0].chunks[0].statistics
    expect(Buffer.from(statistics?.min ?? []).toString()).toBe('a'.repeat(64))
    expect(statistics?.minExact).toBe(false)
    expect(Buffer.from(statistics?.max ?? []).toString()).toBe(`${'z'.repeat(15)}${'🚀'.repeat(11)}🚁`)
    expect(statistics?.maxExact).toBe(false)
    expect(Buffer.from(written.bounds[0].lower ?? []).toString()).toBe('a'.repeat(16))
    expect(Buffer.from(written.bounds[0].upper ?? []).toString()).toBe(`${'z'.repeat(15)}🚁`)
  })

  test('a text of the last code point has no upper bound; one before the surrogates steps over them', () => {
    const last = '\u{10ffff}'.repeat(17)
    const before = '\ud7ff'.repeat(17)
    const bounds = (value: string) =>
      writeParquet(sampleBatch([{ name: 's', type: { kind: 'string' }, values: [value] }]), OPTIONS).bounds[0]
    expect(bounds(last).upper).toBeUndefined()
    expect(Buffer.from(bounds(before).upper ?? []).toString()).toBe(`${'\ud7ff'.repeat(15)}\ue000`)
  })

  test('NaN is no bound, and zero is bounded on both sides', () => {
    const double = (...values: number[]) =>
      writeParquet(sampleBatch([{ name: 'd', type: { kind: 'double' }, values }]), OPTIONS).bounds[0]
    expect(double(Number.NaN, Number.NaN)).toEqual({ fieldId: 16, nullCount: 0, lower: undefined, upper: undefined })
    const zero = double(Number.NaN, 0)
    expect(Object.is(Buffer.from(zero.lower ?? []).readDoubleLE(), -0)).toBe(true)
    expect(Object.is(Buffer.from(zero.upper ?? []).readDoubleLE(), 0)).toBe(true)
    expect(Object.is(Buffer.from(double(-0).upper ?? []).readDoubleLE(), 0)).toBe(true)
  })

  test('filters on cut and typed statistics find their rows in DuckDB', async () => {
    const long = (i: number) => `${'k'.repeat(80)}${String(i).padStart(4, '0')}`
    const numbers = Array.from({ length: 300 }, (_, i) => i)
    const file = writeFile(
      [
        { name: 's', type: { kind: 'string' }, values: numbers.map(long) },
        {
          name: 'u',
          type: { kind: 'uuid' },
          values: numbers.map((i) => `${'0'.repeat(7)}${i % 10}-0000-0000-0000-${String(i).padStart(12, 'f')}`),
        },
        { name: 'p', type: { kind: 'decimal', precision: 25, scale: 2 }, values: numbers.map((i) => BigInt(i - 150)) },
      ],
      { rowGroupRows: 50 },
    )
    expect(await rows(`SELECT count(*) FROM '${file}' WHERE s = '${long(77)}'`)).toEqual([[1n]])
    expect(await rows(`SELECT min(s), max(s) FROM '${file}'`)).toEqual([[long(0), long(299)]])
    expect(await rows(`SELECT count(*) FROM '${file}' WHERE p < 0`)).toEqual([[150n]])
    expect(await rows(`SELECT count(*) FROM '${file}' WHERE p = -0.01`)).toEqual([[1n]])
    const uuid = '00000007-0000-0000-0000-fffffffff277'
    expect(await rows(`SELECT count(*) FROM '${file}' WHERE u = '${uuid}'::UUID`)).toEqual([[1n]])
  })
})

test('the hidden columns of a topic-partition cost next to nothing', () => {
  const count = 10_000
  const values = [
    Array.from({ length: count }, () => 'kafka:flights:4L6g3nShT-eMCtK--X86sw'),
    Array.from({ length: count }, () => 3),
    Array.from({ length: count }, (_, i) => 1_000_000n + BigInt(i)),
    Array.from({ length: count }, (_, i) => 1_760_000_000_000_000n + BigInt(Math.floor(i / 20)) * 1000n),
    Array.from({ length: count }, (_, i) => 1_760_000_000_100_000n + BigInt(Math.floor(i / 500)) * 10_000n),
  ]
  const vectors = HIDDEN_COLUMNS.map((column, i) => sampleVector(column, values[i]))
  const written = writeParquet({ schema: { schemaId: 1, columns: HIDDEN_COLUMNS }, rowCount: count, vectors }, OPTIONS)
  const bytesPerRow = written.columnBytes.reduce((sum, bytes) => sum + bytes, 0) / count
  expect(bytesPerRow).toBeLessThan(0.5)
})

test('a batch that does not hold what it says is a bug, not a file', () => {
  const [whole] = sampleBatch([{ name: 'n', type: { kind: 'long' }, values: [1n, null, 3n] }]).vectors
  const schema = { schemaId: 1, columns: [whole.column] }
  const broken = [
    { ...whole, length: 2 },
    { ...whole, data: whole.data.subarray(0, 23) },
    { ...whole, validity: undefined },
    { ...whole, nullCount: 2 },
    { ...whole, column: { ...whole.column, required: true } },
  ]
  for (const vector of broken) {
    const write = () => writeParquet({ schema, rowCount: 3, vectors: [vector] }, OPTIONS)
    expect(write).toThrow(expect.objectContaining({ code: 'invariant-broken' }))
  }
  const tooWide = sampleBatch([{ name: 'd', type: { kind: 'decimal', precision: 9, scale: 0 }, values: [2n ** 40n] }])
  expect(() => writeParquet(tooWide, OPTIONS)).toThrow(expect.objectContaining({ code: 'invariant-broken' }))
})

describe('footers', () => {
  const sample = writeParquet(
    sampleBatch([
      { name: 'a', type: { kind: 'string' }, values: ['x', null, 'y'] },
      { name: 'b', type: { kind: 'decimal', precision: 30, scale: 2 }, values: [1n, 2n, null] },
    ]),
    { ...OPTIONS, rowGroupRows: 2, keyValues: { k: 'v' } },
  ).bytes

  test('a tail that is too short says what is needed', () => {
    const whole = footerOf(sample)
    const { length } = sample
    expect(parseFooter(sample.subarray(length - 8), length)).toEqual({ needBytes: whole.footerBytes })
    expect(parseFooter(sample.subarray(length - 3), length)).toEqual({ needBytes: 8 })
    expect(parseFooter(sample.subarray(length - whole.footerBytes), length)).toEqual(whole)
  })

  test('damage is file-damaged, whatever the bytes', () => {
    const parse = (bytes: Uint8Array) => {
      try {
        parseFooter(bytes, bytes.length)
      } catch (error) {
        if (!isMillraceError(error, 'file-damaged')) throw error
      }
    }
    for (let end = 0; end < sample.length; end++) parse(sample.subarray(0, end))
    const { footerBytes } = footerOf(sample)
    const flips = fc.array(fc.tuple(fc.nat(footerBytes - 1), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(flips, (changes) => {
        const bytes = sample.slice()
        for (const [at, value] of changes) bytes[sample.length - 1 - at] = value
        parse(bytes)
      }),
      { numRuns: 3000 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 20, maxLength: 200 }), (noise) => {
        const bytes = Buffer.concat([noise, Buffer.alloc(4), Buffer.from('PAR1')])
        bytes.writeUInt32LE(noise.length - 4, noise.length)
        parse(bytes)
      }),
      { numRuns: 2000 },
    )
  })

  test('what DuckDB writes is read: nested leaves, its statistics, its bloom filters', async () => {
    const file = join(folder, 'duckdb.parquet')
    await connection.run(
      `COPY (SELECT i::INT AS n, 'v' || (i % 50) AS s, {'x': i, 'y': [i]} AS nested, i::UTINYINT AS u, now()::TIMESTAMP_NS AS t
             FROM range(200) r(i)) TO '${file}' (FORMAT parquet, FIELD_IDS {n: 5, s: 6})`,
    )
    const { readLocalFooter } = await import('./footer-file.ts')
    const footer = await readLocalFooter(file)
    expect(footer.rowCount).toBe(200)
    expect(
      footer.columns.map(({ path, fieldId, logical, repetition }) => [path, fieldId, logical, repetition]),
    ).toEqual([
      ['n', 5, 'INTEGER(32,true)', 'OPTIONAL'],
      ['s', 6, 'STRING', 'OPTIONAL'],
      ['nested.x', undefined, 'INTEGER(64,true)', 'OPTIONAL'],
      ['nested.y.list.element', undefined, 'INTEGER(64,true)', 'REPEATED'],
      ['u', undefined, 'INTEGER(8,false)', 'OPTIONAL'],
      ['t', undefined, 'TIMESTAMP(NANOS,false)', 'OPTIONAL'],
    ])
    const [first] = footer.rowGroups[0].chunks
    expect(Buffer.from(first.statistics?.max ?? []).readInt32LE()).toBe(199)
  })
})

function long(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, value, true)
  return bytes
}
