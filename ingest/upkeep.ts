/**
 * What ingest does beside taking rows, every second or few: tell the catalog which idle sources stand at the log's end
 * (freshness without rows; one that another process moved late is asked for again), take over columns that somebody changed,
 * watch how many segments are live, look again at topic-partitions that waited for a decision, and write group offsets for
 * other people's lag displays (advisory, never read back).
 */
import type { Catalog, Writer } from '../lake/catalog/catalog.ts'
import type { World } from '../runtime/world.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import type { Backfills } from './backfill.ts'
import type { KafkaSource } from './kafka/kafka-source.ts'
import { topicPartitionKey } from './kafka/kafka-source.ts'
import type { KafkaPipeline } from './kafka-pipeline.ts'
import type { LiveSegments } from './live-segments.ts'
import type { PlanKeeper } from './schema-keeper.ts'
import type { StatusTeller } from './status-teller.ts'
import type { IngestTables } from './tables.ts'

const TOUCH_EVERY_MS = 1000
const REFRESH_EVERY_MS = 1000
const LOOK_EVERY_MS = 5000
const TELL_EVERY_MS = 2000

export function startUpkeep(components: {
  teller: StatusTeller
  backfills?: Pick<Backfills, 'look'>
  catalog: Catalog
  writer: Writer
  world: World
  liveSegments: LiveSegments
  tables: Pick<IngestTables, 'refresh'>
  running: () => readonly {
    readonly pipeline: KafkaPipeline
    readonly source: KafkaSource
    readonly keeper: Pick<PlanKeeper, 'plan'>
  }[]
}): { stop(): Promise<void> } {
  const { teller, backfills, catalog, writer, world, liveSegments, tables, running } = components
  const stopping = new AbortController()

  async function touchIdle(): Promise<void> {
    const keys = running()
      .flatMap(({ pipeline }) => pipeline.idleAtEnd())
      .map(({ key, end }) => ({ ...key, end, logEnd: end }))
    if (keys.length === 0) return
    for (const moved of await catalog.touchCaughtUp(writer, keys)) {
      // Nothing of ours moved it meanwhile: somebody else did, late. What was covered then may not be in the log any more.
      for (const { pipeline } of running()) {
        const stands = pipeline.idleAtEnd().find(({ key }) => sourceKeyText(key) === sourceKeyText(moved))
        if (stands && stands.end === moved.end) pipeline.becameStale(moved)
      }
    }
  }

  async function look(): Promise<void> {
    await liveSegments.count()
    await backfills?.look()
    for (const { pipeline, source } of running()) {
      await source.commitAdvisory(pipeline.committedPositions()).catch(() => {})
      for (const partition of source.assignments()) {
        if (pipeline.state.needsDecision.has(topicPartitionKey(partition))) await source.restart(partition)
      }
    }
  }

  async function refresh(): Promise<void> {
    await tables.refresh()
    // Health hears what is well again also where no records come.
    for (const { keeper } of running()) keeper.plan()
  }

  async function every(ms: number, run: () => Promise<void>): Promise<void> {
    while (!stopping.signal.aborted) {
      await world.clock.sleep(ms, stopping.signal).catch(() => {})
      if (stopping.signal.aborted) return
      await run().catch((error: unknown) => world.log.warn('upkeep failed; it is tried again', { error }))
    }
  }

  const loops = [
    every(TOUCH_EVERY_MS, touchIdle),
    every(REFRESH_EVERY_MS, refresh),
    every(LOOK_EVERY_MS, look),
    every(TELL_EVERY_MS, () => teller.tell()),
  ]
  return {
    async stop() {
      stopping.abort()
      await Promise.all(loops)
    },
  }
}
