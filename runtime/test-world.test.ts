/** The world for tests keeps still until it is moved, and is the same again for the same seed. */
import { expect, it } from 'vitest'
import { CrashedHere, createTestWorld } from './test-world.ts'

it('wakes sleepers in the order of their time, and those that they start', async () => {
  const { clock, advance } = createTestWorld({ nowMicros: 0n })
  const woken: string[] = []
  void clock.sleep(20).then(() => woken.push(`b at ${clock.nowMicros()}`))
  void clock.sleep(10).then(async () => {
    woken.push(`a at ${clock.nowMicros()}`)
    await clock.sleep(5)
    woken.push(`a again at ${clock.nowMicros()}`)
  })
  await advance(9)
  expect(woken).toEqual([])
  await advance(21)
  expect(woken).toEqual(['a at 10000', 'a again at 15000', 'b at 20000'])
  expect(clock.monotonicMs()).toBe(30)
})

it('a sleep ends with its signal', async () => {
  const { clock } = createTestWorld()
  const stop = new AbortController()
  const slept = clock.sleep(1000, stop.signal)
  stop.abort(new Error('enough'))
  await expect(slept).rejects.toThrow('enough')
  await expect(clock.sleep(1, stop.signal)).rejects.toThrow('enough')
})

it('gives the same random for the same seed', () => {
  const draw = (seed: number) => {
    const { random } = createTestWorld({ seed })
    return [random.uuid(), random.float(), random.id53()]
  }
  expect(draw(7)).toEqual(draw(7))
  expect(draw(7)).not.toEqual(draw(8))
  expect(draw(7)[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
})

it('throws at the armed pass of a crash point', () => {
  const world = createTestWorld()
  world.crashAt('ingest/commit', 2)
  world.crashPoint('ingest/commit')
  expect(() => world.crashPoint('ingest/commit')).toThrow(CrashedHere)
  world.crashPoint('ingest/commit')
  expect(world.passed).toHaveLength(3)
})
