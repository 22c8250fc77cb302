// A snapshot's coverage: ranges stay sorted, disjoint and hold exactly what was added.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { OffsetRange } from '../schemas/coverage.ts'
import { addRange } from './snapshot-coverage.ts'

const range = fc
  .tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 20 }))
  .map(([start, length]): OffsetRange => ({ start: BigInt(start), end: BigInt(start + length) }))

function offsetsOf(ranges: readonly OffsetRange[]): Set<bigint> {
  const offsets = new Set<bigint>()
  for (const { start, end } of ranges) for (let offset = start; offset < end; offset += 1n) offsets.add(offset)
  return offsets
}

test('ranges added in any order hold exactly their offsets, as few disjoint ranges as can be', () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 20 }), (added) => {
      const joined = added.reduce<OffsetRange[]>((ranges, next) => addRange(ranges, next), [])
      expect(offsetsOf(joined)).toEqual(offsetsOf(added))
      for (let index = 1; index < joined.length; index += 1) {
        expect(joined[index].start).toBeGreaterThan(joined[index - 1].end)
      }
    }),
  )
})
