/**
 * A lifted literal as the value of a filter on a column: what DuckDB's plan would hold, where that is sure without asking.
 * Undefined wherever it is not: another type's text, digits that a cast would round, a date that no calendar has.
 * Texts without a zone are of UTC: whoever asks makes sure that the session is, too.
 */
import type { FilterValue } from '../../lake/parquet/prune.ts'
import type { ColumnType } from '../../schemas/column-type.ts'
import type { LiteralClass } from '../statement/lifted-literals.ts'

export type LiftedValue = {
  /** `double`: a parameter that is no whole number. */
  readonly class: LiteralClass | { readonly kind: 'double' }
  readonly value: string
  readonly isNegative: boolean
}

const EXACT_IN_DOUBLE = 2n ** 53n

export function filterValueOf(
  { class: given, value, isNegative }: LiftedValue,
  type: ColumnType,
): FilterValue | undefined {
  const text = isNegative ? `-${value}` : value
  switch (type.kind) {
    case 'int':
    case 'long':
      return given.kind === 'integer' ? BigInt(text) : undefined
    case 'double': {
      if (given.kind === 'decimal' || given.kind === 'double') return Number(text)
      if (given.kind !== 'integer') return undefined
      const whole = BigInt(text)
      return whole <= EXACT_IN_DOUBLE && whole >= -EXACT_IN_DOUBLE ? Number(text) : undefined
    }
    case 'decimal': {
      if (given.kind !== 'integer' && given.kind !== 'decimal') return undefined
      const [whole, fraction = ''] = value.split('.')
      if (fraction.length > type.scale) return undefined
      const unscaled = BigInt(whole + fraction.padEnd(type.scale, '0'))
      return isNegative ? -unscaled : unscaled
    }
    case 'string':
      return isText(given) ? value : undefined
    case 'uuid':
      return given.kind === 'uuid' ? value : undefined
    case 'date':
      return given.kind === 'date' ? daysOf(value) : undefined
    case 'timestamp':
      if (given.kind === 'timestamp') return given.zone === '' ? microsOf(value) : undefined
      return given.kind === 'date' ? microsOf(value) : undefined
    case 'timestamptz':
      return given.kind === 'timestamp' || given.kind === 'date' ? microsOf(value) : undefined
    default:
      return undefined
  }
}

function isText({ kind }: LiftedValue['class']): boolean {
  return kind === 'text' || kind === 'date' || kind === 'timestamp' || kind === 'uuid'
}

function daysOf(text: string): bigint | undefined {
  const millis = millisOfDay(text)
  return millis === undefined ? undefined : BigInt(millis / 86_400_000)
}

/** Of a day that there is: JavaScript takes 30 February for 2 March. */
function millisOfDay(text: string): number | undefined {
  const millis = Date.parse(`${text}T00:00:00Z`)
  if (Number.isNaN(millis) || new Date(millis).toISOString().slice(0, 10) !== text) return undefined
  return text.startsWith('0000') ? undefined : millis
}

const PARTS = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d(?::?\d\d)?)?)?$/

function microsOf(text: string): bigint | undefined {
  const [, day, hours = '0', minutes = '0', seconds = '0', fraction = '', zone = 'Z'] = PARTS.exec(text) ?? []
  if (day === undefined) return undefined
  const start = millisOfDay(day)
  if (start === undefined) return undefined
  const clock = (Number(hours) * 60 + Number(minutes)) * 60 + Number(seconds)
  const digits = zone === 'Z' ? '' : zone.slice(1).replace(':', '').padEnd(4, '0')
  const ahead = digits === '' ? 0 : (Number(digits.slice(0, 2)) * 60 + Number(digits.slice(2))) * 60
  const local = BigInt(start) * 1000n + BigInt(clock) * 1_000_000n + BigInt(fraction.padEnd(6, '0'))
  return local - BigInt(zone.startsWith('-') ? -ahead : ahead) * 1_000_000n
}
