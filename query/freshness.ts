/**
 * How fresh what a query saw is (G-10): catalog-clock time since every source of a table last stood at its log's end with
 * everything before committed. A source that is idle at its end is fresh as of the last time that was noted; an HTTP
 * producer's rows are visible when they are acknowledged, so it is always fresh. Record timestamps play no part.
 */
import type { TableVersion } from '../lake/catalog/catalog.ts'
import { type Coverage, LETTERS_SOURCE } from '../schemas/coverage.ts'
import { endOf, topicOf } from '../schemas/kafka-source-text.ts'

export type SourceFreshness = {
  readonly pipeline: string
  readonly source: string
  readonly partition: number
  /** End of what is consumed, and of the source's log, as last seen. */
  readonly offset: string | null
  readonly log_end: string | null
  readonly freshness_ms: number | null
}

/**
 * Null: a source never stood at its log's end, or the table has no source yet. A recreated topic, and a decision to go on
 * elsewhere, leave an earlier source of the same topic-partition behind that never moves again: the fresher one counts.
 */
export function freshnessMs({ coverage, readAt }: TableVersion): number | null {
  if (coverage.length === 0) return null
  const ages = new Map<string, number | null>()
  for (const source of coverage) {
    // Letters that left: nothing ever lags there.
    if (source.source.startsWith(LETTERS_SOURCE)) continue
    const key = placeOf(source)
    const age = sourceAgeMs(source, readAt)
    const known = ages.get(key)
    ages.set(key, known === undefined || known === null ? age : age === null ? known : Math.min(known, age))
  }
  let worst = 0
  for (const age of ages.values()) {
    if (age === null) return null
    worst = Math.max(worst, age)
  }
  return worst
}

/**
 * How far each topic-partition is consumed: offsets before it are committed. By `topic/partition`; of several sources of one
 * topic-partition the one that was last seen at its log's end.
 */
export function watermarksOf({ coverage }: TableVersion): ReadonlyMap<string, bigint> {
  const newest = new Map<string, Coverage>()
  for (const source of coverage) {
    const topic = topicOf(source.source)
    if (topic === undefined) continue
    const place = `${topic}/${source.partition}`
    const known = newest.get(place)
    if (known === undefined || isFresher(source, known)) newest.set(place, source)
  }
  return new Map([...newest].map(([place, source]) => [place, source.ranges.at(-1)?.end ?? 0n]))
}

function isFresher(a: Coverage, b: Coverage): boolean {
  const [left, right] = [a.caughtUpAt ?? -1n, b.caughtUpAt ?? -1n]
  return left !== right ? left > right : endOf(a) > endOf(b)
}

/** `kafka:<topic>:<topic id>#<n>` → pipeline, topic and partition; any other source stands for itself. */
function placeOf({ pipeline, source, partition }: Coverage): string {
  const kafka = /^kafka:([^:]+):/.exec(source)
  return JSON.stringify([pipeline, kafka ? `kafka:${kafka[1]}` : source, partition])
}

export function sourcesOf({ coverage, readAt }: TableVersion): readonly SourceFreshness[] {
  return coverage.map((source) => ({
    pipeline: source.pipeline,
    source: source.source,
    partition: source.partition,
    offset: source.ranges.at(-1)?.end.toString() ?? null,
    log_end: source.logEnd?.toString() ?? null,
    freshness_ms: sourceAgeMs(source, readAt),
  }))
}

function sourceAgeMs({ source, caughtUpAt }: Coverage, readAt: bigint): number | null {
  if (source.startsWith('http:')) return 0
  if (caughtUpAt === undefined) return null
  return Math.max(0, Number((readAt - caughtUpAt) / 1000n))
}
