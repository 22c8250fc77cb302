import { expect, test } from 'vitest'
import { formatColumnType } from '../../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../../schemas/table-schema.ts'
import { batchRows } from '../../../test/harness/vector-values.ts'
import { Instant, Struct } from '../../connect/data/values.ts'
import { createBatchBuilder } from '../../decoder/batch-builder.ts'
import { allTargets, isReadFailure } from '../format.ts'
import { openJsonSchema } from './json-schema.ts'

const CONVERTER = { format: 'json-schema', registry: true } as const

function open(schema: unknown, references: Record<string, unknown> = {}) {
  return openJsonSchema(
    {
      text: JSON.stringify(schema),
      label: 's (id 1)',
      references: Object.entries(references).map(([name, each]) => ({ name, text: JSON.stringify(each) })),
    },
    CONVERTER,
  )
}

function columnsOf(schema: unknown, references: Record<string, unknown> = {}): string[] {
  return open(schema, references).columns.fields.map(
    ({ name, type, required }) => `${name} ${formatColumnType(type)}${required ? ' required' : ''}`,
  )
}

/** The column of one property. */
const typeOf = (property: unknown, root: Record<string, unknown> = {}) =>
  columnsOf({ ...root, type: 'object', properties: { v: property } })[0].slice(2)

/** The record's row in a table made from the schema, and the same through Connect data. */
function decode(schema: unknown, record: unknown): unknown {
  const format = open(schema)
  const columns = format.columns.fields.map((field, index) => ({ ...field, fieldId: 16 + index }))
  const made: TableSchema = { schemaId: 1, columns: [...columns, ...HIDDEN_COLUMNS] }
  const builder = createBatchBuilder(made)
  const bytes = Buffer.from(JSON.stringify(record))
  const failure = format.createDecoder(made, allTargets(made)).decode(bytes, 0, bytes.length, builder)
  if (failure) return failure.reason
  expect(isReadFailure(format.read(bytes, 0, bytes.length))).toBe(false)
  builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
  return batchRows(
    builder.seal(),
    columns.map(({ name }) => name),
  )[0]
}

test.each([
  [{ type: 'integer' }, 'long'],
  [{ type: 'integer', 'connect.type': 'int16' }, 'int'],
  [{ type: 'number' }, 'double'],
  [{ type: 'number', 'connect.type': 'float32' }, 'float'],
  [{ type: ['integer', 'number', 'null'] }, 'double'],
  [{ type: 'boolean' }, 'boolean'],
  [{ type: 'string' }, 'string'],
  [{ type: 'string', format: 'date-time' }, 'timestamptz'],
  [{ type: 'string', format: 'date' }, 'date'],
  [{ type: 'string', format: 'time' }, 'time'],
  [{ type: 'string', format: 'uuid' }, 'uuid'],
  [{ type: 'string', format: 'email' }, 'string'],
  [{ type: 'string', 'connect.type': 'bytes' }, 'binary'],
  [{ type: 'string', contentEncoding: 'base64' }, 'binary'],
  [{ type: 'integer', title: 'org.apache.kafka.connect.data.Timestamp', 'connect.type': 'int64' }, 'timestamptz'],
  [{ type: 'integer', title: 'org.apache.kafka.connect.data.Date', 'connect.type': 'int32' }, 'date'],
  [
    { type: 'number', title: 'org.apache.kafka.connect.data.Decimal', 'connect.parameters': { scale: '4' } },
    'decimal(38,4)',
  ],
  [{ enum: ['a', 'b'] }, 'string'],
  [{ const: 5 }, 'long'],
  [{ enum: ['a', 1] }, 'json'],
  [{ type: ['string', 'integer'] }, 'json'],
  [true, 'json'],
  [{}, 'json'],
  [{ type: 'array', items: { type: 'integer' } }, 'list<long required>'],
  [{ type: 'array', items: { type: ['integer', 'null'] } }, 'list<long>'],
  [{ type: 'array' }, 'json'],
  [{ type: 'array', items: [{ type: 'integer' }] }, 'json'],
  [{ type: 'array', prefixItems: [{ type: 'integer' }], items: { type: 'string' } }, 'json'],
  [{ type: 'object' }, 'json'],
  [{ type: 'object', additionalProperties: { type: 'number' } }, 'map<string, double required>'],
  [{ type: 'object', patternProperties: { '^x': { type: ['string', 'null'] } } }, 'map<string, string>'],
  [
    { type: 'object', properties: { a: { type: 'integer' }, b: { type: 'string' } }, required: ['a'] },
    'struct<a: long required, b: string>',
  ],
  [{ type: 'object', properties: { a: {}, A: {} } }, 'json'],
  [{ oneOf: [{ type: 'null' }, { type: 'integer' }] }, 'long'],
  [{ anyOf: [{ type: 'string' }, { type: 'integer' }] }, 'json'],
  [
    { allOf: [{ type: 'object', properties: { a: { type: 'integer' } } }, { properties: { b: { type: 'string' } } }] },
    'struct<a: long, b: string>',
  ],
])('%j is a column %s', (property, expected) => {
  expect(typeOf(property)).toBe(expected)
})

test('required, null and the order of Connect decide what a column is like', () => {
  expect(
    columnsOf({
      type: 'object',
      properties: {
        b: { type: 'integer', 'connect.index': 1 },
        a: { oneOf: [{ type: 'null' }, { type: 'string' }], 'connect.index': 0 },
        c: { type: 'string', nullable: true, 'connect.index': 2 },
      },
      required: ['a', 'b', 'c'],
    }),
  ).toEqual(['a string', 'b long required', 'c string'])
})

