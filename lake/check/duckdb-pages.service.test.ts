// Files as the compactor's engine writes them, without a known checksum: every page is walked, whatever its type and codec.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { createEngine } from '../engine/create-engine.ts'
import type { Engine } from '../engine/engine.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { Reference } from './finding.ts'
import { verifyFile } from './verify-file.ts'

const PATH = 's3://bucket/lake/t/data/a.parquet'
const ROWS = 150_000

let folder: string
let engine: Engine
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-pages-'))
  engine = createEngine({
    world: createTestWorld(),
    settings: {
      name: 'test',
      mode: 'compaction',
      memoryBytes: 512 * 1024 ** 2,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [folder],
    },
  })
})
afterAll(async () => {
  await engine?.close()
  await rm(folder, { recursive: true, force: true })
})

test.each(['zstd', 'snappy', 'gzip', 'uncompressed'])('%s', async (codec) => {
  const file = join(folder, `${codec}.parquet`)
  await engine.run(
    `COPY (SELECT i::BIGINT AS long, (i % 7)::INTEGER AS int, i % 3 = 0 AS flag, i / 3.0 AS double, (i / 7.0)::FLOAT AS float,
       (i / 100)::DECIMAL(9, 2) AS small, i::DECIMAL(38, 5) AS large, DATE '2024-01-01' + (i % 900)::INTEGER AS day,
       TIME '00:00:01' + to_microseconds(i) AS time, TIMESTAMP '2024-01-01' + to_microseconds(i) AS ts,
       CASE WHEN i % 5 > 0 THEN 'text ' || i END AS text, CASE WHEN i % 2 > 0 THEN 'word ' || i % 10 END AS word,
       md5(i::VARCHAR)::UUID AS uuid, encode('b' || i) AS bytes, NULL::INTEGER AS nothing
     FROM range(${ROWS}) t(i)) TO '${file}' (FORMAT parquet, COMPRESSION ${codec}, ROW_GROUP_SIZE 122880)`,
  )
  const bytes = Uint8Array.from(await readFile(file))
  const store = createMemoryObjectStore({ root: 's3://bucket/lake', world: createTestWorld() })
  await store.put(PATH, bytes)
  const recorded: Reference = {
    path: PATH,
    kind: 'data file',
    table: 't',
    referredBy: 'a manifest',
    needed: true,
    bytes: bytes.length,
    rowCount: ROWS,
  }
  expect(await verifyFile(recorded, { store })).toEqual({ outcome: 'readable', bytes: bytes.length })
  // Half a megabyte of zeros, as a disk that lost a write: found in any codec, since headers of pages are gone.
  const altered = bytes.slice()
  altered.fill(0, 1_000_000, 1_500_000)
  await store.put(PATH, altered)
  expect((await verifyFile(recorded, { store })).outcome).toBe('altered')
})
