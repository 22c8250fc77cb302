import { expect, test } from 'vitest'
import { createTestWorld } from '../runtime/test-world.ts'
import type { Catalog, TableVersion } from './catalog/catalog.ts'
import { createReaderRow } from './reader-row.ts'

function versionOf(tableId: number, version: bigint): TableVersion {
  return { table: { tableId }, version } as TableVersion
}

test('the row is written before a newer hold returns only when it does not reach back far enough', async () => {
  const written: [number, bigint][][] = []
  let dropped = 0
  const catalog = {
    setReader: async (_: string, oldest: ReadonlyMap<number, bigint>) => void written.push([...oldest]),
    dropReader: async () => void dropped++,
  } as unknown as Catalog
  const row = createReaderRow({ catalog, world: createTestWorld(), service: 'query' })
  expect(row.covers([versionOf(1, 5n)])).toBe(false)
  const first = await row.hold([versionOf(1, 5n)])
  expect(row.covers([versionOf(1, 6n)])).toBe(true)
  expect(row.covers([versionOf(1, 4n)])).toBe(false)
  expect(row.covers([versionOf(1, 6n), versionOf(2, 1n)])).toBe(false)
  const second = await row.hold([versionOf(1, 7n)])
  expect(written).toEqual([[[1, 5n]]])
  const other = await row.hold([versionOf(2, 1n), versionOf(1, 8n)])
  expect(written.at(-1)).toEqual([
    [1, 5n],
    [2, 1n],
  ])
  first()
  await row.refresh()
  expect(written.at(-1)).toEqual([
    [1, 7n],
    [2, 1n],
  ])
  second()
  other()
  await row.refresh()
  expect(written.at(-1)).toEqual([])
  const count = written.length
  await row.refresh()
  expect(written.length).toBe(count)
  const again = await row.hold([versionOf(1, 6n)])
  expect(written.at(-1)).toEqual([[1, 6n]])
  again()
  await row.close()
  expect(dropped).toBe(1)
})
