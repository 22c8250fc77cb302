/**
 * What every catalog promises, as one suite. `open` gives catalogs over the same database, each as another process would
 * have it (one shared catalog where there is only memory), so races are real. Guarantees are cited by number.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import { type ErrorCode, isMillraceError } from '../../schemas/errors.ts'
import { HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import type { Catalog, FlushTick, Lease, NewSegment, Segment, Table } from './catalog.ts'
import { describeNestedColumns } from './conformance-nested.ts'
import { describeOperations } from './conformance-operations.ts'
import { describeRaces } from './conformance-races.ts'
import { describeSchemas } from './conformance-schemas.ts'
import { mergedSources } from './segment-merge.ts'
import { advanceOf, newTableOf, sourceKey, TEST_COLUMNS, tickOf } from './test-values.ts'

export type CatalogSetup = {
  /** Another catalog over the same database. */
  readonly open: (world: TestWorld) => Promise<Catalog>
  /** Moves the clock that the catalog goes by, by milliseconds; without it that is the world's. */
  readonly moveClock?: (ms: number) => Promise<void>
  readonly close: () => Promise<void>
}

async function refused(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!isMillraceError(error, code)) throw new Error(`expected ${code}, got ${String(error)}`, { cause: error })
}

export function describeCatalog(name: string, setup: () => Promise<CatalogSetup>): void {
  describe(`catalog: ${name}`, () => {
    let parts: CatalogSetup
    let world: TestWorld
    let catalog: Catalog
    let other: Catalog

    beforeEach(async () => {
      parts = await setup()
      world = createTestWorld({ sleepAdvances: true })
      catalog = await parts.open(world)
      other = await parts.open(world)
    })
    afterEach(() => parts.close())

    const key = sourceKey(0)

    async function advance(ms: number): Promise<void> {
      await world.advance(ms)
      await parts.moveClock?.(ms)
    }
    async function started() {
      const table = await catalog.createTable(newTableOf('flights'))
      const writer = await catalog.registerWriter('ingest')
      const compactor = await catalog.registerWriter('compactor')
      const lease = (await catalog.acquireLease(table.tableId, compactor, 1000)) as Lease
      return { table, writer, compactor, lease }
    }
    async function live(name: string) {
      const [version] = await other.readTables([name])
      return version
    }
    const snapshotOf = (
      state: Awaited<ReturnType<typeof started>>,
      commitId: string,
      ids: readonly number[],
      expected?: string,
    ) => ({
      commitId,
      writer: state.compactor,
      lease: state.lease,
      tableId: state.table.tableId,
      expectedMetadataLocation: expected,
      metadataLocation: `file:///lake/m-${commitId}.json`,
      consumedSegmentIds: ids,
      removedPaths: expected ? [expected] : [],
      rowsAdded: 1,
      snapshotRows: 1,
    })

    test('a table comes back as it was made, with the hidden columns behind its own', async () => {
      const made = await catalog.createTable(newTableOf('flights'))
      expect(made).toEqual({
        ...newTableOf('flights'),
        columns: undefined,
        tableId: made.tableId,
        schemas: [{ schemaId: 0, columns: [...TEST_COLUMNS, ...HIDDEN_COLUMNS] }],
        version: 0n,
        metadataLocation: undefined,
        lastFieldId: 17,
      })
      expect(await other.findTable('flights')).toEqual(made)
      expect(await other.listTables()).toEqual([made])
      expect(await other.findTable('nothing')).toBeUndefined()
      await refused(other.createTable(newTableOf('flights')), 'already-exists')
      await refused(other.readTables(['flights', 'nothing']), 'undefined-table')
    })

    test('a tick makes its rows and coverage visible together, and a retry gets the same answer (G-2)', async () => {
      const { table, writer } = await started()
      await catalog.beginCoverage(key, 10n)
      const tick = tickOf(table, writer, 'c1', key, 10n, 30n)
      const first = await catalog.commitTick(tick)
      expect(first).toMatchObject({ outcome: 'committed', versions: new Map([[table.tableId, 1n]]) })
      expect(await other.commitTick(tick)).toEqual({ ...first, outcome: 'already-committed' })
      const seen = await live('flights')
      expect(seen.version).toBe(1n)
      expect(seen.segments).toEqual([
        {
          ...tick.segments[0],
          segmentId: seen.segments[0].segmentId,
          addedVersion: 1n,
          addedAt: seen.segments[0].addedAt,
        },
      ])
      expect(seen.coverage).toMatchObject([{ ...key, ranges: [{ start: 10n, end: 30n }], recordsIn: 20n, logEnd: 30n }])
      expect(seen.coverage[0].caughtUpAt).toBe(seen.segments[0].addedAt)
    })

    test('a source that is not where the tick says is named and nothing is written (G-1, G-2)', async () => {
      const { table, writer } = await started()
      await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 10n))
      const fresh = sourceKey(1)
      const tick: FlushTick = {
        ...tickOf(table, writer, 'c2', key, 5n, 15n),
        advances: [advanceOf(key, 5n, 15n), advanceOf(fresh, 7n, 8n), advanceOf(sourceKey(2), 0n, 1n)],
      }
      const result = await other.commitTick(tick)
      expect(result).toMatchObject({
        outcome: 'stale',
        stale: [
          { key, coverage: { ranges: [{ start: 0n, end: 10n }] } },
          { key: fresh, coverage: undefined },
        ],
      })
      expect((await live('flights')).version).toBe(1n)
      expect(await catalog.coverage('p')).toHaveLength(1)
    })

    test('an idempotency key is taken once, also across processes', async () => {
      const { table, writer } = await started()
      const keys = [{ tableId: table.tableId, key: 'k', rows: 3, dead: 2 }]
      await catalog.commitTick({ ...tickOf(table, writer, 'c1', key, 0n, 3n), idempotencyKeys: keys })
      expect(await other.commitTick({ ...tickOf(table, writer, 'c2', key, 3n, 6n), idempotencyKeys: keys })).toEqual({
        outcome: 'duplicate-keys',
        keys: [{ ...keys[0], version: 1n }],
      })
      expect(await other.findIdempotencyKey(table.tableId, 'k')).toEqual({ rows: 3, dead: 2, version: 1n })
      expect((await live('flights')).version).toBe(1n)
    })

    test('a segment keeps its checksum and where its record continues; coverage says how far files record it', async () => {
      const { table, writer } = await started()
      const silent = { ...tickOf(table, writer, 'c1', key, 0n, 5n), segments: [] }
      await catalog.commitTick(silent)
      expect(await other.coverage('p')).toMatchObject([{ ranges: [{ start: 0n, end: 5n }], recordedEnd: undefined }])
      const tick = tickOf(table, writer, 'c2', key, 5n, 8n)
      const [segment] = tick.segments
      const sources = [{ ...segment.sources[0], recordedFrom: 0n }]
      await catalog.commitTick({ ...tick, segments: [{ ...segment, sources, checksum: '00c0ffee' }] })
      expect((await live('flights')).segments).toMatchObject([{ checksum: '00c0ffee', sources }])
      await catalog.commitTick({ ...tickOf(table, writer, 'c3', key, 8n, 9n), segments: [] })
      expect(await other.coverage('p')).toMatchObject([{ ranges: [{ start: 0n, end: 9n }], recordedEnd: 8n }])
      const late = tickOf(table, writer, 'c4', key, 9n, 10n)
      const after = [{ ...late.segments[0].sources[0], recordedFrom: 10n }]
      const bad = { ...late, segments: [{ ...late.segments[0], sources: after }] }
      await refused(catalog.commitTick(bad), 'invariant-broken')
    })

    test('tables are read without coverage when nobody asks for it', async () => {
      const { table, writer } = await started()
      await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 5n))
      const [bare] = await other.readTables(['flights'], { coverage: false })
      expect(bare).toMatchObject({ version: 1n, coverage: [], segments: [{ rowCount: 5 }] })
      expect((await live('flights')).coverage).toHaveLength(1)
    })

    test('every other table is read in the same transaction when it is asked for', async () => {
      const { table, writer } = await started()
      await catalog.createTable(newTableOf('airports'))
      await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 5n))
      const { others = [] } = await other.readTables(['airports'], { others: 'versions' })
      expect(others).toMatchObject([{ table: { name: 'flights' }, version: 1n, segments: [{ rowCount: 5 }] }])
      const defined = await other.readTables([], { others: 'definitions' })
      expect(defined.others?.map(({ table: { name }, segments }) => [name, segments])).toEqual([
        ['airports', []],
        ['flights', []],
      ])
      expect((await other.readTables(['airports'])).others).toBeUndefined()
    })

    test('a table tells the checksum of the metadata it points at, and only of that', async () => {
      const state = await started()
      await catalog.commitSnapshot({ ...snapshotOf(state, 's1', []), metadataChecksum: '0badf00d' })
      expect(await other.findTable('flights')).toMatchObject({ metadataChecksum: '0badf00d' })
      await catalog.commitSnapshot(snapshotOf(state, 's2', [], 'file:///lake/m-s1.json'))
      expect((await other.findTable('flights'))?.metadataChecksum).toBeUndefined()
    })

    test('a tick whose numbers cannot be is refused whole', async () => {
      const { table, writer } = await started()
      const good = tickOf(table, writer, 'c1', key, 0n, 3n)
      const [segment] = good.segments
      const [advance] = good.advances
      const bad: Partial<FlushTick>[] = [
        { advances: [{ ...advance, recordsIn: -1 }] },
        { advances: [{ ...advance, recordsIn: 4 }] },
        { advances: [{ ...advance, recordsDead: 2, recordsFiltered: 2 }] },
        { advances: [{ ...advance, range: { start: 3n, end: 0n } }] },
        { advances: [] },
        { segments: [{ ...segment, rowCount: 2 }] },
        { segments: [{ ...segment, schemaId: 9 }] },
      ]
      for (const part of bad) await refused(catalog.commitTick({ ...good, ...part }), 'invariant-broken')
      expect((await live('flights')).version).toBe(0n)
      expect(await catalog.coverage('p')).toEqual([])
    })

    test('a source that stands at its end is told fresh; one whose coverage ends elsewhere is given back', async () => {
      const { table, writer } = await started()
      await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 3n))
      await catalog.commitTick(tickOf(table, writer, 'c2', sourceKey(1), 0n, 5n))
      const [before] = await catalog.coverage('p')
      await advance(1000)
      const here = { ...key, end: 3n, logEnd: 3n }
      const elsewhere = { ...sourceKey(1), end: 4n, logEnd: 4n }
      const nowhere = { ...sourceKey(2), end: 0n, logEnd: 0n }
      expect(await catalog.touchCaughtUp(writer, [here, elsewhere, nowhere])).toEqual([elsewhere])
      const [first, second] = await other.coverage('p')
      expect(first.caughtUpAt ?? 0n).toBeGreaterThan(before.caughtUpAt ?? 0n)
      expect(second).toMatchObject({ ranges: [{ start: 0n, end: 5n }], logEnd: 5n })
    })

    test('a fenced writer never commits again, and nothing brings it back', async () => {
      const { table, writer } = await started()
      await advance(5000)
      expect(await other.fenceSilentWriters(4000)).toContain(writer.writerId)
      await refused(catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 3n)), 'writer-fenced')
      await refused(catalog.heartbeat(writer, 1000), 'writer-fenced')
      await refused(catalog.touchCaughtUp(writer, [{ ...key, end: 0n, logEnd: 0n }]), 'writer-fenced')
      expect(await catalog.writerState(writer.writerId)).toBe('fenced')
      expect(await catalog.writerState('nobody')).toBe('unknown')
    })

    test('a lease has one holder, its epoch grows, and only the newest epoch commits', async () => {
      const state = await started()
      const rival = await other.registerWriter('compactor')
      expect(await other.acquireLease(state.table.tableId, rival, 1000)).toBeUndefined()
      await advance(2000)
      expect(await catalog.commitSnapshot(snapshotOf(state, 's1', []))).toEqual({ outcome: 'committed', version: 1n })
      expect(await other.acquireLease(state.table.tableId, rival, 1000)).toMatchObject({ epoch: 2 })
      await refused(catalog.commitSnapshot(snapshotOf(state, 's2', [], 'file:///lake/m-s1.json')), 'lease-lost')
      expect(await catalog.heartbeat(state.compactor, 1000)).toEqual([])
      expect(await other.heartbeat(rival, 1000)).toHaveLength(1)
    })

    test('a snapshot takes live segments over at one version, in commit order, once (G-3)', async () => {
      const state = await started()
      for (const [index, id] of ['a', 'b'].entries()) {
        await catalog.commitTick(tickOf(state.table, state.writer, id, key, BigInt(index), BigInt(index + 1)))
      }
      const [first, second] = (await live('flights')).segments.map(({ segmentId }) => segmentId)
      expect(await catalog.commitSnapshot(snapshotOf(state, 's0', [second]))).toMatchObject({ outcome: 'conflict' })
      const commit = snapshotOf(state, 's1', [first])
      expect(await catalog.commitSnapshot(commit)).toEqual({ outcome: 'committed', version: 3n })
      expect(await other.commitSnapshot(commit)).toEqual({ outcome: 'already-committed', version: 3n })
      const next = snapshotOf(state, 's2', [first], 'file:///lake/m-s1.json')
      expect(await catalog.commitSnapshot(next)).toMatchObject({ outcome: 'conflict' })
      expect(await catalog.commitSnapshot(snapshotOf(state, 's3', [second]))).toMatchObject({ outcome: 'conflict' })
      const seen = await live('flights')
      expect(seen).toMatchObject({ version: 3n, metadataLocation: 'file:///lake/m-s1.json' })
      expect(seen.segments.map(({ segmentId }) => segmentId)).toEqual([second])
    })

    const merged = (table: Table, path: string, inputs: readonly Segment[]): NewSegment => ({
      ...inputs[0],
      path: `${table.location}/segments/${path}`,
      rowCount: inputs.reduce((sum, { rowCount }) => sum + rowCount, 0),
      sources: mergedSources(inputs.map(({ sources }) => sources)),
    })

    test('live segments become one at one version, their rows and sources with them (G-1, G-2, G-3)', async () => {
      const state = await started()
      const { table, writer } = state
      const second = sourceKey(1)
      await catalog.commitTick(tickOf(table, writer, 'a', key, 0n, 10n))
      await catalog.commitTick(tickOf(table, writer, 'b', second, 0n, 5n))
      await catalog.commitTick(tickOf(table, writer, 'c', key, 10n, 20n))
      const before = await live('flights')
      const [a, b, c] = before.segments
      const commit = (commitId: string, inputs: readonly Segment[]) => ({
        commitId,
        writer,
        tableId: table.tableId,
        inputSegmentIds: inputs.map(({ segmentId }) => segmentId),
        segment: merged(table, `${commitId}.parquet`, inputs),
      })
      // `c` is newer and of the same source: the merged one would come behind it.
      expect(await catalog.mergeSegments(commit('m0', [a, b]))).toMatchObject({ outcome: 'conflict' })
      expect(await live('flights')).toEqual({ ...before, readAt: expect.anything() })
      const wrong = commit('m0', [a, c])
      await refused(
        catalog.mergeSegments({ ...wrong, segment: { ...wrong.segment, rowCount: 19 } }),
        'invariant-broken',
      )
      expect(await catalog.mergeSegments(commit('m1', [a, c]))).toEqual({ outcome: 'committed', version: 4n })
      expect(await other.mergeSegments(commit('m1', [a, c]))).toEqual({ outcome: 'already-committed', version: 4n })
      expect(await other.mergeSegments(commit('m2', [b, c]))).toMatchObject({ outcome: 'conflict' })
      const seen = await live('flights')
      expect(seen.version).toBe(4n)
      expect(seen.segments.map(({ path, rowCount }) => [path.split('/').at(-1), rowCount])).toEqual([
        ['b.parquet', 5],
        ['m1.parquet', 20],
      ])
      expect(seen.segments[1].sources).toEqual([{ ...a.sources[0], range: { start: 0n, end: 20n }, rows: 20 }])
      expect(seen.coverage).toEqual(before.coverage)
      expect((await catalog.liveSegments()).get(table.tableId)).toEqual({ name: 'flights', version: 4n, live: 2 })
      expect((await catalog.deadFiles(0, 10)).map(({ path, removedVersion }) => [path, removedVersion])).toEqual([
        [a.path, 4n],
        [c.path, 4n],
      ])
      // A snapshot planned before the merge finds its input gone; one planned after it takes the merged segment.
      expect(await catalog.commitSnapshot(snapshotOf(state, 's1', [a.segmentId]))).toMatchObject({
        outcome: 'conflict',
      })
      await catalog.commitTick(tickOf(table, writer, 'd', key, 20n, 21n))
      const ids = (await live('flights')).segments.map(({ segmentId }) => segmentId)
      expect(await catalog.commitSnapshot(snapshotOf(state, 's2', [ids[2]]))).toMatchObject({ outcome: 'conflict' })
      expect(await catalog.commitSnapshot(snapshotOf(state, 's3', [ids[1]]))).toMatchObject({ outcome: 'committed' })
      await catalog.retireWriter(writer)
      await refused(catalog.mergeSegments(commit('m3', [a, c])), 'writer-fenced')
    })

    test('a merge that stops before its commit point leaves nothing, one after it leaves all', async () => {
      const { table, writer } = await started()
      await catalog.commitTick(tickOf(table, writer, 'a', key, 0n, 1n))
      await catalog.commitTick(tickOf(table, writer, 'b', key, 1n, 2n))
      const before = await live('flights')
      const inputSegmentIds = before.segments.map(({ segmentId }) => segmentId)
      const segment = merged(table, 'm.parquet', before.segments)
      const merge = { commitId: 'm', writer, tableId: table.tableId, inputSegmentIds, segment }
      world.crashAt('catalog/merge-before-commit')
      await expect(catalog.mergeSegments(merge)).rejects.toThrow('crashed')
      expect(await live('flights')).toEqual({ ...before, readAt: expect.anything() })
      world.crashAt('catalog/merge-after-commit')
      await expect(catalog.mergeSegments(merge)).rejects.toThrow('crashed')
      expect((await live('flights')).segments).toMatchObject([{ path: segment.path, rowCount: 2, addedVersion: 3n }])
      expect(await other.mergeSegments(merge)).toEqual({ outcome: 'already-committed', version: 3n })
    })

    test('removed files are dead only when old enough and behind every reader', async () => {
      const state = await started()
      await catalog.commitTick(tickOf(state.table, state.writer, 'a', key, 0n, 1n))
      const [{ segmentId, path }] = (await live('flights')).segments
      await catalog.commitSnapshot(snapshotOf(state, 's1', [segmentId]))
      expect(await catalog.deadFiles(1000, 10)).toEqual([])
      await advance(1000)
      await other.setReader('r', new Map([[state.table.tableId, 1n]]))
      expect(await catalog.deadFiles(1000, 10)).toEqual([])
      await other.setReader('r', new Map([[state.table.tableId, 2n]]))
      const dead = await catalog.deadFiles(1000, 10)
      expect(dead).toMatchObject([{ path, removedVersion: 2n, tableId: state.table.tableId }])
      expect(await catalog.knownPaths(state.table.tableId)).toEqual(new Set([path, 'file:///lake/m-s1.json']))
      await catalog.forgetFiles(dead.map(({ tombstoneId }) => tombstoneId))
      expect(await catalog.knownPaths(state.table.tableId)).toEqual(new Set(['file:///lake/m-s1.json']))
      await advance(1000)
      expect(await catalog.expireReaders(500)).toBe(1)
    })

    test('a stop before the commit point leaves nothing, one after it leaves all', async () => {
      const state = await started()
      const tick = tickOf(state.table, state.writer, 'a', key, 0n, 1n)
      world.crashAt('catalog/tick-before-commit')
      await expect(catalog.commitTick(tick)).rejects.toThrow('crashed')
      expect((await live('flights')).segments).toEqual([])
      expect(await catalog.coverage('p')).toEqual([])
      world.crashAt('catalog/tick-after-commit')
      await expect(catalog.commitTick(tick)).rejects.toThrow('crashed')
      expect(await other.commitTick(tick)).toMatchObject({ outcome: 'already-committed' })
      const [{ segmentId }] = (await live('flights')).segments
      world.crashAt('catalog/snapshot-before-commit')
      await expect(catalog.commitSnapshot(snapshotOf(state, 's', [segmentId]))).rejects.toThrow('crashed')
      expect((await live('flights')).version).toBe(1n)
      world.crashAt('catalog/snapshot-after-commit')
      await expect(catalog.commitSnapshot(snapshotOf(state, 's', [segmentId]))).rejects.toThrow('crashed')
      expect(await live('flights')).toMatchObject({ version: 2n, segments: [] })
    })

    describeNestedColumns(() => ({ catalog, other }))
    describeRaces(() => ({ catalog, other, advance, started, live, snapshotOf }))
    describeOperations(() => ({ catalog, other, advance, started, live, snapshotOf }))
    describeSchemas(() => ({ catalog, other, advance, started, live, snapshotOf }))

    test('two pipelines that read one topic into one table are refused', async () => {
      const { table } = await started()
      await catalog.bindPipeline('a', [table.tableId], ['t'])
      await catalog.bindPipeline('a', [table.tableId], ['t'])
      await other.bindPipeline('b', [table.tableId], ['u'])
      await refused(other.bindPipeline('b', [table.tableId], ['t', 'u']), 'settings-invalid')
    })

    test('old commit ids, keys and idle HTTP producers go; Kafka coverage stays', async () => {
      const { table, writer } = await started()
      const producer = { pipeline: 'http:flights', source: 'http:me', partition: 0 }
      await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 1n))
      await catalog.commitTick({
        ...tickOf(table, writer, 'c2', producer, 0n, 1n),
        idempotencyKeys: [{ tableId: table.tableId, key: 'k', rows: 1 }],
      })
      await advance(8 * 24 * 3_600_000)
      await catalog.expireRows()
      expect(await catalog.coverage('http:flights')).toEqual([])
      expect(await catalog.findIdempotencyKey(table.tableId, 'k')).toBeUndefined()
      expect(await catalog.commitTick(tickOf(table, writer, 'c1', key, 0n, 1n))).toMatchObject({ outcome: 'stale' })
    })

    test('an expired HTTP producer goes on where it ended, and nowhere else (G-1, G-2)', async () => {
      const { table, writer } = await started()
      const producer = { pipeline: 'http:flights', source: 'http:me', partition: 0 }
      const expire = async () => {
        await advance(8 * 24 * 3_600_000)
        await catalog.expireRows()
        expect(await catalog.coverage('http:flights')).toEqual([])
      }
      await catalog.commitTick(tickOf(table, writer, 'c1', producer, 0n, 5n))
      await expire()
      const expired = { ...producer, ranges: [{ start: 5n, end: 5n }], recordsIn: 0n, expiredAt: expect.any(BigInt) }
      expect(await other.coverage('http:flights', ['http:me', 'http:you'])).toMatchObject([expired])
      expect(await catalog.commitTick(tickOf(table, writer, 'c2', producer, 0n, 5n))).toMatchObject({
        outcome: 'stale',
        stale: [{ key: producer, coverage: expired }],
      })
      expect(await catalog.commitTick(tickOf(table, writer, 'c3', producer, 5n, 7n))).toMatchObject({
        outcome: 'committed',
      })
      expect(await other.coverage('http:flights', ['http:me'])).toMatchObject([
        { ranges: [{ start: 5n, end: 7n }], recordsIn: 2n },
      ])
      await expire()
      expect(await catalog.coverage('http:flights', ['http:me'])).toMatchObject([{ ranges: [{ start: 7n, end: 7n }] }])
    })

    test('an earlier version is read as it was, as long as it was replaced within the window', async () => {
      const state = await started()
      const { table, writer } = state
      for (let i = 0; i < 4; i++) {
        await catalog.commitTick(tickOf(table, writer, `c${i}`, key, BigInt(i), BigInt(i + 1)))
      }
      const before = new Map<bigint, unknown>()
      const remember = async () => {
        const { version, metadataLocation, segments } = await live('flights')
        before.set(version, { metadataLocation, segments })
      }
      await remember()
      const [first, second] = (await live('flights')).segments
      await catalog.commitSnapshot(snapshotOf(state, 's1', [first.segmentId, second.segmentId]))
      await remember()
      await catalog.commitTick(tickOf(table, writer, 'c4', key, 4n, 5n))
      await remember()
      const at = (version: bigint, windowMs: number) =>
        other.readTables(['flights'], { at: { versions: new Map([['flights', version]]), windowMs } })
      for (const [version, asItWas] of before) {
        const [{ metadataLocation, segments, ...read }] = await at(version, 60_000)
        expect(read.version).toBe(version)
        expect({ metadataLocation, segments }).toEqual(asItWas)
      }
      expect((await at(0n, 60_000))[0]).toMatchObject({ segments: [], metadataLocation: undefined })
      await refused(at(7n, 60_000), 'value-out-of-range')
      await refused(at(-1n, 60_000), 'value-out-of-range')
      await advance(10_000)
      await catalog.commitTick(tickOf(table, writer, 'c5', key, 5n, 6n))
      await refused(at(5n, 5000), 'value-out-of-range')
      expect((await at(6n, 5000))[0].segments).toHaveLength(3)
      expect((await at(7n, 0))[0].segments).toHaveLength(4)
    })

    test('the clock never runs backwards, whichever process is asked', async () => {
      const before = await catalog.now()
      await advance(1000)
      await catalog.registerWriter('ingest')
      await parts.moveClock?.(-60_000)
      const past = await parts.open(createTestWorld({ nowMicros: 1_000_000n, sleepAdvances: true }))
      expect(await past.now()).toBe(before + 1_000_000n)
    })
  })
}
