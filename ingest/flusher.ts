/**
 * Sealed ticks → committed ticks, in order.
 *
 *   submit ─▶ write segments (several ticks at once, bounded) ─▶ wait for the tick before ─▶ room ─▶ one transaction
 *
 * Around the commit point (PROTOCOL 3):
 *   - before the segment files: a restart sees nothing; Kafka is read again from the coverage.
 *   - after the files, before the transaction: files that nothing refers to; the sweep removes them.
 *   - after the transaction: the rows are in; positions follow from the coverage.
 *
 * Rows of Kafka give their memory back as soon as their segment is encoded: a PUT takes as long as the store is far away, and rows
 * that wait for it would slow down what comes behind them; the file's own bytes count until then. They are in the log still. So a tick of such rows alone that cannot be
 * committed as it is goes as a whole, and its sources start again from their coverage.
 *
 * The answers of the catalog: `committed`; `stale` (another process moved a source: its rows leave the tick, the rest
 * is sealed again under a new commit id); `duplicate-keys`; busy or away (same commit id again, so an unknown outcome
 * is found out by the next attempt); `writer-fenced` (this process must end).
 */

import type { Catalog, NewSegment, TickResult, Writer } from '../lake/catalog/catalog.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import type { World } from '../runtime/world.ts'
import { type SourceKey, sourceKeyText } from '../schemas/coverage.ts'
import { invariant } from '../schemas/errors.ts'
import { rowSourceOf, topicOf } from '../schemas/kafka-source-text.ts'
import type { TableSegments } from './live-segments.ts'
import {
  needsStrip,
  releaseBatch,
  type SealedBatch,
  type SealedTick,
  type StripRule,
  stripTick,
  type UsedKey,
  type Waiter,
} from './open-tick.ts'
import type { PlannedSegment, SegmentWriter } from './segment-writer.ts'
import type { SourceLedger } from './source-ledger.ts'
import { createUntilAvailable } from './until-available.ts'

export type FlushedTick = {
  readonly rowCount: number
  readonly segments: readonly NewSegment[]
  /** Of every table that got a segment. */
  readonly versions: ReadonlyMap<number, bigint>
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
  ticksInFlightMax: number
  /** Resolves when the tables may have so many segments more (`segments.live.max`). Asked in the order of commits. */
  makeRoom?(adding: readonly TableSegments[]): Promise<void>
  onCommitted(tick: FlushedTick): void
  onStale(keys: readonly SourceKey[]): void
  /** The catalog or the store is away (reason), or back (undefined). */
  onTrouble(reason: string | undefined): void
  /** This process may not commit any more. */
  onFatal(error: unknown): void
}

/** Uploads of one tick under way at once: 100 tables at 30 ms a PUT take 0.2 s instead of 3. */
const UPLOADS_AT_ONCE = 16
/** Attempts that came to nothing, as far as footers name them; their files are deleted at once as a rule. */
const DROPPED_MAX = 32
/** Those whose files could not be deleted are named for longer: else a rebuild would take them for committed. */
const LEFT_BEHIND_MAX = 1_000

/** One attempt at a tick: its segments as planned, and what its files record of each source. */
type Attempt = {
  readonly tick: number
  readonly commitId: string
  readonly planned: readonly PlannedSegment[]
}

