/**
 * What all parts of one simulated history share: the scheduler, the faults, the wall clock that jumps, the counters of what
 * happened, the list of broken promises, and the shape of this history (how many, how large, how long), drawn from the seed.
 */
import type { LogFields } from '../../runtime/world.ts'
import { createFaults, type Faults } from './faults.ts'
import { createScheduler, type Scheduler } from './scheduler.ts'

export type Shape = {
  readonly ingests: number
  readonly compactors: number
  readonly queries: number
  readonly topicPartitions: number
  readonly httpClients: number
  /** How long faults go on. */
  readonly activeMs: number
  readonly latencyMs: number
  readonly slowMs: number
  readonly lateMs: number
  readonly pauseMs: number
  readonly clockSkewMs: number
  readonly store: 'remote' | 'local disk'
  readonly catalog: 'remote' | 'embedded'
  readonly isPartitioned: boolean
  readonly hasUpkeep: boolean
  readonly hasColdStore: boolean
  readonly hasDaysPassing: boolean
  readonly flushIntervalMs: number
  readonly flushRows: number
  readonly memoryMax: number
  readonly segmentsLiveMax: number
  readonly leasesMs: number
  readonly writerSilentMs: number
  readonly readerSilentMs: number
  readonly snapshotMinAgeMs: number
  readonly snapshotAgeMs: number
  readonly snapshotBytes: number
  readonly appendBytesMax: number
  readonly filesMin: number
  readonly snapshotsMax: number
  readonly manifestsMax: number
  readonly compactionIntervalMs: number
  readonly sweepIntervalMs: number
}

export type Universe = {
  readonly seed: number
  readonly scheduler: Scheduler
  readonly faults: Faults
  readonly shape: Shape
  /** Counters of everything worth knowing whether it happened at all. */
  tally(what: string, by?: number): void
  readonly tallies: ReadonlyMap<string, number>
  /** A broken promise: the run has failed. */
  violation(promise: string, what: string): void
  readonly violations: readonly string[]
  /** Microseconds since the epoch, as hosts see it; may jump. */
  wallMicros(): bigint
  jumpClock(ms: number): void
  seedFor(name: string): number
  latencyMs(): number
  logged(id: string, level: string, message: string, fields: LogFields): void
}

const EPOCH_MICROS = 1_767_225_600_000_000n

export function createUniverse(seed: number, trace?: (line: string) => void): Universe {
  const scheduler = createScheduler(seed, trace)
  const tallies = new Map<string, number>()
  const violations: string[] = []
  let jumpedMicros = 0n
  const tally = (what: string, by = 1) => void tallies.set(what, (tallies.get(what) ?? 0) + by)
  const shape = drawShape(scheduler)
  const faults = createFaults(scheduler.random, (kind) => tally(`fault: ${kind}`))
  return {
    seed,
    scheduler,
    faults,
    shape,
    tally,
    tallies,
    violation(promise, what) {
      scheduler.note('checker', 'VIOLATION', `${promise}: ${what}`)
      violations.push(`${promise}: ${what} (at ${scheduler.nowMs().toFixed(3)} ms)`)
    },
    violations,
    wallMicros: () => EPOCH_MICROS + jumpedMicros + BigInt(Math.round(scheduler.nowMs() * 1000)),
    jumpClock(ms) {
      jumpedMicros += BigInt(Math.round(ms * 1000))
    },
    seedFor(name) {
      let hash = seed | 0
      for (let i = 0; i < name.length; i += 1) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
      return hash
    },
    // Most answers come at once, some take ten times as long: the order of things is open.
    latencyMs: () => shape.latencyMs * (0.1 + scheduler.random.float()) * (scheduler.random.float() < 0.1 ? 10 : 1),
    logged(id, level, message, fields) {
      if (!trace) return
      trace(`${scheduler.nowMs().toFixed(3)} ${id} says ${level}: ${message} ${textOf(fields)}`)
    },
  }
}

function textOf(fields: LogFields): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value instanceof Error ? value.message : String(value)}`)
    .join(' ')
}

function drawShape({ random }: Scheduler): Shape {
  const between = (least: number, most: number) => least + (most - least) * random.float()
  const whole = (least: number, most: number) => Math.floor(between(least, most + 1))
  const chance = (share: number) => random.float() < share
  const leasesMs = between(2500, 7000)
  const segmentsLiveMax = chance(0.35) ? whole(2, 5) : whole(20, 60)
  return {
    ingests: chance(0.8) ? 2 : 3,
    compactors: 2,
    queries: 1,
    topicPartitions: whole(1, 3),
    httpClients: whole(1, 2),
    activeMs: between(800, 2000),
    latencyMs: chance(0.5) ? between(1, 10) : between(10, 80),
    slowMs: between(500, 6000),
    lateMs: between(500, 12_000),
    pauseMs: between(2000, 30_000),
    clockSkewMs: chance(0.3) ? between(0, 10_000) : 0,
    store: chance(0.7) ? 'remote' : 'local disk',
    catalog: chance(0.6) ? 'remote' : 'embedded',
    isPartitioned: chance(0.5),
    // It counts live segments, by which flushes become rarer.
    hasUpkeep: chance(0.2) || segmentsLiveMax < 10,
    hasColdStore: chance(0.2),
    hasDaysPassing: chance(0.05),
    flushIntervalMs: between(120, 500),
    flushRows: whole(4, 20),
    memoryMax: whole(13_000, 60_000),
    segmentsLiveMax,
    leasesMs,
    writerSilentMs: leasesMs * between(0.45, 1.2),
    readerSilentMs: between(1500, 6000),
    snapshotMinAgeMs: between(200, 3000),
    snapshotAgeMs: between(100, 1500),
    snapshotBytes: chance(0.5) ? 1 : whole(500, 5000),
    appendBytesMax: chance(0.7) ? 1_000_000 : whole(300, 3000),
    filesMin: whole(2, 4),
    snapshotsMax: whole(1, 5),
    manifestsMax: whole(1, 6),
    compactionIntervalMs: between(600, 2000),
    sweepIntervalMs: between(400, 2500),
  }
}
