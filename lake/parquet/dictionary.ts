/**
 * Finds the distinct values of a column chunk when they are few: `indices[i]` says which distinct value row i has, and
 * `firsts[d]` where distinct value d first stands. Works on bytes, never on JavaScript strings.
 *
 * It gives up (undefined) as soon as a dictionary stops paying: more than half of the values distinct after the first
 * 512, more than `DISTINCT_MAX`, or values made to collide (the hash looks at no more than 16 bytes of each).
 *
 * What it answers lies in the memory of the chunk at hand (`chunk-memory.ts`).
 */
import { chunkInts } from './chunk-memory.ts'

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
  const table = chunkInts(mask + 1).fill(-1)
  const indices = chunkInts(count)
  const firsts = chunkInts(Math.min(count, DISTINCT_MAX))
  let size = 0
  let steps = 0
  let previous = -1
  let previousA = 0
  let previousB = 0
  const high = words - 1
  for (let i = 0; i < count; i++) {
    const at = i * words
    const a = values[at]
    const b = values[at + high]
    if (a === previousA && b === previousB && previous >= 0) {
      indices[i] = previous
      continue
    }
    previousA = a
    previousB = b
    let slot = mix(a, b) & mask
    for (;;) {
      const known = table[slot]
      if (known < 0) {
        if (size === DISTINCT_MAX) return undefined
        table[slot] = size
        firsts[size] = i
        previous = size++
        break
      }
      const first = firsts[known] * words
      if (values[first] === a && values[first + high] === b) {
        previous = known
        break
      }
      slot = (slot + 1) & mask
      steps++
    }
    indices[i] = previous
    if (i >= TRY_VALUES && doesNotPay(i + 1, size, steps)) return undefined
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
  if (isConstant(data, offsets, width, count)) {
    return { indices: chunkInts(count).fill(0), firsts: new Int32Array(1), size: 1 }
  }
  const mask = tableSize(count) - 1
  const table = chunkInts(mask + 1).fill(-1)
  const indices = chunkInts(count)
  const firsts = chunkInts(Math.min(count, DISTINCT_MAX))
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  let size = 0
  let steps = 0
  let previous = -1
  for (let i = 0; i < count; i++) {
    const start = offsets === undefined ? i * width : offsets[i]
    const end = offsets === undefined ? start + width : offsets[i + 1]
    if (previous >= 0 && isSame(view, start, end, offsets, width, firsts[previous])) {
      indices[i] = previous
      continue
    }
    let slot = hashBytes(view, start, end) & mask
    for (;;) {
      const known = table[slot]
      if (known < 0) {
        if (size === DISTINCT_MAX) return undefined
        table[slot] = size
        firsts[size] = i
        previous = size++
        break
      }
      if (isSame(view, start, end, offsets, width, firsts[known])) {
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

/** Whether all values are the first one: then the bytes are equal to themselves one value further on, in one comparison. */
function isConstant(data: Uint8Array, offsets: Int32Array | undefined, width: number, count: number): boolean {
  const start = offsets === undefined ? 0 : offsets[0]
  const length = offsets === undefined ? width : offsets[1] - start
  const end = start + length * count
  if (offsets !== undefined) {
    if (offsets[count] !== end) return false
    for (let i = 1; i < count; i++) if (offsets[i] !== start + i * length) return false
  }
  return Buffer.compare(data.subarray(start, end - length), data.subarray(start + length, end)) === 0
}

/** Four bytes at a time; the last four may overlap the ones before. */
function isSame(
  view: DataView,
  start: number,
  end: number,
  offsets: Int32Array | undefined,
  width: number,
  other: number,
): boolean {
  const otherStart = offsets === undefined ? other * width : offsets[other]
  const otherEnd = offsets === undefined ? otherStart + width : offsets[other + 1]
  if (otherEnd - otherStart !== end - start) return false
  if (end - start < 4) {
    for (let i = start, j = otherStart; i < end; i++, j++) if (view.getUint8(i) !== view.getUint8(j)) return false
    return true
  }
  const last = end - 4
  for (let i = start, j = otherStart; i < last; i += 4, j += 4) {
    if (view.getInt32(i, true) !== view.getInt32(j, true)) return false
  }
  return view.getInt32(last, true) === view.getInt32(otherEnd - 4, true)
}

function mix(a: number, b: number): number {
  let hash = Math.imul(a ^ 0x2c1b3c6d, 0x9e3779b1) ^ Math.imul(b ^ 0x297a2d39, 0x85ebca6b)
  hash ^= hash >>> 15
  hash = Math.imul(hash, 0xc2b2ae35)
  return hash ^ (hash >>> 13)
}

/** The length, the first 8 and the last 8 bytes: long values stay cheap. */
function hashBytes(view: DataView, start: number, end: number): number {
  const length = end - start
  if (length < 4) {
    let packed = length
    for (let i = start; i < end; i++) packed = (packed << 8) | view.getUint8(i)
    return mix(packed, length)
  }
  const head = view.getInt32(start, true)
  const tail = view.getInt32(end - 4, true)
  if (length <= 8) return mix(head, tail ^ length)
  const inner =
    Math.imul(view.getInt32(start + 4, true), 0x27d4eb2f) ^ Math.imul(view.getInt32(end - 8, true), 0x165667b1)
  return mix(head ^ inner, tail ^ (inner >>> 15) ^ length)
}
