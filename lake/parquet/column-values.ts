/**
 * A column's slice `[from, to)` of rows, as the page encoders want it: only the values that are there, in the physical
 * form of the file, with the smallest and the largest of them.
 *
 *   bits    boolean, one bit a value
 *   words   INT32, INT64, FLOAT, DOUBLE: little-endian int32 words, one or two a value
 *   fixed   FIXED_LEN_BYTE_ARRAY: uuid, and decimals of more than 18 digits as big-endian two's complement
 *   bytes   BYTE_ARRAY: offsets into the vector's own bytes
 *
 * Without nulls nothing is copied; copies lie in the memory of the chunk at hand (`chunk-memory.ts`). Lengths are checked against the row count, and decimals against their type's width:
 * a vector that does not hold what it says is a bug (`invariant-broken`), never a file with other values.
 */
import { type ColumnType, childFields, type Field, isNested } from '../../schemas/column-type.ts'
import { invariant } from '../../schemas/errors.ts'
import type { ColumnVector } from '../../schemas/micro-batch.ts'
import { copyBits, countBits } from './bit-packing.ts'
import { chunkInts } from './chunk-memory.ts'

export type PresentValues =
  | { readonly form: 'bits'; readonly count: number; readonly bits: Uint8Array }
  | { readonly form: 'words'; readonly count: number; readonly words: 1 | 2; readonly values: Int32Array }
  | { readonly form: 'fixed'; readonly count: number; readonly width: number; readonly data: Uint8Array }
  | { readonly form: 'bytes'; readonly count: number; readonly data: Uint8Array; readonly offsets: Int32Array }

/** Bytes of the smallest two's complement that holds every decimal of this precision. */
export function decimalBytes(precision: number): number {
  const limit = 10n ** BigInt(precision) - 1n
  let bytes = 1
  while (1n << BigInt(bytes * 8 - 1) <= limit) bytes++
  return bytes
}

/** Bytes a value takes in the vector; 0 for booleans and the variable-length types. */
function memoryWidth(type: ColumnType): number {
  switch (type.kind) {
    case 'int':
    case 'float':
    case 'date':
      return 4
    case 'long':
    case 'double':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return 8
    case 'decimal':
    case 'uuid':
      return 16
    default:
      return 0
  }
}

export function isVariableLength(type: ColumnType): boolean {
  return type.kind === 'string' || type.kind === 'json' || type.kind === 'binary'
}

/**
 * Lengths and positions only, once a vector: what every loop after it relies on. Inside a struct a required field is null
 * where the struct is: the levels tell whether it is anywhere else.
 */
export function checkVector(vector: ColumnVector, rowCount: number, isInside = false): void {
  const { column, length, data, validity, nullCount } = vector
  const facts = { column: column.name, type: column.type, length, rowCount, nullCount, dataBytes: data.length }
  invariant('parquet-vector-length', length === rowCount, facts)
  const bits = (rowCount + 7) >> 3
  invariant('parquet-validity-length', nullCount === 0 || (validity !== undefined && validity.length >= bits), facts)
  invariant('parquet-required', isInside || !column.required || nullCount === 0, facts)
  if (validity !== undefined && nullCount > 0) {
    invariant('parquet-null-count', rowCount - countBits(validity, 0, rowCount) === nullCount, facts)
  }
  if (isNested(column.type)) {
    checkChildren(vector, rowCount)
    return
  }
  if (isVariableLength(column.type)) {
    const end = checkOffsets(vector, rowCount)
    invariant('parquet-offsets-inside', end <= data.length, facts)
    return
  }
  const needed = column.type.kind === 'boolean' ? bits : rowCount * memoryWidth(column.type)
  invariant('parquet-data-length', data.length >= needed, { ...facts, needed })
}

/** Ascending from 0 or more; the last one. */
function checkOffsets({ column, offsets }: ColumnVector, rowCount: number): number {
  const facts = { column: column.name, type: column.type, rowCount }
  invariant('parquet-offsets-length', offsets !== undefined && offsets.length >= rowCount + 1, facts)
  for (let i = 0; i < rowCount; i++) {
    if (offsets[i] > offsets[i + 1]) invariant('parquet-offsets-ascend', false, { ...facts, row: i })
  }
  invariant('parquet-offsets-inside', offsets[0] >= 0, facts)
  return offsets[rowCount]
}

function isOf({ column }: ColumnVector, field: Field): boolean {
  return column.fieldId === field.fieldId && column.type.kind === field.type.kind
}

function checkChildren(vector: ColumnVector, rowCount: number): void {
  const { column, children } = vector
  const fields = childFields(column.type)
  const isSame = children?.length === fields.length && fields.every((field, i) => isOf(children[i], field))
  invariant('parquet-children', isSame, { column: column.name, type: column.type, children: children?.length })
  const slots = column.type.kind === 'struct' ? rowCount : checkOffsets(vector, rowCount)
  for (const child of children!) checkVector(child, slots, true)
}

