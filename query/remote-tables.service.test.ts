import { copyFile, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table } from '../lake/catalog/catalog.ts'
import { dataFileFromFooter } from '../lake/iceberg/data-file.ts'
import { prepareSnapshot } from '../lake/iceberg/write.ts'
import { type CountingObjectStore, countRequests } from '../lake/object-store/count.ts'
import { createS3ObjectStore } from '../lake/object-store/s3.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import { createRangeCache, type RangeCache } from '../lake/range-cache/range-cache.ts'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { type S3Server, startS3Server } from '../test/harness/s3-server.ts'
import { createPlanner, type Planner, type PlanStats } from './plan/plan-tables.ts'
import { createStubs } from './plan/stubs.ts'
import { createTableFileReader } from './plan/table-files.ts'
import { createSampleLake, querySettings, type SampleLake } from './sample-lake.ts'
import { startQuery } from './service.ts'
import { checkStatement, parseSql } from './statement/statement.ts'

const ROWS = 300_000

let server: S3Server
let lake: SampleLake
let store: CountingObjectStore
let cache: RangeCache
let planner: Planner
let table: Table
let root: string
const local: string[] = []

beforeAll(async () => {
  server = await startS3Server()
  root = `s3://${await server.bucket('query-remote')}/lake`
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  store = countRequests(createS3ObjectStore({ root, s3: server, world }))
  cache = await createRangeCache({
    folder: join(lake.folder, 'cache'),
    bytesMax: 1e10,
    store,
    world,
    wholeFileBytesMax: 1024,
  })
  planner = createPlanner({
    engine: lake.engine,
    stubs: createStubs({ engine: lake.engine, folder: join(lake.folder, 'stubs') }),
    cache,
    files: createTableFileReader({ store }),
    parallelMax: 8,
  })
  const columns = Object.fromEntries(
    Array.from({ length: 20 }, (_, i) => [`c${i}`, i % 3 === 0 ? 'string' : i % 3 === 1 ? 'long' : 'double']),
  )
  const nested = { n: 'struct<a: long, b: string, d: list<double>>', m: 'map<string, long>' }
  table = await lake.createTable('wide', { ...columns, ...nested }, root)
  for (let file = 0; file < 2; file++) {
    const values = Object.values(columns).map((type, i) => {
      const number = `hash(i * 31 + ${i}) % ${i === 1 ? 100 : 1_000_000}`
      return i === 0 ? `'k' || (i % 50)` : type === 'string' ? `'text ' || (${number})` : `(${number})`
    })
    values.push(
      `CASE WHEN i % 9 = 0 THEN NULL ELSE {'a': i % 70, 'b': 'text ' || (i % 40), 'd': [i / 2, NULL]} END`,
      `MAP {'k': i, 'x' || (i % 30): 7}`,
    )
    local.push(
      await lake.writeFile(table, `SELECT ${values.join(', ')} FROM range(${file * ROWS}, ${(file + 1) * ROWS}) r(i)`),
    )
  }
  // One file is a live segment, the other one is in an Iceberg snapshot.
  const paths = local.map((_, index) => `${root}/wide/data/file-${index}.parquet`)
  for (const [index, path] of paths.entries()) await store.putFile(path, local[index])
  await lake.commitFile(table, local[0], { path: paths[0] })
  const writer = await lake.catalog.registerWriter('compactor')
  const lease = (await lake.catalog.acquireLease(table.tableId, writer, 600_000))!
  const footer = await readLocalFooter(local[1])
  const bytes = (await readFile(local[1])).length
  const current = await lake.catalog.getTable(table.tableId)
  const snapshot = await prepareSnapshot({
    store,
    world,
    table: current,
    base: undefined,
    add: [
      dataFileFromFooter({
        path: paths[1],
        bytes,
        footer,
        table: current,
        schema: current.schemas.at(-1)!,
        partition: [],
        sortOrderId: 0,
      }),
    ],
    remove: [],
    operation: 'append',
    coverage: [],
    commitId: 'c1',
    writerId: writer.writerId,
    leaseEpoch: lease.epoch,
    snapshotAgeMs: 3_600_000,
    snapshotsMax: 10,
    manifestsMax: 10,
  })
  const committed = await lake.catalog.commitSnapshot({
    commitId: 'c1',
    writer,
    lease,
    tableId: table.tableId,
    expectedMetadataLocation: undefined,
    metadataLocation: snapshot.metadataLocation,
    consumedSegmentIds: [],
    removedPaths: snapshot.removedPaths,
    rowsAdded: ROWS,
    snapshotRows: snapshot.snapshotRows,
  })
  expect(committed.outcome).toBe('committed')
})
afterAll(async () => {
  await cache?.close()
  await lake?.close()
  await server?.stop()
})

