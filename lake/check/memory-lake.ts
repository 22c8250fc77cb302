/**
 * A lake in memory for tests of the check: a real catalog and real files, with ticks and snapshots made one by one.
 */
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import { FIRST_USER_FIELD_ID } from '../../schemas/table-schema.ts'
import type { Catalog, Segment, Table, Writer } from '../catalog/catalog.ts'
import type { Inspection } from '../catalog/inspection.ts'
import { openCatalog } from '../catalog/open-catalog.ts'
import type { Restore } from '../catalog/restore.ts'
import { checksumOf } from '../checksum.ts'
import { SCHEMA_ID_KEY } from '../file-mapping.ts'
import { dataFileFromFooter } from '../iceberg/data-file.ts'
import type { DataFile, TableMetadata } from '../iceberg/iceberg.ts'
import { readMetadata } from '../iceberg/read.ts'
import { prepareSnapshot } from '../iceberg/write.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { parseFooter } from '../parquet/footer.ts'
import { sampleVector } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { type CheckReport, type CheckSettings, checkLake } from './check-lake.ts'

const LAKE_ROOT = 's3://bucket/lake'
export const SETTINGS: CheckSettings = {
  lakeRoot: LAKE_ROOT,
  coldRoot: undefined,
  sweepIntervalMs: 1000,
  writerSilentMs: 60_000,
  readerSilentMs: 60_000,
}
export const SOURCE = { pipeline: 'p', source: 'kafka:t:id', partition: 0 } as const

export type SnapshotOptions = {
  readonly checksums?: boolean
  readonly commit?: boolean
  readonly record?: (file: DataFile) => DataFile
}

export type MemoryLake = {
  readonly world: TestWorld
  readonly store: ObjectStore
  readonly catalog: Catalog & Inspection & Restore
  readonly writer: Writer
  readonly compactor: Writer
  table(): Promise<Table>
  /** Rows at the offsets that follow. */
  tick(rows: number): Promise<Segment>
  /**
   * All live segments become one data file each and leave. `checksums: false`: as an older release did. `commit: false`:
   * everything is written, and not committed yet. `record`: what the manifest says of a file.
   */
  snapshot(options?: SnapshotOptions): Promise<TableMetadata>
  /** What the sweep does: bytes of what no reader's row holds any more. */
  sweep(): Promise<number>
  check(deep?: boolean, store?: ObjectStore): Promise<CheckReport>
}

