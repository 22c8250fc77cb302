/**
 * Random Protobuf messages with values, for tests: as a .proto text, as protobufjs encodes them, and as the columns must hold
 * them (`vectorValue`).
 */
import fc from 'fast-check'
import protobuf from 'protobufjs'

const SCALARS = [
  'double',
  'float',
  'int32',
  'int64',
  'uint32',
  'uint64',
  'sint32',
  'sint64',
  'fixed32',
  'fixed64',
  'sfixed32',
  'sfixed64',
  'bool',
  'string',
  'bytes',
] as const
type Scalar = (typeof SCALARS)[number]
const KEYS = ['int32', 'int64', 'uint32', 'sint64', 'fixed32', 'sfixed64', 'bool', 'string'] as const

export type ProtoShape =
  | { readonly k: Scalar | 'enum' | 'timestamp' }
  | { readonly k: 'wrapper'; readonly of: Scalar }
  | { readonly k: 'message'; readonly fields: readonly FieldShape[] }

export type FieldShape = {
  readonly label: 'implicit' | 'optional' | 'repeated' | 'map' | 'oneof'
  readonly key: (typeof KEYS)[number]
  readonly number: number
  readonly shape: ProtoShape
}

const WRAPPED: Partial<Record<Scalar, string>> = {
  double: 'DoubleValue',
  float: 'FloatValue',
  int64: 'Int64Value',
  uint64: 'UInt64Value',
  int32: 'Int32Value',
  uint32: 'UInt32Value',
  bool: 'BoolValue',
  string: 'StringValue',
  bytes: 'BytesValue',
}

const leaf: fc.Arbitrary<ProtoShape> = fc.oneof(
  fc.constantFrom(...SCALARS).map((k) => ({ k })),
  fc.constantFrom('enum' as const, 'timestamp' as const).map((k) => ({ k })),
  fc
    .constantFrom('double' as const, 'int64' as const, 'uint32' as const, 'bool' as const, 'string' as const)
    .map((of) => ({ k: 'wrapper' as const, of })),
)

export const protoShapes: fc.Arbitrary<Extract<ProtoShape, { k: 'message' }>> = fc.letrec<{
  shape: ProtoShape
  message: Extract<ProtoShape, { k: 'message' }>
}>((tie) => ({
  shape: fc.oneof(
    { depthSize: 'small', maxDepth: 3 },
    { weight: 4, arbitrary: leaf },
    { weight: 1, arbitrary: tie('message') },
  ),
  message: fc
    .uniqueArray(
      fc.record({
        label: fc.constantFrom('implicit', 'optional', 'repeated', 'map', 'oneof'),
        key: fc.constantFrom(...KEYS),
        number: fc.oneof(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 18_000 })),
        shape: tie('shape'),
      }),
      { minLength: 1, maxLength: 6, selector: ({ number }) => number },
    )
    .map((fields) => ({ k: 'message' as const, fields: fields as FieldShape[] })),
})).message

/** proto3; the first message is the one of the records. Fields are named by their number. */
export function protoText(shape: Extract<ProtoShape, { k: 'message' }>): string {
  const messages: string[] = []
  write(shape)
  return [
    'syntax = "proto3";',
    'package t.x;',
    'import "google/protobuf/timestamp.proto";',
    'import "google/protobuf/wrappers.proto";',
    'enum Color { NONE = 0; RED = 1; GREEN = 2; DEEP = -7; }',
    ...messages,
  ].join('\n')

  function write(message: Extract<ProtoShape, { k: 'message' }>): string {
    const at = messages.length
    const name = `M${at}`
    messages.push('')
    const line = (field: FieldShape, prefix: string) =>
      `${prefix}${typeOf(field.shape)} f${field.number} = ${field.number};`
    const lines = message.fields
      .filter(({ label }) => label !== 'oneof')
      .map((field) => {
        if (field.label === 'map') {
          return `map<${field.key}, ${typeOf(field.shape)}> f${field.number} = ${field.number};`
        }
        return line(field, field.label === 'implicit' ? '' : `${field.label} `)
      })
    const members = message.fields.filter(({ label }) => label === 'oneof')
    if (members.length > 0) lines.push(`oneof o { ${members.map((field) => line(field, '')).join(' ')} }`)
    messages[at] = `message ${name} { ${lines.join(' ')} }`
    return name
  }

  function typeOf(each: ProtoShape): string {
    switch (each.k) {
      case 'message':
        return write(each)
      case 'enum':
        return 'Color'
      case 'timestamp':
        return 'google.protobuf.Timestamp'
      case 'wrapper':
        return `google.protobuf.${WRAPPED[each.of]}`
      default:
        return each.k
    }
  }
}

