/**
 * A record batch (format 2) of a few records, uncompressed: what a copy of dead letters is sent as.
 *
 *   base offset 8 · length 4 · leader epoch 4 · magic 1 · crc32c 4 of all that follows
 *   attributes 2 · last offset delta 4 · first and largest timestamp 8+8 · producer id, epoch, sequence 8+2+4 · count 4
 *   record: length, attributes 1, timestamp and offset deltas, key, value, headers with their count; lengths are zigzag varints
 */
import { crc32c } from '@node-rs/crc32'

export type WrittenHeader = { readonly name: string; readonly value: Uint8Array | null }

export type WrittenRecord = {
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  /** Milliseconds. */
  readonly timestamp: number
  readonly headers: readonly WrittenHeader[]
}

const HEAD_BYTES = 61
const CRC_FROM = 21

export function writeRecordBatch(records: readonly WrittenRecord[]): Buffer {
  const first = records[0].timestamp
  const body = Buffer.concat(records.map((record, index) => recordBytes(record, index, record.timestamp - first)))
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeInt32BE(HEAD_BYTES - 12 + body.length, 8)
  head.writeInt32BE(-1, 12)
  head.writeInt8(2, 16)
  head.writeInt32BE(records.length - 1, 23)
  head.writeBigInt64BE(BigInt(first), 27)
  head.writeBigInt64BE(BigInt(Math.max(...records.map(({ timestamp }) => timestamp))), 35)
  head.writeBigInt64BE(-1n, 43)
  head.writeInt16BE(-1, 51)
  head.writeInt32BE(-1, 53)
  head.writeInt32BE(records.length, 57)
  const batch = Buffer.concat([head, body])
  batch.writeUInt32BE(crc32c(batch.subarray(CRC_FROM)), 17)
  return batch
}

function recordBytes({ key, value, headers }: WrittenRecord, index: number, timestampDelta: number): Buffer {
  const parts: Uint8Array[] = [Buffer.of(0), varint(timestampDelta), varint(index), ...sized(key), ...sized(value)]
  parts.push(varint(headers.length))
  for (const { name, value: text } of headers) parts.push(...sized(Buffer.from(name)), ...sized(text))
  const body = Buffer.concat(parts)
  return Buffer.concat([varint(body.length), body])
}

function sized(bytes: Uint8Array | null): Uint8Array[] {
  return bytes === null ? [varint(-1)] : [varint(bytes.length), bytes]
}

function varint(value: number): Buffer {
  let zigzag = BigInt.asUintN(64, (BigInt(value) << 1n) ^ (BigInt(value) >> 63n))
  const bytes: number[] = []
  while (zigzag >= 0x80n) {
    bytes.push(Number(zigzag & 0x7fn) | 0x80)
    zigzag >>= 7n
  }
  bytes.push(Number(zigzag))
  return Buffer.from(bytes)
}
