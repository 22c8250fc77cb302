/**
 * The segments of a bucket as flush ticks: which are live, and what every other one is. Pure.
 *
 *   merged segments   stand for segments of committed ticks; one that lies outside its table's snapshot is live
 *   known segments    live in the catalog, and still so unless a newer snapshot has them
 *   ticks             all other segments by commit id; `choose-ticks.ts` says which count
 *
 * A tick is *proven* committed when a later file of its process says so, when a file of it was merged, or when the catalog
 * knows one. It is *refuted* when its process says that it gave it up.
 */
import { LETTERS_SOURCE, type OffsetRange, type SourceKey, sourceKeyText } from '../../schemas/coverage.ts'
import { chooseTicks, type TickAdvance, type TickCandidate, tableSource } from './choose-ticks.ts'
import type { Problem, RebuildOptions, TableDraft } from './draft.ts'
import type { KnownSegment, SegmentFile } from './facts.ts'
import { createSourceRanges, holdsRange, meetsRange, type SourceRanges } from './offset-ranges.ts'
import { type CommitRecord, type PartName, type RecordedSource, segmentPath } from './segment-record.ts'

/**
 * in-snapshot   its rows are in the table's snapshot
 * merged        its rows are in a merged segment
 * superseded    its offsets are in by other files, or its process gave it up: a tick that never committed
 * incomplete    other files of its tick are missing: a tick that never committed, or lost a file
 * gap           offsets before it are in no file; Kafka is read again from there
 * replayed      a replay of dead letters that nothing proves committed or not, and another one has its numbers: unlike offsets,
 *               they may stand for other letters
 * unsequenced   rows of senders without a producer sequence, and nothing proves that they were acknowledged
 */
export type LeftOutReason = 'in-snapshot' | 'merged' | 'superseded' | 'incomplete' | 'gap' | 'replayed' | 'unsequenced'

export type LeftOut = {
  readonly path: string
  readonly table: string
  readonly rows: number
  readonly reason: LeftOutReason
  readonly detail: string
  /** The file stays until a human decides: it may be the only one with its rows. */
  readonly isHeld: boolean
}

export type DecidedTicks = {
  /** Path → commit id. */
  readonly live: ReadonlyMap<string, string>
  readonly liveRows: number
  readonly leftOut: readonly LeftOut[]
  readonly problems: readonly Problem[]
  readonly notes: readonly string[]
  /** Everything consumed, by source; and what of it the files themselves record. */
  readonly covered: SourceRanges
  readonly recorded: SourceRanges
  readonly keys: ReadonlyMap<string, SourceKey>
  /** Of the chosen ticks, by source. */
  readonly filtered: ReadonlyMap<string, number>
}

type Certain = { readonly certain: SourceRanges; readonly inTable: SourceRanges }
type PlacedFile = { readonly file: SegmentFile; readonly draft: TableDraft }
type PartState = 'candidate' | 'taken' | 'gone' | 'missing'

type Tick = {
  readonly id: string
  readonly writerId: string
  readonly files: readonly PlacedFile[]
  readonly candidates: readonly PlacedFile[]
  readonly advances: readonly TickAdvance[]
  readonly commit: CommitRecord | undefined
  readonly missing: readonly string[]
  readonly isProven: boolean
  readonly isRefuted: boolean
  readonly isMixed: boolean
}