const COLORS: Readonly<Record<number, string>> = { 0: 'NONE', 1: 'RED', 2: 'GREEN', [-7]: 'DEEP' }
const text = fc.string({ unit: fc.constantFrom('a', 'b', '"', 'é', '€', '😀', '\u0000'), maxLength: 60 })

function scalarValues(k: Scalar): fc.Arbitrary<unknown> {
  switch (k) {
    case 'double':
      return fc.double()
    case 'float':
      return fc.float()
    case 'bool':
      return fc.boolean()
    case 'string':
      return text
    case 'bytes':
      return fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
    case 'int32':
    case 'sint32':
    case 'sfixed32':
      return fc.oneof(fc.integer(), fc.integer({ min: -100, max: 100 }))
    case 'uint32':
    case 'fixed32':
      return fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(BigInt)
    case 'uint64':
    case 'fixed64':
      return fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }), fc.bigInt({ min: 0n, max: 300n }))
    default:
      return fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt({ min: -300n, max: 300n }))
  }
}

/** undefined: absent. Maps as pairs. */
export function protoValues(shape: ProtoShape): fc.Arbitrary<unknown> {
  switch (shape.k) {
    case 'enum':
      return fc.constantFrom(0, 1, 2, -7, 99)
    case 'timestamp':
      return fc.record({
        seconds: fc.bigInt({ min: -62_135_596_800n, max: 253_402_300_799n }),
        nanos: fc.integer({ min: 0, max: 999_999_999 }),
      })
    case 'wrapper':
      return scalarValues(shape.of).map((value) => ({ value }))
    case 'message': {
      const members = shape.fields.filter(({ label }) => label === 'oneof')
      return fc
        .tuple(
          fc.nat(),
          fc.tuple(
            ...shape.fields.map((field) => {
              const values = protoValues(field.shape)
              if (field.label === 'repeated') return fc.array(values, { maxLength: 5 })
              if (field.label === 'map') {
                return fc.uniqueArray(fc.tuple(scalarValues(field.key), values), {
                  maxLength: 4,
                  selector: ([key]) => String(key),
                })
              }
              return fc.option(values, { nil: undefined })
            }),
          ),
        )
        .map(([which, values]) => {
          const chosen = members.length > 0 ? members[which % members.length] : undefined
          return values.map((value, index) =>
            shape.fields[index].label === 'oneof' && shape.fields[index] !== chosen ? undefined : value,
          )
        })
    }
    default:
      return scalarValues(shape.k)
  }
}

