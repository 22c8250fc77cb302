/**
 * Flatten: fields of nested structs (with a schema) or maps (without) become fields of the whole, with their names joined.
 * Arrays stay as they are; maps inside a struct are refused.
 */
import { ConnectSchema } from '../data/schema.ts'
import { type ConnectMap, type ConnectValue, Decimal, Instant, isMap, Struct } from '../data/values.ts'
import { inHashOrder } from '../java/hash-order.ts'
import { type Setting, type SettingValues, textSetting } from './settings.ts'
import {
  basicsOf,
  type ChainContext,
  checkDefault,
  checkPut,
  describe,
  perSchema,
  refuse,
  requireFields,
  requireMap,
  requireStruct,
  type Side,
  structLike,
  type Transform,
} from './transform.ts'

export const FLATTEN: readonly Setting[] = [
  textSetting('delimiter', 'What stands between the names of outer and inner fields.', { defaultValue: '.' }),
]

const PURPOSE = 'flattening'

type FlatField = { readonly name: string; readonly schema: ConnectSchema }

export function flatten(settings: SettingValues, side: Side, { maps }: ChainContext): Transform {
  const delimiter = settings.text('delimiter') ?? '.'
  const nameIn = (prefix: string, name: string) => (prefix === '' ? name : prefix + delimiter + name)

  const updated = perSchema((schema) => {
    const fields: FlatField[] = []
    requireFields(schema)
    const given = schema.defaultValue
    collect(schema, '', schema.optional, given instanceof Struct ? given : undefined, fields)
    return structLike(schema, fields)
  })

  function collect(
    schema: ConnectSchema,
    prefix: string,
    isOptional: boolean,
    outerDefault: Struct | undefined,
    fields: FlatField[],
  ): void {
    for (const field of schema.fields) {
      const name = nameIn(prefix, field.name)
      const optional = isOptional || field.schema.optional
      const defaultValue = field.schema.defaultValue ?? defaultOf(outerDefault, field.name)
      if (field.schema.type === 'map') refuse('data', `field "${name}" is a map, which flattening does not take`)
      if (field.schema.type === 'struct') {
        collect(field.schema, name, optional, defaultValue instanceof Struct ? defaultValue : undefined, fields)
        continue
      }
      const { type, valueSchema } = field.schema
      const flat = new ConnectSchema({
        type,
        ...basicsOf(field.schema),
        optional,
        defaultValue: defaultValue ?? undefined,
        valueSchema: type === 'array' ? valueSchema : undefined,
      })
      fields.push({ name, schema: checkDefault(flat) })
    }
  }

  return (record) => {
    const value = side.value(record)
    if (value === null) return record
    const schema = side.schema(record)
    if (schema === undefined) {
      const map = requireMap(value, PURPOSE)
      const fields = new Map<ConnectValue, ConnectValue>()
      if (flattenMap(map, '', fields, nameIn, false) > fields.size) {
        fields.clear()
        flattenMap(map, '', fields, nameIn, true)
      }
      return side.with(record, undefined, maps.keep(fields))
    }
    const struct = requireStruct(value, PURPOSE)
    const flat = updated(schema)
    const values = flattenStruct(struct, struct.schema, [])
    for (let i = 0; i < flat.fields.length; i += 1) {
      const each = values[i]
      values[i] = each === undefined ? null : checkPut(flat.fields[i], each)
    }
    return side.with(record, flat, new Struct(flat, values as ConnectValue[]))
  }
}

function defaultOf(outer: Struct | undefined, name: string): ConnectValue | undefined {
  const field = outer?.schema.field(name)
  return field && outer?.get(field)
}

/** How many fields were put, names that fell together included. Only the order of a HashMap tells which of those stays. */
function flattenMap(
  map: ConnectMap,
  prefix: string,
  fields: Map<ConnectValue, ConnectValue>,
  nameIn: (prefix: string, name: string) => string,
  isHashOrder: boolean,
): number {
  let put = 0
  for (const key of isHashOrder ? inHashOrder([...map.keys()].map(String)) : map.keys()) {
    const name = nameIn(prefix, String(key))
    const value = map.get(key) ?? null
    if (isMap(value)) {
      put += flattenMap(value, name, fields, nameIn, isHashOrder)
      continue
    }
    if (value instanceof Struct || value instanceof Instant || value instanceof Decimal) {
      return refuse('data', `field "${name}" is ${describe(value)}, which flattening does not take without a schema`)
    }
    fields.set(name, value)
    put += 1
  }
  return put
}

/** In the order of the flat schema's fields; undefined for those of a struct that is null: nothing is put there. */
function flattenStruct(
  struct: Struct | undefined,
  schema: ConnectSchema,
  values: (ConnectValue | undefined)[],
): (ConnectValue | undefined)[] {
  for (const field of schema.fields) {
    if (field.schema.type !== 'struct') {
      values.push(struct?.get(field))
      continue
    }
    const inner = struct?.values[field.index]
    flattenStruct(inner instanceof Struct ? inner : undefined, field.schema, values)
  }
  return values
}
