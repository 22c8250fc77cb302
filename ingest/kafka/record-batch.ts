/**
 * The walk over the record batches of one topic-partition in a fetch reply, in place, into the arrays of a block.
 *
 *   0  base offset int64          23  last offset delta int32     57  record count int32
 *   8  length int32 (what follows) 27  base timestamp int64        61  records, compressed by `attributes & 7`
 *   12 leader epoch int32         35  largest timestamp int64
 *   16 magic int8 (2)             43  producer id int64           record: length, attributes int8, timestamp delta,
 *   17 CRC32C uint32, from 21 on  51  producer epoch int16                offset delta, key length, key,
 *   21 attributes int16           53  base sequence int32                 value length, value, headers (varints)
 *
 * attributes: 1-7 codec, 8 the broker's append time, 16 transactional, 32 control.
 *
 * read_committed as the Java client does it: the reply lists aborted transactions by producer and first offset; from
 * there on that producer's transactional batches are dropped, until its abort marker. Offsets that compaction or markers
 * took away leave holes: a block covers [startOffset, nextOffset) all the same. The last batch may be cut: it is fetched
 * again. A batch may begin before the wanted offset: earlier records are passed.
 *
 * Several small batches go into one block. A damaged batch ends the block before it and then throws `record-damaged`
 * naming the offset.
 *
 * Measured: the whole source, 192-byte records in lz4 batches of 20-400 KB, 0.56-0.75 CPU-s per million records (two busy
 * cores, counting receiver); an object or closure per record would cost more than all of that.
 */
import { crc32c } from '@node-rs/crc32'
import { MillraceError } from '../../schemas/errors.ts'
import type { AbortedTransaction } from './kafka-source.ts'
import type { RecordArrays } from './record-arrays.ts'
import { unpack } from './record-codecs.ts'

export const BATCH_HEADER_BYTES = 61
const LENGTH_END = 12
const MAGIC_AT = 16
/** Length, attributes, two deltas, two lengths, header count: one byte each at least. */
const RECORD_BYTES_MIN = 7
const APPEND_TIME = 8
const TRANSACTIONAL = 16
const CONTROL = 32
const ABORT_MARKER = 0
/** Batches that unpack to less are copied side by side into one block. */
const SHARED_BLOCK_BATCH_BYTES_MAX = 64 * 1024
const RECORDS_IN_BLOCK_MAX = 16_384
const BYTES_IN_BLOCK_MAX = 4 * 1024 * 1024

const NOTHING = new Uint8Array(0)

export class BatchWalk {
  readonly #buffer: Buffer
  readonly #end: number
  readonly #name: string
  readonly #unpackedBytesMax: number
  readonly #aborted: readonly AbortedTransaction[]
  readonly #abortedProducers = new Set<bigint>()
  #abortedNext = 0
  #at: number
  #unpackedAt = -1
  #unpacked: Uint8Array = NOTHING
  /** What the last block's bytes are, if they are of the walk's own making. */
  #lent: Uint8Array = NOTHING
  /** Next offset wanted. */
  position: number
  /** Whole size of the cut batch at the end, once the walk stands before it; 0 when there is none. */
  cutBatchBytes = 0
  /** Of the last batch walked, -1 before. */
  leaderEpoch = -1

  constructor(walk: {
    buffer: Buffer
    start: number
    end: number
    position: number
    aborted: readonly AbortedTransaction[]
    /** `topic/partition`, for errors. */
    name: string
    unpackedBytesMax: number
  }) {
    this.#buffer = walk.buffer
    this.#at = walk.start
    this.#end = walk.end
    this.position = walk.position
    this.#aborted = walk.aborted.toSorted((a, b) => a.firstOffset - b.firstOffset)
    this.#name = walk.name
    this.#unpackedBytesMax = walk.unpackedBytesMax
  }

