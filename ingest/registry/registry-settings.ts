/**
 * Where a schema registry is and how to speak to it, read from a converter's settings by the names that Confluent's
 * converters know (`value.converter.` and the like are taken off by whoever calls):
 *
 *   schema.registry.url                     one or more addresses, separated by commas; they may carry user:password@
 *   basic.auth.credentials.source           URL (default) or USER_INFO; basic.auth.user.info: user:password
 *   bearer.auth.credentials.source          STATIC_TOKEN; bearer.auth.token
 *   schema.registry.ssl.truststore.*        location (a PEM file) or certificates (PEM text)
 *   schema.registry.ssl.keystore.*          location (a PEM file with certificate and key), or certificate.chain and key
 *   schema.registry.ssl.key.password        of that key
 *   schema.registry.request.timeout.ms      of one request; default 10000
 *
 * The names of Java key stores (`JKS`, `PKCS12`) are refused: their files are of no use to others than Java.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { withoutPassword } from '../../schemas/url-password.ts'

export type RegistrySettings = {
  /** Base addresses without user and password, tried in order; each answers for the same schemas. */
  readonly urls: readonly string[]
  /** Value of the header `authorization`. A secret. */
  readonly authorization: string | undefined
  readonly tls: RegistryTls | undefined
  /** Of one request, from connecting to the last byte. */
  readonly timeoutMs: number
  /** Times that each address is asked before the registry counts as away. */
  readonly attempts: number
  /** Of one schema together with those it refers to. */
  readonly schemaBytesMax: number
  readonly referencesMax: number
  readonly cacheEntriesMax: number
  readonly cacheBytesMax: number
}

/** PEM texts. */
export type RegistryTls = {
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly passphrase: string | undefined
}

export const REGISTRY_DEFAULTS = {
  timeoutMs: 10_000,
  attempts: 3,
  schemaBytesMax: 4 * 1024 * 1024,
  referencesMax: 200,
  cacheEntriesMax: 1000,
  cacheBytesMax: 64 * 1024 * 1024,
} as const

const URLS_MAX = 20
const TIMEOUT_MS_MAX = 600_000
const PREFIX = 'schema.registry.'

/** `readText` gives a file's text, and throws where it may or can not be read. Throws `settings-invalid`. */
export function registrySettings(
  settings: Readonly<Record<string, string>>,
  readText: (path: string) => string,
): RegistrySettings {
  /** Both spellings are in use: with `schema.registry.` and without. */
  const setting = (name: string): string | undefined => {
    const value = settings[PREFIX + name] ?? settings[name]
    return value === undefined || value === '' ? undefined : value
  }
  const addresses = (settings['schema.registry.url'] ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
  if (addresses.length === 0) throw invalid('"schema.registry.url" is missing: expected http(s)://host:port[/path]')
  if (addresses.length > URLS_MAX) throw invalid(`"schema.registry.url" has more than ${URLS_MAX} addresses`)
  const urls = addresses.map(parseAddress)
  return {
    ...REGISTRY_DEFAULTS,
    urls: urls.map((url) => `${url.protocol}//${url.host}${url.pathname.replace(/\/+$/, '')}`),
    authorization: authorizationOf(urls, setting),
    tls: tlsOf(setting, readText),
    timeoutMs: timeoutOf(setting('request.timeout.ms')),
  }
}

type Setting = (name: string) => string | undefined

function parseAddress(address: string): URL {
  const url = URL.parse(address)
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.search !== '' || url.hash !== '') {
    throw invalid(`"schema.registry.url": expected http(s)://host:port[/path], found "${withoutPassword(address)}"`)
  }
  return url
}

function authorizationOf(urls: readonly URL[], setting: Setting): string | undefined {
  const bearer = setting('bearer.auth.credentials.source')
  if (bearer !== undefined) {
    if (bearer.toUpperCase() !== 'STATIC_TOKEN') {
      throw invalid(`"bearer.auth.credentials.source": expected STATIC_TOKEN, found "${bearer}"`)
    }
    const token = setting('bearer.auth.token')
    if (token === undefined || !/^[\x21-\x7e]+$/.test(token))
      throw invalid('"bearer.auth.token" is missing or no token')
    return `Bearer ${token}`
  }
  const source = (setting('basic.auth.credentials.source') ?? 'URL').toUpperCase()
  if (source === 'USER_INFO') {
    const user = setting('basic.auth.user.info')
    if (user === undefined || !user.includes(':')) throw invalid('"basic.auth.user.info": expected user:password')
    return `Basic ${Buffer.from(user, 'utf8').toString('base64')}`
  }
  if (source !== 'URL') throw invalid(`"basic.auth.credentials.source": expected URL or USER_INFO, found "${source}"`)
  const withUser = urls.find((url) => url.username !== '' || url.password !== '')
  if (withUser === undefined) return undefined
  const { username, password } = withUser
  if (urls.some((url) => url.username !== '' && (url.username !== username || url.password !== password))) {
    throw invalid('"schema.registry.url": all addresses must carry the same user and password')
  }
  return `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`, 'utf8').toString('base64')}`
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function tlsOf(setting: Setting, readText: (path: string) => string): RegistryTls | undefined {
  const store = (name: string): string | undefined => {
    const type = setting(`ssl.${name}.type`)
    const location = setting(`ssl.${name}.location`)
    if (location === undefined) return undefined
    if (type?.toUpperCase() !== 'PEM' && !/\.(?:pem|crt|cer)$/i.test(location)) {
      throw invalid(
        `"schema.registry.ssl.${name}.type": expected PEM, found ${type ?? 'nothing'}; convert the key store`,
      )
    }
    return readText(location)
  }
  const trusted = setting('ssl.truststore.certificates') ?? store('truststore')
  const own = store('keystore')
  const cert = setting('ssl.keystore.certificate.chain') ?? own
  const key = setting('ssl.keystore.key') ?? own
  if (trusted === undefined && cert === undefined && key === undefined) return undefined
  for (const [name, text] of [
    ['truststore', trusted],
    ['keystore', cert],
    ['keystore', key],
  ] as const) {
    if (text !== undefined && !text.includes('-----BEGIN ')) {
      throw invalid(`"schema.registry.ssl.${name}": expected PEM text (-----BEGIN …), found something else`)
    }
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw invalid('"schema.registry.ssl.keystore": a client certificate needs both certificate.chain and key')
  }
  return { ca: trusted, cert, key, passphrase: setting('ssl.key.password') }
}

function timeoutOf(text: string | undefined): number {
  if (text === undefined) return REGISTRY_DEFAULTS.timeoutMs
  const ms = Number(text)
  if (!Number.isInteger(ms) || ms < 1 || ms > TIMEOUT_MS_MAX) {
    throw invalid(`"schema.registry.request.timeout.ms": expected 1 to ${TIMEOUT_MS_MAX}, found "${text}"`)
  }
  return ms
}

function invalid(message: string): MillraceError {
  return new MillraceError('settings-invalid', message)
}
