/**
 * Nested columns against what `JSON.parse` and a plain conversion say: random types, values that fit or nearly fit, keys twice,
 * unknown or left out, rows after rows in one builder, then cut, filtered and joined.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ColumnType, type Field, formatColumnType, parseColumnType } from '../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { batchRows, checkVector } from '../../test/harness/vector-values.ts'
import { createBatchBuilder } from './batch-builder.ts'
import { concatBatches, filterRows } from './filter-rows.ts'
import type { GeneralValue } from './general-value.ts'
import { createJsonDecoder } from './json-decoder.ts'

function schemaOf(columns: readonly (readonly [name: string, type: ColumnType, required: boolean])[]): TableSchema {
  const user = columns.map(([name, type, required], index) => ({ fieldId: 16 + index, name, type, required }))
  return { schemaId: 1, columns: [...user, ...HIDDEN_COLUMNS] }
}

const flat = fc.constantFrom('int', 'string', 'boolean', 'double', 'string').map((text) => parseColumnType(text)!)
const field = (name: string, type: ColumnType, required: boolean): Field => ({ fieldId: 0, name, type, required })
const { type: anyType } = fc.letrec<{ type: ColumnType }>((tie) => ({
  type: fc.oneof(
    { maxDepth: 3, depthSize: 'small', withCrossShrink: true },
    flat,
    fc
      .uniqueArray(fc.tuple(fc.constantFrom('a', 'b', 'zip', 'grüße'), tie('type'), fc.boolean()), {
        minLength: 1,
        maxLength: 3,
        selector: ([name]) => name,
      })
      .map((fields) => ({ kind: 'struct', fields: fields.map((each) => field(...each)) }) as const),
    fc.tuple(tie('type'), fc.boolean()).map(([type, required]) => {
      return { kind: 'list', element: field('element', type, required) } as const
    }),
    fc.tuple(fc.constantFrom('string', 'int'), tie('type'), fc.boolean()).map(([key, type, required]) => {
      const keyField = field('key', parseColumnType(key)!, true)
      return { kind: 'map', key: keyField, value: field('value', type, required) } as const
    }),
  ),
}))

/** JSON text for a type: mostly a value of it. */
function textFor(type: ColumnType): fc.Arbitrary<string> {
  const odd = fc.constantFrom('null', 'null', 'true', '7', '"x"', '[1]', '{"a":1}', '{}', '[]', '1.5')
  return fc.oneof({ weight: 14, arbitrary: rightText(type) }, { weight: 1, arbitrary: odd })
}

const gap = fc.constantFrom('', '', ' ', '\n')

function objectText(pairs: fc.Arbitrary<(readonly [string, string])[]>): fc.Arbitrary<string> {
  return fc.tuple(pairs, gap).map(([entries, space]) => {
    const inside = entries.map(([key, value]) => `${space}${JSON.stringify(key)}${space}:${space}${value}${space}`)
    return `{${inside.join(',')}${space}}`
  })
}

function rightText(type: ColumnType): fc.Arbitrary<string> {
  switch (type.kind) {
    case 'int':
      return fc.integer().map(String)
    case 'double':
      return fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value))
    case 'boolean':
      return fc.boolean().map(String)
    case 'string':
      return fc
        .string({ unit: fc.constantFrom('a', '"', '\\', 'ü', '🚀', '\n'), maxLength: 8 })
        .map((s) => JSON.stringify(s))
    case 'list':
      return fc.array(textFor(type.element.type), { maxLength: 5 }).map((texts) => `[${texts.join(', ')}]`)
    case 'map': {
      const key =
        type.key.type.kind === 'int'
          ? fc.oneof(fc.nat(12).map(String), fc.constantFrom('-0', '1.0', 'x', ''))
          : fc.oneof(fc.constantFrom('a', 'b', 'ü', '"', ''), fc.nat(40).map(String))
      return objectText(fc.array(fc.tuple(key, textFor(type.value.type)), { maxLength: 24 }))
    }
    case 'struct':
      return objectText(structPairs(type.fields))
  }
  throw new Error(type.kind)
}

