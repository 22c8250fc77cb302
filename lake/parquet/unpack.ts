/**
 * A Parquet file with its pages decompressed: the same rows, pages, encodings, statistics and bloom filters, no codec. A reader
 * saves a third of its time on a small file; no value is decoded on the way, so none can change.
 *
 *   in    PAR1, pages compressed with zstd, bloom filters, footer
 *   out   PAR1, the same pages as they were before, bloom filters, footer with the new places and sizes
 *
 * Only what the writers of our files make is taken: pages of version 1, zstd or no codec. Anything else (another codec, version 2,
 * encryption, page indexes that would point elsewhere) gives `undefined`, and the file is read as it is. Page indexes are left out;
 * DuckDB does not use them. Every size is checked, and the result's footer is read back.
 *
 * Decompression runs in Node's threads, page by page, so that nobody waits for it. It is read and written column chunk by column
 * chunk: no more of a long file is in memory.
 */
import { promisify } from 'node:util'
import { zstdDecompress } from 'node:zlib'
import { parseFooter } from './footer.ts'
import type { ParquetFooter } from './parquet.ts'
import { bloomRange } from './ranges.ts'
import { THRIFT, ThriftReader, ThriftWriter, thriftDamage } from './thrift.ts'
import { MAGIC } from './write.ts'

const decompress = promisify(zstdDecompress)
const TAIL_BYTES = 8
const FOOTER_GUESS_BYTES = 64 << 10

/** Fields of FileMetaData that are kept; what else there may be is about encryption. */
const FILE_KEPT: ReadonlySet<number> = new Set([1, 2, 3, 5, 6, 7])
const FILE_ROW_GROUPS = 4
/** Fields of RowGroup. */
const GROUP = { chunks: 1, fileOffset: 5, compressedBytes: 6 } as const
/** Fields of ColumnChunk; 4 to 7 are the places of page indexes. */
const CHUNK = { fileOffset: 2, metadata: 3 } as const
const CHUNK_INDEXES: ReadonlySet<number> = new Set([4, 5, 6, 7])
/** Fields of ColumnMetaData. */
const META = {
  codec: 4,
  bytes: 6,
  compressedBytes: 7,
  dataPage: 9,
  indexPage: 10,
  dictionaryPage: 11,
  bloom: 14,
} as const
const META_BLOOM_LENGTH = 15
/** Fields of PageHeader. */
const PAGE = { type: 1, bytes: 2, compressedBytes: 3, crc: 4 } as const
const DATA_PAGE = 0
const DICTIONARY_PAGE = 2

type Chunk = {
  readonly start: number
  readonly bytes: number
  readonly dataPage: number
  readonly dictionaryPage: number | undefined
  readonly bloom: { readonly start: number; readonly bytes: number } | undefined
}

/** How many bytes it has without its codec, but for page headers; undefined: it is not taken. */
export function unpackedBytesOf({ rowGroups }: Pick<ParquetFooter, 'rowGroups'>): number | undefined {
  const chunks = rowGroups.flatMap((group) => group.chunks)
  const isTaken = chunks.every(({ codec }) => codec === 'ZSTD' || codec === 'UNCOMPRESSED')
  if (!isTaken || !chunks.some(({ codec }) => codec === 'ZSTD')) return undefined
  return chunks.reduce((sum, { uncompressedBytes }) => sum + uncompressedBytes, 0)
}

/** Where a file's bytes come from. */
export type ParquetBytes = {
  readonly bytes: number
  /** All of them: fewer are an error. */
  read(start: number, end: number): Promise<Uint8Array>
}

export async function unpackParquet(bytes: Uint8Array, bytesMax: number): Promise<Uint8Array | undefined> {
  const source = { bytes: bytes.length, read: async (start: number, end: number) => bytes.subarray(start, end) }
  const parts: Uint8Array[] = []
  const length = await unpackParquetTo(source, await footerIn(source), bytesMax, async (part) => void parts.push(part))
  return length === undefined ? undefined : Buffer.concat(parts, length)
}

export async function footerIn({ bytes, read }: ParquetBytes): Promise<ParquetFooter> {
  const tail = (length: number) => read(Math.max(0, bytes - length), bytes)
  const first = parseFooter(await tail(FOOTER_GUESS_BYTES), bytes)
  if (!('needBytes' in first)) return first
  const second = parseFooter(await tail(first.needBytes), bytes)
  if ('needBytes' in second) throw thriftDamage('its footer is longer than the file')
  return second
}

/**
 * The length of what was written.
 * @param bytesMax undefined instead of a longer file, of which a part may have been written
 */
