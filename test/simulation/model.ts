/**
 * What should be true of the lake, kept apart from it: every commit that landed is looked at in the moment it lands, against
 * what was produced and what was committed before. What it knows of a table is one growing list of rows and, per version,
 * how many of them that version has; nothing ever leaves the list, because a row that was committed stays (G-4).
 *
 *   tick       its files are there with their bytes; each source goes on exactly where it ended; its rows are those of the
 *              offsets it consumed, each once, and the counts say so (G-1, G-2); its writer was not fenced
 *   snapshot   swaps exactly the metadata that was there, by the lease's newest holder; rows of the snapshot and of the live
 *              segments are the rows of the version (G-3); the checkpoint covers the rows of the snapshot and no others
 *   deletion   only what no version has any more, long enough ago, and no reader holds; or what nobody ever referred to,
 *              of a writer that can commit no more
 */
import type { FlushTick, NewSegment, SegmentMerge, SnapshotCommit } from '../../lake/catalog/catalog.ts'
import { createSnapshotReader, reachablePaths, readCheckpoint, readMetadata } from '../../lake/iceberg/read.ts'
import { isOfWriter } from '../../lake/writer-files.ts'
import { type Coverage, type SourceAdvance, sourceKeyText } from '../../schemas/coverage.ts'
import { decodeRows, type Row } from './row-files.ts'
import type { CatalogDatabase, Landing } from './simulated-catalog.ts'
import type { Broker } from './simulated-kafka.ts'
import type { Bucket } from './simulated-store.ts'
import { createTruth, type Truth } from './truth.ts'
import type { Universe } from './universe.ts'

export type TableModel = {
  readonly tableId: number
  readonly isDeadLetters: boolean
  version: bigint
  /** All rows ever committed, in order; `rowsAt[v]` of them are in version v. */
  readonly rows: Row[]
  readonly rowsAt: number[]
  /** By name: the place in `rows`. */
  readonly places: Map<string, number>
  readonly keys: Set<string>
  /** When a row was last found by a comparison. */
  readonly foundIn: number[]
  metadataLocation: string | undefined
  /** Live segments and everything the current metadata refers to. */
  live: Set<string>
  readonly liveSegments: Map<number, string>
}

export type Hold = {
  readonly readerId: string
  readonly versions: ReadonlyMap<number, bigint>
  /** Its promise does not hold (any more): the reader was silent for too long, or asked too late. */
  isBroken: boolean
}

export type Model = {
  readonly truth: Truth
  readonly tables: ReadonlyMap<number, TableModel>
  readonly coverage: ReadonlyMap<string, SourceAdvance>
  tableOpened(tableId: number, deadLettersId: number): void
  writerRegistered(writerId: string): void
  /** Something landed in the catalog (or failed there). */
  landed(landing: Landing): Promise<void>
  deleting(path: string): void
  hold(hold: Hold): void
  letGo(hold: Hold): void
  readonly holds: ReadonlySet<Hold>
  /** The rows of one version as its files give them, read without any request. */
  rowsInFiles(table: TableModel): Promise<Row[]>
  /** What differs between rows that were read and those the version should have, in words; undefined: nothing. */
  difference(table: TableModel, version: bigint, found: readonly Row[]): string | undefined
  catalogMicros(): bigint
  /** Rows of HTTP senders have texts of their own. */
  placeOfHttpRow(text: string): number | undefined
}

type SnapshotContent = { readonly rows: readonly Row[]; readonly checkpoint: readonly Coverage[] }
type Removed = { readonly tableId: number; readonly version: bigint; readonly atMicros: bigint }

