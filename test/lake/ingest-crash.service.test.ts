// kill -9 of ingest at every crash point (G-1, G-2, G-4): a producer that sends a request again until it is answered loses
// nothing and doubles nothing, and a table and its dead letters are committed together or not at all.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { StartedProcess } from '../harness/processes.ts'
import { crashPointsInSource } from './crash-points.ts'
import { createProducer, type Lake, openLake, type Producer, SMALL_STEPS } from './open-lake.ts'

const POINTS = [
  'catalog/merge-after-commit',
  'catalog/merge-before-commit',
  'catalog/tick-after-commit',
  'catalog/tick-before-commit',
  'ingest/after-commit',
  'ingest/after-merge',
  'ingest/after-merged-file',
  'ingest/after-segment-file',
  'ingest/before-commit',
  'ingest/before-segment-file',
  'ingest/between-segments',
]
/** The first pass stands at the table's segment, the second one at the segment of its dead letters. */
const PASSES = [
  ...POINTS,
  'ingest/before-segment-file:2',
  'ingest/after-segment-file:2',
  'ingest/between-segments:2',
  // A commit before the one that dies: what was answered stays.
  'ingest/before-commit:2',
  'catalog/tick-before-commit:3',
  // Merging live segments: the first pass is the table's, the second one its dead letters'.
  'ingest/after-merged-file:2',
]

const GOOD = 8
const BAD = 2
const REQUESTS = 4
/** Until live segments are merged, for the points that stand there. */
const REQUESTS_MAX = 40
/** Nobody takes segments over, so that ingest merges its own every few requests. */
const LIVE_MAX = 8
const STEPS = SMALL_STEPS.replace('flush.interval.ms: 50', 'flush.interval.ms: 10')

let lake: Lake
beforeAll(async () => {
  lake = await openLake(`${STEPS}
segments.live.max: ${LIVE_MAX}
tables:
  events:
    columns: { id: long required, amount: int }
`)
})
afterAll(async () => {
  await lake?.close()
})

test('every crash point of ingest in the source is one of these', () => {
  const own = crashPointsInSource().filter((name) => /^(?:ingest\/|catalog\/(?:merge|tick)-)/.test(name))
  expect(own).toEqual(POINTS)
})

async function counts(name: string) {
  if (!(await lake.catalog.findTable(name))) return { rows: 0, places: 0 }
  const [row] = await lake.rows(
    name,
    'SELECT count(*) AS rows, count(DISTINCT (_source, _partition, _offset)) AS places FROM rows',
  )
  return { rows: Number(row.rows), places: Number(row.places) }
}

test.each(PASSES)('a producer goes on after a kill at %s', { timeout: 180_000 }, async (point) => {
  const before = await counts('events')
  const deadBefore = await counts('events__dead_letters')
  let ingest: StartedProcess = await lake.millrace.start('ingest', { crashAt: point })
  let kills = 0
  const producer: Producer = createProducer(lake.millrace, 'events', `p-${point}`, async () => {
    const ended = await Promise.race([ingest.exited, sleep(20)])
    if (!ended) return
    expect(ended.signal).toBe('SIGKILL')
    kills += 1
    // Both or neither, while nobody runs that could mend it.
    const rows = (await counts('events')).rows - before.rows
    const dead = (await counts('events__dead_letters')).rows - deadBefore.rows
    expect(rows / GOOD).toBe(dead / BAD)
    expect(Number.isInteger(rows / GOOD)).toBe(true)
    ingest = await lake.millrace.start('ingest')
  })
  for (let request = 0; request < REQUESTS || (kills === 0 && request < REQUESTS_MAX); request++) {
    const first = producer.next
    const lines = Array.from({ length: GOOD + BAD }, (_, i) =>
      i % 5 === 4 ? `{"id": ${first + i}, "amount": "broken` : JSON.stringify({ id: first + i, amount: 7 }),
    )
    const answer = await producer.send(lines, '?errors=dead-letter')
    expect(answer.next_sequence).toBe(String(first + lines.length))
    // Answered is visible (G-4).
    expect((await counts('events')).rows - before.rows).toBe((request + 1) * GOOD)
    expect((await lake.live('events')).segments.length).toBeLessThanOrEqual(LIVE_MAX)
  }
  expect(kills).toBe(1)
  const [sums] = await lake.rows(
    'events',
    `SELECT sum(id) AS ids, sum(amount) AS amount, count(*) AS rows FROM rows WHERE _source = 'http:p-${point}'`,
  )
  const ids = Array.from({ length: producer.next }, (_, i) => i).filter((i) => i % 5 !== 4)
  expect({ ids: Number(sums.ids), amount: Number(sums.amount), rows: Number(sums.rows) }).toEqual({
    ids: ids.reduce((sum, i) => sum + i, 0),
    amount: 7 * ids.length,
    rows: ids.length,
  })
  const [letters] = await lake.rows(
    'events__dead_letters',
    `SELECT list(CAST("offset" AS INTEGER) ORDER BY "offset")::VARCHAR AS offsets FROM rows WHERE _source = 'http:p-${point}'`,
  )
  const bad = Array.from({ length: producer.next }, (_, i) => i).filter((i) => i % 5 === 4)
  expect(letters.offsets).toBe(`[${bad.join(', ')}]`)
  const after = await counts('events')
  expect(after.places).toBe(after.rows)
  const { code } = await ingest.stop()
  expect(code).toBe(0)
})
