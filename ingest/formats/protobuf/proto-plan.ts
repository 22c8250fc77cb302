/**
 * How a message gets into columns: a `MessageNode` for each message with a `FieldNode` for each of its fields, made once for a
 * pair of schema and table. A node also holds what is known of the message under construction: which fields came, and where
 * their lists go on. That is sound because no message is inside itself, so that each node has at most one message at work.
 *
 *   field                     column                     what happens
 *   message                   struct                     field by field, by `matchFields` (number first, then name)
 *   repeated                  list                       element by element, packed or not
 *   map                       map                        entry by entry; the last of two equal keys counts
 *   Timestamp, wrapper, …     their one value            `special`
 *   anything                  json                       its bytes are kept until the message ends, then written as JSON text
 *   a single value            see `put-values.ts`
 *
 * Throws `type-mismatch` where no record could ever fit.
 */
import { type Field, formatColumnType } from '../../../schemas/column-type.ts'
import { MillraceError } from '../../../schemas/errors.ts'
import { matchFields, numberedIn } from '../../../schemas/match-fields.ts'
import { bytesPut, floatPut, integerPut, NO_PUT, textPut } from '../binary/put-values.ts'
import { slotBytes } from '../binary/slot-memory.ts'
import { isMapField, type ProtoField, type ProtoMessage, type WellKnown, wellKnownOf } from './proto-type.ts'
import { FIXED32, FIXED64, GROUP, LENGTH, VARINT } from './proto-wire.ts'

/** Kinds of values, by what is to be read. */
export const INT32 = 0
export const INT64 = 1
export const UINT32 = 2
export const UINT64 = 3
export const SINT32 = 4
export const SINT64 = 5
export const BOOL = 6
export const ENUM = 7
export const FIXED_U32 = 8
export const FIXED_S32 = 9
export const FLOAT = 10
export const FIXED_U64 = 11
export const FIXED_S64 = 12
export const DOUBLE = 13
export const STRING = 14
export const BYTES = 15
export const MESSAGE = 16
export const SPECIAL = 17

const VALUE_CODES = new Map<ProtoField['kind'], readonly [code: number, wire: number]>([
  ['int32', [INT32, VARINT]],
  ['int64', [INT64, VARINT]],
  ['uint32', [UINT32, VARINT]],
  ['uint64', [UINT64, VARINT]],
  ['sint32', [SINT32, VARINT]],
  ['sint64', [SINT64, VARINT]],
  ['bool', [BOOL, VARINT]],
  ['enum', [ENUM, VARINT]],
  ['fixed32', [FIXED_U32, FIXED32]],
  ['sfixed32', [FIXED_S32, FIXED32]],
  ['float', [FLOAT, FIXED32]],
  ['fixed64', [FIXED_U64, FIXED64]],
  ['sfixed64', [FIXED_S64, FIXED64]],
  ['double', [DOUBLE, FIXED64]],
  ['string', [STRING, LENGTH]],
  ['bytes', [BYTES, LENGTH]],
  ['message', [MESSAGE, LENGTH]],
])

export const DIRECT_LONG = 1
export const DIRECT_INT = 2

/** How values of a field are held. */
export const SINGLE = 0
export const LIST = 1
export const MAP = 2
/** Kept until the message ends. */
export const JSON_PIECES = 3

/** Field numbers up to here are found in a table. */
const TABLE_MAX = 1024
/** `put` of an enum into an integer column is that of an integer. */
export const SYMBOL = 1000

export class FieldNode {
  readonly field: ProtoField
  readonly path: string
  readonly expected: string
  /** As it stands before a value; elements of a packed list have another. */
  tag = 0
  /** Child of the builder that it fills; -1: skipped. */
  slot = -1
  hold = SINGLE
  /** What is read: of a list its elements, of a map its values. */
  code = 0
  wire = 0
  put = NO_PUT
  /** Varints that lie in the column as they are read. */
  direct = 0
  special: WellKnown | undefined
  /** MESSAGE */
  message: MessageNode | undefined
  /** MAP */
  key: FieldNode | undefined
  /** Inside of a wrapper. */
  inner: FieldNode | undefined
  symbols: ReadonlyMap<number, Uint8Array> = new Map()
  /** LIST and MAP: memory that an item takes in the column. */
  itemMemory = 0
  /** Where an absent one is null. */
  presence: boolean
  /** The column's. */
  required = false
  /** The default value, as put: halves of an integer, a number, bytes. */
  low = 0
  high = 0
  number = 0
  bytes: Uint8Array = new Uint8Array(0)

