/**
 * At `segments.live.max` ingest makes room before it commits: the newest live segments of a table become one file with all
 * their row groups, which takes their place in one transaction (PROTOCOL 3, ADR 18).
 *
 *   live segments ─▶ plan (pure) ─▶ fetch and check each ─▶ join, put the file ─▶ one transaction ─▶ count again
 *
 *   - before the transaction (`ingest/after-merged-file`): a restart sees the inputs live and a file that nothing refers to.
 *   - after it (`ingest/after-merge`): the merged segment is live; its inputs wait as tombstones for the sweep.
 *   - `conflict`: the compactor took an input over, or another process committed one of its sources. The file is deleted, since no
 *     transaction refers to it or ever will; what is live is asked again.
 *
 * When nothing is small enough to be merged, ingest waits for a compactor: no row is lost, sources wait, health says why.
 * Everything has a maximum: bytes, sources and row groups of a merged file, and what its footer tells of its inputs.
 */

import type { Catalog, NewSegment, Segment, SegmentMergeResult, Table, Writer } from '../lake/catalog/catalog.ts'
import { checksumOf } from '../lake/checksum.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { concatParquet, footerOf } from '../lake/parquet/concat.ts'
import type { ParquetFooter } from '../lake/parquet/parquet.ts'
import {
  MERGE_KEY,
  type MergeInput,
  mergedSegmentPath,
  mergeJson,
  readMergeRecord,
} from '../lake/rebuild/merge-record.ts'
import {
  COMMIT_ID_KEY,
  COMMIT_KEY,
  DEFINITION_KEY,
  EPOCH_KEY,
  SCHEMA_KEY,
  SOURCES_KEY,
  sourcesJson,
  TABLE_KEY,
  WRITER_KEY,
} from '../lake/rebuild/segment-record.ts'
import type { World } from '../runtime/world.ts'
import { isMillraceError, MillraceError } from '../schemas/errors.ts'
import { type MergeLimits, mergedFacts, planMerge } from './merge-plan.ts'
import { putOwnFile } from './put-own-file.ts'
import type { UntilAvailable } from './until-available.ts'

export type MergeOutcome =
  /** Fewer segments are live than before. */
  | { readonly outcome: 'merged'; readonly inputs: number; readonly rows: number }
  /** Something moved meanwhile: look again. */
  | { readonly outcome: 'conflict' }
  /** No two segments are small enough. */
  | { readonly outcome: 'nothing' }

/** Whole files in memory: what the footer of one says, and several as one. */
export type SegmentFormat = {
  footerOf(bytes: Uint8Array): Pick<ParquetFooter, 'keyValues' | 'rowGroups' | 'rowCount'>
  concat(
    files: readonly Uint8Array[],
    keyValues: Readonly<Record<string, string>>,
  ): { readonly bytes: Uint8Array; readonly footer: Pick<ParquetFooter, 'rowCount'> }
}

export type SegmentMerger = {
  merge(tableName: string): Promise<MergeOutcome>
}

const PARQUET: SegmentFormat = { footerOf, concat: concatParquet }
const FETCHES_AT_ONCE = 8
const SOURCES_MAX = 5_000
/** A row group tells about 70 bytes a column in the footer, which every reader of the file reads. */
const ROW_GROUPS_MAX = 1_024
/** Text in the footer that tells of the inputs. */
const RECORD_BYTES_MAX = 4 * 1024 ** 2

type Fetched = {
  readonly segment: Segment
  readonly bytes: Uint8Array
  readonly keyValues: ReadonlyMap<string, string>
  readonly rowGroups: number
  /** Ticks' segments in it: itself, or what was merged into it. */
  readonly inputs: readonly MergeInput[]
  readonly replaces: readonly string[]
}

