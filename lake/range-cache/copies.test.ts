import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { type CountingObjectStore, countRequests } from '../object-store/count.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { sampleBatch } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { keepCopies } from './copies.ts'
import { createRangeCache, type RangeCache, type RangeCacheOptions } from './range-cache.ts'

const ROOT = 's3://bucket/lake'
const PATH = `${ROOT}/t/segments/a.parquet`
const OTHER = `${ROOT}/t/segments/b.parquet`
const SEGMENT = segmentOf(1n)
const SIZE = SEGMENT.length
const WHOLE = [{ start: 0, end: SIZE }]

const world = createTestWorld()
let folder: string
let copies: string
let store: CountingObjectStore
let writing: ObjectStore
let caches: RangeCache[]

function segmentOf(first: bigint): Uint8Array {
  const batch = sampleBatch([
    { name: 'n', type: { kind: 'long' }, values: Array.from({ length: 2000 }, (_, i) => first + BigInt(i) * 7919n) },
  ])
  return writeParquet(batch, { compression: 'none', level: 1, rowGroupRows: 500, keyValues: {} }).bytes
}

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-copies-'))
  copies = join(folder, 'incoming')
  store = countRequests(createMemoryObjectStore({ root: ROOT, world }))
  writing = keepCopies(store, { folder: copies, bytesMax: SIZE * 64, world })
  caches = []
})
afterEach(async () => {
  await Promise.all(caches.map((cache) => cache.close()))
  rmSync(folder, { recursive: true, force: true })
})

async function openCache(options: Partial<RangeCacheOptions> = {}): Promise<RangeCache> {
  const cache = await createRangeCache({
    folder: join(folder, 'objects'),
    bytesMax: 1 << 30,
    store,
    world,
    copies: { folder: copies, keepMs: 60_000 },
    ...options,
  })
  caches.push(cache)
  return cache
}

const names = () => readdirSync(copies).sort()
const dataFile = () => join(copies, names().find((name) => name.endsWith('.data'))!)

test('a file that was put here is read without a GET, by its recorded etag, also after a restart of the cache', async () => {
  const { etag } = await writing.put(PATH, SEGMENT, { ifNoneMatch: '*' })
  const cache = await openCache()
  expect((await cache.footer(PATH, SIZE, etag)).rowCount).toBe(2000)
  const file = await cache.ensure(PATH, SIZE, etag, WHOLE)
  expect(new Uint8Array(readFileSync(file.localFile))).toEqual(new Uint8Array(SEGMENT))
  expect([file.requests, store.counts.get.requests]).toEqual([0, 0])
  expect(cache.stats()).toMatchObject({ copiedFiles: 1, bytes: SIZE, files: 1 })
  expect(names()).toEqual([])
  await cache.close()
  const again = await openCache()
  await again.ensure(PATH, SIZE, etag, WHOLE)
  expect(store.counts.get.requests).toBe(0)
})

test('a local file that was put leaves its copy too; other files leave none', async () => {
  const local = join(folder, 'local.parquet')
  writeFileSync(local, SEGMENT)
  await writing.putFile(PATH, local)
  await writing.put(`${ROOT}/t/metadata/m.json`, SEGMENT)
  expect(names()).toHaveLength(2)
  const cache = await openCache()
  await cache.ensure(PATH, SIZE, undefined, WHOLE)
  expect(store.counts.get.requests).toBe(0)
})

test('callers at once take one copy over once', async () => {
  const { etag } = await writing.put(PATH, SEGMENT)
  const cache = await openCache()
  const files = await Promise.all(Array.from({ length: 10 }, () => cache.ensure(PATH, SIZE, etag, WHOLE)))
  expect(new Set(files.map(({ localFile }) => localFile)).size).toBe(1)
  expect([store.counts.get.requests, cache.stats().copiedFiles]).toEqual([0, 1])
})

