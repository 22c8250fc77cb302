/**
 * The literals of InsertHeader, read as Connect's `Values.parseString` reads them: whole numbers in the smallest integer type
 * that holds them, other numbers as float, double or decimal, true, false, null, ISO dates and times, lists and maps (their
 * elements brought to one type where one holds all). What is none of these, or a list or map with a mistake in it, is a text.
 *
 * Only the first token of a text counts when it is a number: `12:30` is 12, as in Connect.
 */
import {
  BOOLEAN_SCHEMA,
  ConnectSchema,
  DATE,
  DATE_SCHEMA,
  decimalSchema,
  type SchemaType,
  STRING_SCHEMA,
  TIME,
  TIME_SCHEMA,
  TIMESTAMP,
  TIMESTAMP_SCHEMA,
} from '../data/schema.ts'
import { type ConnectValue, type Decimal, Instant, SizedNumber } from '../data/values.ts'
import { DAY_MS } from '../java/calendar.ts'
import type { DateFormat } from '../java/date-format.ts'
import { ISO_DATE, ISO_TIME, ISO_TIMESTAMP } from '../java/iso-text.ts'
import { decimalToDouble, decimalToFloat, decimalToInteger, isWhole, javaTrim, parseDecimal } from '../java/numbers.ts'
import { LiteralTokens } from './literal-tokens.ts'

/** Without a schema: null. */
export type Literal = { readonly schema: ConnectSchema | undefined; readonly value: ConnectValue }

const NULL: Literal = { schema: undefined, value: null }

/** A list or map that is none. */
class NoLiteral extends Error {}

export function parseLiteral(text: string): Literal {
  if (text === '') return { schema: STRING_SCHEMA, value: '' }
  const { schema, value } = parse(new LiteralTokens(text), false) ?? NULL
  return { schema, value: value instanceof SizedNumber ? value.value : value }
}

/** Numbers come as they are without a schema; undefined: null. */
function parse(tokens: LiteralTokens, isInside: boolean): Literal | undefined {
  if (!tokens.hasNext()) return undefined
  if (isInside && tokens.take('"')) return quoted(tokens)
  if (isWord(tokens, 'null', isInside)) return undefined
  if (isWord(tokens, 'true', isInside)) return { schema: BOOLEAN_SCHEMA, value: true }
  if (isWord(tokens, 'false', isInside)) return { schema: BOOLEAN_SCHEMA, value: false }
  const start = tokens.mark()
  try {
    if (tokens.take('[')) return list(tokens)
    if (tokens.take('{')) return map(tokens)
  } catch (cause) {
    if (!(cause instanceof NoLiteral)) throw cause
    tokens.rewind(start)
  }
  const token = tokens.next()
  const trimmed = javaTrim(token)
  if (trimmed === '') return { schema: STRING_SCHEMA, value: token }
  const found = /^\d/.test(trimmed) ? temporalOfTokens(tokens, trimmed) : undefined
  if (found) return found
  const number = /^[\d+-]/.test(trimmed) ? numberOf(trimmed) : undefined
  if (number) return number
  if (isInside) throw new NoLiteral('not a value')
  return { schema: STRING_SCHEMA, value: tokens.text }
}

function isWord(tokens: LiteralTokens, word: string, isInside: boolean): boolean {
  const start = tokens.mark()
  if (tokens.take(word) && (isInside || !tokens.hasNext())) return true
  tokens.rewind(start)
  return false
}

function quoted(tokens: LiteralTokens): Literal {
  let text = ''
  while (tokens.hasNext() && !tokens.take('"')) text += tokens.next()
  return temporalOf(text) ?? { schema: STRING_SCHEMA, value: text }
}

function list(tokens: LiteralTokens): Literal {
  const values: ConnectValue[] = []
  const common = new CommonSchema()
  while (tokens.hasNext()) {
    if (tokens.take(']')) {
      const { schema } = common
      const whole = new ConnectSchema({ type: 'array', valueSchema: schema })
      return { schema: whole, value: schema ? values.map((value) => aligned(schema, value)) : values }
    }
    if (tokens.take(',')) throw new NoLiteral('an element is empty')
    const element = parse(tokens, true)
    common.merge(element)
    values.push(element?.value ?? null)
    const position = tokens.mark()
    if (tokens.take(']')) tokens.rewind(position)
    else if (!tokens.take(',')) throw new NoLiteral('no comma between elements')
  }
  throw new NoLiteral('the list is not closed')
}

function map(tokens: LiteralTokens): Literal {
  const entries: [ConnectValue, ConnectValue][] = []
  const [keys, values] = [new CommonSchema(), new CommonSchema()]
  while (tokens.hasNext()) {
    if (tokens.take('}')) return mapOf(entries, keys.schema, keys.schema && values.schema)
    if (tokens.take(',')) throw new NoLiteral('an entry is empty')
    const key = parse(tokens, true)
    if (key === undefined || key.value === null) throw new NoLiteral('a key is null')
    if (!tokens.take(':')) throw new NoLiteral('no colon after a key')
    const value = parse(tokens, true)
    entries.push([key.value, value?.value ?? null])
    tokens.take(',')
    keys.merge(key)
    values.merge(value)
  }
  throw new NoLiteral('the map is not closed')
}

