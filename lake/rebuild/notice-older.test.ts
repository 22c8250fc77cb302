// A catalog that is replaced by an older copy of itself under a process that writes: noticed at once, and nothing goes through any more.
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { SourceKey } from '../../schemas/coverage.ts'
import type { MillraceError } from '../../schemas/errors.ts'
import type { Catalog, FlushTick, Lease, Table, Writer } from '../catalog/catalog.ts'
import { openCatalog } from '../catalog/open-catalog.ts'
import { noticeOlderCatalog } from './notice-older.ts'

const SOURCE: SourceKey = { pipeline: 'p', source: 'kafka:t:1', partition: 0 }
const HTTP: SourceKey = { pipeline: 'http:t', source: 'http:sender', partition: 0 }
const OLDER = { code: 'catalog-older', message: expect.stringContaining('millrace catalog rebuild') }

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-older-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

/** Answers come from `behind.catalog`, which a test replaces. */
async function stage(file?: string) {
  const world = createTestWorld()
  const open = (name?: string) => openCatalog({ url: name === undefined ? 'sqlite::memory:' : `sqlite:${name}`, world })
  const first = await open(file)
  const behind = { catalog: first as Catalog }
  const told: MillraceError[] = []
  const through = new Proxy(first, { get: (_, name: keyof Catalog) => behind.catalog[name] })
  const methods = Object.fromEntries(
    Object.keys(first).map((name) => [
      name,
      (...args: never[]) => (through[name as keyof Catalog] as (...given: never[]) => unknown)(...args),
    ]),
  )
  const catalog = noticeOlderCatalog(methods as unknown as Catalog, { file, onOlder: (error) => void told.push(error) })
  const column = { fieldId: 16, name: 'id', type: { kind: 'long' }, required: false } as const
  const make = (of: Catalog) =>
    of.createTable({
      name: 't',
      location: 'file:///lake/t',
      columns: [column],
      partition: [],
      sort: [],
      properties: {},
    })
  return { catalog, behind, told, open, make }
}

let files = 0
function tick(table: Table, writer: Writer, start: bigint, end: bigint, key = SOURCE): FlushTick {
  const range = { start, end }
  const rows = Number(end - start)
  files += 1
  const path = `file:///lake/t/segments/${files}.parquet`
  const none = { recordsDead: 0, recordsFiltered: 0, logEnd: undefined, caughtUp: false }
  return {
    commitId: `c${files}`,
    writer,
    idempotencyKeys: [],
    advances: [{ ...key, range, recordsIn: rows, ...none }],
    segments: [
      {
        tableId: table.tableId,
        schemaId: 0,
        path,
        rowCount: rows,
        bytes: 1,
        etag: undefined,
        bounds: [],
        sources: [{ ...key, range, rows }],
        touched: { grain: 'all', values: [] },
      },
    ],
  }
}

test('as long as it is the same catalog nobody is told anything', async () => {
  const { catalog, told, make } = await stage()
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  const other = await catalog.registerWriter('ingest')
  await catalog.commitTick(tick(table, writer, 0n, 5n))
  await catalog.commitTick(tick(table, other, 5n, 9n))
  expect(await catalog.commitTick(tick(table, writer, 5n, 7n))).toMatchObject({ outcome: 'stale' })
  await catalog.heartbeat(writer, 1000)
  await catalog.readTables(['t'])
  await catalog.retireWriter(writer)
  await expect(catalog.heartbeat(writer, 1000)).rejects.toMatchObject({ code: 'writer-fenced' })
  expect(told).toEqual([])
})

test('a table whose version went back', async () => {
  const { catalog, behind, told, open, make } = await stage()
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  await catalog.commitTick(tick(table, writer, 0n, 5n))
  behind.catalog = await open()
  await make(behind.catalog)
  await expect(catalog.listTables()).rejects.toMatchObject(OLDER)
  await expect(catalog.commitTick(tick(table, writer, 5n, 6n))).rejects.toMatchObject(OLDER)
  await expect(catalog.deadFiles(0, 10)).rejects.toMatchObject(OLDER)
  expect(told).toHaveLength(1)
})

