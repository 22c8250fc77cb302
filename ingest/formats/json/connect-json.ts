/**
 * JSON as Connect's JsonConverter reads it: schemas (the `schema` of an envelope) and values, with a schema and without.
 *
 *   without a schema   numbers without fraction and exponent are int64, others float64; objects are maps with text keys
 *   with one           int8..int64, float32, float64, boolean, string   the JSON value
 *                      bytes                        base64 text          Decimal           base64 of its unscaled bytes, or a number
 *                      Date, Time, Timestamp        days, ms, ms         array             array
 *                      map with text keys           object               map with others   array of pairs
 *                      struct                       object; what is null or missing is the default, or null where that may be
 */

import { MillraceError } from '../../../schemas/errors.ts'
import {
  ConnectSchema,
  DATE,
  DECIMAL,
  SCHEMA_TYPES,
  type SchemaType,
  TIME,
  TIMESTAMP,
} from '../../connect/data/schema.ts'
import { type ConnectValue, Decimal, Instant, Struct } from '../../connect/data/values.ts'
import { bigFromBytes } from '../../decoder/read-text.ts'
import { isJsonArray, isJsonObject, JsonNumber, type JsonObject, type JsonValue, jsonText } from './read-json.ts'

/** What Java's JsonConverter calls the types. */
const TYPE_NAMES: Readonly<Record<string, SchemaType>> = {
  ...Object.fromEntries(SCHEMA_TYPES.map((type) => [type, type])),
  float: 'float32',
  double: 'float64',
}
const DEPTH_MAX = 100

/** A value does not fit its schema: `reason` names the path. */
export class MisfitValue {
  readonly reason: string
  readonly path: string
  constructor(path: string, reason: string) {
    this.path = path
    this.reason = reason
  }
}

/**
 * The `schema` of an envelope; undefined for null. `hasDefaults` false: those of fields are left out, and null stays null. Throws
 * `conversion-failed` for what is none.
 */
export function connectSchemaOf(json: JsonValue, hasDefaults = true, depth = 0): ConnectSchema | undefined {
  if (json === null) return undefined
  if (!isJsonObject(json)) throw notASchema('expected an object')
  if (depth > DEPTH_MAX) throw notASchema(`nested deeper than ${DEPTH_MAX}`)
  const typeName = json.get('type')
  const type = typeof typeName === 'string' && Object.hasOwn(TYPE_NAMES, typeName) ? TYPE_NAMES[typeName] : undefined
  if (!type) throw notASchema(`unknown type ${typeName === undefined ? 'nothing' : jsonText(typeName)}`)
  const version = json.get('version')
  const parameters = json.get('parameters')
  const name = json.get('name')
  const doc = json.get('doc')
  const bare = new ConnectSchema({
    type,
    optional: json.get('optional') === true,
    name: typeof name === 'string' ? name : undefined,
    version: version instanceof JsonNumber ? Number(version.text) : undefined,
    doc: typeof doc === 'string' ? doc : undefined,
    parameters: isJsonObject(parameters)
      ? new Map([...parameters].map(([key, value]) => [key, typeof value === 'string' ? value : jsonText(value)]))
      : undefined,
    fields: type === 'struct' ? structFields(json, hasDefaults, depth) : undefined,
    keySchema: type === 'map' ? inner(json, 'keys', hasDefaults, depth) : undefined,
    valueSchema:
      type === 'map'
        ? inner(json, 'values', hasDefaults, depth)
        : type === 'array'
          ? inner(json, 'items', hasDefaults, depth)
          : undefined,
  })
  if (bare.name === DECIMAL && !/^-?\d{1,5}$/.test(bare.parameters?.get('scale') ?? '')) {
    throw notASchema('a Decimal without the parameter "scale"')
  }
  const fallback = json.get('default') ?? null
  if (fallback === null || !hasDefaults) return bare
  try {
    return bare.with({ defaultValue: connectValue(bare, fallback, '') })
  } catch (misfit) {
    if (misfit instanceof MisfitValue) throw notASchema(`default ${misfit.reason}`)
    throw misfit
  }
}

function structFields(json: JsonObject, hasDefaults: boolean, depth: number) {
  const fields = json.get('fields')
  if (!isJsonArray(fields)) throw notASchema('a struct without "fields"')
  const names = new Set<string>()
  return fields.map((field) => {
    const name = isJsonObject(field) ? field.get('field') : undefined
    if (typeof name !== 'string' || names.has(name))
      throw notASchema('a struct with a field that has no name of its own')
    names.add(name)
    return { name, schema: required(connectSchemaOf(field, hasDefaults, depth + 1)) }
  })
}

function inner(json: JsonObject, key: string, hasDefaults: boolean, depth: number): ConnectSchema {
  const schema = json.get(key)
  if (schema === undefined) throw notASchema(`expected "${key}"`)
  return required(connectSchemaOf(schema, hasDefaults, depth + 1))
}

function required(schema: ConnectSchema | undefined): ConnectSchema {
  if (schema) return schema
  throw notASchema('null where a schema is expected')
}

function notASchema(what: string): MillraceError {
  return new MillraceError('conversion-failed', `the envelope's schema is none of Connect's: ${what}`)
}

/** A number of JSON without a schema. */
export function schemalessNumber(text: string): bigint | number {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code !== 0x2d && (code < 0x30 || code > 0x39)) return Number(text)
  }
  if (text.length < 16) return BigInt(Number(text))
  const value = BigInt(text)
  return BigInt.asIntN(64, value) === value ? value : Number(text)
}

