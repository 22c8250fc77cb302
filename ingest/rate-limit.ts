/**
 * At most so many records and bytes a second of one pipeline: a bucket each, of one second. What is taken may go over what is
 * there, and the next one waits until that is paid back: a block is never cut for the limit, and over many the rate is kept.
 * Whoever waits holds up nobody but its own pipeline.
 */
import type { World } from '../runtime/world.ts'

export type RateLimits = {
  /** undefined: no limit. */
  readonly rowsMax: number | undefined
  readonly bytesMax: number | undefined
}

const BUCKET_MS = 1000

/** undefined when there is nothing to limit. */
export function createRateLimit(
  { rowsMax, bytesMax }: RateLimits,
  world: World,
): ((records: number, bytes: number) => Promise<void>) | undefined {
  if (rowsMax === undefined && bytesMax === undefined) return undefined
  const rows = createBucket(rowsMax, world)
  const bytes = createBucket(bytesMax, world)
  let turn: Promise<void> = Promise.resolve()

  async function pass(records: number, size: number): Promise<void> {
    for (;;) {
      const waitMs = Math.max(rows.waitMs(), bytes.waitMs())
      if (waitMs <= 0) break
      await world.clock.sleep(waitMs)
    }
    rows.take(records)
    bytes.take(size)
  }

  return (records, size) => {
    turn = turn.then(() => pass(records, size))
    return turn
  }
}

function createBucket(perSecond: number | undefined, world: World) {
  let there = perSecond ?? 0
  let seenMs = world.clock.monotonicMs()
  return {
    /** Until what was taken too much is paid back. */
    waitMs(): number {
      if (perSecond === undefined) return 0
      const now = world.clock.monotonicMs()
      there = Math.min(perSecond, there + ((now - seenMs) / BUCKET_MS) * perSecond)
      seenMs = now
      return there > 0 ? 0 : Math.ceil((-there / perSecond) * BUCKET_MS) + 1
    },
    take(amount: number): void {
      if (perSecond !== undefined) there -= amount
    },
  }
}
