/**
 * The columns that values of a Connect schema would make.
 *
 *   int8 int16 int32 → int      float32 → float     boolean, string → the same     Date → date       array → list
 *   int64 → long                float64 → double    bytes → binary                 Time → time       map → map
 *   Decimal → decimal(parameter `connect.decimal.precision` or 38, its scale)      Timestamp → timestamptz   struct → struct
 *
 * What no column type can hold is kept as text: a Decimal whose scale is negative or above its precision becomes a string; a
 * struct without fields or with names that differ in case only, a map with a nested key, and what lies deeper than
 * `NESTING_MAX` become json.
 */
import { type ColumnType, type Field, NESTING_MAX } from '../../../schemas/column-type.ts'
import type { RecordField, RecordSchema } from '../../../schemas/record-schema.ts'
import { type ConnectSchema, DATE, DECIMAL, TIME, TIMESTAMP } from './schema.ts'

const DECIMAL_PRECISION_MAX = 38
const DECIMAL_PRECISION_PARAMETER = 'connect.decimal.precision'

/** Of a struct: its fields, in order. `label` is what messages call the schema. */
export function recordSchemaOf(schema: ConnectSchema, label: string): RecordSchema {
  return { name: label, fields: schema.fields.map((field) => recordFieldOf(field.name, field.schema)) }
}

/** A field is required when its schema is not optional. */
export function recordFieldOf(name: string, schema: ConnectSchema): RecordField {
  return field(name, schema, 0)
}

function field(name: string, schema: ConnectSchema, depth: number): Field {
  return { fieldId: 0, name, type: columnType(schema, depth), required: !schema.optional }
}

export function columnTypeOf(schema: ConnectSchema): ColumnType {
  return columnType(schema, 0)
}

function columnType(schema: ConnectSchema, depth: number): ColumnType {
  switch (schema.name) {
    case DECIMAL:
      if (schema.type === 'bytes') return decimalType(schema)
      break
    case DATE:
      if (schema.type === 'int32') return { kind: 'date' }
      break
    case TIME:
      if (schema.type === 'int32') return { kind: 'time' }
      break
    case TIMESTAMP:
      if (schema.type === 'int64') return { kind: 'timestamptz' }
      break
  }
  switch (schema.type) {
    case 'int8':
    case 'int16':
    case 'int32':
      return { kind: 'int' }
    case 'int64':
      return { kind: 'long' }
    case 'float32':
      return { kind: 'float' }
    case 'float64':
      return { kind: 'double' }
    case 'boolean':
    case 'string':
      return { kind: schema.type }
    case 'bytes':
      return { kind: 'binary' }
    default:
      return depth >= NESTING_MAX ? { kind: 'json' } : nestedType(schema, depth + 1)
  }
}

function nestedType(schema: ConnectSchema, depth: number): ColumnType {
  // A literal's list of nothing but nulls has no element schema.
  if (!schema.valueSchema && schema.type !== 'struct') return { kind: 'json' }
  if (schema.type === 'array') return { kind: 'list', element: field('element', schema.valueSchema!, depth) }
  if (schema.type === 'map') {
    const key = field('key', schema.keySchema!, depth)
    const keyKind = key.type.kind
    if (keyKind === 'struct' || keyKind === 'list' || keyKind === 'map' || keyKind === 'json') return { kind: 'json' }
    return { kind: 'map', key: { ...key, required: true }, value: field('value', schema.valueSchema!, depth) }
  }
  const names = new Set(schema.fields.map(({ name }) => name.toLowerCase()))
  if (names.size === 0 || names.size < schema.fields.length) return { kind: 'json' }
  return { kind: 'struct', fields: schema.fields.map((each) => field(each.name, each.schema, depth)) }
}

function decimalType(schema: ConnectSchema): ColumnType {
  const scale = Number(schema.parameters?.get('scale') ?? Number.NaN)
  const given = Number(schema.parameters?.get(DECIMAL_PRECISION_PARAMETER) ?? DECIMAL_PRECISION_MAX)
  const precision =
    Number.isInteger(given) && given >= 1 ? Math.min(given, DECIMAL_PRECISION_MAX) : DECIMAL_PRECISION_MAX
  if (!Number.isInteger(scale) || scale < 0 || scale > precision) return { kind: 'string' }
  return { kind: 'decimal', precision, scale }
}
