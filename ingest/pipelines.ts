/**
 * The pipelines that run in this process, from settings and from connectors: each is a Kafka source and what takes its
 * records, started and stopped one by one. None waits for another, and one that cannot go on leaves the others alone.
 */
import type { Catalog, Writer } from '../lake/catalog/catalog.ts'
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import type { SourceKey } from '../schemas/coverage.ts'
import { DEAD_LETTERS_SUFFIX } from '../schemas/table-schema.ts'
import type { IngestMetrics } from './ingest-metrics.ts'
import type { Intake } from './intake.ts'
import { createKafkaSource, type KafkaSourceSettings } from './kafka/fetch-source.ts'
import type { KafkaSource } from './kafka/kafka-source.ts'
import { createKafkaPipeline, type KafkaPipeline } from './kafka-pipeline.ts'
import { createRateLimit, type RateLimits } from './rate-limit.ts'
import type { PlanKeeper } from './schema-keeper.ts'
import type { SourceLedger } from './source-ledger.ts'
import type { IngestTables } from './tables.ts'
import type { IngestWork } from './threads/work.ts'

export type PipelineDefinition = {
  readonly name: string
  readonly groupId: string
  /** Topic → the tables that its records go to. */
  readonly routes: Readonly<Record<string, readonly string[]>>
  readonly keeper: PlanKeeper
  readonly autoOffsetReset: 'earliest' | 'latest'
  readonly kafka: KafkaSourceSettings
  /** With a log that hides the pipeline's secrets. */
  readonly world: World
  readonly work: Pick<IngestWork, 'decode' | 'replies'>
  readonly rate?: RateLimits
  readonly onTrouble?: (reason: string | undefined) => void
  /** Takes secrets out of what health tells. */
  readonly mask?: (text: string) => string
  /** undefined: as the service's settings say. */
  readonly flushIntervalMs?: number | undefined
}

export type RunningPipeline = {
  readonly name: string
  readonly topics: readonly string[]
  readonly tables: readonly string[]
  readonly pipeline: KafkaPipeline
  readonly source: KafkaSource
  readonly keeper: PlanKeeper
  readonly flushIntervalMs: number | undefined
  readonly kafka: KafkaSourceSettings
  readonly groupId: string
  readonly work: PipelineDefinition['work']
}

export type Pipelines = {
  running(): readonly RunningPipeline[]
  find(name: string): RunningPipeline | undefined
  /** Throws what the catalog has against it (`settings-invalid`: another pipeline feeds the same table from the same topic). */
  start(definition: PipelineDefinition): Promise<RunningPipeline>
  /** Commits what it took and leaves the group. */
  stop(name: string): Promise<void>
  /** A pipeline feeds these tables too, from any of its topics: transforms may send records there. Throws as `start`. */
  addTables(name: string, tables: readonly string[]): Promise<void>
  /** A table came into being: those who feed it say so, for freshness and against two of them on one topic. */
  bindTable(name: string): Promise<void>
  becameStale(keys: readonly SourceKey[]): void
  /** Copies of the pipeline's dead letters that its ticks wait for, until it stops. */
  addCopies(name: string, copies: { settled(): Promise<void> }): void
  copiesSettled(): Promise<void>
  /** For a pipeline's keeper: health says why records of its topics become dead letters. */
  onRefused(name: string): (reasons: readonly string[]) => void
  /** Likewise: why its schema registry does not answer; records that need a schema wait. undefined: it does. */
  onRegistry(name: string): (reason: string | undefined) => void
}

const NO_LIMIT: RateLimits = { rowsMax: undefined, bytesMax: undefined }

