/**
 * One column chunk: chooses the encoding, cuts pages, compresses them where that helps.
 *
 *   chunk           [dictionary page] data page, data page, …
 *   page            header (Thrift), then the body, compressed or not
 *   data page body  (version 1) for an optional column: 4-byte length, definition levels; then the values
 *
 * Encodings: RLE_DICTIONARY when values repeat (a constant column is a few bytes); DELTA_BINARY_PACKED for integers
 * that move in small steps (offsets, timestamps); DELTA_LENGTH_BYTE_ARRAY for other texts (lengths packed, bytes copied
 * in one go); PLAIN for the rest. Every page header carries the CRC32 of its body.
 */
import { crc32, constants as zlib, zstdCompressSync } from 'node:zlib'
import type { ColumnVector } from '../../schemas/micro-batch.ts'
import {
  ByteSink,
  bitWidthOf,
  copyBits,
  countBits,
  deltaBytesMax,
  hybridBytesMax,
  writeDelta,
  writeHybrid,
  writeLevels,
} from './bit-packing.ts'
import { chunkDoubles, chunkInts, startChunk } from './chunk-memory.ts'
import { type PresentValues, presentValues } from './column-values.ts'
import { type Distinct, distinctBytes, distinctWords } from './dictionary.ts'
import type { WriteParquetOptions } from './parquet.ts'
import { ThriftWriter } from './thrift.ts'
import { type Extremes, extremesOf } from './value-bounds.ts'

export const ENCODING = { plain: 0, rle: 3, deltaBinaryPacked: 5, deltaLengthByteArray: 6, rleDictionary: 8 } as const
export const CODEC = { uncompressed: 0, zstd: 6 } as const

export type EncodedChunk = {
  /** Page headers and bodies in file order. */
  readonly parts: readonly Uint8Array[]
  readonly bytes: number
  readonly uncompressedBytes: number
  /** Bytes of the dictionary page, 0 when there is none. */
  readonly dictionaryBytes: number
  readonly codec: number
  readonly encodings: readonly number[]
  /** With nulls: rows of a flat column, level entries of a nested one. */
  readonly valueCount: number
  readonly nullCount: number
  readonly extremes: Extremes
}

export const PAGE_BYTES = 1 << 20
export const PAGE_ROWS = 1 << 17
const DICTIONARY_BYTES_MAX = 1 << 20
/** A compressor costs 25 to 40 µs to set up, whatever it is given: 0.4 ms for a segment of ten rows, to save 180 bytes. */
const COMPRESS_BYTES_MIN = 1024
const HEADER_BYTES = 64
/** A delta must save at least this many of the 32 or 64 bits of its value. */
const DELTA_SAVES_MIN = 12

/**
 * Where the bodies of a chunk's pages are written, one behind the other. Kept from chunk to chunk: the room that a page
 * may need is far more than it takes, and fresh memory must be cleared. Nothing of it leaves this file uncopied.
 */
export const workspace = new ByteSink(1 << 16)
export const WORKSPACE_KEPT_MAX = 1 << 24

export type Page = {
  readonly isDictionary: boolean
  readonly count: number
  readonly encoding: number
  body: Uint8Array
}

export function encodeChunk(
  vector: ColumnVector,
  from: number,
  to: number,
  options: Pick<WriteParquetOptions, 'compression' | 'level'>,
): EncodedChunk {
  workspace.clear(WORKSPACE_KEPT_MAX)
  startChunk()
  const values = presentValues(vector, from, to)
  const distinct = findDistinct(values)
  const extremes = extremesOf(vector.column.type, values, distinct?.firsts.subarray(0, distinct.size))
  const encoder = chooseEncoder(vector, values, distinct)
  const pages = dictionaryPages(values, distinct)
  const validity = vector.nullCount === 0 ? undefined : vector.validity
  let valueAt = 0
  for (const [start, end] of pageRows(vector, values, from, to, distinct !== undefined)) {
    const present = validity === undefined ? end - start : countBits(validity, start, end)
    const body = dataBody(vector, validity, start, end, present, (sink) =>
      encoder.write(sink, valueAt, valueAt + present),
    )
    valueAt += present
    pages.push({ isDictionary: false, count: end - start, encoding: encoder.encoding, body })
  }
  return closeChunk(pages, to - from, to - from - values.count, extremes, options)
}

