/**
 * A snapshot's coverage is exactly that of its rows (PROTOCOL 4): the coverage of the snapshot before, and the source
 * ranges of the segments that enter. Pure.
 */

import type { Segment } from '../lake/catalog/catalog.ts'
import type { Coverage, OffsetRange, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'

/**
 * The new coverage of every source that has rows in these segments.
 *
 * @param before coverage in the snapshot before, by `sourceKeyText`
 */
export function coverageChanges(
  before: (key: string) => Coverage | undefined,
  segments: readonly Segment[],
): Coverage[] {
  const changed = new Map<string, Coverage>()
  for (const segment of segments) {
    for (const { range, rows, recordedFrom = range.start, ...key } of segment.sources) {
      const text = sourceKeyText(key)
      const earlier = changed.get(text) ?? before(text) ?? emptyCoverage(key)
      changed.set(text, {
        ...earlier,
        // From where the bucket's own files record the source: ticks without rows before this one wrote no file.
        ranges: addRange(earlier.ranges, { start: recordedFrom, end: range.end }),
        recordsIn: earlier.recordsIn + BigInt(rows),
      })
    }
  }
  return [...changed.values()]
}

/** Ranges stay sorted and disjoint; touching ones become one. */
export function addRange(ranges: readonly OffsetRange[], added: OffsetRange): OffsetRange[] {
  // Nearly always: one range goes on where it ended.
  if (ranges.length === 1 && ranges[0].end === added.start) return [{ start: ranges[0].start, end: added.end }]
  const result: OffsetRange[] = []
  let { start, end } = added
  for (const range of ranges) {
    if (range.end < start || range.start > end) {
      result.push(range)
      continue
    }
    if (range.start < start) start = range.start
    if (range.end > end) end = range.end
  }
  result.push({ start, end })
  return result.sort((a, b) => (a.start < b.start ? -1 : 1))
}

function emptyCoverage({ pipeline, source, partition }: SourceKey): Coverage {
  return {
    pipeline,
    source,
    partition,
    ranges: [],
    recordsIn: 0n,
    recordsDead: 0n,
    recordsFiltered: 0n,
    logEnd: undefined,
    caughtUpAt: undefined,
  }
}
