// Nested columns come back as they were written (G-8), whatever the nesting, and a reader that knows field ids finds them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  type ColumnType,
  fieldsWithin,
  formatColumnType,
  NESTING_MAX,
  parseColumnType,
} from '../../schemas/column-type.ts'
import { walkPages } from '../check/parquet-pages.ts'
import { duckdbType } from '../file-mapping.ts'
import { concatParquet, footerOf } from './concat.ts'
import type { SchemaNode, WriteParquetOptions } from './parquet.ts'
import { type SampleColumn, type SampleValue, sampleBatch } from './sample-batches.ts'
import { anyNestedType, anyValueOf, sampleOf } from './sample-nested.ts'
import { writeParquet } from './write.ts'

const OPTIONS: WriteParquetOptions = { compression: 'zstd', level: 1, rowGroupRows: 122_880, keyValues: {} }

let folder: string
let connection: DuckDBConnection
let files = 0

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-nested-'))
  connection = await (await DuckDBInstance.create(':memory:', { threads: '1' })).connect()
})

afterAll(() => {
  connection.closeSync()
  rmSync(folder, { recursive: true })
})

async function rows(sql: string): Promise<readonly unknown[][]> {
  return (await connection.runAndReadAll(sql)).getRows() as unknown[][]
}

async function readBack(bytes: Uint8Array, columns: readonly SampleColumn[]): Promise<SampleValue[][]> {
  const file = join(folder, `${files++}.parquet`)
  writeFileSync(file, bytes)
  const described = await rows(`DESCRIBE SELECT * FROM read_parquet('${file}')`)
  const types = await rows(
    `SELECT ${columns.map(({ type }) => `typeof(CAST(NULL AS ${duckdbType(type)}))`).join(', ')}`,
  )
  expect(described.map((row) => row[1])).toEqual(types[0])
  const found = await rows(`SELECT * FROM read_parquet('${file}')`)
  rmSync(file)
  return columns.map((_, i) => found.map((row) => sampleOf(row[i])))
}

function type(text: string): ColumnType {
  return parseColumnType(text)!
}

const anyColumn = (name: string) =>
  fc
    .record({ type: anyNestedType(4), required: fc.boolean() })
    .chain((field) =>
      fc.array(anyValueOf(field), { minLength: 0, maxLength: 40 }).map((values) => ({ name, ...field, values })),
    )

/** The same number of rows in each. */
const anyColumns = fc.tuple(anyColumn('one'), anyColumn('two')).map((columns): SampleColumn[] => {
  const rowCount = Math.min(...columns.map(({ values }) => values.length))
  return columns.map((column) => ({ ...column, values: column.values.slice(0, rowCount) }))
})

test('any nested column comes back row by row, of any row group size, with the field ids it was given', async () => {
  await fc.assert(
    fc.asyncProperty(anyColumns, fc.integer({ min: 1, max: 50 }), fc.boolean(), async (columns, rowGroupRows, zstd) => {
      const batch = sampleBatch(columns)
      const compression = zstd ? 'zstd' : 'none'
      const { bytes, bounds, columnBytes } = writeParquet(batch, { ...OPTIONS, rowGroupRows, compression })
      const found = await readBack(bytes, columns)
      for (const [i, { type, values }] of columns.entries()) expect(found[i], formatColumnType(type)).toEqual(values)
      const footer = footerOf(bytes)
      const ids = footer.fields.flatMap(idsOf)
      expect(ids).toEqual(
        batch.schema.columns.flatMap((column) => [...fieldsWithin(column)].map(({ fieldId }) => fieldId)),
      )
      expect(columnBytes.reduce((sum, each) => sum + each, 0)).toBe(
        footer.rowGroups.flatMap(({ chunks }) => chunks).reduce((sum, { start, end }) => sum + end - start, 0),
      )
      const flat = footer.columns.filter(({ repetition }) => repetition !== 'REPEATED').map(({ fieldId }) => fieldId)
      expect(bounds.map(({ fieldId }) => fieldId)).toEqual(flat)
      const walked = await walkPages(footer, async (start, end) => bytes.subarray(start, end))
      expect(walked.proven).toBe(true)
    }),
    { numRuns: 300 },
  )
})

function idsOf(node: SchemaNode): number[] {
  const own = node.fieldId === undefined ? [] : [node.fieldId]
  return [...own, ...node.children.flatMap(idsOf)]
}

test('files of nested columns are joined without decoding a page', async () => {
  await fc.assert(
    fc.asyncProperty(anyColumns, fc.integer({ min: 1, max: 20 }), async (columns, rowGroupRows) => {
      const { bytes } = writeParquet(sampleBatch(columns), { ...OPTIONS, rowGroupRows })
      const joined = concatParquet([bytes, bytes], {})
      const found = await readBack(joined.bytes, columns)
      for (const [i, { values }] of columns.entries()) expect(found[i]).toEqual([...values, ...values])
    }),
    { numRuns: 50 },
  )
})

