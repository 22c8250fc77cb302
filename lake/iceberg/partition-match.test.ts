import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ColumnType } from '../../schemas/column-type.ts'
import type { PartitionTransform } from '../catalog/catalog.ts'
import type { FilterValue } from '../parquet/comparable.ts'
import type { PlainFilter } from '../parquet/prune.ts'
import { mayPartitionMatch } from './partition-match.ts'
import { partitionValue } from './partition-transform.ts'

const micros = fc.bigInt({ min: -(10n ** 16n), max: 10n ** 16n })
const kinds: readonly [ColumnType, fc.Arbitrary<FilterValue>, readonly PartitionTransform[]][] = [
  [
    { kind: 'int' },
    fc.bigInt({ min: -100n, max: 100n }),
    [{ kind: 'identity' }, { kind: 'bucket', width: 5 }, { kind: 'truncate', width: 7 }],
  ],
  [
    { kind: 'long' },
    fc.bigInt({ min: -(2n ** 60n), max: 2n ** 60n }),
    [{ kind: 'identity' }, { kind: 'bucket', width: 3 }, { kind: 'truncate', width: 1000 }],
  ],
  [
    { kind: 'string' },
    fc.string({ unit: 'binary' }),
    [{ kind: 'identity' }, { kind: 'bucket', width: 4 }, { kind: 'truncate', width: 2 }],
  ],
  [{ kind: 'timestamp' }, micros, [{ kind: 'hour' }, { kind: 'day' }, { kind: 'month' }, { kind: 'bucket', width: 4 }]],
  [{ kind: 'timestamptz' }, micros, [{ kind: 'hour' }, { kind: 'day' }, { kind: 'month' }, { kind: 'identity' }]],
  [
    { kind: 'date' },
    fc.bigInt({ min: -40_000n, max: 40_000n }),
    [{ kind: 'day' }, { kind: 'month' }, { kind: 'identity' }],
  ],
  [
    { kind: 'decimal', precision: 10, scale: 2 },
    fc.bigInt({ min: -5000n, max: 5000n }),
    [{ kind: 'identity' }, { kind: 'truncate', width: 50 }, { kind: 'bucket', width: 3 }],
  ],
]

function compare(a: FilterValue, b: FilterValue): number {
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  return a < b ? -1 : a > b ? 1 : 0
}

const PASSES = {
  '=': (order: number) => order === 0,
  '<': (order: number) => order < 0,
  '<=': (order: number) => order <= 0,
  '>': (order: number) => order > 0,
  '>=': (order: number) => order >= 0,
} as const

test('no partition is left out that holds a value which passes', () => {
  const anyCase = fc.constantFrom(...kinds).chain(([type, value, transforms]) =>
    fc.record({
      type: fc.constant(type),
      transform: fc.constantFrom(...transforms),
      inside: value,
      asked: value,
      op: fc.constantFrom('=' as const, '<' as const, '<=' as const, '>' as const, '>=' as const),
    }),
  )
  let leftOut = 0
  fc.assert(
    fc.property(anyCase, ({ type, transform, inside, asked, op }) => {
      const given = type.kind === 'int' || type.kind === 'date' ? Number(inside) : inside
      const partition = partitionValue(transform, type, given as never)
      const field = { fieldId: 20, transform, name: 'p', partitionFieldId: 1000 }
      const filter: PlainFilter = { fieldId: 20, op, type, value: asked }
      const may = mayPartitionMatch([field], [partition], () => type, [filter])
      if (PASSES[op](compare(inside, asked))) expect(may).toBe(true)
      if (!may) leftOut++
      expect(mayPartitionMatch([field], [partition], () => type, [{ fieldId: 20, op: 'is null' }])).toBe(false)
      expect(mayPartitionMatch([field], [null], () => type, [filter])).toBe(false)
      expect(
        mayPartitionMatch([field], [partition], () => type, [
          { op: 'any', of: [filter, { fieldId: 21, op: 'is null' }] },
        ]),
      ).toBe(true)
    }),
    { numRuns: 3000 },
  )
  expect(leftOut).toBeGreaterThan(300)
})
