/**
 * The real world: wall clock, randomness, log and crash points of a running process. The only file of the product that
 * reads the clock or makes randomness (`test/tidy.test.ts` says so); everything else gets a `World` as a parameter.
 *
 * Crash points: `MILLRACE_CRASH_AT=ingest/after-segment-file:3` makes this process kill itself with SIGKILL the third time
 * it passes that spot; without `:n`, the first time. Several may be named, separated by commas. The kill is synchronous:
 * nothing after the spot runs. `MILLRACE_PAUSE_AT`, in the same words, freezes this process there with SIGSTOP instead: it
 * goes on from that very spot when somebody sends it SIGCONT, however much the world has changed meanwhile.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as sleepTimer } from 'node:timers/promises'
import type { Clock, CrashPoint, Log, Random, World } from './world.ts'

export type SystemWorldOptions = {
  readonly log: Log
  /** Default: the variable MILLRACE_CRASH_AT. */
  readonly crashAt?: string
  /** Default: the variable MILLRACE_PAUSE_AT. */
  readonly pauseAt?: string
}

const SLEEP_MS_MAX = 2 ** 31 - 1

export function createSystemWorld(options: SystemWorldOptions): World {
  return {
    clock: systemClock,
    random: systemRandom,
    log: options.log,
    crashPoint: createCrashPoint(
      options.crashAt ?? process.env.MILLRACE_CRASH_AT ?? '',
      options.pauseAt ?? process.env.MILLRACE_PAUSE_AT ?? '',
    ),
  }
}

const wallMicrosAtStart = BigInt(Date.now()) * 1000n
const monotonicNanosAtStart = process.hrtime.bigint()
let latestMicros = 0n

const systemClock: Clock = {
  nowMicros(): bigint {
    // Date.now() has milliseconds only; the monotonic clock adds the microseconds, as long as the two agree. When the
    // wall clock was set (NTP step, suspended machine) the wall clock wins.
    const wall = BigInt(Date.now()) * 1000n
    const fine = wallMicrosAtStart + (process.hrtime.bigint() - monotonicNanosAtStart) / 1000n
    const difference = fine - wall
    const now = difference > -2_000n && difference < 2_000n ? fine : wall
    // Two readings in one process never run backwards by the switch between the two sources (at most 2 ms).
    if (now < latestMicros && latestMicros - now < 4_000n) return latestMicros
    latestMicros = now
    return now
  },
  monotonicMs: () => performance.now(),
  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    try {
      await sleepTimer(Math.min(Math.max(ms, 0), SLEEP_MS_MAX), undefined, { signal })
    } catch (error) {
      throw signal?.aborted ? signal.reason : error
    }
  },
}

const systemRandom: Random = {
  uuid: () => randomUUID(),
  float: () => Math.random(),
  id53(): number {
    const bytes = randomBytes(8)
    const value = (bytes.readUInt32LE(0) & 0x1f_ffff) * 2 ** 32 + bytes.readUInt32LE(4)
    return value === 0 ? 1 : value
  },
}

/** A new bearer token: 256 random bits that survive copying. */
export function createToken(): string {
  return `mr_${randomBytes(32).toString('base64url')}`
}

/** A positive serial number of 16 bytes for a certificate. */
export function randomSerial(): Uint8Array {
  const serial = randomBytes(16)
  serial[0] = (serial[0] & 0x7f) | 0x40
  return serial
}

/** `name[:n]` separated by commas, twice → a function that kills or freezes this process on the n-th pass of that name. */
function createCrashPoint(crashAt: string, pauseAt: string): CrashPoint {
  const armed = [
    { signal: 'SIGKILL', remaining: passesOf(crashAt) },
    { signal: 'SIGSTOP', remaining: passesOf(pauseAt) },
  ] as const
  if (armed.every(({ remaining }) => remaining.size === 0)) return () => {}
  return (name) => {
    for (const { signal, remaining } of armed) {
      const left = remaining.get(name)
      if (left === undefined) continue
      remaining.set(name, left - 1)
      if (left === 1) process.kill(process.pid, signal)
    }
  }
}

function passesOf(points: string): Map<string, number> {
  const remaining = new Map<string, number>()
  for (const part of points.split(',')) {
    const match = /^(.+?)(?::(\d+))?$/.exec(part.trim())
    if (match) remaining.set(match[1], Math.max(1, Number(match[2] ?? '1')))
  }
  return remaining
}
