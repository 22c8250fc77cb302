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
  /** Resolves when so many bytes more may be held (default: any), in the order of asking. */
  room(bytes?: number): Promise<void>
  /** Memory that is counted elsewhere was given back. */
  freed(): void
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
/** An open tick with so much of the ceiling is flushed though others are under way. */
const FULL_SHARE = 0.3
/** At `segments.live.max` flushes are this many times rarer than set. */
const LENGTHEN_MAX = 20

export function createIntake(components: {
  tick: OpenTick
  flusher: Flusher
  world: World
  settings: IntakeSettings
  /** Bytes that are held elsewhere for rows: of fetched records, of rows being decoded, and of pieces that are counted there. */
  elsewhere?: { readonly bytesHeld: number; readonly fetchedBytes: number }
}): Intake {
  const { tick, flusher, world, settings, elsewhere } = components
  let stopping: AbortController | undefined
  let loop: Promise<void> | undefined
  let flushing: Promise<void> | undefined
  let liveSegments = 0
  let lastRowlessMs = Number.NEGATIVE_INFINITY
  let lastRoom: Promise<void> = Promise.resolve()
  let changed: PromiseWithResolvers<void> | undefined

  const bytesHeld = () => tick.ownBytes + flusher.bytesInFlight + (elsewhere?.bytesHeld ?? 0)
  /** Something always may go on: fetched records alone must not keep each other waiting. */
  const hasRoom = (bytes: number) =>
    bytesHeld() + bytes <= settings.memoryMax || bytesHeld() === (elsewhere?.fetchedBytes ?? 0)
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

  /**
   * At the ceiling rows come as fast as memory is given back. A flush for each bit of it makes many small segments, and each
   * costs a file, a commit and dictionaries of its own: what is under way gives memory back as well, so it is waited for.
   */
  const isWorthAFlush = () => flusher.ticksInFlight === 0 || tick.bytes >= settings.memoryMax * FULL_SHARE

  async function waitForRoom(bytes: number): Promise<void> {
    while (!hasRoom(bytes)) {
      if (!tick.isEmpty && isWorthAFlush()) void flush()
      // Not the commit but the tick's leaving gives its bytes back; a tick dropped as stale leaves without a commit. Rows that
      // are being decoded come into the tick, and leave with it.
      await Promise.race([flusher.tickLeft(), change()])
    }
  }

  function noteChange(): void {
    changed?.resolve()
    changed = undefined
  }

  function change(): Promise<void> {
    changed ??= Promise.withResolvers<void>()
    return changed.promise
  }

  return {
    tick,
    room(bytes = 0) {
      const mine = lastRoom.then(() => (hasRoom(bytes) ? undefined : waitForRoom(bytes)))
      lastRoom = mine
      return mine
    },
    freed: noteChange,
    added() {
      noteChange()
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
