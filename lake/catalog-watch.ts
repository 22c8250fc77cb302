/**
 * What a process's health says of the catalog, from the questions that it asks it anyway: unhealthy with the reason while an
 * answer fails or does not come, healthy with the next one that does. A server that accepts connections and says nothing
 * would else be noticed only when the client gives up.
 */
import type { Health } from '../runtime/health.ts'
import type { World } from '../runtime/world.ts'
import { isMillraceError } from '../schemas/errors.ts'

export type CatalogWatch = {
  /** Asks, and passes on what comes of it. */
  ask<T>(question: () => Promise<T>): Promise<T>
}

export function watchCatalog(components: { health: Health; world: World; patienceMs: number }): CatalogWatch {
  const { world, patienceMs } = components
  const state = components.health.component('catalog')
  return {
    async ask(question) {
      const answered = new AbortController()
      void world.clock.sleep(patienceMs, answered.signal).then(
        () => state.unhealthy(`the catalog has not answered for ${Math.round(patienceMs)} ms`),
        () => {},
      )
      try {
        const answer = await question()
        state.healthy()
        return answer
      } catch (error) {
        // Any other answer is one: the catalog is there.
        if (isMillraceError(error) && error.kind !== 'unavailable') state.healthy()
        else state.unhealthy(error instanceof Error ? error.message : String(error))
        throw error
      } finally {
        answered.abort()
      }
    },
  }
}