export function decideTicks(drafts: readonly TableDraft[], facts: Certain, options: RebuildOptions): DecidedTicks {
  const { certain, inTable } = facts
  const recorded = recordedBySnapshots(drafts)
  const keys = keysOf(drafts)
  const live = new Map<string, string>()
  const leftOut: LeftOut[] = []
  const problems: Problem[] = []
  const notes: string[] = []
  const stoodFor = new Set<string>()
  const filtered = new Map<string, number>()
  let liveRows = 0

  function makeLive(draft: TableDraft, path: string, commitId: string, sources: readonly RecordedSource[]): void {
    live.set(path, commitId)
    for (const source of sources) {
      liveRows += source.rows
      const text = sourceKeyText(source)
      const whole = { start: source.recordedFrom, end: source.range.end }
      certain.add(text, whole)
      recorded.add(text, whole)
      inTable.add(tableSource(draft.tableId, text), whole)
    }
  }

  function leave({ file, draft }: PlacedFile, reason: LeftOutReason, detail: string, isHeld: boolean): void {
    leftOut.push({ path: file.path, table: draft.name, rows: file.rowCount, reason, detail, isHeld })
  }

  function takeMerged(placed: PlacedFile): void {
    const { file, draft } = placed
    const merge = file.merge as NonNullable<SegmentFile['merge']>
    const stands = [...merge.inputs.map(({ path }) => path), ...merge.replaces]
    const place = placeOf(placed, inTable)
    if (draft.known?.removedPaths.has(file.path) || place === 'inside')
      leave(placed, 'in-snapshot', 'in the snapshot', false)
    else if (stoodFor.has(file.path)) leave(placed, 'merged', 'merged again', false)
    else if (place === 'mixed' || stands.some((path) => stoodFor.has(path))) {
      leave(placed, 'superseded', 'a merge that never committed', false)
    } else {
      makeLive(draft, file.path, file.record.commitId, file.record.sources)
      for (const path of stands) stoodFor.add(path)
    }
  }

  function keepKnown(draft: TableDraft, segment: KnownSegment, paths: ReadonlySet<string>): void {
    const sources = segment.sources.map((source) => ({
      ...source,
      recordedFrom: source.recordedFrom ?? source.range.start,
    }))
    const meets = sources.some((source) =>
      meetsRange(inTable.of(tableSource(draft.tableId, sourceKeyText(source))), source.range),
    )
    if (stoodFor.has(segment.path) || live.has(segment.path) || meets) return
    if (paths.has(segment.path)) {
      makeLive(draft, segment.path, segment.commitId, sources)
      return
    }
    const rows = sources.reduce((sum, each) => sum + each.rows, 0)
    problems.push({
      kind: 'lost',
      text: `table "${draft.name}": a live segment with ${rows} rows is gone`,
      paths: [segment.path],
    })
  }

  function takeMergedAndKnown(draft: TableDraft): void {
    const there = new Set(draft.folder.paths)
    const merged = draft.folder.segments.filter(({ merge }) => merge !== undefined)
    const outside = merged.filter((file) => placeOf({ file, draft }, inTable) === 'outside')
    const needed = neededFor(outside, there)
    // One that alone has rows of files that are gone was committed; of the others the one that stands for most.
    merged.sort(
      (a, b) =>
        needed(b) - needed(a) ||
        (b.merge?.inputs.length ?? 0) - (a.merge?.inputs.length ?? 0) ||
        (a.path < b.path ? -1 : 1),
    )
    for (const file of merged) takeMerged({ file, draft })
    for (const segment of draft.known?.live ?? []) keepKnown(draft, segment, there)
  }

  function leaveTick(tick: Tick, reason: LeftOutReason, detail: string, isHeld: boolean): void {
    for (const placed of tick.candidates) leave(placed, reason, detail, isHeld)
  }

  /** False when nothing has to be chosen: the tick cannot count, or not without a human. */
  function mayCount(tick: Tick): boolean {
    if (tick.isRefuted) leaveTick(tick, 'superseded', 'its process gave this attempt up', false)
    else if (tick.isMixed) leaveTick(tick, 'superseded', 'other ticks have some of its offsets in a snapshot', false)
    else if (isUnsequenced(tick) && !tick.isProven && !options.takeUnsequenced && tick.missing.length === 0) {
      leaveTick(tick, 'unsequenced', UNSEQUENCED, true)
    } else return true
    return false
  }

  function takeFiles({ candidates }: Tick): void {
    for (const { file, draft } of candidates) makeLive(draft, file.path, file.record.commitId, file.record.sources)
  }

  function takeTick(tick: Tick): void {
    takeFiles(tick)
    for (const { source, range, recordedFrom } of tick.advances) {
      recorded.add(source, { start: recordedFrom, end: range.end })
    }
    for (const advance of tick.commit?.advances ?? []) {
      const text = sourceKeyText(advance)
      filtered.set(text, (filtered.get(text) ?? 0) + advance.recordsFiltered)
    }
    const isPartlyAnonymous =
      !isUnsequenced(tick) && tick.advances.some((each) => isAnonymous(each.source, tick.writerId))
    if (isPartlyAnonymous && !tick.isProven) notes.push(`tick ${tick.id} ${PARTLY_ANONYMOUS}`)
  }

  function leaveUnchosen(tick: Tick, covered: SourceRanges): void {
    if (isIn(tick, covered)) {
      if (isRivalReplay(tick)) leaveTick(tick, 'replayed', REPLAYED, true)
      else leaveTick(tick, 'superseded', 'other ticks have its offsets', false)
      return
    }
    leaveTick(tick, 'gap', gapText(tick, covered), true)
    if (tick.isProven && tick.advances.some(({ isOnce }) => isOnce)) problems.push(questionOf(tick))
  }

  /** Of a tick that is known committed the rest is better than nothing: what is missing is lost either way. */
  function takeWhatIsLeft(tick: Tick, covered: SourceRanges): void {
    const isCovered = isIn(tick, covered)
    const isOutside = tick.candidates.every((placed) => placeOf(placed, inTable) === 'outside')
    if (tick.isProven && isCovered && isOutside) {
      takeFiles(tick)
      const text = `tick ${tick.id} was committed, and files of it are gone; the others are taken`
      problems.push({ kind: 'lost', text, paths: tick.missing })
    } else if (isCovered) leaveTick(tick, 'superseded', 'other ticks have its offsets', false)
    else leaveTick(tick, 'incomplete', `files of its tick are not there: ${tick.missing.join(', ')}`, true)
  }

  for (const draft of drafts) takeMergedAndKnown(draft)
  const ticks = ticksOf(drafts, { inTable, live, stoodFor, leave }).filter(mayCount)
  const incomplete = ticks.filter(({ missing }) => missing.length > 0)
  const candidates = ticks.filter(({ missing }) => missing.length === 0)
  const { chosen, covered, isExhaustive } = chooseTicks(candidates.map(candidateOf), certain, inTable)
  if (!isExhaustive) notes.push(NOT_EXHAUSTIVE)
  const unproven = candidates.filter(({ id, isProven }) => chosen.has(id) && !isProven)
  /** Of two replays with the same numbers, and no proof of either, the one not chosen may be the committed one. */
  const isRivalReplay = ({ advances }: Tick) =>
    unproven.some((other) =>
      other.advances.some(
        ({ source, range }) =>
          isOfLetters(source) && advances.some((each) => each.source === source && meetsRange([range], each.range)),
      ),
    )
  for (const tick of candidates) if (chosen.has(tick.id)) takeTick(tick)
  for (const tick of candidates) if (!chosen.has(tick.id)) leaveUnchosen(tick, covered)
  for (const tick of incomplete) takeWhatIsLeft(tick, covered)
  return { live, liveRows, leftOut, problems, notes, covered, recorded, keys, filtered }
}

