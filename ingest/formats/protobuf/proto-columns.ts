/**
 * The columns that messages would make. Numbers of fields become `sourceId`s, so that a renamed field keeps its column.
 *
 *   int32 sint32 sfixed32                int          Timestamp                   timestamptz
 *   uint32 fixed32, int64 and the like   long         Int64Value and the like     the type inside, may be null
 *   uint64 fixed64                       long         Struct, Value, ListValue    json
 *   float double                         the same     google.type.Date            date
 *   bool                                 boolean      google.type.TimeOfDay       time
 *   string, enum                         string       confluent.type.Decimal      decimal, where the field says its precision
 *   bytes                                binary       message without fields      json
 *   repeated, map                        list, map    any other message (Duration, Any too)   struct
 *
 * A uint64 from 2^63 on fits no long: such a record is a dead letter, unless the column was made a decimal(20,0).
 * Null where absent says something: messages, `optional`, members of a oneof, proto2. Otherwise the default value.
 *
 * Refused (`conversion-failed`): a message inside itself, names in one message that differ in case only, more than
 * `FIELDS_MAX` fields in all, nesting deeper than `NESTING_MAX`.
 */
import { type ColumnType, type Field, NESTING_MAX } from '../../../schemas/column-type.ts'
import { MillraceError } from '../../../schemas/errors.ts'
import { numberedIn } from '../../../schemas/match-fields.ts'
import type { RecordField } from '../../../schemas/record-schema.ts'
import { isMapField, type ProtoField, type ProtoMessage, type ScalarKind, wellKnownOf } from './proto-type.ts'

export const FIELDS_MAX = 10_000

type Walk = { readonly open: ProtoMessage[]; fields: number }

export function protoFields(message: ProtoMessage): RecordField[] {
  if (message.fields.length === 0) throw refuse(message.name, 'a message without fields')
  return messageFields(message, { open: [], fields: 0 }, '')
}

function messageFields(message: ProtoMessage, walk: Walk, path: string): RecordField[] {
  if (walk.open.includes(message)) throw refuse(path, `a message inside itself (${message.name}) makes no columns`)
  if (walk.open.length >= NESTING_MAX) throw refuse(path, `nested deeper than ${NESTING_MAX} levels`)
  walk.open.push(message)
  const names = new Set<string>()
  const fields = message.fields.map((field) => {
    const inner = path === '' ? field.name : `${path}.${field.name}`
    if (names.has(field.name.toLowerCase())) throw refuse(inner, 'two fields differ in upper and lower case only')
    names.add(field.name.toLowerCase())
    walk.fields += 1
    if (walk.fields > FIELDS_MAX) throw refuse(inner, `more than ${FIELDS_MAX} fields in all`)
    return {
      fieldId: 0,
      name: field.name,
      type: fieldType(field, walk, inner),
      required: field.required || !field.presence,
      sourceId: numberedIn(message.name, field.number),
    }
  })
  walk.open.pop()
  return fields
}

function fieldType(field: ProtoField, walk: Walk, path: string): ColumnType {
  if (!field.repeated && !isMapField(field)) return valueType(field, walk, path)
  const type = valueType(field, walk, path)
  // Of a wrapper, which has no value of its own inside a list, the default is meant.
  const value: Field = { fieldId: 0, name: field.keyKind ? 'value' : 'element', type, required: true }
  if (field.keyKind === undefined) return { kind: 'list', element: value }
  const key: Field = { fieldId: 0, name: 'key', type: scalarType(field.keyKind), required: true }
  return { kind: 'map', key, value }
}

function valueType(field: ProtoField, walk: Walk, path: string): ColumnType {
  const { kind, message } = field
  if (kind === 'enum') return { kind: 'string' }
  if (kind !== 'message' || message === undefined) return scalarType(kind === 'message' ? 'bytes' : kind)
  switch (wellKnownOf(field)) {
    case 'timestamp':
      return { kind: 'timestamptz' }
    case 'wrapper':
      return valueType(message.fields[0], walk, path)
    case 'struct':
    case 'value':
    case 'list-value':
      return { kind: 'json' }
    case 'date':
      return { kind: 'date' }
    case 'time-of-day':
      return { kind: 'time' }
    case 'decimal':
      return { kind: 'decimal', ...field.decimal! }
    default:
      if (message.fields.length === 0) return { kind: 'json' }
      return { kind: 'struct', fields: messageFields(message, walk, path) }
  }
}

function scalarType(kind: ScalarKind): ColumnType {
  switch (kind) {
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return { kind: 'int' }
    case 'bool':
      return { kind: 'boolean' }
    case 'bytes':
      return { kind: 'binary' }
    case 'string':
    case 'float':
    case 'double':
      return { kind }
    default:
      return { kind: 'long' }
  }
}

function refuse(path: string, problem: string): MillraceError {
  return new MillraceError('conversion-failed', `Protobuf schema: field "${path}": ${problem}`)
}
