/**
 * A snapshot's coverage is exactly that of its rows (PROTOCOL 4): the coverage of the snapshot before, and the source
 * ranges of the segments that enter. Pure.
 */

import type { Segment } from '../lake/catalog/catalog.ts'
import type { Coverage, OffsetRange, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'

export function snapshotCoverage(before: readonly Coverage[], segments: readonly Segment[]): Coverage[] {
  const bySource = new Map<string, Coverage>(before.map((coverage) => [sourceKeyText(coverage), coverage]))
  for (const segment of segments) {
    for (const { range, rows, recordedFrom = range.start, ...key } of segment.sources) {
      const earlier = bySource.get(sourceKeyText(key)) ?? emptyCoverage(key)
      bySource.set(sourceKeyText(key), {
        ...earlier,
        // From where the files' record goes on, so that the checkpoints of all tables leave no hole in it.
        ranges: addRange(earlier.ranges, { start: recordedFrom, end: range.end }),
        recordsIn: earlier.recordsIn + BigInt(rows),
      })
    }
  }
  return [...bySource.values()]
}

/** Ranges stay sorted and disjoint; touching ones become one. */
export function addRange(ranges: readonly OffsetRange[], added: OffsetRange): OffsetRange[] {
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
