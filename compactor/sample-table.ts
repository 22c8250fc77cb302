/**
 * A table with its compactors for tests of this folder: the catalog is SQLite in memory, the store is in memory, the clock
 * is moved by hand. Rows are only counted: a rewriter that runs no engine writes small files with the right numbers.
 */
import type { Catalog, Table, Writer } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import type { MappedFile } from '../lake/file-mapping.ts'
import type { DataFile, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { reachablePaths, readMetadata } from '../lake/iceberg/read.ts'
import { createMemoryObjectStore } from '../lake/object-store/memory.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { createTestWorld, type TestWorld } from '../runtime/test-world.ts'
import type { SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { MillraceError } from '../schemas/errors.ts'
import { createSweep, type SweepReport } from './sweep.ts'
import { createTableWorker, type Inputs, type TableWorker, type TableWorkerSettings } from './table-worker.ts'

const ROOT = 's3://bucket/lake'
const ROW_BYTES = 100
export const MIN_AGE_MS = 3_600_000

export const SAMPLE_SETTINGS: TableWorkerSettings = {
  leaseMs: 15_000,
  snapshotBytes: 1,
  snapshotAgeMs: 1000,
  appendBytesMax: 10_000,
  targetBytes: 400,
  filesMin: 3,
  mergeBytesMax: 400,
  cold: undefined,
  snapshotAgeMaxMs: MIN_AGE_MS,
  snapshotsMax: 6,
  manifestsMax: 4,
}

export type SampleTable = {
  readonly world: TestWorld
  readonly catalog: Catalog
  readonly store: ObjectStore
  readonly table: Table
  /** One flush tick: two rows of each of these sources, in one segment. */
  tick(sources: readonly SourceKey[]): Promise<void>
  /** Where each source's coverage must end, by `sourceKeyText`. */
  readonly ends: ReadonlyMap<string, bigint>
  compactor(options?: {
    readonly catalog?: Catalog
    readonly settings?: Partial<TableWorkerSettings>
    /** Before a rewrite reads its inputs. */
    readonly onOpen?: (paths: readonly string[]) => Promise<void>
    /** More rows at once are too much for the engine. */
    readonly rowsMax?: number
  }): Promise<{ readonly worker: TableWorker; readonly writer: Writer }>
  sweep(minAgeMs?: number): Promise<SweepReport>
  metadata(): Promise<TableMetadata | undefined>
  paths(): Promise<string[]>
  /** Every path that the current metadata and the live segments refer to. */
  referredTo(): Promise<string[]>
}

export const source = (index: number): SourceKey => ({ pipeline: 'p', source: `http:${index}`, partition: 0 })

export async function createSampleTable(): Promise<SampleTable> {
  const world = createTestWorld({ sleepAdvances: true })
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const store = createMemoryObjectStore({ root: ROOT, world })
  const table = await catalog.createTable({
    name: 't',
    location: `${ROOT}/t-1`,
    columns: [{ fieldId: 16, name: 'id', type: { kind: 'long' }, required: true }],
    partition: [],
    sort: [],
    properties: {},
  })
  const ingest = await catalog.registerWriter('ingest')
  const ends = new Map<string, bigint>()
  const writers: Writer[] = [ingest]
  const sweeps = new Map<number, () => Promise<SweepReport>>()
  let files = 0

  function sweepWith(minAgeMs: number): () => Promise<SweepReport> {
    const known = sweeps.get(minAgeMs)
    if (known) return known
    const made = createSweep({
      catalog,
      store,
      world,
      settings: { snapshotMinAgeMs: minAgeMs, writerSilentMs: 600_000, readerSilentMs: 600_000 },
      locations: ({ location }) => [location],
      reachablePaths: (metadataLocation) => reachablePaths(store, metadataLocation),
    })
    sweeps.set(minAgeMs, made)
    return made
  }

  const sample: SampleTable = {
    world,
    catalog,
    store,
    table,
    ends,
    async tick(sources) {
      const moved = sources.map((key) => {
        const start = ends.get(sourceKeyText(key)) ?? 0n
        return { ...key, range: { start, end: start + 2n } }
      })
      files += 1
      const path = `${table.location}/segments/${ingest.writerId}-${files}.parquet`
      await store.put(path, new Uint8Array(1))
      const result = await catalog.commitTick({
        commitId: world.random.uuid(),
        writer: ingest,
        segments: [
          {
            tableId: table.tableId,
            schemaId: 0,
            path,
            rowCount: 2 * moved.length,
            bytes: 20 * moved.length,
            etag: undefined,
            bounds: [],
            sources: moved.map((each) => ({ ...each, rows: 2 })),
            touched: { grain: 'all', values: [] },
          },
        ],
        advances: moved.map((each) => ({
          ...each,
          recordsIn: 2,
          recordsDead: 0,
          recordsFiltered: 0,
          logEnd: undefined,
          caughtUp: true,
        })),
        idempotencyKeys: [],
      })
      if (result.outcome !== 'committed') throw new Error(result.outcome)
      for (const { range, ...key } of moved) ends.set(sourceKeyText(key), range.end)
    },
    async compactor({ catalog: seen = catalog, settings = {}, onOpen = async () => {}, rowsMax } = {}) {
      const writer = await catalog.registerWriter('compactor')
      writers.push(writer)
      const inputs: Inputs = {
        async open(list) {
          await onOpen(list.map(({ path }) => path))
          for (const { path } of list) await store.get(path)
          return { files: list.map(({ path }) => ({ path }) as MappedFile), release: async () => {} }
        },
      }
      const worker = createTableWorker({
        catalog: seen,
        store,
        world,
        writer,
        inputs,
        rewriter: {
          async rewrite({ rowsExpected, step }) {
            const atOnce = Math.min(rowsExpected, Math.floor((step?.bytesMax ?? rowsExpected * ROW_BYTES) / ROW_BYTES))
            if (atOnce > (rowsMax ?? rowsExpected)) {
              throw new MillraceError('out-of-memory', 'too much at once', { facts: { rowBytes: ROW_BYTES } })
            }
            files += 1
            const path = `${table.location}/data/${writer.writerId}-${files}.parquet`
            await store.put(path, new Uint8Array(1))
            return { files: [dataFile(path, rowsExpected)], maskedRows: new Map() }
          },
        },
        tiering: undefined,
        settings: { ...SAMPLE_SETTINGS, ...settings },
      })
      return { worker, writer }
    },
    async sweep(minAgeMs = MIN_AGE_MS) {
      // Whoever lives has sent heartbeats while the clock was moved; a retired one stays fenced.
      for (const writer of writers) await catalog.heartbeat(writer, SAMPLE_SETTINGS.leaseMs).catch(() => {})
      return sweepWith(minAgeMs)()
    },
    async metadata() {
      const { metadataLocation } = await catalog.getTable(table.tableId)
      return metadataLocation === undefined ? undefined : readMetadata(store, metadataLocation)
    },
    async paths() {
      const found: string[] = []
      for await (const { path } of store.list(`${ROOT}/`)) found.push(path)
      return found.sort()
    },
    async referredTo() {
      const [{ metadataLocation, segments }] = await catalog.readTables(['t'])
      const reachable = metadataLocation === undefined ? [] : await reachablePaths(store, metadataLocation)
      return [...reachable, ...segments.map(({ path }) => path)].sort()
    },
  }
  return sample
}

export function dataFile(path: string, rowCount: number): DataFile {
  const none = new Map()
  return {
    path,
    partition: [],
    rowCount,
    bytes: rowCount * 10,
    columnSizes: none,
    valueCounts: new Map([[16, rowCount]]),
    nullCounts: new Map([[16, 0]]),
    nanCounts: none,
    lowerBounds: none,
    upperBounds: none,
    splitOffsets: [4],
    sortOrderId: 0,
  }
}
