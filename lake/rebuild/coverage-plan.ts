/**
 * Coverage after a rebuild: of every source exactly the offsets that are in, so that Kafka is read on from their end. Counts
 * are made from rows: what was filtered before is known only where a footer or the catalog says so. Pure.
 */
import { type Coverage, sourceKeyText } from '../../schemas/coverage.ts'
import { DEAD_LETTERS_SUFFIX } from '../../schemas/table-schema.ts'
import type { TableDraft } from './draft.ts'
import type { KnownCatalog } from './facts.ts'
import { endOf, lengthOf } from './offset-ranges.ts'
import type { DecidedTicks } from './tick-plan.ts'

export function plannedCoverage(drafts: readonly TableDraft[], known: KnownCatalog, ticks: DecidedTicks): Coverage[] {
  const before = new Map(known.coverage.map((coverage) => [sourceKeyText(coverage), coverage]))
  const rows = rowsBySource(drafts, ticks)
  const planned: Coverage[] = []
  for (const [text, ranges] of ticks.covered.entries()) {
    const own = before.get(text)
    const key = ticks.keys.get(text) ?? own
    if (!key || ranges.length === 0) continue
    if (own && endOf(own.ranges) === endOf(ranges)) {
      planned.push(own)
      before.delete(text)
      continue
    }
    const { live, dead } = rows.get(text) ?? { live: 0n, dead: 0n }
    const length = lengthOf(ranges)
    const recordsDead = largest(own?.recordsDead ?? 0n, dead)
    const filtered = largest(own?.recordsFiltered ?? 0n, BigInt(ticks.filtered.get(text) ?? 0))
    const recordsIn = smallest(length, largest(own?.recordsIn ?? 0n, live + recordsDead + filtered))
    planned.push({
      pipeline: key.pipeline,
      source: key.source,
      partition: key.partition,
      ranges,
      recordsIn,
      recordsDead: smallest(recordsDead, recordsIn),
      recordsFiltered: smallest(filtered, recordsIn - smallest(recordsDead, recordsIn)),
      logEnd: own?.logEnd,
      caughtUpAt: undefined,
      recordedEnd: endOf(ticks.recorded.of(text)),
    })
    before.delete(text)
  }
  // Sources that consumed nothing yet begin where the catalog says.
  return [...planned, ...before.values()]
}

type Rows = { live: bigint; dead: bigint }

/** A record is a row of every table of its pipeline, so the table with most of a source counts; dead letters besides. */
function rowsBySource(drafts: readonly TableDraft[], ticks: DecidedTicks): ReadonlyMap<string, Rows> {
  const counted = new Map<string, Rows>()
  for (const { name, metadata, folder } of drafts) {
    const own = new Map<string, bigint>()
    const count = (text: string, rows: bigint) => void own.set(text, (own.get(text) ?? 0n) + rows)
    for (const coverage of metadata?.checkpoint ?? []) count(sourceKeyText(coverage), coverage.recordsIn)
    for (const { path, record } of folder.segments) {
      if (ticks.live.has(path)) for (const source of record.sources) count(sourceKeyText(source), BigInt(source.rows))
    }
    const isDead = name.endsWith(DEAD_LETTERS_SUFFIX)
    for (const [text, rows] of own) {
      const entry = counted.get(text) ?? { live: 0n, dead: 0n }
      if (isDead) entry.dead = largest(entry.dead, rows)
      else entry.live = largest(entry.live, rows)
      counted.set(text, entry)
    }
  }
  return counted
}

function largest(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function smallest(a: bigint, b: bigint): bigint {
  return a < b ? a : b
}
