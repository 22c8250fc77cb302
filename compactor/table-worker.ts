/**
 * One turn for one table: read its version, plan, take the lease, rewrite, commit a snapshot. The commit names the
 * lease's epoch, so an older holder that wakes up commits nothing.
 *
 *   read version ─▶ plan (pure) ─▶ lease ─▶ new data files ─▶ manifests, list, checkpoint, metadata ─▶ one transaction
 *
 * If we stop before the transaction, a restart sees the old snapshot and all segments, and files that nothing refers
 * to. After it, the new snapshot; what it replaced waits as tombstones for the sweep. A conflict is planned again from
 * scratch, never retried with the old plan; an unknown outcome is asked again with the same commit id.
 */

import type {
  Catalog,
  Lease,
  SnapshotCommit,
  SnapshotResult,
  Table,
  TableVersion,
  Writer,
} from '../lake/catalog/catalog.ts'
import type { MappedFile } from '../lake/file-mapping.ts'
import type { DataFile, LiveFile, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { readCheckpoint, readLiveFiles, readMetadata } from '../lake/iceberg/read.ts'
import { prepareSnapshot } from '../lake/iceberg/write.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { World } from '../runtime/world.ts'
import { invariant, isMillraceError } from '../schemas/errors.ts'
import { type PlanSettings, planWork, type Work } from './plan.ts'
import type { Rewriter } from './rewrite.ts'
import { singlePartition } from './single-partition.ts'
import { snapshotCoverage } from './snapshot-coverage.ts'
import type { Tiering } from './tiering.ts'

export type TableWorkerSettings = PlanSettings & {
  readonly leaseMs: number
  readonly snapshotAgeMaxMs: number
  readonly snapshotsMax: number
  readonly manifestsMax: number
}

export type Inputs = {
  /** Opens files for reading here: local paths and footers. `release` when the rewrite is over. */
  open(
    files: readonly { path: string; bytes: number; checksum?: string }[],
  ): Promise<{ files: readonly MappedFile[]; release(): Promise<void> }>
}

export type WorkDone = {
  readonly kind: Work['kind']
  readonly rows: number
  readonly filesIn: number
  readonly filesOut: number
  readonly version: bigint
}

export type TableWorker = {
  /** undefined: nothing to do. `conflict`: something moved meanwhile; plan again at once. */
  turn(table: Table): Promise<WorkDone | 'conflict' | undefined>
}

export function createTableWorker(components: {
  catalog: Catalog
  store: ObjectStore
  world: World
  writer: Writer
  inputs: Inputs
  rewriter: Rewriter
  tiering: Tiering | undefined
  settings: TableWorkerSettings
}): TableWorker {
  const { catalog, store, world, writer, inputs, rewriter, tiering, settings } = components

  async function turn(table: Table): Promise<WorkDone | 'conflict' | undefined> {
    const [version] = await catalog.readTables([table.name])
    if (version.table.schemas.length === 0) return undefined
    const base = version.metadataLocation ? await readMetadata(store, version.metadataLocation) : undefined
    const live = base ? await readLiveFiles(store, base) : []
    const times = new Map(base?.snapshots.map((snapshot) => [snapshot.snapshotId, snapshot.timestampMs]))
    const work = planWork(version, live, times, settings)
    if (!work) return undefined
    const lease = await catalog.acquireLease(table.tableId, writer, settings.leaseMs)
    if (!lease) return undefined
    try {
      const done = await runWork(version, base, work)
      return await commit(version, base, lease, work, done)
    } finally {
      await catalog.releaseLease(lease).catch((error: unknown) => {
        world.log.warn('a lease could not be given back; it runs out by itself', { table: table.name, error })
      })
    }
  }

  async function runWork(
    version: TableVersion,
    base: TableMetadata | undefined,
    work: Work,
  ): Promise<{ add: DataFile[]; remove: string[]; rows: number }> {
    if (work.kind === 'append') {
      const rows = work.segments.reduce((sum, segment) => sum + segment.rowCount, 0)
      return {
        add: await rewriteFiles(version.table, work.segments, rows, singlePartition(version.table, work.segments)),
        remove: [],
        rows,
      }
    }
    const rows = work.files.reduce((sum, file) => sum + file.rowCount, 0)
    const remove = work.files.map(({ path }) => path)
    if (work.kind === 'tier') {
      invariant('tiering.configured', tiering !== undefined && base !== undefined, { table: version.table.name })
      return { add: await tiering.move(version.table, work.files), remove, rows }
    }
    return { add: await rewriteFiles(version.table, work.files, rows, samePartition(work.files)), remove, rows }
  }

  async function rewriteFiles(
    table: Table,
    files: readonly { path: string; bytes: number; checksum?: string }[],
    rowsExpected: number,
    partition: LiveFile['partition'] | undefined,
  ): Promise<DataFile[]> {
    const opened = await inputs.open(files)
    try {
      return await rewriter.rewrite({ table, inputs: opened.files, rowsExpected, partition })
    } finally {
      await opened.release()
    }
  }

  async function commit(
    version: TableVersion,
    base: TableMetadata | undefined,
    lease: Lease,
    work: Work,
    done: { add: DataFile[]; remove: string[]; rows: number },
  ): Promise<WorkDone | 'conflict'> {
    const { table } = version
    const commitId = world.random.uuid()
    const segments = work.kind === 'append' ? work.segments : []
    const covered = base ? await readCheckpoint(store, base) : []
    const prepared = await prepareSnapshot({
      store,
      world,
      table,
      base,
      add: done.add,
      remove: done.remove,
      operation: work.kind === 'append' ? 'append' : 'replace',
      coverage: snapshotCoverage(covered, segments),
      commitId,
      writerId: writer.writerId,
      leaseEpoch: lease.epoch,
      snapshotAgeMs: settings.snapshotAgeMaxMs,
      snapshotsMax: settings.snapshotsMax,
      manifestsMax: settings.manifestsMax,
    })
    world.crashPoint('compactor/before-snapshot-commit')
    const result = await commitKnown({
      commitId,
      writer,
      lease,
      tableId: table.tableId,
      expectedMetadataLocation: version.metadataLocation,
      metadataLocation: prepared.metadataLocation,
      metadataChecksum: prepared.metadataChecksum,
      consumedSegmentIds: segments.map(({ segmentId }) => segmentId),
      removedPaths: prepared.removedPaths,
      rowsAdded: work.kind === 'append' ? done.rows : 0,
      snapshotRows: prepared.snapshotRows,
    })
    world.crashPoint('compactor/after-snapshot-commit')
    if (result.outcome === 'conflict') {
      world.log.info('snapshot commit conflict; planning again', { table: table.name, reason: result.reason })
      // Never referred to: the commit was refused for certain.
      await store.delete([...prepared.writtenPaths, ...done.add.map(({ path }) => path)])
      return 'conflict'
    }
    return {
      kind: work.kind,
      rows: done.rows,
      filesIn: work.kind === 'append' ? work.segments.length : work.files.length,
      filesOut: done.add.length,
      version: result.version,
    }
  }

  /** Asks again with the same commit id until the outcome is known. */
  async function commitKnown(request: SnapshotCommit): Promise<SnapshotResult> {
    for (let failures = 0; ; failures += 1) {
      try {
        return await catalog.commitSnapshot(request)
      } catch (error) {
        if (!isMillraceError(error) || error.kind !== 'unavailable') throw error
        world.log.warn('catalog away during a snapshot commit; asking again', { error: error.message })
        await world.clock.sleep(Math.min(2000, 50 * 2 ** failures))
      }
    }
  }

  return { turn }
}

function samePartition(files: readonly LiveFile[]): LiveFile['partition'] {
  return files[0].partition
}
