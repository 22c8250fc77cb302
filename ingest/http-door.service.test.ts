// Bodies in memory have a maximum: what comes beyond it is answered 429 before it is read, and room comes back.
import { gzipSync } from 'node:zlib'
import fastify, { type FastifyInstance } from 'fastify'
import { afterEach, expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { asMillraceError } from '../schemas/errors.ts'
import { splitBody } from './decoder/json-lines.ts'
import { addIngestRoutes } from './http-door.ts'
import type { IngestAnswer, IngestRequest } from './http-intake.ts'
import type { IngestTable } from './tables.ts'

let app: FastifyInstance | undefined
afterEach(() => app?.close())

const BODIES_BYTES_MAX = 1000

async function door() {
  const waiting: { readonly rows: number; readonly answer: () => void }[] = []
  app = fastify({ bodyLimit: 1000 })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
  app.setErrorHandler(async (thrown, _request, reply) => reply.code(asMillraceError(thrown).status).send('refused'))
  addIngestRoutes(app, {
    catalog: {} as Partial<Catalog> as Catalog,
    tables: {
      open: async (name) => ({ name }) as Partial<IngestTable> as IngestTable,
      tableIds: () => [],
      refresh: async () => {},
      adopt: () => {},
    },
    httpIntake: {
      take: ({ table, rows }: IngestRequest) =>
        new Promise<IngestAnswer>((resolve) => {
          const answer = () => resolve({ table: table.name, rows: rows.count, dead_letters: 0, version: '1' })
          waiting.push({ rows: rows.count, answer })
        }),
    },
    settings: { requestBytesMax: 1000, requestRowsMax: 1_000_000, requestsMax: 100, bodiesBytesMax: BODIES_BYTES_MAX },
    splitBody,
    checkTableAccess() {},
    pipelines: () => [],
    decide: async () => ({}),
    prepare: async () => {},
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  const post = (body: string | Uint8Array<ArrayBuffer>, init: RequestInit = {}) =>
    fetch(`${url}/v1/ingest/t`, { method: 'POST', body, ...init })
  const arrived = async (count: number) => {
    await expect.poll(() => waiting.length, { interval: 5, timeout: 10_000 }).toBe(count)
  }
  return { waiting, post, arrived }
}

const body = (bytes: number) => `{}${' '.repeat(bytes - 2)}`

test('a body beyond the maximum is refused, and taken once another one was answered', async () => {
  const { waiting, post, arrived } = await door()
  const first = post(body(600))
  await arrived(1)
  const refused = await post(body(600))
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
  const small = post(body(300))
  await arrived(2)
  for (const { answer } of waiting) answer()
  expect([(await first).status, (await small).status]).toEqual([200, 200])
  await expect
    .poll(
      async () => {
        const again = post(body(600)).then(({ status }) => status)
        const taken = arrived(3).then(() => waiting[2].answer())
        return Promise.race([again, taken.then(() => again)])
      },
      { interval: 20, timeout: 10_000 },
    )
    .toBe(200)
})

test('a client that went away holds its room until nobody works on its rows', async () => {
  const { waiting, post, arrived } = await door()
  const gone = new AbortController()
  const first = post(body(600), { signal: gone.signal }).catch(() => 'gone')
  await arrived(1)
  gone.abort()
  expect(await first).toBe('gone')
  expect((await post(body(600))).status).toBe(429)
  waiting[0].answer()
  const second = post(body(400))
  await arrived(2)
  waiting[1].answer()
  expect((await second).status).toBe(200)
})

test('packed bodies are unpacked as far as there is room, the others wait their turn', async () => {
  const { waiting, post, arrived } = await door()
  const packed = Uint8Array.from(gzipSync(body(900)))
  const replies = [1, 2, 3].map(() => post(packed, { headers: { 'content-encoding': 'gzip' } }))
  for (let turn = 1; turn <= replies.length; turn += 1) {
    await arrived(turn)
    waiting[turn - 1].answer()
  }
  expect((await Promise.all(replies)).map(({ status }) => status)).toEqual([200, 200, 200])
})
