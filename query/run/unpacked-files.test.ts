// Copies of small files: after a few uses, within their bytes, held while they are used, and never another file's bytes.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checksumOf } from '../../lake/checksum.ts'
import { footerOf } from '../../lake/parquet/concat.ts'
import { sampleBatch } from '../../lake/parquet/sample-batches.ts'
import { writeParquet } from '../../lake/parquet/write.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { TableFile } from '../plan/table-files.ts'
import { createUnpackedFiles } from './unpacked-files.ts'

const ROWS = 2000
let folder: string
let numbers = 0

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-unpacked-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function fileOf(changes: Partial<TableFile> = {}): TableFile {
  numbers += 1
  const values = Array.from({ length: ROWS }, (_, row) => `text ${numbers} of row ${row % 1500}`)
  const { bytes } = writeParquet(sampleBatch([{ name: 's', type: { kind: 'string' }, values }]), {
    compression: 'zstd',
    level: 1,
    rowGroupRows: ROWS,
    keyValues: {},
  })
  const path = join(folder, `${numbers}.parquet`)
  writeFileSync(path, bytes)
  return {
    path,
    bytes: bytes.length,
    etag: undefined,
    checksum: checksumOf(bytes),
    rowCount: ROWS,
    bounds: [],
    schema: undefined,
    isSegment: false,
    columnCount: 1,
    partition: undefined,
    ...changes,
  }
}

function filesOf(options: { bytesMax?: number; missing?: number; bytesPerUse?: number } = {}) {
  const world = createTestWorld({ sleepAdvances: true })
  return createUnpackedFiles({
    folder: join(folder, `copies-${++numbers}`),
    bytesMax: options.bytesMax ?? 1e8,
    bytesPerUse: options.bytesPerUse,
    cache: {
      missingBytes: () => options.missing ?? 0,
      ensure: async (path) => ({
        localFile: path,
        fetchedBytes: 0,
        requests: 0,
        release: () => {},
        distrust: () => {},
      }),
    },
    world,
  })
}

type Files = ReturnType<typeof filesOf>

async function warm(files: Files, file: TableFile): Promise<void> {
  for (let use = 0; use < 3; use += 1) files.use(file)?.release()
  await files.settled()
}

test('the third use has a copy made, which later ones read', async () => {
  const [files, file] = [filesOf(), fileOf()]
  expect(files.use(file)).toBeUndefined()
  expect(files.use(file)).toBeUndefined()
  await files.settled()
  expect(files.count).toBe(0)
  expect(files.use(file)).toBeUndefined()
  await files.settled()
  const copy = files.use(file)
  const bytes = readFileSync(copy?.localFile ?? '')
  expect(files.bytes).toBe(bytes.length)
  expect(footerOf(bytes).rowGroups[0].chunks[0].codec).toBe('UNCOMPRESSED')
  expect(footerOf(bytes).rowCount).toBe(ROWS)
})

test('the same path with another etag, size or checksum is another file', async () => {
  const [files, file] = [filesOf(), fileOf()]
  await warm(files, file)
  expect(files.use(file)).toBeDefined()
  expect(files.use({ ...file, etag: 'other' })).toBeUndefined()
  expect(files.use({ ...file, bytes: file.bytes + 1 })).toBeUndefined()
  expect(files.use({ ...file, checksum: '00000000' })).toBeUndefined()
})

test('no copy of live segments, of files without a checksum or with another one, of parts, and of large ones', async () => {
  const refused = [
    fileOf({ isSegment: true }),
    fileOf({ checksum: undefined }),
    fileOf({ checksum: '00000000' }),
    fileOf({ bytes: (512 << 20) + 1 }),
  ]
  const files = filesOf({ bytesPerUse: 1e12 })
  for (const file of refused) {
    await warm(files, file)
    expect(files.use(file)).toBeUndefined()
  }
  const partly = filesOf({ missing: 1 })
  const file = fileOf()
  await warm(partly, file)
  expect(partly.use(file)).toBeUndefined()
  expect([files.count, partly.count]).toEqual([0, 0])
})

test('the one used longest ago makes room, and its file goes when nobody reads it', async () => {
  const [one, two, three] = [fileOf(), fileOf(), fileOf()]
  const probe = filesOf()
  await warm(probe, one)
  const files = filesOf({ bytesMax: Math.floor(probe.bytes * 2.5) })
  await warm(files, one)
  const held = files.use(one)
  await warm(files, two)
  files.use(two)?.release()
  await warm(files, three)
  expect(files.count).toBe(2)
  expect(files.bytes).toBeLessThanOrEqual(probe.bytes * 2.5)
  expect(files.use(one)).toBeUndefined()
  const localFile = held?.localFile ?? ''
  expect(existsSync(localFile)).toBe(true)
  held?.release()
  held?.release()
  await expect.poll(() => existsSync(localFile)).toBe(false)
  // Not made again at once: there is no room for three.
  await warm(files, one)
  expect(files.use(one)).toBeUndefined()
})

test('the larger a file, the more uses before its copy is made', async () => {
  const file = fileOf()
  const files = filesOf({ bytesPerUse: Math.floor(file.bytes / 2) - 1 })
  for (let use = 0; use < 4; use += 1) expect(files.use(file)).toBeUndefined()
  await files.settled()
  expect(files.count).toBe(0)
  files.use(file)
  await files.settled()
  expect(files.use(file)).toBeDefined()
})

test('of more files than there is room for, asked about in turn, some keep their copies and the others get none', async () => {
  const probe = filesOf()
  const all = [fileOf(), fileOf(), fileOf(), fileOf()]
  await warm(probe, all[0])
  const files = filesOf({ bytesMax: Math.floor(probe.bytes * 2.5) })
  const places = new Set<string>()
  for (let round = 0; round < 20; round += 1) {
    for (const file of all) {
      const copy = files.use(file)
      if (copy) places.add(copy.localFile)
      copy?.release()
    }
    await files.settled()
  }
  expect(files.count).toBe(2)
  // No copy was made to make room for another one.
  expect(places.size).toBe(2)
})

test('a copy that was changed, removed or could not be read is not used again', async () => {
  const changes = [
    (path: string) => writeFileSync(path, 'x', { flag: 'a' }),
    (path: string) => writeFileSync(path, readFileSync(path).fill(7, 100, 200)),
    (path: string) => rmSync(path),
  ]
  for (const change of changes) {
    const [files, file] = [filesOf(), fileOf()]
    await warm(files, file)
    const copy = files.use(file)
    copy?.release()
    change(copy?.localFile ?? '')
    expect(files.use(file)).toBeUndefined()
    expect(files.bytes).toBe(0)
  }
  const [files, file] = [filesOf(), fileOf()]
  await warm(files, file)
  files.use(file)?.distrust()
  await warm(files, file)
  expect(files.use(file)).toBeUndefined()
})

test('nothing is made after the end', async () => {
  const [files, file] = [filesOf(), fileOf()]
  await files.close()
  await warm(files, file)
  expect(files.count).toBe(0)
})
