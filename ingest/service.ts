/**
 * The ingest service, put together:
 *
 *   Kafka pipelines ─┐
 *   HTTP door ───────┴▶ intake (open tick) ─▶ flusher ─▶ segments + one transaction
 *
 * Any number of these processes may share a consumer group; positions come from the catalog's coverage. Stopping: no
 * new requests, leave the group, seal and commit what is open, say goodbye to the catalog.
 */
import { availableParallelism, hostname } from 'node:os'
import { join } from 'node:path'
import { catalogFile, openCatalog } from '../lake/catalog/open-catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { FILE_SCHEME, localFileOf } from '../lake/object-store/object-path.ts'
import { openWritersStore } from '../lake/open-lake-store.ts'
import { createReaderRow } from '../lake/reader-row.ts'
import { awaitCurrentCatalog } from '../lake/rebuild/await-current.ts'
import { noticeOlderCatalog } from '../lake/rebuild/notice-older.ts'
import { keepAlive } from '../lake/writer-heartbeat.ts'
import { createHealth } from '../runtime/health.ts'
import { checkTableAccess } from '../runtime/http-access.ts'
import { createHttpServer } from '../runtime/http-server.ts'
import { EXIT_FENCED } from '../runtime/lifecycle.ts'
import { createMetrics } from '../runtime/metrics.ts'
import type { World } from '../runtime/world.ts'
import { MillraceError } from '../schemas/errors.ts'
import type { Settings } from '../schemas/settings.ts'

import { createBackfills } from './backfill.ts'
import { addColumnRoutes } from './columns-door.ts'
import { createConnectService } from './connect/connect-service.ts'
import { createDeadLetters } from './dead-letters/replay.ts'
import { addDeadLetterRoutes } from './dead-letters/routes.ts'
import { createBatchBuilder } from './decoder/batch-builder.ts'
import { createBlockDecoder } from './decoder/block-decoder.ts'
import { inferColumns } from './decoder/infer-schema.ts'
import { createJsonDecoder } from './decoder/json-decoder.ts'
import { splitBody } from './decoder/json-lines.ts'
import { createFlusher } from './flusher.ts'
import { addIngestRoutes } from './http-door.ts'
import { createHttpIntake, httpPipeline } from './http-intake.ts'
import { createIngestMetrics } from './ingest-metrics.ts'
import { createIntake } from './intake.ts'
import { createLiveSegments } from './live-segments.ts'
import { createOpenTick } from './open-tick.ts'

import { pipelineMeasures } from './pipeline-measures.ts'
import { createPipelines } from './pipelines.ts'
import { createSchemaKeeper } from './schema-keeper.ts'

import { createSegmentJoiner } from './segment-joiner.ts'
import { createSegmentMerger } from './segment-merger.ts'
import { createSegmentWriter } from './segment-writer.ts'
import { createSegmentsHealth } from './segments-health.ts'
import { createSourceLedger } from './source-ledger.ts'
import { createStatusTeller } from './status-teller.ts'
import { COLUMNS_MAX_DEFAULT, createIngestTables, type DeclaredTable } from './tables.ts'
import { createInlineWork, type IngestWork } from './threads/work.ts'
import { createWorkerPool } from './threads/worker-pool.ts'
import { createUntilAvailable } from './until-available.ts'
import { startUpkeep } from './upkeep.ts'

const LETTERS_MEMORY_BYTES = 256 * 1024 ** 2
const LETTERS_SPILL_BYTES = 4 * 1024 ** 3
/** Letters of HTTP have no topic; their plan has one route. */
const HTTP_LETTERS_TOPIC = ''
const TICKS_IN_FLIGHT_MAX = 8
const THREADS_MAX = 8
/** Of the time to stop, what requests under way may take. */
const DOOR_SHARE = 0.5
const DRAIN_PAUSE_MS = 20
/** Of a file of merged live segments. So many of them are more than an hour at full rate; sources wait for seconds while one is made. */
const MERGED_BYTES_MAX = 512 * 1024 ** 2
/** One merge makes room for a quarter of the maximum, or as much as it can. */
const MERGE_WINS_SHARE = 4

