/**
 * One HTTP request's rows into the open tick, all or none by default.
 *
 * Who sent them decides what a repetition does (PROTOCOL 3, HTTP rules):
 *   producer + sequence   the sequence number of the request's first row. It continues exactly where the producer's
 *                         coverage ends; a covered one is answered "committed", a gap is refused. A producer that was
 *                         idle for 7 days has expired, but the end of its sequence is kept: it goes on exactly there.
 *   Idempotency-Key       a unique row kept for 24 h: the second request gets the first one's answer.
 *   neither               a lost reply may double the rows.
 *
 * A request is decoded into builders of its own, and what they sealed joins the open tick at once: all of it or nothing, in one tick.
 */

import type { Catalog } from '../lake/catalog/catalog.ts'
import type { World } from '../runtime/world.ts'
import type { Coverage, SourceKey } from '../schemas/coverage.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { invariant, MillraceError } from '../schemas/errors.ts'
import { appendDeadLetter, NO_SCHEMA, rowError, tooLarge } from './dead-letters/append-letter.ts'
import type { BatchBuilder, CreateBatchBuilder, DecodeFailure } from './decoder/decoder.ts'
import type { Intake } from './intake.ts'
import type { DropReason, RowOrigin, TableFeed, UsedKey } from './open-tick.ts'
import { coverageEnd, filesRecord, type SourceLedger } from './source-ledger.ts'
import type { IngestTable } from './tables.ts'

/** Rows of a body: entry i is `bytes[starts[i], ends[i])`. */
export type BodyRows = {
  readonly bytes: Uint8Array
  readonly count: number
  readonly starts: Int32Array
  readonly ends: Int32Array
}

export type IngestRequest = {
  readonly table: IngestTable
  readonly rows: BodyRows
  readonly producer: { readonly id: string; readonly sequence: bigint } | undefined
  readonly idempotencyKey: string | undefined
  readonly onBadRow: 'reject' | 'dead-letter'
  readonly ack: 'committed' | 'buffered'
}

export type IngestAnswer = {
  readonly table: string
  /** Rows of the request that are in the table (not its dead letters). */
  readonly rows: number
  readonly dead_letters: number
  /** Set when the rows are committed. As text: 64 bits. */
  readonly version?: string
  readonly next_sequence?: string
  /** The rows were committed by an earlier request. */
  readonly repeated?: true
}

export type HttpIntake = {
  take(request: IngestRequest): Promise<IngestAnswer>
}

export function httpPipeline(tableName: string): string {
  return `http:${tableName}`
}

