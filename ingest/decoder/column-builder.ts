/**
 * One growing column in Arrow layout. A writer fills the slot of the row under construction as often as it likes (the
 * last value wins) and then says once whether the row has a value: `markPresent` or `markNull`. Nothing moves forward
 * until the batch builder ends the row, so a row that fails halfway leaves no trace and needs no undo.
 *
 *   fixed width   `data`, seen as int32, float32 and float64; an int64 is written as two int32 halves, low one first
 *   variable      `offsets[row]` .. `offsets[row + 1]` of `data`; writing a row always begins again at `offsets[row]`
 *   struct        `children`, each with the same slot; a null one is null in all of them (`markNull` does that)
 *   list, map     `offsets` into the slots of `children`: `beginList`, `childSlot` for each element, `endList`
 *   validity      all ones until the first null; counted when the batch is sealed
 *
 * One class with one shape for all types: the decoder's hot loop then sees a single hidden class.
 */
import { type ColumnKind, childFields } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ColumnVector } from '../../schemas/micro-batch.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { sealedCopy, sealedOffsets } from './seal-memory.ts'

const VARIABLE_BYTES_MAX = 0x7fffffff
const STRUCT_WIDTH = -2
const LIST_WIDTH = -3
/** Slots of a list's or map's children at first. */
const CHILD_ROWS = 256

/** Bytes a value takes; 0 for bits, -1 for variable length, -2 for a struct (nothing), -3 for list and map (offsets only). */
export function valueWidth(kind: ColumnKind): number {
  switch (kind) {
    case 'boolean':
      return 0
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
    case 'string':
    case 'binary':
    case 'json':
      return -1
    case 'struct':
      return STRUCT_WIDTH
    case 'list':
    case 'map':
      return LIST_WIDTH
  }
}

export function dataBytes(width: number, rows: number): number {
  return width === 0 ? (rows + 7) >> 3 : Math.max(0, width) * rows
}

export class ColumnBuilder {
  readonly column: Column
  readonly width: number
  data: Uint8Array
  int32: Int32Array
  float32: Float32Array
  float64: Float64Array
  offsets: Int32Array
  validity: Uint8Array
  hasNulls: boolean
  /** Of nested types, as in `childFields(column.type)`. */
  readonly children: readonly ColumnBuilder[]
  /** Slots that `validity`, and `data` or `offsets`, have room for. */
  rows: number

  constructor(column: Column, rows: number, variableBytes: number) {
    this.column = column
    this.width = valueWidth(column.type.kind)
    this.rows = rows
    const childRows = this.width === STRUCT_WIDTH ? rows : CHILD_ROWS
    this.children = childFields(column.type).map((field) => new ColumnBuilder(field, childRows, variableBytes))
    const bytes = this.width === -1 ? variableBytes : dataBytes(this.width, rows)
    const buffer = new ArrayBuffer((bytes + 7) & ~7)
    this.data = new Uint8Array(buffer)
    this.int32 = new Int32Array(buffer)
    this.float32 = new Float32Array(buffer)
    this.float64 = new Float64Array(buffer)
    this.offsets = new Int32Array(this.hasOffsets ? rows + 1 : 0)
    this.validity = new Uint8Array((rows + 7) >> 3).fill(0xff)
    this.hasNulls = false
  }

  get hasOffsets(): boolean {
    return this.width === -1 || this.width === LIST_WIDTH
  }

  private replaceData(bytes: number): void {
    const buffer = new ArrayBuffer((bytes + 7) & ~7)
    const grown = new Uint8Array(buffer)
    grown.set(this.data)
    this.data = grown
    this.int32 = new Int32Array(buffer)
    this.float32 = new Float32Array(buffer)
    this.float64 = new Float64Array(buffer)
  }

  growRows(rows: number): void {
    const validity = new Uint8Array((rows + 7) >> 3).fill(0xff)
    validity.set(this.validity)
    this.validity = validity
    this.rows = rows
    if (this.hasOffsets) {
      const offsets = new Int32Array(rows + 1)
      offsets.set(this.offsets)
      this.offsets = offsets
    } else if (this.width === STRUCT_WIDTH) for (const child of this.children) child.growRows(rows)
    else this.replaceData(dataBytes(this.width, rows))
  }

  /** Where the elements of this row's list (entries of its map) begin. Writing a row always begins again here. */
  beginList(row: number): number {
    return this.offsets[row]
  }

  /** Room for slot `slot` in every child. To be written, and marked present or null, in each of them. */
  childSlot(slot: number): void {
    if (slot < this.children[0].rows) return
    for (const child of this.children) child.growRows(Math.max(slot + 1, child.rows * 2))
  }

  /** `end`: behind the last slot written. */
  endList(row: number, end: number): void {
    this.offsets[row + 1] = end
  }

  /** Room for `needed` variable-length bytes in all. */
  growBytes(needed: number): void {
    if (needed > VARIABLE_BYTES_MAX) {
      throw new MillraceError('request-too-large', `column "${this.column.name}" of one batch is larger than 2 GiB`)
    }
    if (needed <= this.data.length) return
    this.replaceData(Math.min(VARIABLE_BYTES_MAX - 7, Math.max(needed, this.data.length * 2, 256)))
  }

  markPresent(row: number): void {
    if (this.hasNulls) this.validity[row >> 3] |= 1 << (row & 7)
  }

  markNull(row: number): void {
    this.hasNulls = true
    this.validity[row >> 3] &= ~(1 << (row & 7))
    if (this.width >= 0) return
    if (this.width === STRUCT_WIDTH) for (const child of this.children) child.markNull(row)
    else this.offsets[row + 1] = this.offsets[row]
  }

  setBoolean(row: number, value: boolean): void {
    const bit = 1 << (row & 7)
    if (value) this.data[row >> 3] |= bit
    else this.data[row >> 3] &= ~bit
  }

