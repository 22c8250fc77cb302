/**
 * Reads what a bucket says of itself: one listing, then metadata, checkpoints and the footers of segments. Decides nothing.
 *
 *   cost   listing: a request per 1,000 files; per table: its newest metadata with its lists and manifests; per segment file
 *          that is still there one GET of its last 64 kB (those that snapshots took over stay for `snapshot.min-age`)
 *
 * What cannot be read is told as damaged and does not end the reading. A store that is away does (`store-unavailable`).
 */
import { inParallel } from '../../runtime/in-parallel.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { ColumnBounds, Table } from '../catalog/catalog.ts'
import { checksumOf } from '../checksum.ts'
import { readCheckpoint } from '../iceberg/checkpoint.ts'
import { dataFileFromFooter } from '../iceberg/data-file.ts'
import type { TableMetadata } from '../iceberg/iceberg.ts'
import { createSnapshotReader, parseMetadataBytes, snapshotPaths } from '../iceberg/read.ts'
import { LEASE_EPOCH_KEY, metadataLogOf, TABLE_VERSION_PROPERTY, WRITER_ID_KEY } from '../iceberg/table-metadata.ts'
import type { ObjectInfo, ObjectStore } from '../object-store/object-store.ts'
import { readFooter } from '../parquet/footer-file.ts'
import { leavesOf } from '../parquet/nested-levels.ts'
import type { ParquetFooter } from '../parquet/parquet.ts'
import type { BucketFacts, DamagedFile, MetadataFile, SegmentFile, TableFolder } from './facts.ts'
import { readMergeRecord } from './merge-record.ts'
import { parsedCommit, readSegmentRecord, type TableDefinition } from './segment-record.ts'
import { shapeOfMetadata } from './table-shape.ts'

export type ReadBucketOptions = {
  readonly store: ObjectStore
  readonly root: string
  readonly coldRoot: string | undefined
  onProgress(text: string): void
}

const READS_AT_ONCE = 16
const PROGRESS_EVERY = 1000

type Listed = { readonly location: string; readonly files: ObjectInfo[]; readonly cold: string[] }

export async function readBucket(options: ReadBucketOptions): Promise<BucketFacts> {
  const { store, root, coldRoot, onProgress } = options
  const there = new Set<string>()
  const listed = new Map<string, Listed>()
  const strangers: string[] = []
  const folderOf = (location: string) => {
    const found = listed.get(location) ?? { location, files: [], cold: [] }
    listed.set(location, found)
    return found
  }
  for (const from of coldRoot === undefined ? [root] : [root, coldRoot]) {
    for await (const info of store.list(`${from}/`)) {
      there.add(info.path)
      if (there.size % (100 * PROGRESS_EVERY) === 0) onProgress(`${there.size} files listed`)
      const [folder, ...rest] = info.path.slice(from.length + 1).split('/')
      if (rest.length < 2 || !PARTS.has(rest[0])) strangers.push(info.path)
      else if (from === root) folderOf(`${root}/${folder}`).files.push(info)
      else folderOf(`${root}/${folder}`).cold.push(info.path)
    }
  }
  onProgress(`${there.size} files listed, ${listed.size} table folders`)
  const folders: TableFolder[] = []
  for (const each of listed.values()) {
    folders.push(await readFolder(store, each, there))
    const { metadata, segments } = folders[folders.length - 1]
    onProgress(`${each.location}: ${segments.length} segment files and ${metadata.length} metadata files read`)
  }
  return { root, folders, strangers }
}

const PARTS = new Set(['segments', 'data', 'metadata'])

async function readFolder(store: ObjectStore, listed: Listed, there: ReadonlySet<string>): Promise<TableFolder> {
  const { location, files, cold } = listed
  const damaged: DamagedFile[] = []
  const metadata = await readMetadataFiles(store, location, files, there, damaged)
  const segments: SegmentFile[] = []
  const names = files.filter(({ path }) => path.startsWith(`${location}/segments/`) && path.endsWith('.parquet'))
  await inParallel(
    names,
    async (info) => {
      const segment = await orDamaged(info.path, damaged, () => readSegment(store, info))
      if (segment) segments.push(segment)
    },
    READS_AT_ONCE,
  )
  segments.sort((a, b) => (a.path < b.path ? -1 : 1))
  return { location, metadata, segments, damaged, paths: [...files.map(({ path }) => path), ...cold] }
}

// ---- metadata -------------------------------------------------------------------------------------------------------

const METADATA_NAME = /\/(\d+)-[^/]*\.metadata\.json$/

/** From the highest sequence downwards until one is whole, and all others that could come before it. */
async function readMetadataFiles(
  store: ObjectStore,
  location: string,
  files: readonly ObjectInfo[],
  there: ReadonlySet<string>,
  damaged: DamagedFile[],
): Promise<MetadataFile[]> {
  const named = files
    .flatMap(({ path }) => {
      const match = METADATA_NAME.exec(path)
      return match ? [{ path, sequence: BigInt(match[1]) }] : []
    })
    .sort((a, b) => (a.sequence < b.sequence ? 1 : a.sequence > b.sequence ? -1 : a.path < b.path ? -1 : 1))
  const read: MetadataFile[] = []
  let whole: bigint | undefined
  for (const { path, sequence } of named) {
    // A zombie's may have the same number as the one that was committed in its place.
    if (whole !== undefined && sequence + 1n < whole) break
    const file = await orDamaged(path, damaged, () => readMetadataFile(store, path, location, there))
    if (!file) continue
    read.push(file)
    if (whole === undefined && file.missing.length === 0 && file.checkpoint) whole = sequence
  }
  return read
}