const UNSEQUENCED = 'nothing proves that its rows were acknowledged: --take-unsequenced takes them'
const PARTLY_ANONYMOUS =
  'has rows of senders without a producer sequence beside others; it is taken whole, though nothing proves that they were acknowledged'
const REPLAYED =
  'another replay has the numbers of its letters, and nothing proves which of the two was committed: letters of this one may be lost'
const NOT_EXHAUSTIVE =
  'there were too many ticks that exclude each other to look at every combination; the most promising was taken'

function isIn(tick: Tick, covered: SourceRanges): boolean {
  return tick.advances.every(({ source, range }) => holdsRange(covered.of(source), range))
}

/** How many inputs of a merged segment are in no other file. */
function neededFor(merged: readonly SegmentFile[], there: ReadonlySet<string>): (file: SegmentFile) => number {
  const holders = new Map<string, number>()
  for (const { path } of merged.flatMap(({ merge }) => merge?.inputs ?? [])) {
    holders.set(path, (holders.get(path) ?? 0) + 1)
  }
  const isGone = ({ path }: { readonly path: string }) => !there.has(path) && holders.get(path) === 1
  return (file) => (merged.includes(file) ? (file.merge?.inputs.filter(isGone).length ?? 0) : 0)
}

function questionOf(tick: Tick): Problem {
  const rows = tick.candidates.reduce((sum, { file }) => sum + file.rowCount, 0)
  return {
    kind: 'question',
    text: `tick ${tick.id} with ${rows} rows was committed, has rows that cannot be read again, and lies behind a gap`,
    paths: tick.candidates.map(({ file }) => file.path),
  }
}

function gapText(tick: Tick, covered: SourceRanges): string {
  const away = tick.advances.find(({ source, range }) => !holdsRange(covered.of(source), range))
  if (!away) return 'offsets before it are in no file'
  const end = covered.of(away.source).at(-1)?.end ?? 0n
  const [, source, partition] = away.source.split('\u0000')
  return `${source}/${partition}: its offsets [${away.range.start}, ${away.range.end}) do not continue at ${end}`
}

// ---- ticks from files -----------------------------------------------------------------------------------------------

