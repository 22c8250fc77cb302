/**
 * Avro's binary encoding read value by value, for the general ways: JSON text and Connect data. Whatever is malformed throws
 * `Stop` with `problem` of `avro-wire.ts` set; who begins catches it (`readWith`), nothing of it gets further.
 */
import { isUtf8 } from 'node:buffer'
import type { DecodeFailure } from '../../decoder/decoder.ts'
import { bigOf } from '../binary/put-values.ts'
import type { AvroType } from './avro-type.ts'
import {
  blockCount,
  fail,
  high,
  low,
  problem,
  problemAt,
  readCount,
  readIndex,
  readLength,
  readLong,
  truncated,
} from './avro-wire.ts'
import { fewestBytes, ReadNode } from './read-plan.ts'

export class Stop extends Error {}

/** A whole record. */
export function readWith<T>(
  type: AvroType,
  bytes: Uint8Array,
  start: number,
  end: number,
  read: (cursor: AvroCursor) => T,
): { readonly value: T } | { readonly failure: DecodeFailure } {
  const cursor = new AvroCursor(new ReadNode(type, '', ''), bytes, start, end)
  try {
    const value = read(cursor)
    if (cursor.at === end) return { value }
    const reason = `malformed Avro: ${end - cursor.at} bytes too many, from byte ${cursor.at - start}`
    return { failure: { reason, column: undefined } }
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return { failure: { reason: `malformed Avro: ${problem} at byte ${problemAt - start}`, column: undefined } }
  }
}

/** One value after the other; whatever is malformed ends in `Stop`, with `problem` of `avro-wire.ts` set. */
export class AvroCursor {
  private readonly node: ReadNode
  readonly bytes: Buffer
  at: number
  readonly end: number

  constructor(node: ReadNode, bytes: Uint8Array, at: number, end: number) {
    this.node = node
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    this.at = at
    this.end = end
  }

  private moved(after: number): void {
    if (after < 0) throw new Stop()
    this.at = after
  }

  stop(text: string): never {
    fail(this.node, text, this.at)
    throw new Stop()
  }

  private take(length: number): number {
    const from = this.at
    if (length > this.end - from) this.moved(truncated(this.node, from))
    this.at = from + length
    return from
  }

  boolean(): boolean {
    const byte = this.bytes[this.take(1)]
    if (byte > 1) this.stop(`expected a boolean (0 or 1), found byte ${byte}`)
    return byte === 1
  }

  long(): bigint {
    this.moved(readLong(this.node, this.bytes, this.at, this.end))
    return bigOf(low, high)
  }

  int(): number {
    this.moved(readLong(this.node, this.bytes, this.at, this.end))
    if (high !== low >> 31) this.stop('an integer of too many bits')
    return low
  }

  float(): number {
    return this.bytes.readFloatLE(this.take(4))
  }

  double(): number {
    return this.bytes.readDoubleLE(this.take(8))
  }

  index(count: number, what: string): number {
    this.moved(readIndex(this.node, this.bytes, this.at, this.end, count, what))
    return low
  }

  /** Those of a fixed when `size` is given. Not a copy. */
  span(size?: number): Buffer {
    if (size === undefined) {
      this.moved(readLength(this.node, this.bytes, this.at, this.end))
      size = low
    }
    const from = this.take(size)
    return this.bytes.subarray(from, from + size)
  }

  text(): string {
    const span = this.span()
    if (!isUtf8(span)) this.stop('text that is no UTF-8')
    return span.toString('utf8')
  }

  /** Calls for each item of an array or map. */
  items(type: AvroType, each: () => void): void {
    const node = countedItems(type)
    let number = 0
    for (;;) {
      this.moved(readCount(node, this.bytes, this.at, this.end, number))
      const count = blockCount
      if (count === 0) return
      number += count
      for (let left = count; left > 0; left -= 1) each()
    }
  }
}

const counted = new WeakMap<AvroType, ReadNode>()

/** What `readCount` needs to know about an array or map. */
function countedItems(type: AvroType): ReadNode {
  let node = counted.get(type)
  if (node === undefined) {
    node = new ReadNode(type, '', '')
    node.itemBytes = type.kind === 'map' ? 1 : type.kind === 'array' ? fewestBytes(type.items) : 0
    counted.set(type, node)
  }
  return node
}
