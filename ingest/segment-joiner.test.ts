// Segments of any sizes as one file, through memory and through a file on disk: the bytes are those that joining whole files
// gives, and a byte that is not as recorded is named and gets nowhere (G-5).
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import type { Segment } from '../lake/catalog/catalog.ts'
import { checksumOf } from '../lake/checksum.ts'
import { createMemoryObjectStore } from '../lake/object-store/memory.ts'
import type { ObjectStore } from '../lake/object-store/object-store.ts'
import { concatParquet } from '../lake/parquet/concat.ts'
import { sampleBatch } from '../lake/parquet/sample-batches.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { isMillraceError, MillraceError } from '../schemas/errors.ts'
import { createSegmentJoiner, type JoinerSizes } from './segment-joiner.ts'
import { createUntilAvailable } from './until-available.ts'

const ROOT = 's3://bucket/lake'
const TARGET = `${ROOT}/t/segments/merged.parquet`
const folder = mkdtempSync(join(tmpdir(), 'millrace-joiner-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function fileOf(rows: number, first: number): Uint8Array {
  const values = Array.from({ length: rows }, (_, i) => BigInt(first + i))
  const names = values.map((each) => `name ${(each * 7919n) % 1009n}`)
  return writeParquet(
    sampleBatch([
      { name: 'id', type: { kind: 'long' }, required: true, values },
      { name: 'name', type: { kind: 'string' }, values: names },
    ]),
    { compression: 'none', level: 1, rowGroupRows: 50, keyValues: { first: String(first) } },
  ).bytes
}

async function open(files: readonly Uint8Array[], sizes?: JoinerSizes) {
  const world = createTestWorld({ sleepAdvances: true })
  const store = createMemoryObjectStore({ root: ROOT, world })
  const segments: Segment[] = []
  for (const [index, bytes] of files.entries()) {
    const path = `${ROOT}/t/segments/${index}.parquet`
    const { etag } = await store.put(path, bytes)
    const segment = { segmentId: index, path, bytes: bytes.length, etag, checksum: checksumOf(bytes), rowCount: 0 }
    segments.push(segment as unknown as Segment)
  }
  const troubles: (string | undefined)[] = []
  const joiner = (over: ObjectStore = store) =>
    createSegmentJoiner({
      store: over,
      world,
      untilAvailable: createUntilAvailable({ world, onTrouble: (reason) => void troubles.push(reason) }),
      folder: join(folder, 'merge'),
      name: 'writer',
      sizes,
    })
  return { store, segments, joiner, troubles }
}

const leftOver = () => readdirSync(folder).flatMap((each) => readdirSync(join(folder, each)))

test('the joined file is that of whole files, whatever is read and kept at once', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 8 }),
      fc.record({
        endBytes: fc.integer({ min: 8, max: 6000 }),
        pieceBytes: fc.integer({ min: 1, max: 5000 }),
        memoryBytesMax: fc.integer({ min: 0, max: 20_000 }),
      }),
      async (rows, sizes) => {
        const files = rows.map((each, index) => fileOf(each, index * 1000))
        const { store, segments, joiner } = await open(files, sizes)
        const one = joiner()
        const opened = []
        for (const segment of segments) opened.push(await one.open(segment))
        expect(opened.map(({ rowCount }) => rowCount)).toEqual(rows)
        expect(opened.map(({ keyValues }) => keyValues.get('first'))).toEqual(rows.map((_, i) => String(i * 1000)))
        const joined = await one.join(TARGET, opened, { of: 'all' })
        const { bytes, etag } = await store.get(TARGET)
        const whole = concatParquet(files, { of: 'all' })
        expect(Buffer.compare(bytes, whole.bytes)).toBe(0)
        const rowCount = rows.reduce((sum, each) => sum + each, 0)
        expect(joined).toEqual({ rowCount, bytes: bytes.length, etag, checksum: checksumOf(bytes) })
        expect(leftOver()).toEqual([])
      },
    ),
    { numRuns: 60 },
  )
})

