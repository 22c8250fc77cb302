/** HoistField: the whole key or value becomes the only field of a struct (with a schema) or a map (without). */
import { type ConnectValue, Struct } from '../data/values.ts'
import { type Setting, type SettingValues, textSetting } from './settings.ts'
import {
  accepts,
  type ChainContext,
  describe,
  perSchema,
  refuse,
  type Side,
  structOf,
  type Transform,
} from './transform.ts'

export const HOIST_FIELD: readonly Setting[] = [textSetting('field', 'Name of the field.')]

export function hoistField(settings: SettingValues, side: Side, { maps }: ChainContext): Transform {
  const name = settings.text('field') ?? ''
  const updated = perSchema((schema) => structOf([{ name, schema }]))
  return (record) => {
    const schema = side.schema(record)
    const value = side.value(record)
    maps.letGo()
    if (schema === undefined) return side.with(record, undefined, new Map([[name, value]]))
    const outer = updated(schema)
    if (!accepts(schema, value) || isIncomplete(value)) refuse('data', `field "${name}" cannot hold ${describe(value)}`)
    return side.with(record, outer, new Struct(outer, [value]))
  }
}

/** A required field is null: InsertField makes such a struct for a record without a timestamp. */
function isIncomplete(value: ConnectValue): boolean {
  if (!(value instanceof Struct)) return false
  return value.schema.fields.some(
    ({ schema }, i) => value.values[i] === null && !schema.optional && schema.defaultValue === undefined,
  )
}
