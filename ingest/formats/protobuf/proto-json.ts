/**
 * Protobuf values as JSON text, for columns of type json.
 *
 *   integers, bool       a number with all its digits, true and false     Timestamp             text: 2026-01-31T23:59:59.123456Z
 *   float, double        a number; as text where it is none ("NaN")       Int64Value, …         the value inside, or null
 *   string, enum         text (an unknown number of an enum as text)      Struct, ListValue     an object, an array
 *   bytes                text in base64                                   Value                 what it holds
 *   message, map         an object with the names of the .proto           google.type.Date      text: 2026-01-31
 *   repeated             an array
 *
 * Fields that are null are left out of objects; those with a default value are there.
 */
import { dateText, timestampText } from '../binary/temporal-text.ts'
import { isMapField, type ProtoField, type ProtoMessage } from './proto-type.ts'
import { fallbackOf, type ProtoValue, ProtoValues, readMessage, Stop, stop } from './proto-values.ts'
import { problem, problemAt } from './proto-wire.ts'

/** The field of google.protobuf.Value that says null. */
const NULL_VALUE = 1

export type JsonTextResult =
  | { readonly text: string }
  | { readonly text: undefined; readonly problem: string; readonly at: number }

/** Of the message in the bytes; positions of problems count from their begin. */
export function messageJson(type: ProtoMessage, bytes: Uint8Array, at: number, end: number): JsonTextResult {
  return attempt(() => jsonOfMessage(readMessage(type, bytes, at, end)))
}

/** Of one field, from pieces that hold nothing else. `null`: it is absent. */
export function fieldJson(field: ProtoField, pieces: readonly Uint8Array[]): JsonTextResult {
  const bytes = pieces.length === 1 ? pieces[0] : Buffer.concat(pieces)
  const type: ProtoMessage = { name: field.name, wellKnown: undefined, fields: [{ ...field, oneof: -1 }] }
  return attempt(() => {
    const value = readMessage(type, bytes, 0, bytes.length).values[0] ?? fallbackOf(field)
    return value === undefined ? 'null' : jsonOfField(field, value)
  })
}

function attempt(make: () => string): JsonTextResult {
  try {
    return { text: make() }
  } catch (error) {
    if (error instanceof Stop) return { text: undefined, problem, at: problemAt }
    // A text longer than the engine can hold.
    if (error instanceof RangeError) return { text: undefined, problem: 'a value of too much JSON text', at: 0 }
    throw error
  }
}

export function jsonOfField(field: ProtoField, value: ProtoValue): string {
  if (isMapField(field)) {
    const entries = [...(value as Map<bigint | boolean | string, ProtoValue>)]
    return `{${entries.map(([key, each]) => `${JSON.stringify(String(key))}:${jsonOfValue(each)}`).join(',')}}`
  }
  if (Array.isArray(value)) return `[${value.map(jsonOfValue).join(',')}]`
  return jsonOfValue(value)
}

function jsonOfValue(value: ProtoValue): string {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? String(value) : `"${value}"`
    case 'string':
      return JSON.stringify(value)
    case 'bigint':
    case 'boolean':
      return String(value)
  }
  if (value instanceof ProtoValues) return jsonOfMessage(value)
  if (Buffer.isBuffer(value)) return `"${value.toString('base64')}"`
  return '[]'
}

function jsonOfMessage(message: ProtoValues): string {
  const { type, values } = message
  switch (type.wellKnown) {
    case 'timestamp':
      return `"${timestampText(timestampMicros(message), true)}"`
    case 'wrapper':
    case 'list-value':
    case 'struct':
      return jsonOfField(type.fields[0], values[0] ?? fallbackOf(type.fields[0])!)
    case 'value': {
      const index = values.findIndex((each) => each !== undefined)
      if (index < 0 || type.fields[index].number === NULL_VALUE) return 'null'
      return jsonOfField(type.fields[index], values[index]!)
    }
    case 'date':
      return `"${dateText(epochDays(message))}"`
  }
  const parts: string[] = []
  type.fields.forEach((field, index) => {
    const value = values[index] ?? fallbackOf(field)
    if (value !== undefined) parts.push(`${JSON.stringify(field.name)}:${jsonOfField(field, value)}`)
  })
  return `{${parts.join(',')}}`
}

export const SECONDS_MIN = -62_135_596_800n
export const SECONDS_MAX = 253_402_300_799n
export const NANOS_MAX = 999_999_999

/** Of a google.protobuf.Timestamp. */
export function timestampMicros({ values }: ProtoValues): bigint {
  const seconds = (values[0] ?? 0n) as bigint
  const nanos = (values[1] ?? 0) as number
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > NANOS_MAX) {
    return stop('', 'a timestamp out of range', 0)
  }
  return seconds * 1_000_000n + BigInt(Math.floor(nanos / 1000))
}

/** Of a google.type.Date, which must be a whole one. */
export function epochDays({ values }: ProtoValues): number {
  const [year, month, day] = values.map((each) => (each ?? 0) as number)
  const text = `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${String(day).padStart(2, '0')}`
  const ms = year >= 1 && year <= 9999 ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 10) !== text) {
    return stop('', 'a date that is none', 0)
  }
  return ms / 86_400_000
}

/** Of a google.type.TimeOfDay, microseconds since midnight. */
export function timeOfDayMicros({ values }: ProtoValues): number {
  const [hours, minutes, seconds, nanos] = values.map((each) => (each ?? 0) as number)
  const isTime = hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60 && seconds >= 0 && seconds < 60
  if (!isTime || nanos < 0 || nanos > NANOS_MAX) return stop('', 'a time outside of the day', 0)
  return ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + Math.floor(nanos / 1000)
}