export function presentValues(vector: ColumnVector, from: number, to: number): PresentValues {
  const validity = vector.nullCount === 0 ? undefined : vector.validity
  const count = validity === undefined ? to - from : countBits(validity, from, to)
  const all = count === to - from ? undefined : validity
  const { type } = vector.column
  if (type.kind === 'boolean') return { form: 'bits', count, bits: presentBits(vector.data, all, from, to, count) }
  if (isVariableLength(type)) {
    return { form: 'bytes', count, data: vector.data, offsets: presentOffsets(vector, all, from, to, count) }
  }
  const width = memoryWidth(type)
  const words = presentWords(vector.data, all, from, to, count, width / 4)
  if (type.kind === 'uuid') {
    return { form: 'fixed', count, width: 16, data: new Uint8Array(words.buffer, words.byteOffset, count * 16) }
  }
  if (type.kind !== 'decimal') return { form: 'words', count, words: width === 4 ? 1 : 2, values: words }
  if (type.precision <= 18) {
    const narrow = type.precision <= 9 ? 1 : 2
    return { form: 'words', count, words: narrow, values: narrowDecimals(words, count, narrow, vector) }
  }
  const fixedWidth = decimalBytes(type.precision)
  return { form: 'fixed', count, width: fixedWidth, data: bigEndianDecimals(words, count, fixedWidth, vector) }
}

function presentBits(
  data: Uint8Array,
  validity: Uint8Array | undefined,
  from: number,
  to: number,
  count: number,
): Uint8Array {
  const bits = new Uint8Array((count + 7) >> 3)
  if (validity === undefined) {
    copyBits(data, from, to, bits, 0)
    return bits
  }
  let out = 0
  for (let i = from; i < to; i++) {
    if (((validity[i >> 3] >> (i & 7)) & 1) === 0) continue
    bits[out >> 3] |= ((data[i >> 3] >> (i & 7)) & 1) << (out & 7)
    out++
  }
  return bits
}

function presentOffsets(
  vector: ColumnVector,
  validity: Uint8Array | undefined,
  from: number,
  to: number,
  count: number,
): Int32Array {
  const offsets = vector.offsets!
  if (validity === undefined) return offsets.subarray(from, to + 1)
  const present = chunkInts(count + 1)
  let out = 0
  for (let i = from; i < to; i++) {
    if ((validity[i >> 3] >> (i & 7)) & 1) present[out++] = offsets[i]
    else if (offsets[i] !== offsets[i + 1]) {
      invariant('parquet-null-is-empty', false, { column: vector.column.name, row: i })
    }
  }
  present[out] = offsets[to]
  return present
}

/** `words` int32 words a value; a view of the vector where it is aligned and has no nulls. */
function presentWords(
  data: Uint8Array,
  validity: Uint8Array | undefined,
  from: number,
  to: number,
  count: number,
  words: number,
): Int32Array {
  const width = words * 4
  const source =
    data.byteOffset % 4 === 0
      ? new Int32Array(data.buffer, data.byteOffset + from * width, (to - from) * words)
      : new Int32Array(new Uint8Array(data.subarray(from * width, to * width)).buffer)
  if (validity === undefined) return source
  const present = chunkInts(count * words)
  let out = 0
  for (let i = from; i < to; i++) {
    if (((validity[i >> 3] >> (i & 7)) & 1) === 0) continue
    const at = (i - from) * words
    for (let w = 0; w < words; w++) present[out++] = source[at + w]
  }
  return present
}

/** 128-bit values to 32 or 64 bits; one that does not fit its precision's width is not a decimal of this column. */
function narrowDecimals(source: Int32Array, count: number, words: 1 | 2, vector: ColumnVector): Int32Array {
  const narrow = chunkInts(count * words)
  for (let i = 0; i < count; i++) {
    const at = i * 4
    const low = source[at]
    const next = source[at + 1]
    const sign = source[at + 3]
    const fits = source[at + 2] === sign && (words === 1 ? next === sign && low >> 31 === sign : next >> 31 === sign)
    if (!fits) invariant('parquet-decimal-fits', false, { column: vector.column.name, type: vector.column.type })
    narrow[i * words] = low
    if (words === 2) narrow[i * 2 + 1] = next
  }
  return narrow
}

function bigEndianDecimals(source: Int32Array, count: number, width: number, vector: ColumnVector): Uint8Array {
  const bytes = new Uint8Array(source.buffer, source.byteOffset, count * 16)
  const out = new Uint8Array(count * width)
  for (let i = 0; i < count; i++) {
    const at = i * 16
    const sign = bytes[at + 15] & 0x80 ? 0xff : 0
    let fits = (bytes[at + width - 1] & 0x80) === (sign & 0x80)
    for (let b = width; b < 16; b++) fits &&= bytes[at + b] === sign
    if (!fits) invariant('parquet-decimal-fits', false, { column: vector.column.name, type: vector.column.type })
    for (let b = 0; b < width; b++) out[i * width + b] = bytes[at + width - 1 - b]
  }
  return out
}