test('coverage of Kafka that ends before what this process committed; of an HTTP producer it may be forgotten', async () => {
  const { catalog, behind, told, open, make } = await stage()
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  await catalog.commitTick(tick(table, writer, 0n, 5n, HTTP))
  await catalog.commitTick(tick(table, writer, 0n, 5n))
  behind.catalog = await open()
  await make(behind.catalog)
  expect(await behind.catalog.registerWriter('ingest')).toMatchObject({ epoch: writer.epoch })
  const own = { ...writer, ...(await behind.catalog.registerWriter('ingest')) }
  expect(await catalog.commitTick(tick(table, own, 5n, 6n, HTTP))).toMatchObject({ outcome: 'stale' })
  await expect(catalog.commitTick(tick(table, own, 5n, 6n))).rejects.toMatchObject(OLDER)
  expect(told).toHaveLength(1)
})

test('a version that is given out a second time', async () => {
  const { catalog, behind, open, make } = await stage()
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  await catalog.commitTick(tick(table, writer, 0n, 5n))
  behind.catalog = await open()
  await make(behind.catalog)
  const again = await behind.catalog.registerWriter('ingest')
  await expect(catalog.commitTick(tick(table, again, 0n, 5n, HTTP))).rejects.toMatchObject(OLDER)
})

test('a process that is not registered any more', async () => {
  const { catalog, behind, told, open } = await stage()
  const writer = await catalog.registerWriter('compactor')
  behind.catalog = await open()
  await expect(catalog.heartbeat(writer, 1000)).rejects.toMatchObject(OLDER)
  expect(told).toHaveLength(1)
})

test('another file in the place of the catalog: what was committed into the old one is answered to nobody', async () => {
  const file = join(folder, 'catalog.sqlite')
  const { catalog, told, make, open } = await stage(file)
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  const copy = await open(join(folder, 'copy.sqlite'))
  await copy.close()
  await rename(join(folder, 'copy.sqlite'), file)
  await expect(catalog.commitTick(tick(table, writer, 0n, 5n))).rejects.toMatchObject(OLDER)
  await expect(catalog.fenceSilentWriters(1)).rejects.toMatchObject(OLDER)
  expect(told).toHaveLength(1)
})

test('an answer that comes late is not taken for an older catalog', async () => {
  const { catalog, behind, told, make } = await stage()
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  const before = await catalog.listTables()
  let answer = (_tables: readonly Table[]) => {}
  const real = behind.catalog
  behind.catalog = {
    ...real,
    listTables: () =>
      new Promise((resolve) => {
        answer = resolve
      }),
  }
  const slow = catalog.listTables()
  behind.catalog = real
  await catalog.commitTick(tick(table, writer, 0n, 5n))
  answer(before)
  expect(await slow).toEqual(before)
  expect(told).toEqual([])
})

test('an answer that is given again after a lost one is not taken for an older catalog', async () => {
  const { catalog, told, make } = await stage()
  const table = await make(catalog)
  const writer = await catalog.registerWriter('ingest')
  const other = await catalog.registerWriter('ingest')
  const compactor = await catalog.registerWriter('compactor')
  const lost = tick(table, writer, 0n, 5n)
  await catalog.commitTick(lost)
  const snapshot = {
    commitId: 's',
    writer: compactor,
    lease: (await catalog.acquireLease(table.tableId, compactor, 1000)) as Lease,
    tableId: table.tableId,
    expectedMetadataLocation: undefined,
    metadataLocation: 'file:///lake/t/metadata/1.metadata.json',
    consumedSegmentIds: [],
    removedPaths: [],
    rowsAdded: 0,
    snapshotRows: 0,
  }
  await catalog.commitSnapshot(snapshot)
  // Somebody else commits, and this process sees it, before it asks what became of its own.
  await catalog.commitTick(tick(table, other, 5n, 9n))
  await catalog.readTables(['t'])
  expect(await catalog.commitTick(lost)).toMatchObject({ outcome: 'already-committed' })
  expect(await catalog.commitSnapshot(snapshot)).toMatchObject({ outcome: 'already-committed' })
  expect(told).toEqual([])
})