/** Throws a `MisfitValue`. */
export function connectValue(schema: ConnectSchema, json: JsonValue, path: string): ConnectValue {
  if (json === null) {
    if (schema.defaultValue !== undefined) return schema.defaultValue
    if (schema.optional) return null
    throw new MisfitValue(path, `expected ${schema.type}, found null; it is required`)
  }
  const logical = logicalValue(schema, json, path)
  return logical === undefined ? plainValue(schema, json, path) : logical
}

function logicalValue(schema: ConnectSchema, json: JsonValue, path: string): ConnectValue | undefined {
  switch (schema.name) {
    case DECIMAL: {
      if (schema.type !== 'bytes') return undefined
      const scale = Number(schema.parameters?.get('scale'))
      if (json instanceof JsonNumber) return decimalOf(json, scale, path)
      return new Decimal(bigFromBytes(base64(json, path)), scale)
    }
    case DATE:
      return schema.type === 'int32' ? new Instant(integer(json, 32, path) * 86_400_000) : undefined
    case TIME:
      return schema.type === 'int32' ? new Instant(integer(json, 32, path)) : undefined
    case TIMESTAMP:
      return schema.type === 'int64' ? new Instant(integer(json, 64, path)) : undefined
    default:
      return undefined
  }
}

function plainValue(schema: ConnectSchema, json: JsonValue, path: string): ConnectValue {
  switch (schema.type) {
    case 'int8':
    case 'int16':
    case 'int32':
      return integer(json, Number(schema.type.slice(3)), path)
    case 'int64':
      return BigInt.asIntN(64, wholeNumber(json, 64, path))
    case 'float32':
      return Math.fround(number(json, path))
    case 'float64':
      return number(json, path)
    case 'boolean':
      if (typeof json === 'boolean') return json
      break
    case 'string':
      if (typeof json === 'string') return json
      break
    case 'bytes':
      return base64(json, path)
    case 'array':
      if (isJsonArray(json)) return json.map((each) => connectValue(schema.valueSchema!, each, `${path}.element`))
      break
    case 'map':
      return mapValue(schema, json, path)
    case 'struct':
      if (isJsonObject(json)) {
        const at = path === '' ? '' : `${path}.`
        return new Struct(
          schema,
          schema.fields.map((field) => connectValue(field.schema, json.get(field.name) ?? null, at + field.name)),
        )
      }
  }
  throw misfit(schema.type, json, path)
}

function mapValue(schema: ConnectSchema, json: JsonValue, path: string): ConnectValue {
  const { keySchema, valueSchema } = schema
  const made = new Map<ConnectValue, ConnectValue>()
  if (keySchema?.type === 'string' && isJsonObject(json)) {
    for (const [key, value] of json) made.set(key, connectValue(valueSchema!, value, `${path}.value`))
    return made
  }
  if (keySchema?.type === 'string' || !isJsonArray(json)) throw misfit('map', json, path)
  for (const pair of json) {
    if (!isJsonArray(pair) || pair.length !== 2) throw misfit('a pair', pair, path)
    made.set(connectValue(keySchema!, pair[0], `${path}.key`), connectValue(valueSchema!, pair[1], `${path}.value`))
  }
  return made
}

function decimalOf(json: JsonNumber, scale: number, path: string): Decimal {
  const match = /^(-?\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(json.text)
  const fraction = match?.[2] ?? ''
  const power = scale - fraction.length + Number(match?.[3] ?? 0)
  const digits = BigInt((match?.[1] ?? '') + fraction)
  if (power >= 0 && power < 1000) return new Decimal(digits * 10n ** BigInt(power), scale)
  const divisor = 10n ** BigInt(Math.min(-power, 1000))
  if (power < 0 && digits % divisor === 0n) return new Decimal(digits / divisor, scale)
  throw new MisfitValue(path, `expected decimal of scale ${scale}, found number with more fraction digits`)
}

function base64(json: JsonValue, path: string): Uint8Array {
  if (typeof json !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(json)) throw misfit('bytes as base64', json, path)
  return Uint8Array.from(Buffer.from(json, 'base64'))
}

function number(json: JsonValue, path: string): number {
  if (json instanceof JsonNumber) return Number(json.text)
  throw misfit('number', json, path)
}

function integer(json: JsonValue, bits: number, path: string): number {
  return Number(wholeNumber(json, bits, path))
}

function wholeNumber(json: JsonValue, bits: number, path: string): bigint {
  const text = json instanceof JsonNumber ? /^(-?\d{1,30})(?:\.0+)?$/.exec(json.text)?.[1] : undefined
  if (text === undefined) throw misfit(`int${bits}`, json, path)
  const value = BigInt(text)
  if (BigInt.asIntN(bits, value) !== value) {
    throw new MisfitValue(path, `expected int${bits}, found number out of range`)
  }
  return value
}

function misfit(expected: string, json: JsonValue, path: string): MisfitValue {
  return new MisfitValue(path, `expected ${expected}, found ${kindOf(json)}`)
}

function kindOf(json: JsonValue): string {
  if (json === null) return 'null'
  if (json instanceof JsonNumber) return 'number'
  return isJsonArray(json) ? 'array' : isJsonObject(json) ? 'object' : typeof json
}
