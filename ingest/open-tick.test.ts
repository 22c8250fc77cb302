import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sourceKeyText } from '../schemas/coverage.ts'
import { needsStrip, type StripRule, stripTick } from './open-tick.ts'
import { addBlock, idsOf, sampleAdvance, sampleFeed, sampleKey, sampleTick } from './tick-samples.ts'

const A = sampleKey('a')
const B = sampleKey('b')
const FEED = sampleFeed(1, 't')

const rule = (generations: Record<string, number>, keys: readonly string[] = []): StripRule => ({
  generationOf: (keyText) =>
    Object.entries(generations).find(([source]) => keyText === sourceKeyText(sampleKey(source)))?.[1] ?? 1,
  isDuplicateKey: (_, key) => keys.includes(key),
})

describe('the open tick', () => {
  test('keeps blocks as pieces in order, and joins what they advance', () => {
    const tick = sampleTick()
    addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n, 2n] })
    addBlock(tick, FEED, { key: A, generation: 1, start: 2n, ids: [3n] })
    addBlock(tick, FEED, { key: B, generation: 1, start: 0n, ids: [4n] })
    expect(tick.rowCount).toBe(4)
    const sealed = tick.seal()
    expect(sealed.rowCount).toBe(4)
    expect(sealed.batches).toHaveLength(1)
    expect(sealed.batches[0].pieces.map(({ batch, key, range }) => [batch.rowCount, key.source, range])).toEqual([
      [2, 'a', { start: 0n, end: 2n }],
      [1, 'a', { start: 2n, end: 3n }],
      [1, 'b', { start: 0n, end: 1n }],
    ])
    expect(sealed.advances.map(({ source, range, recordsIn }) => [source, range, recordsIn])).toEqual([
      ['a', { start: 0n, end: 3n }, 3],
      ['b', { start: 0n, end: 1n }, 1],
    ])
    expect(idsOf(sealed.batches[0])).toEqual([1n, 2n, 3n, 4n])
  })

  test('is empty after sealing, and its next rows are only its own', () => {
    const tick = sampleTick()
    addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n] })
    const first = tick.seal()
    expect(tick.isEmpty).toBe(true)
    expect(tick.rowCount).toBe(0)
    addBlock(tick, FEED, { key: A, generation: 1, start: 1n, ids: [2n] })
    const second = tick.seal()
    expect(idsOf(first.batches[0])).toEqual([1n])
    expect(idsOf(second.batches[0])).toEqual([2n])
    expect(second.batches[0].rowCount).toBe(1)
  })

  test('refuses a gap in a source (G-1), and starts anew under a new generation', () => {
    const tick = sampleTick()
    tick.advance(sampleAdvance(A, 0n, 5n), 1)
    expect(() => tick.advance(sampleAdvance(A, 6n, 7n), 1)).toThrow('G-1.contiguous')
    tick.advance(sampleAdvance(A, 2n, 4n), 2)
    expect(tick.seal().advances.map(({ range, generation }) => [range, generation])).toEqual([
      [{ start: 2n, end: 4n }, 2],
    ])
  })

  test('is not empty with advances alone', () => {
    const tick = sampleTick()
    expect(tick.isEmpty).toBe(true)
    tick.advance(sampleAdvance(A, 0n, 5n), 1)
    expect(tick.isEmpty).toBe(false)
    expect(tick.rowCount).toBe(0)
    expect(tick.seal().batches).toEqual([])
  })
})

