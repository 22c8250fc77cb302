// Frames of the library, of any size and content, come back as they were; broken ones are refused and leave no trace.
import fc from 'fast-check'
import { compressFrameSync } from 'lz4-napi'
import { expect, test } from 'vitest'
import { unpackLz4Frame } from './lz4-frame.ts'

const MAX = 64 * 1024 * 1024
const content = fc.oneof(
  fc.uint8Array({ maxLength: 5000 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(fc.string({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 20_000 }))
    .map(([text, times]) => Buffer.from(text.repeat(times))),
)

/** A frame of independent blocks with checksums nobody checks, blocks stored or packed as given. */
function frameOf(blocks: readonly Buffer[], flags: number, sizeClass: number): Buffer {
  const parts: Buffer[] = [Buffer.from([0x04, 0x22, 0x4d, 0x18, flags, sizeClass << 4])]
  if (flags & 0x08) parts.push(Buffer.alloc(8))
  parts.push(Buffer.from([0]))
  for (const block of blocks) {
    const length = Buffer.alloc(4)
    length.writeUInt32LE((block.length | 0x8000_0000) >>> 0)
    parts.push(length, block)
    if (flags & 0x10) parts.push(Buffer.alloc(4))
  }
  parts.push(Buffer.alloc(4))
  if (flags & 0x04) parts.push(Buffer.alloc(4))
  return Buffer.concat(parts)
}

test('what was packed comes back, and the packed bytes stay as they are', () => {
  fc.assert(
    fc.property(content, (bytes) => {
      const packed = compressFrameSync(bytes)
      const before = Buffer.from(packed)
      expect(Buffer.from(unpackLz4Frame(packed, MAX)).equals(bytes)).toBe(true)
      expect(packed.equals(before)).toBe(true)
    }),
    { numRuns: 200 },
  )
})

test('every combination of checksums and sizes in the header is walked', () => {
  const blocks = [Buffer.from('one'), Buffer.from('two'), Buffer.alloc(1000, 7)]
  for (const extra of [0, 0x10, 0x08, 0x04, 0x1c]) {
    for (const sizeClass of [4, 5, 6, 7]) {
      expect(Buffer.from(unpackLz4Frame(frameOf(blocks, 0x60 | extra, sizeClass), MAX))).toEqual(Buffer.concat(blocks))
    }
  }
})

test('more than allowed is refused', () => {
  const packed = compressFrameSync(Buffer.alloc(1_000_000))
  expect(() => unpackLz4Frame(packed, 999_999)).toThrow('unpacks to more than 999999 bytes')
  expect(unpackLz4Frame(packed, 1_000_000).length).toBe(1_000_000)
})

test('cut and flipped frames throw or give bytes, and are never changed', () => {
  fc.assert(
    fc.property(content, fc.nat(), fc.nat({ max: 7 }), (bytes, place, bit) => {
      const packed = compressFrameSync(bytes)
      const cut = packed.subarray(0, place % packed.length)
      expect(() => unpackLz4Frame(Buffer.from(cut), MAX)).toThrow()
      packed[place % packed.length] ^= 1 << bit
      const before = Buffer.from(packed)
      try {
        unpackLz4Frame(packed, MAX)
      } catch {
        // Which error does not matter: the batch is damaged either way.
      }
      expect(packed.equals(before)).toBe(true)
    }),
    { numRuns: 300 },
  )
})
