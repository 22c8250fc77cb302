/**
 * A plan's expression (`plan-expression.ts`) as a filter about columns' bounds. What comes out lets through at least the rows
 * that the expression lets through; undefined says nothing is known, which lets through all.
 *
 *  - comparisons of a column, or of a field in a struct, with a constant of its own type, as they are
 *  - `NOT` is pushed down to the comparisons; `!=`, `NOT IN`, `IS DISTINCT FROM` say nothing
 *  - the start of a text (LIKE 'a%', starts_with, substr(…, 1, n)) as a range of texts
 *  - functions of time that stay near their argument: `f(t)` lies in `[t + low, t + high]`, so `f(t) >= x` needs `t >= x - high`.
 *    Days, buckets, dates of a zone: local time is at most 16 hours off UTC, whatever the zone and whenever, and a day of 25
 *    hours adds one; so no zone's rules are needed here, and a range is a day too wide at most
 *
 * NULL never passes a comparison, nor its negation, so both may be taken as if there were none.
 */
import type { ColumnFilter, FilterValue, PlainFilter } from '../../lake/parquet/prune.ts'
import type { ColumnType } from '../../schemas/column-type.ts'
import { literalValue } from './filter-text.ts'
import type { PlanExpression } from './plan-expression.ts'

export type NamedField = { readonly fieldId: number; readonly type: ColumnType; readonly isInside: boolean }

/** The column of a name, or the field of a struct in it; undefined when it is not surely one. */
export type FindField = (name: string, path: readonly string[]) => NamedField | undefined

type Op = '=' | '<' | '<=' | '>' | '>='
const FLIPPED: Readonly<Record<Op, Op>> = { '=': '=', '<': '>', '<=': '>=', '>': '<', '>=': '<=' }
const NEGATED: Readonly<Record<string, Op>> = { '<': '>=', '<=': '>', '>': '<=', '>=': '<', '!=': '=', '<>': '=' }

export function filterOf(expression: PlanExpression, find: FindField, isNegated = false): ColumnFilter | undefined {
  switch (expression.kind) {
    case 'not':
      return filterOf(expression.of, find, !isNegated)
    case 'and':
    case 'or':
      return joined(
        (expression.kind === 'and') !== isNegated,
        expression.of.map((each) => filterOf(each, find, isNegated)),
      )
    case 'compare':
      return comparison(expression, find, isNegated)
    case 'in':
      return isNegated
        ? undefined
        : joined(
            false,
            expression.values.map((right) =>
              comparison({ kind: 'compare', op: '=', left: expression.of, right }, find, false),
            ),
          )
    case 'is null': {
      const field = fieldOf(expression.of, find)
      // Writers do not agree on whether a NULL struct counts as NULLs of its fields.
      if (!field || field.isInside) return undefined
      return { fieldId: field.fieldId, op: expression.isNot === isNegated ? 'is null' : 'is not null' }
    }
    case 'name': {
      const field = fieldOf(expression, find)
      if (field?.type.kind !== 'boolean') return undefined
      return { fieldId: field.fieldId, op: '=', type: field.type, value: !isNegated }
    }
    case 'call':
      return isNegated ? undefined : startFilter(expression.name, expression.args, find)
    default:
      return undefined
  }
}

/** All of them: what is not known does not matter. Any of them: one that is not known lets through all. */
function joined(isAll: boolean, parts: readonly (ColumnFilter | undefined)[]): ColumnFilter | undefined {
  const known = parts.filter((part) => part !== undefined)
  if (known.length === 0 || (!isAll && known.length < parts.length)) return undefined
  if (known.length === 1) return known[0]
  const plain = known as readonly PlainFilter[]
  const [first] = plain
  // Many of them are IN: one filter is looked at faster, also in bloom filters.
  const isIn = !isAll && plain.every((each) => each.op === '=' && each.fieldId === first.fieldId)
  if (isIn && first.op === '=') {
    return { fieldId: first.fieldId, op: 'in', type: first.type, values: plain.map((each) => equalTo(each)) }
  }
  return { op: isAll ? 'all' : 'any', of: known }
}

function equalTo(filter: PlainFilter): FilterValue {
  if (filter.op !== '=') throw new TypeError('only an equality has one value')
  return filter.value
}

