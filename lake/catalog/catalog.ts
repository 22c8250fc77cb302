/**
 * What is live lives here: one SQL database (SQLite today, PostgreSQL beside it later), one schema, one query builder.
 * PROTOCOL 2-6 in method form. Every write is a conditional statement whose row count is checked; every method is one
 * transaction. Times are the catalog's clock, microseconds. Versions are per table, dense, starting at 0 (empty).
 *
 * Errors: `catalog-busy` (retry), `writer-fenced`, `lease-lost`, `commit-conflict`, `format-too-new`.
 */
import type { Coverage, OffsetRange, SourceAdvance, SourceKey } from '../../schemas/coverage.ts'
import type { MaskedOffsets } from '../../schemas/masked-offsets.ts'
import type { Column, TableSchema } from '../../schemas/table-schema.ts'
import type { Offsets } from './offset-moves.ts'
import type { PartitionStatus, PipelineFacts, TaskState } from './pipeline-facts.ts'

// ---- tables and schemas ---------------------------------------------------------------------------------------------

export type PartitionTransform =
  | { readonly kind: 'identity' | 'hour' | 'day' | 'month' }
  | { readonly kind: 'bucket' | 'truncate'; readonly width: number }

/** `fieldId` of the source column. `name` is the partition field's, e.g. `ts_hour`. `partitionFieldId` from 1000. */
export type PartitionField = {
  readonly fieldId: number
  readonly transform: PartitionTransform
  readonly name: string
  readonly partitionFieldId: number
}

export type SortField = { readonly fieldId: number; readonly descending: boolean; readonly nullsFirst: boolean }

export type NewTable = {
  readonly name: string
  /** Absolute URI without trailing slash: `<root>/<table name>-<table id>`; fixed for the table's life. */
  readonly location: string
  /** User columns; the catalog appends the hidden ones. undefined: schema is not known yet (to be inferred). */
  readonly columns: readonly Column[] | undefined
  readonly partition: readonly PartitionField[]
  readonly sort: readonly SortField[]
  /** Free settings kept with the table (sane time window, event-time column, …). JSON. */
  readonly properties: Readonly<Record<string, string>>
}

export type Table = {
  readonly tableId: number
  readonly name: string
  readonly location: string
  /** All schema versions, oldest first; empty while the schema is not known. The last one is current. */
  readonly schemas: readonly TableSchema[]
  readonly partition: readonly PartitionField[]
  readonly sort: readonly SortField[]
  readonly properties: Readonly<Record<string, string>>
  readonly version: bigint
  readonly metadataLocation: string | undefined
  /** CRC32C of the bytes at `metadataLocation`, 8 hexadecimal digits; undefined when its writer gave none. */
  readonly metadataChecksum?: string | undefined
  /** Largest field id ever given out in this table. */
  readonly lastFieldId: number
}

// ---- writers, readers, leases ---------------------------------------------------------------------------------------

export type Writer = { readonly writerId: string; readonly epoch: number; readonly kind: 'ingest' | 'compactor' }

/**
 * What compactors of this release understand of each other's snapshots; they say so when they register. A newer one keeps to
 * what the oldest live one reads, so that two adjacent releases compact one table.
 *
 *   1   checkpoints are whole, every data file is of one table partition
 *   2   checkpoints may say what changed (`iceberg/checkpoint.ts`); files may lie beside the partitioning (ADR 16)
 */
export const LAKE_FORMAT = 2

export type Lease = {
  readonly tableId: number
  readonly holder: string
  readonly epoch: number
  readonly until: bigint
  /** Newest `LAKE_FORMAT` that every live compactor understands, as it was when the lease was taken. */
  readonly lakeFormat?: number
}

// ---- segments and the flush tick ------------------------------------------------------------------------------------

export type ColumnBounds = {
  readonly fieldId: number
  readonly nullCount: number
  /** Iceberg single-value binary; undefined when all are null, or not kept for this type. */
  readonly lower: Uint8Array | undefined
  readonly upper: Uint8Array | undefined
}

