/**
 * InsertField: topic, partition, offset and timestamp of the record, and a fixed text, as fields of its value or key.
 *
 * A field is optional unless its name ends with `!`. Without a schema a field of the same name is overwritten, with one it is
 * refused. The timestamp is a Timestamp with a schema and a long without.
 */
import type { ConnectRecord } from '../data/record.ts'
import {
  type ConnectSchema,
  INT32_SCHEMA,
  INT64_SCHEMA,
  OPTIONAL_INT32_SCHEMA,
  OPTIONAL_INT64_SCHEMA,
  OPTIONAL_STRING_SCHEMA,
  STRING_SCHEMA,
  TIMESTAMP_SCHEMA,
} from '../data/schema.ts'
import { type ConnectValue, Instant, SizedNumber, Struct } from '../data/values.ts'
import { REPLACE_NULL, type Setting, SettingsProblem, type SettingValues, textSetting } from './settings.ts'
import {
  type ChainContext,
  checkPut,
  perSchema,
  requireMap,
  requireStruct,
  type Side,
  structLike,
  type Transform,
} from './transform.ts'

const OPTIONAL = 'A name that ends with ! makes a required field; with ? or without either an optional one.'
const none = { defaultValue: null }

export const INSERT_FIELD: readonly Setting[] = [
  textSetting('topic.field', `Name of the field for the topic. ${OPTIONAL}`, none),
  textSetting('partition.field', `Name of the field for the topic-partition. ${OPTIONAL}`, none),
  textSetting('offset.field', `Name of the field for the offset. ${OPTIONAL}`, none),
  textSetting('timestamp.field', `Name of the field for the record's timestamp. ${OPTIONAL}`, none),
  textSetting('static.field', `Name of the field for a fixed text. ${OPTIONAL}`, none),
  textSetting('static.value', 'The fixed text.', none),
  REPLACE_NULL,
]

const OPTIONAL_TIMESTAMP_SCHEMA = TIMESTAMP_SCHEMA.with({ optional: true })
const PURPOSE = 'inserting fields'

type Insertion = {
  readonly name: string
  readonly schema: ConnectSchema
  /** undefined: the record has none, the field is left out (without a schema) or stays null. */
  readonly bare: (record: ConnectRecord) => ConnectValue | undefined
  readonly typed: (record: ConnectRecord) => ConnectValue | undefined
}

export function insertField(settings: SettingValues, side: Side, { maps }: ChainContext): Transform {
  const insertions = insertionsOf(settings)
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const updated = perSchema((schema) =>
    structLike(schema, [...schema.fields, ...insertions.map(({ name, schema }) => ({ name, schema }))]),
  )
  return (record) => {
    const value = side.value(record)
    if (value === null) return record
    if (side.schema(record) === undefined) {
      const fields = maps.editable(requireMap(value, PURPOSE))
      for (const { name, bare } of insertions) {
        const inserted = bare(record)
        if (inserted !== undefined) fields.set(name, inserted)
      }
      return side.with(record, undefined, fields)
    }
    const struct = requireStruct(value, PURPOSE)
    const schema = updated(struct.schema)
    const old = struct.schema.fields
    const values: ConnectValue[] = []
    for (let i = 0; i < old.length; i += 1) {
      values.push(checkPut(old[i], withDefaults ? struct.get(old[i]) : struct.values[i]))
    }
    for (let i = 0; i < insertions.length; i += 1) values.push(insertions[i].typed(record) ?? null)
    return side.with(record, schema, new Struct(schema, values))
  }
}

function insertionsOf(settings: SettingValues): readonly Insertion[] {
  const insertions: Insertion[] = []
  const add = (
    setting: string,
    [required, optional]: readonly [ConnectSchema, ConnectSchema],
    bare: Insertion['bare'],
    typed: Insertion['typed'] = bare,
  ) => {
    const spec = settings.text(setting)
    if (spec === undefined) return
    const name = /[?!]$/.test(spec) ? spec.slice(0, -1) : spec
    insertions.push({ name, schema: spec.endsWith('!') ? required : optional, bare, typed })
  }
  const longs = [INT64_SCHEMA, OPTIONAL_INT64_SCHEMA] as const
  const texts = [STRING_SCHEMA, OPTIONAL_STRING_SCHEMA] as const
  add('topic.field', texts, (record) => record.topic)
  add(
    'partition.field',
    [INT32_SCHEMA, OPTIONAL_INT32_SCHEMA],
    (record) => new SizedNumber('int32', record.partition),
    (record) => record.partition,
  )
  add('offset.field', longs, (record) => record.offset)
  add(
    'timestamp.field',
    [TIMESTAMP_SCHEMA, OPTIONAL_TIMESTAMP_SCHEMA],
    ({ timestamp }) => (timestamp === undefined ? undefined : BigInt(timestamp)),
    ({ timestamp }) => (timestamp === undefined ? undefined : new Instant(timestamp)),
  )
  const text = settings.text('static.value')
  add('static.field', texts, () => text)
  if (insertions.length === 0) {
    throw new SettingsProblem(
      'no field to insert: set topic.field, partition.field, offset.field, timestamp.field or static.field',
    )
  }
  if (settings.text('static.field') !== undefined && text === undefined) {
    throw new SettingsProblem('static.field needs static.value: the text to insert')
  }
  return insertions
}
