/**
 * A human's change of one column: the next schema, or why not. Beside what records bring by themselves (`evolution.ts`) a
 * human may drop and rename, and add a name again that was dropped: it is a new column then, old values do not come back.
 *
 *   add gate string          at the end, may be null: rows from before have no value for it
 *   drop gate                gone from the table; records that go on bringing it do not bring it back
 *   rename gate door         the same column under another name; records may go on calling it gate
 *   type count long          int → long, float → double, more digits of a decimal
 *   optional gate            a value is not required any more
 *
 * Paths go into structs, through `element` of a list and `value` of a map. Columns that rows are partitioned or sorted by, or
 * that are the event time, cannot be dropped.
 */
import { type ColumnPath, formatPath } from './column-path.ts'
import {
  assignFieldIds,
  type ColumnType,
  childFields,
  type Field,
  formatColumnType,
  isNested,
  withChildFields,
} from './column-type.ts'
import {
  type AppliedChange,
  canNameColumn,
  countLeaves,
  type EvolutionLimits,
  type EvolvingTable,
  holds,
  renamed,
  reservedNames,
} from './evolution.ts'
import { foldName } from './match-fields.ts'
import { HIDDEN_COLUMNS } from './table-schema.ts'

export type ColumnChange =
  | { readonly op: 'add'; readonly path: ColumnPath; readonly type: ColumnType; readonly required: boolean }
  | { readonly op: 'drop' | 'optional'; readonly path: ColumnPath }
  | { readonly op: 'rename'; readonly path: ColumnPath; readonly to: string }
  | { readonly op: 'type'; readonly path: ColumnPath; readonly type: ColumnType }

export type ColumnChangePlan =
  | { readonly kind: 'change'; readonly columns: readonly Field[]; readonly change: AppliedChange }
  | { readonly kind: 'refused'; readonly reason: string }

export function planColumnChange(
  table: EvolvingTable,
  /** Field id → what the table needs the column for: `partitioned by it`. */
  needed: ReadonlyMap<number, string>,
  change: ColumnChange,
  limits: EvolutionLimits,
): ColumnChangePlan {
  try {
    const edit: Edit = { table, needed, change, limits }
    const columns = editFields(edit, table.columns, 0, undefined)
    return {
      kind: 'change',
      columns: assignFieldIds(columns, table.lastFieldId + 1).fields,
      change: told(table, change),
    }
  } catch (error) {
    if (error instanceof Refused) return { kind: 'refused', reason: error.message }
    throw error
  }
}

type Edit = {
  readonly table: EvolvingTable
  readonly needed: ReadonlyMap<number, string>
  readonly change: ColumnChange
  readonly limits: EvolutionLimits
}

class Refused extends Error {}

/** The fields on level `depth` of the path, changed. `parent`: the struct, list or map that they are in. */
function editFields(edit: Edit, fields: readonly Field[], depth: number, parent: Field | undefined): readonly Field[] {
  const { path, op } = edit.change
  const isLast = depth === path.length - 1
  if (depth === 0) checkHidden(edit, path[0])
  const isStruct = parent === undefined || parent.type.kind === 'struct'
  const at = indexOf(fields, path[depth])
  if (isLast && op === 'add') {
    if (!isStruct)
      throw refused(
        edit,
        `${subject(path.slice(0, -1))} is ${formatColumnType(parent.type)}: fields can only be added to a struct`,
      )
    return [...fields.map((field) => unnumbered(field, path[depth])), added(edit, fields, depth === 0)]
  }
  if (at < 0) throw notThere(edit, fields, path.slice(0, depth + 1), parent)
  const field = fields[at]
  if (!isLast) {
    if (!isNested(field.type))
      throw refused(
        edit,
        `${subject(path.slice(0, depth + 1))} is ${formatColumnType(field.type)} and has nothing inside`,
      )
    const inside = editFields(edit, childFields(field.type), depth + 1, field)
    return fields.with(at, { ...field, type: withChildFields(field.type, inside) })
  }
  if (!isStruct && op !== 'type' && (op !== 'optional' || (parent.type.kind === 'map' && at === 0))) {
    throw refused(
      edit,
      `${subject(path)} is part of a ${parent.type.kind}: ${op === 'optional' ? 'keys are always required' : `it cannot be ${op === 'drop' ? 'dropped' : 'renamed'}`}`,
    )
  }
  if (op === 'drop') return dropped(edit, fields, at, depth)
  return fields.with(at, changed(edit, fields, at, depth === 0))
}

/**
 * A column that was called so before is not known by its number (Protobuf, `field-id`) any more: otherwise it would go on
 * taking the values of the fields that the new column is for.
 */
function unnumbered(field: Field, name: string): Field {
  if (field.sourceId === undefined || !field.formerNames?.includes(name)) return field
  const { sourceId: _number, ...rest } = field
  return rest
}

function indexOf(fields: readonly Field[], name: string): number {
  const exact = fields.findIndex((field) => field.name === name)
  return exact >= 0 ? exact : fields.findIndex((field) => foldName(field.name) === foldName(name))
}

