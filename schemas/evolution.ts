/**
 * What records want of a table's columns: nothing (`same`), the next schema (`evolve`), or what cannot be (`refused`).
 *
 *   records have                              the table gets
 *   a field that no column is (matchFields)   a column at the end, which may be null, with ids never given out before
 *   long, double, decimal(12,2)               … of int, float, decimal(10,2): the wider type, in place
 *   an optional field                         … of a required one: it may be null from now on
 *   a known number or alias, another name     the new name; the old one stays known (`formerNames`)
 *   a narrower type                           nothing: it fits
 *   anything else (string for long, …)        refused, whole: no part of a refused plan is ever applied
 *
 * The same inside structs, list elements and map values. Nothing is dropped: a column that records lack stays. Fields that
 * cannot or should not become a column are ignored and told with the reason; their values are counted as unknown keys.
 *
 * Fields that are not listed say nothing: a plan may be asked for some fields only. `wholeRecord` lists for a whole record
 * what it lacks.
 */
import { type ColumnPath, formatPath } from './column-path.ts'
import {
  assignFieldIds,
  type ColumnType,
  childFields,
  type Field,
  fieldsWithin,
  formatColumnType,
  isNested,
  withChildFields,
} from './column-type.ts'
import { foldName, keysOfFields, matchFields } from './match-fields.ts'
import type { RecordField, RecordSchema } from './record-schema.ts'
import { HIDDEN_COLUMNS, isHidden, OWN_ID_KEY, type TableSchema, userColumns } from './table-schema.ts'

export type EvolvingTable = {
  readonly name: string
  /** User columns. */
  readonly columns: readonly Field[]
  /** Largest id ever given out. */
  readonly lastFieldId: number
  readonly dropped: DroppedFields
  /** Names that no column may get: those of partition fields, which Iceberg keeps apart from columns. */
  readonly reservedNames: readonly string[]
}

/** By the id of what they were in (0: the table): folded names and numbers of fields that are in no current schema. */
export type DroppedFields = ReadonlyMap<
  number,
  { readonly names: ReadonlySet<string>; readonly numbers: ReadonlySet<number> }
>

export type EvolutionLimits = {
  /** Values that are not nested, inside others too. */
  readonly columnsMax: number
  /** New columns are required where the records' schema says so: only for a table without rows. */
  readonly keepRequired?: boolean
  /**
   * The fields are keys of records without a schema: one that a column was called before it was renamed is that column's, also
   * in a record that has both. (A schema that has both has two fields.)
   */
  readonly areKeys?: boolean
}

export type Change =
  | { readonly kind: 'add'; readonly path: ColumnPath; readonly type: ColumnType }
  | { readonly kind: 'widen'; readonly path: ColumnPath; readonly from: ColumnType; readonly to: ColumnType }
  | { readonly kind: 'optional'; readonly path: ColumnPath }
  /** `path` is the one of before. */
  | { readonly kind: 'rename'; readonly path: ColumnPath; readonly to: string }

/** A human may also drop (`column-change.ts`). */
export type AppliedChange = Change | { readonly kind: 'drop'; readonly path: ColumnPath }

export type IgnoredField = {
  readonly path: ColumnPath
  readonly why: 'dropped' | 'name-taken' | 'name-impossible' | 'columns-max'
}

export type EvolutionPlan =
  | { readonly kind: 'same'; readonly ignored: readonly IgnoredField[] }
  | {
      readonly kind: 'evolve'
      /** User columns of the next schema. */
      readonly columns: readonly Field[]
      readonly changes: readonly Change[]
      readonly ignored: readonly IgnoredField[]
    }
  | { readonly kind: 'refused'; readonly path: ColumnPath; readonly reason: string }

type Walk = {
  readonly table: EvolvingTable
  readonly schemaName: string
  readonly changes: Change[]
  readonly ignored: IgnoredField[]
  readonly keepRequired: boolean
  readonly areKeys: boolean
  columnsLeft: number
}

class Refusal {
  readonly path: ColumnPath
  readonly reason: string
  constructor(path: ColumnPath, reason: string) {
    this.path = path
    this.reason = reason
  }
}

