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
import { beginCommit, insertCommit } from './commit-ids.ts'
import type { Tx } from './database.ts'
import { type CatalogDialect, together } from './dialect.ts'
import { snapshotAnswerOf, snapshotAnswerText, sourcesOf, sourcesText } from './rows-as-values.ts'
import { insertSegments, insertTombstones, removeSegments } from './segment-rows.ts'
import { bumpVersions, lockTables, requireTables } from './tables-and-schemas.ts'
import type { Time, Transactions } from './transactions.ts'

type Part = Pick<Catalog, 'mergeSegments' | 'liveSegments'>

export function segmentMerge({ dialect, read, write }: Transactions, crashPoint: CrashPoint): Part {
  return {
    async mergeSegments(merge) {
      invariant('merge.inputs', new Set(merge.inputSegmentIds).size === merge.inputSegmentIds.length, {
        tableId: merge.tableId,
      })
      invariant('merge.table', merge.segment.tableId === merge.tableId && merge.inputSegmentIds.length > 1, {
        tableId: merge.tableId,
      })
      try {
        const result = await write((tx, time) => mergeIn(tx, dialect, merge, time, crashPoint))
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

async function mergeIn(
  tx: Tx,
  dialect: CatalogDialect,
  merge: SegmentMerge,
  time: Time,
  crashPoint: CrashPoint,
): Promise<SegmentMergeResult> {
  const { commitId, writer, tableId } = merge
  const answered = await beginCommit(tx, dialect, writer, commitId, 'merge')
  if (answered !== undefined) return { outcome: 'already-committed', version: snapshotAnswerOf(answered) }
  // The table's row first, as every commit does: what is read after it cannot move any more.
  const versions = await lockTables(tx, dialect, [tableId])
  requireTables(versions, [tableId])
  const version = (versions.get(tableId) as bigint) + 1n
  const inputs = await checkInputs(tx, merge)
  const now = await time()
  await together([
    bumpVersions(tx, dialect, [tableId]),
    removeSegments(tx, dialect, merge.inputSegmentIds, version, now),
    insertTombstones(tx, dialect, tableId, inputs, version, now),
    insertSegments(tx, dialect, [merge.segment], new Map([[tableId, version]]), { commitId, writer, now }),
    insertCommit(tx, commitId, 'merge', snapshotAnswerText(version), now),
  ])
  crashPoint('catalog/merge-before-commit')
  return { outcome: 'committed', version }
}

type Input = { readonly segmentId: number; readonly path: string }

async function checkInputs(tx: Tx, merge: SegmentMerge): Promise<Input[]> {
  const live = await tx
    .selectFrom('segments')
    .select(['segment_id', 'path', 'schema_id', 'row_count', 'sources_json'])
    .where('table_id', '=', BigInt(merge.tableId))
    .where('removed_version', 'is', null)
    .orderBy('segment_id')
    .execute()
  const wanted = new Set(merge.inputSegmentIds)
  const taken = new Set<string>()
  const inputs: Input[] = []
  const inputSources: NewSegment['sources'][] = []
  let rows = 0
  for (const row of live) {
    const sources = sourcesOf(row.sources_json)
    if (!wanted.delete(Number(row.segment_id))) {
      const shared = sources.find((source) => taken.has(sourceKeyText(source)))
      if (shared) throw conflict(`segment ${row.segment_id} is newer and of the same source ${shared.source}`)
      continue
    }
    for (const source of sources) taken.add(sourceKeyText(source))
    inputs.push({ segmentId: Number(row.segment_id), path: row.path })
    inputSources.push(sources)
    rows += Number(row.row_count)
    invariant('merge.schema', row.schema_id === BigInt(merge.segment.schemaId), { ...row })
  }
  if (wanted.size > 0) throw conflict(`segments ${[...wanted].slice(0, 10).join(', ')} are not live`)
  const { segment } = merge
  invariant('G-1.merged-rows', rows === segment.rowCount, { rows, merged: segment.rowCount, path: segment.path })
  const sources = sourcesText(mergedSources(inputSources))
  invariant('G-1.merged-sources', sources === sourcesText(segment.sources), { path: segment.path })
  return inputs
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
