/**
 * MaskField: fields become the empty value of their type (0, false, an empty text, list or map, 1970-01-01), or a replacement
 * for numbers and texts. Null stays null. Bytes and structs have no empty value and are refused, as are tombstones.
 */
import type { ConnectSchema } from '../data/schema.ts'
import { type ConnectValue, Decimal, Instant, isArray, isMap, SizedNumber, Struct } from '../data/values.ts'
import { decimalToDouble, decimalToInteger, INTEGER_BITS, parseDecimal } from '../java/numbers.ts'
import {
  distinct,
  filledText,
  listSetting,
  REPLACE_NULL,
  type Setting,
  type SettingValues,
  textSetting,
} from './settings.ts'
import {
  type ChainContext,
  checkPut,
  describe,
  refuse,
  requireMap,
  requireStruct,
  type Side,
  type Transform,
} from './transform.ts'

export const MASK_FIELD: readonly Setting[] = [
  listSetting('fields', 'Names of the fields to mask.', { problem: distinct('fields', false) }),
  textSetting('replacement', 'What stands there instead, in all of the fields: a number, or a text for texts.', {
    defaultValue: null,
    importance: 'LOW',
    problem: filledText('replacement'),
  }),
  REPLACE_NULL,
]

const PURPOSE = 'masking fields'

type Mask = (value: ConnectValue, schema: ConnectSchema | undefined) => ConnectValue

export function maskField(settings: SettingValues, side: Side, { maps }: ChainContext): Transform {
  const masked = new Set(settings.list('fields'))
  const replacement = settings.text('replacement')
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const mask: Mask = replacement === undefined ? emptyValue : (value, schema) => replaced(value, schema, replacement)
  return (record) => {
    const schema = side.schema(record)
    const value = side.value(record)
    if (schema === undefined) {
      const fields = maps.editable(requireMap(value, PURPOSE))
      for (const name of masked) {
        const field = fields.get(name) ?? null
        fields.set(name, field === null ? null : mask(field, undefined))
      }
      return side.with(record, undefined, fields)
    }
    const struct = requireStruct(value, PURPOSE)
    const values = struct.schema.fields.map((field, i) => {
      const given = withDefaults ? struct.get(field) : struct.values[i]
      return checkPut(field, given !== null && masked.has(field.name) ? mask(given, field.schema) : given)
    })
    return side.with(record, schema, new Struct(struct.schema, values))
  }
}

function emptyValue(value: ConnectValue): ConnectValue {
  switch (typeof value) {
    case 'boolean':
      return false
    case 'number':
      return 0
    case 'bigint':
      return 0n
    case 'string':
      return ''
  }
  if (value instanceof SizedNumber) return new SizedNumber(value.type, 0)
  if (value instanceof Decimal) return new Decimal(0n, 0)
  if (value instanceof Instant) return new Instant(0)
  if (isArray(value)) return []
  if (isMap(value)) return new Map()
  return refuse('data', `${describe(value)} cannot be masked`)
}

const NUMBER_TYPES: ReadonlySet<string> = new Set(['int8', 'int16', 'int32', 'float32', 'float64'])

function replaced(value: ConnectValue, schema: ConnectSchema | undefined, replacement: string): ConnectValue {
  if (typeof value === 'string') return replacement
  if (typeof value === 'bigint') return replacementNumber('int64', replacement)
  if (value instanceof SizedNumber)
    return new SizedNumber(value.type, Number(replacementNumber(value.type, replacement)))
  if (typeof value === 'number') {
    const type = schema && NUMBER_TYPES.has(schema.type) ? schema.type : 'float64'
    return replacementNumber(type as NumberType, replacement)
  }
  if (value instanceof Decimal) return replacementDecimal(replacement)
  return refuse('data', `${describe(value)} cannot be masked with a replacement`)
}

type NumberType = keyof typeof INTEGER_BITS | 'float32' | 'float64'

/** Fractions are cut off and what does not fit wraps, as in Java. */
function replacementNumber(type: NumberType, replacement: string): number | bigint {
  const decimal = replacementDecimal(replacement)
  if (type === 'float64') return decimalToDouble(decimal)
  if (type === 'float32') return Math.fround(decimalToDouble(decimal))
  const value = BigInt.asIntN(INTEGER_BITS[type], decimalToInteger(decimal))
  return type === 'int64' ? value : Number(value)
}

function replacementDecimal(replacement: string): Decimal {
  return parseDecimal(replacement) ?? refuse('data', `the replacement "${replacement}" is no number`)
}
