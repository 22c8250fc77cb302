/**
 * How many segments of each table are live, and room for the next ones: `segments.live.max` holds whether a compactor runs or
 * not (PROTOCOL 3, ADR 18).
 *
 *   commit about to happen ─▶ room by what we know? ── yes ─▶ commit
 *                                  │ no: count ── room ──────▶ commit
 *                                  ▼
 *                               merge ── nothing left to merge ─▶ wait for a compactor
 *
 * Knowing costs nothing: every commit answers the table's version, each version adds one segment at most, so the last count
 * and the versions since are an upper bound. Only when that comes near the maximum is the catalog asked to count.
 *
 * Several processes commit beside each other and see each other's segments late, so merging begins a sixteenth before
 * the maximum.
 */
import type { Catalog, NewSegment } from '../lake/catalog/catalog.ts'
import type { World } from '../runtime/world.ts'
import type { SegmentMerger } from './segment-merger.ts'
import type { UntilAvailable } from './until-available.ts'

export type TableSegments = { readonly tableId: number; readonly tableName: string; readonly segments: number }

export type LiveSegments = {
  /** Resolves when these may be committed. After `stop` it resolves at once: what is open is worth more than the maximum. */
  makeRoom(adding: readonly TableSegments[]): Promise<void>
  /** A tick with these segments was committed at these versions. */
  committed(versions: ReadonlyMap<number, bigint>, segments: readonly NewSegment[]): void
  /** Counts anew, for all tables; one attempt. */
  count(): Promise<void>
  /** Of the table that has most, as far as known. */
  readonly most: number
  stop(): void
}

type Known = { version: bigint; live: number }

const WAIT_MS = 1000
const CONFLICT_PAUSE_MS = 20
const CONFLICTS_MAX = 3
/** So much of the maximum is kept free for other processes. */
const MARGIN_RATIO = 1 / 16

export function createLiveSegments(components: {
  catalog: Catalog
  world: World
  merger: SegmentMerger
  untilAvailable: UntilAvailable
  max: number
  /** A table is full and nothing can be merged (reason), or has room again (undefined). */
  onFull(reason: string | undefined): void
  /** The largest count has changed. */
  onCount(most: number): void
}): LiveSegments {
  const { catalog, world, merger, untilAvailable, max } = components
  const known = new Map<number, Known>()
  const mergeAt = max - Math.floor(max * MARGIN_RATIO)
  let isStopping = false

  function most(): number {
    let largest = 0
    for (const { live } of known.values()) if (live > largest) largest = live
    return largest
  }

  async function count(): Promise<void> {
    const counted = await catalog.liveSegments()
    for (const [tableId, { version, live }] of counted) {
      const before = known.get(tableId)
      // Our own commit may have landed while the catalog counted.
      if (!before || before.version <= version) known.set(tableId, { version, live })
    }
    components.onCount(most())
  }

  async function makeRoomIn({ tableId, tableName, segments }: TableSegments): Promise<void> {
    const after = () => (known.get(tableId)?.live ?? 0) + segments
    if (known.has(tableId) && after() <= mergeAt) return
    for (let conflicts = 0; ; ) {
      await untilAvailable('catalog', count)
      if (after() <= mergeAt) return
      const { outcome } = await merger.merge(tableName)
      if (outcome === 'merged') continue
      if (outcome === 'conflict') {
        conflicts += 1
        // There is room still: the next tick tries again.
        if (conflicts >= CONFLICTS_MAX && after() <= max) return
        await world.clock.sleep(CONFLICT_PAUSE_MS * Math.min(conflicts, 10) * (0.5 + world.random.float()))
        continue
      }
      if (after() <= max || isStopping) return
      components.onFull(
        `table ${tableName} has ${after() - segments} live segments (segments.live.max ${max}), too large to be merged here: ingest waits for a compactor`,
      )
      await world.clock.sleep(WAIT_MS)
      if (isStopping) return
    }
  }

  return {
    async makeRoom(adding) {
      if (isStopping) return
      for (const each of adding) await makeRoomIn(each)
      components.onFull(undefined)
    },
    committed(versions, segments) {
      const added = new Map<number, number>()
      for (const { tableId } of segments) added.set(tableId, (added.get(tableId) ?? 0) + 1)
      for (const [tableId, version] of versions) {
        const before = known.get(tableId)
        if (!before || before.version >= version) continue
        // Versions between are other commits: each added one segment at most.
        const others = Number(version - before.version) - 1
        known.set(tableId, { version, live: before.live + others + (added.get(tableId) ?? 0) })
      }
      components.onCount(most())
    },
    count,
    get most() {
      return most()
    },
    stop() {
      isStopping = true
    },
  }
}
