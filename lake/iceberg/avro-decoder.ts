/**
 * Avro binary → plain values, by a schema that is only known when the file is opened. Other engines' schemas differ in
 * names, defaults and logical types, none of which change the bytes, so nothing but the shape is looked at here.
 *
 *   long → bigint, int/enum → number, bytes and fixed → Uint8Array, map → object, array → array, record → object
 */
export type AvroField = { readonly name: string; readonly type: AvroSchema; readonly 'field-id'?: number }
export type AvroSchema =
  | string
  | readonly AvroSchema[]
  | {
      readonly type: AvroSchema
      readonly name?: string
      readonly namespace?: string
      readonly fields?: readonly AvroField[]
      readonly items?: AvroSchema
      readonly values?: AvroSchema
      readonly symbols?: readonly string[]
      readonly size?: number
      readonly logicalType?: string
      readonly [other: string]: unknown
    }

const ITEMS_MAX = 10_000_000

export class AvroCursor {
  readonly bytes: Uint8Array
  position: number
  readonly #view: DataView

  constructor(bytes: Uint8Array, position: number) {
    this.bytes = bytes
    this.position = position
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  take(size: number): Uint8Array {
    const end = this.position + size
    if (size < 0 || end > this.bytes.length) throw new Error(`${size} bytes wanted at ${this.position}, past the end`)
    const taken = this.bytes.subarray(this.position, end)
    this.position = end
    return taken
  }

  long(): bigint {
    let value = 0n
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.take(1)[0]
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n))
    }
    throw new Error(`a number of more than ten bytes before ${this.position}`)
  }

  /** A count of bytes or items. */
  size(): number {
    const value = this.long()
    if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Error(`a size of ${value}`)
    return Number(value)
  }

  /** Of an array's or map's next block: a negative count is followed by the block's size in bytes. */
  blockCount(): number {
    const count = this.long()
    if (count < 0n) this.long()
    const items = Number(count < 0n ? -count : count)
    if (items > ITEMS_MAX) throw new Error(`a block of ${items} items`)
    return items
  }

  text(): string {
    return new TextDecoder('utf-8', { fatal: true }).decode(this.take(this.size()))
  }

  float(): number {
    this.take(4)
    return this.#view.getFloat32(this.position - 4, true)
  }

  double(): number {
    this.take(8)
    return this.#view.getFloat64(this.position - 8, true)
  }
}

export type AvroReader = (cursor: AvroCursor) => unknown

/** The schema as parsed JSON, checked to be an object of a record. */
export function resolveSchema(schema: unknown): AvroSchema {
  if (typeof schema !== 'object' || schema === null || !('fields' in schema)) {
    throw new Error('its schema is not that of a record')
  }
  return schema as AvroSchema
}

export function compileReader(schema: AvroSchema, named: Map<string, AvroReader> = new Map()): AvroReader {
  if (typeof schema === 'string') return readerOfName(schema, named)
  if (isUnion(schema)) {
    const branches = schema.map((branch) => compileReader(branch, named))
    return (cursor) => {
      const branch = branches[cursor.size()]
      if (branch === undefined) throw new Error('a union branch that the schema has not')
      return branch(cursor)
    }
  }
  switch (schema.type) {
    case 'record':
    case 'error':
      return recordReader(schema.fields ?? [], schema, named)
    case 'array':
      return arrayReader(compileReader(schema.items ?? 'null', named))
    case 'map':
      return mapReader(compileReader(schema.values ?? 'null', named))
    case 'enum':
      return remember(schema, named, (cursor) => cursor.size())
    case 'fixed': {
      const size = schema.size ?? 0
      return remember(schema, named, (cursor) => cursor.take(size))
    }
    default:
      return compileReader(schema.type, named)
  }
}

export function isUnion(schema: AvroSchema): schema is readonly AvroSchema[] {
  return Array.isArray(schema)
}

function remember(schema: AvroSchema, named: Map<string, AvroReader>, reader: AvroReader): AvroReader {
  if (typeof schema === 'object' && !isUnion(schema) && schema.name !== undefined) {
    named.set(schema.name, reader)
    if (schema.namespace !== undefined) named.set(`${schema.namespace}.${schema.name}`, reader)
  }
  return reader
}

function recordReader(fields: readonly AvroField[], schema: AvroSchema, named: Map<string, AvroReader>): AvroReader {
  const readers: AvroReader[] = []
  const read = remember(schema, named, (cursor) => {
    const record: Record<string, unknown> = {}
    for (let i = 0; i < readers.length; i++) record[fields[i].name] = readers[i](cursor)
    return record
  })
  // After `remember`, so that a record may hold itself.
  for (const field of fields) readers.push(compileReader(field.type, named))
  return read
}

function arrayReader(item: AvroReader): AvroReader {
  return (cursor) => {
    const items: unknown[] = []
    for (let count = cursor.blockCount(); count > 0; count = cursor.blockCount()) {
      if (items.length + count > ITEMS_MAX) throw new Error('an array of too many items')
      for (let i = 0; i < count; i++) items.push(item(cursor))
    }
    return items
  }
}

function mapReader(value: AvroReader): AvroReader {
  return (cursor) => {
    const entries: [string, unknown][] = []
    for (let count = cursor.blockCount(); count > 0; count = cursor.blockCount()) {
      for (let i = 0; i < count; i++) entries.push([cursor.text(), value(cursor)])
    }
    return Object.fromEntries(entries)
  }
}

function readerOfName(name: string, named: Map<string, AvroReader>): AvroReader {
  switch (name) {
    case 'null':
      return () => null
    case 'boolean':
      return (cursor) => cursor.take(1)[0] !== 0
    case 'int':
      return (cursor) => Number(cursor.long())
    case 'long':
      return (cursor) => cursor.long()
    case 'float':
      return (cursor) => cursor.float()
    case 'double':
      return (cursor) => cursor.double()
    case 'bytes':
      return (cursor) => cursor.take(cursor.size())
    case 'string':
      return (cursor) => cursor.text()
    default: {
      const reader = named.get(name)
      if (reader === undefined) throw new Error(`its schema names an unknown type ${name}`)
      return reader
    }
  }
}
