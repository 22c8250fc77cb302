/**
 * How far a lake under measurement has come, read from the outside: its catalog and its snapshot's files, through the
 * same doors as a service, but in this process, so that asking costs the measured ones nothing.
 */
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import type { LiveFile } from '../lake/iceberg/iceberg.ts'
import { readLiveFiles, readMetadata } from '../lake/iceberg/read.ts'
import { openLakeStore } from '../lake/open-lake-store.ts'
import { loadSettingsWithOrigin } from '../runtime/load-settings.ts'
import { createLog } from '../runtime/log.ts'
import { createSystemWorld } from '../runtime/system-world.ts'

export type LakeProgress = {
  /** Offsets consumed and committed, over all topic-partitions. */
  readonly consumed: number
  /** The same by topic-partition number. */
  readonly byPartition: ReadonlyMap<number, number>
  readonly segments: readonly { readonly path: string; readonly bytes: number; readonly rowCount: number }[]
  readonly version: bigint
}

export type LakeReader = {
  progress(table: string): Promise<LakeProgress>
  /** Data files of the current snapshot, and how many snapshots are in its metadata. */
  snapshot(table: string): Promise<{ readonly files: readonly LiveFile[]; readonly snapshots: number }>
  close(): Promise<void>
}

const POLL_MS = 50

export async function openLakeReader(configFile: string): Promise<LakeReader> {
  const { settings, secrets } = loadSettingsWithOrigin({ file: configFile, set: [] })
  const log = createLog({ level: 'error', fields: { service: 'bench' }, secrets: [...secrets] })
  const world = createSystemWorld({ log, crashAt: '' })
  const catalog = await openCatalog({ url: settings.catalog.url, world })
  const store = openLakeStore(settings, world)
  return {
    async progress(table) {
      const [{ segments, coverage, version }] = await catalog.readTables([table])
      const byPartition = new Map<number, number>()
      let consumed = 0
      for (const { partition, ranges } of coverage) {
        const own = ranges.reduce((sum, { start, end }) => sum + Number(end - start), 0)
        byPartition.set(partition, (byPartition.get(partition) ?? 0) + own)
        consumed += own
      }
      return { consumed, byPartition, segments, version }
    },
    async snapshot(table) {
      const [{ metadataLocation }] = await catalog.readTables([table])
      if (metadataLocation === undefined) return { files: [], snapshots: 0 }
      const metadata = await readMetadata(store, metadataLocation)
      return { files: await readLiveFiles(store, metadata), snapshots: metadata.snapshots.length }
    },
    async close() {
      await store.close()
      await catalog.close()
    },
  }
}

/** Looks every 50 ms until `until` holds; gives what it saw last. Stops with an error when nothing moves for `stuckMs`. */
export async function waitForLake(
  lake: LakeReader,
  table: string,
  until: (progress: LakeProgress) => boolean,
  stuckMs = 120_000,
): Promise<LakeProgress> {
  let last: LakeProgress | undefined
  let movedAt = performance.now()
  for (;;) {
    const now = await lake.progress(table)
    if (until(now)) return now
    if (now.version !== last?.version) movedAt = performance.now()
    last = now
    if (performance.now() - movedAt > stuckMs) {
      throw new Error(`${table}: nothing moved for ${stuckMs} ms at ${now.consumed} consumed, version ${now.version}`)
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
