/**
 * Connect data → what `setGeneralValue` takes, by the column's type: the general way into columns, after transforms.
 *
 * With a schema a value has the type that the schema says. Without one the same rules hold as for JSON: text may be a date, a
 * uuid, base64 or a number in quotes, a whole number may be days or milliseconds; nothing is rounded.
 */
import { type ColumnType, type Field, formatColumnType } from '../../schemas/column-type.ts'
import { keysOfFields, matchFields } from '../../schemas/match-fields.ts'
import { recordFieldOf } from '../connect/data/record-fields.ts'
import type { ConnectSchema } from '../connect/data/schema.ts'
import { type ConnectValue, Decimal, Instant, isArray, isMap, SizedNumber, Struct } from '../connect/data/values.ts'
import type { GeneralValue } from '../decoder/general-value.ts'
import { textToDays, textToTimeMicros, textToTimestampMicros } from '../decoder/read-text.ts'
import { connectJsonText, decimalText } from './json/connect-text.ts'

/** Why a value is none for its column. */
export class ConnectMisfit {
  readonly reason: string
  readonly column: string
  constructor(column: string, reason: string) {
    this.column = column
    this.reason = reason
  }
}

const DAY_MILLIS = 86_400_000
const REFUSED = Symbol('refused')

/** Places of a struct's fields in a table's, by schema: -1 for those that no column is. */
export type Places = (schema: ConnectSchema, fields: readonly Field[]) => Int32Array

export function createPlaces(): Places {
  const known = new WeakMap<ConnectSchema, Map<readonly Field[], Int32Array>>()
  return (schema, fields) => {
    let byFields = known.get(schema)
    if (!byFields) {
      byFields = new Map()
      known.set(schema, byFields)
    }
    let places = byFields.get(fields)
    if (!places) {
      places = matchFields(
        schema.fields.map((field) => recordFieldOf(field.name, field.schema)),
        fields,
      )
      byFields.set(fields, places)
    }
    return places
  }
}

/** Throws a `ConnectMisfit`. `path` is the column's. */
export function columnValue(
  field: Field,
  value: ConnectValue,
  schema: ConnectSchema | undefined,
  path: string,
  places: Places,
): GeneralValue {
  if (value === null) {
    if (!field.required) return null
    throw new ConnectMisfit(
      path,
      `column "${path}": expected ${formatColumnType(field.type)}, found null; it is required`,
    )
  }
  const made = convert(field.type, value, schema, path, places)
  if (made !== REFUSED) return made
  throw new ConnectMisfit(path, `column "${path}": expected ${formatColumnType(field.type)}, found ${kindOf(value)}`)
}

function convert(
  type: ColumnType,
  value: ConnectValue,
  schema: ConnectSchema | undefined,
  path: string,
  places: Places,
): GeneralValue | typeof REFUSED {
  switch (type.kind) {
    case 'boolean':
      return typeof value === 'boolean' ? value : REFUSED
    case 'string':
      return typeof value === 'string' ? value.toWellFormed() : REFUSED
    case 'json':
      return connectJsonText(value, schema)
    case 'binary':
      return binary(value)
    case 'uuid':
      return uuid(value)
    case 'int':
      return whole(value, 32, false) ?? REFUSED
    case 'long':
      return whole(value, 64, true) ?? REFUSED
    case 'float':
    case 'double':
      return real(value)
    case 'decimal':
      return decimal(value, type.precision, type.scale)
    case 'date':
      if (value instanceof Instant) return value.millis % DAY_MILLIS === 0 ? value.epochDays() : REFUSED
      return typeof value === 'string' ? (textToDays(value) ?? REFUSED) : (whole(value, 32, false) ?? REFUSED)
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return instant(type.kind, value)
    case 'list':
      if (!isArray(value)) return REFUSED
      return value.map((each) => columnValue(type.element, each, schema?.valueSchema, `${path}.element`, places))
    case 'map': {
      if (!isMap(value)) return REFUSED
      const made = new Map<GeneralValue, GeneralValue>()
      for (const [key, each] of value) {
        const at = mapKey(type.key, key, schema?.keySchema, path, places)
        made.delete(at)
        made.set(at, columnValue(type.value, each, schema?.valueSchema, `${path}.value`, places))
      }
      return made
    }
    case 'struct':
      return struct(type.fields, value, path, places)
  }
}

/** Keys of an object without a schema are text, whatever they mean. */
function mapKey(
  field: Field,
  key: ConnectValue,
  schema: ConnectSchema | undefined,
  path: string,
  places: Places,
): GeneralValue {
  const isText = schema === undefined && typeof key === 'string'
  const { kind } = field.type
  if (
    isText &&
    (kind === 'int' || kind === 'float' || kind === 'double') &&
    /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(key)
  ) {
    return columnValue(field, Number(key), undefined, `${path}.key`, places)
  }
  if (isText && kind === 'boolean' && (key === 'true' || key === 'false')) return key === 'true'
  return columnValue(field, key, schema, `${path}.key`, places)
}

