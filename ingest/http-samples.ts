/**
 * A whole ingest without sockets, for the tests of HTTP rows: real catalog (in memory), tables, decoder, open tick, intake
 * and flusher; a store in memory. Several processes may share one lake. Nothing flushes by itself: `settled` flushes until
 * what it was given is answered.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createMemoryObjectStore } from '../lake/object-store/memory.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { footerOf } from '../lake/parquet/concat.ts'
import { readMergeRecord } from '../lake/rebuild/merge-record.ts'
import { createTestWorld, type TestWorld } from '../runtime/test-world.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { createBatchBuilder } from './decoder/batch-builder.ts'
import { concatBatches } from './decoder/filter-rows.ts'
import { inferColumns } from './decoder/infer-schema.ts'
import { createJsonDecoder } from './decoder/json-decoder.ts'
import { splitBody } from './decoder/json-lines.ts'
import { createFlusher } from './flusher.ts'
import { createHttpIntake, type HttpIntake, type IngestAnswer, type IngestRequest } from './http-intake.ts'
import { createIntake, type Intake } from './intake.ts'
import { createLiveSegments, type LiveSegments } from './live-segments.ts'
import { createOpenTick } from './open-tick.ts'
import { createSegmentJoiner } from './segment-joiner.ts'
import { createSegmentMerger } from './segment-merger.ts'
import { createSegmentWriter } from './segment-writer.ts'
import { createSourceLedger, type SourceLedger } from './source-ledger.ts'
import { createIngestTables, type IngestTables } from './tables.ts'
import { sealSegment } from './threads/seal-segment.ts'
import { createUntilAvailable } from './until-available.ts'

export const TABLE = 't'
const ROOT = 'file:///lake'
const RECORD_BYTES_MAX = 200

export type SampleRow = Readonly<Record<string, bigint | string | null>>

export type SampleProcess = {
  readonly httpIntake: HttpIntake
  readonly intake: Intake
  readonly ledger: SourceLedger
  readonly tables: IngestTables
  /** Why the process would have ended. */
  readonly fatal: unknown[]
  readonly liveSegments: LiveSegments
  /** Why a full table waits, each time. */
  readonly full: string[]
  /** What health hears of store and catalog: away (reason), or back (undefined). */
  readonly troubles: (string | undefined)[]
  /** The body's rows, as the HTTP door would hand them over. */
  send(body: string, options?: SendOptions): Promise<IngestAnswer>
}

export type SendOptions = Partial<
  Pick<IngestRequest, 'onBadRow' | 'ack' | 'idempotencyKey'> & { producer: string; sequence: number; table: string }
>

export type SampleLake = {
  readonly world: TestWorld
  readonly catalog: Catalog
  readonly store: ObjectStore
  /** The catalog as this process sees it may be another one, with faults. */
  startProcess(options?: { catalog?: Catalog; store?: ObjectStore }): Promise<SampleProcess>
  /** Rows of the table's live segments, by `_source` and `_offset`; user columns and these two. */
  rows(table?: string): Promise<SampleRow[]>
  /** Flushes all processes until the work is done. */
  settled<T>(work: Promise<T>): Promise<T>
  close(): Promise<void>
}

export type SampleLimits = {
  /** `segments.live.max`. Default 200. */
  readonly liveMax?: number
  /** Of a merged segment. Default 32 MiB. */
  readonly mergedBytesMax?: number
  /** Producers in memory. Default 10,000. */
  readonly producersMax?: number
  /** `ingest.memory.max`. Default 1 GB. */
  readonly memoryMax?: number
}

