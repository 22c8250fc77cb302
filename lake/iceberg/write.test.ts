// Chains of random appends and replacements against a model: live files, totals, sequence numbers, what expires.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { FIRST_USER_FIELD_ID, HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import { createMemoryObjectStore } from '../object-store/memory.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { isOfWriter } from '../writer-files.ts'
import type { DataFile, SnapshotRequest, TableMetadata } from './iceberg.ts'
import { createSnapshotReader, reachablePaths, readCheckpoint, readLiveFiles, readMetadata } from './read.ts'
import { UNPARTITIONED_SPEC_ID } from './table-metadata.ts'
import { prepareSnapshot } from './write.ts'

const ROOT = 's3://bucket/lake'
const TABLE: Table = {
  tableId: 1,
  name: 'flights',
  location: `${ROOT}/flights-1`,
  schemas: [
    {
      schemaId: 0,
      columns: [
        { fieldId: FIRST_USER_FIELD_ID, name: 'id', type: { kind: 'long' }, required: true },
        { fieldId: 17, name: 'price', type: { kind: 'decimal', precision: 20, scale: 2 }, required: false },
        ...HIDDEN_COLUMNS,
      ],
    },
  ],
  partition: [
    { fieldId: 16, transform: { kind: 'identity' }, name: 'id', partitionFieldId: 1000 },
    { fieldId: 17, transform: { kind: 'identity' }, name: 'a price', partitionFieldId: 1001 },
  ],
  sort: [{ fieldId: 16, descending: false, nullsFirst: true }],
  properties: {},
  version: 0n,
  metadataLocation: undefined,
  lastFieldId: 17,
}

function dataFile(path: string, rowCount: number, id: number | bigint | null = 1): DataFile {
  return {
    path,
    partition: [id, rowCount % 2 === 0 ? null : BigInt(-rowCount)],
    rowCount,
    bytes: rowCount * 10,
    columnSizes: new Map([[16, 5]]),
    valueCounts: new Map([[16, rowCount]]),
    nullCounts: new Map([[16, 0]]),
    nanCounts: new Map(),
    lowerBounds: new Map([[16, Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0)]]),
    upperBounds: new Map([[16, Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0x7f)]]),
    splitOffsets: [4],
    sortOrderId: 1,
  }
}

const COVERAGE = {
  pipeline: 'p',
  source: 'kafka:t:1',
  partition: 0,
  ranges: [{ start: 0n, end: 2n ** 60n }],
  recordsIn: 5n,
  recordsDead: 0n,
  recordsFiltered: 0n,
  logEnd: undefined,
  caughtUpAt: 7n,
}

function setup() {
  const world = createTestWorld()
  const store = createMemoryObjectStore({ root: ROOT, world })
  const request = (table: Table, base: TableMetadata | undefined, rest: Partial<SnapshotRequest>): SnapshotRequest => ({
    store,
    world,
    table,
    base,
    add: [],
    remove: [],
    operation: 'append',
    coverage: [COVERAGE],
    commitId: 'commit',
    writerId: 'writer-7',
    leaseEpoch: 3,
    snapshotAgeMs: 3_600_000,
    snapshotsMax: 5,
    manifestsMax: 4,
    ...rest,
  })
  return { world, store, request }
}

async function listed(store: ObjectStore): Promise<string[]> {
  const paths: string[] = []
  for await (const { path } of store.list(`${TABLE.location}/`)) paths.push(path)
  return paths
}

test('a file comes back as it was written, checkpoint included', async () => {
  const { world, store, request } = setup()
  const file = dataFile(`${TABLE.location}/data/a.parquet`, 3, 2n ** 62n)
  const prepared = await prepareSnapshot(request(TABLE, undefined, { add: [file] }))
  expect(world.passed).toEqual([
    'iceberg/after-manifest',
    'iceberg/after-manifest-list',
    'iceberg/after-checkpoint',
    'iceberg/after-metadata',
  ])
  expect(prepared.writtenPaths.every((path) => isOfWriter(path, 'writer-7'))).toBe(true)
  const metadata = await readMetadata(store, prepared.metadataLocation)
  const [live] = await readLiveFiles(store, metadata)
  expect(live).toEqual({
    ...file,
    snapshotId: prepared.snapshotId,
    sequenceNumber: 1n,
    manifestPath: prepared.writtenPaths[0],
  })
  expect(await readCheckpoint(store, metadata)).toEqual([COVERAGE])
  expect(metadata.currentSnapshot?.summary).toMatchObject({
    operation: 'append',
    'added-data-files': '1',
    'total-records': '3',
    'total-data-files': '1',
    'total-files-size': '30',
    'millrace.commit-id': 'commit',
    'millrace.lease-epoch': '3',
  })
})

