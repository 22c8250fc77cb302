/**
 * JSON objects and arrays → struct, list and map columns, without a JavaScript value for any of them.
 *
 *   readFields   the fields of an object, keys in any order, the last of a key wins as in `JSON.parse`
 *   readNode     a value of a nested column; for a flat one `readValue`
 *
 * Both return the position behind what they read, REFUSED (-1) when the text is malformed or of another type (the caller
 * skips the value as plain JSON, which tells the two apart; `refusal` says why), or MALFORMED (-2) with `scanProblem`.
 *
 * A value is written where the row at hand begins, and may be written again: a later key replaces it, a refused record leaves
 * it. Of a map's key that comes twice the earlier entry must go; what lies behind it cannot be moved, so the object is read
 * once more without those entries. Such objects are rare, reading them costs twice.
 */
import { formatColumnType } from '../../schemas/column-type.ts'
import type { ColumnBuilder } from './column-builder.ts'
import {
  type FieldsNode,
  type JsonNode,
  MISSING,
  NULL,
  PRESENT,
  REFUSED as REFUSED_STATE,
  UNWANTED,
} from './json-node.ts'
import type { Refusal } from './map-entries.ts'
import { readDetail, refuse } from './read-number.ts'
import { readScaledBytes } from './read-text.ts'
import { LIST, MAP, PAIRS, readPlainText, readValue, SCALED_BYTES, STRUCT, scratchOf } from './read-value.ts'
import {
  decodeEscapes,
  kindOfValue,
  problem,
  skipColon,
  skipSpace,
  skipString,
  skipValue,
  stringHasEscape,
} from './scan-json.ts'

export const REFUSED = -1
export const MALFORMED = -2

/** Why the value read last was refused, if it was well-formed. */
export let refusal: Refusal = { reason: '', column: '' }
/** Of the record at hand: keys without a place, and those among them that nobody knows and that have a value. */
export let keysUnknown = 0
export let keysNew = 0

let recordStart = 0
// The block of bytes read last, seen as words; it is kept until the next one comes.
let viewed: Uint8Array = new Uint8Array(0)
let view: DataView = new DataView(viewed.buffer)

/**
 * A short record may hold many empty objects, each of which takes a slot in every column inside: so many values a record may make,
 * far more than those of any that says them all.
 */
const SLOTS_FREE = 1_000_000
const SLOTS_PER_BYTE = 16
let slotsLeft = 0

export function beginRecord(bytes: Uint8Array, start: number, end: number): void {
  keysUnknown = 0
  keysNew = 0
  slotsLeft = SLOTS_FREE + SLOTS_PER_BYTE * (end - start)
  recordStart = start
  if (bytes !== viewed) look(bytes)
}

