/**
 * A JSON Schema with those it refers to, as one thing to look into: `$ref` resolved, `allOf` put together.
 *
 *   #                         the document itself
 *   #/definitions/a, #/$defs/a, #/properties/x   a JSON pointer
 *   #name                     the schema whose `$anchor` (draft 4 to 7: `$id` or `id`) is that
 *   other.json, other.json#…  a schema that the registry gave with this one, by the name used there, or by its own `$id`
 *
 * Keywords beside a `$ref` count too, as from draft 2019-09 on.
 */
import { MillraceError } from '../../../schemas/errors.ts'
import { isJsonArray, isJsonObject, type JsonObject, type JsonValue, parseJson } from './read-json.ts'

export type Document = { readonly root: JsonValue; readonly others: ReadonlyMap<string, JsonValue> }
/** A schema and the document that its references count from. */
export type Node = { readonly schema: JsonObject; readonly base: JsonValue }

const REFERENCES_MAX = 100

export function schemaError(what: string): MillraceError {
  return new MillraceError('conversion-failed', `the JSON Schema cannot be used: ${what}`)
}

export function openDocument(text: string, references: readonly { name: string; text: string }[]): Document {
  const others = new Map<string, JsonValue>()
  for (const reference of references) {
    const parsed = parse(reference.text)
    others.set(reference.name, parsed)
    const id = isJsonObject(parsed) ? idOf(parsed) : undefined
    if (id !== undefined) others.set(id, parsed)
  }
  return { root: parse(text), others }
}

function parse(text: string): JsonValue {
  try {
    return parseJson(text)
  } catch (error) {
    throw schemaError(error instanceof Error ? error.message : String(error))
  }
}

function idOf(schema: JsonObject): string | undefined {
  const id = schema.get('$id') ?? schema.get('id')
  return typeof id === 'string' ? id : undefined
}

/** The node with its `$ref` followed and its `allOf` put together. Schemas met on the way are added to `met`. */
export function resolve(document: Document, node: Node, met: JsonObject[]): Node {
  let { schema, base } = node
  met.push(schema)
  if (met.length > REFERENCES_MAX * 10) throw schemaError('"allOf" leads to itself')
  for (let followed = 0; ; followed += 1) {
    const reference = schema.get('$ref')
    if (typeof reference !== 'string') break
    if (followed > REFERENCES_MAX) throw schemaError(`"$ref" ${reference} leads to itself`)
    const found = follow(document, base, reference)
    const beside = [...schema].filter(([key]) => key !== '$ref')
    met.push(found.schema)
    schema = beside.length === 0 ? found.schema : new Map([...found.schema, ...beside])
    base = found.base
  }
  const parts = schema.get('allOf')
  if (!isJsonArray(parts)) return { schema, base }
  const merged = new Map(schema)
  merged.delete('allOf')
  for (const part of parts) {
    if (isJsonObject(part)) mergeInto(merged, resolve(document, { schema: part, base }, met).schema)
  }
  return { schema: merged, base }
}

/** Properties of both, what is required by either; of other keywords the outer one. */
function mergeInto(target: Map<string, JsonValue>, part: JsonObject): void {
  for (const [key, value] of part) {
    const own = target.get(key)
    if (isJsonObject(own) && isJsonObject(value)) target.set(key, new Map([...own, ...value, ...own]))
    else if (key === 'required' && isJsonArray(own) && isJsonArray(value)) target.set(key, [...own, ...value])
    else if (own === undefined) target.set(key, value)
  }
}

function follow(document: Document, base: JsonValue, reference: string): Node {
  const [address, fragment = ''] = reference.split('#', 2)
  let from = base
  if (address !== '') {
    const other =
      document.others.get(address) ?? (isOwn(document, address) ? document.root : byEnding(document, address))
    if (other === undefined) throw schemaError(`"$ref" ${reference}: nothing by this name was given with it`)
    from = other
  }
  const found = fragment === '' || fragment.startsWith('/') ? pointer(from, fragment) : anchor(from, fragment)
  if (isJsonObject(found)) return { schema: found, base: from }
  // `true`: anything.
  if (found === true) return { schema: new Map(), base: from }
  throw schemaError(`"$ref" ${reference}: there is no schema`)
}

function isOwn({ root }: Document, address: string): boolean {
  return isJsonObject(root) && idOf(root) === address
}

/** `http://host/a/address.json` is given as `address.json` by some. */
function byEnding({ others }: Document, address: string): JsonValue | undefined {
  for (const [name, schema] of others) {
    if (name.endsWith(`/${address}`) || address.endsWith(`/${name}`)) return schema
  }
  return undefined
}

function pointer(from: JsonValue, path: string): JsonValue | undefined {
  let value: JsonValue | undefined = from
  for (const part of path.split('/').slice(1)) {
    const key = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
    if (isJsonObject(value)) value = value.get(key)
    else if (isJsonArray(value)) value = value[Number(key)]
    else return undefined
  }
  return value
}

function anchor(from: JsonValue, name: string): JsonValue | undefined {
  if (isJsonArray(from)) return first(from, name)
  if (!isJsonObject(from)) return undefined
  if (from.get('$anchor') === name || idOf(from) === `#${name}`) return from
  return first([...from.values()], name)
}

function first(values: readonly JsonValue[], name: string): JsonValue | undefined {
  for (const value of values) {
    const found = anchor(value, name)
    if (found !== undefined) return found
  }
  return undefined
}
