import { expect, test } from 'vitest'
import { inParallel } from './in-parallel.ts'

test('no more than asked for at once, results in order, each item once', async () => {
  let running = 0
  let most = 0
  const results = await inParallel(
    Array.from({ length: 20 }, (_, index) => index),
    async (index) => {
      running += 1
      most = Math.max(most, running)
      for (let turn = 0; turn < 20 - index; turn += 1) await Promise.resolve()
      running -= 1
      return index * 2
    },
    3,
  )
  expect(results).toEqual(Array.from({ length: 20 }, (_, index) => index * 2))
  expect(most).toBe(3)
})

test('the first error comes through; nothing of no items', async () => {
  const failing = inParallel([1, 2, 3], async (item) => {
    if (item === 2) throw new Error('two')
  })
  await expect(failing).rejects.toThrow('two')
  expect(await inParallel([], async () => 1)).toEqual([])
})
