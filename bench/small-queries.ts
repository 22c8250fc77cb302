/**
 * Small questions, over HTTP, as a dashboard and an application ask them: each with another value, so that no answer was
 * given before, and one that is asked again and again.
 *
 *   look-up   one row by its key in the table of the pipeline benchmark, with live segments; keys in no order
 *   group-by  over a table of 100,000 rows, another bound each time; one after the other, then eight at a time
 *   kept      the same group-by again and again: the result cache answers
 *
 * Every answer is compared with what the records say (`records.ts`).
 */
import { Pool } from 'undici'
import { cpuSeconds, watchMachine } from './process-cost.ts'
import { recordOf, TABLE } from './records.ts'
import { type BenchResult, loadText, thousands } from './report.ts'
import { LIVE_SEGMENTS, SMALL_ROWS, SMALL_TABLE, smallStage } from './small-stage.ts'
import type { Stage } from './stage.ts'
import { median, percentile } from './statistics.ts'

const WARM_UP = 100
const ALONE = 600
const TOGETHER = 2_400
const CONNECTIONS = 8

type Row = { readonly id: number; readonly user_id: number; readonly country: string; readonly latency: number }
type Question = { readonly sql: string; check(rows: readonly (readonly unknown[])[]): void }
type Run = { readonly times: readonly number[]; readonly seconds: number; readonly cpu: number }

export async function benchSmallQueries(stage: Stage): Promise<BenchResult> {
  const { millrace, rows, text } = await smallStage(stage)
  const query = await millrace.start('query')
  const pool = new Pool(millrace.url('query'), { connections: CONNECTIONS })
  stage.atEnd(() => pool.close())
  const latencies = latenciesOf(Array.from({ length: SMALL_ROWS }, (_, index) => parsed(index)))
  let asked = 0

  const lookUp = (): Question => {
    asked += 1
    const id = (asked * 2_654_435) % rows
    const { user_id, country } = parsed(id)
    return {
      sql: `SELECT id, user_id, country FROM ${TABLE} WHERE id = ${id}`,
      check: (found) => same(found, [[String(id), String(user_id), country]]),
    }
  }
  const groupBy = (): Question => {
    asked += 1
    return groupOf(latencies, ((asked * 37) % 80_000) / 100 + 0.005)
  }
  const kept = groupOf(latencies, 450.5)

  const load = watchMachine()
  const before = cpuSeconds([query.pid])
  const measure = async (question: () => Question, count: number, connections: number): Promise<Run> => {
    const ask = async (): Promise<number> => {
      const { sql, check } = question()
      const started = performance.now()
      const { statusCode, body } = await pool.request({
        path: '/v1/sql',
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ sql }),
      })
      const answer = await body.text()
      const ms = performance.now() - started
      if (statusCode !== 200) throw new Error(`${statusCode} ${answer}: ${sql}`)
      check((JSON.parse(answer) as { data: unknown[][] }).data)
      return ms
    }
    for (let done = 0; done < WARM_UP; done += 1) await ask()
    const times: number[] = []
    const cpuBefore = cpuSeconds([query.pid])
    const started = performance.now()
    let left = count
    const worker = async () => {
      while (left > 0) {
        left -= 1
        times.push(await ask())
      }
    }
    await Promise.all(Array.from({ length: connections }, worker))
    return { times, seconds: (performance.now() - started) / 1000, cpu: cpuSeconds([query.pid]) - cpuBefore }
  }

  const point = await measure(lookUp, ALONE, 1)
  const alone = await measure(groupBy, ALONE, 1)
  const together = await measure(groupBy, TOGETHER, CONNECTIONS)
  const again = await measure(() => kept, TOGETHER, 1)
  const againTogether = await measure(() => kept, TOGETHER, CONNECTIONS)
  const cpu = cpuSeconds([query.pid]) - before
  const machine = load()
  await query.stop()

  const rate = (run: Run) => run.times.length / run.seconds
  const line = (name: string, run: Run, at: number) => [
    name,
    String(at),
    median(run.times).toFixed(2),
    percentile(run.times, 0.99).toFixed(2),
    thousands(rate(run)),
    ((run.cpu / run.times.length) * 1000).toFixed(2),
  ]
  const atMost = (what: string, value: number, limit: number) => ({
    what,
    value: `${value.toFixed(2)} ms`,
    target: { text: `≤ ${limit} ms`, met: value <= limit },
  })
  const atLeast = (what: string, value: number, limit: number) => ({
    what,
    value: `${thousands(value)} a second`,
    target: { text: `≥ ${thousands(limit)}`, met: value >= limit },
  })
  return {
    name: 'small-queries',
    data: text,
    settings: `defaults; an HTTP client on the same machine, ${CONNECTIONS} connections kept open; ${WARM_UP} queries before each measurement; live segments: ${LIVE_SEGMENTS}`,
    figures: [
      atMost('look-up of a varying key, p50', median(point.times), 12),
      atMost('group-by with a varying bound, p50', median(alone.times), 5),
      atLeast(`group-by with a varying bound, ${CONNECTIONS} at a time`, rate(together), 500),
      atMost('kept result, p50', median(again.times), 2),
      atLeast(`kept result, ${CONNECTIONS} at a time`, rate(againTogether), 1_500),
    ],
    tables: [
      {
        head: ['question', 'at a time', 'p50 ms', 'p99 ms', 'a second', 'CPU ms each (door and engines)'],
        lines: [
          line('look-up, varying key', point, 1),
          line('group-by, varying bound', alone, 1),
          line('group-by, varying bound', together, CONNECTIONS),
          line('group-by, kept result', again, 1),
          line('group-by, kept result', againTogether, CONNECTIONS),
        ],
      },
    ],
    checked: 'every answer, against the records themselves.',
    limitedBy: `${loadText(machine, cpu, 'the query service')}; the client that asks and checks is in “everything else”.`,
    numbers: {
      pointMs: median(point.times),
      groupMs: median(alone.times),
      groupPerSecond: rate(together),
      keptMs: median(again.times),
      keptPerSecond: rate(againTogether),
    },
  }
}

