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
import type { SourceKey } from '../schemas/coverage.ts'
import { invariant, isMillraceError } from '../schemas/errors.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import { needsStrip, type SealedTick, type StripRule, stripTick, type Waiter } from './open-tick.ts'
import type { SegmentWriter } from './segment-writer.ts'
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

export function createFlusher(components: FlusherComponents): Flusher {
  const { catalog, store, world, writer, segments, ledger } = components
  let bytesInFlight = 0
  let ticksInFlight = 0
  let previous: Promise<void> = Promise.resolve()
  let places: (() => void)[] = []

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

  async function writeSegments(tick: SealedTick, commitId: string): Promise<NewSegment[]> {
    const written: NewSegment[] = []
    for (const batch of tick.batches) {
      written.push(await untilAvailable('segment upload', () => segments.write(batch, commitId)))
      world.crashPoint('ingest/between-segments')
    }
    return written
  }

  async function run(tick: SealedTick, before: Promise<void>): Promise<void> {
    let current = tick
    let commitId = world.random.uuid()
    let written = await writeSegments(current, commitId)
    await before

    const duplicates = new Map<string, { rows: number; version: bigint }>()
    const rule: StripRule = {
      generationOf: (keyText) => ledger.generation(keyText),
      isDuplicateKey: (tableId, key) => duplicates.has(`${tableId}/${key}`),
    }
    for (;;) {
      if (needsStrip(current, rule)) {
        const kept = stripTick(current, rule, components.filterRows)
        answerDropped(current, kept, rule, duplicates)
        // No transaction refers to these files, and none can any more: their commit id was never accepted.
        await discard(written)
        current = kept
        commitId = world.random.uuid()
        written = await writeSegments(current, commitId)
        if (needsStrip(current, rule)) continue
      }
      if (current.advances.length === 0) return
      const result = await commit(current, written, commitId)
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
      for (const advance of current.advances) {
        ledger.committed(advance, advance.generation, advance.range.end)
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
