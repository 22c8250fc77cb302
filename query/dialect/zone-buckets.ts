/**
 * Buckets of time that begin where the clock on a zone's wall says: at local midnight, at 00:00, 04:00, 08:00 …
 *
 *   days and longer   the first moment of the bucket's first local day. A day has 23, 24 or 25 hours.
 *   hours, minutes    the newest moment, not after the row, at which the wall clock shows a multiple of the width. The hour that a
 *                     clock goes through twice begins twice; where it jumps over a multiple, the bucket begins at the jump.
 *                     So a row is in exactly one bucket and never before its start.
 *   odd widths        (7 minutes, 5 hours: no wall clock divides into them) count from the zone's midnight of 2000-01-03
 *
 * DuckDB's own `time_bucket` with a zone counts hours from a winter's midnight, so that a bucket of four hours begins at 01:00 all
 * summer; and it takes 15 µs a row for days, where this takes 0.5. A timestamp without a zone is taken as UTC.
 *
 * Minutes and hours by which all of a zone's distances from UTC can be divided need no wall clock at all: those are cut in UTC,
 * at 0.02 µs a row.
 */

import { type Interval, intervalSql } from './interval-literal.ts'
import type { Piece } from './pieces.ts'

const HOUR = 3_600_000_000
const DAY = 24 * HOUR
/** Before it, distances from UTC were odd in places; far after it, Intl and DuckDB may know different rules. */
export const PLAIN_FROM = "TIMESTAMPTZ '1990-01-01 00:00:00+00'"
export const PLAIN_UNTIL = "TIMESTAMPTZ '2038-01-01 00:00:00+00'"

export type ZoneBucket = {
  /** Pieces of expressions; they are repeated in the outcome, where DuckDB finds out that they are the same. */
  readonly time: readonly Piece[]
  readonly zone: readonly Piece[]
  readonly zoneName: string | undefined
  readonly width: Interval | readonly Piece[]
  readonly origin: readonly Piece[] | undefined
  own(text: string): Piece
}

export function bucketInZone({ time, zone, zoneName, width, origin, own }: ZoneBucket): Piece[] {
  const known = 'months' in width ? width : undefined
  const widthSql: readonly Piece[] = known
    ? [own(intervalSql(known))]
    : [own('CAST('), ...(width as readonly Piece[]), own(' AS INTERVAL)')]
  /** `@t @z @w @o` stand for the parts. */
  const fill = (template: string): Piece[] =>
    template.split(/(@[tzwo])/).flatMap((part) => {
      if (part === '@t') return [own('make_timestamptz(epoch_us('), ...time, own('))')]
      if (part === '@z') return [...zone]
      if (part === '@w') return [...widthSql]
      if (part === '@o') return origin ? [own(', timezone('), ...zone, own(', '), ...origin, own(')')] : []
      return part === '' ? [] : [own(part)]
    })
  if (!known) {
    const isCalendar = `(date_part('year', @w) <> 0 OR date_part('month', @w) <> 0 OR date_part('day', @w) <> 0)`
    const isEven = `${DAY} % epoch_us(@w) = 0 AND (${HOUR} % epoch_us(@w) = 0 OR epoch_us(@w) % ${HOUR / 2} = 0)`
    return fill(
      `(CASE WHEN ${isCalendar} THEN ${calendarSql()} WHEN ${isEven} THEN ${clockSql('epoch_us(@w)')} ELSE ${absoluteSql()} END)`,
    )
  }
  if (known.months > 0 || known.days > 0) return fill(calendarSql())
  const micros = known.micros
  const isEven = micros > 0 && DAY % micros === 0 && (HOUR % micros === 0 || micros % (HOUR / 2) === 0)
  if (!isEven) return fill(absoluteSql())
  if (origin || zoneName === undefined || !offsetsDivide(zoneName, micros)) return fill(clockSql(String(micros)))
  const plain = `make_timestamptz(epoch_us(@t) // ${micros} * ${micros})`
  return fill(
    `(CASE WHEN @t >= ${PLAIN_FROM} AND @t < ${PLAIN_UNTIL} THEN ${plain} ELSE ${clockSql(String(micros))} END)`,
  )
}

/** A local midnight may come twice, where clocks go back at it: the first one. Where it is skipped, DuckDB goes on after the gap. */
function calendarSql(): string {
  const midnight = 'time_bucket(@w, timezone(@z, @t)@o)'
  const start = `timezone(@z, ${midnight})`
  return `(${start} - to_hours(CASE WHEN timezone(@z, ${start} - INTERVAL 1 HOUR) = ${midnight} THEN 1 ELSE 0 END))`
}

function clockSql(micros: string): string {
  const wall = (instant: string) => `epoch_us(timezone(@z, make_timestamptz(${instant})))`
  const shown = 'epoch_us(time_bucket(@w, timezone(@z, @t)@o))'
  // With the distance from UTC that the row has; right unless the clock was put forward or back in between.
  const near = `(epoch_us(@t) - (epoch_us(timezone(@z, @t)) - ${shown}))`
  const before = `epoch_us(timezone(@z, make_timestamp(${shown})))`
  const passed = `(${before} + ${micros} <= epoch_us(@t) AND ${wall(`${before} + ${micros}`)} = ${shown} + ${micros})`
  const inGap = `${wall(`${before} - ${HOUR / 2}`)} >= ${shown}`
  const otherwise = `CASE WHEN ${passed} THEN ${before} + ${micros} WHEN ${inGap} THEN ${before} - ${HOUR / 2} ELSE ${before} END`
  return `make_timestamptz(CASE WHEN ${wall(near)} = ${shown} THEN ${near} ELSE ${otherwise} END)`
}

function absoluteSql(): string {
  return `time_bucket(@w, @t, timezone(@z, TIMESTAMP '2000-01-03 00:00:00'))`
}

const dividesKept = new Map<string, boolean>()
const KEPT_MAX = 2000
const SAMPLE_MS = 20 * 24 * 3_600_000

/** Whether every distance from UTC that the zone has in the plain years is a multiple of this. */
function offsetsDivide(zone: string, micros: number): boolean {
  const key = `${zone} ${micros}`
  const known = dividesKept.get(key)
  if (known !== undefined) return known
  const found = offsetsOf(zone)?.every((offset) => (offset * 1000) % micros === 0) ?? false
  if (dividesKept.size >= KEPT_MAX) dividesKept.clear()
  dividesKept.set(key, found)
  return found
}

/** In milliseconds; undefined: Intl does not know the zone, DuckDB may. */
function offsetsOf(zone: string): readonly number[] | undefined {
  let format: Intl.DateTimeFormat
  try {
    format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' })
  } catch {
    return undefined
  }
  const offsets = new Set<number>()
  for (let at = Date.UTC(1989, 11, 1); at < Date.UTC(2038, 1, 1); at += SAMPLE_MS) {
    const name = format.formatToParts(at).find((part) => part.type === 'timeZoneName')?.value ?? ''
    const parts = /^GMT(?:([+-])(\d\d):(\d\d)(?::(\d\d))?)?$/.exec(name)
    if (!parts) return undefined
    const seconds = Number(parts[2] ?? 0) * 3600 + Number(parts[3] ?? 0) * 60 + Number(parts[4] ?? 0)
    offsets.add((parts[1] === '-' ? -seconds : seconds) * 1000)
  }
  return [...offsets]
}
