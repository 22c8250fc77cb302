/**
 * JSON of a JSON Schema → Connect data, by the same rules as into columns: a `date-time` is text or milliseconds, bytes are
 * base64, what is open-ended is its text.
 */
import type { ConnectSchema } from '../../connect/data/schema.ts'
import { type ConnectValue, Instant, instantOfMicros, Struct } from '../../connect/data/values.ts'
import type { JsonShape } from '../../decoder/json-node.ts'
import { textToDays, textToTimeMicros, textToTimestampMicros } from '../../decoder/read-text.ts'
import { connectValue, MisfitValue } from './connect-json.ts'
import { isJsonArray, isJsonObject, type JsonValue, jsonText } from './read-json.ts'

/** Throws a `MisfitValue`. */
export function shapedValue(shape: JsonShape, schema: ConnectSchema, json: JsonValue, path: string): ConnectValue {
  if (json === null) {
    if (schema.defaultValue !== undefined) return schema.defaultValue
    if (schema.optional) return null
    throw new MisfitValue(path, `expected ${schema.type}, found null; it is required`)
  }
  switch (shape.type.kind) {
    case 'json':
      return jsonText(json)
    case 'date':
    case 'time':
    case 'timestamptz':
      if (typeof json === 'string') return instantOf(shape.type.kind, json, path)
      return connectValue(schema, json, path)
    case 'struct':
      if (!shape.fields || !isJsonObject(json)) break
      return new Struct(
        schema,
        shape.fields.map(({ field, shape: own }, index) => {
          const at = path === '' ? field.name : `${path}.${field.name}`
          return shapedValue(own, schema.fields[index].schema, json.get(field.name) ?? null, at)
        }),
      )
    case 'list':
      if (!shape.items || !isJsonArray(json)) break
      return json.map((each) => shapedValue(shape.items![0], schema.valueSchema!, each, `${path}.element`))
    case 'map':
      if (!shape.items || !isJsonObject(json)) break
      return new Map(
        [...json].map(([key, each]) => [key, shapedValue(shape.items![1], schema.valueSchema!, each, `${path}.value`)]),
      )
  }
  return connectValue(schema, json, path)
}

function instantOf(kind: 'date' | 'time' | 'timestamptz', text: string, path: string): Instant {
  if (kind === 'date') {
    const days = textToDays(text)
    if (days !== undefined) return new Instant(days * 86_400_000)
  } else {
    const micros = kind === 'time' ? textToTimeMicros(text) : textToTimestampMicros(text)
    if (micros !== undefined) return instantOfMicros(BigInt(micros))
  }
  throw new MisfitValue(path, `expected ${kind}, found text that is none`)
}
