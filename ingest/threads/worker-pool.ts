/**
 * Worker threads that decode and seal. This thread keeps the sockets, the group, the catalog and the store; a worker gets
 * places in shared memory and gives places back.
 *
 *   decode ─▶ lane ─▶ room ─▶ region for the rows ─▶ queue ─▶ the least loaded worker ─▶ pieces, in the region
 *   seal   ──────────────────────────────▶ first in the queue ─────────────────▶ bytes of a segment, moved here
 *
 * Jobs belong to no worker: whatever there is goes to whoever has least to do, so that one busy topic-partition uses all of
 * them. Each has at most `MESSAGES_MAX` messages, so that a segment that is to be sealed never waits long. Records so
 * few that a message costs more are decoded here (`TINY_BYTES`), and no thread is started as long as there are no others.
 *
 * What can fail: a worker that ends (out of memory, a crash of native code) takes its jobs with it. Nothing of them was
 * committed; `onDeath` ends the process, and the next one reads on from the coverage.
 */
import { Worker } from 'node:worker_threads'
import { invariant, MillraceError } from '../../schemas/errors.ts'
import { createByteBudget } from '../byte-budget.ts'
import type { DecodeNeeds, DecodePlan } from '../decoder/decode-plan.ts'
import type { FetchedRecords } from '../kafka/kafka-source.ts'
import type { HeldReply, ReplyPool } from '../kafka/reply-memory.ts'
import { createArena, type Region } from './arena.ts'
import type { DecodedUnit } from './decode-unit.ts'
import type {
  DecodedAway,
  DecodeJob,
  ErrorFacts,
  FromWorker,
  Place,
  PlacedPiece,
  SealJob,
  ToWorker,
  WorkerData,
} from './messages.ts'
import type { SealedSegment } from './seal-segment.ts'
import { SharedBatch } from './shared-batch.ts'
import { createInlineWork, type IngestWork, UNPACKED_BYTES_MAX, type WorkParts } from './work.ts'

/** One in hand and one that waits, so that a worker is never idle while there is work. */
const MESSAGES_MAX = 2
const JOBS_IN_MESSAGE_MAX = 64
const MESSAGE_BYTES = 256 * 1024
/**
 * Of fetched bytes that have memory for their rows, of each thread: what it has in hand, and as much again. Whatever waits behind
 * would hold memory that rows are to have: a tick with half of the ceiling makes a segment three times as large.
 */
const LANE_BYTES = 2 * MESSAGES_MAX * MESSAGE_BYTES
/** Of a whole unit, as fetched: a message there and back takes longer than decoding it. */
const TINY_BYTES = 4 * 1024
/** Bytes of rows to bytes fetched, until a pipeline has shown its own. */
const GROWTH_AT_FIRST = 6
const GROWTH_HEADROOM = 1.25
const GROWTH_MEMORY = 0.8
/** Of the ceiling: what is held has holes in it. Pages that nobody needed take no memory. */
const ARENA_SHARE = 1.5
const ARENA_BYTES_MAX = 4 * 1024 ** 3
/**
 * Of a thread's heap, memory outside of it included: what zlib and the codecs give lies there until a collection. Half of it makes twice as many
 * collections, 0.1 CPU-s per million rows; many threads have less each, since together they must not take much.
 */
const HEAP_MIB = { old: { most: 96, least: 48, all: 192 }, young: 8 }

type Job = { readonly cost: number; readonly isUrgent: boolean } & (
  | {
      readonly kind: 'decode'
      readonly message: DecodeJob
      readonly plan: DecodePlan
      done(result: DecodedAway | DecodeNeeds): void
    }
  | { readonly kind: 'seal'; readonly message: SealJob; done(result: SealedSegment): void }
) & { failed(error: Error): void }

type Thread = {
  readonly worker: Worker
  readonly plans: Set<number>
  readonly jobs: Map<number, Job>
  messages: number[]
  cost: number
}

