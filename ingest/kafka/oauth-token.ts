/**
 * Tokens for SASL OAUTHBEARER, by client credentials (RFC 6749, 4.4): each connection that is opened, and each renewal of a session,
 * asks the endpoint for one. Connections are few and live long, so nothing is kept. What fails is the broker's trouble to those
 * who wait, and tried again with the connection; neither secret nor token is in any message.
 */
import { readFileSync } from 'node:fs'
import { MillraceError } from '../../schemas/errors.ts'

export type OauthEndpoint = {
  readonly endpoint: string
  readonly clientId: string
  readonly clientSecret: string
  readonly scope: string | undefined
  /** PEM file, for the endpoint's certificate. */
  readonly ca: string | undefined
}

const TIMEOUT_MS = 10_000

export async function fetchToken({ endpoint, clientId, clientSecret, scope, ca }: OauthEndpoint): Promise<string> {
  const basic = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) })
  // Loaded by those who need it.
  const { Agent, request } = await import('undici')
  const dispatcher = ca === undefined ? undefined : new Agent({ connect: { ca: readFileSync(ca) } })
  try {
    const { statusCode, body } = await request(endpoint, {
      method: 'POST',
      headers: {
        authorization: `Basic ${Buffer.from(basic).toString('base64')}`,
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
      },
      body: form.toString(),
      headersTimeout: TIMEOUT_MS,
      bodyTimeout: TIMEOUT_MS,
      ...(dispatcher ? { dispatcher } : {}),
    })
    const text = await body.text()
    if (statusCode !== 200) throw tokenError(`${endpoint} answered ${statusCode} to a request for a token`)
    return tokenOf(endpoint, text)
  } catch (cause) {
    if (cause instanceof MillraceError) throw cause
    const why = cause instanceof Error && 'code' in cause ? String(cause.code) : 'no answer'
    throw tokenError(`no token from ${endpoint}: ${why}`, cause)
  } finally {
    await dispatcher?.close()
  }
}

function tokenOf(endpoint: string, text: string): string {
  let token: unknown
  try {
    token = (JSON.parse(text) as { access_token?: unknown }).access_token
  } catch {
    // Said below, without the answer: it may hold a token.
  }
  if (typeof token === 'string' && token !== '') return token
  throw tokenError(`${endpoint} answered without an access_token`)
}

function tokenError(message: string, cause?: unknown): MillraceError {
  return new MillraceError('broker-unavailable', message, { cause })
}
