// Bytes that are not what was recorded never become a new file that looks sound: neither as input nor moved to the cold store.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table, Writer } from '../lake/catalog/catalog.ts'
import { checksumOf } from '../lake/checksum.ts'
import type { LiveFile } from '../lake/iceberg/iceberg.ts'
import { createMemoryObjectStore } from '../lake/object-store/memory.ts'
import { sampleBatch } from '../lake/parquet/sample-batches.ts'
import { writeParquet } from '../lake/parquet/write.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createInputs } from './inputs.ts'
import { createTiering } from './tiering.ts'

const WRITER: Writer = { writerId: 'w', epoch: 1, kind: 'compactor' }
const PATH = 's3://bucket/lake/t/data/f.parquet'
const BYTES = new TextEncoder().encode('not parquet, but of this length')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-inputs-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function lake() {
  const world = createTestWorld()
  const store = createMemoryObjectStore({ root: 's3://bucket', world })
  await store.put(PATH, BYTES)
  const tiering = createTiering({
    store,
    world,
    writer: WRITER,
    lakeRoot: 's3://bucket/lake',
    coldRoot: 's3://bucket/cold',
  })
  const file = (checksum: string | undefined) =>
    ({ path: PATH, bytes: BYTES.length, partition: [], checksum }) as unknown as LiveFile
  return { store, tiering, file }
}

test('a file that moves keeps its checksum; one of an older release gets it', async () => {
  const { store, tiering, file } = await lake()
  const moved = await tiering.move({} as Table, [file(checksumOf(BYTES)), file(undefined)])
  for (const { path, checksum } of moved) {
    expect(checksum).toBe(checksumOf((await store.get(path)).bytes))
  }
})

test('a file with other bytes of the same length does not move', async () => {
  const { store, tiering, file } = await lake()
  await expect(tiering.move({} as Table, [file('00000000')])).rejects.toMatchObject({ code: 'file-damaged' })
  expect(await Array.fromAsync(store.list('s3://bucket/cold/'))).toEqual([])
})

test('an input with other bytes of the same length is refused by name', async () => {
  const world = createTestWorld()
  const store = createMemoryObjectStore({ root: 's3://bucket', world })
  const column = {
    name: 'n',
    type: { kind: 'long' } as const,
    values: Array.from({ length: 99 }, (_, i) => BigInt(i * i)),
  }
  const bytes = writeParquet(sampleBatch([column]), {
    compression: 'none',
    level: 1,
    rowGroupRows: 100,
    keyValues: {},
  }).bytes
  const checksum = checksumOf(bytes)
  const inputs = createInputs({ store, workFolder: folder })
  await store.put(PATH, bytes)
  const opened = await inputs.open([{ path: PATH, bytes: bytes.length, checksum }])
  await opened.release()
  const altered = bytes.slice()
  altered[100] ^= 1
  await store.put(PATH, altered)
  const open = inputs.open([{ path: PATH, bytes: bytes.length, checksum }])
  await expect(open).rejects.toMatchObject({ code: 'file-damaged', message: expect.stringContaining(PATH) })
})
