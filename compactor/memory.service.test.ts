// Any backlog is rewritten within `compaction.memory`: wide rows that compress to nothing, hundreds of columns, values of 100 kB,
// one segment far larger than the engine. Every row comes out once and whole (G-2, G-6), by itself (G-13).
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
import { createLocalObjectStore } from '../lake/object-store/local.ts'
import { localFileOf } from '../lake/object-store/object-path.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import { type SampleValue, sampleVector } from '../lake/parquet/sample-batches.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld, type TestWorld } from '../runtime/test-world.ts'
import { createInputs } from './inputs.ts'
import { createRewriter } from './rewrite.ts'
import { SAMPLE_SETTINGS } from './sample-table.ts'
import { createTableWorker, type TableWorker, type WorkDone } from './table-worker.ts'

const MiB = 1024 ** 2
/** The least that settings allow, and what one segment of the largest flush needs when a row of it is 100 kB. */
const MEMORY_BYTES = 64 * MiB
const MORE_BYTES = 256 * MiB
const THREADS = 2
const FILE_BYTES = 256 * MiB

let folder: string
let world: TestWorld
const engines = new Map<number, Engine>()
let reference: Engine
let store: ObjectStore
let catalog: Catalog
let ingest: Writer
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-memory-'))
  world = createTestWorld({ sleepAdvances: true })
  await mkdir(join(folder, 'work'))
  await mkdir(join(folder, 'lake'))
  store = createLocalObjectStore({ root: `file://${folder}/lake`, world })
  catalog = await openCatalog({ url: 'sqlite::memory:', world })
  ingest = await catalog.registerWriter('ingest')
  const engineOf = (name: string, memoryBytes: number) =>
    createEngine({
      world,
      settings: {
        name,
        mode: 'compaction',
        memoryBytes,
        threads: THREADS,
        spillFolder: join(folder, name),
        spillBytes: 16 * memoryBytes,
        folders: [join(folder, 'work'), join(folder, 'lake')],
      },
    })
  for (const memory of [MEMORY_BYTES, MORE_BYTES]) engines.set(memory, engineOf(`compaction-${memory}`, memory))
  reference = engineOf('reference', 2048 * MiB)
})
afterAll(async () => {
  for (const engine of engines.values()) await engine.close()
  await reference?.close()
  await store?.close()
  await catalog?.close()
  await rm(folder, { recursive: true, force: true })
})

/** What column `name` of row `id` holds. */
type TextOf = (id: number, column: number) => string

async function makeTable(name: string, columns: number, partition: readonly string[] = []): Promise<Table> {
  const texts = Array.from({ length: columns }, (_, index) => {
    return { name: `text_${index}`, type: { kind: 'string' }, required: false } as const
  })
  const id = { name: 'id', type: { kind: 'long' }, required: true } as const
  const declared = { name, columns: [id, ...texts], partition, sort: ['id'], eventTime: undefined }
  return catalog.createTable(defineTable(declared, `file://${folder}/lake/${name}-1`))
}

