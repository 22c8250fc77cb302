/**
 * GET requests to a schema registry, told apart by what the asker is to do:
 *
 *   200                               the JSON body, never longer than asked for
 *   404 with the registry's own code  `absent`: 40401 subject, 40402 version, 40403 schema
 *   too long                          `too-long`
 *   anything else                     `registry-unavailable`: no connection, no answer in time, 5xx, 429, refused credentials, a
 *                                     404 from something that is no registry, no JSON. All of these can be put right outside,
 *                                     and what stands behind the answer is then read as if nothing had been
 *
 * Every address is asked, beginning with the one that answered last, and all of them again after a back-off. One that says
 * "absent" may be a follower that is behind: all are asked, twice, before that is believed.
 */
import type { Agent, Dispatcher } from 'undici'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { RegistrySettings } from './registry-settings.ts'

export type RegistryReply =
  | { readonly kind: 'found'; readonly body: unknown; readonly bytes: number }
  | { readonly kind: 'absent'; readonly message: string }
  | { readonly kind: 'too-long' }

export type RegistryRequests = {
  /** `path` begins with a slash. Throws `registry-unavailable`, or the signal's reason. */
  get(path: string, options: { readonly bytesMax: number; readonly signal?: AbortSignal }): Promise<RegistryReply>
  close(): Promise<void>
}

const BACK_OFF_MS = [100, 500, 2000]
const ABSENT_ROUNDS = 2
const ABSENT_CODES = [40401, 40402, 40403]
const MESSAGE_CHARACTERS_MAX = 200
const ACCEPT = 'application/vnd.schemaregistry.v1+json, application/json'

export function createRegistryRequests(components: { settings: RegistrySettings; world: World }): RegistryRequests {
  const { settings, world } = components
  let agent: Promise<Agent> | undefined
  let preferred = 0

  /** With the first request: most services have no registry, and loading the client takes a fifth of their start. */
  async function openAgent(): Promise<Agent> {
    const { Agent } = await import('undici')
    return new Agent({
      connections: 4,
      connect: { ...definedOnly(settings.tls), timeout: settings.timeoutMs },
      headersTimeout: settings.timeoutMs,
      bodyTimeout: settings.timeoutMs,
    })
  }

  async function get(
    path: string,
    { bytesMax, signal }: { readonly bytesMax: number; readonly signal?: AbortSignal },
  ): Promise<RegistryReply> {
    agent ??= openAgent()
    const dispatcher = await agent
    let trouble = ''
    let absent: RegistryReply | undefined
    for (let round = 0; round < settings.attempts; round += 1) {
      if (round > 0) await world.clock.sleep(BACK_OFF_MS[Math.min(round, BACK_OFF_MS.length) - 1], signal)
      if (absent !== undefined && round >= ABSENT_ROUNDS) return absent
      for (let index = 0; index < settings.urls.length; index += 1) {
        const which = (preferred + index) % settings.urls.length
        const url = settings.urls[which]
        try {
          const reply = await getOnce(dispatcher, settings, url + path, bytesMax, signal)
          if (reply.kind === 'absent') {
            absent = reply
            continue
          }
          preferred = which
          return reply
        } catch (error) {
          signal?.throwIfAborted()
          trouble = `schema registry ${url}: ${error instanceof Error ? describe(error) : String(error)}`
        }
      }
    }
    if (absent !== undefined) return absent
    throw new MillraceError('registry-unavailable', trouble)
  }

  return { get, close: async () => (await agent)?.destroy() }
}

async function getOnce(
  dispatcher: Dispatcher,
  settings: RegistrySettings,
  url: string,
  bytesMax: number,
  signal: AbortSignal | undefined,
): Promise<RegistryReply> {
  const { request } = await import('undici')
  const time = AbortSignal.timeout(settings.timeoutMs)
  const response = await request(url, {
    dispatcher,
    headers: { accept: ACCEPT, ...(settings.authorization ? { authorization: settings.authorization } : {}) },
    signal: signal ? AbortSignal.any([signal, time]) : time,
  })
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > bytesMax) {
      response.body.destroy()
      if (response.statusCode === 200) return { kind: 'too-long' }
      throw new Error(`answered ${response.statusCode} with more than ${bytesMax} bytes`)
    }
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  const body = parseJson(text)
  if (response.statusCode === 200) {
    if (body === undefined) throw new Error('answered 200 with something that is no JSON: is this a schema registry?')
    return { kind: 'found', body, bytes: length }
  }
  const { code, message } = errorOf(body)
  if (response.statusCode === 404 && ABSENT_CODES.includes(code)) return { kind: 'absent', message }
  throw new Error(
    response.statusCode === 401 || response.statusCode === 403
      ? `refused our credentials (${response.statusCode})`
      : response.statusCode === 404
        ? 'answered 404 without a registry\'s error code: check the path of "schema.registry.url"'
        : `answered ${response.statusCode}${message === '' ? '' : ` ${message}`}`,
  )
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function errorOf(body: unknown): { code: number; message: string } {
  if (typeof body !== 'object' || body === null) return { code: 0, message: '' }
  const { error_code: code, message } = body as { error_code?: unknown; message?: unknown }
  return {
    code: typeof code === 'number' ? code : 0,
    message: typeof message === 'string' ? message.slice(0, MESSAGE_CHARACTERS_MAX) : '',
  }
}

function describe(error: Error): string {
  if (error.name === 'TimeoutError' || /Timeout/.test(error.name)) return 'no answer in time'
  const { code } = error as { code?: unknown }
  return error.message !== '' ? error.message : typeof code === 'string' ? code : error.name
}

function definedOnly<T extends object>(object: T | undefined): Partial<T> {
  const entries = Object.entries(object ?? {}).filter(([, value]) => value !== undefined)
  return Object.fromEntries(entries) as Partial<T>
}
