import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createByteBudget } from './byte-budget.ts'

test('what does not fit is refused, and fits when bytes were given back', () => {
  const budget = createByteBudget(10)
  expect(budget.tryTake(6)).toBe(true)
  expect(budget.tryTake(5)).toBe(false)
  expect(budget.tryTake(4)).toBe(true)
  budget.give(6)
  expect(budget.tryTake(5)).toBe(true)
  expect(budget.taken).toBe(9)
})

test('one body larger than the budget goes alone', () => {
  const budget = createByteBudget(10)
  expect(budget.tryTake(50)).toBe(true)
  expect(budget.tryTake(1)).toBe(false)
  budget.give(50)
  expect(budget.taken).toBe(0)
})

test('who waits gets bytes in order of asking, and nobody passes by', async () => {
  const budget = createByteBudget(10)
  const seen: string[] = []
  await budget.take(8)
  const second = budget.take(7).then(() => void seen.push('second'))
  const third = budget.take(1).then(() => void seen.push('third'))
  expect(budget.tryTake(1)).toBe(false)
  budget.give(8)
  await Promise.all([second, third])
  expect(seen).toEqual(['second', 'third'])
  expect(budget.taken).toBe(8)
})

test('never more than the budget, or one body; everybody comes in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 30 }), { maxLength: 40 }), async (sizes) => {
      const budget = createByteBudget(20)
      let within = 0
      let bodies = 0
      await Promise.all(
        sizes.map(async (bytes) => {
          await budget.take(bytes)
          within += bytes
          bodies += bytes > 0 ? 1 : 0
          expect(within <= 20 || bodies === 1).toBe(true)
          await Promise.resolve()
          within -= bytes
          bodies -= bytes > 0 ? 1 : 0
          budget.give(bytes)
        }),
      )
      expect(budget.taken).toBe(0)
    }),
  )
})
