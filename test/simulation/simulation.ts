/**
 * One run: a lake, its processes and their world for a while with faults, then without, and the promises checked all along
 * and at the end.
 *
 *   active    faults strike at their rates
 *   settling  no more faults: everything starts again; all that was produced must get in, within bounded simulated time
 *   final     everything stops; after a sweep that fences every writer the bucket holds what the lake refers to, and nothing
 *             else; every row is there once
 */
import { reachablePaths } from '../../lake/iceberg/read.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { bootCompactor, createLakeSweep } from './compactor-process.ts'
import { createHappenings } from './happenings.ts'
import { createHttpClient } from './http-clients.ts'
import { bootIngest, type IngestDoors } from './ingest-process.ts'
import { createLake, type Lake, type PlantedBug } from './lake.ts'
import { bootQuery } from './query-process.ts'
import type { CatalogDatabase } from './simulated-catalog.ts'
import { type Log, logEnd, TOPIC } from './simulated-kafka.ts'
import { createProcess, type Supervisor, supervise } from './simulated-process.ts'
import { createUniverse, type Universe } from './universe.ts'

export type RunReport = {
  readonly seed: number
  readonly violations: readonly string[]
  readonly hash: string
  readonly steps: number
  readonly simulatedMs: number
  readonly tallies: ReadonlyMap<string, number>
}

export type RunOptions = {
  readonly seed: number
  readonly database: CatalogDatabase
  readonly bug?: PlantedBug
  readonly trace?: (line: string) => void
}

const SETTLE_MS = 90_000
/** Looking costs more than most steps. */
const WATCH_EVERY_STEPS = 5
const LOOK_EVERY_STEPS = 10
const STRAGGLERS_MS = 30_000
/** Beyond `ingest.memory.max`: what one block or request may bring. */
const BYTES_HELD_SLACK = 64_000

/** Rejections that nobody handled, of the run under way (see `noteUnhandled`). */
let universeUnderWay: Universe | undefined

/** A rejection that nobody handles ends a process in production; crash points throw some by design. */
export function noteUnhandled(error: unknown): void {
  if (error instanceof Error && error.name === 'CrashedHere') return
  universeUnderWay?.violation('unhandled', error instanceof Error ? (error.stack ?? error.message) : String(error))
}

export async function simulate(options: RunOptions): Promise<RunReport> {
  const universe = createUniverse(options.seed, options.trace)
  universeUnderWay = universe
  const lake = createLake(universe, options.database, options.bug)
  try {
    await runHistory(universe, lake)
  } catch (error) {
    universe.violation('simulation', error instanceof Error ? (error.stack ?? error.message) : String(error))
  }
  return {
    seed: options.seed,
    violations: universe.violations,
    hash: universe.scheduler.hash(),
    steps: universe.scheduler.steps(),
    simulatedMs: universe.scheduler.nowMs(),
    tallies: universe.tallies,
  }
}

async function runHistory(universe: Universe, lake: Lake): Promise<void> {
  const { scheduler, faults, shape } = universe
  const opened = new Map<string, IngestDoors>()
  const doors = () => [...opened.values()].filter(({ process }) => process.isAlive())
  const supervisors: Supervisor[] = []
  const add = (name: string, boot: Parameters<typeof supervise>[2]) => supervisors.push(supervise(universe, name, boot))
  for (let i = 1; i <= shape.ingests; i += 1) {
    add(`ingest-${i}`, (process) => bootIngest(lake, process, (each) => void opened.set(process.name, each)))
  }
  for (let i = 1; i <= shape.compactors; i += 1) add(`compactor-${i}`, (process) => bootCompactor(lake, process))
  for (let i = 1; i <= shape.queries; i += 1) add(`query-${i}`, (process) => bootQuery(lake, process))
  const clients = Array.from({ length: shape.httpClients }, (_, i) => createHttpClient(lake, i, doors))
  const happenings = createHappenings(lake, supervisors, doors)

  const isBroken = () => universe.violations.length > 0
  let watched = 0
  const watch = () => {
    if (++watched % WATCH_EVERY_STEPS === 0) checkBounds(lake, doors())
    return isBroken()
  }
  for (const supervisor of supervisors) supervisor.start()
  for (const client of clients) client.start()
  happenings.start()
  faults.start()
  await scheduler.runUntil(watch, shape.activeMs)
  if (isBroken()) return

  faults.stop()
  happenings.stop()
  for (const client of clients) client.stop()
  for (const supervisor of supervisors) supervisor.current()?.resume()
  const looks = () => {
    happenings.decide()
    scheduler.after(700, 'human', 'looks', '', looks)
  }
  looks()
  const isSettled = () => clients.every((client) => client.isIdle()) && unsettledLogs(lake).length === 0
  let looked = 0
  const looksSettled = () => ++looked % LOOK_EVERY_STEPS === 0 && isSettled()
  await scheduler.runUntil(() => watch() || looksSettled(), shape.activeMs + SETTLE_MS)
  if (isBroken()) return
  if (!isSettled()) {
    const waiting = clients.filter((client) => !client.isIdle()).length
    universe.violation('progress', `not settled: ${waiting} clients wait; ${unsettledLogs(lake).join('; ')}`)
    return
  }

  for (const supervisor of supervisors) {
    supervisor.retire()
    supervisor.current()?.crash('the run is over')
  }
  await scheduler.runUntil(isBroken, scheduler.nowMs() + STRAGGLERS_MS)
  if (isBroken()) return
  await checkEnd(lake)
}

