/**
 * At `segments.live.max` ingest makes room before it commits: the newest live segments of a table become one file with all
 * their row groups, which takes their place in one transaction (PROTOCOL 3, ADR 18).
 *
 *   live segments ─▶ plan (pure) ─▶ footer of each ─▶ join and check, put the file ─▶ one transaction ─▶ count again
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
import type { ObjectStore } from '../lake/object-store/object-store.ts'
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
import type { OpenSegment, SegmentJoiner } from './segment-joiner.ts'
import type { UntilAvailable } from './until-available.ts'

export type MergeOutcome =
  /** Fewer segments are live than before. */
  | { readonly outcome: 'merged'; readonly inputs: number; readonly rows: number }
  /** Something moved meanwhile: look again. */
  | { readonly outcome: 'conflict' }
  /** No two segments are small enough. */
  | { readonly outcome: 'nothing' }

export type SegmentMerger = {
  merge(tableName: string): Promise<MergeOutcome>
}

const OPENED_AT_ONCE = 8
const SOURCES_MAX = 5_000
/** A row group tells about 70 bytes a column in the footer, which DuckDB reads anew for every question: a tenth of a millisecond each. */
const ROW_GROUPS_MAX = 128
/** Text in the footer that tells of the inputs. */
const RECORD_BYTES_MAX = 4 * 1024 ** 2

type Opened<Input> = OpenSegment<Input> & {
  /** Ticks' segments in it: itself, or what was merged into it. */
  readonly inputs: readonly MergeInput[]
  readonly replaces: readonly string[]
}

export function createSegmentMerger<Input>(components: {
  catalog: Catalog
  store: Pick<ObjectStore, 'delete'>
  joiner: SegmentJoiner<Input>
  world: World
  writer: Writer
  /** Of a merged file. */
  bytesMax: number
  /** So many segments fewer are enough of one merge. */
  winMin: number
  untilAvailable: UntilAvailable
  onMerged?(segments: number): void
}): SegmentMerger {
  const { catalog, store, joiner, world, writer, untilAvailable } = components
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

  async function openOne(segment: Segment): Promise<Opened<Input>> {
    const { path } = segment
    const opened = await joiner.open(segment)
    const damaged = (what: string, cause?: unknown) =>
      new MillraceError('file-damaged', `${path}: ${what}`, { facts: { path }, cause })
    if (opened.rowCount !== segment.rowCount) {
      throw damaged(`expected ${segment.rowCount} rows, found ${opened.rowCount}`)
    }
    const merged = recordOf(opened.keyValues, damaged)
    return {
      ...opened,
      inputs: merged?.inputs ?? [{ path, commit: opened.keyValues.get(COMMIT_KEY) }],
      replaces: merged ? [...merged.replaces, path] : [],
    }
  }

  function recordOf(keyValues: ReadonlyMap<string, string>, damaged: (what: string, cause: unknown) => MillraceError) {
    try {
      return readMergeRecord(keyValues)
    } catch (cause) {
      throw damaged(cause instanceof Error ? cause.message : String(cause), cause)
    }
  }

  /** Newest first, so that what is read before a maximum is reached is still a run of the newest. */
  async function openAll(planned: readonly Segment[]): Promise<Opened<Input>[]> {
    const newestFirst = [...planned].reverse()
    const opened: Opened<Input>[] = []
    let rowGroups = 0
    let recordBytes = 0
    for (let from = 0; from < newestFirst.length; from += OPENED_AT_ONCE) {
      for (const each of await Promise.all(newestFirst.slice(from, from + OPENED_AT_ONCE).map(openOne))) {
        rowGroups += each.rowGroups
        for (const { path, commit } of each.inputs) recordBytes += path.length + (commit?.length ?? 0)
        if (rowGroups > ROW_GROUPS_MAX || recordBytes > RECORD_BYTES_MAX) return opened.reverse()
        opened.push(each)
      }
    }
    return opened.reverse()
  }

  /** Named once in the log and passed by from then on; it may also have been taken over and swept in the meantime. */
  function ifUnreadable(error: unknown): undefined {
    const path = isMillraceError(error) ? error.facts.path : undefined
    if (!isMillraceError(error) || error.kind !== 'data' || typeof path !== 'string') throw error
    unreadable.add(path)
    world.log.error('a live segment cannot be read or joined; it is not merged', { error, path })
  }

  async function write(table: Table, opened: readonly Opened<Input>[], commitId: string): Promise<NewSegment> {
    const inputs = opened.map(({ segment }) => segment)
    const { schemaId } = inputs[0]
    const schema = table.schemas.find((each) => each.schemaId === schemaId)
    if (!schema) throw new MillraceError('file-schema-mismatch', `${table.name} has no schema ${schemaId}`)
    const facts = mergedFacts(inputs, schema)
    const sources = facts.sources.map((each) => ({ ...each, recordedFrom: each.recordedFrom ?? each.range.start }))
    const definition = opened.at(-1)?.keyValues.get(DEFINITION_KEY)
    number += 1
    const path = mergedSegmentPath(table.location, writer.writerId, number)
    const joined = await joiner.join(path, opened, {
      [TABLE_KEY]: table.name,
      [SCHEMA_KEY]: String(schemaId),
      [COMMIT_ID_KEY]: commitId,
      [WRITER_KEY]: writer.writerId,
      [EPOCH_KEY]: String(writer.epoch),
      [SOURCES_KEY]: sourcesJson(sources),
      ...(definition === undefined ? {} : { [DEFINITION_KEY]: definition }),
      [MERGE_KEY]: mergeJson({
        commitId,
        replaces: opened.flatMap(({ replaces }) => replaces),
        inputs: opened.flatMap((each) => each.inputs),
      }),
    })
    if (joined.rowCount !== facts.rowCount) {
      throw new MillraceError('internal', `merged ${joined.rowCount} rows of ${facts.rowCount}`)
    }
    world.crashPoint('ingest/after-merged-file')
    const { bytes, etag, checksum } = joined
    return { ...facts, tableId: table.tableId, schemaId, path, bytes, etag, checksum }
  }

  return {
    async merge(tableName) {
      const [version] = await untilAvailable('catalog', () => catalog.readTables([tableName], { coverage: false }))
      const planned = plan(version.segments)
      const opened = planned.length < 2 ? [] : await openAll(planned).catch(ifUnreadable)
      if (opened === undefined) return { outcome: 'conflict' }
      if (opened.length < 2) return { outcome: 'nothing' }
      const commitId = world.random.uuid()
      const segment = await write(version.table, opened, commitId).catch(ifUnreadable)
      if (segment === undefined) return { outcome: 'conflict' }
      const inputSegmentIds = opened.map((each) => each.segment.segmentId)
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
