/**
 * Histories for the rebuild's tests: a lake of two tables (rows and dead letters), fed by a Kafka topic-partition and an HTTP
 * producer, told as what its files say. Writers commit, crash with any part of their files written, find their sources
 * stale, leave files behind; a compactor takes segments over, or crashes before its commit; a sweep deletes what is consumed.
 *
 * What an offset becomes is fixed: of five the last is a dead letter, of seven Kafka records one is filtered.
 */
import type { Coverage } from '../../schemas/coverage.ts'
import { type SourceKey, sourceKeyText } from '../../schemas/coverage.ts'
import type { BucketFacts, KnownCatalog, MetadataFile, SegmentFile, TableShape } from './facts.ts'
import { createSourceRanges, type Ranges, type SourceRanges } from './offset-ranges.ts'
import { type CommitRecord, type RecordedAdvance, type RecordedSource, segmentPath } from './segment-record.ts'

export const ROOT = 'file:///lake'
export const TABLES = [
  { tableId: 1, name: 't', location: `${ROOT}/t-1` },
  { tableId: 2, name: 't__dead_letters', location: `${ROOT}/t__dead_letters-2` },
] as const
export const SOURCES: readonly SourceKey[] = [
  { pipeline: 'p', source: 'kafka:t:1', partition: 0 },
  { pipeline: 'http:t', source: 'http:producer', partition: 0 },
]

export type Step = {
  readonly kind:
    | 'tick'
    | 'crash'
    | 'stale'
    | 'merge'
    | 'merge-crash'
    | 'compact'
    | 'compact-crash'
    | 'sweep'
    | 'writer'
    | 'copy'
  readonly a: number
  readonly b: number
  readonly c: number
}

/** The table that an offset's record goes to; undefined: it was filtered. */
export function tableOf(source: number, offset: number): 1 | 2 | undefined {
  if (source === 0 && offset % 7 === 3) return undefined
  return offset % 5 === 4 ? 2 : 1
}

type Row = `${number}/${number}`
type File = {
  readonly path: string
  readonly tableId: 1 | 2
  readonly rows: readonly Row[]
  readonly file: SegmentFile
}
type Source = { end: number; recorded: number; isBegun: boolean }
type Writer = {
  readonly id: string
  readonly epoch: number
  number: number
  attempts: number
  readonly dropped: number[]
  position: number[]
  isDead: boolean
}
type TableState = {
  version: bigint
  live: File[]
  snapshot: { rows: Row[]; ranges: SourceRanges; metadata: MetadataFile } | undefined
  leaseEpoch: number
  sequence: bigint
}
type State = { sources: Source[]; tables: TableState[] }

export type History = {
  readonly bucket: BucketFacts
  /** What the catalog said when a `copy` was made last; undefined when none was. */
  readonly copy: KnownCatalog | undefined
  /** Committed: ends of sources, versions of tables. */
  readonly ends: readonly number[]
  readonly versions: readonly bigint[]
  readonly epochs: number
  readonly rowsOf: (path: string) => readonly Row[]
}