export async function unpackParquetTo(
  source: ParquetBytes,
  footer: ParquetFooter,
  bytesMax: number,
  write: (part: Uint8Array) => Promise<void>,
): Promise<number | undefined> {
  const unpackedBytes = unpackedBytesOf(footer)
  if (unpackedBytes === undefined || unpackedBytes > bytesMax) return undefined
  const out = createOutput(bytesMax, write)
  out.add(MAGIC)
  const chunks: Chunk[][] = []
  for (const group of footer.rowGroups) {
    const moved: Chunk[] = []
    for (const chunk of group.chunks) {
      const one = await unpackChunk(await source.read(chunk.start, chunk.end), chunk.codec, out)
      if (one === undefined) return undefined
      moved.push(one)
      await out.flush()
    }
    chunks.push(moved)
  }
  const placed: Chunk[][] = []
  for (const [at, group] of chunks.entries()) {
    const withBlooms: Chunk[] = []
    for (const [leaf, chunk] of group.entries()) {
      const range = bloomRange(footer, footer.rowGroups[at].chunks[leaf])
      withBlooms.push(range === undefined ? chunk : withBloom(chunk, await source.read(range.start, range.end), out))
    }
    placed.push(withBlooms)
  }
  const metadata = await source.read(source.bytes - footer.footerBytes, source.bytes - TAIL_BYTES)
  const made = footerBytes(metadata, placed)
  if (made === undefined || out.isFull()) return undefined
  const end = new Uint8Array(made.length + TAIL_BYTES)
  end.set(made)
  new DataView(end.buffer).setUint32(made.length, made.length, true)
  end.set(MAGIC, made.length + 4)
  out.add(end)
  const written = parseFooter(end, out.length)
  if ('needBytes' in written) throw thriftDamage('its footer is longer than it should be')
  checkSame(footer, written)
  await out.flush()
  return out.length
}

function createOutput(bytesMax: number, write: (part: Uint8Array) => Promise<void>) {
  let parts: Uint8Array[] = []
  let length = 0
  return {
    get length() {
      return length
    },
    isFull: () => length > bytesMax,
    add(part: Uint8Array) {
      parts.push(part)
      length += part.length
    },
    async flush() {
      const whole = Buffer.concat(parts)
      parts = []
      await write(whole)
    },
  }
}

type Output = ReturnType<typeof createOutput>

async function unpackChunk(bytes: Uint8Array, codec: string, out: Output): Promise<Chunk | undefined> {
  const start = out.length
  let dataPage: number | undefined
  let dictionaryPage: number | undefined
  const reader = new ThriftReader(bytes)
  while (reader.position < bytes.length) {
    const header = pageHeader(reader)
    if (header === undefined) return undefined
    const body = bytes.subarray(reader.position, reader.position + header.compressedBytes)
    if (body.length !== header.compressedBytes) throw thriftDamage('a page ends behind its chunk')
    reader.position += header.compressedBytes
    const isPlain = codec === 'UNCOMPRESSED' || header.compressedBytes === 0
    const unpacked = isPlain ? body : await decompress(body, { maxOutputLength: Math.max(1, header.bytes) })
    if (unpacked.length !== header.bytes) throw thriftDamage('a page has another length than its header says')
    if (header.type === DICTIONARY_PAGE) dictionaryPage ??= out.length
    else dataPage ??= out.length
    out.add(header.rewritten)
    out.add(unpacked)
    if (out.isFull()) return undefined
  }
  if (dataPage === undefined) return undefined
  return { start, bytes: out.length - start, dataPage, dictionaryPage, bloom: undefined }
}

type PageHeader = {
  readonly type: number
  readonly bytes: number
  readonly compressedBytes: number
  /** With both sizes the same, without a checksum. */
  readonly rewritten: Uint8Array
}

/** undefined: a kind of page that is left as it is. */
function pageHeader(reader: ThriftReader): PageHeader | undefined {
  const found = { type: -1, bytes: -1, compressedBytes: -1 }
  const writer = new ThriftWriter(64)
  writer.beginStruct()
  reader.struct(THRIFT.struct, (id, type) => {
    if (id === PAGE.crc) reader.skip(type)
    else if (id === PAGE.type) {
      found.type = reader.integer(type)
      writer.i32Field(id, found.type)
    } else if (id === PAGE.bytes) {
      found.bytes = reader.integer(type)
      writer.i32Field(PAGE.bytes, found.bytes)
      writer.i32Field(PAGE.compressedBytes, found.bytes)
    } else if (id === PAGE.compressedBytes) found.compressedBytes = reader.integer(type)
    else writer.rawField(id, type, reader.raw(type))
  })
  writer.endStruct()
  if (found.bytes < 0 || found.compressedBytes < 0) throw thriftDamage('a page header has no sizes')
  if (found.type !== DATA_PAGE && found.type !== DICTIONARY_PAGE) return undefined
  return { ...found, rewritten: Uint8Array.from(writer.bytes) }
}

