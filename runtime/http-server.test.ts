/** What every service's HTTP server promises: health, who may call, how errors leave. No socket is opened here. */
import { describe, expect, it } from 'vitest'
import { MillraceError } from '../schemas/errors.ts'
import type { Token } from '../schemas/settings.ts'
import { createHealth } from './health.ts'
import { checkTableAccess } from './http-access.ts'
import { createHttpServer } from './http-server.ts'
import { createMetrics } from './metrics.ts'
import { createTestWorld } from './test-world.ts'

function serve(tokens: readonly Token[] = []) {
  const world = createTestWorld()
  const health = createHealth()
  const { app } = createHttpServer({
    settings: { tls: { cert: undefined, key: undefined }, tokens, shutdownMs: 1000 },
    world,
    service: 'query',
    health,
    metrics: createMetrics({ service: 'query' }),
    listen: { host: '127.0.0.1', port: 0 },
    bodyBytesMax: 100,
  })
  app.get('/read', { config: { right: 'read' } }, async () => 'read')
  app.post('/write', { config: { right: 'write' } }, async () => 'written')
  app.post('/undeclared', async () => 'done')
  app.get('/t/:table', { config: { right: 'read' } }, async (request) => {
    checkTableAccess(request, (request.params as { table: string }).table)
    return 'seen'
  })
  app.get('/fails', { config: { right: 'read' } }, async () => {
    throw new MillraceError('undefined-table', 'no table "x"', { facts: { table: 'x', version: 7n, code: 'mine' } })
  })
  app.get('/bug', { config: { right: 'read' } }, async () => {
    throw new TypeError('secret detail')
  })
  return { app, health, world }
}

const token = (name: string, rights: Token['rights'], tables?: string[]): Token => ({
  name,
  token: `${name}-0123456789abcdef`,
  rights,
  tables,
})
const basic = (user: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})
const bearer = (name: string) => ({ authorization: `Bearer ${name}-0123456789abcdef` })

describe('health', () => {
  it('is 200 while degraded and 503 while unhealthy, with reasons, the worst first', async () => {
    const { app, health } = serve()
    const ready = async () => {
      const { statusCode, payload } = await app.inject('/readyz')
      return [statusCode, JSON.parse(payload)]
    }
    expect(await ready()).toEqual([200, { status: 'healthy', reasons: [] }])
    health.component('flush').degraded('200 live segments')
    expect(await ready()).toEqual([
      200,
      { status: 'degraded', reasons: [{ component: 'flush', status: 'degraded', reason: '200 live segments' }] },
    ])
    const broker = health.component('broker')
    broker.unhealthy('no broker answers')
    const [status, report] = await ready()
    expect(status).toBe(503)
    expect(report.status).toBe('unhealthy')
    expect(report.reasons.map((reason: { component: string }) => reason.component)).toEqual(['broker', 'flush'])
    broker.healthy()
    health.remove('flush')
    expect(await ready()).toEqual([200, { status: 'healthy', reasons: [] }])
  })

  it('metrics have process numbers and requests', async () => {
    const { app } = serve()
    await app.inject('/read')
    const { payload } = await app.inject('/metrics')
    expect(payload).toContain('process_cpu_user_seconds_total')
    expect(payload).toContain(
      'millrace_http_request_seconds_count{service="query",method="GET",route="/read",status="200"} 1',
    )
  })
})

describe('who may call', () => {
  const tokens = [token('reader', ['read'], ['flights']), token('writer', ['write']), token('boss', ['admin'])]

  it.each([
    ['GET', '/read', {}, 401],
    ['GET', '/read', { authorization: 'Bearer wrong' }, 401],
    ['GET', '/read', basic('me', 'wrong'), 401],
    ['GET', '/read', { authorization: 'Basic !' }, 401],
    ['GET', '/read', { authorization: `Basic ${Buffer.from('no colon').toString('base64')}` }, 401],
    ['GET', '/read', basic('anybody', bearer('reader').authorization.slice('Bearer '.length)), 200],
    ['GET', '/read', { authorization: 'Basic reader-0123456789abcdef' }, 401],
    ['GET', '/read', bearer('reader'), 200],
    ['GET', '/read', bearer('writer'), 200],
    ['POST', '/write', bearer('reader'), 403],
    ['POST', '/write', bearer('writer'), 200],
    ['POST', '/undeclared', bearer('writer'), 403],
    ['POST', '/undeclared', bearer('boss'), 200],
    ['GET', '/t/flights', bearer('reader'), 200],
    ['GET', '/t/others', bearer('reader'), 403],
    ['GET', '/t/others', bearer('boss'), 200],
    ['GET', '/metrics', {}, 401],
    ['GET', '/healthz', {}, 200],
    ['GET', '/readyz', {}, 200],
  ] as const)('with tokens: %s %s %j is answered %d', async (method, url, headers, status) => {
    expect((await serve(tokens).app.inject({ method, url, headers })).statusCode).toBe(status)
  })

  it.each([
    ['POST', {}, 200],
    ['POST', { host: 'localhost:8080', origin: 'http://localhost:8080' }, 200],
    ['POST', { host: 'localhost:8080', origin: 'http://evil.example' }, 403],
    ['POST', { host: 'localhost:8080', origin: 'null' }, 403],
    ['POST', { host: 'rebound.example:8080' }, 403],
    ['POST', { host: '127.0.0.1.evil.example' }, 403],
    ['POST', { host: '[::1]:8080' }, 200],
  ] as const)('without tokens: %s with %j is answered %d', async (method, headers, status) => {
    const request = { method, url: '/write', headers: { host: '127.0.0.1:1', ...headers } }
    expect((await serve().app.inject(request)).statusCode).toBe(status)
  })
})

describe('errors', () => {
  it('carry SQLSTATE, class, message and facts that cannot hide them', async () => {
    const { statusCode, payload } = await serve().app.inject('/fails')
    expect(statusCode).toBe(404)
    expect(JSON.parse(payload)).toEqual({
      error: { code: '42P01', class: 'undefined_table', message: 'no table "x"', table: 'x', version: '7' },
    })
  })

  it('of ours stay inside and are logged once', async () => {
    const { app, world } = serve()
    const { statusCode, payload } = await app.inject('/bug')
    expect(statusCode).toBe(500)
    expect(payload).not.toContain('secret detail')
    expect(JSON.parse(payload).error.class).toBe('internal')
    expect(world.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  })

  it.each([
    [{ method: 'GET', url: '/nowhere?x=1' }, 404, 'not_found'],
    [{ method: 'POST', url: '/write', payload: { a: 'x'.repeat(200) } }, 413, 'request_too_large'],
    [
      { method: 'POST', url: '/write', payload: '{', headers: { 'content-type': 'application/json' } },
      400,
      'request_invalid',
    ],
    [{ method: 'POST', url: '/write', payload: 'x', headers: { 'content-type': 'a/b' } }, 415, 'request_invalid'],
  ] as const)('of HTTP itself have our form: %j', async (request, status, name) => {
    const { statusCode, payload } = await serve().app.inject({ ...request })
    expect([statusCode, JSON.parse(payload).error.class]).toEqual([status, name])
  })
})
