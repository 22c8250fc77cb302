/**
 * The smallest and the largest value of a column chunk, and the two shapes that leave the writer:
 *
 *   statistics in the footer   PLAIN bytes; texts cut at 64 bytes (the upper one then incremented and not exact)
 *   Iceberg column bounds      single-value bytes; texts cut at 16 code points, binaries at 16 bytes, decimals as the
 *                              shortest big-endian two's complement
 *
 * Order: numbers by value; texts, binaries and uuids by unsigned bytes. NaN is no bound; a lower zero is written as -0
 * and an upper one as +0, since readers may compare them either way.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import type { PresentValues } from './column-values.ts'

/** PLAIN bytes, whole; undefined when there is no value to compare. */
export type Extremes = { readonly min: Uint8Array; readonly max: Uint8Array } | undefined

const STATISTICS_BYTES_MAX = 64
const ICEBERG_CHARACTERS_MAX = 16

/** Over the values at `firsts` (a dictionary's) or over all. */
export function extremesOf(type: ColumnType, values: PresentValues, firsts: Int32Array | undefined): Extremes {
  const count = firsts === undefined ? values.count : firsts.length
  if (count === 0) return undefined
  switch (values.form) {
    case 'bits':
      return bitExtremes(values.bits, values.count)
    case 'words':
      if (type.kind === 'float' || type.kind === 'double')
        return floatExtremes(values.values, values.words, count, firsts)
      return values.words === 1 ? intExtremes(values.values, count, firsts) : longExtremes(values.values, count, firsts)
    default:
      return byteExtremes(values, count, firsts, type.kind === 'decimal')
  }
}

function bitExtremes(bits: Uint8Array, count: number): Extremes {
  let ones = 0
  for (let i = 0; i < count; i++) ones += (bits[i >> 3] >> (i & 7)) & 1
  return { min: Uint8Array.of(ones === count ? 1 : 0), max: Uint8Array.of(ones > 0 ? 1 : 0) }
}

function intExtremes(values: Int32Array, count: number, firsts: Int32Array | undefined): Extremes {
  let min = values[firsts === undefined ? 0 : firsts[0]]
  let max = min
  for (let i = 1; i < count; i++) {
    const value = values[firsts === undefined ? i : firsts[i]]
    if (value < min) min = value
    else if (value > max) max = value
  }
  return { min: wordBytes(min), max: wordBytes(max) }
}

/**
 * Two words a value, the high one signed: first the range of the high words, then the low words beside its two ends.
 * Low words are unsigned; with their top bit turned they compare as int32, which is what keeps both loops cheap.
 */
function longExtremes(values: Int32Array, count: number, firsts: Int32Array | undefined): Extremes {
  let minHigh = 0x7fffffff
  let maxHigh = -0x80000000
  for (let i = 0; i < count; i++) {
    const high = values[firsts === undefined ? i * 2 + 1 : firsts[i] * 2 + 1]
    if (high < minHigh) minHigh = high
    if (high > maxHigh) maxHigh = high
  }
  let minLow = 0x7fffffff
  let maxLow = -0x80000000
  for (let i = 0; i < count; i++) {
    const at = firsts === undefined ? i * 2 : firsts[i] * 2
    const high = values[at + 1]
    const low = values[at] ^ -0x80000000
    if (high === minHigh && low < minLow) minLow = low
    if (high === maxHigh && low > maxLow) maxLow = low
  }
  return { min: wordBytes(minLow ^ -0x80000000, minHigh), max: wordBytes(maxLow ^ -0x80000000, maxHigh) }
}

function wordBytes(low: number, high?: number): Uint8Array {
  const bytes = new Uint8Array(high === undefined ? 4 : 8)
  const view = new DataView(bytes.buffer)
  view.setInt32(0, low, true)
  if (high !== undefined) view.setInt32(4, high, true)
  return bytes
}

function floatExtremes(words: Int32Array, width: 1 | 2, count: number, firsts: Int32Array | undefined): Extremes {
  const aligned = words.byteOffset % (width * 4) === 0 ? words : words.slice()
  const values =
    width === 1
      ? new Float32Array(aligned.buffer, aligned.byteOffset, aligned.length)
      : new Float64Array(aligned.buffer, aligned.byteOffset, aligned.length >> 1)
  let min = Number.POSITIVE_INFINITY
  let max = Number.NEGATIVE_INFINITY
  for (let i = 0; i < count; i++) {
    const value = values[firsts === undefined ? i : firsts[i]]
    if (value < min) min = value
    if (value > max) max = value
  }
  // Nothing but NaN.
  if (min > max) return undefined
  return { min: floatBytes(min === 0 ? -0 : min, width), max: floatBytes(max === 0 ? 0 : max, width) }
}

