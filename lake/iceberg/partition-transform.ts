/**
 * Partition transforms of the Iceberg spec: which table partition a value belongs to, in TypeScript and as SQL that
 * gives the same ordinal for every value, also before 1970.
 *
 * A value is given as: boolean; int, date (days) as number; long as number or bigint; time, timestamp, timestamptz as
 * bigint microseconds; decimal as its unscaled bigint; string; uuid as text or 16 bytes; binary as bytes; null.
 *
 * DuckDB has no murmur3, so `bucket` has no SQL: `transformSql` says undefined, and the caller takes the distinct
 * values of the column and asks `bucketOf` (as `partitionValue` does) for each.
 */

import type { ColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { PartitionTransform } from '../catalog/catalog.ts'
import type { PartitionValue } from './iceberg.ts'
import { murmur3 } from './murmur3.ts'
import { decimalBytes, uuidBytes } from './single-value.ts'

const HOUR_MICROS = 3_600_000_000n
const DAY_MICROS = 86_400_000_000n
const DAY_MS = 86_400_000

export function partitionValue(transform: PartitionTransform, type: ColumnType, value: PartitionValue): PartitionValue {
  if (value === null) return null
  switch (transform.kind) {
    case 'identity':
      return identityValue(type, value)
    case 'hour':
      return Number(floorDivide(micros(transform, type, value), HOUR_MICROS))
    case 'day':
      return daysOf(transform, type, value)
    case 'month': {
      const date = new Date(daysOf(transform, type, value) * DAY_MS)
      return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth()
    }
    case 'bucket':
      return bucketOf(type, value, transform.width)
    case 'truncate':
      return truncatedValue(transform.width, type, value)
  }
}

function identityValue(type: ColumnType, value: PartitionValue): PartitionValue {
  switch (type.kind) {
    case 'int':
    case 'date':
      return Number(wholeNumber(type, value))
    case 'long':
      return smallest(wholeNumber(type, value))
    case 'decimal':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return wholeNumber(type, value)
    case 'uuid':
      return uuidBytes(value)
    default:
      return value
  }
}

/** `(murmur3(value) & 0x7fffffff) % width`; the hash of a null is no bucket: null. */
export function bucketOf(type: ColumnType, value: PartitionValue, width: number): number | null {
  return value === null ? null : (murmur3(hashedBytes(type, value)) & 0x7fffffff) % width
}

function hashedBytes(type: ColumnType, value: PartitionValue): Uint8Array {
  switch (type.kind) {
    case 'int':
    case 'long':
    case 'date':
    case 'time':
    case 'timestamp':
    case 'timestamptz': {
      // Ints and dates are hashed as longs, so that a promoted column keeps its buckets.
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigInt64(0, wholeNumber(type, value), true)
      return bytes
    }
    case 'decimal':
      return decimalBytes(wholeNumber(type, value))
    case 'string':
      if (typeof value === 'string') return new TextEncoder().encode(value)
      break
    case 'uuid':
      return uuidBytes(value)
    case 'binary':
      if (value instanceof Uint8Array) return value
      break
  }
  throw notTaken('bucket', type, value)
}

function truncatedValue(width: number, type: ColumnType, value: PartitionValue): PartitionValue {
  switch (type.kind) {
    case 'int':
    case 'long':
    case 'decimal': {
      const whole = wholeNumber(type, value)
      const cut = whole - mod(whole, BigInt(width))
      return type.kind === 'decimal' ? cut : smallest(cut)
    }
    case 'string':
      if (typeof value === 'string') return firstCodePoints(value, width)
      break
    case 'binary':
      if (value instanceof Uint8Array) return Uint8Array.from(value.subarray(0, width))
      break
  }
  throw notTaken('truncate', type, value)
}

function firstCodePoints(text: string, count: number): string {
  let end = 0
  for (let seen = 0; seen < count && end < text.length; seen++) {
    end += (text.codePointAt(end) as number) > 0xffff ? 2 : 1
  }
  return text.slice(0, end)
}

function daysOf(transform: PartitionTransform, type: ColumnType, value: PartitionValue): number {
  if (type.kind === 'date') return Number(wholeNumber(type, value))
  return Number(floorDivide(micros(transform, type, value), DAY_MICROS))
}

function micros(transform: PartitionTransform, type: ColumnType, value: PartitionValue): bigint {
  if (type.kind !== 'timestamp' && type.kind !== 'timestamptz') throw notTaken(transform.kind, type, value)
  return wholeNumber(type, value)
}

function wholeNumber(type: ColumnType, value: PartitionValue): bigint {
  if (typeof value === 'bigint') return value
  if (typeof value === 'number' && Number.isSafeInteger(value)) return BigInt(value)
  throw notTaken('a partition', type, value)
}

function smallest(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

function floorDivide(value: bigint, by: bigint): bigint {
  return (value - mod(value, by)) / by
}

function mod(value: bigint, by: bigint): bigint {
  return ((value % by) + by) % by
}

function notTaken(what: string, type: ColumnType, value: PartitionValue): MillraceError {
  return new MillraceError('type-mismatch', `${what} does not take ${typeof value} as a value of type ${type.kind}`)
}

/**
 * SQL for DuckDB over `column` (an expression of that type), giving `partitionValue`'s ordinal; undefined for bucket.
 * `/` of two integers is a double there, and `//` cuts towards zero: hence the correction by the remainder's sign.
 */
export function transformSql(transform: PartitionTransform, column: string, type: ColumnType): string | undefined {
  switch (transform.kind) {
    case 'identity':
      return column
    case 'hour':
      return floorDivideSql(`epoch_us(${column})`, HOUR_MICROS)
    case 'day':
      return type.kind === 'date' ? dateDaysSql(column) : floorDivideSql(`epoch_us(${column})`, DAY_MICROS)
    case 'month':
      return monthSql(type.kind === 'timestamptz' ? `make_timestamp(epoch_us(${column}))` : column)
    case 'bucket':
      return undefined
    case 'truncate':
      return truncateSql(transform.width, column, type)
  }
}

function floorDivideSql(value: string, by: bigint): string {
  return `CAST(${value} // ${by} - CASE WHEN ${value} % ${by} < 0 THEN 1 ELSE 0 END AS INTEGER)`
}

function dateDaysSql(column: string): string {
  return `CAST(date_diff('day', DATE '1970-01-01', ${column}) AS INTEGER)`
}

function monthSql(column: string): string {
  return `CAST((year(${column}) - 1970) * 12 + month(${column}) - 1 AS INTEGER)`
}

function truncateSql(width: number, column: string, type: ColumnType): string | undefined {
  switch (type.kind) {
    case 'int':
    case 'long':
      return wholeTruncateSql(width, `CAST(${column} AS HUGEINT)`)
    case 'decimal':
      return `CAST(${column} - (((${column} % ${unit(width, type.scale)}) + ${unit(width, type.scale)}) % ${unit(width, type.scale)}) AS DECIMAL(38,${type.scale}))`
    case 'string':
      return `left(${column}, ${width})`
    default:
      return undefined
  }
}

function wholeTruncateSql(width: number, value: string): string {
  return `(${value} - ((${value} % ${width}) + ${width}) % ${width})`
}

function unit(width: number, scale: number): string {
  const digits = String(width).padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return `CAST('${whole}${scale > 0 ? `.${digits.slice(digits.length - scale)}` : ''}' AS DECIMAL(38,${scale}))`
}
