/**
 * Where the values of a sealed batch go: fresh memory, unless whoever runs this thread has a place for them. Decoders seal deep
 * inside; a worker thread lends its place for the time of a job, and rows are copied once instead of twice.
 */

/** Not cleared; eight bytes aligned. undefined: the place is full. */
export type SealPlace = (bytes: number) => Uint8Array | undefined

let place: SealPlace | undefined

export function sealInto<T>(lent: SealPlace, work: () => T): T {
  place = lent
  try {
    return work()
  } finally {
    place = undefined
  }
}

/** To be written whole. */
export function sealMemory(bytes: number): Uint8Array {
  return place?.(bytes) ?? new Uint8Array(bytes)
}

export function sealedCopy(bytes: Uint8Array, length: number): Uint8Array {
  const copy = sealMemory(length)
  copy.set(bytes.subarray(0, length))
  return copy
}

export function sealedOffsets(offsets: Int32Array, length: number): Int32Array {
  const copy = sealMemory(length * 4)
  const view = new Int32Array(copy.buffer, copy.byteOffset, length)
  view.set(offsets.subarray(0, length))
  return view
}
