import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createTestWorld } from '../../runtime/test-world.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { countRequests } from './count.ts'
import { type FaultRule, injectFaults } from './faults.ts'
import { createMemoryObjectStore } from './memory.ts'
import { retryRequests } from './retry.ts'

const root = 's3://bucket/lake'
const path = `${root}/x`
const bytes = (value: string) => new TextEncoder().encode(value)
const textOf = (value: Uint8Array) => new TextDecoder().decode(value)

function setUp(rules: readonly FaultRule[] = [], seed = 1) {
  const world = createTestWorld({ seed, sleepAdvances: true })
  const memory = createMemoryObjectStore({ root, world })
  const counted = countRequests(memory)
  const faulty = injectFaults(counted, world, rules)
  return { world, memory, counts: counted.counts, faulty, store: retryRequests(faulty, world) }
}

describe('retry', () => {
  test('serves reads, lists, deletions and plain puts after passing failures', async () => {
    for (const kind of ['fail-before', 'fail-after'] as const) {
      const { store, faulty, memory } = setUp([{ kind, times: 2 }])
      await store.put(path, bytes('x'))
      faulty.setFaults([{ kind, times: 2 }])
      expect(textOf((await store.get(path)).bytes)).toBe('x')
      faulty.setFaults([{ kind, times: 2 }])
      expect((await store.head(path))?.size).toBe(1)
      faulty.setFaults([{ kind, times: 2 }])
      await store.delete([path])
      expect(await memory.head(path)).toBeUndefined()
    }
  })

  test('gives up after its tries, with growing pauses', async () => {
    const { store, world, faulty, counts } = setUp([{ kind: 'fail-before' }])
    await expect(store.get(path)).rejects.toMatchObject({ code: 'store-unavailable' })
    expect(faulty.struck()).toBe(6)
    expect(counts.get.requests).toBe(0)
    // Five pauses of at most 50, 100, 200, 400, 800 ms, each at least half of that.
    expect(world.clock.monotonicMs()).toBeGreaterThanOrEqual(775)
    expect(world.clock.monotonicMs()).toBeLessThan(1550)
  })

  test('passes every other error on at once', async () => {
    const { store, counts } = setUp()
    await expect(store.get(path)).rejects.toMatchObject({ code: 'file-missing' })
    expect(counts.get.requests).toBe(1)
    const refusal = new MillraceError('settings-invalid', 'wrong keys')
    const refused = setUp([{ kind: 'fail-before', error: () => refusal }])
    await expect(refused.store.put(path, bytes('x'))).rejects.toBe(refusal)
    expect(refused.faulty.struck()).toBe(1)
  })

  test('a reader that gives up does not wait for the next try', async () => {
    const { store } = setUp([{ kind: 'fail-before' }])
    const reason = new Error('given up')
    const aborted = new AbortController()
    const reading = store.get(path, { signal: aborted.signal })
    aborted.abort(reason)
    await expect(reading).rejects.toBe(reason)
  })

  test('a creation whose answer was lost is recognised as ours, and done once', async () => {
    const { store, counts } = setUp([{ kind: 'fail-after', verbs: ['put'], times: 1 }])
    const info = await store.put(path, bytes('mine'), { ifNoneMatch: '*' })
    expect(info).toMatchObject({ path, size: 4 })
    expect(counts.put.requests).toBe(1)
    expect((await store.get(path, { ifMatch: info.etag })).objectSize).toBe(4)
  })

  test('a creation that never arrived is tried again', async () => {
    const { store, counts } = setUp([{ kind: 'fail-before', verbs: ['put'], times: 3 }])
    await store.put(path, bytes('mine'), { ifNoneMatch: '*' })
    expect(counts.put.requests).toBe(1)
  })

  test('a lost answer and an object of somebody else is a conflict', async () => {
    for (const other of ['them', 'other length']) {
      const { store, faulty, memory } = setUp([{ kind: 'fail-before', verbs: ['put'], times: 1 }])
      const putting = store.put(path, bytes('mine'), { ifNoneMatch: '*' })
      await memory.put(path, bytes(other))
      await expect(putting).rejects.toMatchObject({ code: 'precondition-failed' })
      expect(faulty.struck()).toBe(1)
    }
  })

  test('a replacement whose answer was lost is recognised as ours', async () => {
    const { store, faulty, counts } = setUp()
    const first = await store.put(path, bytes('1'))
    faulty.setFaults([{ kind: 'fail-after', verbs: ['put'], times: 1 }])
    const second = await store.put(path, bytes('2'), { ifMatch: first.etag })
    expect(counts.put.requests).toBe(2)
    expect((await store.get(path)).etag).toBe(second.etag)
    await expect(store.put(path, bytes('3'), { ifMatch: first.etag })).rejects.toMatchObject({
      code: 'precondition-failed',
    })
  })

  test('a replacement that may have been replaced since stays unknown', async () => {
    const { store, faulty, memory } = setUp()
    const first = await store.put(path, bytes('1'))
    faulty.setFaults([{ kind: 'fail-after', verbs: ['put'], times: 1 }])
    const putting = store.put(path, bytes('2'), { ifMatch: first.etag })
    await new Promise<void>((resolve) => queueMicrotask(resolve))
    while (textOf((await memory.get(path)).bytes) !== '2') await Promise.resolve()
    await memory.put(path, bytes('3'))
    await expect(putting).rejects.toMatchObject({ code: 'store-unavailable' })
  })

  test('a file is compared by its bytes too', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-retry-'))
    const local = join(folder, 'file')
    await writeFile(local, 'content of a file')
    const { store, counts } = setUp([{ kind: 'fail-after', verbs: ['put'], times: 1 }])
    await store.putFile(path, local, { ifNoneMatch: '*' })
    expect(counts.put.requests).toBe(1)
    await rm(folder, { recursive: true })
  })

  test('a listing goes on where it broke off, every object once', async () => {
    const { store, faulty, memory } = setUp()
    const paths = Array.from({ length: 30 }, (_, index) => `${root}/list/${String(index).padStart(2, '0')}`)
    for (const each of paths) await memory.put(each, bytes('x'))
    faulty.setFaults([{ kind: 'fail-after', verbs: ['list'], times: 5, chance: 0.1 }])
    expect((await Array.fromAsync(store.list(`${root}/list/`))).map((info) => info.path)).toEqual(paths)
    faulty.setFaults([{ kind: 'fail-before', verbs: ['list'] }])
    await expect(Array.fromAsync(store.list(`${root}/list/`))).rejects.toMatchObject({ code: 'store-unavailable' })
  })

  test('compare and swap counts exactly, whatever is lost', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer(), fc.integer({ min: 1, max: 4 }), async (seed, writers) => {
        const { store, faulty, memory } = setUp([], seed)
        await memory.put(path, bytes('start'))
        faulty.setFaults([
          { kind: 'fail-before', chance: 0.2 },
          { kind: 'fail-after', chance: 0.2 },
        ])
        // Each writer appends its own word; an unknown outcome is resolved by looking for it.
        async function append(word: string): Promise<void> {
          for (;;) {
            try {
              const { bytes: present, etag } = await store.get(path)
              if (textOf(present).includes(word)) return
              await store.put(path, bytes(`${textOf(present)} ${word}`), { ifMatch: etag })
              return
            } catch (error) {
              const mayRetry =
                isMillraceError(error, 'precondition-failed') || isMillraceError(error, 'store-unavailable')
              if (!mayRetry) throw error
            }
          }
        }
        const words = Array.from({ length: writers }, (_, index) => `word${index}`)
        await Promise.all(words.map(append))
        const found = textOf((await memory.get(path)).bytes)
          .split(' ')
          .slice(1)
        expect(found.toSorted()).toEqual(words)
      }),
      { numRuns: 60 },
    )
  })
})
