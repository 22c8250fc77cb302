/**
 * Quantiles: a DDSketch with linear bins, 64 to each power of two (ADR 32). A value counts in the bin of its sign, its exponent
 * and the first six bits of its fraction; the middle of a bin is at most 1/128 = 0.79 % away from any value in it.
 *
 *   key of a bin   sign · (exponent · 64 + six bits of the fraction), as the bits of a 64-bit float hold them
 *                  0 is zero (with all that is smaller than 2.3e-308), ±131008 are the infinities, 131009 is NaN:
 *                  the greatest of all, as DuckDB sorts it
 *
 *   body           nothing when no value was counted; else
 *                  f64 smallest, f64 largest value (NaN left out; NaN when there was nothing else), little endian
 *                  then the bins that are not empty, by ascending key:
 *                  varint  first: zigzag of the key; then: difference to the key before, less one
 *                  varint  number of values, at least 1
 *
 * There is room for 8192 bins of each sign below the largest magnitude, which spans 38 powers of ten: smaller values count in
 * the last of them. That rule knows only the largest magnitude, so it does not matter in which order values come or
 * sketches are merged: the same values make the same bytes.
 */
import { checkSketch, damaged, HEADER_BYTES, newSketch, seal, sketchError } from './sketch-bytes.ts'

export const BIN_BITS = 6
export const BINS_OF_SIGN_MAX = 8192

const KEY_NAN = 131009
const KEY_INFINITY = 131008
const KEY_LEAST = 64
const MAGNITUDES = 1 << 17
const EXTREMES_BYTES = 16
const VARINT_BYTES_MAX = 8

export type Bins = {
  reset(): void
  addValues(values: Float64Array, from: number, to: number): void
  addSketch(bytes: Uint8Array): void
  toBytes(): Uint8Array
}

/** One at a time, used over and over. */
export function createBins(): Bins {
  /** By sign bit, exponent and fraction: what the upper word of a value holds above its 14 lower bits. */
  const counts = new Float64Array(2 * MAGNITUDES)
  const touched = new Uint32Array(2 * MAGNITUDES)
  let touchedCount = 0
  let scratch = new Uint8Array(4096)
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY

  function reset(): void {
    for (let i = 0; i < touchedCount; i++) counts[touched[i]] = 0
    touchedCount = 0
    min = Number.POSITIVE_INFINITY
    max = Number.NEGATIVE_INFINITY
  }

  /** 4 ns a value: no logarithm, one shift of the upper word. */
  function addValues(values: Float64Array, from: number, to: number): void {
    const halves = new Uint32Array(values.buffer, values.byteOffset, 2 * values.length)
    for (let i = from; i < to; i++) {
      const slot = halves[2 * i + 1] >>> 14
      if (counts[slot]++ === 0) touched[touchedCount++] = slot
      const value = values[i]
      if (value < min) min = value
      if (value > max) max = value
    }
    // A NaN of few bits looks like an infinity here.
    if (counts[KEY_INFINITY] + counts[KEY_INFINITY + MAGNITUDES] > 0) sortOutNaN(values, halves, from, to)
  }

  function sortOutNaN(values: Float64Array, halves: Uint32Array, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const slot = halves[2 * i + 1] >>> 14
      if (!Number.isNaN(values[i]) || (slot & (MAGNITUDES - 1)) !== KEY_INFINITY) continue
      counts[slot]--
      add(KEY_NAN, 1)
    }
  }

  function add(key: number, count: number): void {
    const slot = slotOf(key)
    if (counts[slot] === 0) touched[touchedCount++] = slot
    counts[slot] += count
  }

  function addSketch(bytes: Uint8Array): void {
    const extremes = readBins(bytes, add)
    if (extremes.min < min) min = extremes.min
    if (extremes.max > max) max = extremes.max
  }

  /** The bins that are not empty, by key. Without objects for each: 100,000 groups have 100,000 small ones. */
  function sorted(): SortedBins {
    const slots = touchedCount
    for (let i = 0; i < slots; i++) {
      const slot = touched[i]
      const key = keyOf(slot)
      if (slotOf(key) === slot) continue
      // Zeros, numbers too small, NaN: one bin each.
      const count = counts[slot]
      counts[slot] = 0
      if (count > 0) add(key, count)
    }
    const found = new Int32Array(touchedCount)
    let size = 0
    for (let i = 0; i < touchedCount; i++) if (counts[touched[i]] > 0) found[size++] = keyOf(touched[i])
    const ordered = found.subarray(0, size).sort()
    const numbers = new Float64Array(size)
    let bins = 0
    for (let i = 0; i < size; i++) {
      const key = ordered[i]
      if (i > 0 && key === ordered[i - 1]) continue
      ordered[bins] = key
      numbers[bins++] = counts[slotOf(key)]
    }
    return collapse({ keys: ordered.subarray(0, bins), numbers: numbers.subarray(0, bins) })
  }

  function toBytes(): Uint8Array {
    const { keys, numbers } = sorted()
    if (keys.length === 0) return seal(newSketch('Q', BIN_BITS, 0, 0))
    const bytesMax = EXTREMES_BYTES + keys.length * 2 * VARINT_BYTES_MAX
    if (scratch.length < bytesMax) scratch = new Uint8Array(2 * bytesMax)
    const view = new DataView(scratch.buffer)
    const hasNumbers = min <= max
    // Adding zero makes -0 into 0: which of the two came first must not show.
    view.setFloat64(0, hasNumbers ? min + 0 : Number.NaN, true)
    view.setFloat64(8, hasNumbers ? max + 0 : Number.NaN, true)
    let at = EXTREMES_BYTES
    for (let i = 0; i < keys.length; i++) {
      const step = i === 0 ? zigzag(keys[0]) : keys[i] - keys[i - 1] - 1
      at = putVarint(scratch, at, step)
      at = putVarint(scratch, at, numbers[i])
    }
    const sketch = newSketch('Q', BIN_BITS, 0, at)
    sketch.set(scratch.subarray(0, at), HEADER_BYTES)
    return seal(sketch)
  }

  return { reset, addValues, addSketch, toBytes }
}

