import { expect, test } from 'vitest'
import { createAdmission } from './admission.ts'

test('runs so many, lets so many wait in order, refuses the next', async () => {
  const admission = createAdmission({ concurrentMax: 1, queueMax: 2 })
  const signal = new AbortController().signal
  const leave = await admission.enter(signal)
  const order: number[] = []
  const second = admission.enter(signal).then((out) => {
    order.push(2)
    return out
  })
  const third = admission.enter(signal).then((out) => {
    order.push(3)
    return out
  })
  await expect(admission.enter(signal)).rejects.toMatchObject({ code: 'overloaded', status: 429 })
  expect([admission.running, admission.waiting]).toEqual([1, 2])
  leave()
  leave()
  ;(await second)()
  ;(await third)()
  expect(order).toEqual([2, 3])
  expect([admission.running, admission.waiting]).toEqual([0, 0])
})

test('who leaves while waiting frees the place in the queue', async () => {
  const admission = createAdmission({ concurrentMax: 1, queueMax: 1 })
  const leave = await admission.enter(new AbortController().signal)
  const abort = new AbortController()
  const waiting = admission.enter(abort.signal)
  abort.abort(new Error('gone'))
  await expect(waiting).rejects.toThrow('gone')
  expect(admission.waiting).toBe(0)
  leave()
  expect(admission.running).toBe(0)
})