function added(edit: Edit, siblings: readonly Field[], isTop: boolean): Field {
  const { change, table, limits } = edit
  if (change.op !== 'add') throw new Refused()
  const name = change.path.at(-1) as string
  if (change.required) {
    throw refused(
      edit,
      `a new column cannot be required: the rows that are there have no value for it; add it as ${formatColumnType(change.type)}`,
    )
  }
  checkName(edit, siblings, name, undefined, isTop)
  const field: Field = { fieldId: 0, name, type: allOptional(change.type), required: false }
  const count = countLeaves(table.columns) + countLeaves([field])
  if (count > limits.columnsMax) {
    throw refused(edit, `the table would have ${count} columns, it may have ${limits.columnsMax} (columns-max)`)
  }
  return field
}

function allOptional(type: ColumnType): ColumnType {
  const inside = childFields(type).map(
    (field, index): Field => ({
      ...field,
      type: allOptional(field.type),
      required: type.kind === 'map' && index === 0,
    }),
  )
  return withChildFields(type, inside)
}

function dropped(edit: Edit, fields: readonly Field[], at: number, depth: number): readonly Field[] {
  const { fieldId } = fields[at]
  const { path } = edit.change
  const use = edit.needed.get(fieldId)
  if (use !== undefined) throw refused(edit, `the table is ${use}, so ${subject(path)} cannot be dropped`)
  if (fields.length === 1) {
    throw refused(
      edit,
      depth === 0
        ? `${subject(path)} is the only one`
        : `${subject(path)} is the only field of ${subject(path.slice(0, -1))}: drop that`,
    )
  }
  return fields.toSpliced(at, 1)
}

function changed(edit: Edit, siblings: readonly Field[], at: number, isTop: boolean): Field {
  const { change } = edit
  const field = siblings[at]
  const found = formatColumnType(field.type)
  if (change.op === 'optional') {
    if (!field.required) throw refused(edit, `${subject(change.path)} is optional already`)
    return { ...field, required: false }
  }
  if (change.op === 'rename') {
    if (change.to === field.name) throw refused(edit, `${subject(change.path)} is called so already`)
    checkName(edit, siblings, change.to, at, isTop)
    return renamed(field, change.to)
  }
  if (change.op !== 'type') throw new Refused()
  const wanted = formatColumnType(change.type)
  if (found === wanted) throw refused(edit, `${subject(change.path)} is ${found} already`)
  if (!holds(change.type, field.type)) {
    throw refused(
      edit,
      `${subject(change.path)} is ${found} and cannot become ${wanted}: a type can only become wider (int to long, float to double, more digits of a decimal of the same scale)`,
    )
  }
  return { ...field, type: change.type }
}

function checkHidden(edit: Edit, name: string): void {
  if (HIDDEN_COLUMNS.some((hidden) => foldName(hidden.name) === foldName(name))) {
    throw refused(edit, `"${name}" is a hidden column: each table has it as it is`)
  }
}

function checkName(
  edit: Edit,
  siblings: readonly Field[],
  name: string,
  own: number | undefined,
  isTop: boolean,
): void {
  if (!canNameColumn(name)) {
    throw refused(edit, `"${name}" cannot name a column: expected 1 to 255 bytes without control characters`)
  }
  const taken = siblings.find((field, index) => index !== own && foldName(field.name) === foldName(name))
  if (taken) throw refused(edit, `there is a column "${taken.name}" already; upper and lower case count as the same`)
  if (isTop && reservedNames(edit.table).includes(foldName(name))) {
    throw refused(edit, `"${name}" is the name of a hidden column or of a partition field`)
  }
}

function notThere(edit: Edit, fields: readonly Field[], path: ColumnPath, parent: Field | undefined): Refused {
  const names = fields.map(({ name }) => name).join(', ')
  const where = parent === undefined ? 'its columns are' : `${subject(path.slice(0, -1))} has`
  return refused(edit, `there is no column "${formatPath(path)}"; ${where} ${names}`)
}

function subject(path: ColumnPath): string {
  return `column "${formatPath(path)}"`
}

function refused({ table }: Edit, reason: string): Refused {
  return new Refused(`table "${table.name}": ${reason}`)
}

function told(table: EvolvingTable, change: ColumnChange): AppliedChange {
  switch (change.op) {
    case 'add':
      return { kind: 'add', path: change.path, type: change.type }
    case 'type':
      return { kind: 'widen', path: change.path, from: typeAt(table.columns, change.path), to: change.type }
    case 'rename':
      return { kind: 'rename', path: change.path, to: change.to }
    case 'drop':
    case 'optional':
      return { kind: change.op, path: change.path }
  }
}

function typeAt(fields: readonly Field[], path: ColumnPath): ColumnType {
  const { type } = fields[indexOf(fields, path[0])]
  return path.length === 1 ? type : typeAt(childFields(type), path.slice(1))
}