/** Undefined stands for no sketch at all, and adds nothing. */
export function mergeQuantile(bins: Bins, sketches: readonly (Uint8Array | undefined)[]): Uint8Array {
  bins.reset()
  for (const bytes of sketches) {
    if (!bytes) continue
    checkSketch(bytes, 'Q')
    bins.addSketch(bytes)
  }
  return bins.toBytes()
}

export type QuantileFacts = {
  readonly count: number
  /** NaN left out; undefined of an empty sketch, NaN when there was nothing else. */
  readonly min: number | undefined
  readonly max: number | undefined
  readonly keys: readonly number[]
  readonly numbers: readonly number[]
}

export function readQuantile(bytes: Uint8Array): QuantileFacts {
  checkSketch(bytes, 'Q')
  const keys: number[] = []
  const numbers: number[] = []
  let count = 0
  const { min, max, isEmpty } = readBins(bytes, (key, number) => {
    keys.push(key)
    numbers.push(number)
    count += number
  })
  const known = (value: number) => (isEmpty ? undefined : Number.isFinite(value) || min <= max ? value : Number.NaN)
  return { count, min: known(min), max: known(max), keys, numbers }
}

/** The value that `quantile_disc` would give, or one at most 1/128 of it away; undefined of an empty sketch. */
export function quantileOf(facts: QuantileFacts, share: number): number | undefined {
  const { count, keys, numbers, min, max } = facts
  if (!(share >= 0 && share <= 1)) throw sketchError(`quantile: expected a number from 0 to 1, found ${share}`)
  if (count === 0 || min === undefined || max === undefined) return undefined
  const index = Math.max(1, count - Math.floor(count - share * count)) - 1
  if (index === 0) return min
  let seen = 0
  let at = -1
  while (seen <= index) seen += numbers[++at]
  if (keys[at] === KEY_NAN) return Number.NaN
  const isLast = index === count - 1
  return isLast ? max : Math.min(Math.max(middleOf(keys[at]), min), max)
}

/** At most 1/128 of the sum of all magnitudes away from the sum. */
export function sumOf({ count, keys, numbers, min, max }: QuantileFacts): number | undefined {
  if (count === 0 || min === undefined || max === undefined) return undefined
  let sum = 0
  for (let i = 0; i < keys.length; i++) sum += numbers[i] * Math.min(Math.max(middleOf(keys[i]), min), max)
  return sum
}

