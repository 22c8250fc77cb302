import { describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { countRequests } from './count.ts'
import { injectFaults } from './faults.ts'
import { createMemoryObjectStore } from './memory.ts'
import { openObjectStore } from './open.ts'
import { createRoutedObjectStore } from './router.ts'

const bytes = (value: string) => new TextEncoder().encode(value)
const world = createTestWorld({ sleepAdvances: true })
const memoryAt = (root: string) => createMemoryObjectStore({ root, world })

describe('count', () => {
  test('counts requests, failures and bytes per verb', async () => {
    const store = countRequests(memoryAt('s3://b/lake'))
    await store.put('s3://b/lake/x', bytes('12345'))
    await store.get('s3://b/lake/x', { range: { start: 1, end: 3 } })
    await expect(store.get('s3://b/lake/none')).rejects.toThrow(/no object/)
    await store.head('s3://b/lake/x')
    await Array.fromAsync(store.list('s3://b/lake/'))
    await store.delete(['s3://b/lake/x', 's3://b/lake/none'])
    expect(store.counts).toEqual({
      put: { requests: 1, failures: 0 },
      get: { requests: 2, failures: 1 },
      head: { requests: 1, failures: 0 },
      list: { requests: 1, failures: 0 },
      delete: { requests: 1, failures: 0 },
      bytesRead: 2,
      bytesWritten: 5,
      objectsListed: 1,
      objectsDeleted: 2,
    })
    store.reset()
    expect(store.counts.get.requests + store.counts.bytesRead).toBe(0)
  })
})

describe('faults', () => {
  test('before: nothing happened; after: it happened, the answer is lost; delay: the clock moved', async () => {
    const memory = memoryAt('s3://b/lake')
    const store = injectFaults(memory, world, [{ kind: 'fail-before', path: /x$/, times: 1 }])
    await store.put('s3://b/lake/y', bytes('y'))
    await expect(store.put('s3://b/lake/x', bytes('x'))).rejects.toMatchObject({ code: 'store-unavailable' })
    expect(await memory.head('s3://b/lake/x')).toBeUndefined()
    store.setFaults([{ kind: 'fail-after', verbs: ['put'], times: 1 }])
    await expect(store.put('s3://b/lake/x', bytes('x'))).rejects.toMatchObject({ code: 'store-unavailable' })
    expect((await memory.head('s3://b/lake/x'))?.size).toBe(1)
    const before = world.clock.monotonicMs()
    store.setFaults([{ kind: 'delay', delayMs: 250 }])
    await store.head('s3://b/lake/x')
    expect(world.clock.monotonicMs() - before).toBe(250)
    expect(store.struck()).toBe(3)
  })

  test('the same seed strikes the same requests', async () => {
    async function run(seed: number): Promise<boolean[]> {
      const store = injectFaults(memoryAt('s3://b/lake'), createTestWorld({ seed }), [
        { kind: 'fail-before', chance: 0.5 },
      ])
      const outcomes: boolean[] = []
      for (let request = 0; request < 40; request++) {
        outcomes.push(
          await store
            .head('s3://b/lake/x')
            .then(() => true)
            .catch(() => false),
        )
      }
      return outcomes
    }
    expect(await run(7)).toEqual(await run(7))
    expect(await run(7)).not.toEqual(await run(8))
  })
})

describe('router', () => {
  test('sends each path to the longest root that holds it', async () => {
    const hot = memoryAt('file:///lake')
    const nested = memoryAt('file:///lake/nested')
    const cold = memoryAt('s3://cold/lake')
    const store = createRoutedObjectStore({ stores: [hot, cold, nested] })
    expect(store.root).toBe('file:///lake')
    for (const path of ['file:///lake/a', 's3://cold/lake/b', 'file:///lake/nested/c'])
      await store.put(path, bytes(path))
    expect((await hot.head('file:///lake/a'))?.size).toBe(14)
    expect((await cold.head('s3://cold/lake/b'))?.size).toBe(16)
    expect((await nested.head('file:///lake/nested/c'))?.size).toBe(21)
    expect((await Array.fromAsync(store.list('s3://cold/lake/'))).map((info) => info.path)).toEqual([
      's3://cold/lake/b',
    ])
    await expect(store.get('s3://cold/lakeside/b')).rejects.toMatchObject({ code: 'request-invalid' })
    await store.delete(['file:///lake/a', 's3://cold/lake/b'])
    expect(await store.head('file:///lake/a')).toBeUndefined()
    expect(await store.head('s3://cold/lake/b')).toBeUndefined()
    expect((await store.get('file:///lake/nested/c')).objectSize).toBe(21)
  })

  test('refuses the same root twice', () => {
    expect(() => createRoutedObjectStore({ stores: [memoryAt('s3://b'), memoryAt('s3://b/')] })).toThrow(/named twice/)
  })
})

describe('open', () => {
  test('chooses by scheme and refuses what it cannot serve', async () => {
    const local = openObjectStore({ root: 'file:///nowhere/lake/', world })
    expect(local.root).toBe('file:///nowhere/lake')
    const s3 = openObjectStore({ root: 's3://bucket/lake/', s3: { region: 'us-east-1' }, world })
    expect(s3.root).toBe('s3://bucket/lake')
    await s3.close()
    expect(() => openObjectStore({ root: 's3://bucket', world })).toThrow(/needs the settings of S3/)
    expect(() => openObjectStore({ root: 'hdfs://x/y', world })).toThrow(/file:\/\/ or s3:\/\//)
    expect(() => openObjectStore({ root: 's3://', s3: { region: 'x' }, world })).toThrow(/s3:\/\/bucket/)
  })
})
