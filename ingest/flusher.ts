/**
 * Sealed ticks → committed ticks, in order.
 *
 *   submit ─▶ write segments (several ticks at once, bounded) ─▶ wait for the tick before ─▶ one transaction
 *
 * Around the commit point (PROTOCOL 3):
 *   - before the segment files: a restart sees nothing; Kafka is read again from the coverage.
 *   - after the files, before the transaction: files that nothing refers to; the sweep removes them.
 *   - after the transaction: the rows are in; positions follow from the coverage.
 *
 * The answers of the catalog: `committed`; `stale` (another process moved a source: its rows leave the tick, the rest
 * is sealed again under a new commit id); `duplicate-keys`; busy or away (same commit id again, so an unknown outcome
 * is found out by the next attempt); `writer-fenced` (this process must end).
 */

import type { Catalog, NewSegment, TickResult, Writer } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { World } from '../runtime/world.ts'
import { type SourceKey, sourceKeyText } from '../schemas/coverage.ts'
import { invariant, isMillraceError } from '../schemas/errors.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { needsStrip, type SealedTick, type StripRule, stripTick, type Waiter } from './open-tick.ts'
import type { PlannedSegment, SegmentWriter } from './segment-writer.ts'
import type { SourceLedger } from './source-ledger.ts'

export type FlushedTick = {
  readonly rowCount: number
  readonly segments: readonly NewSegment[]
  readonly committedAt: bigint
}

export type Flusher = {
  /** Resolves when a place is free, so that memory stays bounded; the commit itself is reported by `onCommitted`. */
  submit(tick: SealedTick): Promise<void>
  /** All submitted ticks are committed, or dropped as stale. */
  drain(): Promise<void>
  /** The next tick that was submitted before has left: committed or dropped, and its bytes no longer count. */
  tickLeft(): Promise<void>
  readonly bytesInFlight: number
  readonly ticksInFlight: number
}

export type FlusherComponents = {
  catalog: Catalog
  store: ObjectStore
  world: World
  writer: Writer
  segments: SegmentWriter
  ledger: SourceLedger
  filterRows: (batch: MicroBatch, keep: Uint8Array) => MicroBatch
  ticksInFlightMax: number
  onCommitted(tick: FlushedTick): void
  onStale(keys: readonly SourceKey[]): void
  /** The catalog or the store is away (reason), or back (undefined). */
  onTrouble(reason: string | undefined): void
  /** This process may not commit any more. */
  onFatal(error: unknown): void
}

const BACK_OFF_MS = [50, 100, 200, 500, 1000, 2000]
/** Attempts that came to nothing, as far as footers name them; their files are deleted at once as a rule. */
const DROPPED_MAX = 32

/** One attempt at a tick: its segments as planned, and what its files record of each source. */
type Attempt = {
  readonly tick: number
  readonly commitId: string
  readonly planned: readonly PlannedSegment[]
}

