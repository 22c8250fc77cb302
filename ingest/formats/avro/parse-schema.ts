/**
 * The text of an Avro schema, and of those it refers to, → `AvroType`.
 *
 * Names: a named type is known by its full name from where it stands on, also in the texts that follow; the referenced texts
 * come first, in their order. A record may refer to itself: whoever makes columns of it refuses that, not we.
 *
 * Throws `conversion-failed` with the place (`orders.items[]`) and what was expected there. Texts are bounded by whoever got
 * them; nesting is bounded here.
 */
import { MillraceError } from '../../../schemas/errors.ts'
import type { AvroField, AvroLogical, AvroPrimitiveKind, AvroProperties, AvroRecord, AvroType } from './avro-type.ts'

const PRIMITIVES: readonly AvroPrimitiveKind[] = [
  'null',
  'boolean',
  'int',
  'long',
  'float',
  'double',
  'bytes',
  'string',
]
const DEPTH_MAX = 100
const FIXED_BYTES_MAX = 1024 * 1024
/** Namespaces hold what languages put there (`shop.Order$`); nobody but a reader of names needs them to be identifiers. */
const FULL_NAME = /^[^\s"{}[\],:]+$/

type JsonObject = { readonly [key: string]: unknown }
type Scope = { readonly namespace: string; readonly place: string; readonly depth: number }

export function parseAvroSchema(schema: {
  readonly text: string
  readonly references?: readonly { readonly name: string; readonly text: string }[]
}): AvroType {
  const named = new Map<string, AvroType>()
  for (const { name, text } of schema.references ?? []) parseText(text, named, `reference "${name}"`)
  return parseText(schema.text, named, '')
}

function parseText(text: string, named: Map<string, AvroType>, place: string): AvroType {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (cause) {
    // A registry gives a schema that is only a name without its quotes at times.
    if (FULL_NAME.test(text.trim())) json = text.trim()
    else throw invalid(place, 'expected an Avro schema in JSON, found text that is none', cause)
  }
  return parseType(json, named, { namespace: '', place, depth: 0 })
}

function parseType(json: unknown, named: Map<string, AvroType>, scope: Scope): AvroType {
  if (scope.depth > DEPTH_MAX) throw invalid(scope.place, `nested deeper than ${DEPTH_MAX} levels`)
  if (typeof json === 'string') return typeByName(json, named, scope)
  if (Array.isArray(json)) return parseUnion(json, named, scope)
  if (!isObject(json)) throw invalid(scope.place, `expected a type, found ${describe(json)}`)
  const { type } = json
  if (typeof type !== 'string') return parseType(type, named, { ...scope, depth: scope.depth + 1 })
  const inner = { ...scope, depth: scope.depth + 1 }
  switch (type) {
    case 'record':
    case 'error':
      return parseRecord(json, named, inner)
    case 'enum':
      return parseEnum(json, named, scope)
    case 'fixed':
      return parseFixed(json, named, scope)
    case 'array':
      return { kind: 'array', items: parseType(json.items, named, { ...inner, place: `${scope.place}[]` }) }
    case 'map':
      return { kind: 'map', values: parseType(json.values, named, { ...inner, place: `${scope.place}{}` }) }
    default: {
      const found = typeByName(type, named, scope)
      return 'name' in found ? found : withLogical(found, json)
    }
  }
}

function typeByName(name: string, named: Map<string, AvroType>, scope: Scope): AvroType {
  const primitive = PRIMITIVES.find((each) => each === name)
  if (primitive) return { kind: primitive }
  const found = named.get(fullName(name, scope.namespace)) ?? named.get(name)
  if (!found) throw invalid(scope.place, `type "${name}" is not known; is a reference missing?`)
  return found
}

function parseUnion(json: readonly unknown[], named: Map<string, AvroType>, scope: Scope): AvroType {
  if (json.length === 0) throw invalid(scope.place, 'a union without types')
  const branches = json.map((each) => parseType(each, named, { ...scope, depth: scope.depth + 1 }))
  const seen = new Set<string>()
  for (const branch of branches) {
    const key = 'name' in branch ? branch.name : branch.kind
    if (branch.kind === 'union') throw invalid(scope.place, 'a union directly inside a union')
    if (seen.has(key)) throw invalid(scope.place, `a union with "${key}" twice`)
    seen.add(key)
  }
  return { kind: 'union', branches }
}

function parseRecord(json: JsonObject, named: Map<string, AvroType>, scope: Scope): AvroType {
  const name = nameOf(json, scope)
  const fields: AvroField[] = []
  const record: AvroRecord & { properties: AvroProperties } = {
    kind: 'record',
    name,
    doc: textOf(json.doc),
    fields,
    properties: json,
  }
  // Before its fields: they may refer to it.
  define(record, json, named, scope)
  if (!Array.isArray(json.fields)) throw invalid(scope.place, `record ${name}: expected "fields" as a list`)
  const place = scope.place === '' ? name : scope.place
  const names = new Set<string>()
  for (const each of json.fields as unknown[]) {
    if (!isObject(each) || typeof each.name !== 'string' || each.name === '') {
      throw invalid(place, `a field of ${name}: expected an object with a name, found ${describe(each)}`)
    }
    if (names.has(each.name)) throw invalid(place, `two fields are named "${each.name}"`)
    names.add(each.name)
    const inner = { namespace: namespaceOf(name), place: `${place}.${each.name}`, depth: scope.depth + 1 }
    fields.push(parseField(each, each.name, parseType(each.type, named, inner)))
  }
  return record
}

function parseField(json: JsonObject, name: string, type: AvroType): AvroField {
  const id = json['field-id']
  return {
    name,
    type,
    aliases: textsOf(json.aliases),
    sourceId: typeof id === 'number' && Number.isInteger(id) && id >= 0 ? id : undefined,
    doc: textOf(json.doc),
    fallback: json.default,
  }
}

function parseEnum(json: JsonObject, named: Map<string, AvroType>, scope: Scope): AvroType {
  const name = nameOf(json, scope)
  const { symbols } = json
  if (!Array.isArray(symbols) || symbols.length === 0 || !symbols.every((each) => typeof each === 'string')) {
    throw invalid(scope.place, `enum ${name}: expected "symbols" as a list of texts`)
  }
  if (new Set(symbols).size < symbols.length) throw invalid(scope.place, `enum ${name}: a symbol stands there twice`)
  return define({ kind: 'enum', name, symbols, properties: json }, json, named, scope)
}

function parseFixed(json: JsonObject, named: Map<string, AvroType>, scope: Scope): AvroType {
  const name = nameOf(json, scope)
  const { size } = json
  if (typeof size !== 'number' || !Number.isInteger(size) || size < 0 || size > FIXED_BYTES_MAX) {
    throw invalid(scope.place, `fixed ${name}: expected a size from 0 to ${FIXED_BYTES_MAX}, found ${describe(size)}`)
  }
  return define(withLogical({ kind: 'fixed', name, size }, json), json, named, scope)
}

function define(type: AvroType, json: JsonObject, named: Map<string, AvroType>, scope: Scope): AvroType {
  const name = 'name' in type ? type.name : ''
  const known = named.get(name)
  // Texts that do not refer to each other repeat what they share; the same words mean the same type.
  if (known && JSON.stringify(known.properties) !== JSON.stringify(json)) {
    throw invalid(scope.place, `two types are named "${name}"`)
  }
  named.set(name, type)
  for (const alias of textsOf(json.aliases)) {
    const full = fullName(alias, namespaceOf(name))
    if (!named.has(full)) named.set(full, type)
  }
  return type
}

function nameOf(json: JsonObject, scope: Scope): string {
  const { name, namespace } = json
  if (typeof name !== 'string' || !FULL_NAME.test(name)) {
    throw invalid(scope.place, `expected a name for the ${String(json.type)}, found ${describe(name)}`)
  }
  return fullName(name, typeof namespace === 'string' ? namespace : scope.namespace)
}

function fullName(name: string, namespace: string): string {
  return name.includes('.') || namespace === '' ? name : `${namespace}.${name}`
}

function namespaceOf(name: string): string {
  return name.slice(0, Math.max(0, name.lastIndexOf('.')))
}

function withLogical(type: AvroType, json: JsonObject): AvroType {
  return { ...type, logical: logicalOf(type, json), properties: json }
}

function logicalOf(type: AvroType, json: JsonObject): AvroLogical | undefined {
  const name = json.logicalType
  switch (name) {
    case 'decimal': {
      if (type.kind !== 'bytes' && type.kind !== 'fixed') return undefined
      const { precision, scale = 0 } = json
      if (!isCount(precision) || !isCount(scale) || precision < 1 || scale > precision) return undefined
      if (type.kind === 'fixed' && precision > digitsIn(type.size)) return undefined
      return { kind: 'decimal', precision, scale }
    }
    case 'date':
    case 'time-millis':
      return type.kind === 'int' ? { kind: name } : undefined
    case 'time-micros':
    case 'timestamp-millis':
    case 'timestamp-micros':
    case 'timestamp-nanos':
    case 'local-timestamp-millis':
    case 'local-timestamp-micros':
    case 'local-timestamp-nanos':
      return type.kind === 'long' ? { kind: name } : undefined
    case 'uuid':
      return type.kind === 'string' || (type.kind === 'fixed' && type.size === 16) ? { kind: name } : undefined
    case 'duration':
      return type.kind === 'fixed' && type.size === 12 ? { kind: name } : undefined
    default:
      return undefined
  }
}

/** Decimal digits that always fit in a two's complement of so many bytes. */
function digitsIn(size: number): number {
  return Math.floor(Math.log10(2) * (8 * size - 1))
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : []
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 60)}…` : text
}

function invalid(place: string, problem: string, cause?: unknown): MillraceError {
  const where = place === '' ? '' : `${place}: `
  return new MillraceError('conversion-failed', `Avro schema: ${where}${problem}`, { cause })
}
