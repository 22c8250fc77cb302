/**
 * Avro values as Kafka Connect data, for pipelines with transforms: the general way. Types are mapped as Confluent's Avro
 * converter does, and where that keeps a bare number of a logical type (microseconds, nanoseconds, local times) as Connect's
 * logical type with the microseconds kept.
 *
 *   int (int8, int16 by `connect.type`)   int32 (int8, int16)      date                  Date
 *   long, float, double, boolean          int64, float32, …        time-*                Time
 *   string, enum, uuid                    string                   timestamp-*, local-*  Timestamp
 *   bytes, fixed                          bytes                    decimal               Decimal, with its precision
 *   record                                struct, named            array, map            array, map with string keys
 *   [null, T]                             T, optional              other unions          struct of optional members
 *
 * `connect.name`, `connect.version`, `connect.doc` and `connect.parameters` are taken over, and defaults of single values.
 */
import { ConnectSchema, DATE, DECIMAL, type SchemaParts, TIME, TIMESTAMP } from '../../connect/data/schema.ts'
import { type ConnectValue, Decimal, Instant, instantOfMicros, Struct } from '../../connect/data/values.ts'
import { floorDiv, signedOf } from '../binary/put-values.ts'
import type { ReadValue } from '../format.ts'
import { memberNames } from './avro-columns.ts'
import { type AvroCursor, readWith } from './avro-cursor.ts'
import { type AvroType, valueOfOptional } from './avro-type.ts'

const UNION_NAME = 'io.confluent.connect.avro.Union'
const DEFAULT_NAME = 'ConnectDefault'
const PRECISION = 'connect.decimal.precision'
const DAY_MS = 86_400_000
/** Years that a Java Date can hold are more; beyond these a double no longer tells milliseconds apart. */
const SAFE_MICROS = BigInt(Number.MAX_SAFE_INTEGER) * 1000n

type Reader = { readonly schema: ConnectSchema; readonly read: (cursor: AvroCursor) => ConnectValue }

/** Throws for a record inside itself; `avroFields` has refused those before. */
export function createAvroReader(type: AvroType): ReadValue {
  const reader = readerOf(type, false, undefined)
  return (bytes, start, end) => {
    const result = readWith(type, bytes, start, end, reader.read)
    return 'failure' in result ? result : { schema: reader.schema, value: result.value }
  }
}

function readerOf(type: AvroType, optional: boolean, fallback: unknown): Reader {
  const alternative = valueOfOptional(type)
  if (alternative) {
    const { value, nullIndex } = alternative
    const inner = readerOf(value, optional || nullIndex >= 0, nullIndex === 0 ? undefined : fallback)
    const branches = nullIndex < 0 ? 1 : 2
    return {
      schema: inner.schema,
      read: (cursor) => (cursor.index(branches, 'union branch') === nullIndex ? null : inner.read(cursor)),
    }
  }
  const common = commonParts(type, optional, fallback)
  const { logical } = type
  if (logical?.kind === 'decimal') {
    const { precision, scale } = logical
    const size = type.kind === 'fixed' ? type.size : undefined
    const parameters = new Map([...common.parameters, ['scale', String(scale)], [PRECISION, String(precision)]])
    return {
      schema: new ConnectSchema({ ...common, type: 'bytes', name: DECIMAL, version: 1, parameters }),
      read(cursor) {
        const span = cursor.span(size)
        const unscaled = signedOf(span, 0, span.length) ?? cursor.stop('a decimal of too many digits')
        return new Decimal(unscaled, scale)
      },
    }
  }
  switch (type.kind) {
    case 'null':
      return { schema: new ConnectSchema({ ...common, type: 'string', optional: true }), read: () => null }
    case 'boolean':
      return { schema: new ConnectSchema({ ...common, type: 'boolean' }), read: (cursor) => cursor.boolean() }
    case 'float':
      return { schema: new ConnectSchema({ ...common, type: 'float32' }), read: (cursor) => cursor.float() }
    case 'double':
      return { schema: new ConnectSchema({ ...common, type: 'float64' }), read: (cursor) => cursor.double() }
    case 'string':
      return { schema: new ConnectSchema({ ...common, type: 'string' }), read: (cursor) => cursor.text() }
    case 'int':
    case 'long':
      return integerReader(type, common)
    case 'bytes':
    case 'fixed': {
      const size = type.kind === 'fixed' ? type.size : undefined
      if (logical?.kind === 'uuid') {
        return { schema: new ConnectSchema({ ...common, type: 'string' }), read: (c) => uuidText(c.span(size)) }
      }
      const schema = new ConnectSchema({ ...common, type: 'bytes' })
      return { schema, read: (cursor) => Uint8Array.from(cursor.span(size)) }
    }
    case 'enum': {
      const { symbols } = type
      const schema = new ConnectSchema({ ...common, type: 'string' })
      return { schema, read: (cursor) => symbols[cursor.index(symbols.length, 'symbol')] }
    }
    case 'array': {
      const item = readerOf(type.items, false, undefined)
      return {
        schema: new ConnectSchema({ ...common, type: 'array', valueSchema: item.schema }),
        read(cursor) {
          const items: ConnectValue[] = []
          cursor.items(type, () => items.push(item.read(cursor)))
          return items
        },
      }
    }
    case 'map': {
      const value = readerOf(type.values, false, undefined)
      const keySchema = new ConnectSchema({ type: 'string' })
      return {
        schema: new ConnectSchema({ ...common, type: 'map', keySchema, valueSchema: value.schema }),
        read(cursor) {
          const map = new Map<ConnectValue, ConnectValue>()
          cursor.items(type, () => {
            const key = cursor.text()
            map.set(key, value.read(cursor))
          })
          return map
        },
      }
    }
    case 'record': {
      const readers = type.fields.map((field) => readerOf(field.type, false, field.fallback))
      const fields = type.fields.map(({ name }, index) => ({ name, schema: readers[index].schema }))
      const schema = new ConnectSchema({ ...common, type: 'struct', fields })
      return {
        schema,
        read: (cursor) =>
          new Struct(
            schema,
            readers.map(({ read }) => read(cursor)),
          ),
      }
    }
    case 'union':
      return unionReader(type.branches, common)
  }
}

