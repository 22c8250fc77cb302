// A file's manifest row: bounds that hold, and no file of another schema gets one.
import { expect, test } from 'vitest'
import { parseColumnType } from '../../schemas/column-type.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import type { ColumnStatistics, LeafColumn, ParquetFooter } from '../parquet/parquet.ts'
import { compareBounds, cutLowerBound, cutUpperBound, decodeBound } from './bounds.ts'
import { dataFileFromFooter } from './data-file.ts'

const LEAF: LeafColumn = {
  path: 'v',
  fieldId: 16,
  physical: 'DOUBLE',
  typeLength: undefined,
  logical: undefined,
  repetition: 'OPTIONAL',
}

function fileOf(
  type: string,
  leaf: Partial<LeafColumn>,
  statistics: (ColumnStatistics | undefined)[],
  required = false,
) {
  const schema: TableSchema = {
    schemaId: 0,
    columns: [{ fieldId: 16, name: 'v', type: parseColumnType(type)!, required }],
  }
  const found = { ...LEAF, ...leaf }
  const { path, fieldId, repetition, logical } = found
  const footer: ParquetFooter = {
    rowCount: statistics.length * 10,
    fields: [{ name: path, fieldId, repetition, logical, columnIndex: 0, children: [] }],
    columns: [found],
    rowGroups: statistics.map((each, i) => ({
      rowCount: 10,
      chunks: [
        {
          columnIndex: 0,
          start: 4 + i * 100,
          end: 104 + i * 100,
          codec: 'ZSTD',
          encodings: [],
          valueCount: 10,
          uncompressedBytes: 0,
          statistics: each,
          bloomFilter: undefined,
        },
      ],
    })),
    keyValues: new Map(),
    createdBy: undefined,
    footerBytes: 0,
  }
  const table: Table = {
    tableId: 1,
    name: 't',
    location: 's3://b/t',
    schemas: [schema],
    partition: [],
    sort: [],
    properties: {},
    version: 0n,
    metadataLocation: undefined,
    lastFieldId: 16,
  }
  return dataFileFromFooter({ path: 's3://b/t/x', bytes: 9, footer, table, schema, partition: [], sortOrderId: 0 })
}

const stats = (min: Uint8Array | undefined, max: Uint8Array | undefined, nullCount = 0): ColumnStatistics => ({
  min,
  max,
  minExact: true,
  maxExact: true,
  nullCount,
})
const double = (value: number) => new Uint8Array(Float64Array.of(value).buffer)
const int = (value: number) => new Uint8Array(Int32Array.of(value).buffer)

test('bounds are those over all row groups; sizes and counts add up', () => {
  const file = fileOf('double', {}, [
    stats(double(1), double(5)),
    stats(double(-3), double(2), 4),
    stats(undefined, undefined, 10),
  ])
  expect(file.lowerBounds.get(16)).toEqual(double(-3))
  expect(file.upperBounds.get(16)).toEqual(double(5))
  expect(file.nullCounts.get(16)).toBe(14)
  expect(file.columnSizes.get(16)).toBe(300)
  expect(file.splitOffsets).toEqual([4, 104, 204])
})

test('a row group without statistics, or with NaN, leaves the file without that bound', () => {
  expect(fileOf('double', {}, [stats(double(1), double(5)), undefined]).lowerBounds.size).toBe(0)
  const file = fileOf('double', {}, [stats(double(1), double(Number.NaN))])
  expect(file.lowerBounds.get(16)).toEqual(double(1))
  expect(file.upperBounds.size).toBe(0)
})

test('decimal bounds become big-endian, and the footer stays as it is, a Buffer too', () => {
  const min = Buffer.from(int(-129))
  const file = fileOf('decimal(9,2)', { physical: 'INT32', logical: 'DECIMAL(9,2)' }, [stats(min, int(1420))])
  expect([...file.lowerBounds.get(16)!]).toEqual([0xff, 0x7f])
  expect([...file.upperBounds.get(16)!]).toEqual([0x05, 0x8c])
  expect(min.equals(int(-129))).toBe(true)
})

test.each([
  ['long', { physical: 'INT32' as const }],
  ['timestamp', { physical: 'INT64' as const, logical: 'TIMESTAMP(NANOS,false)' }],
  ['timestamptz', { physical: 'INT64' as const, logical: 'TIMESTAMP(MICROS,false)' }],
  ['decimal(9,2)', { physical: 'INT32' as const, logical: 'DECIMAL(9,3)' }],
  ['string', { physical: 'BYTE_ARRAY' as const }],
  ['double', { fieldId: undefined }],
  ['double', { fieldId: 17 }],
  ['double', { path: 'w' }],
  ['double', { repetition: 'REPEATED' as const }],
])('a %s column that is something else in the file is refused: %o', (type, leaf) => {
  expect(() => fileOf(type, leaf, [])).toThrow(expect.objectContaining({ code: 'file-schema-mismatch' }))
  expect(() => fileOf(type, leaf, [])).toThrow(/s3:\/\/b\/t\/x: column "[vw]"/)
})

test('nulls in a required column are refused', () => {
  expect(() => fileOf('double', {}, [stats(double(1), double(1), 1)], true)).toThrow(/expected no nulls/)
})

test('text bounds are cut outwards, or dropped', () => {
  const text = parseColumnType('string')!
  const bytes = (value: string) => new TextEncoder().encode(value)
  const cut = (value: string) => decodeBound(text, cutUpperBound(text, bytes(value)))
  expect(cut('a'.repeat(16))).toBe('a'.repeat(16))
  expect(cut('a'.repeat(17))).toBe(`${'a'.repeat(15)}b`)
  expect(cut(`${'a'.repeat(15)}\u{10ffff}z`)).toBe(`${'a'.repeat(14)}b`)
  expect(cut(`${'a'.repeat(15)}\ud7ffz`)).toBe(`${'a'.repeat(15)}\ue000`)
  expect(cut('\u{10ffff}'.repeat(17))).toBe(undefined)
  expect(decodeBound(text, cutLowerBound(text, bytes('😀'.repeat(20))))).toBe('😀'.repeat(16))
  const binary = parseColumnType('binary')!
  expect(cutUpperBound(binary, new Uint8Array(17).fill(255))).toBe(undefined)
  const shared = Buffer.alloc(17, 1)
  expect([...cutUpperBound(binary, shared)!]).toEqual([...new Array(15).fill(1), 2])
  expect(shared.equals(Buffer.alloc(17, 1))).toBe(true)
  // By UTF-8 bytes, unlike UTF-16: U+FFFF is below U+1F600.
  expect(compareBounds(text, '\uffff', '😀')).toBeLessThan(0)
})
