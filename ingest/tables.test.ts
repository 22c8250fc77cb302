// Which tables there are, and which columns an inferred one gets.
import { expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
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
