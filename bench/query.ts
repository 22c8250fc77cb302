/**
 * Queries over a compacted local table, against the same SQL in bare DuckDB over one ideal file of the same rows (sorted by
 * time, zstd, the same row groups, written by one COPY from the table), and against ClickHouse (chdb) over a MergeTree table
 * sorted by time, loaded from that file.
 *
 *   round: for every query, Millrace, DuckDB, ClickHouse, next round the other way about; the first round warms up
 *
 * Millrace's time is that of the HTTP client, parse, plan and JSON included, its result cache off; the others' is taken inside
 * their processes. A second pass, with ingest and compactor running and records coming, shows what the live tail costs:
 * Millrace then reads the new rows too, DuckDB still the old ones only.
 */

import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { localFileOf } from '../lake/object-store/object-path.ts'
import type { Millrace } from '../test/harness/millrace.ts'
import { startClickhouse } from './clickhouse/start-clickhouse.ts'
import { startBareDuckdb } from './duckdb/start-bare-duckdb.ts'
import { startSteadyProducer } from './load/start-steady-producer.ts'
import { runPipeline } from './pipeline.ts'
import { cpuSeconds, watchMachine } from './process-cost.ts'
import { type BenchQuery, differenceOf, QUERIES } from './query-set.ts'
import { BOUND_GAP, PARTITIONS, TABLE, TOPIC } from './records.ts'
import { type BenchResult, loadText, thousands } from './report.ts'
import { type Stage, topicText } from './stage.ts'
import { median } from './statistics.ts'

const RATE = 20_000
const LIVE_SECONDS_MAX = 300
const SETTLE_MS = 5_000
const ROUNDS = 5
const ROUNDS_WITH_TAIL = 3
const THREADS = 2
const TARGET = 1.15
const TARGET_CLICKHOUSE = 1.2
const WITHOUT_RESULTS = ['query.result-cache.bytes=0']

type Side = 'millrace' | 'duckdb' | 'clickhouse'
type Times = Readonly<Record<Side, number[]>>
type Ask = (query: BenchQuery) => Promise<{ readonly ms: number; readonly rows: readonly (readonly unknown[])[] }>

