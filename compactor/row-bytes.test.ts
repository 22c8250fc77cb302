// A row's size in memory, as far as footers tell it; the rest is asked.
import { expect, test } from 'vitest'
import type { MappedFile } from '../lake/file-mapping.ts'
import { footerOf } from '../lake/parquet/concat.ts'
import { type SampleColumn, sampleBatch } from '../lake/parquet/sample-batches.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import { lengthsSql, rowBytesOf } from './row-bytes.ts'

function fileOf(columns: readonly SampleColumn[]) {
  const batch = sampleBatch(columns)
  const { bytes } = writeParquet(batch, { compression: 'zstd', level: 1, rowGroupRows: 500, keyValues: {} })
  return { columns: batch.schema.columns, file: { path: 'a', localFile: 'a', footer: footerOf(bytes) } as MappedFile }
}

const ROWS = 1000
const texts = (of: (row: number) => string) => Array.from({ length: ROWS }, (_, row) => of(row))

test('plain texts are as long as the footer says, however well they compress', () => {
  const { columns, file } = fileOf([
    { name: 'id', type: { kind: 'long' }, values: texts(String).map(BigInt) },
    { name: 'text', type: { kind: 'string' }, values: texts((row) => `${row} `.repeat(1000).slice(0, 2000)) },
  ])
  const { known, unknown } = rowBytesOf([file], columns)
  expect(unknown).toEqual([])
  expect(known).toBeGreaterThan(2000 + 2 * 16)
  expect(known).toBeLessThan(2100)
})

test('texts in a dictionary that may be long are measured, short ones are not', () => {
  const { columns, file } = fileOf([
    { name: 'same', type: { kind: 'string' }, values: texts(() => 'kafka:abc/clicks') },
    { name: 'long', type: { kind: 'string' }, values: texts((row) => String(row % 3).repeat(2000)) },
    { name: 'bytes', type: { kind: 'binary' }, values: texts(() => '').map(() => new Uint8Array(2000)) },
  ])
  const { known, unknown } = rowBytesOf([file], columns)
  expect(unknown.map(({ name }) => name)).toEqual(['long', 'bytes'])
  expect(known).toBeLessThan(3 * 16 + 256)
  expect(lengthsSql('SELECT 1', unknown)).toBe(
    'SELECT CAST(coalesce(sum(strlen("long")), 0) + coalesce(sum(octet_length("bytes")), 0) AS DOUBLE) AS bytes FROM (SELECT 1)',
  )
})

test('nested values count with everything inside, and no rows are no reason to divide', () => {
  const list = {
    kind: 'list',
    element: { name: 'element', fieldId: 0, type: { kind: 'long' }, required: false },
  } as const
  const { columns, file } = fileOf([{ name: 'list', type: list, values: texts(() => '').map(() => [1n, 2n, 3n, 4n]) }])
  expect(rowBytesOf([file], columns).known).toBeGreaterThan(16 + 4 * 16)
  expect(rowBytesOf([], columns)).toEqual({ known: 16, unknown: [] })
})
