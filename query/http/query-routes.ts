/**
 * `GET /v1/queries`: what waits and runs here, and what ended of late; `GET`, `DELETE /v1/queries/{id}`: look at one, cancel
 * it. A token sees and cancels its own queries; an admin's all of them. Cancelling again, or cancelling what has ended, does
 * nothing and says so.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { FinishedQuery, ListedQuery, QueryList } from '../run/query-list.ts'

type ById = { Params: { id: string } }

export function addQueryRoutes(
  app: FastifyInstance,
  parts: { readonly queries: QueryList; readonly world: World },
): void {
  const { queries, world } = parts
  const read = { config: { right: 'read' } } as const

  app.get('/v1/queries', read, async (request) => ({
    queries: queries
      .all()
      .filter((query) => isOwn(request, query))
      .map((query) => listed(query, world)),
    recent: queries
      .finished()
      .filter((query) => isOwn(request, query))
      .map(ended),
  }))

  app.get<ById>('/v1/queries/:id', read, async (request) => {
    const { running, past } = find(request)
    return running ? listed(running, world) : ended(past)
  })

  app.delete<ById>('/v1/queries/:id', read, async (request, reply) => {
    const { running, past } = find(request)
    if (!running) return reply.code(200).send({ query_id: past.queryId, state: stateOf(past) })
    running.abort.abort(new MillraceError('query-cancelled', 'the query was cancelled by request'))
    return reply.code(202).send({ query_id: running.queryId, state: 'cancelling' })
  })

  function find(request: FastifyRequest<ById>) {
    const { id } = request.params
    const running = queries.find(id)
    if (running && isOwn(request, running)) return { running, past: undefined } as const
    const past = queries.finished().findLast((query) => query.queryId === id && isOwn(request, query))
    if (past) return { running: undefined, past } as const
    throw new MillraceError('not-found', `no query with the id ${id} runs here, and none ended of late`)
  }
}

function isOwn(request: FastifyRequest, { owner }: { readonly owner: string | undefined }): boolean {
  return isAdmin(request) || owner === request.token?.name
}

/** Without tokens everybody is. */
export function isAdmin({ token }: Pick<FastifyRequest, 'token'>): boolean {
  return token === undefined || token.rights.includes('admin')
}

function stateOf({ error, isCancelled }: FinishedQuery): 'finished' | 'failed' | 'cancelled' {
  return isCancelled ? 'cancelled' : error ? 'failed' : 'finished'
}

function listed(query: ListedQuery, world: World): Record<string, unknown> {
  return {
    query_id: query.queryId,
    sql: query.sql,
    format: query.format,
    state: query.abort.signal.aborted ? 'cancelling' : query.state,
    started_at: timeText(query.startedAt),
    elapsed_ms: Number((world.clock.nowMicros() - query.startedAt) / 1000n),
    progress: query.progress?.percent ?? null,
    rows_scanned: query.progress?.rowsScanned ?? null,
    rows: query.progress?.rows ?? null,
    bytes_sent: query.bytesSent,
  }
}

function ended(query: FinishedQuery): Record<string, unknown> {
  return {
    query_id: query.queryId,
    sql: query.sql,
    format: query.format,
    state: stateOf(query),
    started_at: timeText(query.startedAt),
    elapsed_ms: Number((query.endedAt - query.startedAt) / 1000n),
    rows: query.rows ?? null,
    bytes_sent: query.bytesSent,
    error: query.error ?? null,
  }
}

function timeText(micros: bigint): string {
  return new Date(Number(micros / 1000n)).toISOString()
}