export function createHttpIntake(components: {
  catalog: Catalog
  intake: Intake
  ledger: SourceLedger
  world: World
  writerId: string
  recordBytesMax: number
  createBuilder: CreateBatchBuilder
  /** Whose positions are kept in memory. Default 10,000. */
  producersMax?: number
  count(what: 'records' | 'dead' | 'unknown-keys', by: number): void
}): HttpIntake {
  const { catalog, intake, ledger, world } = components
  /** Requests of one producer, and of one key, take turns; others run side by side. */
  const turns = new Map<string, Promise<unknown>>()
  /** Producers whose position is in memory, the one longest idle first. */
  const recent = new Map<string, SourceKey>()
  const producersMax = components.producersMax ?? PRODUCERS_MAX
  /** Empty ones, the table longest idle first. */
  const builders = new Map<string, BatchBuilder>()

  /** Of more producers than that, those longest idle are forgotten here and read from their coverage when they come back (G-6). */
  function remember(key: SourceKey): void {
    const keyText = sourceKeyText(key)
    recent.delete(keyText)
    recent.set(keyText, key)
    let tries = 0
    for (const [oldest, oldestKey] of recent) {
      if (recent.size <= producersMax || tries === DROPS_AT_ONCE) break
      tries += 1
      recent.delete(oldest)
      // In the middle of a request, or its rows are in a tick: another time.
      if (turns.has(oldest) || !ledger.drop(oldestKey)) recent.set(oldest, oldestKey)
    }
  }

  function inTurn<T>(name: string, run: () => Promise<T>): Promise<T> {
    const before = turns.get(name) ?? Promise.resolve()
    const mine = before.then(run, run)
    const settled = mine
      .catch(() => {})
      .then(() => {
        if (turns.get(name) === settled) turns.delete(name)
      })
    turns.set(name, settled)
    return mine
  }

  async function coverageOf(key: SourceKey): Promise<Coverage | undefined> {
    const all = await catalog.coverage(key.pipeline, [key.source])
    return all.find((each) => each.partition === key.partition)
  }

  async function coveredTo(key: SourceKey): Promise<bigint> {
    return coverageEnd(await coverageOf(key)) ?? 0n
  }

  /** The offset of the request's first row, or the answer when its rows are committed already. */
  async function position(request: IngestRequest, key: SourceKey): Promise<bigint | IngestAnswer> {
    const { producer, rows } = request
    let next = ledger.next(key)
    if (next === undefined || (producer && producer.sequence > next)) {
      // Unknown, or ahead of what we know: another process may have taken this producer's requests meanwhile.
      const coverage = await coverageOf(key)
      const covered = coverageEnd(coverage) ?? 0n
      if (next === undefined || covered > next) {
        ledger.reload(key, covered, filesRecord(coverage))
        next = covered
      }
    }
    if (!producer) return next
    const end = producer.sequence + BigInt(rows.count)
    if (producer.sequence === next) return next
    const known = await coverageOf(key)
    if (known?.expiredAt !== undefined) throw expiredError(producer, next)
    if (end <= next) {
      if (end > (coverageEnd(known) ?? 0n)) await intake.drain()
      if (end <= (await coveredTo(key))) return answerRepeated(request, end)
      throw new MillraceError(
        'commit-conflict',
        `producer "${producer.id}": rows before ${end} were not committed; send them again`,
      )
    }
    throw sequenceError(producer, rows.count, next)
  }

  function answerRepeated(request: IngestRequest, end: bigint): IngestAnswer {
    return {
      table: request.table.name,
      rows: request.rows.count,
      dead_letters: 0,
      next_sequence: String(end),
      repeated: true,
    }
  }

  async function takeInTurn(request: IngestRequest, key: SourceKey): Promise<() => Promise<IngestAnswer>> {
    const { table, rows, idempotencyKey } = request
    if (!table.ready) await table.learn(samplesOf(rows))
    if (!table.ready && request.onBadRow === 'reject') throw rowError(1, NO_SCHEMA)
    const tableId = homeOf(table)
    if (idempotencyKey !== undefined) {
      // A request that came before the table had a schema left its key with the dead letters, where its rows are.
      for (const id of new Set([tableId, table.deadLetters.table.tableId])) {
        const used = await catalog.findIdempotencyKey(id, idempotencyKey)
        if (used) return async () => answerUsedKey(request, used)
      }
    }
    await intake.room()
    const start = await position(request, key)
    if (typeof start !== 'bigint') return async () => start
    if (rows.count === 0) return async () => answer(request, 0, 0, start)
    return append(request, key, start)
  }

  /** Synchronous from the first row to the advance: one tick has all of it. */
  function append(request: IngestRequest, key: SourceKey, start: bigint): () => Promise<IngestAnswer> {
    const { table, rows, idempotencyKey } = request
    // Another request may have given the table its schema meanwhile.
    const tableId = homeOf(table)
    const end = start + BigInt(rows.count)
    const generation = ledger.generation(sourceKeyText(key))
    const origin: RowOrigin = { key, generation, range: { start, end }, idempotencyKey }
    const dead = appendRows(request, origin, Number(start))
    ledger.took(key, end)
    intake.tick.advance(
      {
        ...key,
        range: origin.range,
        recordsIn: rows.count,
        recordsDead: dead,
        recordsFiltered: 0,
        logEnd: undefined,
        caughtUp: true,
      },
      generation,
    )
    const keyText = sourceKeyText(key)
    if (idempotencyKey !== undefined)
      intake.tick.addKey({ tableId, key: idempotencyKey, rows: rows.count, dead, keyText })
    components.count('records', rows.count)
    if (dead > 0) components.count('dead', dead)

    // A key is answered for only once it is committed, so a second request with it never meets an open one.
    if (request.ack === 'buffered' && idempotencyKey === undefined) {
      intake.added()
      return async () => answer(request, rows.count - dead, dead, end)
    }
    const landed = new Promise<IngestAnswer>((resolve, reject) => {
      intake.tick.addWaiter({
        keyText,
        generation,
        idempotencyKey,
        tableId,
        range: origin.range,
        committed: (version) =>
          resolve({ ...answer(request, rows.count - dead, dead, end), version: version?.toString() }),
        dropped: (reason) => void answerDropped(request, origin, reason).then(resolve, reject),
        failed: reject,
      })
    })
    intake.added()
    return () => landed
  }

  /** Empty builder for the table's rows; kept, since most requests are small. Discarded with what a refused request left in it. */
  function builderOf({ table, schemaId }: TableFeed): BatchBuilder {
    const name = `${table.tableId}/${schemaId}`
    const kept = builders.get(name)
    builders.delete(name)
    if (kept) return kept
    const schema = table.schemas.find((each) => each.schemaId === schemaId)
    invariant('a feed names a schema of its table', schema !== undefined, { table: table.name, schemaId })
    return components.createBuilder(schema)
  }

  function add(feed: TableFeed, builder: BatchBuilder | undefined, origin: RowOrigin): void {
    if (!builder) return
    if (builder.rowCount > 0) intake.tick.add(feed, builder.seal(), origin)
    builders.set(`${feed.table.tableId}/${feed.schemaId}`, builder)
    for (const name of builders.keys()) {
      if (builders.size <= BUILDERS_KEPT_MAX) break
      builders.delete(name)
    }
  }

  function appendRows(request: IngestRequest, origin: RowOrigin, first: number): number {
    const { table, rows } = request
    const arrived = Number(world.clock.nowMicros())
    const ready = table.ready
    const builder = ready && builderOf(ready.feed)
    const letters = request.onBadRow === 'dead-letter' ? builderOf(table.deadLetters) : undefined
    const sourceIndex = builder?.sourceIndex(origin.key.source) ?? 0
    const unknownBefore = ready?.decoder.unknownKeys ?? 0
    let dead = 0
    for (let row = 0; row < rows.count; row += 1) {
      const start = rows.starts[row]
      const end = rows.ends[row]
      let failure: DecodeFailure | undefined
      if (end - start > components.recordBytesMax) failure = tooLarge(end - start, components.recordBytesMax)
      else if (!builder || !ready) failure = NO_SCHEMA
      else failure = ready.decoder.decode(rows.bytes, start, end, builder)
      if (failure === undefined) {
        builder?.finishRow(sourceIndex, 0, first + row, Number.NaN, arrived)
        continue
      }
      if (!letters) throw rowError(row + 1, failure)
      dead += 1
      appendDeadLetter(letters, {
        topic: null,
        partition: null,
        offset: first + row,
        failure,
        key: null,
        value: rows.bytes.subarray(start, end),
        pipeline: origin.key.pipeline,
      })
      letters.finishRow(letters.sourceIndex(origin.key.source), 0, first + row, Number.NaN, arrived)
    }
    if (ready) add(ready.feed, builder, origin)
    add(table.deadLetters, letters, origin)
    const unknown = (ready?.decoder.unknownKeys ?? 0) - unknownBefore
    if (unknown > 0) components.count('unknown-keys', unknown)
    return dead
  }

  function answer(request: IngestRequest, rows: number, dead: number, end: bigint): IngestAnswer {
    const base = { table: request.table.name, rows, dead_letters: dead }
    return request.producer ? { ...base, next_sequence: String(end) } : base
  }

  function answerUsedKey(request: IngestRequest, used: UsedKey): IngestAnswer {
    return {
      table: request.table.name,
      rows: used.rows - used.dead,
      dead_letters: used.dead,
      version: used.version.toString(),
      repeated: true,
    }
  }

  /** The rows left the tick before its commit. Nothing of this request is committed by this process. */
  async function answerDropped(request: IngestRequest, origin: RowOrigin, reason: DropReason): Promise<IngestAnswer> {
    if (reason.kind === 'duplicate-key') return answerUsedKey(request, reason)
    const covered = reason.coveredTo ?? (await coveredTo(origin.key))
    if (request.producer && origin.range.end <= covered) return answerRepeated(request, origin.range.end)
    if (request.producer) throw sequenceError(request.producer, request.rows.count, covered)
    throw new MillraceError(
      'commit-conflict',
      'the rows were not taken: another process moved this source; send them again',
    )
  }

  return {
    async take(request) {
      const { table, producer } = request
      const key: SourceKey = {
        pipeline: httpPipeline(table.name),
        source: `http:${producer ? producer.id : components.writerId}`,
        partition: 0,
      }
      const name =
        request.idempotencyKey === undefined ? sourceKeyText(key) : `key:${table.name}:${request.idempotencyKey}`
      remember(key)
      if (request.idempotencyKey === undefined) {
        const landed = await inTurn(name, () => takeInTurn(request, key))
        return landed()
      }
      // A second request with the same key waits for the first one's commit, then finds its key.
      return inTurn(name, async () => {
        const landed = await inTurn(sourceKeyText(key), () => takeInTurn(request, key))
        return landed()
      })
    },
  }
}

