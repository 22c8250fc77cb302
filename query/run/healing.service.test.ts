// What a query heals by itself, with a real engine, catalog and cache: a file that went away (planned once more), a read into
// bytes that were not fetched (fetched whole, counted), and neither once a byte of the result has left (PROTOCOL 6 and 9).

import { open, readFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { request } from 'undici'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Catalog, TableVersion } from '../../lake/catalog/catalog.ts'
import { checksumOf } from '../../lake/checksum.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createMemoryObjectStore } from '../../lake/object-store/memory.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import { createRangeCache, type RangeCache } from '../../lake/range-cache/range-cache.ts'
import { createReaderRow } from '../../lake/reader-row.ts'
import type { Labels } from '../../runtime/metrics.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { asMillraceError } from '../../schemas/errors.ts'
import { createEngines } from '../engines/engine-pool.ts'
import { createSqlReply } from '../http/sql-reply.ts'
import { createPlanner } from '../plan/plan-tables.ts'
import { createStubs } from '../plan/stubs.ts'
import { createTableFileReader } from '../plan/table-files.ts'
import { createSampleLake, type SampleLake } from '../sample-lake.ts'
import { createAdmission } from './admission.ts'
import { createQueryRunner, type QueryRunner } from './run-query.ts'
import { createWaiting } from './wait-for.ts'

const ROOT = 's3://bucket/lake'
const ROWS = 400_000

let lake: SampleLake
let engine: Engine
let store: ObjectStore
let cache: RangeCache
let runner: QueryRunner
let server: Server
let retries: string[]
/** What the test does to what the catalog answers, and which files get no bytes but their footer. */
let change: (versions: readonly TableVersion[], call: number) => readonly TableVersion[]
let hasHoles: (path: string) => boolean
/** What happens to a file after its bytes were brought and before the engine reads them, at the first attempt. */
let betweenFetchAndRead: (path: string, localFile: string) => Promise<void>
let catalogReads: number

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  store = createMemoryObjectStore({ root: ROOT, world })
  cache = await createRangeCache({
    folder: join(lake.folder, 'cache'),
    bytesMax: 1e10,
    store,
    world,
    wholeFileBytesMax: 0,
  })
  engine = createEngine({
    world,
    settings: {
      name: 'healing',
      mode: 'query',
      memoryBytes: 512 * 1024 ** 2,
      // One after the other, so that a test knows which file is read first.
      threads: 1,
      spillFolder: join(lake.folder, 'healing-spill'),
      spillBytes: 1e9,
      folders: [lake.folder],
    },
  })
  for (const name of ['numbers', 'holed', 'begun', 'headed', 'damaged', 'replaced']) await makeTable(name)
  const catalog: Catalog = {
    ...lake.catalog,
    // What these tests change, no commit tells.
    changeMark: async () => undefined,
    async readTables(names, options) {
      catalogReads += 1
      return change(await lake.catalog.readTables(names, options), catalogReads)
    },
  }
  const planner = createPlanner({
    engine,
    stubs: createStubs({ engine, folder: join(lake.folder, 'stubs') }),
    cache: {
      ...cache,
      async ensure(path, size, etag, ranges, signal, checksum) {
        // The second attempt fetches files whole.
        const wanted = hasHoles(path) && catalogReads === 1 ? [] : ranges
        const file = await cache.ensure(path, size, etag, wanted, signal, checksum)
        if (catalogReads === 1 && ranges.length > 0) await betweenFetchAndRead(path, file.localFile)
        return file
      },
    },
    files: createTableFileReader({ store }),
    parallelMax: 4,
  })
  const admission = createAdmission({
    limits: { concurrentMax: 2, batchConcurrentMax: 1, queueMax: 2, userConcurrentMax: 2, userQueueMax: 2 },
    monotonicMs: () => world.clock.monotonicMs(),
  })
  const counter = { add: (_?: number, labels?: Labels) => void retries.push(String(labels?.reason)) }
  runner = createQueryRunner({
    engines: createEngines({
      interactive: engine,
      batch: [engine],
      admission,
      queueMax: 2,
      world,
      moved: { add: () => {} },
      retries: counter,
    }),
    catalog,
    planner,
    world,
    admission,
    readerRow: createReaderRow({ catalog: lake.catalog, world, service: 'query' }),
    retries: counter,
    follower: { asked: () => {} },
    systemTables: { prepare: async () => ({ setup: [], release: async () => {} }) },
    unsteady: new Set(),
    waiting: createWaiting({ catalog, world }),
    timeTravelFineMs: 0,
  })
  server = createServer((incoming, raw) => {
    const url = new URL(incoming.url ?? '', 'http://localhost')
    const reply = createSqlReply({
      raw,
      format: 'json',
      queryId: 'q',
      withSources: false,
      gzip: false,
      drainMs: 60_000,
      takeOver: () => {},
    })
    run(url.searchParams.get('q')!, { ...reply, onState: () => {}, onChunk: (chunk) => reply.onChunk(chunk) }).then(
      (outcome) => reply.finish(outcome, 1),
      async (error: unknown) => {
        if (await reply.fail(asMillraceError(error))) return
        raw.statusCode = 500
        raw.end(JSON.stringify({ error: asMillraceError(error).code }))
      },
    )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
})
beforeEach(() => {
  retries = []
  catalogReads = 0
  change = (versions) => versions
  hasHoles = () => false
  betweenFetchAndRead = async () => {}
})
afterAll(async () => {
  server?.close()
  await engine?.close()
  await cache?.close()
  await lake?.close()
})

