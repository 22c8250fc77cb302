/**
 * Several live segments of a table become one: same rows, one file instead of many (ADR 18). Ingest does this at
 * `segments.live.max`, when no compactor takes segments over fast enough.
 *
 *   1. a commit id that landed before gets the same answer again
 *   2. the writer must not be fenced
 *   3. all inputs must be live, and every newer live segment of their sources must be among them: the merged one gets the
 *      highest segment id, and live segments of a source stay in commit order
 *   4. the merged segment must say exactly what its inputs say together: rows, sources, ranges
 *   5. inputs get the new version as their removed_version and a tombstone each; coverage does not move
 *
 * If we stop before the commit point, a restart sees the inputs live and a file that nothing refers to; after it, the merged
 * segment, and a retry under the same commit id is told so. A snapshot commit that planned with an input gets `conflict`.
 */

import type { CrashPoint } from '../../runtime/world.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { invariant, isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, NewSegment, SegmentMerge, SegmentMergeResult } from './catalog.ts'
import type { Tx } from './database.ts'
import { findCommit, insertCommit } from './flush-tick.ts'
import { boundsText, snapshotAnswerOf, snapshotAnswerText, sourcesOf, sourcesText } from './rows-as-values.ts'
import { bumpVersions } from './tables-and-schemas.ts'
import type { Transactions } from './transactions.ts'
import { requireLive } from './writers-and-leases.ts'

type Part = Pick<Catalog, 'mergeSegments' | 'liveSegments'>

const ROWS_AT_ONCE = 200

export function segmentMerge({ read, write }: Transactions, crashPoint: CrashPoint): Part {
  return {
    async mergeSegments(merge) {
      invariant('merge.inputs', new Set(merge.inputSegmentIds).size === merge.inputSegmentIds.length, {
        tableId: merge.tableId,
      })
      invariant('merge.table', merge.segment.tableId === merge.tableId && merge.inputSegmentIds.length > 1, {
        tableId: merge.tableId,
      })
      try {
        const result = await write((tx, now) => mergeIn(tx, merge, now, crashPoint))
        if (result.outcome === 'committed') crashPoint('catalog/merge-after-commit')
        return result
      } catch (error) {
        // Thrown, so that nothing of the transaction stays.
        if (isMillraceError(error, 'commit-conflict')) return { outcome: 'conflict', reason: error.message }
        throw error
      }
    },

    liveSegments: () =>
      read(async (tx) => {
        const rows = await tx
          .selectFrom('tables')
          .select(({ selectFrom }) => [
            'table_id',
            'name',
            'version',
            selectFrom('segments')
              .select(({ fn }) => fn.countAll<bigint>().as('live'))
              .whereRef('segments.table_id', '=', 'tables.table_id')
              .where('removed_version', 'is', null)
              .as('live'),
          ])
          .execute()
        return new Map(
          rows.map(({ table_id, name, version, live }) => [
            Number(table_id),
            { name, version, live: Number(live ?? 0n) },
          ]),
        )
      }),
  }
}

async function mergeIn(tx: Tx, merge: SegmentMerge, now: bigint, crashPoint: CrashPoint): Promise<SegmentMergeResult> {
  const landed = await findCommit(tx, merge.commitId, 'merge')
  if (landed !== undefined) return { outcome: 'already-committed', version: snapshotAnswerOf(landed) }
  await requireLive(tx, merge.writer)
  // The table's row first, as every commit does: what is read after it cannot move any more.
  const versions = await bumpVersions(tx, [merge.tableId])
  const version = versions.get(merge.tableId) as bigint
  await checkInputs(tx, merge)
  await removeInputs(tx, merge, version, now)
  await insertMerged(tx, merge, version, now)
  await insertCommit(tx, merge.commitId, 'merge', snapshotAnswerText(version), now)
  crashPoint('catalog/merge-before-commit')
  return { outcome: 'committed', version }
}