export function createSegmentMerger(components: {
  catalog: Catalog
  store: ObjectStore
  world: World
  writer: Writer
  /** Of a merged file. */
  bytesMax: number
  /** So many segments fewer are enough of one merge. */
  winMin: number
  untilAvailable: UntilAvailable
  onMerged?(segments: number): void
  /** Default: Parquet. */
  format?: SegmentFormat
}): SegmentMerger {
  const { catalog, store, world, writer, untilAvailable, format = PARQUET } = components
  const limits: MergeLimits = { bytesMax: components.bytesMax, sourcesMax: SOURCES_MAX, winMin: components.winMin }
  /** Files that are missing or damaged: told once, and left where they are, for people. */
  const unreadable = new Set<string>()
  let number = 0

  /** Own segments first: those of a process that runs beside this one move while we work. */
  function plan(live: readonly Segment[]): Segment[] {
    const own = planMerge(live, ({ path }) => !path.includes(writer.writerId) || unreadable.has(path), limits)
    if (own.length > limits.winMin) return own
    const all = planMerge(live, ({ path }) => unreadable.has(path), limits)
    return all.length > own.length ? all : own
  }

  async function fetchOne(segment: Segment): Promise<Fetched> {
    const { path } = segment
    const { bytes } = await untilAvailable('reading live segments', () => store.get(path))
    const damaged = (what: string, cause?: unknown) =>
      new MillraceError('file-damaged', `${path}: ${what}`, { facts: { path }, cause })
    const checksum = segment.checksum === undefined ? undefined : checksumOf(bytes)
    if (bytes.length !== segment.bytes || checksum !== segment.checksum) {
      const expected = `${segment.bytes} bytes with checksum ${segment.checksum}`
      throw damaged(`expected ${expected}, found ${bytes.length} with ${checksum}`)
    }
    const { keyValues, rowGroups, rowCount, merged } = read(bytes, damaged)
    if (rowCount !== segment.rowCount) throw damaged(`expected ${segment.rowCount} rows, found ${rowCount}`)
    return {
      segment,
      bytes,
      keyValues,
      rowGroups: rowGroups.length,
      inputs: merged?.inputs ?? [{ path, commit: keyValues.get(COMMIT_KEY) }],
      replaces: merged ? [...merged.replaces, path] : [],
    }
  }

  function read(bytes: Uint8Array, damaged: (what: string, cause: unknown) => MillraceError) {
    try {
      const footer = format.footerOf(bytes)
      return { ...footer, merged: readMergeRecord(footer.keyValues) }
    } catch (cause) {
      throw damaged(cause instanceof Error ? cause.message : String(cause), cause)
    }
  }

  /** Newest first, so that what is read before a maximum is reached is still a run of the newest. */
  async function fetchAll(planned: readonly Segment[]): Promise<Fetched[]> {
    const newestFirst = [...planned].reverse()
    const fetched: Fetched[] = []
    let rowGroups = 0
    let recordBytes = 0
    for (let from = 0; from < newestFirst.length; from += FETCHES_AT_ONCE) {
      for (const each of await Promise.all(newestFirst.slice(from, from + FETCHES_AT_ONCE).map(fetchOne))) {
        rowGroups += each.rowGroups
        for (const { path, commit } of each.inputs) recordBytes += path.length + (commit?.length ?? 0)
        if (rowGroups > ROW_GROUPS_MAX || recordBytes > RECORD_BYTES_MAX) return fetched.reverse()
        fetched.push(each)
      }
    }
    return fetched.reverse()
  }

  /** Named once in the log and passed by from then on; it may also have been taken over and swept in the meantime. */
  function ifUnreadable(error: unknown): undefined {
    const path = isMillraceError(error) ? error.facts.path : undefined
    if (!isMillraceError(error) || error.kind !== 'data' || typeof path !== 'string') throw error
    unreadable.add(path)
    world.log.error('a live segment cannot be read or joined; it is not merged', { error, path })
  }

  /** A file that does not go with the newest one is named, so that it can be left out. */
  function join(fetched: readonly Fetched[], keyValues: Readonly<Record<string, string>>) {
    try {
      return format.concat(
        fetched.map((each) => each.bytes),
        keyValues,
      )
    } catch (cause) {
      const index = isMillraceError(cause) ? cause.facts.index : undefined
      if (!isMillraceError(cause) || typeof index !== 'number') throw cause
      const { path } = fetched[index].segment
      throw new MillraceError(cause.code, `${path}: ${cause.message}`, { cause, facts: { path } })
    }
  }

  async function write(table: Table, fetched: readonly Fetched[], commitId: string): Promise<NewSegment> {
    const inputs = fetched.map(({ segment }) => segment)
    const { schemaId } = inputs[0]
    const schema = table.schemas.find((each) => each.schemaId === schemaId)
    if (!schema) throw new MillraceError('file-schema-mismatch', `${table.name} has no schema ${schemaId}`)
    const facts = mergedFacts(inputs, schema)
    const sources = facts.sources.map((each) => ({ ...each, recordedFrom: each.recordedFrom ?? each.range.start }))
    const definition = fetched.at(-1)?.keyValues.get(DEFINITION_KEY)
    const { bytes, footer } = join(fetched, {
      [TABLE_KEY]: table.name,
      [SCHEMA_KEY]: String(schemaId),
      [COMMIT_ID_KEY]: commitId,
      [WRITER_KEY]: writer.writerId,
      [EPOCH_KEY]: String(writer.epoch),
      [SOURCES_KEY]: sourcesJson(sources),
      ...(definition === undefined ? {} : { [DEFINITION_KEY]: definition }),
      [MERGE_KEY]: mergeJson({
        commitId,
        replaces: fetched.flatMap(({ replaces }) => replaces),
        inputs: fetched.flatMap((each) => each.inputs),
      }),
    })
    if (footer.rowCount !== facts.rowCount) {
      throw new MillraceError('internal', `merged ${footer.rowCount} rows of ${facts.rowCount}`)
    }
    number += 1
    const path = mergedSegmentPath(table.location, writer.writerId, number)
    const info = await untilAvailable('segment upload', () => putOwnFile(store, path, bytes))
    world.crashPoint('ingest/after-merged-file')
    return {
      ...facts,
      tableId: table.tableId,
      schemaId,
      path,
      bytes: bytes.length,
      etag: info.etag,
      checksum: checksumOf(bytes),
    }
  }

  return {
    async merge(tableName) {
      const [version] = await untilAvailable('catalog', () => catalog.readTables([tableName], { coverage: false }))
      const planned = plan(version.segments)
      const fetched = planned.length < 2 ? [] : await fetchAll(planned).catch(ifUnreadable)
      if (fetched === undefined) return { outcome: 'conflict' }
      if (fetched.length < 2) return { outcome: 'nothing' }
      const commitId = world.random.uuid()
      const segment = await write(version.table, fetched, commitId).catch(ifUnreadable)
      if (segment === undefined) return { outcome: 'conflict' }
      const inputSegmentIds = fetched.map((each) => each.segment.segmentId)
      const { tableId } = version.table
      let attempts = 0
      const result: SegmentMergeResult = await untilAvailable('catalog', () => {
        attempts += 1
        return catalog.mergeSegments({ commitId, writer, tableId, inputSegmentIds, segment })
      })
      world.crashPoint('ingest/after-merge')
      if (result.outcome === 'conflict') {
        world.log.info('live segments moved while they were merged; looking again', {
          table: tableName,
          reason: result.reason,
        })
        // After a lost answer the sweep decides: only it knows whether anything refers to the file.
        if (attempts === 1) {
          await store.delete([segment.path]).catch((error: unknown) => {
            world.log.warn('the file of a refused merge stays for the sweep', { error })
          })
        }
        return { outcome: 'conflict' }
      }
      components.onMerged?.(inputSegmentIds.length)
      world.log.info('live segments merged', {
        table: tableName,
        segments: inputSegmentIds.length,
        rows: segment.rowCount,
        bytes: segment.bytes,
      })
      return { outcome: 'merged', inputs: inputSegmentIds.length, rows: segment.rowCount }
    },
  }
}
