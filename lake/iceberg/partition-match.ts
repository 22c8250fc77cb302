/**
 * What a file's table partition says about its rows: every value of the source column gives this partition value. So a file is
 * left out when no such value passes a filter, whether or not the file has bounds; and a bucket tells what no bounds do.
 * Pure; whatever has no clear answer is kept.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import type { PartitionField, PartitionTransform } from '../catalog/catalog.ts'
import { type Comparable, domainOfType } from '../parquet/comparable.ts'
import { type ColumnFilter, type KnownColumn, mayMatch, mayPass, type PlainFilter } from '../parquet/prune.ts'
import type { PartitionValue } from './iceberg.ts'
import { bucketOf } from './partition-transform.ts'
import { uuidBytes } from './single-value.ts'

const HOUR_MICROS = 3_600_000_000n
const DAY_MICROS = 86_400_000_000n
const DAY_MS = 86_400_000

export function mayPartitionMatch(
  fields: readonly PartitionField[],
  values: readonly PartitionValue[],
  typeOf: (fieldId: number) => ColumnType | undefined,
  filters: readonly ColumnFilter[],
): boolean {
  if (values.length !== fields.length) return true
  const mayPassPlain = (filter: PlainFilter) =>
    fields.every((field, place) => {
      const type = filter.fieldId === field.fieldId ? typeOf(field.fieldId) : undefined
      return type === undefined || mayBeIn(field.transform, type, values[place], filter)
    })
  return filters.every((filter) => mayPass(filter, mayPassPlain))
}

function mayBeIn(transform: PartitionTransform, type: ColumnType, value: PartitionValue, filter: PlainFilter): boolean {
  // Only a null has the partition value null.
  if (value === null) return filter.op === 'is null'
  if (filter.op === 'is null') return false
  if (transform.kind === 'bucket') return mayBeInBucket(type, transform.width, value, filter)
  const range = rangeOf(transform, type, value)
  if (!range) return true
  const known: KnownColumn = {
    domain: domainOfType(type),
    min: range.min,
    max: range.max,
    nullCount: 0,
    rowCount: 1,
    mayHoldNaN: type.kind === 'float' || type.kind === 'double',
    isSingle: type.kind === 'float',
  }
  return mayMatch(known, filter)
}

function mayBeInBucket(type: ColumnType, width: number, bucket: PartitionValue, filter: PlainFilter): boolean {
  if (filter.op !== '=' && filter.op !== 'in') return true
  const values = filter.op === 'in' ? filter.values : [filter.value]
  // A constant of another type may be equal after a cast; its hash is another one.
  const isSame = filter.type.kind === type.kind || (filter.type.kind === 'int' && type.kind === 'long')
  if (!isSame || type.kind === 'float' || type.kind === 'double' || type.kind === 'boolean') return true
  if (filter.type.kind === 'decimal' && type.kind === 'decimal' && filter.type.scale !== type.scale) return true
  return values.some((value) => bucketOf(type, value, width) === bucket)
}

function rangeOf(
  transform: PartitionTransform,
  type: ColumnType,
  value: Exclude<PartitionValue, null>,
): { readonly min: Comparable; readonly max: Comparable } | undefined {
  switch (transform.kind) {
    case 'identity': {
      const only = comparableOf(type, value)
      return only === undefined ? undefined : { min: only, max: only }
    }
    case 'hour':
      return isTime(type) ? between(BigInt(Number(value)) * HOUR_MICROS, HOUR_MICROS) : undefined
    case 'day':
      if (type.kind === 'date') return between(BigInt(Number(value)), 1n)
      return isTime(type) ? between(BigInt(Number(value)) * DAY_MICROS, DAY_MICROS) : undefined
    case 'month': {
      const start = BigInt(Date.UTC(1970, Number(value), 1) / DAY_MS)
      const days = BigInt(Date.UTC(1970, Number(value) + 1, 1) / DAY_MS) - start
      if (type.kind === 'date') return between(start, days)
      return isTime(type) ? between(start * DAY_MICROS, days * DAY_MICROS) : undefined
    }
    case 'truncate':
      return truncatedRange(type, transform.width, value)
    default:
      return undefined
  }
}

function isTime({ kind }: ColumnType): boolean {
  return kind === 'timestamp' || kind === 'timestamptz'
}

function between(start: bigint, length: bigint): { readonly min: bigint; readonly max: bigint } {
  return { min: start, max: start + length - 1n }
}

function truncatedRange(
  type: ColumnType,
  width: number,
  value: Exclude<PartitionValue, null>,
): { readonly min: Comparable; readonly max: Comparable } | undefined {
  const min = comparableOf(type, value)
  if (min === undefined) return undefined
  if (typeof min === 'bigint') return between(min, BigInt(width))
  if (min instanceof Uint8Array) {
    // No text has the byte 0xff: this is behind all that start so. Bytes may have it.
    return type.kind === 'string' ? { min, max: Uint8Array.of(...min, 0xff) } : undefined
  }
  if (typeof min === 'number') return undefined
  return { min, max: { unscaled: min.unscaled + BigInt(width) - 1n, scale: min.scale } }
}

function comparableOf(type: ColumnType, value: Exclude<PartitionValue, null>): Comparable | undefined {
  switch (type.kind) {
    case 'boolean':
      return typeof value === 'boolean' ? (value ? 1n : 0n) : undefined
    case 'int':
    case 'long':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return wholeOf(value)
    case 'decimal': {
      const unscaled = wholeOf(value)
      return unscaled === undefined ? undefined : { unscaled, scale: type.scale }
    }
    case 'string':
      return typeof value === 'string' ? new TextEncoder().encode(value) : undefined
    case 'uuid':
      return uuidBytes(value)
    case 'binary':
      return value instanceof Uint8Array ? value : undefined
    default:
      return undefined
  }
}

function wholeOf(value: Exclude<PartitionValue, null>): bigint | undefined {
  if (typeof value === 'bigint') return value
  return typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : undefined
}
