/**
 * Queries over a compacted local table while ingest runs, against the same SQL in bare DuckDB over one ideal file of the
 * same rows: sorted by time, zstd, the same row groups, written by one COPY from the table.
 *
 *   round: for every query, Millrace then DuckDB, next round the other way about; the first round warms up
 *
 * Records keep coming, so both sides are bounded by event time to the rows that the ideal file has. Millrace's time is
 * that of the HTTP client, parse, plan and JSON included; DuckDB's is taken inside its process. A second pass without
 * the bound shows what the live tail costs: Millrace then reads the new rows too, DuckDB still the old ones only.
 */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { localFileOf } from '../lake/object-store/object-path.ts'
import type { Millrace } from '../test/harness/millrace.ts'
import { type BareDuckdb, startBareDuckdb } from './duckdb/start-bare-duckdb.ts'
import { startSteadyProducer } from './load/start-steady-producer.ts'
import { runPipeline } from './pipeline.ts'
import { cpuSeconds, watchMachine } from './process-cost.ts'
import { differenceOf, QUERIES } from './query-set.ts'
import { BOUND_GAP, boundBefore, PARTITIONS, TABLE, TOPIC } from './records.ts'
import { type BenchResult, loadText, thousands } from './report.ts'
import { type Stage, topicText } from './stage.ts'
import { median } from './statistics.ts'

const RATE = 20_000
const LIVE_SECONDS_MAX = 300
const SETTLE_MS = 5_000
const ROUNDS = 7
const ROUNDS_WITH_TAIL = 3
const THREADS = 2
const TARGET = 1.3

type Pairs = { readonly millrace: number[]; readonly duckdb: number[] }

export async function benchQuery(stage: Stage): Promise<BenchResult> {
  const { millrace, files, topic } = await stage.pipelineRun(() => runPipeline(stage))
  const { rows } = topic.expected
  const bound = `ts < TIMESTAMPTZ '${boundBefore(rows)}'`
  const duckdb = await startBareDuckdb({ threads: THREADS })
  stage.atEnd(() => duckdb.close())
  const ideal = join(millrace.folder, 'ideal.parquet')
  const list = files.map(({ path }) => `'${localFileOf(path)}'`).join(', ')
  await duckdb.run(
    `COPY (SELECT * FROM read_parquet([${list}]) WHERE ${bound} ORDER BY ts) TO '${ideal}'
     (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`,
  )
  await duckdb.run(`CREATE VIEW ${TABLE} AS SELECT * FROM read_parquet('${ideal}')`)

  const ingest = await millrace.start('ingest')
  const compactor = await millrace.start('compactor')
  const query = await millrace.start('query')
  const services = [ingest.pid, compactor.pid, query.pid]
  const producer = startSteadyProducer({
    bootstrap: topic.bootstrap,
    topic: TOPIC,
    partitions: PARTITIONS,
    rate: RATE,
    seconds: LIVE_SECONDS_MAX,
    firstIndex: rows + BOUND_GAP,
    timeIsNow: false,
  })
  await sleep(SETTLE_MS)
  const load = watchMachine()
  const cpuBefore = cpuSeconds(services)
  const bounded = await runPairs({ millrace, duckdb, where: bound, rounds: ROUNDS, compare: true })
  const tailStart = await liveRows(millrace, rows)
  const whole = await runPairs({ millrace, duckdb, where: 'true', rounds: ROUNDS_WITH_TAIL, compare: false })
  const tailEnd = await liveRows(millrace, rows)
  const machine = load()
  const cpu = cpuSeconds(services) - cpuBefore
  producer.stop()
  const { sent, seconds } = await producer.ended
  for (const each of [query, compactor, ingest]) await each.stop()

  const ratio = total(bounded, 'millrace') / total(bounded, 'duckdb')
  const wholeRatio = total(whole, 'millrace') / total(whole, 'duckdb')
  const more = ((tailStart + tailEnd) / 2 / rows) * 100
  return {
    name: 'query',
    data: `${topicText(topic)}; the table of the pipeline benchmark (${files.length} data files), and ${thousands(sent / seconds)} new rows a second into it meanwhile`,
    settings: `query.threads 2, query.memory 2 GiB; DuckDB ${THREADS} threads, 2 GiB, its own process; ${ROUNDS} paired rounds, alternating, medians, first round left out`,
    figures: [
      {
        what: `sum of medians of ${QUERIES.length} queries, Millrace / bare DuckDB`,
        value: `${ratio.toFixed(2)} (${total(bounded, 'millrace').toFixed(0)} ms / ${total(bounded, 'duckdb').toFixed(0)} ms)`,
        target: { text: `≤ ${TARGET}`, met: ratio <= TARGET },
      },
      {
        what: 'the same without the bound: Millrace reads the live tail too',
        value: `${wholeRatio.toFixed(2)}, over ${more.toFixed(0)} % more rows than DuckDB`,
      },
    ],
    tables: [
      {
        head: ['query', 'Millrace ms', 'DuckDB ms', 'ratio', 'Millrace ms with live tail'],
        lines: QUERIES.map(({ name }) => {
          const [mine, bare] = [median(bounded.get(name)!.millrace), median(bounded.get(name)!.duckdb)]
          const tail = median(whole.get(name)!.millrace)
          return [name, mine.toFixed(1), bare.toFixed(1), (mine / bare).toFixed(2), tail.toFixed(1)]
        }),
      },
    ],
    checked: `every answer of every round equal on both sides; approximate ones within 5 %.`,
    limitedBy: `${loadText(machine, cpu, 'ingest, compactor and query')}; both sides have both cores and share them with the broker and the producer.`,
    numbers: {
      ratio,
      wholeRatio,
      millraceMs: total(bounded, 'millrace'),
      duckdbMs: total(bounded, 'duckdb'),
      tailPercent: more,
    },
  }
}

async function runPairs(options: {
  millrace: Millrace
  duckdb: BareDuckdb
  where: string
  rounds: number
  compare: boolean
}): Promise<Map<string, Pairs>> {
  const { millrace, duckdb, where, rounds, compare } = options
  const pairs = new Map<string, Pairs>(QUERIES.map(({ name }) => [name, { millrace: [], duckdb: [] }]))
  for (let round = 0; round <= rounds; round += 1) {
    for (const each of QUERIES) {
      const sql = each.sql(where)
      const mine = async () => {
        const started = performance.now()
        const { data } = await millrace.sql(sql)
        return { ms: performance.now() - started, rows: data }
      }
      const first = round % 2 === 0 ? await mine() : await duckdb.run(sql)
      const second = round % 2 === 0 ? await duckdb.run(sql) : await mine()
      const [answer, reference] = round % 2 === 0 ? [first, second] : [second, first]
      const difference = compare ? differenceOf(answer.rows, reference.rows, each.tolerance) : undefined
      if (difference) throw new Error(`${each.name}: ${difference}`)
      if (round === 0) continue
      pairs.get(each.name)!.millrace.push(answer.ms)
      pairs.get(each.name)!.duckdb.push(reference.ms)
    }
  }
  return pairs
}

function total(pairs: ReadonlyMap<string, Pairs>, side: keyof Pairs): number {
  return [...pairs.values()].reduce((sum, each) => sum + median(each[side]), 0)
}

async function liveRows(millrace: Millrace, rows: number): Promise<number> {
  return Number(await millrace.value(`SELECT count(*) FROM ${TABLE}`)) - rows
}