export function createFlusher(components: FlusherComponents): Flusher {
  const { catalog, store, world, writer, segments, ledger } = components
  const untilAvailable = createUntilAvailable(components)
  let bytesInFlight = 0
  let ticksInFlight = 0
  let previous: Promise<void> = Promise.resolve()
  let places: (() => void)[] = []
  let attempts = 0
  const pending = new Set<number>()
  let dropped: number[] = []
  let leftBehind: number[] = []
  const versions = new Map<number, bigint>()

  /** Synchronous, so that attempts are numbered and record their sources in the order of their commits. */
  function begin(tick: SealedTick, inFlight: boolean): Attempt {
    attempts += 1
    const settled = Math.min(attempts, ...pending) - 1
    const commitId = world.random.uuid()
    const planned = segments.plan(tick.batches, {
      commitId,
      tick: attempts,
      settled,
      dropped: [...new Set([...leftBehind, ...dropped])].filter((each) => each <= settled),
      advances: tick.advances.map((advance) => ({
        ...advance,
        ...ledger.recordFrom(advance.keyText, advance.range.start, inFlight),
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

  /** Each is encoded when its turn to be uploaded has come; what was written is told in the tick's order. */
  async function writeSegments({ planned }: Attempt, held?: HeldRows): Promise<NewSegment[]> {
    const written: NewSegment[] = new Array(planned.length)
    let next = 0
    const upload = async () => {
      for (let index = next++; index < planned.length; index = next++) {
        try {
          const segment = planned[index]
          let fileBytes = 0
          const onEncoded = (bytes: number) => {
            if (held === undefined) return
            fileBytes = bytes
            bytesInFlight += fileBytes
            held.release(segment.sealed)
          }
          written[index] = await untilAvailable('segment upload', () => segments.write(segment, onEncoded))
          bytesInFlight -= fileBytes
        } catch (error) {
          next = planned.length
          throw error
        }
        world.crashPoint('ingest/between-segments')
      }
    }
    await Promise.all(Array.from({ length: Math.min(UPLOADS_AT_ONCE, planned.length) }, upload))
    return written
  }

  /** A tick before this one lost the files that were to record a source: the record of this one would begin too late. */
  function recordHasHole({ planned }: Attempt): boolean {
    return planned.some(({ sources }) =>
      sources.some((source) => !ledger.isRecordWhole(sourceKeyText(source), source.recordedFrom)),
    )
  }

  async function drop({ tick }: Attempt, written: readonly NewSegment[], wasUnknown: boolean): Promise<void> {
    // No transaction refers to these files, and none can any more: their commit id was never accepted. Only when an answer
    // was lost and the id of a commit that landed is forgotten by now (a clock that jumped a week) may they be live: the
    // sweep knows.
    const isGone = !wasUnknown && (await discard(written))
    if (!isGone) leftBehind = [...leftBehind, tick].slice(-LEFT_BEHIND_MAX)
    pending.delete(tick)
    dropped = [...dropped, tick].slice(-DROPPED_MAX)
  }

  /** The tick's files are deleted and its sources start again, with all that was taken of them since. */
  async function startAgain(tick: SealedTick, attempt: Attempt, written: readonly NewSegment[], wasUnknown: boolean) {
    await drop(attempt, written, wasUnknown)
    const keys = tick.advances.filter(({ keyText, generation }) => generation === ledger.generation(keyText))
    for (const key of keys) ledger.forget(key)
    if (keys.length > 0) components.onStale(keys)
  }

  async function run(tick: SealedTick, before: Promise<void>, rows: HeldRows): Promise<void> {
    let current = tick
    let attempt = begin(current, true)
    const isInLog = canBeReadAgain(tick)
    let written = await writeSegments(attempt, isInLog ? rows : undefined)
    let wasUnknown = false
    await before

    const duplicates = new Map<string, UsedKey>()
    const rule: StripRule = {
      generationOf: (keyText) => ledger.generation(keyText),
      isDuplicateKey: (tableId, key) => duplicates.has(`${tableId}/${key}`),
    }
    for (;;) {
      await components.makeRoom?.(segmentsOf(attempt))
      const isStale = needsStrip(current, rule)
      if (isStale || recordHasHole(attempt)) {
        if (isInLog) return startAgain(current, attempt, written, wasUnknown)
        if (isStale) {
          const kept = stripTick(current, rule)
          answerDropped(current, kept, rule, duplicates)
          current = kept
        }
        await drop(attempt, written, wasUnknown)
        wasUnknown = false
        attempt = begin(current, false)
        written = await writeSegments(attempt)
        if (needsStrip(current, rule)) continue
      }
      if (current.advances.length === 0) {
        pending.delete(attempt.tick)
        return
      }
      const { result, attempts: asked } = await commit(current, written, attempt.commitId)
      if (asked > 1) wasUnknown = true
      if (result.outcome === 'stale') {
        for (const { key, coverage } of result.stale) ledger.becameStale(key, coverage)
        components.onStale(result.stale.map(({ key }) => key))
        continue
      }
      if (result.outcome === 'duplicate-keys') {
        for (const { tableId, key, rows, dead = 0, version } of result.keys) {
          duplicates.set(`${tableId}/${key}`, { rows, dead, version })
        }
        continue
      }
      world.crashPoint('ingest/after-commit')
      pending.delete(attempt.tick)
      const { versions: tableVersions, committedAt } = result
      for (const [tableId, version] of tableVersions) versions.set(tableId, version)
      const recorded = recordedKeys(attempt.planned)
      for (const advance of current.advances) {
        ledger.committed(advance, advance.generation, advance.range.end, recorded.has(advance.keyText))
      }
      for (const waiter of current.waiters) waiter.committed(tableVersions.get(waiter.tableId))
      components.onCommitted({ rowCount: current.rowCount, segments: written, versions: tableVersions, committedAt })
      return
    }
  }

  async function commit(
    tick: SealedTick,
    written: readonly NewSegment[],
    commitId: string,
  ): Promise<{ result: TickResult; attempts: number }> {
    const rows = written.reduce((sum, segment) => sum + segment.rowCount, 0)
    invariant('G-1.rows', rows === tick.rowCount, { sealed: tick.rowCount, written: rows })
    world.crashPoint('ingest/before-commit')
    let attempts = 0
    const result = await untilAvailable('catalog', () => {
      attempts += 1
      return catalog.commitTick({
        commitId,
        writer,
        segments: written,
        advances: tick.advances.map(({ generation: _, keyText: __, ...advance }) => advance),
        idempotencyKeys: tick.idempotencyKeys.map(({ tableId, key, rows, dead }) => ({ tableId, key, rows, dead })),
        masks: (tick.masks ?? []).map(({ generation: _, keyText: __, ...mask }) => mask),
      })
    })
    return { result, attempts }
  }

  function answerDropped(
    before: SealedTick,
    after: SealedTick,
    rule: StripRule,
    duplicates: ReadonlyMap<string, UsedKey>,
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

  /** False when some may still be there. */
  async function discard(written: readonly NewSegment[]): Promise<boolean> {
    try {
      if (written.length > 0) await store.delete(written.map(({ path }) => path))
      return true
    } catch (error) {
      world.log.warn('files of a refused commit stay for the sweep', { error })
      return false
    }
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
      const rows = heldRows()
      const settled = run(tick, previous, rows).catch((error: unknown) => {
        // Whatever is left of the tick must not be taken for committed; later ticks would leave a gap: the process ends.
        for (const waiter of tick.waiters) waiter.failed(error)
        components.onFatal(error)
        return new Promise<void>(() => {})
      })
      previous = settled.then(() => {
        for (const batch of tick.batches) rows.release(batch)
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

type HeldRows = { release(batch: SealedBatch): void }

/** Each batch gives its memory back once. */
function heldRows(): HeldRows {
  const released = new Set<SealedBatch>()
  return {
    release(sealed) {
      if (released.has(sealed)) return
      released.add(sealed)
      for (const { batch } of sealed.pieces) releaseBatch(batch)
    },
  }
}

/** Nobody waits for its rows, and all of them are records that a pipeline reads on from its coverage; a backfill's are not. */
function canBeReadAgain({ advances, waiters, idempotencyKeys, masks = [] }: SealedTick): boolean {
  const isOnlyRows = waiters.length === 0 && idempotencyKeys.length === 0 && masks.length === 0
  return isOnlyRows && advances.every(({ source }) => topicOf(source) !== undefined && rowSourceOf(source) === source)
}

function segmentsOf({ planned }: Attempt): TableSegments[] {
  const tables = new Map<number, TableSegments>()
  for (const { sealed } of planned) {
    const { tableId, name: tableName } = sealed.table
    tables.set(tableId, { tableId, tableName, segments: (tables.get(tableId)?.segments ?? 0) + 1 })
  }
  return [...tables.values()]
}

function recordedKeys(planned: readonly PlannedSegment[]): ReadonlySet<string> {
  return new Set(planned.flatMap(({ sources }) => sources.map(sourceKeyText)))
}
