/**
 * A snapshot's summary: the totals that the Iceberg spec names, and who committed it from where.
 */
import { checkpointSummary } from './checkpoint.ts'
import type { Checkpoint, DataFile, SnapshotRequest } from './iceberg.ts'
import { COMMIT_ID_KEY, LEASE_EPOCH_KEY, WRITER_ID_KEY } from './table-metadata.ts'

export function snapshotSummary(
  { base, add, operation, commitId, writerId, leaseEpoch }: SnapshotRequest,
  removed: readonly DataFile[],
  totals: { readonly files: number; readonly rows: number },
  checkpoint: Checkpoint,
): Readonly<Record<string, string>> {
  const addedBytes = bytesOf(add)
  const removedBytes = bytesOf(removed)
  const parentBytes = base?.currentSnapshot ? base.currentSnapshot.summary['total-files-size'] : '0'
  const partitions = new Set([...add, ...removed].map((file) => JSON.stringify(file.partition, exactText)))
  const summary: Record<string, string> = { operation }
  const put = (key: string, value: number) => {
    if (value > 0) summary[key] = String(value)
  }
  put('added-data-files', add.length)
  put('added-records', rowsOf(add))
  put('added-files-size', addedBytes)
  put('deleted-data-files', removed.length)
  put('deleted-records', rowsOf(removed))
  put('removed-files-size', removedBytes)
  summary['changed-partition-count'] = String(partitions.size)
  summary['total-records'] = String(totals.rows)
  summary['total-data-files'] = String(totals.files)
  if (parentBytes !== undefined && /^\d+$/.test(parentBytes)) {
    summary['total-files-size'] = String(BigInt(parentBytes) + BigInt(addedBytes) - BigInt(removedBytes))
  }
  summary['total-delete-files'] = '0'
  summary['total-position-deletes'] = '0'
  summary['total-equality-deletes'] = '0'
  summary[COMMIT_ID_KEY] = commitId
  summary[WRITER_ID_KEY] = writerId
  summary[LEASE_EPOCH_KEY] = String(leaseEpoch)
  return Object.assign(summary, checkpointSummary(checkpoint))
}

function exactText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value
}

function rowsOf(files: readonly DataFile[]): number {
  return files.reduce((sum, file) => sum + file.rowCount, 0)
}

function bytesOf(files: readonly DataFile[]): number {
  return files.reduce((sum, file) => sum + file.bytes, 0)
}
