/**
 * JSON Schema (drafts 4, 6, 7, 2019-09, 2020-12) → columns, and the JSON of its records into them.
 *
 *   integer   long                string            string       object with properties                 struct
 *   number    double              format date-time  timestamptz  object with additionalProperties only  map<string, …>
 *   boolean   boolean             format date       date         array with one schema for its items    list
 *   null      makes it optional   format time       time         anything else, a mixture of types,     json
 *                                 format uuid       uuid           a schema within itself
 *
 * What Confluent's serializers add is obeyed: `connect.type` (int8 to int32: int, float32: float, bytes: binary in base64, map),
 * `connect.index` (order), `title` of a logical type (Decimal with `connect.parameters.scale`, Date, Time, Timestamp as numbers).
 * `required` and not null makes a required column. A `default` stands for a value that is missing or null.
 *
 * As Connect data a field is what its column is: a date-time is a Timestamp, json its text.
 */
import type { ColumnType, Field } from '../../../schemas/column-type.ts'
import { NESTING_MAX } from '../../../schemas/column-type.ts'
import { ConnectSchema, DATE, DECIMAL, decimalSchema, TIME, TIMESTAMP } from '../../connect/data/schema.ts'
import type { JsonShape, JsonShapeField } from '../../decoder/json-node.ts'
import type { OpenFormat } from '../format.ts'
import { MisfitValue } from './connect-json.ts'
import { openJsonWriter } from './json-format.ts'
import {
  isJsonArray,
  isJsonObject,
  JsonNumber,
  type JsonObject,
  type JsonValue,
  jsonText,
  readJson,
} from './read-json.ts'
import { type Document, type Node, openDocument, resolve, schemaError } from './schema-document.ts'
import { shapedValue } from './shaped-value.ts'

/** Schemas may refer to others many times over. */
const NODES_MAX = 10_000
const count = { nodes: 0 }

/** What one schema comes to. */
type Made = { readonly shape: JsonShape; readonly connect: ConnectSchema; readonly isNullable: boolean }

export const openJsonSchema: OpenFormat = (writer) => {
  const document = openDocument(writer.text, writer.references)
  const root = isJsonObject(document.root) ? document.root : new Map<string, JsonValue>()
  count.nodes = 0
  const { shape, connect, isNullable } = make(document, { schema: root, base: document.root }, [])
  return openJsonWriter({
    label: writer.label,
    shape,
    isRequired: !isNullable,
    read(bytes, start, end) {
      const parsed = readJson(bytes, start, end)
      if ('problem' in parsed) return { failure: { reason: parsed.problem, column: undefined } }
      try {
        return { schema: connect, value: shapedValue(shape, connect, parsed.value, '') }
      } catch (misfit) {
        if (!(misfit instanceof MisfitValue)) throw misfit
        const column = misfit.path === '' ? undefined : misfit.path
        return { failure: { reason: column ? `field "${column}": ${misfit.reason}` : misfit.reason, column } }
      }
    },
  })
}

function simple(type: ColumnType, connect: ConnectSchema, isNullable = false): Made {
  return { shape: { type }, connect, isNullable }
}

/** Open-ended: its text. */
function anything(isNullable: boolean): Made {
  return simple({ kind: 'json' }, new ConnectSchema({ type: 'string' }), isNullable)
}

function make(document: Document, given: Node, around: readonly JsonObject[]): Made {
  count.nodes += 1
  if (count.nodes > NODES_MAX) throw schemaError(`it comes to more than ${NODES_MAX} schemas`)
  const met: JsonObject[] = []
  const node = resolve(document, given, met)
  const { schema } = node
  const types = typesOf(schema)
  const isNullable = types.includes('null') || schema.get('nullable') === true || takesNull(schema)
  if (met.some((each) => around.includes(each)) || around.length > NESTING_MAX * 4) return anything(isNullable)
  const inner = [...around, ...met]
  const choice = onlyChoice(schema)
  if (choice) {
    const made = make(document, { schema: choice, base: node.base }, inner)
    return { ...made, isNullable: made.isNullable || isNullable }
  }
  const logical = logicalType(schema)
  if (logical) return { ...logical, isNullable }
  const own = types.filter((type) => type !== 'null')
  const [type] = own.length === 2 && own.includes('integer') && own.includes('number') ? ['number'] : own
  if (own.length === 0 || (own.length > 1 && type !== 'number')) return anything(isNullable)
  return { ...ofType(document, node, type, inner), isNullable }
}

