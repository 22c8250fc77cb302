/**
 * The one queue in front of all engines, for every door. A query enters, gets a seat, and leaves it when it is over.
 *
 *   interactive   `concurrentMax` seats, all in one engine: small questions
 *   batch         one seat for each batch engine: requests that say so, and what turned out heavy and was moved here.
 *                 Its seats are its own, so that neither kind can keep the other from running
 *
 * Who is next: among users whose share is not used up (`userConcurrentMax` at once, over both lanes), the one with the
 * fewest seats in that lane, then the one that has not been served for longest; within a user, who came first. In the
 * batch lane a moved query goes before one that asked for batch, but every BATCH_TURN-th seat is for the latter.
 *
 * A full queue, or a user's full part of it, is refused with `overloaded` (429) and an estimate of when to come back: how
 * long the queries ahead will take at the pace of late. A waiter whose client leaves, or whose time is up, leaves the queue.
 */
import { MillraceError } from '../../schemas/errors.ts'

export type Lane = 'interactive' | 'batch'

export type Entrant = {
  /** Name of the token, or of whoever a door knows; undefined: nobody is told apart, and no share is kept. */
  readonly user: string | undefined
  readonly priority: Lane
  /** Lower or higher than the settings say, for this user. */
  readonly userConcurrentMax?: number
  readonly userQueueMax?: number
}

export type Seat = {
  readonly lane: Lane
  /** Which of the seats of its lane: which batch engine. */
  readonly number: number
  /** Gives its seat up and waits for one of the batch lane. Throws `overloaded` when the queue is full. */
  moveToBatch(signal: AbortSignal): Promise<void>
  leave(): void
}

export type Admission = {
  enter(entrant: Entrant, signal: AbortSignal): Promise<Seat>
  readonly running: number
  readonly waiting: number
  in(lane: Lane): { readonly running: number; readonly waiting: number }
}

export type AdmissionLimits = {
  readonly concurrentMax: number
  readonly batchConcurrentMax: number
  readonly queueMax: number
  readonly userConcurrentMax: number
  readonly userQueueMax: number
}

export type AdmissionParts = {
  readonly limits: AdmissionLimits
  readonly monotonicMs: () => number
  /** Told of every refusal: `queue` or `user`. */
  readonly refused?: (reason: 'queue' | 'user') => void
}

type Waiter = {
  readonly entrant: Entrant
  readonly order: number
  /** Asked for batch, rather than moved there. */
  readonly isPatient: boolean
  readonly admit: (number: number) => void
}

type LaneState = {
  readonly lane: Lane
  readonly capacity: number
  /** When each taken seat was taken. */
  readonly taken: Map<number, number>
  readonly waiters: Map<string | undefined, Waiter[]>
  readonly runningOf: Map<string | undefined, number>
  readonly servedAt: Map<string | undefined, number>
  waiting: number
  served: number
  /** How long a query takes here, of late. */
  meanMs: number
}

/** In the batch lane, every so many seats go to those that asked for batch, whoever else waits. */
const BATCH_TURN = 4
const MEAN_FIRST_MS = 1_000
const MEAN_WEIGHT = 0.2
const RETRY_AFTER_MAX_S = 300

