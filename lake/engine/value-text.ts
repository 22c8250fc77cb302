/**
 * One value of a result as text, for JSON and CSV alike, and as plain JSON for what is nested.
 *
 *   boolean            true, false
 *   8..32-bit integers number
 *   64-bit and wider integers, decimal   text of digits (a JSON number would lose digits in most readers); with
 *                      `wideNumbers` a JSON number with all its digits, for readers that ask for it
 *   float, double      number; NaN, Infinity, -Infinity as text; a float in its own shortest digits
 *   date, time         2026-01-31, 12:34:56.000001 (fraction only when there is one)
 *   timestamp          2026-01-31T12:34:56.5; with time zone in UTC with a Z; infinity, -infinity
 *   interval           ISO 8601 duration: P1Y2M3DT4H5M6.5S
 *   uuid, enum, bit    text;  blob base64
 *   list, array        JSON array;  struct, map: JSON object;  union: the value it holds
 */
import {
  DuckDBArrayValue,
  DuckDBBitValue,
  DuckDBBlobValue,
  DuckDBDateValue,
  DuckDBDecimalValue,
  DuckDBIntervalValue,
  DuckDBListValue,
  DuckDBMapValue,
  DuckDBStructValue,
  DuckDBTimestampMillisecondsValue,
  DuckDBTimestampNanosecondsValue,
  DuckDBTimestampSecondsValue,
  DuckDBTimestampTZValue,
  DuckDBTimestampValue,
  type DuckDBType,
  DuckDBTypeId,
  DuckDBUnionValue,
  type DuckDBValue,
  DuckDBVariantValue,
} from '@duckdb/node-api'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

export type TextKind = 'bare' | 'quoted' | 'nested'

/** How values of a column are written: `bare` as they are, `quoted` as a JSON string, `nested` as JSON already. */
export type ColumnText = {
  readonly kind: TextKind
  /** Never called with null. A `bare` column may still give NaN and the infinities: see `isBareJson`. */
  readonly text: (value: DuckDBValue) => string
}

/** @param wideNumbers 64-bit and wider integers and decimals as JSON numbers, inside what is nested too */
export function columnText(type: DuckDBType, wideNumbers = false): ColumnText {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
    case DuckDBTypeId.TINYINT:
    case DuckDBTypeId.SMALLINT:
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.UTINYINT:
    case DuckDBTypeId.USMALLINT:
    case DuckDBTypeId.UINTEGER:
      return { kind: 'bare', text: String }
    case DuckDBTypeId.FLOAT:
      return { kind: 'bare', text: (value) => floatText(value as number) }
    case DuckDBTypeId.DOUBLE:
      return { kind: 'bare', text: (value) => doubleText(value as number) }
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY:
    case DuckDBTypeId.STRUCT:
    case DuckDBTypeId.MAP:
    case DuckDBTypeId.UNION:
    case DuckDBTypeId.VARIANT:
      return { kind: 'nested', text: (value) => JSON.stringify(plainValue(value, type, wideNumbers)) }
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.UBIGINT:
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.UHUGEINT:
    case DuckDBTypeId.BIGNUM:
    case DuckDBTypeId.DECIMAL:
      return { kind: wideNumbers ? 'bare' : 'quoted', text: scalarText }
    default:
      return { kind: 'quoted', text: scalarText }
  }
}

/** NaN and the infinities are no JSON numbers. */
export function isBareJson(text: string): boolean {
  const first = text.charCodeAt(0)
  return first !== 0x4e && first !== 0x49 && !(first === 0x2d && text.charCodeAt(1) === 0x49)
}

function doubleText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

/** Fewest digits that give the same 32-bit float: 0.1, not 0.10000000149011612. */
export function floatText(value: number): string {
  if (!Number.isFinite(value) || Number.isInteger(value)) return doubleText(value)
  for (let digits = 6; digits <= 9; digits++) {
    const shorter = Number(value.toPrecision(digits))
    if (Math.fround(shorter) === value) return String(shorter)
  }
  return String(value)
}

export function scalarText(value: DuckDBValue): string {
  if (typeof value === 'string') return value
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return doubleText(value)
  if (value instanceof DuckDBDecimalValue) return decimalText(value.value, value.scale)
  if (value instanceof DuckDBTimestampTZValue)
    return infinityText(value, value.micros) ?? `${timestampText(value.micros)}Z`
  if (value instanceof DuckDBTimestampValue) return infinityText(value, value.micros) ?? timestampText(value.micros)
  if (value instanceof DuckDBTimestampSecondsValue)
    return infinityText(value, value.seconds) ?? timestampText(value.seconds * 1_000_000n)
  if (value instanceof DuckDBTimestampMillisecondsValue)
    return infinityText(value, value.millis) ?? timestampText(value.millis * 1000n)
  if (value instanceof DuckDBTimestampNanosecondsValue)
    return infinityText(value, value.nanos) ?? timestampNanosText(value.nanos)
  if (value instanceof DuckDBDateValue) return infinityText(value, value.days) ?? dateText(value)
  if (value instanceof DuckDBBlobValue) return Buffer.from(value.bytes).toString('base64')
  if (value instanceof DuckDBIntervalValue) return intervalText(value)
  if (value instanceof DuckDBBitValue) return value.toString()
  return String(value)
}