function floatBytes(value: number, width: 1 | 2): Uint8Array {
  const bytes = new Uint8Array(width * 4)
  const view = new DataView(bytes.buffer)
  if (width === 1) view.setFloat32(0, value, true)
  else view.setFloat64(0, value, true)
  return bytes
}

function byteExtremes(
  values: Extract<PresentValues, { form: 'fixed' | 'bytes' }>,
  count: number,
  firsts: Int32Array | undefined,
  signed: boolean,
): Extremes {
  const { data } = values
  const offsets = values.form === 'bytes' ? values.offsets : undefined
  const width = values.form === 'fixed' ? values.width : 0
  let min = firsts === undefined ? 0 : firsts[0]
  let max = min
  for (let i = 1; i < count; i++) {
    const at = firsts === undefined ? i : firsts[i]
    if (compareAt(data, offsets, width, at, min, signed) < 0) min = at
    else if (compareAt(data, offsets, width, at, max, signed) > 0) max = at
  }
  return { min: bytesAt(data, offsets, width, min), max: bytesAt(data, offsets, width, max) }
}

function bytesAt(data: Uint8Array, offsets: Int32Array | undefined, width: number, at: number): Uint8Array {
  // A copy, whatever kind of array `data` is (a Buffer's own slice is a view): bounds outlive the batch.
  const start = offsets === undefined ? at * width : offsets[at]
  const end = offsets === undefined ? start + width : offsets[at + 1]
  return new Uint8Array(data.subarray(start, end))
}

function compareAt(
  data: Uint8Array,
  offsets: Int32Array | undefined,
  width: number,
  a: number,
  b: number,
  signed: boolean,
): number {
  let i = offsets === undefined ? a * width : offsets[a]
  let j = offsets === undefined ? b * width : offsets[b]
  const iEnd = offsets === undefined ? i + width : offsets[a + 1]
  const jEnd = offsets === undefined ? j + width : offsets[b + 1]
  if (signed && i < iEnd) {
    const difference = ((data[i] << 24) >> 24) - ((data[j] << 24) >> 24)
    if (difference !== 0) return difference
  }
  while (i < iEnd && j < jEnd) {
    const difference = data[i++] - data[j++]
    if (difference !== 0) return difference
  }
  return iEnd - i - (jEnd - j)
}

/** Unsigned, shorter first: texts, binaries, uuids. */
export function compareUnsigned(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b)
}

/** Compares two PLAIN values of one of our columns; NaN never gets here. */
export function comparePlain(type: ColumnType, a: Uint8Array, b: Uint8Array): number {
  switch (type.kind) {
    case 'boolean':
      return a[0] - b[0]
    case 'float':
      return viewOf(a).getFloat32(0, true) - viewOf(b).getFloat32(0, true) || signOfZero(a, b)
    case 'double':
      return viewOf(a).getFloat64(0, true) - viewOf(b).getFloat64(0, true) || signOfZero(a, b)
    case 'string':
    case 'json':
    case 'binary':
    case 'uuid':
      return compareUnsigned(a, b)
    case 'decimal':
      if (type.precision > 18) return ((a[0] << 24) >> 24) - ((b[0] << 24) >> 24) || compareUnsigned(a, b)
      return compareIntegers(a, b)
    default:
      return compareIntegers(a, b)
  }
}

function compareIntegers(a: Uint8Array, b: Uint8Array): number {
  if (a.length === 4) return viewOf(a).getInt32(0, true) - viewOf(b).getInt32(0, true)
  const left = viewOf(a).getBigInt64(0, true)
  const right = viewOf(b).getBigInt64(0, true)
  return left < right ? -1 : left > right ? 1 : 0
}

