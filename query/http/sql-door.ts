/**
 * SQL over HTTP:
 *
 *   POST /v1/sql            one SELECT; JSON body {sql, params, format, timeout_ms, max_rows, session, query_id}, or the text
 *   GET  /v1/sql?q=…        the same, for browsers and spreadsheets
 *   /v1/queries, /v1/tables, /ping, /openapi.json   beside it
 *
 * A client that goes away cancels its query. Limits may be lowered by a request, never raised. Bodies are taken strictly
 * (`strict-json.ts`), in UTF-8 only.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import type { Catalog } from '../../lake/catalog/catalog.ts'
import { checkTableAccess } from '../../runtime/http-access.ts'
import { retryAfterOf } from '../../runtime/http-server.ts'
import type { HistogramMetric } from '../../runtime/metrics.ts'
import type { World } from '../../runtime/world.ts'
import { asMillraceError, MillraceError } from '../../schemas/errors.ts'
import type { Settings, Token, TokenLimits } from '../../schemas/settings.ts'
import type { Entrant } from '../run/admission.ts'
import type { ListedQuery, QueryEnd, QueryList } from '../run/query-list.ts'
import type { QueryRunner } from '../run/run-query.ts'
import { takesGzip } from './accept.ts'
import { onDisconnect } from './disconnect.ts'
import { hintFor } from './error-hints.ts'
import { openApiDocument } from './openapi.ts'
import { addQueryRoutes, isAdmin } from './query-routes.ts'
import { createSqlReply, errorBody } from './sql-reply.ts'
import { atVersionsOf, readSqlRequest, type SqlRequest, waitForOf } from './sql-request.ts'
import { strictJson, strictText } from './strict-json.ts'
import { addTableRoutes, readableTables } from './table-routes.ts'

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
  addBodyParsers(app)
  app.post('/v1/sql', read, (request, reply) => answer(parts, request, reply))
  app.get('/v1/sql', read, (request, reply) => answer(parts, request, reply))
  addQueryRoutes(app, { queries, world })
  addTableRoutes(app, { catalog })
  app.get('/ping', { config: { right: 'open' } }, async () => ({ status: 'ok' }))
  const document = JSON.stringify(openApiDocument())
  app.get('/openapi.json', { config: { right: 'open' } }, async (_, reply) =>
    reply.type('application/json').send(document),
  )
  refuseOtherMethods(app)
}

function addBodyParsers(app: FastifyInstance): void {
  const text = (request: FastifyRequest, body: Buffer): string => {
    const encoding = request.headers['content-encoding']
    if (encoding !== undefined && encoding.toLowerCase() !== 'identity') {
      throw new MillraceError('request-invalid', `content-encoding: expected a body as it is, found ${encoding}`)
    }
    const charset = /;\s*charset\s*=\s*"?([^";\s]*)/i.exec(request.headers['content-type'] ?? '')?.[1]
    if (charset !== undefined && !/^(utf-?8|us-ascii)$/i.test(charset)) {
      throw new MillraceError('request-invalid', `content-type: expected charset utf-8, found ${charset}`)
    }
    return strictText(body)
  }
  app.removeContentTypeParser(['application/json', 'text/plain'])
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) =>
    body.length === 0 ? undefined : strictJson(text(request, body), 'the body'),
  )
  app.addContentTypeParser(
    ['text/plain', 'application/sql'],
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => text(request, body),
  )
}

const ALLOWED: Readonly<Record<string, readonly HTTPMethods[]>> = {
  '/v1/sql': ['GET', 'HEAD', 'POST'],
  '/v1/queries': ['GET', 'HEAD'],
  '/v1/queries/:id': ['GET', 'HEAD', 'DELETE'],
  '/v1/tables': ['GET', 'HEAD'],
  '/v1/tables/:table': ['GET', 'HEAD'],
  '/ping': ['GET', 'HEAD'],
  '/openapi.json': ['GET', 'HEAD'],
  '/healthz': ['GET', 'HEAD'],
  '/readyz': ['GET', 'HEAD'],
  '/metrics': ['GET', 'HEAD'],
}
const METHODS: readonly HTTPMethods[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE', 'QUERY']

/** OPTIONS says what there is, and nothing that would let a page of another origin in. */
function refuseOtherMethods(app: FastifyInstance): void {
  const open = { config: { right: 'open' } } as const
  for (const [url, allowed] of Object.entries(ALLOWED)) {
    const allow = [...allowed, 'OPTIONS'].join(', ')
    app.options(url, open, async (_, reply) => reply.code(204).header('allow', allow).send())
    app.route({
      ...open,
      url,
      method: METHODS.filter((method) => !allowed.includes(method)),
      // Answered before a body is read.
      async onRequest(request, reply) {
        reply.header('allow', allow)
        throw new MillraceError('method-not-allowed', `${request.method} is not possible here; there are ${allow}`)
      },
      async handler() {},
    })
  }
}

