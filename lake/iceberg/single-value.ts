/**
 * Iceberg's single-value binary serialisation (spec, appendix D): what column bounds and partition summaries hold.
 *
 *   boolean 1 byte · int, date 4 LE · long, time, timestamp(tz) 8 LE · float 4 LE · double 8 LE · string UTF-8
 *   uuid 16 bytes, big-endian · binary as is · decimal: shortest big-endian two's complement of the unscaled value
 *
 * Values are as `partition-transform.ts` takes them; float and double are numbers.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'

export type SingleValue = number | bigint | string | boolean | Uint8Array

export function encodeSingleValue(type: ColumnType, value: SingleValue): Uint8Array {
  switch (type.kind) {
    case 'boolean':
      return Uint8Array.of(value ? 1 : 0)
    case 'int':
    case 'date':
      return fixedBytes(4, (view) => view.setInt32(0, Number(value), true))
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return fixedBytes(8, (view) => view.setBigInt64(0, BigInt(value as number | bigint), true))
    case 'float':
      return fixedBytes(4, (view) => view.setFloat32(0, Number(value), true))
    case 'double':
      return fixedBytes(8, (view) => view.setFloat64(0, Number(value), true))
    case 'decimal':
      return decimalBytes(BigInt(value as number | bigint))
    case 'uuid':
      return uuidBytes(value)
    case 'string':
    case 'json':
      return new TextEncoder().encode(value as string)
    case 'binary':
      return value as Uint8Array
    case 'struct':
    case 'list':
    case 'map':
      throw new MillraceError('internal', `a ${type.kind} has no single value`)
  }
}

function fixedBytes(size: number, write: (view: DataView) => void): Uint8Array {
  const bytes = new Uint8Array(size)
  write(new DataView(bytes.buffer))
  return bytes
}

/** undefined when the length fits no value of the type. An int's bound of a column that is a long by now is fine. */
export function decodeSingleValue(type: ColumnType, bytes: Uint8Array): SingleValue | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (type.kind) {
    case 'boolean':
      return bytes.length === 1 ? bytes[0] !== 0 : undefined
    case 'int':
    case 'date':
      return bytes.length === 4 ? view.getInt32(0, true) : undefined
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      if (bytes.length === 4) return BigInt(view.getInt32(0, true))
      return bytes.length === 8 ? view.getBigInt64(0, true) : undefined
    case 'float':
    case 'double':
      if (bytes.length === 4) return view.getFloat32(0, true)
      return bytes.length === 8 ? view.getFloat64(0, true) : undefined
    case 'decimal':
      return bytes.length === 0 ? undefined : bigEndianValue(bytes)
    case 'uuid':
      return bytes.length === 16 ? bytes : undefined
    case 'string':
    case 'json':
      return new TextDecoder().decode(bytes)
    case 'binary':
      return bytes
  }
}

/** Shortest big-endian two's complement. */
export function decimalBytes(unscaled: bigint): Uint8Array {
  let size = 1
  while (BigInt.asIntN(size * 8, unscaled) !== unscaled) size++
  return paddedDecimalBytes(unscaled, size)
}

/** Big-endian two's complement in exactly `size` bytes. */
export function paddedDecimalBytes(unscaled: bigint, size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let rest = unscaled
  for (let i = size - 1; i >= 0; i--) {
    bytes[i] = Number(BigInt.asUintN(8, rest))
    rest >>= 8n
  }
  return bytes
}

export function bigEndianValue(bytes: Uint8Array): bigint {
  let value = 0n
  for (const byte of bytes) value = (value << 8n) | BigInt(byte)
  return BigInt.asIntN(bytes.length * 8, value)
}

export function uuidBytes(value: SingleValue | null): Uint8Array {
  if (value instanceof Uint8Array && value.length === 16) return value
  const hex = typeof value === 'string' ? value.replaceAll('-', '') : ''
  if (/^[0-9a-fA-F]{32}$/.test(hex)) return Uint8Array.from(Buffer.from(hex, 'hex'))
  throw new MillraceError('type-mismatch', `expected a uuid, found ${typeof value} ${String(value)}`)
}

export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
}
