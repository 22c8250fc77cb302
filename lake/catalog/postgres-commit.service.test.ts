/**
 * COMMITs whose outcome nobody heard: the connection is cut before the server got the question, or before the client got the
 * answer, or while the transaction still stands with all its locks. Each time the caller gets the one right answer, and what it
 * asked for is there once (G-1, G-2). What is not decided inside is asked again with the same commit id.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type PostgresServer, startPostgres } from '../../test/harness/postgres.ts'
import { type CommitFate, type PostgresProxy, startPostgresProxy } from '../../test/harness/postgres-proxy.ts'
import type { Catalog, Lease } from './catalog.ts'
import { openCatalog } from './open-catalog.ts'
import { newTableOf, sourceKey, tickOf } from './test-values.ts'

let server: PostgresServer
let proxy: PostgresProxy
let direct: Catalog
let catalog: Catalog

beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server?.stop())
beforeEach(async () => {
  const url = await server.createDatabase()
  const world = createSystemWorld({ log: createTestWorld().log })
  proxy = await startPostgresProxy(server.port)
  direct = await openCatalog({ url, world })
  catalog = await openCatalog({ url: proxy.url(url), world })
})
afterEach(async () => {
  await catalog.close()
  await direct.close()
  await proxy.close()
})

const key = sourceKey(0)

async function started() {
  const table = await direct.createTable(newTableOf('flights'))
  const writer = await direct.registerWriter('ingest')
  const compactor = await direct.registerWriter('compactor')
  const lease = (await direct.acquireLease(table.tableId, compactor, 60_000)) as Lease
  return { table, writer, compactor, lease }
}
const live = async () => (await direct.readTables(['flights']))[0]

type Started = Awaited<ReturnType<typeof started>>

/** Each does one write by way of the proxy, and looks directly at what came of it. */
const WRITES: Record<string, (state: Started) => Promise<void>> = {
  async 'a flush tick'({ table, writer }) {
    const tick = tickOf(table, writer, 'c', key, 0n, 5n)
    const result = await catalog.commitTick(tick)
    expect(['committed', 'already-committed']).toContain(result.outcome)
    expect(result).toMatchObject({ versions: new Map([[table.tableId, 1n]]) })
    expect(await live()).toMatchObject({ version: 1n, coverage: [{ ranges: [{ start: 0n, end: 5n }], recordsIn: 5n }] })
    expect((await live()).segments).toHaveLength(1)
  },
  async 'a snapshot commit'({ table, compactor, lease }) {
    const result = await catalog.commitSnapshot({
      commitId: 's',
      writer: compactor,
      lease,
      tableId: table.tableId,
      expectedMetadataLocation: undefined,
      metadataLocation: 'file:///lake/m.json',
      consumedSegmentIds: [],
      removedPaths: [],
      rowsAdded: 0,
      snapshotRows: 0,
    })
    expect(['committed', 'already-committed']).toContain(result.outcome)
    expect(result).toMatchObject({ version: 1n })
    expect(await live()).toMatchObject({ version: 1n, metadataLocation: 'file:///lake/m.json' })
  },
  async 'a new table'() {
    const made = await catalog.createTable({ ...newTableOf('planes'), location: 'file:///lake/planes-7' })
    expect(await direct.findTable('planes')).toEqual(made)
    expect(await direct.listTables()).toHaveLength(2)
  },
  async 'a new writer'() {
    const writer = await catalog.registerWriter('ingest')
    expect(writer.epoch).toBe(3)
    expect(await direct.writerState(writer.writerId)).toBe('live')
  },
  async 'a lease'({ table }) {
    const other = await direct.createTable({ ...newTableOf('planes'), location: 'file:///lake/planes-7' })
    const rival = await direct.registerWriter('compactor')
    expect(await catalog.acquireLease(other.tableId, rival, 60_000)).toMatchObject({ epoch: 1, holder: rival.writerId })
    expect(await catalog.acquireLease(table.tableId, rival, 60_000)).toBeUndefined()
  },
  async 'the beginning of a source'() {
    expect(await catalog.beginCoverage(key, 42n)).toMatchObject({ ranges: [{ start: 42n, end: 42n }] })
    expect(await direct.coverage('p')).toHaveLength(1)
  },
  async 'a reader'({ table }) {
    await catalog.setReader('r', new Map([[table.tableId, 0n]]))
    await catalog.dropReader('r')
  },
}

