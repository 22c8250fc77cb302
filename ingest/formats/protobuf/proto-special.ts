/**
 * Messages that mean one value, from their bytes into the slot of a column:
 *
 *   Timestamp            seconds and nanoseconds → microseconds, cut; the years 1 to 9999
 *   Int64Value, …        the value inside, or the default when it is absent
 *   Struct, Value, …     JSON text, as any message whose column is json
 *   google.type.Date     days            google.type.TimeOfDay   microseconds since midnight
 *   confluent Decimal    two's complement of the scale that the field says (the message's own must be the same where it is set)
 */
import type { ColumnBuilder } from '../../decoder/column-builder.ts'
import { putDecimalBytes, putProblem } from '../binary/put-values.ts'
import { epochDays, messageJson, NANOS_MAX, timeOfDayMicros } from './proto-json.ts'
import type { FieldNode } from './proto-plan.ts'
import { putFallback, readValue } from './proto-scalars.ts'
import { readMessage, Stop, stop } from './proto-values.ts'
import { fail, high, low, problem, problemAt, readTag, readVarint, skipValue, VARINT } from './proto-wire.ts'

const SECONDS_MIN = -62_135_596_800
const SECONDS_MAX = 253_402_300_799

/** 0, or -1 with the problem set; positions count from the begin of `bytes`, which hold nothing but the message. */
export function putSpecial(field: FieldNode, builder: ColumnBuilder, row: number, bytes: Uint8Array): number {
  switch (field.special) {
    case 'timestamp':
      return putTimestamp(field, builder, row, bytes)
    case 'wrapper':
      return putWrapped(field.inner!, builder, row, bytes)
    case 'date':
    case 'time-of-day':
    case 'decimal':
      return putGeneral(field, builder, row, bytes)
    default: {
      const result = messageJson(field.field.message!, bytes, 0, bytes.length)
      if (result.text === undefined) return fail(field.path, result.problem, result.at)
      const text = Buffer.from(result.text, 'utf8')
      builder.setBytes(row, text, 0, text.length)
      return 0
    }
  }
}

function putTimestamp(field: FieldNode, builder: ColumnBuilder, row: number, bytes: Uint8Array): number {
  let seconds = 0
  let nanos = 0
  for (let at = 0; at < bytes.length; ) {
    at = readTag(field.path, bytes, at, bytes.length)
    if (at < 0) return at
    const tag = low
    if (tag === ((1 << 3) | VARINT) || tag === ((2 << 3) | VARINT)) {
      at = readVarint(field.path, bytes, at, bytes.length)
      if (at < 0) return at
      if (tag >>> 3 === 1) seconds = high * 4294967296 + (low >>> 0)
      else nanos = low
    } else {
      at = skipValue(field.path, bytes, tag, at, bytes.length)
      if (at < 0) return at
    }
  }
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > NANOS_MAX) {
    return fail(field.path, 'a timestamp out of range', 0)
  }
  const days = Math.floor(seconds / 86_400)
  builder.setDayMicros(row, days, (seconds - days * 86_400) * 1_000_000 + Math.floor(nanos / 1000))
  return 0
}

function putWrapped(inner: FieldNode, builder: ColumnBuilder, row: number, bytes: Uint8Array): number {
  if (putFallback(inner, builder, row) < 0) return -1
  for (let at = 0; at < bytes.length; ) {
    at = readTag(inner.path, bytes, at, bytes.length)
    if (at < 0) return at
    const tag = low
    at =
      tag === ((inner.field.number << 3) | inner.wire)
        ? readValue(inner, builder, row, bytes, at, bytes.length)
        : skipValue(inner.path, bytes, tag, at, bytes.length)
    if (at < 0) return at
  }
  return 0
}

function putGeneral(field: FieldNode, builder: ColumnBuilder, row: number, bytes: Uint8Array): number {
  try {
    const message = readMessage(field.field.message!, bytes, 0, bytes.length)
    if (field.special === 'date') builder.int32[row] = epochDays(message)
    else if (field.special === 'time-of-day') builder.setSafeInteger(row, timeOfDayMicros(message))
    else {
      const [value, , ownScale] = message.values
      const { scale } = field.field.decimal!
      if (ownScale !== undefined && ownScale !== scale) stop(field.path, 'a decimal of another scale', 0)
      const unscaled = (value ?? new Uint8Array(0)) as Uint8Array
      if (!putDecimalBytes(builder, row, unscaled, 0, unscaled.length, scale)) stop(field.path, putProblem, 0)
    }
    return 0
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return fail(field.path, `expected ${field.expected}, found ${problem}`, problemAt)
  }
}
