/**
 * The store of the snapshot commit benchmark, which counts what is written beside data files, and the check of what came of
 * it: rows, files and coverage, read back from the store alone.
 */
import type { Catalog } from '../lake/catalog/catalog.ts'
import { reachablePaths, readCheckpoint, readLiveFiles, readMetadata } from '../lake/iceberg/read.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { parseFooter } from '../lake/parquet/footer.ts'
import { type Coverage, sourceKeyText } from '../schemas/coverage.ts'

/** Bytes written, by kind of file. */
export type Sizes = { metadata: number; list: number; manifests: number; checkpoint: number; all: number }

export type Facts = {
  readonly files: number
  readonly manifests: number
  readonly snapshots: number
  readonly reachable: number
}

/** Every row is in one live file, every file is what its manifest says, and the checkpoint is what was consumed. */
export async function checkLake(
  store: ObjectStore,
  catalog: Catalog,
  rowsMade: number,
  ends: ReadonlyMap<string, bigint>,
): Promise<Facts> {
  const [{ metadataLocation, segments }] = await catalog.readTables(['events'])
  if (metadataLocation === undefined || segments.length > 0) throw new Error('segments are left over')
  const metadata = await readMetadata(store, metadataLocation)
  const live = await readLiveFiles(store, metadata)
  let rows = 0
  for (const file of live) {
    const { bytes } = await store.get(file.path)
    const footer = parseFooter(bytes, bytes.length)
    if ('needBytes' in footer || footer.rowCount !== file.rowCount || bytes.length !== file.bytes) {
      throw new Error(`${file.path} is not what its manifest says`)
    }
    rows += footer.rowCount
  }
  if (rows !== rowsMade) throw new Error(`${rowsMade} rows were made, ${rows} are in live files`)
  const coverage: readonly Coverage[] = await readCheckpoint(store, metadata)
  if (coverage.length !== ends.size) throw new Error(`${ends.size} sources, ${coverage.length} in the checkpoint`)
  for (const each of coverage) {
    const [range] = each.ranges
    const isWhole = each.ranges.length === 1 && range.start === 0n && range.end === ends.get(sourceKeyText(each))
    if (!isWhole || each.recordsIn * 2n !== range.end) throw new Error(`coverage of ${each.source} is wrong`)
  }
  const reachable = await reachablePaths(store, metadataLocation)
  return {
    files: live.length,
    manifests: new Set(live.map((file) => file.manifestPath)).size,
    snapshots: metadata.snapshots.length,
    reachable: reachable.size,
  }
}

export function noSizes(): Sizes {
  return { metadata: 0, list: 0, manifests: 0, checkpoint: 0, all: 0 }
}

export function countingPuts(store: ObjectStore, sizes: Sizes): ObjectStore {
  return {
    ...store,
    put(path, bytes, condition) {
      if (!path.includes('/metadata/')) return store.put(path, bytes, condition)
      sizes.all += bytes.length
      const name = path.slice(path.lastIndexOf('/') + 1)
      if (name.endsWith('.metadata.json')) sizes.metadata += bytes.length
      else if (name.startsWith('snap-')) sizes.list += bytes.length
      else if (name.includes('.checkpoint.')) sizes.checkpoint += bytes.length
      else sizes.manifests += bytes.length
      return store.put(path, bytes, condition)
    },
  }
}

export async function countFiles(store: ObjectStore, prefix: string): Promise<number> {
  let files = 0
  for await (const _ of store.list(prefix)) files += 1
  return files
}