function signOfZero(a: Uint8Array, b: Uint8Array): number {
  return (b[b.length - 1] >> 7) - (a[a.length - 1] >> 7)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Over several row groups. */
export function widen(type: ColumnType, a: Extremes, b: Extremes): Extremes {
  if (a === undefined) return b
  if (b === undefined) return a
  return {
    min: comparePlain(type, b.min, a.min) < 0 ? b.min : a.min,
    max: comparePlain(type, b.max, a.max) > 0 ? b.max : a.max,
  }
}

export type FooterStatistics = {
  readonly min: Uint8Array
  readonly minExact: boolean
  readonly max: Uint8Array | undefined
  readonly maxExact: boolean
}

export function footerStatistics(type: ColumnType, extremes: Extremes): FooterStatistics | undefined {
  if (extremes === undefined) return undefined
  const isText = type.kind === 'string' || type.kind === 'json'
  if (!isText && type.kind !== 'binary') return { ...extremes, minExact: true, maxExact: true }
  const { min, max } = extremes
  const minCut = isText ? codePointStart(min, STATISTICS_BYTES_MAX) : Math.min(min.length, STATISTICS_BYTES_MAX)
  const maxCut = isText ? codePointStart(max, STATISTICS_BYTES_MAX) : Math.min(max.length, STATISTICS_BYTES_MAX)
  const isMaxWhole = maxCut === max.length
  return {
    min: min.subarray(0, minCut),
    minExact: minCut === min.length,
    max: isMaxWhole ? max : isText ? nextText(max.subarray(0, maxCut)) : nextBytes(max.subarray(0, maxCut)),
    maxExact: isMaxWhole,
  }
}

export function icebergBounds(
  type: ColumnType,
  extremes: Extremes,
): { readonly lower: Uint8Array | undefined; readonly upper: Uint8Array | undefined } {
  if (extremes === undefined) return { lower: undefined, upper: undefined }
  const { min, max } = extremes
  switch (type.kind) {
    case 'string':
    case 'json': {
      const upperCut = afterCharacters(max, ICEBERG_CHARACTERS_MAX)
      return {
        lower: min.subarray(0, afterCharacters(min, ICEBERG_CHARACTERS_MAX)),
        upper: upperCut === max.length ? max : nextText(max.subarray(0, upperCut)),
      }
    }
    case 'binary':
      return {
        lower: min.subarray(0, ICEBERG_CHARACTERS_MAX),
        upper: max.length <= ICEBERG_CHARACTERS_MAX ? max : nextBytes(max.subarray(0, ICEBERG_CHARACTERS_MAX)),
      }
    case 'decimal': {
      const isBigEndian = type.precision > 18
      return { lower: shortestBigEndian(min, isBigEndian), upper: shortestBigEndian(max, isBigEndian) }
    }
    default:
      return { lower: min, upper: max }
  }
}

function shortestBigEndian(value: Uint8Array, isBigEndian: boolean): Uint8Array {
  const bytes = isBigEndian ? value : new Uint8Array(value).reverse()
  const sign = bytes[0] & 0x80 ? 0xff : 0
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === sign && (bytes[start + 1] & 0x80) === (sign & 0x80)) start++
  return bytes.subarray(start)
}

/** The last start of a code point at or before `limit`; the whole length when the text is not longer. */
function codePointStart(text: Uint8Array, limit: number): number {
  if (text.length <= limit) return text.length
  let cut = limit
  while (cut > 0 && (text[cut] & 0xc0) === 0x80) cut--
  return cut
}

function afterCharacters(text: Uint8Array, characters: number): number {
  let seen = 0
  for (let i = 0; i < text.length; i++) {
    if ((text[i] & 0xc0) !== 0x80 && seen++ === characters) return i
  }
  return text.length
}

/** The shortest text above every text that starts with `prefix`: its last code point that can grow, grown by one. */
function nextText(prefix: Uint8Array): Uint8Array | undefined {
  const points = Array.from(new TextDecoder().decode(prefix), (each) => each.codePointAt(0) as number)
  while (points.length > 0) {
    const last = points.pop() as number
    // Surrogates are no code points of a text.
    const next = last === 0xd7ff ? 0xe000 : last + 1
    if (next <= 0x10ffff) return new TextEncoder().encode(String.fromCodePoint(...points, next))
  }
  return undefined
}

function nextBytes(prefix: Uint8Array): Uint8Array | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] === 0xff) continue
    const next = new Uint8Array(prefix.subarray(0, i + 1))
    next[i]++
    return next
  }
  return undefined
}
