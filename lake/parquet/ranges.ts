/**
 * Which bytes of a file a query needs: whole column chunks (their dictionary pages are part of them) of the wanted
 * columns in the wanted row groups, and their bloom filters where an equality filter will look at them.
 *
 * Near ranges are joined, smallest gap first, as long as a gap is at most `coalesceGap`, the joined range at most
 * `rangeMax`, and all gaps together at most `overReadRatio` of the needed bytes. What lies between two needed chunks is
 * whole chunks again, so nothing fetched is ever half a chunk; a chunk longer than `rangeMax` stays one range.
 */
import type { ByteRange } from '../object-store/object-store.ts'
import type { ColumnChunk, ParquetFooter } from './parquet.ts'

export type PlanRangesOptions = {
  /** Bytes between two needed ranges that may be read along; 1 MiB. */
  readonly coalesceGap?: number
  /** Joining stops here; 16 MiB. */
  readonly rangeMax?: number
  /** Bytes read along, as a part of the needed ones; 0.03: with footers and headers, 0.05 in all. */
  readonly overReadRatio?: number
  /** Bytes that may be read along at least, however few are needed; 0. */
  readonly overReadMin?: number
  /** Columns whose bloom filters are needed: those compared for equality. */
  readonly bloom?: ReadonlySet<string>
}

export type RangePlan = {
  /** Sorted, disjoint, half-open. */
  readonly ranges: readonly ByteRange[]
  /** Exactly the column chunks and bloom filters, each byte once. */
  readonly neededBytes: number
  /** Bytes of `ranges`. */
  readonly plannedBytes: number
}

/** A path names a leaf, or a nested column with all its leaves; a column that this file does not have needs nothing. */
export function planRanges(
  footer: ParquetFooter,
  columnPaths: Iterable<string>,
  rowGroups: Iterable<number>,
  options: PlanRangesOptions = {},
): RangePlan {
  const needed = neededRanges(footer, leavesUnder(footer, columnPaths), rowGroups)
  const blooms =
    options.bloom === undefined
      ? []
      : bloomRanges(
          footer,
          leavesUnder(footer, columnPaths).filter((leaf) => leavesUnder(footer, options.bloom ?? []).includes(leaf)),
          rowGroups,
        )
  return joinRanges([...needed, ...blooms], options)
}

/** Indices of leaves. */
export function leavesUnder(footer: ParquetFooter, paths: Iterable<string>): number[] {
  const wanted = [...new Set(paths)]
  return footer.columns.flatMap((column, i) => (wanted.some((path) => isUnder(column.path, path)) ? [i] : []))
}

/** The chunks of these leaves in these row groups. */
export function neededRanges(
  footer: ParquetFooter,
  leaves: readonly number[],
  rowGroups: Iterable<number>,
): ByteRange[] {
  const needed: ByteRange[] = []
  for (const index of new Set(rowGroups)) {
    for (const leaf of leaves) {
      const { start, end } = footer.rowGroups[index].chunks[leaf]
      if (end > start) needed.push({ start, end })
    }
  }
  return needed
}

/** Their bloom filters, where they have any. */
export function bloomRanges(
  footer: ParquetFooter,
  leaves: readonly number[],
  rowGroups: Iterable<number>,
): ByteRange[] {
  return [...new Set(rowGroups)].flatMap((index) =>
    leaves.flatMap((leaf) => bloomRange(footer, footer.rowGroups[index].chunks[leaf]) ?? []),
  )
}

/** Near ones joined. */
export function joinRanges(needed: readonly ByteRange[], options: PlanRangesOptions = {}): RangePlan {
  const { coalesceGap = 1 << 20, rangeMax = 16 << 20, overReadRatio = 0.03, overReadMin = 0 } = options
  const merged = mergeRanges(needed)
  const neededBytes = totalBytes(merged)
  const overReadMax = Math.max(overReadMin, Math.floor(neededBytes * overReadRatio))
  const ranges = joinNear(merged, coalesceGap, rangeMax, overReadMax)
  return { ranges, neededBytes, plannedBytes: totalBytes(ranges) }
}

function isUnder(leaf: string, path: string): boolean {
  return leaf === path || leaf.startsWith(`${path}.`)
}

/** Without a recorded length: up to whatever comes next in the file, or the footer. */
export function bloomRange(footer: ParquetFooter, chunk: ColumnChunk): ByteRange | undefined {
  if (chunk.bloomFilter === undefined) return undefined
  const { start, end } = chunk.bloomFilter
  if (end !== undefined) return end > start ? { start, end } : undefined
  let next = Number.POSITIVE_INFINITY
  for (const group of footer.rowGroups) {
    for (const other of group.chunks) {
      if (other.start > start && other.start < next) next = other.start
      const filter = other.bloomFilter?.start
      if (filter !== undefined && filter > start && filter < next) next = filter
    }
  }
  return { start, end: Math.min(next, start + BLOOM_BYTES_MAX) }
}

/** The longest bloom filter that the format's writers make, with its header. */
const BLOOM_BYTES_MAX = (128 << 20) + 64

/** Sorted and disjoint; touching ranges become one. */
export function mergeRanges(ranges: readonly ByteRange[]): ByteRange[] {
  const sorted = ranges.filter((range) => range.end > range.start).sort((a, b) => a.start - b.start)
  const merged: { start: number; end: number }[] = []
  for (const { start, end } of sorted) {
    const last = merged[merged.length - 1]
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end)
    else merged.push({ start, end })
  }
  return merged
}

/** What of `wanted` is not in `present`; both sorted and disjoint, and so is the answer. */
export function subtractRanges(wanted: readonly ByteRange[], present: readonly ByteRange[]): ByteRange[] {
  const missing: ByteRange[] = []
  let at = 0
  for (const { start, end } of wanted) {
    let from = start
    while (at < present.length && present[at].end <= from) at++
    for (let i = at; i < present.length && present[i].start < end; i++) {
      if (present[i].start > from) missing.push({ start: from, end: present[i].start })
      from = Math.max(from, present[i].end)
    }
    if (from < end) missing.push({ start: from, end })
  }
  return missing
}

export function totalBytes(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, range) => sum + range.end - range.start, 0)
}

function joinNear(ranges: readonly ByteRange[], gapMax: number, rangeMax: number, overReadMax: number): ByteRange[] {
  const gaps = ranges.slice(1).map((range, i) => ({ after: i, bytes: range.start - ranges[i].end }))
  gaps.sort((a, b) => a.bytes - b.bytes || a.after - b.after)
  const isJoined = new Array<boolean>(ranges.length).fill(false)
  let overRead = 0
  for (const gap of gaps) {
    if (gap.bytes > gapMax || overRead + gap.bytes > overReadMax) break
    overRead += gap.bytes
    isJoined[gap.after] = true
  }
  const joined: { start: number; end: number }[] = []
  ranges.forEach((range, i) => {
    const last = joined[joined.length - 1]
    if (i > 0 && isJoined[i - 1] && range.end - last.start <= rangeMax) last.end = range.end
    else joined.push({ start: range.start, end: range.end })
  })
  return joined
}
