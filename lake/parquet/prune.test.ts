import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ColumnType } from '../../schemas/column-type.ts'
import { parseFooter } from './footer.ts'
import type { ParquetFooter } from './parquet.ts'
import { type FilterValue, mayFileMatch, type PlainFilter, pruneRowGroups } from './prune.ts'
import { type SampleValue, sampleBatch } from './sample-batches.ts'
import { writeParquet } from './write.ts'

const OPTIONS = { compression: 'zstd', level: 1, rowGroupRows: 3, keyValues: {} } as const
const OPERATORS = ['=', '<', '<=', '>', '>=', 'in', 'is null', 'is not null'] as const

function footerOf(bytes: Uint8Array): ParquetFooter {
  const footer = parseFooter(bytes, bytes.length)
  if ('needBytes' in footer) throw new Error('the whole file was given')
  return footer
}

/** DuckDB's order: NaN equal to itself and above all, zeros equal, texts and uuids by bytes. */
function compare(a: FilterValue, b: FilterValue): number {
  if (typeof a === 'number' && typeof b === 'number') {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b))
    return a < b ? -1 : a > b ? 1 : 0
  }
  if (typeof a === 'string' || a instanceof Uint8Array) return Buffer.compare(Buffer.from(a), Buffer.from(b as string))
  return a < b ? -1 : a > b ? 1 : 0
}

function passes(found: SampleValue, filter: PlainFilter): boolean {
  if (filter.op === 'is null') return found === null
  if (found === null) return false
  const value = found as FilterValue
  if (filter.op === 'is not null') return true
  if (filter.op === 'in') return filter.values.some((each) => compare(value, each) === 0)
  const order = compare(value, filter.value)
  switch (filter.op) {
    case '=':
      return order === 0
    case '<':
      return order < 0
    case '<=':
      return order <= 0
    case '>':
      return order > 0
    default:
      return order >= 0
  }
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 4 }),
  fc.constantFrom('k', 'z', '🚀', '\u{10ffff}').map((each) => each.repeat(70)),
  fc.constantFrom('a', 'b').map((each) => `${'k'.repeat(70)}${each}`),
)
const VALUES: readonly (readonly [ColumnType, fc.Arbitrary<FilterValue>])[] = [
  [{ kind: 'boolean' }, fc.boolean()],
  [{ kind: 'int' }, fc.oneof(fc.bigInt({ min: -5n, max: 5n }), fc.bigInt({ min: -(2n ** 31n), max: 2n ** 31n - 1n }))],
  [{ kind: 'long' }, fc.oneof(fc.bigInt({ min: -5n, max: 5n }), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }))],
  [{ kind: 'float' }, fc.oneof(fc.float(), fc.constantFrom(0, -0, Number.NaN, Math.fround(0.1)))],
  [{ kind: 'double' }, fc.oneof(fc.double(), fc.constantFrom(0, -0, Number.NaN, 0.1))],
  [{ kind: 'decimal', precision: 7, scale: 2 }, fc.bigInt({ min: -9999999n, max: 9999999n })],
  [{ kind: 'decimal', precision: 17, scale: 2 }, fc.bigInt({ min: -(10n ** 17n) + 1n, max: 10n ** 17n - 1n })],
  [{ kind: 'decimal', precision: 38, scale: 9 }, fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n })],
  [{ kind: 'date' }, fc.bigInt({ min: -1000n, max: 1000n })],
  [{ kind: 'time' }, fc.bigInt({ min: 0n, max: 86_399_999_999n })],
  [{ kind: 'timestamp' }, fc.bigInt({ min: -(2n ** 50n), max: 2n ** 52n })],
  [{ kind: 'timestamptz' }, fc.bigInt({ min: -(2n ** 50n), max: 2n ** 52n })],
  [{ kind: 'string' }, anyText],
  [{ kind: 'json' }, anyText],
  [{ kind: 'uuid' }, fc.uuid()],
  [{ kind: 'binary' }, fc.oneof(fc.uint8Array({ maxLength: 4 }), fc.constant(new Uint8Array(70).fill(255)))],
]

