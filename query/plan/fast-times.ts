/**
 * `date_trunc` of a timestamp with a zone, as fast as of one without. DuckDB asks its calendar for every value: 0.3 µs a row,
 * ten times what it takes by arithmetic. Macros of a query's connection stand before its own function and take the short way
 * where it gives the same:
 *
 *   seconds, minutes     every zone's distance from UTC has been whole minutes since 1972: cut in UTC
 *   hours                the same in a session of UTC
 *   days and longer      in a session of UTC as of a timestamp without a zone: the calendars are the same
 *
 * and only from 1990 to 2038 (`PLAIN_FROM`); everything else, infinity and NULL among it, goes to DuckDB's own function, but for the
 * hour that comes twice in autumn: it gives the second one's beginning for rows of the first, where these give the first one's. A unit
 * that is a constant, and the session's zone, leave one WHEN at most when DuckDB has planned the statement.
 *
 * Not for a statement that compares a bucket in a filter: DuckDB makes a range of the column of such a comparison, as long as it is
 * its own function, and skips row groups by it (`filtersByBuckets`).
 */
import { PLAIN_FROM, PLAIN_UNTIL } from '../dialect/zone-buckets.ts'

const NAMES = ['date_trunc', 'datetrunc']
const OWN = 'system.main.date_trunc'
const MICROS: Readonly<Record<string, number>> = { second: 1_000_000, minute: 60_000_000, hour: 3_600_000_000 }
const LONGER = ['day', 'week', 'month', 'quarter', 'year']
const IN_UTC = "current_setting('TimeZone') IN ('UTC', 'Etc/UTC', 'GMT')"

let statements: readonly string[] | undefined

/** For a query's connection, behind the session's zone. */
export function fastTimesSql(): readonly string[] {
  statements ??= NAMES.map((name) => `CREATE TEMP MACRO ${name}${overloads()}`)
  return statements
}

/** Lower-case names of functions that a statement calls. */
export function callsFastTimes(functions: ReadonlySet<string>): boolean {
  return NAMES.some((name) => functions.has(name))
}

type PlanNode = { readonly children?: readonly PlanNode[]; readonly extra_info?: Readonly<Record<string, unknown>> }

/** Of a plan with these macros, as EXPLAIN gives it: a filter or condition compares a bucket. */
export function filtersByBuckets(plan: string): boolean {
  const has = ({ children = [], extra_info: info = {} }: PlanNode): boolean => {
    const compared = JSON.stringify([info.Filters, info.Expression, info.Conditions, info.Condition])
    return compared.includes('date_trunc(') || compared.includes('make_timestamptz(') || children.some(has)
  }
  return (JSON.parse(plan) as PlanNode[]).some(has)
}

/** As those of DuckDB's own function, so that the same one is chosen for every argument. */
function overloads(): string {
  const isPlain = `ts >= ${PLAIN_FROM} AND ts < ${PLAIN_UNTIL}`
  const whens = Object.entries(MICROS).map(([unit, micros]) => {
    const zone = unit === 'hour' ? `${IN_UTC} AND ` : ''
    return `WHEN ${isUnit([unit])} AND ${zone}${isPlain} THEN make_timestamptz(epoch_us(ts) // ${micros} * ${micros})`
  })
  const minutes = `date_part('minute', ts) * ${MICROS.minute} + epoch_us(ts) % ${MICROS.minute}`
  whens.push(
    `WHEN ${isUnit(['hour', 'hr', 'h'])} AND NOT (${IN_UTC}) AND ${isPlain} AND ${OWN}(part, ts) > ts THEN make_timestamptz(epoch_us(ts) - (${minutes}))`,
  )
  const longer = `make_timestamptz(epoch_us(${OWN}(part, make_timestamp(epoch_us(ts)))))`
  const zoned = `CASE ${whens.join(' ')} WHEN ${isUnit(LONGER)} AND ${IN_UTC} AND ${isPlain} THEN ${longer} ELSE ${OWN}(part, ts) END`
  const others = ['TIMESTAMP', 'DATE', 'INTERVAL'].map((type) => `(part, ts ${type}) AS ${OWN}(part, ts)`)
  return [`(part, ts TIMESTAMPTZ) AS ${zoned}`, ...others].join(', ')
}

function isUnit(units: readonly string[]): string {
  return `lower(part) IN (${units.flatMap((unit) => [`'${unit}'`, `'${unit}s'`]).join(', ')})`
}
