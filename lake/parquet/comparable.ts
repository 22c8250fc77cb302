/**
 * Bounds and filter values in one comparable form. Only values of the same domain are ever compared; whatever has no
 * clear place (INT96, INTERVAL, a text without its annotation) has the domain `unknown`.
 *
 *   number               bigint (whole), number (float, double), or an exact decimal
 *   date                 days; time, timestamp, timestamptz: microseconds; all bigint
 *   text, binary, uuid   bytes
 *   boolean              bigint 0 or 1
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import { isUnsigned } from './footer.ts'
import type { LeafColumn } from './parquet.ts'

/**
 * A value of the filter's `type`: boolean → boolean; int, long, date (days), time, timestamp, timestamptz (microseconds)
 * → bigint; float, double → number; decimal → bigint, unscaled; string, json, uuid → string; binary → Uint8Array.
 */
export type FilterValue = boolean | bigint | number | string | Uint8Array

export type Decimal = { readonly unscaled: bigint; readonly scale: number }
export type Comparable = bigint | number | Uint8Array | Decimal

export type Domain =
  | 'number'
  | 'date'
  | 'time'
  | 'timestamp'
  | 'timestamptz'
  | 'text'
  | 'binary'
  | 'uuid'
  | 'boolean'
  | 'unknown'

export function domainOfType(type: ColumnType): Domain {
  switch (type.kind) {
    case 'int':
    case 'long':
    case 'float':
    case 'double':
    case 'decimal':
      return 'number'
    case 'string':
    case 'json':
      return 'text'
    case 'struct':
    case 'list':
    case 'map':
      return 'unknown'
    default:
      return type.kind
  }
}

export function domainOfLeaf(column: LeafColumn): Domain {
  const { physical, logical } = column
  if (physical === 'BOOLEAN') return 'boolean'
  if (physical === 'INT96') return 'unknown'
  if (logical === undefined) {
    if (physical === 'BYTE_ARRAY') return 'binary'
    return physical === 'FIXED_LEN_BYTE_ARRAY' ? 'unknown' : 'number'
  }
  if (logical === 'STRING' || logical === 'JSON' || logical === 'ENUM') return 'text'
  if (logical === 'UUID') return 'uuid'
  if (logical === 'DATE') return 'date'
  if (logical.startsWith('DECIMAL(') || logical.startsWith('INTEGER(')) return 'number'
  if (logical.startsWith('TIMESTAMP(')) return logical.endsWith(',true)') ? 'timestamptz' : 'timestamp'
  if (logical.startsWith('TIME(')) return 'time'
  return 'unknown'
}

/** A bound of the footer; one in nanoseconds is rounded outwards. */
export function leafValue(
  column: LeafColumn,
  bytes: Uint8Array | undefined,
  rounding: 'down' | 'up',
): Comparable | undefined {
  if (bytes === undefined) return undefined
  const { physical, logical } = column
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const scale = logical === undefined ? undefined : /^DECIMAL\(\d+,(\d+)\)$/.exec(logical)?.[1]
  switch (physical) {
    case 'BOOLEAN':
      return bytes.length === 1 ? BigInt(bytes[0] & 1) : undefined
    case 'FLOAT':
      return notNaN(view.getFloat32(0, true))
    case 'DOUBLE':
      return notNaN(view.getFloat64(0, true))
    case 'INT32':
    case 'INT64': {
      const whole = wholeNumber(view, isUnsigned(column))
      if (scale !== undefined) return { unscaled: whole, scale: Number(scale) }
      return inMicros(whole, logical, rounding)
    }
    case 'BYTE_ARRAY':
    case 'FIXED_LEN_BYTE_ARRAY':
      if (scale === undefined) return bytes
      return bytes.length === 0 ? undefined : { unscaled: bigEndian(bytes), scale: Number(scale) }
    default:
      return undefined
  }
}

function notNaN(value: number): number | undefined {
  return Number.isNaN(value) ? undefined : value
}

function wholeNumber(view: DataView, unsigned: boolean): bigint {
  if (view.byteLength === 4) return BigInt(unsigned ? view.getUint32(0, true) : view.getInt32(0, true))
  return unsigned ? view.getBigUint64(0, true) : view.getBigInt64(0, true)
}

function inMicros(whole: bigint, logical: string | undefined, rounding: 'down' | 'up'): bigint | undefined {
  if (logical === undefined || !logical.startsWith('TIME')) return whole
  if (logical.includes('(MICROS,')) return whole
  if (logical.includes('(MILLIS,')) return whole * 1000n
  if (!logical.includes('(NANOS,')) return undefined
  const towardsZero = whole / 1000n
  const rest = whole % 1000n
  if (rounding === 'down') return rest < 0n ? towardsZero - 1n : towardsZero
  return rest > 0n ? towardsZero + 1n : towardsZero
}

