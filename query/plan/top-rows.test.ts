import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { KnownColumn } from '../../lake/parquet/prune.ts'
import { partsWithTopRows } from './top-rows.ts'

const values = fc.array(fc.option(fc.bigInt({ min: -20n, max: 20n })), { minLength: 1, maxLength: 6 })

function known(rows: readonly (bigint | null)[]): KnownColumn {
  const there = rows.filter((row) => row !== null).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
  return {
    domain: 'number',
    min: there[0],
    max: there.at(-1),
    nullCount: rows.length - there.length,
    rowCount: rows.length,
    mayHoldNaN: false,
    isSingle: false,
  }
}

test('the first rows of an order are all in the parts that stay', () => {
  fc.assert(
    fc.property(
      fc.array(values, { minLength: 1, maxLength: 8 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 12 }),
      fc.array(fc.boolean()),
      (parts, isDescending, rowsMax, unknown) => {
        const facts = parts.map((rows, index) => (unknown[index] ? undefined : known(rows)))
        const kept = partsWithTopRows(facts, { isDescending, areNullsFirst: false, rowsMax })
        const first = (some: readonly (readonly (bigint | null)[])[]) =>
          some
            .flat()
            .sort((a, b) => {
              if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1
              return (a < b ? -1 : a > b ? 1 : 0) * (isDescending ? -1 : 1)
            })
            .slice(0, rowsMax)
        expect(first(kept.map((index) => parts[index]))).toEqual(first(parts))
      },
    ),
    { numRuns: 2000 },
  )
})