/** About 400 bytes each. */
const PRODUCERS_MAX = 10_000
/** Some hundred kilobytes each when they were used for large requests. */
const BUILDERS_KEPT_MAX = 64
/** More than one, so that those that could not go are made up for. */
const DROPS_AT_ONCE = 8

/** Where a request's rows go, and its key with them: as long as there is no schema all are dead letters. */
function homeOf({ ready, deadLetters }: IngestTable): number {
  return ready?.feed.table.tableId ?? deadLetters.table.tableId
}

function samplesOf(rows: BodyRows): Uint8Array[] {
  const samples: Uint8Array[] = []
  const count = Math.min(rows.count, 1000)
  for (let row = 0; row < count; row += 1) samples.push(rows.bytes.subarray(rows.starts[row], rows.ends[row]))
  return samples
}

function sequenceError(producer: { id: string; sequence: bigint }, rows: number, expected: bigint): MillraceError {
  return new MillraceError(
    'sequence-gap',
    `producer "${producer.id}": sequence ${producer.sequence} with ${rows} rows does not continue at ${expected}; no row of this request was taken`,
    { facts: { expected_sequence: String(expected), rows_taken: 0 } },
  )
}

/**
 * After so long a silence a sequence that was used before is more likely a producer that lost its place than a repetition: it is
 * told where it stands, and nothing of its request is taken for committed or for new.
 */
function expiredError(producer: { id: string; sequence: bigint }, expected: bigint): MillraceError {
  return new MillraceError(
    'sequence-gap',
    `producer "${producer.id}" was idle for 7 days and has expired; all its rows before ${expected} are committed, and sequence ${producer.sequence} does not continue there: go on at ${expected}, or send under another name; no row of this request was taken`,
    { facts: { expected_sequence: String(expected), rows_taken: 0, expired: true } },
  )
}