export async function createMemoryLake(): Promise<MemoryLake> {
  const world = createTestWorld()
  const store = createMemoryObjectStore({ root: LAKE_ROOT, world })
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const writer = await catalog.registerWriter('ingest')
  const compactor = await catalog.registerWriter('compactor')
  await catalog.createTable({
    name: 't',
    location: `${LAKE_ROOT}/t-1`,
    columns: [{ fieldId: FIRST_USER_FIELD_ID, name: 'id', type: { kind: 'long' }, required: true }],
    partition: [],
    sort: [],
    properties: {},
  })
  let offset = 0n
  let files = 0
  const table = () => catalog.findTable('t') as Promise<Table>

  function parquetOf(of: Table, start: bigint, rows: number): Uint8Array {
    const { columns, schemaId } = of.schemas[0]
    const offsets = Array.from({ length: rows }, (_, i) => start + BigInt(i))
    const valuesOf: Record<string, readonly (bigint | string | number)[]> = {
      id: offsets,
      _source: offsets.map(() => SOURCE.source),
      _partition: offsets.map(() => 0),
      _offset: offsets,
      _timestamp: offsets,
      _arrived: offsets,
    }
    const vectors = columns.map((column) => sampleVector(column, valuesOf[column.name]))
    return writeParquet(
      { schema: of.schemas[0], rowCount: rows, vectors },
      { compression: 'zstd', level: 1, rowGroupRows: 1000, keyValues: { [SCHEMA_ID_KEY]: String(schemaId) } },
    ).bytes
  }

  async function tick(rows: number): Promise<Segment> {
    const of = await table()
    const range = { start: offset, end: offset + BigInt(rows) }
    const bytes = parquetOf(of, offset, rows)
    files += 1
    const path = `${of.location}/segments/${writer.writerId}-${files}.parquet`
    const { etag } = await store.put(path, bytes)
    await catalog.commitTick({
      commitId: `tick-${files}`,
      writer,
      segments: [
        {
          tableId: of.tableId,
          schemaId: 0,
          path,
          rowCount: rows,
          bytes: bytes.length,
          etag,
          checksum: checksumOf(bytes),
          bounds: [],
          sources: [{ ...SOURCE, range, rows }],
          touched: { grain: 'all', values: [] },
        },
      ],
      advances: [
        {
          ...SOURCE,
          range,
          recordsIn: rows,
          recordsDead: 0,
          recordsFiltered: 0,
          logEnd: undefined,
          caughtUp: true,
        },
      ],
      idempotencyKeys: [],
    })
    offset = range.end
    const [{ segments }] = await catalog.readTables(['t'])
    return segments.at(-1) as Segment
  }

  async function snapshot({
    checksums = true,
    commit = true,
    record = (file) => file,
  }: SnapshotOptions = {}): Promise<TableMetadata> {
    const [{ table: of, segments }] = await catalog.readTables(['t'])
    const add = []
    for (const segment of segments) {
      const { bytes } = await store.get(segment.path)
      files += 1
      const path = `${of.location}/data/${compactor.writerId}-${files}.parquet`
      await store.put(path, bytes)
      const footer = parseFooter(bytes, bytes.length)
      if ('needBytes' in footer) throw new Error('a footer longer than its file')
      const schema = of.schemas[0]
      const facts = { path, bytes: bytes.length, footer, table: of, schema, partition: [], sortOrderId: 0 }
      const file = dataFileFromFooter(facts)
      add.push(record(checksums ? { ...file, checksum: checksumOf(bytes) } : file))
    }
    const base = of.metadataLocation === undefined ? undefined : await readMetadata(store, of.metadataLocation)
    const end = segments.at(-1)?.sources[0].range.end ?? 0n
    const coverage: Coverage = {
      ...SOURCE,
      ranges: [{ start: 0n, end }],
      recordsIn: end,
      recordsDead: 0n,
      recordsFiltered: 0n,
      logEnd: undefined,
      caughtUpAt: undefined,
    }
    const lease = await catalog.acquireLease(of.tableId, compactor, 60_000)
    files += 1
    const commitId = `snapshot-${files}`
    const prepared = await prepareSnapshot({
      store,
      world,
      table: of,
      base,
      add,
      remove: [],
      operation: 'append',
      coverage: [coverage],
      commitId,
      writerId: compactor.writerId,
      leaseEpoch: lease!.epoch,
      snapshotAgeMs: 3_600_000,
      snapshotsMax: 2,
      manifestsMax: 3,
    })
    if (!commit) return prepared.metadata
    const result = await catalog.commitSnapshot({
      commitId,
      writer: compactor,
      lease: lease!,
      tableId: of.tableId,
      expectedMetadataLocation: of.metadataLocation,
      metadataLocation: prepared.metadataLocation,
      metadataChecksum: prepared.metadataChecksum,
      consumedSegmentIds: segments.map(({ segmentId }) => segmentId),
      removedPaths: prepared.removedPaths,
      rowsAdded: add.reduce((sum, file) => sum + file.rowCount, 0),
      snapshotRows: prepared.snapshotRows,
    })
    if (result.outcome !== 'committed') throw new Error(JSON.stringify(result))
    return readMetadata(store, prepared.metadataLocation)
  }

  return {
    world,
    store,
    catalog,
    writer,
    compactor,
    table,
    tick,
    snapshot,
    async sweep() {
      const dead = await catalog.deadFiles(0, 1000)
      await store.delete(dead.map(({ path }) => path))
      await catalog.forgetFiles(dead.map(({ tombstoneId }) => tombstoneId))
      return dead.length
    },
    check: (deep = false, through = store) =>
      checkLake(
        {
          catalog,
          store: through,
          world,
          settings: SETTINGS,
        },
        { deep, table: undefined },
      ),
  }
}
