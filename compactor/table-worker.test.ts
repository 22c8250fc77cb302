// The worker against a real catalog: exact coverage, whoever commits; conflicts and unknown outcomes; what it reads stays.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Catalog } from '../lake/catalog/catalog.ts'
import { readCheckpoint, readLiveFiles } from '../lake/iceberg/read.ts'
import { isOfWriter } from '../lake/writer-files.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { MillraceError } from '../schemas/errors.ts'
import { createSampleTable, MIN_AGE_MS, type SampleTable, source } from './sample-table.ts'
import type { TableWorker, WorkDone } from './table-worker.ts'

async function turns(sample: SampleTable, worker: TableWorker): Promise<WorkDone['kind'][]> {
  const kinds: WorkDone['kind'][] = []
  for (;;) {
    const done = await worker.turn(sample.table)
    if (done === undefined) return kinds
    if (done !== 'conflict') kinds.push(done.kind)
  }
}

/** The snapshot's own coverage and rows, from the bucket alone, with no live segment left. */
async function expectEverything(sample: SampleTable): Promise<void> {
  const metadata = await sample.metadata()
  if (!metadata) throw new Error('no snapshot')
  const coverage = await readCheckpoint(sample.store, metadata)
  expect(new Map(coverage.map((each) => [sourceKeyText(each), each.ranges]))).toEqual(
    new Map([...sample.ends].map(([key, end]) => [key, [{ start: 0n, end }]])),
  )
  for (const each of coverage) expect(each.recordsIn).toBe(each.ranges[0].end)
  const rows = (await readLiveFiles(sample.store, metadata)).reduce((sum, file) => sum + file.rowCount, 0)
  expect(rows).toBe([...sample.ends.values()].reduce((sum, end) => sum + Number(end), 0))
}

describe('commits', () => {
  test('have exactly the coverage of their rows, whichever compactor made the one before (G-1, G-2)', async () => {
    const step = fc.record({
      sources: fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 12 }),
      who: fc.integer({ min: 0, max: 1 }),
      restarts: fc.boolean(),
      wait: fc.constantFrom(0, 60_000, MIN_AGE_MS),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 20 }), async (steps) => {
        const sample = await createSampleTable()
        const workers = [(await sample.compactor()).worker, (await sample.compactor()).worker]
        await sample.tick(Array.from({ length: 41 }, (_, index) => source(index)))
        for (const { sources, who, restarts, wait } of steps) {
          await sample.tick(sources.map(source))
          if (restarts) workers[who] = (await sample.compactor()).worker
          const kinds = await turns(sample, workers[who])
          expect(kinds[0]).toBe('append')
          await expectEverything(sample)
          await sample.world.advance(wait)
        }
        for (const worker of workers) await worker.close()
        await sample.world.advance(MIN_AGE_MS)
        await turns(sample, workers[0])
        await workers[0].close()
        await sample.world.advance(MIN_AGE_MS)
        await sample.sweep()
        await expectEverything(sample)
        expect(await sample.paths()).toEqual(await sample.referredTo())
      }),
      { numRuns: 25 },
    )
  })

  test('are not planned for a table with nothing to do, nor is anything written', async () => {
    const sample = await createSampleTable()
    const written: string[] = []
    const counting = new Proxy(sample.catalog, {
      get(target, name: keyof Catalog) {
        if (['acquireLease', 'setReader', 'commitSnapshot'].includes(name)) written.push(name)
        return target[name]
      },
    })
    const { worker } = await sample.compactor({ catalog: counting })
    await sample.tick([source(1)])
    await turns(sample, worker)
    written.length = 0
    expect(await worker.turn(sample.table)).toBeUndefined()
    expect(written).toEqual([])
  })
})

