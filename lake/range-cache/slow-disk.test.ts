// A disk that is slow or fails costs the next process what was fetched, and never a caller its time or its bytes (PROTOCOL 9).
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import { sampleBatch } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { createRangeCache, type RangeCache } from './range-cache.ts'

const PATH = 's3://bucket/lake/t/a.parquet'
const RANGE = { start: 0, end: 4096 }

let folder: string
let object: Uint8Array
let caches: RangeCache[]
let gets: number

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-slow-disk-'))
  const batch = sampleBatch([
    { name: 'n', type: { kind: 'long' }, values: Array.from({ length: 4000 }, (_, i) => BigInt(i * i)) },
  ])
  object = writeParquet(batch, { compression: 'none', level: 1, rowGroupRows: 1000, keyValues: {} }).bytes
  caches = []
  gets = 0
})
afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(caches.map((cache) => cache.close()))
  rmSync(folder, { recursive: true, force: true })
})

async function openCache(): Promise<RangeCache> {
  const world = createTestWorld()
  const memory = createMemoryObjectStore({ root: 's3://bucket/lake', world })
  await memory.put(PATH, object)
  const store: typeof memory = {
    ...memory,
    get(path, options) {
      gets++
      return memory.get(path, options)
    },
  }
  const cache = await createRangeCache({ folder, bytesMax: 1 << 30, store, world, wholeFileBytesMax: 0 })
  caches.push(cache)
  return cache
}

/** What `datasync` of every file does from now on. */
async function onSync(sync: () => Promise<void>): Promise<void> {
  const handle = await open(folder, 'r')
  vi.spyOn(Object.getPrototypeOf(handle) as typeof handle, 'datasync').mockImplementation(sync)
  await handle.close()
}

test('a caller does not wait for the disk; the index names what is on it, and close waits for that', async () => {
  const cache = await openCache()
  const disk = Promise.withResolvers<void>()
  await onSync(() => disk.promise)
  const held = await cache.ensure(PATH, object.length, undefined, [RANGE])
  expect(readFileSync(held.localFile).subarray(RANGE.start, RANGE.end)).toEqual(Buffer.from(object.slice(0, 4096)))
  expect(existsSync(held.localFile.replace(/data$/, 'index'))).toBe(false)
  held.release()
  disk.resolve()
  await cache.close()
  const before = gets
  const restarted = await openCache()
  ;(await restarted.ensure(PATH, object.length, undefined, [RANGE])).release()
  expect(gets).toBe(before)
})

test('a file that is evicted while it goes to the disk gives its space back at once, and leaves nothing', async () => {
  const cache = await openCache()
  const disk = Promise.withResolvers<void>()
  await onSync(() => disk.promise)
  const held = await cache.ensure(PATH, object.length, '"other"', [RANGE]).catch(() => undefined)
  expect(held).toBeUndefined()
  const first = await cache.ensure(PATH, object.length, undefined, [RANGE])
  first.release()
  // Of another size: the file of before goes.
  await cache.ensure(PATH, object.length + 1, undefined, [RANGE]).catch(() => undefined)
  expect(cache.stats()).toMatchObject({ files: 0, bytes: 0 })
  disk.resolve()
  await cache.close()
  expect(existsSync(first.localFile)).toBe(false)
})

test('bytes that a failing disk did not take are compared before their next use, and are not in the index', async () => {
  const cache = await openCache()
  await onSync(() => Promise.reject(new Error('EIO')))
  const held = await cache.ensure(PATH, object.length, undefined, [RANGE])
  const before = gets
  ;(await cache.ensure(PATH, object.length, undefined, [RANGE])).release()
  held.release()
  expect(gets).toBe(before)
  expect(cache.stats().damagedRanges).toBe(0)
  expect(existsSync(held.localFile.replace(/data$/, 'index'))).toBe(false)
})
