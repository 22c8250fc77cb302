/**
 * Widths that a statement spells out: `'15 minutes'`, `INTERVAL 1 HOUR`, `INTERVAL '1' DAY`, ISO 8601 (`'PT5M'`, as Druid has
 * them). What cannot be read is undefined, and DuckDB is asked when the statement runs.
 */
import type { Range } from './call.ts'
import { isName, type Token } from './tokens.ts'

/** As DuckDB keeps it: three parts that do not convert into each other. */
export type Interval = { readonly months: number; readonly days: number; readonly micros: number }

const SECOND = 1_000_000
const UNITS: readonly (readonly [RegExp, Interval])[] = [
  [/^(us|usecs?|microseconds?)$/, micros(1)],
  [/^(ms|msecs?|milliseconds?)$/, micros(1000)],
  [/^(s|secs?|seconds?)$/, micros(SECOND)],
  [/^(m|mins?|minutes?)$/, micros(60 * SECOND)],
  [/^(h|hrs?|hours?)$/, micros(3600 * SECOND)],
  [/^(d|days?)$/, { months: 0, days: 1, micros: 0 }],
  [/^(w|weeks?)$/, { months: 0, days: 7, micros: 0 }],
  [/^(mons?|months?)$/, { months: 1, days: 0, micros: 0 }],
  [/^(q|quarters?)$/, { months: 3, days: 0, micros: 0 }],
  [/^(y|yrs?|years?)$/, { months: 12, days: 0, micros: 0 }],
]

function micros(count: number): Interval {
  return { months: 0, days: 0, micros: count }
}

export function unitInterval(unit: string): Interval | undefined {
  return UNITS.find(([pattern]) => pattern.test(unit.toLowerCase()))?.[1]
}

export function times({ months, days, micros }: Interval, count: number): Interval {
  return { months: months * count, days: days * count, micros: micros * count }
}

function isWhole({ months, days, micros }: Interval): boolean {
  return [months, days, micros].every(Number.isSafeInteger)
}

export function parseInterval(text: string): Interval | undefined {
  const iso = /^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$/i.exec(
    text.trim(),
  )
  if (iso && text.trim().length > 2) {
    const [years, months, weeks, days, hours, minutes, seconds] = iso.slice(1).map((part) => Number(part ?? 0))
    return {
      months: years * 12 + months,
      days: weeks * 7 + days,
      micros: ((hours * 60 + minutes) * 60 + seconds) * SECOND,
    }
  }
  const pattern = /\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*/giy
  let sum: Interval = micros(0)
  let end = 0
  while (end < text.length) {
    pattern.lastIndex = end
    const found = pattern.exec(text)
    const unit = found && unitInterval(found[2])
    if (!found || !unit) return undefined
    const part = times(unit, Number(found[1]))
    sum = { months: sum.months + part.months, days: sum.days + part.days, micros: sum.micros + part.micros }
    end = pattern.lastIndex
  }
  return text.trim() !== '' && isWhole(sum) ? sum : undefined
}

export function literalInterval(tokens: readonly Token[], range: Range | undefined): Interval | undefined {
  if (!range) return undefined
  const [from, to] = range
  const count = to - from
  if (count === 1 && tokens[from].kind === 'text') return parseInterval(tokens[from].value)
  if (!isName(tokens[from], 'interval')) return undefined
  const amount = tokens[from + 1]
  if (count === 2 && amount.kind === 'text') return parseInterval(amount.value)
  if (count !== 3 || tokens[from + 2].kind !== 'name') return undefined
  const unit = unitInterval(tokens[from + 2].value)
  if (!unit || !['number', 'text'].includes(amount.kind) || !/^\d+$/.test(amount.value.trim())) return undefined
  const whole = times(unit, Number(amount.value))
  return isWhole(whole) ? whole : undefined
}

export function intervalSql({ months, days, micros }: Interval): string {
  return `INTERVAL '${months} months ${days} days ${micros} microseconds'`
}
