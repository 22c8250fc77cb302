/**
 * What a table worker remembers from commit to commit, so that it need not read back what it wrote itself: the metadata by
 * its location, manifests and lists by their paths, and the last checkpoint. Nothing of it is trusted by itself. The catalog
 * names the metadata's location, and everything else is named by path (a checkpoint by its hash too) from there; what is
 * named and not remembered is read.
 *
 * Bounded: a number of tables' metadata, of manifest entries and of sources, the longest unused going first.
 */
import type { TableVersion } from '../lake/catalog/catalog.ts'
import { type Checkpoint, loadCheckpoint } from '../lake/iceberg/checkpoint.ts'
import type { LiveFile, PreparedSnapshot, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { createSnapshotReader, readMetadata, type SnapshotReader } from '../lake/iceberg/read.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'

export type TableMemory = {
  readonly reader: SnapshotReader
  metadata(version: TableVersion): Promise<TableMetadata | undefined>
  liveFiles(metadata: TableMetadata | undefined): Promise<readonly LiveFile[]>
  checkpoint(metadata: TableMetadata | undefined): Promise<Checkpoint | undefined>
  /** After a commit that may be current now. */
  remember(prepared: PreparedSnapshot): void
}

const TABLES_MAX = 200
const MANIFEST_ENTRIES_MAX = 50_000
const SOURCES_MAX = 200_000

export function createTableMemory({ store }: { store: ObjectStore }): TableMemory {
  const reader = createSnapshotReader({ store, entriesMax: MANIFEST_ENTRIES_MAX })
  const metadataAt = new Map<string, TableMetadata>()
  /** By table location: the newest seen. */
  const checkpoints = new Map<string, Checkpoint>()
  let sources = 0

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

  return {
    reader,
    async metadata({ metadataLocation }) {
      if (metadataLocation === undefined) return undefined
      const metadata = metadataAt.get(metadataLocation) ?? (await readMetadata(store, metadataLocation))
      keepMetadata(metadataLocation, metadata)
      return metadata
    },
    liveFiles: (metadata) => reader.liveFiles(metadata?.currentSnapshot),
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

function sizeOf({ whole, changed }: Checkpoint): number {
  return whole.sources.size + changed.size + 1
}