function look(bytes: Uint8Array): void {
  viewed = bytes
  view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function malformed(text: string, at: number): typeof MALFORMED {
  problem(text, at)
  return MALFORMED
}

/** `at` is behind the opening brace. The states say then which fields have a value in the slot `row` of their builders. */
export function readFields(
  node: FieldsNode,
  builders: readonly ColumnBuilder[],
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const { keys, states, codes, following, width } = node
  const { lengths, words, wordStarts } = keys
  for (let index = 0; index < width; index += 1) states[index] = MISSING
  let position = skipSpace(bytes, at, end)
  if (position < end && bytes[position] === 0x7d) return position + 1
  let previous = -1
  for (;;) {
    let index = following[previous + 1]
    let after = index < 0 ? -1 : behindKey(lengths, words, wordStarts, index, position, end)
    if (after < 0) {
      if (position >= end) return malformed('text ends inside an object', end)
      if (bytes[position] !== 0x22) return malformed('expected a key', position)
      const quote = skipString(bytes, position + 1, end)
      if (quote < 0) return MALFORMED
      index = stringHasEscape ? findEscaped(node, bytes, position + 1, quote) : keys.find(bytes, position + 1, quote)
      after = skipColon(bytes, quote + 1, end)
      if (after < 0) return MALFORMED
      if (index >= width) index = node.elsewhere[index - width]
      else if (index >= 0) following[previous + 1] = index
    }
    position = after
    if (position < end && bytes[position] <= 0x20) position = skipSpace(bytes, position, end)
    if (position >= end) return malformed('text ends where a value is expected', end)
    if (index < 0) {
      keysUnknown += 1
      if (index !== UNWANTED && bytes[position] !== 0x6e) keysNew += 1
      position = skipValue(bytes, position, end, node.depth)
      if (position < 0) return MALFORMED
    } else {
      previous = index
      const code = codes[index]
      const isNull = bytes[position] === 0x6e
      if (isNull) after = REFUSED
      else if (code < STRUCT) after = readValue(code, builders[index], row, bytes, position, end)
      else after = readNode(node.nodes[index], builders[index], row, bytes, position, end)
      if (after >= 0) states[index] = PRESENT
      else {
        if (after === MALFORMED) return MALFORMED
        after = skipValue(bytes, position, end, node.depth)
        if (after < 0) return MALFORMED
        states[index] = isNull ? NULL : REFUSED_STATE
        if (!isNull) {
          if (code < STRUCT) refuseValue(node.nodes[index], bytes, position)
          node.refusals[index] = refusal
        }
      }
      position = after
    }
    if (position < end && bytes[position] <= 0x20) position = skipSpace(bytes, position, end)
    if (position >= end) return malformed('text ends inside an object', end)
    const byte = bytes[position]
    position += 1
    if (byte === 0x2c) {
      if (position < end && bytes[position] <= 0x20) position = skipSpace(bytes, position, end)
    } else if (byte === 0x7d) return position
    else return malformed('expected a comma or the end of the object', position - 1)
  }
}

/** Whether the bytes at `at` are this key as usually written, with its colon: the position behind, or -1. */
function behindKey(
  lengths: Int32Array,
  words: Int32Array,
  wordStarts: Int32Array,
  index: number,
  at: number,
  end: number,
): number {
  const length = lengths[index]
  if (length === 0 || at + length > end) return -1
  const last = wordStarts[index + 1] - 1
  let word = wordStarts[index]
  let position = at
  while (word < last) {
    if (view.getInt32(position, true) !== words[word]) return -1
    position += 4
    word += 1
  }
  return view.getInt32(at + length - 4, true) === words[last] ? at + length : -1
}

function findEscaped(node: FieldsNode, bytes: Uint8Array, from: number, to: number): number {
  const scratch = scratchOf(to - from)
  return node.keys.find(scratch, 0, decodeEscapes(bytes, from, to, scratch, 0))
}

export const FAILS = 0
export const HAS_NULLS = 1
export const IS_WHOLE = 2

/**
 * What the states of the fields come to. Values that stand for missing ones are written. FAILS with `refusal` when a field was
 * refused, or is required and missing.
 */
export function settleFields(node: FieldsNode, builders: readonly ColumnBuilder[], row: number): number {
  const { states, width } = node
  for (let index = 0; index < width; index += 1) {
    if (states[index] !== PRESENT) return settleOdd(node, builders, row)
  }
  return IS_WHOLE
}

function settleOdd(node: FieldsNode, builders: readonly ColumnBuilder[], row: number): number {
  if (node.hasFallbacks) readFallbacks(node, builders, row)
  const { states, required, width } = node
  for (let index = 0; index < width; index += 1) {
    if (states[index] === PRESENT) continue
    if (states[index] === REFUSED_STATE) {
      refusal = node.refusals[index] ?? refusal
      return FAILS
    }
    if (required[index] === 1) {
      const { field, path } = node.nodes[index]
      const found = states[index] === NULL ? 'null' : 'nothing'
      refusal = {
        reason: `column "${path}": expected ${formatColumnType(field.type)}, found ${found}; it is required`,
        column: path,
      }
      return FAILS
    }
  }
  return HAS_NULLS
}

function readFallbacks(node: FieldsNode, builders: readonly ColumnBuilder[], row: number): void {
  const outer = viewed
  for (let index = 0; index < node.width; index += 1) {
    const text = node.fallbacks[index]
    if (text === undefined || node.states[index] === PRESENT || node.states[index] === REFUSED_STATE) continue
    look(text)
    const after = readNode(node.nodes[index], builders[index], row, text, 0, text.length)
    if (after >= 0) node.states[index] = PRESENT
    else if (text[0] !== 0x6e) {
      node.states[index] = REFUSED_STATE
      node.refusals[index] = refusal
    }
  }
  look(outer)
}

/** Notes why this value is no value for the node. */
function refuseValue(node: JsonNode, bytes: Uint8Array, at: number): typeof REFUSED {
  const found = readDetail === '' ? kindOfValue(bytes[at]) : readDetail
  refusal = {
    reason: `column "${node.path}": expected ${formatColumnType(node.field.type)}, found ${found} at byte ${at - recordStart}`,
    column: node.path,
  }
  return REFUSED
}

/** A value that is not null; `at` is its first byte. */
export function readNode(
  node: JsonNode,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const first = bytes[at]
  switch (node.code) {
    case STRUCT:
      if (first === 0x7b) return readStruct(node, builder, row, bytes, at, end)
      break
    case LIST:
      if (first === 0x5b) return readList(node, builder, row, bytes, at, end)
      break
    case MAP:
      if (first === 0x7b) return readMap(node, builder, row, bytes, at, end)
      break
    case PAIRS:
      if (first === 0x5b) return readMap(node, builder, row, bytes, at, end)
      break
    case SCALED_BYTES: {
      const after = readScaledBytes(builder, row, bytes, at, end, node.scaleShift)
      return after >= 0 ? after : refuseValue(node, bytes, at)
    }
    default: {
      const after = readValue(node.code, builder, row, bytes, at, end)
      return after >= 0 ? after : refuseValue(node, bytes, at)
    }
  }
  refuse('')
  return refuseValue(node, bytes, at)
}

function readStruct(
  node: JsonNode,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const fields = node.fields!
  const { children } = builder
  const after = readFields(fields, children, row, bytes, at + 1, end)
  if (after < 0) return after
  if (settleFields(fields, children, row) === FAILS) return REFUSED
  for (let index = 0; index < fields.width; index += 1) {
    if (fields.states[index] === PRESENT) children[index].markPresent(row)
    else children[index].markNull(row)
  }
  return after
}

/** An element, key or value: written into the slot and marked. */
function readSlot(
  node: JsonNode,
  builder: ColumnBuilder,
  slot: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  if (bytes[at] === 0x6e) {
    const after = skipValue(bytes, at, end, node.depth)
    if (after < 0) return MALFORMED
    if (node.field.required) {
      refuse('')
      return refuseValue(node, bytes, at)
    }
    builder.markNull(slot)
    return after
  }
  const after = readNode(node, builder, slot, bytes, at, end)
  if (after >= 0) builder.markPresent(slot)
  return after
}

function refuseMany(node: JsonNode, bytes: Uint8Array, at: number): typeof REFUSED {
  refuse('too many elements for the length of the record')
  return refuseValue(node, bytes, at)
}

function readList(
  node: JsonNode,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const [element] = node.items
  const [child] = builder.children
  let slot = builder.beginList(row)
  let position = skipSpace(bytes, at + 1, end)
  if (position < end && bytes[position] === 0x5d) {
    builder.endList(row, slot)
    return position + 1
  }
  for (;;) {
    if (position >= end) return malformed('text ends inside an array', end)
    slotsLeft -= node.slots
    if (slotsLeft < 0) return refuseMany(node, bytes, at)
    builder.childSlot(slot)
    position = readSlot(element, child, slot, bytes, position, end)
    if (position < 0) return position
    slot += 1
    position = skipSpace(bytes, position, end)
    if (position >= end) return malformed('text ends inside an array', end)
    const byte = bytes[position]
    if (byte === 0x5d) {
      builder.endList(row, slot)
      return position + 1
    }
    if (byte !== 0x2c) return malformed('expected a comma or the end of the array', position)
    position = skipSpace(bytes, position + 1, end)
  }
}

/** A map from an object (keys are text) or from an array of pairs. */
function readMap(
  node: JsonNode,
  builder: ColumnBuilder,
  row: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const begin = builder.beginList(row)
  const entries = node.entries!
  entries.begin(builder.children[0], begin)
  const after = readEntries(node, builder, begin, bytes, at, end)
  if (after < 0) return after
  const problem = entries.firstRefusal()
  if (problem) {
    refusal = problem
    return REFUSED
  }
  if (entries.hasReplaced) {
    entries.keepLast()
    const again = readEntries(node, builder, begin, bytes, at, end)
    if (again < 0) return again
  }
  builder.endList(row, begin + entries.count)
  return after
}

function readEntries(
  node: JsonNode,
  builder: ColumnBuilder,
  begin: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const entries = node.entries!
  const isPairs = node.code === PAIRS
  const close = isPairs ? 0x5d : 0x7d
  let position = skipSpace(bytes, at + 1, end)
  if (position < end && bytes[position] === close) return position + 1
  for (let number = 0; ; number += 1) {
    if (position >= end) return malformed('text ends inside a container', end)
    position = readEntry(node, builder, begin + entries.count, number, bytes, position, end)
    if (position < 0) return position
    position = skipSpace(bytes, position, end)
    if (position >= end) return malformed('text ends inside a container', end)
    const byte = bytes[position]
    if (byte === close) return position + 1
    if (byte !== 0x2c) return malformed('expected a comma or the end of a container', position)
    position = skipSpace(bytes, position + 1, end)
  }
}

/** Entry `number` of the map into `slot`: `"key": value` or `[key, value]`. */
function readEntry(
  node: JsonNode,
  builder: ColumnBuilder,
  slot: number,
  number: number,
  bytes: Uint8Array,
  at: number,
  end: number,
): number {
  const [keyNode, valueNode] = node.items
  const [keys, values] = builder.children
  const entries = node.entries!
  const isPairs = node.code === PAIRS
  const isSkipped = entries.isReplaced(number)
  slotsLeft -= node.slots
  if (slotsLeft < 0) return refuseMany(node, bytes, at)
  builder.childSlot(slot)
  let position = at
  if (isPairs) {
    if (bytes[at] !== 0x5b) {
      refuse('')
      return refuseValue(node, bytes, at)
    }
    position = skipSpace(bytes, at + 1, end)
    if (position >= end) return malformed('text ends inside an array', end)
    position = readSlot(keyNode, keys, slot, bytes, position, end)
    if (position < 0) return position
    position = skipSpace(bytes, position, end)
    if (position < end && bytes[position] !== 0x2c) {
      refuse('an array that is no pair')
      return refuseValue(node, bytes, at)
    }
    position = skipSpace(bytes, position + 1, end)
  } else {
    if (bytes[at] !== 0x22) return malformed('expected a key', at)
    const quote = skipString(bytes, at + 1, end)
    if (quote < 0) return MALFORMED
    const isEscaped = stringHasEscape
    position = skipColon(bytes, quote + 1, end)
    if (position < 0) return MALFORMED
    if (!isSkipped && !readKey(keyNode, keys, slot, bytes, at + 1, quote, isEscaped))
      return refuseValue(keyNode, bytes, at)
  }
  if (position >= end) return malformed('text ends where a value is expected', end)
  let after: number
  if (isSkipped) after = skipValue(bytes, position, end, node.depth + 1)
  else {
    entries.add(slot)
    after = readSlot(valueNode, values, slot, bytes, position, end)
    if (after === REFUSED) {
      // Perhaps the key comes again.
      after = skipValue(bytes, position, end, node.depth + 1)
      entries.refused(number, refusal)
      values.markNull(slot)
    }
  }
  if (after < 0) return MALFORMED
  if (!isPairs) return after
  after = skipSpace(bytes, after, end)
  if (after >= end) return malformed('text ends inside an array', end)
  if (bytes[after] === 0x5d) return after + 1
  refuse('an array that is no pair')
  return refuseValue(node, bytes, at)
}

/** The key `bytes[from, to)` of an object, in the type of the map's keys. */
function readKey(
  node: JsonNode,
  builder: ColumnBuilder,
  slot: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  isEscaped: boolean,
): boolean {
  let isRead: boolean
  if (isEscaped) {
    const text = scratchOf(to - from)
    isRead = readPlainText(node.code, builder, slot, text, 0, decodeEscapes(bytes, from, to, text, 0))
  } else isRead = readPlainText(node.code, builder, slot, bytes, from, to)
  if (isRead) builder.markPresent(slot)
  return isRead
}