describe('a conflict', () => {
  function withCommit(sample: SampleTable, commitSnapshot: Catalog['commitSnapshot']): Catalog {
    return { ...sample.catalog, commitSnapshot }
  }
  const away = () => new MillraceError('catalog-busy', 'the reply is lost')

  test('that is certain takes its files away at once, and the table is planned again', async () => {
    const sample = await createSampleTable()
    let refused = 0
    const { worker } = await sample.compactor({
      catalog: withCommit(sample, async (commit) =>
        refused++ === 0 ? { outcome: 'conflict', reason: 'somebody was first' } : sample.catalog.commitSnapshot(commit),
      ),
    })
    await sample.tick([source(1)])
    const before = await sample.paths()
    expect(await worker.turn(sample.table)).toBe('conflict')
    expect(await sample.paths()).toEqual(before)
    expect(await turns(sample, worker)).toEqual(['append'])
    await expectEverything(sample)
  })

  test('of a lease that went to somebody else is one too', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({
      catalog: withCommit(sample, async () => {
        throw new MillraceError('lease-lost', 'a newer epoch')
      }),
    })
    await sample.tick([source(1)])
    const before = await sample.paths()
    expect(await worker.turn(sample.table)).toBe('conflict')
    expect(await sample.paths()).toEqual(before)
  })

  test('never hides a commit that landed although its reply was lost (G-2)', async () => {
    const sample = await createSampleTable()
    let asked = 0
    const { worker } = await sample.compactor({
      catalog: withCommit(sample, async (commit) => {
        const result = await sample.catalog.commitSnapshot(commit)
        if (asked++ === 0) throw away()
        return result
      }),
    })
    await sample.tick([source(1)])
    expect(await turns(sample, worker)).toEqual(['append'])
    expect(asked).toBe(2)
    await expectEverything(sample)
    for (const path of await sample.referredTo()) await sample.store.get(path)
  })

  test('after an unknown outcome leaves the files alone: they go when their writer is fenced (G-2)', async () => {
    const sample = await createSampleTable()
    let asked = 0
    const { worker, writer } = await sample.compactor({
      catalog: withCommit(sample, async (commit) => {
        if (asked++ === 0) throw away()
        return asked === 2 ? { outcome: 'conflict', reason: 'unsure' } : sample.catalog.commitSnapshot(commit)
      }),
    })
    await sample.tick([source(1)])
    const before = new Set(await sample.paths())
    expect(await worker.turn(sample.table)).toBe('conflict')
    const left = (await sample.paths()).filter((path) => !before.has(path))
    expect(left.length).toBe(5)
    expect(await turns(sample, worker)).toEqual(['append'])
    await sample.sweep(0)
    for (const path of left) await sample.store.get(path)
    await worker.close()
    await sample.catalog.retireWriter(writer)
    await sample.sweep(0)
    expect(await sample.paths()).toEqual(await sample.referredTo())
    await expectEverything(sample)
  })

  test('of an input that is not live any more is found before anything is written', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({ settings: { filesMin: 2 } })
    const rival = await sample.compactor({ settings: { filesMin: 2 } })
    await sample.tick([source(1)])
    await turns(sample, worker)
    await sample.tick([source(2)])
    expect((await worker.turn(sample.table)) !== 'conflict').toBe(true)
    // The lease runs out in the middle of a merge; the rival merges the same files.
    const slow = await sample.compactor({
      settings: { filesMin: 2, leaseMs: 1000 },
      onOpen: async () => {
        await sample.world.advance(2000)
        expect(await turns(sample, rival.worker)).toEqual(['merge'])
      },
    })
    expect(await slow.worker.turn(sample.table)).toBe('conflict')
    await expectEverything(sample)
    expect((await sample.paths()).filter((path) => isOfWriter(path, slow.writer.writerId))).toEqual([])
  })
})

describe('what a compactor reads', () => {
  test('stays until it is done, whatever another one commits and sweeps (PROTOCOL 6)', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({ settings: { filesMin: 1000, snapshotsMax: 1 } })
    const rival = await sample.compactor({ settings: { filesMin: 2, snapshotsMax: 1 } })
    for (const index of [1, 2, 3]) {
      await sample.tick([source(index)])
      await turns(sample, worker)
    }
    await worker.close()
    await sample.sweep(0)
    let inputs: readonly string[] = []
    const slow = await sample.compactor({
      settings: { filesMin: 2, leaseMs: 1000, snapshotsMax: 1 },
      onOpen: async (paths) => {
        inputs = paths
        await sample.world.advance(2000)
        expect(await turns(sample, rival.worker)).toEqual(['merge'])
        await rival.worker.refresh()
        await sample.sweep(0)
      },
    })
    // Opening the inputs would fail if one of them were gone.
    expect(await slow.worker.turn(sample.table)).toBe('conflict')
    expect(inputs.length).toBe(3)
    for (const path of inputs) await sample.store.get(path)
    await slow.worker.refresh()
    await sample.sweep(0)
    for (const path of inputs) expect(await sample.store.head(path)).toBeUndefined()
  })

  test('no longer counts when it is fenced: its row goes with it', async () => {
    const sample = await createSampleTable()
    const settings = { filesMin: 1000, snapshotsMax: 1 }
    const { worker } = await sample.compactor({ settings })
    const frozen = await sample.compactor({ settings })
    await sample.tick([source(1)])
    expect(await turns(sample, frozen.worker)).toEqual(['append'])
    await sample.tick([source(1)])
    expect(await turns(sample, worker)).toEqual(['append'])
    await worker.refresh()
    await sample.sweep(0)
    expect(await sample.paths()).not.toEqual(await sample.referredTo())
    await sample.catalog.retireWriter(frozen.writer)
    await sample.sweep(0)
    expect(await sample.paths()).toEqual(await sample.referredTo())
  })
})

