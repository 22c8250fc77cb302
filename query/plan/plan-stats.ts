/** What a statement's plan left out, and what it cost to bring the rest: by table, and added up. */
import { MillraceError } from '../../schemas/errors.ts'
export type TableStats = {
  files: number
  /** Left out by the table partition that they are in. */
  filesPrunedByPartition: number
  /** By column bounds of manifests and segments. */
  filesPrunedByBounds: number
  /** Left unread: counts and bounds of manifests and segments are the answer. */
  filesKnown: number
  /** Opened, and found to hold no row that is needed. */
  filesPrunedByRowGroups: number
  rowGroups: number
  rowGroupsPrunedByStatistics: number
  rowGroupsPrunedByBloom: number
  /** By looking for the rows first, with the columns of filters and order only. */
  rowGroupsPrunedByRows: number
  /** Rows of the row groups that are left. */
  rows: number
  /** Exactly the column chunks (and bloom filters) that the statement needs. */
  bytesNeeded: number
  /** Bytes and GETs that this query caused. */
  bytesFetched: number
  requests: number
  /** Files of which everything that was needed was there already, local files included. */
  cacheHits: number
  /** Its rows were looked for before its columns were read. */
  isInTwoSteps: boolean
}

export type PlanStats = {
  files: number
  filesPruned: number
  rowGroups: number
  rowGroupsPruned: number
  rows: number
  bytesNeeded: number
  bytesFetched: number
  requests: number
  cacheHits: number
  readonly byTable: ReadonlyMap<string, Readonly<TableStats>>
}

export function emptyTableStats(): TableStats {
  return {
    files: 0,
    filesPrunedByPartition: 0,
    filesPrunedByBounds: 0,
    filesKnown: 0,
    filesPrunedByRowGroups: 0,
    rowGroups: 0,
    rowGroupsPrunedByStatistics: 0,
    rowGroupsPrunedByBloom: 0,
    rowGroupsPrunedByRows: 0,
    rows: 0,
    bytesNeeded: 0,
    bytesFetched: 0,
    requests: 0,
    cacheHits: 0,
    isInTwoSteps: false,
  }
}

export function filesPruned(stats: TableStats): number {
  return stats.filesPrunedByPartition + stats.filesPrunedByBounds + stats.filesPrunedByRowGroups + stats.filesKnown
}

export function rowGroupsPruned(stats: TableStats): number {
  return stats.rowGroupsPrunedByStatistics + stats.rowGroupsPrunedByBloom + stats.rowGroupsPrunedByRows
}

export function totalStats(byTable: ReadonlyMap<string, TableStats>): PlanStats {
  const all = [...byTable.values()]
  const sum = (of: (stats: TableStats) => number) => all.reduce((total, each) => total + of(each), 0)
  return {
    files: sum(({ files }) => files),
    filesPruned: sum(filesPruned),
    rowGroups: sum(({ rowGroups }) => rowGroups),
    rowGroupsPruned: sum(rowGroupsPruned),
    rows: sum(({ rows }) => rows),
    bytesNeeded: sum(({ bytesNeeded }) => bytesNeeded),
    bytesFetched: sum(({ bytesFetched }) => bytesFetched),
    requests: sum(({ requests }) => requests),
    cacheHits: sum(({ cacheHits }) => cacheHits),
    byTable,
  }
}

/** Lines for EXPLAIN. */
export function statsText(byTable: ReadonlyMap<string, Readonly<TableStats>>): string {
  return [...byTable]
    .map(([table, stats]) =>
      [
        `table ${table}`,
        `  files             ${stats.files}`,
        `  files pruned      ${filesPruned(stats)} (by partition ${stats.filesPrunedByPartition}, by bounds ${stats.filesPrunedByBounds}, by row groups ${stats.filesPrunedByRowGroups})`,
        ...(stats.filesKnown > 0 ? [`  answered from     counts and bounds of ${stats.filesKnown} files, unread`] : []),
        `  row groups        ${stats.rowGroups}`,
        `  row groups pruned ${rowGroupsPruned(stats)} (by statistics ${stats.rowGroupsPrunedByStatistics}, by bloom filters ${stats.rowGroupsPrunedByBloom}, by looking for rows first ${stats.rowGroupsPrunedByRows})`,
        `  bytes needed      ${stats.bytesNeeded}`,
        `  bytes fetched     ${stats.bytesFetched}`,
        `  requests          ${stats.requests}`,
        `  cache hits        ${stats.cacheHits}`,
      ].join('\n'),
    )
    .join('\n')
}

/** More than one statement may read. */
export function refuseLargeScan(bytesNeeded: number, stats: TableStats, bytesMax = Number.POSITIVE_INFINITY): void {
  if (bytesNeeded <= bytesMax) return
  throw new MillraceError(
    'request-too-large',
    `the statement would read ${bytesNeeded} bytes in ${stats.files - filesPruned(stats)} files, expected at most ${bytesMax} (query.scan.bytes.max, or the limit of the token): name fewer columns, or add a filter on the columns that the table is partitioned or sorted by`,
    { facts: { bytesNeeded, bytesMax } },
  )
}
