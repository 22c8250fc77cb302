// What the HTTP door takes and refuses: bodies in every wrapping, headers, tables, limits. The rows behind it are real; no socket.
import { promisify } from 'node:util'
import { gzipSync, zstdCompress } from 'node:zlib'
import type { LightMyRequestResponse } from 'fastify'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createHealth } from '../runtime/health.ts'
import { checkTableAccess } from '../runtime/http-access.ts'
import { createHttpServer } from '../runtime/http-server.ts'
import { createMetrics } from '../runtime/metrics.ts'
import type { Token } from '../schemas/settings.ts'
import { splitBody } from './decoder/json-lines.ts'
import { addIngestRoutes } from './http-door.ts'
import { httpPipeline } from './http-intake.ts'
import { openSampleLake, type SampleLake, type SampleProcess } from './http-samples.ts'

const REQUEST_BYTES_MAX = 4096
const REQUESTS_MAX = 3

let lake: SampleLake
let ingest: SampleProcess
let send: (request: {
  table?: string
  query?: string
  headers?: Record<string, string>
  body?: string | Uint8Array
}) => Promise<{ status: number; headers: LightMyRequestResponse['headers']; answer: Answer }>
let get: (url: string) => Promise<unknown>

type Answer = {
  readonly rows?: number
  readonly dead_letters?: number
  readonly version?: string
  readonly error?: { readonly class: string; readonly message: string; readonly [fact: string]: unknown }
}

