/**
 * Cast: fields, or the whole key or value, to another type. A field that is not there is left alone with a schema, and becomes
 * null without one.
 */
import { ConnectSchema } from '../data/schema.ts'
import { type ConnectValue, Struct } from '../data/values.ts'
import { CAST_TYPES, type CastType, castValue } from './cast-value.ts'
import {
  listSetting,
  REPLACE_NULL,
  type Setting,
  type SettingValue,
  type SettingValues,
  splitAtColons,
} from './settings.ts'
import {
  basicsOf,
  type ChainContext,
  checkDefault,
  checkPut,
  perSchema,
  refuse,
  requireFields,
  requireMap,
  requireStruct,
  type Side,
  structLike,
  type Transform,
} from './transform.ts'

export const CAST: readonly Setting[] = [
  listSetting(
    'spec',
    `Fields and types as field:type with commas between, or one type for the whole key or value. Types: ${CAST_TYPES.join(', ')}; bytes only become a string.`,
    { problem: specProblem },
  ),
  REPLACE_NULL,
]

const PURPOSE = 'casting'

function specProblem(value: SettingValue): string | undefined {
  if (!Array.isArray(value) || value.length === 0) return 'Must specify at least one field to cast.'
  const parsed = parseSpec(value)
  return 'problem' in parsed ? parsed.problem : undefined
}

type Spec = { readonly whole: CastType | undefined; readonly fields: ReadonlyMap<string, CastType> }

function parseSpec(mappings: readonly string[]): Spec | { readonly problem: string } {
  const fields = new Map<string, CastType>()
  let whole: CastType | undefined
  for (const mapping of mappings) {
    const parts = splitAtColons(mapping)
    if (parts.length === 0 || parts.length > 2) {
      return { problem: `Invalid value ${mapping} for configuration spec: expected field:type or one type` }
    }
    const name = parts[parts.length - 1].trim()
    const type = CAST_TYPES.find((each) => each === name.toLowerCase())
    if (type === undefined) return { problem: `Invalid type found in casting spec: ${name}` }
    if (parts.length === 1) whole = type
    else fields.set(parts[0].trim(), type)
  }
  if (whole !== undefined && mappings.length > 1) {
    return { problem: 'A cast of the whole key or value must be the only one in the spec.' }
  }
  return { whole, fields }
}

export function cast(settings: SettingValues, side: Side, chain: ChainContext): Transform {
  const spec = parseSpec(settings.list('spec'))
  if ('problem' in spec) return refuse('illegalArgument', spec.problem)
  return spec.whole === undefined ? castFields(spec.fields, settings, side, chain) : castWhole(spec.whole, side)
}

function castWhole(target: CastType, side: Side): Transform {
  const updated = perSchema((schema) => {
    const { optional, defaultValue } = schema
    return checkDefault(
      new ConnectSchema({
        type: target,
        ...basicsOf(schema),
        optional,
        defaultValue: castDefault(schema, defaultValue, target),
      }),
    )
  })
  return (record) => {
    const value = side.value(record)
    if (value === null) return record
    const schema = side.schema(record)
    return side.with(record, schema && updated(schema), castValue(value, schema, target))
  }
}

function castDefault(
  schema: ConnectSchema,
  defaultValue: ConnectValue | undefined,
  target: CastType,
): ConnectValue | undefined {
  return defaultValue === undefined ? undefined : castValue(defaultValue, schema, target)
}

function castFields(
  types: ReadonlyMap<string, CastType>,
  settings: SettingValues,
  side: Side,
  { maps }: ChainContext,
): Transform {
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const updated = perSchema((old) => {
    const targets = requireFields(old).map(({ name }) => types.get(name))
    const plain = structLike(
      old,
      old.fields.map(({ name, schema }, i) => {
        const target = targets[i]
        if (target === undefined) return { name, schema }
        const { optional } = schema
        const defaultValue = castDefault(schema, schema.defaultValue, target)
        return { name, schema: new ConnectSchema({ type: target, optional, defaultValue }) }
      }),
    )
    if (old.defaultValue !== undefined) refuse('data', 'a struct that is a default cannot be cast')
    return { schema: old.optional ? plain.with({ optional: true }) : plain, targets }
  })
  return (record) => {
    const value = side.value(record)
    if (value === null) return record
    const outer = side.schema(record)
    if (outer === undefined) {
      const map = requireMap(value, PURPOSE)
      const fields = maps.editable(map)
      for (const [name, target] of types) fields.set(name, castValue(fields.get(name) ?? null, undefined, target))
      return side.with(record, undefined, fields)
    }
    const { schema, targets } = updated(outer)
    const struct = requireStruct(value, PURPOSE)
    const old = struct.schema.fields
    const values: ConnectValue[] = []
    for (let i = 0; i < old.length; i += 1) {
      const given = withDefaults ? struct.get(old[i]) : struct.values[i]
      const target = targets[i]
      values.push(checkPut(schema.fields[i], target === undefined ? given : castValue(given, old[i].schema, target)))
    }
    return side.with(record, schema, new Struct(schema, values))
  }
}
