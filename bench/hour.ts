/**
 * An hour without a compactor: `segments.live.max` holds, ingest goes on, and queries are not much slower than over compacted rows.
 *
 *   squeezed   flush.interval.ms is a fiftieth of its default, for 72 seconds (commits are fewer: the producer sends every 50 ms, and flushes get rarer); at their end the same
 *              questions are asked over the live segments, and once more when a compactor has taken them over
 *   full rate  a topic is caught up on with a low maximum, so that segments of real size are merged all the time, and with the
 *              usual one, where none is: what merging costs in rate, and the longest time without a commit
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type LakeReader, openLakeReader, waitForLake } from './lake-reader.ts'
import { startSteadyProducer } from './load/start-steady-producer.ts'
import { cpuSeconds, peakMemory, watchMachine } from './process-cost.ts'
import { CHECK_SQL, checkRow, eventsYaml, PARTITIONS, TABLE } from './records.ts'
import { type BenchResult, loadText, mebibytes, thousands } from './report.ts'
import type { FilledTopic, Stage } from './stage.ts'
import { median } from './statistics.ts'

const SQUEEZED = 50
const SECONDS = 3600 / SQUEEZED
const INTERVAL_MS = 500 / SQUEEZED
const LIVE_MAX = 200
const LOW_LIVE_MAX = 8
const POLL_MS = 20
const ROUNDS = 15
const WARM_UPS = 3
const QUERY_TARGET = 2
const RATE_TARGET = 0.8
const MEMORY_TARGET = 512 * 1024 ** 2
const HOUR_TOPIC = 'hour'

type Watched = { readonly mostLive: number; readonly longestMs: number; readonly merged: number }

export async function benchHour(stage: Stage): Promise<BenchResult> {
  const load = watchMachine()
  const squeezed = await squeezedHour(stage)
  const topic = await stage.filledTopic()
  const usual = await caughtUp(stage, topic, LIVE_MAX)
  const low = await caughtUp(stage, topic, LOW_LIVE_MAX)
  const { ratio, longestMs, mostLive } = { ratio: low.rate / usual.rate, ...low.watched }
  const worst = Math.max(...squeezed.questions.map(({ live, compacted }) => live / compacted))
  const { watched, rows } = squeezed
  return {
    name: 'hour',
    data: `squeezed: ${thousands(rows)} JSON records of 12 columns, ${thousands(stage.rate)} a second for ${SECONDS} s; full rate: ${thousands(topic.expected.rows)} records of the ingest benchmark`,
    settings: `squeezed: flush.interval.ms ${INTERVAL_MS} instead of 500, segments.live.max ${LIVE_MAX}; full rate: defaults, but segments.live.max ${LOW_LIVE_MAX} the second time; no compactor; query without result cache; the lake on local disk`,
    figures: [
      {
        what: 'squeezed: most live segments',
        value: `${watched.mostLive}, ${watched.merged} of them seen merged at the end`,
        target: { text: `≤ ${LIVE_MAX}`, met: watched.mostLive <= LIVE_MAX },
      },
      { what: 'squeezed: longest time without a commit', value: `${Math.round(watched.longestMs)} ms` },
      {
        what: 'squeezed: a query over live segments / over the same rows compacted, worst of the medians below',
        value: worst.toFixed(2),
        target: { text: `≤ ${QUERY_TARGET}`, met: worst <= QUERY_TARGET },
      },
      { what: 'squeezed: peak resident memory of ingest', value: mebibytes(squeezed.memory) },
      {
        what: 'full rate: most live segments',
        value: String(mostLive),
        target: { text: `≤ ${LOW_LIVE_MAX}`, met: mostLive <= LOW_LIVE_MAX },
      },
      {
        what: 'full rate: rows a second, merging / with nothing to merge',
        value: `${ratio.toFixed(2)} (${thousands(low.rate)} / ${thousands(usual.rate)})`,
        target: { text: `≥ ${RATE_TARGET}`, met: ratio >= RATE_TARGET },
      },
      {
        what: 'full rate: longest time without a commit, merging / with nothing to merge',
        value: `${Math.round(longestMs)} ms / ${Math.round(usual.watched.longestMs)} ms`,
      },
      {
        what: 'full rate: CPU-seconds per million rows, merging / with nothing to merge',
        value: `${low.cpu.toFixed(2)} / ${usual.cpu.toFixed(2)}`,
      },
      {
        what: 'full rate: peak resident memory of ingest, merging',
        value: mebibytes(low.memory),
        target: { text: '≤ 512 MiB', met: low.memory <= MEMORY_TARGET },
      },
    ],
    tables: [
      {
        head: ['question', 'ms over live segments', 'ms over compacted rows', 'ratio'],
        lines: squeezed.questions.map(({ name, live, compacted }) => [
          name,
          live.toFixed(1),
          compacted.toFixed(1),
          (live / compacted).toFixed(2),
        ]),
      },
    ],
    checked:
      'squeezed: as many rows as records sent, and the same answers over live and compacted rows; full rate: row count, sum of ids, sum of amounts, distinct (partition, offset).',
    limitedBy: `${loadText(load(), squeezed.cpu + low.cpuSeconds + usual.cpuSeconds, 'ingest')}. Commits are seen every ${POLL_MS} ms, from another process.`,
    numbers: { worstQueryRatio: worst, mostLive: watched.mostLive, rateRatio: ratio, longestMs },
  }
}

/** Looks at the lake until `until` says that it is enough. */
async function watch(lake: LakeReader, until: () => boolean): Promise<Watched> {
  let mostLive = 0
  let longestMs = 0
  let merged = 0
  let version: bigint | undefined
  let movedAt: number | undefined
  while (!until()) {
    const now = await lake.progress(TABLE)
    mostLive = Math.max(mostLive, now.segments.length)
    merged = now.segments.filter(({ path }) => path.includes('-merged-')).length
    if (now.version !== version && now.consumed > 0) {
      const at = performance.now()
      if (movedAt !== undefined) longestMs = Math.max(longestMs, at - movedAt)
      movedAt = at
      version = now.version
    }
    await sleep(POLL_MS)
  }
  return { mostLive, longestMs, merged }
}

