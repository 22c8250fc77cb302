/**
 * Column vectors → plain JavaScript values, for tests: structs as objects, lists as arrays, maps as arrays of pairs, decimals as
 * unscaled bigints, long, time and timestamps as bigints, uuid as hex, binary as a Buffer.
 */
import type { ColumnVector, MicroBatch } from '../../schemas/micro-batch.ts'

export function vectorValue(vector: ColumnVector, row: number): unknown {
  const { column, validity, data, offsets, children = [] } = vector
  if (validity && !((validity[row >> 3] >> (row & 7)) & 1)) return null
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
  switch (column.type.kind) {
    case 'boolean':
      return ((data[row >> 3] >> (row & 7)) & 1) === 1
    case 'int':
    case 'date':
      return view.getInt32(row * 4, true)
    case 'float':
      return view.getFloat32(row * 4, true)
    case 'double':
      return view.getFloat64(row * 8, true)
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return view.getBigInt64(row * 8, true)
    case 'decimal':
      return (view.getBigInt64(row * 16 + 8, true) << 64n) | view.getBigUint64(row * 16, true)
    case 'uuid':
      return Buffer.from(data.subarray(row * 16, row * 16 + 16)).toString('hex')
    case 'string':
    case 'json':
      return Buffer.from(data.subarray(offsets![row], offsets![row + 1])).toString()
    case 'binary':
      return Buffer.from(data.subarray(offsets![row], offsets![row + 1]))
    case 'struct':
      return Object.fromEntries(children.map((child) => [child.column.name, vectorValue(child, row)]))
    case 'list':
      return slots(vector, row).map((slot) => vectorValue(children[0], slot))
    case 'map':
      return slots(vector, row).map((slot) => [vectorValue(children[0], slot), vectorValue(children[1], slot)])
  }
}

function slots({ offsets }: ColumnVector, row: number): number[] {
  return Array.from({ length: offsets![row + 1] - offsets![row] }, (_, index) => offsets![row] + index)
}

/** Every row as an object of its columns' values; only of those named, when names are given. */
export function batchRows(batch: MicroBatch, names?: readonly string[]): Record<string, unknown>[] {
  const vectors = batch.vectors.filter(({ column }) => !names || names.includes(column.name))
  return Array.from({ length: batch.rowCount }, (_, row) =>
    Object.fromEntries(vectors.map((vector) => [vector.column.name, vectorValue(vector, row)])),
  )
}

/** Lengths, positions and null counts of nested vectors are what the layout says; throws where they are not. */
export function checkVector(vector: ColumnVector): void {
  const { column, length, nullCount, validity, offsets, children = [] } = vector
  let nulls = 0
  for (let row = 0; row < length; row += 1) if (validity && !((validity[row >> 3] >> (row & 7)) & 1)) nulls += 1
  if (nulls !== nullCount) throw new Error(`${column.name}: ${nulls} nulls, ${nullCount} counted`)
  if (offsets && (offsets.length !== length + 1 || offsets[0] !== 0)) throw new Error(`${column.name}: bad offsets`)
  const inside = column.type.kind === 'struct' ? length : offsets?.[length]
  for (const child of children) {
    if (child.length !== inside) throw new Error(`${column.name}: ${child.length} slots inside, expected ${inside}`)
    checkVector(child)
  }
}