function comparison(
  { op, left, right }: Extract<PlanExpression, { kind: 'compare' }>,
  find: FindField,
  isNegated: boolean,
): ColumnFilter | undefined {
  if (op === '~~' || op === '^@') return isNegated ? undefined : startFilter(op, [left, right], find)
  const wanted = isNegated ? NEGATED[op] : op
  if (wanted !== '=' && wanted !== '<' && wanted !== '<=' && wanted !== '>' && wanted !== '>=') return undefined
  if (left.kind === 'literal') return compared(right, FLIPPED[wanted], left, find)
  return right.kind === 'literal' ? compared(left, wanted, right, find) : undefined
}

type Literal = Extract<PlanExpression, { kind: 'literal' }>

function compared(side: PlanExpression, op: Op, literal: Literal, find: FindField): ColumnFilter | undefined {
  const field = fieldOf(side, find)
  if (field) {
    const value = literalValue(literal, field.type)
    return value === undefined ? undefined : { fieldId: field.fieldId, op, type: field.type, value }
  }
  return widened(side, op, literal, find) ?? firstCharacters(side, op, literal, find) ?? near(side, op, literal, find)
}

function fieldOf(expression: PlanExpression, find: FindField): NamedField | undefined {
  const path: string[] = []
  let inner: PlanExpression = expression
  while (inner.kind === 'call' && inner.name === 'struct_extract' && inner.args.length === 2) {
    const [of, name]: readonly PlanExpression[] = inner.args
    if (name.kind !== 'literal' || !name.isQuoted || name.cast !== '') return undefined
    path.unshift(name.text)
    inner = of
  }
  return inner.kind === 'name' ? find(inner.name, [...inner.path, ...path]) : undefined
}

/** A cast that changes no value and loses no digit. */
function widened(side: PlanExpression, op: Op, literal: Literal, find: FindField): ColumnFilter | undefined {
  if (side.kind !== 'cast' || literal.isQuoted || literal.cast !== '') return undefined
  const field = fieldOf(side.of, find)
  const to = wholeOrDecimal(side.to)
  if (!field || !to) return undefined
  const { kind } = field.type
  const isWidening =
    kind === 'int' || kind === 'long' || (field.type.kind === 'decimal' && field.type.scale <= to.scale)
  const digits = /^-?\d+(?:\.(\d+))?$/.exec(literal.text)
  if (!isWidening || !digits) return undefined
  const type: ColumnType = { kind: 'decimal', precision: 38, scale: (digits[1] ?? '').length }
  return { fieldId: field.fieldId, op, type, value: BigInt(literal.text.replace('.', '')) }
}

function wholeOrDecimal(type: string): { readonly scale: number } | undefined {
  if (type === 'BIGINT' || type === 'HUGEINT') return { scale: 0 }
  const parts = /^DECIMAL \( \d+ , (\d+) \)$/.exec(type)
  return parts ? { scale: Number(parts[1]) } : undefined
}

const CHARACTERS_MAX = 1000

/** `substr(s, 1, 3) = 'abc'`. */
function firstCharacters(side: PlanExpression, op: Op, literal: Literal, find: FindField): ColumnFilter | undefined {
  if (side.kind !== 'call' || op !== '=' || !literal.isQuoted || literal.cast !== '') return undefined
  const [of, second, third] = side.args
  const isFirst = ['substr', 'substring'].includes(side.name) && isNumber(second, '1') && third !== undefined
  const isLeft = side.name === 'left' && second?.kind === 'literal' && /^\d+$/.test(second.text)
  return isFirst || isLeft ? startsWith(of, literal.text, find) : undefined
}

function isNumber(expression: PlanExpression | undefined, text: string): boolean {
  return expression?.kind === 'literal' && !expression.isQuoted && expression.text === text
}

function startFilter(name: string, args: readonly PlanExpression[], find: FindField): ColumnFilter | undefined {
  const [of, pattern] = args
  if (args.length !== 2 || pattern.kind !== 'literal' || !pattern.isQuoted || pattern.cast !== '') return undefined
  if (name === '~~') return startsWith(of, pattern.text.split(/[%_]/)[0], find)
  return name === 'prefix' || name === 'starts_with' || name === '^@' ? startsWith(of, pattern.text, find) : undefined
}