export function runHistory(steps: readonly Step[]): History {
  const files = new Map<string, File>()
  const metadata = new Map<string, MetadataFile & { readonly rows: readonly Row[] }>()
  const state: State = {
    sources: SOURCES.map(() => ({ end: 0, recorded: 0, isBegun: false })),
    tables: TABLES.map(() => ({ version: 0n, live: [], snapshot: undefined, leaseEpoch: 0, sequence: 0n })),
  }
  const writers: Writer[] = []
  let copy: KnownCatalog | undefined

  function newWriter(): Writer {
    const epoch = writers.length + 1
    const id = `${String(epoch).padStart(8, '0')}-0000-4000-8000-000000000000`
    const writer = {
      id,
      epoch,
      number: 0,
      attempts: 0,
      dropped: [],
      position: state.sources.map(({ end }) => end),
      isDead: false,
    }
    writers.push(writer)
    return writer
  }

  type Attempt = { parts: File[]; taken: { source: number; start: number; end: number }[]; record: Map<number, Source> }

  /** Reads on from the writer's own position; `before` are attempts in flight. */
  function attempt(writer: Writer, step: Step, inFlight: Map<number, Source>): Attempt {
    writer.attempts += 1
    const taken = SOURCES.flatMap((_, source) => {
      const count = (source === 0 ? step.a : step.b) % 9
      const start = writer.position[source]
      return count === 0 ? [] : [{ source, start, end: start + count }]
    })
    const record = new Map(inFlight)
    const advances = taken.map(({ source, start, end }): RecordedAdvance => {
      const before = inFlight.get(source) ?? state.sources[source]
      return {
        ...SOURCES[source],
        range: { start: BigInt(start), end: BigInt(end) },
        recordedFrom: BigInt(Math.min(before.recorded, start)),
        isFirst: !before.isBegun && before.recorded <= start,
        recordsIn: end - start,
        recordsDead: 0,
        recordsFiltered: 0,
      }
    })
    const rowsOf = (tableId: 1 | 2) =>
      taken.flatMap(({ source, start, end }) =>
        Array.from({ length: end - start }, (_, i) => start + i)
          .filter((offset) => tableOf(source, offset) === tableId)
          .map((offset): Row => `${source}/${offset}`),
      )
    const tableIds = ([1, 2] as const).filter((tableId) => rowsOf(tableId).length > 0)
    const parts = tableIds.map((tableId) => {
      writer.number += 1
      return { tableId, number: writer.number }
    })
    const sourcesOf = (tableId: 1 | 2) =>
      taken.flatMap(({ source }, place) => {
        const rows = rowsOf(tableId).filter((row) => row.startsWith(`${source}/`)).length
        const first = tableIds.find((each) => rowsOf(each).some((row) => row.startsWith(`${source}/`)))
        // A source without rows is recorded by the first segment, as if all were of one pipeline.
        if (rows === 0 && (first !== undefined || tableId !== tableIds[0])) return []
        return [{ place, rows }]
      })
    if (tableIds.length > 0) {
      for (const { source, end } of taken) record.set(source, { end, recorded: end, isBegun: true })
    }
    const commit: CommitRecord = {
      commitId: `${writer.id}/${writer.attempts}`,
      tick: writer.attempts,
      settled: step.c % 3 === 0 ? writer.attempts - 1 - inFlightTicks(inFlight) : 0,
      dropped: writer.dropped,
      parts,
      versions: new Map(),
      advances,
      sources: tableIds.map((tableId) => sourcesOf(tableId).map(({ place }) => place)),
    }
    const made = tableIds.map((tableId, index): File => {
      const { location, name } = TABLES[tableId - 1]
      const path = segmentPath(location, writer.id, parts[index].number)
      const sources = sourcesOf(tableId).map(({ place, rows }): RecordedSource => ({ ...advances[place], rows }))
      const own = { ...commit, versions: new Map([[tableId, state.tables[tableId - 1].version]]) }
      const record = {
        table: name,
        schemaId: 0,
        commitId: commit.commitId,
        writerId: writer.id,
        writerEpoch: writer.epoch,
        sources,
        definition: { ...SHAPE, tableId, name, location, schemaId: 0, columns: [] },
        commit: own,
      }
      const rows = rowsOf(tableId)
      const file = {
        path,
        bytes: 1,
        etag: 'e',
        checksum: undefined,
        rowCount: rows.length,
        bounds: [],
        record,
        merge: undefined,
      }
      return { path, tableId, rows, file }
    })
    for (const { source, end } of taken) writer.position[source] = end
    return { parts: made, taken, record }
  }

  const inFlightTicks = (inFlight: Map<number, Source>) => (inFlight.size > 0 ? 3 : 0)
  const isCurrent = (writer: Writer) =>
    writer.position.every((position, source) => position === state.sources[source].end)

  function commitTick(writer: Writer, step: Step): void {
    if (!isCurrent(writer)) {
      staleTick(writer, step)
      return
    }
    const { parts, taken, record } = attempt(writer, step, new Map())
    for (const part of parts) files.set(part.path, part)
    for (const { source, end } of taken) {
      const recorded = record.get(source) ?? state.sources[source]
      state.sources[source] = { ...recorded, end }
    }
    for (const part of parts) {
      const table = state.tables[part.tableId - 1]
      table.version += 1n
      table.live.push(part)
    }
  }

  /** All of its files, or a part of them, stay behind; the process starts again from the coverage. */
  function staleTick(writer: Writer, step: Step): void {
    const { parts } = attempt(writer, step, new Map())
    if (step.c % 2 === 0) for (const part of parts) files.set(part.path, part)
    writer.dropped.push(writer.attempts)
    writer.position = state.sources.map(({ end }) => end)
  }

  function crash(writer: Writer, step: Step): void {
    let inFlight = new Map<number, Source>()
    for (let tick = 0; tick <= step.c % 3; tick += 1) {
      const { parts, record } = attempt(writer, { ...step, c: 1, a: step.a + tick, b: step.b + 2 * tick }, inFlight)
      const written = (step.c >> 2) % (parts.length + 1)
      for (const part of tick % 2 === 0 ? parts.slice(0, written) : parts) files.set(part.path, part)
      inFlight = record
    }
    writer.isDead = true
    newWriter()
  }

  /** The newest live segments of a table become one. */
  function merge(writer: Writer, step: Step, commits: boolean): void {
    const { location } = TABLES[step.a % 2]
    const own = state.tables[step.a % 2]
    const inputs = own.live.slice(-((step.b % 4) + 2))
    if (inputs.length < 2) return
    writer.number += 1
    const path = `${location}/segments/${writer.id}-merged-${String(writer.number).padStart(8, '0')}.parquet`
    const newest = inputs[inputs.length - 1].file
    const sources = new Map<string, RecordedSource>()
    for (const source of inputs.flatMap(({ file }) => file.record.sources)) {
      const key = sourceKeyText(source)
      const before = sources.get(key)
      if (!before) sources.set(key, { ...source, isFirst: undefined })
      else
        sources.set(key, {
          ...before,
          range: { start: before.range.start, end: source.range.end },
          rows: before.rows + source.rows,
        })
    }
    const rows = inputs.flatMap((each) => each.rows)
    const commitId = `${writer.id}/merge-${writer.number}`
    const told = inputs.flatMap(({ file }) => file.merge?.inputs ?? [{ path: file.path, commit: file.record.commit }])
    const replaces = inputs.flatMap(({ file }) => (file.merge ? [...file.merge.replaces, file.path] : []))
    const record = {
      ...newest.record,
      commitId,
      writerId: writer.id,
      writerEpoch: writer.epoch,
      sources: [...sources.values()],
      commit: undefined,
    }
    const file = { ...newest, path, rowCount: rows.length, record, merge: { commitId, replaces, inputs: told } }
    const made = { path, tableId: inputs[0].tableId, rows, file }
    files.set(path, made)
    if (!commits) return
    own.live = [...own.live.slice(0, -inputs.length), made]
    own.version += 1n
    // Inputs are dead now, and go when they are old enough; here some do at once.
    for (const [index, input] of inputs.entries()) if ((step.c + index) % 3 === 0) files.delete(input.path)
  }

  function compact(step: Step, commits: boolean): void {
    const table = TABLES[step.a % 2]
    const own = state.tables[step.a % 2]
    const taken = own.live.slice(0, (step.b % 5) + 1)
    if (taken.length === 0) return
    const ranges = own.snapshot?.ranges.copy() ?? createSourceRanges()
    for (const { file } of taken) {
      for (const source of file.record.sources) {
        ranges.add(sourceKeyText(source), { start: source.recordedFrom, end: source.range.end })
      }
    }
    const rows = [...(own.snapshot?.rows ?? []), ...taken.flatMap((each) => each.rows)]
    if (step.c % 3 === 0) own.leaseEpoch += 1
    const sequence = own.sequence + 1n
    const path = `${table.location}/metadata/${sequence}-${step.c}-${metadata.size}.metadata.json`
    const log = own.snapshot ? [...own.snapshot.metadata.log, own.snapshot.metadata.path] : []
    const made = {
      path,
      epoch: own.leaseEpoch,
      sequence,
      base: log.at(-1),
      log,
      checksum: '',
      shape: { ...SHAPE, tableId: table.tableId, name: table.name },
      tableVersion: own.version,
      snapshotRows: rows.length,
      writerId: undefined,
      missing: [],
      checkpoint: checkpointOf(ranges, rows),
      reachable: new Set([path, ...log]),
      rows,
    }
    metadata.set(path, made)
    if (!commits) {
      // Whoever goes on after a crash holds the lease under a higher epoch.
      own.leaseEpoch += 1
      return
    }
    own.snapshot = { rows, ranges, metadata: made }
    own.live = own.live.slice(taken.length)
    own.sequence = sequence
    own.version += 1n
  }

  function sweep(step: Step): void {
    const live = new Set(state.tables.flatMap((table) => table.live.map(({ path }) => path)))
    const consumed = [...files.values()].filter(({ path, tableId, file }) => {
      const { snapshot } = state.tables[tableId - 1]
      const inSnapshot = file.record.sources.every((source) =>
        (snapshot?.ranges.of(sourceKeyText(source)) ?? []).some(
          (range) => range.start <= source.range.start && source.range.end <= range.end,
        ),
      )
      return !live.has(path) && inSnapshot
    })
    for (const [index, { path }] of consumed.entries()) if ((step.a + index) % 3 > 0) files.delete(path)
  }

  newWriter()
  for (const step of steps) {
    const alive = writers.filter(({ isDead }) => !isDead)
    const writer = alive[step.kind === 'stale' ? step.a % alive.length : alive.length - 1]
    if (step.kind === 'tick') commitTick(writer, step)
    else if (step.kind === 'stale') commitTick(writer, { ...step, a: step.b })
    else if (step.kind === 'crash') crash(writer, step)
    else if (step.kind === 'merge') merge(writer, step, true)
    else if (step.kind === 'merge-crash') merge(writer, step, false)
    else if (step.kind === 'compact') compact(step, true)
    else if (step.kind === 'compact-crash') compact(step, false)
    else if (step.kind === 'sweep') sweep(step)
    else if (step.kind === 'writer') newWriter()
    else copy = knownOf(state, writers)
  }

  const folders = TABLES.map(({ location }) => {
    const segments = [...files.values()].map(({ file }) => file).filter(({ path }) => path.startsWith(`${location}/`))
    const own = [...metadata.values()].filter(({ path }) => path.startsWith(`${location}/`))
    return { location, metadata: own, segments, damaged: [], paths: [...segments, ...own].map(({ path }) => path) }
  })
  return {
    bucket: { root: ROOT, folders: folders.filter(({ paths }) => paths.length > 0), strangers: [] },
    copy,
    ends: state.sources.map(({ end }) => end),
    versions: state.tables.map(({ version }) => version),
    epochs: writers.length,
    rowsOf: (path) => files.get(path)?.rows ?? metadata.get(path)?.rows ?? [],
  }
}

