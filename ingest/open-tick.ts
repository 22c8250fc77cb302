/**
 * The open tick: rows that came in since the last flush, per table, and what they advance in every source.
 *
 *   blocks, requests ─▶ pieces (sealed rows) ─▶ open tick ── seal ─▶ sealed tick ─▶ flusher (one transaction)
 *
 * A piece is what one block or one request brought to one table: rows of one source, decoded elsewhere and whole when they
 * come here. Pieces are joined when their segment is written. So the rows of a stale source leave a sealed tick as whole
 * pieces (PROTOCOL 3, "stale source"). A source has a generation: when its coverage turns out to be elsewhere, the generation
 * is raised and everything taken under an older one is dropped before it can be committed.
 */

import type { NewMask, Table } from '../lake/catalog/catalog.ts'
import type { OffsetRange, SourceAdvance, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { invariant } from '../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../schemas/micro-batch.ts'

/**
 * Rows of a block or a request. With `heldBytes` they lie in memory that somebody else counts and wants back (`releaseBatch`),
 * once; without it in memory of their own.
 */
export type HeldBatch = MicroBatch & {
  readonly heldBytes?: number
  release?(): void
}

export function releaseBatch(batch: HeldBatch): void {
  batch.release?.()
}

/** Rows of one source in one table, taken under one generation of the source. */
export type Piece = RowOrigin & {
  readonly batch: HeldBatch
  readonly keyText: string
}

export type TableFeed = {
  readonly table: Table
  readonly schemaId: number
  readonly eventTimeFieldId: number | undefined
}

/** What one tick brings to one segment: pieces in the order in which they came. */
export type SealedBatch = TableFeed & { readonly pieces: readonly Piece[]; readonly rowCount: number }

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

/** Rows of dead letters that leave with the rows that this tick brings; they belong to the source that counts them. */
export type PendingMask = NewMask & { readonly keyText: string; readonly generation: number }

export type SealedTick = {
  readonly batches: readonly SealedBatch[]
  readonly advances: readonly PendingAdvance[]
  readonly idempotencyKeys: readonly PendingKey[]
  readonly masks?: readonly PendingMask[]
  readonly waiters: readonly Waiter[]
  /** Memory the sealed rows take, roughly, without what somebody else counts. */
  readonly bytes: number
  readonly rowCount: number
}

export type OpenTick = {
  /** Rows for one table: at least one. */
  add(feed: TableFeed, batch: HeldBatch, origin: RowOrigin): void
  advance(advance: SourceAdvance, generation: number): void
  addKey(key: PendingKey): void
  addWaiter(waiter: Waiter): void
  readonly rowCount: number
  /** Memory that its rows take, whoever counts it: what a flush is decided by. */
  readonly bytes: number
  /** Of these what nobody else counts. */
  readonly ownBytes: number
  /** Neither rows nor advances. */
  readonly isEmpty: boolean
  /** Everything so far; the open tick is empty afterwards. */
  seal(): SealedTick
}

export type RowOrigin = {
  readonly key: SourceKey
  readonly generation: number
  /** Offsets consumed by the block or the request; half-open. */
  readonly range: OffsetRange
  readonly idempotencyKey?: string | undefined
}

/** An advance, a key or a waiting request, roughly: many small requests hold more in these than in rows. */
const ENTRY_BYTES = 400
/** A piece beside its values: of each column an object and views of up to three buffers. */
const PIECE_BYTES = 400
const VECTOR_BYTES = 350

export function createOpenTick(): OpenTick {
  let batches = new Map<string, TableFeed & { readonly pieces: Piece[]; rowCount: number }>()
  let advances = new Map<string, PendingAdvance>()
  let keys: PendingKey[] = []
  let waiters: Waiter[] = []
  let rowCount = 0
  let ownBytes = 0
  let heldBytes = 0

  const bytesHeld = () => ownBytes + (advances.size + keys.length + waiters.length) * ENTRY_BYTES

  return {
    add(feed, batch, origin) {
      const name = `${feed.table.tableId}/${feed.schemaId}`
      let open = batches.get(name)
      if (!open) {
        open = { ...feed, pieces: [], rowCount: 0 }
        batches.set(name, open)
      }
      open.pieces.push({ ...origin, batch, keyText: sourceKeyText(origin.key) })
      open.rowCount += batch.rowCount
      rowCount += batch.rowCount
      ownBytes += PIECE_BYTES + (batch.heldBytes === undefined ? batchBytes(batch) : 0)
      heldBytes += batch.heldBytes ?? 0
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
      return rowCount
    },
    get bytes() {
      return bytesHeld() + heldBytes
    },
    get ownBytes() {
      return bytesHeld()
    },
    get isEmpty() {
      return advances.size === 0 && waiters.length === 0
    },

    seal() {
      const tick = {
        batches: [...batches.values()],
        advances: [...advances.values()],
        idempotencyKeys: keys,
        waiters,
        bytes: bytesHeld(),
        rowCount,
      }
      batches = new Map()
      advances = new Map()
      keys = []
      waiters = []
      rowCount = 0
      ownBytes = 0
      heldBytes = 0
      return tick
    },
  }
}

/** Values and what holds them. */
function batchBytes({ vectors }: MicroBatch): number {
  return vectors.reduce((bytes, vector) => bytes + vectorBytes(vector), 0)
}

function vectorBytes({ data, offsets, validity, children }: ColumnVector): number {
  const own = VECTOR_BYTES + data.byteLength + (offsets?.byteLength ?? 0) + (validity?.byteLength ?? 0)
  return children ? children.reduce((bytes, child) => bytes + vectorBytes(child), own) : own
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
    tick.batches.some(({ pieces }) => pieces.some(isStale)) ||
    tick.waiters.some(isStale) ||
    tick.idempotencyKeys.some((key) => rule.isDuplicateKey(key.tableId, key.key))
  )
}

/**
 * The tick without the pieces, advances, keys of stale sources and used idempotency keys. Waiters stay: the flusher answers
 * those whose rows went.
 */
export function stripTick(tick: SealedTick, rule: StripRule): SealedTick {
  const isUsed = ({ tableId, key }: PendingKey) => rule.isDuplicateKey(tableId, key)
  // By source: a key is noted with one table, and its request may have left dead letters in another.
  const used = new Set(tick.idempotencyKeys.filter(isUsed).map(({ keyText, key }) => `${keyText}\u0000${key}`))
  const isOfUsed = ({ keyText, idempotencyKey }: Piece) =>
    idempotencyKey !== undefined && used.has(`${keyText}\u0000${idempotencyKey}`)
  const current = (entry: { keyText: string; generation: number }) =>
    entry.generation === rule.generationOf(entry.keyText)

  const batches = tick.batches
    .map((sealed): SealedBatch => {
      const pieces = sealed.pieces.filter((piece) => current(piece) && !isOfUsed(piece))
      return { ...sealed, pieces, rowCount: pieces.reduce((rows, { batch }) => rows + batch.rowCount, 0) }
    })
    .filter(({ pieces }) => pieces.length > 0)
  const rowCount = batches.reduce((rows, batch) => rows + batch.rowCount, 0)
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
    ...(tick.masks ? { masks: tick.masks.filter(current) } : {}),
  }
}
