/**
 * The first step of every process that writes: the catalog must know all that is in the bucket. While it does not, the process
 * stands by: its health is unhealthy and says why and what to do, nothing is registered, committed or swept. Once the catalog
 * was rebuilt it goes on by itself.
 *
 * The catalog is opened anew for every look: a human may put another file in its place meanwhile.
 */
import type { Health } from '../../runtime/health.ts'
import { createHttpServer, type HttpServer } from '../../runtime/http-server.ts'
import { createMetrics } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'
import { openCatalog } from '../catalog/open-catalog.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { findEvidence, olderCatalogError } from './older-catalog.ts'

const LOOK_AGAIN_MS = 10_000
const STORE_AWAY_MS = 2_000

/** A store that is away proves nothing: the process starts, and looks as soon as it can (`onOlder`). */
export async function awaitCurrentCatalog(components: {
  service: 'ingest' | 'compactor'
  settings: Settings
  world: World
  store: ObjectStore
  health: Health
  stopping: AbortSignal | undefined
  onOlder(error: MillraceError): void
}): Promise<void> {
  const { service, settings, world, health, stopping } = components
  const component = health.component('catalog')
  let server: HttpServer | undefined
  try {
    for (;;) {
      const reason = await olderReason(components)
      if (reason === 'unknown') void lookLater(components)
      if (reason === undefined || reason === 'unknown') return
      if (!server) {
        world.log.error('standing by', { error: reason })
        const metrics = createMetrics({ service })
        server = createHttpServer({ settings, world, service, health, metrics, listen: settings.listen[service] })
        // Whoever sends rows now must send them again, not take them for refused.
        server.app.all('/v1/*', { config: { right: 'write' } }, async () => {
          throw new MillraceError('catalog-busy', `this process stands by: ${reason.message}`)
        })
        await server.listen()
      }
      component.unhealthy(reason.message)
      await world.clock.sleep(LOOK_AGAIN_MS, stopping).catch(() => {})
      if (stopping?.aborted) throw new MillraceError('shutting-down', 'stopped while standing by')
    }
  } finally {
    component.healthy()
    await server?.close()
  }
}

async function lookLater(components: Parameters<typeof awaitCurrentCatalog>[0]): Promise<void> {
  const { world, stopping, onOlder } = components
  while (!stopping?.aborted) {
    await world.clock.sleep(STORE_AWAY_MS, stopping).catch(() => {})
    if (stopping?.aborted) return
    const reason = await olderReason(components).catch(() => 'unknown' as const)
    if (reason === 'unknown') continue
    if (reason) onOlder(reason)
    return
  }
}

async function olderReason(components: {
  settings: Settings
  world: World
  store: ObjectStore
}): Promise<MillraceError | 'unknown' | undefined> {
  const { settings, world, store } = components
  const { url, connectionsMax } = settings.catalog
  const catalog = await openCatalog({ url, connectionsMax, world })
  try {
    const evidence = await findEvidence({ catalog, store, lakeRoot: settings.lake.root })
    return evidence.length === 0 ? undefined : olderCatalogError(evidence)
  } catch (error) {
    if (isMillraceError(error, 'store-unavailable')) return 'unknown'
    throw error
  } finally {
    await catalog.close()
  }
}
