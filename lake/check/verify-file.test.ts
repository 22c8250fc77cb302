// Files against what is recorded of them: every single byte of a small file, large files in blocks, files that change.
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { checksumOf } from '../checksum.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { sampleBatch } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import type { Reference } from './finding.ts'
import { verifyFile } from './verify-file.ts'

const PATH = 's3://bucket/lake/t/segments/a.parquet'
const BLOCK = 4 * 1024 ** 2

function lake() {
  return createMemoryObjectStore({ root: 's3://bucket/lake', world: createTestWorld() })
}

function reference(more: Partial<Reference> = {}): Reference {
  return { path: PATH, kind: 'segment', table: 't', referredBy: 'the catalog', needed: true, ...more }
}

function parquet(compression: 'zstd' | 'none'): Uint8Array {
  const texts = Array.from({ length: 300 }, (_, i) => (i % 7 === 0 ? null : `text ${i % 50}`))
  const columns = [
    { name: 'n', type: { kind: 'long' } as const, values: texts.map((_, i) => BigInt(i * i)) },
    { name: 's', type: { kind: 'string' } as const, values: texts },
  ]
  return writeParquet(sampleBatch(columns), { compression, level: 1, rowGroupRows: 200, keyValues: {} }).bytes
}

test.each(['zstd', 'none'] as const)(
  'a byte of a segment of an older release, %s: pages and footer tell',
  async (packing) => {
    const store = lake()
    const bytes = parquet(packing)
    const recorded = reference({ bytes: bytes.length, rowCount: 300 })
    await store.put(PATH, bytes)
    expect(await verifyFile(recorded, { store })).toEqual({ outcome: 'proven', bytes: bytes.length })
    const footerStart = bytes.length - 8 - new DataView(bytes.buffer).getUint32(bytes.length - 8, true)
    let unseen = 0
    for (let at = 0; at < footerStart; at++) {
      const altered = bytes.slice()
      altered[at] ^= 1 << (at % 8)
      await store.put(PATH, altered)
      const { outcome } = await verifyFile(recorded, { store })
      // Headers of pages have no checksum: a flag in them may mean the same either way.
      if (outcome !== 'altered') unseen += 1
    }
    expect(unseen).toBeLessThan(footerStart / 50)
  },
)

test('with a checksum every byte is proven', async () => {
  const store = lake()
  const bytes = parquet('zstd')
  const recorded = reference({ bytes: bytes.length, rowCount: 300, checksum: checksumOf(bytes) })
  for (let at = 0; at < bytes.length; at += 7) {
    const altered = bytes.slice()
    altered[at] ^= 0x10
    await store.put(PATH, altered)
    expect((await verifyFile(recorded, { store })).outcome, `byte ${at}`).toBe('altered')
  }
})

test('length, rows and checksum are told with what was expected', async () => {
  const store = lake()
  const bytes = parquet('zstd')
  await store.put(PATH, bytes)
  const found = async (more: Partial<Reference>) => {
    const verdict = await verifyFile(reference(more), { store })
    return verdict.outcome === 'altered' ? [verdict.finding.expected, verdict.finding.found] : verdict.outcome
  }
  expect(await found({ bytes: 5 })).toEqual(['5 bytes', `${bytes.length} bytes`])
  expect(await found({ checksum: '00000000' })).toEqual(['checksum 00000000', `checksum ${checksumOf(bytes)}`])
  expect(await found({ rowCount: 299 })).toEqual(['a sound segment', '300 rows in its footer, 299 recorded'])
  expect(await found({ path: 's3://bucket/lake/none' })).toBe('absent')
  expect(await found({ path: 's3://elsewhere/x' })).toBe('absent')
  await store.put(PATH, new Uint8Array(0))
  expect(await found({ bytes: bytes.length })).toEqual([`${bytes.length} bytes`, '0 bytes'])
})

test('large files come in blocks; one that is replaced meanwhile is noticed', async () => {
  const store = lake()
  const bytes = new Uint8Array(2 * BLOCK + 5).fill(7)
  bytes[2 * BLOCK] = 1
  await store.put(PATH, bytes)
  const sizes: number[] = []
  const watched: ObjectStore = {
    ...store,
    async get(path, options) {
      const answer = await store.get(path, options)
      sizes.push(answer.bytes.length)
      return answer
    },
  }
  const recorded = reference({ kind: 'manifest', bytes: bytes.length, checksum: checksumOf(bytes) })
  expect(await verifyFile(recorded, { store: watched })).toEqual({ outcome: 'proven', bytes: bytes.length })
  expect(sizes).toEqual([BLOCK, BLOCK, 5])
  let replaced = false
  const replacing: ObjectStore = {
    ...store,
    async get(path, options) {
      const answer = await store.get(path, options)
      if (!replaced) await store.put(path, bytes)
      replaced = true
      return answer
    },
  }
  const verdict = await verifyFile(recorded, { store: replacing })
  expect(verdict).toMatchObject({ outcome: 'altered', finding: { found: 'another file while it was read' } })
})
