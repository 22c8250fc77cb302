import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type AdmissionLimits, createAdmission, type Entrant, type Lane, type Seat } from './admission.ts'

const LIMITS: AdmissionLimits = {
  concurrentMax: 2,
  batchConcurrentMax: 1,
  queueMax: 10,
  userConcurrentMax: 2,
  userQueueMax: 10,
}
const NEVER = new AbortController().signal

function start(limits: Partial<AdmissionLimits> = {}) {
  let nowMs = 0
  const refusals: string[] = []
  const admission = createAdmission({
    limits: { ...LIMITS, ...limits },
    monotonicMs: () => nowMs,
    refused: (reason) => void refusals.push(reason),
  })
  const order: string[] = []
  return {
    admission,
    order,
    refusals,
    pass(ms: number) {
      nowMs += ms
    },
    /** Tells `order` when it has a seat. */
    enter(name: string, user: string | undefined = name, more: Partial<Entrant> = {}, signal = NEVER): Promise<Seat> {
      const entering = admission.enter({ user, priority: 'interactive', ...more }, signal)
      entering.then(
        () => void order.push(name),
        () => {},
      )
      return entering
    },
  }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

test('runs so many, lets so many wait in order, refuses the next', async () => {
  const { admission, enter, order, refusals } = start({ concurrentMax: 1, queueMax: 2 })
  const first = await enter('1', undefined)
  const second = enter('2', undefined)
  const third = enter('3', undefined)
  await expect(enter('4', undefined)).rejects.toMatchObject({ code: 'overloaded', status: 429 })
  expect([admission.running, admission.waiting, refusals]).toEqual([1, 2, ['queue']])
  first.leave()
  first.leave()
  ;(await second).leave()
  ;(await third).leave()
  expect(order).toEqual(['1', '2', '3'])
  expect([admission.running, admission.waiting]).toEqual([0, 0])
})

test('who leaves while waiting frees the place in the queue', async () => {
  const { admission, enter } = start({ concurrentMax: 1, queueMax: 1 })
  const seat = await enter('a')
  const abort = new AbortController()
  const waiting = enter('b', 'b', {}, abort.signal)
  abort.abort(new Error('gone'))
  await expect(waiting).rejects.toThrow('gone')
  expect(admission.waiting).toBe(0)
  await expect(enter('c', 'c', {}, abort.signal)).rejects.toThrow('gone')
  seat.leave()
  expect(admission.running).toBe(0)
})

test("a hundred queries of one user leave a place for another's one", async () => {
  const { admission, enter, order } = start({ concurrentMax: 4, userConcurrentMax: 3, queueMax: 200, userQueueMax: 99 })
  for (let i = 0; i < 102; i++) enter(`mass-${i}`, 'mass').catch(() => {})
  await expect(enter('one too many', 'mass')).rejects.toMatchObject({ code: 'overloaded', facts: { waiting: 99 } })
  await enter('other')
  expect([admission.running, admission.waiting, order.at(-1)]).toEqual([4, 99, 'other'])
})

test('seats that become free go round among users, not to whoever asked most', async () => {
  const { enter, order } = start({ concurrentMax: 1, queueMax: 100, userConcurrentMax: 1 })
  const seats = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].map((name) => enter(name, name[0]))
  for (const expected of ['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4']) {
    await settled()
    expect(order.at(-1)).toBe(expected)
    ;(await seats[['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].indexOf(expected)]).leave()
  }
})

test("a token's own limits stand in place of the settings'", async () => {
  const { admission, enter } = start({ concurrentMax: 5, userConcurrentMax: 1 })
  const generous = { userConcurrentMax: 3, userQueueMax: 1 }
  for (const name of ['1', '2', '3', '4']) void enter(name, 'bi', generous)
  await settled()
  expect([admission.running, admission.waiting]).toEqual([3, 1])
  await expect(enter('5', 'bi', generous)).rejects.toMatchObject({ code: 'overloaded' })
})

test('a query that is moved gives its seat up at once and waits for a batch seat before those that asked for batch', async () => {
  const { admission, enter, order } = start({ concurrentMax: 1, batchConcurrentMax: 1, queueMax: 10 })
  const running = await enter('batch-1', 'x', { priority: 'batch' })
  const patient = enter('batch-2', 'y', { priority: 'batch' })
  const heavy = await enter('heavy')
  const next = enter('next')
  const moving = heavy.moveToBatch(NEVER).then(() => order.push('heavy moved'))
  expect((await next).lane).toBe('interactive')
  expect([admission.in('interactive'), admission.in('batch')]).toEqual([
    { running: 1, waiting: 0 },
    { running: 1, waiting: 2 },
  ])
  running.leave()
  await moving
  expect([heavy.lane, order.at(-1)]).toEqual(['batch', 'heavy moved'])
  heavy.leave()
  expect((await patient).lane).toBe('batch')
})

test('who asked for batch has every fourth seat, however many are moved there', async () => {
  const { enter, order } = start({ concurrentMax: 30, userConcurrentMax: 30, queueMax: 100 })
  const first = await enter('first', 'p', { priority: 'batch' })
  const patient = enter('patient', 'p', { priority: 'batch' })
  const moved: Seat[] = []
  for (let i = 0; i < 10; i++) moved.push(await enter(`m${i}`, `user-${i}`))
  const moving = moved.map(async (seat, i) => {
    await seat.moveToBatch(NEVER)
    order.push(`moved-${i}`)
    seat.leave()
  })
  first.leave()
  ;(await patient).leave()
  await Promise.all(moving)
  const place = order.slice(order.indexOf('m9') + 1).indexOf('patient')
  expect(place).toBeGreaterThan(0)
  expect(place).toBeLessThan(4)
})

test('when to come back grows with the queue and with how long queries take', async () => {
  const { enter, pass } = start({ concurrentMax: 1, queueMax: 0 })
  const retryAfter = async () => {
    const error = await enter('refused').catch((caught: unknown) => caught)
    return (error as { facts: { retryAfterS: number } }).facts.retryAfterS
  }
  const seat = await enter('long')
  expect(await retryAfter()).toBe(1)
  pass(40_000)
  expect(await retryAfter()).toBe(40)
  pass(4_000_000)
  expect(await retryAfter()).toBe(300)
  seat.leave()
})

test('never more than there are seats, shares kept, nobody forgotten', async () => {
  const steps = fc.array(
    fc.record({
      user: fc.constantFrom('a', 'b', 'c', undefined),
      what: fc.constantFrom<'enter' | 'batch' | 'leave' | 'move' | 'abort'>(
        'enter',
        'enter',
        'batch',
        'leave',
        'move',
        'abort',
      ),
      which: fc.nat(20),
    }),
    { maxLength: 60 },
  )
  await fc.assert(
    fc.asyncProperty(steps, async (given) => {
      const { admission } = start({
        concurrentMax: 3,
        batchConcurrentMax: 2,
        userConcurrentMax: 2,
        queueMax: 6,
        userQueueMax: 3,
      })
      const seats: { seat: Seat; user: string | undefined; isMoving: boolean }[] = []
      const waiting = new Set<AbortController>()
      for (const { user, what, which } of given) {
        if (what === 'enter' || what === 'batch') {
          const abort = new AbortController()
          waiting.add(abort)
          const priority: Lane = what === 'batch' ? 'batch' : 'interactive'
          admission.enter({ user, priority }, abort.signal).then(
            (seat) => {
              waiting.delete(abort)
              seats.push({ seat, user, isMoving: false })
            },
            () => void waiting.delete(abort),
          )
        } else if (what === 'abort') [...waiting][which % Math.max(1, waiting.size)]?.abort(new Error('gone'))
        else {
          const entry = seats[which % Math.max(1, seats.length)]
          if (entry && !entry.isMoving && what === 'leave') {
            entry.seat.leave()
            seats.splice(seats.indexOf(entry), 1)
          } else if (entry && !entry.isMoving) {
            entry.isMoving = true
            const gone = () => void seats.splice(seats.indexOf(entry), 1)
            entry.seat.moveToBatch(NEVER).then(() => (entry.isMoving = false), gone)
          }
        }
        await settled()
        const held = seats.filter((entry) => !entry.isMoving)
        expect(admission.running).toBe(held.length)
        expect(admission.in('interactive').running).toBeLessThanOrEqual(3)
        expect(admission.in('batch').running).toBeLessThanOrEqual(2)
        for (const name of ['a', 'b', 'c']) {
          expect(held.filter((entry) => entry.user === name).length).toBeLessThanOrEqual(2)
        }
      }
      // Whoever waits is served when everybody else goes.
      for (let round = 0; round < 200 && admission.running + admission.waiting > 0; round++) {
        for (const entry of seats.filter((each) => !each.isMoving)) {
          entry.seat.leave()
          seats.splice(seats.indexOf(entry), 1)
        }
        await settled()
      }
      expect([admission.running, admission.waiting]).toEqual([0, 0])
    }),
    { numRuns: 60 },
  )
})