export type NewSegment = {
  readonly tableId: number
  readonly schemaId: number
  /** Absolute URI; the bytes are durable there before the tick commits. */
  readonly path: string
  readonly rowCount: number
  readonly bytes: number
  readonly etag: string | undefined
  /** CRC32C of the file's bytes, 8 lower-case hexadecimal digits. */
  readonly checksum?: string | undefined
  readonly bounds: readonly ColumnBounds[]
  readonly sources: readonly (SourceKey & {
    readonly range: OffsetRange
    readonly rows: number
    /** Where the record kept in files continues: at or before `range.start`; the offsets between brought no file. */
    readonly recordedFrom?: bigint | undefined
  })[]
  /** Hours since epoch of the table's event-time column, bounded: at most 64, else coarsened to days (`grain`). */
  readonly touched: { readonly grain: 'hour' | 'day' | 'all'; readonly values: readonly number[] }
}

export type Segment = NewSegment & {
  readonly segmentId: number
  readonly addedVersion: bigint
  readonly addedAt: bigint
}

export type IdempotencyKey = {
  readonly tableId: number
  readonly key: string
  readonly rows: number
  /** Dead letters of the request. Default 0. */
  readonly dead?: number
}

export type NewMask = {
  /** A table of dead letters. */
  readonly tableId: number
  readonly action: 'replay' | 'discard'
  /** Each is a live row of the table that no other mask has. */
  readonly offsets: readonly MaskedOffsets[]
  readonly requestedBy: string
  readonly why: string
}

/** Rows that readers leave out until a rewrite has (PROTOCOL 5). */
export type Mask = {
  readonly maskId: number
  readonly version: bigint
  readonly createdAt: bigint
  readonly offsets: readonly MaskedOffsets[]
  /** How many of its rows the table's newest files leave out already. */
  readonly appliedRows?: number
}

export type FlushTick = {
  /** Same id on every retry; the second one to land gets the first one's answer. */
  readonly commitId: string
  readonly writer: Writer
  readonly segments: readonly NewSegment[]
  readonly advances: readonly SourceAdvance[]
  readonly idempotencyKeys: readonly IdempotencyKey[]
  readonly masks?: readonly NewMask[]
}

export type TickAnswer = {
  /** New version of every table that got a segment or a mask. */
  readonly versions: ReadonlyMap<number, bigint>
  readonly committedAt: bigint
}

export type TickResult =
  | ({ readonly outcome: 'committed' | 'already-committed' } & TickAnswer)
  /** Nothing was written. These sources' coverage does not end where the tick says (or the schema moved on). */
  | {
      readonly outcome: 'stale'
      readonly stale: readonly { readonly key: SourceKey; readonly coverage: Coverage | undefined }[]
    }
  /** Nothing was written. These keys were committed before, with this many rows. */
  | { readonly outcome: 'duplicate-keys'; readonly keys: readonly (IdempotencyKey & { readonly version: bigint })[] }

// ---- snapshot commit ------------------------------------------------------------------------------------------------

export type SnapshotCommit = {
  readonly commitId: string
  readonly writer: Writer
  readonly lease: Lease
  readonly tableId: number
  readonly expectedMetadataLocation: string | undefined
  readonly metadataLocation: string
  /** CRC32C of the metadata's bytes, 8 lower-case hexadecimal digits. */
  readonly metadataChecksum?: string | undefined
  /** Live segments that the new snapshot contains; marked removed at the new version. */
  readonly consumedSegmentIds: readonly number[]
  /** Files that the old snapshot had and the new one has not; tombstoned at the new version. Data files, manifests, old metadata. */
  readonly removedPaths: readonly string[]
  readonly rowsAdded: number
  /** Rows of the snapshot after the commit, kept for checks and statistics. */
  readonly snapshotRows: number
  /** How many rows of each mask the new snapshot's files leave out that the old ones had. */
  readonly maskedRows?: ReadonlyMap<number, number>
}

