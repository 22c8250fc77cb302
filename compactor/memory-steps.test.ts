// Out of memory once is not for ever: less at once until it works, and more again after a while (G-13).
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createMemorySteps, FULL_STEP } from './memory-steps.ts'

test('goes down until what is tried fits, to a single row at last, and then says that it cannot', () => {
  const steps = createMemorySteps()
  const seen: number[] = []
  for (let tries = 0; tries < 20 && steps.lower(1, 1000); tries += 1) seen.push(steps.of(1).rowsMax)
  expect(seen).toEqual([Number.POSITIVE_INFINITY, 250, 62, 15, 3, 1])
  expect(steps.of(1)).toEqual({ frugal: true, rowsMax: 1 })
  expect(steps.of(2)).toEqual(FULL_STEP)
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
  expect(steps.of(1).rowsMax).toBe(62)
  const first = calmUntilFull()
  for (let tries = 0; tries < 3; tries += 1) steps.lower(1, 1000)
  expect(calmUntilFull()).toBe(2 * first)
})

test('any limit of the engine is met in a few tries', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000_000 }), fc.double({ min: 0, max: 1, noNaN: true }), (rows, part) => {
      const fits = Math.max(1, Math.floor(rows * part))
      const steps = createMemorySteps()
      let tries = 0
      while (Math.min(rows, steps.of(1).rowsMax) > fits) {
        expect(steps.lower(1, Math.min(rows, steps.of(1).rowsMax))).toBe(true)
        tries += 1
      }
      expect(tries).toBeLessThan(16)
    }),
  )
})