export function planEvolution(table: EvolvingTable, incoming: RecordSchema, limits: EvolutionLimits): EvolutionPlan {
  const walk: Walk = {
    table,
    schemaName: incoming.name,
    changes: [],
    ignored: [],
    keepRequired: limits.keepRequired === true,
    areKeys: limits.areKeys === true,
    columnsLeft: limits.columnsMax - countLeaves(table.columns),
  }
  try {
    const fields = evolveFields(walk, [], 0, table.columns, incoming.fields)
    const { changes, ignored } = walk
    if (changes.length === 0) return { kind: 'same', ignored }
    return { kind: 'evolve', columns: assignFieldIds(fields, table.lastFieldId + 1).fields, changes, ignored }
  } catch (error) {
    if (error instanceof Refusal) return { kind: 'refused', path: error.path, reason: error.reason }
    throw error
  }
}

/** Values that are not nested, as Parquet has columns. */
export function countLeaves(fields: readonly Field[]): number {
  return fields.reduce((count, { type }) => count + (isNested(type) ? countLeaves(childFields(type)) : 1), 0)
}

/** The fields of a whole record, and as optional ones the required columns that it lacks. */
export function wholeRecord(columns: readonly Field[], incoming: readonly RecordField[]): readonly RecordField[] {
  const matched = matchFields(incoming, columns)
  const found = new Set(matched)
  const completed = incoming.map((field, index): RecordField => {
    const column = columns[matched[index]]
    return column ? { ...field, type: wholeType(column.type, field.type) } : field
  })
  const lacked = columns.filter((column, index) => column.required && !isHidden(column) && !found.has(index))
  return [...completed, ...lacked.map((column) => ({ ...column, required: false }))]
}

function wholeType(column: ColumnType, incoming: ColumnType): ColumnType {
  if (column.kind === 'struct' && incoming.kind === 'struct') {
    return { kind: 'struct', fields: wholeRecord(column.fields, incoming.fields) }
  }
  if (column.kind !== incoming.kind || !isNested(column)) return incoming
  const own = childFields(column)
  return withChildFields(
    incoming,
    childFields(incoming).map((child, index) => ({ ...child, type: wholeType(own[index].type, child.type) })),
  )
}

/** What was dropped, from all schemas a table ever had; the last one is current. */
export function droppedFields(schemas: readonly TableSchema[]): DroppedFields {
  const current = new Set<number>()
  for (const column of schemas.at(-1)?.columns ?? [])
    for (const { fieldId } of fieldsWithin(column)) current.add(fieldId)
  const dropped = new Map<number, { names: Set<string>; numbers: Set<number> }>()

  function collect(parent: number, fields: readonly Field[]): void {
    for (const { fieldId, name, type, sourceId, formerNames = [] } of fields) {
      collect(fieldId, childFields(type))
      if (current.has(fieldId)) continue
      const inside = dropped.get(parent) ?? { names: new Set(), numbers: new Set() }
      dropped.set(parent, inside)
      for (const each of [name, ...formerNames]) inside.names.add(foldName(each))
      if (sourceId !== undefined) inside.numbers.add(sourceId)
    }
  }
  for (const schema of schemas) collect(0, schema.columns)
  return dropped
}

/** A table of the catalog as this file sees it. */
export function evolvingTable(table: {
  readonly name: string
  readonly schemas: readonly TableSchema[]
  readonly lastFieldId: number
  readonly partition: readonly { readonly name: string; readonly fieldId: number }[]
}): EvolvingTable {
  const current = table.schemas.at(-1)
  return {
    name: table.name,
    columns: current ? userColumns(current) : [],
    lastFieldId: table.lastFieldId,
    dropped: droppedFields(table.schemas),
    reservedNames: table.partition.map(({ name }) => name),
  }
}

/** `added gate string, widened count int to long, …` */
export function describeChanges(changes: readonly AppliedChange[]): string {
  return changes.map(describeChange).join(', ')
}

function describeChange(change: AppliedChange): string {
  const path = formatPath(change.path)
  switch (change.kind) {
    case 'add':
      return `added ${path} ${formatColumnType(change.type)}`
    case 'widen':
      return `widened ${path} from ${formatColumnType(change.from)} to ${formatColumnType(change.to)}`
    case 'optional':
      return `made ${path} optional`
    case 'drop':
      return `dropped ${path}`
    case 'rename':
      return `renamed ${path} to ${formatPath([change.to])}`
  }
}

