// Which tables there are, and which columns an inferred one gets.
import { expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld } from '../runtime/test-world.ts'
import { createIngestTables, distinctNames } from './tables.ts'

test('of keys that differ in upper and lower case only the first becomes a column', () => {
  const names = ['a', 'A', 'b', 'Straße', 'STRAßE', 'B', 'c']
  expect(distinctNames(names.map((name) => ({ name }))).map(({ name }) => name)).toEqual(['a', 'b', 'Straße', 'c'])
})

test.each(['constructor', '__proto__', 'nobody'])('%s is a table that nobody declared', async (name) => {
  const tables = createIngestTables({
    catalog: { findTable: async () => undefined } as Partial<Catalog> as Catalog,
    world: createTestWorld(),
    lakeRoot: 'file:///lake',
    declared: {},
    createDecoder: () => {
      throw new Error('no table is made')
    },
    inferColumns: () => [],
    onCreated() {},
  })
  await expect(tables.open(name)).rejects.toMatchObject({ code: 'undefined-table' })
})

test('a table that lies elsewhere than under lake.root is refused by both places, declared or not', async () => {
  const world = createTestWorld()
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const columns = [{ name: 'id', type: { kind: 'long' } as const, required: true }]
  const declaration = { columns, partition: [], sort: [], eventTime: undefined }
  await catalog.createTable(defineTable({ name: 'here', ...declaration }, 's3://bucket/lake/here-1'))
  await catalog.createTable(defineTable({ name: 'there', ...declaration }, 'file:///lake/there-1'))
  const open = (name: string, isDeclared: boolean) =>
    createIngestTables({
      catalog,
      world,
      lakeRoot: 's3://bucket/lake',
      declared: isDeclared ? { [name]: { ...declaration, inferRecords: 1, inferTimestamps: true } } : {},
      createDecoder: () => ({ unknownKeys: 0, decode: () => undefined }),
      inferColumns: () => [],
      onCreated() {},
    }).open(name)
  for (const isDeclared of [true, false]) {
    expect((await open('here', isDeclared)).ready?.feed.table.location).toBe('s3://bucket/lake/here-1')
    await expect(open('there', isDeclared)).rejects.toMatchObject({
      code: 'settings-invalid',
      message: expect.stringMatching(/file:\/\/\/lake\/there-1.* lake\.root s3:\/\/bucket\/lake/),
    })
  }
  await catalog.close()
})

test('a table that a connector declares anew gets the further columns at once, whoever has it open', async () => {
  const world = createTestWorld()
  const catalog = await openCatalog({ url: 'sqlite::memory:', world })
  const tables = createIngestTables({
    catalog,
    world,
    lakeRoot: 'file:///lake',
    declared: {},
    createDecoder: () => ({ unknownKeys: 0, decode: () => undefined }),
    inferColumns: () => [],
    onCreated() {},
  })
  const declaration = (...names: readonly string[]) => ({
    columns: names.map((name) => ({ name, type: { kind: 'long' } as const, required: false })),
    partition: [],
    sort: [],
    eventTime: undefined,
    inferRecords: 1,
    inferTimestamps: true,
  })
  const first = await tables.open('t', declaration('a'))
  expect(await tables.open('t', declaration('a'))).toBe(first)
  expect(await tables.open('t')).toBe(first)
  expect(await tables.open('t', declaration('a', 'b'))).toBe(first)
  expect(
    first.ready?.feed.table.schemas
      .at(-1)
      ?.columns.map(({ name }) => name)
      .slice(0, 2),
  ).toEqual(['a', 'b'])
  // One without columns becomes the declared one while nobody has sent a record.
  const open = { ...declaration(), columns: undefined }
  expect((await tables.open('u', open)).ready).toBeUndefined()
  expect((await tables.open('u', { ...open, ...declaration('c') })).ready?.feed.schemaId).toBe(0)
  await catalog.close()
})
