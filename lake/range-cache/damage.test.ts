// Whatever happens to the bytes, here or in the bucket, a caller gets those that were recorded or an error that names the object:
// never others (PROTOCOL 9).
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { checksumOf } from '../checksum.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { ByteRange, ObjectStore } from '../object-store/object-store.ts'
import { sampleBatch } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { createRangeCache, type RangeCache, type RangeCacheOptions } from './range-cache.ts'

const PATH = 's3://bucket/lake/t/a.parquet'
const OBJECT = makeObject()
const SIZE = OBJECT.length
const CHECKSUM = checksumOf(OBJECT)
/** Before the footer. */
const FIRST = { start: 0, end: 4096 }
const SECOND = { start: 8192, end: 12_288 }

function makeObject(): Uint8Array {
  const values = Array.from({ length: 40_000 }, (_, row) => BigInt(Math.imul(row + 1, 2654435761) >>> 0) * 7919n)
  const batch = sampleBatch([{ name: 'n', type: { kind: 'long' }, values }])
  return writeParquet(batch, { compression: 'none', level: 1, rowGroupRows: 10_000, keyValues: {} }).bytes
}

let world = createTestWorld()
let folder: string
let store: ObjectStore
let gets: ByteRange[]
let caches: RangeCache[]
/** What the way here does to a body. */
let onTheWay: (bytes: Uint8Array) => Uint8Array

