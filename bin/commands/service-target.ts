/**
 * Where a command finds a service, and a request to it: the address that was given, or that of the settings. Our own
 * certificate of the settings is trusted when the address is of the settings too.
 *
 * The HTTP client is loaded when there is something to ask: it takes a fifth of a CPU-s that no other command shall pay.
 */
import { readFileSync } from 'node:fs'
import type { Agent, Dispatcher } from 'undici'
import { MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'

export type ServiceTarget = { readonly url: string; readonly dispatcher: Agent }

export async function serviceTarget(
  service: 'ingest' | 'query',
  given: string | undefined,
  settingsInForce: () => Pick<Settings, 'listen' | 'tls'>,
): Promise<ServiceTarget> {
  const { Agent } = await import('undici')
  if (given !== undefined) return { url: given.replace(/\/+$/, ''), dispatcher: new Agent() }
  const settings = settingsInForce()
  const { host, port } = settings.listen[service]
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host
  if (settings.tls.cert === undefined) return { url: `http://${name}:${port}`, dispatcher: new Agent() }
  return { url: `https://${name}:${port}`, dispatcher: new Agent({ connect: { ca: readFileSync(settings.tls.cert) } }) }
}

/** POST with JSON; without a time limit, as answers may take long. */
export async function postJson(
  service: 'ingest' | 'query',
  target: ServiceTarget,
  path: string,
  token: string | undefined,
  body: unknown,
  signal?: AbortSignal,
): Promise<Dispatcher.ResponseData> {
  const type = { 'content-type': 'application/json' }
  return send(service, target, path, token, { method: 'POST', headers: type, body: JSON.stringify(body), signal })
}

export async function getJson(
  service: 'ingest' | 'query',
  target: ServiceTarget,
  path: string,
  token: string | undefined,
): Promise<Dispatcher.ResponseData> {
  return sendJson(service, target, path, token, 'GET')
}

/** Without a body. */
export async function sendJson(
  service: 'ingest' | 'query',
  target: ServiceTarget,
  path: string,
  token: string | undefined,
  method: 'GET' | 'DELETE',
): Promise<Dispatcher.ResponseData> {
  return send(service, target, path, token, { method, headers: {} })
}

async function send(
  service: 'ingest' | 'query',
  { url, dispatcher }: ServiceTarget,
  path: string,
  token: string | undefined,
  {
    headers,
    ...options
  }: { method: 'GET' | 'POST' | 'DELETE'; headers: Record<string, string>; body?: string; signal?: AbortSignal },
): Promise<Dispatcher.ResponseData> {
  const { request } = await import('undici')
  return request(`${url}${path}`, {
    ...options,
    headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    dispatcher,
    headersTimeout: 0,
    bodyTimeout: 0,
  }).catch((error: Error) => {
    if (options.signal?.aborted) throw error
    const why = 'code' in error ? String(error.code) : error.message
    throw new MillraceError(
      'store-unavailable',
      `no ${service} service answers at ${url} (${why}); is "millrace up" running?`,
    )
  })
}
