/**
 * Which hours of event time the rows of a segment touch, for whoever keeps a derived table up to date: a bounded set, of days
 * when there are too many hours, and "all" when there are too many days.
 */
import type { NewSegment } from '../../lake/catalog/catalog.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'

/** More hours than this are told as days, more days as "all". */
const TOUCHED_MAX = 64
const MICROS_PER_HOUR = 3_600_000_000
const MICROS_PER_DAY = 24 * MICROS_PER_HOUR
const TWO_32 = 4294967296
/** The high half of an int64 that a double still holds exactly. */
const SAFE_HIGH = 2 ** 21

/** The bounded set of event-time hours that the rows touch; rows without an event time touch nothing. */
export function touchedHours(
  pieces: readonly MicroBatch[],
  eventTimeFieldId: number | undefined,
): NewSegment['touched'] {
  const index = pieces[0].schema.columns.findIndex((column) => column.fieldId === eventTimeFieldId)
  if (index < 0) return { grain: 'all', values: [] }
  const vectors = pieces.map((piece) => piece.vectors[index])
  const hours = distinct(vectors, MICROS_PER_HOUR)
  if (hours) return { grain: 'hour', values: hours }
  const days = distinct(vectors, MICROS_PER_DAY)
  return days ? { grain: 'day', values: days } : { grain: 'all', values: [] }
}

/** Beyond 2^53 microseconds (year 2255) a double would round the last instant of an hour into the next one. */
function ordinalOf(high: number, low: number, unitMicros: number): number {
  if (high >= -SAFE_HIGH && high < SAFE_HIGH) return Math.floor((high * TWO_32 + low) / unitMicros)
  const micros = BigInt(high) * BigInt(TWO_32) + BigInt(low)
  const unit = BigInt(unitMicros)
  const remainder = ((micros % unit) + unit) % unit
  return Number((micros - remainder) / unit)
}

/** Sorted ordinals, or undefined when there are more than `TOUCHED_MAX`. */
function distinct(vectors: readonly ColumnVector[], unitMicros: number): number[] | undefined {
  const ordinals = new Set<number>()
  for (const vector of vectors) if (!addDistinct(vector, unitMicros, ordinals)) return undefined
  return [...ordinals].sort((a, b) => a - b)
}

/** False: too many. Reads int64 halves: no bigint a row. */
function addDistinct(vector: ColumnVector, unitMicros: number, ordinals: Set<number>): boolean {
  const { length, validity, data, column } = vector
  const words = new Int32Array(data.buffer, data.byteOffset, data.byteLength >> 2)
  const isDate = column.type.kind === 'date'
  let last = Number.NaN
  for (let row = 0; row < length; row += 1) {
    if (validity && ((validity[row >> 3] >> (row & 7)) & 1) === 0) continue
    const ordinal = isDate
      ? Math.floor((words[row] * MICROS_PER_DAY) / unitMicros)
      : ordinalOf(words[row * 2 + 1], words[row * 2] >>> 0, unitMicros)
    if (ordinal === last) continue
    last = ordinal
    ordinals.add(ordinal)
    if (ordinals.size > TOUCHED_MAX) return false
  }
  return true
}
