/**
 * The hash under a sketch of distinct values, defined here so that it is the same on every machine and in every release (ADR 32).
 * The engine computes it with DuckDB's own `hash`, which is this function today and promises nothing for tomorrow:
 * `sketch-sql.ts` asks it for known values when an engine starts, and an engine that answers otherwise does not start.
 * This file says what it is, in a form that others can follow; tests hold the two against each other.
 *
 *   value → what is hashed (see canonical forms in docs/reference/sketches.md) → 64 bits → mixed once more → code
 */
const ALL = (1n << 64n) - 1n
const MULTIPLIER = 0xd6e8feb86659fd93n
const SEED = 0xe17a1465n
const LENGTH_MULTIPLIER = 0xc6a4a7935bd1e995n
/** From this length on, differences in the last bytes of two blocks can cancel each other: a second view is needed. */
export const LONG_BYTES = 16
const SECOND_VIEW = 0x78

export function hashOfInteger(value: bigint): bigint {
  return mix(mix(BigInt.asUintN(64, value)))
}

export function hashOfDouble(value: number): bigint {
  const view = new DataView(new ArrayBuffer(8))
  view.setFloat64(0, value === 0 ? 0 : value)
  return mix(mix(Number.isNaN(value) ? 0x7ff8000000000000n : view.getBigUint64(0)))
}

export function hashOfBytes(bytes: Uint8Array): bigint {
  const first = hashOfBlocks(bytes)
  if (bytes.length < LONG_BYTES) return mix(first)
  const second = hashOfBlocks(Uint8Array.of(SECOND_VIEW, ...bytes))
  return mix((((first ^ (first >> 32n)) * MULTIPLIER) & ALL) ^ mix(second))
}

/** Of UUIDs (upper half with its first bit turned over) and of decimals as whole numbers of 10^-18. */
export function hashOfWide(value: bigint): bigint {
  const bits = BigInt.asUintN(128, value)
  return mix(mix(bits & ALL) ^ mix(bits >> 64n))
}

/** The bits of the hash rounded to a 32-bit float. */
export function codeOf(hash: bigint): number {
  const view = new DataView(new ArrayBuffer(4))
  // Exact up to 2^53; above, the bits that a float drops must not be rounded twice.
  const shift = hash > 1n << 53n ? 11n : 0n
  const sticky = hash & ((1n << shift) - 1n) ? 1n : 0n
  view.setFloat32(0, Number((hash >> shift) | sticky) * 2 ** Number(shift))
  return view.getUint32(0)
}

function hashOfBlocks(bytes: Uint8Array): bigint {
  let hash = SEED ^ ((BigInt(bytes.length) * LENGTH_MULTIPLIER) & ALL)
  for (let at = 0; at < bytes.length; at += 8) {
    let block = 0n
    for (let i = Math.min(8, bytes.length - at) - 1; i >= 0; i--) block = (block << 8n) | BigInt(bytes[at + i])
    hash = ((hash ^ block) * MULTIPLIER) & ALL
  }
  return mix(hash)
}

function mix(value: bigint): bigint {
  let x = value
  x = ((x ^ (x >> 32n)) * MULTIPLIER) & ALL
  x = ((x ^ (x >> 32n)) * MULTIPLIER) & ALL
  return x ^ (x >> 32n)
}
