/**
 * A request from a process to a service and its answer, each on its way for a while, with what may happen to it on the way
 * (see `faults.ts`). The work is done at the moment the request lands, all of it at once. What a process has sent lands
 * even when that process is paused or dead by then, or is lost with it.
 *
 * A service can also live inside the process that asks (a local disk, an embedded database): then a request of a dead
 * process never does anything, and one of a paused process waits.
 */
import { never, type SimulatedProcess } from './simulated-process.ts'
import type { Universe } from './universe.ts'

export type RequestOptions = {
  readonly service: 'store' | 'catalog' | 'kafka'
  readonly verb: string
  readonly detail: string
  /** The service lives inside the asking process. */
  readonly isInside: boolean
  /** What the caller hears when it hears nothing. */
  unavailable(why: string): Error
}

/** A request of a process that died lands all the same with this chance, if it was on its way. */
const LANDS_AFTER_DEATH = 0.6
const TIMEOUT_MS = 4000

export function request<T>(
  universe: Universe,
  process: SimulatedProcess,
  options: RequestOptions,
  work: () => Promise<T>,
): Promise<T> {
  if (!process.isAlive()) return never()
  const { scheduler, faults } = universe
  const { service, verb, detail, isInside } = options
  const kind = `${service}.${verb}`
  let fate = faults.fate()
  // There are few of them in a history, and most can go wrong.
  for (let draws = 1; verb === 'commitSnapshot' && fate === 'ok' && draws < 12; draws += 1) fate = faults.fate()
  // A database does a statement once; it may do it late. Commits have ids, so that twice is no more than once.
  if (service === 'catalog' && fate === 'duplicated' && !verb.startsWith('commit')) fate = 'slow'
  if (isInside && (fate === 'late' || fate === 'duplicated' || fate === 'lost request')) fate = 'refused'

  return new Promise<T>((resolve, reject) => {
    const answer = (what: string, settle: () => void) => {
      process.deliver(universe.latencyMs(), `${kind} answered`, what, settle)
    }
    const fail = (afterMs: number, why: string) => {
      process.deliver(afterMs, `${kind} failed`, why, () => reject(options.unavailable(why)))
    }
    const land = (delayMs: number, isHeard: boolean) => {
      const run = () => {
        if (!isInside && !process.isAlive() && scheduler.random.float() >= LANDS_AFTER_DEATH) return
        if (!process.isAlive()) universe.tally(`landed after its process died: ${kind}`)
        work().then(
          (value) => {
            if (isHeard) answer('', () => resolve(value))
          },
          (error: unknown) => {
            if (isHeard) answer(error instanceof Error ? error.message : String(error), () => reject(error))
          },
        )
      }
      if (isInside) process.deliver(delayMs, kind, detail, run)
      else scheduler.after(delayMs, process.id, kind, detail, run)
    }

    switch (fate) {
      case 'ok':
        land(universe.latencyMs(), true)
        return
      case 'slow':
        land(universe.latencyMs() + universe.shape.slowMs * scheduler.random.float(), true)
        return
      case 'refused':
        fail(universe.latencyMs(), 'refused on purpose')
        return
      case 'lost request':
        fail(TIMEOUT_MS * scheduler.random.float(), 'the request was lost on purpose')
        return
      case 'lost reply':
        land(universe.latencyMs(), false)
        fail(TIMEOUT_MS * scheduler.random.float() + 20, 'the answer was lost on purpose')
        return
      case 'late': {
        const heardMs = TIMEOUT_MS * scheduler.random.float()
        fail(heardMs, 'the request was late on purpose')
        land(heardMs + universe.shape.lateMs * scheduler.random.float() ** 2, false)
        return
      }
      case 'duplicated':
        land(universe.latencyMs(), true)
        land(universe.latencyMs() + universe.shape.lateMs * scheduler.random.float() ** 2, false)
        return
    }
  })
}
