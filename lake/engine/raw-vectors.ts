/**
 * What the binding's vectors hold, read without making a value of every item: the numbers as they lie there, which items are
 * NULL, and texts with one copy for each stretch of memory. A vector of texts has 16 bytes an item: the length, then the text
 * itself up to 12 bytes, else four bytes of it and its address. Texts that were made one after the other lie one behind the other,
 * so a whole vector of rows as text is usually one stretch.
 *
 * These are fields that the binding hides; where they are not as expected, that is an internal error, never another value.
 */
import { DuckDBBlobVector, type DuckDBVector } from '@duckdb/node-api'
import { invariant } from '../../schemas/errors.ts'

type Inside = {
  readonly dataView?: DataView
  readonly items?: ArrayBufferView
  readonly itemOffset?: number
  readonly validity?: { readonly data: BigUint64Array | null; readonly offset: number }
}

export type Texts = {
  /** Where each text begins in `bytes`, and where the last one ends. */
  readonly offsets: Int32Array
  readonly bytes: Buffer
}

const ITEM_BYTES = 16
const INLINE_MAX = 12

/** One bit for each item, the lowest first, set where it is not NULL; undefined when none is. */
export function validityOf(vector: DuckDBVector, count: number): Uint8Array | undefined {
  const { validity } = vector as unknown as Inside
  invariant('duckdb-vector', validity !== undefined && validity.offset === 0, { vector: vector.constructor.name })
  if (validity.data === null) return undefined
  const bytes = new Uint8Array(validity.data.buffer, validity.data.byteOffset, validity.data.byteLength)
  const bits = bytes.slice(0, (count + 7) >> 3)
  // Beyond the last item nothing is said.
  if (count % 8 !== 0) bits[bits.length - 1] &= (1 << (count % 8)) - 1
  return bits
}

export function isValid(bits: Uint8Array | undefined, index: number): boolean {
  return bits === undefined || (bits[index >> 3] & (1 << (index & 7))) !== 0
}

export function nullCountOf(bits: Uint8Array | undefined, count: number): number {
  if (bits === undefined) return 0
  let valid = 0
  for (const byte of bits) for (let left = byte; left !== 0; left &= left - 1) valid++
  return count - valid
}

/** The bytes of the first `count` items of `itemBytes` each. A copy: the vector's own go with its chunk. */
export function numbersOf(vector: DuckDBVector, count: number, itemBytes: number): Uint8Array {
  const { items, dataView } = vector as unknown as Inside
  const view = items ?? dataView
  invariant('duckdb-vector', view !== undefined && view.byteLength >= count * itemBytes, {
    vector: vector.constructor.name,
  })
  return new Uint8Array(view.buffer, view.byteOffset, count * itemBytes).slice()
}

/** The same, where they lie: gone with the chunk. */
export function itemBytesOf(vector: DuckDBVector, count: number, itemBytes: number): Uint8Array {
  const { items, dataView } = vector as unknown as Inside
  const view = items ?? dataView
  invariant('duckdb-vector', view !== undefined && view.byteLength >= count * itemBytes && view.byteOffset % 8 === 0, {
    vector: vector.constructor.name,
  })
  return new Uint8Array(view.buffer, view.byteOffset, count * itemBytes)
}

/** Each text where it lies: in its item, or in a copy of the stretch of memory that it is in. */
export type TextItems = {
  readonly from: readonly DataView[]
  readonly starts: Int32Array
  readonly lengths: Int32Array
  /** Of all texts together. */
  readonly length: number
}

/** NULL is an empty text. */
export function textItemsOf(vector: DuckDBVector, count: number, bits: Uint8Array | undefined): TextItems {
  const items = itemBytesOf(vector, count, ITEM_BYTES)
  const words = new Uint32Array(items.buffer, items.byteOffset, count * 4)
  const inside = new DataView(items.buffer, items.byteOffset, items.byteLength)
  const from = new Array<DataView>(count)
  const starts = new Int32Array(count)
  const lengths = new Int32Array(count)
  const readStretch = stretchReader(vector)
  let length = 0
  let stretchRow = 0
  let stretchStart = 0
  let stretchEnd = 0
  const finish = (endRow: number) => {
    if (stretchEnd === 0) return
    const bytes = readStretch(stretchStart, stretchEnd - stretchStart)
    const stretch = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let row = stretchRow; row < endRow; row++) if (lengths[row] > INLINE_MAX) from[row] = stretch
  }
  for (let row = 0; row < count; row++) {
    const size = isValid(bits, row) ? words[row * 4] : 0
    lengths[row] = size
    length += size
    if (size <= INLINE_MAX) {
      from[row] = inside
      starts[row] = row * ITEM_BYTES + 4
      continue
    }
    // An address has 48 bits: a number holds it.
    const address = words[row * 4 + 2] + words[row * 4 + 3] * 2 ** 32
    if (address !== stretchEnd) {
      finish(row)
      stretchRow = row
      stretchStart = address
    }
    starts[row] = address - stretchStart
    stretchEnd = address + size
  }
  finish(count)
  return { from, starts, lengths, length }
}

/** NULL is an empty text. */
export function textsOf(vector: DuckDBVector, count: number, bits: Uint8Array | undefined): Texts {
  const { dataView, itemOffset } = vector as unknown as Inside
  invariant('duckdb-vector', dataView !== undefined && itemOffset === 0, { vector: vector.constructor.name })
  const offsets = new Int32Array(count + 1)
  let length = 0
  for (let index = 0; index < count; index++) {
    if (isValid(bits, index)) length += dataView.getUint32(index * ITEM_BYTES, true)
    offsets[index + 1] = length
  }
  const bytes = Buffer.allocUnsafe(length)
  const items = new Uint8Array(dataView.buffer, dataView.byteOffset, count * ITEM_BYTES)
  const readStretch = stretchReader(vector)
  let from = 0
  let stretchStart = 0
  let stretchEnd = 0
  const finish = () => {
    if (stretchEnd > stretchStart) bytes.set(readStretch(stretchStart, stretchEnd - stretchStart), from)
    stretchStart = 0
    stretchEnd = 0
  }
  for (let index = 0; index < count; index++) {
    const start = offsets[index]
    const size = offsets[index + 1] - start
    if (size === 0) continue
    const item = index * ITEM_BYTES
    if (size <= INLINE_MAX) {
      finish()
      for (let at = 0; at < size; at++) bytes[start + at] = items[item + 4 + at]
      continue
    }
    // An address has 48 bits: a number holds it.
    const address = dataView.getUint32(item + 8, true) + dataView.getUint32(item + 12, true) * 2 ** 32
    if (address !== stretchEnd || stretchEnd === 0) {
      finish()
      stretchStart = address
      from = start
    }
    stretchEnd = address + size
  }
  finish()
  return { offsets, bytes }
}

const NO_NULLS = { itemValid: () => true }

/** Through the binding, which reads what an item of a vector points to: an item of our own making points to the stretch. */
function stretchReader(vector: DuckDBVector): (address: number, length: number) => Uint8Array {
  const item = new DataView(new ArrayBuffer(ITEM_BYTES))
  const { vector: raw } = vector as unknown as { vector: never }
  return (address, length) => {
    item.setUint32(0, length, true)
    item.setUint32(8, address % 2 ** 32, true)
    item.setUint32(12, Math.floor(address / 2 ** 32), true)
    const bytes = new DuckDBBlobVector(item, NO_NULLS as never, raw, 0, 1).getItemBytes(0)
    invariant('duckdb-vector', bytes !== null && bytes.length === length, { length })
    return bytes
  }
}