/** Any value of a bin is at most 1/128 of itself away from its middle. */
function middleOf(key: number): number {
  if (key === 0) return 0
  if (key === KEY_NAN) return Number.NaN
  const magnitude = Math.abs(key)
  if (magnitude === KEY_INFINITY) return key < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  const exponent = (magnitude >>> BIN_BITS) - 1023
  const fraction = (magnitude & ((1 << BIN_BITS) - 1)) + 0.5
  // Two factors: 2^1023 · 2 would be no number any more.
  const value = (1 + fraction / (1 << BIN_BITS)) * 2 ** exponent
  return key < 0 ? -value : value
}

type SortedBins = { readonly keys: Int32Array; readonly numbers: Float64Array }

function slotOf(key: number): number {
  return key < 0 ? MAGNITUDES - key : key
}

function keyOf(slot: number): number {
  const magnitude = slot & (MAGNITUDES - 1)
  if (magnitude < KEY_LEAST) return 0
  if (magnitude > KEY_INFINITY) return KEY_NAN
  return slot >= MAGNITUDES ? -magnitude : magnitude
}

/** Values far below the largest magnitude share the last bin of their sign. */
function collapse(bins: SortedBins): SortedBins {
  let largest = 0
  let smallest = KEY_INFINITY
  for (let i = 0; i < bins.keys.length; i++) {
    const magnitude = Math.abs(bins.keys[i])
    if (magnitude >= KEY_INFINITY || magnitude === 0) continue
    if (magnitude > largest) largest = magnitude
    if (magnitude < smallest) smallest = magnitude
  }
  const least = largest - BINS_OF_SIGN_MAX + 1
  if (smallest >= least) return bins
  const byKey = new Map<number, number>()
  for (const [i, key] of bins.keys.entries()) {
    const kept = key === 0 || Math.abs(key) >= least ? key : Math.sign(key) * least
    byKey.set(kept, (byKey.get(kept) ?? 0) + bins.numbers[i])
  }
  const keys = Int32Array.from(byKey.keys()).sort()
  return { keys, numbers: Float64Array.from(keys, (key) => byKey.get(key) as number) }
}

/** Of bytes whose frame was checked; every bin in order, then the extremes (∞ and -∞ when there are none). */
function readBins(
  bytes: Uint8Array,
  onBin: (key: number, count: number) => void,
): { min: number; max: number; isEmpty: boolean } {
  const none = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY }
  if (bytes[2] !== BIN_BITS || bytes[3] !== 0) throw damaged(`bins of ${bytes[2]} bits, form ${bytes[3]}`)
  const end = bytes.length
  if (end === HEADER_BYTES) return { ...none, isEmpty: true }
  if (end <= HEADER_BYTES + EXTREMES_BYTES) throw damaged('it has no bins')
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  const min = view.getFloat64(HEADER_BYTES, true)
  const max = view.getFloat64(HEADER_BYTES + 8, true)
  let at = HEADER_BYTES + EXTREMES_BYTES
  let key = 0
  let isFirst = true
  while (at < end) {
    const step = varint()
    key = isFirst ? (step % 2 === 1 ? -(step + 1) / 2 : step / 2) : key + step + 1
    isFirst = false
    const count = varint()
    const isKey = key >= -KEY_INFINITY && key <= KEY_NAN && (key === 0 || Math.abs(key) >= KEY_LEAST)
    if (!isKey || count === 0) throw damaged(`a bin ${key} of ${count} values`)
    onBin(key, count)
  }
  if (Number.isNaN(min) !== Number.isNaN(max) || min > max) throw damaged(`values from ${min} to ${max}`)
  return Number.isNaN(min) ? { ...none, isEmpty: false } : { min, max, isEmpty: false }

  function varint(): number {
    let value = 0
    let scale = 1
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      if (at >= end) throw damaged('it ends within a bin')
      const byte = bytes[at++]
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break
        return value
      }
      scale *= 128
    }
    throw damaged('a number in it is too large')
  }
}

function zigzag(value: number): number {
  return value < 0 ? -2 * value - 1 : 2 * value
}

function putVarint(bytes: Uint8Array, from: number, value: number): number {
  let at = from
  let rest = value
  while (rest >= 0x80) {
    bytes[at++] = (rest % 128) | 0x80
    rest = Math.floor(rest / 128)
  }
  bytes[at++] = rest
  return at
}