function struct(
  fields: readonly Field[],
  value: ConnectValue,
  path: string,
  places: Places,
): GeneralValue | typeof REFUSED {
  const made = new Map<GeneralValue, GeneralValue>()
  for (const field of fields) made.set(field.name, null)
  if (value instanceof Struct) {
    const found = places(value.schema, fields)
    for (const own of value.schema.fields) {
      const field = fields[found[own.index]]
      if (field) made.set(field.name, columnValue(field, value.get(own), own.schema, `${path}.${field.name}`, places))
    }
  } else if (isMap(value)) {
    const known = keysOfFields(fields)
    for (const [key, each] of value) {
      const position = typeof key === 'string' ? known.get(key) : undefined
      if (position === undefined) continue
      const field = fields[position]
      made.set(field.name, columnValue(field, each, undefined, `${path}.${field.name}`, places))
    }
  } else return REFUSED
  for (const field of fields) {
    if (made.get(field.name) === null) columnValue(field, null, undefined, `${path}.${field.name}`, places)
  }
  return made
}

function numberOf(value: ConnectValue): number | bigint | undefined {
  if (typeof value === 'number' || typeof value === 'bigint') return value
  return value instanceof SizedNumber ? value.value : undefined
}

function whole(value: ConnectValue, bits: 32 | 64, isTextToo: boolean): number | bigint | undefined {
  let number = numberOf(value)
  if (isTextToo && typeof value === 'string' && /^-?\d{1,19}$/.test(value)) number = BigInt(value)
  if (isTextToo && value instanceof Instant && value.micros === 0) number = value.millis
  if (number === undefined || (typeof number === 'number' && !Number.isSafeInteger(number))) return undefined
  const big = BigInt(number)
  if (BigInt.asIntN(bits, big) !== big) return undefined
  return bits === 32 ? Number(big) : big
}

function real(value: ConnectValue): number | typeof REFUSED {
  const number = numberOf(value)
  if (number !== undefined) return Number(number)
  return value instanceof Decimal ? Number(decimalText(value)) : REFUSED
}

function decimal(value: ConnectValue, precision: number, scale: number): bigint | typeof REFUSED {
  let own: Decimal | undefined
  const number = numberOf(value)
  if (value instanceof Decimal) own = value
  else if (number !== undefined || typeof value === 'string') own = decimalOf(String(number ?? value))
  if (!own) return REFUSED
  const shift = scale - own.scale
  const factor = 10n ** BigInt(Math.min(Math.abs(shift), 1000))
  if (shift < 0 && own.unscaled % factor !== 0n) return REFUSED
  const unscaled = shift < 0 ? own.unscaled / factor : own.unscaled * factor
  const limit = 10n ** BigInt(precision)
  return unscaled < limit && unscaled > -limit ? unscaled : REFUSED
}

function decimalOf(text: string): Decimal | undefined {
  const match = /^(-?\d+)(?:\.(\d+))?(?:[eE]([+-]?\d{1,4}))?$/.exec(text)
  if (!match) return undefined
  const [, head, fraction = '', exponent = '0'] = match
  const scale = fraction.length - Number(exponent)
  const digits = BigInt(head.replace('-', '') + fraction)
  const unscaled = head.startsWith('-') ? -digits : digits
  return scale >= 0 ? new Decimal(unscaled, scale) : new Decimal(unscaled * 10n ** BigInt(Math.min(-scale, 1000)), 0)
}

function instant(kind: 'time' | 'timestamp' | 'timestamptz', value: ConnectValue): number | bigint | typeof REFUSED {
  const isTime = kind === 'time'
  let micros: number | bigint | undefined
  if (value instanceof Instant) micros = value.epochMicros()
  else if (typeof value === 'string') micros = isTime ? textToTimeMicros(value) : textToTimestampMicros(value)
  else {
    const millis = whole(value, 64, false)
    micros = millis === undefined ? undefined : BigInt(millis) * 1000n
  }
  if (micros === undefined) return REFUSED
  const big = BigInt(micros)
  const fits = isTime ? big >= 0n && big < 86_400_000_000n : BigInt.asIntN(64, big) === big
  return fits ? big : REFUSED
}

function binary(value: ConnectValue): Uint8Array | typeof REFUSED {
  if (value instanceof Uint8Array) return value
  if (typeof value !== 'string' || !/^[\w+/-]*={0,2}$/.test(value)) return REFUSED
  return Buffer.from(value, 'base64')
}

function uuid(value: ConnectValue): string | typeof REFUSED {
  return typeof value === 'string' && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value) ? value : REFUSED
}

function kindOf(value: ConnectValue): string {
  if (value === null) return 'null'
  if (isArray(value)) return 'array'
  if (isMap(value)) return 'map'
  if (value instanceof Struct) return 'struct'
  if (value instanceof Uint8Array) return 'bytes'
  if (value instanceof Decimal) return 'decimal'
  if (value instanceof Instant) return 'date or time'
  return typeof value === 'string' ? 'string' : typeof value === 'boolean' ? 'boolean' : 'number'
}
