/**
 * A world that a test holds in its hands: the clock stands still until it is moved, randomness comes from a seed, log
 * lines are kept in a list, and a crash point throws `CrashedHere` when the test armed it.
 *
 * Sleepers wake in the order of their time while `advance` moves the clock; between two of them pending promises run.
 */
import type { Clock, Log, LogFields, Random, World } from './world.ts'

export type TestLogLine = { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly message: string } & LogFields

export class CrashedHere extends Error {
  readonly point: string
  constructor(point: string) {
    super(`crashed at ${point}`)
    this.name = 'CrashedHere'
    this.point = point
  }
}

export type TestWorldOptions = {
  /** Default 1. */
  readonly seed?: number
  /** Where the clock stands at first, microseconds since the epoch. Default 2026-01-01T00:00:00Z. */
  readonly nowMicros?: bigint
  /** `sleep` returns at once and moves the clock by its time. Default false: sleepers wait for `advance`. */
  readonly sleepAdvances?: boolean
}

export type TestWorld = World & {
  readonly lines: TestLogLine[]
  /** Crash points passed so far, in order. */
  readonly passed: string[]
  /** Moves both clocks and wakes the sleepers whose time has come. */
  advance(ms: number): Promise<void>
  /** Throw at the n-th pass of this point from now on (default the first). */
  crashAt(name: string, pass?: number): void
}

type Sleeper = { readonly wakeAt: number; readonly wake: () => void }

const DEFAULT_NOW_MICROS = 1_767_225_600_000_000n

export function createTestWorld(options: TestWorldOptions = {}): TestWorld {
  const startMicros = options.nowMicros ?? DEFAULT_NOW_MICROS
  const lines: TestLogLine[] = []
  const passed: string[] = []
  const armed = new Map<string, number>()
  const sleepers: Sleeper[] = []
  let elapsedMs = 0

  const clock: Clock = {
    nowMicros: () => startMicros + BigInt(Math.round(elapsedMs * 1000)),
    monotonicMs: () => elapsedMs,
    sleep(ms, signal) {
      if (signal?.aborted) return Promise.reject(signal.reason)
      if (options.sleepAdvances) {
        elapsedMs += Math.max(0, ms)
        return new Promise((resolve) => setImmediate(resolve))
      }
      return new Promise((resolve, reject) => {
        const abort = () => {
          const index = sleepers.indexOf(sleeper)
          if (index >= 0) sleepers.splice(index, 1)
          reject(signal?.reason)
        }
        const sleeper: Sleeper = {
          wakeAt: elapsedMs + Math.max(0, ms),
          wake: () => {
            signal?.removeEventListener('abort', abort)
            resolve()
          },
        }
        signal?.addEventListener('abort', abort, { once: true })
        sleepers.push(sleeper)
      })
    },
  }

  async function advance(ms: number): Promise<void> {
    const until = elapsedMs + ms
    await settle()
    for (;;) {
      const next = sleepers.reduce<Sleeper | undefined>(
        (first, each) => (each.wakeAt <= until && (!first || each.wakeAt < first.wakeAt) ? each : first),
        undefined,
      )
      if (!next) break
      sleepers.splice(sleepers.indexOf(next), 1)
      elapsedMs = Math.max(elapsedMs, next.wakeAt)
      next.wake()
      await settle()
    }
    elapsedMs = until
    await settle()
  }

  return {
    clock,
    random: seededRandom(options.seed ?? 1),
    log: recordingLog(lines, {}),
    lines,
    passed,
    advance,
    crashAt: (name, pass = 1) => void armed.set(name, pass),
    crashPoint(name) {
      passed.push(name)
      const left = armed.get(name)
      if (left === undefined) return
      if (left > 1) {
        armed.set(name, left - 1)
        return
      }
      armed.delete(name)
      throw new CrashedHere(name)
    },
  }
}

/** Lets promises and immediates that are already due run. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
}

function recordingLog(lines: TestLogLine[], bound: LogFields): Log {
  const at = (level: TestLogLine['level']) => (message: string, fields?: LogFields) =>
    void lines.push({ ...bound, ...fields, level, message })
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => recordingLog(lines, { ...bound, ...fields }),
  }
}

/** splitmix32: small, and its whole state is one integer, so that a seed replays everything. */
export function seededRandom(seed: number): Random {
  let state = seed | 0
  const next32 = (): number => {
    state = (state + 0x9e3779b9) | 0
    let mixed = state ^ (state >>> 16)
    mixed = Math.imul(mixed, 0x21f0aaad)
    mixed ^= mixed >>> 15
    mixed = Math.imul(mixed, 0x735a2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }
  const hex = (digits: number): string =>
    next32()
      .toString(16)
      .padStart(8, '0')
      .slice(8 - digits)
  return {
    float: () => next32() / 2 ** 32,
    id53: () => (next32() & 0x1f_ffff) * 2 ** 32 + next32() || 1,
    uuid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-${(8 + (next32() & 3)).toString(16)}${hex(3)}-${hex(8)}${hex(4)}`,
  }
}
