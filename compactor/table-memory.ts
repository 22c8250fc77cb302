/**
 * What a table worker remembers from commit to commit, so that it need not read back what it wrote itself: the metadata by
 * its location, manifests and lists by their paths, the live files as planning sees them, and the last checkpoint. Nothing of it is trusted by itself. The catalog
 * names the metadata's location, and everything else is named by path (a checkpoint by its hash too) from there; what is
 * named and not remembered is read.
 *
 * Bounded: a number of tables' metadata, of live files, manifest entries and sources, the longest unused going first.
 */

import type { TableVersion } from '../lake/catalog/catalog.ts'
import { loadCheckpoint } from '../lake/iceberg/checkpoint.ts'
import type { Checkpoint, LiveFile, PreparedSnapshot, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { type ManifestEntry, type ManifestFile, STATUS } from '../lake/iceberg/manifest.ts'
import { createSnapshotReader, readMetadata, type SnapshotReader } from '../lake/iceberg/read.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { inParallel } from '../runtime/in-parallel.ts'
import type { PlanFile } from './plan.ts'

export type TableMemory = {
  readonly reader: SnapshotReader
  metadata(version: TableVersion): Promise<TableMetadata | undefined>
  /** Of the current snapshot: the same list as long as it is the same snapshot. */
  liveFiles(metadata: TableMetadata | undefined): Promise<readonly PlanFile[]>
  /** Those of these files, with everything that their manifests say. */
  wholeFiles(metadata: TableMetadata, files: readonly PlanFile[]): Promise<readonly LiveFile[]>
  checkpoint(metadata: TableMetadata | undefined): Promise<Checkpoint | undefined>
  /** After a commit that may be current now. */
  remember(prepared: PreparedSnapshot): void
}

type TableFiles = {
  /** Path of the manifest list. */
  readonly list: string
  readonly byManifest: ReadonlyMap<string, readonly PlanFile[]>
  readonly files: readonly PlanFile[]
}

const TABLES_MAX = 200
/** A live file as planning sees it: about 300 bytes. */
const FILES_MAX = 300_000
/** With all that a manifest says of them: about 8 kB at twenty columns. */
const MANIFEST_ENTRIES_MAX = 10_000
const SOURCES_MAX = 200_000

export function createTableMemory({ store }: { store: ObjectStore }): TableMemory {
  const reader = createSnapshotReader({ store, entriesMax: MANIFEST_ENTRIES_MAX })
  const metadataAt = new Map<string, TableMetadata>()
  /** By table location: the newest seen. */
  const checkpoints = new Map<string, Checkpoint>()
  let sources = 0
  const files = new Map<string, TableFiles>()
  let filesKept = 0

  function keepMetadata(location: string, metadata: TableMetadata): void {
    metadataAt.delete(location)
    metadataAt.set(location, metadata)
    for (const oldest of metadataAt.keys()) {
      if (metadataAt.size <= TABLES_MAX) break
      metadataAt.delete(oldest)
    }
  }

  function forgetCheckpoint(location: string): void {
    const known = checkpoints.get(location)
    if (!known) return
    checkpoints.delete(location)
    sources -= sizeOf(known)
  }

  function keepCheckpoint(location: string, checkpoint: Checkpoint): void {
    forgetCheckpoint(location)
    if (sizeOf(checkpoint) > SOURCES_MAX) return
    checkpoints.set(location, checkpoint)
    sources += sizeOf(checkpoint)
    for (const oldest of checkpoints.keys()) {
      if (sources <= SOURCES_MAX) break
      forgetCheckpoint(oldest)
    }
  }

  function keepFiles(location: string, next: TableFiles): void {
    filesKept -= files.get(location)?.files.length ?? 0
    files.delete(location)
    files.set(location, next)
    filesKept += next.files.length
    for (const [oldest, { files: list }] of files) {
      if (filesKept <= FILES_MAX || oldest === location) break
      files.delete(oldest)
      filesKept -= list.length
    }
  }

  /** Only manifests that were not in the snapshot before are read. */
  async function tableFiles(list: string, before: TableFiles | undefined): Promise<TableFiles> {
    const manifests = (await reader.manifestList(list)).filter((each) => each.addedFiles + each.existingFiles > 0)
    const parts = await inParallel(
      manifests,
      async (manifest) => before?.byManifest.get(manifest.path) ?? planFiles(await reader.manifest(manifest), manifest),
    )
    const byManifest = new Map(manifests.map(({ path }, i) => [path, parts[i]]))
    return { list, byManifest, files: parts.flat() }
  }

  return {
    reader,
    async metadata({ metadataLocation }) {
      if (metadataLocation === undefined) return undefined
      const metadata = metadataAt.get(metadataLocation) ?? (await readMetadata(store, metadataLocation))
      keepMetadata(metadataLocation, metadata)
      return metadata
    },
    async liveFiles(metadata) {
      const snapshot = metadata?.currentSnapshot
      if (!snapshot) return []
      const known = files.get(metadata.location)
      if (known?.list === snapshot.manifestList) return known.files
      const next = await tableFiles(snapshot.manifestList, known)
      keepFiles(metadata.location, next)
      return next.files
    },
    async wholeFiles(metadata, wanted) {
      const manifests = new Set(wanted.map(({ manifestPath }) => manifestPath))
      const paths = new Set(wanted.map(({ path }) => path))
      return reader.liveFiles(metadata.currentSnapshot, {
        keepManifest: ({ path }) => manifests.has(path),
        keepFile: ({ path }) => paths.has(path),
      })
    },
    async checkpoint(metadata) {
      if (!metadata) return undefined
      const checkpoint = await loadCheckpoint(store, metadata, checkpoints.get(metadata.location))
      if (checkpoint) keepCheckpoint(metadata.location, checkpoint)
      return checkpoint
    },
    remember({ metadata, metadataLocation, checkpoint }) {
      keepMetadata(metadataLocation, metadata)
      if (checkpoint) keepCheckpoint(metadata.location, checkpoint)
    },
  }
}

function planFiles(entries: readonly ManifestEntry[], { path: manifestPath, specId }: ManifestFile): PlanFile[] {
  return entries
    .filter(({ status }) => status !== STATUS.deleted)
    .map(({ snapshotId, file: { path, partition, rowCount, bytes, checksum } }) => {
      return { path, partition, rowCount, bytes, checksum, snapshotId: snapshotId ?? 0n, manifestPath, specId }
    })
}

function sizeOf({ whole, changed }: Checkpoint): number {
  return whole.sources.size + changed.size + 1
}
