/**
 * Whole records into one builder, good ones and bad ones mixed, against a list of rows made from what `JSON.parse` says:
 * keys in any order, missing, twice, unknown or spelled with escapes, required columns, cut texts, batches after batches.
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ColumnType, childFields, formatColumnType, parseColumnType } from '../../schemas/column-type.ts'
import type { MicroBatch } from '../../schemas/micro-batch.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { createBatchBuilder } from './batch-builder.ts'
import { inferColumns } from './infer-schema.ts'
import { createJsonDecoder } from './json-decoder.ts'

const KINDS = ['long', 'string', 'double', 'boolean', 'string'] as const
const NAMES = ['id', 'a', 'weight_kg', 'ok', 'grüße']
const REQUIRED = 0

const schema: TableSchema = {
  schemaId: 1,
  columns: [
    ...NAMES.map((name, index) => ({
      fieldId: 16 + index,
      name,
      type: { kind: KINDS[index] },
      required: index === REQUIRED,
    })),
    ...HIDDEN_COLUMNS,
  ],
}

type Cell = null | bigint | number | boolean | string

function rowsOf(batch: MicroBatch): Cell[][] {
  return Array.from({ length: batch.rowCount }, (_, row) =>
    [...KINDS, 'offset'].map((kind, index) => {
      const { validity, data, offsets } = batch.vectors[kind === 'offset' ? KINDS.length + 2 : index]
      if (validity && !((validity[row >> 3] >> (row & 7)) & 1)) return null
      if (offsets) return Buffer.from(data.subarray(offsets[row], offsets[row + 1])).toString()
      if (kind === 'boolean') return ((data[row >> 3] >> (row & 7)) & 1) === 1
      const view = new DataView(data.buffer, data.byteOffset)
      return kind === 'double' ? view.getFloat64(row * 8, true) : view.getBigInt64(row * 8, true)
    }),
  )
}

/** The row of a record, or undefined where it cannot become one. */
function modelRow(text: string): Cell[] | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const record = parsed as Record<string, unknown>
  const row: Cell[] = []
  for (const [index, name] of NAMES.entries()) {
    const value = Object.hasOwn(record, name) ? record[name] : null
    if (value === null) {
      if (index === REQUIRED) return undefined
      row.push(null)
    } else if (KINDS[index] === 'long') {
      if (typeof value !== 'number' || !Number.isSafeInteger(value)) return undefined
      row.push(BigInt(value))
    } else if (KINDS[index] === 'double' && typeof value === 'number') row.push(value)
    else if (typeof value === KINDS[index]) row.push(value as Cell)
    else return undefined
  }
  return row
}

const anyCell = (index: number): fc.Arbitrary<unknown> => {
  const right: fc.Arbitrary<unknown> =
    KINDS[index] === 'long'
      ? fc.oneof(fc.maxSafeInteger(), fc.nat(1000))
      : KINDS[index] === 'double'
        ? fc.double({ noNaN: true, noDefaultInfinity: true })
        : KINDS[index] === 'boolean'
          ? fc.boolean()
          : fc.string({ unit: fc.constantFrom('a', 'b', '"', '\\', 'ü', '🚀', '\n', ' '), maxLength: 30 })
  return fc.oneof(
    { weight: 30, arbitrary: right },
    { weight: 3, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom<unknown>('text', true, 0.5, {}, [1], { id: 1 }) },
  )
}
const pair = fc
  .nat(NAMES.length)
  .chain((index) =>
    index === NAMES.length
      ? fc.tuple(fc.constantFrom('i', 'idx', 'weight', '', '__proto__', 'constructor'), fc.jsonValue({ maxDepth: 2 }))
      : fc.tuple(fc.constant(NAMES[index]), anyCell(index)),
  )
