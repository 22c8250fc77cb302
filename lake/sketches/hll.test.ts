import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import { createHll, estimateHll, mergeHll, PRECISION_MAX, PRECISION_MIN, PRECISION_USUAL } from './hll.ts'
import { codeOf, hashOfBytes, hashOfInteger } from './value-hash.ts'

const hll = createHll()

function sketchOf(codes: readonly number[], precision = PRECISION_USUAL): Uint8Array {
  hll.reset(precision)
  hll.addCodes(Uint32Array.from(codes), 0, codes.length)
  return hll.toBytes()
}

function codesOfIntegers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => codeOf(hashOfInteger(BigInt(from + i))))
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const anyCode = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).map(codeOf)
const fewCodes = fc.array(anyCode, { maxLength: 60 })
const precisions = fc.integer({ min: PRECISION_MIN, max: 14 })

/** The same bytes with one of them changed, and a checksum that fits again. */
function forged(bytes: Uint8Array, change: (copy: Uint8Array) => void): Uint8Array {
  const copy = bytes.slice()
  change(copy)
  new DataView(copy.buffer).setUint32(4, crc32(copy.subarray(8), crc32(copy.subarray(0, 4))), true)
  return copy
}

describe('the bytes of a sketch of distinct values', () => {
  test('are those of version 1, for good', () => {
    expect(hex(sketchOf([]))).toBe('01480c000d2bc44b')
    expect(hex(sketchOf(codesOfIntegers(0, 3)))).toBe('01480c0021bd09c700000000000ae65d275c685f')
    const many = sketchOf(codesOfIntegers(0, 5000))
    expect([many.length, many[0], many[1], many[2], many[3]]).toEqual([8 + 4096, 1, 0x48, 12, 1])
  })

  test('depend on the set of values only: not on order, repetition, or how it was cut up', () => {
    fc.assert(
      fc.property(fewCodes, fewCodes, fewCodes, precisions, (a, b, c, precision) => {
        const whole = hex(sketchOf([...a, ...b, ...c], precision))
        expect(hex(sketchOf([...c, ...a, ...b, ...a].reverse(), precision))).toBe(whole)
        const parts = [a, b, c].map((codes) => sketchOf(codes, precision))
        expect(hex(mergeHll(hll, parts))).toBe(whole)
        expect(hex(mergeHll(hll, [mergeHll(hll, [parts[2], parts[0]]), undefined, parts[1], parts[2]]))).toBe(whole)
      }),
    )
  })

  test('of two precisions merge to what the smaller would have seen', () => {
    fc.assert(
      fc.property(
        fc.array(anyCode, { maxLength: 400 }),
        fc.array(anyCode, { maxLength: 400 }),
        precisions,
        precisions,
        (a, b, one, other) => {
          const merged = mergeHll(hll, [sketchOf(a, one), sketchOf(b, other)])
          expect(hex(merged)).toBe(hex(sketchOf([...a, ...b], Math.min(one, other))))
        },
      ),
    )
  })
})

describe('the estimate', () => {
  test('is exact as long as codes are kept', () => {
    for (const size of [0, 1, 2, 10, 100, 1000]) expect(estimateHll(sketchOf(codesOfIntegers(0, size)))).toBe(size)
  })

  test('is within 1.04 / √registers, in the mean of 300 seeds, for every precision', () => {
    let state = 0x2545f491
    const next = () => {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      return state >>> 0
    }
    const float = new Float32Array(1)
    const bits = new Uint32Array(float.buffer)
    for (const precision of [8, 10, 12, 14]) {
      const size = 10 << precision
      const bound = 1.04 / Math.sqrt(1 << precision)
      const codes = new Uint32Array(size)
      let squares = 0
      let sum = 0
      for (let seed = 0; seed < 300; seed++) {
        for (let i = 0; i < size; i++) {
          float[0] = next() * 2 ** 32 + next()
          codes[i] = bits[0]
        }
        hll.reset(precision)
        hll.addCodes(codes, 0, size)
        const error = estimateHll(hll.toBytes()) / size - 1
        squares += error * error
        sum += error
      }
      expect(Math.sqrt(squares / 300), `precision ${precision}`).toBeLessThan(1.15 * bound)
      expect(Math.abs(sum / 300), `precision ${precision}`).toBeLessThan(0.25 * bound)
    }
  })

  test('knows the hash 0 and the largest hashes', () => {
    const codes = [0n, 1n, (1n << 64n) - 1n, (1n << 64n) - (1n << 40n)].map(codeOf)
    expect(estimateHll(sketchOf(codes))).toBe(4)
    expect(estimateHll(sketchOf([...codes, ...codesOfIntegers(0, 100)], 8))).toBeGreaterThan(50)
  })
})

