/**
 * From what a bucket holds, and what a catalog still knows, to what the catalog must say: the rebuild's decision, pure
 * (PROTOCOL 7, ADR 15).
 *
 *   1  tables      every folder's shape; two folders of one name or id are a question for a human
 *   2  snapshots   per table the metadata with the highest (epoch, sequence) whose files all exist
 *   3  certain     offsets that are consumed whatever else holds: in snapshots, in merged segments, in the catalog
 *   4  ticks       those that fit and continue without a gap (`choose-ticks.ts`); their files are live
 *   5  the rest    what every other segment is: part of a snapshot, superseded, behind a gap, for a human …
 *   6  numbers     coverage exactly of what is in; versions, ids and epochs above all that any file claims
 *
 * Nothing is guessed twice: a row is in when its offsets are in, once; offsets that are not in are read again.
 */
import type { Coverage } from '../../schemas/coverage.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { betweenStretches } from './between-stretches.ts'
import { tableSource } from './choose-ticks.ts'
import { plannedCoverage } from './coverage-plan.ts'
import type { Problem, RebuildOptions, TableDraft } from './draft.ts'
import type {
  BucketFacts,
  KnownCatalog,
  KnownTable,
  MergedInput,
  MetadataFile,
  SegmentFile,
  TableFolder,
  TableShape,
} from './facts.ts'
import { createSourceRanges, gapsOf, holdsRange, meetsRange, type SourceRanges } from './offset-ranges.ts'
import { segmentNameOf } from './segment-record.ts'
import { joinShapes, shapeOfDefinition } from './table-shape.ts'
import { decideTicks, type LeftOut } from './tick-plan.ts'
import { writerIdOf } from './writer-names.ts'

export type PlannedTable = {
  readonly tableId: number
  readonly name: string
  readonly location: string
  readonly shape: TableShape
  /** Higher than any version that a file or the catalog claims. */
  readonly version: bigint
  readonly metadata: MetadataFile | undefined
  readonly leaseEpoch: number
  /** Segments that become live; those that the catalog has already are not among them. */
  readonly added: readonly { readonly file: SegmentFile; readonly commitId: string }[]
  /** Live in the catalog, and not any more. */
  readonly endedSegmentIds: readonly number[]
  /** Files that nothing will refer to: dead from now on. */
  readonly deadPaths: readonly string[]
  /** Nobody's, and not to be deleted before a human decided. */
  readonly heldPaths: readonly string[]
  /** False when the catalog says all of this already. */
  readonly isChanged: boolean
}

export type RebuildPlan = {
  readonly tables: readonly PlannedTable[]
  readonly coverage: readonly Coverage[]
  readonly bindings: readonly { readonly pipeline: string; readonly tableId: number; readonly topic: string }[]
  /** All writers whose files are there; epoch undefined when no file says. */
  readonly writers: readonly { readonly writerId: string; readonly epoch: number | undefined }[]
  /** New writers get higher ones. */
  readonly epochMax: number
  readonly leftOut: readonly LeftOut[]
  readonly problems: readonly Problem[]
  readonly notes: readonly string[]
  /** Rows in snapshots and in live segments afterwards. */
  readonly rows: { readonly snapshots: number; readonly segments: number }
}

export function planRebuild(bucket: BucketFacts, known: KnownCatalog, options: RebuildOptions): RebuildPlan {
  const problems: Problem[] = []
  const drafts = draftTables(bucket, known, problems)
  const { certain, inTable } = whatIsCertain(drafts, known)
  const ticks = decideTicks(drafts, { certain, inTable }, options)
  problems.push(...ticks.problems)
  const tables = drafts.map((draft) => finishTable(draft, ticks.live, ticks.leftOut))
  const coverage = plannedCoverage(drafts, known, ticks)
  const holes = coverage.filter(({ ranges }) => ranges.length > 1)
  problems.push(...holes.filter(isOnce).map(lostRange))
  const { writers, epochMax } = writersOf(bucket, known)
  return {
    tables,
    coverage,
    bindings: bindingsOf(drafts, ticks.live),
    writers,
    epochMax,
    leftOut: ticks.leftOut.filter(({ reason }) => reason !== 'in-snapshot' && reason !== 'merged'),
    problems,
    notes: [
      ...ticks.notes,
      ...holes.filter((each) => !isOnce(each)).map((each) => `${holesText(each)}: they brought no row, or are lost`),
      ...betweenStretches(coverage),
    ],
    rows: {
      snapshots: drafts.reduce((sum, { metadata }) => sum + (metadata?.snapshotRows ?? 0), 0),
      segments: ticks.liveRows,
    },
  }
}