function withBloom(chunk: Chunk, bloom: Uint8Array, out: Output): Chunk {
  const start = out.length
  out.add(bloom)
  return { ...chunk, bloom: { start, bytes: bloom.length } }
}

/** undefined: it has something that is not known here. */
function footerBytes(metadata: Uint8Array, groups: readonly (readonly Chunk[])[]): Uint8Array | undefined {
  const reader = new ThriftReader(metadata)
  const writer = new ThriftWriter()
  let isKnown = true
  writer.beginStruct()
  reader.struct(THRIFT.struct, (id, type) => {
    if (id === FILE_ROW_GROUPS) {
      const read: ThriftReader[] = []
      reader.list(type, (each) => read.push(new ThriftReader(reader.raw(each))))
      writer.structListField(id, read, (group, index) => {
        group.struct(THRIFT.struct, (field, fieldType) => groupField(group, writer, field, fieldType, groups[index]))
      })
      return
    }
    if (!FILE_KEPT.has(id)) isKnown = false
    writer.rawField(id, type, reader.raw(type))
  })
  writer.endStruct()
  return isKnown ? writer.bytes : undefined
}

function groupField(reader: ThriftReader, writer: ThriftWriter, id: number, type: number, chunks: readonly Chunk[]) {
  if (id === GROUP.chunks) {
    const read: ThriftReader[] = []
    reader.list(type, (each) => read.push(new ThriftReader(reader.raw(each))))
    writer.structListField(id, read, (chunk, leaf) => {
      chunk.struct(THRIFT.struct, (field, fieldType) => chunkField(chunk, writer, field, fieldType, chunks[leaf]))
    })
    return
  }
  const value = reader.raw(type)
  if (id === GROUP.fileOffset) writer.i64Field(id, chunks[0]?.start ?? 0)
  else if (id === GROUP.compressedBytes) {
    writer.i64Field(
      id,
      chunks.reduce((sum, chunk) => sum + chunk.bytes, 0),
    )
  } else writer.rawField(id, type, value)
}

function chunkField(reader: ThriftReader, writer: ThriftWriter, id: number, type: number, chunk: Chunk): void {
  if (id === CHUNK.metadata) {
    writer.structField(id, () => {
      reader.struct(type, (field, fieldType) => metaField(reader, writer, field, fieldType, chunk))
      // Last of all, whether the file had a length for it or not.
      if (chunk.bloom) {
        writer.i64Field(META.bloom, chunk.bloom.start)
        writer.i32Field(META_BLOOM_LENGTH, chunk.bloom.bytes)
      }
    })
  } else if (id === CHUNK.fileOffset) {
    reader.skip(type)
    writer.i64Field(id, 0)
  } else if (CHUNK_INDEXES.has(id)) reader.skip(type)
  else throw thriftDamage(`field ${id} of a column chunk points outside its row group`)
}

function metaField(reader: ThriftReader, writer: ThriftWriter, id: number, type: number, chunk: Chunk): void {
  if (id > META_BLOOM_LENGTH || id === META.indexPage || id === META.bloom || id === META_BLOOM_LENGTH) {
    // Sizes for readers that plan memory: none of ours.
    reader.skip(type)
    return
  }
  const value = reader.raw(type)
  if (id === META.codec) writer.i32Field(id, 0)
  else if (id === META.bytes || id === META.compressedBytes) writer.i64Field(id, chunk.bytes)
  else if (id === META.dataPage) writer.i64Field(id, chunk.dataPage)
  else if (id === META.dictionaryPage) {
    if (chunk.dictionaryPage !== undefined) writer.i64Field(id, chunk.dictionaryPage)
  } else writer.rawField(id, type, value)
}

function checkSame(before: ParquetFooter, after: ParquetFooter): void {
  const shape = ({ rowCount, columns, rowGroups }: ParquetFooter) =>
    JSON.stringify([
      rowCount,
      columns.map(({ path }) => path),
      rowGroups.map((group) => [
        group.rowCount,
        group.chunks.map(({ valueCount, encodings }) => [valueCount, encodings]),
      ]),
    ])
  if (shape(before) !== shape(after)) throw thriftDamage('it reads otherwise without its codec')
}
