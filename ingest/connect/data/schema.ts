/**
 * Schemas of Kafka Connect's data model: what a converter says about a key, a value or a header.
 *
 * A schema is immutable. It is compared by identity first, then by everything it says (`sameSchema`), as Connect does; whoever
 * makes schemas from text should give the same object for the same text, because transforms keep what they derived per object.
 */
import type { ConnectValue } from './values.ts'
import { sameValue } from './values.ts'

export const SCHEMA_TYPES = [
  'int8',
  'int16',
  'int32',
  'int64',
  'float32',
  'float64',
  'boolean',
  'string',
  'bytes',
  'array',
  'map',
  'struct',
] as const

export type SchemaType = (typeof SCHEMA_TYPES)[number]

/** Names of the logical types that every part of Connect knows. */
export const DECIMAL = 'org.apache.kafka.connect.data.Decimal'
export const DATE = 'org.apache.kafka.connect.data.Date'
export const TIME = 'org.apache.kafka.connect.data.Time'
export const TIMESTAMP = 'org.apache.kafka.connect.data.Timestamp'

export type ConnectField = { readonly name: string; readonly index: number; readonly schema: ConnectSchema }

export type SchemaParts = {
  readonly type: SchemaType
  readonly optional?: boolean
  readonly name?: string
  readonly version?: number
  readonly doc?: string
  readonly parameters?: ReadonlyMap<string, string>
  /** undefined: none. A schema has no null default. */
  readonly defaultValue?: ConnectValue
  /** Of a struct. */
  readonly fields?: readonly { readonly name: string; readonly schema: ConnectSchema }[]
  /** Of a map. */
  readonly keySchema?: ConnectSchema
  /** Of a map or an array. */
  readonly valueSchema?: ConnectSchema
}

export class ConnectSchema {
  readonly type: SchemaType
  readonly optional: boolean
  readonly name: string | undefined
  readonly version: number | undefined
  readonly doc: string | undefined
  readonly parameters: ReadonlyMap<string, string> | undefined
  readonly defaultValue: ConnectValue | undefined
  /** Empty for all but structs. */
  readonly fields: readonly ConnectField[]
  readonly keySchema: ConnectSchema | undefined
  readonly valueSchema: ConnectSchema | undefined
  private readonly byName: ReadonlyMap<string, ConnectField>

  /** Field names must differ; whoever reads schemas that others wrote checks that. */
  constructor(parts: SchemaParts) {
    this.type = parts.type
    this.optional = parts.optional ?? false
    this.name = parts.name
    this.version = parts.version
    this.doc = parts.doc
    this.parameters = parts.parameters && parts.parameters.size > 0 ? parts.parameters : undefined
    this.defaultValue = parts.defaultValue ?? undefined
    this.fields = (parts.fields ?? []).map(({ name, schema }, index) => ({ name, index, schema }))
    this.keySchema = parts.keySchema
    this.valueSchema = parts.valueSchema
    this.byName = new Map(this.fields.map((field) => [field.name, field]))
  }

  /** Of a struct. */
  field(name: string): ConnectField | undefined {
    return this.byName.get(name)
  }

  /** The same schema but for these parts. */
  with(parts: Partial<SchemaParts>): ConnectSchema {
    return new ConnectSchema({ ...this, ...parts })
  }
}

const plain = (type: SchemaType) => new ConnectSchema({ type })
const optional = (type: SchemaType) => new ConnectSchema({ type, optional: true })

export const INT32_SCHEMA = plain('int32')
export const INT64_SCHEMA = plain('int64')
export const STRING_SCHEMA = plain('string')
export const BOOLEAN_SCHEMA = plain('boolean')
export const OPTIONAL_INT32_SCHEMA = optional('int32')
export const OPTIONAL_INT64_SCHEMA = optional('int64')
export const OPTIONAL_STRING_SCHEMA = optional('string')
export const DATE_SCHEMA = new ConnectSchema({ type: 'int32', name: DATE, version: 1 })
export const TIME_SCHEMA = new ConnectSchema({ type: 'int32', name: TIME, version: 1 })
export const TIMESTAMP_SCHEMA = new ConnectSchema({ type: 'int64', name: TIMESTAMP, version: 1 })

export function decimalSchema(scale: number, parts: Partial<SchemaParts> = {}): ConnectSchema {
  const parameters = new Map([['scale', String(scale)]])
  return new ConnectSchema({ type: 'bytes', name: DECIMAL, version: 1, parameters, ...parts })
}

export function structSchema(
  fields: readonly (readonly [name: string, schema: ConnectSchema])[],
  parts: Partial<SchemaParts> = {},
): ConnectSchema {
  return new ConnectSchema({ type: 'struct', fields: fields.map(([name, schema]) => ({ name, schema })), ...parts })
}

/** Everything that both say is the same: names, docs, defaults and parameters too. */
export function sameSchema(a: ConnectSchema | undefined, b: ConnectSchema | undefined): boolean {
  if (a === b) return true
  if (a === undefined || b === undefined) return false
  return (
    a.type === b.type &&
    a.optional === b.optional &&
    a.name === b.name &&
    a.version === b.version &&
    a.doc === b.doc &&
    sameParameters(a.parameters, b.parameters) &&
    sameValue(a.defaultValue ?? null, b.defaultValue ?? null) &&
    a.fields.length === b.fields.length &&
    a.fields.every(({ name, schema }, i) => name === b.fields[i].name && sameSchema(schema, b.fields[i].schema)) &&
    sameSchema(a.keySchema, b.keySchema) &&
    sameSchema(a.valueSchema, b.valueSchema)
  )
}

function sameParameters(
  a: ReadonlyMap<string, string> | undefined,
  b: ReadonlyMap<string, string> | undefined,
): boolean {
  if ((a?.size ?? 0) !== (b?.size ?? 0)) return false
  for (const [name, value] of a ?? []) if (b?.get(name) !== value) return false
  return true
}
