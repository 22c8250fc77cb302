/**
 * Texts of .proto files (proto2, proto3, editions), or a FileDescriptorSet in base64, → the message that records hold.
 *
 * The library reads the language and resolves names and features; nothing of it is used for data (ADR 23). The files that a
 * file imports come as references of the registry by the name of the import; those of google/protobuf, google/type and
 * confluent are known.
 *
 * Which message: by the indexes of the registry's frame (`0`: the first of the file, `2,1`: the second inside the third), by
 * its full name, or the file's first. Throws `conversion-failed` with the line where the library knows it.
 */
import protobuf from 'protobufjs'
import descriptor from 'protobufjs/ext/descriptor.js'
import { MillraceError } from '../../../schemas/errors.ts'
import type { WriterSchema } from '../format.ts'
import { KNOWN_FILES, WELL_KNOWN } from './known-files.ts'
import type { ProtoEnum, ProtoField, ProtoMessage, ScalarKind } from './proto-type.ts'

const SCALARS: readonly ScalarKind[] = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
]
const FIELD_NUMBER_MAX = 536_870_911
const BASE64 = /^[A-Za-z0-9+/\s]+={0,2}$/

export function parseProto(writer: WriterSchema): ProtoMessage {
  try {
    const { root, firstMessages } = BASE64.test(writer.text.trim()) ? fromDescriptors(writer.text) : fromTexts(writer)
    root.resolveAll()
    return createConverter().message(chooseMessage(writer, root, firstMessages))
  } catch (error) {
    if (error instanceof MillraceError) throw error
    throw invalid(error instanceof Error ? error.message : String(error), error)
  }
}

type Parsed = {
  readonly root: protobuf.Root
  /** Full names of the messages on the file's first level, in order. */
  readonly firstMessages: readonly string[]
}

function fromTexts(writer: WriterSchema): Parsed {
  const root = new protobuf.Root()
  const given = new Set(writer.references.map(({ name }) => name))
  const imports = new Set<string>()
  for (const { name, text } of writer.references) {
    for (const each of parseInto(text, root, `reference "${name}"`)) imports.add(each)
  }
  // Alone first: in the common root the messages of all files of a package stand side by side.
  const alone = new protobuf.Root()
  parseInto(writer.text, alone, '')
  const firstMessages = messagesOf(alone)
  for (const each of parseInto(writer.text, root, '')) imports.add(each)
  for (const name of imports) {
    if (given.has(name)) continue
    const known = KNOWN_FILES[name]
    if (known === undefined) throw invalid(`import "${name}" is not known; is a reference missing?`)
    addKnown(root, name, known)
  }
  return { root, firstMessages }
}

function parseInto(text: string, root: protobuf.Root, place: string): string[] {
  try {
    const { imports = [], weakImports = [] } = protobuf.parse(text, root, { keepCase: true })
    return [...imports, ...weakImports]
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw invalid(`${place === '' ? '' : `${place}: `}${message}`, error)
  }
}

function addKnown(root: protobuf.Root, name: string, known: string | true): void {
  if (known !== true) parseInto(known, root, name)
  else {
    const json = protobuf.common.get(name)
    if (json?.nested) root.addJSON(json.nested)
  }
}

function fromDescriptors(text: string): Parsed {
  const bytes = Buffer.from(text, 'base64')
  const set = descriptor.FileDescriptorSet.decode(bytes) as unknown as {
    file: { package?: string; messageType?: { name: string }[] }[]
  }
  const last = set.file.at(-1)
  if (last === undefined) throw invalid('a FileDescriptorSet without files')
  const fromSet = protobuf.Root as unknown as {
    fromDescriptor(set: unknown, options: { keepCase: boolean }): protobuf.Root
  }
  const prefix = last.package ? `${last.package}.` : ''
  // Files stand behind those they import: the last one is the one that was asked for.
  return {
    root: fromSet.fromDescriptor(bytes, { keepCase: true }),
    firstMessages: (last.messageType ?? []).map(({ name }) => prefix + name),
  }
}

function messagesOf(namespace: protobuf.NamespaceBase): string[] {
  const found: string[] = []
  for (const each of namespace.nestedArray) {
    if (each instanceof protobuf.Type) found.push(nameOf(each))
    else if (each instanceof protobuf.Namespace) found.push(...messagesOf(each))
  }
  return found
}

function chooseMessage(writer: WriterSchema, root: protobuf.Root, first: readonly string[]): protobuf.Type {
  if (writer.messageIndexes === undefined && writer.message !== undefined) {
    const found = lookUp(root, writer.message)
    if (found === undefined) throw invalid(`there is no message "${writer.message}"`)
    return found
  }
  const indexes = (writer.messageIndexes ?? '0').split(',').map(Number)
  const name = first[indexes[0]]
  let type = name === undefined ? undefined : lookUp(root, name)
  for (const index of indexes.slice(1)) {
    type = type?.nestedArray.filter((each): each is protobuf.Type => each instanceof protobuf.Type)[index]
  }
  if (type === undefined) throw invalid(`there is no message with the indexes ${indexes.join(', ')}`)
  return type
}

