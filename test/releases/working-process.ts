/**
 * A process of one release at work on a catalog that others use too:
 *
 *   node working-process.ts <before | this> <catalog url> <name> <steps> <seed>
 *
 * In each step it does one of what ingest, compactor, sweep and query do: ticks on a source of its own and on one that all
 * share (stale answers come from there), repeated commit ids, idempotency keys that others use too, schemas, leases and
 * snapshot commits, a reader's row, forgetting dead files; merges of live segments, which the release before cannot make.
 * What was committed is reported to the parent.
 *
 * Every answer that the protocol does not allow at that place is an error, and ends it with status 1.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Catalog, FlushTick, Table } from '../../lake/catalog/catalog.ts'
import { mergedSources } from '../../lake/catalog/segment-merge.ts'
import { segmentOf } from '../../lake/catalog/test-values.ts'
import { seededRandom } from '../../runtime/test-world.ts'
import type { SourceKey } from '../../schemas/coverage.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { loadRelease, type ReleaseName } from './releases.ts'
import type { Report } from './reports.ts'

const [releaseName, url, name, steps, seed] = process.argv.slice(2)
const LEASE_MS = 200
const TABLES = ['flights', 'planes']
const SHARED: SourceKey = { pipeline: 'p', source: 'kafka:flights:topic-id', partition: 0 }
const OWN: SourceKey = { pipeline: 'p', source: `http:${name}`, partition: 0 }

const release = await loadRelease(releaseName as ReleaseName)
const world = release.createSystemWorld({ log: release.createLog({ level: 'error' }) })
const random = seededRandom(Number(seed))
const catalog: Catalog = await release.openCatalog({ url, world, busyMs: 60_000 })
const below = (count: number) => Math.floor(random.float() * count)
const counts: Record<string, number> = {}
const ends = new Map<SourceKey, bigint>()

function count(what: string): void {
  counts[what] = (counts[what] ?? 0) + 1
}
function report(what: Report): void {
  process.send?.(what)
}
function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
function expectThat(isSo: boolean, what: string): asserts isSo {
  if (!isSo) throw new Error(`${name} (${releaseName}): ${what}`)
}

async function tableOf(table: string): Promise<Table> {
  const found = await catalog.findTable(table)
  expectThat(found !== undefined, `there is no table ${table}`)
  return found
}

let writer = await catalog.registerWriter('ingest')
let compactor = await catalog.registerWriter('compactor')

async function tick(key: SourceKey): Promise<void> {
  const tables = await Promise.all((below(3) === 0 ? TABLES : [TABLES[below(2)]]).map(tableOf))
  const start = ends.get(key) ?? 0n
  const end = start + BigInt(1 + below(20))
  const records = Number(end - start)
  const dead = below(2)
  const filtered = records - dead > 0 ? below(2) : 0
  const commitId = world.random.uuid()
  const segments = tables.map((table) => {
    const segment = segmentOf(table, `${commitId}.parquet`, [{ ...key, range: { start, end } }])
    return { ...segment, schemaId: below(table.schemas.length) }
  })
  const usesKey = below(4) === 0
  const idempotencyKey = usesKey ? `k${below(40)}` : undefined
  const request: FlushTick = {
    commitId,
    writer,
    segments,
    advances: [
      {
        ...key,
        range: { start, end },
        recordsIn: records,
        recordsDead: dead,
        recordsFiltered: filtered,
        logEnd: end,
        caughtUp: true,
      },
    ],
    idempotencyKeys:
      idempotencyKey === undefined ? [] : [{ tableId: tables[0].tableId, key: idempotencyKey, rows: records }],
  }
  const result = await catalog.commitTick(request)
  count(`tick ${result.outcome}`)
  if (result.outcome === 'stale') {
    expectThat(key === SHARED, 'its own source was moved by somebody else')
    const [{ coverage }] = result.stale
    ends.set(key, coverage?.ranges.at(-1)?.end ?? 0n)
    return
  }
  if (result.outcome === 'duplicate-keys') {
    expectThat(result.keys[0].key === idempotencyKey && result.keys[0].rows > 0, 'the answer names another key')
    return
  }
  expectThat(result.outcome === 'committed', `a first attempt was answered ${result.outcome}`)
  ends.set(key, end)
  report({
    kind: 'tick',
    commitId,
    source: key.source,
    start: Number(start),
    end: Number(end),
    dead,
    filtered,
    segments: segments.map(({ tableId, path, rowCount }) => ({
      table: tables.find((table) => table.tableId === tableId)!.name,
      path,
      rows: rowCount,
    })),
    key: idempotencyKey,
  })
  if (below(5) > 0) return
  // An unknown outcome: the same commit id once more.
  const again = await catalog.commitTick(request)
  expectThat(again.outcome === 'already-committed', `a repeated commit id was answered ${again.outcome}`)
  expectThat(
    isDeepStrictEqual(again.versions, result.versions) && again.committedAt === result.committedAt,
    'a repeated commit id got another answer',
  )
  count('tick repeated')
}

async function snapshot(): Promise<void> {
  const tableName = TABLES[below(2)]
  const { tableId } = await tableOf(tableName)
  const lease = await catalog.acquireLease(tableId, compactor, LEASE_MS)
  if (!lease) {
    count('lease taken')
    return
  }
  const [version] = await catalog.readTables([tableName])
  const taken = version.segments.slice(0, below(version.segments.length + 1))
  const commitId = world.random.uuid()
  const metadataLocation = `${version.table.location}/metadata/${commitId}.json`
  const expected = version.metadataLocation
  const rows = taken.reduce((sum, { rowCount }) => sum + rowCount, 0)
  const commit = {
    commitId,
    writer: compactor,
    lease,
    tableId,
    expectedMetadataLocation: expected,
    metadataLocation,
    consumedSegmentIds: taken.map(({ segmentId }) => segmentId),
    removedPaths: expected === undefined ? [] : [expected],
    rowsAdded: rows,
    snapshotRows: rows,
  }
  if (below(8) === 0) await world.clock.sleep(LEASE_MS * 2)
  try {
    const result = await catalog.commitSnapshot(commit)
    count(`snapshot ${result.outcome}`)
    if (result.outcome !== 'committed') return
    report({
      kind: 'snapshot',
      table: tableName,
      metadataLocation,
      consumed: taken.map(({ path }) => path),
      removed: commit.removedPaths,
      rows,
    })
    const again = await catalog.commitSnapshot(commit)
    expectThat(
      again.outcome === 'already-committed' && again.version === result.version,
      'a repeated snapshot commit got another answer',
    )
    if (below(2) === 0) await catalog.releaseLease(lease)
  } catch (error) {
    if (codeOf(error) !== 'lease-lost') throw error
    count('lease lost')
  }
}

/** The newest live segments that have one schema become one. */
async function merge(): Promise<void> {
  if (releaseName === 'before') return
  const [{ table, segments }] = await catalog.readTables([TABLES[below(2)]])
  const newest = segments.slice(-2 - below(4))
  const schemaId = newest.at(-1)?.schemaId
  const inputs = newest.slice(newest.findLastIndex((segment) => segment.schemaId !== schemaId) + 1)
  if (inputs.length < 2) return
  const commitId = world.random.uuid()
  const sources = mergedSources(inputs.map((segment) => segment.sources))
  const segment = {
    ...inputs[0],
    path: `${table.location}/segments/${commitId}.parquet`,
    rowCount: inputs.reduce((sum, { rowCount }) => sum + rowCount, 0),
    sources,
  }
  const inputSegmentIds = inputs.map(({ segmentId }) => segmentId)
  const request = { commitId, writer, tableId: table.tableId, inputSegmentIds, segment }
  const result = await catalog.mergeSegments(request)
  count(`merge ${result.outcome}`)
  if (result.outcome !== 'committed') return
  const { path, rowCount: rows } = segment
  report({ kind: 'merge', table: table.name, inputs: inputs.map((each) => each.path), path, rows })
  const again = await catalog.mergeSegments(request)
  expectThat(
    again.outcome === 'already-committed' && again.version === result.version,
    'a repeated merge got another answer',
  )
}

