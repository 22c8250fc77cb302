/**
 * How values of a writer's Avro type get into a column: a tree of `ReadNode`s, made once for a pair of schema and table. One
 * class with one shape, so that the decoder's loop sees a single hidden class.
 *
 *   writer                     column                          what happens
 *   record                     struct                          field by field, by `matchFields`; others skipped, lacking ones null
 *   array, map                 list, map with string keys      element by element
 *   [null, T]                  that of T                       the branch decides; null into a required column fails the record
 *   any other union            struct                          its member of the branch is set, the others are null
 *   any other union            anything else                   each branch as if it stood alone; one that does not fit fails the record
 *   anything                   json                            its JSON text
 *   a single value             see `put-values.ts`
 *
 * Throws `type-mismatch` where no record could ever fit.
 */
import { type ColumnType, type Field, formatColumnType } from '../../../schemas/column-type.ts'
import { MillraceError } from '../../../schemas/errors.ts'
import { matchFields } from '../../../schemas/match-fields.ts'
import { bytesPut, floatPut, type IntegerUnit, integerPut, NO_PUT, textPut } from '../binary/put-values.ts'
import { slotBytes } from '../binary/slot-memory.ts'
import { memberNames } from './avro-columns.ts'
import { type AvroLogical, type AvroRecord, type AvroType, shortName, valueOfOptional } from './avro-type.ts'

export const BOOLEAN = 1
export const INT = 2
export const LONG = 3
export const FLOAT = 4
export const DOUBLE = 5
export const BYTES = 6
export const STRING = 7
export const FIXED = 8
export const ENUM = 9
export const RECORD = 10
export const ARRAY = 11
export const MAP = 12
export const DECIMAL_BYTES = 13
export const DECIMAL_FIXED = 14
/** An int64 as the column has it. */
export const LONG_AS_IS = 15
/** From here on: those that mark their slot present or null themselves. */
export const OPTIONAL = 20
export const NULL = 21
export const UNION = 22
/** A union into a struct of its members. */
export const MEMBERS = 23
export const JSON_TEXT = 24
/** `put` of a decimal into text. */
export const DECIMAL_TEXT = 100

export class ReadNode {
  op = NULL
  readonly type: AvroType
  /** As messages name it: `address.city`. */
  readonly path: string
  /** Of the column, for messages. */
  readonly expected: string
  /** Fields of a record, items, values, branches; of an optional its value. */
  kids: readonly ReadNode[] = []
  /** For each kid the child of the builder that it fills; -1: skipped. */
  slots: Int32Array = new Int32Array(0)
  /** Children of the builder that the record has no field for. */
  missing: Int32Array = new Int32Array(0)
  put = NO_PUT
  /** OPTIONAL: the byte of each branch on the wire; -1 where there is no null. */
  nullByte = -1
  valueByte = 0
  /** Of a fixed. */
  size = 0
  /** Fewest bytes of an item. */
  itemBytes = 0
  /** Memory that an item takes in the column; 0: it is only skipped. */
  itemMemory = 0
  scale = 0
  symbols: readonly Uint8Array[] = []
  required = false

  constructor(type: AvroType, path: string, expected: string) {
    this.type = type
    this.path = path
    this.expected = expected
  }
}

/** `column` undefined: only to be skipped. */
export function planRead(type: AvroType, column: Field | undefined, path: string): ReadNode {
  const node = new ReadNode(type, path, column === undefined ? '' : formatColumnType(column.type))
  node.required = column?.required === true
  const optional = valueOfOptional(type)
  if (column?.type.kind === 'json') {
    if (optional) return planOptional(node, optional, column, path)
    node.op = type.kind === 'null' ? NULL : JSON_TEXT
    // To step over it.
    node.kids = [planRead(type, undefined, path)]
    return node
  }
  if (optional) return planOptional(node, optional, column, path)
  switch (type.kind) {
    case 'null':
      if (node.required) throw mismatch(node, 'null')
      return node
    case 'boolean':
      node.op = BOOLEAN
      if (column && column.type.kind !== 'boolean') throw mismatch(node, type.kind)
      return node
    case 'int':
    case 'long': {
      node.op = type.kind === 'int' ? INT : LONG
      if (column) node.put = checked(node, integerPut(unitOf(type.logical), column.type))
      const isAsIs = column && (column.type.kind === 'long' || isMicros(type.logical, column.type))
      if (isAsIs) node.op = LONG_AS_IS
      return node
    }
    case 'float':
    case 'double':
      node.op = type.kind === 'float' ? FLOAT : DOUBLE
      if (column) node.put = checked(node, floatPut(column.type))
      return node
    case 'string':
      node.op = STRING
      if (column) node.put = checked(node, textPut(column.type))
      return node
    case 'enum':
      node.op = ENUM
      node.symbols = type.symbols.map((symbol) => Buffer.from(symbol, 'utf8'))
      if (column && column.type.kind !== 'string') throw mismatch(node, 'enum')
      return node
    case 'bytes':
    case 'fixed':
      return planBytes(node, type, column)
    case 'record':
      return planRecord(node, type, column, path)
    case 'array':
    case 'map':
      return planItems(node, type, column, path)
    case 'union':
      return planUnion(node, type.branches, column, path)
  }
}

