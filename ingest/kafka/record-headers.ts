/**
 * The headers of one record, from the bytes that a block points at:
 *
 *   count varint, then for each: name length varint, name (UTF-8), value length varint (-1: null), value
 *
 * Varints are zigzag, as everywhere in a record. A name may come several times; the order is the record's.
 */

export type RecordHeader = {
  readonly name: string
  /** A view of the block's bytes: copy it to keep it. */
  readonly value: Uint8Array | null
}

/** undefined: the bytes are no headers. */
export function readHeaders(bytes: Uint8Array, start: number, end: number): readonly RecordHeader[] | undefined {
  // Most records have none: one byte.
  if (end - start === 1 && bytes[start] === 0) return NONE
  const reader = { bytes, at: start, end }
  const count = varint(reader)
  // Each takes two bytes at least.
  if (!(count >= 0 && count * 2 <= end - reader.at)) return undefined
  const headers: RecordHeader[] = []
  for (let index = 0; index < count; index += 1) {
    const name = slice(reader)
    const value = slice(reader)
    if (!name || value === undefined) return undefined
    headers.push({ name: Buffer.from(name.buffer, name.byteOffset, name.length).toString('utf8'), value })
  }
  return reader.at === end ? headers : undefined
}

const NONE: readonly RecordHeader[] = []

type Reader = { readonly bytes: Uint8Array; at: number; readonly end: number }

/** null for a length of -1; undefined where it does not fit. */
function slice(reader: Reader): Uint8Array | null | undefined {
  const length = varint(reader)
  if (length === -1) return null
  if (!(length >= 0 && length <= reader.end - reader.at)) return undefined
  const start = reader.at
  reader.at += length
  return reader.bytes.subarray(start, reader.at)
}

/** NaN where it is cut or longer than the five bytes of an int32. */
function varint(reader: Reader): number {
  let magnitude = 0
  for (let shift = 0; shift < 35 && reader.at < reader.end; shift += 7) {
    const byte = reader.bytes[reader.at++]
    magnitude += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return magnitude % 2 === 0 ? magnitude / 2 : -(magnitude + 1) / 2
  }
  return Number.NaN
}

/** The same bytes from headers, as `readHeaders` takes them. */
export function encodeHeaders(headers: readonly (readonly [Uint8Array, Uint8Array | null])[]): Uint8Array {
  const bytes: number[] = []
  const put = (value: number) => {
    let magnitude = value < 0 ? -value * 2 - 1 : value * 2
    while (magnitude >= 0x80) {
      bytes.push((magnitude % 0x80) | 0x80)
      magnitude = Math.floor(magnitude / 0x80)
    }
    bytes.push(magnitude)
  }
  put(headers.length)
  for (const header of headers) {
    for (const part of header) {
      put(part === null ? -1 : part.length)
      if (part !== null) for (const byte of part) bytes.push(byte)
    }
  }
  return Uint8Array.from(bytes)
}
