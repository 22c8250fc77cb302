/**
 * The Kafka Connect REST API on the ingest service: its paths, status codes, content types and error bodies.
 *
 *   GET    /                                          version, commit, Kafka cluster
 *   GET    /connectors?expand=status&expand=info      POST: 201, 409 where the name is taken
 *   GET    /connectors/{c}                            DELETE: 204
 *   GET    /connectors/{c}/config                     PUT: 201 or 200, PATCH: 200
 *   GET    /connectors/{c}/status
 *   PUT    /connectors/{c}/pause  /resume: 202        PUT /connectors/{c}/stop: 204
 *   POST   /connectors/{c}/restart?includeTasks&onlyFailed       204, or 202 with what is going to happen
 *   GET    /connectors/{c}/tasks  /tasks/{t}/status   POST /connectors/{c}/tasks/{t}/restart: 204
 *   GET    /connectors/{c}/topics                     PUT /connectors/{c}/topics/reset: 202
 *   GET    /connectors/{c}/offsets                    PATCH, DELETE: when stopped; ?allowDuplicates=true reads again
 *   GET    /connector-plugins?connectorsOnly          GET …/{p}/config    PUT …/{p}/config/validate
 *   GET    /admin/loggers  /admin/loggers/{name}
 *
 * Looking needs the right `read`, changing `admin`. Who sends a body says `application/json`.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest, HTTPMethods } from 'fastify'
import type { Log } from '../../../runtime/world.ts'
import { MillraceError } from '../../../schemas/errors.ts'
import { isOurClass } from '../config/check-connector.ts'
import { CONVERTER_CLASSES } from '../config/converters.ts'
import { CONNECTOR_CLASS } from '../config/definitions.ts'
import type { ConnectApi } from './connect-api.ts'
import { VERSION } from './connector-views.ts'
import { createRequest, offsetsRequest, parseJson, patchOf, propertiesOf } from './request-bodies.ts'
import { notFound, RestError, restErrorOf } from './rest-errors.ts'
import { definitionsView } from './validation-view.ts'

export type ConnectPlugins = {
  /** Class names of transforms and predicates, and the definitions of one of them. */
  readonly transforms: readonly string[]
  readonly predicates: readonly string[]
  definitions(className: string): readonly unknown[] | undefined
}