async function answer(parts: SqlDoorParts, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const { world, queries, settings } = parts
  checkEscapes(request.raw.url ?? '')
  const sqlRequest = readSqlRequest({
    contentType: request.headers['content-type'],
    accept: request.headers.accept,
    body: request.body,
    query: request.query as Readonly<Record<string, unknown>>,
  })
  const atVersions = atVersionsOf(sqlRequest)
  const waitFor = waitForOf(sqlRequest)
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
  const stopListening = onDisconnect(request.raw.socket, () => {
    if (!raw.writableFinished) abort.abort(new MillraceError('query-cancelled', 'the client went away'))
  })
  const limits = limitsOf(sqlRequest, settings.query, request.token?.limits)
  const checkTable = (name: string) => checkTableAccess(request, name)
  const sqlReply = createSqlReply({
    raw,
    format: sqlRequest.format,
    queryId,
    withSources: sqlRequest.sources === true,
    gzip: takesGzip(headerText(request.headers['accept-encoding'])),
    drainMs: limits.timeoutMs,
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
        wideNumbers: sqlRequest.int64 === 'number',
        timezone: sqlRequest.session?.timezone,
        ...limits,
        entrant: entrantOf(sqlRequest, request.token),
        atVersions,
        waitFor,
        checkTable,
        caller: { name: request.token?.name, isAdmin: isAdmin(request) },
      },
      {
        onState(state) {
          entry.state = state
        },
        onProgress(progress) {
          entry.progress = progress
        },
        onColumns: (columns, facts) => sqlReply.onColumns(columns, facts),
        async onChunk(chunk) {
          await sqlReply.onChunk(chunk)
          entry.bytesSent = sqlReply.bytesSent
        },
      },
      abort.signal,
    )
    // Who is cancelled while the last bytes wait for the client gets none of them.
    abort.signal.addEventListener('abort', () => raw.destroy())
    await sqlReply.finish(result, world.clock.monotonicMs() - startedMs)
    end = { rows: result.result.rowCount, error: undefined, isCancelled: abort.signal.aborted }
    return reply
  } catch (thrown) {
    const error = asMillraceError(thrown)
    outcome = error.code
    if (error.kind === 'internal') world.log.error('query failed', { queryId, error: thrown })
    const { code, message } = errorBody(error, queryId).error as { code: string; message: string }
    end = { rows: undefined, error: { code, message }, isCancelled: error.code === 'query-cancelled' }
    if (await sqlReply.fail(error)) return reply
    return await sendError(reply, error, queryId, await hint(parts, error, checkTable))
  } finally {
    stopListening()
    entry.bytesSent = sqlReply.bytesSent
    queries.remove(entry, { ...end, endedAt: world.clock.nowMicros() })
    parts.seconds.observe((world.clock.monotonicMs() - startedMs) / 1000, { outcome, format: sqlRequest.format })
  }
}

async function hint(
  parts: SqlDoorParts,
  error: MillraceError,
  checkTable: (name: string) => void,
): Promise<string | undefined> {
  if (error.code !== 'undefined-table') return hintFor(error, [])
  // A hint is worth one look at the catalog, not another error.
  return hintFor(error, await readableTables(parts.catalog, checkTable).catch(() => []))
}

function sendError(reply: FastifyReply, error: MillraceError, queryId: string, hintText?: string): FastifyReply {
  if (error.status === 429 || error.status === 503) reply.header('retry-after', retryAfterOf(error))
  return reply
    .code(error.status)
    .header('x-millrace-query-id', queryId)
    .header('cache-control', 'no-store')
    .type('application/json')
    .send(errorBody(error, queryId, hintText))
}

/** An escape that is no UTF-8 would be taken for the text of itself. */
function checkEscapes(url: string): void {
  try {
    decodeURIComponent(url)
  } catch (cause) {
    throw new MillraceError('request-invalid', 'the URL has a % that begins no UTF-8 character; write % as %25', {
      cause,
    })
  }
}

function headerText(header: string | string[] | undefined): string | undefined {
  return Array.isArray(header) ? header.join(',') : header
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
    priority: token?.limits?.priority === 'batch' ? 'batch' : (request.priority ?? 'interactive'),
    userConcurrentMax: token?.limits?.concurrent,
    userQueueMax: token?.limits?.queue,
  }
}
