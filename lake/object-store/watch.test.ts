import { describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { countRequests } from './count.ts'
import { createMemoryObjectStore } from './memory.ts'
import type { ObjectStore } from './object-store.ts'
import { watchStore } from './watch.ts'

const ROOT = 's3://bucket/lake'

function setUp(root = ROOT) {
  const world = createTestWorld()
  let isAway = false
  const memory = createMemoryObjectStore({ root, world })
  const unreliable: ObjectStore = {
    ...memory,
    async head(path) {
      if (isAway) throw new MillraceError('store-unavailable', `${path}: connection refused`)
      return memory.head(path)
    },
  }
  const counting = countRequests(unreliable)
  const told: (string | undefined)[] = []
  const store = watchStore(counting, { world, trouble: (reason) => void told.push(reason), idleMs: 100, awayMs: 10 })
  const away = (to: boolean) => {
    isAway = to
  }
  return { world, store, counting, told, away }
}

describe('a watched store', () => {
  test('is noticed to be away, and to be back, though nobody asks it anything', async () => {
    const { world, store, told, away } = setUp()
    away(true)
    await world.advance(250)
    expect(told[0]).toContain('connection refused')
    away(false)
    await world.advance(10)
    expect(told.at(-1)).toBeUndefined()
    await store.close()
  })

  test('is not asked while its own requests tell, and not before it was silent for a while', async () => {
    const { world, store, counting, told } = setUp()
    for (let request = 0; request < 20; request++) {
      await store.put(`${ROOT}/x`, new Uint8Array([1]))
      await world.advance(50)
    }
    expect(counting.counts.head.requests).toBe(0)
    await world.advance(1000)
    expect(counting.counts.head.requests).toBeGreaterThan(0)
    expect(told).toEqual([])
    await store.close()
  })

  test('answers with an error of the caller: it is there', async () => {
    const { store, told, away } = setUp()
    away(true)
    await expect(store.head(`${ROOT}/x`)).rejects.toThrow('connection refused')
    await expect(store.get(`${ROOT}/missing`)).rejects.toMatchObject({ code: 'file-missing' })
    expect(told.map((reason) => reason === undefined)).toEqual([false, true])
    await store.close()
  })

  test('on a local folder it is never asked by itself', async () => {
    const { world, store, counting } = setUp('file:///lake')
    await world.advance(10_000)
    expect(counting.counts.head.requests).toBe(0)
    await store.close()
  })
})
