/**
 * JSON bytes → a tree of values, for what does not go straight into columns: schemas in JSON, inference, Connect data.
 *
 * Unlike `JSON.parse` it keeps numbers as their text (an int64 does not go through a double, `1.0` stays apart from `1`) and the
 * keys of an object in their order. The same texts are accepted as by the decoder: strict UTF-8, nesting up to `DEPTH_MAX`. Of
 * a key that comes twice the last value counts, in the first one's place.
 */
import {
  decodeEscapes,
  problem,
  scanProblem,
  scanProblemAt,
  skipColon,
  skipNumber,
  skipSpace,
  skipString,
  skipValue,
  stringHasEscape,
} from '../../decoder/scan-json.ts'

export class JsonNumber {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

export type JsonObject = ReadonlyMap<string, JsonValue>
export type JsonValue = null | boolean | JsonNumber | string | readonly JsonValue[] | JsonObject

/** The same with other numbers. */
export type JsonTree<N> = null | boolean | N | string | readonly JsonTree<N>[] | ReadonlyMap<string, JsonTree<N>>

/** `bytes[start, end)` is one value; else `{ problem }` says why not. */
export function readJson(bytes: Uint8Array, start = 0, end = bytes.length): { value: JsonValue } | { problem: string } {
  return readTree(bytes, start, end, (text) => new JsonNumber(text))
}

/** Numbers as `numberOf` makes them from their text. */
export function readTree<N>(
  bytes: Uint8Array,
  start: number,
  end: number,
  numberOf: (text: string) => N,
): { value: JsonTree<N> } | { problem: string } {
  const at = skipSpace(bytes, start, end)
  if (at >= end) return { problem: 'malformed JSON: empty record at byte 0' }
  let after = skipValue(bytes, at, end, 0)
  if (after >= 0) {
    after = skipSpace(bytes, after, end)
    if (after < end) after = problem('more text after the value', after)
  }
  if (after < 0) return { problem: `malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}` }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return { value: readValue({ bytes, text, at, end, numberOf }) }
}

/** Text that is known to be JSON, or throws. */
export function parseJson(text: string): JsonValue {
  const result = readJson(Buffer.from(text))
  if ('problem' in result) throw new SyntaxError(result.problem)
  return result.value
}

type Reader<N> = {
  readonly bytes: Uint8Array
  /** The same bytes. */
  readonly text: Buffer
  at: number
  readonly end: number
  readonly numberOf: (text: string) => N
}

/** The text is well-formed: `skipValue` has seen it, and bounds the depth. */
function readValue<N>(reader: Reader<N>): JsonTree<N> {
  const { bytes, end } = reader
  switch (bytes[reader.at]) {
    case 0x7b:
      return readObject(reader)
    case 0x5b:
      return readArray(reader)
    case 0x22:
      return readString(reader)
    case 0x74:
      reader.at += 4
      return true
    case 0x66:
      reader.at += 5
      return false
    case 0x6e:
      reader.at += 4
      return null
    default: {
      const start = reader.at
      reader.at = skipNumber(bytes, start, end)
      return reader.numberOf(reader.text.toString('latin1', start, reader.at))
    }
  }
}

function readObject<N>(reader: Reader<N>): ReadonlyMap<string, JsonTree<N>> {
  const { bytes, end } = reader
  const made = new Map<string, JsonTree<N>>()
  reader.at = skipSpace(bytes, reader.at + 1, end)
  while (bytes[reader.at] !== 0x7d) {
    if (bytes[reader.at] === 0x2c) reader.at = skipSpace(bytes, reader.at + 1, end)
    const key = readKey(reader)
    reader.at = skipColon(bytes, reader.at, end)
    made.set(key, readValue(reader))
    reader.at = skipSpace(bytes, reader.at, end)
  }
  reader.at += 1
  return made
}

function readArray<N>(reader: Reader<N>): JsonTree<N>[] {
  const { bytes, end } = reader
  const made: JsonTree<N>[] = []
  reader.at = skipSpace(bytes, reader.at + 1, end)
  while (bytes[reader.at] !== 0x5d) {
    if (bytes[reader.at] === 0x2c) reader.at = skipSpace(bytes, reader.at + 1, end)
    made.push(readValue(reader))
    reader.at = skipSpace(bytes, reader.at, end)
  }
  reader.at += 1
  return made
}

function readString<N>(reader: Reader<N>): string {
  const { bytes, end } = reader
  const start = reader.at + 1
  const quote = skipString(bytes, start, end)
  reader.at = quote + 1
  if (!stringHasEscape) return reader.text.toString('utf8', start, quote)
  const decoded = Buffer.alloc(quote - start)
  return decoded.toString('utf8', 0, decodeEscapes(bytes, start, quote, decoded, 0))
}

/** Keys are mostly those of the record before: their texts are kept, which costs half of making them again. */
const KEYS = 256
const KEY_BYTES_MAX = 64
const keyTexts: string[] = Array.from({ length: KEYS }, () => '')
const keyBytes: Uint8Array[] = Array.from({ length: KEYS }, () => new Uint8Array(0))

function readKey<N>(reader: Reader<N>): string {
  const { bytes, end } = reader
  const start = reader.at + 1
  const quote = skipString(bytes, start, end)
  const length = quote - start
  if (stringHasEscape || length === 0 || length > KEY_BYTES_MAX) return readString(reader)
  reader.at = quote + 1
  const place = (length * 31 + bytes[start] * 7 + bytes[quote - 1] * 17 + bytes[start + (length >> 1)]) & (KEYS - 1)
  const known = keyBytes[place]
  if (known.length === length) {
    let same = 0
    while (same < length && known[same] === bytes[start + same]) same += 1
    if (same === length) return keyTexts[place]
  }
  const text = reader.text.toString('utf8', start, quote)
  keyBytes[place] = bytes.slice(start, quote)
  keyTexts[place] = text
  return text
}

export function isJsonObject(value: JsonValue | undefined): value is JsonObject {
  return value instanceof Map
}

export function isJsonArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value)
}

/** As compact JSON text, numbers as they were written. */
export function jsonText(value: JsonValue): string {
  if (value instanceof JsonNumber) return value.text
  if (isJsonArray(value)) return `[${value.map(jsonText).join(',')}]`
  if (isJsonObject(value)) {
    return `{${[...value].map(([key, each]) => `${JSON.stringify(key)}:${jsonText(each)}`).join(',')}}`
  }
  return JSON.stringify(value)
}
