/**
 * The open tick: rows decoded since the last flush, per table, and what they advance in every source.
 *
 *   blocks, requests ─▶ open tick ── seal ─▶ sealed tick ─▶ flusher (one transaction)
 *
 * Rows are remembered as spans of one source each, so that the rows of a stale source can leave a sealed tick again
 * (PROTOCOL 3, "stale source"). A source has a generation: when its coverage turns out to be elsewhere, the generation
 * is raised and everything taken under an older one is dropped before it can be committed.
 */

import type { Table } from '../lake/catalog/catalog.ts'
import type { OffsetRange, SourceAdvance, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { invariant } from '../schemas/errors.ts'
import type { MicroBatch } from '../schemas/micro-batch.ts'
import type { BatchBuilder } from './decoder/decoder.ts'

/** Rows [start, end) of one table's batch, all of one source, taken under one generation of it. */
export type RowSpan = {
  readonly start: number
  end: number
  readonly key: SourceKey
  readonly keyText: string
  readonly generation: number
  readonly idempotencyKey: string | undefined
  /** Offsets consumed by these rows' blocks; half-open. */
  range: OffsetRange
}

export type TableFeed = {
  readonly table: Table
  readonly schemaId: number
  readonly eventTimeFieldId: number | undefined
}

export type OpenBatch = TableFeed & {
  readonly builder: BatchBuilder
  readonly spans: RowSpan[]
  /** Ticks in a row that brought it nothing. */
  readonly idleTicks: number
}

export type SealedBatch = TableFeed & { readonly batch: MicroBatch; readonly spans: readonly RowSpan[] }

export type PendingAdvance = SourceAdvance & { readonly generation: number; readonly keyText: string }

/** A request that waits for its rows to be committed. */
export type Waiter = {
  readonly keyText: string
  readonly generation: number
  readonly idempotencyKey: string | undefined
  readonly tableId: number
  readonly range: OffsetRange
  committed(version: bigint | undefined): void
  /** The rows left the tick: the source's coverage is elsewhere, or the idempotency key was used before. */
  dropped(reason: DropReason): void
  failed(error: unknown): void
}

export type DropReason =
  | { readonly kind: 'stale'; readonly coveredTo: bigint | undefined }
  | ({ readonly kind: 'duplicate-key' } & UsedKey)

/** What the request that used an idempotency key first brought. */
export type UsedKey = {
  /** Dead letters among them. */
  readonly rows: number
  readonly dead: number
  readonly version: bigint
}

export type PendingKey = {
  readonly tableId: number
  readonly key: string
  readonly rows: number
  /** How many of the rows are dead letters. */
  readonly dead: number
  /** The source whose offsets the request's rows took. */
  readonly keyText: string
}

export type SealedTick = {
  readonly batches: readonly SealedBatch[]
  readonly advances: readonly PendingAdvance[]
  readonly idempotencyKeys: readonly PendingKey[]
  readonly waiters: readonly Waiter[]
  /** Memory the sealed rows take, roughly. */
  readonly bytes: number
  readonly rowCount: number
}

export type OpenTick = {
  batch(feed: TableFeed): OpenBatch
  /** Rows [rowStart, builder.rowCount) of the batch came from this source. */
  noteRows(batch: OpenBatch, rowStart: number, origin: RowOrigin): void
  advance(advance: SourceAdvance, generation: number): void
  addKey(key: PendingKey): void
  addWaiter(waiter: Waiter): void
  readonly rowCount: number
  /** What is here as it will be sealed: what a flush is decided by. */
  readonly bytes: number
  /** Memory it takes, room for coming rows included: what counts against the ceiling. */
  readonly allocatedBytes: number
  /** Neither rows nor advances. */
  readonly isEmpty: boolean
  /** Everything so far; the open tick is empty afterwards. */
  seal(): SealedTick
}

export type RowOrigin = {
  readonly key: SourceKey
  readonly generation: number
  readonly range: OffsetRange
  readonly idempotencyKey?: string
}

/** A span, an advance, a key or a waiting request, roughly: many small requests hold more in these than in rows. */
const ENTRY_BYTES = 400
/** A table without rows for so many ticks gives its builder back. */
const IDLE_TICKS_MAX = 20

export function createOpenTick(createBuilder: (feed: TableFeed) => BatchBuilder): OpenTick {
  let batches = new Map<string, OpenBatch>()
  let advances = new Map<string, PendingAdvance>()
  let keys: PendingKey[] = []
  let waiters: Waiter[] = []

  function entryBytes(): number {
    let entries = advances.size + keys.length + waiters.length
    for (const { spans } of batches.values()) entries += spans.length
    return entries * ENTRY_BYTES
  }

  return {
    batch(feed) {
      const name = `${feed.table.tableId}/${feed.schemaId}`
      let batch = batches.get(name)
      if (!batch) {
        batch = { ...feed, builder: createBuilder(feed), spans: [], idleTicks: 0 }
        batches.set(name, batch)
      }
      return batch
    },

    noteRows(batch, rowStart, { key, generation, range, idempotencyKey }) {
      const end = batch.builder.rowCount
      if (end === rowStart) return
      const keyText = sourceKeyText(key)
      const last = batch.spans.at(-1)
      const continues =
        last !== undefined &&
        last.end === rowStart &&
        last.keyText === keyText &&
        last.generation === generation &&
        last.idempotencyKey === idempotencyKey &&
        idempotencyKey === undefined &&
        last.range.end <= range.start
      if (continues) {
        last.end = end
        last.range = { start: last.range.start, end: range.end }
        return
      }
      batch.spans.push({ start: rowStart, end, key, keyText, generation, idempotencyKey, range })
    },

    advance(next, generation) {
      const keyText = sourceKeyText(next)
      const before = advances.get(keyText)
      if (!before || before.generation !== generation) {
        advances.set(keyText, { ...next, generation, keyText })
        return
      }
      invariant('G-1.contiguous', before.range.end === next.range.start, { before: before.range, next: next.range })
      advances.set(keyText, {
        ...next,
        keyText,
        generation,
        range: { start: before.range.start, end: next.range.end },
        recordsIn: before.recordsIn + next.recordsIn,
        recordsDead: before.recordsDead + next.recordsDead,
        recordsFiltered: before.recordsFiltered + next.recordsFiltered,
      })
    },

    addKey(key) {
      keys.push(key)
    },
    addWaiter(waiter) {
      waiters.push(waiter)
    },

    get rowCount() {
      let rows = 0
      for (const batch of batches.values()) rows += batch.builder.rowCount
      return rows
    },
    get bytes() {
      let bytes = entryBytes()
      for (const { builder } of batches.values()) bytes += builder.bytes
      return bytes
    },
    get allocatedBytes() {
      let bytes = entryBytes()
      // A builder without rows is kept for the next ones: it waits for nothing.
      for (const { builder } of batches.values()) if (builder.rowCount > 0) bytes += builder.allocatedBytes
      return bytes
    },
    get isEmpty() {
      return advances.size === 0 && waiters.length === 0
    },

    seal() {
      const sealed: SealedBatch[] = []
      // Builders stay with their tables' next batches: only the spans are new.
      const kept = new Map<string, OpenBatch>()
      let bytes = entryBytes()
      let rowCount = 0
      for (const [name, { builder, spans, idleTicks, ...feed }] of batches) {
        const idle = builder.rowCount === 0 ? idleTicks + 1 : 0
        if (idle < IDLE_TICKS_MAX) kept.set(name, { ...feed, builder, spans: [], idleTicks: idle })
        if (builder.rowCount === 0) continue
        bytes += builder.bytes
        rowCount += builder.rowCount
        sealed.push({ ...feed, batch: builder.seal(), spans })
      }
      const tick = {
        batches: sealed,
        advances: [...advances.values()],
        idempotencyKeys: keys,
        waiters,
        bytes,
        rowCount,
      }
      batches = kept
      advances = new Map()
      keys = []
      waiters = []
      return tick
    },
  }
}

/** What a sealed tick keeps when some of its spans have to go. */
export type StripRule = {
  /** The generation of a source that may still be committed. */
  generationOf(keyText: string): number
  isDuplicateKey(tableId: number, key: string): boolean
}

/**
 * Rows and waiters are asked beside the advances: a source that started again within one tick has left an advance of
 * its newest generation only, while rows of the one before are still here.
 */
export function needsStrip(tick: SealedTick, rule: StripRule): boolean {
  const isStale = (entry: { keyText: string; generation: number }) =>
    entry.generation !== rule.generationOf(entry.keyText)
  return (
    tick.advances.some(isStale) ||
    tick.batches.some(({ spans }) => spans.some(isStale)) ||
    tick.waiters.some(isStale) ||
    tick.idempotencyKeys.some((key) => rule.isDuplicateKey(key.tableId, key.key))
  )
}

/**
 * The tick without the rows, advances, keys of stale sources and used idempotency keys. `filterRows` keeps the rows
 * whose byte in the mask is 1. Waiters stay: the flusher answers those whose rows went.
 */
export function stripTick(
  tick: SealedTick,
  rule: StripRule,
  filterRows: (batch: MicroBatch, keep: Uint8Array) => MicroBatch,
): SealedTick {
  const isUsed = ({ tableId, key }: PendingKey) => rule.isDuplicateKey(tableId, key)
  // By source: a key is noted with one table, and its request may have left dead letters in another.
  const used = new Set(tick.idempotencyKeys.filter(isUsed).map(({ keyText, key }) => `${keyText}\u0000${key}`))
  const isOfUsed = ({ keyText, idempotencyKey }: RowSpan) =>
    idempotencyKey !== undefined && used.has(`${keyText}\u0000${idempotencyKey}`)
  const current = (entry: { keyText: string; generation: number }) =>
    entry.generation === rule.generationOf(entry.keyText)

  const batches: SealedBatch[] = []
  let rowCount = 0
  for (const sealed of tick.batches) {
    const keptSpans: RowSpan[] = []
    const keep = new Uint8Array(sealed.batch.rowCount)
    let kept = 0
    for (const span of sealed.spans) {
      if (!current(span) || isOfUsed(span)) continue
      keep.fill(1, span.start, span.end)
      const rows = span.end - span.start
      keptSpans.push({ ...span, start: kept, end: kept + rows })
      kept += rows
    }
    if (kept === 0) continue
    rowCount += kept
    const unchanged = kept === sealed.batch.rowCount
    batches.push({ ...sealed, batch: unchanged ? sealed.batch : filterRows(sealed.batch, keep), spans: keptSpans })
  }
  return {
    batches,
    rowCount,
    bytes: tick.bytes,
    waiters: tick.waiters,
    // A duplicate key's offsets stay consumed: its rows, dead letters among them, are counted as filtered.
    advances: tick.advances.filter(current).map((advance) => {
      const dropped = tick.idempotencyKeys.filter((key) => key.keyText === advance.keyText && isUsed(key))
      if (dropped.length === 0) return advance
      return {
        ...advance,
        recordsDead: advance.recordsDead - dropped.reduce((rows, key) => rows + key.dead, 0),
        recordsFiltered: advance.recordsFiltered + dropped.reduce((rows, key) => rows + key.rows, 0),
      }
    }),
    idempotencyKeys: tick.idempotencyKeys.filter((key) => !isUsed(key)),
  }
}