async function checkInputs(tx: Tx, merge: SegmentMerge): Promise<void> {
  const live = await tx
    .selectFrom('segments')
    .select(['segment_id', 'schema_id', 'row_count', 'sources_json'])
    .where('table_id', '=', BigInt(merge.tableId))
    .where('removed_version', 'is', null)
    .orderBy('segment_id')
    .execute()
  const wanted = new Set(merge.inputSegmentIds)
  const taken = new Set<string>()
  const inputs: NewSegment['sources'][] = []
  let rows = 0
  for (const row of live) {
    const sources = sourcesOf(row.sources_json)
    if (!wanted.delete(Number(row.segment_id))) {
      const shared = sources.find((source) => taken.has(sourceKeyText(source)))
      if (shared) throw conflict(`segment ${row.segment_id} is newer and of the same source ${shared.source}`)
      continue
    }
    for (const source of sources) taken.add(sourceKeyText(source))
    inputs.push(sources)
    rows += Number(row.row_count)
    invariant('merge.schema', row.schema_id === BigInt(merge.segment.schemaId), { ...row })
  }
  if (wanted.size > 0) throw conflict(`segments ${[...wanted].slice(0, 10).join(', ')} are not live`)
  const { segment } = merge
  invariant('G-1.merged-rows', rows === segment.rowCount, { rows, merged: segment.rowCount, path: segment.path })
  const sources = sourcesText(mergedSources(inputs))
  invariant('G-1.merged-sources', sources === sourcesText(segment.sources), { path: segment.path })
}

function conflict(reason: string): MillraceError {
  return new MillraceError('commit-conflict', reason)
}

/** Sources of segments in commit order, each with one range from the first one's start to the last one's end. */
export function mergedSources(inputs: readonly NewSegment['sources'][]): NewSegment['sources'] {
  const merged = new Map<string, NewSegment['sources'][number]>()
  for (const sources of inputs) {
    for (const source of sources) {
      const keyText = sourceKeyText(source)
      const before = merged.get(keyText)
      if (!before) {
        merged.set(keyText, source)
        continue
      }
      invariant('G-2.merged-range', before.range.end <= source.range.start, { ...source })
      const range = { start: before.range.start, end: source.range.end }
      merged.set(keyText, { ...before, range, rows: before.rows + source.rows })
    }
  }
  return [...merged.values()]
}

async function removeInputs(tx: Tx, merge: SegmentMerge, version: bigint, now: bigint): Promise<void> {
  const ids = [...merge.inputSegmentIds].sort((a, b) => a - b).map(BigInt)
  for (let from = 0; from < ids.length; from += ROWS_AT_ONCE) {
    const some = ids.slice(from, from + ROWS_AT_ONCE)
    const removed = await tx
      .updateTable('segments')
      .set({ removed_version: version, removed_at: now })
      .where('segment_id', 'in', some)
      .where('removed_version', 'is', null)
      .returning(['segment_id', 'path'])
      .execute()
    if (removed.length !== some.length) throw conflict('inputs were removed during the commit')
    const tombstones = removed.map(({ segment_id, path }) => ({
      table_id: merge.tableId,
      path,
      segment_id,
      removed_version: version,
      removed_at: now,
    }))
    await tx.insertInto('tombstones').values(tombstones).execute()
  }
}

async function insertMerged(tx: Tx, merge: SegmentMerge, version: bigint, now: bigint): Promise<void> {
  const { segment } = merge
  await tx
    .insertInto('segments')
    .values({
      table_id: segment.tableId,
      schema_id: segment.schemaId,
      path: segment.path,
      row_count: segment.rowCount,
      bytes: segment.bytes,
      etag: segment.etag ?? null,
      checksum: segment.checksum ?? null,
      bounds_json: boundsText(segment.bounds),
      sources_json: sourcesText(segment.sources),
      touched_grain: segment.touched.grain,
      touched_json: JSON.stringify(segment.touched.values),
      commit_id: merge.commitId,
      writer_id: merge.writer.writerId,
      added_version: version,
      added_at: now,
    })
    .execute()
}