/** Two files, read by no test before: what the cache has of them is what this test brought. */
async function makeTable(name: string): Promise<void> {
  const table = await lake.createTable(name, { a: 'long', b: 'string' }, ROOT)
  for (let file = 0; file < 2; file += 1) {
    const rows = `range(${file * ROWS}, ${(file + 1) * ROWS})`
    const local = await lake.writeFile(table, `SELECT i, 'text ' || hash(i) FROM ${rows} r(i)`)
    const path = `${ROOT}/${name}/data/file-${file}.parquet`
    await store.put(path, await readFile(local))
    await lake.commitFile(table, local, { path })
  }
}

function run(sql: string, receiver: Parameters<QueryRunner['run']>[1]) {
  return runner.run(
    {
      queryId: 'q',
      sql,
      params: [],
      format: 'json',
      wideNumbers: false,
      timezone: undefined,
      rowsMax: 1e9,
      bytesMax: 1e9,
      timeoutMs: 60_000,
      scanBytesMax: 1e12,
      entrant: { user: undefined, priority: 'interactive' },
      atVersions: new Map(),
      waitFor: new Map(),
      checkTable: () => {},
      caller: { name: undefined, isAdmin: true },
    },
    receiver,
    new AbortController().signal,
  )
}

async function ask(sql: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const { port } = server.address() as AddressInfo
  const reply = await request(`http://127.0.0.1:${port}/?q=${encodeURIComponent(sql)}`)
  return { status: reply.statusCode, body: (await reply.body.json()) as Record<string, unknown> }
}

/** The version of before: one of its files is not there any more. */
function withGoneFile(versions: readonly TableVersion[]): readonly TableVersion[] {
  return versions.map((version) => ({
    ...version,
    segments: version.segments.map((segment, index) =>
      index === 0 ? { ...segment, path: `${segment.path}.gone` } : segment,
    ),
  }))
}

test('a file that is gone: the catalog is read again and the query planned once more', async () => {
  change = (versions, call) => (call === 1 ? withGoneFile(versions) : versions)
  const { status, body } = await ask('SELECT count(*), sum(a) FROM numbers')
  expect([status, body.data]).toEqual([200, [[String(2 * ROWS), String((2 * ROWS * (2 * ROWS - 1)) / 2)]]])
  expect([retries, catalogReads]).toEqual([['file-missing'], 2])
})

