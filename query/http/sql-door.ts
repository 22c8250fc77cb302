/**
 * SQL over HTTP:
 *
 *   POST /v1/sql            one SELECT; JSON body {sql, params, format, timeout_ms, max_rows, session, query_id}, or the text
 *   GET  /v1/sql?q=…        the same, for browsers and spreadsheets
 *   GET  /v1/queries        what runs and waits here;  GET, DELETE /v1/queries/{id}: look at one, cancel it
 *   GET  /v1/tables         tables with version and freshness;  /v1/tables/{t}: one with columns and sources
 *
 * A client that goes away cancels its query. Limits may be lowered by a request, never raised.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import { checkTableAccess } from '../../runtime/http-access.ts'
import { retryAfterOf } from '../../runtime/http-server.ts'
import type { HistogramMetric } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import { formatColumnType } from '../../schemas/column-type.ts'
import { asMillraceError, isMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Settings, Token, TokenLimits } from '../../schemas/settings.ts'
import { isHidden } from '../../schemas/table-schema.ts'
import { freshnessMs, sourcesOf } from '../freshness.ts'
import type { Entrant } from '../run/admission.ts'
import type { ListedQuery, QueryEnd, QueryList } from '../run/query-list.ts'
import type { QueryRunner } from '../run/run-query.ts'
import { createSqlReply, errorBody } from './sql-reply.ts'
import { readSqlRequest, type SqlRequest } from './sql-request.ts'

export type SqlDoorParts = {
  readonly settings: Pick<Settings, 'query'>
  readonly world: World
  readonly catalog: Catalog
  readonly runner: QueryRunner
  readonly queries: QueryList
  readonly seconds: HistogramMetric
  /** Aborts when the process stops taking queries. */
  readonly stopping: AbortSignal
}

const BODY_BYTES_MAX = 8 * 1024 * 1024

export function addSqlRoutes(app: FastifyInstance, parts: SqlDoorParts): void {
  const { queries, catalog, world } = parts
  const read = { config: { right: 'read' }, bodyLimit: BODY_BYTES_MAX } as const
  app.addContentTypeParser(['text/plain', 'application/sql'], { parseAs: 'string' }, (_request, body, done) =>
    done(null, body),
  )

  app.post('/v1/sql', read, (request, reply) => answer(parts, request, reply))
  app.get('/v1/sql', read, (request, reply) => answer(parts, request, reply))

  app.get('/v1/queries', read, async (request) => ({
    queries: queries
      .all()
      .filter((query) => isOwn(request, query))
      .map((query) => listed(query, world)),
  }))
  app.get<{ Params: { id: string } }>('/v1/queries/:id', read, async (request) =>
    listed(findQuery(queries, request, request.params.id), world),
  )
  app.delete<{ Params: { id: string } }>('/v1/queries/:id', read, async (request, reply) => {
    const query = findQuery(queries, request, request.params.id)
    query.abort.abort(new MillraceError('query-cancelled', 'the query was cancelled by request'))
    return reply.code(202).send({ query_id: query.queryId, state: 'cancelling' })
  })

  app.get('/v1/tables', read, async (request) => {
    const names = (await catalog.listTables()).map((table) => table.name).filter((name) => mayRead(request, name))
    const versions = await catalog.readTables(names)
    return {
      tables: versions.map((version) => ({
        name: version.table.name,
        version: version.version.toString(),
        freshness_ms: freshnessMs(version),
        columns: version.table.schemas.at(-1)?.columns.filter((column) => !isHidden(column)).length ?? 0,
        segments_live: version.segments.length,
      })),
    }
  })
  app.get<{ Params: { table: string } }>('/v1/tables/:table', read, async (request) => {
    const name = request.params.table.toLowerCase()
    checkTableAccess(request, name)
    const [version] = await catalog.readTables([name])
    const schema = version.table.schemas.at(-1)
    return {
      name,
      version: version.version.toString(),
      location: version.table.location,
      metadata_location: version.metadataLocation ?? null,
      freshness_ms: freshnessMs(version),
      schema_id: schema?.schemaId ?? null,
      columns: (schema?.columns ?? []).map((column) => ({
        name: column.name,
        type: formatColumnType(column.type),
        required: column.required,
        field_id: column.fieldId,
        hidden: isHidden(column),
      })),
      segments_live: version.segments.length,
      rows_in_segments: version.segments.reduce((sum, segment) => sum + segment.rowCount, 0),
      sources: sourcesOf(version),
    }
  })
}