function isOnce({ source }: Coverage): boolean {
  return source.startsWith('http:')
}

/** An HTTP producer has no offset that brings no row. */
function lostRange(coverage: Coverage): Problem {
  return { kind: 'lost', text: `${holesText(coverage)}, and later ones were acknowledged`, paths: [] }
}

function holesText({ source, partition, ranges }: Coverage): string {
  const holes = gapsOf(ranges).map(({ start, end }) => `[${start}, ${end})`)
  return `offsets ${holes.slice(0, 5).join(', ')} of ${source}/${partition} are in no file`
}

// ---- tables and their snapshots -------------------------------------------------------------------------------------

function draftTables(bucket: BucketFacts, known: KnownCatalog, problems: Problem[]): TableDraft[] {
  const drafts: TableDraft[] = []
  const folders = new Map(bucket.folders.map((folder) => [folder.location, folder]))
  for (const table of known.tables) {
    const empty = { location: table.location, metadata: [], segments: [], damaged: [], paths: [] }
    if (!folders.has(table.location)) folders.set(table.location, empty)
  }
  for (const folder of folders.values()) {
    const table = known.tables.find(({ location }) => location === folder.location)
    for (const { path, why } of folder.damaged) {
      problems.push({ kind: 'broken', text: `${path} cannot be read: ${why}`, paths: [path] })
    }
    const metadata = chooseMetadata(folder, table, problems)
    const shape = joinShapes([
      ...(table ? [table] : []),
      ...(metadata ? [metadata.shape] : []),
      ...byAge(folder.segments).flatMap(({ record }) =>
        record.definition ? [shapeOfDefinition(record.definition)] : [],
      ),
    ])
    const tableId = table?.tableId ?? shape?.tableId
    const name = table?.name ?? shape?.name ?? folder.segments[0]?.record.table
    if (!shape || tableId === undefined || name === undefined) {
      if (folder.paths.length === 0) continue
      problems.push({
        kind: 'question',
        text: `${folder.location}: no file of it says what table it is (files of a release before 0.2 do not); it stays as it is`,
        paths: [],
      })
      continue
    }
    drafts.push({ tableId, name, folder, known: table, shape, metadata })
  }
  return withoutTwins(drafts, problems)
}

function byAge(segments: readonly SegmentFile[]): SegmentFile[] {
  return segments.toSorted(
    (a, b) => a.record.writerEpoch - b.record.writerEpoch || a.record.schemaId - b.record.schemaId,
  )
}

/** Of two folders of one name or id the one that the catalog knows stays; without a catalog that is a human's to say. */
function withoutTwins(drafts: readonly TableDraft[], problems: Problem[]): TableDraft[] {
  return drafts.filter((draft) => {
    const twin = drafts.find(
      (other) => other !== draft && (other.name === draft.name || other.tableId === draft.tableId),
    )
    if (!twin || (draft.known && !twin.known)) return true
    problems.push({
      kind: 'question',
      text: `table "${draft.name}" (id ${draft.tableId}) lies in ${draft.folder.location} and in ${twin.folder.location}: move away the folder that is not to be taken`,
      paths: [draft.folder.location, twin.folder.location],
    })
    return false
  })
}

/**
 * The highest (epoch, sequence) whose files all exist; a broken one before it is told. Of two the later attempt: a holder of the
 * lease makes another one of the same sequence only after the first was refused, and the table has moved since.
 */
