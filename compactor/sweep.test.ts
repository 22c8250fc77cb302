// What a sweep costs and finds: listings only when a fenced writer may have left files.
import { expect, test } from 'vitest'
import { createSampleTable, source } from './sample-table.ts'
import { createSweep } from './sweep.ts'

test('files of a fenced writer are looked for at once, then less and less often, and again after a find', async () => {
  const sample = await createSampleTable()
  let listings = 0
  const { list } = sample.store
  sample.store.list = (prefix) => {
    listings += 1
    return list(prefix)
  }
  const { worker } = await sample.compactor()
  await sample.tick([source(1)])
  await worker.turn(sample.table)
  await worker.close()
  await sample.sweep(0)
  expect(listings).toBe(0)

  const dead = await sample.catalog.registerWriter('ingest')
  const left = `${sample.table.location}/segments/${dead.writerId}-1.parquet`
  await sample.store.put(left, new Uint8Array(1))
  await sample.sweep(0)
  expect(await sample.store.head(left)).toBeDefined()
  await sample.catalog.retireWriter(dead)
  expect(await sample.sweep(0)).toMatchObject({ orphanFiles: 1 })
  expect(listings).toBe(1)

  // A frozen process that woke up for a moment.
  await sample.store.put(left, new Uint8Array(1))
  for (let sweep = 0; sweep < 2; sweep += 1) await sample.sweep(0)
  expect(await sample.store.head(left)).toBeUndefined()
  const before = listings
  for (let sweep = 0; sweep < 1000; sweep += 1) await sample.sweep(0)
  expect(listings - before).toBeLessThan(14)
  expect(await sample.paths()).toEqual(await sample.referredTo())
})

test('a checkpoint that was written for nothing goes with its writer, though its name is not one that the release before knows', async () => {
  const sample = await createSampleTable()
  const { worker, writer } = await sample.compactor()
  await sample.tick([source(1)])
  sample.world.crashAt('iceberg/after-checkpoint')
  await expect(worker.turn(sample.table)).rejects.toThrow('crashed')
  const left = (await sample.paths()).filter((path) => path.includes('.checkpoint.'))
  expect(left.length).toBe(1)
  expect(left[0]).not.toContain(writer.writerId)
  await sample.sweep(0)
  expect(await sample.paths()).toContain(left[0])
  await sample.catalog.retireWriter(writer)
  await sample.sweep(0)
  expect(await sample.paths()).toEqual(await sample.referredTo())
})

test('silence says nothing after the catalog was away: nobody is fenced or forgotten for it', async () => {
  const { catalog, store, world, table } = await createSampleTable()
  let isSteady = false
  const sweep = createSweep({
    ...{ catalog, store, world },
    settings: { snapshotMinAgeMs: 0, writerSilentMs: 1_000, readerSilentMs: 1_000 },
    locations: ({ location }) => [location],
    reachablePaths: async () => new Set(),
    mayFence: () => isSteady,
  })
  const silent = await catalog.registerWriter('ingest')
  await catalog.setReader('query-1', new Map([[table.tableId, 0n]]))
  await world.advance(5_000)
  await sweep()
  expect(await catalog.writerState(silent.writerId)).toBe('live')
  // It was still there.
  expect(await catalog.expireReaders(4_000)).toBe(1)

  isSteady = true
  await catalog.setReader('query-1', new Map([[table.tableId, 0n]]))
  await world.advance(5_000)
  await sweep()
  expect(await catalog.writerState(silent.writerId)).toBe('fenced')
  expect(await catalog.expireReaders(0)).toBe(0)
})