export function createWorkerPool(
  components: WorkParts & {
    threads: number
    memoryMax: number
    room(bytes: number): Promise<void>
    /** Memory was given back. */
    onFreed(): void
    onDeath(error: Error): void
    /** What the threads run. */
    program?: URL
  },
): IngestWork {
  const { threads: threadCount, world, room } = components
  const inline = createInlineWork(components)
  const arena = createArena(Math.min(components.memoryMax * ARENA_SHARE, ARENA_BYTES_MAX))
  const threads: Thread[] = []
  const queue: Job[] = []
  /** Rows' bytes to fetched bytes, by pipeline. */
  const growth = new Map<string, number>()
  /** Newest plan of each pipeline: older ones are forgotten. */
  const newest = new Map<string, number>()
  const lane = createByteBudget(threadCount * LANE_BYTES)
  let ids = 0
  let fetchedBytes = 0
  let isClosing = false
  let isPumping = false

  function free(region: Region): void {
    arena.free(region)
    components.onFreed()
  }

  function startThreads(): void {
    const { most, least, all } = HEAP_MIB.old
    const oldMib = Math.max(least, Math.min(most, Math.floor(all / threadCount)))
    while (threads.length < threadCount) {
      const workerData: WorkerData = { arena: arena.memory, unpackedBytesMax: UNPACKED_BYTES_MAX }
      const worker = new Worker(components.program ?? new URL('./worker.ts', import.meta.url), {
        name: `ingest-${threads.length + 1}`,
        workerData,
        resourceLimits: { maxOldGenerationSizeMb: oldMib, maxYoungGenerationSizeMb: HEAP_MIB.young },
      })
      const thread: Thread = { worker, plans: new Set(), jobs: new Map(), messages: [], cost: 0 }
      worker.on('message', (message: FromWorker) => take(thread, message))
      worker.on('error', (error) => died(error instanceof Error ? error : new Error(String(error))))
      worker.on('exit', (code) => died(new Error(`it ended with code ${code}`)))
      threads.push(thread)
    }
  }

  function died(cause: Error): void {
    if (isClosing) return
    isClosing = true
    components.onDeath(new MillraceError('internal', `a worker thread of ingest ended: ${cause.message}`, { cause }))
  }

  function enqueue(job: Job): void {
    if (job.isUrgent) {
      const behind = queue.findIndex((each) => !each.isUrgent)
      queue.splice(behind < 0 ? queue.length : behind, 0, job)
    } else queue.push(job)
    if (isPumping) return
    isPumping = true
    // Jobs that come in one turn of the event loop share messages.
    setImmediate(() => {
      isPumping = false
      pump()
    })
  }

  function pump(): void {
    if (queue.length > 0) startThreads()
    while (queue.length > 0) {
      const free = threads.filter(({ messages }) => messages.length < MESSAGES_MAX)
      if (free.length === 0) return
      send(free.reduce((least, each) => (each.cost < least.cost ? each : least)))
    }
  }

  function send(thread: Thread): void {
    const jobs: Job[] = []
    for (let bytes = 0; queue.length > 0 && jobs.length < JOBS_IN_MESSAGE_MAX && bytes < MESSAGE_BYTES; ) {
      const job = queue.shift()!
      jobs.push(job)
      bytes += job.cost
    }
    const plans = new Map<number, DecodePlan>()
    for (const job of jobs) {
      thread.jobs.set(job.message.id, job)
      thread.cost += job.cost
      if (job.kind === 'decode' && !thread.plans.has(job.plan.number)) plans.set(job.plan.number, job.plan)
    }
    for (const number of plans.keys()) thread.plans.add(number)
    const used = new Set([...thread.jobs.values()].flatMap((job) => (job.kind === 'decode' ? [job.plan.number] : [])))
    const current = new Set(newest.values())
    const forget =
      plans.size === 0 ? [] : [...thread.plans].filter((number) => !used.has(number) && !current.has(number))
    for (const number of forget) thread.plans.delete(number)
    thread.messages.push(jobs.length)
    const message: ToWorker = { plans: [...plans.values()], forget, jobs: jobs.map((job) => job.message) }
    thread.worker.postMessage(message)
  }

  function take(thread: Thread, { answers }: FromWorker): void {
    for (const answer of answers) {
      const job = thread.jobs.get(answer.id)
      invariant('a worker answers what it was asked', job !== undefined, { id: answer.id })
      thread.jobs.delete(answer.id)
      thread.cost -= job.cost
      thread.messages[0] -= 1
      if (thread.messages[0] === 0) thread.messages.shift()
      if (answer.kind === 'failed') job.failed(errorOf(answer.error))
      else if (answer.kind === 'decoded' && job.kind === 'decode') job.done(answer.result)
      else if (answer.kind === 'sealed' && job.kind === 'seal') job.done(releasable(answer.result))
    }
    pump()
  }

  const placeOf = ({ memory, start, length }: Region): Place => ({
    memory: memory === arena.memory ? undefined : memory,
    start,
    length,
  })

  /** Of memory that did not come from `replies`, a copy. */
  function placeOfBytes(bytes: Uint8Array): { place: Place; giveBack(): void } {
    const { buffer, byteOffset: start, length } = bytes
    if (buffer instanceof SharedArrayBuffer)
      return { place: placeOf({ memory: buffer, start, length }), giveBack: () => {} }
    const region = arena.allocate(length)
    new Uint8Array(region.memory, region.start, length).set(bytes)
    return { place: { ...placeOf(region), length }, giveBack: () => free(region) }
  }

  async function decodeAway(
    plan: DecodePlan,
    unit: FetchedRecords,
    from: number,
    source: string,
    isFinal: boolean,
    hasTurn: boolean,
  ): Promise<DecodedUnit | DecodeNeeds> {
    const { length } = unit.batches
    if (hasTurn) return decodeInLane(plan, unit, from, source, isFinal, true)
    await lane.take(length)
    try {
      return await decodeInLane(plan, unit, from, source, isFinal, false)
    } finally {
      lane.give(length)
    }
  }

  async function decodeInLane(
    plan: DecodePlan,
    unit: FetchedRecords,
    from: number,
    source: string,
    isFinal: boolean,
    hasTurn: boolean,
  ): Promise<DecodedUnit | DecodeNeeds> {
    const grows = growth.get(plan.pipeline) ?? GROWTH_AT_FIRST
    const expected = Math.ceil(unit.batches.length * grows * GROWTH_HEADROOM) + 4096
    if (!hasTurn) await room(expected)
    const region = arena.allocate(expected)
    const { place, giveBack } = placeOfBytes(unit.batches)
    const { batches, ...fetched } = unit
    if (plan.number > (newest.get(plan.pipeline) ?? 0)) newest.set(plan.pipeline, plan.number)
    let result: DecodedAway | DecodeNeeds
    try {
      result = await new Promise((done, failed) => {
        ids += 1
        const message: DecodeJob = {
          kind: 'decode',
          id: ids,
          plan: plan.number,
          fetched,
          batches: place,
          into: placeOf(region),
          from,
          source,
          arrivedMicros: Number(world.clock.nowMicros()),
          isFinal,
        }
        enqueue({ kind: 'decode', message, plan, cost: batches.length, isUrgent: false, done, failed })
      })
    } catch (error) {
      free(region)
      throw error
    } finally {
      giveBack()
    }
    if (result.kind === 'needs' || result.pieces.length === 0) free(region)
    if (result.kind === 'needs') return result
    const shown = result.bytes / Math.max(1, batches.length)
    growth.set(plan.pipeline, Math.max(shown, grows * GROWTH_MEMORY + shown * (1 - GROWTH_MEMORY)))
    return arrived(plan, result, region)
  }

  function arrived(plan: DecodePlan, result: DecodedAway, region: Region): DecodedUnit {
    const { overflow, bytes, damage, pieces: placed, ...rest } = result
    let held = region
    if (placed.length > 0) {
      if (overflow) free(region)
      held = overflow ? arena.adopt(overflow) : arena.shrink(region, bytes)
    }
    let holders = placed.length
    const release = () => {
      holders -= 1
      if (holders === 0) free(held)
    }
    const pieces = placed.map(({ tableId, schemaId, rowCount, layout }) => {
      const rows = { memory: held.memory, rowCount, layout }
      const share = Math.ceil(held.length / placed.length)
      return { tableId, schemaId, batch: new SharedBatch(schemaOf(plan, tableId, schemaId), rows, share, release) }
    })
    return { ...rest, pieces, damage: damage && errorOf(damage) }
  }

  function replies(): ReplyPool {
    return {
      take(): HeldReply {
        let region: Region | undefined
        let holders = 1
        return {
          memory(length) {
            region = arena.allocate(length, true)
            fetchedBytes += region.length
            return Buffer.from(region.memory, region.start, length)
          },
          hold() {
            holders += 1
          },
          release() {
            holders -= 1
            if (holders > 0 || region === undefined) return
            fetchedBytes -= region.length
            free(region)
            region = undefined
          },
        }
      },
    }
  }

  return {
    decode(plan, unit, from, source, isFinal, hasTurn = false) {
      return 'batches' in unit && unit.batches.length > TINY_BYTES
        ? decodeAway(plan, unit, from, source, isFinal, hasTurn)
        : inline.decode(plan, unit, from, source, isFinal, hasTurn)
    },
    async seal(question) {
      const bytes = question.pieces.reduce(
        (sum, piece) => sum + (piece instanceof SharedBatch ? piece.heldBytes : 0),
        0,
      )
      if (bytes === 0) return inline.seal(question)
      return new Promise((done, failed) => {
        ids += 1
        const { pieces, ...rest } = question
        const { schema } = pieces[0]
        const message: SealJob = { kind: 'seal', id: ids, schema, pieces: pieces.map(placePiece), ...rest }
        enqueue({ kind: 'seal', message, cost: bytes / 8, isUrgent: true, done, failed })
      })
    },
    replies,
    get bytesHeld() {
      return arena.bytesUsed
    },
    get fetchedBytes() {
      return fetchedBytes
    },
    async close() {
      isClosing = true
      await Promise.all(threads.map(({ worker }) => worker.terminate()))
    },
  }

  function placePiece(batch: SealQuestionPiece): PlacedPiece {
    if (!(batch instanceof SharedBatch)) return { kind: 'own', batch }
    const { memory, rowCount, layout } = batch
    return { kind: 'shared', memory: memory === arena.memory ? undefined : memory, rowCount, layout }
  }
}

type SealQuestionPiece = Parameters<IngestWork['seal']>[0]['pieces'][number]

function schemaOf(plan: DecodePlan, tableId: number, schemaId: number) {
  for (const { tableId: id, schema, deadLetters } of Object.values(plan.tables)) {
    if (id === tableId && schema?.schemaId === schemaId) return schema
    if (deadLetters.tableId === tableId && deadLetters.schema.schemaId === schemaId) return deadLetters.schema
  }
  throw new MillraceError('internal', `plan ${plan.number} has no table ${tableId} with schema ${schemaId}`)
}

/** Its bytes came as a buffer of their own, which is freed at once when they are written. */
function releasable(sealed: SealedSegment): SealedSegment {
  const { buffer } = sealed.bytes
  return buffer instanceof ArrayBuffer ? { ...sealed, release: () => void buffer.transfer(0) } : sealed
}

function errorOf({ code, message, facts, stack }: ErrorFacts): Error {
  if (code !== undefined) return new MillraceError(code, message, { facts })
  const error = new Error(message)
  if (stack !== undefined) error.stack = stack
  return error
}
