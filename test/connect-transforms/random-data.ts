/** Records, schemas and values by chance, for comparisons with Connect: every type, logical types, nulls, defaults, nesting. */
import type { ConnectHeader, ConnectRecord } from '../../ingest/connect/data/record.ts'
import {
  ConnectSchema,
  DATE_SCHEMA,
  decimalSchema,
  type SchemaParts,
  TIME_SCHEMA,
  TIMESTAMP_SCHEMA,
} from '../../ingest/connect/data/schema.ts'
import { type ConnectValue, Decimal, Instant, Struct } from '../../ingest/connect/data/values.ts'

export type Random = {
  /** 0 ≤ n < below */
  int(below: number): number
  chance(part: number): boolean
  pick<T>(from: readonly T[]): T
}

export function randomOf(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (below: number) => Math.floor(next() * below)
  return { int, chance: (part) => next() < part, pick: (from) => from[int(from.length)] }
}

export const FIELD_NAMES = ['a', 'b', 'c', 'ts', 'text', 'n', 'x.y', 'nested', 'Ünï', ''] as const
export const TEXTS = [
  '',
  'x',
  '12',
  '-7',
  '+5',
  ' 5',
  '300',
  '99999',
  '4000000000',
  '9223372036854775807',
  '9223372036854775808',
  '1.5',
  '-0.0',
  '1e3',
  '1e400',
  '.5',
  '5.',
  '0x1p3',
  '1.5f',
  '2d',
  'NaN',
  'Infinity',
  '-Infinity',
  'true',
  'TRUE',
  'false',
  'yes',
  '3.4028236e38',
  '1.17549429e-38',
  '16777217',
  '0.1',
  '2024-02-29',
  '2024-02-29T12:34:56.789Z',
  'Ünï',
  '😀',
] as const

const TYPES = ['int8', 'int16', 'int32', 'int64', 'float32', 'float64', 'boolean', 'string', 'bytes'] as const
const LOGICAL = [
  DATE_SCHEMA,
  TIME_SCHEMA,
  TIMESTAMP_SCHEMA,
  decimalSchema(2),
  decimalSchema(0),
  decimalSchema(-3),
] as const

export function randomSchema(random: Random, depth: number): ConnectSchema {
  const kind = random.int(depth > 0 ? 16 : 12)
  const plain =
    kind < 9
      ? new ConnectSchema({ type: TYPES[kind] })
      : kind < 12
        ? random.pick(LOGICAL)
        : kind === 12
          ? new ConnectSchema({ type: 'array', valueSchema: randomSchema(random, depth - 1) })
          : kind === 13
            ? new ConnectSchema({
                type: 'map',
                keySchema: new ConnectSchema({ type: random.chance(0.7) ? 'string' : 'int32' }),
                valueSchema: randomSchema(random, depth - 1),
              })
            : randomStruct(random, depth - 1)
  const parts: Partial<SchemaParts> = {
    optional: random.chance(0.6),
    ...(plain.name === undefined && random.chance(0.15) ? { name: 'com.example.Thing' } : {}),
    ...(plain.version === undefined && random.chance(0.1) ? { version: 3 } : {}),
    ...(random.chance(0.1) ? { doc: 'what it is' } : {}),
    ...(plain.parameters === undefined && random.chance(0.1)
      ? {
          parameters: new Map([
            ['p', 'q'],
            ['a', 'b'],
          ]),
        }
      : {}),
  }
  const schema = plain.with(parts)
  // Connect refuses the default of a nested struct where it would be used: such a default never has the schema it belongs to.
  const { type } = schema
  if (type === 'map' || type === 'array' || type === 'struct' || !random.chance(0.2)) return schema
  return schema.with({ defaultValue: randomValue(random, schema, false) })
}

export function randomStruct(random: Random, depth: number): ConnectSchema {
  const names = FIELD_NAMES.filter((name) => name !== '' && random.chance(0.5))
  return new ConnectSchema({
    type: 'struct',
    fields: names.map((name) => ({ name, schema: randomSchema(random, depth) })),
  })
}

export function randomMillis(random: Random): number {
  switch (random.int(8)) {
    case 0:
      return 0
    case 1:
      return random.pick([-1, 1, 86_400_000, 86_399_999, -86_400_000, 951_782_400_000, 1_709_164_800_000])
    case 2:
      return -random.int(70_000_000) * 1_000_000 - random.int(1000)
    case 3:
      return random.int(250_000_000) * 1_000_000 + random.int(1000)
    case 4:
      return random.int(86_400_000)
    default:
      return 1_600_000_000_000 + random.int(300_000_000) * 1000 + random.int(1000)
  }
}

function randomLong(random: Random): bigint {
  switch (random.int(5)) {
    case 0:
      return BigInt(random.int(256) - 128)
    case 1:
      return random.pick([2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 16_777_217n, 4_611_686_293_305_294_849n, 0n])
    default:
      return BigInt.asIntN(64, BigInt(randomMillis(random)) * BigInt(random.pick([1, 1, 1, 1000, 1_000_000])))
  }
}