function structPairs(fields: readonly Field[]): fc.Arbitrary<(readonly [string, string])[]> {
  const unknown = fc.tuple(fc.constantFrom('unknown', 'A', '', '__proto__'), fc.constantFrom('1', 'null', '{"a":[]}'))
  const own = fields.map((each) => textFor(each.type).map((text) => [each.name, text] as const))
  return fc
    .tuple(fc.tuple(...own), fc.array(fc.oneof(...own, unknown), { maxLength: 2 }), fc.nat(15), fc.boolean())
    .map(([all, extra, left, reversed]) => {
      const kept = all.filter((_, index) => left === 0 || ((left >> index) & 1) === 1)
      const pairs = left % 2 === 0 ? [...extra, ...kept] : [...kept, ...extra]
      return reversed ? pairs.reverse() : pairs
    })
}

const REFUSED = Symbol('refused')

/** The value as `vectorValue` shows it, or REFUSED. */
function model(type: ColumnType, value: unknown): unknown {
  switch (type.kind) {
    case 'int':
      return typeof value === 'number' && (value | 0) === value ? value | 0 : REFUSED
    case 'double':
      return typeof value === 'number' ? value : REFUSED
    case 'boolean':
    case 'string':
      return typeof value === type.kind ? value : REFUSED
    case 'list': {
      if (!Array.isArray(value)) return REFUSED
      const elements = value.map((each) => modelField(type.element, each))
      return elements.includes(REFUSED) ? REFUSED : elements
    }
    case 'struct': {
      if (!isObject(value)) return REFUSED
      const made = type.fields.map((each) => [
        each.name,
        modelField(each, Object.hasOwn(value, each.name) ? value[each.name] : null),
      ])
      return made.some(([, each]) => each === REFUSED) ? REFUSED : Object.fromEntries(made)
    }
    case 'map': {
      if (!isObject(value)) return REFUSED
      const isInt = type.key.type.kind === 'int'
      const made = Object.entries(value).map(([key, each]) => [
        isInt ? (/^-?\d+(\.0)?$/.test(key) ? Number(key) | 0 : REFUSED) : key,
        modelField(type.value, each),
      ])
      return made.some((pair) => pair.includes(REFUSED)) ? REFUSED : made
    }
  }
  throw new Error(type.kind)
}

