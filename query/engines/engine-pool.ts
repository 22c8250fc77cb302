/**
 * The engine processes of a query service: one interactive engine, and batch engines that run one query at a time, so that
 * whatever a heavy query does to its process happens to nobody else.
 *
 *   run                ours, trusted, small (parsing, stubs): in the interactive engine; tried again when it dies
 *   engineOf(seat)     where a query with this seat is planned
 *   query(seat, …)     runs in the engine of its lane. When `where-to-run.ts` says that it must not go on in the interactive
 *                      engine, it throws `NeedsBatch`: whoever runs it lets go of what it holds (files, versions), waits
 *                      for a batch seat with `moveToBatch`, and begins anew. So the first chunk is held back until there is a
 *                      second one or the result is complete, and once a chunk has been handed over the query stays
 *
 * A batch engine that has had nothing to do for BATCH_IDLE_MS is ended: an idle service is two processes.
 *
 * What can fail: an engine dies (`kill -9`, the kernel, our memory watch). A query that was alone in it fails with
 * `engine-lost` or `out-of-memory`; of several, each is run once more, alone.
 */
import type { Engine, EngineQuery, EngineResult } from '../../lake/engine/engine.ts'
import type { CounterMetric } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Admission, Seat } from '../run/admission.ts'
import { afterFailure, isHeavy, isSmall, type Reads, shouldMove } from './where-to-run.ts'

export type QueryHandlers = Parameters<Engine['query']>[1]

/** No error of the query: it has to run in a batch engine. */
export class NeedsBatch extends Error {
  readonly reason: 'heavy' | 'long' | 'memory' | 'suspect'

  constructor(reason: NeedsBatch['reason'], options?: { cause: unknown }) {
    super(`the query needs a batch engine: ${reason}`, options)
    this.reason = reason
  }
}

export type Engines = {
  run: Engine['run']
  engineOf(seat: Seat): Engine
  query(
    seat: Seat,
    query: EngineQuery,
    reads: Pick<Reads, 'rows' | 'bytes'>,
    handlers: QueryHandlers,
    signal: AbortSignal,
  ): Promise<EngineResult>
  /** Waits for a seat in the batch lane. */
  moveToBatch(seat: Seat, reason: NeedsBatch['reason'], signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

export type EnginesParts = {
  readonly interactive: Engine
  readonly batch: readonly Engine[]
  readonly admission: Admission
  readonly queueMax: number
  readonly world: World
  /** Queries that went to a batch engine: heavy (by what they read), long, memory, suspect. */
  readonly moved: CounterMetric
  readonly retries: CounterMetric
}

const BATCH_IDLE_MS = 60_000
const LOOK_MS = 250
const RUN_ATTEMPTS_MAX = 3

export function createEngines(parts: EnginesParts): Engines {
  const { interactive, batch, admission, world } = parts
  const idleTimers = new Map<Engine, NodeJS.Timeout>()

  /** A batch engine that is in use is not ended as idle. */
  function touch(engine: Engine): Engine {
    clearTimeout(idleTimers.get(engine))
    const timer = setTimeout(() => engine.kill(), BATCH_IDLE_MS)
    timer.unref()
    idleTimers.set(engine, timer)
    return engine
  }

  async function runInBatch(seat: Seat, query: EngineQuery, handlers: QueryHandlers, signal: AbortSignal) {
    const engine = batch[seat.number]
    clearTimeout(idleTimers.get(engine))
    try {
      return await engine.query(query, handlers, signal)
    } finally {
      touch(engine)
    }
  }

  /** Throws `NeedsBatch` when it was stopped because it takes long. */
  async function runAmongOthers(
    query: EngineQuery,
    handlers: QueryHandlers,
    hasDelivered: () => boolean,
    signal: AbortSignal,
  ): Promise<EngineResult> {
    const moving = new AbortController()
    const startedMs = world.clock.monotonicMs()
    const timer = setInterval(() => {
      if (hasDelivered()) {
        clearInterval(timer)
        return
      }
      const [small, large] = [admission.in('interactive'), admission.in('batch')]
      const moment = {
        ranMs: world.clock.monotonicMs() - startedMs,
        others: small.running + small.waiting > 1,
        batchIsFree: large.running < batch.length && large.waiting === 0,
        queueIsFull: admission.waiting >= parts.queueMax,
      }
      if (shouldMove(moment)) moving.abort(new MillraceError('query-cancelled', 'moved to a batch engine'))
    }, LOOK_MS)
    try {
      return await interactive.query(query, handlers, AbortSignal.any([signal, moving.signal]))
    } catch (error) {
      if (!moving.signal.aborted || signal.aborted || hasDelivered()) throw error
      throw new NeedsBatch('long', { cause: error })
    } finally {
      clearInterval(timer)
    }
  }

  return {
    async run(sql, options) {
      for (let attempt = 1; ; attempt++) {
        try {
          return await interactive.run(sql, options)
        } catch (error) {
          const diedOfOthers = isMillraceError(error) && error.facts.died !== undefined
          if (!diedOfOthers || attempt >= RUN_ATTEMPTS_MAX || options?.signal?.aborted) throw error
          parts.retries.add(1, { reason: 'engine-lost' })
        }
      }
    },

    engineOf: (seat) => (seat.lane === 'interactive' ? interactive : touch(batch[seat.number])),

    async query(seat, query, { rows, bytes }, handlers, signal) {
      if (seat.lane === 'batch') return runInBatch(seat, query, handlers, signal)
      if (isHeavy({ sql: query.sql, rows, bytes, format: query.format })) throw new NeedsBatch('heavy')
      const held = holdFirstChunk(handlers)
      for (let attempt = 1; ; attempt++) {
        const small = { ...query, isSmall: isSmall(rows) }
        try {
          const result = await runAmongOthers(small, held.handlers, held.hasDelivered, signal)
          await held.flush()
          return result
        } catch (error) {
          const next = held.hasDelivered() || signal.aborted ? 'fail' : afterFailure(error)
          if (next === 'fail' || (next === 'again' && attempt >= RUN_ATTEMPTS_MAX)) throw error
          const hasDied = isMillraceError(error) && error.facts.died !== undefined
          if (hasDied) parts.retries.add(1, { reason: 'engine-lost' })
          if (next === 'alone') throw new NeedsBatch(hasDied ? 'suspect' : 'memory', { cause: error })
          held.reset()
        }
      }
    },

    async moveToBatch(seat, reason, signal) {
      parts.moved.add(1, { reason })
      await seat.moveToBatch(signal)
    },

    async close() {
      for (const timer of idleTimers.values()) clearTimeout(timer)
      await Promise.all([interactive, ...batch].map((engine) => engine.close()))
    },
  }
}

/** The header of a CSV, or the only chunk of a small result: nothing that cannot be taken back has left by then. */
function holdFirstChunk(handlers: QueryHandlers) {
  let first: Uint8Array | undefined
  let delivered = false
  return {
    handlers: {
      ...handlers,
      async onChunk(chunk: Uint8Array) {
        if (!delivered && first === undefined) {
          first = chunk
          return
        }
        delivered = true
        if (first !== undefined) {
          const held = first
          first = undefined
          await handlers.onChunk(held)
        }
        await handlers.onChunk(chunk)
      },
    },
    hasDelivered: () => delivered,
    reset() {
      first = undefined
    },
    async flush() {
      if (first !== undefined) await handlers.onChunk(first)
      first = undefined
    },
  }
}
