/**
 * `consumer.override.*`: what the Java consumer of a Connect worker would be told. What has a counterpart here is honoured,
 * what only tells Java how to run is refused by name: a setting that somebody relies on is never dropped without a word.
 */
import { listOf } from './config-value.ts'
import type { ConsumerConfig, ConsumerSecurity } from './connector-config.ts'
import type { Findings } from './findings.ts'
import { jaasOptions } from './secret-references.ts'
import { readTls } from './tls-properties.ts'

const PREFIX = 'consumer.override.'

const REFUSED = new Map<string, string>(
  Object.entries({
    'max.poll.records':
      'records come in batches as they lie in the log; millrace.rate.rows.max bounds how many a second',
    'fetch.min.bytes': 'a reply is wanted as soon as there are records',
    'max.partition.fetch.bytes': 'the share of a topic-partition follows from fetch.max.bytes',
    'enable.auto.commit': 'positions are committed with the rows, in the lake',
    'auto.commit.interval.ms': 'positions are committed with the rows, in the lake',
    'partition.assignment.strategy': 'topic-partitions are spread by the group’s own protocol of Millrace',
    'group.protocol': 'the classic protocol is used',
    'group.instance.id': 'members are dynamic',
    'key.deserializer': 'use key.converter',
    'value.deserializer': 'use value.converter',
    'interceptor.classes': 'no Java runs here',
    'client.rack': 'records come from leaders',
  }),
)

export function readConsumer(findings: Findings, connector: string): ConsumerConfig {
  const read = (name: string) => findings.read(`${PREFIX}${name}`)?.trim()
  const reset = read('auto.offset.reset')
  if (reset !== undefined && reset !== 'earliest' && reset !== 'latest') {
    findings.invalid(`${PREFIX}auto.offset.reset`, 'String must be one of: earliest, latest')
  }
  const isolation = read('isolation.level')
  if (isolation !== undefined && isolation.toLowerCase() !== 'read_committed') {
    findings.invalid(`${PREFIX}isolation.level`, 'expected read_committed: aborted records never become rows')
  }
  const groupId = read('group.id')
  if (groupId === '') findings.invalid(`${PREFIX}group.id`, 'String may not be empty')
  const bootstrap = read('bootstrap.servers')
  const brokers = bootstrap === undefined ? undefined : listOf(bootstrap)
  if (
    brokers &&
    (brokers.length === 0 || brokers.some((each) => !/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(each)))
  ) {
    findings.invalid(`${PREFIX}bootstrap.servers`, 'expected host:port, several separated by commas')
  }
  const milliseconds = (name: string, min = 1) => readNumber(findings, name, min, 2 ** 31 - 1)
  const config: ConsumerConfig = {
    groupId: groupId || `connect-${connector}`,
    autoOffsetReset: reset === 'earliest' || reset === 'latest' ? reset : undefined,
    bootstrap: brokers,
    clientId: read('client.id') || undefined,
    fetchBytesMax: readNumber(findings, 'fetch.max.bytes', 65_536, 2 ** 30),
    fetchWaitMs: milliseconds('fetch.max.wait.ms', 0),
    sessionTimeoutMs: milliseconds('session.timeout.ms', 500),
    heartbeatMs: milliseconds('heartbeat.interval.ms'),
    rebalanceTimeoutMs: milliseconds('max.poll.interval.ms'),
    requestTimeoutMs: milliseconds('request.timeout.ms'),
    connectTimeoutMs: milliseconds('socket.connection.setup.timeout.ms'),
    retryMs: milliseconds('retry.backoff.ms'),
    retryMaxMs: milliseconds('retry.backoff.max.ms'),
    topicsRefreshMs: milliseconds('metadata.max.age.ms', 100),
    security: readSecurity(findings),
  }
  refuseTheRest(findings)
  return config
}

function readNumber(findings: Findings, name: string, min: number, max: number): number | undefined {
  const text = findings.read(`${PREFIX}${name}`)?.trim()
  if (text === undefined) return undefined
  const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  findings.invalid(`${PREFIX}${name}`, `expected a whole number between ${min} and ${max}`)
  return undefined
}