test('references: definitions of every draft, anchors, other schemas, and a schema within itself', () => {
  const address = { type: 'object', properties: { zip: { type: 'integer' } } }
  expect(typeOf({ $ref: '#/definitions/a' }, { definitions: { a: address } })).toBe('struct<zip: long>')
  expect(typeOf({ $ref: '#/$defs/a' }, { $defs: { a: { $ref: '#/$defs/b' }, b: address } })).toBe('struct<zip: long>')
  expect(typeOf({ $ref: '#here' }, { $defs: { a: { ...address, $anchor: 'here' } } })).toBe('struct<zip: long>')
  expect(typeOf({ $ref: '#here' }, { definitions: { a: { ...address, $id: '#here' } } })).toBe('struct<zip: long>')
  expect(columnsOf({ properties: { v: { $ref: 'address.json' } } }, { 'address.json': address })).toEqual([
    'v struct<zip: long>',
  ])
  expect(
    columnsOf(
      { properties: { v: { $ref: 'http://host/a.json#/$defs/z' } } },
      { 'a.json': { $id: 'http://host/a.json', $defs: { z: { $ref: '#/$defs/y' }, y: { type: 'boolean' } } } },
    ),
  ).toEqual(['v boolean'])
  const tree = { type: 'object', properties: { id: { type: 'integer' }, next: { $ref: '#' } } }
  expect(columnsOf(tree)).toEqual(['id long', 'next json'])
  expect(typeOf({ $ref: '#/definitions/a~1b' }, { definitions: { 'a/b': { type: 'string' } } })).toBe('string')
  expect(() => typeOf({ $ref: '#/nowhere' })).toThrow('"$ref" #/nowhere: there is no schema')
  expect(() => typeOf({ $ref: 'x.json' })).toThrow('"$ref" x.json: nothing by this name was given with it')
  expect(() => typeOf({ $ref: '#/$defs/a' }, { $defs: { a: { $ref: '#/$defs/a' } } })).toThrow('leads to itself')
  expect(() => columnsOf({ allOf: [{ $ref: '#' }] })).toThrow('"allOf" leads to itself')
  const doubling = Object.fromEntries(
    [...Array(30)].map((_, at) => [
      `d${at}`,
      { properties: { a: { $ref: `#/$defs/d${at + 1}` }, b: { $ref: `#/$defs/d${at + 1}` } } },
    ]),
  )
  expect(() => typeOf({ $ref: '#/$defs/d0' }, { $defs: { ...doubling, d30: { type: 'integer' } } })).toThrow(
    'comes to more than 10000 schemas',
  )
  expect(() => openJsonSchema({ text: '{', label: 's', references: [] }, CONVERTER)).toThrow('malformed JSON')
  expect(columnsOf({ type: 'integer' })).toEqual(['value long required'])
})

const ORDER = {
  type: 'object',
  required: ['id'],
  properties: {
    id: { type: 'integer' },
    at: { type: 'string', format: 'date-time' },
    day: { type: 'string', format: 'date' },
    time: { type: 'string', format: 'time' },
    price: { type: 'number', title: 'org.apache.kafka.connect.data.Decimal', 'connect.parameters': { scale: '2' } },
    open: { type: ['string', 'integer'] },
    tags: { type: 'array', items: { type: 'string' } },
    sizes: { type: 'object', additionalProperties: { type: 'integer' } },
    inner: { type: 'object', properties: { n: { type: 'integer', default: 7 } } },
    status: { type: 'string', default: 'new' },
  },
}

test('records go into columns by their schema', () => {
  expect(
    decode(ORDER, {
      id: 1,
      at: '2026-01-01T01:00:00.5+01:00',
      day: '1970-01-02',
      time: '00:00:01Z',
      price: 1.5,
      open: { a: [1] },
      tags: ['a'],
      sizes: { s: 1 },
      inner: {},
    }),
  ).toEqual({
    id: 1n,
    at: 1_767_225_600_500_000n,
    day: 1,
    time: 1_000_000n,
    price: 150n,
    open: '{"a":[1]}',
    tags: ['a'],
    sizes: [['s', 1n]],
    inner: { n: 7n },
    status: 'new',
  })
  expect(decode(ORDER, { id: 1.5 })).toBe('column "id": expected long, found number with a fraction at byte 6')
  expect(decode(ORDER, { at: null })).toBe('column "id": expected long, found nothing; it is required')
  expect(decode(ORDER, { id: 1, tags: [null] })).toBe('column "tags.element": expected string, found null at byte 16')
  expect(decode(ORDER, { id: 1, at: 'soon' })).toBe(
    'column "at": expected timestamptz, found text that is no timestamp at byte 13',
  )
  expect(decode({ type: 'integer' }, 5)).toEqual({ value: 5n })
})

test('and into Connect data', () => {
  const bytes = Buffer.from('{"id":1,"at":"1970-01-01T00:00:01.000001Z","price":1.5,"inner":{},"sizes":{"a":1}}')
  const read = open(ORDER).read(bytes, 0, bytes.length)
  expect(isReadFailure(read)).toBe(false)
  if (isReadFailure(read) || !(read.value instanceof Struct)) return
  const { schema } = read.value
  const values = Object.fromEntries(schema.fields.map((field) => [field.name, (read.value as Struct).get(field)]))
  expect([values.id, values.at, values.status, values.tags]).toEqual([1n, new Instant(1000, 1), 'new', null])
  expect(values.sizes).toEqual(new Map([['a', 1n]]))
  const bad = Buffer.from('{"id":1,"inner":{"n":"x"}}')
  expect(open(ORDER).read(bad, 0, bad.length)).toEqual({
    failure: { reason: 'field "inner.n": expected int64, found string', column: 'inner.n' },
  })
})