function chooseMetadata(
  folder: TableFolder,
  known: KnownTable | undefined,
  problems: Problem[],
): MetadataFile | undefined {
  const inOrder = folder.metadata.toSorted(
    (a, b) =>
      b.epoch - a.epoch ||
      compare(b.sequence, a.sequence) ||
      Number(b.log.includes(a.path)) - Number(a.log.includes(b.path)) ||
      Number(b.path === known?.metadataLocation) - Number(a.path === known?.metadataLocation) ||
      compare(b.tableVersion ?? 0n, a.tableVersion ?? 0n),
  )
  const isWhole = (each: MetadataFile) => each.missing.length === 0 && each.checkpoint !== undefined
  const chosen = inOrder.find(
    (each) => isWhole(each) && (isCommitted(each, folder, known) || !isRefutedByMerge(each, folder)),
  )
  for (const broken of inOrder.slice(0, chosen ? inOrder.indexOf(chosen) : undefined)) {
    if (isWhole(broken)) continue
    problems.push({
      kind: isCommitted(broken, folder, known) ? 'lost' : 'broken',
      text: `metadata ${broken.path} (epoch ${broken.epoch}, sequence ${broken.sequence}) is newer than what is taken, but ${broken.missing.length} of its files are missing or damaged`,
      paths: broken.missing,
    })
  }
  const gone = known?.metadataLocation
  if (gone !== undefined && !folder.paths.includes(gone) && !isAfter(chosen, gone)) {
    problems.push({
      kind: 'lost',
      text: `table "${known?.name}": the snapshot that the catalog names is gone; ${chosen ? 'an older one is taken' : 'there is no other'}`,
      paths: [gone],
    })
  }
  return chosen
}

/** Metadata leaves the bucket some time after newer metadata took its place. */
function isAfter(chosen: MetadataFile | undefined, path: string): boolean {
  const sequence = METADATA_SEQUENCE.exec(path)?.[1]
  return chosen !== undefined && (chosen.log.includes(path) || chosen.sequence > BigInt(sequence ?? 0))
}

const METADATA_SEQUENCE = /\/(\d+)-[^/]*$/

/** Another metadata was made from it, or the catalog points at it. */
function isCommitted(metadata: MetadataFile, folder: TableFolder, known: KnownTable | undefined): boolean {
  return known?.metadataLocation === metadata.path || folder.metadata.some(({ log }) => log.includes(metadata.path))
}

/**
 * A compactor that stopped before its commit may have left metadata that takes some of the segments which were then merged. If
 * the merged one is the only file left with rows of the others, it was committed, and the metadata was not: a segment is
 * live until one of the two has it.
 */
function isRefutedByMerge({ checkpoint }: MetadataFile, folder: TableFolder): boolean {
  const snapshot = createSourceRanges()
  for (const coverage of checkpoint ?? []) {
    for (const range of coverage.ranges) snapshot.add(sourceKeyText(coverage), range)
  }
  const there = new Set(folder.paths)
  const merged = folder.segments.filter((file) => file.merge)
  const isOutside = ({ record }: SegmentFile) =>
    record.sources.every((source) => !meetsRange(snapshot.of(sourceKeyText(source)), source.range))
  return merged.some((file) => {
    const isMixed =
      !isOutside(file) && file.record.sources.some((each) => !holdsRange(snapshot.of(sourceKeyText(each)), each.range))
    if (!isMixed) return false
    const elsewhere = new Set(
      merged
        .flatMap((other) => (other !== file && isOutside(other) ? (other.merge?.inputs ?? []) : []))
        .map(({ path }) => path),
    )
    return file.merge?.inputs.some(
      (input) =>
        !there.has(input.path) && !elsewhere.has(input.path) && isKnownOutside(input, folder.location, snapshot),
    )
  })
}

/** What the input's tick said of the sources that it had. */
function isKnownOutside({ path, commit }: MergedInput, location: string, snapshot: SourceRanges): boolean {
  const name = segmentNameOf(path)
  const place =
    commit?.parts.findIndex(({ number }) => number === name?.number && path.startsWith(`${location}/`)) ?? -1
  const sources = commit?.sources?.[place]?.flatMap((at) => commit.advances?.[at] ?? [])
  return sources?.some((each) => !holdsRange(snapshot.of(sourceKeyText(each)), each.range)) ?? false
}

