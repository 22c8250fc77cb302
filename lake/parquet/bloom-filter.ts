/**
 * Split block bloom filters of the Parquet format, read only (BloomFilter.md of the format):
 *
 *   header  Thrift compact: 1 bytes in the bitset, 2 algorithm (1: BLOCK), 3 hash (1: XXHASH), 4 compression (1: none)
 *   bitset  blocks of 32 bytes, eight 32-bit words each, little-endian
 *
 * A value is the bytes of its plain encoding, hashed with XXH64 and seed 0. The hash's upper half chooses the block, its lower
 * half one bit in each word. A value whose bits are not all set is not in the column chunk. Whatever is not as above (another
 * algorithm, a header cut short) says nothing, and floating-point values are never looked for: -0 equals 0, and casts round.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import { domainOfLeaf, domainOfType, type FilterValue } from './comparable.ts'
import { isUnsigned } from './footer.ts'
import type { LeafColumn } from './parquet.ts'
import { THRIFT, ThriftReader } from './thrift.ts'
import { xxHash64 } from './xx-hash.ts'

export type BloomFilter = { readonly bitset: Uint8Array }

const BLOCK_BYTES = 32
const SALT = [0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31] as const

/** undefined when it is not one of those that are understood, or not all there. */
export function readBloomFilter(bytes: Uint8Array): BloomFilter | undefined {
  const reader = new ThriftReader(bytes)
  let bitsetBytes = -1
  let isKnown = true
  const isFirst = (type: number) => {
    let found = false
    reader.struct(type, (id, fieldType) => {
      found = id === 1
      reader.skip(fieldType)
    })
    return found
  }
  try {
    reader.struct(THRIFT.struct, (id, type) => {
      if (id === 1) bitsetBytes = reader.integer(type)
      else if (id >= 2 && id <= 4) isKnown = isFirst(type) && isKnown
      else reader.skip(type)
    })
  } catch (error) {
    if (isMillraceError(error, 'file-damaged')) return undefined
    throw error
  }
  const end = reader.position + bitsetBytes
  if (!isKnown || bitsetBytes < BLOCK_BYTES || bitsetBytes % BLOCK_BYTES !== 0 || end > bytes.length) return undefined
  return { bitset: bytes.subarray(reader.position, end) }
}

/** False only when the value is surely not there. */
export function mayContain(filter: BloomFilter, column: LeafColumn, type: ColumnType, value: FilterValue): boolean {
  const plain = plainBytes(column, type, value)
  return plain === undefined || hasHash(filter, xxHash64(plain))
}

export function hasHash({ bitset }: BloomFilter, hash: bigint): boolean {
  const blocks = BigInt(bitset.length / BLOCK_BYTES)
  const block = Number(((hash >> 32n) * blocks) >> 32n) * BLOCK_BYTES
  const low = Number(hash & 0xffffffffn)
  const view = new DataView(bitset.buffer, bitset.byteOffset, bitset.byteLength)
  return SALT.every((salt, word) => {
    const bit = Math.imul(low, salt) >>> 27
    return ((view.getUint32(block + word * 4, true) >>> bit) & 1) === 1
  })
}

/** undefined: it may be written in another way than here, or equal what is written in another way. */
function plainBytes(column: LeafColumn, type: ColumnType, value: FilterValue): Uint8Array | undefined {
  const domain = domainOfLeaf(column)
  if (domain === 'unknown' || domain === 'boolean' || domain !== domainOfType(type)) return undefined
  switch (domain) {
    case 'text':
      return typeof value === 'string' ? new TextEncoder().encode(value) : undefined
    case 'binary':
      return value instanceof Uint8Array ? value : undefined
    case 'uuid':
      return typeof value === 'string' ? Buffer.from(value.replaceAll('-', ''), 'hex') : undefined
    default:
      return typeof value === 'bigint' ? wholeBytes(column, type, value) : undefined
  }
}

/** Whole numbers, dates and microseconds. */
function wholeBytes(column: LeafColumn, type: ColumnType, value: bigint): Uint8Array | undefined {
  const { physical, logical } = column
  const isOtherUnit = logical?.startsWith('TIME') === true && !logical.includes('(MICROS,')
  if (type.kind === 'decimal' || logical?.startsWith('DECIMAL') || isOtherUnit || isUnsigned(column)) return undefined
  const size = physical === 'INT32' ? 4 : physical === 'INT64' ? 8 : 0
  if (size === 0 || BigInt.asIntN(size * 8, value) !== value) return undefined
  const bytes = new Uint8Array(size)
  const view = new DataView(bytes.buffer)
  if (size === 4) view.setInt32(0, Number(value), true)
  else view.setBigInt64(0, value, true)
  return bytes
}
