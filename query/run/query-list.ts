/** The queries of this process, for `GET /v1/queries` and for cancelling by id. An id is in use as long as its query runs. */
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
  state: QueryState
  bytesSent: number
}

export type QueryList = {
  /** Throws `already-exists` when a running query has this id. */
  add(query: ListedQuery): void
  remove(query: ListedQuery): void
  find(queryId: string): ListedQuery | undefined
  all(): readonly ListedQuery[]
  /** Resolves when no query runs. */
  drained(): Promise<void>
}

export function createQueryList(): QueryList {
  const queries = new Map<string, ListedQuery>()
  let waiters: (() => void)[] = []
  return {
    add(query) {
      if (queries.has(query.queryId)) {
        throw new MillraceError('already-exists', `a query with the id ${query.queryId} is running`)
      }
      queries.set(query.queryId, query)
    },
    remove(query) {
      if (queries.get(query.queryId) === query) queries.delete(query.queryId)
      if (queries.size > 0) return
      for (const wake of waiters) wake()
      waiters = []
    },
    find: (queryId) => queries.get(queryId),
    all: () => [...queries.values()],
    drained: () => (queries.size === 0 ? Promise.resolve() : new Promise((resolve) => waiters.push(resolve))),
  }
}
