/**
 * The one door to the Kafka client library: connections to brokers, with TLS and SASL done by it, without either by
 * `plain-link.ts`. A request goes out as bytes of ours, its reply comes back as bytes; which request and in which version is
 * `requests.ts`' and `fetch-request.ts`' matter.
 *
 *   openBroker ─▶ TCP, TLS, SASL ─▶ link.request(key, version, body) ─▶ reply
 *
 * A broker answers the requests of one connection in order, and a join or a waiting fetch may take long: whoever waits
 * has a connection of its own. A reply that does not come in time closes the connection, since nothing after it could
 * be trusted to arrive; every failure is `broker-unavailable` with the broker's address, except for wrong credentials.
 */
import { readFileSync } from 'node:fs'
import type { Connection, ConnectionOptions } from '@platformatic/kafka'
import { MillraceError } from '../../schemas/errors.ts'
import { fetchToken, type OauthEndpoint } from './oauth-token.ts'
import { openPlainLink, type PlainLink } from './plain-link.ts'

export type BrokerAddress = { readonly host: string; readonly port: number }

export type KafkaSecurity = {
  readonly protocol: 'plaintext' | 'ssl' | 'sasl_ssl' | 'sasl_plaintext'
  readonly mechanism?: 'plain' | 'scram-sha-256' | 'scram-sha-512' | 'oauthbearer' | undefined
  readonly username?: string | undefined
  readonly password?: string | undefined
  /** PEM file. */
  readonly ca?: string | undefined
  /** PEM files of our own certificate and its key, for brokers that ask for one. */
  readonly cert?: string | undefined
  readonly key?: string | undefined
  readonly keyPassword?: string | undefined
  /** The same as PEM texts. */
  readonly caText?: string | undefined
  readonly certText?: string | undefined
  readonly keyText?: string | undefined
  /** Default true: the name in the broker's certificate is that of the broker. */
  readonly checkName?: boolean | undefined
  /** For `oauthbearer`: who gives tokens. */
  readonly oauth?: Partial<OauthEndpoint> | undefined
}

export type BrokerClientOptions = {
  readonly clientId: string
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly tls: ConnectionOptions['tls']
  readonly sasl: ConnectionOptions['sasl']
}

/** Where the reply's bytes go: memory of at least this length, from position 0. */
export type ReplyMemory = (length: number) => Buffer

export type BrokerLink = {
  readonly address: BrokerAddress
  isOpen(): boolean
  /** The reply without its header. `memory` undefined: fresh memory. */
  request(apiKey: number, version: number, body: Uint8Array, memory?: ReplyMemory): Promise<Buffer>
  close(): void
}

const MECHANISMS = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
  oauthbearer: 'OAUTHBEARER',
} as const
const INFLIGHT_MAX = 16
const API_VERSIONS = 18
/** A broker that misses a client's certificate says so by closing the connection. */
const NO_CERTIFICATE_HINT = '; if it asks for a certificate, set kafka.security.cert and kafka.security.key'

export function brokerClientOptions(settings: {
  clientId: string
  security?: KafkaSecurity | undefined
  connectTimeoutMs: number
  requestTimeoutMs: number
}): BrokerClientOptions {
  const { security } = settings
  const encrypted = security?.protocol === 'ssl' || security?.protocol === 'sasl_ssl'
  const authenticated = security?.protocol === 'sasl_plaintext' || security?.protocol === 'sasl_ssl'
  return {
    clientId: settings.clientId,
    connectTimeoutMs: settings.connectTimeoutMs,
    requestTimeoutMs: settings.requestTimeoutMs,
    tls: encrypted ? tlsOf(security) : undefined,
    sasl: authenticated ? saslOf(security) : undefined,
  }
}

function tlsOf(security: KafkaSecurity): ConnectionOptions['tls'] {
  const read = (name: string, path: string | undefined) => (path === undefined ? undefined : readPem(name, path))
  return {
    ca: security.caText ?? read('ca', security.ca),
    cert: security.certText ?? read('cert', security.cert),
    key: security.keyText ?? read('key', security.key),
    passphrase: security.keyPassword,
    ...(security.checkName === false ? { checkServerIdentity: () => undefined } : {}),
  }
}

function saslOf(security: KafkaSecurity): NonNullable<ConnectionOptions['sasl']> {
  const { protocol, mechanism = 'plain', username, password, oauth } = security
  if (mechanism === 'oauthbearer') {
    if (oauth?.endpoint === undefined || oauth.clientId === undefined || oauth.clientSecret === undefined) {
      throw new MillraceError(
        'settings-invalid',
        'kafka.security.mechanism oauthbearer needs kafka.security.oauth.endpoint, oauth.client-id and oauth.client-secret',
      )
    }
    const { endpoint, clientId, clientSecret, scope, ca } = oauth
    const full = { endpoint, clientId, clientSecret, scope, ca }
    return { mechanism: MECHANISMS.oauthbearer, token: () => fetchToken(full) }
  }
  if (username === undefined || password === undefined) {
    throw new MillraceError(
      'settings-invalid',
      `kafka.security.protocol ${protocol} needs kafka.security.username and kafka.security.password`,
    )
  }
  return { mechanism: MECHANISMS[mechanism], username, password }
}