test('no row group and no file with a matching row is dropped, of any type', () => {
  const anyCase = fc
    .constantFrom(...VALUES)
    .chain(([type, value]) =>
      fc.tuple(
        fc.constant(type),
        fc.array(fc.option(value, { nil: null, freq: 3 }), { minLength: 1, maxLength: 12 }),
        fc.constantFrom(...OPERATORS),
        fc.array(value, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
      ),
    )
  fc.assert(
    fc.property(anyCase, ([type, values, op, constants, byPath]) => {
      const batch = sampleBatch([{ name: 'c', type, values }])
      const written = writeParquet(batch, OPTIONS)
      // Half of the time a constant is one of the rows' own values.
      const own = values.find((value) => value !== null) ?? constants[0]
      const condition =
        op === 'is null' || op === 'is not null'
          ? { op }
          : op === 'in'
            ? { op, type, values: constants }
            : { op, type, value: constants.length === 1 ? own : constants[0] }
      const filter: PlainFilter = { ...(byPath ? { path: 'c' } : { fieldId: 16 }), ...condition }
      const matching = new Set(values.flatMap((value, i) => (passes(value, filter) ? [Math.floor(i / 3)] : [])))
      const kept = new Set(pruneRowGroups(footerOf(written.bytes), [filter]))
      expect([...matching].filter((group) => !kept.has(group))).toEqual([])
      const file = { rowCount: batch.rowCount, bounds: written.bounds }
      if (matching.size > 0) expect(mayFileMatch(file, batch.schema, [filter])).toBe(true)
    }),
    { numRuns: 4000 },
  )
})

test('what can hold no row is dropped', () => {
  const ascending = Array.from({ length: 12 }, (_, i) => i)
  const columns = [
    { name: 'n', type: { kind: 'long' } as const, values: ascending.map((i) => BigInt(i)) },
    {
      name: 's',
      type: { kind: 'string' } as const,
      values: ascending.map((i) => (i < 3 ? null : `v${String(i).padStart(2, '0')}`)),
    },
    {
      name: 'd',
      type: { kind: 'decimal', precision: 5, scale: 2 } as const,
      values: ascending.map((i) => BigInt(i * 100)),
    },
    { name: 't', type: { kind: 'timestamptz' } as const, values: ascending.map((i) => BigInt(i)) },
    { name: 'f', type: { kind: 'double' } as const, values: ascending },
  ]
  const batch = sampleBatch(columns)
  const written = writeParquet(batch, OPTIONS)
  const footer = footerOf(written.bytes)
  const kept = (...filters: PlainFilter[]) => pruneRowGroups(footer, filters)
  const long: ColumnType = { kind: 'long' }
  expect(kept()).toEqual([0, 1, 2, 3])
  expect(kept({ path: 'n', op: '=', type: long, value: 4n })).toEqual([1])
  expect(kept({ path: 'n', op: '<', type: long, value: 3n })).toEqual([0])
  expect(kept({ path: 'n', op: '<=', type: long, value: 3n })).toEqual([0, 1])
  expect(kept({ path: 'n', op: '>', type: { kind: 'double' }, value: 7.5 })).toEqual([2, 3])
  expect(kept({ path: 'n', op: 'in', type: long, values: [1n, 11n] })).toEqual([0, 3])
  expect(kept({ path: 'n', op: '>', type: long, value: 11n })).toEqual([])
  expect(kept({ path: 's', op: 'is null' })).toEqual([0])
  expect(kept({ path: 's', op: 'is not null' })).toEqual([1, 2, 3])
  expect(kept({ path: 's', op: '>=', type: { kind: 'string' }, value: 'v09' })).toEqual([3])
  expect(kept({ path: 'd', op: '=', type: long, value: 4n })).toEqual([1])
  expect(kept({ path: 'd', op: '<', type: { kind: 'decimal', precision: 3, scale: 1 }, value: 29n })).toEqual([0])
  expect(kept({ path: 'f', op: '<', type: { kind: 'double' }, value: 2.5 })).toEqual([0])
  expect(kept({ path: 'n', op: '>', type: long, value: 2n }, { path: 'd', op: '<', type: long, value: 6n })).toEqual([
    1,
  ])

  const file = { rowCount: 12, bounds: written.bounds }
  expect(mayFileMatch(file, batch.schema, [{ path: 'n', op: '>', type: long, value: 11n }])).toBe(false)
  expect(mayFileMatch(file, batch.schema, [{ path: 'd', op: '<', type: long, value: 0n }])).toBe(false)
  expect(mayFileMatch(file, batch.schema, [{ path: 'n', op: 'is null' }])).toBe(false)
})

test('what is not known is kept', () => {
  const values = [0.25, Number.NaN, 1]
  const batch = sampleBatch([
    { name: 'f', type: { kind: 'double' }, values },
    { name: 't', type: { kind: 'timestamp' }, values: [1n, 2n, 3n] },
  ])
  const footer = footerOf(writeParquet(batch, OPTIONS).bytes)
  const kept = (filter: PlainFilter) => pruneRowGroups(footer, [filter])
  expect(kept({ path: 'f', op: '>', type: { kind: 'double' }, value: 5 })).toEqual([0])
  expect(kept({ path: 'f', op: '=', type: { kind: 'double' }, value: Number.NaN })).toEqual([0])
  expect(kept({ path: 'f', op: '=', type: { kind: 'double' }, value: 5 })).toEqual([])
  expect(kept({ path: 't', op: '=', type: { kind: 'timestamptz' }, value: 9n })).toEqual([0])
  expect(kept({ path: 't', op: '=', type: { kind: 'timestamp' }, value: 9n })).toEqual([])
  expect(kept({ path: 'gone', op: '=', type: { kind: 'long' }, value: 9n })).toEqual([0])
})

test('a number that is rounded before it is compared still finds its row', () => {
  const batch = sampleBatch([{ name: 'f', type: { kind: 'float' }, values: [0.1] }])
  const footer = footerOf(writeParquet(batch, OPTIONS).bytes)
  expect(pruneRowGroups(footer, [{ path: 'f', op: '=', type: { kind: 'double' }, value: 0.1 }])).toEqual([0])
  const decimal: ColumnType = { kind: 'decimal', precision: 2, scale: 1 }
  expect(pruneRowGroups(footer, [{ path: 'f', op: '=', type: decimal, value: 1n }])).toEqual([0])
  const doubles = footerOf(
    writeParquet(sampleBatch([{ name: 'f', type: { kind: 'double' }, values: [2 ** 53] }]), OPTIONS).bytes,
  )
  const past: PlainFilter = { path: 'f', op: '=', type: { kind: 'long' }, value: 2n ** 53n + 1n }
  expect(pruneRowGroups(doubles, [past])).toEqual([0])
})
