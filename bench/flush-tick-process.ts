/**
 * One process of the flush tick's figures: `node bench/flush-tick-process.ts '<json>'`.
 *
 *   writer      an ingest process at catalog level: every `intervalMs` a tick with a segment for every table
 *   compactor   takes all live segments of one table after the other over into a snapshot, `perSecond` of them
 *
 * It says `ready`, begins when told to, and ends by itself with its counts. Ticks are due at fixed times; one that begins
 * late because the one before took too long is counted, and none is left out.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Catalog, Lease, Table, Writer } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { createSystemWorld } from '../runtime/system-world.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import type { World } from '../runtime/world.ts'
import { isMillraceError } from '../schemas/errors.ts'
import { nextTick, positionsOf, tableName } from './flush-tick-load.ts'

export type TickProcessOptions = {
  readonly url: string
  readonly tables: number
  readonly seconds: number
} & (
  | { readonly role: 'writer'; readonly index: number; readonly intervalMs: number; readonly firstMs: number }
  | { readonly role: 'compactor'; readonly perSecond: number }
)

export type TickProcessReport = {
  readonly kind: 'done'
  /** Ticks or snapshot commits that landed. */
  readonly commits: number
  /** Rows that snapshots took over. */
  readonly rows: number
  readonly latencies: readonly number[]
  /** Ticks that began more than `LATE_MS` after they were due. */
  readonly late: number
  /** Waits for a lock that another process held, and calls given up for it. */
  readonly busyPauses: number
  readonly busyErrors: number
  /** Snapshot commits planned again. */
  readonly conflicts: number
}

const LATE_MS = 100
const LEASE_MS = 30_000

let busyPauses = 0
let busyErrors = 0

function countingWorld(): World {
  const world = createSystemWorld({ log: createTestWorld().log })
  const { clock } = world
  return {
    ...world,
    clock: {
      nowMicros: () => clock.nowMicros(),
      monotonicMs: () => clock.monotonicMs(),
      sleep(ms, signal) {
        busyPauses += 1
        return clock.sleep(ms, signal)
      },
    },
  }
}

/** Asked again until the outcome is known, as the flusher does. */
async function untilAvailable<T>(attempt: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (!isMillraceError(error) || error.kind !== 'unavailable') throw error
      busyErrors += 1
      await sleep(50)
    }
  }
}

async function write(catalog: Catalog, world: World, tables: readonly Table[], options: TickProcessOptions) {
  if (options.role !== 'writer') throw new Error('a writer is expected')
  const writer = await catalog.registerWriter('ingest')
  const feeds = tables.map((table, index) => ({ table, positions: positionsOf(index, options.index, 1) }))
  await begin()
  const started = performance.now() + options.firstMs
  const ticks = Math.floor((options.seconds * 1000) / options.intervalMs)
  const latencies: number[] = []
  let late = 0
  for (let sequence = 0; sequence < ticks; sequence += 1) {
    const due = started + sequence * options.intervalMs
    const wait = due - performance.now()
    if (wait > 0) await sleep(wait)
    else if (wait < -LATE_MS) late += 1
    const { tick, advance } = nextTick(world, writer, sequence, feeds)
    const before = performance.now()
    const result = await untilAvailable(() => catalog.commitTick(tick))
    latencies.push(performance.now() - before)
    if (result.outcome !== 'committed' && result.outcome !== 'already-committed') {
      throw new Error(`a tick was answered ${result.outcome}`)
    }
    advance()
  }
  return { commits: ticks, rows: 0, latencies, late, conflicts: 0 }
}

async function compact(catalog: Catalog, world: World, tables: readonly Table[], options: TickProcessOptions) {
  if (options.role !== 'compactor') throw new Error('a compactor is expected')
  const writer = await catalog.registerWriter('compactor')
  await begin()
  const started = performance.now()
  const latencies: number[] = []
  let commits = 0
  let rows = 0
  let conflicts = 0
  for (let turn = 0; performance.now() - started < options.seconds * 1000; turn += 1) {
    const wait = started + (turn * 1000) / options.perSecond - performance.now()
    if (wait > 0) await sleep(wait)
    const before = performance.now()
    const taken = await snapshot(catalog, world, writer, tables[turn % tables.length].name)
    latencies.push(performance.now() - before)
    if (taken === 'conflict') conflicts += 1
    else if (taken > 0) {
      commits += 1
      rows += taken
    }
  }
  return { commits, rows, latencies, late: 0, conflicts }
}

/** All live segments of the table enter a snapshot; no file is written. Rows taken over, 0 when there are none. */
export async function snapshot(
  catalog: Catalog,
  world: World,
  writer: Writer,
  name: string,
): Promise<number | 'conflict'> {
  const [version] = await untilAvailable(() => catalog.readTables([name]))
  if (version.segments.length === 0) return 0
  const { tableId } = version.table
  const lease = (await untilAvailable(() => catalog.acquireLease(tableId, writer, LEASE_MS))) as Lease
  const rows = version.segments.reduce((sum, { rowCount }) => sum + rowCount, 0)
  const commitId = world.random.uuid()
  const result = await untilAvailable(() =>
    catalog.commitSnapshot({
      commitId,
      writer,
      lease,
      tableId,
      expectedMetadataLocation: version.metadataLocation,
      metadataLocation: `${version.table.location}/metadata/${commitId}.json`,
      consumedSegmentIds: version.segments.map(({ segmentId }) => segmentId),
      removedPaths: version.metadataLocation === undefined ? [] : [version.metadataLocation],
      rowsAdded: rows,
      snapshotRows: rows,
    }),
  )
  return result.outcome === 'conflict' ? 'conflict' : rows
}

function begin(): Promise<void> {
  process.send?.('ready')
  return new Promise((resolve) => process.once('message', () => resolve()))
}

if (process.argv[1] === import.meta.filename) {
  process.on('disconnect', () => process.exit(1))
  const options = JSON.parse(process.argv[2]) as TickProcessOptions
  const world = countingWorld()
  const catalog = await openCatalog({ url: options.url, world })
  const tables: Table[] = []
  for (let index = 0; index < options.tables; index += 1) {
    const table = await catalog.findTable(tableName(index))
    if (!table) throw new Error(`there is no table ${tableName(index)}`)
    tables.push(table)
  }
  const counts = await (options.role === 'writer' ? write : compact)(catalog, world, tables, options)
  const report: TickProcessReport = { kind: 'done', ...counts, busyPauses, busyErrors }
  await catalog.close()
  process.send?.(report, () => process.exit(0))
}