const PROTOCOLS = ['plaintext', 'ssl', 'sasl_plaintext', 'sasl_ssl'] as const

function readSecurity(findings: Findings): ConsumerSecurity | undefined {
  const given = findings.read(`${PREFIX}security.protocol`)
  const tls = readTls(findings, PREFIX)
  const sasl = readSasl(findings)
  if (given === undefined) {
    if (sasl !== undefined || Object.keys(tls).length > 0) {
      findings.error(`${PREFIX}security.protocol`, 'expected SSL, SASL_SSL or SASL_PLAINTEXT beside ssl.* and sasl.*')
    }
    return undefined
  }
  const protocol = PROTOCOLS.find((each) => each === given.trim().toLowerCase())
  if (protocol === undefined) {
    findings.invalid(
      `${PREFIX}security.protocol`,
      `String must be one of: ${PROTOCOLS.map((each) => each.toUpperCase()).join(', ')}`,
    )
    return undefined
  }
  if (protocol.startsWith('sasl') && sasl === undefined) {
    findings.error(`${PREFIX}sasl.jaas.config`, `expected user and password beside ${given.trim()}, found nothing`)
  }
  return { protocol, sasl: protocol.startsWith('sasl') ? sasl : undefined, tls }
}

const MECHANISMS = {
  PLAIN: 'plain',
  'SCRAM-SHA-256': 'scram-sha-256',
  'SCRAM-SHA-512': 'scram-sha-512',
  OAUTHBEARER: 'oauthbearer',
} as const
const CALLBACKS = /OAuthBearerLoginCallbackHandler$/

function readSasl(findings: Findings): ConsumerSecurity['sasl'] {
  const name = `${PREFIX}sasl.mechanism`
  const jaasName = `${PREFIX}sasl.jaas.config`
  const given = findings.read(name)?.trim().toUpperCase()
  const jaas = findings.read(jaasName)
  const tokenUrl = findings.read(`${PREFIX}sasl.oauthbearer.token.endpoint.url`)?.trim()
  const callback = findings.read(`${PREFIX}sasl.login.callback.handler.class`)
  if (given === undefined && jaas === undefined) return undefined
  const mechanism = Object.entries(MECHANISMS).find(([each]) => each === given)?.[1]
  if (mechanism === undefined) {
    const expected = `String must be one of: ${Object.keys(MECHANISMS).join(', ')}`
    if (given === undefined) findings.error(name, `${expected}; found nothing`)
    else findings.invalid(name, expected)
    return undefined
  }
  const options = new Map(jaasOptions(jaas ?? ''))
  const option = (key: string): string => {
    const value = options.get(key)
    if (value === undefined) findings.error(jaasName, `expected ${key}="…" in ${jaasName}, found none`)
    return value ?? ''
  }
  if (mechanism !== 'oauthbearer') {
    return { mechanism, username: option('username'), password: option('password') }
  }
  if (callback !== undefined && !CALLBACKS.test(callback.trim())) {
    findings.invalid(`${PREFIX}sasl.login.callback.handler.class`, 'expected OAuthBearerLoginCallbackHandler')
  }
  if (tokenUrl === undefined || !/^https?:\/\//.test(tokenUrl)) {
    findings.error(
      `${PREFIX}sasl.oauthbearer.token.endpoint.url`,
      'expected an http:// or https:// address beside OAUTHBEARER',
    )
  }
  return {
    mechanism,
    tokenUrl: tokenUrl ?? '',
    clientId: option('clientId'),
    clientSecret: option('clientSecret'),
    scope: options.get('scope'),
  }
}

function refuseTheRest(findings: Findings): void {
  const unused = new Set(findings.unused())
  for (const name of findings.names(PREFIX)) {
    if (!unused.has(name)) continue
    findings.read(name)
    const why = REFUSED.get(name.slice(PREFIX.length))
    findings.error(name, `${name} cannot be honoured${why === undefined ? '' : `: ${why}`}; take it away`)
  }
}