export function createModel(parts: {
  universe: Universe
  database: CatalogDatabase
  bucket: Bucket
  broker: Broker
}): Model {
  const { universe, database, bucket, broker } = parts
  const { violation, tally } = universe
  const truth = createTruth(broker)
  const tables = new Map<number, TableModel>()
  const coverage = new Map<string, SourceAdvance>()
  const landedIds = new Set<string>()
  const removed = new Map<string, Removed>()
  const seenRequestRows = new Map<string, bigint>()
  const holds = new Set<Hold>()
  const readers = new Set<string>()
  const expiredReaders = new Set<string>()
  const httpPlaces = new Map<string, number>()
  const writers: string[] = []

  const reader = createSnapshotReader({ store: bucket.direct })
  let comparisons = 0

  const one = <R>(sql: string, ...values: (string | number)[]) => database.prepared(sql).get(...values) as R | undefined

  function catalogMicros(): bigint {
    const latest = one<{ latest: bigint }>('SELECT latest FROM clock')?.latest ?? 0n
    const wall = universe.wallMicros()
    return latest > wall ? latest : wall
  }

  function tableOpened(tableId: number, deadLettersId: number): void {
    for (const [id, isDeadLetters] of [[tableId, false] as const, [deadLettersId, true] as const]) {
      if (tables.has(id)) continue
      tables.set(id, {
        tableId: id,
        isDeadLetters,
        version: 0n,
        rows: [],
        rowsAt: [0],
        places: new Map(),
        keys: new Set(),
        foundIn: [],
        metadataLocation: undefined,
        live: new Set(),
        liveSegments: new Map(),
      })
    }
  }

  function isFenced(writerId: string): boolean {
    const row = one<{ fenced_at: bigint | null }>('SELECT fenced_at FROM writers WHERE writer_id = ?', writerId)
    return row === undefined || row.fenced_at !== null
  }

  function answerOf(commitId: string): Record<string, unknown> | undefined {
    if (landedIds.has(commitId)) return undefined
    const row = one<{ answer_json: string }>('SELECT answer_json FROM commits WHERE commit_id = ?', commitId)
    if (!row) return undefined
    landedIds.add(commitId)
    return JSON.parse(row.answer_json) as Record<string, unknown>
  }

  async function landed({ method, args }: Landing): Promise<void> {
    if (method === 'commitTick') {
      const tick = args[0] as FlushTick
      const answer = answerOf(tick.commitId)
      if (answer) tickLanded(tick, answer as { versions: [number, string][] })
    } else if (method === 'commitSnapshot') {
      const commit = args[0] as SnapshotCommit
      const answer = answerOf(commit.commitId)
      if (answer) await snapshotLanded(commit, BigInt(answer.version as string))
    } else if (method === 'mergeSegments') {
      const merge = args[0] as SegmentMerge
      const answer = answerOf(merge.commitId)
      if (answer) await mergeLanded(merge, BigInt(answer.version as string))
    } else if (method === 'expireReaders') {
      for (const hold of holds) if (!hasRow(hold)) hold.isBroken = true
      for (const readerId of readers) if (!hasRow({ readerId })) expiredReaders.add(readerId)
    } else if (method === 'setReader') {
      readers.add(args[0] as string)
    }
  }

  /** It says that it holds: then its row must say so too, if it was not silent for too long meanwhile. */
  function hold(hold: Hold): void {
    holds.add(hold)
    const rows = database.prepared('SELECT table_id, oldest_version FROM readers WHERE reader_id = ?')
    const oldest = new Map(
      (rows.all(hold.readerId) as { table_id: bigint; oldest_version: bigint }[]).map((row) => [
        Number(row.table_id),
        row.oldest_version,
      ]),
    )
    for (const [tableId, version] of hold.versions) {
      const kept = oldest.get(tableId)
      if (kept !== undefined && kept <= version) continue
      if (oldest.size === 0 && expiredReaders.has(hold.readerId)) hold.isBroken = true
      else
        violation('reader row', `${hold.readerId} holds version ${version} of table ${tableId}, its row says ${kept}`)
    }
  }

  function hasRow({ readerId }: Pick<Hold, 'readerId'>): boolean {
    return one('SELECT 1 AS there FROM readers WHERE reader_id = ?', readerId) !== undefined
  }

  // ---- ticks

  function tickLanded(tick: FlushTick, answer: { versions: [number, string][] }): void {
    tally('landed: tick')
    if (isFenced(tick.writer.writerId)) violation('fencing', `tick ${tick.commitId} landed though its writer is fenced`)
    const found = new Map<string, Row[]>()
    for (const segment of tick.segments) {
      const table = tables.get(segment.tableId)
      if (!table) continue
      const bytes = bucket.peek(segment.path)
      if (!bytes || bytes.length !== segment.bytes) {
        violation('G-4', `segment ${segment.path} is committed and ${bytes ? 'has another length' : 'is not there'}`)
        continue
      }
      const { segment_id } = one<{ segment_id: bigint }>(
        'SELECT segment_id FROM segments WHERE path = ?',
        segment.path,
      )!
      table.liveSegments.set(Number(segment_id), segment.path)
      table.live.add(segment.path)
      for (const row of decodeRows(bytes)) {
        addRow(table, row)
        const key = `${row.source}\u0000${row.partition}`
        const ofSource = found.get(key)
        if (ofSource) ofSource.push(row)
        else found.set(key, [row])
      }
    }
    const unclaimed = new Set(found.keys())
    for (const advance of tick.advances) {
      const key = `${advance.source}\u0000${advance.partition}`
      unclaimed.delete(key)
      checkAdvance(advance, found.get(key) ?? [])
    }
    for (const key of unclaimed) violation('G-2', `rows of ${key} in a tick that consumed nothing of it`)
    for (const [tableId, version] of answer.versions) nextVersion(tableId, BigInt(version))
  }

  /** Its rows. */
  function segmentCommitted(table: TableModel, { path, bytes: length }: NewSegment): readonly Row[] {
    const bytes = bucket.peek(path)
    if (!bytes || bytes.length !== length) {
      violation('G-4', `segment ${path} is committed and ${bytes ? 'has another length' : 'is not there'}`)
      return []
    }
    const { segment_id } = one<{ segment_id: bigint }>('SELECT segment_id FROM segments WHERE path = ?', path)!
    table.liveSegments.set(Number(segment_id), path)
    table.live.add(path)
    return decodeRows(bytes)
  }

  function addRow(table: TableModel, row: Row): void {
    const key = `${row.source} ${row.partition} ${row.offset}`
    if (table.keys.has(key)) violation('G-2', `row ${row.name} is committed twice`)
    table.keys.add(key)
    table.places.set(row.name, table.rows.length)
    if (row.source.startsWith('http:')) httpPlaces.set(row.text, table.rows.length)
    table.rows.push(row)
  }

  function nextVersion(tableId: number, version: bigint): void {
    const table = tables.get(tableId)
    if (!table) return
    if (version !== table.version + 1n)
      violation('G-3', `table ${tableId} went from version ${table.version} to ${version}`)
    table.version = version
    table.rowsAt[Number(version)] = table.rows.length
  }

  function checkAdvance(advance: SourceAdvance, rows: readonly Row[]): void {
    const keyText = sourceKeyText(advance)
    const known = coverage.get(keyText)
    const { start, end } = advance.range
    if (known && known.range.end !== start) {
      violation('G-2', `${keyText} goes on at ${start}, its coverage ended at ${known.range.end}`)
    }
    if (!known) {
      const problem = truth.beginsWrongly(advance)
      if (problem) violation('G-1', problem)
    }
    coverage.set(keyText, {
      ...advance,
      range: { start: known?.range.start ?? start, end },
      recordsIn: advance.recordsIn + (known?.recordsIn ?? 0),
      recordsDead: advance.recordsDead + (known?.recordsDead ?? 0),
      recordsFiltered: advance.recordsFiltered + (known?.recordsFiltered ?? 0),
    })
    for (const problem of truth.problemsOf(advance, rows, seenRequestRows, catalogMicros())) violation('G-1', problem)
  }

  // ---- merges of live segments

  async function mergeLanded(merge: SegmentMerge, version: bigint): Promise<void> {
    tally('landed: merge of live segments')
    const table = tables.get(merge.tableId)
    if (!table) return
    if (isFenced(merge.writer.writerId)) violation('fencing', `merge ${version} landed though its writer is fenced`)
    nextVersion(table.tableId, version)
    const atMicros = catalogMicros()
    for (const id of merge.inputSegmentIds) {
      const path = table.liveSegments.get(id)
      table.liveSegments.delete(id)
      if (path === undefined) violation('G-3', `merge ${version} takes segment ${id}, which is not live`)
      else {
        table.live.delete(path)
        removed.set(path, { tableId: table.tableId, version, atMicros })
      }
    }
    segmentCommitted(table, merge.segment)
    const problem = difference(table, version, await rowsInFiles(table))
    if (problem) violation('G-3', `version ${version} of table ${table.tableId}: ${problem}`)
  }

  // ---- snapshots

  async function snapshotLanded(commit: SnapshotCommit, version: bigint): Promise<void> {
    tally('landed: snapshot')
    const table = tables.get(commit.tableId)
    if (!table) return
    const { lease, writer } = commit
    if (isFenced(writer.writerId)) violation('fencing', `snapshot ${version} landed though its writer is fenced`)
    const holder = one<{ holder: string; epoch: bigint }>(
      'SELECT holder, epoch FROM leases WHERE table_id = ?',
      table.tableId,
    )
    if (holder?.holder !== writer.writerId || holder.epoch !== BigInt(lease.epoch)) {
      violation('fencing', `snapshot ${version} landed under epoch ${lease.epoch}, the lease has ${holder?.epoch}`)
    }
    if (commit.expectedMetadataLocation !== table.metadataLocation) {
      violation('G-3', `snapshot ${version} was made from metadata that is not the table's any more`)
    }
    nextVersion(table.tableId, version)
    table.metadataLocation = commit.metadataLocation
    for (const id of commit.consumedSegmentIds) table.liveSegments.delete(id)
    let reachable: ReadonlySet<string>
    let snapshot: SnapshotContent
    try {
      snapshot = await readSnapshot(commit.metadataLocation)
      reachable = await reachablePaths(bucket.direct, commit.metadataLocation, reader)
    } catch (error) {
      violation('G-4', `version ${version} of table ${table.tableId} cannot be read: ${String(error)}`)
      return
    }
    const live = new Set([...table.liveSegments.values(), ...reachable])
    const atMicros = catalogMicros()
    for (const path of table.live) if (!live.has(path)) removed.set(path, { tableId: table.tableId, version, atMicros })
    table.live = live
    for (const path of live) {
      if (!bucket.peek(path)) violation('G-4', `${path} is live in version ${version} and is not there`)
    }
    const problem = difference(table, version, [...snapshot.rows, ...liveRows(table)])
    if (problem) violation('G-3', `version ${version} of table ${table.tableId}: ${problem}`)
    checkCheckpoint(table, version, snapshot)
  }

  async function readSnapshot(metadataLocation: string): Promise<SnapshotContent> {
    const metadata = await readMetadata(bucket.direct, metadataLocation)
    const files = await reader.liveFiles(metadata.currentSnapshot)
    const rows: Row[] = []
    for (const { path } of files) {
      const bytes = bucket.peek(path)
      if (bytes) rows.push(...decodeRows(bytes))
    }
    return { rows, checkpoint: await readCheckpoint(bucket.direct, metadata) }
  }

  function liveRows(table: TableModel): Row[] {
    const rows: Row[] = []
    for (const path of table.liveSegments.values()) {
      const bytes = bucket.peek(path)
      if (bytes) rows.push(...decodeRows(bytes))
    }
    return rows
  }

  async function rowsInFiles(table: TableModel): Promise<Row[]> {
    const rows = table.metadataLocation === undefined ? [] : (await readSnapshot(table.metadataLocation)).rows
    return [...rows, ...liveRows(table)]
  }

  function difference(table: TableModel, version: bigint, found: readonly Row[]): string | undefined {
    const count = table.rowsAt[Number(version)]
    if (count === undefined) return `no commit made version ${version}`
    comparisons += 1
    for (const { name } of found) {
      const place = table.places.get(name)
      if (place === undefined || place >= count) return `row ${name} is there and was not committed by then`
      if (table.foundIn[place] === comparisons) return `row ${name} is there twice`
      table.foundIn[place] = comparisons
    }
    if (found.length === count) return undefined
    const missing = table.rows.slice(0, count).filter((_, place) => table.foundIn[place] !== comparisons)
    return `${missing.length} rows are missing, the first is ${missing[0].name}`
  }

  /** The checkpoint covers every row of the snapshot, and of no source anything from a live segment's first row on. */
  function checkCheckpoint(table: TableModel, version: bigint, { rows, checkpoint }: SnapshotContent): void {
    const ranges = new Map(checkpoint.map((each) => [`${each.source} ${each.partition}`, each]))
    const counts = new Map<string, number>()
    for (const { source, partition, offset } of rows) {
      const key = `${source} ${partition}`
      counts.set(key, (counts.get(key) ?? 0) + 1)
      const isIn = ranges.get(key)?.ranges.some(({ start, end }) => start <= BigInt(offset) && BigInt(offset) < end)
      if (!isIn) {
        violation('checkpoint', `version ${version}: row ${key} ${offset} is in the snapshot, not in its checkpoint`)
        return
      }
    }
    for (const [key, each] of ranges) {
      if (each.recordsIn !== BigInt(counts.get(key) ?? 0)) {
        violation('checkpoint', `version ${version}: ${key} counts ${each.recordsIn} rows, has ${counts.get(key) ?? 0}`)
      }
    }
    for (const { source, partition, offset } of liveRows(table)) {
      const end = ranges.get(`${source} ${partition}`)?.ranges.at(-1)?.end ?? 0n
      if (BigInt(offset) >= end) continue
      violation('checkpoint', `version ${version}: row ${source} ${offset} is live in a segment, below the checkpoint`)
      return
    }
  }

  // ---- deletions

  function deleting(path: string): void {
    tally('store: object deleted')
    for (const table of tables.values()) {
      if (table.live.has(path)) violation('G-4', `${path} is deleted and live in version ${table.version}`)
    }
    const gone = removed.get(path)
    if (gone) {
      const oldEnough = gone.atMicros + BigInt(Math.floor(universe.shape.snapshotMinAgeMs * 1000))
      if (catalogMicros() < oldEnough) violation('G-4', `${path} is deleted, younger than snapshot.min-age`)
      for (const hold of holds) {
        const version = hold.versions.get(gone.tableId)
        if (hold.isBroken || version === undefined || version >= gone.version) continue
        violation('G-4', `${path} is deleted though ${hold.readerId} holds version ${version} of table ${gone.tableId}`)
      }
      return
    }
    const writerId = writers.find((each) => isOfWriter(path, each))
    if (writerId === undefined) violation('garbage', `${path} is deleted and nobody knows whose it is`)
    else tally(isFenced(writerId) ? 'store: orphan of a fenced writer deleted' : 'store: own refused file deleted')
  }

  return {
    truth,
    tables,
    coverage,
    tableOpened,
    writerRegistered: (writerId) => void writers.push(writerId),
    landed,
    deleting,
    hold,
    letGo: (hold) => void holds.delete(hold),
    holds,
    rowsInFiles,
    difference,
    catalogMicros,
    placeOfHttpRow: (text) => httpPlaces.get(text),
  }
}
