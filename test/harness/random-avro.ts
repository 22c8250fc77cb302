/**
 * Random Avro schemas with values, for tests: as JSON text, as avsc encodes them (unions wrapped, longs as bigints), and as
 * the columns must hold them (`vectorValue`).
 */
import avro from 'avsc'
import fc from 'fast-check'

export type Shape =
  | { readonly k: 'null' | 'boolean' | 'int' | 'long' | 'float' | 'double' | 'bytes' | 'string' }
  | {
      readonly k:
        | 'date'
        | 'time-millis'
        | 'time-micros'
        | 'timestamp-millis'
        | 'timestamp-micros'
        | 'timestamp-nanos'
        | 'local-timestamp-micros'
        | 'uuid'
    }
  | { readonly k: 'decimal'; readonly precision: number; readonly scale: number; readonly fixed: boolean }
  | { readonly k: 'fixed'; readonly size: number }
  | { readonly k: 'enum'; readonly symbols: number }
  | { readonly k: 'record'; readonly fields: readonly Shape[] }
  | { readonly k: 'array' | 'map'; readonly inner: Shape }
  | { readonly k: 'optional'; readonly inner: Shape; readonly nullFirst: boolean }
  | { readonly k: 'union'; readonly branches: readonly Shape[] }

export type Named = { readonly json: unknown; readonly shape: Shape }

const NAMESPACE = 'x.y'
const PRIMITIVES = ['boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'] as const
const INT_LOGICAL = ['date', 'time-millis']
const TEXT_LOGICAL = ['uuid']

const leaf: fc.Arbitrary<Shape> = fc.oneof(
  fc.constantFrom(...PRIMITIVES).map((k) => ({ k })),
  fc
    .constantFrom(
      'date' as const,
      'time-millis' as const,
      'time-micros' as const,
      'timestamp-millis' as const,
      'timestamp-micros' as const,
      'timestamp-nanos' as const,
      'local-timestamp-micros' as const,
      'uuid' as const,
    )
    .map((k) => ({ k })),
  fc
    .tuple(fc.integer({ min: 1, max: 38 }), fc.nat(), fc.boolean())
    .map(([precision, scale, fixed]) => ({ k: 'decimal' as const, precision, scale: scale % (precision + 1), fixed })),
  fc.integer({ min: 1, max: 20 }).map((size) => ({ k: 'fixed' as const, size })),
  fc.integer({ min: 1, max: 200 }).map((symbols) => ({ k: 'enum' as const, symbols })),
)

export const shapes: fc.Arbitrary<Shape> = fc.letrec<{ shape: Shape }>((tie) => ({
  shape: fc.oneof(
    { depthSize: 'small', maxDepth: 4, withCrossShrink: true },
    { weight: 4, arbitrary: leaf },
    {
      weight: 2,
      arbitrary: fc
        .array(tie('shape'), { minLength: 1, maxLength: 4 })
        .map((fields) => ({ k: 'record' as const, fields })),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom('array' as const, 'map' as const), tie('shape'))
        .map(([k, inner]) => ({ k, inner })),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(tie('shape'), fc.boolean())
        .filter(([inner]) => inner.k !== 'optional' && inner.k !== 'union' && inner.k !== 'null')
        .map(([inner, nullFirst]) => ({ k: 'optional' as const, inner, nullFirst })),
    },
    {
      weight: 1,
      arbitrary: fc
        .uniqueArray(fc.oneof(leaf, fc.constant<Shape>({ k: 'null' })), {
          minLength: 3,
          maxLength: 5,
          selector: baseKind,
        })
        .map((branches) => ({ k: 'union' as const, branches })),
    },
  ),
})).shape

export const records: fc.Arbitrary<Shape> = fc
  .array(shapes, { minLength: 1, maxLength: 6 })
  .map((fields) => ({ k: 'record', fields }))

function baseKind(shape: Shape): string {
  switch (shape.k) {
    case 'date':
    case 'time-millis':
      return 'int'
    case 'decimal':
      return shape.fixed ? 'fixed' : 'bytes'
    case 'uuid':
      return 'string'
    default:
      return shape.k.includes('-') ? 'long' : shape.k
  }
}

