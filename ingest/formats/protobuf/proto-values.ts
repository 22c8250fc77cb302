/**
 * A message read into JavaScript values, the general way: for JSON text, Connect data and messages that mean one value. One
 * value for each field of the message, undefined where the field did not come; what comes twice is merged as Protobuf asks
 * (the last single value, lists appended, messages merged, one member of a oneof).
 *
 * Whatever is malformed throws `Stop` with `problem` of `proto-wire.ts` set; who begins catches it.
 */
import { isUtf8 } from 'node:buffer'
import { bigOf } from '../binary/put-values.ts'
import { isMapField, type ProtoField, type ProtoMessage } from './proto-type.ts'
import {
  FIXED32,
  FIXED64,
  fail,
  GROUP,
  groupEnd,
  high,
  LENGTH,
  low,
  readLength,
  readTag,
  readVarint,
  skipValue,
  VARINT,
} from './proto-wire.ts'

export class Stop extends Error {}

export type ProtoValue =
  | boolean
  | number
  | bigint
  | string
  | Buffer
  | ProtoValues
  | ProtoValue[]
  | Map<bigint | boolean | string, ProtoValue>

/** By the index of the field. */
export class ProtoValues {
  readonly type: ProtoMessage
  readonly values: (ProtoValue | undefined)[]

  constructor(type: ProtoMessage) {
    this.type = type
    this.values = type.fields.map(() => undefined)
  }
}

/** Messages inside messages: as many as Protobuf's own libraries take. */
const DEPTH_MAX = 100

/** Fields of all messages in one record, those that did not come included: few bytes can say many messages. */
export const VALUES_MAX = 4_000_000
let valuesLeft = 0

function newMessage(type: ProtoMessage, at: number): ProtoValues {
  valuesLeft -= type.fields.length + 1
  if (valuesLeft < 0) stop(type.name, `more than ${VALUES_MAX} values`, at)
  return new ProtoValues(type)
}

export function readMessage(type: ProtoMessage, bytes: Uint8Array, at: number, end: number): ProtoValues {
  valuesLeft = VALUES_MAX
  const values = new ProtoValues(type)
  mergeInto(values, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), at, end, 0)
  return values
}

function checked(position: number): number {
  if (position < 0) throw new Stop()
  return position
}

export function stop(path: string, text: string, at: number): never {
  fail(path, text, at)
  throw new Stop()
}

function mergeInto(into: ProtoValues, bytes: Buffer, at: number, end: number, depth: number): void {
  const { type, values } = into
  if (depth > DEPTH_MAX) stop(type.name, `messages nested deeper than ${DEPTH_MAX}`, at)
  let position = at
  while (position < end) {
    position = checked(readTag(type.name, bytes, position, end))
    const tag = low
    const index = type.fields.findIndex(({ number }) => number === tag >>> 3)
    const field = type.fields[index]
    if (field === undefined) {
      position = checked(skipValue(type.name, bytes, tag, position, end))
      continue
    }
    position = mergeField(values, index, field, bytes, tag, position, end, depth)
    if (field.oneof < 0) continue
    type.fields.forEach((other, at2) => {
      if (other.oneof === field.oneof && at2 !== index) values[at2] = undefined
    })
  }
}

function mergeField(
  values: (ProtoValue | undefined)[],
  index: number,
  field: ProtoField,
  bytes: Buffer,
  tag: number,
  at: number,
  end: number,
  depth: number,
): number {
  const wire = tag & 7
  if (isMapField(field)) {
    if (wire !== LENGTH) return stop(field.name, `expected a map's entry, found wire type ${wire}`, at)
    const from = checked(readLength(field.name, bytes, at, end))
    const to = from + low
    const map = (values[index] as Map<bigint | boolean | string, ProtoValue> | undefined) ?? new Map()
    values[index] = map
    const [key, value] = readEntry(field, bytes, from, to, depth)
    map.delete(key)
    map.set(key, value)
    return to
  }
  if (!field.repeated) {
    const single = readValue(field, values[index], bytes, wire, at, end, depth)
    values[index] = single.value
    return single.after
  }
  const list = (values[index] as ProtoValue[] | undefined) ?? []
  values[index] = list
  if (wire === LENGTH && wireOf(field) !== LENGTH) {
    const from = checked(readLength(field.name, bytes, at, end))
    const to = from + low
    for (let position = from; position < to; ) {
      const each = readValue(field, undefined, bytes, wireOf(field), position, to, depth)
      list.push(each.value)
      position = each.after
    }
    return to
  }
  const element = readValue(field, undefined, bytes, wire, at, end, depth)
  list.push(element.value)
  return element.after
}

