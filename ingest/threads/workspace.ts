/**
 * Memory that is used again for every column of a row group that this thread seals: fresh memory for each would have to be cleared, and
 * would lie about until the garbage collector comes by.
 */
const BYTES_AT_FIRST = 1024 * 1024
/** Larger than that it is let go after use. */
const BYTES_KEPT_MAX = 16 * 1024 * 1024

let memory = new ArrayBuffer(0)
let used = 0
let wanted = BYTES_AT_FIRST

/** What was given before may be overwritten from now on. */
export function startOver(): void {
  // What did not fit last time came from elsewhere: next time it does.
  if (wanted > memory.byteLength && wanted <= BYTES_KEPT_MAX) memory = new ArrayBuffer(wanted)
  wanted = Math.max(BYTES_AT_FIRST, memory.byteLength)
  used = 0
}

/** Holds whatever was there before. */
export function allocate(bytes: number): Uint8Array {
  const start = used
  used += (bytes + 7) & ~7
  wanted = Math.max(wanted, used)
  if (used > memory.byteLength) return new Uint8Array(bytes)
  return new Uint8Array(memory, start, bytes)
}