for (const fate of ['lose-answer', 'lose-request', 'hold'] satisfies CommitFate[]) {
  describe(`COMMIT: ${fate}`, () => {
    for (const [name, write] of Object.entries(WRITES)) {
      test(`${name} is there once, and its caller knows`, async () => {
        const state = await started()
        proxy.nextCommit(fate)
        const writing = write(state)
        await proxy.met()
        // The transaction stands; whoever tries again waits for it, until it has ended.
        if (fate === 'hold') await proxy.release()
        await writing
      })
    }
  })
}

test('an attempt in flight is waited for before its retry is called stale', async () => {
  const { table, writer } = await started()
  const tick = tickOf(table, writer, 'c', key, 0n, 5n)
  proxy.nextCommit('hold')
  const first = catalog.commitTick(tick)
  await proxy.met()
  // Another process of the same writer's owner asks under the same id, on a connection that works.
  const retry = direct.commitTick(tick)
  let isAnswered = false
  void retry.finally(() => {
    isAnswered = true
  })
  await direct.listTables()
  expect(isAnswered).toBe(false)
  await proxy.release()
  expect(await retry).toMatchObject({ outcome: 'already-committed', versions: new Map([[table.tableId, 1n]]) })
  expect(await first).toMatchObject({ outcome: 'already-committed' })
})

test('a snapshot attempt in flight is waited for before its retry is called a conflict (G-3)', async () => {
  const { table, writer, compactor, lease } = await started()
  await direct.commitTick(tickOf(table, writer, 'c', key, 0n, 5n))
  const [{ segmentId }] = (await live()).segments
  const commit = {
    commitId: 's',
    writer: compactor,
    lease,
    tableId: table.tableId,
    expectedMetadataLocation: undefined,
    metadataLocation: 'file:///lake/m.json',
    consumedSegmentIds: [segmentId],
    removedPaths: [],
    rowsAdded: 5,
    snapshotRows: 5,
  }
  proxy.nextCommit('hold')
  const first = catalog.commitSnapshot(commit)
  await proxy.met()
  const retry = direct.commitSnapshot(commit)
  // It holds the table, so an ingest waits for it too, and nobody is refused.
  const tick = direct.commitTick(tickOf(table, writer, 'c2', key, 5n, 6n))
  await proxy.release()
  expect(await retry).toEqual({ outcome: 'already-committed', version: 2n })
  expect(await first).toEqual({ outcome: 'already-committed', version: 2n })
  expect(await tick).toMatchObject({ outcome: 'committed', versions: new Map([[table.tableId, 3n]]) })
})

test('a writer whose COMMIT is under way is not fenced before that has ended; then it commits no more (G-2)', async () => {
  const { table, writer, compactor } = await started()
  const tick = tickOf(table, writer, 'c', key, 0n, 5n)
  proxy.nextCommit('hold')
  const ticking = catalog.commitTick(tick)
  await proxy.met()
  expect(await direct.fenceSilentWriters(0)).toEqual([compactor.writerId])
  expect(await direct.writerState(writer.writerId)).toBe('live')
  await proxy.release()
  expect(await ticking).toMatchObject({ outcome: 'already-committed' })
  expect(await direct.fenceSilentWriters(0)).toContain(writer.writerId)
  await expect(catalog.commitTick(tickOf(table, writer, 'd', key, 5n, 6n))).rejects.toMatchObject({
    code: 'writer-fenced',
  })
  // What landed before is still known.
  expect(await catalog.commitTick(tick)).toMatchObject({ outcome: 'already-committed' })
})