/** The dictionary page of a chunk that has one. */
export function dictionaryPages(values: PresentValues, distinct: Distinct | undefined): Page[] {
  if (distinct === undefined) return []
  const body = dictionaryBody(values, distinct)
  return [{ isDictionary: true, count: distinct.size, encoding: ENCODING.plain, body }]
}

export function findDistinct(values: PresentValues): Distinct | undefined {
  if (values.count === 0 || values.form === 'bits') return undefined
  if (values.form === 'words') return distinctWords(values.values, values.words, values.count)
  const distinct =
    values.form === 'fixed'
      ? distinctBytes(values.data, undefined, values.width, values.count)
      : distinctBytes(values.data, values.offsets, 0, values.count)
  return distinct !== undefined && dictionaryBytes(values, distinct) <= DICTIONARY_BYTES_MAX ? distinct : undefined
}

function dictionaryBytes(values: PresentValues, distinct: Distinct): number {
  if (values.form === 'words') return distinct.size * values.words * 4
  if (values.form === 'fixed') return distinct.size * values.width
  if (values.form === 'bits') return 0
  let bytes = 0
  for (let i = 0; i < distinct.size; i++) {
    const at = distinct.firsts[i]
    bytes += 4 + values.offsets[at + 1] - values.offsets[at]
  }
  return bytes
}

function dictionaryBody(values: PresentValues, distinct: Distinct): Uint8Array {
  const sink = new ByteSink(dictionaryBytes(values, distinct))
  for (let i = 0; i < distinct.size; i++) {
    const at = distinct.firsts[i]
    if (values.form === 'words') sink.append(wordsAsBytes(values.values, at * values.words, (at + 1) * values.words))
    else if (values.form === 'fixed') sink.append(values.data.subarray(at * values.width, (at + 1) * values.width))
    else if (values.form === 'bytes') {
      const length = values.offsets[at + 1] - values.offsets[at]
      for (let shift = 0; shift < 32; shift += 8) sink.bytes[sink.length++] = length >>> shift
      sink.append(values.data.subarray(values.offsets[at], values.offsets[at + 1]))
    }
  }
  return sink.written
}

function wordsAsBytes(words: Int32Array, from: number, to: number): Uint8Array {
  return new Uint8Array(words.buffer, words.byteOffset + from * 4, (to - from) * 4)
}

export type ValueEncoder = {
  readonly encoding: number
  /** Encoded bytes of the present values `[from, to)`. */
  readonly write: (sink: PageSink, from: number, to: number) => void
}

/** Makes room for the values of a page, after its levels. */
export type PageSink = (bytesMax: number) => ByteSink

export function chooseEncoder(
  vector: ColumnVector,
  values: PresentValues,
  distinct: Distinct | undefined,
): ValueEncoder {
  if (distinct !== undefined) {
    const width = Math.max(1, bitWidthOf(distinct.size - 1))
    return {
      encoding: ENCODING.rleDictionary,
      write: (sink, from, to) => {
        const out = sink(1 + hybridBytesMax(to - from, width))
        out.bytes[out.length++] = width
        writeHybrid(out, distinct.indices, from, to, width)
      },
    }
  }
  if (values.form === 'bytes') {
    return { encoding: ENCODING.deltaLengthByteArray, write: (sink, from, to) => writeTexts(sink, values, from, to) }
  }
  if (values.form === 'words') {
    const { kind } = vector.column.type
    const steps =
      kind === 'float' || kind === 'double' ? undefined : smallSteps(values.values, values.words, values.count)
    if (steps !== undefined) {
      return {
        encoding: ENCODING.deltaBinaryPacked,
        write: (sink, from, to) => writeDelta(sink(deltaBytesMax(to - from)), steps, from, to),
      }
    }
  }
  return { encoding: ENCODING.plain, write: (sink, from, to) => writePlain(sink, values, from, to) }
}