async function readMetadataFile(
  store: ObjectStore,
  path: string,
  location: string,
  there: ReadonlySet<string>,
): Promise<MetadataFile> {
  const { bytes } = await store.get(path)
  const metadata = parseMetadataBytes(bytes, path)
  if (metadata.location !== location) {
    throw new MillraceError('file-damaged', `${path} is of ${metadata.location}, not of ${location}`)
  }
  const summary = metadata.currentSnapshot?.summary ?? {}
  const log = metadataLogOf(metadata).map((entry) => entry.path)
  const { missing, reachable } = await filesOf(store, metadata, there)
  const version = metadata.properties[TABLE_VERSION_PROPERTY]
  let checkpoint: MetadataFile['checkpoint']
  try {
    checkpoint = missing.length === 0 ? await readCheckpoint(store, metadata) : undefined
  } catch (error) {
    missing.push(dataErrorOf(error))
  }
  return {
    path,
    epoch: Number(summary[LEASE_EPOCH_KEY] ?? 0),
    sequence: metadata.lastSequenceNumber,
    base: log.at(-1),
    log,
    checksum: checksumOf(bytes),
    shape: shapeOfMetadata(metadata),
    tableVersion: version === undefined ? undefined : BigInt(version),
    snapshotRows: Number(summary['total-records'] ?? 0),
    writerId: summary[WRITER_ID_KEY],
    missing,
    checkpoint,
    reachable: new Set([path, ...log, ...reachable]),
  }
}

/** The current snapshot must be whole; what only older ones have is kept when it can be found. */
async function filesOf(
  store: ObjectStore,
  metadata: TableMetadata,
  there: ReadonlySet<string>,
): Promise<{ missing: string[]; reachable: ReadonlySet<string> }> {
  const reader = createSnapshotReader({ store })
  const current = metadata.currentSnapshot ? [metadata.currentSnapshot] : []
  let reachable: Set<string>
  try {
    reachable = await snapshotPaths(reader, current)
  } catch (error) {
    return { missing: [dataErrorOf(error)], reachable: new Set() }
  }
  const missing = [...reachable].filter((path) => !there.has(path))
  for (const snapshot of metadata.snapshots) {
    if (current.includes(snapshot)) continue
    try {
      for (const path of await snapshotPaths(reader, [snapshot])) reachable.add(path)
    } catch (error) {
      dataErrorOf(error)
    }
  }
  return { missing, reachable }
}

/** What a file's own fault is, to be told; any other error ends the reading. */
function dataErrorOf(error: unknown): string {
  if (isMillraceError(error) && (error.kind === 'data' || error.code === 'format-too-new')) return error.message
  throw error
}

// ---- segments -------------------------------------------------------------------------------------------------------

async function readSegment(store: ObjectStore, { path, size, etag }: ObjectInfo): Promise<SegmentFile | undefined> {
  const tail = async (bytes: number) => (await store.get(path, { range: { start: size - bytes, end: size } })).bytes
  const footer = await readFooter(path, size, tail)
  const record = readSegmentRecord(path, footer.keyValues)
  if (!record) return undefined
  return {
    path,
    bytes: size,
    etag,
    checksum: undefined,
    rowCount: footer.rowCount,
    bounds: record.definition ? boundsOf(path, size, footer, record.definition) : [],
    record,
    merge: mergeOf(path, footer),
  }
}

function mergeOf(path: string, { keyValues }: ParquetFooter): SegmentFile['merge'] {
  try {
    const merge = readMergeRecord(keyValues)
    if (!merge) return undefined
    return { ...merge, inputs: merge.inputs.map((each) => ({ path: each.path, commit: parsedCommit(each.commit) })) }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new MillraceError('file-damaged', `${path}: its footer does not read back: ${why}`, { cause })
  }
}

function boundsOf(path: string, bytes: number, footer: ParquetFooter, definition: TableDefinition): ColumnBounds[] {
  const { schemaId, columns } = definition
  const table = { ...definition, schemas: [], version: 0n, metadataLocation: undefined } satisfies Table
  const facts = { path, bytes, footer, table, schema: { schemaId, columns }, partition: [], sortOrderId: 0 }
  const { nullCounts, lowerBounds, upperBounds } = dataFileFromFooter(facts)
  const leaves = columns.flatMap((column) => leavesOf(column)).filter(({ isRepeated }) => !isRepeated)
  return leaves.map(({ field: { fieldId } }) => ({
    fieldId,
    nullCount: nullCounts.get(fieldId) ?? 0,
    lower: lowerBounds.get(fieldId),
    upper: upperBounds.get(fieldId),
  }))
}

async function orDamaged<T>(path: string, damaged: DamagedFile[], read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read()
  } catch (error) {
    if (isMillraceError(error, 'file-missing')) return undefined
    damaged.push({ path, why: dataErrorOf(error) })
    return undefined
  }
}
