import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hasHash, readBloomFilter } from './bloom-filter.ts'
import { xxHash64 } from './xx-hash.ts'

test.each([
  ['', 'ef46db3751d8e999'],
  ['a', 'd24ec4f1a98c6e5b'],
  ['abc', '44bc2cf5ad770999'],
])('XXH64 of "%s"', (text, hash) => {
  expect(xxHash64(Buffer.from(text)).toString(16)).toBe(hash)
})

const SALT = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31]

test('what was put in is found, and of much else most is not', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 20 }), (texts) => {
      const bitset = new Uint8Array(64)
      const view = new DataView(bitset.buffer)
      for (const text of texts) {
        const hash = xxHash64(Buffer.from(text))
        const block = Number(((hash >> 32n) * 2n) >> 32n) * 32
        SALT.forEach((salt, word) => {
          const bit = Math.imul(Number(hash & 0xffffffffn), salt) >>> 27
          view.setUint32(block + word * 4, view.getUint32(block + word * 4, true) | (1 << bit), true)
        })
      }
      for (const text of texts) expect(hasHash({ bitset }, xxHash64(Buffer.from(text)))).toBe(true)
      const others = Array.from({ length: 200 }, (_, i) => xxHash64(Buffer.from(`another text, number ${i}`)))
      expect(others.filter((hash) => hasHash({ bitset }, hash)).length).toBeLessThan(60)
    }),
  )
})

test('bytes that are no filter, or one that is cut, say nothing', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      expect(() => readBloomFilter(bytes)).not.toThrow()
    }),
  )
  expect(readBloomFilter(Uint8Array.of(0x15, 0x40, 0))).toBeUndefined()
})