let segments = 0
/** Ids from `first` in an order that no file has sorted. */
async function addSegment(table: Table, first: number, rows: number, textOf: TextOf): Promise<void> {
  segments += 1
  const [schema] = table.schemas
  const ids = Array.from({ length: rows }, (_, index) => first + ((index * 7919) % rows))
  const source = { pipeline: 'p', source: `http:${table.name}`, partition: 0 }
  const vectors = schema.columns.map((column) => {
    const text = /^text_(\d+)$/.exec(column.name)
    const values: readonly SampleValue[] = text
      ? ids.map((id) => textOf(id, Number(text[1])))
      : column.name === 'id'
        ? ids.map(BigInt)
        : ids.map((_, index) =>
            column.name === '_source' ? source.source : column.name === '_partition' ? 0 : BigInt(first + index),
          )
    return sampleVector(column, values)
  })
  const { bytes, bounds } = writeParquet(
    { schema, rowCount: rows, vectors },
    { compression: 'zstd', level: 1, rowGroupRows: 1_000_000, keyValues: { [SCHEMA_ID_KEY]: '0' } },
  )
  const path = `${table.location}/segments/${ingest.writerId}-${segments}.parquet`
  await store.put(path, bytes)
  const range = { start: BigInt(first), end: BigInt(first + rows) }
  const counts = { recordsIn: rows, recordsDead: 0, recordsFiltered: 0, logEnd: undefined, caughtUp: true }
  const result = await catalog.commitTick({
    commitId: world.random.uuid(),
    writer: ingest,
    segments: [
      {
        tableId: table.tableId,
        schemaId: 0,
        path,
        rowCount: rows,
        bytes: bytes.length,
        etag: undefined,
        bounds,
        sources: [{ ...source, range, rows }],
        touched: { grain: 'all', values: [] },
      },
    ],
    advances: [{ ...source, range, ...counts }],
    idempotencyKeys: [],
  })
  expect(result.outcome).toBe('committed')
}

async function makeWorker(memoryBytes: number, settings: { readonly filesMin?: number } = {}): Promise<TableWorker> {
  const writer = await catalog.registerWriter('compactor')
  const workFolder = join(folder, 'work', writer.writerId)
  await mkdir(workFolder)
  const limits = { partitionsMax: 10, memoryBytes, threads: THREADS }
  return createTableWorker({
    catalog,
    store,
    world,
    writer,
    inputs: createInputs({ store, workFolder }),
    rewriter: createRewriter({ engine: engines.get(memoryBytes)!, store, world, writer, workFolder, ...limits }),
    tiering: undefined,
    settings: {
      ...SAMPLE_SETTINGS,
      targetBytes: FILE_BYTES,
      mergeBytesMax: FILE_BYTES,
      appendBytesMax: FILE_BYTES,
      filesMin: 1000,
      ...settings,
    },
  })
}

/** Everything that there is to do; every turn that was too much for the engine counts as one more. */
async function settle(worker: TableWorker, table: Table): Promise<WorkDone[]> {
  const done: WorkDone[] = []
  for (let refused = 0; ; ) {
    const result = await worker.turn(table)
    if (result === undefined) return done
    if (result === 'conflict') refused += 1
    else done.push(result)
    expect(refused).toBeLessThan(20)
  }
}

async function live(table: Table): Promise<readonly LiveFile[]> {
  const { metadataLocation } = await catalog.getTable(table.tableId)
  return readLiveFiles(store, await readMetadata(store, metadataLocation ?? ''))
}

/** Every id once with its own texts; the row groups are small enough that any reader of that memory can hold one. */
async function expectRows(
  table: Table,
  { rows, columns, of: textOf, memory }: { rows: number; columns: number; of: TextOf; memory: number },
): Promise<void> {
  const files = (await live(table)).map(({ path }) => localFileOf(path))
  const list = `[${files.map(quoteText).join(', ')}]`
  const [counts] = await reference.run(
    `SELECT CAST(count(*) AS INT) AS rows, CAST(count(DISTINCT id) AS INT) AS ids, CAST(min(id) AS INT) AS least, CAST(max(id) AS INT) AS most
     FROM read_parquet(${list}, hive_partitioning=false)`,
  )
  expect(counts).toEqual({ rows, ids: rows, least: 0, most: rows - 1 })
  for (const column of [0, columns - 1]) {
    const found = await reference.run(
      `SELECT id, md5(text_${column}) AS hash FROM read_parquet(${list}, hive_partitioning=false) WHERE id % 97 = 5 ORDER BY id`,
    )
    const hashes = await reference.run(
      `SELECT md5(unnest([${found.map(({ id }) => quoteText(textOf(Number(id), column))).join(', ')}])) AS hash`,
    )
    expect(found.map(({ hash }) => hash)).toEqual(hashes.map(({ hash }) => hash))
  }
  for (const file of files) {
    const { rowGroups } = await readLocalFooter(file)
    for (const { chunks } of rowGroups) {
      expect(chunks.reduce((sum, chunk) => sum + chunk.uncompressedBytes, 0)).toBeLessThan(memory / 8)
    }
  }
}

