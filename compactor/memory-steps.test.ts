// Out of memory once is not for ever: less at once until it works, and more again after a while (G-13).
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMemorySteps, FULL_STEP } from './memory-steps.ts'

test('goes down until what is tried fits, to a single row at last, and then says that it cannot', () => {
  const steps = createMemorySteps()
  const seen: number[] = []
  for (let tries = 0; tries < 20 && steps.lower(1, 1000, 10); tries += 1) seen.push(steps.rowsMax(1))
  expect(seen).toEqual([Number.POSITIVE_INFINITY, 250, 62, 15, 3, 1])
  expect(steps.of(1)).toEqual({ frugal: true, bytesMax: 10 })
  expect(steps.of(2)).toEqual(FULL_STEP)
  expect(steps.rowsMax(2)).toBe(Number.POSITIVE_INFINITY)
})

test('what wide rows needed costs narrow ones after them little', () => {
  const steps = createMemorySteps()
  for (let tries = 0; tries < 3; tries += 1) steps.lower(1, 1000, 100_000)
  expect(steps.rowsMax(1)).toBe(62)
  steps.calm(1, 100)
  expect(steps.rowsMax(1)).toBe(62_500)
})

test('comes back up after a calm while, and waits longer the next time', () => {
  const steps = createMemorySteps()
  const calmUntilFull = () => {
    for (let calm = 1; ; calm += 1) {
      steps.calm(1)
      if (steps.of(1) === FULL_STEP) return calm
    }
  }
  for (let tries = 0; tries < 3; tries += 1) steps.lower(1, 1000)
  expect(steps.rowsMax(1)).toBe(62)
  const first = calmUntilFull()
  for (let tries = 0; tries < 3; tries += 1) steps.lower(1, 1000)
  expect(calmUntilFull()).toBe(2 * first)
})

test('any limit of the engine is met in a few tries', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10_000_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 16, max: 1_000_000 }),
      (rows, part, rowBytes) => {
        const fits = Math.max(1, Math.floor(rows * part))
        const steps = createMemorySteps()
        let tries = 0
        while (Math.min(rows, steps.rowsMax(1)) > fits) {
          expect(steps.lower(1, Math.min(rows, steps.rowsMax(1)), rowBytes)).toBe(true)
          tries += 1
        }
        expect(tries).toBeLessThan(16)
      },
    ),
  )
})
