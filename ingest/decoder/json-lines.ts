/**
 * An HTTP body → where each record lies, in one pass and without reading values. The first byte that is not white
 * space decides: `[` makes it one JSON array, anything else JSON lines.
 *
 * Lines end in LF or CRLF; blank ones are skipped. Of an array only brackets, strings and commas are followed: what
 * lies between two commas is one record, checked by the decoder. An array that does not add up is refused as a whole.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { skipSpace } from './scan-json.ts'

export type RecordSlices = {
  readonly bytes: Uint8Array
  readonly count: number
  /** Record i is `bytes[starts[i], ends[i])`. */
  readonly starts: Int32Array
  readonly ends: Int32Array
}

export function splitBody(bytes: Uint8Array): RecordSlices {
  const first = skipSpace(bytes, 0, bytes.length)
  const slices = createSlices()
  if (first < bytes.length && bytes[first] === 0x5b) splitArray(bytes, first, slices)
  else splitLines(bytes, slices)
  return {
    bytes,
    count: slices.count,
    starts: slices.starts.slice(0, slices.count),
    ends: slices.ends.slice(0, slices.count),
  }
}

type Slices = { count: number; starts: Int32Array; ends: Int32Array }

function createSlices(): Slices {
  return { count: 0, starts: new Int32Array(64), ends: new Int32Array(64) }
}

/** Adds `[start, end)` without white space around; false when nothing is left. */
function add(slices: Slices, bytes: Uint8Array, start: number, end: number): boolean {
  const from = skipSpace(bytes, start, end)
  let to = end
  while (to > from && isSpace(bytes[to - 1])) to -= 1
  if (from === to) return false
  if (slices.count === slices.starts.length) {
    slices.starts = grow(slices.starts)
    slices.ends = grow(slices.ends)
  }
  slices.starts[slices.count] = from
  slices.ends[slices.count] = to
  slices.count += 1
  return true
}

function grow(old: Int32Array): Int32Array {
  const grown = new Int32Array(old.length * 2)
  grown.set(old)
  return grown
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}

function splitLines(bytes: Uint8Array, slices: Slices): void {
  for (let start = 0; start < bytes.length; ) {
    const found = bytes.indexOf(0x0a, start)
    const end = found < 0 ? bytes.length : found
    add(slices, bytes, start, end)
    start = end + 1
  }
}

function splitArray(bytes: Uint8Array, open: number, slices: Slices): void {
  let start = open + 1
  let depth = 0
  let position = start
  for (; position < bytes.length; position += 1) {
    const byte = bytes[position]
    if (byte === 0x22) {
      position = closingQuote(bytes, position + 1)
    } else if (byte === 0x7b || byte === 0x5b) depth += 1
    else if (depth > 0) {
      if (byte === 0x7d || byte === 0x5d) depth -= 1
    } else if (byte === 0x2c) {
      if (!add(slices, bytes, start, position)) throw malformed('a value is missing', position)
      start = position + 1
    } else if (byte === 0x7d) throw malformed('a closing brace without an opening one', position)
    else if (byte === 0x5d) {
      const added = add(slices, bytes, start, position)
      if (!added && slices.count > 0) throw malformed('a value is missing', position)
      const trailing = skipSpace(bytes, position + 1, bytes.length)
      if (trailing < bytes.length) throw malformed('more text after it', trailing)
      return
    }
  }
  throw malformed('the body ends inside it', bytes.length)
}

function closingQuote(bytes: Uint8Array, at: number): number {
  for (let position = at; position < bytes.length; position += 1) {
    if (bytes[position] === 0x5c) position += 1
    else if (bytes[position] === 0x22) return position
  }
  return bytes.length
}

function malformed(what: string, at: number): MillraceError {
  return new MillraceError('request-invalid', `malformed JSON array: ${what}, at byte ${at}`, { facts: { byte: at } })
}