async function ask(sql: string): Promise<{ rows: unknown[]; stats: PlanStats }> {
  const [row] = await lake.engine.run(parseSql(sql))
  const statement = checkStatement(sql, String(row.tree))
  const versions = await lake.catalog.readTables(statement.tables.map((each) => each.name))
  const plan = await planner.plan(statement, versions, {
    params: [],
    sessionSetup: [],
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    wholeFiles: false,
  })
  const rows: unknown[] = []
  await lake.engine.query(
    {
      queryId: 'q',
      setup: plan.setup,
      sql,
      params: [],
      format: 'rows',
      rowsMax: 1e6,
      bytesMax: 1e9,
      timeoutMs: 60_000,
    },
    { onChunk: () => {}, onRows: (batch) => void rows.push(...batch) },
  )
  plan.release()
  return { rows, stats: plan.stats }
}

test('of a struct only the fields that are used come, of a map all, and bloom filters where DuckDB may look at them', async () => {
  const footers = await Promise.all(local.map((file) => readLocalFooter(file)))
  const leavesOf = (name: string) =>
    footers
      .flatMap(({ columns, rowGroups }) =>
        rowGroups.flatMap(({ chunks }) => chunks.map((chunk) => ({ columns, chunk }))),
      )
      .filter(({ columns, chunk }) => columns[chunk.columnIndex].path.startsWith(name))
      .reduce((sum, { chunk }) => sum + chunk.end - chunk.start, 0)
  expect((await ask('SELECT sum(n.a) FROM wide')).stats.bytesNeeded).toBe(leavesOf('n.a'))
  expect((await ask('SELECT count(n) FROM wide')).stats.bytesNeeded).toBe(leavesOf('n.'))
  expect((await ask("SELECT sum(m['k']) FROM wide")).stats.bytesNeeded).toBe(leavesOf('m.'))
  const files = local.map((file) => `'${file}'`).join(', ')
  for (const where of [
    'n.a = 5',
    "n.b = 'text 5'",
    'n.a IN (1, 999)',
    'n IS NULL',
    "m['k'] < 100",
    'list_contains(n.d, 8)',
  ]) {
    const columns = "[count(*), sum(n.a), sum(m['k'])]::VARCHAR AS r"
    const [expected] = await lake.engine.run(`SELECT ${columns} FROM read_parquet([${files}]) WHERE ${where}`)
    expect((await ask(`SELECT ${columns} FROM wide WHERE ${where}`)).rows, where).toEqual([[expected.r]])
  }
})

const GROUP_BY = 'SELECT c0, sum(c1)::BIGINT AS s FROM wide GROUP BY c0 ORDER BY c0'