/** From the start itself up to the first text behind all that start so; texts are ordered by their bytes. */
function startsWith(of: PlanExpression, start: string, find: FindField): ColumnFilter | undefined {
  const field = fieldOf(of, find)
  if (!field || (field.type.kind !== 'string' && field.type.kind !== 'json')) return undefined
  if (start === '' || start.length > CHARACTERS_MAX || start.includes('\n')) return undefined
  const { fieldId, type } = field
  const from: PlainFilter = { fieldId, op: '>=', type, value: start }
  const points = Array.from(start, (each) => each.codePointAt(0) as number)
  const last = points.at(-1) as number
  // What would follow is no character: the lower end is enough then.
  if (last === 0xd7ff || last >= 0x10ffff || (last >= 0xd800 && last <= 0xdfff)) return from
  const behind = String.fromCodePoint(...points.slice(0, -1), last + 1)
  return { op: 'all', of: [from, { fieldId, op: '<', type, value: behind }] }
}

const HOUR = 3_600_000_000n
const DAY = 24n * HOUR
/** No zone was ever further from UTC. */
const ZONE = 16n * HOUR
/** Local days are longer or shorter where clocks change. */
const CHANGE = 26n * HOUR
const UNITS: Readonly<Record<string, bigint>> = {
  microsecond: 1n,
  microseconds: 1n,
  millisecond: 1000n,
  milliseconds: 1000n,
  second: 1_000_000n,
  minute: 60_000_000n,
  hour: HOUR,
  day: DAY,
  week: 7n * DAY,
  month: 31n * DAY,
  quarter: 92n * DAY,
  year: 366n * DAY,
}

/** A function of a time: its value, in the form of `type`, lies in `[t + low, t + high]` microseconds. */
type Near = { readonly field: NamedField; readonly low: bigint; readonly high: bigint; readonly type: ColumnType }

const isTime = ({ kind }: ColumnType) => kind === 'timestamp' || kind === 'timestamptz'
const TIMESTAMP: ColumnType = { kind: 'timestamp' }
const TIMESTAMPTZ: ColumnType = { kind: 'timestamptz' }
const DATE: ColumnType = { kind: 'date' }

function near(side: PlanExpression, op: Op, literal: Literal, find: FindField): ColumnFilter | undefined {
  const found = counted(side, literal, find) ?? measured(side, literal, find)
  if (!found) return undefined
  const { near: of, value } = found
  const { fieldId, type } = of.field
  const from: PlainFilter = { fieldId, op: '>=', type, value: inType(type, value - of.high, 'down') }
  const to: PlainFilter = { fieldId, op: '<=', type, value: inType(type, value - of.low, 'up') }
  if (op === '=') return { op: 'all', of: [from, to] }
  return op === '>' || op === '>=' ? from : to
}

/** Days of a date, rounded outwards. */
function inType(type: ColumnType, micros: bigint, rounding: 'down' | 'up'): bigint {
  if (type.kind !== 'date') return micros
  const down = (micros - (((micros % DAY) + DAY) % DAY)) / DAY
  return rounding === 'up' && down * DAY !== micros ? down + 1n : down
}

type Found = { readonly near: Near; readonly value: bigint }

/** Compared with a date or time. */
function measured(side: PlanExpression, literal: Literal, find: FindField): Found | undefined {
  const of = nearOf(side, find)
  if (!of) return undefined
  const value = literalValue(literal, of.type)
  if (typeof value !== 'bigint') return undefined
  return { near: of, value: of.type.kind === 'date' ? value * DAY : value }
}

