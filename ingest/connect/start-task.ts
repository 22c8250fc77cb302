/**
 * A task: one connector's pipeline in this process.
 *
 *   configuration ─▶ checked ─▶ secrets read ─▶ topics (listed, or those that a pattern matches) ─▶ their tables ─▶ pipeline
 *
 * With `topics.regex` topics are looked for again now and then: when there are others, the pipeline begins anew with them.
 * Whatever keeps it from starting is thrown; a bad record under `errors.tolerance=none` ends it before anything of its block
 * was taken, so nothing is lost and it resumes there. Nothing that is logged or told has a secret in it.
 */

import type { Connector } from '../../lake/catalog/connectors.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import { checkTopicName, createLettersTopic, type LettersTopic } from '../dead-letters/letters-topic.ts'
import type { DecodedPiece } from '../decoder/decode-plan.ts'
import type { KafkaSourceSettings } from '../kafka/fetch-source.ts'
import { listTopics } from '../kafka/topic-names.ts'
import type { Decode } from '../kafka-pipeline.ts'
import type { Pipelines } from '../pipelines.ts'
import { createSchemaKeeper, type PlanKeeper, type RecordFormat } from '../schema-keeper.ts'
import type { DeclaredTable, IngestTable, IngestTables } from '../tables.ts'
import { releasePieces } from '../threads/decode-unit.ts'
import type { IngestWork } from '../threads/work.ts'
import { type CheckedConnector, topicPattern } from './config/check-connector.ts'
import { type ConnectorConfig, tableNameOf } from './config/connector-config.ts'
import { kafkaSettings } from './kafka-settings.ts'
import { needsHuman } from './needs-human.ts'
import { createRegistries } from './registries.ts'
import { createSecrets, maskedLog, type Secrets } from './secrets.ts'
import type { RunningTask, StartTask } from './supervisor.ts'

const INFER_RECORDS = 1000
const TOPICS_WAIT_MS = 1_000
/** Of bad records, under errors.log.enable. */
const LOG_EVERY_MS = 1_000
/** Begins the name of a topic's trouble with its table. */
const TABLE_OF = 'table of topic '

