/**
 * Coverage: which offsets of which source a pipeline has consumed. The only place where a position lives.
 * A range means *consumed*, not *present*: compacted topics, control records, aborted transactions and
 * tombstones leave holes.
 */

/** Half-open: `start` is in it, `end` is not. */
export type OffsetRange = { readonly start: bigint; readonly end: bigint }

/** What coverage is kept for. `source` is what the `_source` column says. */
export type SourceKey = {
  readonly pipeline: string
  readonly source: string
  readonly partition: number
}

/** One source's contribution to one flush tick: it must extend the coverage from exactly where that ended. */
export type SourceAdvance = SourceKey & {
  readonly range: OffsetRange
  /** Records consumed in the range; each became a row, a dead letter, or was filtered. */
  readonly recordsIn: number
  readonly recordsDead: number
  readonly recordsFiltered: number
  /** End of the source's log as last seen; undefined for HTTP. */
  readonly logEnd: bigint | undefined
  /** True when this advance brings the consumer to the log's end (so the source is fresh as of this commit). */
  readonly caughtUp: boolean
}

export type Coverage = SourceKey & {
  readonly ranges: readonly OffsetRange[]
  readonly recordsIn: bigint
  readonly recordsDead: bigint
  readonly recordsFiltered: bigint
  readonly logEnd: bigint | undefined
  /** Catalog clock, microseconds, when the consumer last stood at the log's end with everything before committed. */
  readonly caughtUpAt: bigint | undefined
  /** Set when the source is an HTTP producer that was idle for long: an empty range where its sequence ended is all that is kept. */
  readonly expiredAt?: bigint
  /** Up to where the footers of the bucket's own files record this source; undefined when none says. */
  readonly recordedEnd?: bigint | undefined
}

export function sourceKeyText(key: SourceKey): string {
  return `${key.pipeline}\u0000${key.source}\u0000${key.partition}`
}

/**
 * Dead letters that were replayed or discarded, counted from 0 in the order in which they left: a source of its own,
 * `letters:<table of the dead letters>`, so that a record that became a row late is counted once like any other, and of two who
 * take the same letters away one finds its source moved.
 */
export const LETTERS_SOURCE = 'letters:'

export function lettersKey(pipeline: string, deadLetterTable: string): SourceKey {
  return { pipeline, source: `${LETTERS_SOURCE}${deadLetterTable}`, partition: 0 }
}