const DOUBLES = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.99,
  1.5,
  127.9,
  128,
  300.25,
  65_536,
  2 ** 31,
  -(2 ** 33),
  1e19,
  1e300,
  0.001,
  1e-5,
  1e7,
  12_345_678.9,
  Number.NaN,
  Number.POSITIVE_INFINITY,
]

function randomDouble(random: Random): number {
  return random.chance(0.6) ? random.pick(DOUBLES) : (random.int(2_000_000) - 1_000_000) / random.pick([1, 3, 7, 1000])
}

export function randomValue(random: Random, schema: ConnectSchema, isNullable = true): ConnectValue {
  if (isNullable && schema.optional && random.chance(0.25)) return null
  if (schema.name === DATE_SCHEMA.name) return new Instant(Math.floor(randomMillis(random) / 86_400_000) * 86_400_000)
  if (schema.name === TIME_SCHEMA.name) return new Instant(random.int(86_400_000))
  if (schema.name === TIMESTAMP_SCHEMA.name) return new Instant(randomMillis(random))
  if (schema.name === decimalSchema(0).name) {
    return new Decimal(random.chance(0.1) ? 0n : randomLong(random), Number(schema.parameters?.get('scale')))
  }
  switch (schema.type) {
    case 'int8':
      return random.int(256) - 128
    case 'int16':
      return random.int(65_536) - 32_768
    case 'int32':
      return random.chance(0.3) ? random.pick([0, 1, -1, 2 ** 31 - 1, -(2 ** 31)]) : random.int(2 ** 31)
    case 'int64':
      return randomLong(random)
    case 'float32':
      return Math.fround(randomDouble(random))
    case 'float64':
      return randomDouble(random)
    case 'boolean':
      return random.chance(0.5)
    case 'string':
      return random.pick(TEXTS)
    case 'bytes':
      return Uint8Array.from({ length: random.int(5) }, () => random.int(256))
    case 'array':
      return Array.from({ length: random.int(4) }, () => randomValue(random, schema.valueSchema!))
    case 'map':
      return new Map(
        Array.from({ length: random.int(4) }, () => [
          randomValue(random, schema.keySchema!, false),
          randomValue(random, schema.valueSchema!),
        ]),
      )
    case 'struct':
      return new Struct(
        schema,
        schema.fields.map((field) => randomValue(random, field.schema)),
      )
  }
}

/** What JSON without a schema gives. */
export function randomBare(random: Random, depth: number): ConnectValue {
  switch (random.int(depth > 0 ? 9 : 6)) {
    case 0:
      return null
    case 1:
      return random.chance(0.5)
    case 2:
      return randomLong(random)
    case 3:
      return randomDouble(random)
    case 4:
    case 5:
      return random.pick(TEXTS)
    case 6:
      return Array.from({ length: random.int(3) }, () => randomBare(random, depth - 1))
    default:
      return randomMap(random, depth - 1)
  }
}

export function randomMap(random: Random, depth: number): ConnectValue {
  const names = FIELD_NAMES.filter(() => random.chance(0.5))
  return new Map(names.map((name) => [name, randomBare(random, depth)]))
}

function randomSide(random: Random): { schema: ConnectSchema | undefined; value: ConnectValue } {
  if (random.chance(0.45)) {
    const value = random.chance(0.75) ? randomMap(random, 2) : randomBare(random, 1)
    return { schema: undefined, value: random.chance(0.06) ? null : value }
  }
  const plain = random.chance(0.8) ? randomStruct(random, 2) : randomSchema(random, 1)
  const schema = random.chance(0.2) ? plain.with({ optional: true }) : plain
  if (schema.type === 'struct' && schema.defaultValue === undefined && random.chance(0.05)) {
    const whole = schema.with({ defaultValue: randomValue(random, schema, false) })
    return { schema: whole, value: randomValue(random, whole) }
  }
  return { schema, value: randomValue(random, schema) }
}

export const TOPICS = ['orders', 'orders-eu.v1', 'a', 'ab', 'A_B', 'x.y.z', 'topic-12-34', 'db.public.orders'] as const

export function randomRecord(random: Random): ConnectRecord {
  const [key, value] = [randomSide(random), randomSide(random)]
  const headers: ConnectHeader[] = Array.from({ length: random.int(4) }, () => {
    const schema = random.chance(0.7) ? randomSchema(random, 0) : undefined
    return {
      name: random.pick(['h', 'trace', 'a', 'Ünï']),
      schema,
      value: schema ? randomValue(random, schema) : random.pick([null, 'text', 5n, true]),
    }
  })
  return {
    topic: random.pick(TOPICS),
    partition: random.int(10),
    keySchema: key.schema,
    key: key.value,
    valueSchema: value.schema,
    value: value.value,
    timestamp: random.chance(0.1) ? undefined : randomMillis(random),
    headers,
    offset: BigInt(random.int(2 ** 31)),
  }
}