function planOptional(
  node: ReadNode,
  { value, nullIndex }: { value: AvroType; nullIndex: number },
  column: Field | undefined,
  path: string,
): ReadNode {
  node.op = OPTIONAL
  node.kids = [planRead(value, column, path)]
  node.nullByte = nullIndex < 0 ? -1 : nullIndex * 2
  node.valueByte = nullIndex === 0 ? 2 : 0
  return node
}

function planBytes(node: ReadNode, type: AvroType, column: Field | undefined): ReadNode {
  const isFixed = type.kind === 'fixed'
  if (type.kind === 'fixed') node.size = type.size
  node.op = isFixed ? FIXED : BYTES
  if (!column) return node
  if (type.logical?.kind === 'decimal' && column.type.kind !== 'binary') {
    node.scale = type.logical.scale
    node.op = isFixed ? DECIMAL_FIXED : DECIMAL_BYTES
    if (column.type.kind === 'string') node.put = DECIMAL_TEXT
    else if (column.type.kind !== 'decimal' || column.type.scale < node.scale) {
      throw mismatch(node, `decimal(${type.logical.precision},${node.scale})`)
    }
    return node
  }
  node.put = checked(node, bytesPut(column.type, type.logical?.kind === 'uuid'))
  return node
}

function planRecord(node: ReadNode, type: AvroRecord, column: Field | undefined, path: string): ReadNode {
  node.op = RECORD
  if (column && column.type.kind !== 'struct') throw mismatch(node, 'record')
  const fields = column?.type.kind === 'struct' ? column.type.fields : undefined
  return planFields(node, type, fields, path)
}

/** A record's fields into columns: children of a struct, or the table's own. */
export function planFields(
  node: ReadNode,
  record: AvroRecord,
  columns: readonly Field[] | undefined,
  path: string,
): ReadNode {
  if (columns === undefined) {
    // Only skipped. A record inside itself is planned as far as it goes: it never comes here, its columns were refused.
    node.kids = record.fields.map((field) => planRead(field.type, undefined, `${path}.${field.name}`))
    node.slots = new Int32Array(node.kids.length).fill(-1)
    return node
  }
  const fields = record.fields.map(({ name, aliases, sourceId }) => ({
    fieldId: 0,
    name,
    type: { kind: 'json' } as const,
    required: false,
    aliases,
    ...(sourceId === undefined ? undefined : { sourceId }),
  }))
  node.slots = matchFields(fields, columns)
  node.kids = record.fields.map((field, index) => {
    const inner = path === '' ? field.name : `${path}.${field.name}`
    return planRead(field.type, node.slots[index] < 0 ? undefined : columns[node.slots[index]], inner)
  })
  const filled = new Set(node.slots)
  const missing = columns.map((_, index) => index).filter((index) => !filled.has(index))
  const required = missing.find((index) => columns[index].required)
  if (required !== undefined) {
    const { name, type } = columns[required]
    throw new MillraceError(
      'type-mismatch',
      `column "${path === '' ? name : `${path}.${name}`}": expected ${formatColumnType(type)}, and the schema ${record.name} has no such field; it is required`,
    )
  }
  node.missing = Int32Array.from(missing)
  return node
}