describe('stripping a sealed tick', () => {
  test('takes rows and advance of a stale source away, in every table', () => {
    const tick = sampleTick()
    const other = sampleFeed(2, 'u')
    addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n] })
    addBlock(tick, FEED, { key: B, generation: 1, start: 0n, ids: [2n] })
    addBlock(tick, other, { key: A, generation: 1, start: 1n, ids: [3n] })
    const sealed = tick.seal()
    expect(needsStrip(sealed, rule({}))).toBe(false)
    expect(needsStrip(sealed, rule({ a: 2 }))).toBe(true)
    const kept = stripTick(sealed, rule({ a: 2 }))
    expect(kept.batches.map((sealed) => [sealed.table.name, idsOf(sealed)])).toEqual([['t', [2n]]])
    expect(kept.advances.map(({ source }) => source)).toEqual(['b'])
    expect(kept.rowCount).toBe(1)
    expect(needsStrip(kept, rule({ a: 2 }))).toBe(false)
  })

  test('a used idempotency key loses its rows, but its offsets stay consumed and are counted as filtered', () => {
    const tick = sampleTick()
    addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n, 2n], idempotencyKey: 'k1' })
    addBlock(tick, FEED, { key: A, generation: 1, start: 2n, ids: [3n], idempotencyKey: 'k2' })
    const kept = stripTick(tick.seal(), rule({}, ['k1']))
    expect(idsOf(kept.batches[0])).toEqual([3n])
    expect(kept.idempotencyKeys.map(({ key }) => key)).toEqual(['k2'])
    expect(kept.advances).toMatchObject([{ range: { start: 0n, end: 3n }, recordsIn: 3, recordsFiltered: 2 }])
  })

  test('keeps exactly the rows of current sources, in order, each piece with its source (G-2)', () => {
    const block = fc.record({
      source: fc.constantFrom('a', 'b', 'c'),
      generation: fc.integer({ min: 1, max: 2 }),
      rows: fc.integer({ min: 0, max: 12 }),
    })
    fc.assert(
      fc.property(fc.array(block, { maxLength: 20 }), (blocks) => {
        const tick = sampleTick()
        const latest = new Map<string, number>()
        const next = new Map<string, bigint>()
        const taken: { id: bigint; source: string; generation: number }[] = []
        let id = 0n
        for (const { source, generation: wanted, rows } of blocks) {
          const generation = Math.max(wanted, latest.get(source) ?? 1)
          latest.set(source, generation)
          const name = `${source}${generation}`
          const start = next.get(name) ?? 0n
          const ids = Array.from({ length: rows }, () => ++id)
          for (const each of ids) taken.push({ id: each, source, generation })
          next.set(name, start + BigInt(rows))
          addBlock(tick, FEED, { key: sampleKey(source), generation, start, ids })
        }
        const current = rule(Object.fromEntries(latest))
        const kept = stripTick(tick.seal(), current)
        const expected = taken.filter(({ source, generation }) => generation === (latest.get(source) ?? 1))
        expect(kept.batches.flatMap(idsOf)).toEqual(expected.map((each) => each.id))
        expect(kept.rowCount).toBe(expected.length)
        for (const sealed of kept.batches) {
          for (const piece of sealed.pieces) {
            const sources = idsOf({ ...sealed, pieces: [piece] }).map(
              (id) => taken.find((row) => row.id === id)?.source,
            )
            expect(sources).toEqual(Array(piece.batch.rowCount).fill(piece.key.source))
          }
          expect(sealed.pieces.reduce((rows, { batch }) => rows + batch.rowCount, 0)).toBe(sealed.rowCount)
        }
        expect(needsStrip(kept, current)).toBe(false)
      }),
    )
  })
})

test('rows of an older generation leave the tick though only the newest advance is left', () => {
  const tick = sampleTick()
  addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n, 2n] })
  // The source started again at its coverage before the tick was sealed: the same offsets once more.
  addBlock(tick, FEED, { key: A, generation: 2, start: 0n, ids: [1n, 2n, 3n] })
  const sealed = tick.seal()
  expect(needsStrip(sealed, rule({ a: 2 }))).toBe(true)
  const kept = stripTick(sealed, rule({ a: 2 }))
  expect(idsOf(kept.batches[0])).toEqual([1n, 2n, 3n])
  expect(kept.advances.map(({ range }) => range)).toEqual([{ start: 0n, end: 3n }])
  expect(needsStrip(kept, rule({ a: 2 }))).toBe(false)
})

test('dead letters of a used key are filtered rows, not both: counts stay below the records that came', () => {
  const tick = sampleTick()
  addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n] })
  tick.advance({ ...sampleAdvance(A, 1n, 5n), recordsDead: 3 }, 1)
  tick.addKey({ tableId: 1, key: 'k', rows: 4, dead: 3, keyText: sourceKeyText(A) })
  const kept = stripTick(tick.seal(), rule({ a: 1 }, ['k']))
  expect(kept.advances).toMatchObject([{ recordsIn: 5, recordsDead: 0, recordsFiltered: 4 }])
})

test('dead letters of a used key leave the tick as well, though the key is that of the table beside them (G-2)', () => {
  const tick = sampleTick()
  const letters = sampleFeed(2, 't__dead_letters')
  addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n], idempotencyKey: 'k' })
  addBlock(tick, letters, { key: A, generation: 1, start: 1n, ids: [2n], idempotencyKey: 'k' })
  const sealed = tick.seal()
  const idempotencyKeys = [{ tableId: 1, key: 'k', rows: 2, dead: 1, keyText: sourceKeyText(A) }]
  const used: StripRule = { ...rule({}), isDuplicateKey: (tableId, key) => tableId === 1 && key === 'k' }
  const kept = stripTick({ ...sealed, idempotencyKeys }, used)
  expect(kept.batches).toEqual([])
  expect(kept.rowCount).toBe(0)
})

test('what is held counts with pieces, requests and advances, and nothing is left after sealing (G-6)', () => {
  const tick = sampleTick()
  expect(tick.bytes).toBe(0)
  addBlock(tick, FEED, { key: A, generation: 1, start: 0n, ids: [1n] })
  const before = tick.bytes
  for (let i = 1; i < 100; i++) {
    const key = sampleKey(`other ${i}`)
    addBlock(tick, FEED, { key, generation: 1, start: 0n, ids: [1n] })
  }
  // A piece and an advance of each source, beside a row of 60 bytes.
  expect(tick.bytes - before).toBeGreaterThan(99 * 2500)
  expect(tick.seal().bytes).toBeGreaterThan(100 * 2500)
  expect(tick.bytes).toBe(0)
})
