/**
 * What a Kafka source is called in coverage and in the `_source` column, and what lies between its stretches. Pure.
 *
 *   kafka:<topic>:<topic id>        rows of a topic as it was made; its offsets
 *   kafka:<topic>:<topic id>#2      after a human decided to go on elsewhere in a log that contradicts the coverage, or to read
 *                                   offsets a second time: `(_source, _partition, _offset)` stays unique
 *   …@<offset>                      a stretch: coverage of its own that begins at the offset, of rows whose `_source` is the text
 *                                   before the `@`. What lies between two stretches was skipped, or is read later
 *
 * Neither `#` nor `@` can be in a topic's name (Kafka allows letters, digits, `.`, `_` and `-`).
 */
import type { Coverage, OffsetRange } from './coverage.ts'

export type KafkaPlace = { readonly topic: string; readonly topicId: string; readonly partition: number }

export function kafkaSourceText({ topic, topicId }: KafkaPlace, incarnation = 1): string {
  const text = `kafka:${topic}:${topicId}`
  return incarnation === 1 ? text : `${text}#${incarnation}`
}

/** What the rows of this source of coverage say in `_source`. */
export function rowSourceOf(source: string): string {
  const mark = /^(kafka:.*)@\d+$/.exec(source)
  return mark ? mark[1] : source
}

export function incarnationOf(source: string): number {
  const mark = /#(\d+)$/.exec(rowSourceOf(source))
  return mark ? Number(mark[1]) : 1
}

export function topicOf(source: string): string | undefined {
  return /^kafka:([^:]+):/.exec(source)?.[1]
}

export function stretchText(rowSource: string, start: bigint): string {
  return `${rowSource}@${start}`
}

/** Coverage of a topic-partition's newest incarnation, by where the stretches begin: the last one is read on. */
export function stretchesOf(place: KafkaPlace, all: readonly Coverage[]): Coverage[] {
  const plain = kafkaSourceText(place)
  const own = all.filter(({ partition, source }) => {
    const text = rowSourceOf(source)
    return partition === place.partition && (text === plain || text.startsWith(`${plain}#`))
  })
  const newest = Math.max(1, ...own.map(({ source }) => incarnationOf(source)))
  return own.filter(({ source }) => incarnationOf(source) === newest).sort(byStart)
}

/** The last one is read on. */
export function byStart(a: Coverage, b: Coverage): number {
  const [left, right] = [startOf(a), startOf(b)]
  if (left !== right) return left < right ? -1 : 1
  // An empty stretch that a skip just began lies behind what ends there.
  return endOf(a) < endOf(b) ? -1 : endOf(a) > endOf(b) ? 1 : a.source.length - b.source.length
}

export function startOf({ ranges }: Coverage): bigint {
  return ranges[0]?.start ?? 0n
}

export function endOf({ ranges }: Coverage): bigint {
  return ranges.at(-1)?.end ?? 0n
}

/** Parts of `wanted` that are in none of the ranges, in order. */
export function uncovered(wanted: OffsetRange, ranges: readonly OffsetRange[]): OffsetRange[] {
  const gaps: OffsetRange[] = []
  let { start } = wanted
  for (const range of [...ranges].sort((a, b) => (a.start < b.start ? -1 : 1))) {
    if (range.start >= range.end || range.end <= start) continue
    if (range.start >= wanted.end) break
    if (range.start > start) gaps.push({ start, end: range.start })
    start = range.end
  }
  if (start < wanted.end) gaps.push({ start, end: wanted.end })
  return gaps
}
