import { expect, test } from 'vitest'
import { createTestWorld } from '../runtime/test-world.ts'
import { createRateLimit } from './rate-limit.ts'

test('no limits, nothing to wait for', () => {
  expect(createRateLimit({ rowsMax: undefined, bytesMax: undefined }, createTestWorld())).toBeUndefined()
})

test('over many blocks the rate is kept, whatever their size, by the limit that is reached first', async () => {
  for (const [limits, blocks, records, bytes, seconds] of [
    [{ rowsMax: 1000, bytesMax: undefined }, 100, 100, 1, 9],
    [{ rowsMax: 1000, bytesMax: undefined }, 5, 3000, 1, 12],
    [{ rowsMax: 1_000_000, bytesMax: 2000 }, 50, 1, 400, 9],
  ] as const) {
    const world = createTestWorld({ sleepAdvances: true })
    const limit = createRateLimit(limits, world)!
    const begun = world.clock.monotonicMs()
    await Promise.all(Array.from({ length: blocks }, () => limit(records, bytes)))
    const took = (world.clock.monotonicMs() - begun) / 1000
    // The last block may go over what is there, and one second's worth is there at the start.
    expect(took).toBeGreaterThan(seconds - 1)
    expect(took).toBeLessThan(seconds + 1)
  }
})
