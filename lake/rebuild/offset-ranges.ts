/**
 * Sets of offsets as sorted, disjoint, half-open ranges that do not touch, and such sets by source. Plain data; nothing here
 * knows what an offset means.
 */
import type { OffsetRange } from '../../schemas/coverage.ts'

export type Ranges = readonly OffsetRange[]

export function withRange(ranges: Ranges, added: OffsetRange): Ranges {
  if (added.start >= added.end) return ranges
  let { start, end } = added
  const before: OffsetRange[] = []
  const after: OffsetRange[] = []
  for (const range of ranges) {
    if (range.end < start) before.push(range)
    else if (range.start > end) after.push(range)
    else {
      if (range.start < start) start = range.start
      if (range.end > end) end = range.end
    }
  }
  return [...before, { start, end }, ...after]
}

/** An empty range is in every set. */
export function holdsRange(ranges: Ranges, { start, end }: OffsetRange): boolean {
  return start >= end || ranges.some((range) => range.start <= start && end <= range.end)
}

export function meetsRange(ranges: Ranges, { start, end }: OffsetRange): boolean {
  return start < end && ranges.some((range) => range.start < end && start < range.end)
}

export function endOf(ranges: Ranges): bigint | undefined {
  return ranges.at(-1)?.end
}

export function lengthOf(ranges: Ranges): bigint {
  return ranges.reduce((sum, { start, end }) => (start < end ? sum + end - start : sum), 0n)
}

export function gapsOf(ranges: Ranges): OffsetRange[] {
  return ranges.slice(1).map(({ start }, index) => ({ start: ranges[index].end, end: start }))
}

export type SourceRanges = {
  of(source: string): Ranges
  add(source: string, range: OffsetRange): void
  /** With what is added to the copy, this one does not change. */
  copy(): SourceRanges
  entries(): Iterable<readonly [string, Ranges]>
}

export function createSourceRanges(from: Iterable<readonly [string, Ranges]> = []): SourceRanges {
  const sources = new Map(from)
  return {
    of: (source) => sources.get(source) ?? [],
    add: (source, range) => void sources.set(source, withRange(sources.get(source) ?? [], range)),
    copy: () => createSourceRanges(sources),
    entries: () => sources.entries(),
  }
}
