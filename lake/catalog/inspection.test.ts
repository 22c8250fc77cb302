// What `millrace check` reads of a catalog: all of it at one moment, and a catalog as it is, never made or brought up to date.
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { openCatalog } from './open-catalog.ts'
import { newTableOf, sourceKey, tickOf } from './test-values.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-inspection-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

test('live and removed files, coverage, writers, readers and leases come back', async () => {
  const world = createTestWorld()
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const ingest = await catalog.registerWriter('ingest')
  const compactor = await catalog.registerWriter('compactor')
  const table = await catalog.createTable(newTableOf('flights'))
  await catalog.commitTick(tickOf(table, ingest, 'c1', sourceKey(0), 0n, 5n))
  await catalog.commitTick(tickOf(table, ingest, 'c2', sourceKey(0), 5n, 9n))
  const [{ segments }] = (await catalog.inspect()).tables
  const lease = await catalog.acquireLease(table.tableId, compactor, 1000)
  await catalog.commitSnapshot({
    commitId: 's1',
    writer: compactor,
    lease: lease!,
    tableId: table.tableId,
    expectedMetadataLocation: undefined,
    metadataLocation: `${table.location}/metadata/1.json`,
    metadataChecksum: '0000abcd',
    consumedSegmentIds: [segments[0].segmentId],
    removedPaths: [],
    rowsAdded: 5,
    snapshotRows: 5,
  })
  await catalog.setReader('r', new Map([[table.tableId, 1n]]))
  await catalog.retireWriter(ingest)

  const seen = await catalog.inspect()
  expect(seen.tables).toHaveLength(1)
  const [only] = seen.tables
  expect(only.table).toMatchObject({ name: 'flights', version: 3n, metadataChecksum: '0000abcd' })
  expect(only.segments.map(({ path }) => path)).toEqual([segments[1].path])
  expect([...only.removedPaths]).toEqual([segments[0].path])
  expect(only.lastSnapshot).toEqual({ metadataLocation: `${table.location}/metadata/1.json`, rows: 5 })
  expect(only.snapshotRows).toBe(5)
  expect(only.lease?.holder).toBe(compactor.writerId)
  expect(seen.writers.map(({ kind, fencedAt }) => [kind, fencedAt !== undefined])).toEqual([
    ['ingest', true],
    ['compactor', false],
  ])
  expect(seen.readers).toMatchObject([{ readerId: 'r', tableId: table.tableId }])
  expect(seen.coverage).toMatchObject([{ ...sourceKey(0), recordsIn: 9n }])
  expect(seen.bindings).toEqual([{ pipeline: 'p', tableId: table.tableId }])
  expect(await catalog.storageDamage()).toEqual([])
  await catalog.close()
})

test('a catalog that is not there is not made', async () => {
  const path = join(folder, 'none.db')
  const opening = openCatalog({ url: `sqlite:${path}`, world: createTestWorld(), asItIs: true })
  await expect(opening).rejects.toMatchObject({ code: 'not-found' })
  expect(existsSync(path)).toBe(false)
})

test('a catalog of an older release stays as it is', async () => {
  const path = join(folder, 'older.db')
  await (await openCatalog({ url: `sqlite:${path}`, world: createTestWorld() })).close()
  const database = new DatabaseSync(path)
  database.exec("DELETE FROM migrations WHERE name <> '0001-first'")
  const opening = openCatalog({ url: `sqlite:${path}`, world: createTestWorld(), asItIs: true })
  await expect(opening).rejects.toMatchObject({ code: 'format-too-old' })
  expect(database.prepare('SELECT count(*) AS n FROM migrations').get()).toEqual({ n: 1 })
  database.close()
})

test('damage in the catalog file is found', async () => {
  const path = join(folder, 'damaged.db')
  const world = createTestWorld()
  const made = await openCatalog({ url: `sqlite:${path}`, world })
  await made.createTable(newTableOf('flights'))
  await made.close()
  const database = new DatabaseSync(path)
  // A row that is not what its table's definition says.
  database.enableDefensive?.(false)
  database.exec('CREATE TABLE odd (a INTEGER); INSERT INTO odd VALUES (1); PRAGMA writable_schema = ON')
  database.exec(
    "UPDATE sqlite_schema SET sql = 'CREATE TABLE odd (a INTEGER NOT NULL, b TEXT NOT NULL)' WHERE name = 'odd'",
  )
  database.close()
  const catalog = await openCatalog({ url: `sqlite:${path}`, world, asItIs: true })
  expect((await catalog.storageDamage()).join()).toContain('NULL value in odd')
  await catalog.close()
})