const space = fc.constantFrom('', '', '', ' ', '\n', ' \t')
const record = fc
  .tuple(
    fc.tuple(...NAMES.map((name, index) => fc.tuple(fc.constant(name), anyCell(index)))),
    fc.array(pair, { maxLength: 3 }),
    fc.constantFrom('as declared', 'as declared', 'reversed', 'some'),
    fc.nat(15),
    space,
    fc.boolean(),
    fc.nat(200),
  )
  .map(([own, extra, order, left, gap, escaped, cut]) => {
    let pairs: (readonly [string, unknown])[] = [...own]
    if (order === 'reversed') pairs.reverse()
    if (order === 'some') pairs = pairs.filter((_, index) => (left >> index) & 1)
    pairs.splice(left % (pairs.length + 1), 0, ...extra)
    const key = (name: string) =>
      escaped && name !== ''
        ? `"\\u${name.charCodeAt(0).toString(16).padStart(4, '0')}${name.slice(1)}"`
        : JSON.stringify(name)
    const text = `{${gap}${pairs.map(([name, value]) => `${key(name)}${gap}:${gap}${JSON.stringify(value)}${gap}`).join(`,${gap}`)}}`
    return cut < 12 ? text.slice(0, -1 - cut) : text
  })

const abandoned = Buffer.from('{"id":1,"a":"abandoned"}')

test('a builder holds exactly the rows of the good records, batch after batch', () => {
  fc.assert(
    fc.property(fc.array(fc.array(record, { maxLength: 40 }), { maxLength: 3 }), fc.nat(40), (batches, kept) => {
      const decoder = createJsonDecoder(schema)
      const builder = createBatchBuilder(schema)
      for (const texts of batches) {
        let model: Cell[][] = []
        for (const text of texts) {
          const bytes = Buffer.from(`x${text}}`)
          // A row that is decoded and never finished leaves nothing behind either.
          if (text.length % 3 === 0) decoder.decode(abandoned, 0, abandoned.length, builder)
          const failure = decoder.decode(bytes, 1, bytes.length - 1, builder)
          const row = modelRow(text)
          expect([text, failure === undefined]).toEqual([text, row !== undefined])
          expect(builder.rowCount).toBe(model.length)
          if (!row) continue
          builder.finishRow(builder.sourceIndex('s'), 0, model.length, Number.NaN, 0)
          model.push([...row, BigInt(model.length)])
        }
        if (kept < model.length && kept % 2 === 0) {
          builder.truncate(kept)
          model = model.slice(0, kept)
        }
        expect(rowsOf(builder.seal())).toEqual(model)
      }
    }),
    { numRuns: 2500 },
  )
})

test('a text cut anywhere is refused, and leaves the builder as it was', () => {
  const decoder = createJsonDecoder(schema)
  const builder = createBatchBuilder(schema)
  fc.assert(
    fc.property(record, (text) => {
      const bytes = Buffer.from(text)
      for (let end = 0; end < bytes.length; end += 1) {
        expect(decoder.decode(bytes, 0, end, builder)?.reason).toMatch(/^malformed JSON: /)
      }
      expect([builder.rowCount, builder.seal().rowCount]).toEqual([0, 0])
    }),
    { numRuns: 2000 },
  )
})

test('memory is let go after a batch far larger than the others', () => {
  const decoder = createJsonDecoder(schema)
  const builder = createBatchBuilder(schema)
  const fill = (rows: number, length: number) => {
    const bytes = Buffer.from(JSON.stringify({ id: 1, a: 'a'.repeat(length) }))
    for (let row = 0; row < rows; row += 1) {
      expect(decoder.decode(bytes, 0, bytes.length, builder)).toBe(undefined)
      builder.finishRow(builder.sourceIndex('s'), 0, row, Number.NaN, 0)
    }
    expect(builder.allocatedBytes).toBeGreaterThan(rows * length)
    return builder.seal()
  }
  fill(1000, 5000)
  fill(10, 10)
  fill(10, 10)
  expect(builder.allocatedBytes).toBeLessThan(300_000)
  expect(rowsOf(fill(3, 2))).toEqual([0n, 1n, 2n].map((offset) => [1n, 'aa', null, null, null, offset]))
})