  /** Fills the arrays with the next block. False: nothing is left. */
  next(into: RecordArrays): boolean {
    this.#letGoLent()
    into.reset(this.position)
    let inPlaceFrom = -1
    while (this.#hasWholeBatch()) {
      const begun = into.nextOffset > into.startOffset
      const buffer = this.#buffer
      const at = this.#at
      const batchEnd = at + LENGTH_END + buffer.readInt32BE(at + 8)
      const damage = this.#damage(at, batchEnd)
      if (damage !== undefined) {
        if (begun) break
        throw this.#damaged(damage)
      }
      const attributes = buffer.readInt16BE(at + 21)
      const baseOffset = readInt53(buffer, at)
      const lastOffset = baseOffset + buffer.readInt32BE(at + 23)
      const recordCount = buffer.readInt32BE(at + 57)
      const dropped = this.#isDropped(at, attributes, lastOffset)
      const wanted = lastOffset >= this.position && recordCount > 0
      if (wanted && dropped && baseOffset >= this.position) into.filtered += recordCount
      else if (wanted) {
        if (begun && into.count + recordCount > RECORDS_IN_BLOCK_MAX) break
        const compressed = (attributes & 7) !== 0
        if (into.count > 0 && compressed === inPlaceFrom >= 0) break
        let body: Uint8Array = buffer
        let bodyStart = at + BATCH_HEADER_BYTES
        let bodyEnd = batchEnd
        let ownBlock = false
        if (compressed) {
          const unpacked = this.#unpack(attributes & 7, at, batchEnd, begun)
          if (unpacked === undefined) break
          ownBlock = unpacked.length > SHARED_BLOCK_BATCH_BYTES_MAX
          if (into.count > 0 && (ownBlock || into.arenaLength + unpacked.length > BYTES_IN_BLOCK_MAX)) break
          bodyStart = ownBlock ? 0 : into.append(unpacked)
          body = ownBlock ? unpacked : into.arena
          bodyEnd = bodyStart + unpacked.length
          this.#unpackedAt = -1
          this.#lent = unpacked
          if (!ownBlock) this.#letGoLent()
        } else {
          if (inPlaceFrom >= 0 && batchEnd - inPlaceFrom > BYTES_IN_BLOCK_MAX) break
          if (inPlaceFrom < 0) inPlaceFrom = bodyStart
        }
        const before = into.count
        into.reserve(before + recordCount)
        const damagedRecord = readRecords(
          body,
          bodyStart,
          bodyEnd,
          recordCount,
          baseOffset,
          lastOffset,
          this.position,
          readInt53(buffer, at + 27),
          (attributes & APPEND_TIME) !== 0 ? readInt53(buffer, at + 35) : Number.NaN,
          into,
        )
        if (damagedRecord) {
          into.count = before
          if (begun) break
          throw this.#damaged('a record that does not fit its batch')
        }
        if (dropped) {
          into.filtered += into.count - before
          into.count = before
        } else into.bytes = body
        this.#pass(at, batchEnd, lastOffset, into)
        if (ownBlock) return true
        continue
      }
      this.#pass(at, batchEnd, lastOffset, into)
    }
    return into.nextOffset > into.startOffset
  }

