/**
 * Memory that all threads see: one large shared buffer, given out in regions by the main thread alone.
 *
 * Shared buffers are not counted by the garbage collector, and one that is let go is freed when every thread has collected its
 * own handle of it. So there is one, for the life of the process: regions are given and taken back by hand, the lowest place
 * that fits first, so that pages that were never needed are never touched. What does not fit gets a buffer of its own; that
 * is for the odd giant, and counts all the same.
 */
import { invariant } from '../../schemas/errors.ts'

export type Region = {
  readonly memory: SharedArrayBuffer
  readonly start: number
  /** What is held, a multiple of `ALIGNMENT`; it may be more than was asked for. */
  readonly length: number
}

export type Arena = {
  readonly memory: SharedArrayBuffer
  /** `isBrief`: given back soon. Such regions lie at the other end, so that they leave no holes between those that stay. */
  allocate(bytes: number, isBrief?: boolean): Region
  /** A buffer that came into being elsewhere counts from now on. */
  adopt(memory: SharedArrayBuffer): Region
  /** Gives back what lies behind the first `bytes`. */
  shrink(region: Region, bytes: number): Region
  free(region: Region): void
  readonly bytesUsed: number
}

/** A line of the processor's cache: threads do not write beside each other. */
const ALIGNMENT = 64

type Hole = { start: number; end: number }

export function createArena(bytesMax: number): Arena {
  const memory = new SharedArrayBuffer(aligned(bytesMax))
  /** In order of their places; no two touch. */
  const holes: Hole[] = [{ start: 0, end: memory.byteLength }]
  let bytesUsed = 0

  function giveBack(start: number, end: number): void {
    let low = 0
    let high = holes.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (holes[middle].start < start) low = middle + 1
      else high = middle
    }
    const before: Hole | undefined = holes[low - 1]
    const after: Hole | undefined = holes[low]
    invariant('arena regions are freed once', (before?.end ?? 0) <= start && end <= (after?.start ?? end), {
      start,
      end,
    })
    const joinsBefore = before?.end === start
    const joinsAfter = after?.start === end
    if (joinsBefore && joinsAfter) {
      before.end = after.end
      holes.splice(low, 1)
    } else if (joinsBefore) before.end = end
    else if (joinsAfter) after.start = start
    else holes.splice(low, 0, { start, end })
  }

  function shrink(region: Region, bytes: number): Region {
    const length = Math.min(region.length, Math.max(ALIGNMENT, aligned(bytes)))
    if (length === region.length || region.memory !== memory) return region
    bytesUsed -= region.length - length
    giveBack(region.start + length, region.start + region.length)
    return { ...region, length }
  }

  return {
    memory,
    allocate(bytes, isBrief = false) {
      const length = Math.max(ALIGNMENT, aligned(bytes))
      bytesUsed += length
      const fits = ({ start, end }: Hole) => end - start >= length
      const index = isBrief ? holes.findLastIndex(fits) : holes.findIndex(fits)
      if (index < 0) return { memory: new SharedArrayBuffer(length), start: 0, length }
      const hole = holes[index]
      const start = isBrief ? hole.end - length : hole.start
      if (isBrief) hole.end = start
      else hole.start += length
      if (hole.start === hole.end) holes.splice(index, 1)
      return { memory, start, length }
    },
    adopt(own) {
      bytesUsed += own.byteLength
      return { memory: own, start: 0, length: own.byteLength }
    },
    shrink,
    free({ memory: of, start, length }) {
      bytesUsed -= length
      if (of === memory) giveBack(start, start + length)
    },
    get bytesUsed() {
      return bytesUsed
    },
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT
}