type Around = {
  readonly inTable: SourceRanges
  readonly live: ReadonlyMap<string, string>
  readonly stoodFor: ReadonlySet<string>
  leave(placed: PlacedFile, reason: LeftOutReason, detail: string, isHeld: boolean): void
}

/** Ticks with a file that may become live; what is in a snapshot or merged already is told to `leave`. */
function ticksOf(drafts: readonly TableDraft[], around: Around): Tick[] {
  const { inTable, live, stoodFor, leave } = around
  const groups = new Map<string, { placed: PlacedFile; isCandidate: boolean; isMixed: boolean }[]>()
  for (const draft of drafts) {
    for (const file of draft.folder.segments) {
      if (file.merge || live.has(file.path)) continue
      const placed = { file, draft }
      const place = placeOf(placed, inTable)
      const isGone = draft.known?.removedPaths.has(file.path) === true
      const isDone = isGone || stoodFor.has(file.path) || place === 'inside'
      if (isDone) leave(placed, stoodFor.has(file.path) ? 'merged' : 'in-snapshot', 'its rows are in already', false)
      const id = file.record.commitId
      groups.set(id, [
        ...(groups.get(id) ?? []),
        { placed, isCandidate: !isDone, isMixed: !isDone && place === 'mixed' },
      ])
    }
  }
  const told = commitsTold(drafts)
  const settled = settledOf(told.all)
  const locations = new Map(drafts.map((draft) => [draft.tableId, draft]))
  const ticks: Tick[] = []
  for (const [id, group] of groups) {
    const candidates = group.filter(({ isCandidate }) => isCandidate).map(({ placed }) => placed)
    if (candidates.length === 0) continue
    const { writerId } = candidates[0].file.record
    const commit = told.byId.get(id)
    const files = group.map(({ placed }) => placed)
    const advances = advancesOf(files, commit, writerId)
    const number = commit?.tick ?? 0
    const process = settled.get(writerId)
    const isRefuted = process?.dropped.has(number) === true
    const isSettled = !isRefuted && commit !== undefined && process !== undefined && number <= process.settled
    const partOf = (part: PartName, index: number): { path: string; state: PartState } => {
      const draft = locations.get(part.tableId)
      const path = segmentPath(draft?.folder.location ?? `table ${part.tableId}`, writerId, part.number)
      if (candidates.some(({ file }) => file.path === path)) return { path, state: 'candidate' }
      if (stoodFor.has(path) || live.has(path) || draft?.known?.removedPaths.has(path)) return { path, state: 'taken' }
      if (files.some(({ file }) => file.path === path)) return { path, state: 'gone' }
      const isHeld = ({ source, range }: { source: string; range: OffsetRange }) =>
        holdsRange(inTable.of(tableSource(part.tableId, source)), range)
      const own = commit?.sources?.[index]?.map((place) => commit.advances?.[place])
      // When nobody knows which sources it had, a snapshot must have it if the tick was committed.
      const inSnapshot = own
        ? own.every((advance) => advance && isHeld({ source: sourceKeyText(advance), range: advance.range }))
        : isSettled
      return { path, state: inSnapshot ? 'gone' : 'missing' }
    }
    const parts = (commit?.parts ?? []).map(partOf)
    ticks.push({
      id,
      writerId,
      files,
      candidates,
      advances,
      commit,
      missing: parts.filter(({ state }) => state === 'missing').map(({ path }) => path),
      isProven: isSettled || (!isRefuted && parts.some(({ state }) => state === 'taken')),
      isRefuted,
      isMixed: group.some(({ isMixed }) => isMixed),
    })
  }
  return ticks.sort((a, b) => epochOf(a) - epochOf(b) || (a.commit?.tick ?? 0) - (b.commit?.tick ?? 0))
}

function epochOf({ candidates }: Tick): number {
  return candidates[0].file.record.writerEpoch
}

/** What files say of ticks: their own, and those of the segments that were merged into them. */
function commitsTold(drafts: readonly TableDraft[]) {
  const byId = new Map<string, CommitRecord>()
  const all: { writerId: string; commit: CommitRecord }[] = []
  const note = (writerId: string, commit: CommitRecord | undefined) => {
    if (!commit) return
    all.push({ writerId, commit })
    if (commit.advances || !byId.has(commit.commitId)) byId.set(commit.commitId, commit)
  }
  for (const { folder } of drafts) {
    for (const { record, merge } of folder.segments) {
      note(record.writerId, record.commit)
      for (const { path, commit } of merge?.inputs ?? [])
        note(path.slice(path.lastIndexOf('/') + 1).slice(0, 36), commit)
    }
  }
  return { byId, all }
}

