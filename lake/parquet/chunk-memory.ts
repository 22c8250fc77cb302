/**
 * Memory for what a column chunk needs only while it is encoded: which distinct value each row has, narrowed decimals, integers
 * as doubles. One thread encodes one chunk after the other, so all of them use the same memory. Fresh arrays for each would be
 * cleared for nothing and lie outside the heap until the garbage collector comes by: 200 bytes for a row of seventeen columns.
 *
 * Nothing given here may outlive its chunk, and nothing in it is cleared.
 */
const BYTES_AT_FIRST = 256 * 1024
/** Of a chunk of 122,880 longs; what needs more takes fresh memory. */
const BYTES_KEPT_MAX = 4 * 1024 * 1024

let memory = new ArrayBuffer(0)
let used = 0
let wanted = BYTES_AT_FIRST

/** A chunk begins (of nested columns: all chunks of one column). What was given before may be overwritten from now on. */
export function startChunk(): void {
  // What did not fit last time came from elsewhere: next time it does.
  if (wanted > memory.byteLength) memory = new ArrayBuffer(Math.min(wanted, BYTES_KEPT_MAX))
  used = 0
}

/** Holds whatever was there before. */
export function chunkInts(count: number): Int32Array {
  const start = take(count * 4)
  return start < 0 ? new Int32Array(count) : new Int32Array(memory, start, count)
}

/** Holds whatever was there before. */
export function chunkDoubles(count: number): Float64Array {
  const start = take(count * 8)
  return start < 0 ? new Float64Array(count) : new Float64Array(memory, start, count)
}

/** -1: there is no room. */
function take(bytes: number): number {
  const start = used
  used += (bytes + 7) & ~7
  wanted = Math.min(BYTES_KEPT_MAX, Math.max(wanted, used))
  return used > memory.byteLength ? -1 : start
}
