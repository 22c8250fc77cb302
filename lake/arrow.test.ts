import { RecordBatchReader, RecordBatchStreamWriter } from 'apache-arrow'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ColumnType } from '../schemas/column-type.ts'
import { fromRecordBatch, toRecordBatch } from './arrow.ts'
import { sampleBatch } from './parquet/sample-batches.ts'
import { anyNestedType, anyValueOf } from './parquet/sample-nested.ts'
import { writeParquet } from './parquet/write.ts'

const decimal: ColumnType = { kind: 'decimal', precision: 38, scale: 2 }
const batch = sampleBatch([
  { name: 'b', type: { kind: 'boolean' }, values: [true, null, false] },
  { name: 'i', type: { kind: 'int' }, values: [1, -2, 3], required: true },
  { name: 'l', type: { kind: 'long' }, values: [2n ** 63n - 1n, null, -1n] },
  { name: 'f', type: { kind: 'float' }, values: [0.5, null, Number.NaN] },
  { name: 'd', type: { kind: 'double' }, values: [0.1, null, -0] },
  { name: 'm', type: decimal, values: [-(10n ** 38n) + 1n, null, 5n] },
  { name: 'day', type: { kind: 'date' }, values: [-1, null, 20000] },
  { name: 'time', type: { kind: 'time' }, values: [1n, null, 86_399_999_999n] },
  { name: 'ts', type: { kind: 'timestamp' }, values: [-1n, null, 1n] },
  { name: 'tz', type: { kind: 'timestamptz' }, values: [-1n, null, 1n] },
  { name: 's', type: { kind: 'string' }, values: ['', null, '🚀'] },
  {
    name: 'u',
    type: { kind: 'uuid' },
    values: ['01234567-89ab-cdef-8123-456789abcdef', null, 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
  },
  { name: 'raw', type: { kind: 'binary' }, values: [Uint8Array.of(0, 255), null, new Uint8Array()] },
  { name: 'j', type: { kind: 'json' }, values: ['{"a":1}', null, '[]'] },
])
const OPTIONS = { compression: 'none', level: 1, rowGroupRows: 100, keyValues: {} } as const

test('a record batch shows the same bytes, not a copy', () => {
  const record = toRecordBatch(batch)
  expect(record.numRows).toBe(3)
  expect(record.schema.fields.map((field) => String(field.type))).toEqual([
    'Bool',
    'Int32',
    'Int64',
    'Float32',
    'Float64',
    'Decimal[38e+2]',
    'Date32<DAY>',
    'Time64<MICROSECOND>',
    'Timestamp<MICROSECOND>',
    'Timestamp<MICROSECOND, UTC>',
    'Utf8',
    'FixedSizeBinary[16]',
    'Binary',
    'Utf8',
  ])
  record.data.children.forEach((child, i) => {
    expect((child.values as Uint8Array).buffer).toBe(batch.vectors[i].data.buffer)
  })
  const row = record.get(0)
  expect(row?.l).toBe(2n ** 63n - 1n)
  expect(row?.s).toBe('')
  expect(record.get(1)?.s).toBeNull()
  expect(record.get(2)?.b).toBe(false)
  expect(record.schema.fields[1].metadata.get('PARQUET:field_id')).toBe('17')
})

test('there and back, also over Arrow IPC, is the same batch', () => {
  const bytes = writeParquet(batch, OPTIONS).bytes
  const back = fromRecordBatch(toRecordBatch(batch))
  expect(back.schema).toEqual(batch.schema)
  expect(writeParquet(back, OPTIONS).bytes).toEqual(bytes)

  const record = toRecordBatch(batch)
  const writer = new RecordBatchStreamWriter()
  writer.write(record)
  writer.finish()
  const [received] = [...RecordBatchReader.from(writer.toUint8Array(true))]
  const overWire = fromRecordBatch(received)
  expect(overWire.schema).toEqual(batch.schema)
  expect(writeParquet(overWire, OPTIONS).bytes).toEqual(bytes)
})

test('nested columns, there and back, also over Arrow IPC', () => {
  fc.assert(
    fc.property(
      anyNestedType(4).chain((type) =>
        fc.record({
          type: fc.constant(type),
          values: fc.array(anyValueOf({ type, required: false }), { maxLength: 20 }),
        }),
      ),
      ({ type, values }) => {
        const nested = sampleBatch([{ name: 'n', type, values }])
        const { bytes } = writeParquet(nested, OPTIONS)
        const record = toRecordBatch(nested)
        const writer = new RecordBatchStreamWriter()
        writer.write(record)
        writer.finish()
        const [received] = [...RecordBatchReader.from(writer.toUint8Array(true))]
        for (const back of [fromRecordBatch(record), fromRecordBatch(received)]) {
          expect(back.schema).toEqual(nested.schema)
          expect(writeParquet(back, OPTIONS).bytes).toEqual(bytes)
        }
      },
    ),
  )
})

test('a batch without rows', () => {
  const none = sampleBatch([{ name: 's', type: { kind: 'string' }, values: [] }])
  const back = fromRecordBatch(toRecordBatch(none))
  expect(back.rowCount).toBe(0)
  expect(back.schema).toEqual(none.schema)
})
