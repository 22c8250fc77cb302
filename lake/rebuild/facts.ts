/**
 * What a rebuild knows before it decides anything, as plain data: what the bucket holds (`bucket.ts` reads it) and what the
 * catalog still says, when there is one.
 *
 *   bucket   per table folder: metadata with their checkpoints, segments with their footers, names of all files
 *   catalog  tables, live and removed paths, coverage, writers, epochs; absent when the catalog is new
 */
import type { Coverage, OffsetRange, SourceKey } from '../../schemas/coverage.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { ColumnBounds, PartitionField, SortField } from '../catalog/catalog.ts'
import type { MergeRecord } from './merge-record.ts'
import type { CommitRecord, SegmentRecord } from './segment-record.ts'

export type SegmentFile = {
  readonly path: string
  readonly bytes: number
  readonly etag: string | undefined
  readonly checksum: string | undefined
  readonly rowCount: number
  readonly bounds: readonly ColumnBounds[]
  readonly record: SegmentRecord
  /** Of a file that stands for several segments. */
  readonly merge: (Omit<MergeRecord, 'inputs'> & { readonly inputs: readonly MergedInput[] }) | undefined
}

export type MergedInput = { readonly path: string; readonly commit: CommitRecord | undefined }

/** A table as one of its files tells it. */
export type TableShape = {
  readonly tableId: number | undefined
  readonly name: string | undefined
  readonly schemas: readonly { readonly schemaId: number; readonly columns: readonly Column[] }[]
  readonly partition: readonly PartitionField[]
  readonly sort: readonly SortField[]
  readonly properties: Readonly<Record<string, string>>
  readonly lastFieldId: number
}

export type MetadataFile = {
  readonly path: string
  readonly epoch: number
  readonly sequence: bigint
  /** The metadata it was made from; undefined for the first. */
  readonly base: string | undefined
  /** Older metadata that it lists. */
  readonly log: readonly string[]
  readonly checksum: string
  readonly shape: TableShape
  readonly tableVersion: bigint | undefined
  readonly snapshotRows: number
  readonly writerId: string | undefined
  /** Files it refers to that are not there, and those that cannot be read; empty when all is well. */
  readonly missing: readonly string[]
  /** undefined when the checkpoint cannot be read. */
  readonly checkpoint: readonly Coverage[] | undefined
  /** Itself and all it refers to. */
  readonly reachable: ReadonlySet<string>
}

export type DamagedFile = { readonly path: string; readonly why: string }

export type TableFolder = {
  readonly location: string
  /** Read so far, in no order: down to one whose files all exist. */
  readonly metadata: readonly MetadataFile[]
  readonly segments: readonly SegmentFile[]
  readonly damaged: readonly DamagedFile[]
  /** Of all files in the folder, and in the cold store's folder of the same name. */
  readonly paths: readonly string[]
}

export type BucketFacts = {
  readonly root: string
  readonly folders: readonly TableFolder[]
  /** Files under the root that belong to no table. */
  readonly strangers: readonly string[]
}

export type KnownSegment = {
  readonly segmentId: number
  readonly path: string
  readonly commitId: string
  readonly sources: readonly (SourceKey & {
    readonly range: OffsetRange
    readonly rows: number
    readonly recordedFrom?: bigint | undefined
  })[]
}

export type KnownTable = TableShape & {
  readonly tableId: number
  readonly name: string
  readonly location: string
  readonly version: bigint
  readonly metadataLocation: string | undefined
  readonly leaseEpoch: number
  readonly live: readonly KnownSegment[]
  /** Removed at a commit that the catalog knows. */
  readonly removedPaths: ReadonlySet<string>
  /** Kept for a human by an earlier rebuild. */
  readonly heldPaths: ReadonlySet<string>
}

export type KnownWriter = { readonly writerId: string; readonly epoch: number; readonly isFenced: boolean }

export type KnownCatalog = {
  readonly tables: readonly KnownTable[]
  readonly coverage: readonly Coverage[]
  readonly writers: readonly KnownWriter[]
}

export const EMPTY_CATALOG: KnownCatalog = { tables: [], coverage: [], writers: [] }
