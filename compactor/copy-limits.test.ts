// What one COPY takes at once never outgrows the engine's memory, whatever rows are (G-6); ordinary rows cost nothing for it.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { copyLimits } from './copy-limits.ts'
import { FULL_STEP } from './memory-steps.ts'

const MiB = 1024 ** 2
const limits = (rowBytes: number, memoryMiB: number, step = FULL_STEP) =>
  copyLimits({ rowBytes, memoryBytes: memoryMiB * MiB, threads: 2, step })

test('ordinary rows have full row groups and every thread at the default memory', () => {
  expect(limits(500, 1024)).toEqual({
    threads: 2,
    rowGroupRows: 122_880,
    mergesFewRows: false,
    sortRowsMax: Number.POSITIVE_INFINITY,
  })
})

test('a minute of 2,000-byte texts in 256 MiB has small row groups and a sort that merges few rows at once', () => {
  expect(limits(2100, 256)).toEqual({
    threads: 2,
    rowGroupRows: 6144,
    mergesFewRows: true,
    sortRowsMax: Number.POSITIVE_INFINITY,
  })
})

test('rows of 100 kB are sorted in parts', () => {
  expect(limits(100_000, 256)).toEqual({ threads: 1, rowGroupRows: 167, mergesFewRows: true, sortRowsMax: 223 })
})

test('after the engine ran out of memory there is one thread, and smaller row groups', () => {
  expect(limits(500, 1024, { frugal: true, bytesMax: 500_000 })).toEqual({
    threads: 1,
    rowGroupRows: 16_384,
    mergesFewRows: true,
    sortRowsMax: 1000,
  })
})

test('a row group and what the sort holds at once are a bounded part of the memory', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 16, max: 4 * MiB }),
      fc.integer({ min: 64, max: 16_384 }),
      fc.integer({ min: 1, max: 64 }),
      (rowBytes, memoryMiB, threads) => {
        const memoryBytes = memoryMiB * MiB
        const copy = copyLimits({ rowBytes, memoryBytes, threads, step: FULL_STEP })
        expect(copy.rowGroupRows * rowBytes).toBeLessThanOrEqual(Math.max(memoryBytes / 16, 16 * rowBytes))
        const merged = Math.min(copy.mergesFewRows ? 2048 : 122_880, copy.sortRowsMax)
        if (copy.threads === 1) expect(merged * rowBytes).toBeLessThanOrEqual(Math.max(memoryBytes / 4, rowBytes))
        expect(copy.rowGroupRows).toBeGreaterThan(0)
        expect(copy.sortRowsMax).toBeGreaterThan(0)
      },
    ),
  )
})
