import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { ByteRange, ObjectStore } from '../object-store/object-store.ts'
import { parseFooter } from '../parquet/footer.ts'
import { sampleBatch } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { createRangeCache, type RangeCache, type RangeCacheOptions } from './range-cache.ts'

const world = createTestWorld()
const PATH = 's3://bucket/lake/t/a.parquet'
const OTHER = 's3://bucket/lake/t/b.parquet'
/** 500 rows of hardly compressible text in five row groups. */
const OBJECT = objectOf(1)

let folder: string
let store: ObjectStore
let gets: { path: string; range: ByteRange | undefined }[]
let hold: Promise<void> | undefined
let caches: RangeCache[]

function objectOf(seed: number): Uint8Array {
  let state = seed
  const values = Array.from({ length: 500 }, () => {
    let text = ''
    for (let i = 0; i < 40; i++) {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      text += state.toString(36)
    }
    return text
  })
  const batch = sampleBatch([
    { name: 's', type: { kind: 'string' }, values },
    { name: 'n', type: { kind: 'long' }, values: values.map((_, i) => BigInt(i) * 77n) },
  ])
  return writeParquet(batch, { compression: 'none', level: 1, rowGroupRows: 100, keyValues: {} }).bytes
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-range-cache-'))
  const memory = createMemoryObjectStore({ root: 's3://bucket/lake', world })
  gets = []
  hold = undefined
  caches = []
  store = {
    ...memory,
    async get(path, options) {
      gets.push({ path, range: options?.range })
      await hold
      return memory.get(path, options)
    },
  }
  await store.put(PATH, OBJECT)
  await store.put(OTHER, objectOf(2))
})

afterEach(async () => {
  await Promise.all(caches.map((cache) => cache.close()))
  rmSync(folder, { recursive: true, force: true })
})

async function openCache(options: Partial<RangeCacheOptions> = {}): Promise<RangeCache> {
  const cache = await createRangeCache({ folder, bytesMax: 1 << 30, store, world, wholeFileBytesMax: 0, ...options })
  caches.push(cache)
  return cache
}

function bytesOf(localFile: string, { start, end }: ByteRange): Uint8Array {
  return new Uint8Array(readFileSync(localFile).subarray(start, end))
}

function fetched(): number {
  return gets.reduce((sum, { range }) => sum + (range === undefined ? 0 : range.end - range.start), 0)
}

const SIZE = OBJECT.length
const footer = parseFooter(OBJECT, SIZE)
if ('needBytes' in footer) throw new Error('the whole object was given')
/** The text chunks: before the tail that a footer read brings. */
const CHUNKS: readonly ByteRange[] = footer.rowGroups.map((group) => group.chunks[0])
const [FIRST, SECOND] = CHUNKS