/** The main thread does little but fetch: of two cores it leaves both, of more one is for it and the broker's other clients. */
function threadsFor(cores: number): number {
  return Math.min(Math.max(cores - 1, Math.min(cores, 2)), THREADS_MAX)
}

export async function startIngest(options: {
  settings: Settings
  world: World
  /** Ends standing by before an older catalog. */
  stopping?: AbortSignal
}): Promise<{ url: string; stop(): Promise<void> }> {
  const { settings, world } = options
  const health = createHealth()
  const metrics = createMetrics({ service: 'ingest' })
  const counted = createIngestMetrics(metrics)
  const store = openWritersStore(settings, world, health)
  const onOlder = (error: unknown) => onFatal(error)
  await awaitCurrentCatalog({ service: 'ingest', settings, world, store, health, stopping: options.stopping, onOlder })
  const catalog = noticeOlderCatalog(await openCatalog({ ...settings.catalog, world }), {
    file: catalogFile(settings.catalog.url),
    onOlder,
  })
  const writer = await catalog.registerWriter('ingest')
  const ledger = createSourceLedger()
  function onFatal(error: unknown): never {
    health.component('writer').unhealthy('this process may not commit any more; it ends')
    world.log.error('this process may not commit any more; it ends and another takes over', { error })
    process.exit(EXIT_FENCED)
  }

  const tables = createIngestTables({
    catalog,
    world,
    lakeRoot: settings.lake.root,
    declared: declaredTables(settings),
    createDecoder: createJsonDecoder,
    inferColumns,
    onCreated: (name) =>
      void pipelines.bindTable(name).catch((error: unknown) => world.log.error('binding failed', { error })),
  })
  let trouble: string | undefined
  const onTrouble = (reason: string | undefined) => {
    trouble = reason
    if (reason === undefined) health.component('flush').healthy()
    else health.component('flush').degraded(reason)
  }
  const segmentsHealth = createSegmentsHealth(health, settings.segments.liveMax)
  const untilAvailable = createUntilAvailable({ world, onTrouble })
  const liveSegments = createLiveSegments({
    catalog,
    world,
    untilAvailable,
    merger: createSegmentMerger({
      catalog,
      store,
      world,
      writer,
      untilAvailable,
      joiner: createSegmentJoiner({
        store,
        world,
        untilAvailable,
        folder: join(settings.data, 'merge'),
        name: writer.writerId,
      }),
      bytesMax: MERGED_BYTES_MAX,
      winMin: Math.max(1, Math.floor(settings.segments.liveMax / MERGE_WINS_SHARE)),
      onMerged: (segments) => counted.merged(segments),
    }),
    max: settings.segments.liveMax,
    onFull: (reason) => segmentsHealth.full(reason),
    onCount(most) {
      intake.setLiveSegments(most)
      segmentsHealth.live(most)
    },
  })
  const parts = { world, createBlockDecoder, room: (bytes: number) => intake.room(bytes) }
  const threads = settings.ingest.threads ?? threadsFor(availableParallelism())
  const work: IngestWork =
    threads === 0
      ? createInlineWork(parts)
      : createWorkerPool({
          ...parts,
          threads,
          memoryMax: settings.ingest.memoryMax,
          onFreed: () => intake.freed(),
          onDeath(error) {
            health.component('threads').unhealthy(error.message)
            world.log.error(
              'a worker thread is gone, and its rows with it: this process ends, the next one reads them again',
              { error },
            )
            process.exit(EXIT_FENCED)
          },
        })
  const flusher = createFlusher({
    catalog,
    store,
    world,
    writer,
    ledger,
    segments: createSegmentWriter({ store, world, writer, seal: (question) => work.seal(question) }),
    ticksInFlightMax: TICKS_IN_FLIGHT_MAX,
    async makeRoom(adding) {
      await liveSegments.makeRoom(adding)
      await pipelines.copiesSettled()
    },
    onCommitted(tick) {
      liveSegments.committed(tick.versions, tick.segments)
      counted.committed(tick)
    },
    onStale: (keys) => pipelines.becameStale(keys),
    onTrouble,
    onFatal,
  })
  const intake = createIntake({
    tick: createOpenTick(),
    flusher,
    world,
    elsewhere: work,
    settings: {
      get flushIntervalMs() {
        return Math.min(settings.flush.intervalMs, connect.flushIntervalMs() ?? settings.flush.intervalMs)
      },
      flushBytes: settings.flush.bytes,
      flushRows: settings.flush.rows,
      memoryMax: settings.ingest.memoryMax,
      segmentsLiveMax: settings.segments.liveMax,
    },
  })
  metrics.gaugeOf({ name: 'ingest_bytes_held', help: 'Bytes decoded but not committed.' }, () => intake.bytesHeld)

  const pipelines = createPipelines({ catalog, tables, intake, ledger, health, counted, writer })

  const httpBound = new Set<string>()
  async function bindHttp(name: string): Promise<void> {
    const ids = tables.tableIds([name])
    const bound = `${name}/${ids.join()}`
    if (httpBound.has(bound)) return
    await catalog.bindPipeline(httpPipeline(name), ids, [])
    httpBound.add(bound)
  }

  async function startPipelines(): Promise<void> {
    for (const { name } of settings.tables) await tables.open(name)
    for (const { name, topics, tables: names, autoOffsetReset, rate } of settings.pipelines) {
      await pipelines.start({
        name,
        groupId: `${settings.kafka.group}-${name}`,
        routes: Object.fromEntries(topics.map((topic) => [topic, names])),
        keeper: createSchemaKeeper({
          pipeline: name,
          topics,
          tables: await Promise.all(names.map((each) => tables.open(each))),
          recordBytesMax: settings.ingest.recordBytesMax,
          world,
          onRefused: pipelines.onRefused(name),
          onTrouble,
        }),
        autoOffsetReset,
        rate,
        kafka: settings.kafka,
        world,
        work,
      })
    }
  }

  const server = createHttpServer({
    settings,
    world,
    service: 'ingest',
    health,
    metrics,
    listen: settings.listen.ingest,
    bodyBytesMax: settings.ingest.requestBytesMax,
  })
  server.app.removeAllContentTypeParsers()
  server.app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  addIngestRoutes(server.app, {
    catalog,
    tables,
    httpIntake: createHttpIntake({
      catalog,
      intake,
      ledger,
      world,
      writerId: writer.writerId,
      recordBytesMax: settings.ingest.recordBytesMax,
      createBuilder: createBatchBuilder,
      count: (what, by) => counted.count('http', what, by),
    }),
    settings: {
      requestBytesMax: settings.ingest.requestBytesMax,
      requestRowsMax: settings.ingest.requestRowsMax,
      requestsMax: settings.ingest.requestsMax,
      bodiesBytesMax: settings.ingest.memoryMax,
    },
    splitBody,
    checkTableAccess,
    prepare: bindHttp,
    async decide(name, topic, partition, from) {
      const found = pipelines.find(name)
      if (!found) throw new MillraceError('not-found', `there is no pipeline "${name}"`)
      const { source, ranges } = await found.pipeline.decide(topic, partition, from)
      return { pipeline: name, topic, partition, source, next_offset: String(ranges.at(-1)?.end) }
    },
    pipelines: () =>
      pipelines.running().map(({ name, topics, tables: fed, pipeline, source }) => ({
        name,
        topics,
        tables: fed,
        partitions: source.assignments(),
        needs_decision: Object.fromEntries(pipeline.state.needsDecision),
      })),
  })

  addColumnRoutes(server.app, {
    catalog,
    world,
    checkTableAccess,
    columnsMax: (name) => settings.tables.find((table) => table.name === name)?.columnsMax ?? COLUMNS_MAX_DEFAULT,
    onChanged: (table) => tables.adopt(table),
  })

  const deadLetters = createDeadLetters({
    catalog,
    store,
    world,
    createEngine: () => createLettersEngine(settings, world),
    readerRow: createReaderRow({ catalog, world, service: 'ingest' }),
    flusher,
    ledger,
    tables,
    decode: work.decode,
    async keeperOf(pipeline, table) {
      if (pipeline !== httpPipeline(table)) return pipelines.find(pipeline)?.keeper
      return createSchemaKeeper({
        pipeline,
        topics: [HTTP_LETTERS_TOPIC],
        tables: [await tables.open(table)],
        recordBytesMax: settings.ingest.recordBytesMax,
        world,
      })
    },
    httpTopic: HTTP_LETTERS_TOPIC,
    workFolder: join(settings.data, 'letters'),
    count: (pipeline, action, letters) => counted.letters(pipeline, action, letters),
  })
  addDeadLetterRoutes(server.app, { deadLetters, checkTableAccess })

  const connect = createConnectService({
    app: server.app,
    settings,
    catalog,
    writer,
    world,
    health,
    tables,
    pipelines,
    work,
    measures: async (name) => pipelineMeasures(await catalog.pipelineFacts(), name),
  })

  const heartbeat = keepAlive({ catalog, writer, world, leasesMs: settings.leasesMs, health, onFatal })
  intake.start()
  await startPipelines()
  const teller = createStatusTeller({
    catalog,
    writer,
    world,
    metrics,
    running: pipelines.running,
    trouble: () => trouble,
  })
  const backfills = createBackfills({
    catalog,
    intake,
    ledger,
    health,
    world,
    running: pipelines.running,
    count: counted.count,
  })
  const upkeep = startUpkeep({
    teller,
    backfills,
    catalog,
    writer,
    world,
    liveSegments,
    tables,
    running: pipelines.running,
  })
  const url = await server.listen()
  await connect.start(workerOf(url))

  /**
   * Requests under way get their answers: what they brought is committed now, not at the end of a flush interval. A client
   * that sends its body slowly is cut before the time to stop is over, since open rows are still to be committed then.
   */
  async function closeDoor(): Promise<void> {
    let isClosed = false
    const closing = server.close(settings.shutdownMs * DOOR_SHARE).then(() => {
      isClosed = true
    })
    while (!isClosed) {
      await Promise.race([closing, intake.drain()])
      await Promise.race([closing, world.clock.sleep(DRAIN_PAUSE_MS)])
    }
  }

  return {
    url,
    async stop() {
      liveSegments.stop()
      await closeDoor()
      await deadLetters.close()
      await upkeep.stop()
      await backfills.stop()
      await connect.stop()
      await Promise.all(pipelines.running().map(({ name }) => pipelines.stop(name)))
      await intake.stop()
      await work.close()
      await heartbeat.stop()
      await catalog.retireWriter(writer).catch(() => {})
      await store.close()
      await catalog.close()
    },
  }
}