function readEntry(
  field: ProtoField,
  bytes: Buffer,
  from: number,
  to: number,
  depth: number,
): [bigint | boolean | string, ProtoValue] {
  const key: ProtoField = { ...field, name: 'key', kind: field.keyKind!, message: undefined, enumType: undefined }
  let keyValue: ProtoValue | undefined
  let value: ProtoValue | undefined
  for (let position = from; position < to; ) {
    position = checked(readTag(field.name, bytes, position, to))
    const tag = low
    if (tag >>> 3 === 1) {
      const each = readValue(key, undefined, bytes, tag & 7, position, to, depth)
      keyValue = each.value
      position = each.after
    } else if (tag >>> 3 === 2) {
      const each = readValue(field, value, bytes, tag & 7, position, to, depth)
      value = each.value
      position = each.after
    } else position = checked(skipValue(field.name, bytes, tag, position, to))
  }
  // Numbers as bigints: a key is one thing, whatever its kind.
  const found = keyValue ?? zeroOf(key)
  const asKey = typeof found === 'number' ? BigInt(found) : (found as bigint | boolean | string)
  return [asKey, value ?? zeroOf(field)]
}

/** The default value where the schema gives none. */
export function zeroOf(field: ProtoField): ProtoValue {
  switch (field.kind) {
    case 'message':
      return new ProtoValues(field.message!)
    case 'enum': {
      const [first] = field.enumType!.names
      return field.enumType!.names.get(0) ?? first[1]
    }
    case 'string':
      return ''
    case 'bytes':
      return Buffer.alloc(0)
    case 'bool':
      return false
    case 'int32':
    case 'sint32':
    case 'sfixed32':
    case 'float':
    case 'double':
      return 0
    default:
      return 0n
  }
}

/** What an absent field means: undefined is null. */
export function fallbackOf(field: ProtoField): ProtoValue | undefined {
  if (isMapField(field)) return new Map()
  if (field.repeated) return []
  const { fallback, kind } = field
  if (fallback === undefined) return field.presence ? undefined : zeroOf(field)
  if (kind === 'enum') return field.enumType!.names.get(Number(fallback)) ?? String(fallback)
  if (fallback instanceof Uint8Array) return Buffer.from(fallback)
  return typeof fallback === 'bigint' && typeof zeroOf(field) === 'number' ? Number(fallback) : fallback
}

function wireOf(field: ProtoField): number {
  switch (field.kind) {
    case 'string':
    case 'bytes':
      return LENGTH
    case 'message':
      return field.delimited ? GROUP : LENGTH
    case 'fixed32':
    case 'sfixed32':
    case 'float':
      return FIXED32
    case 'fixed64':
    case 'sfixed64':
    case 'double':
      return FIXED64
    default:
      return VARINT
  }
}

function readValue(
  field: ProtoField,
  before: ProtoValue | undefined,
  bytes: Buffer,
  wire: number,
  at: number,
  end: number,
  depth: number,
): { value: ProtoValue; after: number } {
  const expected = wireOf(field)
  if (wire !== expected) stop(field.name, `expected wire type ${expected} (${field.kind}), found ${wire}`, at)
  if (wire === FIXED32 || wire === FIXED64) {
    const after = checked(skipValue(field.name, bytes, wire, at, end))
    return { value: fixedOf(field, bytes, at), after }
  }
  if (wire === VARINT) {
    const after = checked(readVarint(field.name, bytes, at, end))
    return { value: integerOf(field), after }
  }
  if (wire === GROUP) {
    const to = checked(groupEnd(field.name, bytes, (field.number << 3) | GROUP, at, end))
    const after = to + low
    const inner = before instanceof ProtoValues ? before : newMessage(field.message!, at)
    mergeInto(inner, bytes, at, to, depth + 1)
    return { value: inner, after }
  }
  const from = checked(readLength(field.name, bytes, at, end))
  const to = from + low
  if (field.kind === 'message') {
    const inner = before instanceof ProtoValues ? before : newMessage(field.message!, at)
    mergeInto(inner, bytes, from, to, depth + 1)
    return { value: inner, after: to }
  }
  const span = bytes.subarray(from, to)
  if (field.kind === 'bytes') return { value: Buffer.from(span), after: to }
  if (!isUtf8(span)) stop(field.name, 'text that is no UTF-8', from)
  return { value: span.toString('utf8'), after: to }
}

function integerOf(field: ProtoField): ProtoValue {
  switch (field.kind) {
    case 'bool':
      return low !== 0 || high !== 0
    case 'enum':
      return field.enumType!.names.get(low) ?? String(low)
    case 'int32':
      return low
    case 'uint32':
      return BigInt(low >>> 0)
    case 'sint32':
      return (low >>> 1) ^ -(low & 1)
    case 'uint64':
      return BigInt.asUintN(64, bigOf(low, high))
    case 'sint64': {
      const value = BigInt.asUintN(64, bigOf(low, high))
      return (value >> 1n) ^ -(value & 1n)
    }
    default:
      return bigOf(low, high)
  }
}

function fixedOf(field: ProtoField, bytes: Buffer, at: number): ProtoValue {
  switch (field.kind) {
    case 'float':
      return bytes.readFloatLE(at)
    case 'double':
      return bytes.readDoubleLE(at)
    case 'fixed32':
      return BigInt(bytes.readUInt32LE(at))
    case 'sfixed32':
      return bytes.readInt32LE(at)
    case 'fixed64':
      return bytes.readBigUInt64LE(at)
    default:
      return bytes.readBigInt64LE(at)
  }
}
