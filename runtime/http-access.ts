/**
 * Who may call what. A route declares the right it needs (`config: { right: 'read' }`); one that declares nothing needs
 * `admin`, so that forgetting is safe; `open` needs none. `admin` includes `write`, which includes `read`.
 *
 *   tokens in the settings      `Authorization: Bearer <token>`, compared in constant time; or Basic with any user and the
 *                               token as the password, for clients that know nothing else (those of Kafka Connect)
 *   none, loopback address      open, but only for programs of this machine: a web page in a browser must not reach it,
 *                               neither across origins (Origin) nor under a name that points here (Host)
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { MillraceError } from '../schemas/errors.ts'
import { isLoopback, type Token, type TokenRight } from '../schemas/settings.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    right?: TokenRight | 'open'
  }
  interface FastifyRequest {
    /** The caller's token; undefined when none are configured. */
    token: Token | undefined
  }
}

export type Access = {
  /** Throws `unauthorized` or `forbidden`; sets `request.token`. */
  check(request: FastifyRequest): void
}

const INCLUDED: Readonly<Record<TokenRight, readonly TokenRight[]>> = {
  read: ['read', 'write', 'admin'],
  write: ['write', 'admin'],
  admin: ['admin'],
}

export function createAccess(tokens: readonly Token[]): Access {
  const digests = tokens.map((token) => ({ token, digest: digestOf(token.token) }))

  /** Looks at every token, so that the time does not tell which one was nearly right. */
  function findToken(text: string): Token | undefined {
    const digest = digestOf(text)
    let found: Token | undefined
    for (const each of digests) if (timingSafeEqual(each.digest, digest)) found = each.token
    return found
  }

  return {
    check(request) {
      const right = request.routeOptions.config?.right ?? 'admin'
      if (right === 'open' || request.is404) return
      if (tokens.length === 0) {
        checkLocalCaller(request)
        return
      }
      const text = tokenText(request.headers.authorization ?? '')
      const token = text === undefined ? undefined : findToken(text)
      if (!token) {
        const found = request.headers.authorization === undefined ? 'none' : 'one that is not known'
        throw new MillraceError('unauthorized', `expected a bearer token, found ${found}`)
      }
      if (!token.rights.some((each) => INCLUDED[right].includes(each))) {
        throw new MillraceError('forbidden', `token "${token.name}" lacks the right "${right}"`)
      }
      request.token = token
    },
  }
}

/** For handlers that know the tables: throws `forbidden` when the caller's token is kept to others. */
export function checkTableAccess(request: FastifyRequest, table: string): void {
  const { token } = request
  if (token?.tables && !token.tables.includes(table)) {
    throw new MillraceError('forbidden', `token "${token.name}" may not use table "${table}"`, { facts: { table } })
  }
}

function tokenText(authorization: string): string | undefined {
  const bearer = /^Bearer +(\S+) *$/i.exec(authorization)
  if (bearer) return bearer[1]
  const basic = /^Basic +([A-Za-z0-9+/=]+) *$/i.exec(authorization)
  if (!basic) return undefined
  const pair = Buffer.from(basic[1], 'base64').toString()
  const colon = pair.indexOf(':')
  return colon < 0 ? undefined : pair.slice(colon + 1)
}

function checkLocalCaller(request: FastifyRequest): void {
  const host = request.headers.host ?? ''
  if (host !== '' && !isLoopback(hostName(host))) {
    throw new MillraceError('forbidden', `expected a loopback name in Host while no tokens are set, found "${host}"`)
  }
  // A page cannot read what it fetches from another origin, but it can make us work. Browsers say where a request comes from.
  const { origin } = request.headers
  const site = request.headers['sec-fetch-site']
  const isForeign =
    origin === undefined ? site === 'cross-site' || site === 'same-site' : origin !== `${request.protocol}://${host}`
  if (isForeign) {
    const page = origin === undefined ? 'a web page of another origin' : `the web page ${origin}`
    throw new MillraceError('forbidden', `requests from ${page} need a token; set "tokens"`)
  }
}

function hostName(host: string): string {
  return host
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
