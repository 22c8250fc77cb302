/**
 * A catalog around a catalog, for processes that write: it notices when the catalog that answers is not the one of before but
 * an older copy of it (PROTOCOL 7, ADR 15), and from then on nothing goes through.
 *
 *   a table's version is lower than this process has seen
 *   a commit answers a version that was given out before
 *   a source's coverage ends before what this process committed of it
 *   this process is not registered any more
 *   the catalog's file (SQLite) is another file, or gone: what is committed into it is lost
 *
 * Answers are compared with what was known when the question was asked: a slow answer is not an older catalog.
 */
import { statSync } from 'node:fs'
import { type Coverage, LETTERS_SOURCE, sourceKeyText } from '../../schemas/coverage.ts'
import { isMillraceError, type MillraceError } from '../../schemas/errors.ts'
import type { Catalog, FlushTick, SegmentMergeResult, SnapshotResult, Table, TickResult } from '../catalog/catalog.ts'
import { olderCatalogError } from './older-catalog.ts'

export type NoticeOptions = {
  /** Of a catalog in a file; undefined for others. */
  readonly file: string | undefined
  /** Once; the process should end. */
  onOlder(error: MillraceError): void
}

/** Coverage of Kafka's sources and of letters that left is never forgotten; that of HTTP producers is, when they are idle for long. */
const KEPT_FOR_EVER = ['kafka:', LETTERS_SOURCE]

export function noticeOlderCatalog<C extends Catalog>(catalog: C, { file, onOlder }: NoticeOptions): C {
  const versions = new Map<number, bigint>()
  const ends = new Map<string, bigint>()
  const identity = identityOf(file)
  let older: MillraceError | undefined

  function notice(evidence: string): never {
    if (!older) {
      older = olderCatalogError([evidence])
      onOlder(older)
    }
    throw older
  }

  function requireSameFile(): void {
    if (identityOf(file) !== identity) notice(`the file ${file} is not the one that this process opened`)
  }

  function see(tableId: number, version: bigint, floor: ReadonlyMap<number, bigint>): void {
    const before = floor.get(tableId)
    if (before !== undefined && version < before) {
      notice(`table ${tableId} is at version ${version}, this process has seen ${before}`)
    }
    note(tableId, version)
  }

  function note(tableId: number, version: bigint): void {
    const known = versions.get(tableId)
    if (known === undefined || version > known) versions.set(tableId, version)
  }

  /** An answer that is given again is as old as its commit: it says nothing of what came since. */
  function seeCommit(tableId: number, result: SnapshotResult | SegmentMergeResult, floor: ReadonlyMap<number, bigint>) {
    requireSameFile()
    if (result.outcome === 'committed') see(tableId, result.version, floor)
    if (result.outcome === 'already-committed') note(tableId, result.version)
  }

  function seeTables(tables: readonly Table[], floor: ReadonlyMap<number, bigint>): void {
    for (const { tableId, version } of tables) see(tableId, version, floor)
  }

  /** One question: refused once the catalog is known to be older; an unknown writer's refusal is looked into. */
  async function ask<T>(
    question: () => Promise<T>,
    look: (answer: T, floor: ReadonlyMap<number, bigint>) => void,
    writerId?: string,
  ): Promise<T> {
    if (older) throw older
    const floor = new Map(versions)
    try {
      const answer = await question()
      look(answer, floor)
      return answer
    } catch (error) {
      if (writerId !== undefined && isMillraceError(error, 'writer-fenced')) await requireRegistered(writerId)
      throw error
    }
  }

  async function requireRegistered(writerId: string): Promise<void> {
    if ((await catalog.writerState(writerId)) === 'unknown') notice(`this process (${writerId}) is not registered`)
  }

  function seeTick(tick: FlushTick, result: TickResult, floor: ReadonlyMap<number, bigint>): void {
    // Nobody may be told of rows in a file that is not the catalog any more.
    requireSameFile()
    if (result.outcome === 'stale') {
      for (const { key, coverage } of result.stale) {
        const committed = ends.get(sourceKeyText(key))
        const end = endOf(coverage)
        const isKept = KEPT_FOR_EVER.some((start) => key.source.startsWith(start))
        if (committed === undefined || !isKept || end >= committed) continue
        notice(`coverage of ${key.source}/${key.partition} ends at ${end}, this process committed up to ${committed}`)
      }
    }
    if (result.outcome !== 'committed' && result.outcome !== 'already-committed') return
    for (const [tableId, version] of result.versions) {
      const before = floor.get(tableId)
      if (result.outcome === 'committed' && before !== undefined && version <= before) {
        notice(`version ${version} of table ${tableId} was given out twice`)
      }
      note(tableId, version)
    }
    for (const advance of tick.advances) {
      // A stretch that consumed nothing may be taken back (ADR 27).
      if (advance.range.start < advance.range.end) ends.set(sourceKeyText(advance), advance.range.end)
    }
  }

  const nothing = () => {}
  return {
    ...catalog,
    listTables: () => ask(() => catalog.listTables(), seeTables),
    getTable: (tableId) =>
      ask(
        () => catalog.getTable(tableId),
        (table, floor) => seeTables([table], floor),
      ),
    findTable: (name) =>
      ask(
        () => catalog.findTable(name),
        (table, floor) => seeTables(table ? [table] : [], floor),
      ),
    readTables: (names, options) =>
      ask(
        () => catalog.readTables(names, options),
        (read, floor) => seeTables(options?.at ? [] : read.map(({ table }) => table), floor),
      ),
    heartbeat: (writer, leaseMs) => ask(() => catalog.heartbeat(writer, leaseMs), requireSameFile, writer.writerId),
    commitTick: (tick) =>
      ask(
        () => catalog.commitTick(tick),
        (result, floor) => seeTick(tick, result, floor),
        tick.writer.writerId,
      ),
    commitSnapshot: (commit) =>
      ask(
        () => catalog.commitSnapshot(commit),
        (result, floor) => seeCommit(commit.tableId, result, floor),
        commit.writer.writerId,
      ),
    mergeSegments: (merge) =>
      ask(
        () => catalog.mergeSegments(merge),
        (result, floor) => seeCommit(merge.tableId, result, floor),
        merge.writer.writerId,
      ),
    acquireLease: (tableId, writer, leaseMs) =>
      ask(() => catalog.acquireLease(tableId, writer, leaseMs), nothing, writer.writerId),
    // What a sweep asks before it deletes anything.
    deadFiles: (ageMs, limit) => ask(() => catalog.deadFiles(ageMs, limit), requireSameFile),
    fenceSilentWriters: (silentMs) => ask(() => catalog.fenceSilentWriters(silentMs), requireSameFile),
    knownPaths: (tableId) => ask(() => catalog.knownPaths(tableId), requireSameFile),
    expireRows: () => ask(() => catalog.expireRows(), nothing),
    coverage: (pipeline, sources) => ask(() => catalog.coverage(pipeline, sources), nothing),
    beginCoverage: (key, start) => ask(() => catalog.beginCoverage(key, start), nothing),
    createTable: (table) => ask(() => catalog.createTable(table), nothing),
  }
}

function endOf(coverage: Coverage | undefined): bigint {
  return coverage?.ranges.at(-1)?.end ?? 0n
}

function identityOf(file: string | undefined): string {
  if (file === undefined) return ''
  const stats = statSync(file, { bigint: true, throwIfNoEntry: false })
  return stats ? `${stats.dev}/${stats.ino}` : 'gone'
}
