/**
 * ReplaceField: leaves fields out, keeps only some, renames. `exclude` and `include` mean the names before renaming.
 *
 * Two fields that fall together under one name: refused with a schema; without one the last in the order of a Java HashMap
 * stays, as in Kafka Connect, whose maps are such.
 */
import type { ConnectField } from '../data/schema.ts'
import { type ConnectMap, type ConnectValue, Struct } from '../data/values.ts'
import { inHashOrder } from '../java/hash-order.ts'
import {
  distinct,
  invalid,
  listSetting,
  REPLACE_NULL,
  type Setting,
  type SettingValue,
  type SettingValues,
  splitAtColons,
} from './settings.ts'
import {
  type ChainContext,
  checkPut,
  describe,
  fits,
  perSchema,
  refuse,
  requireMap,
  requireStruct,
  type Side,
  structLike,
  type Transform,
} from './transform.ts'

export const REPLACE_FIELD: readonly Setting[] = [
  listSetting('exclude', 'Fields to leave out, also when `include` names them.', {
    defaultValue: [],
    importance: 'MEDIUM',
    problem: distinct('exclude', true),
  }),
  listSetting('include', 'Fields to keep; all others are left out. Empty: all are kept.', {
    defaultValue: [],
    importance: 'MEDIUM',
    problem: distinct('include', true),
  }),
  listSetting('renames', 'Fields to rename, as `old:new` with commas between.', {
    defaultValue: [],
    importance: 'MEDIUM',
    problem: renamesProblem,
  }),
  REPLACE_NULL,
]

const PURPOSE = 'replacing fields'

function renamesProblem(value: SettingValue): string | undefined {
  const bad = Array.isArray(value) ? value.find((mapping) => splitAtColons(mapping).length !== 2) : undefined
  return bad === undefined ? undefined : invalid('renames', value, `"${bad}" is not of the form old:new`)
}

export function replaceField(settings: SettingValues, side: Side, { maps }: ChainContext): Transform {
  const exclude = new Set(settings.list('exclude'))
  const include = new Set(settings.list('include'))
  const pairs = settings.list('renames').map(splitAtColons)
  const renames = new Map<ConnectValue, string>(pairs.map(([from, to]) => [from, to]))
  const original = new Map(inHashOrder(pairs.map(([from]) => from)).map((from) => [renames.get(from)!, from]))
  const hasNamesTwice = new Set([...renames.keys(), ...renames.values()]).size < 2 * renames.size
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const isKept = (name: ConnectValue) =>
    !exclude.has(name as string) && (include.size === 0 || include.has(name as string))

  const updated = perSchema((old) => {
    const kept = old.fields.filter(({ name }) => isKept(name))
    const schema = structLike(
      old,
      kept.map((field) => ({ name: renames.get(field.name) ?? field.name, schema: field.schema })),
    )
    // Where a value comes from is told by the new name alone: a field that bears the new name of another is not found.
    return { schema, sources: schema.fields.map(({ name }) => old.field(original.get(name) ?? name)) }
  })

  /** False, and nothing changed, where a new name might meet another field. */
  function changeInPlace(fields: Map<ConnectValue, ConnectValue>): boolean {
    if (hasNamesTwice) return false
    for (const [from, to] of renames) if (fields.has(from) && fields.has(to)) return false
    for (const name of exclude) fields.delete(name)
    for (const [from, to] of renames) {
      const value = fields.get(from)
      if (value === undefined) continue
      fields.delete(from)
      fields.set(to, value)
    }
    return true
  }

  return (record) => {
    const value = side.value(record)
    if (value === null) return record
    if (side.schema(record) === undefined) {
      const fields = new Map<ConnectValue, ConnectValue>()
      const map = requireMap(value, PURPOSE)
      if (maps.isOwn(map) && include.size === 0 && changeInPlace(map)) return side.with(record, undefined, map)
      let kept = 0
      for (const [name, field] of map) {
        if (!isKept(name)) continue
        kept += 1
        fields.set(renames.get(name) ?? name, field)
      }
      if (fields.size < kept) settleByHash(fields, [...map.keys()], renames, isKept, map)
      return side.with(record, undefined, maps.keep(fields))
    }
    const struct = requireStruct(value, PURPOSE)
    const { schema, sources } = updated(struct.schema)
    const values: ConnectValue[] = []
    for (let i = 0; i < sources.length; i += 1) {
      const source = sources[i]
      if (source === undefined) {
        const { name } = schema.fields[i]
        return refuse('data', `field "${name}" would have the value of "${original.get(name)}", which is not there`)
      }
      const given = withDefaults ? struct.get(source) : struct.values[source.index]
      const field = schema.fields[i]
      if (source.schema !== field.schema && !(fits(field.schema, given) && isOfOneSize(source, field, given))) {
        return refuse('data', `field "${field.name}" cannot hold ${describe(given)} of field "${source.name}"`)
      }
      values.push(checkPut(field, given))
    }
    return side.with(record, schema, new Struct(schema, values))
  }
}

/** The hash order is that of all the keys of the map, also of those that are left out. */
function settleByHash(
  fields: Map<ConnectValue, ConnectValue>,
  names: readonly ConnectValue[],
  renames: ReadonlyMap<ConnectValue, string>,
  isKept: (name: ConnectValue) => boolean,
  map: ConnectMap,
): void {
  for (const name of inHashOrder(names.map(String))) {
    if (isKept(name)) fields.set(renames.get(name) ?? name, map.get(name) ?? null)
  }
}

/** Java has a class for each size of number. */
function isOfOneSize(source: ConnectField, field: ConnectField, value: ConnectValue): boolean {
  return typeof value !== 'number' || source.schema.type === field.schema.type
}
