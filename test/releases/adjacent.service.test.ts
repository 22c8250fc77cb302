// Two adjacent releases over one SQLite catalog: the older one's file is taken over with nothing lost, processes of both work
// on it at the same time, and a catalog that asks for more than a release speaks is refused by name and left as it is.
// PostgreSQL came with this release: no catalog of the release before can lie there, so there is nothing to test.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Catalog, LAKE_FORMAT } from '../../lake/catalog/catalog.ts'
import { newTableOf, sourceKey, tickOf } from '../../lake/catalog/test-values.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { expectedState, foundState } from './model.ts'
import { loadRelease, type ReleaseName } from './releases.ts'
import type { Report } from './reports.ts'
import { openCatalogOf, startWorking, type Working } from './working.ts'

const TABLES = ['flights', 'planes']
const SCHEMAS_AT_FIRST = 1

let folder: string
let file: string
let url: string
let working: Working[]
let opened: Catalog[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-releases-'))
  file = join(folder, 'catalog.db')
  url = `sqlite:${file}`
  working = []
  opened = []
})
afterEach(async () => {
  for (const each of working) each.kill()
  for (const each of opened) await each.close()
  await rm(folder, { recursive: true, force: true })
})

async function open(release: ReleaseName): Promise<Catalog> {
  const catalog = await openCatalogOf(release, url)
  opened.push(catalog)
  return catalog
}

async function makeTables(release: ReleaseName): Promise<void> {
  const catalog = await open(release)
  for (const name of TABLES) await catalog.createTable({ ...newTableOf(name), location: `file:///lake/${name}-1` })
}

function start(release: ReleaseName, name: string, steps: number, seed: number): Working {
  const started = startWorking({ release, url, name, steps, seed })
  working.push(started)
  return started
}

/** A seed of its own each time; a failing test says which. */
const SEED = Number(process.env.MILLRACE_TEST_SEED ?? Math.floor(Math.random() * 1e9))
const replay = `MILLRACE_TEST_SEED=${SEED} npx vitest run --project services test/releases`

async function checkEqual(reports: readonly Report[]): Promise<void> {
  for (const release of ['this', 'before'] as const) {
    const catalog = await openCatalogOf(release, url)
    try {
      expect(await foundState(catalog, TABLES), `${release}; ${replay}`).toEqual(
        expectedState(TABLES, SCHEMAS_AT_FIRST, reports),
      )
    } finally {
      await catalog.close()
    }
  }
}

/** Every row of every table, by table. */
function contents(): Record<string, Record<string, unknown>[]> {
  const database = new DatabaseSync(file)
  try {
    const names = database
      .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
      .all()
    return Object.fromEntries(
      names.map(({ name }) => {
        const statement = database.prepare(`SELECT * FROM "${String(name)}" ORDER BY rowid`)
        statement.setReadBigInts(true)
        return [String(name), statement.all() as Record<string, unknown>[]]
      }),
    )
  } finally {
    database.close()
  }
}

test('a catalog of the release before is taken over: every value is there, and both releases go on with it', async () => {
  await makeTables('before')
  const reports = await start('before', 'a', 250, SEED).reports
  const before = contents()
  await (await openCatalogOf('this', url)).close()
  const after = contents()
  for (const [table, rows] of Object.entries(before)) {
    if (table === 'migrations' || table === 'clock') continue
    expect(after[table]?.length, table).toBe(rows.length)
    // What a migration adds stands beside what was there.
    rows.forEach((row, index) => void expect(after[table][index], table).toMatchObject(row))
  }
  expect(after.format).toEqual(before.format)
  expect(after.migrations.slice(0, before.migrations.length)).toEqual(before.migrations)
  await checkEqual(reports)
  const more = await Promise.all([
    start('this', 'b', 100, SEED + 1).reports,
    start('before', 'c', 100, SEED + 2).reports,
  ])
  await checkEqual([...reports, ...more.flat()])
})

test('as long as a compactor of the release before is alive, snapshots are such that it understands them', async () => {
  await makeTables('before')
  const [before, now] = [await open('before'), await open('this')]
  const [{ tableId }] = await now.listTables()
  const writer = await now.registerWriter('compactor')
  const formatNow = async () => {
    const lease = await now.acquireLease(tableId, writer, 60_000)
    return lease?.lakeFormat
  }
  expect(await formatNow()).toBe(LAKE_FORMAT)
  const ingest = await before.registerWriter('ingest')
  expect(await formatNow()).toBe(LAKE_FORMAT)
  const older = await before.registerWriter('compactor')
  expect(await formatNow()).toBe(1)
  await before.retireWriter(ingest)
  expect(await formatNow()).toBe(1)
  await before.retireWriter(older)
  expect(await formatNow()).toBe(LAKE_FORMAT)
})

