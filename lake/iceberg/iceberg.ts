/**
 * Iceberg v2 as plain data: what the compactor hands in, what readers get back. `read.ts` loads metadata and live
 * files; `write.ts` prepares a new snapshot (append, replace, or both at once) and writes manifest, manifest list,
 * checkpoint and metadata; making it visible is the catalog's `commitSnapshot`. Source: Apache Iceberg table spec, v2.
 */

import type { World } from '../../runtime/world.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import type { Table } from '../catalog/catalog.ts'
import type { ObjectStore } from '../object-store/object-store.ts'

/** Sources by `sourceKeyText`. */
export type Sources = ReadonlyMap<string, Coverage>

export type CheckpointName = { readonly path: string; readonly sha256: string }

/** Of a snapshot (`checkpoint.ts`), as it is kept in memory; two that name the same whole one share it. */
export type Checkpoint = CheckpointName & {
  readonly whole: CheckpointName & { readonly sources: Sources }
  /** Instead of those in `whole`; empty when the checkpoint is whole itself. */
  readonly changed: Sources
  /** Of format 1. */
  readonly isOlder?: boolean
}

/** What a new snapshot adds to its parent's checkpoint: the new coverage of every source that moved. */
export type CheckpointStep = { readonly before: Checkpoint | undefined; readonly changed: readonly Coverage[] }

/** One value per partition field: number for int/long/date/hour/day/month/bucket (Iceberg's own ordinal), others by type. */
export type PartitionValue = number | bigint | string | boolean | Uint8Array | null

export type DataFile = {
  readonly path: string
  readonly partition: readonly PartitionValue[]
  readonly rowCount: number
  readonly bytes: number
  /** By field id. */
  readonly columnSizes: ReadonlyMap<number, number>
  readonly valueCounts: ReadonlyMap<number, number>
  readonly nullCounts: ReadonlyMap<number, number>
  readonly nanCounts: ReadonlyMap<number, number>
  /** Iceberg single-value binary; strings cut at 16 code points (upper bound incremented). */
  readonly lowerBounds: ReadonlyMap<number, Uint8Array>
  readonly upperBounds: ReadonlyMap<number, Uint8Array>
  /** Row group starts. */
  readonly splitOffsets: readonly number[]
  /** The table's sort order, only when the file was checked to be in it; else 0. */
  readonly sortOrderId: number
  /** Of the partition spec that `partition` is of; left out: the table's own. See `UNPARTITIONED_SPEC_ID`. */
  readonly specId?: number
  /** CRC32C of the file's bytes (`checksum.ts`); undefined when an older release wrote it. */
  readonly checksum?: string
  /** Of the object as it was put; undefined when an older release wrote it. */
  readonly etag?: string
}

/** A live file of a snapshot. */
export type LiveFile = DataFile & {
  readonly snapshotId: bigint
  readonly sequenceNumber: bigint
  readonly manifestPath: string
}

export type Snapshot = {
  readonly snapshotId: bigint
  readonly parentSnapshotId: bigint | undefined
  readonly sequenceNumber: bigint
  readonly timestampMs: number
  readonly manifestList: string
  readonly schemaId: number
  readonly summary: Readonly<Record<string, string>>
}

/** `raw` is the lossless parse (64-bit integers as bigint); fields we do not know are kept and written back. */
export type TableMetadata = {
  readonly location: string
  readonly tableUuid: string
  readonly lastSequenceNumber: bigint
  readonly currentSnapshot: Snapshot | undefined
  readonly snapshots: readonly Snapshot[]
  readonly currentSchemaId: number
  readonly properties: Readonly<Record<string, string>>
  readonly raw: unknown
}

export type SnapshotRequest = {
  readonly store: ObjectStore
  readonly world: World
  readonly table: Table
  /** The metadata at `table.metadataLocation`; undefined for a table's first snapshot. */
  readonly base: TableMetadata | undefined
  readonly add: readonly DataFile[]
  /** Paths of live files that this snapshot leaves out. */
  readonly remove: readonly string[]
  /** Paths of the manifests that list them; the others need not be read then. Left out: all are. */
  readonly removeFrom?: readonly string[]
  readonly operation: 'append' | 'replace' | 'overwrite'
  /**
   * Coverage of exactly the rows of the new snapshot, kept in a small checkpoint object that the summary names: all of it, or
   * what changes in that of the snapshot before.
   */
  readonly coverage: readonly Coverage[] | CheckpointStep
  /** Default: the newest. An older one as long as a compactor lives that understands no newer one. */
  readonly lakeFormat?: number
  readonly commitId: string
  readonly writerId: string
  readonly leaseEpoch: number
  /**
   * Snapshots that the metadata goes on listing: younger than this many ms, at most `snapshotsMax` with the new one, and
   * named ones besides. What leaves is in `removedPaths`; its bytes stay until the removal is old enough (PROTOCOL 6).
   */
  readonly snapshotAgeMs: number
  readonly snapshotsMax: number
  readonly manifestsMax: number
}

/** Metadata with fewer snapshots and nothing else new. */
export type ExpiryRequest = Omit<
  SnapshotRequest,
  'base' | 'add' | 'remove' | 'operation' | 'coverage' | 'commitId' | 'leaseEpoch' | 'manifestsMax'
> & {
  readonly base: TableMetadata
  /** The time that ages are counted to: that of the plan. */
  readonly nowMs: number
}

export type PreparedSnapshot = {
  readonly metadataLocation: string
  readonly metadataChecksum: string
  /** What was written there, and the current snapshot's checkpoint: need not be read again once it is committed. */
  readonly metadata: TableMetadata
  readonly checkpoint: Checkpoint | undefined
  readonly snapshotId: bigint
  readonly snapshotRows: number
  /** Everything written for this commit; garbage if the commit does not land. */
  readonly writtenPaths: readonly string[]
  /** Referenced by the base metadata and by nothing of the new one: data files, manifests, lists, checkpoints, old metadata. */
  readonly removedPaths: readonly string[]
}
