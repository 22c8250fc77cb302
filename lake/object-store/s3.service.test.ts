import { truncateSync } from 'node:fs'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type S3Server, startS3Server } from '../../test/harness/s3-server.ts'
import { startSlowProxy } from '../../test/harness/slow-proxy.ts'
import { describeObjectStore } from './conformance.ts'
import { retryRequests } from './retry.ts'
import { createS3ObjectStore, type S3Settings } from './s3.ts'

const MIB = 1024 * 1024
const bytes = (value: string) => new TextEncoder().encode(value)

/** A running server may keep the buckets of earlier runs. */
const run = `${process.pid}-${process.hrtime.bigint()}`

let server: S3Server
let s3: S3Settings
beforeAll(async () => {
  server = await startS3Server()
  s3 = { ...server, pathStyle: true }
})
afterAll(() => server?.stop())

describeObjectStore(
  'S3 server',
  async () => {
    const bucket = await server.bucket(`conformance-${run}`)
    return { open: () => createS3ObjectStore({ root: `s3://${bucket}/a lake/here`, s3, world: createTestWorld() }) }
  },
  { manyKeys: 1_203, largeFileBytes: 65 * MIB },
)

describe('S3 server', () => {
  test('a bucket without a prefix is a root too', async () => {
    const bucket = await server.bucket(`plain-${run}`)
    const store = createS3ObjectStore({ root: `s3://${bucket}/`, s3, world: createTestWorld() })
    await store.put(`s3://${bucket}/x/y`, bytes('x'))
    expect((await Array.fromAsync(store.list(`s3://${bucket}`))).map((info) => info.path)).toEqual([
      `s3://${bucket}/x/y`,
    ])
    await store.close()
  })

  test('of racing multipart uploads exactly one wins, and no parts stay', async () => {
    const bucket = await server.bucket(`multipart-${run}`)
    const sizes = { multipartBytesMin: 6 * MIB, partBytes: 5 * MIB }
    const store = createS3ObjectStore({ root: `s3://${bucket}`, s3, world: createTestWorld(), ...sizes })
    const path = `s3://${bucket}/raced`
    const racers = Array.from({ length: 6 }, (_, index) => new Uint8Array(11 * MIB).fill(index))
    const created = await Promise.allSettled(racers.map((racer) => store.put(path, racer, { ifNoneMatch: '*' })))
    const winner = created.findIndex((outcome) => outcome.status === 'fulfilled')
    expect(created.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1)
    const got = await store.get(path)
    expect(Buffer.compare(got.bytes, racers[winner])).toBe(0)
    await expect(store.put(path, racers[0], { ifMatch: '"stale"' })).rejects.toMatchObject({
      code: 'precondition-failed',
    })
    const uploads = await openUploads(bucket)
    expect(uploads).toEqual([])
    await store.close()
  })

  test('wrong keys and a missing bucket are faults of the settings', async () => {
    const bucket = await server.bucket(`faults-${run}`)
    const world = createTestWorld()
    const wrong = createS3ObjectStore({ root: `s3://${bucket}`, s3: { ...s3, secretAccessKey: 'wrong' }, world })
    await expect(wrong.put(`s3://${bucket}/x`, bytes('x'))).rejects.toMatchObject({ code: 'settings-invalid' })
    await expect(wrong.get(`s3://${bucket}/x`)).rejects.toMatchObject({ code: 'settings-invalid' })
    const missing = createS3ObjectStore({ root: 's3://no-such-bucket-here', s3, world })
    await expect(missing.put('s3://no-such-bucket-here/x', bytes('x'))).rejects.toMatchObject({
      code: 'settings-invalid',
    })
    await wrong.close()
    await missing.close()
  })

  test('a server that is gone, or does not answer, is unavailable; afterwards all is there', async () => {
    const bucket = await server.bucket(`gone-${run}`)
    const proxy = await startSlowProxy({ port: Number(new URL(server.endpoint).port) })
    const behind = { ...s3, endpoint: `http://127.0.0.1:${proxy.port}` }
    const world = createTestWorld()
    const store = createS3ObjectStore({ root: `s3://${bucket}`, s3: behind, world, requestTimeoutMs: 1_000 })
    const path = `s3://${bucket}/x`
    const unavailable = { code: 'store-unavailable' }
    await store.put(path, bytes('x'))
    proxy.set({ swallowAnswers: true })
    await expect(store.get(path)).rejects.toMatchObject(unavailable)
    // The answer is lost, the object is there.
    await expect(store.put(path, bytes('yy'), { ifNoneMatch: '*' })).rejects.toMatchObject(unavailable)
    await expect(store.put(path, bytes('yy'))).rejects.toMatchObject(unavailable)
    proxy.set({ refuse: true })
    proxy.cutConnections()
    await expect(store.put(path, bytes('z'))).rejects.toMatchObject(unavailable)
    await expect(store.head(path)).rejects.toMatchObject(unavailable)
    await expect(store.delete([path])).rejects.toMatchObject(unavailable)
    await expect(Array.fromAsync(store.list(store.root))).rejects.toMatchObject(unavailable)
    proxy.set({})
    expect((await store.get(path)).bytes).toEqual(bytes('yy'))
    await store.close()
    await proxy.close()
  })

  test('with retries around it, a lost answer to a creation is found out', async () => {
    const bucket = await server.bucket(`lost-${run}`)
    const proxy = await startSlowProxy({ port: Number(new URL(server.endpoint).port) })
    const behind = { ...s3, endpoint: `http://127.0.0.1:${proxy.port}` }
    const world = createTestWorld({ sleepAdvances: true })
    const plain = createS3ObjectStore({ root: `s3://${bucket}`, s3: behind, world })
    const store = retryRequests(plain, world)
    proxy.cutAfterAnswerBytes(5)
    const info = await store.put(`s3://${bucket}/once`, bytes('mine'), { ifNoneMatch: '*' })
    expect(await store.head(`s3://${bucket}/once`)).toMatchObject({ size: 4, etag: info.etag })
    await expect(store.put(`s3://${bucket}/once`, bytes('mine'), { ifNoneMatch: '*' })).rejects.toMatchObject({
      code: 'precondition-failed',
    })
    await store.close()
    await proxy.close()
  })
})

