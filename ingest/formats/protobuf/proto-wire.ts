/**
 * The pieces of Protobuf's encoding: a message is a sequence of tag (field number × 8 + wire type) and value.
 *
 *   wire type 0  varint: 7 bits a byte, low ones first, at most 10 bytes     2  length (varint), then as many bytes
 *             1  8 bytes, little-endian                                      3, 4  start and end of a group
 *             5  4 bytes, little-endian
 *
 * Functions take a position and return the one behind, or -1: then `problem` says what was wrong and `problemAt` where. Lengths
 * are checked against the bytes that are left before anybody uses them.
 */
export const VARINT = 0
export const FIXED64 = 1
export const LENGTH = 2
export const GROUP = 3
export const GROUP_END = 4
export const FIXED32 = 5

/** Groups inside groups that are stepped over; Protobuf's own libraries refuse more, too. */
const GROUP_DEPTH_MAX = 100

export let problem = ''
/** In which field; empty: in none that is known. */
export let problemPath = ''
export let problemAt = 0
/** The varint read last; `low` is the length for `readLength`. */
export let low = 0
export let high = 0

export function fail(path: string, text: string, at: number): -1 {
  problem = text
  problemPath = path
  problemAt = at
  return -1
}

export function truncated(path: string, at: number): -1 {
  return fail(path, 'truncated: the message ends where more is expected', at)
}

export function readVarint(path: string, bytes: Uint8Array, at: number, end: number): number {
  let position = at
  let byte = 0
  let first = 0
  let second = 0
  let third = 0
  let shift = 0
  do {
    if (position >= end) return truncated(path, at)
    byte = bytes[position]
    position += 1
    const bits = byte & 0x7f
    if (shift < 28) first |= bits << shift
    else if (shift < 56) second |= bits << (shift - 28)
    else third |= bits << (shift - 56)
    shift += 7
  } while (byte >= 0x80 && shift < 70)
  if (byte >= 0x80 || third > 0xff) return fail(path, 'a varint of more than 64 bits', at)
  low = first | (second << 28)
  high = (second >>> 4) | (third << 24)
  return position
}

/** Where the bytes begin; their number, which reaches at most to the end, is in `low`. */
export function readLength(path: string, bytes: Uint8Array, at: number, end: number): number {
  let after = at + 1
  const byte = bytes[at]
  if (at < end && byte < 0x80) low = byte
  else {
    after = readVarint(path, bytes, at, end)
    if (after < 0) return after
    if (high !== 0 || low < 0) return fail(path, 'a length of more than 2 GiB', at)
  }
  return low <= end - after ? after : fail(path, `a length of ${low} bytes where ${end - after} are left`, at)
}

/** Steps over the value behind a tag. A group ends with the tag of its own number. */
export function skipValue(path: string, bytes: Uint8Array, tag: number, at: number, end: number): number {
  switch (tag & 7) {
    case VARINT:
      return readVarint(path, bytes, at, end)
    case FIXED64:
      return at + 8 > end ? truncated(path, at) : at + 8
    case LENGTH: {
      const from = readLength(path, bytes, at, end)
      return from < 0 ? from : from + low
    }
    case FIXED32:
      return at + 4 > end ? truncated(path, at) : at + 4
    case GROUP:
      return skipGroup(path, bytes, tag, at, end)
    default:
      return fail(path, `wire type ${tag & 7} of field ${tag >>> 3}`, at)
  }
}

function skipGroup(path: string, bytes: Uint8Array, first: number, at: number, end: number): number {
  const open: number[] = [first >>> 3]
  let position = at
  while (open.length > 0) {
    position = readTag(path, bytes, position, end)
    if (position < 0) return position
    const tag = low
    if ((tag & 7) === GROUP) {
      if (open.length >= GROUP_DEPTH_MAX) return fail(path, `groups nested deeper than ${GROUP_DEPTH_MAX}`, position)
      open.push(tag >>> 3)
    } else if ((tag & 7) === GROUP_END) {
      if (open.pop() !== tag >>> 3) return fail(path, 'a group that ends with another number', position)
    } else {
      position = skipValue(path, bytes, tag, position, end)
      if (position < 0) return position
    }
  }
  return position
}

/** In `low`; field number 0 is refused. */
export function readTag(path: string, bytes: Uint8Array, at: number, end: number): number {
  const after = readVarint(path, bytes, at, end)
  if (after < 0) return after
  if (high !== 0 || low >>> 3 === 0) return fail(path, 'malformed tag', at)
  return after
}

/** Where a group's end tag begins, which is stepped over with `low` being its length. */
export function groupEnd(path: string, bytes: Uint8Array, tag: number, at: number, end: number): number {
  const after = skipGroup(path, bytes, tag, at, end)
  if (after < 0) return after
  let start = after - 1
  while (start > at && (bytes[start - 1] & 0x80) !== 0) start -= 1
  low = after - start
  return start
}