function evolveFields(
  walk: Walk,
  path: ColumnPath,
  parentId: number,
  columns: readonly Field[],
  incoming: readonly RecordField[],
): readonly Field[] {
  const matched = matchFields(incoming, columns)
  const known = walk.areKeys ? keysOfFields(columns) : undefined
  // Keys are compared exactly: one that differs from a column in upper and lower case is not its, and can be none beside it.
  if (known) {
    for (const [index, { name }] of incoming.entries()) if (known.get(name) !== matched[index]) matched[index] = -1
  }
  const byColumn = new Map(
    [...matched].flatMap((position, index) => (position < 0 ? [] : [[position, index] as const])),
  )
  const names = renames(walk, path, columns, (position) => {
    const index = byColumn.get(position)
    return index === undefined ? undefined : incoming[index]
  })
  const next = columns.map((column, position): Field => {
    const index = byColumn.get(position)
    if (index === undefined) return column
    const own: ColumnPath = [...path, column.name]
    return renamed(evolveField(walk, own, column, incoming[index]), names.get(position))
  })
  const taken = new Set(next.map(({ name }) => foldName(name)))
  if (path.length === 0) for (const name of reservedNames(walk.table)) taken.add(name)
  for (const [index, field] of incoming.entries()) {
    if (matched[index] >= 0 || known?.has(field.name)) continue
    const added = addField(walk, [...path, field.name], parentId, field, taken)
    if (added) next.push(added)
  }
  return next
}

/** Folded. */
export function reservedNames({ reservedNames }: EvolvingTable): string[] {
  return [...HIDDEN_COLUMNS.map(({ name }) => name), ...reservedNames].map(foldName)
}

function evolveField(walk: Walk, path: ColumnPath, column: Field, incoming: Field): Field {
  const type = evolveType(walk, path, column, incoming.type)
  const becomesOptional = column.required && !incoming.required
  if (becomesOptional) walk.changes.push({ kind: 'optional', path })
  if (type === column.type && !becomesOptional) return column
  return { ...column, type, required: column.required && incoming.required }
}

/** The column's own type object where nothing changes. */
function evolveType(walk: Walk, path: ColumnPath, column: Field, incoming: ColumnType): ColumnType {
  const { type: own, fieldId } = column
  if (own.kind === 'struct' && incoming.kind === 'struct') {
    const fields = evolveFields(walk, path, fieldId, own.fields, incoming.fields)
    return isSameList(fields, own.fields) ? own : { kind: 'struct', fields }
  }
  if (own.kind === 'list' && incoming.kind === 'list') {
    const element = evolveField(walk, [...path, own.element.name], own.element, incoming.element)
    return element === own.element ? own : { kind: 'list', element }
  }
  if (own.kind === 'map' && incoming.kind === 'map') {
    const key = evolveField(walk, [...path, own.key.name], own.key, { ...incoming.key, required: true })
    const value = evolveField(walk, [...path, own.value.name], own.value, incoming.value)
    return key === own.key && value === own.value ? own : { kind: 'map', key, value }
  }
  if (holds(own, incoming)) return own
  if (!holds(incoming, own)) throw refusal(walk, path, own, incoming)
  walk.changes.push({ kind: 'widen', path, from: own, to: incoming })
  return incoming
}

/** Is every value of `narrow` one of `wide` that readers of the lake take as such (Iceberg's promotions)? */
export function holds(wide: ColumnType, narrow: ColumnType): boolean {
  if (isNested(wide) || isNested(narrow)) return false
  if (wide.kind === 'decimal' && narrow.kind === 'decimal') {
    return wide.scale === narrow.scale && wide.precision >= narrow.precision
  }
  if (wide.kind === narrow.kind) return true
  return (wide.kind === 'long' && narrow.kind === 'int') || (wide.kind === 'double' && narrow.kind === 'float')
}

function refusal({ table, schemaName }: Walk, path: ColumnPath, own: ColumnType, incoming: ColumnType): Refusal {
  const name = formatPath(path)
  const [has, found] = [formatColumnType(own), formatColumnType(incoming)]
  const old = formatPath([...path.slice(0, -1), `${path.at(-1)}_old`])
  return new Refusal(
    path,
    `column "${name}" of table "${table.name}" is ${has}, in ${schemaName} it is ${found}, which it cannot become: send ${has}, or another field name; or make room for the new type with "millrace columns ${table.name} rename ${name} ${old}" and "millrace columns ${table.name} add ${name} ${isNested(incoming) || incoming.kind === 'decimal' ? `'${found}'` : found}"`,
  )
}