/** By the sign of what is stored: of dates, seconds, milliseconds and nanoseconds the binding's own text tells both infinities alike. */
function infinityText(value: { readonly isFinite: boolean }, stored: number | bigint): string | undefined {
  return value.isFinite ? undefined : stored < 0 ? '-infinity' : 'infinity'
}

export function decimalText(unscaled: bigint, scale: number): string {
  if (scale === 0) return unscaled.toString()
  const negative = unscaled < 0n
  const digits = (negative ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  const point = digits.length - scale
  return `${negative ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`
}

const DATE_MILLIS_MAX = 8_640_000_000_000_000n

/** Microseconds since epoch → `2026-01-31T12:34:56.000001`, fraction cut to what it needs. */
export function timestampText(micros: bigint): string {
  const millis = floorDivide(micros, 1000n)
  if (millis > DATE_MILLIS_MAX || millis < -DATE_MILLIS_MAX) {
    return new DuckDBTimestampValue(micros).toString().replace(' ', 'T')
  }
  const second = new Date(Number(millis)).toISOString().slice(0, -5)
  return second + fractionText(Number(micros - floorDivide(micros, 1_000_000n) * 1_000_000n), 6)
}

function timestampNanosText(nanos: bigint): string {
  const seconds = floorDivide(nanos, 1_000_000_000n)
  const second = new Date(Number(seconds) * 1000).toISOString().slice(0, -5)
  return second + fractionText(Number(nanos - seconds * 1_000_000_000n), 9)
}

function dateText(value: DuckDBDateValue): string {
  const millis = value.days * 86_400_000
  return Math.abs(millis) <= Number(DATE_MILLIS_MAX) ? new Date(millis).toISOString().split('T')[0] : value.toString()
}

function fractionText(fraction: number, digits: number): string {
  return fraction === 0 ? '' : `.${String(fraction).padStart(digits, '0').replace(/0+$/, '')}`
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b
  return a % b < 0n ? quotient - 1n : quotient
}

function intervalText({ months, days, micros }: DuckDBIntervalValue): string {
  const years = Math.trunc(months / 12)
  const date = `${part(years, 'Y')}${part(months - years * 12, 'M')}${part(days, 'D')}`
  const hours = micros / 3_600_000_000n
  const minutes = (micros / 60_000_000n) % 60n
  const rest = micros % 60_000_000n
  const absolute = rest < 0n ? -rest : rest
  const seconds =
    rest === 0n
      ? ''
      : `${rest < 0n ? '-' : ''}${absolute / 1_000_000n}${fractionText(Number(absolute % 1_000_000n), 6)}S`
  const time = `${part(Number(hours), 'H')}${part(Number(minutes), 'M')}${seconds}`
  return date === '' && time === '' ? 'PT0S' : `P${date}${time === '' ? '' : `T${time}`}`
}

function part(value: number, unit: string): string {
  return value === 0 ? '' : `${value}${unit}`
}

// Not in the compiler's library yet; in every engine that `engines` of package.json asks for.
const rawJson = (JSON as unknown as { rawJSON(text: string): Json }).rawJSON

/** Any value as JSON; the type, where it is known, keeps floats short. */
export function plainValue(value: DuckDBValue, type?: DuckDBType, wideNumbers = false): Json {
  if (value === null) return null
  if (value instanceof DuckDBListValue || value instanceof DuckDBArrayValue) {
    const inner = childType(type)
    return value.items.map((item) => plainValue(item, inner, wideNumbers))
  }
  if (value instanceof DuckDBStructValue) {
    return objectOf(
      Object.entries(value.entries).map(([name, entry]) => [
        name,
        plainValue(entry, entryType(type, name), wideNumbers),
      ]),
    )
  }
  if (value instanceof DuckDBMapValue) {
    const inner = type?.typeId === DuckDBTypeId.MAP ? (type as { valueType?: DuckDBType }).valueType : undefined
    return objectOf(value.entries.map((entry) => [keyText(entry.key), plainValue(entry.value, inner, wideNumbers)]))
  }
  if (value instanceof DuckDBUnionValue) return plainValue(value.value, undefined, wideNumbers)
  if (value instanceof DuckDBVariantValue) return plainValue(value.value, value.type, wideNumbers)
  if (typeof value === 'boolean') return value
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) return String(value)
    return type?.typeId === DuckDBTypeId.FLOAT ? Number(floatText(value)) : value
  }
  const text = scalarText(value)
  return wideNumbers && (typeof value === 'bigint' || value instanceof DuckDBDecimalValue) ? rawJson(text) : text
}

/** A null prototype would do, but JSON.stringify keeps own `__proto__` keys only when defined, not assigned. */
function objectOf(entries: readonly (readonly [string, Json])[]): Json {
  return Object.fromEntries(entries)
}

function keyText(key: DuckDBValue): string {
  const plain = plainValue(key)
  return typeof plain === 'string' ? plain : JSON.stringify(plain)
}

function childType(type: DuckDBType | undefined): DuckDBType | undefined {
  if (type?.typeId !== DuckDBTypeId.LIST && type?.typeId !== DuckDBTypeId.ARRAY) return undefined
  return (type as { valueType?: DuckDBType }).valueType
}

function entryType(type: DuckDBType | undefined, name: string): DuckDBType | undefined {
  if (type?.typeId !== DuckDBTypeId.STRUCT) return undefined
  const struct = type as { entryNames?: readonly string[]; entryTypes?: readonly DuckDBType[] }
  return struct.entryTypes?.[struct.entryNames?.indexOf(name) ?? -1]
}
