/**
 * Where a command finds a service, and a request to it: the address that was given, or that of the settings. Our own
 * certificate of the settings is trusted when the address is of the settings too.
 */
import { readFileSync } from 'node:fs'
import { Agent, type Dispatcher, request } from 'undici'
import { MillraceError } from '../../schemas/errors.ts'
import type { Settings } from '../../schemas/settings.ts'

export type ServiceTarget = { readonly url: string; readonly dispatcher: Agent }

export function serviceTarget(
  service: 'ingest' | 'query',
  given: string | undefined,
  settingsInForce: () => Pick<Settings, 'listen' | 'tls'>,
): ServiceTarget {
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
  { url, dispatcher }: ServiceTarget,
  path: string,
  token: string | undefined,
  body: unknown,
): Promise<Dispatcher.ResponseData> {
  return request(`${url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
    dispatcher,
    headersTimeout: 0,
    bodyTimeout: 0,
  }).catch((error: Error) => {
    const why = 'code' in error ? String(error.code) : error.message
    throw new MillraceError(
      'store-unavailable',
      `no ${service} service answers at ${url} (${why}); is "millrace up" running?`,
    )
  })
}
