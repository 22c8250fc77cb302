/**
 * Protobuf values as Kafka Connect data, for pipelines with transforms: the general way. Types are mapped as Confluent's
 * converter does it, with these differences: unsigned numbers of 64 bits from 2^63 on fail the record, Struct, Value and
 * ListValue become JSON text, and a oneof's members are fields of the message itself.
 *
 *   int32 sint32 sfixed32                    int32        Timestamp            Timestamp, microseconds kept
 *   uint32 fixed32, all 64-bit integers      int64        Int64Value, …        the type inside, optional
 *   float double bool string bytes           the same     google.type.Date     Date
 *   enum                                     string       google.type.TimeOfDay Time
 *   message                                  struct       confluent Decimal    Decimal, where the field says its precision
 *   repeated, map                            array, map
 */
import { ConnectSchema, DATE, DECIMAL, type SchemaParts, TIME, TIMESTAMP } from '../../connect/data/schema.ts'
import { type ConnectValue, Decimal, Instant, instantOfMicros, Struct } from '../../connect/data/values.ts'
import { signedOf } from '../binary/put-values.ts'
import type { ReadValue } from '../format.ts'
import { epochDays, jsonOfField, timeOfDayMicros, timestampMicros } from './proto-json.ts'
import { isMapField, type ProtoField, type ProtoMessage, wellKnownOf } from './proto-type.ts'
import { fallbackOf, type ProtoValue, ProtoValues, readMessage, Stop, stop } from './proto-values.ts'
import { problem, problemAt } from './proto-wire.ts'

const PRECISION = 'connect.decimal.precision'
const INT64_MAX = 2n ** 63n - 1n

type Reader = { readonly schema: ConnectSchema; readonly read: (value: ProtoValue) => ConnectValue }
type FieldReader = { readonly schema: ConnectSchema; readonly read: (value: ProtoValue | undefined) => ConnectValue }

/** Messages inside themselves were refused before (`protoFields`). */
export function createProtoReader(type: ProtoMessage): ReadValue {
  const reader = messageReader(type, {})
  return (bytes, start, end) => {
    try {
      const message = readMessage(type, bytes, start, end)
      checkRequired(message, start)
      return { schema: reader.schema, value: reader.read(message) }
    } catch (error) {
      if (!(error instanceof Stop)) throw error
      const reason = `malformed Protobuf: ${problem} at byte ${Math.max(0, problemAt - start)}`
      return { failure: { reason, column: undefined } }
    }
  }
}

function checkRequired({ type, values }: ProtoValues, at: number): void {
  type.fields.forEach((field, index) => {
    const value = values[index]
    if (value === undefined && field.required) stop(field.name, `the required field "${field.name}" is missing`, at)
    for (const each of Array.isArray(value) ? value : value instanceof Map ? value.values() : [value]) {
      if (each instanceof ProtoValues) checkRequired(each, at)
    }
  })
}

function messageReader(type: ProtoMessage, parts: Partial<SchemaParts>): Reader {
  const readers = type.fields.map(fieldReader)
  const schema = new ConnectSchema({
    ...parts,
    type: 'struct',
    name: type.name,
    fields: type.fields.map(({ name }, index) => ({ name, schema: readers[index].schema })),
  })
  return {
    schema,
    read(value) {
      const { values } = value as ProtoValues
      return new Struct(
        schema,
        readers.map(({ read }, index) => read(values[index])),
      )
    },
  }
}

function fieldReader(field: ProtoField): FieldReader {
  const optional = field.presence && !field.required
  if (isMapField(field)) {
    const keyField: ProtoField = { ...field, kind: field.keyKind!, message: undefined, enumType: undefined }
    const key = valueReader(keyField, {})
    const value = valueReader(field, {})
    return {
      schema: new ConnectSchema({ type: 'map', keySchema: key.schema, valueSchema: value.schema }),
      read(map) {
        const entries = [...((map ?? new Map()) as Map<bigint | boolean | string, ProtoValue>)]
        const isNarrow = key.schema.type === 'int32'
        return new Map(entries.map(([k, v]) => [isNarrow ? Number(k) : key.read(k), value.read(v)]))
      },
    }
  }
  const single = valueReader(field, field.repeated ? {} : { optional })
  if (field.repeated) {
    return {
      schema: new ConnectSchema({ type: 'array', valueSchema: single.schema }),
      read: (list) => ((list ?? []) as ProtoValue[]).map((each) => single.read(each)),
    }
  }
  return {
    schema: single.schema,
    read(value) {
      const found = value ?? fallbackOf(field)
      return found === undefined ? null : single.read(found)
    },
  }
}

function valueReader(field: ProtoField, parts: Partial<SchemaParts>): Reader {
  const plain = (type: SchemaParts['type'], read: Reader['read']): Reader => ({
    schema: new ConnectSchema({ ...parts, type }),
    read,
  })
  const logical = (type: SchemaParts['type'], name: string, read: (message: ProtoValues) => ConnectValue): Reader => ({
    schema: new ConnectSchema({ ...parts, type, name, version: 1 }),
    read: (value) => read(value as ProtoValues),
  })
  switch (field.kind) {
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return plain('int32', (value) => value as number)
    case 'float':
      return plain('float32', (value) => value as number)
    case 'double':
      return plain('float64', (value) => value as number)
    case 'bool':
      return plain('boolean', (value) => value as boolean)
    case 'string':
    case 'enum':
      return plain('string', (value) => value as string)
    case 'bytes':
      return plain('bytes', (value) => value as Buffer)
    case 'message':
      break
    default:
      return plain('int64', (value) => {
        if ((value as bigint) > INT64_MAX) return stop(field.name, 'number out of range', 0)
        return value as bigint
      })
  }
  const message = field.message!
  switch (wellKnownOf(field)) {
    case 'timestamp':
      return logical('int64', TIMESTAMP, (value) => instantOfMicros(timestampMicros(value)))
    case 'date':
      return logical('int32', DATE, (value) => new Instant(epochDays(value) * 86_400_000))
    case 'time-of-day':
      return logical('int32', TIME, (value) => instantOfMicros(BigInt(timeOfDayMicros(value))))
    case 'struct':
    case 'value':
    case 'list-value':
      return plain('string', (value) => jsonOfField({ ...field, repeated: false, keyKind: undefined }, value))
    case 'wrapper': {
      const [inner] = message.fields
      const reader = valueReader(inner, parts)
      return {
        schema: reader.schema,
        read: (value) => reader.read((value as ProtoValues).values[0] ?? fallbackOf(inner)!),
      }
    }
    case 'decimal': {
      const { precision, scale } = field.decimal!
      const parameters = new Map([
        ['scale', String(scale)],
        [PRECISION, String(precision)],
      ])
      return {
        schema: new ConnectSchema({ ...parts, type: 'bytes', name: DECIMAL, version: 1, parameters }),
        read(value) {
          const [bytes, , ownScale] = (value as ProtoValues).values
          if (ownScale !== undefined && ownScale !== scale) stop(field.name, 'a decimal of another scale', 0)
          const span = (bytes ?? Buffer.alloc(0)) as Buffer
          return new Decimal(
            signedOf(span, 0, span.length) ?? stop(field.name, 'a decimal of too many digits', 0),
            scale,
          )
        },
      }
    }
    default:
      return messageReader(message, parts)
  }
}
