/**
 * Where everything that came in meets: the open tick, the flusher behind it, and the back-pressure before it.
 *
 *   Kafka blocks ─┐                      every flush.interval.ms, or at flush.bytes / flush.rows
 *   HTTP requests ┴▶ room() ─▶ open tick ─────────────────────────────────────────────────────▶ flusher
 *
 * Memory has one ceiling for rows that are decoded but not committed (G-6): at it `room` holds the callers back, so
 * fetching stops and HTTP answers later; nothing is dropped.
 */
import type { World } from '../runtime/world.ts'
import type { Flusher } from './flusher.ts'
import type { OpenTick } from './open-tick.ts'

export type IntakeSettings = {
  readonly flushIntervalMs: number
  readonly flushBytes: number
  readonly flushRows: number
  readonly memoryMax: number
  readonly segmentsLiveMax: number
}

export type Intake = {
  readonly tick: OpenTick
  /** Resolves when more rows may be taken. */
  room(): Promise<void>
  /** Flush at once if the open tick is large enough. Call after adding rows. */
  added(): void
  /** Everything added before is committed or dropped when it resolves. */
  drain(): Promise<void>
  /** Live segments of the table that has most of them, as last seen. */
  setLiveSegments(count: number): void
  readonly flushIntervalMs: number
  readonly bytesHeld: number
  start(): void
  stop(): Promise<void>
}

/** Advances without rows (holes, tombstones, transaction markers) are committed no more often than this. */
const ROWLESS_INTERVAL_MS = 5000
/** At `segments.live.max` flushes are this many times rarer than set. */
const LENGTHEN_MAX = 20

export function createIntake(components: {
  tick: OpenTick
  flusher: Flusher
  world: World
  settings: IntakeSettings
}): Intake {
  const { tick, flusher, world, settings } = components
  let stopping: AbortController | undefined
  let loop: Promise<void> | undefined
  let flushing: Promise<void> | undefined
  let liveSegments = 0
  let lastRowlessMs = Number.NEGATIVE_INFINITY

  const bytesHeld = () => tick.bytes + flusher.bytesInFlight
  const intervalMs = () => lengthenedInterval(settings.flushIntervalMs, liveSegments, settings.segmentsLiveMax)

  async function submitOpen(): Promise<void> {
    if (!tick.isEmpty) await flusher.submit(tick.seal())
  }

  /** One at a time: the next flush takes what came in while this one waited for its place. */
  function flush(): Promise<void> {
    flushing ??= submitOpen().finally(() => {
      flushing = undefined
    })
    return flushing
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await world.clock.sleep(intervalMs(), signal).catch(() => {})
      if (signal.aborted) return
      if (tick.isEmpty) continue
      if (tick.rowCount === 0) {
        const now = world.clock.monotonicMs()
        if (now - lastRowlessMs < ROWLESS_INTERVAL_MS) continue
        lastRowlessMs = now
      }
      await flush()
    }
  }

  return {
    tick,
    async room() {
      while (bytesHeld() > settings.memoryMax) {
        void flush()
        // Not the commit but the tick's leaving gives its bytes back; a tick dropped as stale leaves without a commit.
        await flusher.tickLeft()
      }
    },
    added() {
      if (tick.bytes >= settings.flushBytes || tick.rowCount >= settings.flushRows) void flush()
    },
    async drain() {
      await flushing
      await flush()
      await flusher.drain()
    },
    setLiveSegments(count) {
      liveSegments = count
    },
    get flushIntervalMs() {
      return intervalMs()
    },
    get bytesHeld() {
      return bytesHeld()
    },
    start() {
      stopping = new AbortController()
      loop = run(stopping.signal)
    },
    async stop() {
      stopping?.abort()
      await loop
      await this.drain()
    },
  }
}

/** Above half of `max` live segments the interval grows in proportion, to `LENGTHEN_MAX` times at `max` and on from there. */
export function lengthenedInterval(intervalMs: number, live: number, max: number): number {
  const half = max / 2
  if (live <= half) return intervalMs
  return intervalMs * (1 + (LENGTHEN_MAX - 1) * ((live - half) / half))
}