export function createStartTask(components: {
  settings: Pick<Settings, 'kafka' | 'connect' | 'ingest' | 'tables'>
  world: World
  tables: IngestTables
  pipelines: Pipelines
  work: Pick<IngestWork, 'decode' | 'replies'>
  check: (properties: Connector['properties']) => CheckedConnector
  env: Readonly<Record<string, string | undefined>>
}): { startTask: StartTask; traceOf(connector: string, error: unknown): string } {
  const { settings, tables, pipelines, check, env } = components
  /** Also of tasks that failed: what they tell is told later. */
  const secretsOf = new Map<string, Secrets>()

  const startTask: StartTask = async (connector, { isPaused, onFailed }) => {
    const { name } = connector
    const { config, errors, warnings } = check(connector.properties)
    if (!config) {
      throw new MillraceError('settings-invalid', errors.map(({ message }) => message).join('\n'))
    }
    if (pipelines.find(name) !== undefined) {
      throw new MillraceError(
        'settings-invalid',
        `"${name}" is a pipeline of the settings too; one of them needs another name`,
      )
    }
    const secrets = createSecrets({ env, folders: settings.connect.secretsFolders })
    secretsOf.set(name, secrets)
    const world = { ...components.world, log: maskedLog(components.world.log.child({ connector: name }), secrets) }
    const kafka = kafkaSettings(settings.kafka, config.consumer, secrets)
    const seenTopics = new Set<string>()
    let keeperHere: Pick<PlanKeeper, 'feed'> | undefined
    const copies = copiesOf(config, kafka, world)
    const copy =
      copies &&
      ((piece: DecodedPiece) => {
        const { table } = keeperHere!.feed(piece.tableId, piece.schemaId)
        if (table.name.endsWith(DEAD_LETTERS_SUFFIX)) copies.offer(piece.batch)
      })
    const work = {
      ...components.work,
      decode: watchedDecode(config, world, components.work.decode, seenTopics, copy, onFailed),
    }
    let paused = isPaused
    const troubles = new Map<string, string>()
    /** What tables do not take of their records: no trouble of the task. */
    let refused: readonly string[] = []
    const stopping = new AbortController()
    let turn: Promise<unknown> = Promise.resolve()

    const registries = createRegistries({ config, secrets, world })

    /** Its tables; the first time it is fed from the topic, the catalog is told. */
    async function openTopic(topic: string): Promise<readonly IngestTable[]> {
      const names = [...new Set(config!.table.templates.map((template) => tableNameOf(template, topic)))]
      const opened = await Promise.all(names.map(openTable))
      await pipelines.addTables(name, names)
      return opened
    }

    async function openTable(table: string): Promise<IngestTable> {
      const isOfSettings = settings.tables.some((each) => each.name === table)
      const opened = await tables.open(table, isOfSettings ? undefined : declaredTable(config!))
      if (isOfSettings) return opened
      // A table is open once in a process, whoever feeds it; how its columns follow is each connector's own matter.
      return Object.create(opened, { evolution: { value: config!.table.evolution } }) as IngestTable
    }

    async function run(topics: readonly string[]): Promise<void> {
      const routes = routesOf(config!, topics)
      // What is wrong with a table is told now, not with its first record.
      await Promise.all([...new Set(Object.values(routes).flat())].map(openTable))
      const keeper = watchedKeeper({
        pipeline: name,
        topics: [],
        tables: [],
        recordBytesMax: settings.ingest.recordBytesMax,
        world,
        format: formatOf(config!),
        async openTopic(topic) {
          try {
            return await openTopic(topic)
          } catch (error) {
            if (!(error instanceof MillraceError && error.kind === 'unavailable')) onFailed(error)
            throw error
          }
        },
        findSchema: registries.find,
        onRefused(reasons) {
          refused = reasons.map(secrets.mask)
          pipelines.onRefused(name)(refused)
        },
        onTrouble(reason) {
          const told = reason === undefined ? undefined : secrets.mask(reason)
          noteTrouble('registry')(told)
          pipelines.onRegistry(name)(told)
        },
      })
      keeperHere = keeper
      if (copies) pipelines.addCopies(name, copies)
      const { source } = await pipelines.start({
        name,
        groupId: config!.consumer.groupId,
        routes,
        keeper,
        autoOffsetReset: config!.consumer.autoOffsetReset ?? settings.kafka.autoOffsetReset,
        rate: config!.rate,
        kafka,
        world,
        work,
        flushIntervalMs: config!.flushIntervalMs,
        onTrouble: noteTrouble('brokers'),
        mask: secrets.mask,
      })
      if (paused) source.pause()
    }

    /** A table that contradicts what its records have cannot be made: its topic waits, the others go on, and it is told. */
    function watchedKeeper(parts: Parameters<typeof createSchemaKeeper>[0]): PlanKeeper {
      const keeper = createSchemaKeeper(parts)
      return {
        ...keeper,
        async resolve(needs) {
          const note = (reason: string | undefined) => {
            for (const { topic } of needs.topics) noteTrouble(`${TABLE_OF}${topic}`)(reason)
          }
          try {
            const plan = await keeper.resolve(needs)
            note(undefined)
            return plan
          } catch (error) {
            if (isMillraceError(error, 'settings-invalid')) note(error.message)
            throw error
          }
        },
      }
    }

    function copiesOf(
      { errors: { deadLetterTopic: topic } }: ConnectorConfig,
      settingsOfKafka: KafkaSourceSettings,
      logged: World,
    ): LettersTopic | undefined {
      if (!topic) return undefined
      checkTopicName(topic.name)
      const onTrouble = noteTrouble('dead letters')
      return createLettersTopic({ topic, connector: name, taskId: 0, kafka: settingsOfKafka, world: logged, onTrouble })
    }

    function noteTrouble(of: string): (reason: string | undefined) => void {
      return (reason) => {
        if (reason === undefined) troubles.delete(of)
        else troubles.set(of, secrets.mask(reason))
      }
    }

    async function stop(): Promise<void> {
      stopping.abort()
      await turn.catch(() => {})
      await pipelines.stop(name)
      await copies?.close()
      await registries.close()
    }

    try {
      if (config.topics.kind === 'list') await run(config.topics.names)
      else {
        const { topics } = config
        const known = await topicsLike(topics.pattern, kafka).catch((error: unknown) => {
          if (!(error instanceof MillraceError && error.kind === 'unavailable')) throw error
          noteTrouble('topics')(error.message)
          return []
        })
        if (known.length > 0) await run(known)
        turn = follow(known)
      }
    } catch (error) {
      await stop().catch(() => {})
      throw error
    }

    /** Topics that come and go; a look that fails is repeated. */
    async function follow(first: readonly string[]): Promise<void> {
      let known = first
      while (!stopping.signal.aborted) {
        // Who has none yet, or does not know, looks more often.
        const isWaiting = known.length === 0 || troubles.has('topics')
        const pauseMs = isWaiting ? Math.min(kafka.topicsRefreshMs, TOPICS_WAIT_MS) : kafka.topicsRefreshMs
        await world.clock.sleep(pauseMs, stopping.signal).catch(() => {})
        if (stopping.signal.aborted || config!.topics.kind !== 'pattern') return
        try {
          const found = await topicsLike(config!.topics.pattern, kafka)
          // One that is gone stays: whether it was deleted for good is for a human to say.
          noteTrouble('topics')(undefined)
          const topics = [...new Set([...known, ...found])].sort()
          if (topics.length === known.length || stopping.signal.aborted) continue
          world.log.info('topics that match are read too', { topics: topics.filter((each) => !known.includes(each)) })
          await pipelines.stop(name)
          await run(topics)
          known = topics
        } catch (error) {
          if (pipelines.find(name) === undefined && known.length > 0) {
            onFailed(error)
            return
          }
          noteTrouble('topics')(error instanceof Error ? error.message : String(error))
        }
      }
    }

    const decisions = () => [...(pipelines.find(name)?.pipeline.state.needsDecision ?? [])]
    const task: RunningTask = {
      pause() {
        paused = true
        pipelines.find(name)?.source.pause()
      },
      resume() {
        paused = false
        pipelines.find(name)?.source.resume()
      },
      partitions: () => pipelines.find(name)?.source.assignments() ?? [],
      takeTopics() {
        const topics = [...seenTopics]
        seenTopics.clear()
        return topics
      },
      warnings: () => [
        ...warnings,
        ...troubles.values(),
        ...refused.map((reason) => `records become dead letters: ${reason}`),
        ...decisions().map(([id, text]) => `needs-decision ${id}: ${text}`),
      ],
      failure: () => [...troubles].find(([of, reason]) => of.startsWith(TABLE_OF) || needsHuman(reason))?.[1],
      stop,
    }
    return task
  }

  return {
    startTask,
    traceOf(connector, error) {
      const text = error instanceof Error ? traceText(error) : String(error)
      return secretsOf.get(connector)?.mask(text) ?? text
    },
  }
}

