/**
 * The columns that records of an Avro schema would make.
 *
 *   boolean int long float double string     the same            date                          date
 *   bytes, fixed, duration                    binary              time-millis, time-micros      time
 *   enum                                      string              timestamp-*                   timestamptz (nanos cut to micros)
 *   decimal                                   decimal             local-timestamp-*             timestamp
 *   decimal of more than 38 digits            string              uuid                          uuid
 *   record                                    struct              array, map                    list, map<string, …>
 *   null, record without fields               json
 *   [null, T]                                 T, optional
 *   any other union                           struct of optional members, named as the types are (without namespace), as
 *                                             Kafka Connect's converter does; optional where null is one of them
 *
 * Refused (`conversion-failed`): a record inside itself, names in one record that differ in case only, more fields than
 * `FIELDS_MAX` in all (records used many times count many times), deeper nesting than `NESTING_MAX`.
 */
import { type ColumnType, type Field, NESTING_MAX } from '../../../schemas/column-type.ts'
import { MillraceError } from '../../../schemas/errors.ts'
import type { RecordField } from '../../../schemas/record-schema.ts'
import { type AvroRecord, type AvroType, shortName, valueOfOptional } from './avro-type.ts'

export const FIELDS_MAX = 10_000
export const DECIMAL_PRECISION_MAX = 38

type Walk = { readonly open: AvroType[]; fields: number }

/** Of a record: its fields; of any other type one field of the name `whole`. */
export function avroFields(type: AvroType, whole: string): RecordField[] {
  const walk: Walk = { open: [], fields: 0 }
  if (type.kind !== 'record') return [fieldOf(whole, type, walk, whole)]
  if (type.fields.length === 0) throw refuse(shortName(type), 'a record without fields')
  return recordFields(type, walk, '')
}

function recordFields(record: AvroRecord, walk: Walk, path: string): RecordField[] {
  if (walk.open.includes(record)) {
    throw refuse(path, `a record inside itself (${record.name}) makes no columns`)
  }
  if (walk.open.length >= NESTING_MAX) throw refuse(path, `nested deeper than ${NESTING_MAX} levels`)
  walk.open.push(record)
  const names = new Set<string>()
  const fields = record.fields.map(({ name, type, aliases, sourceId }) => {
    const inner = path === '' ? name : `${path}.${name}`
    if (names.has(name.toLowerCase())) throw refuse(inner, 'two fields differ in upper and lower case only')
    names.add(name.toLowerCase())
    const field = fieldOf(name, type, walk, inner)
    return {
      ...field,
      ...(sourceId === undefined ? undefined : { sourceId }),
      ...(aliases.length === 0 ? undefined : { aliases }),
    }
  })
  walk.open.pop()
  return fields
}

function fieldOf(name: string, type: AvroType, walk: Walk, path: string): Field {
  walk.fields += 1
  if (walk.fields > FIELDS_MAX) throw refuse(path, `more than ${FIELDS_MAX} fields in all`)
  const optional = valueOfOptional(type)
  const hasNull = type.kind === 'null' || (type.kind === 'union' && type.branches.some(({ kind }) => kind === 'null'))
  return { fieldId: 0, name, type: columnTypeOf(optional?.value ?? type, walk, path), required: !hasNull }
}

function columnTypeOf(type: AvroType, walk: Walk, path: string): ColumnType {
  const { logical } = type
  switch (logical?.kind) {
    case 'decimal': {
      const { precision, scale } = logical
      return precision > DECIMAL_PRECISION_MAX ? { kind: 'string' } : { kind: 'decimal', precision, scale }
    }
    case 'date':
    case 'uuid':
      return { kind: logical.kind }
    case 'time-millis':
    case 'time-micros':
      return { kind: 'time' }
    case 'timestamp-millis':
    case 'timestamp-micros':
    case 'timestamp-nanos':
      return { kind: 'timestamptz' }
    case 'local-timestamp-millis':
    case 'local-timestamp-micros':
    case 'local-timestamp-nanos':
      return { kind: 'timestamp' }
  }
  switch (type.kind) {
    case 'null':
      return { kind: 'json' }
    case 'bytes':
    case 'fixed':
      return { kind: 'binary' }
    case 'enum':
      return { kind: 'string' }
    case 'record':
      if (type.fields.length === 0) return { kind: 'json' }
      return { kind: 'struct', fields: recordFields(type, walk, path) }
    case 'array':
    case 'map': {
      if (walk.open.length >= NESTING_MAX) throw refuse(path, `nested deeper than ${NESTING_MAX} levels`)
      walk.open.push(type)
      const isArray = type.kind === 'array'
      const inner = fieldOf(isArray ? 'element' : 'value', isArray ? type.items : type.values, walk, path)
      walk.open.pop()
      if (isArray) return { kind: 'list', element: inner }
      return { kind: 'map', key: { fieldId: 0, name: 'key', type: { kind: 'string' }, required: true }, value: inner }
    }
    case 'union': {
      const names = memberNames(type.branches)
      const fields: Field[] = []
      if (walk.open.length >= NESTING_MAX) throw refuse(path, `nested deeper than ${NESTING_MAX} levels`)
      walk.open.push(type)
      type.branches.forEach((branch, index) => {
        if (branch.kind === 'null') return
        fields.push({ ...fieldOf(names[index], branch, walk, `${path}.${names[index]}`), required: false })
      })
      walk.open.pop()
      return { kind: 'struct', fields }
    }
    default:
      return { kind: type.kind }
  }
}

/** Names of a union's members; a namespace is added where two would be the same without. */
export function memberNames(branches: readonly AvroType[]): string[] {
  const short = branches.map((branch) => shortName(branch))
  const count = (name: string) => short.filter((each) => each.toLowerCase() === name.toLowerCase()).length
  return branches.map((branch, index) => {
    if (count(short[index]) === 1) return short[index]
    return 'name' in branch ? `${branch.name}_${index}` : `${branch.kind}_${index}`
  })
}

function refuse(path: string, problem: string): MillraceError {
  return new MillraceError('conversion-failed', `Avro schema: field "${path}": ${problem}`)
}