function modelField({ type, required }: Field, value: unknown): unknown {
  return value === null ? (required ? REFUSED : null) : model(type, value)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Entries of maps in one order: objects put integer-like keys first. Maps whose int keys meet (`1` and `1.0`) keep the last. */
function sorted(type: ColumnType, value: unknown): unknown {
  if (value === null || value === REFUSED) return value
  switch (type.kind) {
    case 'list':
      return (value as unknown[]).map((each) => sorted(type.element.type, each))
    case 'struct':
      return type.fields.map((each) => sorted(each.type, (value as Record<string, unknown>)[each.name]))
    case 'map': {
      const pairs = (value as unknown[][]).map(([key, each]) => [String(key), sorted(type.value.type, each)] as const)
      return [...new Map(pairs)].sort(([a], [b]) => (a < b ? -1 : 1))
    }
    default:
      return value
  }
}

/** Two keys of JSON that are one int key cannot be compared by `JSON.parse`: which came last is lost. */
function hasMeetingKeys(text: string): boolean {
  return /"(?:1\.0|-0)"/.test(text) && /"[01]"|"1\.0".*"1"|"-0"/s.test(text)
}

const table = fc
  .uniqueArray(fc.tuple(fc.constantFrom('v', 'w', 'x'), anyType, fc.boolean()), {
    minLength: 1,
    maxLength: 3,
    selector: ([name]) => name,
  })
  .chain((columns) => {
    const record = objectText(structPairs(columns.map((each) => field(...each))))
    return fc.tuple(fc.constant(columns), fc.array(record, { minLength: 1, maxLength: 12 }))
  })

test('nested columns hold what JSON.parse says, and a record that does not fit leaves nothing', () => {
  fc.assert(
    fc.property(table, fc.infiniteStream(fc.boolean()), ([columns, texts], flags) => {
      const schema = schemaOf(columns)
      const whole: ColumnType = { kind: 'struct', fields: columns.map((each) => field(...each)) }
      const decoder = createJsonDecoder(schema)
      const builder = createBatchBuilder(schema)
      const names = columns.map(([name]) => name)
      const show = (rows: unknown[]) => rows.map((row) => sorted(whole, row))
      const sealed = []
      for (let round = 0; round < 2; round += 1) {
        let expected: unknown[] = []
        for (const text of texts) {
          if (hasMeetingKeys(text)) continue
          const bytes = Buffer.from(`1${text}}`)
          const failure = decoder.decode(bytes, 1, bytes.length - 1, builder)
          const row = model(whole, JSON.parse(text))
          expect([formatColumnType(whole), text, failure === undefined]).toEqual([
            formatColumnType(whole),
            text,
            row !== REFUSED,
          ])
          if (failure) {
            expect(failure.reason).toMatch(/^column ".+": expected .+, found .+( at byte \d+|; it is required)$/s)
            continue
          }
          builder.finishRow(builder.sourceIndex('s'), 0, expected.length, Number.NaN, 0)
          expected.push(row)
        }
        if (expected.length > 2 && flags.next().value) {
          builder.truncate(expected.length - 2)
          expected = expected.slice(0, -2)
        }
        const bytes = builder.bytes
        expect(builder.allocatedBytes).toBeGreaterThanOrEqual(bytes - 100)
        const batch = builder.seal()
        batch.vectors.forEach(checkVector)
        expect(show(batchRows(batch, names))).toEqual(show(expected))
        const keep = Uint8Array.from(expected, () => Number(flags.next().value))
        const kept = filterRows(batch, keep)
        kept.vectors.forEach(checkVector)
        expect(show(batchRows(kept, names))).toEqual(show(expected.filter((_, index) => keep[index] === 1)))
        sealed.push(batch, kept)
      }
      const joined = concatBatches(sealed)
      joined.vectors.forEach(checkVector)
      expect(batchRows(joined, names)).toEqual(sealed.flatMap((batch) => batchRows(batch, names)))
    }),
    { numRuns: 2000 },
  )
})

test('a nested record cut anywhere is malformed', () => {
  fc.assert(
    fc.property(table, ([columns, texts]) => {
      const schema = schemaOf(columns)
      const decoder = createJsonDecoder(schema)
      const builder = createBatchBuilder(schema)
      for (const text of texts) {
        const bytes = Buffer.from(text)
        for (let end = 0; end < bytes.length; end += 1) {
          const reason = decoder.decode(bytes, 0, end, builder)?.reason ?? 'taken'
          if (!reason.startsWith('malformed JSON: ')) expect([text.slice(0, end), reason]).toBe('malformed')
        }
      }
    }),
    { numRuns: 100 },
  )
})

/** The value of column `v`, or the reason. */
function decodeOne(type: string, text: string): unknown {
  const schema = schemaOf([['v', parseColumnType(type)!, false]])
  const builder = createBatchBuilder(schema)
  const bytes = Buffer.from(text)
  const failure = createJsonDecoder(schema).decode(bytes, 0, bytes.length, builder)
  if (failure) return failure.reason
  builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
  return batchRows(builder.seal(), ['v'])[0].v
}

test.each([
  ['struct<street: string, zip: int>', '{"v":{"zip":"x"}}', 'column "v.zip": expected int, found string at byte 12'],
  ['struct<zip: int required>', '{"v":{}}', 'column "v.zip": expected int, found nothing; it is required'],
  ['struct<zip: int required>', '{"v":{"zip":null}}', 'column "v.zip": expected int, found null; it is required'],
  ['struct<zip: int>', '{"v":{"zip":"x","zip":7}}', { zip: 7 }],
  ['struct<zip: int>', '{"v":5,"v":{"zip":7}}', { zip: 7 }],
  ['struct<zip: int>', '{"v":[]}', 'column "v": expected struct<zip: int>, found array at byte 5'],
  ['list<int>', '{"v":[1,null,3]}', [1, null, 3]],
  ['list<int required>', '{"v":[1,null]}', 'column "v.element": expected int, found null at byte 8'],
  ['list<int>', '{"v":[1,2.5]}', 'column "v.element": expected int, found number with a fraction at byte 8'],
  ['list<int>', '{"v":[1 2]}', 'malformed JSON: expected a comma or the end of the array at byte 8'],
  [
    'map<string, int>',
    '{"v":{"a":1,"b":2,"a":3}}',
    [
      ['b', 2],
      ['a', 3],
    ],
  ],
  ['map<string, int>', '{"v":{"a":"x","a":3}}', [['a', 3]]],
  ['map<string, int>', '{"v":{"a":3,"a":"x"}}', 'column "v.value": expected int, found string at byte 16'],
  ['map<date, int>', '{"v":{"2026-01-31":1}}', [[20484, 1]]],
  [
    'map<boolean, int>',
    '{"v":{"true":1,"false":2}}',
    [
      [true, 1],
      [false, 2],
    ],
  ],
  ['map<long, int>', '{"v":{"nine":1}}', 'column "v.key": expected long, found string at byte 6'],
  ['map<string, list<struct<a: int>>>', '{"v":{"k":[{"a":1},{}]}}', [['k', [{ a: 1 }, { a: null }]]]],
  ['map<string, json>', '{"v":{"k":{"x": [1]}}}', [['k', '{"x": [1]}']]],
])('%s from %s', (type, text, expected) => {
  expect(decodeOne(type, text)).toEqual(expected)
})

test('nested values have a bound on their depth', () => {
  const deep = (depth: number) => `{"v":{"unknown":${'['.repeat(depth)}${']'.repeat(depth)}}}`
  expect(decodeOne('struct<a: int>', deep(998))).toEqual({ a: null })
  expect(decodeOne('struct<a: int>', deep(999))).toMatch('nested deeper than 1000')
})

test('a record of many empty objects may not take far more memory than it has bytes', () => {
  const names = Array.from({ length: 500 }, (_, index) => `c${index}: long`).join(', ')
  const record = (elements: number) => `{"v":[${'{},'.repeat(elements - 1)}{}]}`
  expect((decodeOne(`list<struct<${names}>>`, record(1000)) as unknown[]).length).toBe(1000)
  expect(decodeOne(`list<struct<${names}>>`, record(100_000))).toMatch(
    /^column "v": expected .*, found too many elements for the length of the record at byte 5$/,
  )
  const map = Array.from({ length: 20_000 }, (_, index) => `"k${index}":{}`).join(',')
  expect(decodeOne(`map<string, struct<${names}>>`, `{"v":{${map}}}`)).toMatch('too many elements')
})

test('general values go into nested columns', () => {
  const type = parseColumnType(
    'struct<tags: list<string>, prices: map<string, decimal(9,2)>, inner: struct<n: long required>>',
  )!
  const schema = schemaOf([['v', type, false]])
  const builder = createBatchBuilder(schema)
  const append = (value: GeneralValue) => {
    builder.appendValues([value])
    builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
  }
  append({ tags: ['a', null], prices: new Map([['x', '1.50']]), inner: { n: 1n } })
  append(null)
  append(new Map<GeneralValue, GeneralValue>([['prices', { y: 5n }]]))
  expect(() => append({ inner: {} })).toThrow('column "n": required, found null')
  expect(() => append({ tags: 'a' })).toThrow('column "tags": string is no list<string>')
  const batch = builder.seal()
  batch.vectors.forEach(checkVector)
  expect(batchRows(batch, ['v'])).toEqual([
    { v: { tags: ['a', null], prices: [['x', 150n]], inner: { n: 1n } } },
    { v: null },
    { v: { tags: null, prices: [['y', 5n]], inner: null } },
  ])
})

test('unknown keys are counted wherever they are, and told apart from ignored ones and those without a value', () => {
  const schema = schemaOf([['v', parseColumnType('struct<a: int>')!, false]])
  const decoder = createJsonDecoder(schema, { ignoredKeys: ['w', 'v.b'] })
  const builder = createBatchBuilder(schema)
  const count = (text: string) => {
    const before = [decoder.unknownKeys, decoder.newKeys]
    expect(decoder.decode(Buffer.from(text), 0, text.length, builder)).toBe(undefined)
    return [decoder.unknownKeys - before[0], decoder.newKeys - before[1]]
  }
  expect(count('{"v":{"a":1}}')).toEqual([0, 0])
  expect(count('{"v":{"a":1,"b":2},"w":1}')).toEqual([2, 0])
  expect(count('{"v":{"c":1,"d":null},"z":1,"y":null}')).toEqual([4, 2])
})
