// Every row of a rewrite comes out of exactly one table partition, whatever its partition value looks like.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Table } from '../lake/catalog/catalog.ts'
import { createEngine } from '../lake/engine/create-engine.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { quoteName } from '../lake/file-mapping.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createPartitioner } from './partitioner.ts'

let folder: string
let engine: Engine

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-partitioner-'))
  engine = createEngine({
    world: createTestWorld(),
    settings: {
      name: 'partitioner',
      mode: 'compaction',
      memoryBytes: 256 * 1024 ** 2,
      threads: 1,
      spillFolder: join(folder, 'spill'),
      spillBytes: 1024 ** 3,
      folders: [folder],
    },
  })
})

afterAll(async () => {
  await engine.close()
  await rm(folder, { recursive: true, force: true })
})

const WINDOW = { earliest: 0n, latest: 1_800_000_000_000_000n }
const NAMES = ['', "it's", '..', 'a/b', '\0', 'a\0b', 'a\0c', "\0' OR 1=1 --", 'é😀\0', 'NULL', null]

test.each([{ partition: ['name'] }, { partition: ['truncate(3, name)'] }, { partition: ['bucket(3, name)'] }])(
  '$partition',
  async ({ partition }) => {
    const columns = [
      { name: 'name', type: { kind: 'string' }, required: false },
      { name: 'id', type: { kind: 'int' }, required: true },
    ] as const
    const declared = { name: 't', columns, partition, sort: [], eventTime: undefined }
    const defined = defineTable(declared, 'file:///lake/t')
    const schema = { schemaId: 0, columns: defined.columns ?? [] }
    const table: Table = {
      ...defined,
      tableId: 1,
      schemas: [schema],
      version: 0n,
      metadataLocation: undefined,
      lastFieldId: 17,
    }
    const values = NAMES.map((name, id) => {
      const sql = name === null ? 'NULL' : `decode(from_hex('${Buffer.from(name).toString('hex')}'))`
      return `(${sql}, ${id})`
    })
    const relation = `SELECT * FROM (VALUES ${values.join(', ')}) AS rows(${quoteName('name')}, id)`
    const partitioner = createPartitioner({ engine, table, schema, name: 'p', workFolder: folder })
    try {
      const found: number[] = []
      const { parts, aside } = await partitioner.load(relation, { partitionsMax: 100, window: WINDOW })
      expect(aside).toBeUndefined()
      for (const { fromSql } of parts) {
        for (const { id } of await engine.run(`SELECT id FROM ${fromSql}`)) found.push(Number(id))
      }
      expect(found.sort((a, b) => a - b)).toEqual(NAMES.map((_, id) => id))
    } finally {
      await partitioner.drop()
    }
  },
)

function tableOf(partition: readonly string[]): { table: Table; schema: Table['schemas'][number] } {
  const columns = [
    { name: 'ts', type: { kind: 'timestamptz' }, required: false },
    { name: 'id', type: { kind: 'int' }, required: true },
  ] as const
  const defined = defineTable({ name: 't', columns, partition, sort: [], eventTime: undefined }, 'file:///lake/t')
  const schema = { schemaId: 0, columns: defined.columns ?? [] }
  const table = { ...defined, tableId: 1, schemas: [schema], version: 0n, metadataLocation: undefined, lastFieldId: 17 }
  return { table, schema }
}

async function load(partition: readonly string[], rows: readonly string[], partitionsMax: number) {
  const { table, schema } = tableOf(partition)
  const relation = `SELECT * FROM (VALUES ${rows.join(', ')}) AS rows(ts, id)`
  const partitioner = createPartitioner({ engine, table, schema, name: 'limits', workFolder: folder })
  try {
    const { parts, aside } = await partitioner.load(relation, { partitionsMax, window: WINDOW })
    const ids = async (fromSql: string) =>
      (await engine.run(`SELECT id FROM ${fromSql} ORDER BY id`)).map(({ id }) => Number(id))
    return {
      parts: await Promise.all(parts.map(async ({ values, fromSql }) => ({ values, ids: await ids(fromSql) }))),
      aside: aside && { ...aside, ids: await ids(aside.fromSql) },
    }
  } finally {
    await partitioner.drop()
  }
}

test('beyond so many table partitions those with most rows get files, the others are kept together', async () => {
  // Day 0 has one row, day 1 two, day 2 three, …
  const rows = [0, 1, 2, 3, 4].flatMap((day) =>
    Array.from({ length: day + 1 }, (_, row) => `(make_timestamptz(${day} * 86400000000 + ${row}), ${day * 10 + row})`),
  )
  const { parts, aside } = await load(['day(ts)'], rows, 2)
  expect(parts).toEqual([
    { values: [4], ids: [40, 41, 42, 43, 44] },
    { values: [3], ids: [30, 31, 32, 33] },
  ])
  expect(aside).toMatchObject({ ids: [0, 10, 11, 20, 21, 22], rows: 6, outside: 0 })
  expect(await load(['day(ts)'], rows, 5)).toMatchObject({ aside: undefined })
})

test.each(['day(ts)', 'hour(ts)', 'month(ts)', 'ts'])(
  '%s: times outside the window never make a partition',
  async (field) => {
    const rows = [
      '(make_timestamptz(0), 1)',
      '(NULL, 2)',
      `(TIMESTAMPTZ '1969-11-30 23:59:59.999999+00', 3)`,
      `(TIMESTAMPTZ '0001-01-01 00:00:00+00', 4)`,
      `(TIMESTAMPTZ '9999-12-31 23:59:59.999999+00', 5)`,
      `(TIMESTAMPTZ '2027-03-01 00:00:00+00', 6)`,
      '(make_timestamptz(1800000000000000), 7)',
    ]
    const { parts, aside } = await load([field, 'bucket(2, id)'], rows, 100)
    expect(parts.flatMap(({ ids }) => ids).sort()).toEqual([1, 2, 7])
    expect(aside).toMatchObject({ ids: [3, 4, 5, 6], rows: 4, outside: 4 })
    expect(await load([field], rows.slice(2, 6), 100)).toMatchObject({ parts: [], aside: { ids: [3, 4, 5, 6] } })
  },
)
