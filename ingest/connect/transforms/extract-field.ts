/** ExtractField: one field, also of a nested struct or map, becomes the whole key or value. Null passes unchanged. */
import { fieldAt, fieldPath, mapValueAt, structValueAt } from './field-path.ts'
import { invalid, REPLACE_NULL, type Setting, type SettingValues, textSetting } from './settings.ts'
import { perSchema, refuse, requireMap, requireStruct, type Side, type Transform } from './transform.ts'

const SYNTAX = 'field.syntax.version'

export const EXTRACT_FIELD: readonly Setting[] = [
  textSetting('field', 'The field.'),
  REPLACE_NULL,
  textSetting(
    SYNTAX,
    'V1: the name of a field of the record itself. V2: names with dots between for fields of nested structs or maps; a name that has dots in it stands between backticks.',
    {
      defaultValue: 'V1',
      importance: 'HIGH',
      problem: (value) =>
        typeof value === 'string' && /^v[12]$/i.test(value)
          ? undefined
          : invalid(SYNTAX, value, 'String must be one of (case insensitive): V1, V2'),
    },
  ),
]

const PURPOSE = 'extracting a field'

export function extractField(settings: SettingValues, side: Side): Transform {
  const text = settings.text('field') ?? ''
  const path = fieldPath(text, settings.text(SYNTAX)?.toUpperCase() === 'V2')
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const inner = perSchema(
    (schema) => fieldAt(schema, path)?.schema ?? refuse('illegalArgument', `there is no field "${text}"`),
  )
  return (record) => {
    const value = side.value(record)
    const schema = side.schema(record)
    if (schema === undefined) {
      return side.with(record, undefined, value === null ? null : mapValueAt(requireMap(value, PURPOSE), path))
    }
    const struct = value === null ? null : requireStruct(value, PURPOSE)
    return side.with(record, inner(schema), struct && structValueAt(struct, path, withDefaults))
  }
}