export function createFlusher(components: FlusherComponents): Flusher {
  const { catalog, store, world, writer, segments, ledger } = components
  let bytesInFlight = 0
  let ticksInFlight = 0
  let previous: Promise<void> = Promise.resolve()
  let places: (() => void)[] = []
  let attempts = 0
  const pending = new Set<number>()
  let dropped: number[] = []
  const versions = new Map<number, bigint>()

  /** Retries what is away for ever, with back-off; anything else is thrown. */
  async function untilAvailable<T>(what: string, attempt: () => Promise<T>): Promise<T> {
    for (let failures = 0; ; failures += 1) {
      try {
        const value = await attempt()
        if (failures > 0) components.onTrouble(undefined)
        return value
      } catch (error) {
        if (!isMillraceError(error) || error.kind !== 'unavailable') throw error
        components.onTrouble(`${what}: ${error.message}`)
        await world.clock.sleep(BACK_OFF_MS[Math.min(failures, BACK_OFF_MS.length - 1)])
      }
    }
  }

  /** Synchronous, so that attempts are numbered and record their sources in the order of their commits. */
  function begin(tick: SealedTick, inFlight: boolean): Attempt {
    attempts += 1
    const settled = Math.min(attempts, ...pending) - 1
    const commitId = world.random.uuid()
    const planned = segments.plan(tick.batches, {
      commitId,
      tick: attempts,
      settled,
      dropped: dropped.filter((each) => each <= settled),
      advances: tick.advances.map((advance) => ({
        ...advance,
        recordedFrom: ledger.recordedFrom(advance.keyText, advance.range.start, inFlight),
      })),
      versionOf: (tableId) => versions.get(tableId),
    })
    pending.add(attempts)
    const recorded = recordedKeys(planned)
    for (const { keyText, generation, range } of tick.advances) {
      if (recorded.has(keyText)) ledger.willRecord(keyText, generation, range.end)
    }
    return { tick: attempts, commitId, planned }
  }

  async function writeSegments({ planned }: Attempt): Promise<NewSegment[]> {
    const written: NewSegment[] = []
    for (const each of planned) {
      written.push(await untilAvailable('segment upload', () => segments.write(each)))
      world.crashPoint('ingest/between-segments')
    }
    return written
  }

  /** A tick before this one lost the files that were to record a source: the record of this one would begin too late. */
  function recordHasHole({ planned }: Attempt): boolean {
    return planned.some(({ sources }) =>
      sources.some((source) => !ledger.isRecordWhole(sourceKeyText(source), source.recordedFrom)),
    )
  }

  async function drop({ tick }: Attempt, written: readonly NewSegment[]): Promise<void> {
    // No transaction refers to these files, and none can any more: their commit id was never accepted.
    await discard(written)
    pending.delete(tick)
    dropped = [...dropped, tick].slice(-DROPPED_MAX)
  }

  async function run(tick: SealedTick, before: Promise<void>): Promise<void> {
    let current = tick
    let attempt = begin(current, true)
    let written = await writeSegments(attempt)
    await before

    const duplicates = new Map<string, { rows: number; version: bigint }>()
    const rule: StripRule = {
      generationOf: (keyText) => ledger.generation(keyText),
      isDuplicateKey: (tableId, key) => duplicates.has(`${tableId}/${key}`),
    }
    for (;;) {
      const isStale = needsStrip(current, rule)
      if (isStale || recordHasHole(attempt)) {
        if (isStale) {
          const kept = stripTick(current, rule, components.filterRows)
          answerDropped(current, kept, rule, duplicates)
          current = kept
        }
        await drop(attempt, written)
        attempt = begin(current, false)
        written = await writeSegments(attempt)
        if (needsStrip(current, rule)) continue
      }
      if (current.advances.length === 0) {
        pending.delete(attempt.tick)
        return
      }
      const result = await commit(current, written, attempt.commitId)
      if (result.outcome === 'stale') {
        for (const { key, coverage } of result.stale) ledger.becameStale(key, coverage)
        components.onStale(result.stale.map(({ key }) => key))
        continue
      }
      if (result.outcome === 'duplicate-keys') {
        for (const { tableId, key, rows, version } of result.keys)
          duplicates.set(`${tableId}/${key}`, { rows, version })
        continue
      }
      world.crashPoint('ingest/after-commit')
      pending.delete(attempt.tick)
      for (const [tableId, version] of result.versions) versions.set(tableId, version)
      const recorded = recordedKeys(attempt.planned)
      for (const advance of current.advances) {
        ledger.committed(advance, advance.generation, advance.range.end, recorded.has(advance.keyText))
      }
      for (const waiter of current.waiters) waiter.committed(result.versions.get(waiter.tableId))
      components.onCommitted({ rowCount: current.rowCount, segments: written, committedAt: result.committedAt })
      return
    }
  }

  async function commit(tick: SealedTick, written: readonly NewSegment[], commitId: string): Promise<TickResult> {
    const rows = written.reduce((sum, segment) => sum + segment.rowCount, 0)
    invariant('G-1.rows', rows === tick.rowCount, { sealed: tick.rowCount, written: rows })
    world.crashPoint('ingest/before-commit')
    return untilAvailable('catalog', () =>
      catalog.commitTick({
        commitId,
        writer,
        segments: written,
        advances: tick.advances.map(({ generation: _, keyText: __, ...advance }) => advance),
        idempotencyKeys: tick.idempotencyKeys.map(({ tableId, key, rows }) => ({ tableId, key, rows })),
      }),
    )
  }

  function answerDropped(
    before: SealedTick,
    after: SealedTick,
    rule: StripRule,
    duplicates: ReadonlyMap<string, { rows: number; version: bigint }>,
  ): void {
    const staying: Waiter[] = []
    for (const waiter of before.waiters) {
      const used = duplicates.get(`${waiter.tableId}/${waiter.idempotencyKey ?? ''}`)
      if (waiter.idempotencyKey !== undefined && used) waiter.dropped({ kind: 'duplicate-key', ...used })
      else if (waiter.generation !== rule.generationOf(waiter.keyText))
        waiter.dropped({ kind: 'stale', coveredTo: ledger.coveredTo(waiter.keyText) })
      else staying.push(waiter)
    }
    Object.assign(after, { waiters: staying })
  }

  async function discard(written: readonly NewSegment[]): Promise<void> {
    if (written.length === 0) return
    await store.delete(written.map(({ path }) => path)).catch((error: unknown) => {
      world.log.warn('files of a refused commit stay for the sweep', { error })
    })
  }

  function tickLeft(): Promise<void> {
    return new Promise<void>((resolve) => places.push(resolve))
  }

  return {
    tickLeft,
    async submit(tick) {
      // Bytes that wait for a place are held as well.
      bytesInFlight += tick.bytes
      while (ticksInFlight >= components.ticksInFlightMax) await tickLeft()
      ticksInFlight += 1
      const settled = run(tick, previous).catch((error: unknown) => {
        // Whatever is left of the tick must not be taken for committed; later ticks would leave a gap: the process ends.
        for (const waiter of tick.waiters) waiter.failed(error)
        components.onFatal(error)
        return new Promise<void>(() => {})
      })
      previous = settled.then(() => {
        ticksInFlight -= 1
        bytesInFlight -= tick.bytes
        const waiting = places
        places = []
        for (const resolve of waiting) resolve()
      })
    },
    async drain() {
      let seen: Promise<void> | undefined
      while (seen !== previous) {
        seen = previous
        await seen
      }
    },
    get bytesInFlight() {
      return bytesInFlight
    },
    get ticksInFlight() {
      return ticksInFlight
    },
  }
}

function recordedKeys(planned: readonly PlannedSegment[]): ReadonlySet<string> {
  return new Set(planned.flatMap(({ sources }) => sources.map(sourceKeyText)))
}
