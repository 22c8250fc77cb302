/**
 * Values of manifests as texts that SQL reads back: `CAST(bounds['ts'].lower AS TIMESTAMPTZ)` is the bound. Table partitions
 * by time are as people write them: `2026-01-31-13`, `2026-01-31`, `2026-01`.
 */
import type { PartitionField } from '../../lake/catalog/catalog.ts'
import type { PartitionValue } from '../../lake/iceberg/iceberg.ts'
import { decodeSingleValue, uuidText } from '../../lake/iceberg/single-value.ts'
import type { ColumnType } from '../../schemas/column-type.ts'

/** undefined: there is none, or it is no value of the type. */
export function boundText(type: ColumnType, bytes: Uint8Array | undefined): string | undefined {
  const value = bytes && decodeSingleValue(type, bytes)
  return value === undefined ? undefined : valueText(type, value)
}

export function valueText(type: ColumnType, value: Exclude<PartitionValue, null>): string {
  switch (type.kind) {
    case 'date':
      return dayText(Number(value))
    case 'time':
      return clockText(BigInt(value as bigint))
    case 'timestamp':
      return momentText(BigInt(value as bigint))
    case 'timestamptz':
      return `${momentText(BigInt(value as bigint))}+00`
    case 'decimal':
      return decimalText(BigInt(value as bigint), type.scale)
    case 'uuid':
      return value instanceof Uint8Array ? uuidText(value) : String(value)
    case 'binary':
      return value instanceof Uint8Array ? blobText(value) : String(value)
    default:
      return String(value)
  }
}

/** `type` is the column's. */
export function partitionText({ transform }: PartitionField, type: ColumnType | undefined, value: PartitionValue) {
  if (value === null) return null
  switch (transform.kind) {
    case 'hour': {
      const hours = Number(value)
      const day = Math.floor(hours / HOURS_A_DAY)
      return `${dayText(day)}-${String(hours - day * HOURS_A_DAY).padStart(2, '0')}`
    }
    case 'day':
      return dayText(Number(value))
    case 'month': {
      const months = Number(value)
      const year = Math.floor(months / MONTHS_A_YEAR)
      return `${yearText(1970 + year)}-${String(months - year * MONTHS_A_YEAR + 1).padStart(2, '0')}`
    }
    case 'bucket':
      return String(value)
    default:
      return type ? valueText(type, value) : String(value)
  }
}

/** As settings write it: `hour(ts)`, `bucket(16, id)`, `code`. */
export function transformText({ transform }: PartitionField, column: string): string {
  if ('width' in transform) return `${transform.kind}(${transform.width}, ${column})`
  return transform.kind === 'identity' ? column : `${transform.kind}(${column})`
}

const HOURS_A_DAY = 24
const MONTHS_A_YEAR = 12
const DAY_MS = 86_400_000
const DAY_MICROS = 86_400_000_000n
/** What a Date can say. */
const DAYS_MAX = 100_000_000

function dayText(days: number): string {
  if (Math.abs(days) > DAYS_MAX) return `${days} days`
  const date = new Date(days * DAY_MS)
  const [month, day] = [date.getUTCMonth() + 1, date.getUTCDate()].map((part) => String(part).padStart(2, '0'))
  return `${yearText(date.getUTCFullYear())}-${month}-${day}`
}

function yearText(year: number): string {
  return year > 0 ? String(year).padStart(4, '0') : String(year)
}

function clockText(micros: bigint): string {
  const part = (unit: bigint, of: bigint) => String((micros / unit) % of).padStart(2, '0')
  const fraction = micros % 1_000_000n
  const rest = fraction === 0n ? '' : `.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`
  return `${part(3_600_000_000n, 1000n)}:${part(60_000_000n, 60n)}:${part(1_000_000n, 60n)}${rest}`
}

function momentText(micros: bigint): string {
  const rest = ((micros % DAY_MICROS) + DAY_MICROS) % DAY_MICROS
  return `${dayText(Number((micros - rest) / DAY_MICROS))} ${clockText(rest)}`
}

function decimalText(unscaled: bigint, scale: number): string {
  const isNegative = unscaled < 0n
  const digits = String(isNegative ? -unscaled : unscaled).padStart(scale + 1, '0')
  const cut = digits.length - scale
  const text = scale === 0 ? digits : `${digits.slice(0, cut)}.${digits.slice(cut)}`
  return isNegative ? `-${text}` : text
}

/** As DuckDB writes a BLOB as text and reads it back. */
function blobText(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) {
    const isPlain = byte >= 0x20 && byte < 0x7f && byte !== 0x5c && byte !== 0x22 && byte !== 0x27
    text += isPlain ? String.fromCharCode(byte) : `\\x${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return text
}
