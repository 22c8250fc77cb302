/**
 * Record batches (format 2) as a producer makes them, and as a broker never would: for tests of the walk over batches and
 * for the fast producer. About a million records a second, uncompressed.
 */
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { crc32c } from '@node-rs/crc32'
import { compressFrameSync } from 'lz4-napi'
import { compressSync } from 'snappy'

export type Codec = 'none' | 'gzip' | 'snappy' | 'snappy-framed' | 'lz4' | 'zstd'

export type BatchRecord = {
  /** Null or left out: no key. */
  readonly key?: Uint8Array | string | null
  /** Null: a tombstone. */
  readonly value: Uint8Array | string | null
  /** Milliseconds; default 0. */
  readonly timestamp?: number
  readonly headers?: readonly (readonly [string, Uint8Array | string | null])[]
  /** Default: the place in the list. With holes, as after compaction. */
  readonly offsetDelta?: number
}

export type BatchOptions = {
  readonly codec?: Codec
  readonly baseOffset?: number
  /** Default: of the last record. */
  readonly lastOffsetDelta?: number
  readonly producerId?: bigint
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
  readonly control?: boolean
  /** The broker's append time instead of each record's own. */
  readonly appendTime?: number
  readonly leaderEpoch?: number
}

const HEADER_BYTES = 61
const CODEC_BITS = { none: 0, gzip: 1, snappy: 2, 'snappy-framed': 2, lz4: 3, zstd: 4 } as const
const XERIAL_HEADER = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0, 0, 0, 0, 1, 0, 0, 0, 1])
const XERIAL_BLOCK_BYTES = 32 * 1024
const EMPTY = Buffer.alloc(0)

let scratch = Buffer.allocUnsafe(1024 * 1024)

export function encodeBatch(records: readonly BatchRecord[], options: BatchOptions = {}): Buffer {
  const codec = options.codec ?? 'none'
  const firstTimestamp = records[0]?.timestamp ?? 0
  let largest = firstTimestamp
  let length = 0
  for (let index = 0; index < records.length; index++) {
    const record = records[index]
    length = writeRecord(record, record.offsetDelta ?? index, (record.timestamp ?? 0) - firstTimestamp, length)
    if ((record.timestamp ?? 0) > largest) largest = record.timestamp ?? 0
  }
  const body = compress(scratch.subarray(0, length), codec)
  const lastOffsetDelta = options.lastOffsetDelta ?? records.at(-1)?.offsetDelta ?? Math.max(records.length - 1, 0)
  const attributes =
    CODEC_BITS[codec] |
    (options.appendTime === undefined ? 0 : 8) |
    (options.transactional ? 16 : 0) |
    (options.control ? 32 : 0)
  const batch = Buffer.allocUnsafe(HEADER_BYTES + body.length)
  batch.writeBigInt64BE(BigInt(options.baseOffset ?? 0), 0)
  batch.writeInt32BE(batch.length - 12, 8)
  batch.writeInt32BE(options.leaderEpoch ?? -1, 12)
  batch[16] = 2
  batch.writeInt16BE(attributes, 21)
  batch.writeInt32BE(lastOffsetDelta, 23)
  batch.writeBigInt64BE(BigInt(firstTimestamp), 27)
  batch.writeBigInt64BE(BigInt(options.appendTime ?? largest), 35)
  batch.writeBigInt64BE(options.producerId ?? -1n, 43)
  batch.writeInt16BE(options.producerEpoch ?? -1, 51)
  batch.writeInt32BE(options.baseSequence ?? -1, 53)
  batch.writeInt32BE(records.length, 57)
  body.copy(batch, HEADER_BYTES)
  writeCrc(batch)
  return batch
}

/** After a test changed something in it. */
export function writeCrc(batch: Buffer): void {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17)
}

/** What a transaction's end leaves in the log. */
export function encodeControlBatch(
  type: 'abort' | 'commit',
  options: { baseOffset: number; producerId: bigint; producerEpoch?: number },
): Buffer {
  const key = Buffer.from([0, 0, 0, type === 'abort' ? 0 : 1])
  const value = Buffer.alloc(6)
  return encodeBatch([{ key, value }], {
    ...options,
    producerEpoch: options.producerEpoch ?? 0,
    transactional: true,
    control: true,
  })
}

function compress(body: Buffer, codec: Codec): Buffer {
  switch (codec) {
    case 'none':
      return body
    case 'gzip':
      return gzipSync(body, { level: 1 })
    case 'snappy':
      return compressSync(body)
    case 'snappy-framed':
      return framedSnappy(body)
    case 'lz4':
      return compressFrameSync(body)
    case 'zstd':
      return zstdCompressSync(body)
  }
}

function framedSnappy(body: Buffer): Buffer {
  const parts: Buffer[] = [XERIAL_HEADER]
  for (let start = 0; start < body.length; start += XERIAL_BLOCK_BYTES) {
    const block = compressSync(body.subarray(start, start + XERIAL_BLOCK_BYTES))
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    parts.push(length, block)
  }
  return Buffer.concat(parts)
}

/** Writes to `scratch` at `position`; gives where it ends. */
function writeRecord(record: BatchRecord, offsetDelta: number, timestampDelta: number, position: number): number {
  const key = bytesOf(record.key ?? null)
  const value = bytesOf(record.value)
  const headers = record.headers?.map(([name, bytes]) => [Buffer.from(name), bytesOf(bytes)] as const) ?? []
  let length = 1 + varintBytes(timestampDelta) + varintBytes(offsetDelta)
  length += sizedBytes(key) + sizedBytes(value) + varintBytes(headers.length)
  for (const [name, bytes] of headers) length += sizedBytes(name) + sizedBytes(bytes)
  reserve(position + length + 5)
  let at = writeVarint(length, position)
  scratch[at++] = 0
  at = writeVarint(timestampDelta, at)
  at = writeVarint(offsetDelta, at)
  at = writeSized(key, at)
  at = writeSized(value, at)
  at = writeVarint(headers.length, at)
  for (const [name, bytes] of headers) at = writeSized(bytes, writeSized(name, at))
  return at
}

function bytesOf(value: Uint8Array | string | null): Uint8Array | null {
  if (value === null) return null
  if (typeof value !== 'string') return value
  return value === '' ? EMPTY : Buffer.from(value)
}

function sizedBytes(bytes: Uint8Array | null): number {
  return bytes === null ? 1 : varintBytes(bytes.length) + bytes.length
}

function writeSized(bytes: Uint8Array | null, position: number): number {
  if (bytes === null) return writeVarint(-1, position)
  const at = writeVarint(bytes.length, position)
  scratch.set(bytes, at)
  return at + bytes.length
}

function varintBytes(value: number): number {
  let magnitude = value >= 0 ? value * 2 : -value * 2 - 1
  let bytes = 1
  while (magnitude >= 128) {
    magnitude = Math.floor(magnitude / 128)
    bytes += 1
  }
  return bytes
}

function writeVarint(value: number, position: number): number {
  let magnitude = value >= 0 ? value * 2 : -value * 2 - 1
  while (magnitude >= 128) {
    scratch[position++] = (magnitude % 128) | 0x80
    magnitude = Math.floor(magnitude / 128)
  }
  scratch[position++] = magnitude
  return position
}

function reserve(bytes: number): void {
  if (bytes <= scratch.length) return
  const larger = Buffer.allocUnsafe(Math.max(bytes, scratch.length * 2))
  scratch.copy(larger)
  scratch = larger
}