  constructor(field: ProtoField, path: string, column: Field | undefined) {
    this.field = field
    this.path = path
    this.expected = column === undefined ? '' : formatColumnType(column.type)
    this.required = column?.required === true
    this.presence = field.presence && field.fallback === undefined
  }
}

export class MessageNode {
  readonly type: ProtoMessage
  readonly fields: FieldNode[] = []
  readonly table: Int16Array
  readonly sparse = new Map<number, number>()
  /** Children of the builder that no field fills. */
  missing: Int32Array = new Int32Array(0)
  /** Of the message under construction: whether the field came. */
  readonly seen: Uint8Array
  /** Where its list goes on. */
  readonly next: Int32Array
  /** SPECIAL: bytes of what came, for one that comes again. */
  readonly pending: (Uint8Array | undefined)[]
  /** JSON_PIECES */
  readonly pieces: Uint8Array[][]
  readonly hasOneofs: boolean

  constructor(type: ProtoMessage) {
    this.type = type
    const count = type.fields.length
    const numberMax = type.fields.reduce((max, { number }) => Math.max(max, number <= TABLE_MAX ? number : 0), 0)
    this.table = new Int16Array(numberMax + 1).fill(-1)
    this.seen = new Uint8Array(count)
    this.next = new Int32Array(count)
    this.pending = type.fields.map(() => undefined)
    this.pieces = type.fields.map(() => [])
    this.hasOneofs = type.fields.some(({ oneof }) => oneof >= 0)
    type.fields.forEach(({ number }, index) => {
      if (number < this.table.length) this.table[number] = index
      else this.sparse.set(number, index)
    })
  }

  indexOf(number: number): number {
    return number < this.table.length ? this.table[number] : (this.sparse.get(number) ?? -1)
  }
}

/** `columns`: children of a struct, or the table's own. */
export function planMessage(type: ProtoMessage, columns: readonly Field[], path: string): MessageNode {
  const node = new MessageNode(type)
  const wanted = type.fields.map(({ name, number }) => ({
    fieldId: 0,
    name,
    type: { kind: 'json' } as const,
    required: false,
    sourceId: numberedIn(type.name, number),
  }))
  const slots = matchFields(wanted, columns)
  type.fields.forEach((field, index) => {
    const inner = path === '' ? field.name : `${path}.${field.name}`
    const planned = planField(field, columns[slots[index]], slots[index], inner)
    planned.tag = (field.number << 3) | planned.wire
    node.fields.push(planned)
  })
  const filled = new Set(slots)
  const missing = columns.map((_, index) => index).filter((index) => !filled.has(index))
  const required = missing.find((index) => columns[index].required)
  if (required !== undefined) {
    const { name, type: columnType } = columns[required]
    throw new MillraceError(
      'type-mismatch',
      `column "${path === '' ? name : `${path}.${name}`}": expected ${formatColumnType(columnType)}, and the schema ${type.name} has no such field; it is required`,
    )
  }
  node.missing = Int32Array.from(missing)
  return node
}

function planField(field: ProtoField, column: Field | undefined, slot: number, path: string): FieldNode {
  const node = new FieldNode(field, path, column)
  node.slot = slot
  if (column === undefined) {
    setCode(node, field)
    if (field.delimited) node.wire = GROUP
    return node
  }
  if (column.type.kind === 'json' && !isJsonValue(field)) {
    node.hold = JSON_PIECES
    return node
  }
  if (isMapField(field)) {
    node.hold = MAP
    if (column.type.kind !== 'map') throw mismatch(node, 'map')
    node.wire = LENGTH
    const { key, value } = column.type
    node.itemMemory = slotBytes(key) + slotBytes(value)
    const keyField = { ...plainField(field), name: 'key', number: 1, kind: field.keyKind!, keyKind: undefined }
    node.key = planValue(
      { ...keyField, message: undefined, enumType: undefined, fallback: zeroOf(field.keyKind!) },
      key,
      `${path}.key`,
    )
    const valueField = { ...plainField(field), name: 'value', number: 2, keyKind: undefined }
    node.inner = planValue(valueField, value, `${path}{}`)
    return node
  }
  if (field.repeated) {
    node.hold = LIST
    if (column.type.kind !== 'list') throw mismatch(node, 'a repeated field')
    node.inner = planValue(plainField(field), column.type.element, `${path}[]`)
    node.itemMemory = slotBytes(column.type.element)
    node.code = node.inner.code
    node.wire = node.inner.wire
    return node
  }
  fillValue(node, field, column, path)
  return node
}