describe('snapshots that expire', () => {
  test('leave an idle table once, and what only they referred to goes when that is old enough', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor()
    for (const index of [1, 2, 3, 4]) {
      await sample.tick([source(index)])
      await turns(sample, worker)
      await sample.world.advance(1000)
    }
    await worker.refresh()
    expect((await sample.metadata())?.snapshots.length).toBeGreaterThan(3)
    const before = (await sample.metadata())!
    await sample.world.advance(MIN_AGE_MS - 5000)
    expect(await turns(sample, worker)).toEqual([])
    await sample.world.advance(10_000)
    expect(await turns(sample, worker)).toEqual(['expire'])
    const after = (await sample.metadata())!
    expect(after.snapshots).toEqual([before.currentSnapshot])
    expect(after.currentSnapshot).toEqual(before.currentSnapshot)
    expect(after.lastSequenceNumber).toBe(before.lastSequenceNumber + 1n)
    await expectEverything(sample)
    await worker.refresh()
    const there = await sample.paths()
    await sample.sweep()
    expect((await sample.paths()).filter((path) => path.endsWith('.avro'))).toEqual(
      there.filter((path) => path.endsWith('.avro')),
    )
    await sample.world.advance(MIN_AGE_MS)
    await sample.sweep()
    expect(await sample.paths()).toEqual(await sample.referredTo())
    for (let look = 0; look < 3; look += 1) {
      await sample.world.advance(MIN_AGE_MS)
      expect(await turns(sample, worker)).toEqual([])
    }
    await sample.tick([source(9)])
    expect((await turns(sample, worker))[0]).toBe('append')
    await expectEverything(sample)
  })

  test('leave the metadata by number, but their files stay for the age: it wins over the number', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({ settings: { snapshotsMax: 2, filesMin: 1000 } })
    for (let commit = 0; commit < 8; commit += 1) {
      await sample.tick([source(commit)])
      await turns(sample, worker)
    }
    expect((await sample.metadata())?.snapshots.length).toBe(2)
    await worker.close()
    const lists = async () => (await sample.paths()).filter((path) => path.includes('/snap-')).length
    await sample.world.advance(MIN_AGE_MS - 1)
    await sample.sweep()
    expect(await lists()).toBe(8)
    await sample.world.advance(1)
    await sample.sweep()
    expect(await lists()).toBe(2)
  })
})

describe('an engine that runs out of memory', () => {
  test('is given less at once until it is done, and more again later (G-6, G-13)', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({ rowsMax: 20, settings: { filesMin: 1000 } })
    for (let segment = 0; segment < 32; segment += 1) await sample.tick([source(1), source(2)])
    const outcomes: unknown[] = []
    for (let turn = await worker.turn(sample.table); turn; turn = await worker.turn(sample.table)) {
      outcomes.push(turn === 'conflict' ? turn : turn.rows)
    }
    // As it is, frugal, a quarter, and a quarter of that: two segments of four rows. After eight of these, more: too early.
    const eight = new Array(8).fill(8)
    expect(outcomes).toEqual(['conflict', 'conflict', 'conflict', ...eight, 'conflict', ...eight])
    await expectEverything(sample)
  })

  test('also gets through one segment that is too large for it', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({ rowsMax: 3 })
    await sample.tick(Array.from({ length: 30 }, (_, index) => source(index)))
    const outcomes: unknown[] = []
    for (let turn = await worker.turn(sample.table); turn; turn = await worker.turn(sample.table)) {
      outcomes.push(turn === 'conflict' ? turn : turn.rows)
    }
    expect(outcomes).toEqual(['conflict', 'conflict', 'conflict', 60])
    await expectEverything(sample)
  })

  test('for a single row says so', async () => {
    const sample = await createSampleTable()
    const { worker } = await sample.compactor({ rowsMax: 0 })
    await sample.tick([source(1)])
    await expect(
      (async () => {
        while ((await worker.turn(sample.table)) === 'conflict');
      })(),
    ).rejects.toThrow('too much at once')
  })
})
