/** HeaderFrom: fields copied or moved into headers. InsertHeader: a fixed header. DropHeaders: headers left out by name. */
import type { ConnectHeader, ConnectRecord } from '../data/record.ts'
import { type ConnectValue, Struct } from '../data/values.ts'
import { parseLiteral } from './literal.ts'
import {
  distinct,
  filledList,
  listSetting,
  oneOf,
  REPLACE_NULL,
  type Setting,
  SettingsProblem,
  type SettingValues,
  textSetting,
} from './settings.ts'
import {
  type ChainContext,
  checkPut,
  perSchema,
  refuse,
  requireMap,
  requireStruct,
  type Side,
  structLike,
  type Transform,
} from './transform.ts'

const notMissing = (name: string) => (value: unknown) =>
  value === null ? `Invalid value null for configuration ${name}: entry must be non null` : undefined

export const HEADER_FROM: readonly Setting[] = [
  listSetting('fields', 'Fields whose values become headers.', { problem: filledList('fields') }),
  listSetting('headers', 'Names of the headers, in the order of the fields.', { problem: filledList('headers') }),
  textSetting('operation', 'move: the fields leave the key or value. copy: they stay there too.', {
    importance: 'HIGH',
    problem: oneOf('operation', ['move', 'copy']),
  }),
  REPLACE_NULL,
]

export const INSERT_HEADER: readonly Setting[] = [
  textSetting('header', 'Name of the header.', { importance: 'HIGH', problem: notMissing('header') }),
  textSetting(
    'value.literal',
    'Its value, read as a literal: a number, true, false, null, a list [1,2], a map {"a":1}, an ISO date or time, otherwise a text.',
    { importance: 'HIGH', problem: notMissing('value.literal') },
  ),
]

export const DROP_HEADERS: readonly Setting[] = [
  listSetting('headers', 'Names of the headers to leave out.', { problem: distinct('headers', false) }),
]

const PURPOSE = 'making headers'

export function headerFrom(settings: SettingValues, side: Side, { maps }: ChainContext): Transform {
  const names = settings.list('fields')
  const headerNames = settings.list('headers')
  if (names.length !== headerNames.length) {
    throw new SettingsProblem(`fields and headers must be as many, found ${names.length} and ${headerNames.length}`)
  }
  const isMove = settings.text('operation') === 'move'
  const withDefaults = settings.flag(REPLACE_NULL.name)
  const moved = perSchema((schema) =>
    structLike(
      schema,
      schema.fields.filter(({ name }) => !names.includes(name)),
    ),
  )

  return (record) => {
    const schema = side.schema(record)
    const headers = [...record.headers]
    if (schema === undefined) {
      const fields = maps.editable(requireMap(side.value(record), PURPOSE))
      const given = names.map((name) => fields.get(name) ?? null)
      names.forEach((name, i) => {
        headers.push({ name: headerNames[i], schema: undefined, value: given[i] })
        if (isMove) fields.delete(name)
      })
      return withHeaders(side.with(record, undefined, fields), headers)
    }
    const struct = requireStruct(side.value(record), PURPOSE)
    const valueIn = (name: string): ConnectValue => {
      const field = struct.schema.field(name)
      return field === undefined ? null : withDefaults ? struct.get(field) : struct.values[field.index]
    }
    const rest = isMove ? moved(schema) : schema
    const value = isMove
      ? new Struct(
          rest,
          rest.fields.map((field) => checkPut(field, valueIn(field.name))),
        )
      : struct
    names.forEach((name, i) => {
      const field = schema.field(name) ?? refuse('nullPointer', `there is no field "${name}" to make a header of`)
      headers.push({ name: headerNames[i], schema: field.schema, value: checkPut(field, valueIn(name)) })
    })
    return withHeaders(side.with(record, rest, value), headers)
  }
}

export function insertHeader(settings: SettingValues): Transform {
  const name = settings.text('header') ?? ''
  const { schema, value } = parseLiteral(settings.text('value.literal') ?? '')
  const header: ConnectHeader = { name, schema, value }
  return (record) => withHeaders(record, [...record.headers, header])
}

export function dropHeaders(settings: SettingValues): Transform {
  const names = new Set(settings.list('headers'))
  return (record) =>
    withHeaders(
      record,
      record.headers.filter(({ name }) => !names.has(name)),
    )
}

function withHeaders(record: ConnectRecord, headers: readonly ConnectHeader[]): ConnectRecord {
  return {
    topic: record.topic,
    partition: record.partition,
    keySchema: record.keySchema,
    key: record.key,
    valueSchema: record.valueSchema,
    value: record.value,
    timestamp: record.timestamp,
    headers,
    offset: record.offset,
  }
}
