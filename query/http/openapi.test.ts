// The document has every route of the service, and nothing else.
import { expect, test } from 'vitest'
import { createHealth } from '../../runtime/health.ts'
import { createHttpServer } from '../../runtime/http-server.ts'
import { createMetrics } from '../../runtime/metrics.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { openApiDocument } from './openapi.ts'
import { addSqlRoutes, type SqlDoorParts } from './sql-door.ts'

const OF_EVERY_SERVICE = ['GET /healthz', 'GET /readyz', 'GET /metrics']

test('routes and document are the same', () => {
  const server = createHttpServer({
    settings: { tls: { cert: undefined, key: undefined }, tokens: [], shutdownMs: 1000 },
    world: createTestWorld(),
    service: 'query',
    health: createHealth(),
    metrics: createMetrics({ service: 'query' }),
    listen: { host: '127.0.0.1', port: 0 },
  })
  const routes = new Set(OF_EVERY_SERVICE)
  server.app.addHook('onRoute', ({ method, url, onRequest }) => {
    // Those with a hook of their own only say that a method is not possible.
    if (onRequest !== undefined || method === 'HEAD' || method === 'OPTIONS') return
    for (const each of [method].flat()) routes.add(`${each} ${url.replace(/:(\w+)/g, '{$1}')}`)
  })
  // No handler is called.
  addSqlRoutes(server.app, {} as SqlDoorParts)
  const { paths } = openApiDocument() as { paths: Record<string, Record<string, unknown>> }
  const documented = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item)
      .filter((key) => key !== 'parameters')
      .map((method) => `${method.toUpperCase()} ${path}`),
  )
  expect(documented.sort()).toEqual([...routes].sort())
})
