/** Somebody waits until there may be something to do, or a time has passed; whoever has news rings. */
import type { Clock } from '../../runtime/world.ts'

export type Bell = {
  ring(): void
  /** A ring since the last wait counts. */
  wait(ms: number): Promise<void>
}

export function createBell(clock: Clock): Bell {
  let rung = false
  let waiting: AbortController | undefined
  return {
    ring() {
      rung = true
      waiting?.abort()
    },
    async wait(ms) {
      if (!rung) {
        waiting = new AbortController()
        await clock.sleep(ms, waiting.signal).catch(() => {})
        waiting = undefined
      }
      rung = false
    },
  }
}