/** A schema with names of its own for each record, enum and fixed. */
export function schemaOf(shape: Shape): unknown {
  let names = 0
  return build(shape)

  function build(each: Shape): unknown {
    switch (each.k) {
      case 'record':
        return {
          type: 'record',
          name: `R${++names}`,
          namespace: NAMESPACE,
          fields: each.fields.map((field, index) => ({ name: `f${index}`, type: build(field) })),
        }
      case 'array':
        return { type: 'array', items: build(each.inner) }
      case 'map':
        return { type: 'map', values: build(each.inner) }
      case 'optional':
        return each.nullFirst ? ['null', build(each.inner)] : [build(each.inner), 'null']
      case 'union':
        return each.branches.map(build)
      case 'enum':
        return { type: 'enum', name: `E${++names}`, symbols: Array.from({ length: each.symbols }, (_, i) => `S${i}`) }
      case 'fixed':
        return { type: 'fixed', name: `F${++names}`, size: each.size }
      case 'decimal':
        return {
          ...(each.fixed ? { type: 'fixed', name: `F${++names}`, size: 17 } : { type: 'bytes' }),
          logicalType: 'decimal',
          precision: each.precision,
          scale: each.scale,
        }
      default:
        if (INT_LOGICAL.includes(each.k)) return { type: 'int', logicalType: each.k }
        if (TEXT_LOGICAL.includes(each.k)) return { type: 'string', logicalType: each.k }
        return each.k.includes('-') ? { type: 'long', logicalType: each.k } : each.k
    }
  }
}

const text = fc.string({ unit: fc.constantFrom('a', 'b', '"', '\\', 'é', '€', '😀', '\u0000'), maxLength: 60 })
const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -1000n, max: 1000n }),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, 2n ** 31n, -(2n ** 31n) - 1n),
)
const int32 = fc.oneof(fc.integer(), fc.integer({ min: -100, max: 100 }))

/** A value in our own form: numbers, bigints, texts, buffers, arrays, pairs; a union's as [branch, value]. */
export function valuesOf(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.k) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'int':
    case 'date':
      return int32
    case 'time-millis':
      return fc.integer({ min: 0, max: 86_399_999 })
    case 'time-micros':
      return fc.bigInt({ min: 0n, max: 86_399_999_999n })
    case 'timestamp-millis':
      return fc.bigInt({ min: -(2n ** 63n) / 1000n + 1n, max: 2n ** 63n / 1000n - 1n })
    case 'float':
      return fc.float()
    case 'double':
      return fc.double()
    case 'string':
      return text
    case 'uuid':
      return fc.uuid()
    case 'bytes':
      return fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes))
    case 'fixed':
      return fc.uint8Array({ minLength: shape.size, maxLength: shape.size }).map((bytes) => Buffer.from(bytes))
    case 'enum':
      return fc.integer({ min: 0, max: shape.symbols - 1 })
    case 'decimal': {
      const max = 10n ** BigInt(shape.precision) - 1n
      return fc.bigInt({ min: -max, max })
    }
    case 'record':
      return fc.tuple(...shape.fields.map(valuesOf))
    case 'array':
      return fc.array(valuesOf(shape.inner), { maxLength: 5 })
    case 'map':
      return fc.uniqueArray(fc.tuple(text, valuesOf(shape.inner)), { maxLength: 5, selector: ([key]) => key })
    case 'optional':
      return fc.option(valuesOf(shape.inner))
    case 'union':
      return fc.oneof(
        ...shape.branches.map((branch, index) => valuesOf(branch).map((value) => [index, value] as const)),
      )
    default:
      return int64
  }
}