test('a damaged checkpoint is an error, never empty coverage', async () => {
  const { store, request } = setup()
  const prepared = await prepareSnapshot(request(TABLE, undefined, { add: [dataFile(`${TABLE.location}/data/a`, 1)] }))
  const metadata = await readMetadata(store, prepared.metadataLocation)
  await store.put(metadata.currentSnapshot!.summary['millrace.checkpoint'], new Uint8Array(3))
  await expect(readCheckpoint(store, metadata)).rejects.toMatchObject({ code: 'file-damaged' })
})

test('removing what is not live is a conflict; a replace keeps the rows', async () => {
  const { store, request } = setup()
  const first = await prepareSnapshot(request(TABLE, undefined, { add: [dataFile(`${TABLE.location}/data/a`, 4)] }))
  const table = { ...TABLE, metadataLocation: first.metadataLocation }
  const base = await readMetadata(store, first.metadataLocation)
  const before = (await listed(store)).length
  await expect(
    prepareSnapshot(request(table, base, { operation: 'replace', remove: [`${TABLE.location}/data/b`] })),
  ).rejects.toMatchObject({ code: 'commit-conflict' })
  await expect(
    prepareSnapshot(
      request(table, base, {
        operation: 'replace',
        remove: [`${TABLE.location}/data/a`],
        add: [dataFile(`${TABLE.location}/data/c`, 3)],
      }),
    ),
  ).rejects.toMatchObject({ code: 'invariant-broken' })
  expect((await listed(store)).length).toBe(before)
})

test('random chains agree with the model, and the store holds exactly what metadata refers to', async () => {
  const step = fc.record({
    kind: fc.constantFrom('append', 'replace', 'overwrite'),
    files: fc.integer({ min: 1, max: 4 }),
    wait: fc.constantFrom(0, 60_000, 2_000_000),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 25 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 6 }),
      async (steps, manifestsMax, snapshotsMax) => {
        const { world, store, request } = setup()
        const reader = createSnapshotReader({ store, entriesMax: 20 })
        const live = new Map<string, { rows: number; sequence: bigint }>()
        let table: Table = TABLE
        let base: TableMetadata | undefined
        let name = 0
        for (const { kind, files, wait } of steps) {
          await world.advance(wait)
          const remove = kind === 'append' ? [] : [...live.keys()].slice(0, files)
          const removedRows = remove.reduce((sum, path) => sum + live.get(path)!.rows, 0)
          const rowCounts =
            kind === 'replace' ? (removedRows > 0 ? [removedRows] : []) : Array.from({ length: files }, (_, i) => i + 1)
          const add = rowCounts.map((rows): DataFile => {
            const file = dataFile(`${TABLE.location}/data/f${name++}.parquet`, rows, name)
            return name % 3 === 0 ? { ...file, partition: [], specId: UNPARTITIONED_SPEC_ID } : file
          })
          for (const file of add) await store.put(file.path, new Uint8Array(1))
          const prepared = await prepareSnapshot(
            request(table, base, {
              add,
              remove,
              operation: kind as SnapshotRequest['operation'],
              manifestsMax,
              snapshotsMax,
            }),
            reader,
          )
          await store.delete(prepared.removedPaths)
          table = { ...table, metadataLocation: prepared.metadataLocation }
          base = await readMetadata(store, prepared.metadataLocation)
          for (const path of remove) live.delete(path)
          for (const file of add) live.set(file.path, { rows: file.rowCount, sequence: base.lastSequenceNumber })

          const found = await readLiveFiles(store, base)
          expect(
            new Map(found.map((file) => [file.path, { rows: file.rowCount, sequence: file.sequenceNumber }])),
          ).toEqual(live)
          expect(found.length).toBe(live.size)
          for (const { specId, partition } of found) {
            expect(partition.length).toBe(specId === UNPARTITIONED_SPEC_ID ? 0 : TABLE.partition.length)
          }
          const rows = [...live.values()].reduce((sum, each) => sum + each.rows, 0)
          expect(prepared.snapshotRows).toBe(rows)
          expect(base.currentSnapshot?.summary).toMatchObject({
            'total-records': String(rows),
            'total-data-files': String(live.size),
            'total-files-size': String(rows * 10),
          })
          expect(base.snapshots.length).toBeLessThanOrEqual(snapshotsMax)
          const manifests = await reader.manifestList(base.currentSnapshot!.manifestList)
          // One more where there are two partition specs: a manifest has one.
          expect(manifests.length).toBeLessThanOrEqual(Math.max(2, manifestsMax + 1))
        }
        expect(base?.lastSequenceNumber).toBe(BigInt(steps.length))
        const reachable = await reachablePaths(store, table.metadataLocation!)
        expect((await listed(store)).sort()).toEqual([...reachable].sort())
      },
    ),
    { numRuns: 60 },
  )
})