function typesOf(schema: JsonObject): readonly string[] {
  const type = schema.get('type')
  if (typeof type === 'string') return [type]
  if (isJsonArray(type)) return type.filter((each) => typeof each === 'string')
  if (isJsonObject(schema.get('properties')) || isJsonObject(schema.get('additionalProperties'))) return ['object']
  const values = isJsonArray(schema.get('enum'))
    ? schema.get('enum')
    : schema.has('const')
      ? [schema.get('const')!]
      : []
  return [...new Set((isJsonArray(values) ? values : []).map(typeOfValue))]
}

function typeOfValue(value: JsonValue): string {
  if (value === null) return 'null'
  if (value instanceof JsonNumber) return /^-?\d+$/.test(value.text) ? 'integer' : 'number'
  return isJsonArray(value) ? 'array' : isJsonObject(value) ? 'object' : typeof value
}

function choicesOf(schema: JsonObject): readonly JsonValue[] | undefined {
  const choices = schema.get('oneOf') ?? schema.get('anyOf')
  return isJsonArray(choices) ? choices : undefined
}

function isNull(schema: JsonValue): boolean {
  return isJsonObject(schema) && schema.get('type') === 'null'
}

function takesNull(schema: JsonObject): boolean {
  return choicesOf(schema)?.some(isNull) === true
}

/** Of `oneOf` and `anyOf` the one schema that is not null, if nothing else says what the value is. */
function onlyChoice(schema: JsonObject): JsonObject | undefined {
  if (schema.has('type') || schema.has('properties')) return undefined
  const others = choicesOf(schema)?.filter((each) => !isNull(each)) ?? []
  return others.length === 1 && isJsonObject(others[0]) ? others[0] : undefined
}

function text(schema: JsonObject, key: string): string | undefined {
  const value = schema.get(key)
  return typeof value === 'string' ? value : undefined
}

function logicalType(schema: JsonObject): Omit<Made, 'isNullable'> | undefined {
  switch (text(schema, 'title')) {
    case DECIMAL: {
      const parameters = schema.get('connect.parameters')
      const scale = isJsonObject(parameters) ? Number(jsonText(parameters.get('scale') ?? null).replaceAll('"', '')) : 0
      if (!Number.isInteger(scale) || scale < 0 || scale > 38) {
        throw schemaError(`a Decimal of scale ${scale} fits no decimal column (scale 0 to 38)`)
      }
      return {
        shape: { type: { kind: 'decimal', precision: 38, scale }, encoding: 'scaled-bytes' },
        connect: decimalSchema(scale),
      }
    }
    case DATE:
      return {
        shape: { type: { kind: 'date' } },
        connect: new ConnectSchema({ type: 'int32', name: DATE, version: 1 }),
      }
    case TIME:
      return {
        shape: { type: { kind: 'time' } },
        connect: new ConnectSchema({ type: 'int32', name: TIME, version: 1 }),
      }
    case TIMESTAMP:
      return timestamp()
    default:
      return undefined
  }
}

function timestamp(): Omit<Made, 'isNullable'> {
  const connect = new ConnectSchema({ type: 'int64', name: TIMESTAMP, version: 1 })
  return { shape: { type: { kind: 'timestamptz' } }, connect }
}

function ofType(document: Document, node: Node, type: string, around: readonly JsonObject[]): Omit<Made, 'isNullable'> {
  const { schema } = node
  const connectType = text(schema, 'connect.type')
  switch (type) {
    case 'boolean':
      return simple({ kind: 'boolean' }, new ConnectSchema({ type: 'boolean' }))
    case 'integer': {
      if (connectType === 'int8' || connectType === 'int16' || connectType === 'int32') {
        return simple({ kind: 'int' }, new ConnectSchema({ type: connectType }))
      }
      return simple({ kind: 'long' }, new ConnectSchema({ type: 'int64' }))
    }
    case 'number': {
      const isFloat = connectType === 'float32'
      return simple(
        { kind: isFloat ? 'float' : 'double' },
        new ConnectSchema({ type: isFloat ? 'float32' : 'float64' }),
      )
    }
    case 'string':
      return ofString(schema, connectType)
    case 'array':
      return ofArray(document, node, around)
    case 'object':
      return ofObject(document, node, around)
    default:
      throw schemaError(`unknown type "${type}"`)
  }
}

