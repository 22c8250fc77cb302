/**
 * Values as binary formats bring them → the slot of a column. What is to be done is a small integer, made once for a pair of
 * what the writer has and what the column is (`integerPut`, `textPut`, …), so that the choice per value is a jump.
 *
 *   writer has                 column
 *   integer                    int, long, decimal; float, double (nearest); date (days), time and timestamps (unit of the
 *                              writer's logical type; milliseconds where it has none, as JSON numbers)
 *   float, double              float (nearest), double
 *   text                       string, binary; uuid, decimal, date, time, timestamps by their text
 *   bytes                      binary; string when they are UTF-8; uuid when they are 16
 *   decimal                    decimal of the same or a larger scale, within its precision; string
 *
 * `put…` returns false for a value that the column cannot take, `putProblem` says why; the slot may hold anything then. A
 * 64-bit integer comes as two halves, low one first. Measured with 12 columns: 20 ns a value, most of it the copy of texts.
 */
import { isUtf8 } from 'node:buffer'
import type { ColumnType } from '../../../schemas/column-type.ts'
import type { ColumnBuilder } from '../../decoder/column-builder.ts'
import { readDate, readDecimalText, readTime, readTimestamp, readUuid } from '../../decoder/read-text.ts'

export type IntegerUnit = 'plain' | 'days' | 'millis' | 'micros' | 'nanos'

/** No `put` of the pair: the column does not take what the writer has. */
export const NO_PUT = -1

const TO_INT = 0
const TO_LONG = 1
const TO_FLOAT = 2
const TO_DOUBLE = 3
const TO_DECIMAL = 4
const TO_MICROS_FROM_MILLIS = 5
const TO_MICROS_FROM_NANOS = 6
const TO_TIME_FROM_MILLIS = 7
const TO_TIME_FROM_MICROS = 8
const TO_STRING = 9
const TO_BINARY = 10
const TO_UUID = 11
const TO_DATE = 12
const TO_TIME = 13
const TO_TIMESTAMP = 14
const TO_TIMESTAMPTZ = 15

const DAY_MICROS = 86_400_000_000
const DAY_MILLIS = 86_400_000
/** Texts up to here are copied byte by byte, which is cheaper than the call that copies a block. */
const SHORT_TEXT = 40

export let putProblem = ''

export function noPut(problem: string): false {
  putProblem = problem
  return false
}

export function integerPut(unit: IntegerUnit, type: ColumnType): number {
  switch (type.kind) {
    case 'int':
      return TO_INT
    case 'long':
      return TO_LONG
    case 'float':
      return unit === 'plain' ? TO_FLOAT : NO_PUT
    case 'double':
      return unit === 'plain' ? TO_DOUBLE : NO_PUT
    case 'decimal':
      return unit === 'plain' ? TO_DECIMAL : NO_PUT
    case 'date':
      return unit === 'plain' || unit === 'days' ? TO_INT : NO_PUT
    case 'time':
      if (unit === 'micros') return TO_TIME_FROM_MICROS
      return unit === 'plain' || unit === 'millis' ? TO_TIME_FROM_MILLIS : NO_PUT
    case 'timestamp':
    case 'timestamptz':
      if (unit === 'plain' || unit === 'millis') return TO_MICROS_FROM_MILLIS
      if (unit === 'micros') return TO_LONG
      return unit === 'nanos' ? TO_MICROS_FROM_NANOS : NO_PUT
    default:
      return NO_PUT
  }
}

export function floatPut(type: ColumnType): number {
  return type.kind === 'float' ? TO_FLOAT : type.kind === 'double' ? TO_DOUBLE : NO_PUT
}

export function textPut(type: ColumnType): number {
  switch (type.kind) {
    case 'string':
      return TO_STRING
    case 'binary':
      return TO_BINARY
    case 'uuid':
      return TO_UUID
    case 'decimal':
      return TO_DECIMAL
    case 'date':
      return TO_DATE
    case 'time':
      return TO_TIME
    case 'timestamp':
      return TO_TIMESTAMP
    case 'timestamptz':
      return TO_TIMESTAMPTZ
    default:
      return NO_PUT
  }
}

export function bytesPut(type: ColumnType, isUuid: boolean): number {
  if (type.kind === 'binary') return TO_BINARY
  if (type.kind === 'uuid' && isUuid) return TO_UUID
  return type.kind === 'string' && !isUuid ? TO_STRING : NO_PUT
}

