// What happens on the socket: clients that leave in every way, late errors in every format and protocol, compression, slow
// clients, pipelining, requests that are no requests.
import { connect, type Socket } from 'node:net'
import { constants, createGunzip, gunzipSync } from 'node:zlib'
import { request } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createSampleLake, querySettings, type SampleLake } from '../sample-lake.ts'
import { startQuery } from '../service.ts'

const LONG = 'SELECT count(*) FROM range(1000000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5'
/** Fails after more than a megabyte has left. */
const LATE =
  "SELECT CASE WHEN i = 399000 THEN error('late')::VARCHAR ELSE 'text ' || i END AS t FROM range(400000) r(i)"

let lake: SampleLake
let service: Awaited<ReturnType<typeof startQuery>>
let port: number

beforeAll(async () => {
  const world = createSystemWorld({ log: createTestWorld().log })
  lake = await createSampleLake(world)
  const table = await lake.createTable('flights', { origin: 'string', delay: 'int' })
  await lake.addRows(table, "SELECT ['SFO', 'LAX', 'JFK'][1 + i % 3], i FROM range(3000) r(i)")
  service = await startQuery({ settings: querySettings(lake), world })
  port = Number(new URL(service.url).port)
})
afterAll(async () => {
  await service?.stop()
  await lake?.close()
})

type Raw = { readonly socket: Socket; readonly received: () => Buffer; readonly closed: Promise<'end' | 'reset'> }

function open(text: string | Buffer): Raw {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  const parts: Buffer[] = []
  const { promise: closed, resolve } = Promise.withResolvers<'end' | 'reset'>()
  socket.on('data', (part) => void parts.push(part))
  socket.on('end', () => resolve('end'))
  socket.on('error', () => resolve('reset'))
  socket.on('close', () => resolve('reset'))
  socket.write(text)
  return { socket, received: () => Buffer.concat(parts), closed }
}

function post(sql: string, options: { headers?: string; path?: string; version?: string } = {}): string {
  const { headers = '', path = '/v1/sql', version = '1.1' } = options
  return `POST ${path} HTTP/${version}\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(sql)}\r\n${headers}\r\n${sql}`
}

async function statesOf(...ids: string[]): Promise<string[]> {
  return Promise.all(
    ids.map(async (id) => {
      const found = await request(`${service.url}/v1/queries/${id}`)
      return ((await found.body.json()) as { state?: string }).state ?? 'unknown'
    }),
  )
}

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 5))
}

