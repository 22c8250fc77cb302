/**
 * A producer at a fixed rate, in a process of its own: every 50 ms it sends what is due, spread evenly over the
 * partitions, one batch each, and tells its parent when those records were made and how many they are. When a tick comes
 * late the next one sends more, so the rate holds on average.
 *
 * Arguments as JSON: see `SteadyOptions`. Ends by itself after `seconds`, or when the parent goes away or says so.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { createProducer } from '../../test/harness/produce.ts'
import { recordOf } from '../records.ts'
import type { SteadyMessage, SteadyOptions } from './start-steady-producer.ts'

const TICK_MS = 50

const options = JSON.parse(process.argv[2]) as SteadyOptions
const { topic, partitions, rate, seconds, firstIndex, timeIsNow } = options
let stopped = false
process.on('message', () => {
  stopped = true
})
process.on('disconnect', () => process.exit(1))

const producer = await createProducer(options.bootstrap)
const started = performance.now()
const total = rate * seconds
let sent = 0
for (let tick = 1; sent < total && !stopped; tick += 1) {
  const wait = started + tick * TICK_MS - performance.now()
  if (wait > 0) await sleep(wait)
  const due = Math.min(total, Math.floor(((performance.now() - started) / 1000) * rate))
  // The same number in every partition, so that all of them have records of every tick.
  const each = Math.floor((due - sent) / partitions)
  if (each === 0) continue
  const at = Date.now()
  const sends: Promise<number>[] = []
  for (let partition = 0; partition < partitions; partition += 1) {
    const records = Array.from({ length: each }, (_, index) =>
      recordOf(firstIndex + sent + partition * each + index, timeIsNow ? at : undefined),
    )
    sends.push(producer.send(topic, partition, records, { codec: 'lz4', recordsPerBatch: each }))
  }
  sent += each * partitions
  tell({ kind: 'sent', at, count: each * partitions })
  await Promise.all(sends)
}
tell({ kind: 'end', sent, seconds: (performance.now() - started) / 1000 })
producer.close()
process.disconnect()

function tell(message: SteadyMessage): void {
  process.send!(message)
}