function mapOf(
  entries: readonly (readonly [ConnectValue, ConnectValue])[],
  keySchema: ConnectSchema | undefined,
  valueSchema: ConnectSchema | undefined,
): Literal {
  const value = new Map<ConnectValue, ConnectValue>()
  for (const [key, each] of entries) {
    value.set(keySchema ? aligned(keySchema, key) : key, valueSchema ? aligned(valueSchema, each) : each)
  }
  return { schema: new ConnectSchema({ type: 'map', keySchema, valueSchema }), value }
}

/** Times and timestamps have colons, which part tokens. */
function temporalOfTokens(tokens: LiteralTokens, first: string): Literal | undefined {
  const position = tokens.mark()
  const rest = tokens.nextOf(4)
  const found = rest === undefined ? undefined : temporalOf(first + rest)
  if (found) return found
  tokens.rewind(position)
  return temporalOf(first)
}

const TEMPORALS: readonly (readonly [length: number, schema: ConnectSchema, format: DateFormat])[] = [
  [10, DATE_SCHEMA, ISO_DATE],
  [13, TIME_SCHEMA, ISO_TIME],
  [24, TIMESTAMP_SCHEMA, ISO_TIMESTAMP],
]

function temporalOf(token: string): Literal | undefined {
  const text = token.replaceAll('\\:', ':')
  const [, schema, format] = TEMPORALS.find(([length]) => length === text.length) ?? []
  const millis = format?.parse(text)
  return schema === undefined || millis === undefined ? undefined : { schema, value: new Instant(millis) }
}

const INTEGERS = [
  ['int8', 8],
  ['int16', 16],
  ['int32', 32],
] as const

function numberOf(token: string): Literal | undefined {
  const decimal = parseDecimal(token)
  if (decimal === undefined) return undefined
  const whole = wholeNumber(decimal)
  if (whole !== undefined) {
    const [type] = INTEGERS.find(([, bits]) => BigInt.asIntN(bits, whole) === whole) ?? []
    if (type === undefined) return { schema: plain('int64'), value: whole }
    return { schema: plain(type), value: new SizedNumber(type, Number(whole)) }
  }
  const [float, double] = [decimalToFloat(decimal), decimalToDouble(decimal)]
  if (decimal.scale !== 0 && Number.isFinite(float)) {
    return { schema: plain('float32'), value: new SizedNumber('float32', float) }
  }
  if (decimal.scale !== 0 && Number.isFinite(double)) return { schema: plain('float64'), value: double }
  return { schema: decimalSchema(decimal.scale), value: decimal }
}

/** Within a long; undefined also for fractions. */
function wholeNumber(decimal: Decimal): bigint | undefined {
  if (decimal.unscaled === 0n) return 0n
  const digitsBeforePoint = String(decimal.unscaled).replace('-', '').length - decimal.scale
  if (digitsBeforePoint < 1 || digitsBeforePoint > 20 || !isWhole(decimal)) return undefined
  const value = decimalToInteger(decimal)
  return BigInt.asIntN(64, value) === value ? value : undefined
}

function plain(type: SchemaType): ConnectSchema {
  return new ConnectSchema({ type })
}

const NUMBER_ORDER = ['int8', 'int16', 'int32', 'int64', 'float32', 'float64'] as const
type NumberType = (typeof NUMBER_ORDER)[number]

/** One schema for all elements; undefined: there is none, or all are null. */
class CommonSchema {
  schema: ConnectSchema | undefined
  private isCompatible = true

  merge(latest: Literal | undefined): void {
    if (latest?.schema === undefined || !this.isCompatible) return
    this.schema = this.schema === undefined ? latest.schema : commonOf(this.schema, latest.schema)
    this.isCompatible = this.schema !== undefined
  }
}

/** Of the same type the later one, of numbers the wider one. */
function commonOf(earlier: ConnectSchema, later: ConnectSchema): ConnectSchema | undefined {
  if (earlier.type === later.type) return later
  const [a, b] = [earlier, later].map(({ type }) => NUMBER_ORDER.indexOf(type as NumberType))
  if (a < 0 || b < 0) return undefined
  return b > a ? later : earlier
}

function aligned(schema: ConnectSchema, value: ConnectValue): ConnectValue {
  if (value === null) throw new NoLiteral('null where others are not')
  const number = value instanceof SizedNumber ? value.value : value
  switch (schema.type) {
    case 'int8':
    case 'int16':
      return Number(integer(number))
    case 'int32':
      if (schema.name === DATE || schema.name === TIME) {
        if (number instanceof Instant) return number
        const count = Number(integer(number))
        if (schema.name === DATE) return new Instant(count * DAY_MS)
        if (count < 0 || count > DAY_MS) throw new NoLiteral('no time of a day')
        return new Instant(count)
      }
      return Number(integer(number))
    case 'int64':
      if (schema.name === TIMESTAMP) return number instanceof Instant ? number : new Instant(Number(integer(number)))
      return integer(number)
    case 'float32':
      return Math.fround(floating(number))
    case 'float64':
      return floating(number)
    default:
      return number
  }
}

function integer(value: ConnectValue): bigint {
  if (typeof value === 'bigint') return value
  if (typeof value === 'number') return BigInt(Math.trunc(value))
  throw new NoLiteral('not a number')
}

function floating(value: ConnectValue): number {
  if (typeof value === 'number') return value
  if (typeof value === 'bigint') return Number(value)
  throw new NoLiteral('not a number')
}
