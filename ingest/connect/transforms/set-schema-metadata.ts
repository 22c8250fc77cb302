/**
 * SetSchemaMetadata: another name or version for the schema of a struct that is the key or value. Refuses a value without a
 * schema, and as Kafka Connect 4.3 does, every schema that is no struct's.
 */
import { Struct } from '../data/values.ts'
import { REPLACE_NULL, type Setting, SettingsProblem, type SettingValues, textSetting } from './settings.ts'
import { checkPut, perSchema, refuse, requireFields, type Side, type Transform } from './transform.ts'

export const SET_SCHEMA_METADATA: readonly Setting[] = [
  textSetting('schema.name', 'The name.', { defaultValue: null, importance: 'HIGH' }),
  { name: 'schema.version', type: 'INT', defaultValue: null, importance: 'HIGH', documentation: 'The version.' },
  REPLACE_NULL,
]

export function setSchemaMetadata(settings: SettingValues, side: Side): Transform {
  const name = settings.text('schema.name')
  const version = settings.number('schema.version')
  if (name === undefined && version === undefined) {
    throw new SettingsProblem('nothing to set: give schema.name or schema.version')
  }
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const updated = perSchema((schema) => {
    requireFields(schema)
    return schema.with({ name: name ?? schema.name, version: version ?? schema.version })
  })
  return (record) => {
    const value = side.value(record)
    const schema = side.schema(record)
    if (value === null && schema === undefined) return record
    if (schema === undefined) return refuse('data', `a ${side.name} without a schema has no name or version`)
    const renamed = updated(schema)
    if (!(value instanceof Struct)) return side.with(record, renamed, value)
    const values = value.schema.fields.map((field, i) =>
      checkPut(field, withDefaults ? value.get(field) : value.values[i]),
    )
    return side.with(record, renamed, new Struct(renamed, values))
  }
}