export function putInteger(put: number, builder: ColumnBuilder, row: number, low: number, high: number): boolean {
  switch (put) {
    case TO_LONG:
      builder.int32[row * 2] = low
      builder.int32[row * 2 + 1] = high
      return true
    case TO_INT:
      if (high !== low >> 31) return noPut('number out of range')
      builder.int32[row] = low
      return true
    case TO_MICROS_FROM_MILLIS:
      return putScaled(builder, row, low, high)
    case TO_MICROS_FROM_NANOS:
      builder.setInt64(row, floorDiv(bigOf(low, high), 1000n))
      return true
    case TO_TIME_FROM_MICROS: {
      const micros = high * 4294967296 + (low >>> 0)
      if (!(micros >= 0 && micros < DAY_MICROS)) return noPut('a time outside of the day')
      builder.setSafeInteger(row, micros)
      return true
    }
    case TO_TIME_FROM_MILLIS: {
      const millis = high * 4294967296 + (low >>> 0)
      if (!(millis >= 0 && millis < DAY_MILLIS)) return noPut('a time outside of the day')
      builder.setSafeInteger(row, millis * 1000)
      return true
    }
    case TO_DOUBLE:
      builder.float64[row] = high * 4294967296 + (low >>> 0)
      return true
    case TO_FLOAT: {
      const exact = high * 4294967296 + (low >>> 0)
      // Two roundings may differ from one.
      builder.float32[row] = Number.isSafeInteger(exact) ? exact : nearestFloatOf(bigOf(low, high))
      return true
    }
    case TO_DECIMAL:
      return putUnscaled(builder, row, bigOf(low, high), 0)
    default:
      return noPut('a number')
  }
}

/** Of an integer without sign. */
export function putUnsigned(put: number, builder: ColumnBuilder, row: number, low: number, high: number): boolean {
  if (high >= 0) return putInteger(put, builder, row, low, high)
  const value = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
  switch (put) {
    case TO_DOUBLE:
      builder.float64[row] = Number(value)
      return true
    case TO_FLOAT:
      builder.float32[row] = nearestFloatOf(value)
      return true
    case TO_DECIMAL:
      return putUnscaled(builder, row, value, 0)
    default:
      return noPut('number out of range')
  }
}

function putScaled(builder: ColumnBuilder, row: number, low: number, high: number): boolean {
  const micros = (high * 4294967296 + (low >>> 0)) * 1000
  if (Number.isSafeInteger(micros)) {
    builder.setSafeInteger(row, micros)
    return true
  }
  const exact = bigOf(low, high) * 1000n
  if (BigInt.asIntN(64, exact) !== exact) return noPut('number out of range')
  builder.setInt64(row, exact)
  return true
}

export function putFloat(put: number, builder: ColumnBuilder, row: number, value: number): boolean {
  if (put === TO_DOUBLE) builder.float64[row] = value
  else builder.float32[row] = value
  return true
}

export function putBoolean(builder: ColumnBuilder, row: number, value: boolean): boolean {
  builder.setBoolean(row, value)
  return true
}

/** UTF-8 that must be well-formed, whatever the column. */
export function putText(
  put: number,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  from: number,
  to: number,
): boolean {
  if (put === TO_STRING) {
    const start = builder.offsets[row]
    const stop = start + to - from
    if (stop > builder.data.length) builder.growBytes(stop)
    const { data } = builder
    let seen = 0
    if (to - from <= SHORT_TEXT) {
      let out = start
      for (let at = from; at < to; at += 1) {
        const byte = bytes[at]
        data[out++] = byte
        seen |= byte
      }
    } else {
      seen = 0x80
      data.set(bytes.subarray(from, to), start)
    }
    if (seen >= 0x80 && !isUtf8(bytes.subarray(from, to))) return noPut('text that is no UTF-8')
    builder.offsets[row + 1] = stop
    return true
  }
  if (!isUtf8(bytes.subarray(from, to))) return noPut('text that is no UTF-8')
  switch (put) {
    case TO_BINARY:
      builder.setBytes(row, bytes, from, to)
      return true
    case TO_UUID:
      return readUuid(builder, row, bytes, from, to) || noPut('text that is no uuid')
    case TO_DECIMAL:
      return readDecimalText(builder, row, bytes, from, to) || noPut('text that is no such decimal')
    case TO_DATE:
      return readDate(builder, row, bytes, from, to) || noPut('text that is no date')
    case TO_TIME:
      return readTime(builder, row, bytes, from, to) || noPut('text that is no time')
    case TO_TIMESTAMP:
    case TO_TIMESTAMPTZ:
      return (
        readTimestamp(builder, row, bytes, from, to, put === TO_TIMESTAMPTZ) || noPut('text that is no such timestamp')
      )
    default:
      return noPut('text')
  }
}

