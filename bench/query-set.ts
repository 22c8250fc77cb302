/**
 * The questions of the query benchmark, as they stand on a dashboard over traffic: both sides get the same text. And how
 * two answers are compared: exactly, but floating point to nine digits (sums depend on their order), and approximate
 * results within their tolerance.
 */
import { TABLE } from './records.ts'

export type BenchQuery = {
  readonly name: string
  sql(where: string): string
  /** Relative difference that is allowed between numbers. */
  readonly tolerance: number
}

const EXACT = 1e-9
const APPROXIMATE = 0.05

export const QUERIES: readonly BenchQuery[] = [
  query('count', (where) => `SELECT count(*) FROM ${TABLE} WHERE ${where}`),
  query(
    'group by country',
    (where) =>
      `SELECT country, count(*), sum(amount), avg(latency) FROM ${TABLE} WHERE ${where} GROUP BY country ORDER BY country`,
  ),
  query(
    'minutes of six hours',
    (where) =>
      `SELECT epoch_ms(date_trunc('minute', ts)) AS minute, count(*), max(latency) FROM ${TABLE}
       WHERE ${where} AND ts >= TIMESTAMPTZ '2026-01-01T01:00:00Z' AND ts < TIMESTAMPTZ '2026-01-01T07:00:00Z'
       GROUP BY 1 ORDER BY 1`,
  ),
  query('distinct users, exact', (where) => `SELECT count(DISTINCT user_id) FROM ${TABLE} WHERE ${where}`),
  query(
    'distinct sessions, approximate',
    (where) => `SELECT approx_count_distinct(session) FROM ${TABLE} WHERE ${where}`,
    APPROXIMATE,
  ),
  query(
    'percentiles by device',
    (where) =>
      `SELECT device, approx_quantile(latency, 0.5), approx_quantile(latency, 0.95) FROM ${TABLE} WHERE ${where}
       GROUP BY device ORDER BY device`,
    APPROXIMATE,
  ),
  query(
    'top ten addresses',
    (where) =>
      `SELECT url, count(*) AS hits, sum(amount) FROM ${TABLE} WHERE ${where} GROUP BY url ORDER BY hits DESC, url LIMIT 10`,
  ),
  query(
    'window: best three items per country',
    (where) =>
      `SELECT country, items, hits, place FROM (
         SELECT country, items, count(*) AS hits, rank() OVER (PARTITION BY country ORDER BY count(*) DESC, items) AS place
         FROM ${TABLE} WHERE ${where} AND status = 200 GROUP BY country, items)
       WHERE place <= 3 ORDER BY country, place`,
  ),
  query(
    'one record by id',
    (where) => `SELECT id, user_id, country, url, amount, session FROM ${TABLE} WHERE ${where} AND id = 4242`,
  ),
  query(
    'errors of one hour',
    (where) =>
      `SELECT status, count(*), count(DISTINCT session) FROM ${TABLE}
       WHERE ${where} AND ts >= TIMESTAMPTZ '2026-01-01T01:00:00Z' AND ts < TIMESTAMPTZ '2026-01-01T02:00:00Z' AND NOT ok
       GROUP BY status ORDER BY status`,
  ),
]

function query(name: string, sql: (where: string) => string, tolerance = EXACT): BenchQuery {
  return { name, sql, tolerance }
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
