/** ValueToKey: the key becomes a struct (or map) of some fields of the value. A tombstone is refused. */
import { type ConnectValue, Struct } from '../data/values.ts'
import { distinct, listSetting, REPLACE_NULL, type Setting, type SettingValues } from './settings.ts'
import { checkPut, KEY, perSchema, refuse, requireMap, requireStruct, structOf, type Transform } from './transform.ts'

export const VALUE_TO_KEY: readonly Setting[] = [
  listSetting('fields', 'Fields of the value that make the key.', { problem: distinct('fields', false) }),
  REPLACE_NULL,
]

const PURPOSE = 'making a key of the value'

export function valueToKey(settings: SettingValues): Transform {
  const names = settings.list('fields')
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const keyOf = perSchema((schema) => {
    const sources = names.map((name) => schema.field(name) ?? refuse('data', `the value has no field "${name}"`))
    return { schema: structOf(sources), sources }
  })
  return (record) => {
    if (record.valueSchema === undefined) {
      const map = requireMap(record.value, PURPOSE)
      return KEY.with(
        record,
        undefined,
        new Map<ConnectValue, ConnectValue>(names.map((name) => [name, map.get(name) ?? null])),
      )
    }
    const struct = requireStruct(record.value, PURPOSE)
    const { schema, sources } = keyOf(struct.schema)
    const values = sources.map((field, i) =>
      checkPut(schema.fields[i], withDefaults ? struct.get(field) : struct.values[field.index]),
    )
    return KEY.with(record, schema, new Struct(schema, values))
  }
}
