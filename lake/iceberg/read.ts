/**
 * Reads Iceberg tables, ours and other engines' of format version 2: metadata JSON → manifest list → manifests → live
 * files. Everything but the metadata's place is immutable, so lists and manifests are kept by path in a small cache.
 *
 * Errors: `file-missing`, `file-damaged` (bytes are not what they should be), `format-too-new` (version 3, delete files,
 * ORC or Avro data): never a partial answer.
 */
import { gunzipSync } from 'node:zlib'
import { inParallel } from '../../runtime/in-parallel.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import type { LiveFile, Snapshot, TableMetadata } from './iceberg.ts'
import { decodeManifest, decodeManifestList, type ManifestEntry, type ManifestFile, STATUS } from './manifest.ts'
import { CHECKPOINT_BASE_KEY, CHECKPOINT_KEY, metadataLogOf, parseMetadata, TABLE_SPEC_ID } from './table-metadata.ts'

export { readCheckpoint } from './checkpoint.ts'

const DEFAULT_ENTRIES_MAX = 50_000
const METADATA_BYTES_MAX = 1 << 30

export type SnapshotReader = {
  manifestList(path: string): Promise<readonly ManifestFile[]>
  /** Sequence numbers and snapshot ids filled in from the manifest list's row. */
  manifest(manifest: ManifestFile): Promise<readonly ManifestEntry[]>
  liveFiles(snapshot: Snapshot | undefined, options?: ReadOptions): Promise<readonly LiveFile[]>
  /** The rows of a list or manifest that was just written there, so that they need not be read back. */
  remember(path: string, rows: readonly ManifestFile[] | readonly ManifestEntry[]): void
}

export type ReadOptions = {
  /** A manifest whose partition summaries cannot hold what is looked for need not be read. */
  readonly keepManifest?: (manifest: ManifestFile) => boolean
  readonly keepFile?: (file: LiveFile) => boolean
  readonly signal?: AbortSignal
}

export async function readMetadata(store: ObjectStore, location: string): Promise<TableMetadata> {
  const { bytes } = await store.get(location)
  return parseMetadataBytes(bytes, location)
}

/** The bytes of a metadata file; gzipped ones too. */
export function parseMetadataBytes(bytes: Uint8Array, location: string): TableMetadata {
  const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
  let text: string
  try {
    const plain = isGzip ? gunzipSync(bytes, { maxOutputLength: METADATA_BYTES_MAX }) : bytes
    text = new TextDecoder('utf-8', { fatal: true }).decode(plain)
  } catch (cause) {
    throw new MillraceError('file-damaged', `table metadata ${location} cannot be decoded`, { cause })
  }
  return parseMetadata(text, location)
}

export async function readLiveFiles(
  store: ObjectStore,
  metadata: TableMetadata,
  options: ReadOptions = {},
): Promise<readonly LiveFile[]> {
  return createSnapshotReader({ store, entriesMax: 0 }).liveFiles(metadata.currentSnapshot, options)
}

/** `entriesMax`: rows of lists and manifests kept in memory, the longest unused going first. */
export function createSnapshotReader(components: { store: ObjectStore; entriesMax?: number }): SnapshotReader {
  const { store, entriesMax = DEFAULT_ENTRIES_MAX } = components
  const kept = new Map<string, readonly unknown[]>()
  let keptEntries = 0

  function keep(path: string, rows: readonly unknown[]): void {
    const size = rows.length + 1
    if (size > entriesMax || kept.has(path)) return
    kept.set(path, rows)
    keptEntries += size
    for (const [oldest, oldRows] of kept) {
      if (keptEntries <= entriesMax) break
      kept.delete(oldest)
      keptEntries -= oldRows.length + 1
    }
  }

  async function cached<Row>(
    path: string,
    decode: (bytes: Uint8Array, path: string) => readonly Row[],
    signal?: AbortSignal,
  ) {
    const found = kept.get(path) as readonly Row[] | undefined
    if (found) {
      kept.delete(path)
      kept.set(path, found)
      return found
    }
    const rows = decode((await store.get(path, { signal })).bytes, path)
    keep(path, rows)
    return rows
  }

  const reader: SnapshotReader = {
    manifestList: (path) => cached(path, decodeManifestList),
    manifest: async (manifest) => inheritedOf(await cached(manifest.path, decodeManifest), manifest).entries,
    async liveFiles(snapshot, { keepManifest, keepFile, signal } = {}) {
      if (!snapshot) return []
      const all = await cached(snapshot.manifestList, decodeManifestList, signal)
      const wanted = all.filter((each) => each.addedFiles + each.existingFiles > 0 && (keepManifest?.(each) ?? true))
      const files = await inParallel(wanted, async (manifest) => {
        signal?.throwIfAborted()
        return inheritedOf(await cached(manifest.path, decodeManifest), manifest).live
      })
      const live = files.flat()
      return keepFile ? live.filter(keepFile) : live
    },
    remember: keep,
  }
  return reader
}

