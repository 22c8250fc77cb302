/**
 * Rows named by where they came from: of one source and topic-partition exactly these offsets, as runs of neighbours. A row of
 * dead letters is told by it, since `(_source, _partition, _offset)` is unique in a table.
 *
 * Text form, as the catalog keeps it: `[["kafka:t:1c…", 0, "5", "7-9"]]`, a run with both ends.
 */
import type { OffsetRange } from './coverage.ts'

export type MaskedOffsets = {
  /** What the `_source` column says. */
  readonly source: string
  readonly partition: number
  /** Half-open, sorted, disjoint, not touching; every offset in them is meant. */
  readonly runs: readonly OffsetRange[]
}

/** Places in any order, each once → runs, by source and topic-partition. */
export function maskedOffsetsOf(
  places: Iterable<{ readonly source: string; readonly partition: number; readonly offset: bigint }>,
): MaskedOffsets[] {
  const bySource = new Map<string, { source: string; partition: number; offsets: bigint[] }>()
  for (const { source, partition, offset } of places) {
    const key = `${source}\u0000${partition}`
    const found = bySource.get(key)
    if (found) found.offsets.push(offset)
    else bySource.set(key, { source, partition, offsets: [offset] })
  }
  return [...bySource.values()].map(({ source, partition, offsets }) => ({ source, partition, runs: runsOf(offsets) }))
}

function runsOf(offsets: readonly bigint[]): OffsetRange[] {
  const runs: { start: bigint; end: bigint }[] = []
  for (const offset of [...new Set(offsets)].sort((a, b) => (a < b ? -1 : 1))) {
    const last = runs.at(-1)
    if (last && last.end === offset) last.end = offset + 1n
    else runs.push({ start: offset, end: offset + 1n })
  }
  return runs
}

export function maskedCount(masked: readonly MaskedOffsets[]): number {
  return masked.reduce(
    (sum, { runs }) => sum + runs.reduce((count, { start, end }) => count + Number(end - start), 0),
    0,
  )
}

type JsonMasked = readonly [source: string, partition: number, ...runs: string[]]

export function maskedText(masked: readonly MaskedOffsets[]): string {
  return JSON.stringify(
    masked.map(
      ({ source, partition, runs }): JsonMasked => [
        source,
        partition,
        ...runs.map(({ start, end }) => (end === start + 1n ? String(start) : `${start}-${end - 1n}`)),
      ],
    ),
  )
}

/** Throws a SyntaxError or a TypeError for what `maskedText` did not write. */
export function parseMasked(text: string): MaskedOffsets[] {
  return (JSON.parse(text) as JsonMasked[]).map(([source, partition, ...runs]) => ({
    source,
    partition,
    runs: runs.map((run) => {
      const [first, last = first] = run.split('-')
      return { start: BigInt(first), end: BigInt(last) + 1n }
    }),
  }))
}