export function createAdmission({ limits, monotonicMs, refused }: AdmissionParts): Admission {
  const lanes: Readonly<Record<Lane, LaneState>> = {
    interactive: laneState('interactive', limits.concurrentMax),
    batch: laneState('batch', limits.batchConcurrentMax),
  }
  let order = 0

  function runningOf(user: string | undefined): number {
    return (lanes.interactive.runningOf.get(user) ?? 0) + (lanes.batch.runningOf.get(user) ?? 0)
  }

  function waitingOf(user: string | undefined): number {
    return (lanes.interactive.waiters.get(user)?.length ?? 0) + (lanes.batch.waiters.get(user)?.length ?? 0)
  }

  function hasShareLeft({ user, userConcurrentMax }: Entrant): boolean {
    return user === undefined || runningOf(user) < (userConcurrentMax ?? limits.userConcurrentMax)
  }

  function take(lane: LaneState, { user }: Entrant): number {
    let number = 0
    while (lane.taken.has(number)) number += 1
    lane.taken.set(number, monotonicMs())
    lane.runningOf.set(user, (lane.runningOf.get(user) ?? 0) + 1)
    lane.served += 1
    lane.servedAt.set(user, lane.served)
    return number
  }

  function giveBack(lane: LaneState, { user }: Entrant, number: number): void {
    const tookMs = monotonicMs() - (lane.taken.get(number) ?? monotonicMs())
    lane.meanMs += (tookMs - lane.meanMs) * MEAN_WEIGHT
    lane.taken.delete(number)
    const left = (lane.runningOf.get(user) ?? 1) - 1
    if (left > 0) lane.runningOf.set(user, left)
    else lane.runningOf.delete(user)
    if (left <= 0 && !lane.waiters.has(user)) lane.servedAt.delete(user)
  }

  function nextWaiter(lane: LaneState): Waiter | undefined {
    let best: Waiter | undefined
    const isTurnOfPatient = lane.served % BATCH_TURN === BATCH_TURN - 1
    for (const waiters of lane.waiters.values()) {
      // A user's own queries keep their order, but one that asked for batch lets those pass that were moved.
      const first = waiters.find((waiter) => waiter.isPatient === isTurnOfPatient) ?? waiters[0]
      if (!hasShareLeft(first.entrant)) continue
      if (best === undefined || isBefore(lane, first, best, isTurnOfPatient)) best = first
    }
    return best
  }

  /** Seats that are free go to those that wait; also after a change in the other lane, for shares count over both. */
  function dispatch(): void {
    for (const lane of Object.values(lanes)) {
      while (lane.taken.size < lane.capacity && lane.waiting > 0) {
        const next = nextWaiter(lane)
        if (!next) break
        remove(lane, next)
        next.admit(take(lane, next.entrant))
      }
    }
  }

  function remove(lane: LaneState, waiter: Waiter): void {
    const { user } = waiter.entrant
    const waiters = lane.waiters.get(user) ?? []
    const index = waiters.indexOf(waiter)
    if (index < 0) return
    waiters.splice(index, 1)
    lane.waiting -= 1
    if (waiters.length > 0) return
    lane.waiters.delete(user)
    if (!lane.runningOf.has(user)) lane.servedAt.delete(user)
  }

  function seatIn(lane: LaneState, entrant: Entrant, isPatient: boolean, signal: AbortSignal): Promise<number> {
    if (lane.taken.size < lane.capacity && lane.waiting === 0 && hasShareLeft(entrant)) {
      return Promise.resolve(take(lane, entrant))
    }
    refuseWhenFull(lane, entrant)
    return new Promise<number>((resolve, reject) => {
      const onAbort = () => {
        remove(lane, waiter)
        reject(signal.reason)
      }
      const waiter: Waiter = {
        entrant,
        isPatient,
        order: order++,
        admit(number) {
          signal.removeEventListener('abort', onAbort)
          resolve(number)
        },
      }
      signal.addEventListener('abort', onAbort, { once: true })
      const waiters = lane.waiters.get(entrant.user)
      if (waiters) waiters.push(waiter)
      else lane.waiters.set(entrant.user, [waiter])
      lane.waiting += 1
      dispatch()
    })
  }

  function refuseWhenFull(lane: LaneState, entrant: Entrant): void {
    const running = lanes.interactive.taken.size + lanes.batch.taken.size
    const waiting = lanes.interactive.waiting + lanes.batch.waiting
    const { user } = entrant
    const userMax = entrant.userQueueMax ?? limits.userQueueMax
    const isUsers = user !== undefined && waitingOf(user) >= userMax
    if (!isUsers && waiting < limits.queueMax) return
    const own = Math.min(entrant.userConcurrentMax ?? limits.userConcurrentMax, lane.capacity)
    const retryAfterS = isUsers
      ? retryAfterSeconds(lane, waitingOf(user), own)
      : retryAfterSeconds(lane, lane.waiting, lane.capacity)
    refused?.(isUsers ? 'user' : 'queue')
    const [who, counts] = isUsers
      ? [`of "${user}" `, { running: runningOf(user), waiting: waitingOf(user) }]
      : ['', { running, waiting }]
    throw new MillraceError(
      'overloaded',
      `${counts.running} queries ${who}run and ${counts.waiting} wait, no more may wait; try again in about ${retryAfterS} s`,
      { facts: { ...counts, retryAfterS } },
    )
  }

  /** When one more would have had its turn; queries that run for long already count with the time they have taken. */
  function retryAfterSeconds(lane: LaneState, ahead: number, seats: number): number {
    const now = monotonicMs()
    const soFar = [...lane.taken.values()].reduce((sum, since) => sum + (now - since), 0) / Math.max(1, lane.taken.size)
    const ms = (Math.max(lane.meanMs, soFar) * (ahead + 1)) / Math.max(1, seats)
    return Math.min(RETRY_AFTER_MAX_S, Math.max(1, Math.ceil(ms / 1000)))
  }

  return {
    get running() {
      return lanes.interactive.taken.size + lanes.batch.taken.size
    },
    get waiting() {
      return lanes.interactive.waiting + lanes.batch.waiting
    },
    in: (lane) => ({ running: lanes[lane].taken.size, waiting: lanes[lane].waiting }),
    async enter(entrant, signal) {
      signal.throwIfAborted()
      let lane = lanes[entrant.priority]
      let number: number | undefined = await seatIn(lane, entrant, entrant.priority === 'batch', signal)
      const giveUp = () => {
        if (number === undefined) return
        giveBack(lane, entrant, number)
        number = undefined
        dispatch()
      }
      return {
        get lane() {
          return lane.lane
        },
        get number() {
          return number ?? 0
        },
        async moveToBatch(moveSignal) {
          if (lane.lane === 'batch') return
          moveSignal.throwIfAborted()
          giveUp()
          lane = lanes.batch
          number = await seatIn(lane, entrant, false, moveSignal)
        },
        leave: giveUp,
      }
    },
  }
}

function isBefore(lane: LaneState, a: Waiter, b: Waiter, isTurnOfPatient: boolean): boolean {
  if (a.isPatient !== b.isPatient) return a.isPatient === isTurnOfPatient
  const [userA, userB] = [a.entrant.user, b.entrant.user]
  const running = (lane.runningOf.get(userA) ?? 0) - (lane.runningOf.get(userB) ?? 0)
  if (running !== 0) return running < 0
  const served = (lane.servedAt.get(userA) ?? 0) - (lane.servedAt.get(userB) ?? 0)
  return served !== 0 ? served < 0 : a.order < b.order
}

function laneState(lane: Lane, capacity: number): LaneState {
  return {
    lane,
    capacity,
    taken: new Map(),
    waiters: new Map(),
    runningOf: new Map(),
    servedAt: new Map(),
    waiting: 0,
    served: 0,
    meanMs: MEAN_FIRST_MS,
  }
}
