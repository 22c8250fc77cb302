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

/** `bytes[start, end)` is one value; else `{ problem }` says why not. */
export function readJson(bytes: Uint8Array, start = 0, end = bytes.length): { value: JsonValue } | { problem: string } {
  const at = skipSpace(bytes, start, end)
  if (at >= end) return { problem: 'malformed JSON: empty record at byte 0' }
  let after = skipValue(bytes, at, end, 0)
  if (after >= 0) {
    after = skipSpace(bytes, after, end)
    if (after < end) after = problem('more text after the value', after)
  }
  if (after < 0) return { problem: `malformed JSON: ${scanProblem} at byte ${scanProblemAt - start}` }
  return { value: readValue({ bytes, at, end }) }
}

/** Text that is known to be JSON, or throws. */
export function parseJson(text: string): JsonValue {
  const result = readJson(Buffer.from(text))
  if ('problem' in result) throw new SyntaxError(result.problem)
  return result.value
}

type Reader = { readonly bytes: Uint8Array; at: number; readonly end: number }

/** The text is well-formed: `skipValue` has seen it, and bounds the depth. */
function readValue(reader: Reader): JsonValue {
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
      return new JsonNumber(textOf(bytes, start, reader.at))
    }
  }
}

function readObject(reader: Reader): JsonObject {
  const { bytes, end } = reader
  const made = new Map<string, JsonValue>()
  reader.at = skipSpace(bytes, reader.at + 1, end)
  while (bytes[reader.at] !== 0x7d) {
    if (bytes[reader.at] === 0x2c) reader.at = skipSpace(bytes, reader.at + 1, end)
    const key = readString(reader)
    reader.at = skipColon(bytes, reader.at, end)
    made.set(key, readValue(reader))
    reader.at = skipSpace(bytes, reader.at, end)
  }
  reader.at += 1
  return made
}

function readArray(reader: Reader): JsonValue[] {
  const { bytes, end } = reader
  const made: JsonValue[] = []
  reader.at = skipSpace(bytes, reader.at + 1, end)
  while (bytes[reader.at] !== 0x5d) {
    if (bytes[reader.at] === 0x2c) reader.at = skipSpace(bytes, reader.at + 1, end)
    made.push(readValue(reader))
    reader.at = skipSpace(bytes, reader.at, end)
  }
  reader.at += 1
  return made
}

function readString(reader: Reader): string {
  const { bytes, end } = reader
  const start = reader.at + 1
  const quote = skipString(bytes, start, end)
  reader.at = quote + 1
  if (!stringHasEscape) return textOf(bytes, start, quote)
  const decoded = new Uint8Array(quote - start)
  return textOf(decoded, 0, decodeEscapes(bytes, start, quote, decoded, 0))
}

function textOf(bytes: Uint8Array, start: number, end: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString('utf8')
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
