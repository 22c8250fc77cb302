/**
 * Murmur3, x86, 32 bits, seed 0: the hash behind Iceberg's `bucket` (spec, appendix B). Returns a signed 32-bit number.
 */
const C1 = 0xcc9e2d51
const C2 = 0x1b873593

export function murmur3(bytes: Uint8Array): number {
  let hash = 0
  const blocksEnd = bytes.length & ~3
  for (let i = 0; i < blocksEnd; i += 4) {
    hash ^= scramble(bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24))
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0
  }
  let tail = 0
  for (let i = bytes.length - 1; i >= blocksEnd; i--) tail = (tail << 8) | bytes[i]
  if (blocksEnd < bytes.length) hash ^= scramble(tail)
  hash ^= bytes.length
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}

function scramble(block: number): number {
  const mixed = Math.imul(block, C1)
  return Math.imul((mixed << 15) | (mixed >>> 17), C2)
}