function readPem(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new MillraceError('settings-invalid', `kafka.security.${name}: cannot read ${path}`, { cause })
  }
}

export function parseBrokerAddress(text: string): BrokerAddress {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:/]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (!match || port < 1 || port > 65_535) {
    throw new MillraceError('settings-invalid', `kafka.bootstrap: expected host:port, found ${JSON.stringify(text)}`)
  }
  return { host: match[1] ?? match[2], port }
}

export function addressText(address: BrokerAddress): string {
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

export async function openBroker(address: BrokerAddress, options: BrokerClientOptions): Promise<BrokerLink> {
  if (options.tls === undefined && options.sasl === undefined) {
    const plain = openPlainLink(address.host, address.port, options)
    return plainLinkOf(
      await plain.catch((cause: unknown) => {
        throw brokerError(address, cause)
      }),
      address,
    )
  }
  // Loaded when it is needed: it takes 0.4 CPU-seconds and 45 MB.
  const { Connection: LibraryConnection, Writer } = await import('@platformatic/kafka')
  const connection = new LibraryConnection(options.clientId, {
    connectTimeout: options.connectTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    maxInflights: INFLIGHT_MAX,
    tls: options.tls,
    tlsServerName: options.tls === undefined || isAddressLiteral(address.host) ? undefined : address.host,
    sasl: options.sasl,
  })
  const isTlsWithoutCertificate = options.tls !== undefined && options.tls.cert === undefined
  const hint = isTlsWithoutCertificate ? NO_CERTIFICATE_HINT : ''
  // The library emits errors also when nobody waits; each request sees its own failure.
  connection.on('error', () => {})
  try {
    await connection.connect(address.host, address.port)
  } catch (cause) {
    closeQuietly(connection)
    throw brokerError(address, cause, hint)
  }
  return linkOf(connection, address, hint, (body) => Writer.create().append(Buffer.from(body)))
}

function plainLinkOf(link: PlainLink, address: BrokerAddress): BrokerLink {
  return {
    address,
    isOpen: link.isOpen,
    close: link.close,
    async request(apiKey, version, body, memory = Buffer.allocUnsafe) {
      try {
        return await link.request(apiKey, version, body, hasTags(apiKey), memory)
      } catch (cause) {
        throw brokerError(address, cause)
      }
    },
  }
}

/** ApiVersions answers with the oldest header for ever, so that any client can read it. */
function hasTags(apiKey: number): boolean {
  return apiKey !== API_VERSIONS
}

function linkOf(
  connection: Connection,
  address: BrokerAddress,
  hint: string,
  write: (body: Uint8Array) => ReturnType<Parameters<Connection['send']>[2]>,
): BrokerLink {
  let open = true
  connection.once('close', () => {
    open = false
  })
  function close(): void {
    open = false
    closeQuietly(connection)
  }
  function request(apiKey: number, version: number, body: Uint8Array, memory?: ReplyMemory): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (!open) {
        reject(brokerError(address, new Error('connection closed')))
        return
      }
      connection.send<Buffer>(
        apiKey,
        version,
        () => write(body),
        (_correlation, _key, _version, reader) =>
          gather(reader.buffer.buffers, reader.position, reader.buffer.length, memory),
        true,
        hasTags(apiKey),
        (error, reply) => {
          if (error) {
            close()
            reject(brokerError(address, error, hint))
          } else resolve(reply as Buffer)
        },
      )
    })
  }
  return { address, isOpen: () => open && connection.isConnected(), request, close }
}

/** The pieces that came off the socket, side by side: the one copy between socket and records. */
function gather(pieces: readonly Buffer[], from: number, length: number, memory: ReplyMemory | undefined): Buffer {
  const target = memory === undefined ? Buffer.allocUnsafe(length - from) : memory(length - from)
  let passed = 0
  let written = 0
  for (const piece of pieces) {
    const start = Math.max(from - passed, 0)
    passed += piece.length
    if (start >= piece.length) continue
    written += piece.copy(target, written, start)
  }
  return target.subarray(0, written)
}

function closeQuietly(connection: Connection): void {
  try {
    connection.close(() => {})
    connection.socket?.destroy()
  } catch {
    // It never was open.
  }
}

function isAddressLiteral(host: string): boolean {
  return host.includes(':') || /^\d{1,3}(\.\d{1,3}){3}$/.test(host)
}

function brokerError(address: BrokerAddress, cause: unknown, hint = ''): MillraceError {
  const innermost = innermostMessage(cause)
  const why = /closed/i.test(innermost) ? `${innermost}${hint}` : innermost
  return new MillraceError('broker-unavailable', `broker ${addressText(address)}: ${why}`, {
    cause,
    facts: { broker: addressText(address) },
  })
}

/** The library wraps: the socket's or the server's own words are at the bottom. */
function innermostMessage(error: unknown): string {
  let message = String(error)
  let each: unknown = error
  while (each instanceof Error) {
    if (each.message !== '') message = each.message
    each = each instanceof AggregateError && each.errors.length > 0 ? each.errors[0] : each.cause
  }
  return message
}
