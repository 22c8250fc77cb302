// The checksum of every file stands in what refers to it, and stays there however manifests are joined and written anew.
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { FIRST_USER_FIELD_ID, HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import { checksumOf, runningChecksum } from '../checksum.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { DataFile, TableMetadata } from './iceberg.ts'
import { createSnapshotReader, readLiveFiles, readMetadata } from './read.ts'
import { baseMetadataOf } from './table-metadata.ts'
import { prepareSnapshot } from './write.ts'

const LOCATION = 's3://bucket/lake/t-1'
const TABLE: Table = {
  tableId: 1,
  name: 't',
  location: LOCATION,
  schemas: [
    {
      schemaId: 0,
      columns: [
        { fieldId: FIRST_USER_FIELD_ID, name: 'id', type: { kind: 'long' }, required: true },
        ...HIDDEN_COLUMNS,
      ],
    },
  ],
  partition: [],
  sort: [],
  properties: {},
  version: 0n,
  metadataLocation: undefined,
  metadataChecksum: undefined,
  lastFieldId: FIRST_USER_FIELD_ID,
}

function dataFile(name: string, checksum: string | undefined): DataFile {
  const none = new Map<number, never>()
  return {
    path: `${LOCATION}/data/${name}`,
    partition: [],
    rowCount: 1,
    bytes: 1,
    columnSizes: none,
    valueCounts: none,
    nullCounts: none,
    nanCounts: none,
    lowerBounds: none,
    upperBounds: none,
    splitOffsets: [],
    sortOrderId: 0,
    ...(checksum === undefined ? {} : { checksum, etag: `"${name}, put"` }),
  }
}

test('the checksum is CRC32C, also of bytes that come in pieces', () => {
  const text = new TextEncoder().encode('123456789')
  expect(checksumOf(text)).toBe('e3069283')
  expect(checksumOf(new Uint8Array(0))).toBe('00000000')
  const running = runningChecksum()
  for (const [from, to] of [
    [0, 4],
    [4, 4],
    [4, 9],
  ]) {
    running.add(text.subarray(from, to))
  }
  expect(running.text()).toBe('e3069283')
})

test('data files, manifests, the list and the metadata before are held to checksums, data files to their etags too, through joins and removals', async () => {
  const world = createTestWorld()
  const store = createMemoryObjectStore({ root: 's3://bucket/lake', world })
  const reader = createSnapshotReader({ store })
  const bytesOf = async (path: string) => (await store.get(path)).bytes
  // Every third file is one of an older release: nothing is known of it, and nothing is made up.
  const files = Array.from({ length: 9 }, (_, i) => dataFile(`f${i}`, i % 3 === 0 ? undefined : `0000000${i}`))
  let table: Table = TABLE
  let base: TableMetadata | undefined
  for (const [i, file] of files.entries()) {
    const prepared = await prepareSnapshot({
      store,
      world,
      table,
      base,
      add: [file],
      remove: i === 7 ? [files[4].path] : [],
      operation: i === 7 ? 'overwrite' : 'append',
      coverage: [],
      commitId: `c${i}`,
      writerId: 'w',
      leaseEpoch: 1,
      snapshotAgeMs: 3_600_000,
      snapshotsMax: 5,
      manifestsMax: 3,
    })
    expect(prepared.metadataChecksum).toBe(checksumOf(await bytesOf(prepared.metadataLocation)))
    const before = table.metadataLocation && { path: table.metadataLocation, checksum: table.metadataChecksum }
    table = { ...table, metadataLocation: prepared.metadataLocation, metadataChecksum: prepared.metadataChecksum }
    base = await readMetadata(store, prepared.metadataLocation)
    const { manifestList, summary } = base.currentSnapshot!
    expect(summary['millrace.manifest-list-crc32c']).toBe(checksumOf(await bytesOf(manifestList)))
    expect(baseMetadataOf(base)).toEqual(before)
    for (const { path, checksum } of await reader.manifestList(manifestList)) {
      expect(checksum).toBe(checksumOf(await bytesOf(path)))
    }
  }
  const live = await readLiveFiles(store, base!)
  const expected = files.filter((_, i) => i !== 4)
  expect(new Map(live.map(({ path, checksum, etag }) => [path, { checksum, etag }]))).toEqual(
    new Map(expected.map(({ path, checksum, etag }) => [path, { checksum, etag }])),
  )
})
