/**
 * The clock and randomness for tests of object stores: time passes only when somebody sleeps (and a microsecond per look),
 * random numbers come from a seed. Two worlds with different seeds give different uuids, as two processes do.
 */
import type { Clock, Random, World } from '../../runtime/world.ts'

export type TestWorld = Pick<World, 'clock' | 'random'> & {
  /** Every sleep asked for, in milliseconds. */
  readonly sleeps: readonly number[]
}

const START_MICROS = 1_790_000_000_000_000n

export function createTestWorld(seed = 1): TestWorld {
  const sleeps: number[] = []
  const nextUint32 = mulberry32(seed)
  let elapsedMicros = 0n

  const clock: Clock = {
    nowMicros: () => START_MICROS + elapsedMicros++,
    monotonicMs: () => Number(elapsedMicros++) / 1000,
    async sleep(ms, signal) {
      signal?.throwIfAborted()
      sleeps.push(ms)
      elapsedMicros += BigInt(Math.round(ms * 1000))
      await new Promise<void>((resolve) => setImmediate(resolve))
      signal?.throwIfAborted()
    },
  }
  const random: Random = {
    uuid() {
      const hex = Array.from({ length: 4 }, () => nextUint32().toString(16).padStart(8, '0')).join('')
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
    },
    float: () => nextUint32() / 2 ** 32,
    id53: () => (nextUint32() % 2 ** 21) * 2 ** 32 + nextUint32() + 1,
  }
  return { clock, random, sleeps }
}

/** A small generator of 32 random bits with a 32-bit state. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
