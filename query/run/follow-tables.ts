/**
 * New segments of tables that people ask about are fetched before the next question (PROTOCOL 9): this process looks at
 * the catalog now and then, and brings what is new and remote into its cache, each in one GET.
 *
 * A table is followed for as long as somebody asked about it within `INTEREST_MS`. What goes wrong is left to the query
 * that needs the file: nothing here fails anything. Cost: one read of all versions a look while a remote table is
 * followed, one more read for a table that moved, and one GET a segment.
 */
import type { Catalog, Segment, TableVersion } from '../../lake/catalog/catalog.ts'
import { FILE_SCHEME } from '../../lake/object-store/object-path.ts'
import type { RangeCache } from '../../lake/range-cache/range-cache.ts'
import type { CounterMetric } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'

export type TableFollower = {
  /** Somebody asked about these tables. */
  asked(versions: readonly TableVersion[]): void
  /** One look now. */
  look(): Promise<void>
  start(): void
  stop(): Promise<void>
}

const LOOK_MS = 500
const INTEREST_MS = 600_000
const TABLES_MAX = 200
/** Larger ones would push out what is in use; a query fetches the parts that it needs. */
const SEGMENT_BYTES_MAX = 64 << 20

type Followed = { askedAtMs: number; version: bigint; newestSegmentId: number }

export function createTableFollower(components: {
  catalog: Pick<Catalog, 'versions' | 'readTables'>
  cache: Pick<RangeCache, 'ensure'>
  world: World
  prefetched: CounterMetric
}): TableFollower {
  const { catalog, cache, world } = components
  const followed = new Map<string, Followed>()
  const stopping = new AbortController()
  let running: Promise<void> | undefined

  function forgetOld(): void {
    const oldest = world.clock.monotonicMs() - INTEREST_MS
    for (const [name, { askedAtMs }] of followed) {
      if (askedAtMs >= oldest && followed.size <= TABLES_MAX) return
      followed.delete(name)
    }
  }

  async function fetchSegment({ path, bytes, etag, checksum }: Segment): Promise<void> {
    try {
      const held = await cache.ensure(path, bytes, etag, [{ start: 0, end: bytes }], stopping.signal, checksum)
      if (held.requests > 0) components.prefetched.add(1)
      held.release()
    } catch (error) {
      world.log.debug('a new segment could not be fetched ahead', { path, error })
    }
  }

  async function look(): Promise<void> {
    forgetOld()
    if (followed.size === 0) return
    const versions = await catalog.versions()
    const moved = [...followed].filter(([name, { version }]) => (versions.get(name) ?? version) > version)
    if (moved.length === 0) return
    const read = await catalog.readTables(
      moved.map(([name]) => name),
      { coverage: false },
    )
    for (const { table, version, segments } of read) {
      const known = followed.get(table.name)
      if (!known) continue
      const fresh = segments.filter((each) => each.segmentId > known.newestSegmentId && each.bytes <= SEGMENT_BYTES_MAX)
      known.version = version
      known.newestSegmentId = segments.reduce((newest, each) => Math.max(newest, each.segmentId), known.newestSegmentId)
      await Promise.all(fresh.map(fetchSegment))
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      await world.clock.sleep(LOOK_MS, stopping.signal).catch(() => {})
      if (stopping.signal.aborted) return
      await look().catch((error: unknown) => world.log.debug('following tables failed; it is tried again', { error }))
    }
  }

  return {
    asked(versions) {
      for (const { table, version, segments } of versions) {
        if (table.location.startsWith(FILE_SCHEME)) continue
        const known = followed.get(table.name)
        // Asked last stands last, so that the first ones are those to forget.
        followed.delete(table.name)
        followed.set(table.name, {
          askedAtMs: world.clock.monotonicMs(),
          version: known?.version ?? version,
          newestSegmentId:
            known?.newestSegmentId ?? segments.reduce((newest, each) => Math.max(newest, each.segmentId), 0),
        })
      }
    },
    look,
    start() {
      running = run()
    },
    async stop() {
      stopping.abort()
      await running
    },
  }
}
