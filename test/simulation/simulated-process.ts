/**
 * A process of the simulated world: something with a name, a clock, randomness, and a life that can be interrupted.
 *
 *   paused   nothing that is meant for it arrives until it goes on; what it has sent may land meanwhile (a zombie)
 *   crashed  nothing ever arrives again, so none of its continuations can act; what it has sent may still land
 *
 * Both can happen whenever something arrives for it, which is at every await on the world, and a crash also at every named
 * crash point. A process that ends is started again by its supervisor after a while, as a new one with nothing in memory.
 */
import { CrashedHere, seededRandom } from '../../runtime/test-world.ts'
import type { Log, LogFields, World } from '../../runtime/world.ts'
import type { Entry, Verdict } from './scheduler.ts'
import type { Universe } from './universe.ts'

/** Crash points that few histories reach, and those a few times. */
const SELDOM_PASSED = /^(sweep\/|ingest\/after-merge|catalog\/merge-|catalog\/snapshot-|compactor\/after-snapshot)/

export type SimulatedProcess = {
  /** `ingest-1` */
  readonly name: string
  /** `ingest-1.3`: its third life. */
  readonly id: string
  readonly world: World
  isAlive(): boolean
  isPaused(): boolean
  crash(why: string): void
  pause(ms: number): void
  resume(): void
  /** Arrives in this process when the time has come, if it lives then. */
  deliver(delayMs: number, kind: string, detail: string, run: () => void): Entry
  /** Like the crash point of its world, for code that acts for it elsewhere: a process that is dead dies no second time. */
  crashPointElsewhere(name: string): void
}

export type Supervisor = {
  readonly name: string
  current(): SimulatedProcess | undefined
  start(): void
  /** No new life after this one. */
  retire(): void
}

const RESTART_MS = { least: 50, most: 1500 }

/** A new one each time: continuations that wait for it must not be kept by anything. */
export function never(): Promise<never> {
  return new Promise(() => {})
}

export function createProcess(universe: Universe, name: string, life: number, onEnd: () => void): SimulatedProcess {
  const { scheduler, faults } = universe
  const id = `${name}.${life}`
  const skewMicros = BigInt(Math.round(universe.shape.clockSkewMs * 1000 * (scheduler.random.float() - 0.5)))
  let alive = true
  let pausedUntilMs = -1
  const heldBack: Entry[] = []

  function crash(why: string): void {
    if (!alive) return
    alive = false
    scheduler.note(id, 'ends', why)
    onEnd()
  }

  function pause(ms: number): void {
    pausedUntilMs = Math.max(pausedUntilMs, scheduler.nowMs() + ms)
    scheduler.note(id, 'paused', ms.toFixed(0))
    scheduler.after(pausedUntilMs - scheduler.nowMs(), id, 'goes on', '', goOn)
  }

  function goOn(): void {
    if (scheduler.nowMs() < pausedUntilMs) return
    for (const entry of heldBack.splice(0)) scheduler.again(entry)
  }

  function gate(entry: Entry): Verdict {
    if (!alive) return 'drop'
    if (scheduler.nowMs() < pausedUntilMs) {
      heldBack.push(entry)
      return 'held back'
    }
    if (faults.strikes('crash')) {
      crash('crash at an await')
      return 'drop'
    }
    if (faults.strikes('pause')) {
      pause(universe.shape.pauseMs * scheduler.random.float() ** 2)
      heldBack.push(entry)
      return 'held back'
    }
    return 'run'
  }

  function deliver(delayMs: number, kind: string, detail: string, run: () => void): Entry {
    return scheduler.after(delayMs, id, kind, detail, run, gate)
  }

  function crashPointElsewhere(point: string): void {
    universe.tally(`crash point passed: ${point}`)
    const tries = SELDOM_PASSED.test(point) ? 6 : 1
    if (!alive || !Array.from({ length: tries }).some(() => faults.strikes('crash point'))) return
    universe.tally(`crashed at: ${point}`)
    crash(`crash point ${point}`)
    throw new CrashedHere(point)
  }

  const world: World = {
    clock: {
      nowMicros: () => universe.wallMicros() + skewMicros,
      monotonicMs: () => scheduler.nowMs(),
      sleep(ms, signal) {
        if (!alive) return never()
        if (signal?.aborted) return Promise.reject(signal.reason)
        return new Promise((resolve, reject) => {
          const entry = deliver(ms, 'wakes', '', () => {
            signal?.removeEventListener('abort', abort)
            resolve()
          })
          const abort = () => {
            entry.cancelled = true
            reject(signal?.reason)
          }
          signal?.addEventListener('abort', abort, { once: true })
        })
      },
    },
    random: seededRandom(universe.seedFor(id)),
    log: logOf(universe, id, {}),
    crashPoint(point) {
      if (!alive) throw new CrashedHere(point)
      crashPointElsewhere(point)
    },
  }

  return {
    name,
    id,
    world,
    isAlive: () => alive,
    isPaused: () => alive && scheduler.nowMs() < pausedUntilMs,
    crash,
    pause,
    resume() {
      pausedUntilMs = -1
      goOn()
    },
    deliver,
    crashPointElsewhere,
  }
}

/** Starts `boot` as a process, and again after each end. A boot that fails ends the process. */
export function supervise(
  universe: Universe,
  name: string,
  boot: (process: SimulatedProcess) => Promise<void>,
): Supervisor {
  const { scheduler } = universe
  let life = 0
  let retired = false
  let current: SimulatedProcess | undefined

  function start(): void {
    if (retired) return
    life += 1
    const process = createProcess(universe, name, life, () => {
      if (current === process) current = undefined
      if (retired) return
      const pauseMs = RESTART_MS.least + (RESTART_MS.most - RESTART_MS.least) * scheduler.random.float() ** 2
      scheduler.after(pauseMs, name, 'starts again', '', start)
    })
    current = process
    boot(process).catch((error: unknown) => {
      if (process.isAlive()) process.crash(`cannot start: ${error instanceof Error ? error.message : String(error)}`)
    })
  }

  return {
    name,
    current: () => current,
    start,
    retire() {
      retired = true
    },
  }
}

function logOf(universe: Universe, id: string, bound: LogFields): Log {
  const at = (level: string) => (message: string, fields?: LogFields) =>
    universe.logged(id, level, message, { ...bound, ...fields })
  return {
    debug: () => {},
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: (fields) => logOf(universe, id, { ...bound, ...fields }),
  }
}
