/** Records and schemas as `ConnectOracle.java` reads and writes them: every value tells its Java class. */
import type { ConnectRecord } from '../../ingest/connect/data/record.ts'
import type { ConnectSchema } from '../../ingest/connect/data/schema.ts'
import {
  type ConnectValue,
  Decimal,
  Instant,
  isArray,
  isMap,
  SizedNumber,
  type Struct,
} from '../../ingest/connect/data/values.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json }

const SIZES = { int8: 'i8', int16: 'i16', int32: 'i32', float32: 'f32', float64: 'f64' } as const
const isSized = (type: string | undefined): type is keyof typeof SIZES => type !== undefined && type in SIZES

/** Floats as text in questions, as their bits in answers. */
type Floats = 'text' | 'bits'

export function encodeRecord(record: ConnectRecord, floats: Floats): { readonly [name: string]: Json } {
  const schema = (each: ConnectSchema | undefined): Json => encodeSchema(each, floats)
  return {
    topic: record.topic,
    partition: record.partition,
    keySchema: schema(record.keySchema),
    key: encodeValue(record.key, record.keySchema, floats),
    valueSchema: schema(record.valueSchema),
    value: encodeValue(record.value, record.valueSchema, floats),
    timestamp: record.timestamp ?? null,
    offset: Number(record.offset),
    headers: record.headers.map(({ name, schema: own, value }) => [name, schema(own), encodeValue(value, own, floats)]),
  }
}

function encodeSchema(schema: ConnectSchema | undefined, floats: Floats): Json {
  if (schema === undefined) return null
  const { name, version, doc, parameters, defaultValue } = schema
  return {
    type: schema.type,
    optional: schema.optional,
    ...(name === undefined ? {} : { name }),
    ...(version === undefined ? {} : { version }),
    ...(doc === undefined ? {} : { doc }),
    ...(parameters === undefined ? {} : { parameters: [...parameters].sort(([a], [b]) => (a < b ? -1 : 1)) }),
    ...(defaultValue === undefined ? {} : { default: encodeValue(defaultValue, schema, floats) }),
    ...(schema.type === 'struct'
      ? { fields: schema.fields.map((field) => [field.name, encodeSchema(field.schema, floats)]) }
      : {}),
    ...(schema.type === 'map' ? { keySchema: encodeSchema(schema.keySchema, floats) } : {}),
    ...(schema.type === 'map' || schema.type === 'array'
      ? { valueSchema: encodeSchema(schema.valueSchema, floats) }
      : {}),
  }
}

export function encodeValue(value: ConnectValue, schema: ConnectSchema | undefined, floats: Floats): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') return encodeNumber(value, isSized(schema?.type) ? schema.type : 'float64', floats)
  if (typeof value === 'bigint') return { i64: String(value) }
  if (value instanceof SizedNumber) return encodeNumber(value.value, value.type, floats)
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString('base64') }
  if (value instanceof Decimal) return { dec: [String(value.unscaled), value.scale] }
  if (value instanceof Instant) return { date: String(value.millis) }
  if (isArray(value)) return { list: value.map((each) => encodeValue(each, schema?.valueSchema, floats)) }
  if (isMap(value)) {
    return {
      map: [...value].map(([key, each]) => [
        encodeValue(key, schema?.keySchema, floats),
        encodeValue(each, schema?.valueSchema, floats),
      ]),
    }
  }
  const struct: Struct = value
  return { struct: struct.values.map((each, i) => encodeValue(each, struct.schema.fields[i].schema, floats)) }
}

function encodeNumber(value: number, type: keyof typeof SIZES, floats: Floats): Json {
  if (type !== 'float32' && type !== 'float64') return { [SIZES[type]]: value }
  return { [SIZES[type]]: floats === 'text' ? (Object.is(value, -0) ? '-0' : String(value)) : bitsOf(value, type) }
}

function bitsOf(value: number, type: 'float32' | 'float64'): string {
  const view = new DataView(new ArrayBuffer(8))
  if (type === 'float32') view.setFloat32(0, value)
  else view.setFloat64(0, value)
  return type === 'float32' ? view.getUint32(0).toString(16) : view.getBigUint64(0).toString(16)
}

/** Maps have no order that anybody may rely on. */
export function withoutOrder(json: Json): Json {
  if (Array.isArray(json)) return json.map(withoutOrder)
  if (typeof json !== 'object' || json === null) return json
  const entries = Object.entries(json as { readonly [name: string]: Json }).map(([name, each]) => {
    const inner = withoutOrder(each)
    if (name !== 'map' || !Array.isArray(inner)) return [name, inner] as const
    return [name, inner.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))] as const
  })
  return Object.fromEntries(entries)
}
