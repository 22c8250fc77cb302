// Tables that we commit, opened by pyiceberg, DuckDB and ClickHouse; and one that pyiceberg wrote, opened by us.
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import type { ColumnType } from '../../schemas/column-type.ts'
import { parseColumnType } from '../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { duckdbExtensionFile, runPython } from '../../test/harness/python.ts'
import { type S3Server, startS3Server } from '../../test/harness/s3-server.ts'
import type { Table } from '../catalog/catalog.ts'
import { createLocalObjectStore } from '../object-store/local.ts'
import type { ObjectStore } from '../object-store/object-store.ts'
import { createS3ObjectStore } from '../object-store/s3.ts'
import { readLocalFooter } from '../parquet/footer-file.ts'
import { dataFileFromFooter } from './data-file.ts'
import type { DataFile, TableMetadata } from './iceberg.ts'
import { partitionPath } from './partition-path.ts'
import { partitionValue } from './partition-transform.ts'
import { readCheckpoint, readLiveFiles, readMetadata } from './read.ts'
import { UNPARTITIONED_SPEC_ID } from './table-metadata.ts'
import { prepareSnapshot } from './write.ts'

/** Name, type of ours, SQL over the row number `i`. */
const COLUMNS: readonly (readonly [string, string, string])[] = [
  ['id', 'long', 'i'],
  ['price', 'decimal(20,2)', 'CASE WHEN i % 5 = 0 THEN NULL ELSE CAST((i - 50) * 1.25 AS DECIMAL(20,2)) END'],
  ['small', 'decimal(9,3)', 'CAST(-i * 0.125 AS DECIMAL(9,3))'],
  ['middle', 'decimal(18,4)', 'CAST(i * 0.0625 AS DECIMAL(18,4))'],
  ['flag', 'boolean', 'i % 2 = 0'],
  ['whole', 'int', 'CAST(-i AS INTEGER)'],
  ['ratio', 'float', `CASE WHEN i = 3 THEN 'nan'::FLOAT ELSE CAST(i AS FLOAT) END`],
  ['score', 'double', 'CAST(i AS DOUBLE) / 3'],
  ['day', 'date', `DATE '1969-12-30' + CAST(i AS INTEGER)`],
  ['at', 'time', `TIME '00:00:01' + to_seconds(i)`],
  ['ts', 'timestamp', 'make_timestamp((i - 40) * 60000000)'],
  ['tz', 'timestamptz', 'make_timestamptz((i - 40) * 60000000)'],
  ['name', 'string', `repeat('ü', 20) || i`],
  ['key', 'uuid', `('00000000-0000-4000-8000-' || lpad(CAST(i AS VARCHAR), 12, '0'))::UUID`],
  ['raw', 'binary', `encode('raw' || i)`],
  ['doc', 'json', `'{"i":' || i || '}'`],
]
const HIDDEN_SQL: Readonly<Record<string, string>> = {
  _source: `'kafka:t:1'`,
  _partition: '0::INTEGER',
  _offset: 'i',
  _timestamp: 'NULL::TIMESTAMPTZ',
  _arrived: 'make_timestamptz(i)',
}
const SCHEMA: TableSchema = {
  schemaId: 0,
  columns: [
    ...COLUMNS.map(([name, type], i) => ({
      fieldId: 16 + i,
      name,
      type: parseColumnType(type) as ColumnType,
      required: false,
    })),
    ...HIDDEN_COLUMNS,
  ],
}
const fieldId = (name: string) => SCHEMA.columns.find((column) => column.name === name)!.fieldId

function tableAt(location: string): Table {
  return {
    tableId: 1,
    name: 'everything',
    location,
    schemas: [SCHEMA],
    partition: [
      { fieldId: fieldId('ts'), transform: { kind: 'hour' }, name: 'ts_hour', partitionFieldId: 1000 },
      { fieldId: fieldId('key'), transform: { kind: 'bucket', width: 1 }, name: 'key_bucket', partitionFieldId: 1001 },
      {
        fieldId: fieldId('whole'),
        transform: { kind: 'truncate', width: 1000 },
        name: 'whole_t',
        partitionFieldId: 1002,
      },
    ],
    sort: [{ fieldId: fieldId('id'), descending: false, nullsFirst: true }],
    properties: {},
    version: 0n,
    metadataLocation: undefined,
    lastFieldId: 16 + COLUMNS.length - 1,
  }
}

