import { expect, test } from 'vitest'
import type { ColumnType } from '../schemas/column-type.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { segmentSources, touchedHours } from './segment-writer.ts'
import { sampleKey } from './tick-samples.ts'

const FIELD = 16

function batchOf(kind: 'timestamp' | 'timestamptz' | 'date', values: readonly (bigint | null)[]): MicroBatch {
  const type: ColumnType = { kind }
  const column = { fieldId: FIELD, name: 'ts', type, required: false }
  const width = kind === 'date' ? 4 : 8
  const data = new Uint8Array(values.length * width)
  const view = new DataView(data.buffer)
  const validity = new Uint8Array((values.length + 7) >> 3)
  values.forEach((value, row) => {
    if (value !== null) validity[row >> 3] |= 1 << (row & 7)
    if (kind === 'date') view.setInt32(row * 4, Number(value ?? 9999n), true)
    else view.setBigInt64(row * 8, value ?? 123456789012345n, true)
  })
  const nullCount = values.filter((value) => value === null).length
  const vector = { column, length: values.length, nullCount, validity, data, offsets: undefined }
  return { schema: { schemaId: 0, columns: [column] }, rowCount: values.length, vectors: [vector] }
}

const HOUR = 3_600_000_000n

test('touched hours are distinct and sorted, before 1970 too, and nulls touch nothing', () => {
  const batch = batchOf('timestamp', [5n * HOUR, -1n, null, 5n * HOUR + 1n, 0n])
  expect(touchedHours(batch, FIELD)).toEqual({ grain: 'hour', values: [-1, 0, 5] })
})

test('the last microsecond of an hour stays in it, as far away as the year 9999', () => {
  const last = 253_402_300_799_999_999n
  expect(touchedHours(batchOf('timestamptz', [last]), FIELD)).toEqual({
    grain: 'hour',
    values: [Number(last / HOUR)],
  })
  const before = -62_135_596_800_000_001n
  expect(touchedHours(batchOf('timestamptz', [before]), FIELD).values).toEqual([Number(before / HOUR) - 1])
})

test('more than 64 hours are told as days, more than 64 days as all', () => {
  const hours = Array.from({ length: 65 }, (_, i) => BigInt(i) * HOUR)
  expect(touchedHours(batchOf('timestamp', hours), FIELD)).toEqual({ grain: 'day', values: [0, 1, 2] })
  const days = Array.from({ length: 65 }, (_, i) => BigInt(i) * 24n * HOUR)
  expect(touchedHours(batchOf('timestamp', days), FIELD)).toEqual({ grain: 'all', values: [] })
})

test('a date touches the first hour of its day', () => {
  expect(touchedHours(batchOf('date', [2n, -1n]), FIELD)).toEqual({ grain: 'hour', values: [-24, 48] })
})

test('a table without event time touches everything', () => {
  expect(touchedHours(batchOf('timestamp', [0n]), undefined)).toEqual({ grain: 'all', values: [] })
})

test('spans of one source become one range with the rows of all', () => {
  const span = (source: string, start: number, end: number, from: bigint, to: bigint) => ({
    start,
    end,
    key: sampleKey(source),
    keyText: source,
    generation: 1,
    idempotencyKey: undefined,
    range: { start: from, end: to },
  })
  const sources = segmentSources([span('a', 0, 3, 0n, 5n), span('b', 3, 4, 7n, 8n), span('a', 4, 6, 5n, 9n)])
  expect(sources).toEqual([
    { ...sampleKey('a'), range: { start: 0n, end: 9n }, rows: 5 },
    { ...sampleKey('b'), range: { start: 7n, end: 8n }, rows: 1 },
  ])
})
