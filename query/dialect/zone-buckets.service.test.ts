/**
 * Buckets with a zone, against the wall clock that Node's Intl knows: random instants and those around every change of clocks from
 * 2000 to 2037, in zones that change by an hour at night, at midnight, and by half an hour.
 */

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { parseStatement } from '../statement/parse-statement.ts'

let engine: Engine
beforeAll(() => {
  engine = createEngine({
    settings: {
      name: 'zones',
      memoryBytes: 256 * 1024 * 1024,
      threads: 2,
      spillFolder: join(tmpdir(), 'millrace-zone-buckets-test'),
      spillBytes: 0,
      folders: [],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(() => engine.close())

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const FIRST = Date.UTC(2000, 0, 1)
const LAST = Date.UTC(2037, 11, 1)

type Clock = { readonly offset: (instant: number) => number; readonly changes: readonly number[] }

/** From Intl, looked up every half hour around days on which the distance from UTC changes. */
function clockOf(zone: string): Clock {
  const format = new Intl.DateTimeFormat('en-US', { timeZone: zone, timeZoneName: 'longOffset' })
  const ask = (instant: number): number => {
    const name = format.formatToParts(instant).find(({ type }) => type === 'timeZoneName')!.value
    const [, sign, hours, minutes] = /^GMT(?:([+-])(\d\d):(\d\d))?$/.exec(name)!
    const offset = Number(hours ?? 0) * HOUR + Number(minutes ?? 0) * MINUTE
    return sign === '-' ? -offset : offset
  }
  const changes: number[] = []
  const offsets = [ask(FIRST - 400 * DAY)]
  for (let day = FIRST - 400 * DAY; day < LAST + 400 * DAY; day += DAY) {
    if (ask(day + DAY) === offsets.at(-1)) continue
    for (let at = day; at <= day + DAY; at += 30 * MINUTE) {
      const offset = ask(at)
      if (offset === offsets.at(-1)) continue
      changes.push(at)
      offsets.push(offset)
    }
  }
  return {
    changes,
    offset(instant) {
      let low = 0
      let high = changes.length
      while (low < high) {
        const middle = (low + high) >> 1
        if (changes[middle] <= instant) low = middle + 1
        else high = middle
      }
      return offsets[low]
    },
  }
}

type Width = { readonly text: string; readonly floor: (local: number) => number; readonly isCalendar: boolean }

const every = (text: string, length: number, isCalendar = false): Width => ({
  text,
  // Weeks begin on a Monday; hours and days divide into that.
  floor: (local) => Math.floor((local - Date.UTC(2000, 0, 3)) / length) * length + Date.UTC(2000, 0, 3),
  isCalendar,
})
const months = (text: string, count: number): Width => ({
  text,
  floor(local) {
    const date = new Date(local)
    const month = (date.getUTCFullYear() - 2000) * 12 + date.getUTCMonth()
    return Date.UTC(2000, Math.floor(month / count) * count, 1)
  },
  isCalendar: true,
})
const WIDTHS: readonly Width[] = [
  every('15 minutes', 15 * MINUTE),
  every('30 minutes', 30 * MINUTE),
  every('1 hour', HOUR),
  every('90 minutes', 90 * MINUTE),
  every('2 hours', 2 * HOUR),
  every('3 hours', 3 * HOUR),
  every('4 hours', 4 * HOUR),
  every('6 hours', 6 * HOUR),
  every('12 hours', 12 * HOUR),
  every('24 hours', DAY),
  every('1 day', DAY, true),
  every('1 week', 7 * DAY, true),
  months('1 month', 1),
  months('1 quarter', 3),
  months('1 year', 12),
]

/**
 * Clocks of these zones change at whole quarters of an hour: going back by those, the first one at which the clock shows a
 * multiple of the width, or has just jumped over one; of a calendar's, the first moment of the day.
 */
function startOf(clock: Clock, width: Width, instant: number): number {
  const step = 15 * MINUTE
  const wall = (at: number) => at + clock.offset(at)
  const calendar = width.floor(wall(instant))
  // Most of the way back to a day's beginning is of no interest.
  let at = Math.floor(instant / step) * step
  if (width.isCalendar) at = Math.min(at, calendar - clock.offset(instant) + 4 * HOUR)
  for (at = Math.floor(at / step) * step; ; at -= step) {
    if (at > instant) continue
    if (width.isCalendar) {
      if (wall(at - step) < calendar && wall(at) >= calendar) return at
    } else if (width.floor(wall(at)) === wall(at) || width.floor(wall(at)) > wall(at - step)) return at
  }
}

async function buckets(width: string, zone: string, instants: readonly number[]): Promise<number[]> {
  const sql = `SELECT epoch_ms(time_bucket('${width}', make_timestamptz(t * 1000), '${zone}')) AS start FROM (SELECT unnest([${instants.join(', ')}]::BIGINT[]) AS t)`
  const statement = await parseStatement(sql, async (asked) => String((await engine.run(asked))[0].tree))
  return (await engine.run(statement.sql)).map((row) => Number(row.start))
}

describe.each([
  'Europe/Berlin',
  'America/New_York',
  'Europe/London',
  'America/Havana',
  'Asia/Beirut',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
])('%s', (zone) => {
  const clock = clockOf(zone)

  test('every row is in one bucket, which begins where the wall clock says and not after it', async () => {
    const near = fc
      .tuple(
        fc.constantFrom(...(clock.changes.length > 0 ? clock.changes : [FIRST])),
        fc.integer({ min: -30 * HOUR, max: 30 * HOUR }),
      )
      .map(([change, distance]) => change + distance)
    const instants = fc.array(
      fc.oneof({ weight: 3, arbitrary: near }, { weight: 1, arbitrary: fc.integer({ min: FIRST, max: LAST }) }),
      {
        minLength: 150,
        maxLength: 250,
      },
    )
    await fc.assert(
      fc.asyncProperty(instants, async (all) => {
        const sorted = [...all, ...clock.changes.flatMap((change) => [change - 1, change, change + 1])]
          .filter((instant) => instant >= FIRST && instant < LAST)
          .sort((a, b) => a - b)
        for (const width of WIDTHS) {
          const found = await buckets(width.text, zone, sorted)
          const wrong = sorted.findIndex((instant, index) => found[index] !== startOf(clock, width, instant))
          if (wrong >= 0) {
            const [row, start, expected] = [sorted[wrong], found[wrong], startOf(clock, width, sorted[wrong])].map(
              (at) => new Date(at).toISOString(),
            )
            expect({ width: width.text, row, start }).toEqual({ width: width.text, row, start: expected })
          }
          // What begins a bucket is in it, and later rows are in no earlier bucket: with the above, start <= row < next start.
          expect(await buckets(width.text, zone, found)).toEqual(found)
          expect(found).toEqual([...found].sort((a, b) => a - b))
        }
      }),
      { numRuns: 1 },
    )
  })
})

test('days of 25 and 23 hours, hours that come twice', async () => {
  const sql = (zone: string, width: string, day: string) =>
    `SELECT date_diff('hour', min(t), max(t)) + 1 AS hours, count(DISTINCT b) AS buckets FROM (
       SELECT t, time_bucket('${width}', t, '${zone}') AS b FROM (SELECT unnest(generate_series(TIMESTAMPTZ '${day} 00:00:00Z' - INTERVAL 1 DAY, TIMESTAMPTZ '${day} 00:00:00Z' + INTERVAL 2 DAY, INTERVAL 1 HOUR)) AS t)
       WHERE toDate(t, '${zone}') = DATE '${day}')`
  const found: unknown[] = []
  for (const [zone, longDay, shortDay] of [
    ['Europe/Berlin', '2026-10-25', '2026-03-29'],
    ['Europe/London', '2026-10-25', '2026-03-29'],
    ['America/New_York', '2026-11-01', '2026-03-08'],
  ]) {
    for (const day of [longDay, shortDay]) {
      for (const width of ['1 hour', '1 day', '24 hours', '4 hours']) {
        const statement = await parseStatement(sql(zone, width, day), async (asked) =>
          String((await engine.run(asked))[0].tree),
        )
        const [row] = await engine.run(statement.sql)
        found.push([Number(row.hours), Number(row.buckets)])
      }
    }
  }
  const [long, short] = [
    [
      [25, 25],
      [25, 1],
      [25, 1],
      [25, 6],
    ],
    [
      [23, 23],
      [23, 1],
      [23, 1],
      [23, 6],
    ],
  ]
  expect(found).toEqual([...long, ...short, ...long, ...short, ...long, ...short])
})

test('timestamps without a zone are UTC; odd widths, parameters and origins go as well', async () => {
  const sql = `SELECT time_bucket('1 day', TIMESTAMP '2026-07-01 22:30:00', 'Europe/Berlin')::VARCHAR,
    time_bucket('1 day', DATE '2026-07-01', 'America/New_York')::VARCHAR,
    time_bucket(to_hours(4), TIMESTAMPTZ '2026-07-01 09:00:00Z', 'Europe/Berlin')::VARCHAR,
    time_bucket(to_days(7), TIMESTAMPTZ '2026-07-01 09:00:00Z', timezone => 'Europe/Berlin')::VARCHAR,
    time_bucket('7 minutes', TIMESTAMPTZ '2026-07-01 09:00:00Z', 'Europe/Berlin') <= TIMESTAMPTZ '2026-07-01 09:00:00Z',
    time_bucket('1 week', TIMESTAMPTZ '2026-07-01 09:00:00Z', timezone => 'Europe/London', origin => TIMESTAMPTZ '2026-01-03 00:00:00Z')::VARCHAR,
    time_bucket('1 day', NULL::TIMESTAMPTZ, 'Europe/Berlin') IS NULL`
  const statement = await parseStatement(sql, async (asked) => String((await engine.run(asked))[0].tree))
  expect(Object.values((await engine.run(statement.sql))[0])).toEqual([
    '2026-07-01 22:00:00+00',
    '2026-06-30 04:00:00+00',
    '2026-07-01 06:00:00+00',
    '2026-06-28 22:00:00+00',
    true,
    '2026-06-26 23:00:00+00',
    true,
  ])
})
