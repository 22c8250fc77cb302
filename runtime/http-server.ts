/**
 * The HTTP server of every service: fastify with what they share.
 *
 *   GET /healthz   200 while the process lives
 *   GET /readyz    200 healthy or degraded, 503 unhealthy, with reasons
 *   GET /metrics   for Prometheus, needs the right `read`
 *
 * Errors leave as `{"error": {"code": <SQLSTATE>, "class": <our code, with underscores>, "message", …facts}}`; unknown ones are logged, once,
 * and their text stays inside. TLS and tokens come from the settings. `close` takes no new requests and lets the running
 * ones end; past its time the connections are cut.
 */
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
import { asMillraceError, type ErrorCode, errorClass, MillraceError } from '../schemas/errors.ts'
import type { ListenAddress, Settings } from '../schemas/settings.ts'
import type { Health } from './health.ts'
import { createAccess } from './http-access.ts'
import { type Metrics, SECONDS_BUCKETS } from './metrics.ts'
import type { World } from './world.ts'

export type HttpServerOptions = {
  readonly settings: Pick<Settings, 'tls' | 'tokens' | 'shutdownMs'>
  readonly world: World
  readonly service: 'ingest' | 'compactor' | 'query'
  readonly health: Health
  readonly metrics: Metrics
  readonly listen: ListenAddress
  /** Largest body of a request; routes may set their own. Default 8 MiB. */
  readonly bodyBytesMax?: number
}

export type HttpServer = {
  /** Add routes before `listen`. */
  readonly app: FastifyInstance
  /** Starts listening; resolves to `http://127.0.0.1:8080`, with the real port. */
  listen(): Promise<string>
  /** Default time: `shutdown.ms`. */
  close(withinMs?: number): Promise<void>
}

const BODY_BYTES_DEFAULT = 8 * 1024 ** 2
const CONNECTIONS_MAX = 10_000
const URL_LENGTH_MAX = 64 * 1024

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { settings, world, health, metrics, listen } = options
  const app = createApp(settings, options.bodyBytesMax ?? BODY_BYTES_DEFAULT)
  const access = createAccess(settings.tokens)
  const log = world.log.child({ part: 'http' })
  const seconds = metrics.histogram({
    name: 'http_request_seconds',
    help: 'Time from a request to the end of its reply.',
    labels: ['method', 'route', 'status'],
    buckets: SECONDS_BUCKETS,
  })

  app.decorateRequest('token', undefined)
  app.addHook('onRequest', async (request) => access.check(request))
  app.addHook('onResponse', async (request, reply) => {
    const labels = {
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: String(reply.statusCode),
    }
    seconds.observe(reply.elapsedTime / 1000, labels)
  })
  app.setErrorHandler(async (thrown, request, reply) => {
    const { error, status } = errorToShow(thrown)
    if (error.kind === 'internal') {
      log.error('request failed', { method: request.method, url: pathOf(request), error: thrown })
    }
    if (status === 401) reply.header('www-authenticate', 'Bearer')
    if (status === 429 || status === 503) reply.header('retry-after', retryAfterOf(error))
    return reply.code(status).type('application/json').send(errorBody(error))
  })
  app.setNotFoundHandler(async (request, reply) => {
    const error = new MillraceError('not-found', `there is nothing at ${request.method} ${pathOf(request)}`)
    return reply.code(404).type('application/json').send(errorBody(error))
  })

  app.get('/healthz', { config: { right: 'open' } }, async () => ({ status: 'alive', service: options.service }))
  app.get('/readyz', { config: { right: 'open' } }, async (_, reply) => {
    const report = health.report()
    return reply.code(report.status === 'unhealthy' ? 503 : 200).send(report)
  })
  app.get('/metrics', { config: { right: 'read' } }, async (_, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  )

  return {
    app,
    async listen() {
      await app.listen({ host: listen.host, port: listen.port })
      app.server.maxConnections = CONNECTIONS_MAX
      const address = app.server.address()
      const port = address !== null && typeof address === 'object' ? address.port : listen.port
      const scheme = settings.tls.cert === undefined ? 'http' : 'https'
      const host = listen.host === '0.0.0.0' || listen.host === '::' ? 'localhost' : listen.host
      return `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`
    },
    async close(withinMs = settings.shutdownMs) {
      const timer = new AbortController()
      const closing = app.close()
      const cut = world.clock
        .sleep(withinMs, timer.signal)
        .then(() => app.server.closeAllConnections())
        .catch(() => {})
      await closing
      timer.abort()
      await cut
    },
  }
}

function createApp(settings: Pick<Settings, 'tls'>, bodyLimit: number): FastifyInstance {
  const common = {
    logger: false,
    clientErrorHandler: answerBrokenRequest,
    frameworkErrors: (error: Error, _request: FastifyRequest, reply: FastifyReply) => {
      const { error: shown, status } = errorToShow(error)
      void reply.code(status).type('application/json').send(errorBody(shown))
    },
    bodyLimit,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    routerOptions: { maxParamLength: 500 },
    http: { maxHeaderSize: URL_LENGTH_MAX },
  } as const
  const { cert, key } = settings.tls
  if (cert === undefined || key === undefined) return fastify(common)
  const https = { cert: readPem(cert, 'tls.cert'), key: readPem(key, 'tls.key'), maxHeaderSize: URL_LENGTH_MAX }
  return fastify({ ...common, https }) as unknown as FastifyInstance
}

/** What is no HTTP, or has a head that is too large: there is no request yet, so it is answered on the socket. */
function answerBrokenRequest(error: Error & { readonly code?: string }, socket: Socket): void {
  if (socket.destroyed) return
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', `the head of the request is larger than ${URL_LENGTH_MAX} bytes`]
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'the request did not come to its end in time']
        : ['400 Bad Request', 'the request is no HTTP']
  const body = errorBody(new MillraceError('request-invalid', message))
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
}

function readPem(file: string, setting: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new MillraceError('settings-invalid', `${setting}: expected a readable PEM file, found none at ${file}`, {
      cause: error,
    })
  }
}

/** Errors of the HTTP framework itself carry a status; everything else unknown is a bug of ours. */
function errorToShow(thrown: unknown): { error: MillraceError; status: number } {
  if (thrown instanceof MillraceError) return { error: thrown, status: thrown.status }
  const status = thrown instanceof Error && 'statusCode' in thrown ? Number(thrown.statusCode) : 500
  if (status >= 400 && status < 500) {
    const code: ErrorCode = status === 413 ? 'request-too-large' : 'request-invalid'
    return { error: new MillraceError(code, (thrown as Error).message.toLowerCase(), { cause: thrown }), status }
  }
  if (status === 503) return { error: new MillraceError('shutting-down', 'this process is stopping'), status }
  return { error: new MillraceError('internal', 'internal error; the log has it', { cause: thrown }), status: 500 }
}

/** Seconds for `Retry-After`: what whoever refused it thinks, else one. */
export function retryAfterOf({ facts }: MillraceError): string {
  return typeof facts.retryAfterS === 'number' ? String(facts.retryAfterS) : '1'
}

/** The JSON text of an error. Also for doors that write to the socket themselves. */
export function errorBody(thrown: unknown): string {
  const error = asMillraceError(thrown)
  const shown = { ...error.facts, code: error.sqlstate, class: errorClass(error.code), message: error.message }
  return JSON.stringify({ error: shown }, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value))
}

function pathOf(request: FastifyRequest): string {
  const question = request.url.indexOf('?')
  return question < 0 ? request.url : request.url.slice(0, question)
}