function parsed(index: number): Row {
  return JSON.parse(String(recordOf(index).value)) as Row
}

/** Of each country its latencies in order, so that what an answer must be costs the asking thread nothing. */
function latenciesOf(records: readonly Row[]): ReadonlyMap<string, readonly number[]> {
  const byCountry = new Map<string, number[]>()
  for (const { country, latency } of records) {
    const known = byCountry.get(country)
    if (known) known.push(latency)
    else byCountry.set(country, [latency])
  }
  const countries = [...byCountry].sort(([a], [b]) => (a < b ? -1 : 1))
  return new Map(countries.map(([country, latencies]) => [country, latencies.sort((a, b) => a - b)]))
}

function groupOf(latencies: ReadonlyMap<string, readonly number[]>, bound: number): Question {
  const counts = [...latencies].map(([country, each]) => [country, each.length - notAbove(each, bound)] as const)
  const expected = counts.filter(([, count]) => count > 0).map(([country, count]) => [country, String(count)])
  return {
    sql: `SELECT country, count(*) FROM ${SMALL_TABLE} WHERE latency > ${bound} GROUP BY country ORDER BY country`,
    check: (found) => same(found, expected),
  }
}

/** How many of the values, in order, are not above. */
function notAbove(values: readonly number[], bound: number): number {
  let from = 0
  let to = values.length
  while (from < to) {
    const middle = (from + to) >> 1
    if (values[middle] > bound) to = middle
    else from = middle + 1
  }
  return from
}

function same(found: unknown, expected: unknown): void {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)]
  if (one !== other) throw new Error(`expected ${other}, found ${one}`)
}
