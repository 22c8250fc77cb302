// Which live segments become one, and what the catalog is told of the result.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { NewSegment, Segment } from '../lake/catalog/catalog.ts'
import { sourceKeyText } from '../schemas/coverage.ts'
import { type MergeLimits, mergedFacts, planMerge } from './merge-plan.ts'
import { sampleKey, sampleTable } from './tick-samples.ts'

const SCHEMA = sampleTable(1, 't').schemas[0]
const LIMITS: MergeLimits = { bytesMax: 1000, sourcesMax: 100, winMin: 2 }

type Shape = { readonly bytes: number; readonly sources: readonly number[]; readonly schemaId: number }

/** Segments in commit order, each with ten offsets of each of its sources. */
function liveOf(shapes: readonly Shape[]): Segment[] {
  const ends = new Map<number, bigint>()
  return shapes.map(({ bytes, sources, schemaId }, index) => ({
    segmentId: index + 1,
    tableId: 1,
    schemaId,
    path: `file:///lake/t/segments/${index}.parquet`,
    rowCount: sources.length * 10,
    bytes,
    etag: undefined,
    bounds: [],
    sources: sources.map((source) => {
      const start = ends.get(source) ?? 0n
      ends.set(source, start + 10n)
      return { ...sampleKey(`s${source}`), range: { start, end: start + 10n }, rows: 10 }
    }),
    touched: { grain: 'all', values: [] },
    addedVersion: BigInt(index + 1),
    addedAt: 0n,
  }))
}

const sizes = (...bytes: number[]) => liveOf(bytes.map((each) => ({ bytes: each, sources: [0], schemaId: 0 })))
const ids = (segments: readonly Segment[]) => segments.map(({ segmentId }) => segmentId)

test('small segments are merged again and again, a large one before them only when too little was won', () => {
  expect(ids(planMerge(sizes(500, 10, 10, 10, 10), () => false, LIMITS))).toEqual([2, 3, 4, 5])
  expect(ids(planMerge(sizes(500, 30, 10, 10, 10), () => false, LIMITS))).toEqual([2, 3, 4, 5])
  expect(ids(planMerge(sizes(500, 10, 10), () => false, LIMITS))).toEqual([1, 2, 3])
  expect(ids(planMerge(sizes(999, 10, 10), () => false, LIMITS))).toEqual([2, 3])
  expect(ids(planMerge(sizes(999, 999), () => false, LIMITS))).toEqual([2])
})

test('a segment of another process stays, and all older ones of its sources with it', () => {
  const live = liveOf([
    { bytes: 10, sources: [0], schemaId: 0 },
    { bytes: 10, sources: [1], schemaId: 0 },
    { bytes: 10, sources: [0, 2], schemaId: 0 },
    { bytes: 10, sources: [1], schemaId: 0 },
  ])
  expect(ids(planMerge(live, ({ segmentId }) => segmentId === 3, LIMITS))).toEqual([2, 4])
})

test('any plan is a run of the newest of its sources, of one schema, within the limits', () => {
  const shape = fc.record({
    bytes: fc.integer({ min: 1, max: 600 }),
    sources: fc.uniqueArray(fc.nat(4), { minLength: 1, maxLength: 3 }),
    schemaId: fc.constantFrom(0, 0, 0, 1),
  })
  fc.assert(
    fc.property(
      fc.array(shape, { maxLength: 30 }),
      fc.func(fc.integer({ min: 0, max: 3 })),
      fc.record({ bytesMax: fc.nat(3000), sourcesMax: fc.nat(6), winMin: fc.nat(10) }),
      (shapes, foreign, limits) => {
        const live = liveOf(shapes)
        const isForeign = ({ segmentId }: Segment) => foreign(segmentId) === 0
        const planned = planMerge(live, isForeign, limits)
        expect(ids(planned)).toEqual(ids(planned).sort((a, b) => a - b))
        expect(planned.some(isForeign)).toBe(false)
        expect(new Set(planned.map(({ schemaId }) => schemaId)).size).toBeLessThanOrEqual(1)
        expect(planned.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(limits.bytesMax)
        const keys = (segment: Segment) => segment.sources.map(sourceKeyText)
        expect(new Set(planned.flatMap(keys)).size).toBeLessThanOrEqual(limits.sourcesMax)
        for (const taken of planned) {
          for (const newer of live.filter(({ segmentId }) => segmentId > taken.segmentId)) {
            if (planned.includes(newer)) continue
            expect(keys(newer).some((key) => keys(taken).includes(key))).toBe(false)
          }
        }
      },
    ),
  )
})

const longs = (value: bigint) => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(value)
  return new Uint8Array(bytes)
}

function segment(bounds: { lower?: bigint; upper?: bigint; nulls?: number }, touched: NewSegment['touched']): Segment {
  const [made] = sizes(10)
  const lower = bounds.lower === undefined ? undefined : longs(bounds.lower)
  const upper = bounds.upper === undefined ? undefined : longs(bounds.upper)
  return { ...made, bounds: [{ fieldId: 16, nullCount: bounds.nulls ?? 0, lower, upper }], touched }
}

test('bounds are the widest of all inputs, and none where one input has values without a bound', () => {
  const [id] = SCHEMA.columns.filter(({ fieldId }) => fieldId === 16)
  const schema = { schemaId: 0, columns: [id] }
  const none = { grain: 'all', values: [] } as const
  const facts = (...inputs: Segment[]) => {
    // One source each, so that their ranges may stand side by side.
    const apart = inputs.map((each, i) => ({ ...each, sources: [{ ...each.sources[0], source: `s${i}` }] }))
    return mergedFacts(apart, schema).bounds
  }
  expect(
    facts(segment({ lower: -5n, upper: 300n }, none), segment({ lower: -2n, upper: 400n, nulls: 3 }, none)),
  ).toEqual([{ fieldId: 16, nullCount: 3, lower: longs(-5n), upper: longs(400n) }])
  expect(facts(segment({ nulls: 10 }, none), segment({ lower: 1n, upper: 2n }, none))).toEqual([
    { fieldId: 16, nullCount: 10, lower: longs(1n), upper: longs(2n) },
  ])
  expect(facts(segment({ lower: 1n }, none), segment({ lower: 0n, upper: 2n }, none))).toEqual([
    { fieldId: 16, nullCount: 0, lower: longs(0n), upper: undefined },
  ])
  // A segment of the release before, found by a rebuild: nobody knows how many of its values are null.
  const unknown = { ...segment({}, none), bounds: [] }
  expect(facts(unknown, segment({ nulls: 10 }, none))).toEqual([])
  expect(facts(unknown, unknown)).toEqual([])
})

test('touched hours become days, then all, as they grow many', () => {
  const touched = (...all: NewSegment['touched'][]) => {
    const apart = all.map((each, i) => {
      const made = segment({}, each)
      return { ...made, sources: [{ ...made.sources[0], source: `s${i}` }] }
    })
    return mergedFacts(apart, SCHEMA).touched
  }
  const hours = (from: number, count: number) => ({
    grain: 'hour' as const,
    values: Array.from({ length: count }, (_, i) => from + i),
  })
  expect(touched(hours(5, 2), hours(4, 2))).toEqual({ grain: 'hour', values: [4, 5, 6] })
  expect(touched(hours(0, 60), hours(60, 60))).toEqual({ grain: 'day', values: [0, 1, 2, 3, 4] })
  expect(touched(hours(-1, 2), { grain: 'day', values: [7] })).toEqual({ grain: 'day', values: [-1, 0, 7] })
  expect(touched(hours(0, 1), { grain: 'all', values: [] })).toEqual({ grain: 'all', values: [] })
})
