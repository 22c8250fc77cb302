/**
 * The query service, put together: HTTP door → runner (admission, catalog, planner) → engine processes, with the cache of
 * remote files beside it. Stateless: any number of these processes, each with a cache that may be lost.
 *
 * Stopping: new queries are refused, running ones get their time, then they are cancelled; the reader row goes last.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { watchCatalog } from '../lake/catalog-watch.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import { FILE_SCHEME, localFileOf } from '../lake/object-store/object-path.ts'
import { copiesFolder, openLakeStore } from '../lake/open-lake-store.ts'
import { claimFolder } from '../lake/range-cache/own-folder.ts'
import { createRangeCache } from '../lake/range-cache/range-cache.ts'
import { createReaderRow } from '../lake/reader-row.ts'
import { createHealth } from '../runtime/health.ts'
import { createHttpServer } from '../runtime/http-server.ts'
import { createMetrics, SECONDS_BUCKETS } from '../runtime/metrics.ts'
import type { SettingRow } from '../runtime/setting-rows.ts'
import type { World } from '../runtime/world.ts'
import { MillraceError } from '../schemas/errors.ts'
import type { Settings } from '../schemas/settings.ts'
import { createEngines } from './engines/engine-pool.ts'
import { type EngineShare, engineShares } from './engines/engine-shares.ts'
import { addSqlRoutes } from './http/sql-door.ts'
import { createPlanner } from './plan/plan-tables.ts'
import { createStubs } from './plan/stubs.ts'
import { createTableFileReader } from './plan/table-files.ts'
import { createCachedRunner } from './run/cached-runner.ts'
import { createTableFollower } from './run/follow-tables.ts'
import { createQueryAdmission } from './run/query-admission.ts'
import { createQueryList } from './run/query-list.ts'
import { createResultCache } from './run/result-cache.ts'
import { createQueryRunner, type QueryRunner } from './run/run-query.ts'
import { createUnpackedFiles } from './run/unpacked-files.ts'
import { createWaiting } from './run/wait-for.ts'
import { CLOCK_NAMES } from './statement/statement-rules.ts'
import { FUNCTIONS_SQL, type KnownFunction, unsteadyFunctions } from './statement/unsteady-functions.ts'
import { systemViewsSql } from './system-tables/system-sql.ts'
import { createSystemTables } from './system-tables/system-tables.ts'

const FOOTERS_PARALLEL_MAX = 32
const CATALOG_LOOK_MS = 5_000
/** Of the time to stop, what is kept for ending cancelled queries and closing. */
const CANCEL_SHARE = 0.2

