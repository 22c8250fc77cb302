/**
 * All pages of a Parquet file, walked: for files of which no checksum is known. Each page's header is read, its CRC32
 * compared where its writer gave one, its bytes unpacked to the length the header says, and its values counted.
 *
 *   chunk   page header (Thrift), page …, as many values as the footer says
 *   page    v1: all packed · v2: levels plain, then values packed · dictionary: all packed
 *
 * A CRC proves the bytes; without one this finds what breaks headers or packing, and not every flipped bit: `proven` tells
 * which of the two it was. Whatever is wrong is `file-damaged`.
 */
import { crc32, gunzipSync, zstdDecompressSync } from 'node:zlib'
import snappy from 'snappy'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { encodingName } from '../parquet/footer.ts'
import type { ColumnChunk, ParquetFooter } from '../parquet/parquet.ts'
import { ThriftReader } from '../parquet/thrift.ts'

export type WalkedPages = {
  readonly pages: number
  /** Every page had a CRC, and it fitted. */
  readonly proven: boolean
}

/** A chunk that says it is larger is not read into memory. */
const CHUNK_BYTES_MAX = 512 * 1024 ** 2
const PAGE_BYTES_MAX = 1 << 30
const MAGIC = new TextEncoder().encode('PAR1')
const DATA_PAGE = 0
const DICTIONARY_PAGE = 2
const DATA_PAGE_V2 = 3

/** @param read bytes [start, end) of the file */
export async function walkPages(
  footer: ParquetFooter,
  read: (start: number, end: number) => Promise<Uint8Array>,
): Promise<WalkedPages> {
  let pages = 0
  let proven = true
  const magic = await read(0, MAGIC.length)
  if (Buffer.compare(magic, MAGIC) !== 0) throw new MillraceError('file-damaged', 'it does not begin with PAR1')
  for (const group of footer.rowGroups) {
    for (const chunk of group.chunks) {
      if (chunk.end - chunk.start > CHUNK_BYTES_MAX) {
        proven = false
        continue
      }
      const name = footer.columns[chunk.columnIndex].path
      const walked = walkChunk(await read(chunk.start, chunk.end), chunk, name)
      pages += walked.pages
      proven &&= walked.proven
    }
  }
  return { pages, proven }
}

function walkChunk(bytes: Uint8Array, chunk: ColumnChunk, column: string): WalkedPages {
  let position = 0
  let pages = 0
  let values = 0
  let proven = true
  try {
    while (position < bytes.length) {
      const { header, bodyStart } = readHeader(bytes, position)
      const bodyEnd = bodyStart + header.storedBytes
      if (bodyEnd > bytes.length) throw new Error(`a page of ${header.storedBytes} bytes runs past its chunk`)
      const body = bytes.subarray(bodyStart, bodyEnd)
      if (header.crc === undefined) proven = false
      else if (crc32(body) !== header.crc) throw new Error(`page ${pages} fails its CRC`)
      const encoding = encodingName(header.encoding)
      if (header.type !== DICTIONARY_PAGE && !chunk.encodings.includes(encoding)) {
        throw new Error(`page ${pages} says ${encoding}, which its chunk does not have`)
      }
      unpack(body, header, chunk.codec)
      if (header.type !== DICTIONARY_PAGE) values += header.values
      pages += 1
      position = bodyEnd
    }
  } catch (cause) {
    const reason = isMillraceError(cause) || cause instanceof Error ? cause.message : String(cause)
    throw new MillraceError('file-damaged', `column ${column}: ${reason}`, { cause })
  }
  if (values === chunk.valueCount) return { pages, proven }
  throw new MillraceError(
    'file-damaged',
    `column ${column}: ${values} values in pages, ${chunk.valueCount} in the footer`,
  )
}

type PageHeader = {
  type: number
  plainBytes: number
  storedBytes: number
  crc: number | undefined
  values: number
  encoding: number
  /** Of a v2 page: bytes of levels, which are never packed. */
  levelBytes: number
  isPacked: boolean
}

function readHeader(bytes: Uint8Array, position: number): { header: PageHeader; bodyStart: number } {
  const reader = new ThriftReader(bytes, position)
  const header: PageHeader = {
    type: -1,
    plainBytes: -1,
    storedBytes: -1,
    crc: undefined,
    values: 0,
    encoding: -1,
    levelBytes: 0,
    isPacked: true,
  }
  reader.struct(12, (id, type) => {
    if (id === 1) header.type = reader.integer(type)
    else if (id === 2) header.plainBytes = reader.integer(type)
    else if (id === 3) header.storedBytes = reader.integer(type)
    else if (id === 4) header.crc = reader.integer(type) >>> 0
    else if (id === 5 || id === 7 || id === 8) {
      reader.struct(type, (field, fieldType) => {
        if (field === 1) header.values = reader.integer(fieldType)
        else if (field === (id === 8 ? 4 : 2)) header.encoding = reader.integer(fieldType)
        else if (id === 8 && (field === 5 || field === 6)) header.levelBytes += reader.integer(fieldType)
        else if (id === 8 && field === 7) header.isPacked = reader.boolean(fieldType)
        else reader.skip(fieldType)
      })
    } else reader.skip(type)
  })
  if (![DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2].includes(header.type))
    throw new Error(`a page of type ${header.type}`)
  if (header.storedBytes < 0 || header.plainBytes < 0 || header.values < 0 || header.levelBytes < 0) {
    throw new Error('a page header without its sizes')
  }
  return { header, bodyStart: reader.position }
}

function unpack(body: Uint8Array, header: PageHeader, codec: string): void {
  if (header.plainBytes > PAGE_BYTES_MAX) throw new Error(`a page of ${header.plainBytes} bytes`)
  if (header.levelBytes > body.length) throw new Error('levels longer than their page')
  const packed = body.subarray(header.levelBytes)
  const expected = header.plainBytes - header.levelBytes
  const plain = header.isPacked ? unpackedBytes(packed, codec, expected) : packed.length
  if (plain !== undefined && plain !== expected)
    throw new Error(`a page unpacks to ${plain} bytes, expected ${expected}`)
}

/** undefined: a codec that is not unpacked here. */
function unpackedBytes(packed: Uint8Array, codec: string, expected: number): number | undefined {
  if (codec === 'UNCOMPRESSED') return packed.length
  if (expected === 0 && packed.length === 0) return 0
  const options = { maxOutputLength: expected + 1 }
  if (codec === 'ZSTD') return zstdDecompressSync(packed, options).length
  if (codec === 'GZIP') return gunzipSync(packed, options).length
  if (codec !== 'SNAPPY') return undefined
  const buffer = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  return snappy.uncompressSync(buffer, { asBuffer: true }).length
}
