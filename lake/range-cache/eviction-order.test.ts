// Recency and cost decide what goes; everything goes in the end, and what is held never (PROTOCOL 9).
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createEvictionOrder } from './eviction-order.ts'

const MiB = 1 << 20
const anyone = () => true

test('at the same cost the longest unused goes first', () => {
  const order = createEvictionOrder<string>()
  for (const name of ['a', 'b', 'c']) order.add(name, { bytes: MiB, requests: 1 })
  order.add('a', { bytes: MiB, requests: 1 })
  expect([order.next(anyone), order.next(anyone), order.next(anyone), order.next(anyone)]).toEqual([
    'b',
    'c',
    'a',
    undefined,
  ])
})

test('of files used alike the one that is cheap to fetch again goes first, and the dear one some turns later', () => {
  const order = createEvictionOrder<string>()
  order.add('many small ranges', { bytes: MiB, requests: 10 })
  order.add('one large range', { bytes: 16 * MiB, requests: 1 })
  expect(order.next(anyone)).toBe('one large range')
  let turns = 0
  for (; turns < 100; turns += 1) {
    order.add(`large ${turns}`, { bytes: 16 * MiB, requests: 1 })
    if (order.next(anyone) === 'many small ranges') break
  }
  expect(turns).toBeGreaterThan(5)
  expect(turns).toBeLessThan(12)
})

test('what was taken out or may not go stays, and keeps its place', () => {
  const order = createEvictionOrder<string>()
  for (const name of ['a', 'b', 'c']) order.add(name, { bytes: MiB, requests: 1 })
  order.remove('a')
  expect(order.next((name) => name !== 'b')).toBe('c')
  expect(order.next(anyone)).toBe('b')
  expect(order.next(anyone)).toBeUndefined()
})

test('with any uses each file is in the order once, and all come out', () => {
  const use = fc.record({
    file: fc.nat(9),
    bytes: fc.integer({ min: 0, max: 1e9 }),
    requests: fc.nat(50),
    kind: fc.constantFrom('add', 'add', 'remove', 'next'),
  })
  fc.assert(
    fc.property(fc.array(use, { maxLength: 400 }), (uses) => {
      const order = createEvictionOrder<number>()
      const there = new Set<number>()
      for (const { file, kind, ...cost } of uses) {
        if (kind === 'add') {
          order.add(file, cost)
          there.add(file)
        } else if (kind === 'remove') {
          order.remove(file)
          there.delete(file)
        } else {
          const gone = order.next(anyone)
          expect(gone === undefined).toBe(there.size === 0)
          if (gone !== undefined) expect(there.delete(gone)).toBe(true)
        }
      }
      const rest = new Set<number>()
      for (let gone = order.next(anyone); gone !== undefined; gone = order.next(anyone)) rest.add(gone)
      expect(rest).toEqual(there)
    }),
  )
})