function writeTexts(sink: PageSink, values: Extract<PresentValues, { form: 'bytes' }>, from: number, to: number): void {
  const { data, offsets } = values
  const lengths = chunkInts(to - from)
  for (let i = from; i < to; i++) lengths[i - from] = offsets[i + 1] - offsets[i]
  const out = sink(deltaBytesMax(to - from) + offsets[to] - offsets[from])
  writeDelta(out, lengths, 0, lengths.length)
  out.append(data.subarray(offsets[from], offsets[to]))
}

function writePlain(sink: PageSink, values: PresentValues, from: number, to: number): void {
  if (values.form === 'bits') {
    const bytes = (to - from + 7) >> 3
    const out = sink(bytes)
    copyBits(values.bits, from, to, out.bytes, out.length)
    out.length += bytes
  } else if (values.form === 'words') {
    sink((to - from) * values.words * 4).append(wordsAsBytes(values.values, from * values.words, to * values.words))
  } else if (values.form === 'fixed') {
    sink((to - from) * values.width).append(values.data.subarray(from * values.width, to * values.width))
  }
}

/**
 * The integers as exact doubles when steps between neighbours are small enough for delta encoding to pay (judged by
 * a few runs of 64 neighbours), else undefined. Values beyond ±2^51 would not stay exact.
 */
function smallSteps(values: Int32Array, words: 1 | 2, count: number): Float64Array | Int32Array | undefined {
  if (count < 2) return undefined
  const stride = Math.max(64, Math.floor(count / 16))
  let bits = 0
  let runs = 0
  for (let start = 0; start + 1 < count; start += stride) {
    let smallest = Number.POSITIVE_INFINITY
    let largest = Number.NEGATIVE_INFINITY
    for (let i = start; i + 1 < count && i < start + 64; i++) {
      const step = numberAt(values, words, i + 1) - numberAt(values, words, i)
      if (step < smallest) smallest = step
      if (step > largest) largest = step
    }
    bits += Math.log2(largest - smallest + 1)
    runs++
  }
  if (!(bits / runs <= words * 32 - DELTA_SAVES_MIN)) return undefined
  if (words === 1) return values.subarray(0, count)
  const numbers = chunkDoubles(count)
  for (let i = 0; i < count; i++) {
    const high = values[2 * i + 1]
    if (high >= 0x80000 || high < -0x80000) return undefined
    numbers[i] = high * 4294967296 + (values[2 * i] >>> 0)
  }
  return numbers
}

function numberAt(values: Int32Array, words: 1 | 2, at: number): number {
  return words === 1 ? values[at] : values[2 * at + 1] * 4294967296 + (values[2 * at] >>> 0)
}

/** Row ranges of the pages: by rows where values are small, else by bytes. An empty chunk still has one page. */
function* pageRows(
  vector: ColumnVector,
  values: PresentValues,
  from: number,
  to: number,
  hasDictionary: boolean,
): Generator<readonly [number, number]> {
  const offsets = values.form === 'bytes' && !hasDictionary ? vector.offsets : undefined
  if (from === to) yield [from, to]
  let start = from
  while (start < to) {
    let end = Math.min(to, start + PAGE_ROWS)
    if (offsets !== undefined && offsets[end] - offsets[start] > PAGE_BYTES) {
      end = start + 1
      while (end < to && offsets[end + 1] - offsets[start] <= PAGE_BYTES) end++
    }
    yield [start, end]
    start = end
  }
}