function planItems(
  node: ReadNode,
  type: Extract<AvroType, { kind: 'array' | 'map' }>,
  column: Field | undefined,
  path: string,
): ReadNode {
  const items = type.kind === 'array' ? type.items : type.values
  const isMap = type.kind === 'map'
  node.op = isMap ? MAP : ARRAY
  node.itemBytes = fewestBytes(items) + (isMap ? 1 : 0)
  let inner: Field | undefined
  if (column) {
    const to = column.type
    if (isMap && to.kind === 'map' && to.key.type.kind === 'string') inner = to.value
    else if (!isMap && to.kind === 'list') inner = to.element
    else throw mismatch(node, type.kind)
    node.itemMemory = slotBytes(inner) + (isMap ? slotBytes({ ...inner, type: { kind: 'string' } }) : 0)
  }
  node.kids = [planRead(items, inner, `${path}${isMap ? '{}' : '[]'}`)]
  return node
}

function planUnion(node: ReadNode, branches: readonly AvroType[], column: Field | undefined, path: string): ReadNode {
  node.op = UNION
  node.slots = new Int32Array(branches.length).fill(-1)
  if (!column) {
    node.kids = branches.map((branch) => planRead(branch, undefined, path))
    return node
  }
  const names = memberNames(branches)
  if (column.type.kind === 'struct') {
    const members = branches.map((branch, index) => ({ branch, index })).filter(({ branch }) => branch.kind !== 'null')
    const to = column.type.fields
    const matched = matchFields(
      members.map(({ index }) => ({ fieldId: 0, name: names[index], type: { kind: 'json' }, required: false })),
      to,
    )
    if (matched.some((slot) => slot >= 0)) {
      const required = to.find((field) => field.required)
      if (required) {
        throw new MillraceError(
          'type-mismatch',
          `column "${path}.${required.name}": it is required, and it is a member of a union, of which only one is there`,
        )
      }
      node.op = MEMBERS
      members.forEach(({ index }, position) => {
        node.slots[index] = matched[position]
      })
      node.kids = branches.map((branch, index) =>
        planRead(branch, node.slots[index] < 0 ? undefined : to[node.slots[index]], `${path}.${names[index]}`),
      )
      return node
    }
  }
  // Slot 0: the branch fits the column; -1: it does not, and a record with it fails.
  let mistake: unknown
  node.kids = branches.map((branch, index) => {
    try {
      const kid = planRead(branch, column, path)
      node.slots[index] = 0
      return kid
    } catch (error) {
      mistake = error
      return planRead(branch, undefined, path)
    }
  })
  if (branches.every(({ kind }, index) => kind === 'null' || node.slots[index] < 0)) throw mistake
  return node
}

/** Of one value on the wire; a record inside itself needs a byte somewhere to end. */
export function fewestBytes(type: AvroType, open: readonly AvroType[] = []): number {
  switch (type.kind) {
    case 'null':
      return 0
    case 'float':
      return 4
    case 'double':
      return 8
    case 'fixed':
      return type.size
    case 'record':
      if (open.includes(type)) return 0
      return type.fields.reduce((sum, field) => sum + fewestBytes(field.type, [...open, type]), 0)
    default:
      return 1
  }
}

function unitOf(logical: AvroLogical | undefined): IntegerUnit {
  switch (logical?.kind) {
    case 'date':
      return 'days'
    case 'time-millis':
    case 'timestamp-millis':
    case 'local-timestamp-millis':
      return 'millis'
    case 'time-micros':
    case 'timestamp-micros':
    case 'local-timestamp-micros':
      return 'micros'
    case 'timestamp-nanos':
    case 'local-timestamp-nanos':
      return 'nanos'
    default:
      return 'plain'
  }
}

function isMicros(logical: AvroLogical | undefined, type: ColumnType): boolean {
  return (type.kind === 'timestamp' || type.kind === 'timestamptz') && unitOf(logical) === 'micros'
}

function checked(node: ReadNode, put: number): number {
  if (put === NO_PUT) throw mismatch(node, node.type.logical?.kind ?? node.type.kind)
  return put
}

function mismatch(node: ReadNode, found: string): MillraceError {
  const name = 'name' in node.type ? ` ${shortName(node.type)}` : ''
  return new MillraceError(
    'type-mismatch',
    `column "${node.path}": expected ${node.expected}, the schema has ${found}${name}`,
  )
}
