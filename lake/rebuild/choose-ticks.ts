/**
 * Which flush ticks of the bucket count. Pure.
 *
 * Committed ticks never overlap: each begins where the coverage ended. Beside them lie ticks that never committed: their
 * process crashed, was fenced, or found its sources stale; the same offsets were then read again, in other portions. Rows of
 * an offset are the same in whichever tick they lie, so any set of whole ticks that covers every offset once is as good as
 * the committed one. What must not be is an offset twice, or one left out that a later tick relies on.
 *
 *   certain     offsets known to be consumed: in a snapshot, or known to the catalog
 *   a tick fits, source by source, when its offsets are
 *     inside      certain: other parts of the same tick went into a snapshot, this one waits
 *     filling     a hole below what is certain: a tick whose rows all went to tables that have no snapshot of it yet
 *     continuing  what is certain and chosen so far, without a gap
 *   and no other chosen tick has any of them, and each of its files lies wholly outside its table's snapshot.
 *
 * A tick that fits and shares nothing with another is taken at once. Where ticks exclude each other all ways are looked at
 * (up to `STATES_MAX`, then the most promising), and the best set wins: most ticks known to be committed, then most rows whose
 * offsets are certain and most offsets filled below (nobody reads either again), then the furthest reach of sources that
 * cannot be read again, then of the others, then most rows, then the highest writers' epochs.
 */
import type { OffsetRange } from '../../schemas/coverage.ts'
import { endOf, holdsRange, lengthOf, meetsRange, type SourceRanges } from './offset-ranges.ts'

export type TickAdvance = {
  /** `sourceKeyText`. */
  readonly source: string
  readonly range: OffsetRange
  readonly recordedFrom: bigint
  /** The source's record begins here; undefined when the file does not say (of the release before). */
  readonly isFirst: boolean | undefined
  /** HTTP: what is lost here cannot be read again. */
  readonly isOnce: boolean
}

/** A file of a tick that is not in its table's snapshot. */
export type TickFile = {
  readonly tableId: number
  /** Whole ranges that the file stands for in its table, and how many rows came from each. */
  readonly sources: readonly { readonly source: string; readonly range: OffsetRange; readonly rows: number }[]
}

export type TickCandidate = {
  readonly id: string
  readonly epoch: number
  readonly isProven: boolean
  readonly advances: readonly TickAdvance[]
  readonly files: readonly TickFile[]
}

export type ChosenTicks = {
  readonly chosen: ReadonlySet<string>
  /** Certain and chosen together. */
  readonly covered: SourceRanges
  /** False when not every way could be looked at. */
  readonly isExhaustive: boolean
}

const STATES_MAX = 5_000

/** @param inTable offsets that a table has already, by `tableSource` */
export function chooseTicks(
  candidates: readonly TickCandidate[],
  certain: SourceRanges,
  inTable: SourceRanges,
): ChosenTicks {
  const rivals = rivalsOf(candidates)
  let states = 0
  let best: State | undefined
  const seen = new Set<string>()

  const startOf = (): State => ({
    open: new Map(candidates.map((each) => [each.id, each])),
    chosen: [],
    covered: certain.copy(),
    inTable: inTable.copy(),
  })

  function explore(state: State): void {
    states += 1
    takeWhatIsFree(state)
    const options = fitting(state).sort(morePromising)
    if (options.length === 0) {
      if (!best || isBetter(state, best, certain)) best = state
      return
    }
    for (const option of options) {
      const next = copyOf(state)
      take(next, option)
      const name = next.chosen
        .flatMap(({ id }) => (rivals.has(id) ? [id] : []))
        .sort()
        .join()
      if (seen.has(name)) continue
      seen.add(name)
      explore(next)
      if (states >= STATES_MAX) return
    }
  }

  /** Until nothing changes: a tick that becomes free may free another. */
  function takeWhatIsFree(state: State): void {
    for (let before = -1; before !== state.chosen.length; ) {
      before = state.chosen.length
      for (const tick of [...state.open.values()]) {
        if (!state.open.has(tick.id) || hasRival(state, tick)) continue
        if (fits(tick, certain, state)) take(state, tick)
      }
    }
  }

  function fitting(state: State): TickCandidate[] {
    return [...state.open.values()].filter((tick) => fits(tick, certain, state))
  }

  function hasRival(state: State, tick: TickCandidate): boolean {
    for (const id of rivals.get(tick.id) ?? []) if (state.open.has(id)) return true
    return false
  }

  function take(state: State, tick: TickCandidate): void {
    state.open.delete(tick.id)
    for (const id of rivals.get(tick.id) ?? []) state.open.delete(id)
    state.chosen.push(tick)
    for (const { source, range, recordedFrom } of tick.advances) {
      const end = endOf(state.covered.of(source))
      const continues = end === undefined || end >= recordedFrom
      const start = continues && recordedFrom < range.start ? recordedFrom : range.start
      state.covered.add(source, { start, end: range.end })
    }
    for (const { tableId, sources } of tick.files) {
      for (const { source, range } of sources) state.inTable.add(tableSource(tableId, source), range)
    }
  }

  explore(startOf())
  // Every exploration ends in a state, so there is one.
  const { chosen, covered } = best as unknown as State
  return { chosen: new Set(chosen.map(({ id }) => id)), covered, isExhaustive: states < STATES_MAX }
}