describe('bytes that are no sketch', () => {
  const small = sketchOf(codesOfIntegers(0, 20))
  const large = sketchOf(codesOfIntegers(0, 2000))

  test('give an error for every changed byte, in both forms', () => {
    for (const bytes of [small, large]) {
      for (let at = 0; at < bytes.length; at++) {
        const copy = bytes.slice()
        copy[at] ^= 1 << (at % 8)
        expect(() => estimateHll(copy), `byte ${at}`).toThrow(/damaged|version|not a sketch/)
        expect(() => mergeHll(hll, [bytes, copy]), `byte ${at}`).toThrow(/damaged|version|not a sketch/)
      }
    }
  })

  test('give an error when cut off or longer', () => {
    for (const bytes of [small, large, sketchOf([])]) {
      for (const length of [0, 1, 7, 8, bytes.length - 1]) {
        if (length >= bytes.length) continue
        expect(() => estimateHll(bytes.subarray(0, length)), `${length} bytes`).toThrow(/damaged|too few/)
      }
      expect(() => estimateHll(Uint8Array.of(...bytes, 0))).toThrow(/damaged/)
    }
  })

  test('name the version that they were written by', () => {
    const tomorrow = forged(small, (copy) => {
      copy[0] = 2
    })
    expect(() => estimateHll(tomorrow)).toThrow('expected a sketch of version 1, found version 2')
  })

  test('never crash and never give nonsense, also when somebody made the checksum fit', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(fc.constantFrom(small, large), fc.array(change, { minLength: 1, maxLength: 4 }), (bytes, changes) => {
        const copy = forged(bytes, (made) => {
          for (const [at, value] of changes) made[[0, 1, 2, 3, 8 + (at % (made.length - 8))][at % 5]] = value
        })
        try {
          const estimate = estimateHll(copy)
          expect(estimate).toBeGreaterThanOrEqual(0)
          expect(Number.isFinite(estimate)).toBe(true)
          estimateHll(mergeHll(hll, [bytes, copy]))
        } catch (error) {
          expect(isMillraceError(error, 'query-invalid')).toBe(true)
        }
        expect(estimateHll(mergeHll(hll, [small]))).toBe(20)
      }),
      { numRuns: 500 },
    )
  })

  test('a precision outside its range is refused', () => {
    for (const precision of [PRECISION_MIN - 1, PRECISION_MAX + 1, 12.5, Number.NaN]) {
      expect(() => hll.reset(precision)).toThrow('precision: expected 8 to 18')
    }
    hll.reset(PRECISION_MAX)
    hll.addCodes(Uint32Array.from(codesOfIntegers(0, 1)), 0, 1)
    expect(estimateHll(hll.toBytes())).toBe(1)
  })
})

test('the hash of texts tells apart what differs in the last bytes of two blocks', () => {
  const hashes = new Set<bigint>()
  for (let a = 40; a < 120; a++) {
    for (let b = 40; b < 120; b++) {
      hashes.add(hashOfBytes(Buffer.from(`AAAAAAA${String.fromCharCode(a)}BBBBBBB${String.fromCharCode(b)}`)))
    }
  }
  expect(hashes.size).toBe(6400)
})