test('a file that stays gone is an error after the second plan', async () => {
  change = withGoneFile
  expect(await ask('SELECT count(DISTINCT b) FROM numbers')).toEqual({ status: 500, body: { error: 'file-missing' } })
  expect([retries, catalogReads]).toEqual([['file-missing'], 2])
})

test('a read into a hole: the files are fetched whole, the answer is the right one, once, and it is counted', async () => {
  hasHoles = () => true
  const { status, body } = await ask('SELECT a, b FROM holed WHERE a % 200000 = 7 ORDER BY a')
  expect(status).toBe(200)
  expect((body.data as unknown[][]).map(([a]) => a)).toEqual(['7', '200007', '400007', '600007'])
  expect(body.rows).toBe(4)
  expect(retries).toEqual(['hole'])
})

test('once a byte of the result has left, nothing is tried again: no row can be sent twice', async () => {
  hasHoles = (path) => path.endsWith('file-1.parquet')
  let chunks = 0
  const failed = await run('SELECT a, b FROM begun', {
    onState: () => {},
    onColumns: () => {},
    onChunk() {
      chunks += 1
    },
  }).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(failed).toMatchObject({ code: 'file-damaged' })
  expect(chunks).toBeGreaterThan(0)
  expect(retries).toEqual([])
})

test('the head of a reply that a second attempt begins anew is there once', async () => {
  hasHoles = (path) => path.endsWith('file-1.parquet')
  const { status, body } = await ask('SELECT a, b FROM headed WHERE a < 2 OR a = 500000')
  expect([status, body.rows, retries]).toEqual([200, 3, ['hole']])
  expect((body.data as unknown[][]).map(([a]) => a).sort()).toEqual(['0', '1', '500000'])
})

test('bytes that a disk changed: compared, fetched again, the answer is the right one', async () => {
  betweenFetchAndRead = async (path, localFile) => {
    if (!path.endsWith('file-0.parquet')) return
    const file = await open(localFile, 'r+')
    await file.write(new Uint8Array(200_000), 0, 200_000, 1000)
    await file.close()
  }
  const { status, body } = await ask('SELECT count(*), sum(a), max(length(b)) FROM damaged')
  expect([status, body.data]).toEqual([200, [[String(2 * ROWS), String((2 * ROWS * (2 * ROWS - 1)) / 2), '25']]])
  expect(retries).toEqual(['hole'])
  expect(cache.stats().damagedRanges).toBeGreaterThan(0)
})

test('another object under a file that has a recorded etag is an error that names it', async () => {
  const path = `${ROOT}/replaced/data/file-0.parquet`
  const { bytes, etag } = await store.get(path)
  change = (versions) =>
    versions.map((version) => ({
      ...version,
      segments: version.segments.map((segment) => (segment.path === path ? { ...segment, etag } : segment)),
    }))
  const changed = bytes.map((byte, at) => (at > 5000 && at < 200_000 ? byte ^ 1 : byte))
  await store.put(path, changed)
  const failed = await run('SELECT sum(a) FROM replaced', {
    onState: () => {},
    onColumns: () => {},
    onChunk: () => {},
  }).then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(failed).toMatchObject({ code: 'file-damaged', message: expect.stringContaining(path) })
  // Back again, from a copy: another etag, the recorded checksum.
  await store.put(path, bytes)
  const withEtag = change
  change = (versions, call) =>
    withEtag(versions, call).map((version) => ({
      ...version,
      segments: version.segments.map((segment) =>
        segment.path === path ? { ...segment, etag: '"of before"', checksum: checksumOf(bytes) } : segment,
      ),
    }))
  const { status, body } = await ask('SELECT sum(a) FROM replaced')
  expect([status, body.data]).toEqual([200, [[String((2 * ROWS * (2 * ROWS - 1)) / 2)]]])
})