export function putBytes(
  put: number,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  from: number,
  to: number,
): boolean {
  switch (put) {
    case TO_BINARY:
      builder.setBytes(row, bytes, from, to)
      return true
    case TO_STRING:
      return putText(TO_STRING, builder, row, bytes, from, to)
    case TO_UUID:
      if (to - from !== 16) return noPut(`${to - from} bytes where a uuid has 16`)
      builder.data.set(bytes.subarray(from, to), row * 16)
      return true
    default:
      return noPut('bytes')
  }
}

/** Big-endian two's complement of `scale` into a decimal column. */
export function putDecimalBytes(
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  scale: number,
): boolean {
  if (to - from > 0 && to - from <= 6) {
    let value = bytes[from] >= 0x80 ? bytes[from] - 256 : bytes[from]
    for (let at = from + 1; at < to; at += 1) value = value * 256 + bytes[at]
    const { type } = builder.column
    if (type.kind === 'decimal' && type.scale === scale && Math.abs(value) < safePower(type.precision)) {
      builder.setSafeDecimal(row, value)
      return true
    }
  }
  const value = signedOf(bytes, from, to)
  return value === undefined ? noPut('number out of range') : putUnscaled(builder, row, value, scale)
}

/** undefined: more than 38 digits can be. No bytes are 0, as Java writes none for it in old versions. */
export function signedOf(bytes: Uint8Array, from: number, to: number): bigint | undefined {
  if (to === from) return 0n
  const sign = bytes[from] >= 0x80 ? 0xff : 0
  let start = from
  while (start < to - 1 && bytes[start] === sign && (bytes[start + 1] & 0x80) === (sign & 0x80)) start += 1
  if (to - start > 32) return undefined
  let value = BigInt(sign === 0 ? bytes[start] : bytes[start] - 256)
  for (let at = start + 1; at < to; at += 1) value = (value << 8n) | BigInt(bytes[at])
  return value
}

export function putUnscaled(builder: ColumnBuilder, row: number, unscaled: bigint, scale: number): boolean {
  const { type } = builder.column
  if (type.kind !== 'decimal' || type.scale < scale) return noPut('a decimal')
  const value = unscaled * 10n ** BigInt(type.scale - scale)
  if ((value < 0n ? -value : value) >= 10n ** BigInt(type.precision)) return noPut('number out of range')
  builder.setInt128(row, value)
  return true
}

export function decimalText(unscaled: bigint, scale: number): string {
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return `${unscaled < 0n ? '-' : ''}${whole}${scale > 0 ? `.${digits.slice(digits.length - scale)}` : ''}`
}

/** Copies bytes known to be fine (an enum's symbol). */
export function putKnown(builder: ColumnBuilder, row: number, bytes: Uint8Array): void {
  const start = builder.offsets[row]
  const stop = start + bytes.length
  if (stop > builder.data.length) builder.growBytes(stop)
  const { data } = builder
  if (bytes.length <= SHORT_TEXT) for (let at = 0; at < bytes.length; at += 1) data[start + at] = bytes[at]
  else data.set(bytes, start)
  builder.offsets[row + 1] = stop
}

export function bigOf(low: number, high: number): bigint {
  return (BigInt(high) << 32n) | BigInt(low >>> 0)
}

export function floorDiv(value: bigint, by: bigint): bigint {
  const quotient = value / by
  return value < 0n && quotient * by !== value ? quotient - 1n : quotient
}

/** 10^precision where a double of at most 48 bits is compared with it. */
function safePower(precision: number): number {
  return precision >= 15 ? Number.POSITIVE_INFINITY : 10 ** precision
}

/** Round to 24 bits, ties to even, without a double in between. */
function nearestFloatOf(value: bigint): number {
  const magnitude = value < 0n ? -value : value
  const excess = magnitude.toString(2).length - 24
  if (excess <= 0) return Number(value)
  const shift = BigInt(excess)
  const half = 1n << (shift - 1n)
  const rest = magnitude & ((1n << shift) - 1n)
  let kept = magnitude >> shift
  if (rest > half || (rest === half && (kept & 1n) === 1n)) kept += 1n
  const rounded = Number(kept << shift)
  return value < 0n ? -rounded : rounded
}