function unionReader(branches: readonly AvroType[], common: Common): Reader {
  const names = memberNames(branches)
  const readers = branches.map((branch) => readerOf(branch, true, undefined))
  const members = branches.map((_, index) => index).filter((index) => branches[index].kind !== 'null')
  const schema = new ConnectSchema({
    ...common,
    type: 'struct',
    name: UNION_NAME,
    optional: common.optional || members.length < branches.length,
    fields: members.map((index) => ({ name: names[index], schema: readers[index].schema })),
  })
  return {
    schema,
    read(cursor) {
      const branch = cursor.index(branches.length, 'union branch')
      if (branches[branch].kind === 'null') return null
      const value = readers[branch].read(cursor)
      return new Struct(
        schema,
        members.map((index) => (index === branch ? value : null)),
      )
    },
  }
}

function integerReader(type: AvroType, common: Common): Reader {
  const temporal = (name: string, inMicros: (value: bigint) => bigint): Reader => ({
    schema: new ConnectSchema({
      ...common,
      type: name === TIMESTAMP ? 'int64' : 'int32',
      name,
      version: 1,
      defaultValue: undefined,
    }),
    read(cursor) {
      const micros = inMicros(type.kind === 'int' ? BigInt(cursor.int()) : cursor.long())
      if (micros > SAFE_MICROS || micros < -SAFE_MICROS) cursor.stop('number out of range')
      return instantOfMicros(micros)
    },
  })
  switch (type.logical?.kind) {
    case 'date':
      return {
        schema: new ConnectSchema({ ...common, type: 'int32', name: DATE, version: 1, defaultValue: undefined }),
        read: (cursor) => new Instant(cursor.int() * DAY_MS),
      }
    case 'time-millis':
      return temporal(TIME, (value) => value * 1000n)
    case 'time-micros':
      return temporal(TIME, (value) => value)
    case 'timestamp-millis':
    case 'local-timestamp-millis':
      return temporal(TIMESTAMP, (value) => value * 1000n)
    case 'timestamp-micros':
    case 'local-timestamp-micros':
      return temporal(TIMESTAMP, (value) => value)
    case 'timestamp-nanos':
    case 'local-timestamp-nanos':
      return temporal(TIMESTAMP, (value) => floorDiv(value, 1000n))
  }
  if (type.kind === 'long') {
    return { schema: new ConnectSchema({ ...common, type: 'int64' }), read: (cursor) => cursor.long() }
  }
  const narrow = type.properties?.['connect.type']
  const size = narrow === 'int8' || narrow === 'int16' ? narrow : 'int32'
  return { schema: new ConnectSchema({ ...common, type: size }), read: (cursor) => cursor.int() }
}

type Common = Omit<SchemaParts, 'type' | 'parameters'> & { readonly parameters: Map<string, string> }

function commonParts(type: AvroType, optional: boolean, fallback: unknown): Common {
  const properties = type.properties ?? {}
  const name = properties['connect.name'] ?? ('name' in type && type.kind !== 'fixed' ? type.name : undefined)
  const version = properties['connect.version']
  const doc = properties['connect.doc'] ?? (type.kind === 'record' ? type.doc : undefined)
  const parameters = properties['connect.parameters']
  const isPlain = typeof parameters === 'object' && parameters !== null
  return {
    optional,
    name: typeof name === 'string' && !name.endsWith(DEFAULT_NAME) ? name : undefined,
    version: typeof version === 'number' ? version : undefined,
    doc: typeof doc === 'string' ? doc : undefined,
    parameters: new Map(isPlain ? Object.entries(parameters).map(([key, value]) => [key, String(value)]) : []),
    defaultValue: defaultOf(type, fallback),
  }
}

function defaultOf(type: AvroType, fallback: unknown): ConnectValue | undefined {
  if (type.logical !== undefined) return undefined
  switch (type.kind) {
    case 'int':
      return Number.isInteger(fallback) ? (fallback as number) : undefined
    case 'long':
      return Number.isSafeInteger(fallback) ? BigInt(fallback as number) : undefined
    case 'float':
    case 'double':
      return typeof fallback === 'number' ? fallback : undefined
    case 'boolean':
      return typeof fallback === 'boolean' ? fallback : undefined
    case 'string':
    case 'enum':
      return typeof fallback === 'string' ? fallback : undefined
    default:
      return undefined
  }
}

function uuidText(span: Uint8Array): string {
  const hex = Buffer.from(span).toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