/** The field as if it stood alone. */
function plainField(field: ProtoField): ProtoField {
  return { ...field, repeated: false, oneof: -1, presence: false, required: false }
}

function planValue(field: ProtoField, column: Field, path: string): FieldNode {
  const node = new FieldNode(field, path, column)
  fillValue(node, field, column, path)
  return node
}

/** Struct, Value and ListValue have no other column than json. */
function isJsonValue(field: ProtoField): boolean {
  const special = wellKnownOf(field)
  const isJson = special === 'struct' || special === 'value' || special === 'list-value'
  return isJson && !field.repeated && !isMapField(field)
}

function fillValue(node: FieldNode, field: ProtoField, column: Field, path: string): void {
  setCode(node, field)
  setFallback(node, field.fallback)
  const { type } = column
  switch (node.code) {
    case BOOL:
      if (type.kind !== 'boolean') throw mismatch(node, 'bool')
      return
    case ENUM:
      node.put = type.kind === 'string' ? SYMBOL : checked(node, integerPut('plain', type))
      node.symbols = new Map([...field.enumType!.names].map(([number, name]) => [number, Buffer.from(name, 'utf8')]))
      node.bytes = node.symbols.get(node.low) ?? Buffer.from(String(node.low))
      return
    case FLOAT:
    case DOUBLE:
      node.put = checked(node, floatPut(type))
      return
    case STRING:
      node.put = checked(node, textPut(type))
      return
    case BYTES:
      node.put = checked(node, bytesPut(type, type.kind === 'uuid'))
      return
    case MESSAGE:
      if (field.delimited) node.wire = GROUP
      fillMessage(node, field, column, path)
      return
    default:
      node.put = checked(node, integerPut('plain', type))
      if (node.code === INT64 && type.kind === 'long') node.direct = DIRECT_LONG
      if (node.code === INT32 && type.kind === 'int') node.direct = DIRECT_INT
  }
}

function fillMessage(node: FieldNode, field: ProtoField, column: Field, path: string): void {
  const { type } = column
  const message = field.message!
  const special = wellKnownOf(field)
  const kind = type.kind
  const isSpecial =
    (special === 'timestamp' && (kind === 'timestamptz' || kind === 'timestamp')) ||
    (special === 'wrapper' && kind !== 'struct') ||
    (special === 'date' && kind === 'date') ||
    (special === 'time-of-day' && kind === 'time') ||
    (special === 'decimal' && kind === 'decimal' && type.scale >= field.decimal!.scale) ||
    kind === 'json'
  if (isSpecial) {
    node.code = SPECIAL
    node.special = kind === 'json' ? (isJsonValue(plainField(field)) ? special : undefined) : special
    if (special === 'wrapper' && kind !== 'json') node.inner = planValue(message.fields[0], column, path)
    return
  }
  if (type.kind !== 'struct') throw mismatch(node, message.name)
  node.message = planMessage(message, type.fields, path)
}

function setCode(node: FieldNode, field: ProtoField): void {
  const [code, wire] = VALUE_CODES.get(field.kind)!
  node.code = code
  node.wire = wire
}

function setFallback(node: FieldNode, value: ProtoField['fallback']): void {
  if (typeof value === 'bigint') {
    node.low = Number(BigInt.asIntN(32, value))
    node.high = Number(BigInt.asIntN(32, value >> 32n))
  } else if (typeof value === 'number') {
    node.number = value
    node.low = value | 0
    node.high = node.low >> 31
  } else if (typeof value === 'boolean') node.low = value ? 1 : 0
  else if (typeof value === 'string') node.bytes = Buffer.from(value, 'utf8')
  else if (value instanceof Uint8Array) node.bytes = value
}

function zeroOf(kind: string): ProtoField['fallback'] {
  if (kind === 'string') return ''
  return kind === 'bool' ? false : 0n
}

function checked(node: FieldNode, put: number): number {
  if (put === NO_PUT) throw mismatch(node, node.field.kind)
  return put
}

function mismatch(node: FieldNode, found: string): MillraceError {
  return new MillraceError('type-mismatch', `column "${node.path}": expected ${node.expected}, the schema has ${found}`)
}

/** A new message begins in this row: nothing of it has come. */
export function beginMessage(node: MessageNode): void {
  node.seen.fill(0)
}
