/**
 * What is away comes back: attempts are repeated for ever, with back-off, as long as the error says `unavailable`; anything else
 * is thrown. Health hears the reason while any attempt fails, and that all is well when none does any more.
 */
import type { World } from '../runtime/world.ts'
import { isMillraceError } from '../schemas/errors.ts'

export type UntilAvailable = <T>(what: string, attempt: () => Promise<T>) => Promise<T>

const BACK_OFF_MS = [50, 100, 200, 500, 1000, 2000]

export function createUntilAvailable(components: {
  world: World
  /** The catalog or the store is away (reason), or back (undefined). */
  onTrouble(reason: string | undefined): void
}): UntilAvailable {
  const { world, onTrouble } = components
  /** Attempts that fail at the moment: several uploads go on at once. */
  let failing = 0

  return async (what, attempt) => {
    for (let failures = 0; ; failures += 1) {
      try {
        const value = await attempt()
        if (failures > 0 && --failing === 0) onTrouble(undefined)
        return value
      } catch (error) {
        if (!isMillraceError(error) || error.kind !== 'unavailable') {
          if (failures > 0) failing -= 1
          throw error
        }
        if (failures === 0) failing += 1
        onTrouble(`${what}: ${error.message}`)
        await world.clock.sleep(BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)])
      }
    }
  }
}
