// Rows of many table partitions, and of odd times: kept at once, parted when there are enough of them, the same all the while.
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Catalog, Table, Writer } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { quoteText, SCHEMA_ID_KEY } from '../lake/file-mapping.ts'
import type { LiveFile } from '../lake/iceberg/iceberg.ts'
import { readLiveFiles, readMetadata } from '../lake/iceberg/read.ts'
import { UNPARTITIONED_SPEC_ID } from '../lake/iceberg/table-metadata.ts'
import { createLocalObjectStore } from '../lake/object-store/local.ts'
import { localFileOf } from '../lake/object-store/object-path.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { sampleVector } from '../lake/parquet/sample-batches.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld, type TestWorld } from '../runtime/test-world.ts'
import { lettersKey } from '../schemas/coverage.ts'
import { maskedOffsetsOf } from '../schemas/masked-offsets.ts'
import { createInputs } from './inputs.ts'
import { createRewriter } from './rewrite.ts'
import { SAMPLE_SETTINGS } from './sample-table.ts'
import { createTableWorker, type TableWorker } from './table-worker.ts'

const DAY = 86_400_000_000n
const PARTITIONS_MAX = 3

let folder: string
let world: TestWorld
let engine: Engine
let store: ObjectStore
let catalog: Catalog
let ingest: Writer
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-rewrite-'))
  world = createTestWorld({ sleepAdvances: true })
  const workFolder = join(folder, 'work')
  await mkdir(workFolder)
  await mkdir(join(folder, 'lake'))
  store = createLocalObjectStore({ root: `file://${folder}/lake`, world })
  catalog = await openCatalog({ url: 'sqlite::memory:', world })
  ingest = await catalog.registerWriter('ingest')
  engine = createEngine({
    world,
    settings: {
      name: 'rewrite',
      mode: 'compaction',
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [workFolder, join(folder, 'lake')],
    },
  })
})
afterAll(async () => {
  await engine?.close()
  await store?.close()
  await catalog?.close()
  await rm(folder, { recursive: true, force: true })
})

async function makeTable(name: string): Promise<Table> {
  const columns = [
    { name: 'ts', type: { kind: 'timestamptz' }, required: false },
    { name: 'id', type: { kind: 'long' }, required: true },
  ] as const
  const declared = { name, columns, partition: ['day(ts)'], sort: ['id'], eventTime: 'ts' }
  return catalog.createTable(defineTable(declared, `file://${folder}/lake/${name}-1`))
}

let files = 0
/** One segment: rows with these times, ids going on from `first`. */
async function addRows(table: Table, first: number, times: readonly (bigint | null)[]): Promise<void> {
  files += 1
  const [schema] = table.schemas
  const ids = times.map((_, index) => BigInt(first + index))
  const source = { pipeline: 'p', source: `http:${table.name}`, partition: 0 }
  const values: Record<string, readonly (bigint | number | string | null)[]> = {
    ts: times,
    id: ids,
    _source: ids.map(() => source.source),
    _partition: ids.map(() => 0),
    _offset: ids,
    _timestamp: ids.map(() => null),
    _arrived: ids.map(() => world.clock.nowMicros()),
  }
  const vectors = schema.columns.map((column) => sampleVector(column, values[column.name]))
  const { bytes, bounds } = writeParquet(
    { schema, rowCount: times.length, vectors },
    { compression: 'zstd', level: 1, rowGroupRows: 1000, keyValues: { [SCHEMA_ID_KEY]: '0' } },
  )
  const path = `${table.location}/segments/${ingest.writerId}-${files}.parquet`
  await store.put(path, bytes)
  const range = { start: BigInt(first), end: BigInt(first + times.length) }
  const result = await catalog.commitTick({
    commitId: world.random.uuid(),
    writer: ingest,
    segments: [
      {
        tableId: table.tableId,
        schemaId: 0,
        path,
        rowCount: times.length,
        bytes: bytes.length,
        etag: undefined,
        bounds,
        sources: [{ ...source, range, rows: times.length }],
        touched: { grain: 'all', values: [] },
      },
    ],
    advances: [
      {
        ...source,
        range,
        recordsIn: times.length,
        recordsDead: 0,
        recordsFiltered: 0,
        logEnd: undefined,
        caughtUp: true,
      },
    ],
    idempotencyKeys: [],
  })
  expect(result.outcome).toBe('committed')
}

async function makeWorker(filesMin: number): Promise<TableWorker> {
  const writer = await catalog.registerWriter('compactor')
  const workFolder = join(folder, 'work', writer.writerId)
  await mkdir(workFolder)
  return createTableWorker({
    catalog,
    store,
    world,
    writer,
    inputs: createInputs({ store, workFolder }),
    rewriter: createRewriter({
      engine,
      store,
      world,
      writer,
      workFolder,
      partitionsMax: PARTITIONS_MAX,
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
    }),
    tiering: undefined,
    settings: { ...SAMPLE_SETTINGS, targetBytes: 10 ** 6, mergeBytesMax: 10 ** 6, appendBytesMax: 10 ** 6, filesMin },
  })
}

async function live(table: Table): Promise<readonly LiveFile[]> {
  const { metadataLocation } = await catalog.getTable(table.tableId)
  return readLiveFiles(store, await readMetadata(store, metadataLocation ?? ''))
}

const isAside = (file: LiveFile) => file.specId === UNPARTITIONED_SPEC_ID

