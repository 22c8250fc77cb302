/**
 * Times that a table takes for real: from its `time.earliest` (1970) to `time.ahead` (a day) from now. A clock that was never
 * set, or milliseconds taken for microseconds, give times far outside, each of another day: a table partition for every one
 * of them would be a file for every row. Such rows are kept, beside the table's partitioning. Pure.
 */
import type { PartitionField, Table } from '../lake/catalog/catalog.ts'
import type { PartitionValue } from '../lake/iceberg/iceberg.ts'
import { partitionValue } from '../lake/iceberg/partition-transform.ts'
import { TIME_AHEAD_PROPERTY, TIME_EARLIEST_PROPERTY } from '../lake/table-definition.ts'
import type { ColumnType } from '../schemas/column-type.ts'

/** Microseconds since 1970, both in it. */
export type TimeWindow = { readonly earliest: bigint; readonly latest: bigint }

/** All that 64 bits of microseconds hold. */
export const EVERY_TIME: TimeWindow = { earliest: -(2n ** 63n), latest: 2n ** 63n - 1n }

const DAY_MS = 86_400_000
const DAY_MICROS = 86_400_000_000n

export function timeWindowOf({ properties }: Pick<Table, 'properties'>, nowMicros: bigint): TimeWindow {
  const earliestMs = Date.parse(`${properties[TIME_EARLIEST_PROPERTY] ?? '1970-01-01'}T00:00:00Z`)
  // A 31st of February is the beginning of time, not an error at every commit.
  const startMs = Number.isFinite(earliestMs) ? earliestMs : 0
  const aheadMs = Number(properties[TIME_AHEAD_PROPERTY] ?? DAY_MS)
  return { earliest: BigInt(startMs) * 1000n, latest: nowMicros + BigInt(aheadMs) * 1000n }
}

/** The first and the last partition value that a time of the window has; undefined for a field that holds no time. */
export function valuesWithin(
  { transform }: PartitionField,
  type: ColumnType,
  { earliest, latest }: TimeWindow,
): readonly [bigint, bigint] | undefined {
  if (transform.kind === 'bucket' || transform.kind === 'truncate') return undefined
  if (type.kind !== 'date' && type.kind !== 'timestamp' && type.kind !== 'timestamptz') return undefined
  const ofTime = (micros: bigint): bigint => {
    const days = (micros - (((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS)) / DAY_MICROS
    return BigInt(partitionValue(transform, type, type.kind === 'date' ? days : micros) as number | bigint)
  }
  return [ofTime(earliest), ofTime(latest)]
}

/** Is no time among the values of this table partition outside? None at all is inside. */
export function isWithin(table: Table, values: readonly PartitionValue[], window: TimeWindow): boolean {
  const columns = table.schemas.at(-1)?.columns ?? []
  return table.partition.every((field, i) => {
    const type = columns.find(({ fieldId }) => fieldId === field.fieldId)?.type
    const within = type && valuesWithin(field, type, window)
    const value = values[i]
    if (!within || (typeof value !== 'number' && typeof value !== 'bigint')) return true
    return BigInt(value) >= within[0] && BigInt(value) <= within[1]
  })
}