async function answer(parts: SqlDoorParts, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { world, queries, settings } = parts
  const sqlRequest = readSqlRequest({
    contentType: request.headers['content-type'],
    accept: request.headers.accept,
    body: request.body,
    query: request.query as Readonly<Record<string, unknown>>,
  })
  if (parts.stopping.aborted) throw new MillraceError('shutting-down', 'this process is stopping')
  const queryId = sqlRequest.query_id ?? world.random.uuid()
  const abort = new AbortController()
  const entry: ListedQuery = {
    queryId,
    sql: sqlRequest.sql,
    format: sqlRequest.format,
    startedAt: world.clock.nowMicros(),
    abort,
    owner: request.token?.name,
    door: 'http',
    state: 'waiting',
    bytesSent: 0,
  }
  queries.add(entry)
  const startedMs = world.clock.monotonicMs()
  const { raw } = reply
  const onClose = () => {
    if (!raw.writableFinished) abort.abort(new MillraceError('query-cancelled', 'the client went away'))
  }
  raw.once('close', onClose)
  const sqlReply = createSqlReply({
    raw,
    format: sqlRequest.format,
    queryId,
    withSources: sqlRequest.sources === true,
    takeOver: () => reply.hijack(),
  })
  let outcome = 'ok'
  let end: Omit<QueryEnd, 'endedAt'> = { rows: undefined, error: undefined, isCancelled: false }
  try {
    const result = await parts.runner.run(
      {
        queryId,
        sql: sqlRequest.sql,
        params: sqlRequest.params ?? [],
        format: sqlRequest.format,
        timezone: sqlRequest.session?.timezone,
        ...limitsOf(sqlRequest, settings.query, request.token?.limits),
        entrant: entrantOf(sqlRequest, request.token),
        atVersions: versionsByTable(sqlRequest.at_version),
        waitFor: versionsByTable(sqlRequest.wait_for),
        checkTable: (name) => checkTableAccess(request, name),
        caller: { name: request.token?.name, isAdmin: isAdmin(request) },
      },
      {
        onState(state) {
          entry.state = state
        },
        onColumns: (columns, facts) => sqlReply.onColumns(columns, facts),
        async onChunk(chunk) {
          await sqlReply.onChunk(chunk)
          entry.bytesSent = sqlReply.bytesSent
        },
      },
      abort.signal,
    )
    end = { ...end, rows: result.result.rowCount }
    await sqlReply.finish(result, world.clock.monotonicMs() - startedMs)
    entry.bytesSent = sqlReply.bytesSent
    return reply
  } catch (thrown) {
    const error = asMillraceError(thrown)
    outcome = error.code
    const { code, message } = errorBody(error, queryId).error as { code: string; message: string }
    end = { ...end, error: { code, message }, isCancelled: error.code === 'query-cancelled' }
    if (error.kind === 'internal') world.log.error('query failed', { queryId, error: thrown })
    if (sqlReply.fail(error)) return reply
    return sendError(reply, error, queryId)
  } finally {
    raw.off('close', onClose)
    queries.remove(entry, { ...end, endedAt: world.clock.nowMicros() })
    parts.seconds.observe((world.clock.monotonicMs() - startedMs) / 1000, { outcome, format: sqlRequest.format })
  }
}

function sendError(reply: FastifyReply, error: MillraceError, queryId: string): FastifyReply {
  if (error.status === 429 || error.status === 503) reply.header('retry-after', retryAfterOf(error))
  return reply
    .code(error.status)
    .header('x-millrace-query-id', queryId)
    .type('application/json')
    .send(errorBody(error, queryId))
}

function versionsByTable(given: SqlRequest['at_version']): Map<string, bigint> {
  return new Map(Object.entries(given ?? {}).map(([name, version]) => [name.toLowerCase(), BigInt(version)]))
}

/** The token's limits stand in place of the settings'; a request may only lower them. */
function limitsOf(request: SqlRequest, settings: Settings['query'], own: TokenLimits = {}) {
  const rowsMax = own.rows ?? settings.rowsMax
  const timeoutMs = own.timeoutMs ?? settings.timeoutMs
  return {
    rowsMax: Math.min(request.max_rows ?? rowsMax, rowsMax),
    bytesMax: own.resultBytes ?? settings.resultBytesMax,
    timeoutMs: Math.min(request.timeout_ms ?? timeoutMs, timeoutMs),
    scanBytesMax: own.scanBytes ?? settings.scanBytesMax,
  }
}

function entrantOf(request: SqlRequest, token: Token | undefined): Entrant {
  return {
    user: token?.name,
    priority: token?.limits?.priority ?? request.priority ?? 'interactive',
    userConcurrentMax: token?.limits?.concurrent,
    userQueueMax: token?.limits?.queue,
  }
}

/** A token sees and cancels its own queries; an admin's all of them. */
function isOwn(request: FastifyRequest, query: ListedQuery): boolean {
  return isAdmin(request) || query.owner === request.token?.name
}

/** Without tokens everybody is. */
function isAdmin({ token }: FastifyRequest): boolean {
  return token === undefined || token.rights.includes('admin')
}

function findQuery(queries: QueryList, request: FastifyRequest, queryId: string): ListedQuery {
  const query = queries.find(queryId)
  if (query && isOwn(request, query)) return query
  throw new MillraceError('not-found', `no query with the id ${queryId} runs here`)
}

function mayRead(request: FastifyRequest, table: string): boolean {
  try {
    checkTableAccess(request, table)
    return true
  } catch (error) {
    if (isMillraceError(error, 'forbidden')) return false
    throw error
  }
}

function listed(query: ListedQuery, world: World): Record<string, unknown> {
  return {
    query_id: query.queryId,
    sql: query.sql,
    format: query.format,
    state: query.state,
    elapsed_ms: Number((world.clock.nowMicros() - query.startedAt) / 1000n),
    bytes_sent: query.bytesSent,
    cancelling: query.abort.signal.aborted,
  }
}