beforeEach(async () => {
  world = createTestWorld()
  folder = mkdtempSync(join(tmpdir(), 'millrace-damage-'))
  const memory = createMemoryObjectStore({ root: 's3://bucket/lake', world })
  gets = []
  caches = []
  onTheWay = (bytes) => bytes
  store = {
    ...memory,
    async get(path, options) {
      gets.push(options?.range ?? { start: 0, end: SIZE })
      const got = await memory.get(path, options)
      return { ...got, bytes: onTheWay(got.bytes) }
    },
  }
  await store.put(PATH, OBJECT)
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

function alter(localFile: string, at: number, bytes: Uint8Array): void {
  const file = openSync(localFile, 'r+')
  writeSync(file, bytes, 0, bytes.length, at)
  closeSync(file)
}

const bytesOf = (localFile: string, { start, end }: ByteRange) =>
  new Uint8Array(readFileSync(localFile)).subarray(start, end)
const expected = ({ start, end }: ByteRange) => new Uint8Array(OBJECT).subarray(start, end)

describe('a cache file that somebody else changes while the cache runs', () => {
  const changes: Record<string, (localFile: string) => void> = {
    'a flipped bit': (localFile) =>
      alter(localFile, FIRST.start + 1000, new Uint8Array([OBJECT[FIRST.start + 1000] ^ 4])),
    'half a chunk zeroed': (localFile) => alter(localFile, FIRST.start + 2048, new Uint8Array(2048)),
    'cut short': (localFile) => truncateSync(localFile, 100),
    deleted: (localFile) => rmSync(localFile),
    'replaced by another file': (localFile) => {
      writeFileSync(`${localFile}.new`, new Uint8Array(SIZE))
      renameSync(`${localFile}.new`, localFile)
    },
  }
  for (const [name, change] of Object.entries(changes)) {
    test(`${name}: noticed before the next use, and fetched again`, async () => {
      const cache = await openCache()
      for (const isHeld of [false, true]) {
        const file = await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
        if (!isHeld) file.release()
        change(file.localFile)
        const again = await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
        expect(bytesOf(again.localFile, FIRST)).toEqual(expected(FIRST))
        expect(bytesOf(again.localFile, SECOND)).toEqual(expected(SECOND))
        expect(again.requests).toBeGreaterThan(0)
        again.release()
        file.release()
      }
      const rest = await cache.ensure(PATH, SIZE, undefined, [{ start: 0, end: SIZE }])
      expect(bytesOf(rest.localFile, { start: 0, end: SIZE })).toEqual(new Uint8Array(OBJECT))
      expect(cache.stats().bytes).toBe(SIZE)
      // Nothing is compared or fetched for a file that nobody touched.
      gets = []
      await cache.ensure(PATH, SIZE, undefined, [{ start: 0, end: SIZE }])
      expect(gets).toEqual([])
    })
  }

  test('the whole folder deleted: filled again', async () => {
    const cache = await openCache()
    ;(await cache.ensure(PATH, SIZE, undefined, [FIRST])).release()
    rmSync(folder, { recursive: true })
    for (const range of [FIRST, SECOND]) {
      const file = await cache.ensure(PATH, SIZE, undefined, [range])
      expect(bytesOf(file.localFile, range)).toEqual(expected(range))
      file.release()
    }
  })

  test('what a reader could not make sense of is compared, and only what is damaged is fetched again', async () => {
    const cache = await openCache()
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
    file.distrust()
    gets = []
    await cache.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
    expect([gets, cache.stats().damagedRanges]).toEqual([[], 0])
  })
})

describe('an object', () => {
  test('that comes whole with other bytes than recorded is an error that names it, and is not kept', async () => {
    const cache = await openCache({ wholeFileBytesMax: 4 << 20 })
    onTheWay = (bytes) => {
      const altered = bytes.slice()
      altered[777] ^= 1
      return altered
    }
    const refused = cache.ensure(PATH, SIZE, undefined, [], undefined, CHECKSUM)
    await expect(refused).rejects.toMatchObject({ code: 'file-damaged', message: expect.stringContaining(PATH) })
    expect(cache.stats().bytes).toBe(0)
    onTheWay = (bytes) => bytes
    const file = await cache.ensure(PATH, SIZE, undefined, [], undefined, CHECKSUM)
    expect(bytesOf(file.localFile, FIRST)).toEqual(expected(FIRST))
  })

  test('whose body ends early is asked for again, a few times', async () => {
    const cache = await openCache()
    let short = 2
    onTheWay = (bytes) => (short-- > 0 ? bytes.subarray(0, bytes.length >> 1) : bytes)
    const file = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    expect(bytesOf(file.localFile, FIRST)).toEqual(expected(FIRST))
    short = 100
    const refused = cache.ensure(PATH, SIZE, undefined, [SECOND])
    await expect(refused).rejects.toMatchObject({ code: 'file-damaged', message: expect.stringContaining(PATH) })
  })

  test('with another etag and the recorded bytes is taken: a bucket that was restored from a copy', async () => {
    for (const recorded of ['"of before"', undefined]) {
      const cache = await openCache()
      if (recorded === undefined) await cache.ensure(PATH, SIZE, undefined, [FIRST])
      await store.put(PATH, OBJECT)
      gets = []
      const ask = () => cache.ensure(PATH, SIZE, recorded, [SECOND], undefined, CHECKSUM)
      const files = await Promise.all([ask(), ask(), ask()])
      for (const { localFile } of files) expect(bytesOf(localFile, SECOND)).toEqual(expected(SECOND))
      // Whole, once, whoever asks.
      expect(gets.filter(({ start, end }) => end - start === SIZE)).toHaveLength(1)
      gets = []
      const again = await cache.ensure(PATH, SIZE, recorded, [FIRST], undefined, CHECKSUM)
      expect([bytesOf(again.localFile, FIRST), gets]).toEqual([expected(FIRST), []])
      await cache.close()
      rmSync(folder, { recursive: true })
    }
  })

  test('with another etag and other bytes of the same length is an error, also when parts of the recorded one are here', async () => {
    const { etag } = await store.put(PATH, OBJECT)
    const other = OBJECT.map((byte, at) => (at >= 8 && at < SECOND.end ? byte ^ 1 : byte))
    for (const checksum of [CHECKSUM, undefined]) {
      const cache = await openCache()
      await store.put(PATH, OBJECT)
      const first = await cache.ensure(PATH, SIZE, undefined, [FIRST])
      await store.put(PATH, other)
      const refused = cache.ensure(PATH, SIZE, etag, [SECOND], undefined, checksum)
      await expect(refused).rejects.toMatchObject({ code: 'file-damaged', message: expect.stringContaining(PATH) })
      // Who holds the recorded one keeps it.
      expect(bytesOf(first.localFile, FIRST)).toEqual(expected(FIRST))
      first.release()
      expect(cache.stats()).toMatchObject({ bytes: 0, files: 0 })
      await cache.close()
      rmSync(folder, { recursive: true })
    }
  })
})

describe('after a kill', () => {
  test('a torn last line costs its own range, not the file', async () => {
    const cache = await openCache()
    const { localFile } = await cache.ensure(PATH, SIZE, undefined, [FIRST])
    await cache.ensure(PATH, SIZE, undefined, [SECOND])
    await cache.close()
    const index = localFile.replace(/data$/, 'index')
    truncateSync(index, readFileSync(index).length - 3)
    for (const expectedGets of [[SECOND], []]) {
      gets = []
      const restarted = await openCache()
      const file = await restarted.ensure(PATH, SIZE, undefined, [FIRST, SECOND])
      expect([bytesOf(file.localFile, FIRST), bytesOf(file.localFile, SECOND)]).toEqual([
        expected(FIRST),
        expected(SECOND),
      ])
      expect(gets).toEqual(expectedGets)
      await restarted.close()
    }
  })

  test('what was used last is what stays when there is no room', async () => {
    const paths = ['a', 'b', 'c'].map((name) => `s3://bucket/lake/t/${name}.parquet`)
    for (const path of paths) await store.put(path, OBJECT)
    const whole = [{ start: 0, end: SIZE }]
    const cache = await openCache()
    const files = new Map<string, string>()
    for (const path of paths) files.set(path, (await cache.ensure(path, SIZE, undefined, whole)).localFile)
    await cache.close()
    // Used in this order: b, c, a.
    for (const [path, at] of [
      ['b', 1],
      ['c', 2],
      ['a', 3],
    ] as const) {
      const index = files.get(`s3://bucket/lake/t/${path}.parquet`)!.replace(/data$/, 'index')
      utimesSync(index, at, at)
    }
    const smaller = await openCache({ bytesMax: SIZE * 2 })
    expect(smaller.stats()).toMatchObject({ files: 2, bytes: SIZE * 2 })
    gets = []
    for (const path of [paths[2], paths[0]]) (await smaller.ensure(path, SIZE, undefined, whole)).release()
    expect(gets).toEqual([])
    ;(await smaller.ensure(paths[1], SIZE, undefined, whole)).release()
    gets = []
    // c was used longest ago.
    ;(await smaller.ensure(paths[0], SIZE, undefined, whole)).release()
    expect(gets).toEqual([])
  })
})

test('of files used alike, the one that comes in one GET makes room for the one of many ranges', async () => {
  const [ranged, whole, more] = ['a', 'b', 'c'].map((name) => `s3://bucket/lake/t/${name}.parquet`)
  for (const path of [ranged, whole, more]) await store.put(path, OBJECT)
  const cache = await openCache({ bytesMax: Math.floor(SIZE * 2.2) })
  const everything = [{ start: 0, end: SIZE }]
  const pieces = Array.from({ length: 8 }, (_, index) => ({ start: index * 4000, end: index * 4000 + 1000 }))
  ;(await cache.ensure(ranged, SIZE, undefined, pieces)).release()
  ;(await cache.ensure(whole, SIZE, undefined, everything)).release()
  ;(await cache.ensure(more, SIZE, undefined, everything)).release()
  gets = []
  ;(await cache.ensure(ranged, SIZE, undefined, pieces)).release()
  expect(gets).toEqual([])
})

test('a small file of this machine is compared with its checksum, once and after any change', async () => {
  const cache = await openCache({ wholeFileBytesMax: 4 << 20 })
  const local = join(folder, 'local.parquet')
  writeFileSync(local, OBJECT)
  const ask = () => cache.ensure(`file://${local}`, SIZE, undefined, [FIRST], undefined, CHECKSUM)
  await ask()
  alter(local, 5000, new Uint8Array([OBJECT[5000] ^ 1]))
  await expect(ask()).rejects.toMatchObject({ code: 'file-damaged', message: expect.stringContaining(local) })
  alter(local, 5000, new Uint8Array([OBJECT[5000]]))
  await ask()
  // Of another file under the name the footer is its own.
  const rows = (await cache.footer(`file://${local}`, SIZE)).rowCount
  expect(rows).toBe(40_000)
})