describe('filling', () => {
  test('only what was asked for and the footer are fetched, each once', async () => {
    const cache = await openCache()
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    expect(bytesOf(file.localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
    expect(readFileSync(file.localFile).length).toBe(SIZE)
    expect(file.requests).toBe(2)
    expect(file.fetchedBytes).toBe(fetched())
    const again = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    expect([again.fetchedBytes, again.requests]).toEqual([0, 0])
    expect((await cache.footer(PATH, SIZE)).rowCount).toBe(500)
    expect(gets.length).toBe(2)
    file.release()
    again.release()
  })

  test('a small object comes whole in one GET', async () => {
    const cache = await openCache({ wholeFileBytesMax: 4 << 20 })
    await cache.footer(PATH, SIZE)
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
    expect(gets).toEqual([{ path: PATH, range: { start: 0, end: SIZE } }])
    expect(new Uint8Array(readFileSync(file.localFile))).toEqual(new Uint8Array(OBJECT))
  })

  test('concurrent callers wait for one another instead of fetching twice', async () => {
    const cache = await openCache()
    const files = await Promise.all(
      Array.from({ length: 20 }, (_, i) => cache.ensure(PATH, SIZE, undefined, [i % 2 === 0 ? FIRST : SECOND])),
    )
    expect(fetched()).toBe(cache.stats().bytes)
    for (const file of files) {
      expect(bytesOf(file.localFile, SECOND)).toEqual(OBJECT.subarray(SECOND.start, SECOND.end))
      file.release()
    }
  })

  test('one caller leaves, the other one still gets its bytes', async () => {
    const cache = await openCache()
    await cache.footer(PATH, SIZE)
    const gate = Promise.withResolvers<void>()
    hold = gate.promise
    const leaver = new AbortController()
    const left = cache.ensure(PATH, SIZE, undefined, [FIRST], leaver.signal)
    const stayed = cache.ensure(PATH, SIZE, undefined, [FIRST])
    const refused = expect(left).rejects.toThrow('client went away')
    await new Promise((resolve) => setImmediate(resolve))
    leaver.abort(new Error('client went away'))
    await refused
    gate.resolve()
    expect(bytesOf((await stayed).localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
    expect(gets.length).toBe(2)
  })

  test('a failed GET gives its space back and the next caller tries again', async () => {
    const cache = await openCache()
    await cache.footer(PATH, SIZE)
    const before = cache.stats().bytes
    hold = Promise.reject(new Error('connection reset'))
    await expect(cache.ensure(PATH, SIZE, undefined, [FIRST])).rejects.toThrow('connection reset')
    hold = undefined
    expect(cache.stats().bytes).toBe(before)
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    expect(bytesOf(file.localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
  })

  test('a file of this machine is itself', async () => {
    const cache = await openCache()
    const local = join(folder, 'local.parquet')
    writeFileSync(local, OBJECT)
    const file = await cache.ensure(`file://${local}`, SIZE, undefined, [FIRST])
    expect(file).toMatchObject({ localFile: local, fetchedBytes: 0, requests: 0 })
    expect((await cache.footer(`file://${local}`, SIZE)).rowCount).toBe(500)
    await expect(cache.footer(`file://${local}`, SIZE + 1)).rejects.toMatchObject({ code: 'file-damaged' })
  })
})

describe('another object, a shorter object, no object', () => {
  test('an insisted etag that the object does not have is an error; without one it is fetched anew', async () => {
    const cache = await openCache()
    const old = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    const changed = OBJECT.slice()
    changed[FIRST.start + 100] ^= 255
    const { etag } = await store.put(PATH, changed)
    await expect(cache.ensure(PATH, SIZE, '"other"', [FIRST])).rejects.toMatchObject({ code: 'file-damaged' })
    const fresh = await cache.ensure(PATH, SIZE, etag, [FIRST])
    expect(fresh.localFile).not.toBe(old.localFile)
    expect(bytesOf(fresh.localFile, FIRST)).toEqual(changed.subarray(FIRST.start, FIRST.end))
    expect(bytesOf(old.localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
    await store.put(PATH, OBJECT)
    const newest = await cache.ensure(PATH, SIZE, undefined, [SECOND])
    expect(bytesOf(newest.localFile, SECOND)).toEqual(OBJECT.subarray(SECOND.start, SECOND.end))
  })

  test('a truncated object and a missing one are named', async () => {
    const cache = await openCache()
    await store.put(PATH, OBJECT.subarray(0, SIZE - 1000))
    await expect(cache.ensure(PATH, SIZE, undefined, [FIRST])).rejects.toMatchObject({ code: 'file-damaged' })
    await store.delete([PATH])
    await expect(cache.ensure(PATH, SIZE, undefined, [FIRST])).rejects.toMatchObject({ code: 'file-missing' })
    expect(cache.stats().bytes).toBe(0)
  })
})

describe('after a restart', () => {
  async function filled(): Promise<string> {
    const cache = await openCache()
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
    await cache.close()
    gets = []
    return file.localFile
  }

  test('what was published is used again without a GET', async () => {
    await filled()
    const cache = await openCache()
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    expect(bytesOf(file.localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
    expect(gets).toEqual([])
  })

  test('bytes that were torn are dropped and fetched again', async () => {
    const localFile = await filled()
    const torn = readFileSync(localFile)
    torn.fill(0, FIRST.start + 50, FIRST.end)
    writeFileSync(localFile, torn)
    const cache = await openCache()
    const file = await cache.ensure(PATH, SIZE, undefined, CHUNKS.slice(0, 2))
    for (const chunk of [FIRST, SECOND]) {
      expect(bytesOf(file.localFile, chunk)).toEqual(OBJECT.subarray(chunk.start, chunk.end))
    }
    expect(cache.stats().damagedRanges).toBeGreaterThan(0)
  })

  test('a torn last line of the index, another length, or no index: never wrong bytes', async () => {
    const indexOf = (localFile: string) => localFile.replace(/data$/, 'index')
    const damages: ((localFile: string) => void)[] = [
      (localFile) => appendFileSync(indexOf(localFile), '4 999 0123'),
      (localFile) => truncateSync(indexOf(localFile), readFileSync(indexOf(localFile)).length - 5),
      (localFile) => truncateSync(localFile, 100),
      (localFile) => rmSync(indexOf(localFile)),
      (localFile) => rmSync(localFile),
      (localFile) => writeFileSync(indexOf(localFile), 'nonsense\n'),
    ]
    for (const damage of damages) {
      damage(await filled())
      const cache = await openCache()
      const file = await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
      expect(bytesOf(file.localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
      expect(bytesOf(file.localFile, SECOND)).toEqual(OBJECT.subarray(SECOND.start, SECOND.end))
      await cache.close()
      rmSync(folder, { recursive: true })
    }
  })
})

describe('space', () => {
  test('the least recently used file without a pin goes; held ones make it overloaded', async () => {
    const cache = await openCache({
      bytesMax: Math.floor(SIZE * 1.5),
      wholeFileBytesMax: SIZE * 2,
      bytesMaxSetting: 'x.y',
    })
    const size = objectOf(2).length
    const held = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    await expect(cache.ensure(OTHER, size, undefined, [])).rejects.toMatchObject({
      code: 'overloaded',
      message: expect.stringContaining('x.y'),
    })
    expect(bytesOf(held.localFile, FIRST)).toEqual(OBJECT.subarray(FIRST.start, FIRST.end))
    held.release()
    held.release()
    const other = await cache.ensure(OTHER, size, undefined, [])
    expect(cache.stats()).toMatchObject({ files: 1, bytes: size, pinnedFiles: 1, evictedFiles: 1 })
    other.release()
    await cache.close()
    expect(readdirSync(folder).length).toBe(2)
  })
})

test('after any sequence the ensured ranges hold the bytes of the object', async () => {
  const objects = new Map([
    [PATH, OBJECT],
    [OTHER, objectOf(2)],
  ])
  const anyStep = fc.record({
    path: fc.constantFrom(PATH, OTHER),
    picks: fc.array(fc.tuple(fc.nat(SIZE), fc.integer({ min: 1, max: 9000 })), { maxLength: 4 }),
    kind: fc.constantFrom('ensure', 'ensure', 'ensure', 'restart', 'rewrite'),
    isKept: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 12 }), async (steps) => {
      let cache = await openCache({ bytesMax: SIZE * 3 })
      const held: { release(): void }[] = []
      for (const { path, picks, kind, isKept } of steps) {
        const object = objects.get(path) as Uint8Array
        if (kind === 'restart') {
          await cache.close()
          held.length = 0
          cache = await openCache({ bytesMax: SIZE * 3 })
        } else if (kind === 'rewrite') await store.put(path, object)
        const ranges = picks
          .map(([start, length]) => ({
            start: Math.min(start, object.length),
            end: Math.min(start + length, object.length),
          }))
          .filter(({ start, end }) => start < end)
        const file = await cache.ensure(path, object.length, undefined, ranges)
        for (const range of ranges) {
          expect(Buffer.compare(bytesOf(file.localFile, range), object.subarray(range.start, range.end))).toBe(0)
        }
        if (isKept && held.length === 0) held.push(file)
        else file.release()
      }
      await cache.close()
    }),
    { numRuns: 25 },
  )
})
