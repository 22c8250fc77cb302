/**
 * The snapshot commit: the lease holder swaps a table's metadata from exactly the one it read.
 *
 *   1. a commit id that landed before gets the same answer again
 *   2. the writer must not be fenced, and the lease must be its own: holder and epoch
 *   3. metadata_location must be the expected one; consumed segments must be live, and older live segments of the same
 *      sources must be consumed with them: a snapshot's coverage is a prefix
 *   4. consumed segments and removed files get the new version as their removed_version and a tombstone each; nothing
 *      is deleted
 *
 * If we stop before the commit point, a restart sees the old snapshot and files of ours that nothing refers to; after it,
 * the new snapshot, and a retry under the same commit id is told so.
 */
import { sql } from 'kysely'
import type { CrashPoint } from '../../runtime/world.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, SnapshotCommit, SnapshotResult } from './catalog.ts'
import type { Tx } from './database.ts'
import { findCommit, insertCommit } from './flush-tick.ts'
import { metadataChecksumText, snapshotAnswerOf, snapshotAnswerText, sourcesOf } from './rows-as-values.ts'
import type { Transactions } from './transactions.ts'
import { requireLive } from './writers-and-leases.ts'

const ROWS_AT_ONCE = 200

type LiveSegment = { readonly segmentId: number; readonly path: string; readonly sourceKeys: readonly string[] }

export function snapshotCommit({ write }: Transactions, crashPoint: CrashPoint): Pick<Catalog, 'commitSnapshot'> {
  return {
    async commitSnapshot(commit) {
      checkCommit(commit)
      const result = await write((tx, now) => commitIn(tx, commit, now, crashPoint))
      if (result.outcome === 'committed') crashPoint('catalog/snapshot-after-commit')
      return result
    },
  }
}

function checkCommit(commit: SnapshotCommit): void {
  const { lease, writer, tableId, metadataLocation } = commit
  const facts = { tableId, metadataLocation }
  invariant('lease.table', lease.tableId === tableId && lease.holder === writer.writerId, facts)
  invariant('snapshot.metadata', metadataLocation !== commit.expectedMetadataLocation, facts)
  invariant('snapshot.removed', !commit.removedPaths.includes(metadataLocation), facts)
  for (const rows of [commit.rowsAdded, commit.snapshotRows]) {
    invariant('snapshot.rows', Number.isSafeInteger(rows) && rows >= 0, { ...facts, rows })
  }
  invariant('snapshot.segments', new Set(commit.consumedSegmentIds).size === commit.consumedSegmentIds.length, facts)
}

async function commitIn(tx: Tx, commit: SnapshotCommit, now: bigint, crashPoint: CrashPoint): Promise<SnapshotResult> {
  const landed = await findCommit(tx, commit.commitId, 'snapshot')
  if (landed !== undefined) return { outcome: 'already-committed', version: snapshotAnswerOf(landed) }
  await requireLive(tx, commit.writer)
  await requireLease(tx, commit)
  const consumed = await consumedSegments(tx, commit)
  if (typeof consumed === 'string') return { outcome: 'conflict', reason: consumed }

  const version = await swapMetadata(tx, commit)
  if (version === undefined) {
    return { outcome: 'conflict', reason: 'the metadata location is not the expected one any more' }
  }
  await removeSegments(tx, consumed, version, now)
  await insertTombstones(tx, commit, consumed, version, now)
  await tx
    .insertInto('snapshots')
    .values({
      table_id: commit.tableId,
      version,
      metadata_location: commit.metadataLocation,
      epoch: commit.lease.epoch,
      rows_added: commit.rowsAdded,
      snapshot_rows: commit.snapshotRows,
      commit_id: commit.commitId,
      committed_at: now,
    })
    .execute()
  await insertCommit(tx, commit.commitId, 'snapshot', snapshotAnswerText(version), now)
  crashPoint('catalog/snapshot-before-commit')
  return { outcome: 'committed', version }
}

async function requireLease(tx: Tx, { lease, tableId }: SnapshotCommit): Promise<void> {
  const row = await tx.selectFrom('leases').selectAll().where('table_id', '=', BigInt(tableId)).executeTakeFirst()
  if (row && row.holder === lease.holder && row.epoch === BigInt(lease.epoch)) return
  const now = row ? `epoch ${row.epoch}, holder "${row.holder}"` : 'nobody'
  throw new MillraceError('lease-lost', `lease of table ${tableId} with epoch ${lease.epoch} is gone; now ${now}`)
}