/** Every row with the time it came with, and each file's rows of the table partition that it claims. */
async function rowsOf(list: readonly LiveFile[]): Promise<Map<number, bigint | null>> {
  const rows = new Map<number, bigint | null>()
  for (const file of list) {
    const found = await engine.run(
      `SELECT id, epoch_us(ts) AS ts FROM read_parquet(${quoteText(localFileOf(file.path))}, hive_partitioning=false) ORDER BY id`,
    )
    expect(found.length).toBe(file.rowCount)
    for (const { id, ts } of found) {
      const time = ts === null ? null : BigInt(ts as bigint)
      expect(rows.has(Number(id))).toBe(false)
      rows.set(Number(id), time)
      if (!isAside(file)) expect(file.partition).toEqual([time === null ? null : Number(time / DAY)])
    }
  }
  return rows
}

test('rows of many days: the largest days get files, the others wait in one until there are more', async () => {
  const table = await makeTable('many')
  const worker = await makeWorker(4)
  const expected = new Map<number, bigint | null>()
  const today = world.clock.nowMicros() / DAY
  let id = 0
  for (let append = 0; append < 4; append += 1) {
    // Every append has twelve days: three new ones of five rows, and the same nine of one row.
    const times = [0n, 1n, 2n].flatMap((day) =>
      Array.from({ length: 5 }, () => (today - 40n - BigInt(append) * 3n - day) * DAY),
    )
    for (let day = 0n; day < 9n; day += 1n) times.push((today - day) * DAY + BigInt(append))
    for (const [index, time] of times.entries()) expected.set(id + index, time)
    await addRows(table, id, times)
    id += times.length
    const done = await worker.turn(table)
    expect(done).toMatchObject({ kind: 'append', rows: 24, rowsAside: 9, filesOut: PARTITIONS_MAX + 1 })
  }
  expect(await rowsOf(await live(table))).toEqual(expected)
  // Four files beside the partitioning are merged: three of the nine days have files now.
  expect(await worker.turn(table)).toMatchObject({ kind: 'merge', rows: 36, filesIn: 4, rowsAside: 24, filesOut: 4 })
  const files = await live(table)
  expect(files.filter(isAside).length).toBe(1)
  expect(await rowsOf(files)).toEqual(expected)
  expect(await worker.turn(table)).toBeUndefined()
})

test('odd times are kept, and never make a table partition, whether bounds say so or not', async () => {
  const table = await makeTable('odd')
  const worker = await makeWorker(3)
  const now = world.clock.nowMicros()
  const times = [now, -1n, 253_402_300_799_999_999n, null, now + 3n * DAY]
  await addRows(table, 0, times)
  expect(await worker.turn(table)).toMatchObject({ rows: 5, rowsAside: 3 })
  expect(world.lines.some(({ message, rows }) => message.includes('outside the table') && rows === 3)).toBe(true)
  const files = await live(table)
  expect(files.filter((file) => !isAside(file)).map(({ partition }) => partition)).toEqual(
    expect.arrayContaining([[Number(now / DAY)], [null]]),
  )
  expect(files.length).toBe(3)
  expect(await rowsOf(files)).toEqual(new Map(times.map((time, id) => [id, time])))

  // All of one day, as the segment's bounds prove: written straight, and beside the partitioning all the same.
  await addRows(table, 5, [-1n, -2n])
  expect(await worker.turn(table)).toMatchObject({ rows: 2, rowsAside: 2, filesOut: 1 })
  expect((await rowsOf(await live(table))).get(6)).toBe(-2n)
  await addRows(table, 7, [now, now])
  expect(await worker.turn(table)).toMatchObject({ rows: 2, rowsAside: 0, filesOut: 1 })
})

test('masked rows are left out of the bytes, in appends and in files from before the mask, and the mask is over (G-2)', async () => {
  const table = await makeTable('masked')
  const worker = await makeWorker(100)
  const now = world.clock.nowMicros()
  await addRows(table, 0, [now, now, now])
  expect(await worker.turn(table)).toMatchObject({ kind: 'append', rows: 3 })
  await addRows(table, 3, [now, now, now, now])
  const letters = lettersKey('p', 'masked')
  const offsets = [1n, 3n, 4n, 6n].map((offset) => ({ source: 'http:masked', partition: 0, offset }))
  await catalog.commitTick({
    commitId: 'mask',
    writer: ingest,
    segments: [],
    advances: [
      {
        ...letters,
        range: { start: 0n, end: 4n },
        recordsIn: 4,
        recordsDead: 0,
        recordsFiltered: 4,
        logEnd: undefined,
        caughtUp: true,
      },
    ],
    idempotencyKeys: [],
    masks: [
      {
        tableId: table.tableId,
        action: 'discard',
        offsets: maskedOffsetsOf(offsets),
        requestedBy: 'ada',
        why: 'a test',
      },
    ],
  })
  await world.advance(100)
  expect(await worker.turn(table)).toMatchObject({ kind: 'append', rows: 1 })
  const [pending] = await catalog.readTables(['masked'])
  expect(pending.masks).toHaveLength(1)
  expect(await worker.turn(table)).toBeUndefined()
  await world.advance(SAMPLE_SETTINGS.snapshotAgeMs + 1000)
  expect(await worker.turn(table)).toMatchObject({ kind: 'merge', rows: 2, filesIn: 1 })
  expect([...(await rowsOf(await live(table))).keys()].sort()).toEqual([0, 2, 5])
  const [over] = await catalog.readTables(['masked'])
  expect(over.masks).toEqual([])
  expect(await worker.turn(table)).toBeUndefined()
})
