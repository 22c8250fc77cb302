/**
 * For property tests: any type within limits and any values of it, as `sample-batches.ts` takes them; and what DuckDB reads,
 * in the same form.
 */
import fc from 'fast-check'
import type { ColumnType, Field } from '../../schemas/column-type.ts'
import type { SampleValue } from './sample-batches.ts'

const FLAT: readonly ColumnType[] = [
  { kind: 'boolean' },
  { kind: 'int' },
  { kind: 'long' },
  { kind: 'double' },
  { kind: 'decimal', precision: 9, scale: 2 },
  { kind: 'decimal', precision: 30, scale: 4 },
  { kind: 'timestamptz' },
  { kind: 'string' },
  { kind: 'json' },
  { kind: 'binary' },
  { kind: 'uuid' },
]
const KEYS: readonly ColumnType[] = [{ kind: 'string' }, { kind: 'int' }, { kind: 'long' }, { kind: 'uuid' }]
/** Also such as SQL, plans and dotted paths could stumble over. */
const NAMES = ['a', 'b', 'list', 'element', 'key_value', 'x.y', 'a b', 'select', 'Ü', "it's", 'say "q"'] as const

const anyFlat = fc.constantFrom(...FLAT)

/** A nested type of at most `depth` levels. */
export function anyNestedType(depth: number): fc.Arbitrary<ColumnType> {
  const inner =
    depth <= 1
      ? anyFlat
      : fc.oneof({ weight: 2, arbitrary: anyFlat }, { weight: 3, arbitrary: anyNestedType(depth - 1) })
  const field = (name: string): fc.Arbitrary<Field> =>
    fc.record({ fieldId: fc.constant(0), name: fc.constant(name), type: inner, required: fc.boolean() })
  const struct = fc
    .uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 4, selector: (name) => name.toLowerCase() })
    .chain((names) => fc.tuple(...names.map(field)))
    .map((fields): ColumnType => ({ kind: 'struct', fields }))
  const list = field('element').map((element): ColumnType => ({ kind: 'list', element }))
  const map = fc
    .tuple(fc.constantFrom(...KEYS), field('value'))
    .map(
      ([type, value]): ColumnType => ({ kind: 'map', key: { fieldId: 0, name: 'key', type, required: true }, value }),
    )
  return fc.oneof(struct, list, map)
}

export function anyValueOf({ type, required }: Pick<Field, 'type' | 'required'>): fc.Arbitrary<SampleValue> {
  const value = presentValue(type)
  return required ? value : fc.option(value, { freq: 4 })
}

const few = <T>(all: fc.Arbitrary<T>, some: readonly T[]) => fc.oneof(all, fc.constantFrom(...some))

function presentValue(type: ColumnType): fc.Arbitrary<SampleValue> {
  switch (type.kind) {
    case 'boolean':
      return fc.boolean()
    case 'int':
      return few(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), [0, 1])
    case 'double':
      return few(fc.double({ noNaN: true }), [0, 1.5])
    case 'decimal': {
      const limit = 10n ** BigInt(type.precision) - 1n
      return few(fc.bigInt({ min: -limit, max: limit }), [0n, 1n])
    }
    case 'long':
      return few(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), [0n, 1n])
    case 'timestamptz':
      return fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n })
    case 'binary':
      return fc.uint8Array({ maxLength: 9 })
    case 'uuid':
      return fc.uuid()
    case 'struct':
      return fc
        .tuple(...type.fields.map(anyValueOf))
        .map((values) => Object.fromEntries(type.fields.map(({ name }, i) => [name, values[i]])))
    case 'list':
      return fc.array(anyValueOf(type.element), { maxLength: 5 })
    case 'map':
      return fc.uniqueArray(fc.tuple(anyValueOf(type.key), anyValueOf(type.value)), {
        maxLength: 4,
        selector: ([key]) => String(key),
      })
    default:
      return few(
        fc.string({ unit: 'binary', maxLength: 20 }).map((text) => text.replaceAll('\0', '0')),
        ['', 'x'],
      )
  }
}

/** DuckDB's value in the form of `SampleValue`, told by what its own values have. */
export function sampleOf(found: unknown): SampleValue {
  if (found === null || typeof found !== 'object') return found as SampleValue
  const value = found as {
    items?: readonly unknown[]
    entries?: readonly { key: unknown; value: unknown }[] | Readonly<Record<string, unknown>>
    micros?: bigint
    days?: number
    bytes?: Uint8Array
    value?: bigint
  }
  if (value.items) return value.items.map(sampleOf)
  if (Array.isArray(value.entries)) return value.entries.map((each) => [sampleOf(each.key), sampleOf(each.value)])
  if (value.entries) {
    return Object.fromEntries(Object.entries(value.entries).map(([name, entry]) => [name, sampleOf(entry)]))
  }
  if (value.bytes) return new Uint8Array(value.bytes)
  return value.micros ?? value.days ?? value.value ?? String(found)
}