let folder: string
let duck: DuckDBInstance
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-iceberg-'))
  duck = await DuckDBInstance.create(':memory:')
})
afterAll(async () => {
  duck?.closeSync()
  await rm(folder, { recursive: true, force: true })
})

/** Rows [from, to), all of one hour. */
async function writeFile(store: ObjectStore, table: Table, from: number, to: number): Promise<DataFile> {
  const name = `w-1-${from}-${to}-${table.location.length}.parquet`
  const localFile = join(folder, name)
  const sql = [...COLUMNS.map(([column, , value]) => [column, value]), ...Object.entries(HIDDEN_SQL)]
    .map(([column, value]) => `${value} AS "${column}"`)
    .join(', ')
  const ids = SCHEMA.columns.map((column) => `"${column.name}": ${column.fieldId}`).join(', ')
  const connection = await duck.connect()
  await connection.run(
    `COPY (SELECT ${sql} FROM range(${from}, ${to}) t(i)) TO '${localFile}'
     (FORMAT parquet, COMPRESSION zstd, FIELD_IDS {${ids}})`,
  )
  connection.closeSync()
  const micros = BigInt(from - 40) * 60_000_000n
  const values = [micros, '00000000-0000-4000-8000-000000000000', -from]
  const partition = table.partition.map(({ transform, fieldId: id }, i) =>
    partitionValue(transform, SCHEMA.columns.find((column) => column.fieldId === id)!.type, values[i]),
  )
  const path = `${table.location}/data/${partitionPath(table, partition)}${name}`
  await store.putFile(path, localFile)
  return dataFileFromFooter({
    path,
    bytes: (await stat(localFile)).size,
    footer: await readLocalFooter(localFile),
    table,
    schema: SCHEMA,
    partition,
    sortOrderId: 1,
  })
}

async function commitChain(store: ObjectStore, location: string): Promise<TableMetadata & { at: string }> {
  const world = createTestWorld({ nowMicros: 1_767_225_600_123_456n })
  let table = tableAt(location)
  let base: TableMetadata | undefined
  const commit = async (operation: 'append' | 'replace', add: DataFile[], remove: string[]) => {
    const prepared = await prepareSnapshot({
      store,
      world,
      table,
      base,
      add,
      remove,
      operation,
      coverage: [],
      commitId: world.random.uuid(),
      writerId: 'w-1',
      leaseEpoch: 1,
      snapshotAgeMs: 3_600_000,
      snapshotsMax: 100,
      manifestsMax: 3,
    })
    table = { ...table, metadataLocation: prepared.metadataLocation }
    base = await readMetadata(store, prepared.metadataLocation)
    await world.advance(1000)
  }
  // Rows 1 to 39 lie before 1970, 40 to 99 in its first hour, 100 to 159 in its second.
  const halves = [await writeFile(store, table, 40, 70), await writeFile(store, table, 70, 100)]
  await commit('append', [await writeFile(store, table, 1, 40)], [])
  await commit('append', halves, [])
  await commit('append', [await writeFile(store, table, 100, 160)], [])
  await commit(
    'replace',
    [await writeFile(store, table, 40, 100)],
    halves.map((file) => file.path),
  )
  // One file beside the table's partitioning, as rows of many table partitions are kept.
  const last = await writeFile(store, table, 160, 220)
  await commit('append', [{ ...last, partition: [], specId: UNPARTITIONED_SPEC_ID }], [])
  return { ...(base as TableMetadata), at: table.metadataLocation as string }
}

