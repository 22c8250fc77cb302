/**
 * Rows under construction, one `ColumnBuilder` per column of the schema.
 *
 * The decoder (or `appendValues`) fills the user columns of row `rowCount`; `finishRow` adds the hidden columns and
 * moves on. While building, `_source` is an index into a small dictionary; `seal` spells it out, because a micro-batch
 * holds plain Arrow vectors. `seal` hands out trimmed copies and keeps the builder's own buffers for the next batch
 * of the same table, unless they are far larger than what this batch needed (one huge batch must not pin its memory).
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import { type Column, HIDDEN_COLUMNS, isHidden, type TableSchema } from '../../schemas/table-schema.ts'
import { ColumnBuilder } from './column-builder.ts'
import type { BatchBuilder } from './decoder.ts'
import { type GeneralValue, setGeneralValue } from './general-value.ts'
import { sealedOffsets, sealMemory } from './seal-memory.ts'

const FIRST_ROWS = 256
const FIRST_VARIABLE_BYTES = 4096
const EMPTY = new Int32Array(0)

export class ColumnarBatchBuilder implements BatchBuilder {
  readonly schema: TableSchema
  readonly user: readonly ColumnBuilder[]
  rowCount = 0
  /** Whether any user column may have a null: until then present values need no mark. */
  hasNulls = false
  private capacity = FIRST_ROWS
  private readonly columns: readonly ColumnBuilder[]
  private readonly sourceColumn: Column
  private readonly partition: ColumnBuilder
  private readonly offset: ColumnBuilder
  private readonly timestamp: ColumnBuilder
  private readonly arrived: ColumnBuilder
  private sourceOfRow = new Int32Array(FIRST_ROWS)
  private sources: Uint8Array[] = []
  private readonly sourceIndexes = new Map<string, number>()

  constructor(schema: TableSchema) {
    this.schema = schema
    const byId = new Map<number, ColumnBuilder>()
    for (const column of schema.columns) {
      if (column.fieldId !== 1) byId.set(column.fieldId, new ColumnBuilder(column, FIRST_ROWS, FIRST_VARIABLE_BYTES))
    }
    const hidden = (fieldId: number): ColumnBuilder => {
      const found = byId.get(fieldId)
      if (!found)
        throw new MillraceError('invariant-broken', `schema ${schema.schemaId} has no hidden column ${fieldId}`)
      return found
    }
    this.columns = [...byId.values()]
    this.user = this.columns.filter((builder) => !isHidden(builder.column))
    this.sourceColumn = schema.columns.find((column) => column.fieldId === 1) ?? HIDDEN_COLUMNS[0]
    this.partition = hidden(2)
    this.offset = hidden(3)
    this.timestamp = hidden(4)
    this.arrived = hidden(5)
  }

  get bytes(): number {
    let bytes = this.rowCount * 4
    for (const builder of this.columns) bytes += builder.bytesUsed(this.rowCount)
    // What `_source` will take once it is spelled out.
    return bytes + this.rowCount * (4 + (this.sources[0]?.length ?? 0))
  }

  get allocatedBytes(): number {
    let bytes = this.sourceOfRow.byteLength
    for (const builder of this.columns) bytes += builder.allocatedBytes
    return bytes
  }

  /** Room for the row under construction. */
  prepareRow(): void {
    if (this.rowCount < this.capacity) return
    this.capacity *= 2
    for (const builder of this.columns) builder.growRows(this.capacity)
    const sourceOfRow = new Int32Array(this.capacity)
    sourceOfRow.set(this.sourceOfRow)
    this.sourceOfRow = sourceOfRow
  }

  finishRow(sourceIndex: number, partition: number, offset: number, timestampMs: number, arrivedMicros: number): void {
    this.prepareRow()
    const row = this.rowCount
    this.sourceOfRow[row] = sourceIndex
    this.partition.int32[row] = partition
    this.offset.setSafeInteger(row, offset)
    this.arrived.setSafeInteger(row, arrivedMicros)
    const micros = timestampMs * 1000
    if (Number.isSafeInteger(micros)) {
      this.timestamp.setSafeInteger(row, micros)
      this.timestamp.markPresent(row)
    } else if (Number.isSafeInteger(timestampMs)) {
      this.timestamp.setInt64(row, BigInt(timestampMs) * 1000n)
      this.timestamp.markPresent(row)
    } else this.timestamp.markNull(row)
    this.rowCount = row + 1
  }

  sourceIndex(source: string): number {
    const known = this.sourceIndexes.get(source)
    if (known !== undefined) return known
    const index = this.sources.length
    this.sources.push(Buffer.from(source, 'utf8'))
    this.sourceIndexes.set(source, index)
    return index
  }

  appendValues(values: readonly GeneralValue[]): void {
    if (values.length !== this.user.length) {
      throw new MillraceError('conversion-failed', `expected ${this.user.length} values, found ${values.length}`)
    }
    this.prepareRow()
    const row = this.rowCount
    for (let index = 0; index < values.length; index += 1) {
      const builder = this.user[index]
      const value = values[index]
      if (value === null) {
        if (builder.column.required) {
          throw new MillraceError('conversion-failed', `column "${builder.column.name}": required, found null`)
        }
        builder.markNull(row)
        this.hasNulls = true
      } else {
        setGeneralValue(builder, row, value)
        builder.markPresent(row)
      }
    }
  }

  truncate(rows: number): void {
    if (!(rows >= 0 && rows <= this.rowCount)) {
      throw new MillraceError('internal', `cannot truncate ${this.rowCount} rows to ${rows}`)
    }
    for (const builder of this.columns) builder.truncate(rows)
    this.rowCount = rows
  }

  seal(): MicroBatch {
    const rowCount = this.rowCount
    const sealed = new Map<number, ColumnVector>()
    for (const builder of this.columns) sealed.set(builder.column.fieldId, builder.seal(rowCount))
    sealed.set(1, this.sealSource())
    const vectors = this.schema.columns.map((column) => sealed.get(column.fieldId)!)
    this.restart()
    return { schema: this.schema, rowCount, vectors }
  }

  private sealSource(): ColumnVector {
    const rows = this.rowCount
    const offsets = sealedOffsets(EMPTY, rows + 1)
    offsets[0] = 0
    let total = 0
    for (let row = 0; row < rows; row += 1) {
      total += this.sources[this.sourceOfRow[row]].length
      offsets[row + 1] = total
    }
    const data = sealMemory(total)
    for (let row = 0; row < rows; ) {
      const index = this.sourceOfRow[row]
      let end = row + 1
      while (end < rows && this.sourceOfRow[end] === index) end += 1
      // One source's run: written once, then doubled.
      const start = offsets[row]
      const stop = offsets[end]
      let filled = Math.min(stop, start + this.sources[index].length)
      data.set(this.sources[index], start)
      while (filled > start && filled < stop) {
        const copied = Math.min(filled - start, stop - filled)
        data.copyWithin(filled, start, start + copied)
        filled += copied
      }
      row = end
    }
    return { column: this.sourceColumn, length: rows, nullCount: 0, validity: undefined, data, offsets }
  }

  private restart(): void {
    const rows = this.rowCount
    this.rowCount = 0
    this.hasNulls = false
    this.sources = []
    this.sourceIndexes.clear()
    const wanted =
      this.capacity > FIRST_ROWS && this.capacity > rows * 4 ? Math.max(FIRST_ROWS, rows * 2) : this.capacity
    for (const builder of this.columns) builder.restart(wanted, wanted !== this.capacity, rows)
    if (wanted !== this.capacity) this.sourceOfRow = new Int32Array(wanted)
    this.capacity = wanted
  }
}

export function createBatchBuilder(schema: TableSchema): ColumnarBatchBuilder {
  return new ColumnarBatchBuilder(schema)
}
