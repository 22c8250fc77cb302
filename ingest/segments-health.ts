/** What health says of live segments: that flushes are rarer, or that a full table waits for a compactor. */
import type { Health } from '../runtime/health.ts'

export type SegmentsHealth = {
  /** Of the table that has most. */
  live(count: number): void
  /** A table that can take no more (reason), or can again (undefined). */
  full(reason: string | undefined): void
}

export function createSegmentsHealth(health: Health, liveMax: number): SegmentsHealth {
  const component = health.component('segments')
  let live = 0
  let full: string | undefined

  function tell(): void {
    if (full !== undefined) component.degraded(full)
    else if (live > liveMax / 2) {
      component.degraded(
        `${live} live segments in a table (segments.live.max ${liveMax}): flushes are rarer, and segments are merged at the maximum; is a compactor running?`,
      )
    } else component.healthy()
  }

  return {
    live(count) {
      live = count
      tell()
    },
    full(reason) {
      if (reason === full) return
      full = reason
      tell()
    },
  }
}