async function squeezedHour(stage: Stage) {
  const kafka = await stage.broker()
  await kafka.createTopic(HOUR_TOPIC, PARTITIONS)
  const millrace = await stage.millrace(
    `${eventsYaml(kafka.bootstrap, HOUR_TOPIC)}
flush.interval.ms: ${INTERVAL_MS}
segments.live.max: ${LIVE_MAX}
snapshot.age.ms: 1 s
query.result-cache.bytes: 0
`,
  )
  const ingest = await millrace.start('ingest')
  const lake = await openLakeReader(millrace.configFile)
  stage.atEnd(() => lake.close())
  const producer = startSteadyProducer({
    bootstrap: kafka.bootstrap,
    topic: HOUR_TOPIC,
    partitions: PARTITIONS,
    rate: stage.rate,
    seconds: SECONDS,
    firstIndex: 0,
    timeIsNow: true,
  })
  let ended = false
  const end = producer.ended.finally(() => {
    ended = true
  })
  const watched = await watch(lake, () => ended)
  const { sent } = await end
  await waitForLake(lake, TABLE, ({ consumed }) => consumed >= sent)
  const memory = peakMemory(ingest.pid)
  const cpu = cpuSeconds([ingest.pid])

  const query = await millrace.start('query')
  const newest = new Date(Math.max(...producer.ticks.map(({ at }) => at)) - 5_000).toISOString()
  const questions: readonly (readonly [name: string, sql: (round: number) => string])[] = [
    ['rows, newest and oldest', () => `SELECT count(*), min(ts), max(ts) FROM ${TABLE}`],
    [
      'last minutes by country',
      (round) =>
        `SELECT country, count(*), sum(amount) FROM ${TABLE} WHERE ts > TIMESTAMPTZ '${newest}' AND latency > ${round} GROUP BY country ORDER BY country`,
    ],
    [
      'all of it by device',
      (round) =>
        `SELECT device, count(*), sum(items), max(latency) FROM ${TABLE} WHERE latency > ${round} GROUP BY device ORDER BY device`,
    ],
    ['one record by id', (round) => `SELECT * EXCLUDE (ts) FROM ${TABLE} WHERE id = ${(round * 7919 * 13) % sent}`],
  ]
  const live = await ask(millrace, questions)
  const counted = Number(await millrace.value(`SELECT count(*) FROM ${TABLE}`))
  if (counted !== sent) throw new Error(`${sent} records were sent, ${counted} rows are there`)
  const compactor = await millrace.start('compactor')
  await waitForLake(lake, TABLE, ({ segments }) => segments.length === 0)
  await compactor.stop()
  const compacted = await ask(millrace, questions)
  for (const each of [ingest, query]) await each.stop()
  return {
    rows: sent,
    watched,
    memory,
    cpu,
    questions: questions.map(([name], index) => {
      if (live[index].answers !== compacted[index].answers) throw new Error(`${name}: another answer once compacted`)
      return { name, live: live[index].ms, compacted: compacted[index].ms }
    }),
  }
}

type Millrace = Awaited<ReturnType<Stage['millrace']>>

async function ask(millrace: Millrace, questions: readonly (readonly [string, (round: number) => string])[]) {
  const asked: { ms: number; answers: string }[] = []
  for (const [, sql] of questions) {
    const times: number[] = []
    const answers: unknown[] = []
    for (let round = 0; round < WARM_UPS + ROUNDS; round += 1) {
      const started = performance.now()
      const { data } = await millrace.sql(sql(round))
      if (round >= WARM_UPS) times.push(performance.now() - started)
      answers.push(data)
    }
    asked.push({ ms: median(times), answers: JSON.stringify(answers) })
  }
  return asked
}

async function caughtUp(stage: Stage, topic: FilledTopic, liveMax: number) {
  const { rows } = topic.expected
  const millrace = await stage.millrace(`${eventsYaml(topic.bootstrap)}\nsegments.live.max: ${liveMax}\n`)
  const started = performance.now()
  const ingest = await millrace.start('ingest')
  const lake = await openLakeReader(millrace.configFile)
  stage.atEnd(() => lake.close())
  let isDone = false
  const done = waitForLake(lake, TABLE, ({ consumed }) => consumed >= rows).finally(() => {
    isDone = true
  })
  const watched = await watch(lake, () => isDone)
  await done
  const seconds = (performance.now() - started) / 1000
  const cpu = cpuSeconds([ingest.pid])
  const memory = peakMemory(ingest.pid)
  await ingest.stop()
  const query = await millrace.start('query')
  checkRow((await millrace.sql(CHECK_SQL)).data[0], topic.expected)
  await query.stop()
  return { rate: rows / seconds, watched, cpuSeconds: cpu, cpu: (cpu / rows) * 1e6, memory }
}
