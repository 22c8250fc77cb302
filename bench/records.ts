/**
 * The records of the benchmarks: 12 columns, about 200 bytes of JSON, made from their number alone, so that a second
 * run, another process and the check of an answer all see the same rows.
 *
 * Event time moves 17 ms a record with up to two seconds of disorder: 5,000,000 records are one day. Values have the
 * skew of real traffic: few countries, some thousands of addresses, sessions of about twenty records.
 */
import type { BatchRecord } from '../test/harness/produce.ts'

export const TOPIC = 'events'
export const TABLE = 'events'
export const PARTITIONS = 4
const STEP_MS = 17
const DISORDER_MS = 2_000
/** 2026-01-01T00:05Z: disorder does not reach the day before. */
const FIRST_MS = 1_767_225_900_000

const COUNTRIES = ['DE', 'FR', 'US', 'GB', 'IN', 'BR', 'JP', 'ES', 'IT', 'PL', 'NL', 'SE', 'MX', 'CA', 'AU', 'ZA']
const DEVICES = ['mobile', 'desktop', 'tablet', 'tv']
const STATUSES = [200, 200, 200, 200, 200, 200, 200, 304, 404, 500]

export const COLUMNS =
  '{ ts: timestamptz required, id: long required, user_id: long, country: string, device: string, url: string, ' +
  'status: int, latency: double, amount: "decimal(10,2)", ok: boolean, items: int, session: string }'

/** YAML of the table and the pipeline that fills it. */
export function eventsYaml(bootstrap: string, topic = TOPIC): string {
  return `
kafka.bootstrap: [${JSON.stringify(bootstrap)}]
tables:
  ${TABLE}:
    columns: ${COLUMNS}
    event-time: ts
    partition: [day(ts)]
    sort: [ts]
pipelines:
  ${TABLE}: { topics: [${topic}], tables: [${TABLE}] }
log.level: warn
`
}

/** Rows with a smaller number than `index` are before this moment, later ones (from `index` + 250) are not. */
export function boundBefore(index: number): string {
  return new Date(FIRST_MS + index * STEP_MS + DISORDER_MS).toISOString()
}

export const BOUND_GAP = 250

/** `nowMs`: event time instead of the one that belongs to the number. `isLong`: about 290 bytes, by a longer session text. */
export function recordOf(index: number, nowMs?: number, isLong = false): BatchRecord {
  const a = mix(index)
  const b = mix(a ^ 0x5bd1e995)
  const time = nowMs ?? FIRST_MS + index * STEP_MS + (a % DISORDER_MS)
  const session = mix(Math.floor(index / 20))
  const cents = amountCents(b)
  const value =
    `{"ts":"${new Date(time).toISOString()}","id":${index},"user_id":${skewed(a, 100_000)},` +
    `"country":"${COUNTRIES[skewed(b, COUNTRIES.length)]}","device":"${DEVICES[skewed(a ^ b, DEVICES.length)]}",` +
    `"url":"/shop/${a % 40}/item-${skewed(b, 4_000)}","status":${STATUSES[b % 10]},"latency":${(a % 90_000) / 100},` +
    `"amount":${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, '0')},"ok":${b % 10 < 8},` +
    `"items":${a % 12},"session":"${hex(session)}${hex(mix(session))}${isLong ? longTail(session) : ''}"}`
  // Producers stamp a record when they make it: never at even steps.
  return { value, timestamp: nowMs ?? FIRST_MS + index * STEP_MS + (b % 64) }
}

export type Expected = { readonly rows: number; readonly idSum: bigint; readonly amountCents: bigint }

/** What SQL must answer about records [0, rows). */
export function expectedOf(rows: number): Expected {
  let cents = 0n
  for (let start = 0; start < rows; start += 1_000_000) {
    let part = 0
    for (let index = start; index < Math.min(rows, start + 1_000_000); index += 1)
      part += amountCents(mix(mix(index) ^ 0x5bd1e995))
    cents += BigInt(part)
  }
  return { rows, idSum: (BigInt(rows) * BigInt(rows - 1)) / 2n, amountCents: cents }
}

export const CHECK_SQL = `SELECT count(*) AS n, sum(id)::VARCHAR AS ids, (sum(amount) * 100)::BIGINT::VARCHAR AS cents,
  count(DISTINCT (_partition::BIGINT << 40) + _offset) AS places FROM ${TABLE}`

export function checkRow(row: readonly unknown[], expected: Expected): void {
  const found = row.map(String).join(', ')
  const wanted = [expected.rows, expected.idSum, expected.amountCents, expected.rows].map(String).join(', ')
  if (found !== wanted) throw new Error(`rows, sum of ids, cents, places: expected ${wanted}, found ${found}`)
}

function amountCents(b: number): number {
  return b % 100_000
}

/** Small numbers are more frequent. */
function skewed(bits: number, count: number): number {
  const share = bits / 4_294_967_296
  return Math.floor(share * share * count)
}

function longTail(session: number): string {
  let text = ''
  for (let part = 1; part <= 10; part += 1) text += hex(mix(session + part))
  return text
}

function hex(bits: number): string {
  return bits.toString(16).padStart(8, '0')
}

function mix(value: number): number {
  let bits = Math.imul(value ^ (value >>> 16), 0x7feb352d)
  bits = Math.imul(bits ^ (bits >>> 15), 0x846ca68b)
  return (bits ^ (bits >>> 16)) >>> 0
}