function ofString(schema: JsonObject, connectType: string | undefined): Omit<Made, 'isNullable'> {
  if (connectType === 'bytes' || text(schema, 'contentEncoding') === 'base64') {
    return simple({ kind: 'binary' }, new ConnectSchema({ type: 'bytes' }))
  }
  switch (text(schema, 'format')) {
    case 'date-time':
      return timestamp()
    case 'date':
      return simple({ kind: 'date' }, new ConnectSchema({ type: 'int32', name: DATE, version: 1 }))
    case 'time':
      return simple({ kind: 'time' }, new ConnectSchema({ type: 'int32', name: TIME, version: 1 }))
    case 'uuid':
      return simple({ kind: 'uuid' }, new ConnectSchema({ type: 'string' }))
    default:
      return simple({ kind: 'string' }, new ConnectSchema({ type: 'string' }))
  }
}

function inside(name: string, { shape, isNullable }: Made): Field {
  return { fieldId: 0, name, type: shape.type, required: !isNullable }
}

function connectOf({ connect, isNullable }: Made): ConnectSchema {
  return isNullable ? connect.with({ optional: true }) : connect
}

function ofArray(document: Document, node: Node, around: readonly JsonObject[]): Omit<Made, 'isNullable'> {
  const items = node.schema.get('items')
  if (!isJsonObject(items) || items.size === 0 || node.schema.has('prefixItems')) return anything(false)
  const element = make(document, { schema: items, base: node.base }, around)
  return {
    shape: { type: { kind: 'list', element: inside('element', element) }, items: [element.shape] },
    connect: new ConnectSchema({ type: 'array', valueSchema: connectOf(element) }),
  }
}

function ofObject(document: Document, node: Node, around: readonly JsonObject[]): Omit<Made, 'isNullable'> {
  const { schema, base } = node
  const properties = schema.get('properties')
  if (isJsonObject(properties) && properties.size > 0) return ofProperties(document, node, properties, around)
  const patterns = schema.get('patternProperties')
  const only = isJsonObject(patterns) && patterns.size === 1 ? [...patterns.values()][0] : undefined
  const values = only ?? schema.get('additionalProperties')
  if (!isJsonObject(values) || values.size === 0) return anything(false)
  const value = make(document, { schema: values, base }, around)
  const key: Field = { fieldId: 0, name: 'key', type: { kind: 'string' }, required: true }
  const keySchema = new ConnectSchema({ type: 'string' })
  return {
    shape: { type: { kind: 'map', key, value: inside('value', value) }, items: [{ type: key.type }, value.shape] },
    connect: new ConnectSchema({ type: 'map', keySchema, valueSchema: connectOf(value) }),
  }
}

function ofProperties(
  document: Document,
  { schema, base }: Node,
  properties: JsonObject,
  around: readonly JsonObject[],
): Omit<Made, 'isNullable'> {
  const listed = schema.get('required')
  const required = new Set(isJsonArray(listed) ? listed : [])
  const names = [...properties.keys()]
  // A table has no two columns that differ in case only.
  if (new Set(names.map((name) => name.toLowerCase())).size < names.length) return anything(false)
  const made = names.map((name) => {
    const property = properties.get(name)
    if (property === true || property === false)
      return { name, ...anything(true), index: Number.NaN, fallback: undefined }
    if (!isJsonObject(property)) throw schemaError(`property "${name}" is no schema`)
    const own = make(document, { schema: property, base }, around)
    const index = property.get('connect.index')
    const fallback = property.get('default')
    return {
      ...own,
      name,
      isNullable: own.isNullable || !required.has(name),
      index: index instanceof JsonNumber ? Number(index.text) : Number.NaN,
      fallback: fallback === undefined || fallback === null ? undefined : fallback,
    }
  })
  if (made.every(({ index }) => !Number.isNaN(index))) made.sort((a, b) => a.index - b.index)
  const fields: JsonShapeField[] = made.map(({ name, shape, isNullable, fallback }) => ({
    field: { fieldId: 0, name, type: shape.type, required: !isNullable },
    shape,
    isDemanded: false,
    fallback: fallback === undefined ? undefined : Buffer.from(jsonText(fallback)),
  }))
  const connect = new ConnectSchema({
    type: 'struct',
    name: text(schema, 'title'),
    fields: made.map((each) => ({ name: each.name, schema: withFallback(connectOf(each), each.shape, each.fallback) })),
  })
  const type: ColumnType = { kind: 'struct', fields: fields.map(({ field }) => field) }
  return { shape: { type, fields }, connect }
}

function withFallback(schema: ConnectSchema, shape: JsonShape, fallback: JsonValue | undefined): ConnectSchema {
  if (fallback === undefined) return schema
  try {
    return schema.with({ defaultValue: shapedValue(shape, schema, fallback, '') })
  } catch (misfit) {
    if (misfit instanceof MisfitValue) throw schemaError(`default ${jsonText(fallback)}: ${misfit.reason}`)
    throw misfit
  }
}