function openDoor(tokens: readonly Token[] = []) {
  const { app } = createHttpServer({
    settings: { tls: { cert: undefined, key: undefined }, tokens, shutdownMs: 1000 },
    world: lake.world,
    service: 'ingest',
    health: createHealth(),
    metrics: createMetrics({ service: 'ingest' }),
    listen: { host: '127.0.0.1', port: 0 },
    bodyBytesMax: REQUEST_BYTES_MAX,
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  addIngestRoutes(app, {
    catalog: lake.catalog,
    tables: ingest.tables,
    httpIntake: ingest.httpIntake,
    settings: {
      requestBytesMax: REQUEST_BYTES_MAX,
      requestRowsMax: 1_000_000,
      requestsMax: REQUESTS_MAX,
      bodiesBytesMax: 1e6,
    },
    splitBody,
    checkTableAccess,
    pipelines: () => [],
    decide: async (...asked) => ({ asked: asked.map(String) }),
    prepare: (name) => lake.catalog.bindPipeline(httpPipeline(name), ingest.tables.tableIds([name]), []),
  })
  return app
}

beforeEach(async () => {
  lake = await openSampleLake()
  ingest = await lake.startProcess()
  await ingest.tables.open('t')
  const app = openDoor()
  send = async ({ table = 't', query = '', headers = {}, body = '' }) => {
    const {
      statusCode,
      payload,
      headers: answered,
    } = await app.inject({
      method: 'POST',
      url: `/v1/ingest/${table}${query}`,
      headers: { 'content-type': 'application/x-ndjson', ...headers },
      payload: typeof body === 'string' ? body : Buffer.from(body),
    })
    return { status: statusCode, headers: answered, answer: JSON.parse(payload) as Answer }
  }
  get = async (url) => JSON.parse((await app.inject({ url })).payload)
})
afterEach(async () => {
  expect(ingest.fatal).toEqual([])
  await lake.close()
})

const ids = async () => (await lake.rows()).map(({ id }) => Number(id))

describe('a body', () => {
  const THREE = '{"id": 1}\n{"id": 2}\n{"id": 3}\n'

  test.each<[string, string | (() => Promise<Uint8Array>), Record<string, string>]>([
    ['JSON lines', THREE, {}],
    ['JSON lines with CRLF, blank lines and none at the end', '\r\n{"id": 1}\r\n\r\n  \n{"id": 2}\r\n{"id": 3}', {}],
    ['one JSON array', ' [{"id": 1},\n {"id": 2} , {"id": 3}]\n', { 'content-type': 'application/json' }],
    ['gzip', async () => gzipSync(THREE), { 'content-encoding': 'gzip' }],
    [
      'gzip of an array, named in capitals',
      async () => gzipSync('[{"id":1},{"id":2},{"id":3}]'),
      { 'content-encoding': 'GZIP' },
    ],
    ['zstd', async () => promisify(zstdCompress)(THREE), { 'content-encoding': 'zstd' }],
    ['identity', THREE, { 'content-encoding': 'identity', 'content-type': 'text/plain' }],
  ])('as %s is taken', async (_, body, headers) => {
    const bytes = typeof body === 'string' ? body : await body()
    const { status, answer } = await lake.settled(send({ body: bytes, headers }))
    expect([status, answer]).toEqual([200, { table: 't', rows: 3, dead_letters: 0, version: '1' }])
    expect(await ids()).toEqual([1, 2, 3])
  })

  test.each([
    ['', 'nothing'],
    [' \r\n\n', 'blank lines'],
    ['[]', 'an empty array'],
  ])('%j has no rows and is answered so (%s)', async (body) => {
    const { status, answer } = await lake.settled(send({ body }))
    expect([status, answer]).toEqual([200, { table: 't', rows: 0, dead_letters: 0 }])
    expect(await ids()).toEqual([])
  })

  test.each<[string, string | Uint8Array, Record<string, string>, number, string, RegExp]>([
    [
      'an array without end',
      '[{"id": 1}, {"id": 2}',
      {},
      400,
      'request_invalid',
      /array: the body ends inside it, at byte 21/,
    ],
    ['an array with a hole', '[{"id": 1},,{"id": 2}]', {}, 400, 'request_invalid', /a value is missing/],
    ['text behind an array', '[{"id": 1}] x', {}, 400, 'request_invalid', /more text after it/],
    [
      'an encoding of others',
      'x',
      { 'content-encoding': 'br' },
      400,
      'request_invalid',
      /"br" is not known; send gzip, zstd/,
    ],
    ['no gzip at all', '{"id": 1}', { 'content-encoding': 'gzip' }, 400, 'request_invalid', /not gzip/],
    [
      'gzip cut short',
      gzipSync(THREE).subarray(0, 15),
      { 'content-encoding': 'gzip' },
      400,
      'request_invalid',
      /not gzip/,
    ],
    ['no zstd', '{"id": 1}', { 'content-encoding': 'zstd' }, 400, 'request_invalid', /not zstd/],
    ['too many bytes', ' '.repeat(REQUEST_BYTES_MAX + 1), {}, 413, 'request_too_large', /./],
    [
      'a few bytes that unpack to many',
      gzipSync(' '.repeat(1e6)),
      { 'content-encoding': 'gzip' },
      413,
      'request_too_large',
      /ingest\.request\.bytes\.max \(4096\)/,
    ],
    ['a bad row', '{"id": 1}\n{"id": true}', {}, 400, 'row_invalid', /^row 2: .*no row of this request was taken$/],
  ])('that is %s is refused as a whole', async (_, body, headers, status, name, message) => {
    const refused = await lake.settled(send({ body, headers }))
    expect([refused.status, refused.answer.error?.class]).toEqual([status, name])
    expect(refused.answer.error?.message).toMatch(message)
    await ingest.intake.drain()
    expect(await ids()).toEqual([])
  })

  test('with a bad row tells number, column and reason; with errors=dead-letter the others are taken', async () => {
    const body = '{"id": 1}\n{"id": 2, "note": 7}'
    const { answer } = await send({ body })
    expect(answer.error).toMatchObject({
      code: '22P02',
      row: 2,
      column: 'note',
      rows_taken: 0,
      reason: expect.any(String),
    })
    const taken = await lake.settled(send({ body, query: '?errors=dead-letter' }))
    expect([taken.status, taken.answer]).toMatchObject([200, { rows: 1, dead_letters: 1, version: '1' }])
  })
})

test('ack=buffered is answered 202 without a version', async () => {
  const { status, answer } = await send({ body: '{"id": 1}', query: '?ack=buffered' })
  expect([status, answer]).toEqual([202, { table: 't', rows: 1, dead_letters: 0 }])
})

test('tables: names in any case, unknown ones, dead letters', async () => {
  expect((await lake.settled(send({ table: 'T', body: '{"id": 1}' }))).status).toBe(200)
  expect((await send({ table: 'nobody', body: '{"id": 1}' })).answer.error).toMatchObject({
    code: '42P01',
    class: 'undefined_table',
    message: expect.stringContaining('"nobody"'),
  })
  expect((await send({ table: 'constructor', body: '{"id": 1}' })).status).toBe(404)
  const letters = await send({ table: 't__dead_letters', body: '{"id": 1}' })
  expect([letters.status, letters.answer.error?.message]).toEqual([
    400,
    '"t__dead_letters" holds dead letters; rows go to t',
  ])
  expect(await ids()).toEqual([1])
})

describe('headers and options', () => {
  test.each([
    [{ 'millrace-producer': 'p' }, '', /go together/],
    [{ 'millrace-sequence': '0' }, '', /go together/],
    [{ 'millrace-producer': 'a b', 'millrace-sequence': '0' }, '', /visible ASCII/],
    [{ 'millrace-producer': 'p'.repeat(201), 'millrace-sequence': '0' }, '', /1 to 200/],
    [{ 'millrace-producer': '', 'millrace-sequence': '0' }, '', /1 to 200/],
    [{ 'millrace-producer': 'p', 'millrace-sequence': '-1' }, '', /"-1" is not a whole number/],
    [{ 'millrace-producer': 'p', 'millrace-sequence': '1.5' }, '', /not a whole number/],
    [{ 'millrace-producer': 'p', 'millrace-sequence': '9007199254740992' }, '', /from 0 to 9007199254740991/],
    [{ 'idempotency-key': '' }, '', /1 to 255/],
    [{ 'idempotency-key': 'k'.repeat(256) }, '', /1 to 255/],
    [{ 'idempotency-key': 'k', 'millrace-producer': 'p', 'millrace-sequence': '0' }, '', /not both/],
    [{}, '?ack=maybe', /ack=maybe is not known; expected committed or buffered/],
    [{}, '?errors=ignore', /errors=ignore is not known; expected reject or dead-letter/],
    [{}, '?ack=committed&ack=buffered', /ack=committed,buffered is not known/],
  ])('%j %s are refused, and nothing is taken', async (headers, query, message) => {
    const { status, answer } = await send({ headers: { ...headers }, query, body: '{"id": 1}' })
    expect([status, answer.error?.class]).toEqual([400, 'request_invalid'])
    expect(answer.error?.message).toMatch(message)
    await ingest.intake.drain()
    expect(await ids()).toEqual([])
  })

  test('a producer goes on where the table tells it to', async () => {
    const at = (sequence: number, body: string) =>
      lake.settled(send({ body, headers: { 'millrace-producer': 'p/1', 'millrace-sequence': String(sequence) } }))
    const where = '/v1/ingest/T/producers/p%2F1'
    expect(await get(where)).toEqual({ table: 't', producer: 'p/1', next_sequence: '0' })
    expect((await at(0, '{"id": 1}\n{"id": 2}')).answer).toMatchObject({ rows: 2, next_sequence: '2' })
    expect(await get(where)).toEqual({ table: 't', producer: 'p/1', next_sequence: '2' })
    const gap = await at(5, '{"id": 6}')
    expect([gap.status, gap.answer.error]).toMatchObject([
      409,
      { class: 'sequence_gap', expected_sequence: '2', rows_taken: 0 },
    ])
    expect((await at(0, '{"id": 1}\n{"id": 2}')).answer).toMatchObject({ repeated: true, next_sequence: '2' })
    expect(await ids()).toEqual([1, 2])
  })

  test('a key sent twice is answered alike', async () => {
    const request = { body: '{"id": 1}', headers: { 'idempotency-key': 'k' } }
    const [first, second] = await lake.settled(Promise.all([send(request), send(request)]))
    expect([first.answer.version, second.answer]).toEqual(['1', { ...first.answer, repeated: true }])
  })
})

test('at ingest.requests.max further requests are answered 429 and taken later (G-6)', async () => {
  const waiting = [1, 2, 3].map((id) => send({ body: `{"id": ${id}}` }))
  // Requests begin in order; this one finds the others waiting for their commit.
  const refused = await send({ body: '{"id": 4}' })
  expect([refused.status, refused.headers['retry-after'], refused.answer.error?.class]).toEqual([
    429,
    '1',
    'overloaded',
  ])
  expect(refused.answer.error?.message).toContain('ingest.requests.max')
  const answers = await lake.settled(Promise.all(waiting))
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  expect((await lake.settled(send({ body: '{"id": 4}' }))).status).toBe(200)
  expect(await ids()).toEqual([1, 2, 3, 4])
})

test('a token kept to other tables may not write here', async () => {
  const token = { name: 'x', token: 'x'.repeat(16), rights: ['write'], tables: ['other'] } as const
  const { statusCode, payload } = await openDoor([token]).inject({
    method: 'POST',
    url: '/v1/ingest/T',
    headers: { authorization: `Bearer ${token.token}` },
    payload: '{"id": 1}',
  })
  expect([statusCode, JSON.parse(payload).error.class]).toEqual([403, 'forbidden'])
})

test.each([
  ['{"topic": "c", "partition": 0, "from": "12"}', 200],
  ['{"topic": "c", "partition": 0, "from": "earliest"}', 200],
  ['{"topic": "c", "partition": -1, "from": "earliest"}', 400],
  ['{"topic": "c", "partition": 0, "from": "soon"}', 400],
  ['{"topic": "c", "partition": 0, "from": "earliest", "more": 1}', 400],
  ['{"topic"', 400],
  ['', 400],
])('a decision %j is answered %i', async (payload, status) => {
  const { statusCode } = await openDoor().inject({ method: 'POST', url: '/v1/pipelines/p/decide', payload })
  expect(statusCode).toBe(status)
})