// ---- what is certain ------------------------------------------------------------------------------------------------

type Certain = {
  /** Consumed offsets by source. */
  readonly certain: SourceRanges
  /** Offsets that a table has in its snapshot, by `tableSource`. */
  readonly inTable: SourceRanges
}

function whatIsCertain(drafts: readonly TableDraft[], known: KnownCatalog): Certain {
  const certain = createSourceRanges()
  const inTable = createSourceRanges()
  for (const coverage of known.coverage) {
    for (const range of coverage.ranges) certain.add(sourceKeyText(coverage), range)
  }
  for (const { tableId, metadata } of drafts) {
    for (const coverage of metadata?.checkpoint ?? []) {
      for (const range of coverage.ranges) {
        certain.add(sourceKeyText(coverage), range)
        inTable.add(tableSource(tableId, sourceKeyText(coverage)), range)
      }
    }
  }
  return { certain, inTable }
}

// ---- numbers --------------------------------------------------------------------------------------------------------

function finishTable(draft: TableDraft, live: ReadonlyMap<string, string>, leftOut: readonly LeftOut[]): PlannedTable {
  const { tableId, name, folder, known, shape, metadata } = draft
  const files = new Map(folder.segments.map((file) => [file.path, file]))
  const knownLive = new Set(known?.live.map(({ path }) => path))
  const adopted = [...live.keys()].flatMap((path) => (knownLive.has(path) ? [] : (files.get(path) ?? [])))
  const added = inCommitOrder(adopted).map((file) => ({ file, commitId: live.get(file.path) ?? file.record.commitId }))
  const endedSegmentIds = (known?.live ?? []).filter(({ path }) => !live.has(path)).map(({ segmentId }) => segmentId)
  const held = leftOut.filter((each) => each.isHeld && files.has(each.path)).map(({ path }) => path)
  const heldOrDamaged = new Set([...held, ...folder.damaged.map(({ path }) => path)])
  const referred = (path: string) =>
    live.has(path) || metadata?.reachable.has(path) || heldOrDamaged.has(path) || known?.removedPaths.has(path)
  // A broken newest metadata, and all that a human may want to look at with it, stays.
  const mayDie = (path: string) =>
    !folder.metadata.some((each) => each !== metadata && each.missing.length > 0 && each.reachable.has(path))
  const deadPaths = folder.paths.filter((path) => writerIdOf(path) !== undefined && !referred(path) && mayDie(path))
  const isChanged =
    !known || known.metadataLocation !== metadata?.path || added.length > 0 || endedSegmentIds.length > 0
  return {
    tableId,
    name,
    location: folder.location,
    shape,
    version: versionOf(draft, isChanged),
    metadata,
    leaseEpoch: Math.max(known?.leaseEpoch ?? 0, ...folder.metadata.map(({ epoch }) => epoch)),
    added,
    endedSegmentIds,
    deadPaths,
    heldPaths: [...heldOrDamaged],
    isChanged,
  }
}

/**
 * As their ticks followed each other: of every source in the order of its offsets, and of what is left the older process
 * first. Committed ticks had one order, so there is one that suits all sources.
 */
