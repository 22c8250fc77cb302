import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ColumnChunk, ParquetFooter } from './parquet.ts'
import { planRanges, subtractRanges, totalBytes } from './ranges.ts'

/** Chunks one after the other, as files have them; sizes of bloom filters 0 for none. */
function footerWith(groups: readonly (readonly { size: number; gap: number; bloom: number }[])[]): ParquetFooter {
  const width = Math.min(...groups.map((group) => group.length))
  let position = 4
  const rowGroups = groups.map((group) => ({
    rowCount: 10,
    chunks: group.slice(0, width).map(({ size, gap, bloom }, columnIndex): ColumnChunk => {
      const filter = bloom === 0 ? undefined : { start: position, end: position + bloom }
      const start = position + bloom + gap
      position = start + size
      return {
        columnIndex,
        start,
        end: position,
        codec: 'ZSTD',
        encodings: [],
        valueCount: 10,
        uncompressedBytes: size,
        statistics: undefined,
        bloomFilter: filter,
      }
    }),
  }))
  const columns = Array.from({ length: width }, (_, i) => ({
    path: `c${i}`,
    fieldId: i,
    physical: 'INT32' as const,
    typeLength: undefined,
    logical: undefined,
    repetition: 'REQUIRED' as const,
  }))
  return {
    rowCount: 10 * groups.length,
    fields: [],
    columns,
    rowGroups,
    keyValues: new Map(),
    createdBy: undefined,
    footerBytes: 8,
  }
}

const anyChunk = fc.record({ size: fc.integer({ min: 1, max: 500 }), gap: fc.nat(30), bloom: fc.nat(20) })
const anyFooter = fc
  .array(fc.array(anyChunk, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 6 })
  .map(footerWith)

test('ranges cover exactly what is needed and read along no more than allowed', () => {
  fc.assert(
    fc.property(
      anyFooter,
      fc.array(fc.nat(7)),
      fc.array(fc.nat(5)),
      fc.nat(200),
      fc.integer({ min: 1, max: 2000 }),
      fc.double({ min: 0, max: 0.5, noNaN: true }),
      (footer, columnPicks, groupPicks, coalesceGap, rangeMax, overReadRatio) => {
        const columns = columnPicks.map((pick) => pick % footer.columns.length)
        const groups = groupPicks.map((pick) => pick % footer.rowGroups.length)
        const paths = columns.map((i) => `c${i}`)
        const bloom = new Set(paths.slice(0, 1))
        const plan = planRanges(footer, paths, groups, { coalesceGap, rangeMax, overReadRatio, bloom })

        const needed = new Set<number>()
        const mark = (start: number, end: number) => {
          for (let at = start; at < end; at++) needed.add(at)
        }
        for (const group of groups) {
          for (const column of columns) {
            const chunk = footer.rowGroups[group].chunks[column]
            mark(chunk.start, chunk.end)
            if (bloom.has(`c${column}`) && chunk.bloomFilter)
              mark(chunk.bloomFilter.start, chunk.bloomFilter.end as number)
          }
        }
        expect(plan.neededBytes).toBe(needed.size)
        expect(plan.plannedBytes).toBe(totalBytes(plan.ranges))
        expect(plan.plannedBytes).toBeLessThanOrEqual(needed.size * (1 + overReadRatio))
        let covered = 0
        let gap = 0
        plan.ranges.forEach(({ start, end }, i) => {
          expect(end).toBeGreaterThan(start)
          if (i > 0) expect(start).toBeGreaterThan(plan.ranges[i - 1].end - 1)
          expect(needed.has(start) && needed.has(end - 1)).toBe(true)
          for (let at = start; at < end; at++) {
            gap = needed.has(at) ? 0 : gap + 1
            expect(gap).toBeLessThanOrEqual(coalesceGap)
            if (gap === 0) covered++
          }
        })
        expect(covered).toBe(needed.size)
      },
    ),
    { numRuns: 300 },
  )
})

test('a two-column read of a wide file stays within a tenth of what it needs', () => {
  const groups = Array.from({ length: 40 }, () =>
    Array.from({ length: 20 }, () => ({ size: 200_000, gap: 0, bloom: 0 })),
  )
  const plan = planRanges(footerWith(groups), ['c3', 'c4'], groups.keys())
  expect(plan.neededBytes).toBe(40 * 2 * 200_000)
  expect(plan.plannedBytes).toBeLessThanOrEqual(plan.neededBytes * 1.1)
  expect(plan.ranges.length).toBeLessThanOrEqual(40)
})

test('what is missing is what is wanted and not there', () => {
  const anyRanges = fc.array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 9 })), { maxLength: 8 }).map((pairs) => {
    const ranges: { start: number; end: number }[] = []
    for (const [start, length] of pairs.sort((a, b) => a[0] - b[0])) {
      const last = ranges[ranges.length - 1]
      if (last === undefined || start > last.end) ranges.push({ start, end: start + length })
    }
    return ranges
  })
  fc.assert(
    fc.property(anyRanges, anyRanges, (wanted, present) => {
      const missing = subtractRanges(wanted, present)
      const holds = (ranges: readonly { start: number; end: number }[], at: number) =>
        ranges.some(({ start, end }) => start <= at && at < end)
      for (let at = 0; at < 80; at++) expect(holds(missing, at)).toBe(holds(wanted, at) && !holds(present, at))
    }),
  )
})
