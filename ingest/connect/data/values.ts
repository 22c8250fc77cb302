/**
 * Values of Kafka Connect's data model, and what stands for each Java class.
 *
 *   schema type                        value with a schema         value without
 *   int8 int16 int32                   number                      `SizedNumber` (Java keeps Byte, Short and Integer apart)
 *   int64                              bigint                      bigint
 *   float32                            number (already rounded)    `SizedNumber`
 *   float64                            number                      number (always a Java Double: 1 is 1.0)
 *   boolean, string                    boolean, string             the same
 *   bytes                              Uint8Array                  the same
 *   array                              array                       the same
 *   map                                Map, in the order read      the same; objects of JSON are maps with string keys
 *   struct                             `Struct`                    -
 *   Decimal                            `Decimal`                   the same
 *   Date, Time, Timestamp              `Instant`                   the same
 *   null                               null                        null
 *
 * What JSON without a schema gives is therefore: null, boolean, bigint for a number written without fraction and exponent,
 * number for any other, string, array, Map. Only transforms make a `SizedNumber`.
 */
import type { ConnectField, ConnectSchema } from './schema.ts'
import { sameSchema } from './schema.ts'

export type ConnectValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | SizedNumber
  | Decimal
  | Instant
  | Struct
  | readonly ConnectValue[]
  | ConnectMap

export type ConnectMap = ReadonlyMap<ConnectValue, ConnectValue>

/** A Byte, Short, Integer or Float where no schema says so. */
export class SizedNumber {
  readonly type: 'int8' | 'int16' | 'int32' | 'float32'
  readonly value: number

  constructor(type: SizedNumber['type'], value: number) {
    this.type = type
    this.value = value
  }
}

/** `unscaled × 10^-scale`; the scale may be negative. */
export class Decimal {
  readonly unscaled: bigint
  readonly scale: number

  constructor(unscaled: bigint, scale: number) {
    this.unscaled = unscaled
    this.scale = scale
  }
}

/**
 * A Java Date: milliseconds since 1970-01-01 UTC (a whole number within 2^53), plus the microseconds 0..999 within that
 * millisecond, which Java's lacks: they come from sources that have them and are kept by transforms that only move the value.
 * A Date has midnight UTC, a Time is on 1970-01-01.
 */
export class Instant {
  readonly millis: number
  readonly micros: number

  constructor(millis: number, micros = 0) {
    this.millis = millis
    this.micros = micros
  }

  /** Since 1970-01-01 UTC; of a Time: since midnight. */
  epochMicros(): bigint {
    return BigInt(this.millis) * 1000n + BigInt(this.micros)
  }

  /** Of a Date. */
  epochDays(): number {
    return Math.floor(this.millis / 86_400_000)
  }
}

export function instantOfMicros(epochMicros: bigint): Instant {
  const micros = Number(((epochMicros % 1000n) + 1000n) % 1000n)
  return new Instant(Number((epochMicros - BigInt(micros)) / 1000n), micros)
}

/** Values by the index of their field; null where a field was not given, also if its schema has a default. */
export class Struct {
  readonly schema: ConnectSchema
  readonly values: readonly ConnectValue[]

  /** One value for each field of the schema, in its order. */
  constructor(schema: ConnectSchema, values: readonly ConnectValue[]) {
    this.schema = schema
    this.values = values
  }

  /** Null gives the default of the field's schema, where it has one. */
  get(field: ConnectField): ConnectValue {
    return this.values[field.index] ?? field.schema.defaultValue ?? null
  }
}

export function isMap(value: ConnectValue): value is ConnectMap {
  return value instanceof Map
}

export function isArray(value: ConnectValue): value is readonly ConnectValue[] {
  return Array.isArray(value)
}

export function sameValue(a: ConnectValue, b: ConnectValue): boolean {
  if (Object.is(a, b)) return true
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return false
  if (a instanceof Uint8Array) return b instanceof Uint8Array && Buffer.compare(a, b) === 0
  if (a instanceof SizedNumber) return b instanceof SizedNumber && a.type === b.type && Object.is(a.value, b.value)
  if (a instanceof Decimal) return b instanceof Decimal && a.scale === b.scale && a.unscaled === b.unscaled
  if (a instanceof Instant) return b instanceof Instant && a.millis === b.millis && a.micros === b.micros
  if (a instanceof Struct) return b instanceof Struct && sameSchema(a.schema, b.schema) && sameList(a.values, b.values)
  if (isArray(a)) return isArray(b) && sameList(a, b)
  return isMap(b) && sameMap(a, b)
}

function sameList(a: readonly ConnectValue[], b: readonly ConnectValue[]): boolean {
  return a.length === b.length && a.every((each, i) => sameValue(each, b[i]))
}

function sameMap(a: ConnectMap, b: ConnectMap): boolean {
  if (a.size !== b.size) return false
  for (const [key, value] of a) {
    const other = b.get(key)
    if (other === undefined || !sameValue(value, other)) return false
  }
  return true
}
