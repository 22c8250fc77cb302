/**
 * The slow, general way to put one value into a column (dead letters, tests): a JavaScript value in the column's own
 * unit. Temporal columns take integers (days; microseconds), a decimal takes its unscaled bigint or its text; a struct an
 * object or a Map by field names, a list an array, a map a Map or an object.
 */
import { formatColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ColumnBuilder } from './column-builder.ts'
import { readDecimalText, readUuid } from './read-text.ts'

export type GeneralValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | readonly GeneralValue[]
  | ReadonlyMap<GeneralValue, GeneralValue>
  | { readonly [name: string]: GeneralValue }

/** A value that is not null into the slot; the caller marks it present. */
export function setGeneralValue(builder: ColumnBuilder, row: number, value: GeneralValue): void {
  if (value !== null && put(builder, row, value)) return
  const { name, type } = builder.column
  const found = value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
  throw new MillraceError('conversion-failed', `column "${name}": ${found} is no ${formatColumnType(type)}`)
}

/** The same for a value inside another one, which may be null, and the mark. */
function setInside(builder: ColumnBuilder, slot: number, value: GeneralValue | undefined): void {
  if (value !== null && value !== undefined) {
    setGeneralValue(builder, slot, value)
    builder.markPresent(slot)
    return
  }
  if (builder.column.required) {
    throw new MillraceError('conversion-failed', `column "${builder.column.name}": required, found null`)
  }
  builder.markNull(slot)
}

function isPlain(value: GeneralValue): value is Readonly<Record<string, GeneralValue>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array)
}

function putStruct(builder: ColumnBuilder, row: number, value: GeneralValue): boolean {
  if (!isPlain(value)) return false
  for (const child of builder.children) {
    const { name } = child.column
    setInside(child, row, value instanceof Map ? value.get(name) : Object.hasOwn(value, name) ? value[name] : null)
  }
  return true
}

function putList(builder: ColumnBuilder, row: number, value: GeneralValue): boolean {
  if (!Array.isArray(value)) return false
  let slot = builder.beginList(row)
  for (const each of value as readonly GeneralValue[]) {
    builder.childSlot(slot)
    setInside(builder.children[0], slot, each)
    slot += 1
  }
  builder.endList(row, slot)
  return true
}

/** Entries of a Map, or an object's keys (as they are: text). */
function putMap(builder: ColumnBuilder, row: number, value: GeneralValue): boolean {
  if (!isPlain(value)) return false
  let slot = builder.beginList(row)
  for (const [key, each] of value instanceof Map ? value : Object.entries(value)) {
    builder.childSlot(slot)
    setInside(builder.children[0], slot, key)
    setInside(builder.children[1], slot, each)
    slot += 1
  }
  builder.endList(row, slot)
  return true
}

function put(builder: ColumnBuilder, row: number, value: GeneralValue): boolean {
  switch (builder.column.type.kind) {
    case 'boolean':
      if (typeof value !== 'boolean') return false
      builder.setBoolean(row, value)
      return true
    case 'int':
    case 'date':
      if (typeof value !== 'number' || (value | 0) !== value) return false
      builder.int32[row] = value
      return true
    case 'float':
      if (typeof value !== 'number') return false
      builder.float32[row] = value
      return true
    case 'double':
      if (typeof value !== 'number') return false
      builder.float64[row] = value
      return true
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      if (typeof value === 'number' && Number.isSafeInteger(value)) builder.setSafeInteger(row, value)
      else if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) builder.setInt64(row, value)
      else return false
      return true
    case 'decimal': {
      const { precision } = builder.column.type
      if (typeof value === 'string') {
        const text = Buffer.from(value)
        return readDecimalText(builder, row, text, 0, text.length)
      }
      if (typeof value !== 'bigint' || (value < 0n ? -value : value) >= 10n ** BigInt(precision)) return false
      builder.setInt128(row, value)
      return true
    }
    case 'uuid': {
      if (value instanceof Uint8Array && value.length === 16) {
        builder.data.set(value, row * 16)
        return true
      }
      if (typeof value !== 'string') return false
      const text = Buffer.from(value)
      return readUuid(builder, row, text, 0, text.length)
    }
    case 'string':
    case 'json':
    case 'binary': {
      const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
      if (!(bytes instanceof Uint8Array)) return false
      builder.setBytes(row, bytes, 0, bytes.length)
      return true
    }
    case 'struct':
      return putStruct(builder, row, value)
    case 'list':
      return putList(builder, row, value)
    case 'map':
      return putMap(builder, row, value)
  }
}