test('processes of both releases work on one catalog at once, from before the migration on', {
  timeout: 120_000,
}, async () => {
  await makeTables('before')
  const older = [start('before', 'a', 300, SEED), start('before', 'b', 300, SEED + 1)]
  // The older ones are at work, with prepared statements, when the newer ones bring the catalog to their format.
  await Promise.all(older.map(({ firstReport }) => firstReport))
  const newer = [start('this', 'c', 300, SEED + 2), start('this', 'd', 300, SEED + 3)]
  const reports = (await Promise.all([...older, ...newer].map((each) => each.reports))).flat()
  await checkEqual(reports)
  // Both met the other: without these answers the test would show little.
  const seen = (release: 'older' | 'newer', what: string) =>
    (release === 'older' ? older : newer).reduce((sum, each) => sum + (each.counts()[what] ?? 0), 0)
  for (const release of ['older', 'newer'] as const) {
    for (const what of [
      'tick committed',
      'tick stale',
      'tick repeated',
      'snapshot committed',
      'tick duplicate-keys',
      'swept',
      'read',
    ]) {
      expect(seen(release, what), `${release}: ${what}; ${replay}`).toBeGreaterThan(0)
    }
  }
  expect(seen('newer', 'merge committed'), replay).toBeGreaterThan(0)
})

for (const [fencer, fenced] of [
  ['this', 'before'],
  ['before', 'this'],
] as const) {
  test(`a writer and lease holder of ${fenced} that was fenced by ${fencer} commits nothing`, async () => {
    await makeTables('before')
    const theirs = await open(fenced)
    const ours = await open(fencer)
    const table = (await theirs.findTable('flights'))!
    const writer = await theirs.registerWriter('ingest')
    const compactor = await theirs.registerWriter('compactor')
    const lease = (await theirs.acquireLease(table.tableId, compactor, 60_000))!
    const key = sourceKey(0)
    await theirs.commitTick(tickOf(table, writer, 'c1', key, 0n, 3n))
    const [{ segments }] = await ours.readTables(['flights'])
    expect(segments.map(({ rowCount }) => rowCount)).toEqual([3])
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(await ours.fenceSilentWriters(0)).toEqual([writer.writerId, compactor.writerId])
    const code = (work: Promise<unknown>) => work.then(String, (error: { code?: string }) => error.code)
    expect(await code(theirs.commitTick(tickOf(table, writer, 'c2', key, 3n, 4n)))).toBe('writer-fenced')
    const rival = await ours.registerWriter('compactor')
    expect(await ours.acquireLease(table.tableId, rival, 60_000)).toMatchObject({ epoch: lease.epoch + 1 })
    const snapshot = {
      commitId: 's1',
      writer: compactor,
      lease,
      tableId: table.tableId,
      expectedMetadataLocation: undefined,
      metadataLocation: 'file:///lake/m.json',
      consumedSegmentIds: segments.map(({ segmentId }) => segmentId),
      removedPaths: [],
      rowsAdded: 3,
      snapshotRows: 3,
    }
    expect(await code(theirs.commitSnapshot(snapshot))).toBe('writer-fenced')
    // Alive again under a new name, but the lease is the other one's.
    const renewed = await theirs.registerWriter('compactor')
    expect(await theirs.acquireLease(table.tableId, renewed, 60_000)).toBeUndefined()
    const stolen = { ...lease, holder: renewed.writerId }
    expect(await code(theirs.commitSnapshot({ ...snapshot, writer: renewed, lease: stolen }))).toBe('lease-lost')
    // A retry of what landed is told so by the other release too.
    expect(await ours.commitTick(tickOf(table, writer, 'c1', key, 0n, 3n))).toMatchObject({
      outcome: 'already-committed',
    })
    expect((await ours.readTables(['flights']))[0]).toMatchObject({ version: 1n })
  })
}

test.each(['before', 'this'] as const)(
  '%s refuses a catalog of a later format by name and changes nothing',
  async (release) => {
    await makeTables(release)
    await start(release, 'a', 60, SEED).reports
    for (const each of opened.splice(0)) await each.close()
    for (const column of ['minimum_reader', 'minimum_writer']) {
      const database = new DatabaseSync(file)
      database.exec(`UPDATE format SET minimum_reader = 1, minimum_writer = 1; UPDATE format SET ${column} = 99`)
      database.close()
      const before = contents()
      const { openCatalog } = await loadRelease(release)
      const refused = await openCatalog({ url, world: createTestWorld() }).then(
        () => undefined,
        (error: unknown) => error,
      )
      expect(refused).toMatchObject({ code: 'format-too-new', message: expect.stringContaining('99') })
      expect(contents()).toEqual(before)
      const code = await start(release, 'b', 1, SEED).ended
      expect(code).toBe(1)
      expect(contents()).toEqual(before)
    }
  },
)