export function inCommitOrder(files: readonly SegmentFile[]): SegmentFile[] {
  const bySource = new Map<string, SegmentFile[]>()
  for (const file of files) {
    for (const source of file.record.sources) {
      const key = sourceKeyText(source)
      bySource.set(key, [...(bySource.get(key) ?? []), file])
    }
  }
  const after = new Map<SegmentFile, Set<SegmentFile>>()
  const waitsFor = new Map<SegmentFile, number>(files.map((file) => [file, 0]))
  for (const [key, ofSource] of bySource) {
    const startOf = (file: SegmentFile) =>
      file.record.sources.find((each) => sourceKeyText(each) === key)?.range.start ?? 0n
    ofSource.sort((a, b) => compare(startOf(a), startOf(b)))
    for (let index = 1; index < ofSource.length; index += 1) {
      const earlier = after.get(ofSource[index - 1]) ?? new Set()
      if (!earlier.has(ofSource[index])) waitsFor.set(ofSource[index], (waitsFor.get(ofSource[index]) ?? 0) + 1)
      earlier.add(ofSource[index])
      after.set(ofSource[index - 1], earlier)
    }
  }
  const oldestFirst = files.toSorted(
    (a, b) => a.record.writerEpoch - b.record.writerEpoch || (a.path < b.path ? -1 : 1),
  )
  const ordered: SegmentFile[] = []
  const ready = oldestFirst.filter((file) => waitsFor.get(file) === 0)
  for (let file = ready.shift(); file; file = ready.shift()) {
    ordered.push(file)
    for (const next of after.get(file) ?? []) {
      const left = (waitsFor.get(next) ?? 0) - 1
      waitsFor.set(next, left)
      if (left === 0) ready.unshift(next)
    }
  }
  const placed = new Set(ordered)
  return [...ordered, ...oldestFirst.filter((file) => !placed.has(file))]
}

/** After the highest version that a file claims, at most one came with every file that nothing else explains. */
function versionOf({ tableId, folder, known, metadata }: TableDraft, isChanged: boolean): bigint {
  let claimed = known?.version ?? 0n
  const claim = (version: bigint | undefined) => {
    if (version !== undefined && version > claimed) claimed = version
  }
  for (const { tableVersion } of folder.metadata) claim(tableVersion)
  for (const { record, merge } of folder.segments) {
    claim(record.commit?.versions.get(tableId))
    for (const { commit } of merge?.inputs ?? []) claim(commit?.versions.get(tableId))
  }
  const knownPaths = new Set([
    ...(known?.live ?? []).map(({ path }) => path),
    ...(known?.removedPaths ?? []),
    ...(metadata?.reachable ?? []),
  ])
  const unknown = folder.paths.filter((path) => COMMITTED_BY_NAME.test(path) && !knownPaths.has(path))
  if (known && !isChanged && unknown.length === 0) return known.version
  return claimed + BigInt(unknown.length) + 1n
}

/** Files of which every commit of a table has one. */
const COMMITTED_BY_NAME = /\/segments\/|\.metadata\.json$/

function writersOf(bucket: BucketFacts, known: KnownCatalog): Pick<RebuildPlan, 'writers' | 'epochMax'> {
  const epochs = new Map<string, number | undefined>()
  for (const { writerId, epoch } of known.writers) epochs.set(writerId, epoch)
  for (const { segments, paths } of bucket.folders) {
    for (const path of paths) {
      const writerId = writerIdOf(path)
      if (writerId !== undefined && !epochs.has(writerId)) epochs.set(writerId, undefined)
    }
    for (const { record } of segments) epochs.set(record.writerId, record.writerEpoch)
  }
  const writers = [...epochs].map(([writerId, epoch]) => ({ writerId, epoch }))
  return { writers, epochMax: Math.max(0, ...writers.map(({ epoch }) => epoch ?? 0)) }
}

const KAFKA_SOURCE = /^kafka:([^:]+):/
const NO_TOPIC = ''

/** Of all sources whose rows a table has: which pipeline brought them, from which topic. */
function bindingsOf(drafts: readonly TableDraft[], live: ReadonlyMap<string, string>): RebuildPlan['bindings'] {
  const bindings = new Map<string, RebuildPlan['bindings'][number]>()
  const bind = (tableId: number, pipeline: string, source: string) => {
    for (const topic of new Set([KAFKA_SOURCE.exec(source)?.[1] ?? NO_TOPIC, NO_TOPIC])) {
      bindings.set(`${tableId}\u0000${pipeline}\u0000${topic}`, { tableId, pipeline, topic })
    }
  }
  for (const { tableId, metadata, folder } of drafts) {
    for (const { pipeline, source } of metadata?.checkpoint ?? []) bind(tableId, pipeline, source)
    for (const { path, record } of folder.segments) {
      if (live.has(path)) for (const { pipeline, source } of record.sources) bind(tableId, pipeline, source)
    }
  }
  return [...bindings.values()]
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}
