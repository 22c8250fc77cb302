/** The catalog on SQLite: the conformance suite in memory and on a file with several connections, and what only SQLite has. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql } from 'kysely'
import { expect, test } from 'vitest'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import type { Lease } from './catalog.ts'
import { describeCatalog } from './conformance.ts'
import { describeConnectors } from './conformance-connectors.ts'
import type { Database } from './database.ts'
import * as first from './migrations/0001-first.ts'
import { type OpenedCatalog, openCatalog } from './open-catalog.ts'
import { openSqliteFile } from './sqlite-database.ts'
import { SQLITE } from './sqlite-dialect.ts'
import { sqliteDialect } from './sqlite-driver.ts'
import { newTableOf } from './test-values.ts'

async function inMemory() {
  let shared: Promise<OpenedCatalog> | undefined
  return {
    open: (world: TestWorld) => {
      shared ??= openCatalog({ url: 'sqlite::memory:', world })
      return shared
    },
    close: async () => (await shared)?.close(),
  }
}

async function inFile() {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-catalog-'))
  const opened: OpenedCatalog[] = []
  return {
    async open(world: TestWorld) {
      const catalog = await openCatalog({ url: `sqlite:${join(folder, 'catalog.db')}`, world })
      opened.push(catalog)
      return catalog
    },
    async close() {
      for (const catalog of opened) await catalog.close()
      await rm(folder, { recursive: true })
    },
  }
}

describeCatalog('SQLite in memory', inMemory)
describeCatalog('SQLite file', inFile)
describeConnectors('SQLite in memory', inMemory)
describeConnectors('SQLite file', inFile)

async function withFile(work: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-catalog-'))
  try {
    await work(join(folder, 'catalog.db'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('a catalog of a newer format is refused by both numbers', () =>
  withFile(async (path) => {
    const world = createTestWorld({ sleepAdvances: true })
    await (await openCatalog({ url: `sqlite:${path}`, world })).close()
    const file = new DatabaseSync(path)
    file.exec('UPDATE format SET minimum_reader = 2, minimum_writer = 3')
    file.close()
    await expect(openCatalog({ url: `sqlite:${path}`, world })).rejects.toMatchObject({
      code: 'format-too-new',
      facts: { minimumReader: 2, minimumWriter: 3, speaks: 1 },
    })
  }))

test('a catalog of the release before is brought up with its rows, and that release goes on writing to it', () =>
  withFile(async (path) => {
    const world = createTestWorld({ sleepAdvances: true })
    const before = new Kysely<Database>({ dialect: sqliteDialect(openSqliteFile(path, { readOnly: false })) })
    await before.transaction().execute(async (tx) => {
      await sql`create table migrations (name text primary key, applied_at bigint not null)`.execute(tx)
      await first.up(tx, SQLITE)
      await sql`insert into migrations values ('0001-first', 1)`.execute(tx)
      await sql`insert into coverage (pipeline, source, partition, earlier_ranges_json, range_start, range_end, records_in,
        records_dead, records_filtered, log_end, caught_up_at, updated_at)
        values ('p', 'kafka:old:id', 0, '[]', 3, 9, 6, 0, 0, 9, 1, 1)`.execute(tx)
    })
    await before.destroy()

    const catalog = await openCatalog({ url: `sqlite:${path}`, world })
    expect(await catalog.coverage('p')).toMatchObject([
      { source: 'kafka:old:id', ranges: [{ start: 3n, end: 9n }], recordedEnd: undefined },
    ])
    const table = await catalog.createTable(newTableOf('flights'))
    const compactor = await catalog.registerWriter('compactor')
    const lease = await catalog.acquireLease(table.tableId, compactor, 1000)
    const metadataLocation = 'file:///lake/m1.json'
    await catalog.commitSnapshot({
      commitId: 's1',
      writer: compactor,
      lease: lease as Lease,
      tableId: table.tableId,
      expectedMetadataLocation: undefined,
      metadataLocation,
      metadataChecksum: '0badf00d',
      consumedSegmentIds: [],
      removedPaths: [],
      rowsAdded: 0,
      snapshotRows: 0,
    })
    expect(await catalog.findTable('flights')).toMatchObject({ metadataLocation, metadataChecksum: '0badf00d' })

    // What the release before writes, which knows none of the new columns.
    const file = new DatabaseSync(path)
    file.exec(`UPDATE tables SET metadata_location = 'file:///lake/m2.json', version = version + 1`)
    file.exec(`INSERT INTO idempotency_keys (table_id, "key", row_count, version, commit_id, created_at)
      VALUES (${table.tableId}, 'k', 4, 1, 'c', 1)`)
    expect(file.prepare('SELECT minimum_reader, minimum_writer FROM format').get()).toEqual({
      minimum_reader: 1,
      minimum_writer: 1,
    })
    file.close()
    expect((await catalog.findTable('flights'))?.metadataChecksum).toBeUndefined()
    expect(await catalog.findIdempotencyKey(table.tableId, 'k')).toEqual({ rows: 4, dead: 0, version: 1n })
    await catalog.close()
  }))

test('a write lock held elsewhere gives catalog-busy in bounded time, reads go on, and the next try works', () =>
  withFile(async (path) => {
    const world = createTestWorld({ sleepAdvances: true })
    const catalog = await openCatalog({ url: `sqlite:${path}`, world, busyMs: 500 })
    const holder = new DatabaseSync(path)
    holder.exec('BEGIN IMMEDIATE')
    await expect(catalog.registerWriter('ingest')).rejects.toMatchObject({ code: 'catalog-busy' })
    expect(await catalog.listTables()).toEqual([])
    holder.exec('ROLLBACK')
    holder.close()
    expect(await catalog.registerWriter('ingest')).toMatchObject({ epoch: 1 })
    await catalog.close()
  }))

test('urls that name no file are refused, without the password of what was meant', async () => {
  const error = await openCatalog({ url: 'mysql://u:secret@h/d', world: createTestWorld() }).catch(String)
  expect(error).toMatch(/mysql:\/\/u:\*+@h\/d.*expected sqlite:\S+ or postgres:/)
  for (const url of ['sqlite:', 'postgres://x', '/tmp/x', 'sqlite://host/x']) {
    await expect(openCatalog({ url, world: createTestWorld() })).rejects.toMatchObject({ code: 'settings-invalid' })
  }
})
