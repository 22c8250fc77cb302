/**
 * The files that make up one table version, as one list: live files of the snapshot, and live segments. Metadata is
 * immutable per location, so parsed metadata and manifests are kept in small caches.
 */
import type { ColumnBounds, Segment, Table, TableVersion } from '../../lake/catalog/catalog.ts'
import type { LiveFile, PartitionValue, TableMetadata } from '../../lake/iceberg/iceberg.ts'
import { mayPartitionMatch } from '../../lake/iceberg/partition-match.ts'
import { createSnapshotReader, readMetadata } from '../../lake/iceberg/read.ts'
import type { ObjectStore } from '../../lake/object-store/object-store.ts'
import {
  type ColumnFilter,
  type KnownColumn,
  knownOfFile,
  mayFileMatch,
  type PlainFilter,
} from '../../lake/parquet/prune.ts'
import { fieldsWithin, formatColumnType } from '../../schemas/column-type.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'

export type TableFile = {
  readonly path: string
  readonly bytes: number
  readonly etag: string | undefined
  /** Of all its bytes. */
  readonly checksum: string | undefined
  readonly rowCount: number
  readonly bounds: readonly ColumnBounds[]
  /** The schema its bounds are written in; undefined when only the file itself knows. */
  readonly schema: TableSchema | undefined
  readonly isSegment: boolean
  /** Leaves of its schema, about. */
  readonly columnCount: number
  /** Values of the table's own partition fields; undefined when it is in none of its partitions. */
  readonly partition: readonly PartitionValue[] | undefined
}

export type TableFiles = {
  readonly snapshotId: bigint | undefined
  readonly files: readonly TableFile[]
}

export type TableFileReader = {
  filesOf(version: TableVersion): Promise<TableFiles>
  /** undefined: nothing was compacted yet. */
  metadataOf(version: TableVersion): Promise<TableMetadata | undefined>
  /** Of the snapshot, without segments. */
  dataFilesOf(metadata: TableMetadata, signal: AbortSignal): Promise<readonly LiveFile[]>
}

const METADATA_KEPT_MAX = 64

export function createTableFileReader({ store }: { store: ObjectStore }): TableFileReader {
  const snapshots = createSnapshotReader({ store })
  const metadata = new Map<string, Promise<TableMetadata>>()

  function metadataAt(location: string): Promise<TableMetadata> {
    const known = metadata.get(location)
    if (known) {
      metadata.delete(location)
      metadata.set(location, known)
      return known
    }
    const reading = readMetadata(store, location)
    reading.catch(() => metadata.delete(location))
    metadata.set(location, reading)
    for (const oldest of metadata.keys()) {
      if (metadata.size <= METADATA_KEPT_MAX) break
      metadata.delete(oldest)
    }
    return reading
  }

  return {
    metadataOf: async ({ metadataLocation }) =>
      metadataLocation === undefined ? undefined : metadataAt(metadataLocation),
    dataFilesOf: ({ currentSnapshot }, signal) => snapshots.liveFiles(currentSnapshot, { signal }),
    async filesOf({ table, metadataLocation, segments }) {
      const fresh = segments.map((segment) => ofSegment(segment, table.schemas))
      if (metadataLocation === undefined) return { snapshotId: undefined, files: fresh }
      const { currentSnapshot } = await metadataAt(metadataLocation)
      const live = await snapshots.liveFiles(currentSnapshot)
      return { snapshotId: currentSnapshot?.snapshotId, files: [...live.map(ofLiveFile), ...fresh] }
    },
  }
}

function ofSegment(segment: Segment, schemas: readonly TableSchema[]): TableFile {
  const { path, bytes, etag, checksum, rowCount, bounds, schemaId } = segment
  return {
    path,
    bytes,
    etag,
    checksum,
    rowCount,
    bounds,
    schema: schemas.find((schema) => schema.schemaId === schemaId),
    isSegment: true,
    columnCount: schemas.at(-1)?.columns.length ?? 0,
    partition: undefined,
  }
}

function ofLiveFile(file: LiveFile): TableFile {
  const bounds: ColumnBounds[] = []
  for (const [fieldId, nullCount] of file.nullCounts) {
    bounds.push({ fieldId, nullCount, lower: file.lowerBounds.get(fieldId), upper: file.upperBounds.get(fieldId) })
  }
  return {
    path: file.path,
    bytes: file.bytes,
    etag: file.etag,
    checksum: file.checksum,
    rowCount: file.rowCount,
    bounds,
    schema: undefined,
    isSegment: false,
    columnCount: file.columnSizes.size,
    partition: file.specId === undefined ? file.partition : undefined,
  }
}

export type WhyPruned = 'partition' | 'bounds'

/** Why no row of the file passes any of the filter lists; undefined when one may. */
export function whyPruned(
  file: TableFile,
  { schemas, partition }: Pick<Table, 'schemas' | 'partition'>,
  lists: readonly (readonly ColumnFilter[])[],
): WhyPruned | undefined {
  const current = schemas.at(-1)
  const schema = file.schema ?? current
  if (!schema || !current || lists.some((list) => list.length === 0)) return undefined
  // A manifest does not say in which type a bound was written: of a column whose type changed, nothing is known.
  const isUsable = ({ fieldId }: PlainFilter) =>
    file.schema !== undefined || (fieldId !== undefined && typesOf(schemas, fieldId).size === 1)
  const { partition: values } = file
  const typeOf = (fieldId: number) => current.columns.find((column) => column.fieldId === fieldId)?.type
  const inPartition =
    values === undefined ? lists : lists.filter((list) => mayPartitionMatch(partition, values, typeOf, list))
  if (inPartition.length === 0) return 'partition'
  return inPartition.some((list) => mayFileMatch(file, schema, list, isUsable)) ? undefined : 'bounds'
}

function typesOf(schemas: readonly TableSchema[], fieldId: number): ReadonlySet<string> {
  const types = new Set<string>()
  for (const schema of schemas) {
    for (const column of schema.columns) {
      for (const field of fieldsWithin(column)) if (field.fieldId === fieldId) types.add(formatColumnType(field.type))
    }
  }
  return types
}

/** What its bounds say of a column. */
export function knownOf(file: TableFile, schemas: readonly TableSchema[], fieldId: number): KnownColumn | undefined {
  const schema = file.schema ?? schemas.at(-1)
  if (!schema || (!file.schema && typesOf(schemas, fieldId).size !== 1)) return undefined
  return knownOfFile(file, schema, { fieldId })
}
