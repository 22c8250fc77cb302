/**
 * An ingest process of the simulated world, put together as `ingest/service.ts` does it, from the production parts: tables,
 * ledger, open tick, intake, flusher, segment writer, Kafka pipeline, HTTP intake, heartbeat, upkeep. Its Kafka source, its
 * store and its catalog are simulated, and its segments are row files.
 */
import { createBatchBuilder } from '../../ingest/decoder/batch-builder.ts'
import { createBlockDecoder } from '../../ingest/decoder/block-decoder.ts'
import { concatBatches } from '../../ingest/decoder/filter-rows.ts'
import { createJsonDecoder } from '../../ingest/decoder/json-decoder.ts'
import { createFlusher } from '../../ingest/flusher.ts'
import { createHttpIntake, type HttpIntake, httpPipeline } from '../../ingest/http-intake.ts'
import { createIntake, type Intake } from '../../ingest/intake.ts'
import { createKafkaPipeline, type KafkaPipeline } from '../../ingest/kafka-pipeline.ts'
import { createLiveSegments } from '../../ingest/live-segments.ts'
import { createOpenTick } from '../../ingest/open-tick.ts'
import { createSchemaKeeper } from '../../ingest/schema-keeper.ts'
import { createSegmentMerger } from '../../ingest/segment-merger.ts'
import { createSegmentWriter } from '../../ingest/segment-writer.ts'
import { createSourceLedger } from '../../ingest/source-ledger.ts'
import { createIngestTables, type IngestTable } from '../../ingest/tables.ts'
import { createInlineWork } from '../../ingest/threads/work.ts'
import { createUntilAvailable } from '../../ingest/until-available.ts'
import { startUpkeep } from '../../ingest/upkeep.ts'
import { keepAlive } from '../../lake/writer-heartbeat.ts'
import { createHealth } from '../../runtime/health.ts'
import type { Lake } from './lake.ts'
import { createRowJoiner, TABLE_COLUMNS, writeRows } from './row-files.ts'
import { TOPIC } from './simulated-kafka.ts'
import { createSimulatedKafkaSource } from './simulated-kafka-source.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { LAKE_ROOT } from './simulated-store.ts'

export const TABLE = 'flights'
export const PIPELINE = 'p'

/** What others may reach of a living ingest process. */
export type IngestDoors = {
  readonly process: SimulatedProcess
  readonly table: IngestTable
  readonly http: HttpIntake
  readonly pipeline: KafkaPipeline
  readonly intake: Intake
}

const TICKS_IN_FLIGHT_MAX = 4
const RECORD_BYTES_MAX = 1000
const MERGED_BYTES_MAX = 50_000
const MERGE_WINS_SHARE = 4
const ROW_GROUP_ROWS = 122_880
const SLOW_DECODES = 0.1
const DECODE_MS = 3_000