describe('a server that answers oddly', () => {
  let odd: Server
  let answer: (url: string, method: string) => { status: number; body: string; headers?: Record<string, string> }
  let store: ReturnType<typeof createS3ObjectStore>
  beforeAll(async () => {
    odd = createServer((request, response) => {
      request.resume().on('end', () => {
        const { status, body, headers } = answer(request.url ?? '', request.method ?? '')
        response.writeHead(status, headers).end(body)
      })
    })
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(odd.address() as AddressInfo).port}`
    store = createS3ObjectStore({
      root: 's3://bucket/lake',
      s3: { endpoint, region: 'us-east-1', accessKeyId: 'a', secretAccessKey: 'b', pathStyle: true },
      world: createTestWorld(),
      multipartBytesMin: 10,
      partBytes: 5,
    })
  })
  afterAll(async () => {
    await store.close()
    odd.closeAllConnections()
    await new Promise((resolve) => odd.close(resolve))
  })
  const path = 's3://bucket/lake/x'
  const xmlError = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>odd</Message></Error>`
  const uploadStarted = '<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>'
  const unavailable = { code: 'store-unavailable' }

  test.each([
    [503, 'SlowDown', 'store-unavailable'],
    [500, 'InternalError', 'store-unavailable'],
    [409, 'OperationAborted', 'store-unavailable'],
    [400, 'RequestTimeout', 'store-unavailable'],
    [400, 'ExpiredToken', 'store-unavailable'],
    [429, 'TooManyRequests', 'store-unavailable'],
    [412, 'PreconditionFailed', 'precondition-failed'],
    [409, 'ConditionalRequestConflict', 'precondition-failed'],
    [403, 'AccessDenied', 'settings-invalid'],
    [404, 'NoSuchBucket', 'settings-invalid'],
    [301, 'PermanentRedirect', 'settings-invalid'],
    [501, 'NotImplemented', 'settings-invalid'],
    [404, 'NoSuchKey', 'file-missing'],
    [400, 'InvalidArgument', 'request-invalid'],
  ])('%i %s is %s', async (status, code, expected) => {
    answer = () => ({ status, body: xmlError(code) })
    await expect(store.get(path)).rejects.toMatchObject({ code: expected })
    await expect(store.put(path, bytes('x'))).rejects.toMatchObject({ code: expected })
  })

  test('an error under status 200 is noticed: completion, listing, deletion, put', async () => {
    answer = (url, method) => {
      if (method === 'POST' && url.includes('uploads')) {
        return { status: 200, body: uploadStarted }
      }
      if (method === 'PUT' && url.includes('partNumber')) return { status: 200, body: '', headers: { etag: '"p"' } }
      return { status: 200, body: xmlError('InternalError') }
    }
    await expect(store.put(path, bytes('longer than ten bytes'))).rejects.toMatchObject(unavailable)
    await expect(store.put(path, bytes('short'))).rejects.toMatchObject(unavailable)
    await expect(Array.fromAsync(store.list('s3://bucket/lake/'))).rejects.toMatchObject(unavailable)
    answer = () => ({
      status: 200,
      body: '<DeleteResult><Error><Key>lake/x</Key><Code>InternalError</Code></Error></DeleteResult>',
    })
    await expect(store.delete([path])).rejects.toMatchObject(unavailable)
    answer = () => ({
      status: 200,
      body: '<DeleteResult><Error><Key>lake/x</Key><Code>AccessDenied</Code></Error></DeleteResult>',
    })
    await expect(store.delete([path])).rejects.toMatchObject({ code: 'settings-invalid' })
  })

  test('a file that shrinks while it is sent is an error, and its parts are aborted', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-s3-test-'))
    const local = join(folder, 'file')
    await writeFile(local, 'a file of more than one part')
    const aborted: string[] = []
    answer = (url, method) => {
      if (method === 'DELETE') aborted.push(url)
      if (method === 'POST') return { status: 200, body: uploadStarted }
      truncateSync(local, 3)
      return { status: 200, body: '', headers: { etag: '"p"' } }
    }
    await expect(store.putFile(path, local)).rejects.toMatchObject({ code: 'file-damaged' })
    expect(aborted).toEqual([expect.stringContaining('uploadId=u')])
    await rm(folder, { recursive: true })
  })

  test('another range than asked for is not used; the whole object is cut', async () => {
    const etag = '"e"'
    answer = () => ({ status: 206, body: 'abc', headers: { etag, 'content-range': 'bytes 5-7/100' } })
    await expect(store.get(path, { range: { start: 0, end: 3 } })).rejects.toMatchObject(unavailable)
    answer = () => ({ status: 200, body: '0123456789', headers: { etag } })
    const got = await store.get(path, { range: { start: 2, end: 5 } })
    expect([new TextDecoder().decode(got.bytes), got.objectSize]).toEqual(['234', 10])
  })

  test('bytes that do not match their checksum are damage, naming the object', async () => {
    const headers = { etag: '"e"', 'content-length': '3', 'x-amz-checksum-crc32': 'AAAAAA==' }
    answer = () => ({ status: 200, body: 'abc', headers })
    await expect(store.get(path)).rejects.toMatchObject({
      code: 'file-damaged',
      message: expect.stringContaining(path),
    })
  })

  test('a body shorter than announced is unavailable, never a short answer', async () => {
    const cut = createServer((request, response) => {
      request.resume()
      response.writeHead(200, { etag: '"e"', 'content-length': '1000' })
      response.write('only this', () => response.destroy())
    })
    await new Promise<void>((resolve) => cut.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(cut.address() as AddressInfo).port}`
    const keys = { region: 'us-east-1', accessKeyId: 'a', secretAccessKey: 'b', pathStyle: true }
    const reader = createS3ObjectStore({
      root: 's3://bucket/lake',
      s3: { endpoint, ...keys },
      world: createTestWorld(),
    })
    await expect(reader.get(path)).rejects.toMatchObject(unavailable)
    await reader.close()
    await new Promise((resolve) => cut.close(resolve))
  })
})

/** Names of files with parts of open uploads, as our own server keeps them. */
async function openUploads(bucket: string): Promise<string[]> {
  if (server.folder === undefined) return []
  const entries = await readdir(join(server.folder, bucket, '.sgwtmp'), { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
}
