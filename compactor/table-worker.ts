/**
 * One turn for one table: read its version, plan, take the lease, rewrite, commit a snapshot. The commit names the
 * lease's epoch, so an older holder that wakes up commits nothing.
 *
 *   read version ─▶ plan (pure) ─▶ lease, reader row ─▶ new data files ─▶ manifests, list, checkpoint, metadata ─▶ one transaction
 *
 * The compactor is a reader too: another one's commit and a sweep with little grace must not take away what it reads. Its row
 * stands before the version that it works on was read; a table with nothing to do costs no row.
 *
 * If we stop before the transaction, a restart sees the old snapshot and all segments, and files that nothing refers
 * to. After it, the new snapshot; what it replaced waits as tombstones for the sweep. A conflict is planned again from
 * scratch, never retried with the old plan (`commit-snapshot.ts`).
 */

import {
  type Catalog,
  LAKE_FORMAT,
  type Lease,
  type Table,
  type TableVersion,
  type Writer,
} from '../lake/catalog/catalog.ts'
import type { MappedFile } from '../lake/file-mapping.ts'
import type { TableMetadata } from '../lake/iceberg/iceberg.ts'
import { UNPARTITIONED_SPEC_ID } from '../lake/iceberg/table-metadata.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { createReaderRow } from '../lake/reader-row.ts'
import type { World } from '../runtime/world.ts'
import { invariant, isMillraceError } from '../schemas/errors.ts'
import { type CommitSettings, createSnapshotCommits, type Rewritten } from './commit-snapshot.ts'
import { createMemorySteps } from './memory-steps.ts'
import { type PlanFile, type PlanSettings, planWork, type Work } from './plan.ts'
import type { RewriteRequest, Rewriter } from './rewrite.ts'
import { singlePartition } from './single-partition.ts'
import { createTableMemory } from './table-memory.ts'
import type { Tiering } from './tiering.ts'

export type TableWorkerSettings = PlanSettings & CommitSettings & { readonly leaseMs: number }

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
  /** Rows in files beside the table's partitioning, of those written. */
  readonly rowsAside: number
  readonly version: bigint
}

export type TableWorker = {
  /** undefined: nothing to do. `conflict`: something moved meanwhile, or it was too much at once; plan again at once. */
  turn(table: Table): Promise<WorkDone | 'conflict' | undefined>
  /** From time to time: the reader row goes forward to what is still read, and is a sign of life. */
  refresh(): Promise<void>
  close(): Promise<void>
}

