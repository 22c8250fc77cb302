/**
 * A writer's heartbeat: one statement per process renews its registration and all its leases. A catalog that is away
 * is health's concern; being fenced ends the process, because no commit of this writer can land any more.
 */
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import { isMillraceError } from '../schemas/errors.ts'
import type { Catalog, Writer } from './catalog/catalog.ts'

export type Heartbeat = { stop(): Promise<void> }

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

  async function beat(): Promise<void> {
    try {
      await catalog.heartbeat(writer, leasesMs)
      health.component('catalog').healthy()
    } catch (error) {
      if (isMillraceError(error, 'writer-fenced')) {
        stopping.abort()
        components.onFatal(error)
        return
      }
      health.component('catalog').unhealthy(error instanceof Error ? error.message : String(error))
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
    async stop() {
      stopping.abort()
      await running
    },
  }
}