/** Field → column that may be null, ids still to be given; undefined when it is ignored. */
function addField(
  walk: Walk,
  path: ColumnPath,
  parentId: number,
  field: RecordField,
  taken: Set<string>,
): Field | undefined {
  const ignore = (why: IgnoredField['why']) => void walk.ignored.push({ path, why })
  const dropped = walk.table.dropped.get(parentId)
  const folded = foldName(field.name)
  if (!canNameColumn(field.name)) return ignore('name-impossible')
  if (taken.has(folded)) return ignore('name-taken')
  if (dropped?.names.has(folded) || (field.sourceId !== undefined && dropped?.numbers.has(field.sourceId))) {
    return ignore('dropped')
  }
  const made = newField(field, walk.keepRequired)
  if (!made) return ignore('name-impossible')
  const leaves = countLeaves([made])
  if (leaves > walk.columnsLeft) return ignore('columns-max')
  walk.columnsLeft -= leaves
  taken.add(folded)
  walk.changes.push({ kind: 'add', path, type: made.type })
  return made
}

/** Everything may be null, but the keys of maps; undefined when nothing is left of it. */
function newField(field: RecordField, keepRequired: boolean): Field | undefined {
  const type = newType(field.type, keepRequired)
  if (!type) return undefined
  const { name, sourceId, aliases = [] } = field
  return {
    fieldId: 0,
    name,
    type,
    required: keepRequired && field.required,
    ...(sourceId === undefined ? {} : { sourceId }),
    // Records of an older writer, which come later, are known by them.
    ...(aliases.length === 0 ? {} : { formerNames: aliases }),
  }
}

function newType(type: ColumnType, keepRequired: boolean): ColumnType | undefined {
  if (type.kind === 'struct') {
    const names = new Set<string>()
    const fields = type.fields.flatMap((field) => {
      const made =
        canNameColumn(field.name) && !names.has(foldName(field.name)) ? newField(field, keepRequired) : undefined
      if (made) names.add(foldName(made.name))
      return made ?? []
    })
    return fields.length === 0 ? undefined : { kind: 'struct', fields }
  }
  if (!isNested(type)) return type
  const children = childFields(type).map((field) => newField(field, keepRequired))
  if (!children.every((child) => child !== undefined)) return undefined
  if (type.kind === 'list') return withChildFields(type, children)
  return withChildFields(type, [{ ...children[0], required: true }, children[1]])
}

const NAME_BYTES_MAX = 255

export function canNameColumn(name: string): boolean {
  return (
    name !== '' &&
    foldName(name) !== OWN_ID_KEY &&
    name.isWellFormed() &&
    !/\p{Cc}/u.test(name) &&
    new TextEncoder().encode(name).length <= NAME_BYTES_MAX
  )
}

/**
 * New names by position. A name that the column once had is that of an older writer: it stays as it is, else records of two
 * versions would rename it to and fro. Of renames that meet each other or a column that stays, none is done.
 */
function renames(
  walk: Walk,
  path: ColumnPath,
  columns: readonly Field[],
  incomingOf: (position: number) => RecordField | undefined,
): ReadonlyMap<number, string> {
  const wanted = new Map<number, string>()
  for (const [position, column] of columns.entries()) {
    const field = incomingOf(position)
    if (!field || field.name === column.name || !canNameColumn(field.name)) continue
    const isKnown = field.sourceId !== undefined && field.sourceId === column.sourceId
    if (!isKnown && field.aliases?.includes(column.name) !== true) continue
    if (column.formerNames?.includes(field.name)) continue
    wanted.set(position, field.name)
  }
  const reserved = path.length === 0 ? reservedNames(walk.table) : []
  for (let isSettled = false; !isSettled; ) {
    const finals = columns.map(({ name }, position) => foldName(wanted.get(position) ?? name))
    const clash = [...wanted.keys()].find(
      (position) =>
        reserved.includes(finals[position]) ||
        finals.some((each, other) => other !== position && each === finals[position]),
    )
    isSettled = clash === undefined
    if (clash !== undefined) wanted.delete(clash)
  }
  for (const [position, to] of wanted) {
    walk.changes.push({ kind: 'rename', path: [...path, columns[position].name], to })
  }
  return wanted
}

/** The field under another name; the old one stays known. */
export function renamed(field: Field, to: string | undefined): Field {
  if (to === undefined || to === field.name) return field
  const formerNames = [...(field.formerNames ?? []).filter((each) => each !== to && each !== field.name), field.name]
  return { ...field, name: to, formerNames }
}

function isSameList(a: readonly Field[], b: readonly Field[]): boolean {
  return a.length === b.length && a.every((field, index) => field === b[index])
}