const BODY_BYTES_MAX = 4 * 1024 ** 2
const METHODS: readonly HTTPMethods[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE']

type Handler = (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>
type Params = Readonly<Record<string, string>>

export function addConnectRoutes(
  app: FastifyInstance,
  components: {
    api: ConnectApi
    plugins: ConnectPlugins
    log: Log
    /** undefined: no broker answers. */
    clusterId: () => Promise<string | undefined>
    logLevel: string
  },
): void {
  const { api, plugins, log, clusterId, logLevel } = components
  void app.register(async (connect) => {
    connect.setErrorHandler(async (thrown, request, reply) => {
      const { status, body, isBug } = restErrorOf(thrown)
      if (isBug) log.error('request failed', { method: request.method, url: request.url, error: thrown })
      if (status === 401) reply.header('www-authenticate', 'Bearer')
      if (status === 429 || status === 503) reply.header('retry-after', '1')
      return reply.code(status).type('application/json').send(body)
    })
    // As Kafka Connect says it, for clients that compare texts.
    connect.addHook('onSend', async (_request, reply, payload) => {
      if (reply.hasHeader('content-type')) reply.header('content-type', 'application/json')
      return payload
    })
    const routes = new Map<string, Partial<Record<HTTPMethods, Handler>>>()
    const on = (method: HTTPMethods, url: string, handler: Handler) =>
      void routes.set(url, { ...routes.get(url), [method]: handler })
    describeRoutes(on)
    for (const [url, handlers] of routes) {
      for (const method of METHODS) {
        const handler = handlers[method]
        const right = method === 'GET' || url.endsWith('/validate') ? 'read' : 'admin'
        connect.route({
          method,
          url,
          config: { right },
          bodyLimit: BODY_BYTES_MAX,
          preHandler: async (request) => {
            if (right === 'admin') checkMayChange(request)
          },
          // fastify makes HEAD of GET by itself.
          handler: handler ?? (() => Promise.reject(new RestError(405, 'HTTP 405 Method Not Allowed'))),
        })
      }
    }
  })

  function describeRoutes(on: (method: HTTPMethods, url: string, handler: Handler) => void): void {
    const connector = (request: FastifyRequest) => (request.params as Params).connector
    const task = (request: FastifyRequest) => {
      const { task: text } = request.params as Params
      if (!/^\d{1,9}$/.test(text)) throw notFound('HTTP 404 Not Found')
      return Number(text)
    }
    const empty = (status: number, run: (request: FastifyRequest) => Promise<void>): Handler => {
      return async (request, reply) => {
        await run(request)
        return reply.code(status).send()
      }
    }

    on('GET', '/', async () => ({
      version: VERSION,
      commit: 'unknown',
      kafka_cluster_id: (await clusterId()) ?? null,
    }))
    on('GET', '/connectors', (request) => api.list(queryValues(request, 'expand')))
    on('POST', '/connectors', async (request, reply) => {
      const info = await api.create(createRequest(bodyOf(request)))
      return created(request, reply, info.name).send(info)
    })
    const one = '/connectors/:connector'
    on('GET', one, (request) => api.info(connector(request)))
    on(
      'DELETE',
      one,
      empty(204, (request) => api.remove(connector(request))),
    )
    on('GET', `${one}/config`, (request) => api.config(connector(request)))
    on('PUT', `${one}/config`, async (request, reply) => {
      const { created: isNew, info } = await api.putConfig(connector(request), propertiesOf(bodyOf(request)))
      return (isNew ? created(request, reply, connector(request)) : reply).send(info)
    })
    on('PATCH', `${one}/config`, (request) => api.patchConfig(connector(request), patchOf(bodyOf(request))))
    on('GET', `${one}/status`, (request) => api.status(connector(request)))
    on(
      'PUT',
      `${one}/pause`,
      empty(202, (request) => api.setTarget(connector(request), 'paused')),
    )
    on(
      'PUT',
      `${one}/resume`,
      empty(202, (request) => api.setTarget(connector(request), 'running')),
    )
    on(
      'PUT',
      `${one}/stop`,
      empty(204, (request) => api.setTarget(connector(request), 'stopped')),
    )
    on('POST', `${one}/restart`, async (request, reply) => {
      const which = { includeTasks: isAsked(request, 'includeTasks'), onlyFailed: isAsked(request, 'onlyFailed') }
      const status = await api.restart(connector(request), which)
      return status === undefined ? reply.code(204).send() : reply.code(202).send(status)
    })
    on('GET', `${one}/tasks`, (request) => api.tasks(connector(request)))
    on('GET', `${one}/tasks/:task/status`, async (request) => api.taskStatus(connector(request), task(request)))
    on(
      'POST',
      `${one}/tasks/:task/restart`,
      empty(204, async (request) => api.restartTask(connector(request), task(request))),
    )
    on('GET', `${one}/topics`, (request) => api.topics(connector(request)))
    on(
      'PUT',
      `${one}/topics/reset`,
      empty(202, (request) => api.resetTopics(connector(request))),
    )
    on('GET', `${one}/offsets`, (request) => api.offsets(connector(request)))
    const asking = (request: FastifyRequest) => ({
      allowDuplicates: isAsked(request, 'allowDuplicates'),
      requestedBy: request.token?.name ?? 'local',
    })
    on('PATCH', `${one}/offsets`, (request) =>
      api.alterOffsets(connector(request), offsetsRequest(bodyOf(request)), asking(request)),
    )
    on('DELETE', `${one}/offsets`, (request) => api.alterOffsets(connector(request), 'all', asking(request)))

    on('GET', '/connector-plugins', async (request) => {
      const own = [{ class: CONNECTOR_CLASS, type: 'sink', version: VERSION }]
      if (queryValues(request, 'connectorsOnly').at(-1) !== 'false') return own
      const plugin = (type: string) => (className: string) => ({ class: className, type, version: VERSION })
      return [
        ...own,
        ...CONVERTER_CLASSES.map(plugin('converter')),
        ...plugins.transforms.map(plugin('transformation')),
        ...plugins.predicates.map(plugin('predicate')),
      ]
    })
    on('GET', '/connector-plugins/:plugin/config', async (request) => {
      const { plugin } = request.params as Params
      if (isOurClass(plugin)) return definitionsView()
      const definitions = plugins.definitions(plugin)
      if (definitions) return definitions
      throw notFound(`Unknown plugin ${plugin}.`)
    })
    on('PUT', '/connector-plugins/:plugin/config/validate', async (request) =>
      api.validate((request.params as Params).plugin, propertiesOf(bodyOf(request))),
    )

    const root = { level: logLevel.toUpperCase(), last_modified: null }
    on('GET', '/admin/loggers', async () => ({ root }))
    on('GET', '/admin/loggers/:logger', async (request) => {
      const { logger } = request.params as Params
      if (logger === 'root') return root
      throw notFound(`Logger ${logger} not found.`)
    })
    on('PUT', '/admin/loggers/:logger', async () => {
      throw new RestError(403, 'levels are set by log.level in the settings')
    })
    for (const below of ['/connectors/*', '/connector-plugins/*', '/admin/*']) {
      for (const method of METHODS) on(method, below, () => Promise.reject(notFound('HTTP 404 Not Found')))
    }
  }
}

/** A token that is kept to some tables may not decide what flows into others. */
function checkMayChange(request: FastifyRequest): void {
  if (request.token?.tables === undefined) return
  throw new MillraceError(
    'forbidden',
    `token "${request.token.name}" is kept to some tables and may not change connectors`,
  )
}

function bodyOf(request: FastifyRequest): unknown {
  const type = request.headers['content-type']
  if (type !== undefined && !/^application\/json\s*(?:;|$)/i.test(type)) {
    throw new RestError(415, 'HTTP 415 Unsupported Media Type')
  }
  return parseJson(request.body instanceof Uint8Array ? request.body : new Uint8Array())
}

function created(request: FastifyRequest, reply: FastifyReply, name: string): FastifyReply {
  const base = `${request.protocol}://${request.headers.host ?? 'localhost'}`
  return reply.code(201).header('location', `${base}/connectors/${encodeURIComponent(name)}`)
}

function queryValues(request: FastifyRequest, name: string): readonly string[] {
  const value = (request.query as Readonly<Record<string, string | string[] | undefined>>)[name]
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

function isAsked(request: FastifyRequest, name: string): boolean {
  return queryValues(request, name).at(-1)?.toLowerCase() === 'true'
}
