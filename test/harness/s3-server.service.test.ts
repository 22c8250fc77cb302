import { afterEach, describe, expect, test, vi } from 'vitest'
import { createS3ObjectStore } from '../../lake/object-store/s3.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { startS3Server } from './s3-server.ts'

afterEach(() => vi.unstubAllEnvs())

describe('S3 server for tests', () => {
  test('keeps its bytes over a kill and a restart, and a pause is only a pause', async () => {
    vi.stubEnv('MILLRACE_TEST_S3', '')
    const server = await startS3Server()
    const root = `s3://${await server.bucket('kept')}`
    const store = createS3ObjectStore({ root, s3: server, world: createTestWorld(), requestTimeoutMs: 1_000 })
    await store.put(`${root}/x`, new Uint8Array(3))
    server.pause()
    await expect(store.head(`${root}/x`)).rejects.toMatchObject({ code: 'store-unavailable' })
    server.resume()
    expect((await store.head(`${root}/x`))?.size).toBe(3)
    await server.kill()
    await expect(store.head(`${root}/x`)).rejects.toMatchObject({ code: 'store-unavailable' })
    await server.restart()
    expect((await store.head(`${root}/x`))?.size).toBe(3)

    // The variable points at a server that runs, here this one.
    const keys = `${server.accessKeyId}:${server.secretAccessKey}`
    vi.stubEnv('MILLRACE_TEST_S3', server.endpoint.replace('://', `://${keys}@`))
    const running = await startS3Server()
    const { endpoint, accessKeyId, secretAccessKey, region } = running
    expect({ endpoint, accessKeyId, secretAccessKey, region }).toEqual({
      endpoint: server.endpoint,
      accessKeyId: server.accessKeyId,
      secretAccessKey: server.secretAccessKey,
      region: server.region,
    })
    expect(await running.bucket('kept')).toBe('kept')
    await expect(running.kill()).rejects.toThrow(/unset MILLRACE_TEST_S3/)
    await running.stop()
    expect((await store.head(`${root}/x`))?.size).toBe(3)
    await store.close()
    await server.stop()
  })

  test('a variable without keys is refused with what was expected', async () => {
    vi.stubEnv('MILLRACE_TEST_S3', 'http://127.0.0.1:9000')
    await expect(startS3Server()).rejects.toThrow(/expected http:\/\/accessKeyId:secretAccessKey@host:port/)
  })
})
