import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createArena, type Region } from './arena.ts'

const BYTES = 1 << 16
const step = fc.oneof(
  fc.record({ kind: fc.constant('allocate' as const), bytes: fc.integer({ min: 1, max: BYTES / 4 }) }),
  fc.record({
    kind: fc.constant('shrink' as const),
    which: fc.nat(),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({ kind: fc.constant('free' as const), which: fc.nat() }),
)

test('regions never overlap, are as large as asked for, and all of the memory comes back', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const arena = createArena(BYTES)
      const held: Region[] = []
      for (const each of steps) {
        if (each.kind === 'allocate') {
          const region = arena.allocate(each.bytes)
          expect(region.length).toBeGreaterThanOrEqual(each.bytes)
          held.push(region)
        } else if (held.length > 0) {
          const index = each.which % held.length
          if (each.kind === 'free') arena.free(held.splice(index, 1)[0])
          else held[index] = arena.shrink(held[index], Math.floor(held[index].length * each.share))
        }
        const inside = held.filter(({ memory }) => memory === arena.memory).sort((a, b) => a.start - b.start)
        for (let i = 1; i < inside.length; i += 1) {
          expect(inside[i - 1].start + inside[i - 1].length).toBeLessThanOrEqual(inside[i].start)
        }
        for (const { start, length } of inside) expect(start + length).toBeLessThanOrEqual(BYTES)
        expect(arena.bytesUsed).toBe(held.reduce((sum, { length }) => sum + length, 0))
      }
      for (const region of held) arena.free(region)
      expect(arena.bytesUsed).toBe(0)
      expect(arena.allocate(BYTES)).toEqual({ memory: arena.memory, start: 0, length: BYTES })
    }),
  )
})

test('what does not fit gets memory of its own, and counts', () => {
  const arena = createArena(BYTES)
  const all = arena.allocate(BYTES)
  const more = arena.allocate(100)
  expect(more.memory).not.toBe(arena.memory)
  expect(arena.bytesUsed).toBe(BYTES + 128)
  arena.free(all)
  arena.free(more)
  expect(() => arena.free(all)).toThrow('freed once')
})
