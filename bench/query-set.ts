/**
 * The questions of the query benchmark, as they stand on a dashboard over traffic: Millrace and bare DuckDB get the same text,
 * ClickHouse the same question in its own words. And how two answers are compared: exactly, but floating point to nine digits
 * (sums depend on their order), and approximate results within their tolerance.
 */
import { TABLE } from './records.ts'

export type BenchQuery = {
  readonly name: string
  sql(where: string): string
  /** Of ClickHouse, over all rows of the ideal layout. */
  readonly clickhouse: string
  /** Relative difference that is allowed between numbers. */
  readonly tolerance: number
}

const EXACT = 1e-9
const APPROXIMATE = 0.05
/** Two estimates with two methods. */
const ESTIMATED = 0.1

export const QUERIES: readonly BenchQuery[] = [
  query('count', (where) => `SELECT count(*) FROM ${TABLE} WHERE ${where}`, `SELECT count() FROM ${TABLE}`),
  query(
    'group by country',
    (where) =>
      `SELECT country, count(*), sum(amount), avg(latency) FROM ${TABLE} WHERE ${where} GROUP BY country ORDER BY country`,
    `SELECT country, count(), sum(amount), avg(latency) FROM ${TABLE} GROUP BY country ORDER BY country`,
  ),
  query(
    'minutes of six hours',
    (where) =>
      `SELECT epoch_ms(date_trunc('minute', ts)) AS minute, count(*), max(latency) FROM ${TABLE}
       WHERE ${where} AND ts >= TIMESTAMPTZ '2026-01-01T01:00:00Z' AND ts < TIMESTAMPTZ '2026-01-01T07:00:00Z'
       GROUP BY 1 ORDER BY 1`,
    `SELECT toUnixTimestamp(toStartOfMinute(ts)) * 1000 AS minute, count(), max(latency) FROM ${TABLE}
     WHERE ts >= toDateTime64('2026-01-01 01:00:00', 6, 'UTC') AND ts < toDateTime64('2026-01-01 07:00:00', 6, 'UTC')
     GROUP BY minute ORDER BY minute`,
  ),
  query(
    'distinct users, exact',
    (where) => `SELECT count(DISTINCT user_id) FROM ${TABLE} WHERE ${where}`,
    `SELECT uniqExact(user_id) FROM ${TABLE}`,
  ),
  query(
    'distinct sessions, approximate',
    (where) => `SELECT approx_count_distinct(session) FROM ${TABLE} WHERE ${where}`,
    `SELECT uniq(session) FROM ${TABLE}`,
    ESTIMATED,
  ),
  query(
    'percentiles by device',
    (where) =>
      `SELECT device, approx_quantile(latency, 0.5), approx_quantile(latency, 0.95) FROM ${TABLE} WHERE ${where}
       GROUP BY device ORDER BY device`,
    `SELECT device, quantileTDigest(0.5)(latency), quantileTDigest(0.95)(latency) FROM ${TABLE}
     GROUP BY device ORDER BY device`,
    APPROXIMATE,
  ),
  query(
    'top ten addresses',
    (where) =>
      `SELECT url, count(*) AS hits, sum(amount) FROM ${TABLE} WHERE ${where} GROUP BY url ORDER BY hits DESC, url LIMIT 10`,
    `SELECT url, count() AS hits, sum(amount) FROM ${TABLE} GROUP BY url ORDER BY hits DESC, url LIMIT 10`,
  ),
  query(
    'latest record of each device and country',
    (where) =>
      `SELECT device, country, id, latency FROM ${TABLE} WHERE ${where}
       QUALIFY row_number() OVER (PARTITION BY device, country ORDER BY ts DESC, id DESC) = 1 ORDER BY device, country`,
    `SELECT device, country, id, latency FROM (
       SELECT device, country, id, latency, row_number() OVER (PARTITION BY device, country ORDER BY ts DESC, id DESC) AS n
       FROM ${TABLE}) WHERE n = 1 ORDER BY device, country`,
  ),
  query(
    'longest gaps between records of a country (lag)',
    (where) =>
      `SELECT country, max(gap) FROM (
         SELECT country, epoch_ms(ts) - lag(epoch_ms(ts)) OVER (PARTITION BY country ORDER BY ts) AS gap FROM ${TABLE}
         WHERE ${where} AND ts < TIMESTAMPTZ '2026-01-01T07:00:00Z')
       GROUP BY country ORDER BY country`,
    `SELECT country, max(gap) FROM (
       SELECT country, toUnixTimestamp64Milli(ts)
         - lagInFrame(toNullable(toUnixTimestamp64Milli(ts))) OVER (PARTITION BY country ORDER BY ts
           ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS gap
       FROM ${TABLE} WHERE ts < toDateTime64('2026-01-01 07:00:00', 6, 'UTC'))
     GROUP BY country ORDER BY country`,
  ),
  query(
    'errors of one hour',
    (where) =>
      `SELECT status, count(*), count(DISTINCT session) FROM ${TABLE}
       WHERE ${where} AND ts >= TIMESTAMPTZ '2026-01-01T01:00:00Z' AND ts < TIMESTAMPTZ '2026-01-01T02:00:00Z' AND NOT ok
       GROUP BY status ORDER BY status`,
    `SELECT status, count(), uniqExact(session) FROM ${TABLE}
     WHERE ts >= toDateTime64('2026-01-01 01:00:00', 6, 'UTC') AND ts < toDateTime64('2026-01-01 02:00:00', 6, 'UTC') AND NOT ok
     GROUP BY status ORDER BY status`,
  ),
  query(
    'one record by id',
    (where) => `SELECT id, user_id, country, url, amount, session FROM ${TABLE} WHERE ${where} AND id = 4242`,
    `SELECT id, user_id, country, url, amount, session FROM ${TABLE} WHERE id = 4242`,
  ),
  query(
    'rate of a counter by device',
    (where) =>
      `SELECT device, sum(CASE WHEN step < 0 THEN items ELSE step END) / (max(moment) - min(moment)) * 1000 FROM (
         SELECT device, items, epoch_ms(ts) AS moment, items - lag(items) OVER (PARTITION BY device ORDER BY ts, id) AS step
         FROM ${TABLE}
         WHERE ${where} AND ts >= TIMESTAMPTZ '2026-01-01T01:00:00Z' AND ts < TIMESTAMPTZ '2026-01-01T03:00:00Z')
       GROUP BY device ORDER BY device`,
    `SELECT device, sum(if(step < 0, items, step)) / (max(moment) - min(moment)) * 1000 FROM (
       SELECT device, items, toUnixTimestamp64Milli(ts) AS moment,
         items - lagInFrame(toNullable(items)) OVER (PARTITION BY device ORDER BY ts, id
           ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS step
       FROM ${TABLE}
       WHERE ts >= toDateTime64('2026-01-01 01:00:00', 6, 'UTC') AND ts < toDateTime64('2026-01-01 03:00:00', 6, 'UTC'))
     GROUP BY device ORDER BY device`,
  ),
]

function query(name: string, sql: (where: string) => string, clickhouse: string, tolerance = EXACT): BenchQuery {
  return { name, sql, clickhouse, tolerance }
}

type Rows = readonly (readonly unknown[])[]

/** Undefined when the answers are the same. */
export function differenceOf(answer: Rows, reference: Rows, tolerance: number): string | undefined {
  if (answer.length !== reference.length) return `${answer.length} rows, expected ${reference.length}`
  if (reference.length === 0) return 'no rows to compare'
  for (let row = 0; row < answer.length; row += 1) {
    for (let column = 0; column < reference[row].length; column += 1) {
      const [found, expected] = [answer[row][column], reference[row][column]]
      if (!isSame(found, expected, tolerance))
        return `row ${row}, column ${column}: ${String(found)}, expected ${String(expected)}`
    }
  }
  return undefined
}

function isSame(found: unknown, expected: unknown, tolerance: number): boolean {
  if (String(found) === String(expected)) return true
  if (found === null || expected === null) return false
  const [a, b] = [Number(found), Number(expected)]
  return Math.abs(a - b) <= tolerance * Math.max(Math.abs(a), Math.abs(b))
}
