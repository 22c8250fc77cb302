/**
 * What goes wrong in a run, and how often. Each seed switches every kind of fault on or off and gives it a rate of its own,
 * so that some histories are calm but for one kind, and others have everything at once. All draws come from the
 * scheduler's stream; when the run settles, all rates are 0.
 *
 * The fates of a request:
 *
 *   ok              it arrives, does its work, the answer comes
 *   refused         it does nothing and says so (503, busy)
 *   lost request    it never arrives; the caller hears "unavailable" after a while
 *   lost reply      it does its work; the caller hears "unavailable"
 *   late            the caller hears "unavailable", and later the request arrives and does its work
 *   duplicated      it arrives twice, the second time later; the caller hears the first answer
 *   slow            as ok, seconds later
 */
import type { Random } from '../../runtime/world.ts'

export type Fate = 'ok' | 'refused' | 'lost request' | 'lost reply' | 'late' | 'duplicated' | 'slow'

const FATES = ['refused', 'lost request', 'lost reply', 'late', 'duplicated', 'slow'] as const

export type FaultKind =
  | (typeof FATES)[number]
  | 'pause'
  | 'crash'
  | 'crash point'
  | 'power loss'
  | 'torn write'
  | 'unsynced name lost'
  | 'clock forward'
  | 'clock back'
  | 'days pass'
  | 'rebalance'
  | 'topic recreated'
  | 'log truncated'
  | 'retention passed'
  | 'connection lost'
  | 'tick torn apart by a rebalance'

/** Chance of each opportunity at full rate. */
const FULL_RATE: Readonly<Record<(typeof FATES)[number] | 'pause' | 'crash' | 'crash point', number>> = {
  refused: 0.03,
  'lost request': 0.02,
  'lost reply': 0.04,
  late: 0.025,
  duplicated: 0.03,
  slow: 0.05,
  pause: 0.01,
  crash: 0.006,
  'crash point': 0.05,
}

export type Faults = {
  fate(): Fate
  /** Does this fault strike at this opportunity? */
  strikes(kind: 'pause' | 'crash' | 'crash point'): boolean
  isOn(): boolean
  stop(): void
  start(): void
}

export function createFaults(random: Random, count: (kind: FaultKind) => void): Faults {
  const rates = new Map<string, number>()
  for (const [kind, full] of Object.entries(FULL_RATE)) {
    const isUsed = random.float() < 0.5
    const share = 0.25 + 0.75 * random.float()
    rates.set(kind, isUsed ? full * share : 0)
  }
  let on = false
  return {
    fate() {
      if (!on) return 'ok'
      let draw = random.float()
      for (const fate of FATES) {
        draw -= rates.get(fate) as number
        if (draw >= 0) continue
        count(fate)
        return fate
      }
      return 'ok'
    },
    strikes(kind) {
      if (!on) return false
      const rate = rates.get(kind) as number
      if (rate === 0 || random.float() >= rate) return false
      count(kind)
      return true
    },
    isOn: () => on,
    stop() {
      on = false
    },
    start() {
      on = true
    },
  }
}
