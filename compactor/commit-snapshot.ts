/**
 * From rewritten files to a committed snapshot: metadata first, then the one transaction, then what its answer means.
 *
 *   committed   what was replaced waits as tombstones for the sweep
 *   conflict    refused for certain, also when our lease went to somebody else: the caller plans again from scratch. No
 *               transaction refers to what was written for it, or ever will, so it is deleted at once
 *   no answer   the outcome is unknown: asked again under the same commit id until it is known. A conflict that is answered
 *               only then leaves the files alone: they go when this writer is fenced and nothing refers to them
 *
 * If we stop before the transaction, a restart sees the old snapshot and files that nothing refers to; after it, the new one.
 */
import type { Catalog, Lease, SnapshotCommit, SnapshotResult, TableVersion, Writer } from '../lake/catalog/catalog.ts'
import { findCoverage } from '../lake/iceberg/checkpoint.ts'
import type { DataFile, PreparedSnapshot, TableMetadata } from '../lake/iceberg/iceberg.ts'
import { prepareExpiry, prepareSnapshot } from '../lake/iceberg/write.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { World } from '../runtime/world.ts'
import { invariant, isMillraceError } from '../schemas/errors.ts'
import type { Work } from './plan.ts'
import { coverageChanges } from './snapshot-coverage.ts'
import type { TableMemory } from './table-memory.ts'

export type CommitSettings = {
  readonly snapshotAgeMaxMs: number
  readonly snapshotsMax: number
  readonly manifestsMax: number
}

/** Files that took the place of the plan's inputs, durable where the table lives. */
export type Rewritten = {
  readonly add: readonly DataFile[]
  readonly remove: readonly string[]
  /** In the files added. */
  readonly rows: number
  /** Rows of masks that were in the inputs and are not in the files added. */
  readonly maskedRows?: ReadonlyMap<number, number>
  /** Of one row, unpacked. */
  readonly rowBytes?: number | undefined
}

export type CommitRequest = {
  readonly version: TableVersion
  readonly base: TableMetadata | undefined
  readonly lease: Lease
  readonly work: Work
  readonly rewritten: Rewritten
}

const PAUSE_FIRST_MS = 50
const PAUSE_MAX_MS = 2000

export function createSnapshotCommits(components: {
  catalog: Catalog
  store: ObjectStore
  world: World
  writer: Writer
  memory: TableMemory
  settings: CommitSettings
}): (request: CommitRequest) => Promise<bigint | 'conflict'> {
  const { catalog, store, world, writer, memory, settings } = components

  async function prepare(request: CommitRequest, commitId: string): Promise<PreparedSnapshot> {
    const { version, base, work, rewritten, lease } = request
    const common = {
      store,
      world,
      table: version.table,
      writerId: writer.writerId,
      snapshotAgeMs: settings.snapshotAgeMaxMs,
      snapshotsMax: settings.snapshotsMax,
    }
    if (work.kind === 'expire') {
      invariant('expire.base', base !== undefined, { table: version.table.name })
      return prepareExpiry({ ...common, base, nowMs: work.nowMs }, memory.reader)
    }
    const before = await memory.checkpoint(base)
    const segments = work.kind === 'append' ? work.segments : []
    return prepareSnapshot(
      {
        ...common,
        base,
        add: rewritten.add,
        remove: rewritten.remove,
        removeFrom: 'files' in work ? [...new Set(work.files.map(({ manifestPath }) => manifestPath))] : [],
        operation: work.kind === 'append' ? 'append' : rewritten.maskedRows?.size ? 'overwrite' : 'replace',
        coverage: { before, changed: coverageChanges((key) => findCoverage(before, key), segments) },
        lakeFormat: lease.lakeFormat,
        commitId,
        leaseEpoch: lease.epoch,
        manifestsMax: settings.manifestsMax,
      },
      memory.reader,
    )
  }

  async function commit(request: CommitRequest): Promise<bigint | 'conflict'> {
    const { version, lease, work, rewritten } = request
    const { table } = version
    const rewrittenPaths = rewritten.add.map(({ path }) => path)
    const commitId = world.random.uuid()
    let prepared: PreparedSnapshot
    try {
      prepared = await prepare(request, commitId)
    } catch (error) {
      if (isMillraceError(error)) await discard(rewrittenPaths)
      if (!isMillraceError(error, 'commit-conflict')) throw error
      world.log.info('an input is not live any more; planning again', { table: table.name, reason: error.message })
      return 'conflict'
    }
    world.crashPoint('compactor/before-snapshot-commit')
    const { result, wasUnknown } = await commitKnown({
      commitId,
      writer,
      lease,
      tableId: table.tableId,
      expectedMetadataLocation: version.metadataLocation,
      metadataLocation: prepared.metadataLocation,
      metadataChecksum: prepared.metadataChecksum,
      consumedSegmentIds: work.kind === 'append' ? work.segments.map(({ segmentId }) => segmentId) : [],
      removedPaths: prepared.removedPaths,
      rowsAdded: work.kind === 'append' ? rewritten.rows : 0,
      snapshotRows: prepared.snapshotRows,
      ...(rewritten.maskedRows ? { maskedRows: rewritten.maskedRows } : {}),
    })
    world.crashPoint('compactor/after-snapshot-commit')
    if (result.outcome === 'conflict') {
      world.log.info('snapshot commit conflict; planning again', { table: table.name, reason: result.reason })
      if (!wasUnknown) await discard([...prepared.writtenPaths, ...rewrittenPaths])
      return 'conflict'
    }
    memory.remember(prepared)
    return result.version
  }

  /** Nothing refers to them. What cannot be deleted now goes with the sweep, once this writer is gone. */
  async function discard(paths: readonly string[]): Promise<void> {
    if (paths.length === 0) return
    await store.delete(paths).catch((error: unknown) => {
      world.log.warn('files of a commit that was refused stay until the sweep', { files: paths.length, error })
    })
  }

  async function commitKnown(commit: SnapshotCommit): Promise<{ result: SnapshotResult; wasUnknown: boolean }> {
    for (let failures = 0; ; failures += 1) {
      const wasUnknown = failures > 0
      try {
        return { result: await catalog.commitSnapshot(commit), wasUnknown }
      } catch (error) {
        if (isMillraceError(error, 'lease-lost')) {
          // Said after the commit id was looked for: this commit is not there, and a lost epoch never comes back.
          return { result: { outcome: 'conflict', reason: error.message }, wasUnknown }
        }
        if (isMillraceError(error, 'commit-conflict')) {
          return { result: { outcome: 'conflict', reason: error.message }, wasUnknown }
        }
        if (!isMillraceError(error) || error.kind !== 'unavailable') throw error
        world.log.warn('catalog away during a snapshot commit; asking again', { error: error.message })
        await world.clock.sleep(Math.min(PAUSE_MAX_MS, PAUSE_FIRST_MS * 2 ** failures))
      }
    }
  }

  return commit
}
