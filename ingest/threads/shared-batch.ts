/**
 * A micro-batch in shared memory: all its buffers one behind the other, and a list of numbers that says where.
 *
 *   layout, for each vector and then its children:  length, nullCount, data at, bytes, validity at, offsets at
 *
 * Places count from the buffer's start; -1: absent. Everything begins at a multiple of eight.
 */
import { childFields } from '../../schemas/column-type.ts'
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'
import type { Column, TableSchema } from '../../schemas/table-schema.ts'
import type { HeldBatch } from '../open-tick.ts'

export type BatchLayout = readonly number[]

/** Where a batch lies. */
export type SharedRows = {
  readonly memory: SharedArrayBuffer
  readonly rowCount: number
  readonly layout: BatchLayout
}

const NUMBERS = 6

export function sharedBytes({ vectors }: MicroBatch): number {
  return vectors.reduce((bytes, vector) => bytes + vectorBytes(vector), 0)
}

function vectorBytes({ data, validity, offsets, children = [] }: ColumnVector): number {
  const own = aligned(data.byteLength) + aligned(validity?.byteLength ?? 0) + aligned(offsets?.byteLength ?? 0)
  return children.reduce((bytes, child) => bytes + vectorBytes(child), own)
}

/** A stretch of shared memory that is filled from its beginning. */
export class SharedStretch {
  readonly memory: SharedArrayBuffer
  readonly #end: number
  /** Where the next bytes go. */
  at: number

  constructor(memory: SharedArrayBuffer, start: number, length: number) {
    this.memory = memory
    this.at = start
    this.#end = start + length
  }

  take(bytes: number): Uint8Array | undefined {
    const start = this.at
    if (start + aligned(bytes) > this.#end) return undefined
    this.at = start + aligned(bytes)
    return new Uint8Array(this.memory, start, bytes)
  }
}

/** Where the batch lies in the stretch, its values copied there unless they are there already. undefined: they do not fit. */
export function shareBatch(batch: MicroBatch, stretch: SharedStretch): BatchLayout | undefined {
  const layout: number[] = []
  let isFull = false
  const put = (bytes: ArrayBufferView | undefined): number => {
    if (bytes === undefined) return -1
    if (bytes.buffer === stretch.memory) return bytes.byteOffset
    const target = stretch.take(bytes.byteLength)
    isFull ||= target === undefined
    target?.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    return target?.byteOffset ?? -1
  }
  const add = (vector: ColumnVector): void => {
    const { length, nullCount, data, validity, offsets, children = [] } = vector
    layout.push(length, nullCount, put(data), data.byteLength, put(validity), put(offsets))
    children.forEach(add)
  }
  batch.vectors.forEach(add)
  return isFull ? undefined : layout
}

/** Rows that lie in shared memory. Views of their columns are made when somebody on this thread wants them. */
export class SharedBatch implements HeldBatch, SharedRows {
  readonly schema: TableSchema
  readonly rowCount: number
  readonly memory: SharedArrayBuffer
  readonly layout: BatchLayout
  readonly heldBytes: number
  readonly release: () => void
  #vectors: readonly ColumnVector[] | undefined

  constructor(schema: TableSchema, rows: SharedRows, heldBytes = 0, release: () => void = () => {}) {
    this.schema = schema
    this.rowCount = rows.rowCount
    this.memory = rows.memory
    this.layout = rows.layout
    this.heldBytes = heldBytes
    this.release = release
  }

  get vectors(): readonly ColumnVector[] {
    this.#vectors ??= this.#view()
    return this.#vectors
  }

  #view(): ColumnVector[] {
    const { memory, layout } = this
    let next = 0
    const view = (column: Column): ColumnVector => {
      const [length, nullCount, dataAt, dataBytes, validityAt, offsetsAt] = layout.slice(next, next + NUMBERS)
      next += NUMBERS
      const children = childFields(column.type).map(view)
      return {
        column,
        length,
        nullCount,
        data: new Uint8Array(memory, dataAt, dataBytes),
        validity: validityAt < 0 ? undefined : new Uint8Array(memory, validityAt, (length + 7) >> 3),
        offsets: offsetsAt < 0 ? undefined : new Int32Array(memory, offsetsAt, length + 1),
        ...(children.length > 0 ? { children } : undefined),
      }
    }
    return this.schema.columns.map(view)
  }
}

function aligned(bytes: number): number {
  return (bytes + 7) & ~7
}