/** Bytes by the library's own writer and this function's own walk: fields in the order given, lists packed or not. */
export function encodeProto(
  shape: Extract<ProtoShape, { k: 'message' }>,
  values: unknown,
  packed: boolean,
  reversed = false,
): Uint8Array {
  const writer = protobuf.Writer.create()
  const order = shape.fields.map((_, index) => index)
  if (reversed) order.reverse()
  for (const index of order) {
    const field = shape.fields[index]
    const value = (values as unknown[])[index]
    if (value === undefined) continue
    if (field.label === 'map') {
      for (const [key, each] of value as [unknown, unknown][]) {
        writer.uint32((field.number << 3) | 2).fork()
        writeValue({ k: field.key }, 1, key)
        writeValue(field.shape, 2, each)
        writer.ldelim()
      }
    } else if (field.label === 'repeated') {
      const list = value as unknown[]
      const { k } = field.shape
      if (packed && k !== 'string' && k !== 'bytes' && k !== 'message' && k !== 'timestamp' && k !== 'wrapper') {
        writer.uint32((field.number << 3) | 2).fork()
        for (const each of list) writeScalar(k === 'enum' ? 'int32' : k, each)
        writer.ldelim()
      } else for (const each of list) writeValue(field.shape, field.number, each)
    } else writeValue(field.shape, field.number, value)
  }
  return writer.finish()

  function writeValue(each: ProtoShape, number: number, value: unknown): void {
    switch (each.k) {
      case 'message':
        writer.uint32((number << 3) | 2).bytes(encodeProto(each, value, packed, reversed))
        return
      case 'timestamp': {
        const { seconds, nanos } = value as { seconds: bigint; nanos: number }
        writer.uint32((number << 3) | 2).fork()
        writer.uint32(8)
        writeScalar('int64', seconds)
        writer.uint32(16).int32(nanos).ldelim()
        return
      }
      case 'wrapper':
        writer.uint32((number << 3) | 2).fork()
        writeValue({ k: each.of }, 1, (value as { value: unknown }).value)
        writer.ldelim()
        return
      default: {
        const kind = each.k === 'enum' ? 'int32' : each.k
        writer.uint32((number << 3) | protobuf.types.basic[kind])
        writeScalar(kind, value)
      }
    }
  }

  function writeScalar(kind: Scalar, value: unknown): void {
    if (typeof value !== 'bigint') {
      const write = writer[kind] as (each: unknown) => protobuf.Writer
      write.call(writer, value)
    } else if (kind === 'uint32' || kind === 'fixed32') writer[kind](Number(value))
    else {
      const { fromString } = protobuf.util.Long as unknown as { fromString(text: string, unsigned: boolean): unknown }
      const long = fromString(value.toString(), kind.startsWith('u') || kind === 'fixed64')
      ;(writer[kind as 'int64'] as (each: unknown) => protobuf.Writer).call(writer, long)
    }
  }
}

export function protoInColumn(shape: ProtoShape, value: unknown): unknown {
  switch (shape.k) {
    case 'enum':
      return COLORS[value as number] ?? String(value)
    case 'timestamp': {
      const { seconds, nanos } = value as { seconds: bigint; nanos: number }
      return seconds * 1_000_000n + BigInt(Math.floor(nanos / 1000))
    }
    case 'wrapper':
      return protoInColumn({ k: shape.of }, (value as { value: unknown }).value)
    case 'float':
      return Math.fround(value as number)
    case 'message':
      return Object.fromEntries(
        shape.fields.map((field, index) => [`f${field.number}`, fieldInColumn(field, (value as unknown[])[index])]),
      )
    default:
      return value
  }
}

function fieldInColumn(field: FieldShape, value: unknown): unknown {
  if (field.label === 'repeated') return (value as unknown[]).map((each) => protoInColumn(field.shape, each))
  if (field.label === 'map') {
    return (value as [unknown, unknown][]).map(([key, each]) => [key, protoInColumn(field.shape, each)])
  }
  if (value !== undefined) return protoInColumn(field.shape, value)
  const { k } = field.shape
  if (field.label !== 'implicit' || k === 'message' || k === 'timestamp' || k === 'wrapper') return null
  if (k === 'enum') return 'NONE'
  if (k === 'string') return ''
  if (k === 'bytes') return Buffer.alloc(0)
  if (k === 'bool') return false
  return /^(double|float|int32|sint32|sfixed32)$/.test(k) ? 0 : 0n
}
