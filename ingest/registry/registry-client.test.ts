import { X509Certificate } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { TLSSocket } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { createCertificate } from '../../runtime/certificate.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSchemaRegistryClient, type SchemaRegistryClient } from './registry-client.ts'
import { type RegistrySettings, registrySettings } from './registry-settings.ts'

type Answer = { readonly status?: number; readonly body?: unknown; readonly text?: string; readonly never?: boolean }

type Fake = {
  url: string
  asked: string[]
  heads: IncomingMessage['headers'][]
  certificates: (string | undefined)[]
}

const opened: { close(): unknown }[] = []
afterEach(async () => {
  for (const each of opened.splice(0)) await each.close()
})

/** A registry that answers as told, by path; counts what it was asked. */
async function fake(answers: Record<string, Answer | Answer[]>, tls?: object): Promise<Fake> {
  const asked: string[] = []
  const heads: IncomingMessage['headers'][] = []
  const certificates: (string | undefined)[] = []
  const listener = (incoming: IncomingMessage, response: ServerResponse) => {
    const path = incoming.url ?? ''
    asked.push(path)
    heads.push(incoming.headers)
    if (incoming.socket instanceof TLSSocket) certificates.push(incoming.socket.getPeerCertificate().fingerprint256)
    const found = answers[path] ?? { status: 404, body: { error_code: 40403, message: 'not there' } }
    const answer = Array.isArray(found) ? (found.length > 1 ? found.shift()! : found[0]) : found
    if (answer.never) {
      response.writeHead(200)
      response.write('{')
      return
    }
    response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' })
    response.end(answer.text ?? JSON.stringify(answer.body))
  }
  const server: Server = tls ? createTlsServer(tls, listener) : createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push({
    close() {
      server.closeAllConnections()
      server.close()
    },
  })
  return {
    url: `http${tls ? 's' : ''}://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    heads,
    certificates,
  }
}

function clientOf(
  url: string,
  settings: Record<string, string> = {},
  more: Partial<RegistrySettings> = {},
): SchemaRegistryClient {
  const client = createSchemaRegistryClient({
    settings: { ...registrySettings({ 'schema.registry.url': url, ...settings }, () => ''), ...more },
    world: createTestWorld({ sleepAdvances: true }),
  })
  opened.push(client)
  return client
}

const SCHEMA = { schema: '"string"' }

describe('a schema registry', () => {
  it('is asked once for an id, however many ask for it', async () => {
    const { url, asked } = await fake({ '/schemas/ids/1': { body: SCHEMA } })
    const client = clientOf(url)
    const answers = await Promise.all([client.schema(1), client.schema(1), client.schema(1)])
    expect(answers.map(({ kind }) => kind)).toEqual(['schema', 'schema', 'schema'])
    await client.schema(1)
    expect(asked.filter((path) => path === '/schemas/ids/1')).toHaveLength(1)
  })

  it('keeps a bounded number of schemas', async () => {
    const { url, asked } = await fake({
      '/schemas/ids/1': { body: SCHEMA },
      '/schemas/ids/2': { body: SCHEMA },
      '/schemas/ids/3': { body: SCHEMA },
    })
    const client = clientOf(url, {}, { cacheEntriesMax: 2 })
    for (const id of [1, 2, 1, 3, 1, 2]) await client.schema(id)
    expect(asked.filter((path) => /ids\/\d$/.test(path))).toEqual([1, 2, 3, 2].map((id) => `/schemas/ids/${id}`))
  })

  it('is asked again before an id counts as unknown: a follower may be behind', async () => {
    const absent = { status: 404, body: { error_code: 40403, message: 'no' } }
    const { url } = await fake({ '/schemas/ids/1': [absent, { body: SCHEMA }] })
    expect(await clientOf(url).schema(1)).toMatchObject({ kind: 'schema' })
    expect(await clientOf(url).schema(2)).toEqual({
      kind: 'refused',
      reason: 'schema id 2 is not in the schema registry',
    })
  })

  it.each([
    ['500', { status: 500, body: { error_code: 50001, message: 'broken' } }, 'answered 500 broken'],
    ['503', { status: 503, text: '<html>' }, 'answered 503'],
    ['429', { status: 429, text: '' }, 'answered 429'],
    ['401', { status: 401, text: '' }, 'refused our credentials (401)'],
    [
      '404 of another server',
      { status: 404, text: 'nothing here' },
      'answered 404 without a registry\'s error code: check the path of "schema.registry.url"',
    ],
    ['no JSON', { text: '<html>' }, 'answered 200 with something that is no JSON: is this a schema registry?'],
    ['an answer that never ends', { never: true }, 'no answer in time'],
  ] as const)('is away when it answers %s', async (_, answer, message) => {
    const { url } = await fake({ '/schemas/ids/1': answer })
    const client = clientOf(url, { 'schema.registry.request.timeout.ms': '200' }, { attempts: 1 })
    await expect(client.schema(1)).rejects.toMatchObject({
      code: 'registry-unavailable',
      message: `schema registry ${url}: ${message}`,
    })
  })

  it('refuses what is too long, in a circle, gone, of unknown type, or no id', async () => {
    const refers = (name: string) => [{ name, subject: name, version: 1 }]
    const { url } = await fake({
      '/schemas/ids/1': { body: { schema: 'x'.repeat(5000) } },
      '/schemas/ids/2': { body: { ...SCHEMA, references: refers('a') } },
      '/subjects/a/versions/1?deleted=true': { body: { ...SCHEMA, references: refers('b') } },
      '/subjects/b/versions/1?deleted=true': { body: { ...SCHEMA, references: refers('a') } },
      '/schemas/ids/3': { body: { ...SCHEMA, references: refers('gone') } },
      '/schemas/ids/4': { body: { ...SCHEMA, schemaType: 'THRIFT' } },
      '/schemas/ids/5': { body: { ...SCHEMA, references: refers('long') } },
      '/subjects/long/versions/1?deleted=true': { body: { schema: 'x'.repeat(995) } },
      '/subjects/gone/versions/1?deleted=true': { status: 404, body: { error_code: 40402, message: 'gone' } },
    })
    const client = clientOf(url, {}, { schemaBytesMax: 1000 })
    const reasons = [
      [1, 'schema id 1 is longer than 1000 bytes with all it refers to'],
      [2, 'schema id 2: the reference "a" leads back to itself'],
      [3, 'subject "gone" version 1 (of schema id 3) is not in the schema registry'],
      [4, 'schema id 4 is of type "THRIFT", which is not known'],
      [5, 'subject "long" version 1 (of schema id 5) is longer than 1000 bytes with all it refers to'],
      [-1, 'schema id -1 is no id of a schema registry'],
      [0xffffffff, 'schema id 4294967295 is no id of a schema registry'],
    ] as const
    for (const [id, reason] of reasons) expect(await client.schema(id)).toEqual({ kind: 'refused', reason })
  })

  it('is told who asks: user in the address, in the settings, a bearer token', async () => {
    const { url, asked, heads } = await fake({ '/schemas/ids/1': { body: SCHEMA } })
    const basic = `Basic ${Buffer.from('ann:p@ss').toString('base64')}`
    await clientOf(url.replace('://', '://ann:p%40ss@')).schema(1)
    await clientOf(url, {
      'basic.auth.credentials.source': 'USER_INFO',
      'schema.registry.basic.auth.user.info': 'ann:p@ss',
    }).schema(1)
    await clientOf(url, { 'bearer.auth.credentials.source': 'STATIC_TOKEN', 'bearer.auth.token': 'abc' }).schema(1)
    await clientOf(url).schema(1)
    expect(heads.filter((_, index) => asked[index] === '/schemas/ids/1').map((head) => head.authorization)).toEqual([
      basic,
      basic,
      'Bearer abc',
      undefined,
    ])
  })

  it('never shows a password', async () => {
    const client = clientOf('http://ann:secret@127.0.0.1:1', {}, { attempts: 1 })
    const error = await client.schema(1).catch((thrown: unknown) => thrown)
    expect(String(error)).not.toContain('secret')
    expect(() => clientOf('ftp://ann:secret@127.0.0.1:1')).toThrow(/ftp:\/\/ann:\*+@127/)
  })

  it('speaks TLS with its own authority and asks for a client certificate', async () => {
    const nowMs = Date.now()
    const pair = (serial: number) =>
      createCertificate({ hosts: ['127.0.0.1'], nowMs, days: 1, serial: Uint8Array.of(serial) })
    const server = pair(1)
    const own = pair(2)
    const { url, certificates } = await fake(
      { '/schemas/ids/1': { body: SCHEMA } },
      // Ours says that it is for servers only: whether it was shown is what is looked at.
      { ...server, requestCert: true, rejectUnauthorized: false },
    )
    const trust = { 'schema.registry.ssl.truststore.certificates': server.cert }
    const client = clientOf(url, {
      ...trust,
      'schema.registry.ssl.keystore.certificate.chain': own.cert,
      'schema.registry.ssl.keystore.key': own.key,
    })
    expect(await client.schema(1)).toMatchObject({ kind: 'schema' })
    expect(certificates[0]).toBe(new X509Certificate(own.cert).fingerprint256)
    certificates.length = 0
    expect(await clientOf(url, trust).schema(1)).toMatchObject({ kind: 'schema' })
    expect(certificates[0]).toBe(undefined)
    await expect(clientOf(url, {}, { attempts: 1 }).schema(1)).rejects.toThrow(/self-signed/)
  })

  it('lets somebody stop waiting', async () => {
    const { url } = await fake({ '/schemas/ids/1': { never: true } })
    const stop = new AbortController()
    const waiting = clientOf(url).schema(1, { signal: stop.signal })
    stop.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
  })
})

describe('settings of a schema registry', () => {
  it.each([
    [{}, /"schema.registry.url" is missing/],
    [{ 'schema.registry.url': 'host:8081' }, /expected http/],
    [{ 'schema.registry.url': 'http://a', 'basic.auth.credentials.source': 'SASL_INHERIT' }, /USER_INFO/],
    [{ 'schema.registry.url': 'http://a', 'bearer.auth.credentials.source': 'OAUTHBEARER' }, /STATIC_TOKEN/],
    [{ 'schema.registry.url': 'http://a:b@a,http://a:c@b' }, /the same user/],
    [{ 'schema.registry.url': 'http://a', 'schema.registry.ssl.truststore.location': '/x.jks' }, /expected PEM/],
    [{ 'schema.registry.url': 'http://a', 'schema.registry.request.timeout.ms': '0' }, /expected 1 to/],
  ])('are refused with what was expected: %o', (settings, message) => {
    expect(() => registrySettings(settings, () => '')).toThrow(message)
  })

  it('keep addresses without users', () => {
    const { urls, authorization } = registrySettings(
      { 'schema.registry.url': ' http://u:p@one:8081/ , https://u:p@two/path/ ' },
      () => '',
    )
    expect(urls).toEqual(['http://one:8081', 'https://two/path'])
    expect(authorization).toBe(`Basic ${Buffer.from('u:p').toString('base64')}`)
  })
})