type Inherited = {
  readonly snapshotId: bigint
  readonly sequenceNumber: bigint
  readonly entries: readonly ManifestEntry[]
  readonly live: readonly LiveFile[]
}

/** By the entries as decoded: whoever reads the same manifest at every commit makes its rows once. */
const inheritedRows = new WeakMap<readonly ManifestEntry[], Inherited>()

function inheritedOf(decoded: readonly ManifestEntry[], manifest: ManifestFile): Inherited {
  const { addedSnapshotId: snapshotId, sequenceNumber } = manifest
  const known = inheritedRows.get(decoded)
  if (known?.snapshotId === snapshotId && known.sequenceNumber === sequenceNumber) return known
  const entries = decoded.map((entry) => inherited(entry, manifest))
  const made = { snapshotId, sequenceNumber, entries, live: liveFilesOf(entries, manifest) }
  inheritedRows.set(decoded, made)
  return made
}

/** A null in the manifest means the row of the list, for entries that the manifest's own snapshot added. */
function inherited(entry: ManifestEntry, manifest: ManifestFile): ManifestEntry {
  const sequenceNumber = entry.sequenceNumber ?? (entry.status === STATUS.added ? manifest.sequenceNumber : undefined)
  return {
    ...entry,
    snapshotId: entry.snapshotId ?? manifest.addedSnapshotId,
    sequenceNumber,
    fileSequenceNumber: entry.fileSequenceNumber ?? sequenceNumber,
  }
}

function liveFilesOf(
  entries: readonly ManifestEntry[],
  { path: manifestPath, specId }: ManifestFile,
): readonly LiveFile[] {
  const ofSpec = specId === TABLE_SPEC_ID ? {} : { specId }
  return entries
    .filter(({ status }) => status !== STATUS.deleted)
    .map((entry) => ({
      ...entry.file,
      ...ofSpec,
      snapshotId: entry.snapshotId ?? 0n,
      sequenceNumber: entry.sequenceNumber ?? 0n,
      manifestPath,
    }))
}

/**
 * Every path that a table's metadata refers to, itself included: data files, manifests, lists, checkpoints and older
 * metadata. Files that only DELETED entries name are not referred to.
 */
export async function reachablePaths(
  store: ObjectStore,
  metadataLocation: string,
  reader: SnapshotReader = createSnapshotReader({ store }),
): Promise<ReadonlySet<string>> {
  const metadata = await readMetadata(store, metadataLocation)
  const paths = await snapshotPaths(reader, metadata.snapshots)
  paths.add(metadataLocation)
  for (const entry of metadataLogOf(metadata)) paths.add(entry.path)
  return paths
}

export async function snapshotPaths(reader: SnapshotReader, snapshots: readonly Snapshot[]): Promise<Set<string>> {
  const paths = new Set<string>()
  const manifests = new Map<string, ManifestFile>()
  const lists = await inParallel(snapshots, (snapshot) => reader.manifestList(snapshot.manifestList))
  snapshots.forEach((snapshot, i) => {
    paths.add(snapshot.manifestList)
    for (const path of checkpointPaths(snapshot)) paths.add(path)
    for (const manifest of lists[i]) manifests.set(manifest.path, manifest)
  })
  await inParallel([...manifests.values()], async (manifest) => {
    paths.add(manifest.path)
    for (const { status, file } of await reader.manifest(manifest)) if (status !== STATUS.deleted) paths.add(file.path)
  })
  return paths
}

/** Its own, and the whole one that it builds on. */
export function checkpointPaths({ summary }: Snapshot): readonly string[] {
  return [summary[CHECKPOINT_KEY], summary[CHECKPOINT_BASE_KEY]].filter((path) => path !== undefined)
}
