/**
 * Column bounds for pruning: decoded, compared, and cut to the length that a manifest keeps. A bound that cannot be
 * decoded or compared says nothing (undefined): a file without bounds is never pruned.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import { decodeSingleValue, type SingleValue } from './single-value.ts'

const TEXT_CODE_POINTS_MAX = 16
const BINARY_BYTES_MAX = 16
const CODE_POINT_MAX = 0x10ffff

/** Strings stay texts; NaN is no bound. */
export function decodeBound(type: ColumnType, bytes: Uint8Array | undefined): SingleValue | undefined {
  if (bytes === undefined) return undefined
  const value = decodeSingleValue(type, bytes)
  return typeof value === 'number' && Number.isNaN(value) ? undefined : value
}

/**
 * Negative, zero or positive. Both must be values of the type. Texts are ordered by their UTF-8 bytes (by code point),
 * which UTF-16's own order is not beyond U+FFFF. -0 and +0 are the same.
 */
export function compareBounds(type: ColumnType, left: SingleValue, right: SingleValue): number {
  switch (type.kind) {
    case 'string':
    case 'json':
      return Buffer.compare(Buffer.from(String(left)), Buffer.from(String(right)))
    case 'uuid':
    case 'binary':
      return Buffer.compare(left as Uint8Array, right as Uint8Array)
    default: {
      const a = left as number | bigint | boolean
      const b = right as number | bigint | boolean
      return a < b ? -1 : a > b ? 1 : 0
    }
  }
}

/** The first 16 code points (or bytes): at most the value, so still a lower bound. */
export function cutLowerBound(type: ColumnType, bytes: Uint8Array): Uint8Array {
  const end = cutEnd(type, bytes)
  return end === bytes.length ? bytes : Uint8Array.from(bytes.subarray(0, end))
}

/** Cut likewise, then incremented in its last place that can grow; undefined when none can. */
export function cutUpperBound(type: ColumnType, bytes: Uint8Array): Uint8Array | undefined {
  const end = cutEnd(type, bytes)
  if (end === bytes.length) return bytes
  const prefix = bytes.subarray(0, end)
  return type.kind === 'binary' ? incrementBytes(prefix) : incrementText(prefix)
}

function cutEnd(type: ColumnType, bytes: Uint8Array): number {
  if (type.kind === 'binary') return Math.min(bytes.length, BINARY_BYTES_MAX)
  if (type.kind !== 'string' && type.kind !== 'json') return bytes.length
  let seen = 0
  for (let i = 0; i < bytes.length; i++) {
    if ((bytes[i] & 0xc0) !== 0x80 && seen++ === TEXT_CODE_POINTS_MAX) return i
  }
  return bytes.length
}

function incrementText(prefix: Uint8Array): Uint8Array | undefined {
  const points = Array.from(new TextDecoder().decode(prefix), (each) => each.codePointAt(0) as number)
  for (let i = points.length - 1; i >= 0; i--) {
    if (points[i] === CODE_POINT_MAX) continue
    // U+D800 to U+DFFF are no characters of a text.
    const next = points[i] === 0xd7ff ? 0xe000 : points[i] + 1
    return new TextEncoder().encode(String.fromCodePoint(...points.slice(0, i), next))
  }
  return undefined
}

function incrementBytes(prefix: Uint8Array): Uint8Array | undefined {
  for (let i = prefix.length - 1; i >= 0; i--) {
    if (prefix[i] === 0xff) continue
    const next = Uint8Array.from(prefix.subarray(0, i + 1))
    next[i]++
    return next
  }
  return undefined
}
