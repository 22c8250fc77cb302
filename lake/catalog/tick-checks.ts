/**
 * What a flush tick must be before the catalog is asked: numbers that can be, advances of one source without a gap, segments
 * whose rows come from offsets that the tick covers. A broken one is a bug of the writer: `invariant-broken`, nothing happened.
 */
import { LETTERS_SOURCE, type SourceAdvance, sourceKeyText } from '../../schemas/coverage.ts'
import { invariant } from '../../schemas/errors.ts'
import { maskedCount } from '../../schemas/masked-offsets.ts'
import type { FlushTick } from './catalog.ts'

/** One source's advances of a tick, joined. */
export type JoinedAdvance = SourceAdvance & { readonly keyText: string }

/** Several advances of one source must follow each other without a gap; they count as one. */
export function joinAdvances(advances: readonly SourceAdvance[]): JoinedAdvance[] {
  const joined = new Map<string, JoinedAdvance>()
  for (const advance of advances) {
    const { range, recordsIn, recordsDead, recordsFiltered } = advance
    const facts = { ...advance }
    invariant('tick.range', range.start >= 0n && range.start <= range.end, facts)
    invariant('tick.partition', Number.isSafeInteger(advance.partition) && advance.partition >= 0, facts)
    for (const count of [recordsIn, recordsDead, recordsFiltered]) {
      invariant('tick.counts', Number.isSafeInteger(count) && count >= 0, facts)
    }
    invariant('G-1.balance', recordsDead + recordsFiltered <= recordsIn, facts)
    invariant('G-2.counts', BigInt(recordsIn) <= range.end - range.start, facts)
    const keyText = sourceKeyText(advance)
    const before = joined.get(keyText)
    invariant('G-1.gap', !before || before.range.end === range.start, facts)
    joined.set(keyText, {
      ...advance,
      keyText,
      range: { start: before?.range.start ?? range.start, end: range.end },
      recordsIn: recordsIn + (before?.recordsIn ?? 0),
      recordsDead: recordsDead + (before?.recordsDead ?? 0),
      recordsFiltered: recordsFiltered + (before?.recordsFiltered ?? 0),
    })
  }
  // One order for everybody, so that two transactions lock rows the same way round.
  return [...joined.values()].sort((a, b) => (a.keyText < b.keyText ? -1 : 1))
}

/** Rows of a segment come from offsets that this very tick covers, and are as many as the segment says. */
export function checkSegments(tick: FlushTick, advances: readonly JoinedAdvance[]): void {
  const byKey = new Map(advances.map((advance) => [advance.keyText, advance]))
  for (const segment of tick.segments) {
    const facts = { path: segment.path, tableId: segment.tableId }
    invariant('segment.counts', Number.isSafeInteger(segment.rowCount) && segment.rowCount >= 0, facts)
    invariant('segment.bytes', Number.isSafeInteger(segment.bytes) && segment.bytes >= 0, facts)
    let rows = 0
    for (const { range, rows: ofSource, recordedFrom = range.start, ...key } of segment.sources) {
      invariant('G-1.recorded', recordedFrom >= 0n && recordedFrom <= range.start, { ...facts, ...key, recordedFrom })
      const advance = byKey.get(sourceKeyText(key))
      const covered = advance && advance.range.start <= range.start && range.end <= advance.range.end
      invariant('G-1.covered', covered === true && range.start <= range.end, { ...facts, ...key, range })
      invariant('G-2.rows', ofSource >= 0 && BigInt(ofSource) <= range.end - range.start, {
        ...facts,
        ...key,
        ofSource,
      })
      rows += ofSource
    }
    invariant('segment.rows', rows === segment.rowCount, { ...facts, rows, rowCount: segment.rowCount })
  }
}

/** Letters leave the dead letters exactly as they are counted: those that became rows, and those that were filtered. */
export function checkMasks({ masks = [], advances }: FlushTick): void {
  const masked = masks.reduce((sum, { offsets }) => sum + maskedCount(offsets), 0)
  const counted = advances.reduce(
    (sum, { source, recordsIn }) => (source.startsWith(LETTERS_SOURCE) ? sum + recordsIn : sum),
    0,
  )
  invariant('G-1.masked', masked === counted, { masked, counted })
  for (const { tableId, offsets } of masks) invariant('mask.empty', maskedCount(offsets) > 0, { tableId })
}