test('a byte that is another one than recorded is named, wherever it lies, and nothing is put', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.nat(2),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 1, max: 255 }),
      fc.boolean(),
      async (index, place, change, isLater) => {
        const files = [300, 20, 120].map((rows, i) => fileOf(rows, i * 1000))
        // Damage between the footer's reading and the rest's needs both to be read apart.
        const endBytes = isLater ? 8 : 1500
        const { store, segments, joiner } = await open(files, { endBytes, pieceBytes: 700, memoryBytesMax: 3000 })
        const one = joiner()
        const damage = async () => {
          const bytes = Uint8Array.from(files[index])
          bytes[Math.floor(place * bytes.length)] ^= change
          await store.put(segments[index].path, bytes)
        }
        const join = async () => {
          if (!isLater) await damage()
          const opened = []
          for (const segment of segments) opened.push(await one.open(segment))
          if (isLater) await damage()
          await one.join(TARGET, opened, {})
        }
        const error = await join().catch((each: unknown) => each)
        expect(isMillraceError(error, 'file-damaged') && error.facts.path).toBe(segments[index].path)
        expect(await store.head(TARGET)).toBeUndefined()
        expect(leftOver()).toEqual([])
      },
    ),
    { numRuns: 100 },
  )
})

test('a file cut short, and one with other columns, are named', async () => {
  const other = writeParquet(sampleBatch([{ name: 'x', type: { kind: 'int' }, values: [1] }]), {
    compression: 'none',
    level: 1,
    rowGroupRows: 10,
    keyValues: {},
  }).bytes
  const { store, segments, joiner } = await open([other, fileOf(10, 0), fileOf(10, 10)])
  const opened = await Promise.all(segments.map((each) => joiner().open(each)))
  const error = await joiner()
    .join(TARGET, opened, {})
    .catch((each: unknown) => each)
  expect(isMillraceError(error, 'file-schema-mismatch') && error.facts.path).toBe(segments[0].path)
  await store.put(segments[1].path, fileOf(10, 0).subarray(0, 100))
  const cut = await joiner()
    .open(segments[1])
    .catch((each: unknown) => each)
  expect(isMillraceError(cut, 'file-damaged') && cut.facts.path).toBe(segments[1].path)
})

test('the store is away for a while, an answer is lost: the file comes once; what a killed process left goes', async () => {
  const files = [300, 300].map((rows, i) => fileOf(rows, i * 1000))
  const { store, segments, joiner, troubles } = await open(files, { endBytes: 8, pieceBytes: 500, memoryBytesMax: 0 })
  mkdirSync(join(folder, 'merge'), { recursive: true })
  for (const name of ['old-0.parquet', 'young-0.parquet']) writeFileSync(join(folder, 'merge', name), 'left')
  utimesSync(join(folder, 'merge', 'old-0.parquet'), 0, 0)
  utimesSync(join(folder, 'merge', 'young-0.parquet'), 4e9, 4e9)
  let calls = 0
  const away = () => new MillraceError('store-unavailable', 'away')
  const one = joiner({
    ...store,
    async get(path, options) {
      calls += 1
      if (calls % 3 === 0) throw away()
      return store.get(path, options)
    },
    async putFile(path, localFile, condition) {
      calls += 1
      if (calls % 2 === 0) throw away()
      await store.putFile(path, localFile, condition)
      throw away()
    },
  })
  const opened = await Promise.all(segments.map((each) => one.open(each)))
  const joined = await one.join(TARGET, opened, {})
  const { bytes } = await store.get(TARGET)
  expect(Buffer.compare(bytes, concatParquet(files, {}).bytes)).toBe(0)
  expect(joined.checksum).toBe(checksumOf(bytes))
  expect(troubles.at(-1)).toBeUndefined()
  expect(troubles.length).toBeGreaterThan(2)
  expect(leftOver()).toEqual(['young-0.parquet'])
})
