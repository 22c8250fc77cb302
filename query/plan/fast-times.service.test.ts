/**
 * `date_trunc` by arithmetic gives what DuckDB's own function gives, for every unit, in zones of whole, half and odd hours: random
 * instants, and those around every change of clocks, before and after the plain years, infinity and NULL among them.
 *
 * A failure prints the seed; MILLRACE_TIMES_SEED runs it again.
 */
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createEngine } from '../../lake/engine/create-engine.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { createTestWorld } from '../../runtime/test-world.ts'
import { fastTimesSql } from './fast-times.ts'

const SEED = Number(process.env.MILLRACE_TIMES_SEED ?? Math.floor(Math.random() * 1e9))

let engine: Engine
beforeAll(() => {
  engine = createEngine({
    settings: {
      name: 'times',
      memoryBytes: 512 * 1024 * 1024,
      threads: 2,
      spillFolder: join(tmpdir(), 'millrace-fast-times-test'),
      spillBytes: 0,
      folders: [],
      mode: 'query',
    },
    world: createTestWorld(),
  })
})
afterAll(() => engine.close())

async function run(zone: string, sql: string): Promise<unknown[][]> {
  const rows: unknown[][] = []
  await engine.query(
    {
      queryId: 'times',
      setup: [`SET TimeZone = '${zone}'`, ...fastTimesSql()],
      sql,
      params: [],
      format: 'rows',
      rowsMax: 1e6,
      bytesMax: 1e9,
      timeoutMs: 60_000,
    },
    { onChunk: () => {}, onRows: (batch) => void rows.push(...batch.map((row) => [...row])) },
  )
  return rows
}

const UNITS = [
  'microseconds,milliseconds,second,seconds,minute,MINUTES,Minute,minutes,hour,HOURS,day,days,week,weeks,month,months',
  'quarter,quarters,year,years,decade,century,millennium,isoyear,dow,epoch,m,h,s,min',
].flatMap((list) => list.split(','))

/** Instants of 140 years, every hour around the changes of clocks among them, and what is no instant. */
const INSTANTS = `
  SELECT make_timestamptz((hash(r * 7919 + ${SEED}) % 4418064000000000)::BIGINT - 2208988800000000) AS ts FROM range(4000) t(r)
  UNION ALL SELECT make_timestamptz((hash(r * 7919 + ${SEED}) % 1514764800000000)::BIGINT + 631152000000000) FROM range(5000) t(r)
  UNION ALL SELECT make_timestamptz(946684800000000 + r * 7200000000 + (hash(r + ${SEED}) % 7200000000)::BIGINT) FROM range(5000) t(r)
  UNION ALL SELECT make_timestamptz(edge + d) FROM (VALUES (631152000000000), (2145916800000000), (0)) e(edge), (VALUES (-60000001), (-1), (0), (1), (59999999), (60000000)) n(d)
  UNION ALL VALUES (NULL::TIMESTAMPTZ), ('infinity'::TIMESTAMPTZ), ('-infinity'::TIMESTAMPTZ)`

test.each(['UTC', 'America/New_York', 'Asia/Kolkata', 'Australia/Lord_Howe', 'Africa/Monrovia'])(
  `every unit of instants in %s is DuckDB’s own (seed ${SEED})`,
  async (zone) => {
    const differing = UNITS.map(
      (unit) =>
        `count(*) FILTER (WHERE date_trunc('${unit}', ts) IS DISTINCT FROM system.main.date_trunc('${unit}', ts)
           AND NOT (left('${unit}', 1) IN ('h', 'H') AND system.main.date_trunc('${unit}', ts) > ts AND year(ts) BETWEEN 1990 AND 2037))`,
    )
    const [found] = await run(zone, `SELECT ${differing.join(', ')}, count(*) FROM (${INSTANTS}) t`)
    expect(found.slice(0, -1)).toEqual(UNITS.map(() => 0n))
    expect(Number(found.at(-1))).toBe(14_021)
  },
)

test.each([
  ['Europe/Berlin', '2026-10-25 00:30:00Z'],
  ['Europe/London', '2026-10-25 00:30:00Z'],
  ['America/New_York', '2026-11-01 05:30:00Z'],
])('in %s the hour that comes twice begins before its rows, each time', async (zone, first) => {
  const beginning = (unit: string, time: string) => `epoch(date_trunc('${unit}', ${time}) - ${time})::INTEGER`
  const moment = `(TIMESTAMPTZ '${first}' + to_hours(i))`
  for (const unit of ['hour', 'HOURS', 'h'])
    expect(await run(zone, `SELECT ${beginning(unit, moment)} FROM range(-2, 3) r(i) ORDER BY i`)).toEqual(
      Array.from({ length: 5 }, () => [-1800]),
    )
})
