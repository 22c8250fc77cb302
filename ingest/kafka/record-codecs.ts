/**
 * The compressed part of a record batch, unpacked: codec numbers as in the batch's attributes. Everything is done at once
 * on the calling thread, since a batch is small (usually 16 KiB to 1 MiB) and a hop to another thread costs more.
 *
 * Snappy comes in two ways: as one raw block (most clients) or in the framing of the Java library, which starts with a
 * magic number and holds raw blocks with their lengths. lz4 is the frame format, with the lengths of Kafka since 0.10.
 *
 * What can fail: the bytes are not what the codec expects, or unpack to more than `unpackedBytesMax`; both throw.
 */
import { constants, gunzipSync, zstdDecompressSync } from 'node:zlib'
import { uncompressSync } from 'snappy'
import { unpackLz4Frame } from './lz4-frame.ts'

export const CODECS = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const
export type CodecName = (typeof CODECS)[number]

const XERIAL_MAGIC = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
/** Magic, version, lowest compatible version. */
const XERIAL_HEADER_BYTES = 16

/** Output comes in parts of 16 KiB by default, which are then joined: a third of the time. */
const ZSTD_OUTPUT_MIN = 64 * 1024
const ZSTD_OUTPUT_MAX = 2 * 1024 * 1024

export function unpack(codec: number, packed: Buffer, unpackedBytesMax: number): Uint8Array {
  switch (codec) {
    case 1:
      return gunzipSync(packed, { maxOutputLength: unpackedBytesMax, finishFlush: constants.Z_FINISH })
    case 2:
      return unpackSnappy(packed, unpackedBytesMax)
    case 3:
      return unpackLz4Frame(packed, unpackedBytesMax)
    case 4:
      return zstdDecompressSync(packed, {
        maxOutputLength: unpackedBytesMax,
        chunkSize: Math.min(Math.max(ZSTD_OUTPUT_MIN, packed.length * 8), ZSTD_OUTPUT_MAX),
      })
    default:
      throw new RangeError(`compression codec ${codec} is not one of gzip, snappy, lz4, zstd`)
  }
}

function unpackSnappy(packed: Buffer, unpackedBytesMax: number): Uint8Array {
  const framed = packed.length >= XERIAL_HEADER_BYTES && packed.subarray(0, XERIAL_MAGIC.length).equals(XERIAL_MAGIC)
  if (!framed) return unpackSnappyBlock(packed, unpackedBytesMax)
  const blocks: Uint8Array[] = []
  let left = unpackedBytesMax
  let position = XERIAL_HEADER_BYTES
  while (position < packed.length) {
    // A stream that was flushed twice repeats its header.
    if (packed.subarray(position, position + XERIAL_MAGIC.length).equals(XERIAL_MAGIC)) {
      position += XERIAL_HEADER_BYTES
      continue
    }
    if (position + 4 > packed.length) throw new RangeError('snappy: cut block length')
    const length = packed.readInt32BE(position)
    position += 4
    if (length < 0 || position + length > packed.length) throw new RangeError('snappy: cut block')
    const block = unpackSnappyBlock(packed.subarray(position, position + length), left)
    left -= block.length
    blocks.push(block)
    position += length
  }
  return blocks.length === 1 ? blocks[0] : Buffer.concat(blocks)
}

function unpackSnappyBlock(packed: Buffer, unpackedBytesMax: number): Uint8Array {
  // The block says first how long it will be: ask before memory is taken for it.
  let length = 0
  for (let index = 0; ; index++) {
    if (index >= 5 || index >= packed.length) throw new RangeError('snappy: no length')
    length += (packed[index] & 0x7f) * 2 ** (7 * index)
    if (packed[index] < 0x80) break
  }
  if (length > unpackedBytesMax) throw new RangeError(`unpacks to more than ${unpackedBytesMax} bytes`)
  const unpacked = uncompressSync(packed, { asBuffer: true })
  if (typeof unpacked === 'string') throw new TypeError('snappy gave text')
  return unpacked
}
