/**
 * Produced → visible in a query, at a steady rate, with all services running. Every record carries the moment it was made;
 * a query every 50 ms asks how far each topic-partition has come. A record is visible when the answer that shows its
 * partition has come that far arrives here: polling, HTTP, planning and the query itself are all in the figure.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { startSteadyProducer } from './load/start-steady-producer.ts'
import { cpuSeconds, peakMemories, watchMachine } from './process-cost.ts'
import { eventsYaml, PARTITIONS, TABLE } from './records.ts'
import { type BenchResult, loadText, mebibytes, thousands } from './report.ts'
import type { Stage } from './stage.ts'
import { median, percentile } from './statistics.ts'

const SECONDS_MAX = 60
const WARM_UP_SECONDS = 5
const POLL_MS = 50
const LOOK_BACK_MS = 10_000
const PATIENCE_MS = 30_000
/** At 100,000 a second and above the plan asks for more. */
const TARGET_MS = (rate: number) => (rate < 100_000 ? 1_500 : 1_000)
const SLOW_TARGET_MS = 2_000
const FRESH_TOPIC = 'fresh'

export async function benchFreshness(stage: Stage): Promise<BenchResult> {
  const kafka = await stage.broker()
  await kafka.createTopic(FRESH_TOPIC, PARTITIONS)
  const seconds = Math.min(SECONDS_MAX, Math.ceil(stage.rows / stage.rate))
  const settings = `${eventsYaml(kafka.bootstrap, FRESH_TOPIC)}\nsnapshot.age.ms: 20 s\n`
  const { millrace, set, place } = await stage.placedMillrace(settings)
  const target = set.length > 0 ? SLOW_TARGET_MS : TARGET_MS(stage.rate)
  const services = {
    ingest: await millrace.start('ingest', { set }),
    compactor: await millrace.start('compactor'),
    query: await millrace.start('query'),
  }
  const pids = Object.values(services).map(({ pid }) => pid)
  const cpuBefore = cpuSeconds(pids)
  const load = watchMachine()
  const firstAt = Date.now() + WARM_UP_SECONDS * 1000
  const producer = startSteadyProducer({
    bootstrap: kafka.bootstrap,
    topic: FRESH_TOPIC,
    partitions: PARTITIONS,
    rate: stage.rate,
    seconds: WARM_UP_SECONDS + seconds,
    firstIndex: 0,
    timeIsNow: true,
  })
  let ended: { sent: number; seconds: number } | undefined
  void producer.ended.then((end) => {
    ended = end
  })

  const ages: { age: number; count: number }[] = []
  const queryMs: number[] = []
  let next = 0
  let visibleTo = Date.now() - LOOK_BACK_MS
  let endedAt: number | undefined
  while (ended === undefined || next < producer.ticks.length) {
    const started = performance.now()
    const { data } = await millrace.sql(
      `SELECT count(*), epoch_ms(min(newest)) FROM (SELECT max(ts) AS newest FROM ${TABLE}
       WHERE ts > TIMESTAMPTZ '${new Date(visibleTo - LOOK_BACK_MS).toISOString()}' GROUP BY _partition)`,
    )
    const seenAt = Date.now()
    queryMs.push(performance.now() - started)
    const [partitions, newest] = data[0].map(Number)
    if (partitions === PARTITIONS) visibleTo = Math.max(visibleTo, newest)
    for (; next < producer.ticks.length && producer.ticks[next].at <= visibleTo; next += 1) {
      const { at, count } = producer.ticks[next]
      if (at >= firstAt) ages.push({ age: seenAt - at, count })
    }
    if (ended !== undefined) endedAt ??= seenAt
    if (endedAt !== undefined && seenAt - endedAt > PATIENCE_MS) throw new Error('records did not become visible')
    await sleep(Math.max(0, POLL_MS - (performance.now() - started)))
  }
  const machine = load()
  const cpu = cpuSeconds(pids) - cpuBefore
  const end = await producer.ended
  const visible = Number(await millrace.value(`SELECT count(*) FROM ${TABLE}`))
  if (visible !== end.sent) throw new Error(`${end.sent} records were sent, ${visible} rows are there`)
  const [ingestMemory] = peakMemories(services.ingest.pid)
  for (const each of Object.values(services)) await each.stop()

  // One value a record: ticks hold different numbers of them.
  const perRecord = ages.flatMap(({ age, count }) => Array.from({ length: Math.round(count / PARTITIONS) }, () => age))
  const p50 = percentile(perRecord, 0.5)
  const p99 = percentile(perRecord, 0.99)
  const most = percentile(perRecord, 1)
  return {
    name: 'freshness',
    data: `${thousands(end.sent)} JSON records of 12 columns at ${thousands(end.sent / end.seconds)} a second for ${Math.round(end.seconds)} s (the first ${WARM_UP_SECONDS} s not counted), ${PARTITIONS} partitions, lz4, a batch per partition every 50 ms`,
    settings: `defaults (flush.interval.ms 500) but snapshot.age.ms 20 s, so that snapshots are committed meanwhile; ingest, compactor and query running, a query every ${POLL_MS} ms; the lake ${place}`,
    figures: [
      { what: 'produced → visible, p50', value: `${p50} ms` },
      {
        what: 'produced → visible, p99',
        value: `${p99} ms`,
        target: { text: `≤ ${thousands(target)} ms`, met: p99 <= target },
      },
      { what: 'produced → visible, largest', value: `${most} ms` },
      { what: 'the polling query, median', value: `${median(queryMs).toFixed(1)} ms, ${queryMs.length} queries` },
      { what: 'cores used by the three services', value: (cpu / machine.seconds).toFixed(2) },
      { what: 'peak resident memory of ingest', value: mebibytes(ingestMemory) },
    ],
    checked: 'as many rows in the table as records sent; a tick counts as visible only when all partitions show it.',
    limitedBy: `the flush interval: a record waits half of it on average. Beside that, ${loadText(machine, cpu, 'the services')}.`,
    numbers: { p50Ms: p50, p99Ms: p99, maxMs: most, queryMedianMs: median(queryMs), cores: cpu / machine.seconds },
  }
}
