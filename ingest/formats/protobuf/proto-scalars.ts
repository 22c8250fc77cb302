/**
 * Single values of a message, from their bytes or the schema's default into the slot of a column.
 */
import type { ColumnBuilder } from '../../decoder/column-builder.ts'
import { putBytes, putFloat, putInteger, putKnown, putProblem, putText, putUnsigned } from '../binary/put-values.ts'
import {
  BOOL,
  BYTES,
  DIRECT_INT,
  DIRECT_LONG,
  DOUBLE,
  ENUM,
  FIXED_S32,
  FIXED_S64,
  FIXED_U64,
  type FieldNode,
  FLOAT,
  INT32,
  INT64,
  SINT32,
  SINT64,
  STRING,
  SYMBOL,
  UINT32,
  UINT64,
} from './proto-plan.ts'
import { FIXED32, FIXED64, fail, high, LENGTH, low, readLength, readVarint, truncated, VARINT } from './proto-wire.ts'

let viewed: Uint8Array = new Uint8Array(0)
let view: DataView = new DataView(viewed.buffer)

function refuse(field: FieldNode, at: number): -1 {
  return fail(field.path, `expected ${field.expected}, found ${putProblem}`, at)
}

/** The default value of a single one. */
export function putFallback(field: FieldNode, builder: ColumnBuilder, row: number): number {
  let isPut: boolean
  switch (field.code) {
    case BOOL:
      builder.setBoolean(row, field.low === 1)
      isPut = true
      break
    case FLOAT:
    case DOUBLE:
      isPut = putFloat(field.put, builder, row, field.number)
      break
    case STRING:
      isPut = putText(field.put, builder, row, field.bytes, 0, field.bytes.length)
      break
    case BYTES:
      isPut = putBytes(field.put, builder, row, field.bytes, 0, field.bytes.length)
      break
    case ENUM:
      if (field.put === SYMBOL) {
        putKnown(builder, row, field.bytes)
        isPut = true
      } else isPut = putInteger(field.put, builder, row, field.low, field.high)
      break
    case UINT64:
    case FIXED_U64:
      isPut = putUnsigned(field.put, builder, row, field.low, field.high)
      break
    default:
      isPut = putInteger(field.put, builder, row, field.low, field.high)
  }
  return isPut ? 0 : refuse(field, 0)
}

function viewOf(bytes: Uint8Array): DataView {
  if (bytes !== viewed) {
    viewed = bytes
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }
  return view
}

export function readValue(
  field: FieldNode,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  switch (field.wire) {
    case VARINT: {
      let after = at + 1
      let lower = bytes[at]
      let upper = 0
      if (at >= end || lower >= 0x80) {
        after = readVarint(field.path, bytes, at, end)
        if (after < 0) return after
        lower = low
        upper = high
      }
      switch (field.direct) {
        case DIRECT_LONG:
          builder.int32[row * 2] = lower
          builder.int32[row * 2 + 1] = upper
          return after
        case DIRECT_INT:
          builder.int32[row] = lower
          return after
        default:
          return putVarint(field, builder, row, lower, upper) ? after : refuse(field, at)
      }
    }
    case LENGTH: {
      const from = readLength(field.path, bytes, at, end)
      if (from < 0) return from
      const to = from + low
      const isPut =
        field.code === STRING
          ? putText(field.put, builder, row, bytes, from, to)
          : putBytes(field.put, builder, row, bytes, from, to)
      return isPut ? to : refuse(field, from)
    }
    case FIXED64:
      if (at + 8 > end) return truncated(field.path, at)
      return putFixed64(field, builder, row, viewOf(bytes), at) ? at + 8 : refuse(field, at)
    case FIXED32:
      if (at + 4 > end) return truncated(field.path, at)
      return putFixed32(field, builder, row, viewOf(bytes), at) ? at + 4 : refuse(field, at)
    default:
      return fail(field.path, 'no such wire type', at)
  }
}

function putVarint(field: FieldNode, builder: ColumnBuilder, row: number, lower: number, upper: number): boolean {
  switch (field.code) {
    case INT64:
      return putInteger(field.put, builder, row, lower, upper)
    case INT32:
      return putInteger(field.put, builder, row, lower, lower >> 31)
    case BOOL:
      builder.setBoolean(row, lower !== 0 || upper !== 0)
      return true
    case UINT32:
      return putInteger(field.put, builder, row, lower, 0)
    case UINT64:
      return putUnsigned(field.put, builder, row, lower, upper)
    case SINT32: {
      const value = (lower >>> 1) ^ -(lower & 1)
      return putInteger(field.put, builder, row, value, value >> 31)
    }
    case SINT64: {
      const sign = -(lower & 1)
      return putInteger(field.put, builder, row, ((lower >>> 1) | (upper << 31)) ^ sign, (upper >>> 1) ^ sign)
    }
    case ENUM:
      if (field.put !== SYMBOL) return putInteger(field.put, builder, row, lower, lower >> 31)
      putKnown(builder, row, field.symbols.get(lower) ?? Buffer.from(String(lower | 0)))
      return true
    default:
      return false
  }
}

function putFixed64(field: FieldNode, builder: ColumnBuilder, row: number, from: DataView, at: number): boolean {
  if (field.code === DOUBLE) return putFloat(field.put, builder, row, from.getFloat64(at, true))
  const lower = from.getInt32(at, true)
  const upper = from.getInt32(at + 4, true)
  return field.code === FIXED_S64
    ? putInteger(field.put, builder, row, lower, upper)
    : putUnsigned(field.put, builder, row, lower, upper)
}

function putFixed32(field: FieldNode, builder: ColumnBuilder, row: number, from: DataView, at: number): boolean {
  if (field.code === FLOAT) return putFloat(field.put, builder, row, from.getFloat32(at, true))
  const value = from.getInt32(at, true)
  return putInteger(field.put, builder, row, value, field.code === FIXED_S32 ? value >> 31 : 0)
}