test('a page begins with a row, however long the lists; values that repeat have a dictionary', async () => {
  const tags = Array.from({ length: 30_000 }, (_, row) =>
    Array.from({ length: row % 13 }, (_, i) => `tag ${(row + i) % 7}`),
  )
  const texts = Array.from({ length: 300 }, (_, row) =>
    Array.from({ length: row % 50 }, (_, i) => `${'long text '.repeat(100)}${row}.${i}`),
  )
  const columns = [
    { name: 'tags', type: type('list<string>'), values: tags },
    {
      name: 'pairs',
      type: type('list<struct<n: long required, s: string>>'),
      values: tags.map((list, row) => list.map((s, i) => ({ n: BigInt(row + i), s }))),
    },
  ]
  const { bytes } = writeParquet(sampleBatch(columns), OPTIONS)
  const found = await readBack(bytes, columns)
  expect(found).toEqual(columns.map(({ values }) => values))
  const [group] = footerOf(bytes).rowGroups
  expect(group.chunks[0].encodings).toContain('RLE_DICTIONARY')
  expect(group.chunks[0].valueCount).toBe(tags.reduce((sum, { length }) => sum + Math.max(1, length), 0))
  const pages = await walkPages(footerOf(bytes), async (start, end) => bytes.subarray(start, end))
  expect(pages.pages).toBeGreaterThan(6)

  const long = [{ name: 'texts', type: type('list<string>'), values: texts }]
  const file = writeParquet(sampleBatch(long), OPTIONS).bytes
  expect(await readBack(file, long)).toEqual([texts])
  expect((await walkPages(footerOf(file), async (start, end) => file.subarray(start, end))).pages).toBeGreaterThan(5)
})

test('more list entries than are looked at together', async () => {
  const lengths = [300_000, 0, 500_000, 1, 700_000, 600_000, 20]
  const at = (row: number, i: number) => (i % 1000 === 7 ? null : (row * 31 + i) % 100_000)
  const values = lengths.map((length, row) => (length === 0 ? null : Array.from({ length }, (_, i) => at(row, i))))
  const columns = [{ name: 'l', type: type('struct<l: list<int>>'), values: values.map((l) => ({ l })) }]
  const file = join(folder, 'many.parquet')
  writeFileSync(file, writeParquet(sampleBatch(columns), OPTIONS).bytes)
  const found =
    await rows(`SELECT len(s), s[8], s[9], s[-1], list_sum(s)::BIGINT, len(list_filter(s, lambda x: x IS NULL))
    FROM (SELECT l.l AS s FROM read_parquet('${file}'))`)
  expect(found).toEqual(
    lengths.map((length, row) => {
      if (length === 0) return [null, null, null, null, null, null]
      const list = values[row] as (number | null)[]
      const sum = list.reduce<number>((total, each) => total + (each ?? 0), 0)
      const nulls = list.filter((each) => each === null).length
      return [BigInt(length), list[7] ?? null, list[8] ?? null, list[length - 1], BigInt(sum), BigInt(nulls)]
    }),
  )
})

test('as deep as types go', async () => {
  let text = 'int'
  let value: SampleValue = 5
  for (let level = 0; level < NESTING_MAX; level += 1) {
    const kind = level % 3
    text = kind === 0 ? `struct<f: ${text}>` : kind === 1 ? `list<${text}>` : `map<string, ${text}>`
    value = kind === 0 ? { f: value } : kind === 1 ? [value] : [['k', value]]
  }
  const columns = [{ name: 'deep', type: type(text), values: [value, null, value] }]
  expect(await readBack(writeParquet(sampleBatch(columns), OPTIONS).bytes, columns)).toEqual([columns[0].values])
})

test('bounds are those of leaves outside lists and maps; nulls are counted where a leaf has no value', () => {
  const columns = [
    {
      name: 's',
      type: type('struct<n: int, l: list<int>>'),
      values: [{ n: 7, l: [1, null] }, null, { n: null, l: [] }, { n: -2, l: null }],
    },
  ]
  const { bytes, bounds } = writeParquet(sampleBatch(columns), OPTIONS)
  const [chunk, inList] = footerOf(bytes).rowGroups[0].chunks
  expect(bounds).toEqual([
    { fieldId: 17, nullCount: 2, lower: Uint8Array.of(254, 255, 255, 255), upper: Uint8Array.of(7, 0, 0, 0) },
  ])
  expect([chunk.valueCount, chunk.statistics?.nullCount]).toEqual([4, 2])
  expect([inList.valueCount, inList.statistics?.nullCount]).toEqual([5, 4])
})

test('a vector whose null struct or null list has values is a bug, found before any byte is written', () => {
  const struct = sampleBatch([{ name: 's', type: type('struct<n: int>'), values: [{ n: 1 }, null] }])
  const [vector] = struct.vectors
  const [child] = vector.children!
  const broken = { ...vector, children: [{ ...child, nullCount: 0, validity: undefined }] }
  expect(() => writeParquet({ ...struct, vectors: [broken] }, OPTIONS)).toThrow('parquet-null-has-no-values')

  const list = sampleBatch([{ name: 'l', type: type('list<int>'), values: [[1], null] }])
  const [lists] = list.vectors
  const offsets = Int32Array.of(0, 0, 1)
  expect(() => writeParquet({ ...list, vectors: [{ ...lists, offsets }] }, OPTIONS)).toThrow(
    'parquet-null-list-is-empty',
  )

  const required = sampleBatch([{ name: 's', type: type('struct<n: int required>'), values: [{ n: null }] }])
  expect(() => writeParquet(required, OPTIONS)).toThrow('parquet-required')
})