function checkBounds({ universe, model }: Lake, doors: readonly IngestDoors[]): void {
  for (const { intake, process } of doors) {
    if (intake.bytesHeld > universe.shape.memoryMax + BYTES_HELD_SLACK) {
      universe.violation(
        'G-6',
        `${process.id} holds ${intake.bytesHeld} bytes, the most is ${universe.shape.memoryMax}`,
      )
    }
  }
  // Processes see each other's segments late: each may have one more on its way.
  for (const table of model.tables.values()) {
    if (table.liveSegments.size > universe.shape.segmentsLiveMax + universe.shape.ingests) {
      universe.violation('segments', `table ${table.tableId} has ${table.liveSegments.size} live segments`)
    }
  }
}

/** Coverage of the latest incarnation of each log, against its end. */
function unsettledLogs({ database, broker }: Lake): string[] {
  const { topicId, logs } = broker.topic()
  const statement = database.prepared('SELECT source, partition, range_end FROM coverage')
  const ends = new Map<number, { incarnation: number; end: number }>()
  const plain = `kafka:${TOPIC}:${topicId}`
  for (const row of statement.all() as { source: string; partition: bigint; range_end: bigint }[]) {
    const { source } = row
    const partition = Number(row.partition)
    if (source !== plain && !source.startsWith(`${plain}#`)) continue
    const incarnation = source === plain ? 1 : Number(source.slice(plain.length + 1))
    const known = ends.get(partition)
    if (!known || incarnation > known.incarnation) ends.set(partition, { incarnation, end: Number(row.range_end) })
  }
  const open = (log: Log) => {
    const known = ends.get(log.partition)
    if (known) return known.end !== logEnd(log)
    return log.records.length > 0
  }
  return logs
    .filter(open)
    .map(
      (log) =>
        `partition ${log.partition} [${log.logStart}, ${logEnd(log)}) covered to ${ends.get(log.partition)?.end}`,
    )
}

async function checkEnd(lake: Lake): Promise<void> {
  const { universe, model, bucket, database } = lake
  const { shape, scheduler } = universe
  for (const table of model.tables.values()) {
    const problem = model.difference(table, table.version, await model.rowsInFiles(table))
    if (problem) universe.violation('G-1', `table ${table.tableId} at the end: ${problem}`)
  }
  checkBalance(lake)
  if (universe.violations.length > 0) return

  // All writers and readers are dead: after their silence the sweep may take everything that nothing refers to.
  const sweeper = createProcess(universe, 'sweeper', 1, () => {})
  universe.jumpClock(shape.writerSilentMs + shape.readerSilentMs + shape.snapshotMinAgeMs + 60_000)
  let isOver = false
  createLakeSweep(lake, sweeper)().then(
    () => {
      isOver = true
    },
    (error: unknown) => universe.violation('garbage', `the last sweep failed: ${String(error)}`),
  )
  await scheduler.runUntil(() => isOver || universe.violations.length > 0, scheduler.nowMs() + 60_000)
  if (!isOver) universe.violation('progress', 'the last sweep does not end')
  const wanted = new Set<string>()
  const rows = database.file.prepare('SELECT path FROM segments').all() as { path: string }[]
  for (const { path } of rows) wanted.add(path)
  for (const table of model.tables.values()) {
    if (table.metadataLocation === undefined) continue
    for (const path of await reachablePaths(bucket.direct, table.metadataLocation)) wanted.add(path)
  }
  for (const path of bucket.paths()) if (!wanted.has(path)) universe.violation('garbage', `${path} is left over`)
  for (const path of wanted) if (!bucket.peek(path)) universe.violation('G-4', `${path} is referred to and gone`)
}

/** Per source: records in = rows + dead letters + filtered, in the catalog as in the tables. */
function checkBalance({ universe, model, database }: Lake): void {
  const rowsOf = new Map<string, { isDead: boolean; offset: number }[]>()
  for (const table of model.tables.values()) {
    for (const { source, partition, offset } of table.rows) {
      const key = `${source} ${partition}`
      const rows = rowsOf.get(key)
      if (rows) rows.push({ isDead: table.isDeadLetters, offset })
      else rowsOf.set(key, [{ isDead: table.isDeadLetters, offset }])
    }
  }
  const statement = database.prepared(
    'SELECT pipeline, source, partition, range_start, range_end, records_in, records_dead, records_filtered FROM coverage',
  )
  for (const row of statement.all() as Record<string, bigint | string>[]) {
    const key = `${row.source} ${row.partition}`
    // The coverage of a producer that had expired and came back counts from there.
    const rows = (rowsOf.get(key) ?? []).filter(({ offset }) => BigInt(offset) >= (row.range_start as bigint))
    const dead = rows.filter(({ isDead }) => isDead).length
    const isSame =
      row.records_dead === BigInt(dead) && row.records_in === BigInt(rows.length) + (row.records_filtered as bigint)
    if (!isSame) {
      universe.violation(
        'G-1',
        `${key}: ${row.records_in} in, ${row.records_dead} dead, ${row.records_filtered} filtered; tables have ${rows.length} rows, ${dead} of them dead letters`,
      )
    }
    const keyText = sourceKeyText({
      pipeline: String(row.pipeline),
      source: String(row.source),
      partition: Number(row.partition),
    })
    const known = model.coverage.get(keyText)
    if (known && known.range.end !== row.range_end) {
      universe.violation('G-2', `${key}: the catalog says ${row.range_end}, ticks ended at ${known.range.end}`)
    }
  }
}