test('pending schemas, unknown fields and named snapshots are carried on', async () => {
  const { world, store, request } = setup()
  const first = await prepareSnapshot(request(TABLE, undefined, { add: [dataFile(`${TABLE.location}/data/a`, 1)] }))
  const base = await readMetadata(store, first.metadataLocation)
  const refs = {
    main: { 'snapshot-id': first.snapshotId, type: 'branch' },
    v1: { 'snapshot-id': first.snapshotId, type: 'tag' },
  }
  const marked: TableMetadata = { ...base, raw: { ...(base.raw as object), 'later-field': 2n ** 62n, refs } }
  const [schema] = TABLE.schemas
  const next = {
    schemaId: 1,
    columns: [{ fieldId: 18, name: 'extra', type: { kind: 'int' } as const, required: false }, ...schema.columns],
  }
  const table = { ...TABLE, schemas: [schema, next], lastFieldId: 18, metadataLocation: first.metadataLocation }
  await world.advance(10_000_000)
  const prepared = await prepareSnapshot(
    request(table, marked, { add: [dataFile(`${TABLE.location}/data/b`, 1)], snapshotsMax: 1 }),
  )
  const metadata = await readMetadata(store, prepared.metadataLocation)
  expect(metadata.currentSchemaId).toBe(1)
  expect(metadata.currentSnapshot?.schemaId).toBe(1)
  expect(metadata.snapshots.map((snapshot) => snapshot.snapshotId)).toEqual([first.snapshotId, prepared.snapshotId])
  expect(metadata.raw).toMatchObject({
    'later-field': 2n ** 62n,
    'last-column-id': 18,
    schemas: [
      { 'schema-id': 0 },
      { 'schema-id': 1, fields: [{ id: 18, name: 'extra', type: 'int' }, {}, {}, {}, {}, {}, {}, {}] },
    ],
    refs: { v1: { type: 'tag' } },
  })
  expect(prepared.removedPaths).toEqual([])
})

test('beyond the maximum a young snapshot leaves the metadata; its files are handed over, not deleted', async () => {
  const { store, request } = setup()
  const locations: string[] = []
  let table = TABLE
  let base: TableMetadata | undefined
  let removed: readonly string[] = []
  for (const name of ['a', 'b', 'c']) {
    const prepared = await prepareSnapshot(
      request(table, base, { add: [dataFile(`${TABLE.location}/data/${name}`, 1)], snapshotsMax: 2 }),
    )
    locations.push(prepared.metadataLocation)
    base = await readMetadata(store, prepared.metadataLocation)
    table = { ...TABLE, metadataLocation: prepared.metadataLocation }
    removed = prepared.removedPaths
  }
  const first = await readMetadata(store, locations[0])
  expect(base?.snapshots).toHaveLength(2)
  expect(base?.snapshots.map(({ snapshotId }) => snapshotId)).not.toContain(first.currentSnapshot?.snapshotId)
  expect(removed).toContain(first.currentSnapshot?.manifestList)
  // Whoever opened the first metadata still reads its rows: bytes go by the catalog's removals and their age only.
  expect((await readLiveFiles(store, first)).map(({ path }) => path)).toEqual([`${TABLE.location}/data/a`])
})
