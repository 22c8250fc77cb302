/**
 * Texts with units, as people write them in settings: `128 MiB`, `500 ms`, `7 days`. A bare number is bytes or
 * milliseconds. Parsers return undefined for what they do not understand; whoever asks knows what to say about it.
 */
const BYTE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  byte: 1,
  bytes: 1,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
}

const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  millisecond: 1,
  milliseconds: 1,
  s: SECOND_MS,
  sec: SECOND_MS,
  second: SECOND_MS,
  seconds: SECOND_MS,
  m: MINUTE_MS,
  min: MINUTE_MS,
  minute: MINUTE_MS,
  minutes: MINUTE_MS,
  h: HOUR_MS,
  hour: HOUR_MS,
  hours: HOUR_MS,
  d: DAY_MS,
  day: DAY_MS,
  days: DAY_MS,
}

/** `128 MiB`, `1.5GiB`, `4096` → whole bytes. */
export function parseBytes(value: string | number): number | undefined {
  return parseWithUnit(value, BYTE_UNITS)
}

/** `500 ms`, `60s`, `7 days`, `250` → whole milliseconds. */
export function parseDuration(value: string | number): number | undefined {
  return parseWithUnit(value, DURATION_UNITS)
}

export function formatBytes(bytes: number): string {
  return formatWithUnit(
    bytes,
    [
      ['TiB', 1024 ** 4],
      ['GiB', 1024 ** 3],
      ['MiB', 1024 ** 2],
      ['KiB', 1024],
    ],
    'B',
  )
}

export function formatDuration(ms: number): string {
  return formatWithUnit(
    ms,
    [
      ['d', DAY_MS],
      ['h', HOUR_MS],
      ['min', MINUTE_MS],
      ['s', SECOND_MS],
    ],
    'ms',
  )
}

function parseWithUnit(value: string | number, units: Readonly<Record<string, number>>): number | undefined {
  if (typeof value === 'number') return Number.isSafeInteger(value) && value >= 0 ? value : undefined
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*$/.exec(value)
  if (!match) return undefined
  const unit =
    match[2] === '' ? 1 : Object.hasOwn(units, match[2].toLowerCase()) ? units[match[2].toLowerCase()] : undefined
  if (unit === undefined) return undefined
  const amount = Math.round(Number(match[1]) * unit)
  return Number.isSafeInteger(amount) ? amount : undefined
}

/** The largest unit that divides the amount, so that parsing the text gives the same number back. */
function formatWithUnit(amount: number, units: readonly (readonly [string, number])[], smallest: string): string {
  for (const [name, size] of units) {
    if (amount >= size && amount % size === 0) return `${amount / size} ${name}`
  }
  return `${amount} ${smallest}`
}
