/**
 * The queries of this process, for `GET /v1/queries`, `millrace.queries` and for cancelling by id. An id is in use as long as its
 * query runs. The last `FINISHED_KEPT_MAX` that ended are remembered, with a beginning of their text.
 */
import type { EngineProgress } from '../../lake/engine/engine.ts'
import { MillraceError } from '../../schemas/errors.ts'

export type QueryState = 'waiting' | 'planning' | 'running'

export type ListedQuery = {
  readonly queryId: string
  readonly sql: string
  readonly format: string
  readonly startedAt: bigint
  readonly abort: AbortController
  /** Name of the caller's token; undefined when none are configured. */
  readonly owner: string | undefined
  /** Which way it came: `http`, … */
  readonly door: string
  state: QueryState
  bytesSent: number
  /** As the engine told last. */
  progress?: EngineProgress
}

export type QueryEnd = {
  readonly endedAt: bigint
  readonly rows: number | undefined
  /** What the client was told. */
  readonly error: { readonly code: string; readonly message: string } | undefined
  readonly isCancelled: boolean
}

export type FinishedQuery = Omit<ListedQuery, 'abort' | 'state'> & QueryEnd

export const FINISHED_KEPT_MAX = 1_000
const TEXT_KEPT_MAX = 4_000

export type QueryList = {
  /** Throws `already-exists` when a running query has this id. */
  add(query: ListedQuery): void
  remove(query: ListedQuery, end?: QueryEnd): void
  find(queryId: string): ListedQuery | undefined
  all(): readonly ListedQuery[]
  /** Those that ended last, oldest first. */
  finished(): readonly FinishedQuery[]
  /** Resolves when no query runs. */
  drained(): Promise<void>
}

export function createQueryList(): QueryList {
  const queries = new Map<string, ListedQuery>()
  let waiters: (() => void)[] = []
  const finished: FinishedQuery[] = []

  function remember({ abort: _, state: __, ...query }: ListedQuery, end: QueryEnd): void {
    const error = end.error && { ...end.error, message: cut(end.error.message) }
    finished.push({ ...query, sql: cut(query.sql), ...end, error })
    if (finished.length > FINISHED_KEPT_MAX) finished.shift()
  }

  return {
    add(query) {
      if (queries.has(query.queryId)) {
        throw new MillraceError('already-exists', `a query with the id ${query.queryId} is running`)
      }
      queries.set(query.queryId, query)
    },
    remove(query, end) {
      if (end) remember(query, end)
      if (queries.get(query.queryId) === query) queries.delete(query.queryId)
      if (queries.size > 0) return
      for (const wake of waiters) wake()
      waiters = []
    },
    find: (queryId) => queries.get(queryId),
    finished: () => finished,
    all: () => [...queries.values()],
    drained: () => (queries.size === 0 ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
  }
}

function cut(text: string): string {
  return text.length > TEXT_KEPT_MAX ? `${text.slice(0, TEXT_KEPT_MAX - 1).toWellFormed()}…` : text
}
