/**
 * What the demo asks once the flights are in, and what must come out when all 3,000,000 of them are there: figures of
 * bare DuckDB over the source file. `sql` is standard SQL as anyone would type it.
 */
export type Question = {
  readonly title: string
  readonly sql: string
  /** Columns whose values are estimates: two runs may differ a little. */
  readonly approximate?: readonly string[]
}

export const QUESTIONS: readonly Question[] = [
  {
    title: 'How much is there?',
    sql: 'SELECT count(*) AS flights, sum(delay) AS delay_minutes, min(date) AS first, max(date) AS last FROM flights',
  },
  {
    title: 'Busiest airports',
    sql: `SELECT f.origin, a.city, a.state, count(*) AS departures
FROM flights f JOIN airports a ON a.iata = f.origin
GROUP BY ALL ORDER BY departures DESC, f.origin LIMIT 5`,
  },
  {
    title: 'Delay in minutes, half of all flights and 95 of 100',
    sql: `SELECT origin, count(*) AS flights, approx_quantile(delay, 0.5) AS p50, approx_quantile(delay, 0.95) AS p95
FROM flights GROUP BY origin ORDER BY flights DESC, origin LIMIT 5`,
    approximate: ['p50', 'p95'],
  },
  {
    title: 'Worst day of each of the busiest airports (window function)',
    sql: `SELECT origin, day, flights, mean_delay FROM (
  SELECT origin, CAST(date AS DATE) AS day, count(*) AS flights, round(avg(delay), 1) AS mean_delay,
         row_number() OVER (PARTITION BY origin ORDER BY avg(delay) DESC) AS place
  FROM flights WHERE origin IN ('ORD', 'DFW', 'ATL', 'LAX', 'PHX') GROUP BY origin, CAST(date AS DATE) HAVING count(*) > 100)
WHERE place = 1 ORDER BY origin`,
  },
  {
    title: 'Distinct routes, exact and approximate',
    sql: `SELECT count(DISTINCT origin || '-' || destination) AS exact,
       approx_count_distinct(origin || '-' || destination) AS approximate FROM flights`,
    approximate: ['approximate'],
  },
]