/** One look at a table, and what should be done. */
type Look = { readonly version: TableVersion; readonly base: TableMetadata | undefined; readonly work: Work }

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
  const memory = createTableMemory({ store })
  const steps = createMemorySteps()
  const readerRow = createReaderRow({ catalog, world, service: 'compactor', writer })
  const commit = createSnapshotCommits({ catalog, store, world, writer, memory, settings })

  async function turn(table: Table): Promise<WorkDone | 'conflict' | undefined> {
    const first = await look(table)
    if (first === undefined || first === 'conflict') return first
    const { version } = first
    const lease = await catalog.acquireLease(table.tableId, writer, settings.leaseMs)
    if (!lease) return undefined
    // Inputs of a version that the row covered before it was read are safe; else the row first, then the version again.
    const isCovered = readerRow.covers([version])
    let letGo = () => {}
    try {
      letGo = await readerRow.hold([version])
      const seen = isCovered ? first : await look(table)
      if (seen === undefined || seen === 'conflict') return seen
      return await work(seen, lease)
    } finally {
      letGo()
      await catalog.releaseLease(lease).catch((error: unknown) => {
        world.log.warn('a lease could not be given back; it runs out by itself', { table: table.name, error })
      })
    }
  }

  /** `conflict`: what the version names is gone, because a newer one came and nobody kept this one. */
  async function look(table: Table): Promise<Look | 'conflict' | undefined> {
    const [version] = await catalog.readTables([table.name], { coverage: false })
    if (version.table.schemas.length === 0) return undefined
    try {
      const base = await memory.metadata(version)
      const work = planWork(version, base, await memory.liveFiles(base), settings, {
        rowsMax: steps.rowsMax(table.tableId),
      })
      return work && { version, base, work }
    } catch (error) {
      if (!isMillraceError(error, 'file-missing')) throw error
      const { metadataLocation } = await catalog.getTable(table.tableId)
      if (metadataLocation === version.metadataLocation) throw error
      return 'conflict'
    }
  }

  async function work({ version, base, work }: Look, lease: Lease): Promise<WorkDone | 'conflict'> {
    const rewritten = await withinMemory(version.table, work, () =>
      runWork(version, base, work, (lease.lakeFormat ?? LAKE_FORMAT) >= LAKE_FORMAT),
    )
    if (rewritten === 'conflict') return 'conflict'
    const committed = await commit({ version, base, lease, work, rewritten })
    if (committed === 'conflict') return 'conflict'
    return {
      kind: work.kind,
      rows: rewritten.rows,
      filesIn: work.kind === 'append' ? work.segments.length : rewritten.remove.length,
      filesOut: rewritten.add.length,
      rowsAside: rewritten.add.reduce(
        (sum, file) => sum + (file.specId === UNPARTITIONED_SPEC_ID ? file.rowCount : 0),
        0,
      ),
      version: committed,
    }
  }

  /** What the engine has no memory for is planned again in a smaller way, as long as there is one. */
  async function withinMemory(
    { tableId, name }: Table,
    work: Work,
    run: () => Promise<Rewritten>,
  ): Promise<Rewritten | 'conflict'> {
    try {
      const rewritten = await run()
      if (work.kind === 'append' || work.kind === 'merge') steps.calm(tableId, rewritten.rowBytes)
      return rewritten
    } catch (error) {
      if (!isMillraceError(error, 'out-of-memory')) throw error
      const rows = rowsOf(work)
      if (!steps.lower(tableId, rows, Number(error.facts.rowBytes) || undefined)) throw error
      world.log.warn('a rewrite needs more memory than compaction.memory; it is tried with less at once', {
        table: name,
        kind: work.kind,
        rows,
        ...steps.of(tableId),
        error,
      })
      return 'conflict'
    }
  }

  async function runWork(
    version: TableVersion,
    base: TableMetadata | undefined,
    work: Work,
    mayLieBeside: boolean,
  ): Promise<Rewritten> {
    if (work.kind === 'expire') return { add: [], remove: [], rows: 0 }
    const { masks } = version
    if (work.kind === 'append') {
      const rowsExpected = rowsOf(work)
      const partition = singlePartition(version.table, work.segments)
      const rewritten = await rewriteFiles(version.table, work.segments, {
        rowsExpected,
        masks,
        partition,
        mayLieBeside,
      })
      return { ...rewritten, remove: [] }
    }
    const rows = rowsOf(work)
    const remove = work.files.map(({ path }) => path)
    if (work.kind === 'tier') {
      invariant('tiering.configured', tiering !== undefined && base !== undefined, { table: version.table.name })
      const files = await memory.wholeFiles(base, work.files)
      invariant('tiering.files', files.length === work.files.length, { table: version.table.name })
      return { add: await tiering.move(version.table, files), remove, rows }
    }
    const partition = samePartition(work.files)
    const how = { rowsExpected: rows, masks, partition, mayLieBeside }
    return { ...(await rewriteFiles(version.table, work.files, how)), remove }
  }

  async function rewriteFiles(
    table: Table,
    files: readonly { path: string; bytes: number; checksum?: string }[],
    how: Pick<RewriteRequest, 'rowsExpected' | 'masks' | 'partition' | 'mayLieBeside'>,
  ): Promise<Omit<Rewritten, 'remove'>> {
    const opened = await inputs.open(files)
    try {
      const {
        files: add,
        maskedRows,
        rowBytes,
      } = await rewriter.rewrite({
        table,
        inputs: opened.files,
        step: steps.of(table.tableId),
        ...how,
      })
      return { add, maskedRows, rowBytes, rows: add.reduce((sum, file) => sum + file.rowCount, 0) }
    } finally {
      await opened.release()
    }
  }

  return { turn, refresh: () => readerRow.refresh(), close: () => readerRow.close() }
}

function rowsOf(work: Work): number {
  const files = work.kind === 'append' ? work.segments : work.kind === 'expire' ? [] : work.files
  return files.reduce((sum, { rowCount }) => sum + rowCount, 0)
}

/** Rows that were kept beside the partitioning are parted again: there may be enough of some table partitions by now. */
function samePartition([first]: readonly PlanFile[]): PlanFile['partition'] | undefined {
  return first.specId === UNPARTITIONED_SPEC_ID ? undefined : first.partition
}