  /** An int64 from an integer that a double holds exactly. */
  setSafeInteger(row: number, value: number): void {
    this.int32[row * 2] = value | 0
    this.int32[row * 2 + 1] = Math.floor(value / 4294967296)
  }

  /**
   * The int64 of `days` and `micros` (negative or more than a day where an offset moved it), exact for all years 1 to
   * 9999, which a double of microseconds is not: a day is 10,546,875 units of 8,192 microseconds.
   */
  setDayMicros(row: number, days: number, micros: number): void {
    const wholeUnits = Math.floor(micros / 8192)
    const units = days * 10_546_875 + wholeUnits
    const high = Math.floor(units / 524288)
    this.int32[row * 2] = (units - high * 524288) * 8192 + (micros - wholeUnits * 8192)
    this.int32[row * 2 + 1] = high
  }

  setInt64(row: number, value: bigint): void {
    this.int32[row * 2] = Number(BigInt.asIntN(32, value))
    this.int32[row * 2 + 1] = Number(BigInt.asIntN(32, value >> 32n))
  }

  /** An int128 from an integer that a double holds exactly. */
  setSafeDecimal(row: number, value: number): void {
    const at = row * 4
    const high = Math.floor(value / 4294967296)
    const sign = value < 0 ? -1 : 0
    this.int32[at] = value | 0
    this.int32[at + 1] = high
    this.int32[at + 2] = sign
    this.int32[at + 3] = sign
  }

  setInt128(row: number, value: bigint): void {
    for (let part = 0; part < 4; part += 1) {
      this.int32[row * 4 + part] = Number(BigInt.asIntN(32, value >> BigInt(32 * part)))
    }
  }

  setBytes(row: number, bytes: Uint8Array, start: number, end: number): void {
    const from = this.offsets[row]
    const to = from + end - start
    if (to > this.data.length) this.growBytes(to)
    this.data.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), from)
    this.offsets[row + 1] = to
  }

  get allocatedBytes(): number {
    let bytes = this.data.byteLength + this.offsets.byteLength + this.validity.byteLength
    for (const child of this.children) bytes += child.allocatedBytes
    return bytes
  }

  /** Bytes in use by the first `rows` rows. */
  bytesUsed(rows: number): number {
    let bytes = (rows + 7) >> 3
    if (this.width === -1) return bytes + 4 * (rows + 1) + this.offsets[rows]
    if (this.width >= 0) return bytes + dataBytes(this.width, rows)
    if (this.hasOffsets) bytes += 4 * (rows + 1)
    for (const child of this.children) bytes += child.bytesUsed(this.childRows(rows))
    return bytes
  }

  /** Slots of the children that the first `rows` rows use. */
  childRows(rows: number): number {
    return this.width === LIST_WIDTH ? this.offsets[rows] : rows
  }

  /** Forgets nulls of the row slots from `rows` on, so that present values need not set their bit. */
  truncate(rows: number): void {
    for (const child of this.children) child.truncate(this.childRows(rows))
    if (!this.hasNulls) return
    if ((rows & 7) !== 0) this.validity[rows >> 3] |= 0xff << (rows & 7)
    this.validity.fill(0xff, (rows + 7) >> 3)
  }

  seal(rows: number): ColumnVector {
    const nullCount = this.hasNulls ? countNulls(this.validity, rows) : 0
    const used = this.width === -1 ? this.offsets[rows] : dataBytes(this.width, rows)
    return {
      column: this.column,
      length: rows,
      nullCount,
      validity: nullCount > 0 ? sealedCopy(this.validity, (rows + 7) >> 3) : undefined,
      data: sealedCopy(this.data, used),
      offsets: this.hasOffsets ? sealedOffsets(this.offsets, rows + 1) : undefined,
      ...(this.children.length > 0
        ? { children: this.children.map((child) => child.seal(this.childRows(rows))) }
        : undefined),
    }
  }

  /** Empty again. Keeps its room, or takes `rows` rows' worth when `shrink`; oversized variable data goes either way. */
  restart(rows: number, shrink: boolean, rowsBefore: number): void {
    for (const child of this.children) {
      const childRows = this.childRows(rowsBefore)
      const wanted = this.width === STRUCT_WIDTH ? rows : Math.max(CHILD_ROWS, childRows * 2)
      child.restart(wanted, this.width === STRUCT_WIDTH ? shrink : child.rows > wanted * 2, childRows)
    }
    const used = this.width === -1 ? this.offsets[rowsBefore] : 0
    if (this.width === -1 && this.data.length > 65536 && this.data.length > used * 4) {
      this.data = new Uint8Array(0)
      this.replaceData(Math.max(256, used * 2))
    }
    if (shrink) {
      this.rows = rows
      this.validity = new Uint8Array((rows + 7) >> 3).fill(0xff)
      if (this.hasOffsets) this.offsets = new Int32Array(rows + 1)
      else if (this.width >= 0) {
        this.data = new Uint8Array(0)
        this.replaceData(dataBytes(this.width, rows))
      }
    } else if (this.hasNulls) this.validity.fill(0xff)
    this.hasNulls = false
  }
}

export function countNulls(validity: Uint8Array, rows: number): number {
  let present = 0
  const whole = rows >> 3
  for (let index = 0; index < whole; index += 1) present += bitsSet(validity[index])
  if ((rows & 7) !== 0) present += bitsSet(validity[whole] & ((1 << (rows & 7)) - 1))
  return rows - present
}

function bitsSet(byte: number): number {
  const pairs = byte - ((byte >> 1) & 0x55)
  const quads = (pairs & 0x33) + ((pairs >> 2) & 0x33)
  return (quads + (quads >> 4)) & 0x0f
}
