import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import { createBins, mergeQuantile, quantileOf, readQuantile, sumOf } from './quantile.ts'

const bins = createBins()
const BOUND = 1 / 128

function sketchOf(values: readonly number[]): Uint8Array {
  bins.reset()
  bins.addValues(Float64Array.from(values), 0, values.length)
  return bins.toBytes()
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
/** Every 64-bit pattern: NaN of all kinds, infinities, subnormal numbers, both zeros. */
const anyDouble = fc.double()
const usual = fc.double({ min: -1e9, max: 1e9, noNaN: true })
const shares = fc.double({ min: 0, max: 1, noNaN: true })

/** As DuckDB's quantile_disc: NaN is the greatest. */
function exact(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) =>
    Number.isNaN(a) ? (Number.isNaN(b) ? 0 : 1) : Number.isNaN(b) ? -1 : a - b,
  )
  return sorted[Math.max(1, sorted.length - Math.floor(sorted.length - share * sorted.length)) - 1]
}

function expectNear(found: number | undefined, wanted: number): void {
  if (!Number.isFinite(wanted)) expect(found).toBe(wanted)
  else expect(Math.abs((found ?? Number.NaN) - wanted)).toBeLessThanOrEqual(Math.abs(wanted) * BOUND + 2.3e-308)
}

describe('a quantile', () => {
  test('is at most 1/128 away from the value that quantile_disc gives', () => {
    fc.assert(
      fc.property(fc.array(usual, { minLength: 1, maxLength: 200 }), shares, (values, share) => {
        const spread = values.map((value) => (Math.abs(value) < 1e-25 ? 0 : value))
        expectNear(quantileOf(readQuantile(sketchOf(spread)), share), exact(spread, share))
      }),
    )
  })

  test('is so also of values from 1e-300 to 1e300, of both signs, as long as they span 38 powers of ten', () => {
    const scale = fc.integer({ min: -300, max: 263 })
    const value = fc.tuple(fc.double({ min: 1, max: 9.9, noNaN: true }), fc.integer({ min: 0, max: 37 }), fc.boolean())
    fc.assert(
      fc.property(scale, fc.array(value, { minLength: 1, maxLength: 50 }), shares, (least, parts, share) => {
        const values = parts.map(([digits, power, minus]) => (minus ? -1 : 1) * digits * 10 ** (least + power))
        expectNear(quantileOf(readQuantile(sketchOf(values)), share), exact(values, share))
      }),
    )
  })

  test('of smaller values is the smallest magnitude that there is room for', () => {
    const facts = readQuantile(sketchOf([1e-300, 2e-300, 1, 1e20, -1e-250]))
    expect(facts.count).toBe(5)
    expect(quantileOf(facts, 0.5)).toBeLessThan(1e-18)
    expectNear(quantileOf(facts, 0.8), 1)
    expectNear(quantileOf(facts, 1), 1e20)
    expect(facts.min).toBe(-1e-250)
  })

  test('at 0 and 1 is the smallest and the largest value itself', () => {
    const facts = readQuantile(sketchOf([3.25159, 2.61828, 99.99]))
    expect([quantileOf(facts, 0), quantileOf(facts, 1), facts.min, facts.max]).toEqual([2.61828, 99.99, 2.61828, 99.99])
  })

  test('knows infinities and NaN, and sorts NaN last', () => {
    const values = [Number.NaN, 1, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, -0]
    const facts = readQuantile(sketchOf(values))
    expect([0, 0.25, 0.5, 0.8, 1].map((share) => quantileOf(facts, share))).toEqual(
      [Number.NEGATIVE_INFINITY, 0, 1 + 0.5 / 64, Number.POSITIVE_INFINITY, Number.NaN].map((value, i) =>
        i === 2 ? expect.closeTo(1, 1) : value,
      ),
    )
    expect([facts.min, facts.max, facts.count]).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, 5])
    const onlyNaN = readQuantile(sketchOf([Number.NaN, Number.NaN]))
    expect([onlyNaN.min, onlyNaN.max, quantileOf(onlyNaN, 0.5), onlyNaN.count]).toEqual([
      Number.NaN,
      Number.NaN,
      Number.NaN,
      2,
    ])
  })

  test('a NaN whose bits look like an infinity is one all the same', () => {
    const values = new Float64Array([1, 0, Number.POSITIVE_INFINITY])
    new BigUint64Array(values.buffer)[1] = 0x7ff0000000000001n
    bins.reset()
    bins.addValues(values, 0, 3)
    const facts = readQuantile(bins.toBytes())
    expect([quantileOf(facts, 0), quantileOf(facts, 0.6), quantileOf(facts, 1)]).toEqual([
      1,
      Number.POSITIVE_INFINITY,
      Number.NaN,
    ])
  })

  test('of nothing is none', () => {
    const facts = readQuantile(sketchOf([]))
    expect([facts.count, facts.min, facts.max, quantileOf(facts, 0.5), sumOf(facts)]).toEqual([
      0,
      undefined,
      undefined,
      undefined,
      undefined,
    ])
  })

  test('outside of 0 to 1 is refused', () => {
    for (const share of [-0.01, 1.01, Number.NaN]) {
      expect(() => quantileOf(readQuantile(sketchOf([1])), share)).toThrow('expected a number from 0 to 1')
    }
  })
})

