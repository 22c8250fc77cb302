/**
 * What goes on around the processes while faults are on: records are produced, groups rebalance, logs lose their end or
 * their beginning, topics are made anew, clocks jump, the power fails, and a human answers topic-partitions that wait for a
 * decision.
 */
import type { IngestDoors } from './ingest-process.ts'
import type { Lake } from './lake.ts'
import { logEnd, TOPIC } from './simulated-kafka.ts'
import type { Supervisor } from './simulated-process.ts'
import { losePower } from './simulated-store.ts'

const DAY_MS = 24 * 3_600_000

export type Happenings = {
  start(): void
  stop(): void
  /** A human who looks now; also after faults have stopped. */
  decide(): void
}

export function createHappenings(
  lake: Lake,
  supervisors: readonly Supervisor[],
  doors: () => readonly IngestDoors[],
): Happenings {
  const { universe, broker } = lake
  const { scheduler, shape, tally } = universe
  const { random } = scheduler
  let stopped = false

  /** Again and again, at moments around `meanMs` apart. */
  function nowAndThen(actor: string, kind: string, meanMs: number, act: () => void): void {
    const next = () => {
      scheduler.after(meanMs * (0.3 + 1.4 * random.float()), actor, kind, '', () => {
        if (stopped) return
        act()
        next()
      })
    }
    next()
  }

  function anyLog() {
    const { logs } = broker.topic()
    return logs[Math.floor(random.float() * logs.length)]
  }

  function produce(): void {
    const log = anyLog()
    if (log.isBroken) return
    broker.produce(log, 1 + Math.floor(random.float() * 6))
  }

  function once(kind: string, share: number, act: () => void): void {
    if (random.float() >= share) return
    scheduler.after(shape.activeMs * (0.15 + 0.8 * random.float()), 'world', kind, '', () => {
      if (stopped) return
      tally(`fault: ${kind}`)
      act()
    })
  }

  function decide(): void {
    for (const { process, pipeline } of doors()) {
      for (const id of pipeline.state.needsDecision.keys()) {
        const partition = Number(id.slice(id.lastIndexOf('/') + 1))
        const log = broker.topic().logs[partition]
        const draw = random.float()
        const from = draw < 0.5 ? 'earliest' : draw < 0.8 ? 'latest' : BigInt(log.logStart)
        process.deliver(universe.latencyMs(), 'decide', `${id} ${from}`, () => {
          pipeline.decide(TOPIC, partition, from).then(
            () => {
              tally('decided by a human')
              log.isBroken = false
              log.fetchedTo = Math.min(log.fetchedTo, logEnd(log))
            },
            () => {},
          )
        })
      }
    }
  }

  return {
    start() {
      nowAndThen('producer', 'produces', 350, produce)
      nowAndThen('human', 'looks', 2500, decide)
      if (random.float() < 0.5) {
        nowAndThen('group', 'rebalance', 2500, () => {
          tally('fault: rebalance')
          if (doors().some(({ intake }) => !intake.tick.isEmpty)) tally('fault: rebalance in the middle of a tick')
          broker.rebalance()
        })
      }
      once('topic recreated', 0.12, broker.recreate)
      // A log that nobody writes to any more is looked at again by upkeep alone.
      if (shape.hasUpkeep) once('log truncated', 0.3, () => broker.truncate(anyLog()))
      once('retention passed', 0.2, () => broker.passRetention(anyLog()))
      for (let i = 0; i < 2; i += 1) {
        once('clock forward', 0.25, () => universe.jumpClock(20_000 * random.float()))
        once('clock back', 0.2, () => universe.jumpClock(-20_000 * random.float()))
      }
      if (shape.hasDaysPassing) once('days pass', 0.8, () => universe.jumpClock(DAY_MS * (0.5 + 8 * random.float())))
      if (shape.store === 'local disk') {
        once('power loss', 0.3, () => {
          for (const supervisor of supervisors) supervisor.current()?.crash('power loss')
          losePower(universe, lake.bucket)
        })
      }
    },
    stop() {
      stopped = true
    },
    decide,
  }
}