function bigEndian(bytes: Uint8Array): bigint {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  return BigInt.asIntN(bytes.length * 8, value)
}

/** An Iceberg single-value bound. Its length tells an int's from a long's after a promotion, a float's from a double's. */
export function icebergValue(type: ColumnType, bytes: Uint8Array | undefined): Comparable | undefined {
  if (bytes === undefined) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (type.kind) {
    case 'string':
    case 'json':
    case 'binary':
      return bytes
    case 'uuid':
      return bytes.length === 16 ? bytes : undefined
    case 'boolean':
      return bytes.length === 1 ? BigInt(bytes[0] & 1) : undefined
    case 'decimal':
      return bytes.length === 0 ? undefined : { unscaled: bigEndian(bytes), scale: type.scale }
    case 'float':
    case 'double':
      if (bytes.length === 4) return notNaN(view.getFloat32(0, true))
      return bytes.length === 8 ? notNaN(view.getFloat64(0, true)) : undefined
    default:
      return bytes.length === 4 || bytes.length === 8 ? wholeNumber(view, false) : undefined
  }
}

/**
 * Every value that a filter's constant may be compared as, or undefined when that is not clear. Engines cast one side:
 * a whole number or decimal to double, a double to float.
 */
export function readingsOf(type: ColumnType, value: FilterValue, isSingle: boolean): readonly Comparable[] | undefined {
  const domain = domainOfType(type)
  if (domain === 'text') return typeof value === 'string' ? [new TextEncoder().encode(value)] : undefined
  if (domain === 'uuid') return typeof value === 'string' ? uuidBytes(value) : undefined
  if (domain === 'binary') return value instanceof Uint8Array ? [value] : undefined
  if (domain === 'boolean') return typeof value === 'boolean' ? [value ? 1n : 0n] : undefined
  if (domain !== 'number') return typeof value === 'bigint' ? [value] : undefined
  if (typeof value === 'number') return isSingle ? [value, Math.fround(value)] : [value]
  if (typeof value !== 'bigint') return undefined
  const exact: Comparable = type.kind === 'decimal' ? { unscaled: value, scale: type.scale } : value
  const rounded = type.kind === 'decimal' ? Number(`${value}e-${type.scale}`) : Number(value)
  return isSingle ? [exact, rounded, Math.fround(rounded)] : [exact, rounded]
}

function uuidBytes(text: string): readonly Uint8Array[] | undefined {
  const hex = text.replaceAll('-', '')
  return /^[0-9a-f]{32}$/i.test(hex) ? [Buffer.from(hex, 'hex')] : undefined
}

export function compareValues(a: Comparable, b: Comparable): number {
  if (a instanceof Uint8Array || b instanceof Uint8Array) {
    return a instanceof Uint8Array && b instanceof Uint8Array ? Buffer.compare(a, b) : 0
  }
  if (typeof a === 'object' || typeof b === 'object') return compareDecimals(a, b)
  // JavaScript compares bigint with number by their exact values.
  return a < b ? -1 : a > b ? 1 : 0
}

function compareDecimals(a: bigint | number | Decimal, b: bigint | number | Decimal): number {
  if (a === Number.POSITIVE_INFINITY || b === Number.NEGATIVE_INFINITY) return a === b ? 0 : 1
  if (a === Number.NEGATIVE_INFINITY || b === Number.POSITIVE_INFINITY) return a === b ? 0 : -1
  const left = asDecimal(a)
  const right = asDecimal(b)
  const scale = Math.max(left.scale, right.scale)
  const leftScaled = left.unscaled * 10n ** BigInt(scale - left.scale)
  const rightScaled = right.unscaled * 10n ** BigInt(scale - right.scale)
  return leftScaled < rightScaled ? -1 : leftScaled > rightScaled ? 1 : 0
}

/** A double is a whole number times a power of two, so it is an exact decimal too. */
function asDecimal(value: bigint | number | Decimal): Decimal {
  if (typeof value === 'object') return value
  if (typeof value === 'bigint') return { unscaled: value, scale: 0 }
  let whole = value
  let halvings = 0
  while (!Number.isInteger(whole)) {
    whole *= 2
    halvings++
  }
  return { unscaled: BigInt(whole) * 5n ** BigInt(halvings), scale: halvings }
}