test('columns are inferred in order of first appearance, with the type that holds every value', () => {
  const infer = (records: string[], timestamps = true) =>
    inferColumns(
      records.map((text) => Buffer.from(text)),
      { timestamps },
    ).map(({ name, type, required }) => [name, type.kind, required])
  expect(infer(['{"b":1,"10":true,"2":null}', '{"2":"x","a":1.0,"b":2}'])).toEqual([
    ['b', 'long', false],
    ['10', 'boolean', false],
    ['2', 'string', false],
    ['a', 'double', false],
  ])
  const kindOf = (...values: string[]) => infer(values.map((value) => `{"v":${value}}`))[0][1]
  expect(kindOf('1', '2.5')).toBe('double')
  expect(kindOf('9223372036854775807')).toBe('long')
  expect(kindOf('9223372036854775808')).toBe('double')
  expect(kindOf('1', '"1"')).toBe('json')
  expect(kindOf('null')).toBe('json')
  expect(kindOf('[1]', 'null')).toBe('json')
  expect(kindOf('"2026-01-31"', '"2026-02-01"')).toBe('date')
  expect(kindOf('"2026-01-31"', '"2026-02-01T00:00:00Z"')).toBe('string')
  expect(kindOf('"2026-01-31T10:00:00"')).toBe('timestamp')
  expect(kindOf('"2026-01-31T10:00:00"', '"2026-01-31T10:00:00+02:00"')).toBe('timestamptz')
  expect(infer(['{"v":"2026-01-31"}'], false)).toEqual([['v', 'string', false]])
  expect(infer(['{"_x":1,"":1,"a\\nb":1,"ok":1}', '[1]', 'no json', '{"later":1'])).toEqual([['ok', 'long', false]])
  const wide = `{${Array.from({ length: 1200 }, (_, index) => `"c${index}":1`).join(',')}}`
  expect(infer([wide]).length).toBe(1000)
})

test('with nested columns objects become structs and arrays lists, as far as their values agree', () => {
  const infer = (...records: string[]) =>
    inferColumns(
      records.map((text) => Buffer.from(text)),
      { timestamps: true, nested: 'struct' },
    ).map(({ name, type }) => `${name}: ${formatColumnType(type)}`)
  expect(infer('{"a":{"b":1,"c":[1,2.5]}}', '{"a":{"b":null,"d":"2026-01-31"}}')).toEqual([
    'a: struct<b: long, c: list<double>, d: date>',
  ])
  expect(infer('{"a":[{"b":1}]}', '{"a":[{"c":{"d":true}}, null]}')).toEqual([
    'a: list<struct<b: long, c: struct<d: boolean>>>',
  ])
  expect(infer('{"a":{"b":1}}', '{"a":[1]}')).toEqual(['a: json'])
  expect(infer('{"a":{"b":1}}', '{"a":{"b":"x"}}')).toEqual(['a: struct<b: json>'])
  expect(infer('{"a":[1,"x"]}')).toEqual(['a: list<json>'])
  expect(infer('{"a":{}, "b":[]}')).toEqual(['a: json', 'b: json'])
  expect(infer('{"a":{"B":1,"b":2,"_c":3}}')).toEqual(['a: struct<B: long>'])
  const ids = Array.from({ length: 201 }, (_, index) => `"id${index}":1`).join(',')
  expect(infer(`{"a":{${ids}}}`)).toEqual(['a: json'])
  const deep = `${'{"a":'.repeat(60)}1${'}'.repeat(60)}`
  expect(parseColumnType(infer(deep)[0].slice(3))).toBeDefined()
})

test('columns inside structs count, and whatever was inferred takes the records it was inferred from', () => {
  const wide = (from: number) => Array.from({ length: 150 }, (_, index) => `"c${from + index}":1`).join(',')
  const records = Array.from({ length: 12 }, (_, index) => `{"s${index}":{${wide(index * 150)}}}`)
  const [options] = [{ timestamps: true, nested: 'struct' as const }]
  const leaves = (type: ColumnType): number =>
    childFields(type).length === 0 ? 1 : childFields(type).reduce((sum, each) => sum + leaves(each.type), 0)
  const fields = inferColumns(
    records.map((text) => Buffer.from(text)),
    options,
  )
  expect(fields.reduce((sum, each) => sum + leaves(each.type), 0)).toBeLessThanOrEqual(1000)
  fc.assert(
    fc.property(fc.array(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 })), { maxLength: 8 }), (values) => {
      const texts = values.map((value) => Buffer.from(JSON.stringify(value)))
      const columns = inferColumns(texts, options).map((field, index) => ({ ...field, fieldId: 16 + index }))
      const made: TableSchema = { schemaId: 1, columns: [...columns, ...HIDDEN_COLUMNS] }
      const decoder = createJsonDecoder(made)
      const builder = createBatchBuilder(made)
      for (const text of texts) {
        expect([text.toString(), decoder.decode(text, 0, text.length, builder)?.reason]).toEqual([
          text.toString(),
          undefined,
        ])
        builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
      }
      expect(builder.seal().rowCount).toBe(texts.length)
    }),
    { numRuns: 500 },
  )
})