function lookUp(root: protobuf.Root, name: string): protobuf.Type | undefined {
  const found = root.lookup(name.replace(/^\./, ''), [protobuf.Type])
  return found instanceof protobuf.Type ? found : undefined
}

function createConverter(): { message(type: protobuf.Type): ProtoMessage } {
  const messages = new Map<protobuf.Type, ProtoMessage>()
  const enums = new Map<protobuf.Enum, ProtoEnum>()

  function message(type: protobuf.Type): ProtoMessage {
    const known = messages.get(type)
    if (known) return known
    const fields: ProtoField[] = []
    const name = nameOf(type)
    const made = { name, wellKnown: WELL_KNOWN[name], fields }
    // Before its fields: they may lead back to it.
    messages.set(type, made)
    for (const each of type.fieldsArray) {
      // Extensions of other files are unknown fields.
      if (each.declaringField === null) fields.push(field(each, type))
    }
    return made
  }

  function enumType(type: protobuf.Enum): ProtoEnum {
    const known = enums.get(type)
    if (known) return known
    const names = new Map<number, string>()
    for (const [name, number] of Object.entries(type.values)) if (!names.has(number)) names.set(number, name)
    const made = { name: nameOf(type), names }
    enums.set(type, made)
    return made
  }

  function field(each: protobuf.Field, parent: protobuf.Type): ProtoField {
    const { resolvedType } = each
    const scalar = SCALARS.find((kind) => kind === each.type)
    const isMap = each instanceof protobuf.MapField
    const keyKind = isMap ? SCALARS.find((kind) => kind === each.keyType) : undefined
    if (each.id < 1 || each.id > FIELD_NUMBER_MAX) throw invalid(`field "${each.name}": number ${each.id}`)
    // Those that the library brings along have no syntax of their own; they are all proto3.
    const isImplicit = nameOf(parent).startsWith('google.protobuf.') && each.partOf === null
    const isSingle = !each.repeated && !isMap
    const presence = isSingle && (resolvedType instanceof protobuf.Type || (!isImplicit && Boolean(each.hasPresence)))
    return {
      name: each.name,
      number: each.id,
      kind: scalar ?? (resolvedType instanceof protobuf.Enum ? 'enum' : 'message'),
      message: resolvedType instanceof protobuf.Type ? message(resolvedType) : undefined,
      enumType: resolvedType instanceof protobuf.Enum ? enumType(resolvedType) : undefined,
      keyKind,
      repeated: each.repeated,
      presence,
      required: each.required,
      fallback: fallbackOf(each, presence),
      oneof: each.partOf && !each.partOf.isProto3Optional ? parent.oneofsArray.indexOf(each.partOf) : -1,
      delimited: each.delimited,
      decimal: decimalOf(each),
    }
  }

  return { message }
}

function nameOf(type: protobuf.ReflectionObject): string {
  return type.fullName.replace(/^\./, '')
}

function fallbackOf(field: protobuf.Field, presence: boolean): ProtoField['fallback'] {
  const isGiven = field.options?.default !== undefined
  if (field.resolvedType instanceof protobuf.Type || (presence && !isGiven)) return undefined
  // The library knows it once names are resolved; of lists and maps it is that of one value.
  const value: unknown = field.typeDefault
  if (field.resolvedType instanceof protobuf.Enum) {
    return typeof value === 'number' ? value : (Object.values(field.resolvedType.values)[0] ?? 0)
  }
  if (field.type === 'bytes') return value instanceof Uint8Array ? value : new Uint8Array(0)
  if (field.type === 'string') return typeof value === 'string' ? value : ''
  if (field.type === 'bool') return value === true
  if (field.type === 'float' || field.type === 'double') return Number(value ?? 0)
  return BigInt(String(value ?? 0))
}

/** `[(confluent.field_meta) = { params: [{ key: "precision", value: "10" }, { key: "scale", value: "2" }] }]` */
function decimalOf(field: protobuf.Field): ProtoField['decimal'] {
  const params = new Map<string, string>()
  for (const option of (field.parsedOptions ?? []) as Record<string, unknown>[]) {
    const meta = option['(confluent.field_meta)'] as { params?: unknown } | undefined
    for (const each of [meta?.params ?? []].flat() as { key?: unknown; value?: unknown }[]) {
      if (typeof each?.key === 'string') params.set(each.key, String(each.value))
    }
  }
  const precision = Number(params.get('precision') ?? 38)
  const scale = Number(params.get('scale') ?? Number.NaN)
  const isValid = Number.isInteger(precision) && precision >= 1 && precision <= 38 && scale >= 0 && scale <= precision
  return isValid && Number.isInteger(scale) ? { precision, scale } : undefined
}

function invalid(problem: string, cause?: unknown): MillraceError {
  return new MillraceError('conversion-failed', `Protobuf schema: ${problem}`, { cause })
}
