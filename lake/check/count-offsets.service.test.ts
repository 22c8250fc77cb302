// Rows that are there twice, and rows that nobody consumed, are found by reading every row's place.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { Coverage } from '../../schemas/coverage.ts'
import { FIRST_USER_FIELD_ID, HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import { createEngine } from '../engine/create-engine.ts'
import type { Engine } from '../engine/engine.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import { sampleVector } from '../parquet/sample-batches.ts'
import { writeParquet } from '../parquet/write.ts'
import { createOffsetCounter } from './count-offsets.ts'
import type { Reference } from './finding.ts'

const SCHEMA: TableSchema = {
  schemaId: 0,
  columns: [{ fieldId: FIRST_USER_FIELD_ID, name: 'id', type: { kind: 'long' }, required: true }, ...HIDDEN_COLUMNS],
}
const TABLE = { name: 't', schemas: [SCHEMA] } as unknown as Table
const KAFKA = 'kafka:t:id'

let folder: string
let engine: Engine
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-offsets-'))
  engine = createEngine({
    world: createTestWorld(),
    settings: {
      name: 'test',
      mode: 'query',
      memoryBytes: 256 * 1024 ** 2,
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

function segmentOf(offsets: readonly bigint[], source = KAFKA): Uint8Array {
  const values = {
    id: offsets,
    _source: offsets.map(() => source),
    _partition: offsets.map(() => 3),
    _offset: offsets,
    _timestamp: offsets.map(() => null),
    _arrived: offsets,
  } as const
  const vectors = SCHEMA.columns.map((column) => sampleVector(column, values[column.name as keyof typeof values]))
  const keyValues = { 'millrace.schema-id': '0' }
  const batch = { schema: SCHEMA, rowCount: offsets.length, vectors }
  return writeParquet(batch, { compression: 'zstd', level: 1, rowGroupRows: 1000, keyValues }).bytes
}

async function count(files: readonly Uint8Array[], ends: bigint, remote: boolean) {
  const store = createMemoryObjectStore({ root: 's3://bucket/lake', world: createTestWorld() })
  const references: Reference[] = []
  for (const [i, bytes] of files.entries()) {
    const path = remote ? `s3://bucket/lake/${i}.parquet` : `file://${folder}/${i}.parquet`
    if (remote) await store.put(path, bytes)
    else await writeFile(join(folder, `${i}.parquet`), bytes)
    const place = { kind: 'segment', table: 't', referredBy: 'the catalog', needed: true } as const
    references.push({ ...place, path, bytes: bytes.length, rowCount: 1 })
  }
  const coverage = {
    pipeline: 'p',
    source: KAFKA,
    partition: 3,
    ranges: [{ start: 0n, end: ends }],
  } as unknown as Coverage
  const counter = createOffsetCounter({ engine, store, workFolder: join(folder, 'fetched') })
  return counter.count(TABLE, references, [coverage])
}

test.each([false, true])('places of all files are counted, in a bucket: %s', async (remote) => {
  const sound = await count([segmentOf([0n, 1n, 2n]), segmentOf([3n, 5n])], 6n, remote)
  expect(sound).toEqual({ rows: 2, findings: [], skipped: undefined })
  const twice = await count([segmentOf([0n, 1n, 2n]), segmentOf([2n, 5n])], 6n, remote)
  expect(twice.findings).toMatchObject([
    { kind: 'overlapping', path: `t ${KAFKA}/3`, found: '2 rows at offset 2', expected: 'one row' },
  ])
  const beyond = await count([segmentOf([0n, 1n, 9n])], 6n, remote)
  expect(beyond.findings).toMatchObject([{ kind: 'behind', found: 'offsets 0 to 9' }])
  // Other sources have offsets of their own; those of HTTP may have left the coverage.
  const others = await count([segmentOf([0n, 1n]), segmentOf([0n, 99n], 'http:p')], 6n, remote)
  expect(others.findings).toEqual([])
})
