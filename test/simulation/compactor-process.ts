/**
 * A compactor process of the simulated world, put together as `compactor/service.ts` does it: table worker, plan, tiering,
 * sweep, loop and heartbeat are the production ones; what reads and writes rows is in `row-files.ts`.
 */
import { createCompactionLoop } from '../../compactor/loop.ts'
import { createSweep } from '../../compactor/sweep.ts'
import { createTableWorker } from '../../compactor/table-worker.ts'
import { createTiering } from '../../compactor/tiering.ts'
import { reachablePaths } from '../../lake/iceberg/read.ts'
import { keepAlive } from '../../lake/writer-heartbeat.ts'
import { createHealth } from '../../runtime/health.ts'
import type { Lake } from './lake.ts'
import { createRowInputs, createRowRewriter } from './row-files.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { COLD_ROOT, LAKE_ROOT } from './simulated-store.ts'

export async function bootCompactor(lake: Lake, process: SimulatedProcess): Promise<void> {
  const { universe, bug } = lake
  const { shape } = universe
  const { world } = process
  const catalog = lake.catalogOf(process)
  const store = lake.storeOf(process)
  const writer = await catalog.registerWriter('compactor')
  lake.model.writerRegistered(writer.writerId)
  const onFatal = (error: unknown) => {
    universe.tally('compactor ended itself')
    process.crash(`ends itself: ${error instanceof Error ? error.message : String(error)}`)
  }
  keepAlive({ catalog, writer, world, leasesMs: shape.leasesMs, health: createHealth(), onFatal })
  const worker = createTableWorker({
    catalog: bug?.workerCatalog?.(catalog, lake) ?? catalog,
    store,
    world,
    writer,
    inputs: createRowInputs(store),
    rewriter: createRowRewriter({ store, world, writer }),
    tiering: shape.hasColdStore
      ? createTiering({ store, world, writer, lakeRoot: LAKE_ROOT, coldRoot: COLD_ROOT })
      : undefined,
    settings: {
      leaseMs: shape.leasesMs,
      snapshotBytes: shape.snapshotBytes,
      snapshotAgeMs: shape.snapshotAgeMs,
      appendBytesMax: shape.appendBytesMax,
      targetBytes: 100_000,
      filesMin: shape.filesMin,
      mergeBytesMax: 100_000,
      cold: shape.hasColdStore ? { root: COLD_ROOT, afterMs: 4000, filesMax: 2 } : undefined,
      snapshotAgeMaxMs: shape.snapshotMinAgeMs,
      snapshotsMax: shape.snapshotsMax,
      manifestsMax: shape.manifestsMax,
    },
  })
  const loop = createCompactionLoop({
    catalog,
    world,
    worker,
    sweep: createLakeSweep(lake, process),
    settings: {
      intervalMs: shape.compactionIntervalMs,
      sweepIntervalMs: shape.sweepIntervalMs,
      readerRefreshMs: shape.readerSilentMs / 3,
    },
    onDone: (_, done) => universe.tally(`work done: ${done.kind}`),
    onSwept(report) {
      universe.tally('sweep: dead files deleted', report.deadFiles)
      universe.tally('sweep: orphan files deleted', report.orphanFiles)
    },
    onHealth(part, reason) {
      if (reason !== undefined) universe.tally(`compaction failed: ${part.split(' ')[0]}`)
    },
    onFatal,
  })
  loop.start()
}

/** The production sweep, with the settings of this world. */
export function createLakeSweep(lake: Lake, process: SimulatedProcess) {
  const { shape } = lake.universe
  const catalog = lake.catalogOf(process)
  const store = lake.storeOf(process)
  return createSweep({
    catalog: lake.bug?.sweepCatalog?.(catalog, lake) ?? catalog,
    store,
    world: process.world,
    settings: {
      snapshotMinAgeMs: shape.snapshotMinAgeMs,
      writerSilentMs: shape.writerSilentMs,
      readerSilentMs: shape.readerSilentMs,
    },
    locations: (table) =>
      shape.hasColdStore ? [table.location, table.location.replace(LAKE_ROOT, COLD_ROOT)] : [table.location],
    reachablePaths: (metadataLocation) => reachablePaths(store, metadataLocation),
  })
}