function dataBody(
  vector: ColumnVector,
  validity: Uint8Array | undefined,
  start: number,
  end: number,
  present: number,
  writeValues: (sink: PageSink) => void,
): Uint8Array {
  const levelBytesMax = vector.column.required ? 0 : 4 + 10 + ((end - start + 7) >> 3)
  const bodyStart = workspace.length
  writeValues((bytesMax) => {
    workspace.reserve(levelBytesMax + bytesMax)
    if (!vector.column.required) {
      workspace.length += 4
      writeLevels(workspace, validity, start, end, present)
      new DataView(workspace.bytes.buffer).setUint32(bodyStart, workspace.length - bodyStart - 4, true)
    }
    return workspace
  })
  return workspace.bytes.subarray(bodyStart, workspace.length)
}

export function closeChunk(
  pages: readonly Page[],
  valueCount: number,
  nullCount: number,
  extremes: Extremes,
  options: Pick<WriteParquetOptions, 'compression' | 'level'>,
): EncodedChunk {
  const bodies = pages.map((page) => page.body)
  const compressed = options.compression === 'zstd' ? compressAll(bodies, options.level) : undefined
  const stored = compressed ?? bodies.map((body) => body.slice())
  const parts: Uint8Array[] = []
  let bytes = 0
  let uncompressedBytes = 0
  let dictionaryPageBytes = 0
  pages.forEach((page, i) => {
    const header = pageHeader(page, page.body.length, stored[i])
    parts.push(header, stored[i])
    bytes += header.length + stored[i].length
    uncompressedBytes += header.length + page.body.length
    if (page.isDictionary) dictionaryPageBytes = header.length + stored[i].length
  })
  const encodings = new Set<number>([ENCODING.rle, ...pages.map((page) => page.encoding)])
  return {
    parts,
    bytes,
    uncompressedBytes,
    dictionaryBytes: dictionaryPageBytes,
    codec: compressed === undefined ? CODEC.uncompressed : CODEC.zstd,
    encodings: [...encodings],
    valueCount,
    nullCount,
    extremes,
  }
}

/** A codec belongs to a whole chunk: compressed only if the chunk gets smaller by a twentieth. */
function compressAll(bodies: readonly Uint8Array[], level: number): Uint8Array[] | undefined {
  const before = bodies.reduce((sum, body) => sum + body.length, 0)
  if (before < COMPRESS_BYTES_MIN) return undefined
  const params = { [zlib.ZSTD_c_compressionLevel]: level }
  // One output chunk for the whole body: the default of 16 KiB would be joined from many pieces.
  const compressed = bodies.map((body) =>
    zstdCompressSync(body, { params, chunkSize: Math.max(1024, body.length), pledgedSrcSize: body.length }),
  )
  const after = compressed.reduce((sum, body) => sum + body.length, 0)
  return after <= before * 0.95 ? compressed : undefined
}

const DATA_PAGE = 0
const DICTIONARY_PAGE = 2

function pageHeader(page: Page, uncompressedBytes: number, stored: Uint8Array): Uint8Array {
  const writer = new ThriftWriter(HEADER_BYTES)
  writer.beginStruct()
  writer.i32Field(1, page.isDictionary ? DICTIONARY_PAGE : DATA_PAGE)
  writer.i32Field(2, uncompressedBytes)
  writer.i32Field(3, stored.length)
  writer.i32Field(4, crc32(stored) | 0)
  if (page.isDictionary) {
    writer.structField(7, () => {
      writer.i32Field(1, page.count)
      writer.i32Field(2, page.encoding)
    })
  } else {
    writer.structField(5, () => {
      writer.i32Field(1, page.count)
      writer.i32Field(2, page.encoding)
      writer.i32Field(3, ENCODING.rle)
      writer.i32Field(4, ENCODING.rle)
    })
  }
  writer.endStruct()
  return writer.bytes
}