export function createPipelines(components: {
  catalog: Catalog
  tables: IngestTables
  intake: Intake
  ledger: SourceLedger
  health: Health
  counted: Pick<IngestMetrics, 'count'>
  writer: Writer
}): Pipelines {
  const { writer } = components
  const { catalog, tables, intake, ledger, health, counted } = components
  const running = new Map<string, RunningPipeline>()
  const routesOf = new Map<string, PipelineDefinition['routes']>()
  const copies = new Map<string, { settled(): Promise<void> }>()

  async function bind(name: string, routes: PipelineDefinition['routes'], only?: string): Promise<void> {
    for (const [table, topics] of topicsOfTables(routes)) {
      if (only !== undefined && only !== table && only !== `${table}${DEAD_LETTERS_SUFFIX}`) continue
      await catalog.bindPipeline(name, tables.tableIds([table]), topics)
    }
  }

  return {
    running: () => [...running.values()],
    find: (name) => running.get(name),
    async start(definition) {
      const { name, routes, keeper, world, mask = (text: string) => text } = definition
      const component = health.component(`pipeline ${name}`)
      const positions = health.component(`pipeline ${name} positions`)
      const pipeline = createKafkaPipeline({
        name,
        keeper,
        decode: definition.work.decode,
        limit: createRateLimit(definition.rate ?? NO_LIMIT, world),
        autoOffsetReset: definition.autoOffsetReset,
        catalog,
        intake,
        ledger,
        world,
        onTrouble(reason) {
          if (reason === undefined) component.healthy()
          else component.degraded(mask(reason))
          definition.onTrouble?.(reason)
        },
        onDecision() {
          const waiting = [...pipeline.state.needsDecision]
          if (waiting.length === 0) positions.healthy()
          else positions.degraded(waiting.map(([id, text]) => `needs-decision ${id}: ${text}`).join('; '))
        },
        count: (what, by) => counted.count(name, what, by),
      })
      const source = createKafkaSource({
        settings: definition.kafka,
        world,
        topics: Object.keys(routes),
        groupId: definition.groupId,
        handlers: pipeline.handlers,
        replies: definition.work.replies(definition.kafka.fetchBytesMax),
      })
      await bind(name, routes)
      routesOf.set(name, routes)
      pipeline.attach(source)
      const started = { name, topics: Object.keys(routes), tables: [...topicsOfTables(routes).keys()] }
      const { kafka, groupId, work, flushIntervalMs } = definition
      const made = { ...started, pipeline, source, keeper, flushIntervalMs, kafka, groupId, work }
      running.set(name, made)
      await catalog.tellTask(writer, name, 'running')
      // An absent broker is retried for ever, and said by health: the HTTP door is open meanwhile.
      source.start().catch((error: unknown) => {
        component.unhealthy(mask(error instanceof Error ? error.message : String(error)))
        world.log.error('pipeline cannot start', { pipeline: name, error })
      })
      return made
    },
    async stop(name) {
      const found = running.get(name)
      if (!found) return
      found.keeper.stop()
      await found.source.close()
      // What it took is committed. A catalog that is away learns by our heartbeat that nobody runs it here.
      await catalog.tellTask(writer, name, undefined).catch(() => {})
      running.delete(name)
      routesOf.delete(name)
      copies.delete(name)
      health.remove(`pipeline ${name}`)
      health.remove(`pipeline ${name} positions`)
      health.remove(`pipeline ${name} schemas`)
      health.remove(`pipeline ${name} registry`)
    },
    async addTables(name, names) {
      const routes = routesOf.get(name)
      if (!routes) return
      const known = topicsOfTables(routes)
      const fresh = names.filter((table) => !known.has(table))
      if (fresh.length === 0) return
      const wider = Object.fromEntries(Object.entries(routes).map(([topic, fed]) => [topic, [...fed, ...fresh]]))
      routesOf.set(name, wider)
      await bind(name, wider)
    },
    async bindTable(name) {
      for (const [pipeline, routes] of routesOf) await bind(pipeline, routes, name)
    },
    onRefused: (name) => (reasons) => {
      const component = health.component(`pipeline ${name} schemas`)
      if (reasons.length === 0) component.healthy()
      else component.degraded(`records become dead letters: ${reasons.join('; ')}`)
    },
    onRegistry: (name) => (reason) => {
      const component = health.component(`pipeline ${name} registry`)
      if (reason === undefined) component.healthy()
      else component.degraded(`records wait for their schema: ${reason}`)
    },
    addCopies: (name, added) => void copies.set(name, added),
    async copiesSettled() {
      await Promise.all([...copies.values()].map((each) => each.settled()))
    },
    becameStale(keys) {
      for (const key of keys) running.get(key.pipeline)?.pipeline.becameStale(key)
    },
  }
}

function topicsOfTables(routes: PipelineDefinition['routes']): Map<string, string[]> {
  const topics = new Map<string, string[]>()
  for (const [topic, tables] of Object.entries(routes)) {
    for (const table of tables) topics.set(table, [...(topics.get(table) ?? []), topic])
  }
  return topics
}
