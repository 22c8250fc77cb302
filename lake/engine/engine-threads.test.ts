import { expect, test } from 'vitest'
import { createEngineThreads } from './engine-threads.ts'

test('all threads while a large statement runs, one a while after the last of them', async ({ onTestFinished }) => {
  const { vi } = await import('vitest')
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const set: number[] = []
  const threads = createEngineThreads(4, async (count) => set.push(count))
  const first = await threads.wide()
  const second = await threads.wide()
  expect(set).toEqual([4])
  first()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(set).toEqual([4])
  second()
  await vi.advanceTimersByTimeAsync(100)
  const third = await threads.wide()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(set).toEqual([4])
  third()
  await vi.advanceTimersByTimeAsync(1_000)
  expect(set).toEqual([4, 1])
})

test('a change that fails is tried with the next one', async () => {
  const set: number[] = []
  const threads = createEngineThreads(2, async (count) => {
    set.push(count)
    if (set.length === 1) throw new Error('no')
  })
  ;(await threads.wide())()
  await threads.wide()
  expect(set).toEqual([2, 2])
})
