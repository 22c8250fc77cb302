/**
 * A nested column's rows `[from, to)` as its leaves want them: for each leaf the slots that the rows have in it, and one
 * level entry a value, a null or an empty list.
 *
 *   definition level   how much of the leaf's path is there: one for each optional field, one for each list or map entry
 *   repetition level   which list an entry goes on with; 0 begins a row
 *
 *   list<int>   [1, 2] → (0,3)(1,3)    [null] → (0,2)    [] → (0,1)    null → (0,0)      (repetition, definition)
 *
 * Walking down, every entry still carries its slot in the vector at hand; one that ended (a null, an empty list) has -1. In an
 * Arrow vector a null struct's slots are null in its fields, and a null list has no slots at all: so a leaf's present
 * values are just those of its slots that are valid, and nothing is gathered.
 */
import { type Field, isNested } from '../../schemas/column-type.ts'
import { invariant } from '../../schemas/errors.ts'
import type { ColumnVector } from '../../schemas/micro-batch.ts'

export type LeafLevels = {
  readonly count: number
  readonly definitions: Int32Array
  /** undefined outside lists and maps. */
  readonly repetitions: Int32Array | undefined
  readonly definitionMax: number
  readonly repetitionMax: number
  /** Entries with the highest definition level. */
  readonly present: number
}

type Entries = {
  readonly count: number
  readonly slots: Int32Array
  readonly definitions: Int32Array
  readonly repetitions: Int32Array | undefined
}

/** Where the walk is: slots of the vector, and the levels that an entry which is there has so far. */
type Place = { readonly from: number; readonly to: number; readonly definition: number; readonly repetition: number }

/** In the order of the leaves in the file's schema. */
export function leafLevels(vector: ColumnVector, from: number, to: number): LeafLevels[] {
  const count = to - from
  const slots = new Int32Array(count)
  for (let i = 0; i < count; i++) slots[i] = from + i
  const leaves: LeafLevels[] = []
  const entries = { count, slots, definitions: new Int32Array(count), repetitions: undefined }
  walk(vector, entries, { from, to, definition: 0, repetition: 0 }, leaves)
  return leaves
}

/** `entries` are the callee's own, to change. */
function walk(vector: ColumnVector, entries: Entries, place: Place, leaves: LeafLevels[]): void {
  const { type, required } = vector.column
  const definition = required ? place.definition : place.definition + 1
  endNulls(vector, entries, definition)
  const here = { ...place, definition }
  if (!isNested(type)) {
    leaves.push(leafOf(entries, here))
    return
  }
  const children = vector.children!
  const isStruct = type.kind === 'struct'
  const inside = isStruct ? entries : entriesInside(vector, entries, here)
  const insidePlace = isStruct
    ? here
    : {
        from: vector.offsets![place.from],
        to: vector.offsets![place.to],
        definition: definition + 1,
        repetition: place.repetition + 1,
      }
  children.forEach((child, i) => {
    walk(child, i === children.length - 1 ? inside : copyOf(inside), insidePlace, leaves)
  })
}

/** Repetition levels are never changed, so that fields share them. */
function copyOf({ count, slots, definitions, repetitions }: Entries): Entries {
  return { count, slots: slots.slice(), definitions: definitions.slice(), repetitions }
}

/** What is there gets the level of this field, what is null ends. */
function endNulls({ column, nullCount, validity }: ColumnVector, entries: Entries, definition: number): void {
  const { count, slots, definitions } = entries
  if (nullCount === 0 || validity === undefined) {
    if (column.required) return
    for (let i = 0; i < count; i++) if (slots[i] >= 0) definitions[i] = definition
    return
  }
  for (let i = 0; i < count; i++) {
    const slot = slots[i]
    if (slot < 0) continue
    if ((validity[slot >> 3] >> (slot & 7)) & 1) definitions[i] = definition
    else {
      if (column.required) invariant('parquet-required', false, { column: column.name, slot })
      slots[i] = -1
    }
  }
}

/** One entry for each entry of a list or map, and one for each list that is empty or is not there. */
function entriesInside(vector: ColumnVector, entries: Entries, place: Place): Entries {
  const offsets = vector.offsets!
  const { slots, definitions, repetitions } = entries
  let count = 0
  let inside = 0
  for (let i = 0; i < entries.count; i++) {
    const slot = slots[i]
    const length = slot < 0 ? 0 : offsets[slot + 1] - offsets[slot]
    inside += length
    count += length === 0 ? 1 : length
  }
  const expected = offsets[place.to] - offsets[place.from]
  invariant('parquet-null-list-is-empty', inside === expected, { column: vector.column.name, inside, expected })
  const made = {
    count,
    slots: new Int32Array(count),
    definitions: new Int32Array(count),
    repetitions: new Int32Array(count),
  }
  const definition = place.definition + 1
  const repetition = place.repetition + 1
  let out = 0
  for (let i = 0; i < entries.count; i++) {
    const slot = slots[i]
    const first = repetitions === undefined ? 0 : repetitions[i]
    const end = slot < 0 ? 0 : offsets[slot + 1]
    let at = slot < 0 ? 0 : offsets[slot]
    if (at === end) {
      made.slots[out] = -1
      made.definitions[out] = definitions[i]
      made.repetitions[out++] = first
      continue
    }
    made.repetitions[out] = first
    for (; at < end; at++) {
      made.slots[out] = at
      made.definitions[out] = definition
      out++
      if (at + 1 < end) made.repetitions[out] = repetition
    }
  }
  return made
}

function leafOf({ count, slots, definitions, repetitions }: Entries, place: Place): LeafLevels {
  let present = 0
  for (let i = 0; i < count; i++) if (slots[i] >= 0) present++
  return { count, definitions, repetitions, definitionMax: place.definition, repetitionMax: place.repetition, present }
}

/** The slots that rows `[from, to)` have in each leaf, in the same order. */
export function leafSlots(
  vector: ColumnVector,
  from: number,
  to: number,
): { readonly vector: ColumnVector; readonly from: number; readonly to: number }[] {
  const { children, offsets } = vector
  if (children === undefined) return [{ vector, from, to }]
  const [start, end] = offsets === undefined ? [from, to] : [offsets[from], offsets[to]]
  return children.flatMap((child) => leafSlots(child, start, end))
}

/** At least as many as any leaf has level entries for these rows. */
export function entriesWithin({ children, offsets }: ColumnVector, from: number, to: number): number {
  if (children === undefined) return to - from
  const [start, end] = offsets === undefined ? [from, to] : [offsets[from], offsets[to]]
  const inside = Math.max(...children.map((child) => entriesWithin(child, start, end)))
  return offsets === undefined ? inside : to - from + inside
}

export type LeafPath = {
  readonly field: Field
  /** Names as the file's schema has them: `["tags", "list", "element"]`. */
  readonly path: readonly string[]
  readonly isRepeated: boolean
}

/** The leaves of a column, in the order of `leafLevels`. */
export function leavesOf(field: Field, parents: readonly string[] = [], isRepeated = false): LeafPath[] {
  const path = [...parents, field.name]
  const { type } = field
  switch (type.kind) {
    case 'struct':
      return type.fields.flatMap((each) => leavesOf(each, path, isRepeated))
    case 'list':
      return leavesOf(type.element, [...path, 'list'], true)
    case 'map':
      return [type.key, type.value].flatMap((each) => leavesOf(each, [...path, 'key_value'], true))
    default:
      return [{ field, path, isRepeated }]
  }
}