async function expectSameEverywhere(metadata: TableMetadata & { at: string }, options: object): Promise<void> {
  const extensions = Object.fromEntries(
    await Promise.all(
      (['avro', 'iceberg', 'httpfs'] as const).map(async (name) => [name, await duckdbExtensionFile(name)] as const),
    ),
  )
  const seen = await runPython({ file: join(import.meta.dirname, 'foreign-readers.py') }, [
    metadata.at,
    metadata.location,
    JSON.stringify({ ...options, extensions }),
  ])
  const rows = Array.from({ length: 219 }, (_, i) => i + 1)
  const ids = String(rows.reduce((sum, i) => sum + i, 0))
  const price = rows.filter((i) => i % 5 !== 0).reduce((sum, i) => sum + (i - 50) * 1.25, 0)
  expect(seen).toMatchObject({
    pyiceberg: {
      rows: '219',
      ids,
      price: price.toFixed(2),
      snapshot: String(metadata.currentSnapshot?.snapshotId),
      snapshots: '5',
      files: '4',
      hour_files: '3',
      id_files: '1',
      first: {
        id: '1',
        price: '-61.25',
        small: '-0.125',
        middle: '0.0625',
        flag: 'False',
        whole: '-1',
        ratio: '1.0',
        score: '0.3333333333333333',
        day: '1969-12-31',
        at: '00:00:02',
        ts: '1969-12-31 23:21:00',
        tz: '1969-12-31 23:21:00+00:00',
        name: `${'ü'.repeat(20)}1`,
        key: '00000000-0000-4000-8000-000000000001',
        raw: "b'raw1'",
        doc: '{"i":1}',
        _timestamp: 'None',
      },
    },
    duckdb: { rows: '219', ids, price: price.toFixed(2) },
    chdb: { rows: '219', ids },
  })
  expect(Number((seen as { chdb: { price: string } }).chdb.price)).toBe(price)
}

describe('other engines read what we commit', () => {
  test('on local disk', async () => {
    const root = `file://${folder}/lake`
    const store = createLocalObjectStore({ root, world: createTestWorld() })
    const metadata = await commitChain(store, `${root}/everything-1`)
    const live = await readLiveFiles(store, metadata)
    expect(live.map((file) => file.partition).sort()).toEqual([[-1, 0, -1000], [0, 0, -1000], [1, 0, -1000], []].sort())
    expect(live.filter(({ specId }) => specId === UNPARTITIONED_SPEC_ID).length).toBe(1)
    const first = live.find((file) => file.partition[0] === -1)!
    expect(Buffer.from(first.upperBounds.get(fieldId('name'))!).toString()).toBe(`${'ü'.repeat(15)}ý`)
    expect(first.upperBounds.has(fieldId('ratio'))).toBe(false)
    expect(await readCheckpoint(store, metadata)).toEqual([])
    await expectSameEverywhere(metadata, {})
    await store.close()
  })

  test('on S3', async () => {
    const server: S3Server = await startS3Server()
    try {
      const bucket = await server.bucket(`iceberg-${process.pid}`)
      const root = `s3://${bucket}/lake`
      const { endpoint, accessKeyId, secretAccessKey, region } = server
      const s3 = { endpoint, accessKeyId, secretAccessKey, region }
      const store = createS3ObjectStore({ root, s3: { ...s3, pathStyle: true }, world: createTestWorld() })
      const metadata = await commitChain(store, `${root}/everything-1`)
      await expectSameEverywhere(metadata, { s3 })
      await store.close()
    } finally {
      await server.stop()
    }
  })
})

test("pyiceberg's own table opens here, with snapshot ids beyond 2^53", async () => {
  const root = `file://${folder}`
  const written = await runPython(
    {
      text: `import json, sys
import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType
folder = sys.argv[1]
catalog = SqlCatalog('c', uri=f'sqlite:///{folder}/catalog.db', warehouse=f'file://{folder}/foreign')
catalog.create_namespace('n')
schema = Schema(NestedField(1, 'id', LongType()), NestedField(2, 'name', StringType()))
spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), 'name'))
table = catalog.create_table('n.t', schema, partition_spec=spec)
for _ in range(4):
    rows = pa.table({'id': pa.array([1, 2, 3], pa.int64()), 'name': ['a', 'b', None]})
    table.append(rows)
print(json.dumps({'metadata': table.metadata_location, 'snapshot': str(table.current_snapshot().snapshot_id),
    'files': sorted(task.file.file_path for task in table.scan().plan_files())}))`,
    },
    [folder],
  )
  const { metadata: at, snapshot, files } = written as { metadata: string; snapshot: string; files: string[] }
  const store = createLocalObjectStore({ root, world: createTestWorld() })
  const metadata = await readMetadata(store, at)
  expect(String(metadata.currentSnapshot?.snapshotId)).toBe(snapshot)
  const live = await readLiveFiles(store, metadata)
  expect(live.map((file) => file.path).sort()).toEqual(files)
  expect(live.reduce((sum, file) => sum + file.rowCount, 0)).toBe(12)
  expect(new Set(live.map((file) => file.partition[0]))).toEqual(new Set(['a', 'b', null]))
  await store.close()
})
