// Which table partitions a time of the window has: the same ordinals that rows get.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PartitionTransform, Table } from '../lake/catalog/catalog.ts'
import { partitionValue } from '../lake/iceberg/partition-transform.ts'
import { TIME_AHEAD_PROPERTY, TIME_EARLIEST_PROPERTY } from '../lake/table-definition.ts'
import type { ColumnType } from '../schemas/column-type.ts'
import { isWithin, timeWindowOf } from './time-window.ts'

const DAY = 86_400_000_000n
const NOW = 1_800_000_000_000_000n

function tableWith(type: ColumnType, kind: 'identity' | 'hour' | 'day' | 'month'): Table {
  return {
    schemas: [{ schemaId: 0, columns: [{ fieldId: 16, name: 'ts', type, required: false }] }],
    partition: [{ fieldId: 16, transform: { kind }, name: 'p', partitionFieldId: 1000 }],
    properties: {},
  } as unknown as Table
}

test('a time inside the window is never in a partition outside, and a partition outside holds no time inside', () => {
  const cases = fc.constantFrom(
    ...(['identity', 'hour', 'day', 'month'] as const).flatMap((kind) => [
      { kind, type: { kind: 'timestamptz' } as const },
      { kind, type: { kind: 'timestamp' } as const },
      ...(kind === 'hour' ? [] : [{ kind, type: { kind: 'date' } as const }]),
    ]),
  )
  const window = timeWindowOf({ properties: {} }, NOW)
  const micros = fc.oneof(fc.bigInt({ min: -(10n ** 17n), max: 10n ** 17n }), fc.bigInt({ min: -5n, max: 5n }))
  fc.assert(
    fc.property(
      cases,
      fc.oneof(
        micros,
        micros.map((each) => window.latest + each / 1000n),
      ),
      ({ kind, type }, time) => {
        const day = (time - (((time % DAY) + DAY) % DAY)) / DAY
        const transform: PartitionTransform = { kind }
        const value = partitionValue(transform, type, type.kind === 'date' ? day : time)
        const isInside = time >= window.earliest && time <= window.latest
        const found = isWithin(tableWith(type, kind), [value], window)
        if (isInside) expect(found).toBe(true)
        // A partition at the edge also holds times beyond it: at most one partition's length.
        if (!found) expect(isInside).toBe(false)
        if (time < window.earliest - 32n * DAY || time > window.latest + 32n * DAY) expect(found).toBe(false)
      },
    ),
  )
})

test('nothing, a bucket and a text are never outside', () => {
  const window = timeWindowOf({ properties: {} }, NOW)
  expect(isWithin(tableWith({ kind: 'timestamptz' }, 'day'), [null], window)).toBe(true)
  expect(isWithin(tableWith({ kind: 'string' }, 'identity'), ['9999-01-01'], window)).toBe(true)
  expect(isWithin(tableWith({ kind: 'long' }, 'identity'), [10n ** 18n], window)).toBe(true)
})

test('the window is the table’s own', () => {
  const properties = { [TIME_EARLIEST_PROPERTY]: '1900-01-01', [TIME_AHEAD_PROPERTY]: '3600000' }
  expect(timeWindowOf({ properties }, NOW)).toEqual({
    earliest: -2_208_988_800_000_000n,
    latest: NOW + 3_600_000_000n,
  })
})