export function tableSource(tableId: number, source: string): string {
  return `${tableId}\u0000${source}`
}

type State = {
  readonly open: Map<string, TickCandidate>
  readonly chosen: TickCandidate[]
  readonly covered: SourceRanges
  readonly inTable: SourceRanges
}

function copyOf({ open, chosen, covered, inTable }: State): State {
  return { open: new Map(open), chosen: [...chosen], covered: covered.copy(), inTable: inTable.copy() }
}

/** Ticks that cannot both have been committed: they consumed an offset both. */
function rivalsOf(candidates: readonly TickCandidate[]): ReadonlyMap<string, ReadonlySet<string>> {
  const bySource = new Map<string, { id: string; range: OffsetRange }[]>()
  for (const { id, advances } of candidates) {
    for (const { source, range } of advances) {
      if (range.start >= range.end) continue
      const list = bySource.get(source) ?? []
      list.push({ id, range })
      bySource.set(source, list)
    }
  }
  const rivals = new Map<string, Set<string>>()
  const note = (one: string, other: string) => {
    const set = rivals.get(one) ?? new Set()
    set.add(other)
    rivals.set(one, set)
  }
  for (const list of bySource.values()) {
    list.sort((a, b) => (a.range.start < b.range.start ? -1 : a.range.start > b.range.start ? 1 : 0))
    for (let i = 0; i < list.length; i++) {
      for (let j = i + 1; j < list.length && list[j].range.start < list[i].range.end; j++) {
        if (list[i].id === list[j].id) continue
        note(list[i].id, list[j].id)
        note(list[j].id, list[i].id)
      }
    }
  }
  return rivals
}

function fits(tick: TickCandidate, certain: SourceRanges, { covered, inTable }: State): boolean {
  for (const advance of tick.advances) if (!advanceFits(advance, tick.isProven, certain, covered)) return false
  return tick.files.every(({ tableId, sources }) =>
    sources.every(({ source, range }) => !meetsRange(inTable.of(tableSource(tableId, source)), range)),
  )
}

function advanceFits(
  { source, range, recordedFrom, isFirst, isOnce }: TickAdvance,
  isProven: boolean,
  certain: SourceRanges,
  covered: SourceRanges,
): boolean {
  if (holdsRange(certain.of(source), range)) return true
  const now = covered.of(source)
  if (meetsRange(now, range)) return false
  // Known committed: what came before was committed as well, and is lost when no file has it.
  if (isOnce && isProven) return true
  const end = endOf(now)
  // Nothing is known of the source: a tick before this one may have been lost.
  if (end === undefined) return isFirst ?? true
  return range.start < end || recordedFrom <= end
}

/** What to look at first, so that the first way is a good one. */
function morePromising(a: TickCandidate, b: TickCandidate): number {
  return (
    Number(b.isProven) - Number(a.isProven) || b.epoch - a.epoch || compareBigints(reachOf(b), reachOf(a)) || byId(a, b)
  )
}

function reachOf({ advances }: TickCandidate): bigint {
  return advances.reduce((sum, { range }) => sum + range.end - range.start, 0n)
}

function isBetter(one: State, other: State, certain: SourceRanges): boolean {
  const a = meritOf(one, certain)
  const b = meritOf(other, certain)
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return a[i] > b[i]
  return false
}

/** Compared from left to right. */
function meritOf({ chosen, covered }: State, certain: SourceRanges): bigint[] {
  const once = new Set(
    chosen.flatMap(({ advances }) => advances.filter(({ isOnce }) => isOnce).map(({ source }) => source)),
  )
  let filled = 0n
  let onceReach = 0n
  let reach = 0n
  for (const [source, ranges] of covered.entries()) {
    const before = certain.of(source)
    const end = endOf(before) ?? 0n
    const below = lengthOf(ranges.map((range) => ({ start: range.start, end: range.end < end ? range.end : end })))
    filled += below - lengthOf(before)
    const gained = lengthOf(ranges) - below
    if (once.has(source)) onceReach += gained
    else reach += gained
  }
  let rows = 0
  let certainRows = 0
  for (const { files } of chosen) {
    for (const each of files.flatMap(({ sources }) => sources)) {
      rows += each.rows
      if (holdsRange(certain.of(each.source), each.range)) certainRows += each.rows
    }
  }
  const epochs = chosen.reduce((sum, { epoch }) => sum + epoch, 0)
  return [
    BigInt(chosen.filter(({ isProven }) => isProven).length),
    BigInt(certainRows),
    filled,
    onceReach,
    reach,
    BigInt(rows),
    // Of equal sets the one of fewer, larger ticks: its epochs are compared on average.
    chosen.length === 0 ? 0n : BigInt(Math.round((epochs * 1000) / chosen.length)),
  ]
}

function compareBigints(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function byId(a: TickCandidate, b: TickCandidate): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}