export async function bootIngest(
  lake: Lake,
  process: SimulatedProcess,
  opened: (doors: IngestDoors) => void,
): Promise<void> {
  const { universe, bug } = lake
  const { shape } = universe
  const { world } = process
  const catalog = lake.catalogOf(process)
  const store = lake.storeOf(process)
  const health = createHealth()
  const writer = await catalog.registerWriter('ingest')
  lake.model.writerRegistered(writer.writerId)
  const ledger = createSourceLedger()
  const onFatal = (error: unknown) => {
    universe.tally('ingest ended itself')
    process.crash(`ends itself: ${error instanceof Error ? error.message : String(error)}`)
  }
  const tables = createIngestTables({
    catalog,
    world,
    lakeRoot: LAKE_ROOT,
    declared: {
      [TABLE]: {
        columns: TABLE_COLUMNS,
        partition: shape.isPartitioned ? ['part'] : [],
        sort: [],
        eventTime: undefined,
        inferRecords: 100,
        inferTimestamps: true,
      },
    },
    createDecoder: createJsonDecoder,
    inferColumns: () => [],
    onCreated: () => {},
  })
  let pipeline: KafkaPipeline | undefined
  const untilAvailable = createUntilAvailable({ world, onTrouble: () => {} })
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
      bytesMax: MERGED_BYTES_MAX,
      winMin: Math.max(1, Math.floor(shape.segmentsLiveMax / MERGE_WINS_SHARE)),
      joiner: createRowJoiner(store, untilAvailable),
    }),
    max: shape.segmentsLiveMax,
    onFull: (reason) => {
      if (reason !== undefined) universe.tally('table full: ingest waits for a compactor')
    },
    onCount: (most) => intake.setLiveSegments(most),
  })
  const work = createInlineWork({
    world,
    createBlockDecoder,
    write: (pieces, keyValues) =>
      writeRows(concatBatches(pieces), { compression: 'none', level: 0, rowGroupRows: ROW_GROUP_ROWS, keyValues }),
    room: (bytes) => intake.room(bytes),
    // A worker thread is slow now and then: everything may happen between asking and taking.
    turn: async () => {
      if (universe.scheduler.random.float() < SLOW_DECODES)
        await world.clock.sleep(DECODE_MS * universe.scheduler.random.float())
    },
  })
  const flusher = createFlusher({
    catalog,
    store,
    world,
    writer,
    ledger,
    segments: createSegmentWriter({ store, world, writer, seal: work.seal }),
    ticksInFlightMax: TICKS_IN_FLIGHT_MAX,
    makeRoom: (adding) => liveSegments.makeRoom(adding),
    onCommitted(tick) {
      liveSegments.committed(tick.versions, tick.segments)
      universe.tally('tick told committed')
    },
    onStale(keys) {
      universe.tally('stale source', keys.length)
      for (const key of keys) if (pipeline?.owns(key)) pipeline.becameStale(key)
    },
    onTrouble: () => {},
    onFatal,
  })
  const intake = createIntake({
    tick: createOpenTick(),
    flusher,
    world,
    settings: {
      flushIntervalMs: shape.flushIntervalMs,
      flushBytes: 100_000,
      flushRows: shape.flushRows,
      memoryMax: shape.memoryMax,
      segmentsLiveMax: shape.segmentsLiveMax,
    },
  })
  keepAlive({ catalog, writer, world, leasesMs: shape.leasesMs, health, onFatal })
  intake.start()
  const table = await tables.open(TABLE)
  lake.model.tableOpened(table.ready!.feed.table.tableId, table.deadLetters.table.tableId)
  await catalog.bindPipeline(httpPipeline(TABLE), tables.tableIds([TABLE]), [])
  const keeper = createSchemaKeeper({
    pipeline: PIPELINE,
    topics: [TOPIC],
    tables: [table],
    recordBytesMax: RECORD_BYTES_MAX,
    world,
  })
  const made = createKafkaPipeline({
    name: PIPELINE,
    keeper,
    decode: work.decode,
    autoOffsetReset: 'earliest',
    catalog: bug?.pipelineCatalog?.(catalog, lake) ?? catalog,
    intake,
    ledger,
    world,
    onTrouble: () => {},
    onDecision: () => {},
    count: () => {},
  })
  pipeline = made
  await catalog.bindPipeline(PIPELINE, tables.tableIds([TABLE]), [TOPIC])
  const source = createSimulatedKafkaSource(universe, lake.broker, process, made.handlers)
  made.attach(source)
  source.start().catch((error: unknown) => universe.violation('source', `the Kafka source ended: ${String(error)}`))
  const http = createHttpIntake({
    catalog,
    intake,
    ledger,
    world,
    writerId: writer.writerId,
    recordBytesMax: RECORD_BYTES_MAX,
    createBuilder: createBatchBuilder,
    count: () => {},
  })
  if (shape.hasUpkeep) {
    // Nobody changes columns here.
    const still = { refresh: async () => {} }
    // Nothing depends on what is told.
    const teller = { tell: async () => {}, of: () => [] }
    startUpkeep({
      teller,
      catalog,
      writer,
      world,
      liveSegments,
      tables: still,
      running: () => [{ pipeline: made, source, keeper }],
    })
  }
  opened({ process, table, http: bug?.httpIntake?.(http, intake) ?? http, pipeline: made, intake })
}