  /**
   * Memory of the last block, which nobody needs any more: at 200 bytes a record much of it would wait for the garbage
   * collector.
   */
  #letGoLent(): void {
    const { buffer } = this.#lent
    const isOurs =
      buffer instanceof ArrayBuffer && buffer.byteLength > Buffer.poolSize && buffer !== this.#buffer.buffer
    if (isOurs) buffer.transfer(0)
    this.#lent = NOTHING
  }

  #pass(at: number, batchEnd: number, lastOffset: number, into: RecordArrays): void {
    this.leaderEpoch = this.#buffer.readInt32BE(at + LENGTH_END)
    this.#at = batchEnd
    if (lastOffset >= this.position) this.position = lastOffset + 1
    into.nextOffset = this.position
  }

  #hasWholeBatch(): boolean {
    const left = this.#end - this.#at
    if (left < MAGIC_AT + 1) return false
    const length = LENGTH_END + this.#buffer.readInt32BE(this.#at + 8)
    if (length > left) {
      this.cutBatchBytes = length
      return false
    }
    return true
  }

  /** What is wrong with a batch before its records are looked at. */
  #damage(at: number, batchEnd: number): string | undefined {
    const buffer = this.#buffer
    const magic = buffer[at + MAGIC_AT]
    if (magic !== 2) {
      return `message format ${magic}: only format 2 (Kafka 0.11 and later) can be read; let the topic be written again`
    }
    if (batchEnd - at < BATCH_HEADER_BYTES) return `a batch of ${batchEnd - at} bytes`
    const found = crc32c(buffer.subarray(at + 21, batchEnd))
    const expected = buffer.readUInt32BE(at + 17)
    if (found !== expected) return `CRC32C ${expected.toString(16)} expected, ${found.toString(16)} found`
    if (buffer.readInt32BE(at + 23) < 0) return 'a negative offset delta'
    const recordCount = buffer.readInt32BE(at + 57)
    const compressed = (buffer.readInt16BE(at + 21) & 7) !== 0
    if (recordCount < 0) return `${recordCount} records`
    if (!compressed && recordCount * RECORD_BYTES_MIN > batchEnd - at) return `${recordCount} records in too few bytes`
    return undefined
  }

  /** Control batches, and those of aborted transactions. Keeps the set of producers whose transaction is aborted. */
  #isDropped(at: number, attributes: number, lastOffset: number): boolean {
    while (this.#abortedNext < this.#aborted.length && this.#aborted[this.#abortedNext].firstOffset <= lastOffset) {
      this.#abortedProducers.add(this.#aborted[this.#abortedNext].producerId)
      this.#abortedNext += 1
    }
    if ((attributes & CONTROL) !== 0) {
      if (this.#abortedProducers.size > 0 && controlType(this.#buffer, at) === ABORT_MARKER) {
        this.#abortedProducers.delete(this.#buffer.readBigInt64BE(at + 43))
      }
      return true
    }
    if ((attributes & TRANSACTIONAL) === 0 || this.#abortedProducers.size === 0) return false
    return this.#abortedProducers.has(this.#buffer.readBigInt64BE(at + 43))
  }

  /** Undefined: it cannot be, and a block that was begun goes out first. */
  #unpack(codec: number, at: number, batchEnd: number, begun: boolean): Uint8Array | undefined {
    if (this.#unpackedAt === at) return this.#unpacked
    try {
      this.#unpacked = unpack(codec, this.#buffer.subarray(at + BATCH_HEADER_BYTES, batchEnd), this.#unpackedBytesMax)
    } catch (cause) {
      if (begun) return undefined
      throw this.#damaged(`records that do not unpack (${cause instanceof Error ? cause.message : cause})`, cause)
    }
    const recordCount = this.#buffer.readInt32BE(at + 57)
    if (recordCount * RECORD_BYTES_MIN > this.#unpacked.length) {
      if (begun) return undefined
      throw this.#damaged(`${recordCount} records in too few bytes`)
    }
    this.#unpackedAt = at
    return this.#unpacked
  }

  #damaged(what: string, cause?: unknown): MillraceError {
    const offset = readInt53(this.#buffer, this.#at)
    return new MillraceError('record-damaged', `${this.#name} offset ${Math.max(offset, this.position)}: ${what}`, {
      cause,
      facts: { topicPartition: this.#name, offset: Math.max(offset, this.position) },
    })
  }
}

/** The type in a control record's key: version int16, type int16. Control batches are not compressed. */
function controlType(buffer: Buffer, at: number): number {
  let position = at + BATCH_HEADER_BYTES
  position = pastVarint(buffer, position)
  position += 1
  position = pastVarint(buffer, position)
  position = pastVarint(buffer, position)
  position = pastVarint(buffer, position)
  return position + 4 <= buffer.length ? buffer.readInt16BE(position + 2) : -1
}

function pastVarint(bytes: Uint8Array, position: number): number {
  while (bytes[position] >= 0x80) position += 1
  return position + 1
}

/** Where `longVarint` stopped reading. */
let varintEnd = 0