/** Reads dead letters when somebody wants them replayed or discarded. */
function createLettersEngine({ data, lake }: Settings, world: World): Engine {
  const workFolder = join(data, 'letters')
  const isLocal = lake.root.startsWith(FILE_SCHEME)
  return createEngine({
    world,
    settings: {
      name: 'letters',
      mode: 'query',
      memoryBytes: LETTERS_MEMORY_BYTES,
      threads: 1,
      spillFolder: join(workFolder, 'spill'),
      spillBytes: LETTERS_SPILL_BYTES,
      folders: [workFolder, ...(isLocal ? [localFileOf(lake.root)] : [])],
    },
  })
}

/** What other processes are told of this one: `host:port`, by which it is reached where that can be said. */
function workerOf(url: string): string {
  const { hostname: name, port, protocol } = new URL(url)
  return `${name === 'localhost' ? hostname() : name}:${port || (protocol === 'https:' ? '443' : '80')}`
}

function declaredTables(settings: Settings): Record<string, DeclaredTable> {
  return Object.fromEntries(
    settings.tables.map((table) => [
      table.name,
      {
        columns: table.columns,
        partition: table.partition,
        sort: table.sort,
        eventTime: table.eventTime,
        ...(table.time ? { time: table.time } : {}),
        inferRecords: table.infer.records,
        inferTimestamps: table.infer.timestamps,
        inferNested: table.infer.nested,
        evolution: table.evolution,
        columnsMax: table.columnsMax,
      },
    ]),
  )
}
