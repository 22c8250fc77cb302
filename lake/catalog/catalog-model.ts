/**
 * Random interleavings of ticks, snapshots, fencing and leases against a small model. After every step: coverage has no
 * gap and no overlap (G-1, G-2), versions are dense, and each segment is live in exactly [added, removed) (G-3).
 */
import fc from 'fast-check'
import { expect } from 'vitest'
import { createTestWorld, type TestWorld } from '../../runtime/test-world.ts'
import type { Catalog, Lease, Table, Writer } from './catalog.ts'
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
  fc.record({ kind: fc.constant('fence' as const), writer: fc.nat(2) }),
  fc.record({ kind: fc.constant('crash' as const), source: fc.nat(2) }),
)

type ModelSegment = { source: number; start: bigint; added: bigint; removed: bigint | undefined }

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
            segments.set(added.segmentId, { source: step.source, start, added: version, removed: undefined })
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
      } else {
        const live = [...segments].filter(([, segment]) => segment.removed === undefined)
        const chosen = live.slice(step.first, step.first + step.count)
        const skipped = new Set(live.slice(0, step.first).map(([, segment]) => segment.source))
        const allowed = !step.staleMetadata && !chosen.some(([, segment]) => skipped.has(segment.source))
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
      const dead = await catalog.deadFiles(0, 1000)
      expect(dead.map(({ removedVersion }) => removedVersion).sort()).toEqual(
        [...segments.values()].flatMap(({ removed }) => (removed === undefined ? [] : [removed])).sort(),
      )
    }
  } finally {
    await catalog.close()
  }
}
