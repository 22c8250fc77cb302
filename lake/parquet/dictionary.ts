/**
 * Finds the distinct values of a column chunk when they are few: `indices[i]` says which distinct value row i has, and
 * `firsts[d]` where distinct value d first stands. Works on bytes, never on JavaScript strings.
 *
 * It gives up (undefined) as soon as a dictionary stops paying: more than half of the values distinct after the first
 * 512, more than `DISTINCT_MAX`, or values made to collide (the hash looks at no more than 16 bytes of each).
 */
const DISTINCT_MAX = 8192
const TRY_VALUES = 512

export type Distinct = {
  readonly indices: Int32Array
  readonly firsts: Int32Array
  readonly size: number
}

/** `words` int32 words a value (1 or 2). */
export function distinctWords(values: Int32Array, words: 1 | 2, count: number): Distinct | undefined {
  const mask = tableSize(count) - 1
  const table = new Int32Array(mask + 1).fill(-1)
  const indices = new Int32Array(count)
  const firsts = new Int32Array(Math.min(count, DISTINCT_MAX))
  let size = 0
  let steps = 0
  const high = words - 1
  for (let i = 0; i < count; i++) {
    const at = i * words
    const a = values[at]
    const b = values[at + high]
    let slot = mix(a, b) & mask
    for (;;) {
      const known = table[slot]
      if (known < 0) {
        if (size === DISTINCT_MAX) return undefined
        table[slot] = size
        firsts[size] = i
        indices[i] = size++
        break
      }
      const first = firsts[known] * words
      if (values[first] === a && values[first + high] === b) {
        indices[i] = known
        break
      }
      slot = (slot + 1) & mask
      steps++
    }
    if ((i & (TRY_VALUES - 1)) === TRY_VALUES - 1 && doesNotPay(i + 1, size, steps)) return undefined
  }
  return size * 2 > count && count > 16 ? undefined : { indices, firsts, size }
}

/** Values at `[offsets[i], offsets[i + 1])`, or `width` bytes each when there are no offsets. */
export function distinctBytes(
  data: Uint8Array,
  offsets: Int32Array | undefined,
  width: number,
  count: number,
): Distinct | undefined {
  const mask = tableSize(count) - 1
  const table = new Int32Array(mask + 1).fill(-1)
  const indices = new Int32Array(count)
  const firsts = new Int32Array(Math.min(count, DISTINCT_MAX))
  let size = 0
  let steps = 0
  let previous = -1
  for (let i = 0; i < count; i++) {
    const start = offsets === undefined ? i * width : offsets[i]
    const end = offsets === undefined ? start + width : offsets[i + 1]
    if (previous >= 0 && isSame(data, start, end, offsets, width, firsts[previous])) {
      indices[i] = previous
      continue
    }
    let slot = hashBytes(data, start, end) & mask
    for (;;) {
      const known = table[slot]
      if (known < 0) {
        if (size === DISTINCT_MAX) return undefined
        table[slot] = size
        firsts[size] = i
        previous = size++
        break
      }
      if (isSame(data, start, end, offsets, width, firsts[known])) {
        previous = known
        break
      }
      slot = (slot + 1) & mask
      steps++
    }
    indices[i] = previous
    if (size * 2 > i && i >= TRY_VALUES && doesNotPay(i + 1, size, steps)) return undefined
    if (steps > 8 * (i + TRY_VALUES)) return undefined
  }
  return size * 2 > count && count > 16 ? undefined : { indices, firsts, size }
}

function doesNotPay(seen: number, size: number, steps: number): boolean {
  return size * 2 > seen || steps > 8 * seen
}

function tableSize(count: number): number {
  let size = 64
  while (size < 2 * Math.min(count, DISTINCT_MAX)) size *= 2
  return size
}

function isSame(
  data: Uint8Array,
  start: number,
  end: number,
  offsets: Int32Array | undefined,
  width: number,
  other: number,
): boolean {
  const otherStart = offsets === undefined ? other * width : offsets[other]
  const otherEnd = offsets === undefined ? otherStart + width : offsets[other + 1]
  if (otherEnd - otherStart !== end - start) return false
  for (let i = start, j = otherStart; i < end; i++, j++) if (data[i] !== data[j]) return false
  return true
}

function mix(a: number, b: number): number {
  let hash = Math.imul(a ^ 0x2c1b3c6d, 0x9e3779b1) ^ Math.imul(b ^ 0x297a2d39, 0x85ebca6b)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 13)
}

/** The length, the first 8 and the last 8 bytes: long values stay cheap. */
function hashBytes(data: Uint8Array, start: number, end: number): number {
  let hash = end - start
  const headEnd = Math.min(end, start + 8)
  for (let i = start; i < headEnd; i++) hash = Math.imul(hash ^ data[i], 0x01000193)
  for (let i = Math.max(headEnd, end - 8); i < end; i++) hash = Math.imul(hash ^ data[i], 0x01000193)
  return hash ^ (hash >>> 15)
}
