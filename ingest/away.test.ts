// Catalog or store away while rows keep coming: memory is bounded, health knows, and afterwards all is there once (G-6, G-13).
import { afterEach, expect, test } from 'vitest'
import { MillraceError } from '../schemas/errors.ts'
import { openSampleLake, type SampleLake } from './http-samples.ts'

const MEMORY_MAX = 400_000
/** Requests that were let in while there was room: fifty come at once. */
const LET_IN = 50 * 4_000

let lake: SampleLake
afterEach(() => lake.close())

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

test.each([
  { what: 'catalog', reason: 'catalog: away' },
  { what: 'store', reason: 'segment upload: away' },
] as const)('a $what that is away for long', async ({ what, reason }) => {
  lake = await openSampleLake(1, { memoryMax: MEMORY_MAX })
  let isAway = false
  const guarded = async <T>(which: typeof what, work: () => Promise<T>): Promise<T> => {
    if (isAway && which === what) {
      throw new MillraceError(which === 'catalog' ? 'catalog-busy' : 'store-unavailable', 'away')
    }
    return work()
  }
  const process = await lake.startProcess({
    catalog: { ...lake.catalog, commitTick: (tick) => guarded('catalog', () => lake.catalog.commitTick(tick)) },
    store: { ...lake.store, put: (...args) => guarded('store', () => lake.store.put(...args)) },
  })
  await lake.settled(process.send('{"id": 0}', { producer: 'first', sequence: 0 }))

  isAway = true
  let held = 0
  let accepted = 0
  const requests: Promise<unknown>[] = []
  // One row each, acknowledged before it is committed: nothing but memory holds them back.
  for (let index = 0; index < 3000; index += 1) {
    const sent = process.send(`{"id": ${index}}`, { producer: `p${index}`, sequence: 0, ack: 'buffered' })
    requests.push(
      sent.then(() => {
        accepted += 1
      }),
    )
    if (index % 50 === 0) await turns(2)
    held = Math.max(held, process.intake.bytesHeld)
  }
  await turns(50)
  expect(accepted).toBeLessThan(3000)
  expect(accepted).toBeGreaterThan(100)
  expect(held).toBeLessThan(MEMORY_MAX + LET_IN)
  const now = process.intake.bytesHeld
  await turns(200)
  expect(process.intake.bytesHeld).toBe(now)
  expect(process.troubles.at(-1)).toBe(reason)

  isAway = false
  await lake.settled(Promise.all(requests))
  await process.intake.drain()
  expect(process.troubles.at(-1)).toBeUndefined()
  expect(process.fatal).toEqual([])
  const rows = (await lake.rows()).map(({ _source, _offset }) => `${_source}/${_offset}`)
  expect(rows.sort()).toEqual(['http:first/0', ...Array.from({ length: 3000 }, (_, i) => `http:p${i}/0`)].sort())
  expect(process.intake.bytesHeld).toBe(0)
})