test('a copy with other bytes, or of another object, is never read', async () => {
  const { etag } = await writing.put(PATH, SEGMENT)
  const torn = readFileSync(dataFile())
  torn.fill(0, 100, 500)
  writeFileSync(dataFile(), torn)
  const cache = await openCache()
  const file = await cache.ensure(PATH, SIZE, etag, WHOLE)
  expect(new Uint8Array(readFileSync(file.localFile))).toEqual(new Uint8Array(SEGMENT))
  expect(cache.stats()).toMatchObject({ damagedRanges: 1, requests: 1 })

  await writing.put(OTHER, SEGMENT)
  // Somebody replaced the object behind our back: the copy's etag is not the recorded one.
  const changed = SEGMENT.slice()
  changed[100] ^= 255
  const replaced = await store.put(OTHER, changed)
  const other = await cache.ensure(OTHER, SIZE, replaced.etag, WHOLE)
  expect(new Uint8Array(readFileSync(other.localFile))).toEqual(new Uint8Array(changed))
  expect(cache.stats().copiedFiles).toBe(1)
})

test('data without an index, a cut file and a torn index are left alone', async () => {
  for (const damage of [
    () => rmSync(dataFile().replace('.data', '.index')),
    () => writeFileSync(dataFile(), 'short'),
    () => writeFileSync(dataFile().replace('.data', '.index'), 'nonsense\n'),
  ]) {
    const { etag } = await writing.put(PATH, SEGMENT)
    damage()
    const cache = await openCache()
    await cache.ensure(PATH, SIZE, etag, WHOLE)
    expect([store.counts.get.requests, cache.stats().copiedFiles]).toEqual([1, 0])
    await cache.close()
    rmSync(folder, { recursive: true })
    store.reset()
    writing = keepCopies(store, { folder: copies, bytesMax: SIZE * 64, world })
  }
})

test('the folder stays below its maximum with two writers; the oldest go first, and the bucket has all (G-6)', async () => {
  const bytesMax = SIZE * 32
  const writers = [1, 2].map(() => keepCopies(store, { folder: copies, bytesMax, world }))
  for (let i = 0; i < 60; i += 1) {
    await writers[i % 2].put(`${ROOT}/t/segments/${i}.parquet`, SEGMENT)
    for (const name of names()) {
      const file = join(copies, name)
      // A file system's clock is coarse: say which one is older.
      if (name.endsWith('.data') && statSync(file).mtimeMs > 1e6) utimesSync(file, i, i)
    }
    const used = names().reduce((sum, name) => sum + statSync(join(copies, name)).size, 0)
    expect(used).toBeLessThanOrEqual(bytesMax + 32 * 200)
  }
  expect(names().length).toBeGreaterThan(20)
  const cache = await openCache()
  await cache.ensure(`${ROOT}/t/segments/59.parquet`, SIZE, undefined, WHOLE)
  expect(store.counts.get.requests).toBe(0)
  await cache.ensure(`${ROOT}/t/segments/0.parquet`, SIZE, undefined, WHOLE)
  expect(store.counts.get.requests).toBe(1)
})

test('a refused PUT leaves no copy; a copy that cannot be written fails no PUT', async () => {
  await writing.put(PATH, SEGMENT, { ifNoneMatch: '*' })
  await expect(writing.put(PATH, segmentOf(5n), { ifNoneMatch: '*' })).rejects.toMatchObject({
    code: 'precondition-failed',
  })
  expect(names()).toHaveLength(2)
  const blocked = join(folder, 'blocked')
  writeFileSync(blocked, 'a file where the folder should be')
  const other = keepCopies(store, { folder: blocked, bytesMax: SIZE * 64, world })
  expect((await other.put(OTHER, SEGMENT)).size).toBe(SIZE)
  expect(world.lines.at(-1)).toMatchObject({ level: 'warn', message: expect.stringContaining('no copy') })
})

test('a copy outstays what was fetched, as long as it is young, and gives way when nothing else is left', async () => {
  const { etag } = await writing.put(PATH, SEGMENT)
  const fetched = [OTHER, `${ROOT}/t/segments/c.parquet`]
  for (const path of fetched) await store.put(path, SEGMENT)
  const cache = await openCache({ bytesMax: Math.floor(SIZE * 2.5) })
  const use = async (path: string) => (await cache.ensure(path, SIZE, undefined, WHOLE)).release()
  ;(await cache.ensure(PATH, SIZE, etag, WHOLE)).release()
  await use(fetched[0])
  // The copy was used longest ago, but the fetched one goes.
  await use(fetched[1])
  store.reset()
  ;(await cache.ensure(PATH, SIZE, etag, WHOLE)).release()
  expect(store.counts.get.requests).toBe(0)
  await world.advance(60_001)
  await use(fetched[1])
  await use(fetched[0])
  store.reset()
  await use(PATH)
  expect(store.counts.get.requests).toBe(1)
})