/** As avsc takes it. `json`: the schema of the shape. */
export function forAvsc(shape: Shape, json: unknown, value: unknown): unknown {
  switch (shape.k) {
    case 'enum':
      return `S${value as number}`
    case 'decimal':
      return twosComplement(value as bigint, shape.fixed ? 17 : 0)
    case 'record': {
      const { fields } = json as { fields: { type: unknown }[] }
      const values = value as unknown[]
      return Object.fromEntries(
        shape.fields.map((field, index) => [`f${index}`, forAvsc(field, fields[index].type, values[index])]),
      )
    }
    case 'array':
      return (value as unknown[]).map((each) => forAvsc(shape.inner, (json as { items: unknown }).items, each))
    case 'map':
      return Object.fromEntries(
        (value as [string, unknown][]).map(([key, each]) => [
          key,
          forAvsc(shape.inner, (json as { values: unknown }).values, each),
        ]),
      )
    case 'optional': {
      if (value === null) return null
      const branch = (json as unknown[])[shape.nullFirst ? 1 : 0]
      return { [branchName(branch)]: forAvsc(shape.inner, branch, value) }
    }
    case 'union': {
      const [index, inner] = value as [number, unknown]
      if (shape.branches[index].k === 'null') return null
      const branch = (json as unknown[])[index]
      return { [branchName(branch)]: forAvsc(shape.branches[index], branch, inner) }
    }
    default:
      return value
  }
}

function branchName(json: unknown): string {
  if (typeof json === 'string') return json
  const { type, name } = json as { type: string; name?: string }
  return name === undefined ? type : `${NAMESPACE}.${name}`
}

/** As `vectorValue` shows the column. */
export function inColumn(shape: Shape, value: unknown): unknown {
  switch (shape.k) {
    case 'null':
      return null
    case 'enum':
      return `S${value as number}`
    case 'float':
      return Math.fround(value as number)
    case 'time-millis':
      return BigInt(value as number) * 1000n
    case 'timestamp-millis':
      return (value as bigint) * 1000n
    case 'timestamp-nanos': {
      const nanos = value as bigint
      return nanos / 1000n - (nanos < 0n && nanos % 1000n !== 0n ? 1n : 0n)
    }
    case 'uuid':
      return (value as string).replaceAll('-', '')
    case 'record':
      return Object.fromEntries(
        shape.fields.map((field, index) => [`f${index}`, inColumn(field, (value as unknown[])[index])]),
      )
    case 'array':
      return (value as unknown[]).map((each) => inColumn(shape.inner, each))
    case 'map':
      return (value as [string, unknown][]).map(([key, each]) => [key, inColumn(shape.inner, each)])
    case 'optional':
      return value === null ? null : inColumn(shape.inner, value)
    case 'union': {
      const [index, inner] = value as [number, unknown]
      if (shape.branches[index].k === 'null') return null
      const members = shape.branches.map((branch, at) => [memberName(branch), at === index] as const)
      return Object.fromEntries(
        members
          .filter((_, at) => shape.branches[at].k !== 'null')
          .map(([name, isSet]) => [name, isSet ? inColumn(shape.branches[index], inner) : null]),
      )
    }
    default:
      return value
  }
}

/** Names of enums and fixed begin with these; the number behind is taken off by the test. */
function memberName(shape: Shape): string {
  const kind = baseKind(shape)
  return kind === 'enum' ? 'E' : kind === 'fixed' ? 'F' : kind
}

function twosComplement(value: bigint, size: number): Buffer {
  let length = size
  if (length === 0) {
    length = 1
    while (BigInt.asIntN(length * 8, value) !== value) length += 1
  }
  const bytes = Buffer.alloc(length)
  for (let at = length - 1, rest = value; at >= 0; at -= 1, rest >>= 8n) bytes[at] = Number(rest & 0xffn)
  return bytes
}

const longType = avro.types.LongType.__with({
  fromBuffer: (buffer: Buffer) => buffer.readBigInt64LE(),
  toBuffer(value: bigint) {
    const buffer = Buffer.alloc(8)
    buffer.writeBigInt64LE(value)
    return buffer
  },
  fromJSON: (value: number) => BigInt(value),
  toJSON: (value: bigint) => Number(value),
  isValid: (value: unknown) => typeof value === 'bigint',
  compare: (a: bigint, b: bigint) => (a < b ? -1 : a > b ? 1 : 0),
})

export function avscType(json: unknown): avro.Type {
  return avro.Type.forSchema(json as avro.Schema, {
    wrapUnions: true,
    typeHook(schema) {
      const type: unknown = typeof schema === 'object' && 'type' in schema ? schema.type : schema
      return type === 'long' ? longType : undefined
    },
  })
}
