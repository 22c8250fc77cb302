/**
 * Ingest reads from brokers by TLS, mutual TLS, and SASL PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER: our own fetch
 * connections as the group's. Wrong credentials are said in words, tried again, and heal; no secret is in a log or a reply.
 */
import { execFileSync } from 'node:child_process'
import { pbkdf2Sync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { WireReader, WireWriter } from '../../ingest/kafka/wire.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { openLink } from '../harness/kafka-admin.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer } from '../harness/produce.ts'

const TOPIC = 'secure'
const SECRET = 'ada-secret-words'
const ROWS = 20
const ALTER_USER_SCRAM_CREDENTIALS = 51
const SCRAM_ITERATIONS = 4096
let folder: string
let kafka: KafkaBroker
let tokens: Server
let tokenUrl: string

const openssl = (...args: string[]) => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })

function makeCertificates(): void {
  const ca = (name: string) =>
    openssl(
      ...`req -x509 -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.pem -days 2 -subj /CN=${name}`.split(' '),
    )
  ca('ca')
  ca('stranger')
  writeFileSync(join(folder, 'san.txt'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
  for (const name of ['broker', 'client']) {
    openssl(...`req -newkey rsa:2048 -nodes -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`.split(' '))
    openssl(
      ...`x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out ${name}.pem -days 2 -extfile san.txt`.split(
        ' ',
      ),
    )
  }
  const read = (file: string) => readFileSync(join(folder, file), 'utf8')
  writeFileSync(join(folder, 'broker-keystore.pem'), read('broker.key') + read('broker.pem'))
}

/** Client credentials for tokens that the broker's own unsecured validator takes. */
async function startTokenEndpoint(): Promise<void> {
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  tokens = createServer((request, response) => {
    const isRight = request.headers.authorization === `Basic ${Buffer.from(`ada:${SECRET}`).toString('base64')}`
    const seconds = Math.floor(Date.parse(new Date().toISOString()) / 1000)
    const token = `${base64({ alg: 'none' })}.${base64({ sub: 'ada', iat: seconds, exp: seconds + 3600 })}.`
    response.writeHead(isRight ? 200 : 401, { 'content-type': 'application/json' })
    response.end(JSON.stringify(isRight ? { access_token: token, token_type: 'bearer', expires_in: 3600 } : {}))
  })
  await new Promise<void>((resolve) => tokens.listen(0, '127.0.0.1', resolve))
  const address = tokens.address()
  tokenUrl = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}/token`
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-security-'))
  makeCertificates()
  await startTokenEndpoint()
  const scram = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
  const plain = `org.apache.kafka.common.security.plain.PlainLoginModule required user_ada="${SECRET}";`
  const oauth =
    'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";'
  kafka = await startKafka({
    listeners: { TLS: 'SSL', MTLS: 'SSL', PLAINSASL: 'SASL_PLAINTEXT', SCRAM: 'SASL_SSL', OAUTH: 'SASL_PLAINTEXT' },
    properties: {
      'ssl.keystore.type': 'PEM',
      'ssl.keystore.location': join(folder, 'broker-keystore.pem'),
      'ssl.truststore.type': 'PEM',
      'ssl.truststore.location': join(folder, 'ca.pem'),
      'listener.name.mtls.ssl.client.auth': 'required',
      'listener.name.plainsasl.sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.plainsasl.plain.sasl.jaas.config': plain,
      'listener.name.scram.sasl.enabled.mechanisms': 'SCRAM-SHA-256,SCRAM-SHA-512',
      'listener.name.scram.scram-sha-256.sasl.jaas.config': scram,
      'listener.name.scram.scram-sha-512.sasl.jaas.config': scram,
      'listener.name.oauth.sasl.enabled.mechanisms': 'OAUTHBEARER',
      'listener.name.oauth.oauthbearer.sasl.jaas.config': oauth,
    },
  })
  await kafka.createTopic(TOPIC, 2)
  await using producer = await createProducer(kafka.bootstrap)
  const records = Array.from({ length: ROWS }, (_, id) => ({ value: JSON.stringify({ id }) }))
  await producer.send(TOPIC, 0, records)
})

afterAll(async () => {
  tokens?.close()
  await kafka?.[Symbol.asyncDispose]()
  if (folder) rmSync(folder, { recursive: true, force: true })
})

/** AlterUserScramCredentials, version 0: one mechanism a request. */
async function addScramUser(mechanism: { number: number; digest: string; bytes: number }): Promise<void> {
  const body = new WireWriter().compactArray([], () => {})
  body.compactArray([mechanism], ({ number, digest, bytes }) => {
    const salt = Buffer.from(`salt-of-${digest}`)
    const salted = pbkdf2Sync(SECRET, salt, SCRAM_ITERATIONS, bytes, digest)
    body.compactString('ada').int8(number).int32(SCRAM_ITERATIONS).compactBytes(salt).compactBytes(salted).noTags()
  })
  const link = await openLink(kafka.bootstrap)
  try {
    const reader = new WireReader(await link.request(ALTER_USER_SCRAM_CREDENTIALS, 0, body.noTags().bytes()))
    reader.int32()
    const told: unknown[] = []
    reader.compactArray(() => {
      told.push([reader.compactString(), reader.int16(), reader.compactNullableString()])
      reader.skipTags()
    })
    expect(told).toEqual([['ada', 0, null]])
  } finally {
    link.close()
  }
}

function settingsFor(listener: string, security: Readonly<Record<string, string>>): string {
  const lines = Object.entries(security).map(([name, value]) => `kafka.security.${name}: ${JSON.stringify(value)}`)
  return `
kafka.bootstrap: ["${kafka.listeners[listener]}"]
${lines.join('\n')}
flush.interval.ms: 50
tables:
  events:
    columns: { id: long required }
pipelines:
  main: { topics: [${TOPIC}], tables: [events] }
`
}

type Readiness = { status: string; reasons: { component: string; reason: string }[] }
const readiness = async (millrace: Millrace) =>
  (await (await fetch(`${millrace.url('ingest')}/readyz`)).json()) as Readiness

async function committed(millrace: Millrace): Promise<number> {
  const metrics = await (await fetch(`${millrace.url('ingest')}/metrics`)).text()
  return Number(/^millrace_flush_rows_total\{.*\} (\d+)/m.exec(metrics)?.[1] ?? 0)
}

async function until(what: string, holds: () => Promise<boolean>, last?: () => Promise<unknown>): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    if (await holds()) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`never came: ${what}; last: ${JSON.stringify(await last?.())}`)
}

const file = (name: string) => join(folder, name)
const CA = () => ({ ca: file('ca.pem') })
const SASL = { username: 'ada', password: SECRET }
const oauth = (secret: string) => ({
  mechanism: 'oauthbearer',
  'oauth.endpoint': tokenUrl,
  'oauth.client-id': 'ada',
  'oauth.client-secret': secret,
})

type Case = {
  readonly name: string
  readonly listener: string
  readonly good: () => Readonly<Record<string, string>>
  readonly bad: () => Readonly<Record<string, string>>
  readonly said: RegExp
}

const CASES: readonly Case[] = [
  {
    name: 'TLS',
    listener: 'TLS',
    good: () => ({ protocol: 'ssl', ...CA() }),
    bad: () => ({ protocol: 'ssl', ca: file('stranger.pem') }),
    said: /certificate|self.signed|issuer/i,
  },
  {
    name: 'mutual TLS',
    listener: 'MTLS',
    good: () => ({ protocol: 'ssl', ...CA(), cert: file('client.pem'), key: file('client.key') }),
    bad: () => ({ protocol: 'ssl', ...CA() }),
    said: /certificate/i,
  },
  {
    name: 'SASL PLAIN',
    listener: 'PLAINSASL',
    good: () => ({ protocol: 'sasl_plaintext', mechanism: 'plain', ...SASL }),
    bad: () => ({ protocol: 'sasl_plaintext', mechanism: 'plain', username: 'ada', password: 'not-the-words' }),
    said: /authentication|credentials/i,
  },
  {
    name: 'SASL OAUTHBEARER',
    listener: 'OAUTH',
    good: () => ({ protocol: 'sasl_plaintext', ...oauth(SECRET) }),
    bad: () => ({ protocol: 'sasl_plaintext', ...oauth('not-the-words') }),
    said: /answered 401 to a request for a token/,
  },
]

for (const { name, listener, good, bad, said } of CASES) {
  test(`${name}: wrong credentials degrade health and say why, right ones read every record, and none is told`, async () => {
    const millrace = await createMillrace({ settings: settingsFor(listener, bad()) })
    try {
      const refused = await millrace.start('ingest')
      await until(
        'the reason',
        async () =>
          (await readiness(millrace)).reasons.some(
            ({ component, reason }) => component === 'pipeline main' && said.test(reason),
          ),
        () => readiness(millrace),
      )
      expect((await readiness(millrace)).status).toBe('degraded')
      expect(await committed(millrace)).toBe(0)
      const told = refused.output() + JSON.stringify(await readiness(millrace))
      await refused.stop()
      writeFileSync(
        millrace.configFile,
        readFileSync(millrace.configFile, 'utf8').split('\nkafka.bootstrap')[0] + settingsFor(listener, good()),
      )
      const allowed = await millrace.start('ingest')
      await until('every record', async () => (await committed(millrace)) === ROWS)
      expect((await readiness(millrace)).status).toBe('healthy')
      for (const secret of [SECRET, 'not-the-words']) expect(told + allowed.output()).not.toContain(secret)
    } finally {
      await millrace.close()
    }
  })
}

test('SASL SCRAM over TLS: a user that is made later heals it by itself, by both mechanisms', async () => {
  const mechanisms = ['scram-sha-256', 'scram-sha-512'] as const
  const all = await Promise.all(
    mechanisms.map(async (mechanism) => {
      const security = { protocol: 'sasl_ssl', mechanism, ...CA(), ...SASL }
      const millrace = await createMillrace({
        settings: `${settingsFor('SCRAM', security)}\nkafka.group: ${mechanism}`,
      })
      return { millrace, ingest: await millrace.start('ingest') }
    }),
  )
  try {
    for (const { millrace } of all) {
      await until('the reason', async () =>
        (await readiness(millrace)).reasons.some(({ reason }) => /authentication/i.test(reason)),
      )
    }
    await addScramUser({ number: 1, digest: 'sha256', bytes: 32 })
    await addScramUser({ number: 2, digest: 'sha512', bytes: 64 })
    for (const { millrace, ingest } of all) {
      await until(
        'every record',
        async () => (await committed(millrace)) === ROWS,
        () => readiness(millrace),
      )
      await until('health', async () => (await readiness(millrace)).status === 'healthy')
      expect(ingest.output()).not.toContain(SECRET)
    }
  } finally {
    for (const { millrace } of all) await millrace.close()
  }
})