/** What a human made wrong needs no stack; a bug does. */
function traceText(error: Error): string {
  const isOurs = error instanceof MillraceError && error.kind !== 'internal'
  const own = isOurs ? error.message : (error.stack ?? error.message)
  return error.cause instanceof Error ? `${own}\nCaused by: ${error.cause.message}` : own
}

async function topicsLike(pattern: string, kafka: KafkaSourceSettings): Promise<readonly string[]> {
  const { topics } = await listTopics(kafka)
  const matches = topicPattern(pattern)
  return topics.filter((topic) => matches.test(topic)).sort()
}

function routesOf(config: ConnectorConfig, topics: readonly string[]): Record<string, readonly string[]> {
  return Object.fromEntries(
    topics.map((topic) => [
      topic,
      [...new Set(config.table.templates.map((template) => tableNameOf(template, topic)))],
    ]),
  )
}

function formatOf({ key, value, transforms, table }: ConnectorConfig): RecordFormat {
  return {
    key: key?.plan,
    value: value.plan,
    transforms,
    headersColumn: table.headersColumn,
    keyColumns: table.keyPrefix === undefined ? undefined : { prefix: table.keyPrefix },
  }
}

/** For a table that is made: one that is there stays as it is, and one of the settings is what those say. */
function declaredTable({ table }: ConnectorConfig): DeclaredTable {
  const { columns, partition, sort, eventTime, evolution } = table
  return { columns, partition, sort, eventTime, evolution, inferRecords: INFER_RECORDS, inferTimestamps: true }
}

/** Notes topics that records come from, and what `errors.*` say of bad ones. */
function watchedDecode(
  { name, errors }: ConnectorConfig,
  world: World,
  decode: Decode,
  seenTopics: Set<string>,
  copy: ((piece: DecodedPiece) => void) | undefined,
  onFailed: (error: unknown) => void,
): Decode {
  let loggedAtMs = Number.NEGATIVE_INFINITY
  return async (plan, unit, from, source, isFinal, hasTurn) => {
    const result = await decode(plan, unit, from, source, isFinal, hasTurn)
    if (result.kind !== 'decoded') return result
    if (result.records > 0) seenTopics.add(unit.topic)
    if (result.dead === 0) return result
    const where = `topic ${unit.topic}, partition ${unit.partition}, offsets [${from}, ${result.nextOffset})`
    const reason = result.deadReason ?? 'a record could not become a row'
    if (errors.log && world.clock.monotonicMs() - loggedAtMs >= LOG_EVERY_MS) {
      loggedAtMs = world.clock.monotonicMs()
      world.log.warn('bad records', { dead: result.dead, reason, ...(errors.logMessages ? { where } : {}) })
    }
    if (errors.tolerance === 'all') {
      if (copy) for (const piece of result.pieces) copy(piece)
      return result
    }
    const error = new MillraceError(
      'row-invalid',
      `bad record with errors.tolerance=none: ${reason} (${where}); mend what is wrong, or let errors.tolerance=all keep such records as dead letters`,
      { facts: { connector: name, topic: unit.topic, partition: unit.partition } },
    )
    releasePieces(result)
    onFailed(error)
    throw error
  }
}
