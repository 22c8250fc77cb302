/**
 * Which bytes of one file the scans of a statement need: pure, from footer, scans and what bloom filters excluded.
 *
 * DuckDB skips row groups by itself where one of its own filters says so (`engineFilters`); where only we know better, it must
 * be told which rows to look at (`rows`), or it reads into bytes that were not fetched. Both plans are made, since telling it
 * costs: a file with rows of its own is a branch of its own in the relation.
 */
import { hasType, type RowRange } from '../../lake/file-mapping.ts'
import type { ByteRange } from '../../lake/object-store/object-store.ts'
import type { ParquetFooter } from '../../lake/parquet/parquet.ts'
import { mayPass, type PlainFilter, pruneRowGroups } from '../../lake/parquet/prune.ts'
import { bloomRanges, leavesUnder, mergeRanges, neededRanges } from '../../lake/parquet/ranges.ts'
import type { TableScan } from './scan-needs.ts'

export type FileNeeds = {
  /** Row groups that can hold a row that some scan needs, ascending. */
  readonly kept: readonly number[]
  /** What is read when DuckDB looks at all rows of the file. */
  readonly all: readonly ByteRange[]
  /** The rows of `kept`, and some between them when they are in too many places. */
  readonly rows: readonly RowRange[]
  /** What is read when it looks at these rows only. */
  readonly restricted: readonly ByteRange[]
}

/** Row group → whether a filter's bloom filter says that none of its values is there. */
export type ExcludedByBloom = (rowGroup: number, filter: PlainFilter) => boolean

export type FileNeedsOptions = {
  /** Nested columns whose fields DuckDB reads one by one. */
  readonly mayReadInside: (fieldId: number) => boolean
  /** Row groups beyond which nothing is needed, for a statement that needs only some rows. */
  readonly only?: ReadonlySet<number>
  readonly excluded?: ExcludedByBloom
}

/** DuckDB 1.5.6 keeps no more of a text's bounds. */
const ENGINE_TEXT_BYTES = 8

export function fileNeeds(footer: ParquetFooter, scans: readonly TableScan[], options: FileNeedsOptions): FileNeeds {
  const kept = keptRowGroups(footer, scans, options)
  const close = withoutGaps(kept)
  const all: ByteRange[] = []
  const restricted: ByteRange[] = []
  for (const scan of scans) {
    const leaves = leavesOf(footer, scan, options.mayReadInside)
    const blooms = bloomLeaves(footer, scan, leaves)
    const engine = readByEngine(footer, scan)
    all.push(...neededRanges(footer, leaves, engine), ...bloomRanges(footer, blooms, engine))
    const both = engine.filter((index) => close.has(index))
    restricted.push(...neededRanges(footer, leaves, both), ...bloomRanges(footer, blooms, both))
  }
  return { kept, all: mergeRanges(all), rows: rowsOf(footer, close), restricted: mergeRanges(restricted) }
}

/** What DuckDB does not skip by itself: a column that it reads with a cast, since it has become wider, it does not skip by. */
function readByEngine(footer: ParquetFooter, { engineFilters }: TableScan): readonly number[] {
  const trusted = engineFilters.filter((filter) => {
    if (!('type' in filter)) return false
    const leaf = footer.columns.find(({ fieldId }) => fieldId === filter.fieldId)
    return leaf === undefined || hasType(leaf, filter.type)
  })
  return pruneRowGroups(footer, trusted, { textBytesMax: ENGINE_TEXT_BYTES })
}

export function keptRowGroups(
  footer: ParquetFooter,
  scans: readonly TableScan[],
  { only, excluded }: Pick<FileNeedsOptions, 'only' | 'excluded'> = {},
): readonly number[] {
  const kept = new Set<number>()
  for (const { filters } of scans) {
    for (const index of pruneRowGroups(footer, filters)) {
      const isExcluded =
        excluded !== undefined && !filters.every((each) => mayPass(each, (one) => !excluded(index, one)))
      if (!isExcluded && (only?.has(index) ?? true)) kept.add(index)
    }
  }
  return [...kept].sort((a, b) => a - b)
}

/** The bloom filters that say more about the row groups that are left: those of equalities. */
export function bloomsToAsk(footer: ParquetFooter, scans: readonly TableScan[]): readonly ByteRange[] {
  const ranges = scans.flatMap((scan) => {
    const leaves = bloomLeaves(
      footer,
      scan,
      footer.columns.map((_, index) => index),
    )
    return bloomRanges(footer, leaves, keptRowGroups(footer, [scan]))
  })
  return mergeRanges(ranges)
}

/** Leaves of the columns that a scan reads. */
export function leavesOf(
  footer: ParquetFooter,
  { columns, inside }: Pick<TableScan, 'columns' | 'inside'>,
  mayReadInside: (fieldId: number) => boolean,
): number[] {
  const paths = footer.fields.flatMap(({ fieldId, name }) => {
    if (fieldId === undefined || !columns.has(fieldId)) return []
    const within = mayReadInside(fieldId) ? inside.get(fieldId) : undefined
    return within?.map((path) => [name, ...path].join('.')) ?? [name]
  })
  return leavesUnder(footer, paths)
}

function bloomLeaves(footer: ParquetFooter, { bloomColumns }: TableScan, leaves: readonly number[]): number[] {
  return leaves.filter((leaf) => {
    const { fieldId, path } = footer.columns[leaf]
    if (fieldId !== undefined && bloomColumns.has(fieldId)) return true
    // A nested column that is named as a whole: DuckDB may look at any of its fields.
    return footer.fields.some(
      (field) => field.fieldId !== undefined && bloomColumns.has(field.fieldId) && path.startsWith(`${field.name}.`),
    )
  })
}

const PLACES_MAX = 8

/** The smallest gaps are closed until no more than `PLACES_MAX` runs are left. */
function withoutGaps(rowGroups: readonly number[]): ReadonlySet<number> {
  const gaps = rowGroups
    .slice(1)
    .map((index, place) => ({ from: rowGroups[place] + 1, to: index }))
    .filter(({ from, to }) => to > from)
    .sort((a, b) => a.to - a.from - (b.to - b.from))
  const close = new Set(rowGroups)
  for (const { from, to } of gaps.slice(0, Math.max(0, gaps.length + 1 - PLACES_MAX))) {
    for (let index = from; index < to; index++) close.add(index)
  }
  return close
}

/** Neighbouring row groups are one range. */
function rowsOf(footer: ParquetFooter, wanted: ReadonlySet<number>): readonly RowRange[] {
  const rows: { start: number; end: number }[] = []
  let start = 0
  footer.rowGroups.forEach(({ rowCount }, index) => {
    const end = start + rowCount
    const last = rows.at(-1)
    if (wanted.has(index) && rowCount > 0) {
      if (last?.end === start) last.end = end
      else rows.push({ start, end })
    }
    start = end
  })
  return rows
}

/** Row groups that hold these rows. */
export function rowGroupsHolding(footer: ParquetFooter, rows: Iterable<number>): ReadonlySet<number> {
  const ends: number[] = []
  let end = 0
  for (const { rowCount } of footer.rowGroups) {
    end += rowCount
    ends.push(end)
  }
  const found = new Set<number>()
  for (const row of rows) found.add(ends.findIndex((each) => row < each))
  found.delete(-1)
  return found
}