async function ask(body: object, headers: Record<string, string> = {}) {
  const found = await request(`${service.url}/v1/sql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  return { status: found.statusCode, headers: found.headers, bytes: Buffer.from(await found.body.arrayBuffer()) }
}

/** No query has a place among the running ones: a place is left when the engine has ended its work. */
async function isIdle(): Promise<boolean> {
  const { body } = await request(`${service.url}/metrics`)
  return /^millrace_queries_running\S* 0$/m.test(await body.text())
}

describe('a client that leaves', () => {
  test.each<[string, (socket: Socket) => void]>([
    ['closes', (socket) => void socket.destroy()],
    ['resets', (socket) => void socket.resetAndDestroy()],
    ['closes its half', (socket) => void socket.end()],
  ])('and %s cancels its query, and the engine stops', async (how, leave) => {
    const id = `left-${how.replaceAll(' ', '-')}`
    const { socket } = open(post(LONG, { path: `/v1/sql?query_id=${id}` }))
    await until(async () => (await statesOf(id))[0] === 'running')
    leave(socket)
    await until(async () => (await statesOf(id))[0] === 'cancelled')
    await until(isIdle)
    socket.destroy()
    // The engine is the same one, and free: with its threads taken this would not end.
    expect((await ask({ sql: 'SELECT sum(delay) FROM flights' })).status).toBe(200)
  })

  test('cancels what it had pipelined, too', async () => {
    const { socket } = open(
      post(LONG, { path: '/v1/sql?query_id=pipe-1' }) + post(LONG, { path: '/v1/sql?query_id=pipe-2' }),
    )
    await until(async () =>
      (await statesOf('pipe-1', 'pipe-2')).every((state) => state === 'running' || state === 'waiting'),
    )
    socket.destroy()
    await until(async () => (await statesOf('pipe-1', 'pipe-2')).every((state) => state === 'cancelled'))
    await until(isIdle)
  })

  test('cancels a query that waits for a write', async () => {
    const { socket } = open(
      post('SELECT count(*) FROM flights', {
        path: `/v1/sql?query_id=awaits&wait_for=${encodeURIComponent('{"flights": 99}')}`,
      }),
    )
    await until(async () => (await statesOf('awaits'))[0] === 'waiting')
    socket.destroy()
    await until(async () => (await statesOf('awaits'))[0] === 'cancelled')
  })
})

test('pipelined requests are answered in their order', async () => {
  const sleepy = 'SELECT count(*) AS n FROM range(3000000) r(i) WHERE hash(i) % 2 = 3'
  const { socket, received } = open(
    post(sleepy) + post('SELECT 2 AS n') + post('SELECT nope', { headers: 'Connection: close\r\n' }),
  )
  await until(() => received().includes('undefined_column'))
  socket.destroy()
  const text = received().toString()
  const places = ['"data":[["0"]]', '"data":[[2]]', 'undefined_column'].map((each) => text.indexOf(each))
  expect(places.every((place) => place > 0)).toBe(true)
  expect(places).toEqual([...places].sort((a, b) => a - b))
})

describe('a late error', () => {
  test.each(['csv', 'tsv', 'arrow', 'parquet'])('%s: the body has no end', async (format) => {
    const sql =
      format === 'parquet'
        ? LATE.replace('399000', '799000').replace('400000', '800000').replace('|| i', '|| hash(i)')
        : LATE
    await expect(ask({ sql, format }).then(({ status }) => status)).rejects.toThrow()
    await expect(ask({ sql, format }, { 'accept-encoding': 'gzip' }).then(({ status }) => status)).rejects.toThrow()
  })

  test('compressed JSON lines still end with the error', async () => {
    const { status, headers, bytes } = await ask({ sql: LATE, format: 'jsonl' }, { 'accept-encoding': 'gzip' })
    expect([status, headers['content-encoding']]).toEqual([200, 'gzip'])
    const last = gunzipSync(bytes).toString().trimEnd().split('\n').at(-1)
    expect(JSON.parse(last!)).toMatchObject({ error: { code: '42000', message: 'late' } })
  })

  test('HTTP/1.0, where the end of the connection is the end of the body: it is reset', async () => {
    const broken = open(post(LATE, { path: '/v1/sql?format=csv', version: '1.0' }))
    expect(await broken.closed).toBe('reset')
    const whole = open(post('SELECT * FROM range(400000)', { path: '/v1/sql?format=csv', version: '1.0' }))
    expect(await whole.closed).toBe('end')
    expect(whole.received().toString().endsWith('399999\r\n')).toBe(true)
    whole.socket.destroy()
  })

  test('an early one keeps its status, also when the first bytes were there', async () => {
    const sql = "SELECT CASE WHEN i = 2500 THEN error('early')::VARCHAR ELSE 'a' END FROM range(3000) r(i)"
    for (const format of ['json', 'jsonl', 'csv', 'tsv', 'arrow', 'parquet']) {
      expect((await ask({ sql, format })).status).toBe(400)
    }
  })

  test('the trailer says whether it was whole', async () => {
    const whole = open(post('SELECT * FROM range(400000)', { path: '/v1/sql?format=csv' }))
    await until(
      () =>
        whole.received().includes('X-Millrace-Rows: 400000') || whole.received().includes('x-millrace-rows: 400000'),
    )
    expect(whole.received().toString()).toMatch(/x-millrace-truncated: false\r\nx-millrace-status: ok\r\n\r\n$/i)
    const broken = open(post(LATE, { path: '/v1/sql?format=jsonl' }))
    await until(() => broken.received().includes('"late"'))
    await until(() => /x-millrace-status: 42000\r\n\r\n$/i.test(broken.received().toString()))
    whole.socket.destroy()
    broken.socket.destroy()
  })
})

describe('compression', () => {
  test('text by Accept-Encoding, small and streamed; Arrow and Parquet not; Vary always', async () => {
    const many = "SELECT i, 'text ' || i AS t FROM range(100000) r(i)"
    const plain = await ask({ sql: many, format: 'csv' })
    for (const [format, sql] of [
      ['csv', many],
      ['jsonl', 'SELECT * FROM flights'],
      ['json', many],
      ['tsv', many],
    ]) {
      const { headers, bytes } = await ask({ sql, format }, { 'accept-encoding': 'br, gzip;q=0.8' })
      expect([format, headers['content-encoding'], headers.vary]).toEqual([format, 'gzip', 'accept, accept-encoding'])
      const text = gunzipSync(bytes).toString()
      if (format === 'csv') expect(text).toBe(plain.bytes.toString())
      if (format === 'json') expect(JSON.parse(text)).toMatchObject({ rows: 100_000, truncated: false })
    }
    for (const format of ['arrow', 'parquet']) {
      const { headers } = await ask({ sql: many, format }, { 'accept-encoding': 'gzip' })
      expect(headers['content-encoding']).toBeUndefined()
    }
    expect(
      (await ask({ sql: many, format: 'csv' }, { 'accept-encoding': 'gzip;q=0' })).headers['content-encoding'],
    ).toBeUndefined()
    expect((await ask({ sql: 'SELECT 1' }, { 'accept-encoding': 'gzip' })).headers['content-encoding']).toBeUndefined()
  })

  test('what is there can be read while the query runs', async () => {
    // A chunk of 2048 rows a tenth of a second or so, for minutes.
    const sql = 'SELECT i, len(list_filter(range(500), lambda x: hash(x + i) % 2 = 3)) AS n FROM range(4000000) r(i)'
    const { body, headers } = await request(`${service.url}/v1/sql?format=csv&query_id=flushed`, {
      method: 'POST',
      headers: { 'content-type': 'text/plain', 'accept-encoding': 'gzip' },
      body: sql,
    })
    expect(headers['content-encoding']).toBe('gzip')
    const unpacked = body.pipe(createGunzip({ flush: constants.Z_SYNC_FLUSH }))
    unpacked.on('error', () => {})
    let text = ''
    for await (const part of unpacked) {
      text += String(part)
      if (text.includes('\r\n100,0\r\n')) break
    }
    expect(text.startsWith('i,n\r\n0,0\r\n1,0\r\n')).toBe(true)
    body.destroy()
    await until(async () => (await statesOf('flushed'))[0] === 'cancelled')
  })
})

test('a client that does not read holds back the engine, not memory', async () => {
  const sql = "SELECT repeat('x', 1000) || i AS t FROM range(900000) r(i)"
  const { socket } = open(post(sql, { path: '/v1/sql?format=csv&query_id=slow' }))
  socket.pause()
  const sent = async () => {
    const found = await request(`${service.url}/v1/queries/slow`)
    return ((await found.body.json()) as { bytes_sent?: number }).bytes_sent ?? 0
  }
  await until(async () => (await sent()) > 0)
  let before = -1
  // Until nothing moves any more: what is on the way is bounded by buffers, far below the 900 MB of the result.
  for (let now = await sent(); now !== before; now = await sent()) {
    before = now
    await new Promise((resolve) => setTimeout(resolve, 300))
  }
  expect(before).toBeLessThan(64 * 1024 * 1024)
  socket.destroy()
  await until(async () => (await statesOf('slow'))[0] === 'cancelled')
})

describe('requests at the edge', () => {
  const status = (text: string) => /^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]

  test.each<[string, string | Buffer, string, RegExp]>([
    [
      'a body that is no UTF-8',
      Buffer.concat([Buffer.from(post("SELECT 'ab'").replace("'ab'", "'")), Buffer.from([0xff, 0x27, 0x20])]),
      '400',
      /not UTF-8/,
    ],
    [
      'a charset that is not ours',
      post('SELECT 1').replace('text/plain', 'text/plain; charset=utf-16'),
      '400',
      /charset/,
    ],
    ['a compressed body', post('SELECT 1', { headers: 'Content-Encoding: gzip\r\n' }), '400', /content-encoding/],
    ['another content type', post('SELECT 1').replace('text/plain', 'application/xml'), '415', /"error"/],
    ['no content type', post('SELECT 1').replace('Content-Type: text/plain\r\n', ''), '415', /"error"/],
    [
      'a body that is announced too large',
      'POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n',
      '413',
      /54000/,
    ],
    ['an id that would be a header', post('SELECT 1', { path: '/v1/sql?query_id=a%0d%0ax:1' }), '400', /22023/],
    [
      'a URL with an escape that is no UTF-8',
      'GET /v1/sql?q=SELECT+%27%ff%27 HTTP/1.1\r\nHost: localhost\r\n\r\n',
      '400',
      /22023/,
    ],
    ['a URL that cannot be read', 'GET /v1/queries/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n', '400', /"error"/],
    [
      'a head that is too large',
      `GET /ping HTTP/1.1\r\nHost: localhost\r\nx: ${'a'.repeat(70_000)}\r\n\r\n`,
      '431',
      /"class":"request_invalid"/,
    ],
    ['no HTTP', 'SELECT 1;\r\n\r\n', '400', /"class":"request_invalid"/],
    [
      'another method',
      'PUT /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n',
      '405',
      /allow: GET, HEAD, POST, OPTIONS/i,
    ],
    ['a page of another origin', post('SELECT 1', { headers: 'Origin: https://evil.example\r\n' }), '403', /42501/],
    [
      'a page of another origin, reading',
      'GET /v1/sql?q=SELECT+1 HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n\r\n',
      '403',
      /42501/,
    ],
    ['a name that points here', 'GET /v1/sql?q=SELECT+1 HTTP/1.1\r\nHost: evil.example\r\n\r\n', '403', /42501/],
    ['two statements', post('SELECT 1; SELECT 2'), '400', /0A000/],
    ['no format that we have', post('SELECT 1', { headers: 'Accept: image/png\r\n' }), '406', /not_acceptable/],
  ])('%s', async (_, text, expected, body) => {
    const { socket, received } = open(text)
    await until(() => body.test(received().toString()) || status(received().toString()) !== undefined)
    await until(() => received().includes('}}') || received().includes('"}'))
    socket.destroy()
    expect(status(received().toString())).toBe(expected)
    expect(received().toString()).toMatch(body)
    expect(received().toString()).not.toMatch(/^x: ?1/m)
  })

  test('OPTIONS says what there is and lets no page in; HEAD is GET without its body', async () => {
    const options = await request(`${service.url}/v1/sql`, {
      method: 'OPTIONS',
      headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
    })
    expect([options.statusCode, options.headers.allow]).toEqual([204, 'GET, HEAD, POST, OPTIONS'])
    expect(Object.keys(options.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
    for (const n of [10, 400_000]) {
      const { socket, received } = open(
        `HEAD /v1/sql?format=csv&q=SELECT+*+FROM+range(${n}) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
      )
      await until(() => received().includes('\r\n\r\n'))
      socket.destroy()
      expect(received().toString()).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*text\/csv[\s\S]*\r\n\r\n$/)
    }
  })

  test('Expect: 100-continue is told to go on', async () => {
    const { socket, received } = open(
      'POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n',
    )
    await until(() => received().includes('100 Continue'))
    socket.write('SELECT 7 AS n')
    await until(() => received().includes('"data":[[7]]'))
    socket.destroy()
  })

  test('JSON: an own id twice, many parameters, a bomb of brackets', async () => {
    expect((await ask({ sql: 'SELECT $1', params: Array.from({ length: 100_000 }, (_, i) => i) })).status).toBe(400)
    const deep = await request(`${service.url}/v1/sql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"sql": "SELECT 1", "params": ${'['.repeat(1_000_000)}`,
    })
    expect([deep.statusCode, ((await deep.body.json()) as { error: { code: string } }).error.code]).toEqual([
      400,
      '22023',
    ])
    const lists = await ask({
      sql: 'SELECT $1 AS a, $2 AS b, $3::VARCHAR AS c',
      params: [[[1, null], []], [1.5, 2], { type: 'MAP(VARCHAR, BIGINT)', value: { x: 1 } }],
    })
    expect(JSON.parse(lists.bytes.toString())).toMatchObject({ data: [[[['1', null], []], [1.5, 2], '{x=1}']] })
  })
})