/** Compared with a number: `epoch_ms(t)`, `year(t)`. */
function counted(side: PlanExpression, literal: Literal, find: FindField): Found | undefined {
  if (side.kind !== 'call' || side.args.length !== 1 || literal.isQuoted || literal.cast !== '') return undefined
  const of = nearOf(side.args[0], find)
  if (!of || !/^-?\d{1,16}(\.\d{1,9})?(e[+]?\d+)?$/.test(literal.text)) return undefined
  const number = Number(literal.text)
  const isWhole = Number.isSafeInteger(number)
  const wider = (by: bigint) => ({ ...of, low: of.low - by, high: of.high + by })
  switch (side.name) {
    case 'epoch_us':
      return isWhole ? { near: of, value: BigInt(number) } : undefined
    case 'epoch_ms':
      return isWhole ? { near: wider(1000n), value: BigInt(number) * 1000n } : undefined
    case 'epoch':
      return Math.abs(number) < 1e11
        ? { near: wider(1_000_000n), value: BigInt(Math.round(number)) * 1_000_000n }
        : undefined
    case 'year': {
      // Years before 100 are others for Date.
      if (!isWhole || number < 100 || number > 9999) return undefined
      const zone = of.type.kind === 'timestamptz' ? ZONE : 0n
      const value = BigInt(Date.UTC(number, 0, 1)) * 1000n
      return { near: { ...of, low: of.low - 367n * DAY - zone, high: of.high + zone }, value }
    }
    default:
      return undefined
  }
}

function nearOf(side: PlanExpression, find: FindField): Near | undefined {
  const field = fieldOf(side, find)
  if (field)
    return isTime(field.type) || field.type.kind === 'date' ? { field, low: 0n, high: 0n, type: field.type } : undefined
  if (side.kind === 'cast') {
    const of = nearOf(side.of, find)
    return of && castNear(of, side.to)
  }
  if (side.kind !== 'call') return undefined
  const { name, args } = side
  if (name === 'timezone' && args.length === 2) {
    const of = nearOf(args[1], find)
    if (!of || !isTime(of.type)) return undefined
    const type = of.type.kind === 'timestamp' ? TIMESTAMPTZ : TIMESTAMP
    return { ...of, low: of.low - ZONE, high: of.high + ZONE, type }
  }
  if (name === 'date_trunc' && args.length === 2) return truncated(args[0], args[1], find)
  return name === 'time_bucket' && args.length >= 2 ? bucketed(args, find) : undefined
}

function castNear(of: Near, to: string): Near | undefined {
  const zone = (isZoned: boolean) => (isZoned === (of.type.kind === 'timestamptz') ? 0n : ZONE)
  if (to === 'DATE') return { ...of, low: of.low - DAY - zone(false), high: of.high + zone(false), type: DATE }
  if (to === 'TIMESTAMP') return { ...of, low: of.low - zone(false), high: of.high + zone(false), type: TIMESTAMP }
  if (to !== 'TIMESTAMP WITH TIME ZONE') return undefined
  return { ...of, low: of.low - zone(true), high: of.high + zone(true), type: TIMESTAMPTZ }
}

function truncated(unit: PlanExpression, side: PlanExpression, find: FindField): Near | undefined {
  const of = nearOf(side, find)
  const length = unit.kind === 'literal' && unit.isQuoted ? UNITS[unit.text.toLowerCase()] : undefined
  if (!of || length === undefined) return undefined
  const change = of.type.kind === 'timestamptz' ? CHANGE : 0n
  return { ...of, low: of.low - length - change, high: of.high + change }
}

function bucketed([width, side, third]: readonly PlanExpression[], find: FindField): Near | undefined {
  const of = nearOf(side, find)
  const length = width.kind === 'literal' && width.cast === 'INTERVAL' ? intervalMax(width.text) : undefined
  if (!of || length === undefined) return undefined
  const change = third !== undefined || of.type.kind === 'timestamptz' ? CHANGE : 0n
  const type = of.type.kind === 'date' ? DATE : of.type
  return { ...of, low: of.low - length - change - DAY, high: of.high + change, type }
}

/** `1 month 3 days 01:00:00`: at most so long. */
function intervalMax(text: string): bigint | undefined {
  let micros = 0n
  const rest = text.replaceAll(/(\d+) (year|month|day)s?\b/g, (_, count: string, unit: string) => {
    micros += BigInt(count) * UNITS[unit]
    return ''
  })
  const clock = /^\s*(?:(\d+):(\d\d):(\d\d)(?:\.\d+)?)?\s*$/.exec(rest)
  if (!clock) return undefined
  if (clock[1] !== undefined) {
    micros += (BigInt(clock[1]) * 3600n + BigInt(clock[2]) * 60n + BigInt(clock[3]) + 1n) * 1_000_000n
  }
  return micros > 0n ? micros : undefined
}