test('the sum is at most 1/128 of all magnitudes away', () => {
  fc.assert(
    fc.property(fc.array(usual, { minLength: 1, maxLength: 100 }), (values) => {
      const magnitudes = values.reduce((sum, value) => sum + Math.abs(value), 0)
      const sum = values.reduce((all, value) => all + value, 0)
      const found = sumOf(readQuantile(sketchOf(values))) ?? Number.NaN
      expect(Math.abs(found - sum)).toBeLessThanOrEqual(magnitudes * BOUND * 1.000001 + 1e-28)
    }),
  )
})

describe('the bytes of a sketch of quantiles', () => {
  test('are those of version 1, for good', () => {
    expect(hex(sketchOf([]))).toBe('01510600785bdca2')
    const some = '000000000000e0bf' + '0000000000000040' + 'fffd0701' + 'bffe0702' + '3f01'
    expect(hex(sketchOf([1, 1, 2, -0.5]))).toBe(`01510600ce5b0d53${some}`)
  })

  test('depend on the values only: not on their order, or how they were cut up', () => {
    const some = fc.array(anyDouble, { maxLength: 40 })
    fc.assert(
      fc.property(some, some, some, (a, b, c) => {
        const whole = hex(sketchOf([...a, ...b, ...c]))
        expect(hex(sketchOf([...c, ...b, ...a].reverse()))).toBe(whole)
        const parts = [a, b, c].map(sketchOf)
        expect(hex(mergeQuantile(bins, parts))).toBe(whole)
        expect(hex(mergeQuantile(bins, [mergeQuantile(bins, [parts[2], parts[1]]), undefined, parts[0]]))).toBe(whole)
      }),
    )
  })

  test('have a most: 16 thousand bins, whatever the values', () => {
    const values = Array.from(
      { length: 200_000 },
      (_, i) => (i % 2 === 0 ? 1 : -1) * 2 ** ((i % 2000) - 1000) * (1 + (i % 64) / 64),
    )
    const facts = readQuantile(sketchOf(values))
    expect(facts.keys.length).toBeLessThanOrEqual(2 * 8192)
    expect(facts.count).toBe(200_000)
  })

  test('damaged, cut off, of the other kind or of tomorrow: an error', () => {
    const bytes = sketchOf([1, 2, 3, -4, 1e10])
    for (let at = 0; at < bytes.length; at++) {
      const copy = bytes.slice()
      copy[at] ^= 0x11
      expect(() => readQuantile(copy), `byte ${at}`).toThrow(/damaged|version|not a sketch/)
      expect(() => readQuantile(bytes.subarray(0, at)), `${at} bytes`).toThrow(/damaged|too few/)
    }
  })

  test('never crash and never give nonsense, also when somebody made the checksum fit', () => {
    const bytes = sketchOf([1, 2, 3, -4, 1e10, 0, Number.NaN])
    const change = fc.tuple(fc.integer({ min: 2, max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(30), (changes, cut) => {
        const copy = bytes.slice(0, bytes.length - (cut % 5))
        for (const [at, value] of changes) if (at < copy.length && (at < 4 || at > 7)) copy[at] = value
        new DataView(copy.buffer).setUint32(4, crc32(copy.subarray(8), crc32(copy.subarray(0, 4))), true)
        try {
          quantileOf(readQuantile(copy), 0.5)
          readQuantile(mergeQuantile(bins, [copy, bytes]))
        } catch (error) {
          expect(isMillraceError(error, 'query-invalid'), String(error)).toBe(true)
        }
        expect(readQuantile(mergeQuantile(bins, [bytes])).count).toBe(7)
      }),
      { numRuns: 1000 },
    )
  })
})