/** A zigzag varint of any length up to ten bytes, exact within 2^53; NaN where it is cut or too long. */
function longVarint(bytes: Uint8Array, position: number, end: number): number {
  let magnitude = 0
  let scale = 1
  for (let index = 0; index < 10 && position < end; index++) {
    const byte = bytes[position++]
    magnitude += (byte & 0x7f) * scale
    if (byte < 0x80) {
      varintEnd = position
      return magnitude % 2 === 0 ? magnitude / 2 : -(magnitude + 1) / 2
    }
    scale *= 128
  }
  return Number.NaN
}

/** True: a record is damaged. Records before `wantedFrom` are passed. */
function readRecords(
  bytes: Uint8Array,
  start: number,
  end: number,
  recordCount: number,
  baseOffset: number,
  lastOffset: number,
  wantedFrom: number,
  baseTimestamp: number,
  appendTime: number,
  into: RecordArrays,
): boolean {
  const { offsets, timestamps, keyStarts, keyEnds, valueStarts, valueEnds, headerStarts, headerEnds } = into
  const hasAppendTime = !Number.isNaN(appendTime)
  let count = into.count
  let position = start
  let previousOffset = baseOffset - 1
  for (let index = 0; index < recordCount; index++) {
    // One- and two-byte varints are read here, longer ones by the function: they are rare.
    let byte = bytes[position]
    let length: number
    if (byte < 0x80) {
      length = (byte >>> 1) ^ -(byte & 1)
      position += 1
    } else {
      length = longVarint(bytes, position, end)
      position = varintEnd
    }
    const next = position + length
    if (!(length >= RECORD_BYTES_MIN - 1 && next <= end)) return true
    position += 1

    byte = bytes[position]
    let timestampDelta: number
    if (byte < 0x80) {
      timestampDelta = (byte >>> 1) ^ -(byte & 1)
      position += 1
    } else {
      timestampDelta = longVarint(bytes, position, next)
      position = varintEnd
    }

    byte = bytes[position]
    let offsetDelta: number
    if (byte < 0x80) {
      offsetDelta = (byte >>> 1) ^ -(byte & 1)
      position += 1
    } else {
      offsetDelta = longVarint(bytes, position, next)
      position = varintEnd
    }

    byte = bytes[position]
    let keyLength: number
    if (byte < 0x80) {
      keyLength = (byte >>> 1) ^ -(byte & 1)
      position += 1
    } else {
      keyLength = longVarint(bytes, position, next)
      position = varintEnd
    }
    const keyStart = position
    if (keyLength > 0) position += keyLength
    if (!(position < next)) return true

    byte = bytes[position]
    let valueLength: number
    if (byte < 0x80) {
      valueLength = (byte >>> 1) ^ -(byte & 1)
      position += 1
    } else {
      valueLength = longVarint(bytes, position, next)
      position = varintEnd
    }
    const valueStart = position
    if (valueLength > 0) position += valueLength
    const offset = baseOffset + offsetDelta
    // Headers have a count at least. Comparisons are so that NaN fails them.
    const fits = position < next && keyLength >= -1 && valueLength >= -1 && !Number.isNaN(timestampDelta)
    if (!(fits && offset > previousOffset && offset <= lastOffset)) return true
    previousOffset = offset
    const headerStart = position
    position = next

    if (offset >= wantedFrom) {
      const timestamp = hasAppendTime ? appendTime : baseTimestamp + timestampDelta
      offsets[count] = offset
      timestamps[count] = timestamp === -1 ? Number.NaN : timestamp
      keyStarts[count] = keyLength < 0 ? -1 : keyStart
      keyEnds[count] = keyLength < 0 ? -1 : keyStart + keyLength
      valueStarts[count] = valueLength < 0 ? -1 : valueStart
      valueEnds[count] = valueLength < 0 ? -1 : valueStart + valueLength
      headerStarts[count] = headerStart
      headerEnds[count] = next
      count += 1
    }
  }
  into.count = count
  return position !== end
}

/** Offsets and times: exact below 2^53, and -1. */
function readInt53(buffer: Buffer, position: number): number {
  return buffer.readInt32BE(position) * 0x1_0000_0000 + buffer.readUInt32BE(position + 4)
}