function settledOf(all: readonly { writerId: string; commit: CommitRecord }[]) {
  const processes = new Map<string, { settled: number; dropped: Set<number> }>()
  for (const { writerId, commit } of all) {
    const process = processes.get(writerId) ?? { settled: 0, dropped: new Set() }
    process.settled = Math.max(process.settled, commit.settled)
    for (const tick of commit.dropped) process.dropped.add(tick)
    processes.set(writerId, process)
  }
  return processes
}

function advancesOf(files: readonly PlacedFile[], commit: CommitRecord | undefined, writerId: string): TickAdvance[] {
  const advances = new Map<string, TickAdvance>()
  const note = (key: SourceKey, rest: Omit<TickAdvance, 'source' | 'isOnce'>) => {
    const source = sourceKeyText(key)
    const isOnce = key.source.startsWith(HTTP_PREFIX)
    // Nobody but this process has such a source: nothing continues it, and nothing is read again.
    if (isAnonymous(source, writerId))
      advances.set(source, { ...rest, source, isOnce, recordedFrom: 0n, isFirst: true })
    else advances.set(source, { ...rest, source, isOnce, isFirst: isOnce ? rest.range.start === 0n : rest.isFirst })
  }
  for (const { file } of files) {
    for (const { range, recordedFrom, isFirst, rows: _, ...key } of file.record.sources)
      note(key, { range, recordedFrom, isFirst })
  }
  for (const { range, recordedFrom, isFirst, pipeline, source, partition } of commit?.advances ?? []) {
    note({ pipeline, source, partition }, { range, recordedFrom, isFirst })
  }
  return [...advances.values()]
}

const HTTP_PREFIX = 'http:'

/** `http:<writer id>` is what a process calls senders without a producer. */
function isAnonymous(source: string, writerId: string): boolean {
  return source.split('\u0000')[1] === `${HTTP_PREFIX}${writerId}`
}

function isOfLetters(source: string): boolean {
  return source.split('\u0000')[1].startsWith(LETTERS_SOURCE)
}

function isUnsequenced({ advances, writerId }: Tick): boolean {
  return advances.every(({ source }) => isAnonymous(source, writerId))
}

function candidateOf({ id, candidates, advances, isProven }: Tick): TickCandidate {
  return {
    id,
    epoch: candidates[0].file.record.writerEpoch,
    isProven,
    advances,
    files: candidates.map(({ file, draft }) => ({
      tableId: draft.tableId,
      sources: file.record.sources.map((each) => ({ source: sourceKeyText(each), range: each.range, rows: each.rows })),
    })),
  }
}

/** Where a file's offsets are, as far as its own table's snapshot goes. */
function placeOf({ file, draft }: PlacedFile, inTable: SourceRanges): 'inside' | 'outside' | 'mixed' {
  let inside = 0
  let outside = 0
  for (const source of file.record.sources) {
    const ranges = inTable.of(tableSource(draft.tableId, sourceKeyText(source)))
    if (holdsRange(ranges, source.range)) inside += 1
    else if (meetsRange(ranges, source.range)) return 'mixed'
    else outside += 1
  }
  if (inside === 0) return 'outside'
  return outside === 0 ? 'inside' : 'mixed'
}

function recordedBySnapshots(drafts: readonly TableDraft[]): SourceRanges {
  const recorded = createSourceRanges()
  for (const { metadata } of drafts) {
    for (const coverage of metadata?.checkpoint ?? []) {
      for (const range of coverage.ranges) recorded.add(sourceKeyText(coverage), range)
    }
  }
  return recorded
}

function keysOf(drafts: readonly TableDraft[]): ReadonlyMap<string, SourceKey> {
  const keys = new Map<string, SourceKey>()
  const note = ({ pipeline, source, partition }: SourceKey) => {
    keys.set(sourceKeyText({ pipeline, source, partition }), { pipeline, source, partition })
  }
  for (const { metadata, folder, known } of drafts) {
    for (const coverage of metadata?.checkpoint ?? []) note(coverage)
    for (const { record } of folder.segments) {
      for (const source of record.sources) note(source)
      for (const advance of record.commit?.advances ?? []) note(advance)
    }
    for (const { sources } of known?.live ?? []) for (const source of sources) note(source)
  }
  return keys
}
