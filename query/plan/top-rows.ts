/**
 * Which parts of a table (files, or row groups) can hold one of the first `rowsMax` rows of an order, by bounds alone: pure.
 *
 * A part with n values that are there and all at least `lower` promises n rows at `lower` or better. So many promises, best first,
 * as make `rowsMax` rows give a value that every row of the answer reaches; a part whose `upper` does not reach it holds none
 * of them. The same the other way round for an ascending order. Ties stay: only what is strictly behind goes.
 *
 * Nothing is said where NULLs come first, of floating-point numbers (NaN shows in no bound), or of a part without bounds, which
 * stays and promises nothing.
 */
import { type Comparable, compareValues } from '../../lake/parquet/comparable.ts'
import type { KnownColumn } from '../../lake/parquet/prune.ts'

export type Order = { readonly isDescending: boolean; readonly areNullsFirst: boolean; readonly rowsMax: number }

/** Indices of the parts that stay; `undefined`: nothing known of a part. */
export function partsWithTopRows(parts: readonly (KnownColumn | undefined)[], order: Order): number[] {
  const all = parts.map((_, index) => index)
  if (order.areNullsFirst) return all
  const first = parts.find((part) => part !== undefined)
  if (first === undefined || parts.some((part) => part !== undefined && part.domain !== first.domain)) return all
  if (first.domain === 'unknown' || parts.some((part) => part?.mayHoldNaN)) return all
  const before = (a: Comparable, b: Comparable) => (order.isDescending ? compareValues(b, a) : compareValues(a, b))
  const best = (part: KnownColumn) => (order.isDescending ? part.max : part.min)
  const worst = (part: KnownColumn) => (order.isDescending ? part.min : part.max)
  const promises = parts
    .flatMap((part) => {
      const value = part && worst(part)
      const rows = part?.nullCount === undefined ? 0 : part.rowCount - part.nullCount
      return value === undefined || rows <= 0 ? [] : [{ value, rows }]
    })
    .sort((a, b) => before(a.value, b.value))
  let rows = 0
  let reached: Comparable | undefined
  for (const promise of promises) {
    rows += promise.rows
    if (rows < order.rowsMax) continue
    reached = promise.value
    break
  }
  if (reached === undefined) return all
  const limit = reached
  return all.filter((index) => {
    const part = parts[index]
    const value = part && best(part)
    if (part !== undefined && part.nullCount === part.rowCount) return false
    return value === undefined || before(value, limit) <= 0
  })
}