const repeated = (length: number): TextOf => {
  return (id, column) => `${id} ${column} `.repeat(Math.ceil(length / `${id} ${column} `.length)).slice(0, length)
}
const mixed: TextOf = (id) => repeated(id % 500 === 3 ? 100_000 : 20)(id, 0)
const skewed: TextOf = (id) => repeated(id < 300 ? 100_000 : 20)(id, 0)
const alike = (length: number): TextOf => {
  const text = 'n'.repeat(length)
  return () => text
}

test.each([
  { what: '2,000-byte texts that are all alike', columns: 1, rows: 60_000, count: 20, of: alike(2000) },
  { what: '2,000-byte texts, each another', columns: 1, rows: 60_000, count: 20, of: repeated(2000) },
  { what: 'one segment larger than the engine', columns: 1, rows: 60_000, count: 1, of: repeated(2000) },
  { what: '200 columns', columns: 200, rows: 3_000, count: 3, of: repeated(100) },
  { what: '200 columns in one segment', columns: 200, rows: 4_000, count: 1, of: repeated(100), memory: MORE_BYTES },
  { what: '100 kB values', columns: 1, rows: 1_000, count: 10, of: repeated(100_000) },
  { what: '100 kB values in one segment', columns: 1, rows: 640, count: 1, of: repeated(100_000), memory: MORE_BYTES },
  {
    what: '100 kB values, partitioned',
    columns: 1,
    rows: 640,
    count: 2,
    of: repeated(100_000),
    partition: ['bucket(2, id)'],
    memory: MORE_BYTES,
  },
  {
    what: '2,000-byte texts of two table partitions',
    columns: 1,
    rows: 30_000,
    count: 10,
    of: repeated(2000),
    partition: ['bucket(2, id)'],
  },
  { what: 'a few long texts among short ones', columns: 1, rows: 60_000, count: 10, of: mixed },
  { what: 'long texts in one place, short ones after', columns: 1, rows: 12_000, count: 4, of: skewed },
  { what: '1 MB values', columns: 1, rows: 60, count: 1, of: repeated(1_000_000), memory: MORE_BYTES },
])('$what', { timeout: 120_000 }, async ({ what, columns, rows, count, of, partition, memory = MEMORY_BYTES }) => {
  const name = what.replaceAll(/\W+/g, '_')
  const table = await makeTable(name, columns, partition)
  for (let each = 0; each < count; each += 1) await addSegment(table, (each * rows) / count, rows / count, of)
  const done = await settle(await makeWorker(memory), table)
  expect(done.reduce((sum, each) => sum + each.rows, 0)).toBe(rows)
  await expectRows(table, { rows, columns, of, memory })
})

test('wide files are merged into one, and not again', { timeout: 120_000 }, async () => {
  const table = await makeTable('merged', 1)
  const worker = await makeWorker(MEMORY_BYTES, { filesMin: 4 })
  const of = repeated(100_000)
  for (let each = 0; each < 4; each += 1) {
    await addSegment(table, each * 100, 100, of)
    await worker.turn(table)
  }
  const done = await settle(worker, table)
  expect(done.map(({ kind, rows, filesIn, filesOut }) => ({ kind, rows, filesIn, filesOut }))).toEqual([
    { kind: 'merge', rows: 400, filesIn: 4, filesOut: 1 },
  ])
  expect((await live(table)).map(({ sortOrderId }) => sortOrderId)).toEqual([0])
  await expectRows(table, { rows: 400, columns: 1, of, memory: MEMORY_BYTES })
})