const SHAPE: Omit<TableShape, 'tableId' | 'name'> = {
  schemas: [{ schemaId: 0, columns: [] }],
  partition: [],
  sort: [],
  properties: {},
  lastFieldId: 16,
}

function checkpointOf(ranges: SourceRanges, rows: readonly Row[]): Coverage[] {
  return SOURCES.flatMap((key, source) => {
    const own: Ranges = ranges.of(sourceKeyText(key))
    const count = rows.filter((row) => row.startsWith(`${source}/`)).length
    return own.length === 0 ? [] : [coverageOf(key, own, count, undefined)]
  })
}

function coverageOf(key: SourceKey, ranges: Ranges, rows: number, recordedEnd: bigint | undefined): Coverage {
  const none = { recordsDead: 0n, recordsFiltered: 0n, logEnd: undefined, caughtUpAt: undefined }
  return { ...key, ranges, recordsIn: BigInt(rows), ...none, recordedEnd }
}

function knownOf({ sources, tables }: State, writers: readonly Writer[]): KnownCatalog {
  return {
    tables: tables.map((table, index) => ({
      ...SHAPE,
      ...TABLES[index],
      version: table.version,
      metadataLocation: table.snapshot?.metadata.path,
      leaseEpoch: table.leaseEpoch,
      live: table.live.map(({ path, file }, place) => ({
        segmentId: place + 1,
        path,
        commitId: file.record.commitId,
        sources: file.record.sources,
      })),
      removedPaths: new Set<string>(),
      heldPaths: new Set<string>(),
    })),
    coverage: sources.flatMap(({ end, recorded, isBegun }, source) =>
      end === 0
        ? []
        : [coverageOf(SOURCES[source], [{ start: 0n, end: BigInt(end) }], end, isBegun ? BigInt(recorded) : undefined)],
    ),
    writers: writers.map(({ id, epoch }) => ({ writerId: id, epoch, isFenced: false })),
  }
}