export async function benchQuery(stage: Stage): Promise<BenchResult> {
  const { millrace, files, topic } = await stage.pipelineRun(() => runPipeline(stage))
  const { rows } = topic.expected
  const duckdb = await startBareDuckdb({ threads: THREADS })
  stage.atEnd(() => duckdb.close())
  const ideal = join(millrace.folder, 'ideal.parquet')
  const list = files.map(({ path }) => `'${localFileOf(path)}'`).join(', ')
  await duckdb.run(
    `COPY (SELECT * FROM read_parquet([${list}]) ORDER BY ts) TO '${ideal}'
     (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)`,
  )
  await duckdb.run(`CREATE VIEW ${TABLE} AS SELECT * FROM read_parquet('${ideal}')`)
  const clickhouse = await startClickhouse({ threads: THREADS, parquet: ideal })
  stage.atEnd(() => clickhouse.close())
  const askMillrace: Ask = async (query) => {
    const started = performance.now()
    const { data } = await millrace.sql(query.sql('true'))
    return { ms: performance.now() - started, rows: data }
  }
  const askDuckdb: Ask = (query) => duckdb.run(query.sql('true'))
  const askClickhouse: Ask = (query) => clickhouse.run(query.clickhouse)

  const quiet = await millrace.start('query', { set: WITHOUT_RESULTS })
  const load = watchMachine()
  const cpuBefore = cpuSeconds([quiet.pid])
  const sides = { millrace: askMillrace, duckdb: askDuckdb, clickhouse: askClickhouse }
  const warm = await runRounds(sides, ROUNDS, true)
  const cpu = cpuSeconds([quiet.pid]) - cpuBefore
  const machine = load()
  await quiet.stop()

  const ingest = await millrace.start('ingest')
  const compactor = await millrace.start('compactor')
  const query = await millrace.start('query', { set: WITHOUT_RESULTS })
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
  const tailStart = await liveRows(millrace, rows)
  const whole = await runRounds({ millrace: askMillrace, duckdb: askDuckdb }, ROUNDS_WITH_TAIL, false)
  const tailEnd = await liveRows(millrace, rows)
  producer.stop()
  const { sent, seconds } = await producer.ended
  for (const each of [query, compactor, ingest]) await each.stop()

  const ratio = total(warm, 'millrace') / total(warm, 'duckdb')
  const toClickhouse = geometricMean(warm, 'millrace', 'clickhouse')
  const duckdbToClickhouse = geometricMean(warm, 'duckdb', 'clickhouse')
  const wholeRatio = total(whole, 'millrace') / total(whole, 'duckdb')
  const more = ((tailStart + tailEnd) / 2 / rows) * 100
  return {
    name: 'query',
    data: `${topicText(topic)}; the table of the pipeline benchmark (${files.length} data files), in the second pass ${thousands(sent / seconds)} new rows a second into it`,
    settings: `query.threads 2, query.memory 2 GiB, copies without compression as by default, no result cache; DuckDB ${THREADS} threads, 2 GiB; chdb 4.4.0, ${THREADS} threads, MergeTree sorted by ts; each in its own process; ${ROUNDS} rounds, alternating, medians, first round left out`,
    figures: [
      {
        what: `sum of medians of ${QUERIES.length} queries, Millrace / bare DuckDB`,
        value: `${ratio.toFixed(2)} (${total(warm, 'millrace').toFixed(0)} ms / ${total(warm, 'duckdb').toFixed(0)} ms)`,
        target: { text: `≤ ${TARGET}`, met: ratio <= TARGET },
      },
      {
        what: `geometric mean of Millrace / ClickHouse (bare DuckDB / ClickHouse: ${duckdbToClickhouse.toFixed(2)})`,
        value: toClickhouse.toFixed(2),
        target: { text: `≤ ${TARGET_CLICKHOUSE}, goal 1.0`, met: toClickhouse <= TARGET_CLICKHOUSE },
      },
      {
        what: 'Millrace / bare DuckDB while rows come: Millrace reads the live tail too',
        value: `${wholeRatio.toFixed(2)}, over ${more.toFixed(0)} % more rows than DuckDB`,
      },
    ],
    tables: [
      {
        head: ['query', 'Millrace ms', 'DuckDB ms', 'ClickHouse ms', '/ DuckDB', '/ ClickHouse', 'ms with live tail'],
        lines: QUERIES.map(({ name }) => {
          const times = warm.get(name)!
          const [mine, bare, house] = [times.millrace, times.duckdb, times.clickhouse].map(median)
          const tail = median(whole.get(name)!.millrace)
          const ratios = [(mine / bare).toFixed(2), (mine / house).toFixed(2)]
          return [name, mine.toFixed(1), bare.toFixed(1), house.toFixed(1), ...ratios, tail.toFixed(1)]
        }),
      },
    ],
    checked:
      'every answer of every round equal to bare DuckDB’s, ClickHouse’s too; approximate ones within 5 %, two estimates of a count within 10 %.',
    limitedBy: `${loadText(machine, cpu, 'query')}; one side runs at a time, each with both cores.`,
    numbers: {
      ratio,
      wholeRatio,
      toClickhouse,
      duckdbToClickhouse,
      millraceMs: total(warm, 'millrace'),
      duckdbMs: total(warm, 'duckdb'),
      tailPercent: more,
    },
  }
}

/** Every answer is compared with bare DuckDB's when `compare` says so. */
async function runRounds(
  sides: Readonly<Partial<Record<Side, Ask>>>,
  rounds: number,
  compare: boolean,
): Promise<Map<string, Times>> {
  const times = new Map<string, Times>(QUERIES.map(({ name }) => [name, { millrace: [], duckdb: [], clickhouse: [] }]))
  const names = Object.keys(sides) as Side[]
  for (let round = 0; round <= rounds; round += 1) {
    for (const each of QUERIES) {
      const answers = new Map<Side, Awaited<ReturnType<Ask>>>()
      for (const side of round % 2 === 0 ? names : names.toReversed()) answers.set(side, await sides[side]!(each))
      const reference = answers.get('duckdb')!
      for (const [side, { ms, rows }] of answers) {
        const difference = compare ? differenceOf(rows, reference.rows, each.tolerance) : undefined
        if (difference) throw new Error(`${each.name}, ${side}: ${difference}`)
        if (round > 0) times.get(each.name)![side].push(ms)
      }
    }
  }
  return times
}

function total(times: ReadonlyMap<string, Times>, side: Side): number {
  return [...times.values()].reduce((sum, each) => sum + median(each[side]), 0)
}

function geometricMean(times: ReadonlyMap<string, Times>, side: Side, other: Side): number {
  const logs = [...times.values()].map((each) => Math.log(median(each[side]) / median(each[other])))
  return Math.exp(logs.reduce((sum, each) => sum + each, 0) / logs.length)
}

async function liveRows(millrace: Millrace, rows: number): Promise<number> {
  return Number(await millrace.value(`SELECT count(*) FROM ${TABLE}`)) - rows
}
