/**
 * The compactor service: opens the catalog, the store and an engine of its own, registers as a writer, and runs the
 * loop. Any number of them may run: leases say who works on which table.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { catalogFile, openCatalog } from '../lake/catalog/open-catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import { reachablePaths } from '../lake/iceberg/read.ts'
import { FILE_SCHEME, localFileOf } from '../lake/object-store/object-path.ts'
import { openWritersStore } from '../lake/open-lake-store.ts'
import { awaitCurrentCatalog } from '../lake/rebuild/await-current.ts'
import { noticeOlderCatalog } from '../lake/rebuild/notice-older.ts'
import { keepAlive } from '../lake/writer-heartbeat.ts'
import { createHealth } from '../runtime/health.ts'
import { createHttpServer } from '../runtime/http-server.ts'
import { EXIT_FENCED } from '../runtime/lifecycle.ts'
import { createMetrics, SECONDS_BUCKETS } from '../runtime/metrics.ts'
import type { World } from '../runtime/world.ts'
import type { Settings } from '../schemas/settings.ts'
import { createInputs } from './inputs.ts'
import { createCompactionLoop } from './loop.ts'
import { createRewriter } from './rewrite.ts'
import { createSweep, removeDeadWorkFolders } from './sweep.ts'
import { createTableWorker } from './table-worker.ts'
import { createTiering } from './tiering.ts'

const SPILL_TIMES_MEMORY = 16
const TIER_FILES_AT_ONCE = 16
/**
 * An append takes segments of at most this part of the engine's memory: sorting two million rows of 22 bytes (compressed)
 * in 1 GiB costs 1.2 CPU-s per million rows, four million 2.3, because they spill.
 */
const APPEND_MEMORY_RATIO = 1 / 24
const APPEND_BYTES_MIN = 8 * 1024 ** 2
const READER_REFRESH_MAX_MS = 10_000

