// What bounds prove about the table partition of all rows, against the partition of every row.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ColumnBounds, PartitionTransform, Segment, Table } from '../lake/catalog/catalog.ts'
import { cutLowerBound, cutUpperBound } from '../lake/iceberg/bounds.ts'
import { partitionValue } from '../lake/iceberg/partition-transform.ts'
import { encodeSingleValue } from '../lake/iceberg/single-value.ts'
import type { ColumnType } from '../schemas/column-type.ts'
import { singlePartition } from './single-partition.ts'

function tableOf(type: ColumnType, transform: PartitionTransform): Table {
  const column = { fieldId: 16, name: 'c', type, required: false }
  return {
    schemas: [{ schemaId: 0, columns: [column] }],
    partition: [{ fieldId: 16, transform, name: 'c', partitionFieldId: 1000 }],
  } as unknown as Table
}

function segmentOf(type: ColumnType, values: readonly (bigint | string | null)[], schemaId = 0): Segment {
  const present = values.filter((value) => value !== null).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  const encoded = present.map((value) => encodeSingleValue(type, value))
  const bounds: ColumnBounds = {
    fieldId: 16,
    nullCount: values.length - present.length,
    lower: encoded.length === 0 ? undefined : cutLowerBound(type, encoded[0]),
    upper: encoded.length === 0 ? undefined : cutUpperBound(type, encoded[encoded.length - 1]),
  }
  return { schemaId, rowCount: values.length, bounds: [bounds] } as unknown as Segment
}

const HOUR = 3_600_000_000n

describe('all rows of one table partition', () => {
  test('are told when bounds prove it, and never otherwise', () => {
    const timestamp: ColumnType = { kind: 'timestamp' }
    const string: ColumnType = { kind: 'string' }
    const cases = fc.oneof(
      fc.record({
        type: fc.constant(timestamp),
        transform: fc.constantFrom<PartitionTransform>(
          { kind: 'hour' },
          { kind: 'day' },
          { kind: 'month' },
          { kind: 'identity' },
          { kind: 'bucket', width: 3 },
        ),
        segments: fc.array(
          fc.array(fc.option(fc.bigInt({ min: -HOUR, max: HOUR * 30n })), { minLength: 1, maxLength: 5 }),
          { minLength: 1, maxLength: 4 },
        ),
      }),
      fc.record({
        type: fc.constant(string),
        transform: fc.constantFrom<PartitionTransform>(
          { kind: 'identity' },
          { kind: 'truncate', width: 2 },
          { kind: 'bucket', width: 3 },
        ),
        segments: fc.array(
          fc.array(
            fc.option(
              fc.constantFrom('a', 'ab', 'abc', 'a much longer text than any bound', 'a much longer text than others'),
            ),
            { minLength: 1, maxLength: 4 },
          ),
          { minLength: 1, maxLength: 3 },
        ),
      }),
    )
    let proven = 0
    fc.assert(
      fc.property(cases, ({ type, transform, segments }) => {
        const found = singlePartition(
          tableOf(type, transform),
          segments.map((values) => segmentOf(type, values)),
        )
        if (found === undefined) return
        proven += 1
        for (const value of segments.flat()) {
          expect(value === null ? null : partitionValue(transform, type, value)).toEqual(found[0])
        }
      }),
      { numRuns: 3000 },
    )
    expect(proven).toBeGreaterThan(100)
  })

  test('a minute of one day is one partition of a table by day', () => {
    const type: ColumnType = { kind: 'timestamp' }
    const segments = [segmentOf(type, [0n, HOUR]), segmentOf(type, [HOUR * 23n])]
    expect(singlePartition(tableOf(type, { kind: 'day' }), segments)).toEqual([0])
    expect(singlePartition(tableOf(type, { kind: 'hour' }), segments)).toBeUndefined()
    expect(singlePartition(tableOf(type, { kind: 'day' }), [segmentOf(type, [0n], 1)])).toBeUndefined()
    expect(singlePartition(tableOf(type, { kind: 'day' }), [segmentOf(type, [null, null])])).toEqual([null])
  })
})
