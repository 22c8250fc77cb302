/**
 * How the JSON of a column is read: a tree made once, when the decoder is compiled, from the column's type and, where records
 * have a schema of their own, from that (`JsonShape`).
 *
 *   JsonNode     one value: reader code, dotted path for reasons, what is inside
 *   FieldsNode   the fields of an object (a struct, or the record itself): keys, state of each field in the row at hand
 *
 * A tree is used by one record at a time, and no node lies inside itself: the states can stand in the nodes.
 */
import { type ColumnType, childFields, type Field, formatColumnType, isNested } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { matchFields } from '../../schemas/match-fields.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import { createKeyLookup, type KeyLookup } from './key-lookup.ts'
import { MapEntries } from './map-entries.ts'
import { PAIRS, readerCodeOf, SCALED_BYTES } from './read-value.ts'

/** What the writer's schema says about one value's JSON. */
export type JsonShape = {
  /** The column that it would make. */
  readonly type: ColumnType
  /** Connect's decimals are base64 of their unscaled bytes, and its maps arrays of pairs where keys are no text. */
  readonly encoding?: 'scaled-bytes' | 'pairs'
  /** Of a struct. */
  readonly fields?: readonly JsonShapeField[]
  /** List: the element. Map: key and value. */
  readonly items?: readonly JsonShape[]
}

export type JsonShapeField = {
  /** Its `name` is the key in the JSON. */
  readonly field: RecordField
  readonly shape: JsonShape
  /** A record without it is refused, whatever the table says. */
  readonly isDemanded: boolean
  /** JSON text that stands for a value that is null or missing. */
  readonly fallback: Uint8Array | undefined
}

/** Why a value cannot go where it should. */
export type Refusal = { readonly reason: string; readonly column: string }

export class JsonNode {
  readonly code: number
  /** The place it goes to. */
  readonly field: Field
  readonly path: string
  /** Containers open around the value in the JSON. */
  readonly depth: number
  readonly fields: FieldsNode | undefined
  readonly items: readonly JsonNode[]
  /** Of a map. */
  readonly entries: MapEntries | undefined
  /** Fraction digits of a decimal column beyond those of the writer's unscaled bytes. */
  readonly scaleShift: number

  constructor(field: Field, path: string, depth: number, shape: JsonShape | undefined, ignored: ReadonlySet<string>) {
    this.field = field
    this.path = path
    this.depth = depth
    const { type } = field
    const sameKind = shape?.type.kind === type.kind ? shape : undefined
    if (shape && isNested(type) && !sameKind) {
      throw new MillraceError(
        'type-mismatch',
        `column "${path}": expected ${formatColumnType(type)}, found ${formatColumnType(shape.type)}`,
      )
    }
    const inside = childFields(type)
    const below = shape?.encoding === 'pairs' ? depth + 2 : depth + 1
    this.code = codeOf(type, shape, path)
    this.fields =
      type.kind === 'struct' ? new FieldsNode(inside, path, below, sameKind?.fields, new Set(), ignored) : undefined
    this.items =
      type.kind === 'struct'
        ? []
        : inside.map((each, index) => {
            return new JsonNode(each, `${path}.${each.name}`, below, sameKind?.items?.[index], ignored)
          })
    this.scaleShift = scaleShiftOf(type, shape, path)
    this.entries = type.kind === 'map' ? new MapEntries() : undefined
  }
}

function codeOf(type: ColumnType, shape: JsonShape | undefined, path: string): number {
  if (type.kind === 'map' && isNested(type.key.type)) {
    throw new MillraceError(
      'type-mismatch',
      `column "${path}": keys of a JSON object cannot be ${formatColumnType(type.key.type)}`,
    )
  }
  if (shape?.encoding === 'pairs' && type.kind === 'map') return PAIRS
  if (shape?.encoding === 'scaled-bytes' && type.kind === 'decimal') return SCALED_BYTES
  return readerCodeOf(type.kind)
}

function scaleShiftOf(type: ColumnType, shape: JsonShape | undefined, path: string): number {
  if (shape?.encoding !== 'scaled-bytes' || shape.type.kind !== 'decimal') return 0
  const shift = type.kind === 'decimal' ? type.scale - shape.type.scale : -1
  if (shift >= 0) return shift
  throw new MillraceError(
    'type-mismatch',
    `column "${path}": expected ${formatColumnType(type)}, found ${formatColumnType(shape.type)}`,
  )
}

export const MISSING = 0
export const PRESENT = 1
export const NULL = 2
export const REFUSED = 3

export class FieldsNode {
  /** '' for the record itself. */
  readonly path: string
  readonly depth: number
  /** Fields that values go to. */
  readonly width: number
  /** Key i names field i for i < width; those beyond are known and not wanted. */
  readonly keys: KeyLookup
  readonly nodes: readonly JsonNode[]
  readonly codes: Uint8Array
  /** A missing value is refused. */
  readonly required: Uint8Array
  readonly fallbacks: readonly (Uint8Array | undefined)[]
  readonly hasFallbacks: boolean
  /** Of the row at hand. */
  readonly states: Uint8Array
  readonly refusals: (Refusal | undefined)[]
  /** Which key came last behind that of field i (at i + 1; at 0: which came first), to be compared first. */
  readonly following: Int32Array
  /** Without a schema of the records a key that nobody knows may become a column. */
  readonly isOpen: boolean

  constructor(
    fields: readonly Field[],
    path: string,
    depth: number,
    shapes: readonly JsonShapeField[] | undefined,
    /** Keys that go elsewhere. */
    unwanted: ReadonlySet<string>,
    /** Dotted paths that are not asked for. */
    ignored: ReadonlySet<string>,
  ) {
    const width = fields.length
    const sources = sourcesOf(fields, shapes)
    const names = fields.map((field, index) => (shapes ? sources[index]?.field.name : field.name))
    const prefix = path === '' ? '' : `${path}.`
    const others = new Set(unwanted)
    for (const each of shapes ?? []) others.add(each.field.name)
    for (const each of ignored) {
      if (each.startsWith(prefix)) others.add(each.slice(prefix.length))
    }
    for (const name of names) if (name !== undefined) others.delete(name)
    this.path = path
    this.depth = depth
    this.width = width
    this.keys = createKeyLookup([...names, ...others])
    this.nodes = fields.map(
      (field, index) => new JsonNode(field, prefix + field.name, depth, sources[index]?.shape, ignored),
    )
    this.codes = Uint8Array.from(this.nodes, (node) => node.code)
    this.fallbacks = sources.map((source) => source?.fallback)
    this.hasFallbacks = this.fallbacks.some((fallback) => fallback !== undefined)
    this.required = Uint8Array.from(fields, (field, index) =>
      field.required || sources[index]?.isDemanded === true ? 1 : 0,
    )
    this.states = new Uint8Array(width)
    this.refusals = fields.map(() => undefined)
    const first = names.findIndex((name) => name !== undefined)
    this.following = Int32Array.from({ length: width + 1 }, (_, index) => (first < 0 ? -1 : Math.min(index, width - 1)))
    this.isOpen = shapes === undefined
  }
}

/** For each field of the table the writer's, if it has one. */
function sourcesOf(
  fields: readonly Field[],
  shapes: readonly JsonShapeField[] | undefined,
): (JsonShapeField | undefined)[] {
  const sources: (JsonShapeField | undefined)[] = fields.map(() => undefined)
  if (!shapes) return sources
  const matched = matchFields(
    shapes.map((shape) => shape.field),
    fields,
  )
  matched.forEach((place, index) => {
    if (place >= 0) sources[place] = shapes[index]
  })
  return sources
}