export type SnapshotResult =
  | { readonly outcome: 'committed' | 'already-committed'; readonly version: bigint }
  /** metadata_location moved, or an input is not live any more. Plan again. */
  | { readonly outcome: 'conflict'; readonly reason: string }

// ---- merging live segments ------------------------------------------------------------------------------------------

export type SegmentMerge = {
  readonly commitId: string
  readonly writer: Writer
  readonly tableId: number
  /** Live, of one schema, at least two, and with them every newer live segment of their sources. */
  readonly inputSegmentIds: readonly number[]
  /** The same rows in one file. */
  readonly segment: NewSegment
}

export type SegmentMergeResult =
  | { readonly outcome: 'committed' | 'already-committed'; readonly version: bigint }
  /** Nothing was written, and never will be under this commit id: an input is not live any more, or a newer one came. */
  | { readonly outcome: 'conflict'; readonly reason: string }

// ---- reading --------------------------------------------------------------------------------------------------------

/** What one query sees of one table: read with all other tables of the query in one transaction. */
export type TableVersion = {
  readonly table: Table
  readonly version: bigint
  readonly metadataLocation: string | undefined
  readonly segments: readonly Segment[]
  /** Rows in these files that are not of this version. */
  readonly masks?: readonly Mask[]
  /** Of every source with coverage into this table; empty when it was not asked for. */
  readonly coverage: readonly Coverage[]
  readonly readAt: bigint
}

/** Versions, and with them how the pipelines fare: both of one moment. */
export type TableVersions = readonly TableVersion[] & {
  readonly pipelines?: PipelineFacts
  /** Every table that was not asked for by name, at its current version. */
  readonly others?: readonly TableVersion[]
}

export type ReadTablesOptions = {
  /** Ask for `pipelines` of the answer. Default false. */
  readonly pipelines?: boolean
  /** Default true. */
  readonly coverage?: boolean
  /** Ask for `others` of the answer: as they are, or their definitions only, without segments, masks and coverage. */
  readonly others?: 'versions' | 'definitions'
  /** Earlier versions, by table name. One that was replaced longer than `windowMs` ago is `value-out-of-range`. */
  readonly at?: { readonly versions: ReadonlyMap<string, bigint>; readonly windowMs: number }
}

/** A file that is in no version any more since `removedVersion`, with when that was. */
export type DeadFile = {
  readonly tombstoneId: number
  readonly tableId: number
  readonly path: string
  readonly removedVersion: bigint
  readonly removedAt: bigint
}

export type PipelineStatusPart = {
  /** Replaces what was told of these topic-partitions. Throws `writer-fenced`. */
  tellPartitions(writer: Writer, partitions: readonly PartitionStatus[]): Promise<void>
  /** This process runs the pipeline (or no longer: `undefined`). Throws `writer-fenced`. */
  tellTask(writer: Writer, pipeline: string, state: TaskState | undefined, detail?: string): Promise<void>
  pipelineFacts(): Promise<PipelineFacts>
}

