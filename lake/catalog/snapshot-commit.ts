/**
 * The snapshot commit: the lease holder swaps a table's metadata from exactly the one it read.
 *
 *   1. a commit id that landed before gets the same answer again; the writer must not be fenced (`commit-ids.ts`)
 *   2. the lease must be its own: holder and epoch
 *   3. metadata_location must be the expected one; consumed segments must be live, and older live segments of the same
 *      sources must be consumed with them: a snapshot's coverage is a prefix
 *   4. consumed segments and removed files get the new version as their removed_version and a tombstone each; nothing
 *      is deleted. Rows that masks took away and the new files leave out are counted with the masks
 *
 * If we stop before the commit point, a restart sees the old snapshot and files of ours that nothing refers to; after it,
 * the new snapshot, and a retry under the same commit id is told so.
 */
import { sql } from 'kysely'
import type { CrashPoint } from '../../runtime/world.ts'
import { sourceKeyText } from '../../schemas/coverage.ts'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import type { Catalog, SnapshotCommit, SnapshotResult } from './catalog.ts'
import { answerOrLive, findCommit, insertCommit, lockWriter } from './commit-ids.ts'
import type { Tx } from './database.ts'
import { type CatalogDialect, together } from './dialect.ts'
import { applyMasks } from './masks.ts'
import { metadataChecksumText, snapshotAnswerOf, snapshotAnswerText, sourcesOf } from './rows-as-values.ts'
import { insertTombstones, removeSegments } from './segment-rows.ts'
import { OvertakenError, type Time, type Transactions } from './transactions.ts'

type LiveSegment = { readonly segmentId: number; readonly path: string; readonly sourceKeys: readonly string[] }

export function snapshotCommit(
  { dialect, write }: Transactions,
  crashPoint: CrashPoint,
): Pick<Catalog, 'commitSnapshot'> {
  return {
    async commitSnapshot(commit) {
      checkCommit(commit)
      const result = await write((tx, time) => commitIn(tx, dialect, commit, time, crashPoint))
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

async function commitIn(
  tx: Tx,
  dialect: CatalogDialect,
  commit: SnapshotCommit,
  time: Time,
  crashPoint: CrashPoint,
): Promise<SnapshotResult> {
  const [state, landed, lease, table, consumed, now] = await together([
    lockWriter(tx, dialect, commit.writer),
    findCommit(tx, commit.commitId),
    lockLease(tx, dialect, commit.tableId),
    lockTable(tx, dialect, commit.tableId),
    consumedSegments(tx, commit),
    time(),
  ])
  const answered = answerOrLive(state, landed, commit.writer, commit.commitId, 'snapshot')
  if (answered !== undefined) return { outcome: 'already-committed', version: snapshotAnswerOf(answered) }
  requireLease(lease, commit)
  if (!table || (table.metadata_location ?? undefined) !== commit.expectedMetadataLocation) {
    return { outcome: 'conflict', reason: 'the metadata location is not the expected one any more' }
  }
  if (typeof consumed === 'string') return { outcome: 'conflict', reason: consumed }

  const version = table.version + 1n
  await together([
    swapMetadata(tx, commit),
    removeSegments(
      tx,
      dialect,
      consumed.map(({ segmentId }) => segmentId),
      version,
      now,
    ),
    insertTombstones(tx, dialect, commit.tableId, removedFiles(commit, consumed), version, now),
    insertSnapshot(tx, commit, version, now),
    applyMasks(tx, commit.maskedRows ?? new Map(), version, now),
    insertCommit(tx, commit.commitId, 'snapshot', snapshotAnswerText(version), now),
  ])
  crashPoint('catalog/snapshot-before-commit')
  return { outcome: 'committed', version }
}

function lockLease(tx: Tx, dialect: CatalogDialect, tableId: number) {
  return tx
    .selectFrom('leases')
    .select(['holder', 'epoch'])
    .where('table_id', '=', BigInt(tableId))
    .modifyEnd(dialect.locked)
    .executeTakeFirst()
}

function lockTable(tx: Tx, dialect: CatalogDialect, tableId: number) {
  return tx
    .selectFrom('tables')
    .select(['version', 'metadata_location'])
    .where('table_id', '=', BigInt(tableId))
    .modifyEnd(dialect.locked)
    .executeTakeFirst()
}

function requireLease(row: Awaited<ReturnType<typeof lockLease>>, { lease, tableId }: SnapshotCommit): void {
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
async function swapMetadata(tx: Tx, commit: SnapshotCommit): Promise<void> {
  const { expectedMetadataLocation: expected, lease, tableId } = commit
  const { numUpdatedRows } = await tx
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
    .executeTakeFirst()
  if (numUpdatedRows !== 1n) throw new OvertakenError('the table moved during the commit')
}

function removedFiles({ removedPaths }: SnapshotCommit, consumed: readonly LiveSegment[]) {
  const segmentPaths = new Set(consumed.map(({ path }) => path))
  const files = new Set(removedPaths.filter((path) => !segmentPaths.has(path)))
  return [...consumed, ...[...files].map((path) => ({ path, segmentId: undefined }))]
}

async function insertSnapshot(tx: Tx, commit: SnapshotCommit, version: bigint, now: bigint): Promise<void> {
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
}
