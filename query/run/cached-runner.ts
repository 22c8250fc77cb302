/**
 * The query runner behind a cache of results: fifty viewers of one dashboard cost one query.
 *
 *   hit      the same question over the same versions was answered before: its bytes, with the freshness of now
 *   shared   it is being answered: who asks meanwhile waits for that answer, without a seat among the running queries
 *   miss     it runs, and a small answer is kept
 *
 * The versions of a request are read when it arrives, so it sees what was committed before (G-4); rights are checked for each
 * caller. What may give another answer next time (clock, random numbers, samples, system tables) is neither kept nor shared.
 * Errors are not kept. Each waits on its own account: who runs the query for others and is cancelled, runs out of time or fails
 * for reasons of its own leaves it to the next of them; only what is wrong with the statement itself is told to all.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { ResultColumn } from '../../lake/engine/engine.ts'
import type { CounterMetric } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { PlannedTable } from '../plan/plan-tables.ts'
import { ENTRY_BYTES_MAX, type KeptResult, type ResultCache, resultKey } from './result-cache.ts'
import type { QueryOutcome, QueryReceiver, QueryRequest, QueryRunner } from './run-query.ts'

type CacheUse = 'hit' | 'shared' | 'miss'

/** How the query that others wait for ended. */
type Ending =
  | { readonly kind: 'kept'; readonly result: KeptResult }
  | { readonly kind: 'wrong'; readonly error: MillraceError }
  /** Too large to share, or its own affair: ask again. */
  | { readonly kind: 'none' }

const WRONG_FOR_ALL: ReadonlySet<ErrorCode> = new Set([
  'undefined-table',
  'undefined-column',
  'undefined-function',
  'syntax-error',
  'statement-refused',
  'query-invalid',
  'type-mismatch',
  'conversion-failed',
  'value-out-of-range',
  'division-by-zero',
  'parameter-missing',
])

export function createCachedRunner(components: {
  runner: QueryRunner
  cache: ResultCache
  world: Pick<World, 'clock'>
  uses: CounterMetric
}): QueryRunner {
  const { runner, cache, uses } = components
  const { clock } = components.world
  const flights = new Map<string, Promise<Ending>>()

  async function answerFrom(
    result: KeptResult,
    versions: readonly TableVersion[],
    use: CacheUse,
    receiver: QueryReceiver,
  ): Promise<QueryOutcome> {
    uses.add(1, { use })
    const { stats } = result.outcome
    const outcome: QueryOutcome = {
      ...result.outcome,
      tables: result.outcome.tables.map((planned) => seenNow(planned, versions)),
      stats: { ...stats, bytesFetched: 0, requests: 0 },
      cache: use,
    }
    await receiver.onColumns(result.columns, outcome)
    if (result.bytes.length > 0) await receiver.onChunk(result.bytes)
    return outcome
  }

  /** Runs it, and tells those who wait how it ended; as early as it is clear that there is nothing to share. */
  async function lead(
    flight: string,
    request: QueryRequest,
    receiver: QueryReceiver,
    signal: AbortSignal,
  ): Promise<QueryOutcome> {
    const { promise, resolve } = Promise.withResolvers<Ending>()
    const end = (ending: Ending) => {
      if (flights.get(flight) === promise) flights.delete(flight)
      resolve(ending)
    }
    flights.set(flight, promise)
    const collected = collect(receiver, () => end({ kind: 'none' }))
    try {
      const outcome: QueryOutcome = { ...(await runner.run(request, collected.receiver, signal)), cache: 'miss' }
      uses.add(1, { use: 'miss' })
      const result = collected.take(outcome)
      if (result) {
        const versions = outcome.tables.map(({ version }) => version)
        cache.set(resultKey(request, versions), result)
        end({ kind: 'kept', result })
      }
      return outcome
    } catch (error) {
      if (isMillraceError(error) && WRONG_FOR_ALL.has(error.code) && !signal.aborted) end({ kind: 'wrong', error })
      throw error
    } finally {
      end({ kind: 'none' })
    }
  }

  return {
    look: (request, signal) => runner.look(request, signal),
    async run(request, receiver, signal) {
      const deadline = clock.monotonicMs() + request.timeoutMs
      const left = (): QueryRequest => ({
        ...request,
        timeoutMs: Math.max(1, Math.ceil(deadline - clock.monotonicMs())),
      })
      for (;;) {
        const versions = await runner.look(left(), signal)
        if (!versions) return runner.run(left(), receiver, signal)
        const key = resultKey(request, versions)
        const known = cache.get(key)
        if (known) return answerFrom(known, versions, 'hit', receiver)
        const flight = flights.get(key)
        if (!flight) return lead(key, left(), receiver, signal)
        receiver.onState('waiting')
        const ending = await within(flight, left().timeoutMs, request.timeoutMs, signal)
        if (ending.kind === 'kept') return answerFrom(ending.result, versions, 'shared', receiver)
        if (ending.kind === 'wrong') throw ending.error
      }
    },
  }
}

/** What this caller saw when it came; the answer may be of a later version, never of an earlier one. */
function seenNow(planned: PlannedTable, versions: readonly TableVersion[]): PlannedTable {
  const { table, version } = planned.version
  const own = versions.find((each) => each.table.tableId === table.tableId && each.version === version)
  return own ? { ...planned, version: own } : planned
}

function collect(receiver: QueryReceiver, tooLarge: () => void) {
  let columns: readonly ResultColumn[] = []
  let parts: Uint8Array[] = []
  let bytes = 0
  let isWhole = true
  return {
    receiver: {
      ...receiver,
      onState: (state) => receiver.onState(state),
      onColumns(given, facts) {
        columns = given
        parts = []
        bytes = 0
        return receiver.onColumns(given, { ...facts, cache: 'miss' })
      },
      onChunk(chunk) {
        bytes += chunk.length
        if (isWhole && bytes > ENTRY_BYTES_MAX) {
          isWhole = false
          parts = []
          tooLarge()
        }
        if (isWhole) parts.push(chunk)
        return receiver.onChunk(chunk)
      },
    } satisfies QueryReceiver,
    take: (outcome: QueryOutcome): KeptResult | undefined =>
      isWhole ? { columns, bytes: Buffer.concat(parts), outcome } : undefined,
  }
}

/** The ending, or this caller's own: its time is up, or it went away. */
async function within(
  flight: Promise<Ending>,
  leftMs: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Ending> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(
    () => reject(new MillraceError('query-timeout', `the query took longer than ${timeoutMs} ms`)),
    leftMs,
  )
  try {
    return await Promise.race([flight, promise])
  } catch (error) {
    if (signal.aborted && !isMillraceError(error)) {
      throw new MillraceError('query-cancelled', 'the query was cancelled', { cause: error })
    }
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', onAbort)
  }
}
