/**
 * How the JSON of a column is read: a tree made once, when the decoder is compiled, from the column's type and, where records
 * have a schema of their own, from that (`JsonShape`).
 *
 *   JsonNode     one value: reader code, dotted path for reasons, what is inside
 *   FieldsNode   the fields of an object (a struct, or the record itself): keys, state of each field in the row at hand
 *
 * A tree is used by one record at a time, and no node lies inside itself: the states can stand in the nodes.
 */
import { type ColumnPath, formatPath } from '../../schemas/column-path.ts'
import {
  type ColumnType,
  childFields,
  type Field,
  fieldsWithin,
  formatColumnType,
  isNested,
} from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { keysOfFields, matchFields } from '../../schemas/match-fields.ts'
import type { RecordField } from '../../schemas/record-schema.ts'
import { createKeyLookup, type KeyLookup } from './key-lookup.ts'
import { MapEntries, type Refusal } from './map-entries.ts'
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
  /** Of list and map: columns in which an element takes a slot. */
  readonly slots: number
  /** Fraction digits of a decimal column beyond those of the writer's unscaled bytes. */
  readonly scaleShift: number

  constructor(
    field: Field,
    path: ColumnPath,
    depth: number,
    given: JsonShape | undefined,
    ignored: readonly ColumnPath[],
  ) {
    this.field = field
    this.path = formatPath(path)
    this.depth = depth
    const { type } = field
    // What is open-ended in the records' schema is read as if they had none.
    const shape = given?.type.kind === 'json' ? undefined : given
    const sameKind = shape?.type.kind === type.kind ? shape : undefined
    if (shape && isNested(type) && !sameKind) {
      throw new MillraceError(
        'type-mismatch',
        `column "${this.path}": expected ${formatColumnType(type)}, found ${formatColumnType(shape.type)}`,
      )
    }
    const inside = childFields(type)
    const below = shape?.encoding === 'pairs' ? depth + 2 : depth + 1
    this.code = codeOf(type, shape, this.path)
    this.fields = type.kind === 'struct' ? new FieldsNode(inside, path, below, sameKind?.fields, ignored) : undefined
    this.items =
      type.kind === 'struct'
        ? []
        : inside.map((each, index) => {
            return new JsonNode(each, [...path, each.name], below, sameKind?.items?.[index], ignored)
          })
    this.slots = [...fieldsWithin(field)].length - 1
    this.scaleShift = scaleShiftOf(type, shape, this.path)
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

/** Of a key that is known and goes nowhere. */
export const UNWANTED = -2

export const MISSING = 0
export const PRESENT = 1
export const NULL = 2
export const REFUSED = 3

export class FieldsNode {
  readonly depth: number
  /** Fields that values go to. */
  readonly width: number
  /** Key i names field i for i < width; for those beyond `elsewhere[i - width]` has the field, or UNWANTED. */
  readonly keys: KeyLookup
  readonly elsewhere: Int32Array
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

  constructor(
    fields: readonly Field[],
    path: ColumnPath,
    depth: number,
    shapes: readonly JsonShapeField[] | undefined,
    /** Paths that are not asked for. */
    ignored: readonly ColumnPath[],
  ) {
    const width = fields.length
    const sources = sourcesOf(fields, shapes)
    const names = fields.map((field, index) => (shapes ? sources[index]?.field.name : field.name))
    const others = new Map<string, number>()
    // Without a schema of the records a renamed column is still found under its former names.
    if (!shapes) for (const [name, place] of keysOfFields(fields)) others.set(name, place)
    for (const each of shapes ?? []) if (!others.has(each.field.name)) others.set(each.field.name, UNWANTED)
    for (const each of ignored) if (isInside(each, path)) others.set(each[each.length - 1], UNWANTED)
    for (const name of names) if (name !== undefined) others.delete(name)
    this.depth = depth
    this.width = width
    this.keys = createKeyLookup([...names, ...others.keys()])
    this.elsewhere = Int32Array.from(others.values())
    this.nodes = fields.map(
      (field, index) => new JsonNode(field, [...path, field.name], depth, sources[index]?.shape, ignored),
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

function isInside(path: ColumnPath, parent: ColumnPath): boolean {
  return path.length === parent.length + 1 && parent.every((name, index) => path[index] === name)
}
