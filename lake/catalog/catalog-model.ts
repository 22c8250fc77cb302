/**
 * Random interleavings of ticks, snapshots, merges of live segments, fencing and leases against a small model. After every step:
 * coverage has no gap and no overlap (G-1, G-2), versions are dense, each segment is live in exactly [added, removed) (G-3), and
 * live segments of a source follow each other up to the end of its coverage.
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import type { Catalog, Lease, NewSegment, SegmentMerge, Table, Writer } from './catalog.ts'
import { mergedSources } from './segment-merge.ts'
import { newTableOf, sourceKey, tickOf } from './test-values.ts'

type Step =
  | {
      readonly kind: 'tick'
      readonly writer: number
      readonly source: number
      readonly skew: number
      readonly size: number
    }
  | { readonly kind: 'retry'; readonly back: number }
  | { readonly kind: 'snapshot'; readonly first: number; readonly count: number; readonly staleMetadata: boolean }
  | { readonly kind: 'merge'; readonly writer: number; readonly picks: readonly boolean[] }
  | { readonly kind: 'fence'; readonly writer: number }
  | { readonly kind: 'crash'; readonly source: number }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant('tick' as const),
      writer: fc.nat(2),
      source: fc.nat(2),
      skew: fc.constantFrom(0, 0, 0, 0, -1, 1),
      size: fc.integer({ min: 1, max: 5 }),
    }),
  },
  fc.record({ kind: fc.constant('retry' as const), back: fc.nat(4) }),
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('snapshot' as const),
      first: fc.nat(2),
      count: fc.integer({ min: 0, max: 4 }),
      staleMetadata: fc.boolean(),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('merge' as const),
      writer: fc.nat(2),
      picks: fc.array(
        fc.nat(3).map((each) => each > 0),
        { minLength: 2, maxLength: 6 },
      ),
    }),
  },
  fc.record({ kind: fc.constant('fence' as const), writer: fc.nat(2) }),
  fc.record({ kind: fc.constant('crash' as const), source: fc.nat(2) }),
)

type ModelSegment = { sources: readonly number[]; added: bigint; removed: bigint | undefined }

export async function checkInterleavings(
  open: (world: TestWorld) => Promise<Catalog>,
  settings: { readonly numRuns: number; readonly seed?: number },
): Promise<void> {
  const steps = fc.array(anyStep, { minLength: 1, maxLength: 25 })
  await fc.assert(
    fc.asyncProperty(steps, (each) => run(open, each)),
    settings,
  )
}

async function run(open: (world: TestWorld) => Promise<Catalog>, steps: readonly Step[]): Promise<void> {
  const world = createTestWorld({ sleepAdvances: true })
  const catalog = await open(world)
  try {
    const table: Table = await catalog.createTable(newTableOf('t'))
    const writers: Writer[] = []
    for (let index = 0; index < 3; index += 1) writers.push(await catalog.registerWriter('ingest'))
    const compactor = await catalog.registerWriter('compactor')
    const lease = (await catalog.acquireLease(table.tableId, compactor, 1000)) as Lease
    const fenced = new Set<number>()
    const ends = [0n, 0n, 0n]
    const segments = new Map<number, ModelSegment>()
    const ticks: { tick: Parameters<Catalog['commitTick']>[0]; version: bigint }[] = []
    let version = 0n
    let metadata: string | undefined

    for (const [index, step] of steps.entries()) {
      if (step.kind === 'tick' || step.kind === 'crash') {
        const who = step.kind === 'tick' ? step.writer : [0, 1, 2].find((each) => !fenced.has(each))
        if (who === undefined) continue
        const start = ends[step.source] + BigInt(step.kind === 'tick' ? step.skew : 0)
        if (start < 0n) continue
        const size = step.kind === 'tick' ? BigInt(step.size) : 1n
        const tick = tickOf(table, writers[who], `t${index}`, sourceKey(step.source), start, start + size)
        if (step.kind === 'crash') {
          world.crashAt('catalog/tick-before-commit')
          await expect(catalog.commitTick(tick)).rejects.toThrow('crashed')
        } else if (fenced.has(who)) {
          await expect(catalog.commitTick(tick)).rejects.toMatchObject({ code: 'writer-fenced' })
        } else {
          const result = await catalog.commitTick(tick)
          expect(result.outcome).toBe(step.skew === 0 ? 'committed' : 'stale')
          if (step.skew === 0) {
            version += 1n
            ends[step.source] += size
            const [seen] = await catalog.readTables(['t'])
            const added = seen.segments.at(-1)!
            segments.set(added.segmentId, { sources: [step.source], added: version, removed: undefined })
            ticks.push({ tick, version })
          }
        }
      } else if (step.kind === 'retry') {
        const earlier = ticks.at(-1 - step.back)
        if (!earlier) continue
        const versions = new Map([[table.tableId, earlier.version]])
        expect(await catalog.commitTick(earlier.tick)).toMatchObject({ outcome: 'already-committed', versions })
      } else if (step.kind === 'fence') {
        await catalog.retireWriter(writers[step.writer])
        fenced.add(step.writer)
      } else if (step.kind === 'merge') {
        const live = [...segments].filter(([, segment]) => segment.removed === undefined).slice(-step.picks.length)
        const chosen = live.filter((_, at) => step.picks[at])
        if (chosen.length < 2) continue
        const merge = await mergeOf(
          catalog,
          table,
          writers[step.writer],
          `g${index}`,
          chosen.map(([id]) => id),
        )
        if (fenced.has(step.writer)) {
          await expect(catalog.mergeSegments(merge)).rejects.toMatchObject({ code: 'writer-fenced' })
        } else {
          const taken = new Set<number>()
          const overtaken = live.some(([, segment], at) => {
            if (!step.picks[at]) return segment.sources.some((source) => taken.has(source))
            for (const source of segment.sources) taken.add(source)
            return false
          })
          const result = await catalog.mergeSegments(merge)
          expect(result.outcome).toBe(overtaken ? 'conflict' : 'committed')
          if (!overtaken) {
            version += 1n
            for (const [, segment] of chosen) segment.removed = version
            const [seen] = await catalog.readTables(['t'])
            const added = seen.segments.at(-1)!
            segments.set(added.segmentId, { sources: [...taken], added: version, removed: undefined })
          }
        }
      } else {
        const live = [...segments].filter(([, segment]) => segment.removed === undefined)
        const chosen = live.slice(step.first, step.first + step.count)
        const skipped = new Set(live.slice(0, step.first).flatMap(([, segment]) => segment.sources))
        const overtakes = chosen.some(([, segment]) => segment.sources.some((source) => skipped.has(source)))
        const allowed = !step.staleMetadata && !overtakes
        const result = await catalog.commitSnapshot({
          commitId: `s${index}`,
          writer: compactor,
          lease,
          tableId: table.tableId,
          expectedMetadataLocation: step.staleMetadata ? 'file:///never' : metadata,
          metadataLocation: `file:///m${index}`,
          consumedSegmentIds: chosen.map(([id]) => id),
          removedPaths: [],
          rowsAdded: 0,
          snapshotRows: 0,
        })
        expect(result.outcome).toBe(allowed ? 'committed' : 'conflict')
        if (allowed) {
          version += 1n
          metadata = `file:///m${index}`
          for (const [, segment] of chosen) segment.removed = version
        }
      }

      const [seen] = await catalog.readTables(['t'])
      expect(seen.version).toBe(version)
      expect(seen.metadataLocation).toBe(metadata)
      expect(new Map(seen.segments.map(({ segmentId, addedVersion }) => [segmentId, addedVersion]))).toEqual(
        new Map([...segments].filter(([, { removed }]) => removed === undefined).map(([id, { added }]) => [id, added])),
      )
      const covered = ends.flatMap((end, source) => (end > 0n ? [[source, [{ start: 0n, end }]]] : []))
      expect(seen.coverage.map(({ partition, ranges }) => [partition, ranges])).toEqual(covered)
      for (const [source, end] of ends.entries()) {
        const ranges = seen.segments.flatMap((each) => each.sources.filter(({ partition }) => partition === source))
        for (const [at, { range }] of ranges.entries()) {
          expect(range.end).toBe(at === ranges.length - 1 ? end : ranges[at + 1].range.start)
        }
      }
      const dead = await catalog.deadFiles(0, 1000)
      expect(dead.map(({ removedVersion }) => removedVersion).sort()).toEqual(
        [...segments.values()].flatMap(({ removed }) => (removed === undefined ? [] : [removed])).sort(),
      )
    }
  } finally {
    await catalog.close()
  }
}

async function mergeOf(
  catalog: Catalog,
  table: Table,
  writer: Writer,
  commitId: string,
  inputSegmentIds: readonly number[],
): Promise<SegmentMerge> {
  const [{ segments }] = await catalog.readTables([table.name])
  const inputs = segments.filter(({ segmentId }) => inputSegmentIds.includes(segmentId))
  const segment: NewSegment = {
    ...inputs[0],
    path: `${table.location}/segments/${commitId}.parquet`,
    rowCount: inputs.reduce((sum, { rowCount }) => sum + rowCount, 0),
    sources: mergedSources(inputs.map(({ sources }) => sources)),
  }
  return { commitId, writer, tableId: table.tableId, inputSegmentIds, segment }
}
