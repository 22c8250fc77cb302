/**
 * Tells how the pipelines of this process fare: to the catalog, where every process can read it, and to Prometheus. Every 2
 * seconds, never part of a commit, so that it is told also while nothing can be committed: lag grows then, and why is said.
 *
 * Where a topic-partition waits, its log's end is asked of the broker: no block would say it.
 */
import type { Catalog, Writer } from '../lake/catalog/catalog.ts'
import type { PartitionStatus } from '../lake/catalog/pipeline-facts.ts'
import type { Metrics } from '../runtime/metrics.ts'
import type { World } from '../runtime/world.ts'
import type { KafkaSource } from './kafka/kafka-source.ts'
import { topicPartitionKey } from './kafka/kafka-source.ts'
import type { KafkaPipeline } from './kafka-pipeline.ts'
import type { PartitionView } from './partition-view.ts'

export type StatusTeller = {
  tell(): Promise<void>
  /** Numbers as they were told last, by pipeline. */
  of(pipeline: string): readonly PartitionStatus[]
}

type Running = { readonly name: string; readonly pipeline: KafkaPipeline; readonly source: KafkaSource }

type Seen = {
  readonly atMs: number
  readonly records: number
  readonly bytes: number
  readonly rowsPerSecond: number | undefined
  readonly bytesPerSecond: number | undefined
  readonly freshAtMs: number | undefined
}

/** More have no metrics of their own: their sum is in those of the pipeline. */
const METRICS_MAX = 1000
/** Of a new rate; the rest is the rate before. */
const RATE_SHARE = 0.5

export function createStatusTeller(parts: {
  catalog: Pick<Catalog, 'tellPartitions'>
  writer: Writer
  world: World
  metrics: Metrics
  running: () => readonly Running[]
  /** Why nothing can be committed now. */
  trouble: () => string | undefined
}): StatusTeller {
  const { catalog, writer, world } = parts
  const gauges = createGauges(parts.metrics)
  let seen = new Map<string, Seen>()
  let told = new Map<string, PartitionStatus[]>()

  function statusOf(pipeline: string, view: PartitionView, logEnd: number, now: Seen): PartitionStatus {
    const trouble = view.state === 'needs-decision' ? undefined : parts.trouble()
    return {
      pipeline,
      topic: view.topic,
      partition: view.partition,
      source: view.source,
      state: trouble === undefined ? view.state : 'waiting',
      detail: trouble ?? view.detail,
      logStart: BigInt(view.logStart),
      logEnd: BigInt(logEnd),
      position: view.position,
      rowsPerSecond: now.rowsPerSecond,
      bytesPerSecond: now.bytesPerSecond,
    }
  }

  function progress(view: PartitionView, logEnd: number, before: Seen | undefined): Seen {
    const atMs = world.clock.monotonicMs()
    const { records, bytes } = view
    const isFresh = view.committed !== undefined && view.committed >= BigInt(logEnd)
    const freshAtMs = isFresh ? atMs : before?.freshAtMs
    // Assigned anew, it counts from 0 again.
    if (!before || atMs <= before.atMs || records < before.records) {
      return { atMs, records, bytes, freshAtMs, rowsPerSecond: undefined, bytesPerSecond: undefined }
    }
    const seconds = (atMs - before.atMs) / 1000
    const smooth = (rate: number, earlier: number | undefined) =>
      earlier === undefined ? rate : rate * RATE_SHARE + earlier * (1 - RATE_SHARE)
    return {
      atMs,
      records,
      bytes,
      freshAtMs,
      rowsPerSecond: smooth((records - before.records) / seconds, before.rowsPerSecond),
      bytesPerSecond: smooth((bytes - before.bytes) / seconds, before.bytesPerSecond),
    }
  }

  async function endsOf({ source }: Running, views: readonly PartitionView[]): Promise<ReadonlyMap<string, number>> {
    const isHeldUp = parts.trouble() !== undefined || views.some(({ state }) => state !== 'running')
    if (!isHeldUp || !source.currentEnds) return new Map()
    const ends = await source.currentEnds().catch(() => [])
    return new Map(ends.map((each) => [topicPartitionKey(each), each.logEnd]))
  }

  return {
    of: (pipeline) => told.get(pipeline) ?? [],
    async tell() {
      const nextSeen = new Map<string, Seen>()
      const nextTold = new Map<string, PartitionStatus[]>()
      for (const running of parts.running()) {
        const views = running.pipeline.partitions()
        const ends = await endsOf(running, views)
        const statuses = views.map((view) => {
          const id = topicPartitionKey(view)
          const key = JSON.stringify([running.name, id])
          const logEnd = Math.max(view.logEnd, ends.get(id) ?? 0)
          const now = progress(view, logEnd, seen.get(key))
          nextSeen.set(key, now)
          gauges.set(running.name, view, logEnd, now)
          return statusOf(running.name, view, logEnd, now)
        })
        nextTold.set(running.name, statuses)
      }
      seen = nextSeen
      told = nextTold
      gauges.keep(new Set(nextSeen.keys()))
      await catalog.tellPartitions(writer, [...nextTold.values()].flat())
    },
  }
}

function createGauges(metrics: Metrics) {
  const labels = ['pipeline', 'topic', 'partition']
  const lag = metrics.gauge({ name: 'partition_lag_records', help: 'Records behind the end of the log.', labels })
  const freshness = metrics.gauge({
    name: 'partition_freshness_seconds',
    help: 'Since the topic-partition last stood at its log’s end with everything committed.',
    labels,
  })
  const rows = metrics.gauge({ name: 'partition_rows_per_second', help: 'Records taken a second.', labels })
  const bytes = metrics.gauge({ name: 'partition_bytes_per_second', help: 'Bytes of values taken a second.', labels })
  const dead = metrics.gauge({
    name: 'partition_dead_letters',
    help: 'Records that became dead letters since the topic-partition was assigned here.',
    labels,
  })
  const all = [lag, freshness, rows, bytes, dead]
  const shown = new Map<string, Readonly<Record<string, string>>>()
  return {
    set(pipeline: string, view: PartitionView, logEnd: number, seen: Seen) {
      const key = JSON.stringify([pipeline, topicPartitionKey(view)])
      if (!shown.has(key) && shown.size >= METRICS_MAX) return
      const own = { pipeline, topic: view.topic, partition: String(view.partition) }
      shown.set(key, own)
      const behind = lagOf(view, logEnd)
      if (behind !== undefined) lag.set(behind, own)
      if (seen.freshAtMs !== undefined) freshness.set((seen.atMs - seen.freshAtMs) / 1000, own)
      rows.set(seen.rowsPerSecond ?? 0, own)
      bytes.set(seen.bytesPerSecond ?? 0, own)
      dead.set(view.dead, own)
    },
    /** Those of others are not ours to tell any more. */
    keep(keys: ReadonlySet<string>) {
      for (const [key, own] of shown) {
        if (keys.has(key)) continue
        for (const gauge of all) gauge.remove(own)
        shown.delete(key)
      }
    },
  }
}

/** As `lake/pipeline-rows.ts` has it: of a log that was made anew all is behind. */
function lagOf({ state, committed, logStart, logEnd: own }: PartitionView, logEnd: number): number | undefined {
  if (committed === undefined) return undefined
  if (state === 'needs-decision' && own < Number(committed)) return Math.max(0, logEnd - logStart)
  return Math.max(0, logEnd - Number(committed))
}
