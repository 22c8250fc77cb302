/**
 * Backfills: ranges that somebody asked for (`millrace offsets backfill`) are read beside the pipeline, each by a source of its own
 * with a group of its own, and committed as stretches with coverage of their own (`lake/catalog/offsets.ts`). Coverage says how far
 * each came, so that a restart, or another process, goes on there; of two that read the same one the second finds it moved.
 *
 * Every few seconds the catalog is asked what is to be done. A range whose records retention has taken meanwhile stops with a
 * reason in health; the rest of it can be asked for anew.
 */
import type { Catalog } from '../lake/catalog/catalog.ts'
import type { Backfill } from '../lake/catalog/offset-moves.ts'
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import { endOf } from '../schemas/kafka-source-text.ts'
import type { Intake } from './intake.ts'
import { createKafkaSource, type KafkaSourceSettings } from './kafka/fetch-source.ts'
import type { KafkaSource } from './kafka/kafka-source.ts'
import { createKafkaPipeline } from './kafka-pipeline.ts'
import type { PlanKeeper } from './schema-keeper.ts'
import type { SourceLedger } from './source-ledger.ts'
import type { IngestWork } from './threads/work.ts'

export type Backfills = {
  /** Begins what is to be done and not done here yet, ends what is over. */
  look(): Promise<void>
  stop(): Promise<void>
}

/** A pipeline of this process, as a backfill needs it. */
export type BackfilledPipeline = {
  readonly name: string
  readonly keeper: PlanKeeper
  readonly kafka: KafkaSourceSettings
  readonly groupId: string
  readonly work: Pick<IngestWork, 'decode' | 'replies'>
}

/** Each has a connection and blocks of its own. */
const RUNNING_MAX = 4

export function createBackfills(parts: {
  catalog: Catalog
  intake: Intake
  ledger: SourceLedger
  health: Health
  world: World
  running: () => readonly BackfilledPipeline[]
  count: (pipeline: string, what: 'records' | 'dead' | 'filtered' | 'unknown-keys', by: number) => void
}): Backfills {
  const { catalog, intake, ledger, health, world } = parts
  const sources = new Map<number, { readonly source: KafkaSource; readonly name: string }>()

  function begin(of: BackfilledPipeline, { moveId, topic, partition, source: text, range }: Backfill): void {
    const name = `backfill ${of.name} ${topic}/${partition} [${range.start}, ${range.end})`
    const component = health.component(name)
    const pipeline = createKafkaPipeline({
      name: of.name,
      keeper: of.keeper,
      decode: of.work.decode,
      autoOffsetReset: 'earliest',
      catalog,
      intake,
      ledger,
      world,
      stretch: { key: { pipeline: of.name, source: text, partition }, topic, until: range.end },
      onTrouble(reason) {
        if (reason === undefined) component.healthy()
        else component.degraded(reason)
      },
      onDecision() {
        const [waiting] = pipeline.state.needsDecision.values()
        if (waiting !== undefined)
          component.degraded(waiting.replace(/; to go on: .*/, '; ask for what is left of it anew'))
      },
      count: (what, by) => parts.count(of.name, what, by),
    })
    const source = createKafkaSource({
      settings: of.kafka,
      world,
      topics: [topic],
      groupId: `${of.groupId}-backfill-${moveId}`,
      handlers: pipeline.handlers,
      replies: of.work.replies(of.kafka.fetchBytesMax),
    })
    pipeline.attach(source)
    sources.set(moveId, { source, name })
    world.log.info('a backfill begins', {
      pipeline: of.name,
      topic,
      partition,
      from: String(range.start),
      to: String(range.end),
    })
    source.start().catch((error: unknown) => component.degraded(error instanceof Error ? error.message : String(error)))
  }

  async function end(moveId: number): Promise<void> {
    const own = sources.get(moveId)
    if (!own) return
    sources.delete(moveId)
    await own.source.close()
    health.remove(own.name)
    world.log.info('a backfill is over', { backfill: own.name })
  }

  return {
    async look() {
      const wanted = new Map<number, { of: BackfilledPipeline; backfill: Backfill }>()
      for (const of of parts.running()) {
        for (const backfill of await catalog.backfills(of.name)) {
          if (endOf(backfill.coverage) < backfill.range.end) wanted.set(backfill.moveId, { of, backfill })
        }
      }
      for (const moveId of [...sources.keys()]) if (!wanted.has(moveId)) await end(moveId)
      for (const [moveId, { of, backfill }] of wanted) {
        if (!sources.has(moveId) && sources.size < RUNNING_MAX) begin(of, backfill)
      }
    },
    async stop() {
      for (const moveId of [...sources.keys()]) await end(moveId)
    },
  }
}