async function addSchema(): Promise<void> {
  const table = await tableOf(TABLES[below(2)])
  if (table.schemas.length >= 12) return
  const current = table.schemas.at(-1)!.columns.filter(({ fieldId }) => fieldId >= 16)
  const fieldId = table.lastFieldId + 1
  const column: Column = { fieldId, name: `c${fieldId}`, type: { kind: 'string' }, required: false }
  const added = await catalog.addSchema(table.tableId, table.schemas.length, [...current, column])
  count(added ? 'schema added' : 'schema lost')
  if (added) report({ kind: 'schema', table: table.name, schemaId: added.schemaId })
}

/** Holds a version, and looks that nothing of it is called dead. */
async function read(): Promise<void> {
  const [version] = await catalog.readTables([TABLES[below(2)]])
  await catalog.setReader(name, new Map([[version.table.tableId, version.version]]))
  const live = new Set([...version.segments.map(({ path }) => path), version.metadataLocation])
  for (const dead of await catalog.deadFiles(0, 1000)) {
    const isOurs = dead.tableId === version.table.tableId
    expectThat(!isOurs || dead.removedVersion <= version.version, `${dead.path} is called dead under a reader`)
    expectThat(!live.has(dead.path), `${dead.path} is live and called dead`)
  }
  count('read')
  if (below(2) === 0) await catalog.dropReader(name)
}

async function sweep(): Promise<void> {
  const dead = await catalog.deadFiles(0, 5)
  await catalog.forgetFiles(dead.map(({ tombstoneId }) => tombstoneId))
  report({ kind: 'forgotten', paths: dead.map(({ path }) => path) })
  count('swept')
}

/** A process that ended well and came back: the old ids may not commit, the new ones may. */
async function restart(): Promise<void> {
  const old = writer
  await catalog.retireWriter(writer)
  await catalog.retireWriter(compactor)
  const refused = await catalog.heartbeat(old, LEASE_MS).then(() => undefined, codeOf)
  expectThat(refused === 'writer-fenced', `a writer that said goodbye was answered ${String(refused)}`)
  writer = await catalog.registerWriter('ingest')
  compactor = await catalog.registerWriter('compactor')
  count('restarted')
}

for (let step = 0; step < Number(steps); step += 1) {
  const choice = below(100)
  if (choice < 35) await tick(SHARED)
  else if (choice < 60) await tick(OWN)
  else if (choice < 78) await snapshot()
  else if (choice < 83) await merge()
  else if (choice < 85) await addSchema()
  else if (choice < 90) await read()
  else if (choice < 95) await sweep()
  else if (choice < 98) await catalog.heartbeat(writer, LEASE_MS)
  else await restart()
}
await catalog.dropReader(name)
await catalog.retireWriter(writer)
await catalog.retireWriter(compactor)
report({ kind: 'seen', counts })
await catalog.close()
process.disconnect?.()
