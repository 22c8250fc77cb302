import { expect, test } from 'vitest'
import { createTestWorld } from '../runtime/test-world.ts'
import { MillraceError } from '../schemas/errors.ts'
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

test('a hold does not trust a row that is being replaced by one without it', async () => {
  const landed: [number, bigint][][] = []
  let land = () => {}
  const catalog = {
    setReader: (_: string, oldest: ReadonlyMap<number, bigint>) =>
      new Promise<void>((resolve) => {
        land = () => {
          landed.push([...oldest])
          resolve()
        }
      }),
  } as unknown as Catalog
  const row = createReaderRow({ catalog, world: createTestWorld(), service: 'query' })
  const settle = () => new Promise((resolve) => setImmediate(resolve))
  const first = row.hold([versionOf(1, 5n)])
  await settle()
  land()
  ;(await first)()
  const refresh = row.refresh()
  await settle()
  expect(row.covers([versionOf(1, 6n)])).toBe(false)
  const second = row.hold([versionOf(1, 6n)])
  land()
  await refresh
  await settle()
  land()
  await second
  expect(landed).toEqual([[[1, 5n]], [], [[1, 6n]]])
})

test('after a write without an answer the row has another name, so that one that lands late takes nothing back', async () => {
  const rows = new Map<string, [number, bigint][]>()
  const late: (() => void)[] = []
  const catalog = {
    setReader: async (id: string, oldest: ReadonlyMap<number, bigint>) => {
      if (late.length > 0) return void rows.set(id, [...oldest])
      late.push(() => rows.set(id, [...oldest]))
      throw new MillraceError('catalog-busy', 'no answer')
    },
  } as unknown as Catalog
  const row = createReaderRow({ catalog, world: createTestWorld(), service: 'query' })
  await expect(row.hold([versionOf(1, 9n)])).rejects.toThrow('no answer')
  await row.hold([versionOf(1, 7n)])
  for (const land of late) land()
  expect([...rows.values()]).toContainEqual([[1, 7n]])
  expect(rows.size).toBe(2)
})
