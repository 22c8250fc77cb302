// What `millrace.files`, `snapshots` and `tables` read for a statement: metadata and manifests of the tables that it keeps, no
// others; and that ten thousand files are no trouble. The store is a counter here, DuckDB and the catalog are real.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createStubs } from '../plan/stubs.ts'
import { createQueryList } from '../run/query-list.ts'
import { createSampleLake, type SampleLake } from '../sample-lake.ts'
import { parseStatement } from '../statement/parse-statement.ts'
import { systemViewsSql } from './system-sql.ts'
import { createSystemTables, othersOf, type SystemTables } from './system-tables.ts'

const FILES = 10_000

let lake: SampleLake
let engine: Engine
let tables: SystemTables
let read: string[] = []

function longBytes(value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  new DataView(bytes.buffer).setBigInt64(0, BigInt(value), true)
  return bytes
}

const dataFile = (number: number) => ({
  path: `s3://bucket/b/data/${number}.parquet`,
  partition: [],
  rowCount: 2,
  bytes: 10,
  columnSizes: new Map(),
  valueCounts: new Map(),
  nullCounts: new Map([[16, 0]]),
  nanCounts: new Map(),
  lowerBounds: new Map([[16, longBytes(number)]]),
  upperBounds: new Map([[16, longBytes(number + 1)]]),
  splitOffsets: [4],
  sortOrderId: 0,
  snapshotId: 5n,
  sequenceNumber: 1n,
  manifestPath: 'm',
})

beforeAll(async () => {
  const world = createTestWorld()
  lake = await createSampleLake(world)
  for (const name of ['a', 'b', 'c']) await lake.createTable(name, { id: 'long' })
  await mkdir(join(lake.folder, 'system'))
  engine = createEngine({
    settings: {
      name: 'system',
      memoryBytes: 256 * 1024 * 1024,
      threads: 2,
      spillFolder: join(lake.folder, 'spill-system'),
      spillBytes: 1024 * 1024 * 1024,
      folders: [lake.folder],
      mode: 'query',
      prepare: systemViewsSql(),
    },
    world,
  })
  const snapshot = {
    snapshotId: 5n,
    parentSnapshotId: undefined,
    sequenceNumber: 1n,
    timestampMs: 1,
    manifestList: 'l',
    schemaId: 0,
    summary: {
      operation: 'append',
      'total-records': '20000',
      'total-data-files': String(FILES),
      'total-files-size': '9',
    },
  }
  const metadata = {
    location: 's3://bucket/b',
    tableUuid: 'u',
    lastSequenceNumber: 1n,
    currentSnapshot: snapshot,
    snapshots: [snapshot],
    currentSchemaId: 0,
    properties: {},
    raw: {},
  }
  tables = createSystemTables({
    engine,
    stubs: createStubs({ engine, folder: join(lake.folder, 'stubs') }),
    queries: createQueryList(),
    settings: [],
    folder: join(lake.folder, 'system'),
    world,
    files: {
      filesOf: () => Promise.reject(new Error('nobody asks for it')),
      metadataOf: async ({ table }) => {
        read.push(table.name)
        return metadata
      },
      dataFilesOf: async () => (read.at(-1) === 'b' ? Array.from({ length: FILES }, (_, i) => dataFile(i)) : []),
    },
  })
})
afterAll(async () => {
  await engine?.close()
  await lake?.close()
})

/** The rows, and the tables whose metadata were read for them. */
async function ask(sql: string, params: readonly unknown[] = []) {
  read = []
  const statement = await parseStatement(sql, async (text) => String(Object.values((await engine.run(text))[0])[0]))
  const names = statement.tables.map(({ name }) => name)
  const versions = await lake.catalog.readTables(names, { others: othersOf(statement) })
  const query = {
    params,
    timeoutMs: 60_000,
    queryId: 'q',
    sessionSetup: [],
    caller: { name: undefined, isAdmin: true },
    checkTable: () => {},
  }
  const { setup, release } = await tables.prepare(statement, versions, query, new AbortController().signal)
  const rows: unknown[][] = []
  const views = names.map((name) => `CREATE TEMP VIEW "${name}" AS SELECT 1::BIGINT AS id`)
  await engine.query(
    {
      queryId: 'q',
      setup: [...setup, ...views],
      sql: statement.sql,
      params,
      format: 'rows',
      rowsMax: 100_000,
      bytesMax: 1e9,
      timeoutMs: 60_000,
    },
    { onChunk: () => {}, onRows: (some) => void rows.push(...some.map((row) => [...row])) },
  )
  await release()
  return { rows, read: [...new Set(read)] }
}

test.each([
  ["SELECT 1 FROM millrace.files WHERE table_name = 'a'", ['a']],
  ["SELECT 1 FROM millrace.files WHERE table_name IN ('a', 'c') AND rows > 5", ['a', 'c']],
  ["WITH f AS (FROM millrace.files) SELECT 1 FROM f JOIN a ON a.id = f.rows WHERE f.table_name = 'c'", ['c']],
  ["SELECT 1 FROM millrace.snapshots WHERE table_name = 'none'", []],
  ["SELECT 1 FROM millrace.files WHERE kind = 'segment'", []],
  ['SELECT table_name, version, columns FROM millrace.tables', []],
  ["SELECT rows FROM millrace.tables WHERE table_name = 'b'", ['b']],
  ["SELECT 1 FROM millrace.table_partitions WHERE table_name = 'a'", ['a']],
  ["SELECT 1 FROM millrace.files WHERE table_name = 'a' OR rows = 1", ['a', 'b', 'c']],
  ["SELECT 1 FROM millrace.files x, millrace.files y WHERE x.table_name = 'a'", ['a', 'b', 'c']],
  // A plan over an empty table in place of a stub would lose the second scan.
  [
    "SELECT 1 FROM millrace.files WHERE table_name = 'a' UNION ALL SELECT 1 FROM millrace.files f JOIN millrace.pipelines p ON true",
    ['a', 'b', 'c'],
  ],
  ['SELECT count(*) FROM millrace.files', ['a', 'b', 'c']],
  ['DESCRIBE SELECT * FROM millrace.files', []],
] as const)('%s reads metadata of %j', async (sql, names) => {
  expect((await ask(sql)).read.sort()).toEqual([...names])
})

test('a parameter keeps tables out like a text does', async () => {
  expect((await ask('SELECT 1 FROM millrace.files WHERE table_name = $1', ['c'])).read).toEqual(['c'])
})

test('ten thousand files, with their bounds', async () => {
  const { rows } = await ask(
    "SELECT count(*), sum(rows)::BIGINT, max(bounds['id'].upper::BIGINT), count(DISTINCT path) FROM millrace.files WHERE table_name = 'b'",
  )
  expect(rows).toEqual([[BigInt(FILES), BigInt(2 * FILES), BigInt(FILES), BigInt(FILES)]])
})