export async function openSampleLake(seed = 1, limits: SampleLimits = {}): Promise<SampleLake> {
  const { liveMax = 200, mergedBytesMax = 32 * 1024 ** 2, producersMax, memoryMax = 1e9 } = limits
  const world = createTestWorld({ sleepAdvances: true, seed })
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const store = createMemoryObjectStore({ root: ROOT, world })
  const written = new Map<string, SampleRow[]>()
  const processes: SampleProcess[] = []

  async function startProcess(options: { catalog?: Catalog; store?: ObjectStore } = {}): Promise<SampleProcess> {
    const parts = { catalog, store, ...options }
    const writer = await catalog.registerWriter('ingest')
    const ledger = createSourceLedger()
    const fatal: unknown[] = []
    const full: string[] = []
    const segments = createSegmentWriter({
      store: parts.store,
      world,
      writer,
      seal: async (question) => sealSegment(question),
    })
    const troubles: (string | undefined)[] = []
    const onTrouble = (reason: string | undefined) => void troubles.push(reason)
    const untilAvailable = createUntilAvailable({ world, onTrouble })
    const liveSegments = createLiveSegments({
      catalog: parts.catalog,
      world,
      untilAvailable,
      merger: createSegmentMerger({
        ...parts,
        world,
        writer,
        untilAvailable,
        joiner: createSegmentJoiner({
          store: parts.store,
          world,
          untilAvailable,
          folder: join(tmpdir(), 'millrace-merge'),
          name: writer.writerId,
        }),
        bytesMax: mergedBytesMax,
        winMin: Math.max(1, Math.floor(liveMax / 4)),
      }),
      max: liveMax,
      onFull: (reason) => void (reason && full.push(reason)),
      onCount() {},
    })
    const flusher = createFlusher({
      ...parts,
      world,
      writer,
      ledger,
      segments: {
        ...segments,
        async write(planned) {
          const segment = await segments.write(planned)
          written.set(segment.path, rowsOf(concatBatches(planned.sealed.pieces.map(({ batch }) => batch))))
          return segment
        },
      },
      ticksInFlightMax: 3,
      makeRoom: (adding) => liveSegments.makeRoom(adding),
      onCommitted: ({ versions, segments: committed }) => liveSegments.committed(versions, committed),
      onStale() {},
      onTrouble,
      onFatal: (error) => void fatal.push(error),
    })
    const intake = createIntake({
      tick: createOpenTick(),
      flusher,
      world,
      settings: { flushIntervalMs: 500, flushBytes: 1e9, flushRows: 1e9, memoryMax, segmentsLiveMax: liveMax },
    })
    const columns = [
      { name: 'id', type: { kind: 'long' } as const, required: true },
      { name: 'note', type: { kind: 'string' } as const, required: false },
    ]
    const common = { partition: [], sort: [], eventTime: undefined, inferRecords: 1, inferTimestamps: true }
    const tables = createIngestTables({
      catalog: parts.catalog,
      world,
      lakeRoot: ROOT,
      declared: { [TABLE]: { ...common, columns }, inferred: { ...common, columns: undefined } },
      createDecoder: createJsonDecoder,
      inferColumns,
      onCreated() {},
    })
    const httpIntake = createHttpIntake({
      catalog: parts.catalog,
      intake,
      ledger,
      world,
      writerId: writer.writerId,
      recordBytesMax: RECORD_BYTES_MAX,
      createBuilder: createBatchBuilder,
      producersMax,
      count() {},
    })
    const made: SampleProcess = {
      httpIntake,
      intake,
      ledger,
      tables,
      fatal,
      liveSegments,
      full,
      troubles,
      async send(body, { producer, sequence, table = TABLE, ...rest } = {}) {
        return httpIntake.take({
          table: await tables.open(table),
          rows: splitBody(new TextEncoder().encode(body)),
          onBadRow: 'reject',
          ack: 'committed',
          idempotencyKey: undefined,
          ...rest,
          producer: producer === undefined ? undefined : { id: producer, sequence: BigInt(sequence ?? 0) },
        })
      },
    }
    processes.push(made)
    return made
  }

  /** A merged segment says which segments it holds, in the order of its row groups. */
  async function mergedRows(path: string): Promise<SampleRow[]> {
    const { keyValues, rowGroups } = footerOf((await store.get(path)).bytes)
    const inputs = (readMergeRecord(keyValues)?.inputs ?? []).map((input) => written.get(input.path) ?? [])
    if (inputs.map(({ length }) => length).join() !== rowGroups.map(({ rowCount }) => rowCount).join()) {
      throw new Error(`${path}: its row groups are not its inputs`)
    }
    return inputs.flat()
  }

  return {
    world,
    catalog,
    store,
    startProcess,
    async rows(name = TABLE) {
      const [{ segments }] = await catalog.readTables([name])
      const rows: SampleRow[] = []
      for (const { path } of segments) rows.push(...(written.get(path) ?? (await mergedRows(path))))
      return rows.sort((a, b) => compare(a._source, b._source) || compare(a._offset, b._offset))
    },
    async settled(work) {
      let isDone = false
      const done = () => {
        isDone = true
      }
      work.then(done, done)
      while (!isDone) {
        await new Promise((resolve) => setImmediate(resolve))
        for (const { intake, fatal } of processes) {
          if (fatal.length > 0) throw fatal[0]
          void intake.drain()
        }
      }
      return work
    },
    async close() {
      for (const { intake } of processes) await intake.drain()
      await catalog.close()
    },
  }
}

function compare(a: bigint | string | null, b: bigint | string | null): number {
  return a === b ? 0 : a! < b! ? -1 : 1
}

/** User columns, `_source` and `_offset`; texts and bytes as texts. */
function rowsOf({ vectors, rowCount }: MicroBatch): SampleRow[] {
  const shown = vectors.filter(({ column }) => !['_partition', '_timestamp', '_arrived'].includes(column.name))
  return Array.from({ length: rowCount }, (_, row) =>
    Object.fromEntries(
      shown.map(({ column, validity, data, offsets }) => {
        if (validity && ((validity[row >> 3] >> (row & 7)) & 1) === 0) return [column.name, null]
        if (offsets) return [column.name, Buffer.from(data.subarray(offsets[row], offsets[row + 1])).toString()]
        const view = new DataView(data.buffer, data.byteOffset)
        const value =
          column.type.kind === 'long' ? view.getBigInt64(row * 8, true) : BigInt(view.getInt32(row * 4, true))
        return [column.name, value]
      }),
    ),
  )
}
