/**
 * The pieces of Avro's binary encoding: integers, lengths, indexes, heads of blocks, and how to step over a value. Each
 * function takes the position and returns the one behind, or -1: then `problem` says what was wrong, `problemAt` where, and
 * `problemNode` in which field. No position is ever beyond the record's end by more than the few bytes of a fixed value that
 * was stepped over; lengths and counts are checked against the bytes that are left before anybody uses them.
 */
import {
  BOOLEAN,
  BYTES,
  DECIMAL_BYTES,
  DECIMAL_FIXED,
  DOUBLE,
  ENUM,
  FIXED,
  FLOAT,
  INT,
  JSON_TEXT,
  LONG,
  LONG_AS_IS,
  MAP,
  MEMBERS,
  NULL,
  OPTIONAL,
  RECORD,
  type ReadNode,
  STRING,
  UNION,
} from './read-plan.ts'

/** Items that take no bytes at all (of a record without fields): more are refused. */
const EMPTY_ITEMS_MAX = 10_000

export let problem = ''
export let problemNode: ReadNode | undefined
export let problemAt = 0
/** The varint read last. */
export let low = 0
export let high = 0

export function fail(node: ReadNode, text: string, at: number): -1 {
  problem = text
  problemNode = node
  problemAt = at
  return -1
}

export let blockCount = 0
/** -1: the block does not say. */
export let blockEnd = -1

/** The head of a block. `before`: items that came already. */
export function readCount(node: ReadNode, bytes: Uint8Array, at: number, end: number, before: number): number {
  let position = readLong(node, bytes, at, end)
  if (position < 0) return position
  let count = high * 4294967296 + (low >>> 0)
  let stop = -1
  if (count < 0) {
    count = -count
    position = readLong(node, bytes, position, end)
    if (position < 0) return position
    const size = high * 4294967296 + (low >>> 0)
    if (size < 0 || size > end - position)
      return fail(node, `a block of ${size} bytes where ${end - position} are left`, at)
    stop = position + size
  }
  const countMax = node.itemBytes === 0 ? EMPTY_ITEMS_MAX - before : (end - position) / node.itemBytes
  if (count > countMax) return fail(node, `a block of ${count} items where ${end - position} bytes are left`, at)
  blockCount = count
  blockEnd = stop
  return position
}

/** Steps over a value; what it holds is not looked at. */
export function skip(node: ReadNode, bytes: Uint8Array, at: number, end: number): number {
  switch (node.op) {
    case NULL:
      return at
    case BOOLEAN:
      return at + 1
    case INT:
    case LONG:
    case LONG_AS_IS:
      return readLong(node, bytes, at, end)
    case FLOAT:
      return at + 4
    case DOUBLE:
      return at + 8
    case FIXED:
    case DECIMAL_FIXED:
      return at + node.size > end ? truncated(node, at) : at + node.size
    case STRING:
    case BYTES:
    case DECIMAL_BYTES: {
      const from = readLength(node, bytes, at, end)
      return from < 0 ? from : from + low
    }
    case ENUM:
      return readIndex(node, bytes, at, end, node.symbols.length, 'symbol')
    case OPTIONAL: {
      const branches = node.nullByte < 0 ? 1 : 2
      const after = readIndex(node, bytes, at, end, branches, 'union branch')
      return after < 0 || low * 2 === node.nullByte ? after : skip(node.kids[0], bytes, after, end)
    }
    case UNION:
    case MEMBERS: {
      const after = readIndex(node, bytes, at, end, node.kids.length, 'union branch')
      return after < 0 ? after : skip(node.kids[low], bytes, after, end)
    }
    case JSON_TEXT:
      return skip(node.kids[0], bytes, at, end)
    case RECORD: {
      let position = at
      for (let index = 0; index < node.kids.length; index += 1) {
        position = skip(node.kids[index], bytes, position, end)
        if (position < 0) return position
      }
      return position
    }
    default:
      return skipBlocks(node, bytes, at, end)
  }
}

function skipBlocks(node: ReadNode, bytes: Uint8Array, at: number, end: number): number {
  let position = at
  let number = 0
  for (;;) {
    position = readCount(node, bytes, position, end, number)
    if (position < 0 || blockCount === 0) return position
    number += blockCount
    if (blockEnd >= 0) position = blockEnd
    else {
      for (let left = blockCount; left > 0; left -= 1) {
        if (node.op === MAP) {
          const from = readLength(node, bytes, position, end)
          if (from < 0) return from
          position = from + low
        }
        position = skip(node.kids[0], bytes, position, end)
        if (position < 0) return position
        if (position > end) return truncated(node, position)
      }
    }
  }
}

export function truncated(node: ReadNode, at: number): -1 {
  return fail(node, 'truncated: the record ends where more is expected', at)
}

/** Behind it; its halves are in `low` and `high`. */
export function readLong(node: ReadNode, bytes: Uint8Array, at: number, end: number): number {
  let position = at
  let byte = 0
  let first = 0
  let second = 0
  let third = 0
  let shift = 0
  do {
    if (position >= end) return truncated(node, at)
    byte = bytes[position]
    position += 1
    const bits = byte & 0x7f
    if (shift < 28) first |= bits << shift
    else if (shift < 56) second |= bits << (shift - 28)
    else third |= bits << (shift - 56)
    shift += 7
  } while (byte >= 0x80 && shift < 70)
  if (byte >= 0x80 || third > 0xff || (node.op === INT && (shift > 35 || second > 0x0f))) {
    return fail(node, 'an integer of too many bits', at)
  }
  const lower = first | (second << 28)
  const upper = (second >>> 4) | (third << 24)
  const sign = -(lower & 1)
  low = ((lower >>> 1) | (upper << 31)) ^ sign
  high = (upper >>> 1) ^ sign
  return position
}

/** Where the bytes begin; their number, which reaches at most to the end, is in `low`. */
export function readLength(node: ReadNode, bytes: Uint8Array, at: number, end: number): number {
  const byte = bytes[at]
  let after = at + 1
  // A length of up to 63 as most are: one byte, even.
  if (at < end && byte < 0x80 && (byte & 1) === 0) low = byte >>> 1
  else {
    after = readLong(node, bytes, at, end)
    if (after < 0) return after
    if (high !== 0 || low < 0) return fail(node, `a length of ${high * 4294967296 + (low >>> 0)} bytes`, at)
  }
  return low <= end - after ? after : fail(node, `a length of ${low} bytes where ${end - after} are left`, at)
}

/** Of a union or an enum; in `low`. */
export function readIndex(
  node: ReadNode,
  bytes: Uint8Array,
  at: number,
  end: number,
  count: number,
  what: string,
): number {
  const after = readLong(node, bytes, at, end)
  if (after < 0) return after
  const index = high * 4294967296 + (low >>> 0)
  return index >= 0 && index < count ? after : fail(node, `${what} ${index} of ${count}`, at)
}
