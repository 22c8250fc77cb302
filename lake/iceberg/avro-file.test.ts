// Avro files: what avsc encodes our own decoder reads, in every codec; damaged bytes are one error, never a crash.
import { crc32, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import snappy from 'snappy'
import { expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import type { AvroSchema } from './avro-decoder.ts'
import { readAvroFile, writeAvroFile } from './avro-file.ts'
import { decodeManifest } from './manifest.ts'

const SCHEMA: AvroSchema = {
  type: 'record',
  name: 'row',
  fields: [
    { name: 'id', type: 'long', 'field-id': 1 },
    { name: 'name', type: ['null', 'string'], 'field-id': 2 },
    { name: 'raw', type: 'bytes', 'field-id': 3 },
    { name: 'numbers', type: { type: 'array', items: 'int' }, 'field-id': 4 },
  ],
}
const SYNC = new Uint8Array(16).fill(7)
const records = fc.array(
  fc.record({
    id: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    name: fc.option(fc.string({ unit: 'grapheme' })),
    raw: fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
    numbers: fc.array(fc.integer()),
  }),
)

test('records come back, and the schema with its field ids', () => {
  fc.assert(
    fc.property(records, (rows) => {
      const file = readAvroFile(writeAvroFile(SCHEMA, rows, { 'a key': 'ü' }, SYNC), 'a.avro')
      expect(file.records.map((row) => ({ ...row, raw: Buffer.from(row.raw as Uint8Array) }))).toEqual(rows)
      expect(file.schema).toEqual(SCHEMA)
      expect(file.metadata.get('a key')).toBe('ü')
    }),
  )
})

test.each(['null', 'snappy', 'zstandard'])('codec %s is read', (codec) => {
  const record = Buffer.from([2, 0, 0, 0]) // id 1, name null, no bytes, no numbers
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32BE(crc32(record))
  const packed =
    codec === 'null'
      ? record
      : codec === 'snappy'
        ? Buffer.concat([snappy.compressSync(record), checksum])
        : zstdCompressSync(record)
  const text = (value: string) => {
    const bytes = Buffer.from(value)
    return Buffer.concat([Buffer.from(varint(bytes.length)), bytes])
  }
  const file = Buffer.concat([
    Buffer.from([0x4f, 0x62, 0x6a, 1, 4]),
    text('avro.schema'),
    text(JSON.stringify(SCHEMA)),
    text('avro.codec'),
    text(codec),
    Buffer.from([0]),
    SYNC,
    Buffer.from([2, ...varint(packed.length)]),
    packed,
    SYNC,
  ])
  expect(readAvroFile(file, 'a.avro').records).toEqual([{ id: 1n, name: null, raw: Buffer.alloc(0), numbers: [] }])
})

function varint(value: number): number[] {
  const zigzag = value * 2
  return zigzag < 128 ? [zigzag] : [(zigzag & 127) | 128, ...varint((zigzag >> 7) / 2)]
}

test('damaged bytes are file-damaged and nothing else', () => {
  const file = writeAvroFile(SCHEMA, [{ id: 5n, name: 'x', raw: Buffer.of(1), numbers: [1, 2] }], {}, SYNC)
  fc.assert(
    fc.property(fc.nat(file.length - 1), fc.integer({ min: 0, max: 255 }), fc.boolean(), (at, byte, isCut) => {
      const damaged = isCut ? file.slice(0, at) : Uint8Array.from(file)
      if (!isCut) damaged[at] = byte
      try {
        decodeManifest(damaged, 'a.avro')
      } catch (error) {
        if (!isMillraceError(error, 'file-damaged') && !isMillraceError(error, 'format-too-new')) throw error
      }
    }),
    { numRuns: 500 },
  )
})
