// Settings whose columns differ from those of a table that is there.
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { openCatalog } from '../lake/catalog/open-catalog.ts'
import { sourceKey, tickOf } from '../lake/catalog/test-values.ts'
import { changeColumns } from '../lake/change-columns.ts'
import { defineTable } from '../lake/table-definition.ts'
import { createTestWorld, type TestWorld } from '../runtime/test-world.ts'
import { formatColumnType, parseColumnType } from '../schemas/column-type.ts'
import type { DeclaredColumn } from '../schemas/settings-tables.ts'
import { userColumns } from '../schemas/table-schema.ts'
import { columnsOfRecord, takeOverDeclared } from './declared-columns.ts'

let world: TestWorld
let catalog: Catalog

beforeEach(async () => {
  world = createTestWorld()
  catalog = await openCatalog({ url: 'sqlite::memory:', world })
})
afterEach(() => catalog.close())

function declared(text: string): readonly DeclaredColumn[] {
  const type = parseColumnType(`struct<${text}>`)
  return type?.kind === 'struct' ? type.fields.map(({ name, type, required }) => ({ name, type, required })) : []
}

async function tableOf(columns: string, isEmpty = false) {
  const definition = { name: 't', columns: declared(columns), partition: [], sort: [], eventTime: undefined }
  const table = await catalog.createTable(defineTable(definition, 'file:///lake/t'))
  if (isEmpty) return table
  const writer = await catalog.registerWriter('ingest')
  await catalog.commitTick(tickOf(table, writer, 'c', sourceKey(0), 0n, 1n))
  return catalog.getTable(table.tableId)
}

async function takenOver(columns: string, settings: string, isEmpty = false): Promise<string> {
  const table = await tableOf(columns, isEmpty)
  const after = await takeOverDeclared({ catalog, log: world.log, columnsMax: 100 }, table, declared(settings))
  return formatColumnType({ kind: 'struct', fields: userColumns(after.schemas.at(-1)!) }).slice('struct<'.length, -1)
}

describe('declared columns', () => {
  test.each([
    ['a: int', 'a: int', 'a: int'],
    ['a: int', 'a: long, b: string', 'a: long, b: string'],
    ['a: int required', 'a: int', 'a: int'],
    // The table went on since: what it has more stays.
    ['a: long, b: string', 'a: int required', 'a: long, b: string'],
    ['a: int required, b: int', 'b: int', 'a: int required, b: int'],
    ['s: struct<x: int>', 's: struct<x: int, y: int>', 's: struct<x: int, y: int>'],
  ])('a table of %s with settings of %s is %s', async (columns, settings, after) => {
    expect(await takenOver(columns, settings)).toBe(after)
  })

  test.each([
    ['a: int', 'a: string', 'column "a" of table "t" is int, in the settings it is string'],
    ['a: int', 'a: int, b: long required', 'rows that are there have no value for "b": declare it without "required"'],
  ])('a table of %s with settings of %s is refused', async (columns, settings, reason) => {
    await expect(takenOver(columns, settings)).rejects.toMatchObject({
      code: 'settings-invalid',
      message: expect.stringContaining(reason),
    })
    expect((await catalog.findTable('t'))?.schemas).toHaveLength(1)
  })

  test('a table without rows may still get a required column', async () => {
    expect(await takenOver('a: int', 'a: int, b: long required', true)).toBe('a: int, b: long required')
  })

  test('a column that a human dropped is not made again by settings that still have it', async () => {
    const table = await tableOf('a: int, b: int')
    await changeColumns(catalog, 't', (found) => userColumns(found.schemas[0]).slice(0, 1))
    const after = await takeOverDeclared(
      { catalog, log: world.log, columnsMax: 100 },
      table,
      declared('a: int, b: int'),
    )
    expect(userColumns(after.schemas.at(-1)!).map(({ name }) => name)).toEqual(['a'])
  })
})

test('the columns of records that make a table: required where they say so, no two names alike, so many at most', () => {
  const fields = declared('id: long required, s: struct<x: int required>, l: list<int required>, z: int').map(
    (column) => ({ ...column, fieldId: 0 }),
  )
  const columns = columnsOfRecord(
    't',
    { name: 'v', fields: [...fields.slice(0, 1), { ...fields[0], name: 'Id' }, ...fields.slice(1)] },
    3,
  )
  expect(formatColumnType({ kind: 'struct', fields: columns })).toBe(
    'struct<id: long required, s: struct<x: int required>, l: list<int required>>',
  )
})
