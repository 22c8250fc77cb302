/**
 * A writer's heartbeat: one statement per process renews its registration and all its leases. A catalog that is away
 * is health's concern; being fenced ends the process, because no commit of this writer can land any more.
 *
 * It also knows whether the catalog was there without a break for a while: after one, every other writer looks silent until it
 * had the time for a heartbeat of its own.
 */
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import { isMillraceError } from '../schemas/errors.ts'
import type { Catalog, Writer } from './catalog/catalog.ts'
import { watchCatalog } from './catalog-watch.ts'

export type Heartbeat = {
  /** The catalog has answered this process, without a break, for as long as a lease lasts. */
  isSteady(): boolean
  stop(): Promise<void>
}

const BEATS_PER_LEASE = 3

export function keepAlive(components: {
  catalog: Catalog
  writer: Writer
  world: World
  leasesMs: number
  health: Health
  onFatal(error: unknown): void
}): Heartbeat {
  const { catalog, writer, world, leasesMs, health } = components
  const stopping = new AbortController()
  const watch = watchCatalog({ health, world, patienceMs: leasesMs / BEATS_PER_LEASE })
  let answeredMs = world.clock.monotonicMs()
  let steadySinceMs = Number.NEGATIVE_INFINITY

  async function beat(): Promise<void> {
    try {
      await watch.ask(() => catalog.heartbeat(writer, leasesMs))
      const nowMs = world.clock.monotonicMs()
      if (nowMs - answeredMs > leasesMs) steadySinceMs = nowMs
      answeredMs = nowMs
    } catch (error) {
      if (isMillraceError(error, 'writer-fenced') || isMillraceError(error, 'catalog-older')) {
        stopping.abort()
        components.onFatal(error)
        return
      }
      world.log.warn('heartbeat failed; it is tried again', { error })
    }
  }

  const running = (async () => {
    while (!stopping.signal.aborted) {
      await world.clock.sleep(leasesMs / BEATS_PER_LEASE, stopping.signal).catch(() => {})
      if (!stopping.signal.aborted) await beat()
    }
  })()

  return {
    isSteady() {
      const nowMs = world.clock.monotonicMs()
      return nowMs - answeredMs <= leasesMs && nowMs - steadySinceMs >= leasesMs
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
