/**
 * Avro object container files, as Iceberg's manifests and manifest lists are.
 *
 *   "Obj" 1, header map (avro.schema, avro.codec, …), 16-byte sync marker, then blocks:
 *   record count, byte count, records (compressed), sync marker
 *
 * Written with avsc's encoder, but with a header of our own: avsc drops the `field-id`s of the schema it is given, and
 * readers find fields by them. Read by `avro-decoder.ts` with the schema that the file carries, so that files of other
 * engines come through; codecs null, deflate, snappy and zstandard. Whatever is wrong with the bytes is `file-damaged`.
 */
import { crc32, deflateRawSync, inflateRawSync, zstdDecompressSync } from 'node:zlib'
import avsc, { type Schema } from 'avsc'
import snappy from 'snappy'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { AvroCursor, type AvroSchema, compileReader, resolveSchema } from './avro-decoder.ts'

export type AvroRecord = Readonly<Record<string, unknown>>
export type AvroFile = {
  readonly metadata: ReadonlyMap<string, string>
  readonly schema: AvroSchema
  readonly records: readonly AvroRecord[]
}

const MAGIC = Uint8Array.of(0x4f, 0x62, 0x6a, 1)
const SYNC_BYTES = 16
const BLOCK_RECORDS = 1000
/** A block that says it is larger unpacked is not one of a manifest. */
const BLOCK_BYTES_MAX = 1 << 30

// A CommonJS package whose exports Node cannot name when a file runs directly: taken from the default one.
const longType = avsc.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer: (value: bigint) => {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(value)
    return buffer
  },
  fromJSON: (value: unknown) => BigInt(value as number),
  toJSON: (value: bigint) => Number(value),
  isValid: (value: unknown) => typeof value === 'bigint' && BigInt.asIntN(64, value) === value,
  compare: (a: bigint, b: bigint) => (a === b ? 0 : a < b ? -1 : 1),
})

/** Longs of the records are bigints, bytes and fixed are Buffers. */
export function writeAvroFile(
  schema: AvroSchema,
  records: readonly AvroRecord[],
  metadata: Readonly<Record<string, string>>,
  sync: Uint8Array,
): Uint8Array {
  const schemaText = JSON.stringify(schema)
  const type = encoderOf(schemaText, schema)
  const header = new Map([...Object.entries(metadata), ['avro.schema', schemaText], ['avro.codec', 'deflate']])
  const parts: Uint8Array[] = [MAGIC, varint(header.size)]
  for (const [key, value] of header) {
    for (const text of [key, value]) {
      const bytes = new TextEncoder().encode(text)
      parts.push(varint(bytes.length), bytes)
    }
  }
  parts.push(varint(0), sync)
  for (let from = 0; from < records.length; from += BLOCK_RECORDS) {
    const block = records.slice(from, from + BLOCK_RECORDS)
    const packed = deflateRawSync(Buffer.concat(block.map((record) => type.toBuffer(record))))
    parts.push(varint(block.length), varint(packed.length), packed, sync)
  }
  return Buffer.concat(parts)
}

type Encoder = ReturnType<typeof avsc.Type.forSchema>
type Reader = { readonly schema: AvroSchema; readonly read: ReturnType<typeof compileReader> }

/** Compiling a schema costs 0.7 ms, most of what a manifest of a few files does, and a table has two or three of them. */
const SCHEMAS_KEPT_MAX = 200
const encoders = new Map<string, Encoder>()
const readers = new Map<string, Reader>()

function encoderOf(text: string, schema: AvroSchema): Encoder {
  return kept(encoders, text, () =>
    avsc.Type.forSchema(schema as Schema, { registry: { long: longType }, wrapUnions: false }),
  )
}

function readerOf(text: string): Reader {
  return kept(readers, text, () => {
    const schema = resolveSchema(JSON.parse(text))
    return { schema, read: compileReader(schema) }
  })
}

function kept<T>(all: Map<string, T>, text: string, make: () => T): T {
  const known = all.get(text)
  if (known !== undefined) return known
  const made = make()
  if (all.size >= SCHEMAS_KEPT_MAX) all.delete(all.keys().next().value as string)
  all.set(text, made)
  return made
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = BigInt(value) << 1n
  do {
    const low = Number(rest & 0x7fn)
    rest >>= 7n
    bytes.push(rest > 0n ? low | 0x80 : low)
  } while (rest > 0n)
  return Uint8Array.from(bytes)
}

export function readAvroFile(bytes: Uint8Array, path: string): AvroFile {
  try {
    return readBlocks(bytes)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    if (isMillraceError(cause) && cause.code !== 'file-damaged') throw cause
    throw new MillraceError('file-damaged', `${path} is not a sound avro file: ${reason}`, { cause, facts: { path } })
  }
}

function readBlocks(bytes: Uint8Array): AvroFile {
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) throw new Error('it does not begin with an avro header')
  const cursor = new AvroCursor(bytes, MAGIC.length)
  const metadata = readHeader(cursor)
  const sync = cursor.take(SYNC_BYTES)
  const { schema, read } = readerOf(metadata.get('avro.schema') ?? 'null')
  const codec = metadata.get('avro.codec') ?? 'null'
  const records: AvroRecord[] = []
  while (cursor.position < bytes.length) {
    const count = cursor.size()
    const block = new AvroCursor(unpack(codec, cursor.take(cursor.size())), 0)
    for (let i = 0; i < count; i++) records.push(read(block) as AvroRecord)
    if (block.position !== block.bytes.length) throw new Error('a block holds more than its records')
    const marker = cursor.take(SYNC_BYTES)
    if (Buffer.compare(marker, sync) !== 0) throw new Error('a block does not end with the sync marker')
  }
  return { metadata, schema, records }
}

function readHeader(cursor: AvroCursor): Map<string, string> {
  const metadata = new Map<string, string>()
  for (let count = cursor.blockCount(); count > 0; count = cursor.blockCount()) {
    for (let i = 0; i < count; i++) {
      const key = cursor.text()
      metadata.set(key, new TextDecoder().decode(cursor.take(cursor.size())))
    }
  }
  return metadata
}

function unpack(codec: string, block: Uint8Array): Uint8Array {
  switch (codec) {
    case 'null':
      return block
    case 'deflate':
      return inflateRawSync(block, { maxOutputLength: BLOCK_BYTES_MAX })
    case 'zstandard':
      return zstdDecompressSync(block, { maxOutputLength: BLOCK_BYTES_MAX })
    case 'snappy': {
      const packed = Buffer.from(block.buffer, block.byteOffset, block.byteLength)
      if (packed.length < 4) throw new Error('a snappy block without checksum')
      const plain = snappy.uncompressSync(packed.subarray(0, -4), { asBuffer: true }) as Buffer
      if (crc32(plain) !== packed.readUInt32BE(packed.length - 4)) throw new Error('a snappy block fails its checksum')
      return plain
    }
    default:
      throw new Error(`its codec ${codec} is not one of null, deflate, snappy, zstandard`)
  }
}