/** The live segments to consume, or why not. */
async function consumedSegments(tx: Tx, commit: SnapshotCommit): Promise<LiveSegment[] | string> {
  if (commit.consumedSegmentIds.length === 0) return []
  const rows = await tx
    .selectFrom('segments')
    .select(['segment_id', 'path', 'sources_json'])
    .where('table_id', '=', BigInt(commit.tableId))
    .where('removed_version', 'is', null)
    .orderBy('segment_id')
    .execute()
  const wanted = new Set(commit.consumedSegmentIds)
  const skipped = new Map<string, number>()
  const consumed: LiveSegment[] = []
  for (const row of rows) {
    const segmentId = Number(row.segment_id)
    const sourceKeys = sourcesOf(row.sources_json).map(sourceKeyText)
    if (!wanted.has(segmentId)) {
      for (const key of sourceKeys) if (!skipped.has(key)) skipped.set(key, segmentId)
      continue
    }
    const older = sourceKeys.map((key) => skipped.get(key)).find((id) => id !== undefined)
    if (older !== undefined) return `segment ${older} is live, older than segment ${segmentId}, and of the same source`
    consumed.push({ segmentId, path: row.path, sourceKeys })
    wanted.delete(segmentId)
  }
  if (wanted.size > 0) return `segments ${[...wanted].slice(0, 10).join(', ')} are not live`
  return consumed
}

/** The commit itself: one conditional UPDATE that names the old metadata and the lease's epoch. */
async function swapMetadata(tx: Tx, commit: SnapshotCommit): Promise<bigint | undefined> {
  const { expectedMetadataLocation: expected, lease, tableId } = commit
  const row = await tx
    .updateTable('tables')
    .set({
      metadata_location: commit.metadataLocation,
      metadata_checksum: metadataChecksumText(commit.metadataChecksum, commit.metadataLocation),
      version: sql<bigint>`version + 1`,
      snapshot_rows: commit.snapshotRows,
    })
    .where('table_id', '=', BigInt(tableId))
    .where((is) =>
      expected === undefined ? is('metadata_location', 'is', null) : is('metadata_location', '=', expected),
    )
    .where(({ exists, selectFrom }) =>
      exists(
        selectFrom('leases')
          .select('leases.epoch')
          .where('leases.table_id', '=', BigInt(tableId))
          .where('leases.epoch', '=', BigInt(lease.epoch))
          .where('leases.holder', '=', lease.holder),
      ),
    )
    .returning('version')
    .executeTakeFirst()
  return row?.version
}

async function removeSegments(tx: Tx, consumed: readonly LiveSegment[], version: bigint, now: bigint): Promise<void> {
  for (let from = 0; from < consumed.length; from += ROWS_AT_ONCE) {
    const ids = consumed.slice(from, from + ROWS_AT_ONCE).map(({ segmentId }) => BigInt(segmentId))
    const changed = await tx
      .updateTable('segments')
      .set({ removed_version: version, removed_at: now })
      .where('segment_id', 'in', ids)
      .where('removed_version', 'is', null)
      .executeTakeFirst()
    if (changed.numUpdatedRows !== BigInt(ids.length)) {
      throw new MillraceError('commit-conflict', `segments of table were removed during the commit`)
    }
  }
}

async function insertTombstones(
  tx: Tx,
  commit: SnapshotCommit,
  consumed: readonly LiveSegment[],
  version: bigint,
  now: bigint,
): Promise<void> {
  const segmentPaths = new Set(consumed.map(({ path }) => path))
  const files = new Set(commit.removedPaths.filter((path) => !segmentPaths.has(path)))
  const common = { table_id: commit.tableId, removed_version: version, removed_at: now }
  const rows = [
    ...consumed.map(({ segmentId, path }) => ({ ...common, path, segment_id: segmentId })),
    ...[...files].map((path) => ({ ...common, path, segment_id: null })),
  ]
  for (let from = 0; from < rows.length; from += ROWS_AT_ONCE) {
    await tx
      .insertInto('tombstones')
      .values(rows.slice(from, from + ROWS_AT_ONCE))
      .execute()
  }
}