test('a 2-column group-by over a 20-column S3 table reads at most 1.1 times the bytes of those chunks', async () => {
  const footers = await Promise.all(local.map((file) => readLocalFooter(file)))
  let chunkBytes = 0
  let fileBytes = 0
  for (const footer of footers) {
    for (const group of footer.rowGroups) {
      for (const chunk of group.chunks) {
        fileBytes += chunk.end - chunk.start
        if (['c0', 'c1'].includes(footer.columns[chunk.columnIndex].path)) chunkBytes += chunk.end - chunk.start
      }
    }
  }
  // Footers and manifests are known to a process that has seen the table once.
  await ask('SELECT count(*) FROM wide')
  store.reset()
  const { rows, stats } = await ask(GROUP_BY)
  const files = local.map((file) => `'${file}'`).join(', ')
  const expected = await lake.engine.run(
    `SELECT c0, sum(c1)::BIGINT AS s FROM read_parquet([${files}]) GROUP BY c0 ORDER BY c0`,
  )
  expect(rows).toEqual(expected.map((row) => [row.c0, row.s]))
  expect(stats.bytesNeeded).toBe(chunkBytes)
  expect(store.counts.bytesRead).toBe(stats.bytesFetched)
  expect(store.counts.bytesRead / chunkBytes).toBeLessThanOrEqual(1.1)
  expect(chunkBytes / fileBytes).toBeLessThan(0.2)

  store.reset()
  expect((await ask(GROUP_BY)).rows).toEqual(rows)
  expect(store.counts.get.requests).toBe(0)
})

test('counting and pruned-away files fetch nothing', async () => {
  store.reset()
  expect((await ask('SELECT count(*) FROM wide')).rows).toEqual([[BigInt(2 * ROWS)]])
  expect((await ask("SELECT c2 FROM wide WHERE c0 = 'zzz'")).rows).toEqual([])
  expect(store.counts.get.requests).toBe(0)
})

test('the service answers over S3 with pages of its own cache, snapshot id included', async () => {
  const { endpoint, region, accessKeyId, secretAccessKey } = server
  const base = querySettings(lake, { cache: { folder: join(lake.folder, 'service-cache'), bytes: 1e9 } })
  const settings = {
    ...base,
    lake: { root },
    storage: {
      cold: undefined,
      copiesBytes: 0,
      s3: { endpoint, region, accessKeyId, secretAccessKey, pathStyle: true },
    },
  }
  const service = await startQuery({ settings, world: lake.world })
  try {
    const reply = await request(`${service.url}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ sql: 'SELECT count(*), max(c4), min(c2) FROM wide WHERE c1 < 50' }),
    })
    const answer = (await reply.body.json()) as {
      data: unknown[][]
      tables: { snapshot_id: string }[]
      stats: Record<string, number>
    }
    const files = local.map((file) => `'${file}'`).join(', ')
    const [expected] = await lake.engine.run(
      `SELECT count(*) AS n, max(c4) AS a, min(c2) AS b FROM read_parquet([${files}]) WHERE c1 < 50`,
    )
    expect(answer.data).toEqual([[String(expected.n), String(expected.a), expected.b]])
    expect(answer.tables[0].snapshot_id).toMatch(/^\d+$/)
    expect(answer.stats.bytes_fetched).toBeGreaterThan(0)
  } finally {
    await service.stop()
  }
})

test('a read into bytes that were not fetched is an error, never another answer', async () => {
  const sparse = join(lake.folder, 'lake', 'sparse.parquet')
  await copyFile(local[0], sparse)
  const groups = (await readLocalFooter(sparse)).rowGroups
  const handle = await open(sparse, 'r+')
  for (const group of groups) {
    const chunk = group.chunks[1]
    await handle.write(new Uint8Array(chunk.end - chunk.start), 0, chunk.end - chunk.start, chunk.start)
  }
  await handle.close()
  const read = (column: string) =>
    lake.engine.query(
      {
        queryId: 'q',
        setup: [],
        sql: `SELECT ${column} FROM read_parquet('${sparse}')`,
        params: [],
        format: 'csv',
        rowsMax: 1e9,
        bytesMax: 1e9,
        timeoutMs: 60_000,
      },
      { onChunk: () => {} },
    )
  expect((await read('c2')).rowCount).toBe(ROWS)
  await expect(read('c1')).rejects.toMatchObject({ code: 'file-damaged' })
})
