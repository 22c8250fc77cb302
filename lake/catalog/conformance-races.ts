/**
 * What every catalog promises to those who ask at the same moment, part of `conformance.ts`: each of two processes gets an
 * answer that fits the other's, whoever is first. Guarantees are cited by number.
 */
import { expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import type { Catalog, Lease, SnapshotCommit, Table, TableVersion, Writer } from './catalog.ts'
import { newTableOf, sourceKey, tickOf } from './test-values.ts'

export type Started = {
  readonly table: Table
  readonly writer: Writer
  readonly compactor: Writer
  readonly lease: Lease
}

export type RaceContext = {
  readonly catalog: Catalog
  /** As another process has it. */
  readonly other: Catalog
  advance(ms: number): Promise<void>
  started(): Promise<Started>
  live(table: string): Promise<TableVersion>
  snapshotOf(state: Started, commitId: string, ids: readonly number[], expected?: string): SnapshotCommit
}

const key = sourceKey(0)

export function describeRaces(context: () => RaceContext): void {
  test('many ticks at once: each offset is covered once, versions have no hole', async () => {
    const { catalog, other, started, live } = context()
    const { table } = await started()
    const writers = await Promise.all(Array.from({ length: 8 }, () => catalog.registerWriter('ingest')))
    const results = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        (index % 2 ? other : catalog).commitTick(
          tickOf(table, writers[index % 8], `c${index}`, sourceKey(index % 5), 0n, BigInt(index + 1)),
        ),
      ),
    )
    expect(results.filter(({ outcome }) => outcome === 'committed')).toHaveLength(5)
    const seen = await live('flights')
    expect(seen.version).toBe(5n)
    expect(seen.segments.map(({ addedVersion }) => addedVersion)).toEqual([1n, 2n, 3n, 4n, 5n])
  })

  test('writers that register at once each have an epoch of their own', async () => {
    const { catalog, other } = context()
    const writers = await Promise.all(
      Array.from({ length: 8 }, (_, index) => (index % 2 ? other : catalog).registerWriter('ingest')),
    )
    expect(writers.map(({ epoch }) => epoch).sort()).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    for (const writer of writers) await catalog.heartbeat(writer, 1000)
  })

  test('what is there once is had by one of those who want it at once', async () => {
    const { catalog, other, advance } = context()
    const made = await Promise.allSettled([
      catalog.createTable(newTableOf('flights')),
      other.createTable(newTableOf('flights')),
    ])
    expect(made.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const [refusal] = made.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []))
    expect(refusal).toMatchObject({ code: 'already-exists' })

    const [{ tableId }] = await catalog.listTables()
    const rivals = [await catalog.registerWriter('compactor'), await other.registerWriter('compactor')]
    const leases = await Promise.all([
      catalog.acquireLease(tableId, rivals[0], 1000),
      other.acquireLease(tableId, rivals[1], 1000),
    ])
    expect(leases.filter((lease) => lease !== undefined)).toMatchObject([{ epoch: 1 }])
    await advance(2000)
    const again = await Promise.all(
      [0, 1, 0, 1].map((index) => (index ? other : catalog).acquireLease(tableId, rivals[index], 1000)),
    )
    const holders = new Set(again.flatMap((lease) => (lease ? [`${lease.epoch} ${lease.holder}`] : [])))
    expect(holders.size).toBe(1)

    const bound = await Promise.allSettled([
      catalog.bindPipeline('a', [tableId], ['t']),
      other.bindPipeline('b', [tableId], ['t']),
    ])
    expect(bound.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])

    const begun = await Promise.all([catalog.beginCoverage(key, 7n), other.beginCoverage(key, 9n)])
    expect(begun[0]).toEqual(begun[1])
  })

  test('ticks of one source that meet: one lands, the other is told where the source is now (G-1, G-2)', async () => {
    const { catalog, other, started, live } = context()
    const { table, writer } = await started()
    const rival = await other.registerWriter('ingest')
    const fresh = (id: string, of: Writer) => tickOf(table, of, id, key, 0n, 5n)
    const results = await Promise.all([catalog.commitTick(fresh('a', writer)), other.commitTick(fresh('b', rival))])
    expect(results.map(({ outcome }) => outcome).sort()).toEqual(['committed', 'stale'])
    const stale = results.find(({ outcome }) => outcome === 'stale')
    expect(stale).toMatchObject({ stale: [{ key, coverage: { ranges: [{ start: 0n, end: 5n }] } }] })

    const keys = [{ tableId: table.tableId, key: 'k', rows: 1 }]
    const keyed = await Promise.all(
      [1, 2].map((source) =>
        (source === 1 ? catalog : other).commitTick({
          ...tickOf(table, source === 1 ? writer : rival, `k${source}`, sourceKey(source), 0n, 1n),
          idempotencyKeys: keys,
        }),
      ),
    )
    expect(keyed.map(({ outcome }) => outcome).sort()).toEqual(['committed', 'duplicate-keys'])
    expect((await live('flights')).version).toBe(2n)
  })

  test('the same commit asked for several times at once lands once, and all get its answer (G-2)', async () => {
    const { catalog, other, started, live, snapshotOf } = context()
    const state = await started()
    const tick = tickOf(state.table, state.writer, 'c', key, 0n, 5n)
    const ticks = await Promise.all([catalog, other, catalog, other].map((each) => each.commitTick(tick)))
    expect(ticks.filter(({ outcome }) => outcome === 'committed')).toHaveLength(1)
    const answers = new Set(ticks.map((each) => ('committedAt' in each ? each.committedAt : each.outcome)))
    expect(answers.size).toBe(1)

    const [{ segmentId }] = (await live('flights')).segments
    const commit = snapshotOf(state, 's', [segmentId])
    const snapshots = await Promise.all([catalog, other, catalog, other].map((each) => each.commitSnapshot(commit)))
    expect(snapshots.map((each) => ('version' in each ? each.version : each))).toEqual([2n, 2n, 2n, 2n])
    expect(snapshots.filter(({ outcome }) => outcome === 'committed')).toHaveLength(1)
  })

  test('a commit that meets its own fencing has landed before it, or never lands (G-2)', async () => {
    const { catalog, other, advance, started } = context()
    const { table } = await started()
    for (let round = 0; round < 6; round += 1) {
      const writer = await catalog.registerWriter('ingest')
      await advance(5000)
      const source = sourceKey(round)
      const committing = catalog.commitTick(tickOf(table, writer, `f${round}`, source, 0n, 1n)).then(
        ({ outcome }) => outcome,
        (error: unknown) => (isMillraceError(error) ? error.code : String(error)),
      )
      const fenced = await other.fenceSilentWriters(4000)
      const landed = (await other.coverage('p')).some(({ partition }) => partition === round)
      const outcome = await committing
      expect(['committed', 'writer-fenced']).toContain(outcome)
      // Fenced and not there: it never will be.
      if (fenced.includes(writer.writerId) && !landed) expect(outcome).toBe('writer-fenced')
      const later = (await other.coverage('p')).some(({ partition }) => partition === round)
      expect(later).toBe(outcome === 'committed')
    }
  })

  test('snapshots among ticks of one table: versions have no hole and every row is live once (G-3)', async () => {
    const { catalog, other, started, live, snapshotOf } = context()
    const state = await started()
    const ticking = (async () => {
      for (let index = 0; index < 30; index += 1) {
        const source = sourceKey(index % 3)
        const start = BigInt(Math.floor(index / 3))
        await catalog.commitTick(tickOf(state.table, state.writer, `t${index}`, source, start, start + 1n))
      }
    })()
    const consumed: number[] = []
    let metadata: string | undefined
    let commits = 0
    for (let round = 0; round < 10; round += 1) {
      const { segments } = await live('flights')
      const ids = segments.slice(0, 4).map(({ segmentId }) => segmentId)
      const commit = snapshotOf(state, `s${round}`, ids, metadata)
      expect((await other.commitSnapshot(commit)).outcome).toBe('committed')
      metadata = commit.metadataLocation
      consumed.push(...ids)
      commits += 1
    }
    await ticking
    const seen = await live('flights')
    expect(seen.version).toBe(BigInt(30 + commits))
    expect(new Set([...consumed, ...seen.segments.map(({ segmentId }) => segmentId)]).size).toBe(30)
    expect(consumed.length + seen.segments.length).toBe(30)
  })
}
