/**
 * Masks as SQL (`catalog/masks.ts`): rows that are still in a table's files and not in the table any more. Whoever makes a
 * relation of a table's files leaves them out with this; who rewrites files counts them besides.
 *
 * Short runs become single offsets, which DuckDB looks up in a hash table: thousands of ranges would be compared with each row
 * one by one.
 */
import type { OffsetRange } from '../schemas/coverage.ts'
import { type Column, HIDDEN_COLUMNS } from '../schemas/table-schema.ts'
import type { Mask } from './catalog/catalog.ts'
import { quoteName, quoteText } from './file-mapping.ts'

/** `_source`, `_partition`, `_offset`: what a relation must have for its rows to be told apart. */
export const PLACE_COLUMNS: readonly Column[] = HIDDEN_COLUMNS.slice(0, 3)

const SINGLES_RUN_MAX = 64n

/** True for the rows of these masks. */
export function maskedSql(masks: readonly Mask[]): string {
  const parts = masks
    .flatMap(({ offsets }) => offsets)
    .map(
      ({ source, partition, runs }) =>
        `(_source = ${quoteText(source)} AND _partition = ${partition} AND (${offsetsSql(runs)}))`,
    )
  return parts.length === 0 ? 'false' : `(${parts.join(' OR ')})`
}

function offsetsSql(runs: readonly OffsetRange[]): string {
  const singles: bigint[] = []
  const ranges: string[] = []
  for (const { start, end } of runs) {
    if (end - start > SINGLES_RUN_MAX) ranges.push(`_offset BETWEEN ${start} AND ${end - 1n}`)
    else for (let offset = start; offset < end; offset += 1n) singles.push(offset)
  }
  const listed = singles.length === 0 ? [] : [`_offset IN (${singles.join(', ')})`]
  return [...listed, ...ranges].join(' OR ')
}

/** With the columns that masks need. */
export function withPlaceColumns(wanted: readonly Column[], masks: readonly Mask[]): readonly Column[] {
  if (masks.length === 0) return wanted
  return [...wanted, ...PLACE_COLUMNS.filter(({ fieldId }) => !wanted.some((column) => column.fieldId === fieldId))]
}

/** `relation` has `withPlaceColumns(wanted)`. */
export function unmaskedSql(relation: string, wanted: readonly Column[], masks: readonly Mask[]): string {
  if (masks.length === 0) return relation
  const names = wanted.map(({ name }) => quoteName(name)).join(', ')
  return `SELECT ${names} FROM (${relation}) WHERE NOT ${maskedSql(masks)}`
}

/** One row: how many rows of each mask the relation has, in their order, as `masked_0`, `masked_1`, … */
export function maskedCountsSql(relation: string, masks: readonly Mask[]): string {
  const counts = masks.map((mask, index) => `count(*) FILTER (WHERE ${maskedSql([mask])}) AS masked_${index}`)
  return `SELECT ${counts.join(', ')} FROM (${relation})`
}