export type Catalog = Offsets &
  PipelineStatusPart & {
    /** Microseconds, the catalog's clock. */
    now(): Promise<bigint>

    createTable(table: NewTable): Promise<Table> // `already-exists` when the name is taken
    findTable(name: string): Promise<Table | undefined>
    getTable(tableId: number): Promise<Table>
    listTables(): Promise<readonly Table[]>
    /**
     * Compare-and-set on the number of schemas known: returns the new schema, or undefined when somebody was first. A field may
     * become wider or optional, get another name, or go; a new one has an id that was never given out (`request-invalid`).
     */
    addSchema(tableId: number, expectedSchemas: number, columns: readonly Column[]): Promise<TableSchema | undefined>
    /** Cheap change check: how many schemas every table has. */
    schemaCounts(): Promise<ReadonlyMap<number, number>>

    registerWriter(kind: Writer['kind']): Promise<Writer>
    /** One statement: the writer's heartbeat and all its leases. Throws `writer-fenced`. Returns leases still held. */
    heartbeat(writer: Writer, leaseMs: number): Promise<readonly Lease[]>
    /** Clean goodbye: nothing of this writer is in flight. */
    retireWriter(writer: Writer): Promise<void>
    /** Writers silent for `silentMs` or retired are fenced (no commit of theirs can land any more); returns all fenced ids. */
    fenceSilentWriters(silentMs: number): Promise<readonly string[]>
    writerState(writerId: string): Promise<'live' | 'fenced' | 'unknown'>

    /** undefined when somebody else holds it. A new holder gets a higher epoch. */
    acquireLease(tableId: number, writer: Writer, leaseMs: number): Promise<Lease | undefined>
    releaseLease(lease: Lease): Promise<void>

    /** Asked by name, expired HTTP producers are told too (`expiredAt`); of all sources only those that have coverage. */
    coverage(pipeline: string, sources?: readonly string[]): Promise<readonly Coverage[]>
    /** First use of a source by a pipeline: coverage starts empty at `start` (from auto.offset.reset). No-op if there is one. */
    beginCoverage(key: SourceKey, start: bigint): Promise<Coverage>
    /**
     * Sources stand at the log's end with nothing to commit: freshness without rows, rate-limited by the caller. Gives those back
     * whose coverage ends elsewhere.
     */
    touchCaughtUp(
      writer: Writer,
      keys: readonly (SourceKey & { readonly end: bigint; readonly logEnd: bigint })[],
    ): Promise<readonly (SourceKey & { readonly end: bigint })[]>
    /** Which pipeline feeds which tables, for freshness and for refusing two pipelines on one topic and table. */
    bindPipeline(pipeline: string, tableIds: readonly number[], topics: readonly string[]): Promise<void>

    commitTick(tick: FlushTick): Promise<TickResult>
    findIdempotencyKey(
      tableId: number,
      key: string,
    ): Promise<{ readonly rows: number; readonly dead: number; readonly version: bigint } | undefined>

    commitSnapshot(commit: SnapshotCommit): Promise<SnapshotResult>
    mergeSegments(merge: SegmentMerge): Promise<SegmentMergeResult>
    /** How many segments of each table are live, at which version. */
    liveSegments(): Promise<
      ReadonlyMap<number, { readonly name: string; readonly version: bigint; readonly live: number }>
    >

    /**
     * One transaction; `undefined-table` when a name is not known. Names are lower case. With `coverage: false` no coverage is
     * read and each version's is empty: for those who only plan files.
     */
    readTables(names: readonly string[], options?: ReadTablesOptions): Promise<TableVersions>
    /** Cheap change check: current version of every table. */
    versions(): Promise<ReadonlyMap<string, bigint>>
    /**
     * As long as it is the same, nothing in the catalog has changed: what was read after it was told is still what one would
     * read. Undefined where the database has no way to tell that is cheaper than reading (PostgreSQL).
     */
    changeMark(): Promise<string | undefined>
    /** One row per query process: the oldest version still read of each table. Replaces the process's row. */
    setReader(readerId: string, oldest: ReadonlyMap<number, bigint>): Promise<void>
    dropReader(readerId: string): Promise<void>
    /** Readers silent for longer are forgotten. */
    expireReaders(silentMs: number): Promise<number>

    /** Files whose bytes may go: removed before every reader's oldest version and at least `ageMs` ago. */
    deadFiles(ageMs: number, limit: number): Promise<readonly DeadFile[]>
    /** After their bytes are gone. */
    forgetFiles(tombstoneIds: readonly number[]): Promise<void>
    /** Every path the catalog still knows (live or tombstoned segments, tombstones, metadata locations) of a table. */
    knownPaths(tableId: number): Promise<ReadonlySet<string>>
    /** Commit ids older than 7 days, idempotency keys older than 24 h, HTTP producers idle for 7 days. */
    expireRows(): Promise<void>

    close(): Promise<void>
  }
