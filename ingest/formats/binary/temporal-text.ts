/** Dates and times as text, with years beyond 9999 and before 1 as ISO 8601 writes them (±YYYYYY), microseconds where there are any. */
import { floorDiv } from './put-values.ts'

const DAY_MICROS = 86_400_000_000n

export function dateText(days: number): string {
  const { year, month, day } = civil(days)
  return `${yearText(year)}-${two(month)}-${two(day)}`
}

/** Microseconds since midnight. */
export function timeText(micros: bigint): string {
  const total = Number(micros)
  const seconds = Math.floor(total / 1_000_000)
  const fraction = total - seconds * 1_000_000
  const text = `${two(Math.floor(seconds / 3600))}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`
  return fraction === 0 ? text : `${text}.${String(fraction).padStart(6, '0')}`
}

/** Microseconds since 1970. */
export function timestampText(micros: bigint, isUtc: boolean): string {
  const days = floorDiv(micros, DAY_MICROS)
  return `${dateText(Number(days))}T${timeText(micros - days * DAY_MICROS)}${isUtc ? 'Z' : ''}`
}

/** Days since 1970 → the Gregorian calendar, years of the era counted from March. */
function civil(days: number): { year: number; month: number; day: number } {
  const shifted = days + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const shiftedMonth = Math.floor((5 * dayOfYear + 2) / 153)
  const month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
  return {
    year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - Math.floor((153 * shiftedMonth + 2) / 5) + 1,
  }
}

function yearText(year: number): string {
  if (year >= 0 && year <= 9999) return String(year).padStart(4, '0')
  return `${year < 0 ? '-' : '+'}${String(Math.abs(year)).padStart(6, '0')}`
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value)
}