export async function startQuery(options: {
  settings: Settings
  world: World
  /** As `millrace.settings` shows them. */
  settingRows?: readonly SettingRow[]
}): Promise<{ url: string; stop(): Promise<void> }> {
  const { settings, world, settingRows = [] } = options
  const health = createHealth()
  const metrics = createMetrics({ service: 'query' })
  const catalog = await openCatalog({ ...settings.catalog, world })
  const store = openLakeStore(settings, world, health)
  const objects = await claimFolder(join(settings.query.cache.folder, 'objects'), world)
  // Beside the cache folder that is this process's alone: what one before it left there when it was killed is nobody's.
  const work = `${objects.folder}-work`
  await rm(work, { recursive: true, force: true })
  await mkdir(work, { recursive: true })
  const cache = await createRangeCache({
    folder: objects.folder,
    bytesMax: settings.query.cache.bytes,
    bytesMaxSetting: 'query.cache.bytes',
    store,
    world,
    fetchConcurrency: settings.query.fetchConcurrency,
    copies:
      settings.storage.copiesBytes > 0
        ? { folder: copiesFolder(settings), keepMs: settings.tiering.afterMs }
        : undefined,
  })
  const stubFolder = join(work, 'stubs')
  const systemFolder = join(work, 'system')
  const unpackedFolder = join(work, 'unpacked')
  await mkdir(systemFolder)
  const localRoots = [settings.lake.root, settings.storage.cold].filter((root) => root?.startsWith(FILE_SCHEME))
  const shares = engineShares(settings.query)
  const engineOf = ({ name, memoryBytes, threads, spillBytes, nice }: EngineShare) =>
    createEngine({
      settings: {
        name,
        memoryBytes,
        threads,
        spillFolder: join(work, `spill-${name}`),
        spillBytes,
        folders: [
          ...localRoots.map((root) => localFileOf(root as string)),
          objects.folder,
          stubFolder,
          systemFolder,
          unpackedFolder,
        ],
        mode: 'query',
        prepare: systemViewsSql(),
        nice,
      },
      world,
    })
  const engine = engineOf(shares.interactive)
  const admission = createQueryAdmission(settings.query, shares.batch.length, metrics, world)
  const readerRow = createReaderRow({ catalog, world, service: 'query' })
  const queries = createQueryList()
  const stopping = new AbortController()

  metrics.gaugeOf(
    { name: 'cache_bytes', help: 'Bytes of remote files kept on this machine.' },
    () => cache.stats().bytes,
  )
  metrics.gaugeOf(
    { name: 'cache_fetched_bytes', help: 'Bytes fetched from the object store since start.' },
    () => cache.stats().fetchedBytes,
  )
  metrics.gaugeOf(
    { name: 'cache_requests', help: 'GETs to the object store since start.' },
    () => cache.stats().requests,
  )
  metrics.gaugeOf(
    { name: 'cache_copied_files', help: 'Files taken over from writers of this machine since start.' },
    () => cache.stats().copiedFiles,
  )
  metrics.gaugeOf(
    { name: 'cache_evicted_files', help: 'Files that made room for others since start.' },
    () => cache.stats().evictedFiles,
  )
  metrics.gaugeOf(
    {
      name: 'cache_damaged_ranges',
      help: 'Ranges that were not what was written here, and were fetched again, since start.',
    },
    () => cache.stats().damagedRanges,
  )
  const retries = metrics.counter({
    name: 'query_retries_total',
    help: 'Queries run again by themselves: hole (a read into bytes that were not fetched, or were damaged here), file-missing, engine-lost.',
    labels: ['reason'],
  })
  const seconds = metrics.histogram({
    name: 'query_seconds',
    help: 'Time from a query to the end of its result.',
    labels: ['outcome', 'format'],
    buckets: SECONDS_BUCKETS,
  })

  const follower = createTableFollower({
    catalog,
    cache,
    world,
    prefetched: metrics.counter({
      name: 'segments_prefetched_total',
      help: 'New segments fetched before a query needed them.',
    }),
  })
  const engines = createEngines({
    interactive: engine,
    batch: shares.batch.map(engineOf),
    admission,
    queueMax: settings.query.queueMax,
    world,
    retries,
    moved: metrics.counter({
      name: 'queries_moved_total',
      help: 'Queries that went on in a batch engine: heavy (by what they read), long, memory, suspect (its engine died).',
      labels: ['reason'],
    }),
  })
  const stubs = createStubs({ engine, folder: stubFolder })
  const files = createTableFileReader({ store })
  // A first statement starts the engine process now, not with the first query.
  const functions = (await engine.run(FUNCTIONS_SQL)) as readonly KnownFunction[]
  const waiting = createWaiting({ catalog, world })
  metrics.gaugeOf(
    { name: 'queries_awaiting_writes', help: 'Queries that wait for a version or for offsets.' },
    () => waiting.waiting,
  )
  const unpacked =
    settings.query.unpackedBytes > 0
      ? createUnpackedFiles({ folder: unpackedFolder, bytesMax: settings.query.unpackedBytes, cache, world })
      : undefined
  metrics.gaugeOf(
    { name: 'unpacked_bytes', help: 'Bytes of data files that are kept without their compression.' },
    () => unpacked?.bytes ?? 0,
  )
  const plainRunner = createQueryRunner({
    engines,
    catalog,
    planner: createPlanner({
      engine,
      stubs,
      cache,
      files,
      unpacked,
      parallelMax: FOOTERS_PARALLEL_MAX,
    }),
    admission,
    readerRow,
    world,
    timeTravelFineMs: Math.min(settings.timeTravel.fineMs, settings.snapshot.minAgeMs),
    retries,
    follower,
    systemTables: createSystemTables({
      engine,
      stubs,
      files,
      queries,
      settings: settingRows,
      folder: systemFolder,
      world,
    }),
    unsteady: unsteadyFunctions(functions, CLOCK_NAMES),
    waiting,
  })
  const runner = withResultCache(plainRunner)
  const server = createHttpServer({ settings, world, service: 'query', health, metrics, listen: settings.listen.query })
  addSqlRoutes(server.app, { settings, world, catalog, runner, queries, seconds, stopping: stopping.signal })

  health.component('engine').healthy()
  const refreshing = refreshReaderRow()
  follower.start()

  function withResultCache(runner: QueryRunner): QueryRunner {
    const bytes = settings.query.resultCacheBytes
    if (bytes === 0) return runner
    const results = createResultCache(bytes)
    metrics.gaugeOf({ name: 'result_cache_bytes', help: 'Bytes of results that are kept.' }, () => results.bytes)
    const uses = metrics.counter({
      name: 'result_cache_uses_total',
      help: 'Queries by where their answer came from: hit (kept), shared (with one that was running), miss (run).',
      labels: ['use'],
    })
    return createCachedRunner({ runner, cache: results, world, uses })
  }

  /** A sign of life of the reader row; and the catalog's own, also while nobody asks anything. */
  async function refreshReaderRow(): Promise<void> {
    const everyMs = Math.min(CATALOG_LOOK_MS, Math.max(100, settings.sweep.readerSilentMs / 3))
    const watch = watchCatalog({ health, world, patienceMs: everyMs })
    let isAway = false
    for (;;) {
      try {
        await world.clock.sleep(everyMs, stopping.signal)
      } catch {
        return
      }
      try {
        await watch.ask(async () => {
          await catalog.now()
          await readerRow.refresh()
        })
        isAway = false
      } catch (error) {
        if (!isAway) world.log.warn('the catalog cannot be reached; it is tried again', { error })
        isAway = true
      }
    }
  }

  async function drain(): Promise<void> {
    const over = new AbortController()
    const late = world.clock
      .sleep(settings.shutdownMs * (1 - CANCEL_SHARE), over.signal)
      .then(() => {
        for (const query of queries.all())
          query.abort.abort(new MillraceError('shutting-down', 'this process is stopping'))
      })
      .catch(() => {})
    await queries.drained()
    over.abort()
    await late
  }

  const url = await server.listen()
  return {
    url,
    async stop() {
      stopping.abort()
      await drain()
      await server.close(settings.shutdownMs * CANCEL_SHARE)
      await refreshing
      await follower.stop()
      await engines.close()
      await unpacked?.close()
      await cache.close()
      objects.release()
      await readerRow.close().catch((error: unknown) => world.log.warn('the reader row stays behind', { error }))
      await catalog.close()
      await store.close()
      await rm(work, { recursive: true, force: true })
    },
  }
}