export async function startCompactor(options: {
  settings: Settings
  world: World
  /** Ends standing by before an older catalog. */
  stopping?: AbortSignal
}): Promise<{ url: string; stop(): Promise<void> }> {
  const { settings, world } = options
  const health = createHealth()
  const metrics = createMetrics({ service: 'compactor' })
  const store = openWritersStore(settings, world, health)
  const onOlder = (error: unknown) => onFatal(error)
  await awaitCurrentCatalog({
    service: 'compactor',
    settings,
    world,
    store,
    health,
    stopping: options.stopping,
    onOlder,
  })
  const catalog = noticeOlderCatalog(await openCatalog({ ...settings.catalog, world }), {
    file: catalogFile(settings.catalog.url),
    onOlder,
  })
  const writer = await catalog.registerWriter('compactor')
  const workRoot = join(settings.data, 'compaction')
  const workFolder = join(workRoot, writer.writerId)
  await mkdir(workFolder, { recursive: true })
  await removeDeadWorkFolders(workRoot, catalog)
  const localLake = settings.lake.root.startsWith(FILE_SCHEME) ? [localFileOf(settings.lake.root)] : []
  for (const folder of localLake) await mkdir(folder, { recursive: true })

  const engine = createEngine({
    world,
    settings: {
      name: 'compaction',
      mode: 'compaction',
      memoryBytes: settings.compaction.memoryBytes,
      threads: settings.compaction.threads,
      spillFolder: join(workFolder, 'spill'),
      spillBytes: settings.compaction.memoryBytes * SPILL_TIMES_MEMORY,
      folders: [workFolder, ...localLake],
    },
  })
  function onFatal(error: unknown): never {
    health.component('writer').unhealthy('this process was fenced; it ends')
    world.log.error('this compactor was fenced and ends; a new one takes over', { error })
    process.exit(EXIT_FENCED)
  }
  const heartbeat = keepAlive({ catalog, writer, world, leasesMs: settings.leasesMs, health, onFatal })
  const cold = settings.storage.cold
  const worker = createTableWorker({
    catalog,
    store,
    world,
    writer,
    inputs: createInputs({ store, workFolder }),
    rewriter: createRewriter({
      engine,
      store,
      world,
      writer,
      workFolder,
      partitionsMax: settings.partitions.perCommitMax,
      memoryBytes: settings.compaction.memoryBytes,
      threads: settings.compaction.threads,
    }),
    tiering:
      cold === undefined
        ? undefined
        : createTiering({ store, world, writer, lakeRoot: settings.lake.root, coldRoot: cold }),
    settings: {
      leaseMs: settings.leasesMs,
      snapshotBytes: settings.snapshot.bytes,
      snapshotAgeMs: settings.snapshot.ageMs,
      appendBytesMax: Math.min(
        settings.compaction.targetBytes,
        Math.max(APPEND_BYTES_MIN, settings.compaction.memoryBytes * APPEND_MEMORY_RATIO),
      ),
      targetBytes: settings.compaction.targetBytes,
      filesMin: settings.compaction.filesMin,
      mergeBytesMax: settings.compaction.targetBytes,
      cold:
        cold === undefined
          ? undefined
          : { root: cold, afterMs: settings.tiering.afterMs, filesMax: TIER_FILES_AT_ONCE },
      snapshotAgeMaxMs: settings.snapshot.minAgeMs,
      snapshotsMax: settings.snapshot.keepMax,
      manifestsMax: settings.snapshot.manifestsMax,
    },
  })
  const sweep = createSweep({
    catalog,
    store,
    world,
    settings: {
      snapshotMinAgeMs: settings.snapshot.minAgeMs,
      writerSilentMs: settings.sweep.writerSilentMs,
      readerSilentMs: settings.sweep.readerSilentMs,
    },
    locations: (table) =>
      cold === undefined ? [table.location] : [table.location, table.location.replace(settings.lake.root, cold)],
    reachablePaths: (metadataLocation) => reachablePaths(store, metadataLocation),
    mayFence: () => heartbeat.isSteady(),
  })

  const seconds = metrics.histogram({
    name: 'compaction_seconds',
    help: 'Time of one snapshot commit with its rewrite.',
    labels: ['kind'],
    buckets: SECONDS_BUCKETS,
  })
  const rows = metrics.counter({ name: 'compaction_rows_total', help: 'Rows rewritten or moved.', labels: ['kind'] })
  const rowsAside = metrics.counter({
    name: 'compaction_rows_aside_total',
    help: 'Rows written beside the partitioning of their table: too few of their table partition, or a time outside the window.',
    labels: ['kind'],
  })
  const deleted = metrics.counter({
    name: 'files_deleted_total',
    help: 'Files deleted by the sweep.',
    labels: ['kind'],
  })
  const loop = createCompactionLoop({
    catalog,
    world,
    worker,
    sweep,
    settings: {
      intervalMs: settings.compaction.intervalMs,
      sweepIntervalMs: settings.sweep.intervalMs,
      readerRefreshMs: Math.min(READER_REFRESH_MAX_MS, settings.sweep.readerSilentMs / 3),
    },
    onDone(table, done, elapsed) {
      seconds.observe(elapsed, { kind: done.kind })
      rows.add(done.rows, { kind: done.kind })
      rowsAside.add(done.rowsAside, { kind: done.kind })
      world.log.info('snapshot committed', { table, ...done, version: String(done.version), seconds: elapsed })
    },
    onSwept(report) {
      deleted.add(report.deadFiles, { kind: 'dead' })
      deleted.add(report.orphanFiles, { kind: 'orphan' })
    },
    onHealth(part, reason) {
      if (reason === undefined) health.component(part).healthy()
      else health.component(part).degraded(reason)
    },
    onFatal,
  })
  const server = createHttpServer({
    settings,
    world,
    service: 'compactor',
    health,
    metrics,
    listen: settings.listen.compactor,
  })
  loop.start()
  const url = await server.listen()

  return {
    url,
    async stop() {
      await loop.stop()
      await heartbeat.stop()
      await catalog.retireWriter(writer).catch(() => {})
      await server.close()
      await engine.close()
      await rm(workFolder, { recursive: true, force: true })
      await store.close()
      await catalog.close()
    },
  }
}
