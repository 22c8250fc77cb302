/**
 * One value cast to another type, as Java's numbers, `parseInt` and `toString` do it: integers that do not fit wrap, floats
 * saturate, a text must be a number of the type (a boolean: `true`, anything else is false), bytes become base64.
 *
 * With a schema, Date, Time and Timestamp count as their days or milliseconds, but as ISO text for a string.
 */
import { type ConnectSchema, DATE, TIME, TIMESTAMP } from '../data/schema.ts'
import { type ConnectValue, Decimal, Instant, isArray, isMap, SizedNumber, Struct } from '../data/values.ts'
import { DAY_MS } from '../java/calendar.ts'
import { isoText } from '../java/iso-text.ts'
import {
  decimalText,
  decimalToDouble,
  decimalToFloat,
  decimalToInteger,
  doubleText,
  doubleToInt32,
  doubleToInt64,
  floatText,
  INTEGER_BITS,
  parseDouble,
  parseFloat32,
  parseInteger,
} from '../java/numbers.ts'
import { describe, refuse } from './transform.ts'

export const CAST_TYPES = ['int8', 'int16', 'int32', 'int64', 'float32', 'float64', 'boolean', 'string'] as const
export type CastType = (typeof CAST_TYPES)[number]

/** `schema` undefined: a value without one, and so is the result. */
export function castValue(value: ConnectValue, schema: ConnectSchema | undefined, target: CastType): ConnectValue {
  if (value === null) return null
  if (schema === undefined) {
    if (value instanceof SizedNumber)
      return bare(castNumber(value.value, value.type === 'float32', target, true), target)
    if (value instanceof Instant || value instanceof Decimal) {
      return refuse('data', `${describe(value)} cannot be cast without a schema`)
    }
    return bare(cast(value, false, target, typeof value === 'number'), target)
  }
  if (schema.type === 'struct' || schema.type === 'map' || schema.type === 'array') {
    return refuse('data', `a ${schema.type} cannot be cast`)
  }
  const plain = target === 'string' ? value : withoutLogicalType(value, schema)
  return cast(plain, schema.type === 'float32', target, schema.type === 'float32' || schema.type === 'float64')
}

/** Where no schema tells the size of a number, the value does. */
function bare(value: ConnectValue, target: CastType): ConnectValue {
  switch (target) {
    case 'int8':
    case 'int16':
    case 'int32':
    case 'float32':
      return new SizedNumber(target, value as number)
    default:
      return value
  }
}

function withoutLogicalType(value: ConnectValue, schema: ConnectSchema): ConnectValue {
  if (schema.name !== DATE && schema.name !== TIME && schema.name !== TIMESTAMP) return value
  if (!(value instanceof Instant)) return refuse('classCast', `${describe(value)} under the name ${schema.name}`)
  if (schema.name === TIMESTAMP) return BigInt(value.millis)
  if (schema.name === DATE) {
    return value.millis % DAY_MS === 0
      ? (value.millis / DAY_MS) | 0
      : refuse('data', 'a Date has hours, minutes, seconds or milliseconds')
  }
  return value.millis >= 0 && value.millis <= DAY_MS ? value.millis : refuse('data', 'a Time is not within one day')
}

function cast(value: ConnectValue, isFloat32: boolean, target: CastType, isFloat: boolean): ConnectValue {
  switch (typeof value) {
    case 'number':
      return castNumber(value, isFloat32, target, isFloat)
    case 'bigint':
      return castInteger(value, target)
    case 'boolean':
      if (target === 'boolean') return value
      return target === 'string' ? String(value) : target === 'int64' ? (value ? 1n : 0n) : value ? 1 : 0
    case 'string':
      return castText(value, target)
  }
  if (value instanceof Decimal) return castDecimal(value, target)
  if (target !== 'string' || isArray(value as ConnectValue) || isMap(value) || value instanceof Struct) {
    return refuse('data', `${describe(value)} cannot be cast to ${target}`)
  }
  if (value instanceof Instant) return isoText(value.millis)
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : refuse('data', 'unknown value')
}

/** An int8, int16 or int32, or a float. */
function castNumber(value: number, isFloat32: boolean, target: CastType, isFloat: boolean): ConnectValue {
  switch (target) {
    case 'int8':
      return (doubleToInt32(value) << 24) >> 24
    case 'int16':
      return (doubleToInt32(value) << 16) >> 16
    case 'int32':
      return doubleToInt32(value)
    case 'int64':
      return doubleToInt64(value)
    case 'float32':
      return Math.fround(value)
    case 'float64':
      return value
    case 'boolean':
      return Math.abs(value) >= 1
    case 'string':
      return isFloat32 ? floatText(value) : isFloat ? doubleText(value) : String(value)
  }
}

function castInteger(value: bigint, target: CastType): ConnectValue {
  switch (target) {
    case 'int8':
    case 'int16':
    case 'int32':
      return Number(BigInt.asIntN(INTEGER_BITS[target], value))
    case 'int64':
      return value
    case 'float32': {
      const double = Number(value)
      return Number.isSafeInteger(double) ? Math.fround(double) : parseFloat32(String(value))!
    }
    case 'float64':
      return Number(value)
    case 'boolean':
      return value !== 0n
    case 'string':
      return String(value)
  }
}

function castDecimal(value: Decimal, target: CastType): ConnectValue {
  switch (target) {
    case 'float32':
      return decimalToFloat(value)
    case 'float64':
      return decimalToDouble(value)
    case 'string':
      return decimalText(value)
    default:
      return castInteger(BigInt.asIntN(64, decimalToInteger(value)), target)
  }
}

function castText(value: string, target: CastType): ConnectValue {
  switch (target) {
    case 'string':
      return value
    case 'boolean':
      return value.toLowerCase() === 'true'
    case 'float32':
      return parseFloat32(value) ?? notA(value, target)
    case 'float64':
      return parseDouble(value) ?? notA(value, target)
    case 'int64':
      return parseInteger(value, target) ?? notA(value, target)
    default:
      return Number(parseInteger(value, target) ?? notA(value, target))
  }
}

const TEXT_SHOWN_MAX = 64

function notA(text: string, target: CastType): never {
  const shown = text.length > TEXT_SHOWN_MAX ? `${text.slice(0, TEXT_SHOWN_MAX)}…` : text
  return refuse('data', `"${shown}" is no ${target}`)
}
