import avro from 'avsc'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assignFieldIds, type Field, formatColumnType, parseColumnType } from '../../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../../schemas/table-schema.ts'
import { batchRows } from '../../../test/harness/vector-values.ts'
import { Decimal, Instant, Struct } from '../../connect/data/values.ts'
import { createBatchBuilder } from '../../decoder/batch-builder.ts'
import { allTargets, type WriterFormat } from '../format.ts'
import { openAvro } from './avro-format.ts'

function open(json: unknown, references: readonly { name: string; text: string }[] = []): WriterFormat {
  return openAvro({ text: JSON.stringify(json), references, label: 'test' }, { format: 'avro', registry: true })
}

function record(fields: Record<string, unknown>, name = 'R') {
  return { type: 'record', name, fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })) }
}

/** `a: long required, s: struct<x: int>` */
function table(columns: string): TableSchema {
  const type = parseColumnType(`struct<${columns}>`)
  if (type?.kind !== 'struct') throw new Error(columns)
  return tableOf(type.fields)
}

function tableOf(fields: readonly Field[]): TableSchema {
  return { schemaId: 1, columns: [...assignFieldIds(fields, 16).fields, ...HIDDEN_COLUMNS] }
}

function columnsOf(format: WriterFormat): string {
  return formatColumnType({ kind: 'struct', fields: format.columns.fields }).slice('struct<'.length, -1)
}

/** The row, or the reason why there is none. */
function decodeOne(json: unknown, columns: string, bytes: Uint8Array): unknown {
  const schema = table(columns)
  const decoder = open(json).createDecoder(schema, allTargets(schema))
  const builder = createBatchBuilder(schema)
  const failure = decoder.decode(bytes, 0, bytes.length, builder)
  if (failure) return failure.reason
  builder.finishRow(builder.sourceIndex('s'), 0, 0, 0, 0)
  const names = schema.columns.filter(({ fieldId }) => fieldId >= 16).map(({ name }) => name)
  return batchRows(builder.seal(), names)[0]
}

function put(json: unknown, columns: string, value: unknown): unknown {
  const type = avro.Type.forSchema(json as avro.Schema, { wrapUnions: true })
  return decodeOne(json, columns, type.toBuffer(value))
}

const timestamp = (logicalType: string) => ({ type: 'long', logicalType })

describe('columns of an Avro schema', () => {
  it.each([
    [
      { a: 'int', b: 'long', c: 'float', d: 'double' },
      'a: int required, b: long required, c: float required, d: double required',
    ],
    [
      { a: 'boolean', b: 'bytes', c: 'string', d: 'null' },
      'a: boolean required, b: binary required, c: string required, d: json',
    ],
    [{ a: ['null', 'int'], b: ['string', 'null'], c: ['long'] }, 'a: int, b: string, c: long required'],
    [{ a: { type: 'bytes', logicalType: 'decimal', precision: 10, scale: 2 } }, 'a: decimal(10,2) required'],
    [{ a: { type: 'bytes', logicalType: 'decimal', precision: 50, scale: 2 } }, 'a: string required'],
    [{ a: { type: 'bytes', logicalType: 'decimal', precision: 2, scale: 5 } }, 'a: binary required'],
    [
      { a: { type: 'int', logicalType: 'date' }, b: { type: 'int', logicalType: 'time-millis' } },
      'a: date required, b: time required',
    ],
    [
      { a: timestamp('timestamp-nanos'), b: timestamp('local-timestamp-millis') },
      'a: timestamptz required, b: timestamp required',
    ],
    [
      { a: { type: 'string', logicalType: 'uuid' }, b: { type: 'string', logicalType: 'unheard-of' } },
      'a: uuid required, b: string required',
    ],
    [{ a: { type: 'array', items: ['null', 'long'] } }, 'a: list<long> required'],
    [
      { a: { type: 'map', values: record({ x: 'int' }, 'X') } },
      'a: map<string, struct<x: int required> required> required',
    ],
    [
      { a: ['null', 'int', 'string', record({ x: 'int' }, 'n.s.X')] },
      'a: struct<int: int, string: string, X: struct<x: int required>>',
    ],
    [{ a: ['int', 'string'] }, 'a: struct<int: int, string: string> required'],
    [
      { a: [record({ x: 'int' }, 'a.X'), record({ y: 'int' }, 'b.X')] },
      'a: struct<a.X_0: struct<x: int required>, b.X_1: struct<y: int required>> required',
    ],
    [{ a: record({}, 'Empty') }, 'a: json required'],
  ])('%o', (fields, columns) => {
    expect(columnsOf(open(record(fields)))).toBe(columns)
  })

  it('know field ids and aliases', () => {
    const json = {
      type: 'record',
      name: 'R',
      fields: [{ name: 'a', type: 'int', aliases: ['old', 'older'], 'field-id': 7 }],
    }
    expect(open(json).columns.fields[0]).toMatchObject({ name: 'a', sourceId: 7, aliases: ['old', 'older'] })
  })

  it('use types of other subjects, whatever stands in them', () => {
    const city = JSON.stringify(record({ name: 'string' }, 'geo.City'))
    const address = JSON.stringify(record({ city: 'geo.City' }, 'shop.Address'))
    const format = open({ ...record({ to: 'shop.Address', from: 'City' }, 'geo.Order') }, [
      { name: 'geo.City', text: city },
      { name: 'shop.Address', text: address },
    ])
    expect(columnsOf(format)).toBe(
      'to: struct<city: struct<name: string required> required> required, from: struct<name: string required> required',
    )
  })

  it('of a value that is no record are one', () => {
    expect(columnsOf(open('long'))).toBe('value: long required')
    expect(columnsOf(open(['null', 'string']))).toBe('value: string')
    const format = openAvro({ text: 'string', references: [], label: 'x' }, { format: 'avro', registry: true })
    expect(columnsOf(format)).toBe('value: string required')
  })

  it.each([
    [record({ next: ['null', 'R'] }), /field "next": a record inside itself \(R\)/],
    [record({ a: 'int', A: 'int' }), /field "A": two fields differ in upper and lower case only/],
    [record({ a: 'Missing' }), /R\.a: type "Missing" is not known; is a reference missing\?/],
    [record({ a: ['int', 'int'] }), /a union with "int" twice/],
    [record({ a: ['int', ['string']] }), /a union directly inside a union/],
    [record({ a: [] }), /a union without types/],
    [record({ a: { type: 'fixed', name: 'F', size: -1 } }), /expected a size from 0/],
    [record({ a: { type: 'enum', name: 'E', symbols: [] } }), /expected "symbols"/],
    [record({ '': 'int' }), /expected an object with a name/],
    [{ type: 'record', name: 'R' }, /expected "fields" as a list/],
    [record({}), /a record without fields/],
    [
      {
        type: 'record',
        name: 'R',
        fields: [
          { name: 'a', type: 'int' },
          { name: 'a', type: 'int' },
        ],
      },
      /two fields are named "a"/,
    ],
    [12, /expected a type, found 12/],
  ])('are refused: %o', (json, message) => {
    expect(() => open(json)).toThrow(message)
  })

  it('are refused when there are too many, in few words', () => {
    let json: unknown = 'int'
    for (let level = 0; level < 20; level += 1)
      json = {
        type: 'record',
        name: `L${level}`,
        fields:
          level === 0
            ? [
                { name: 'a', type: 'int' },
                { name: 'b', type: 'int' },
              ]
            : [
                { name: 'a', type: json },
                { name: 'b', type: `L${level - 1}` },
              ],
      }
    expect(() => open(json)).toThrow(/more than 10000 fields in all/)
    let deep: unknown = 'int'
    for (let level = 0; level < 90; level += 1) deep = { type: 'array', items: deep }
    expect(() => open(record({ a: deep }))).toThrow(/nested deeper than 32 levels/)
    expect(() =>
      openAvro({ text: `${'['.repeat(100_000)}`, references: [], label: 'x' }, { format: 'avro', registry: true }),
    ).toThrow(/expected an Avro schema in JSON/)
    expect(() =>
      openAvro(
        { text: `${'{"type":'.repeat(50_000)}"int"${'}'.repeat(50_000)}`, references: [], label: 'x' },
        { format: 'avro', registry: true },
      ),
    ).toThrow(/nested deeper|expected an Avro/)
  })
})

describe('Avro values in columns of other types', () => {
  it.each([
    ['int', 'a: long', 5, 5n],
    ['int', 'a: double', -5, -5],
    ['int', 'a: float', 16_777_217, 16_777_216],
    ['int', 'a: decimal(5,2)', 12, 1200n],
    ['long', 'a: int', 7, 7],
    ['long', 'a: int', 2 ** 31, 'field "a": expected int, found number out of range at byte 0'],
    ['long', 'a: double', 2 ** 40, 2 ** 40],
    ['long', 'a: timestamptz', 1_700_000_000_123, 1_700_000_000_123_000n],
    ['long', 'a: time', 5000, 5_000_000n],
    ['int', 'a: date', 20_000, 20_000],
    ['float', 'a: double', 0.5, 0.5],
    ['double', 'a: float', 0.1, Math.fround(0.1)],
    ['string', 'a: binary', 'é', Buffer.from('é')],
    ['bytes', 'a: string', Buffer.from('é'), 'é'],
    ['bytes', 'a: string', Buffer.from([0xff]), 'field "a": expected string, found text that is no UTF-8 at byte 1'],
    ['string', 'a: uuid', '00000000-0000-0000-0000-00000000000A', '0000000000000000000000000000000a'],
    ['string', 'a: uuid', 'x', 'field "a": expected uuid, found text that is no uuid at byte 1'],
    ['string', 'a: decimal(5,2)', '1.50', 150n],
    ['string', 'a: date', '1970-01-02', 1],
    ['string', 'a: timestamptz', '1970-01-01T00:00:01+01:00', -3_599_000_000n],
    ['string', 'a: json', 'say "x"', '"say \\"x\\""'],
    ['long', 'a: json', 12, '12'],
    [{ type: 'bytes', logicalType: 'decimal', precision: 4, scale: 2 }, 'a: decimal(10,4)', Buffer.from([0xff]), -100n],
    [
      { type: 'bytes', logicalType: 'decimal', precision: 4, scale: 2 },
      'a: decimal(2,2)',
      Buffer.from([0x7f]),
      'field "a": expected decimal(2,2), found number out of range at byte 1',
    ],
    [{ type: 'bytes', logicalType: 'decimal', precision: 50, scale: 2 }, 'a: string', Buffer.from([0x7f]), '1.27'],
    [{ type: 'bytes', logicalType: 'decimal', precision: 5, scale: 2 }, 'a: json', Buffer.from([0xfe]), '-0.02'],
    [timestamp('timestamp-micros'), 'a: timestamp', -1, -1n],
    [timestamp('timestamp-micros'), 'a: long', 5, 5n],
    [timestamp('timestamp-micros'), 'a: json', 1_700_000_000_123_456, '"2023-11-14T22:13:20.123456Z"'],
    [
      { type: 'int', logicalType: 'time-millis' },
      'a: time',
      86_400_000,
      'field "a": expected time, found a time outside of the day at byte 0',
    ],
    [{ type: 'int', logicalType: 'date' }, 'a: json', -1, '"1969-12-31"'],
    [['null', 'int'], 'a: int required', null, 'field "a": expected int, found null; it is required at byte 1'],
    [['null', 'int'], 'a: json', null, null],
    [['int', 'string'], 'a: long', { int: 4 }, 4n],
    [['int', 'string'], 'a: long', { string: 'x' }, 'field "a": expected long, found string at byte 0'],
    [['int', 'string'], 'a: json', { string: 'x' }, '"x"'],
    [['int', 'string'], 'a: struct<string: string>', { int: 4 }, { string: null }],
    [{ type: 'map', values: 'int' }, 'a: json', { x: 1, y: 2 }, '{"x":1,"y":2}'],
    [{ type: 'array', items: 'int' }, 'a: list<long>', [1, 2], [1n, 2n]],
    [record({ x: 'int', y: 'string' }, 'X'), 'a: struct<y: string, z: int>', { x: 1, y: 'b' }, { y: 'b', z: null }],
    [record({ x: 'int', y: ['null', 'string'] }, 'X'), 'a: json', { x: 1, y: null }, '{"x":1,"y":null}'],
  ])('%o in %s: %o → %o', (type, columns, value, expected) => {
    const row = put(record({ a: type }), columns, { a: value })
    expect(typeof row === 'string' ? row : (row as { a: unknown }).a).toEqual(expected)
  })

  it.each([
    ['string', 'a: long', 'column "a": expected long, the schema has string'],
    ['long', 'a: string', 'column "a": expected string, the schema has long'],
    ['boolean', 'a: int', 'column "a": expected int, the schema has boolean'],
    [timestamp('timestamp-millis'), 'a: date', 'column "a": expected date, the schema has timestamp-millis'],
    [record({ x: 'int' }, 'X'), 'a: struct<x: string>', 'column "a.x": expected string, the schema has int'],
    [
      { type: 'array', items: 'int' },
      'a: map<string, int>',
      'column "a": expected map<string, int>, the schema has array',
    ],
    ['int', 'a: int, b: int required', 'column "b": expected int, and the schema R has no such field; it is required'],
    [['int', 'string'], 'a: date, b: struct<x: int>', undefined],
  ])('%o for %s is refused before any record', (type, columns, message) => {
    const schema = table(columns)
    const make = () => open(record({ a: type })).createDecoder(schema, allTargets(schema))
    if (message === undefined) expect(make).not.toThrow()
    else expect(make).toThrow(message)
  })
})

describe('malformed Avro', () => {
  const json = record({
    n: ['null', 'long'],
    s: 'string',
    l: { type: 'array', items: 'long' },
    m: { type: 'map', values: 'int' },
    b: 'boolean',
    e: { type: 'enum', name: 'E', symbols: ['A', 'B'] },
    d: 'double',
  })
  const columns = 'n: long, s: string, l: list<long>, m: map<string, int>, b: boolean, e: string, d: double'
  const good = avro.Type.forSchema(json as avro.Schema, { wrapUnions: true }).toBuffer({
    n: { long: 5 },
    s: 'xyz',
    l: [1],
    m: { k: 1 },
    b: true,
    e: 'B',
    d: 1.5,
  })
  const changed = (at: number, ...bytes: number[]) => {
    const copy = Buffer.from(good)
    copy.set(bytes, at)
    return copy
  }
  it.each([
    ['nothing', Buffer.alloc(0), 'field "n": truncated: the record ends where more is expected at byte 0'],
    [
      'truncated',
      good.subarray(0, good.length - 1),
      'field "d": truncated: the record ends where more is expected at byte 16',
    ],
    ['bytes left over', Buffer.concat([good, Buffer.from([0, 0])]), 'malformed Avro: 2 bytes too many, from byte 24'],
    ['union branch', changed(0, 4), 'field "n": union branch 2 of 2 at byte 0'],
    ['negative union branch', changed(0, 1), 'field "n": union branch -1 of 2 at byte 0'],
    ['text that is no UTF-8', changed(3, 0xc3), 'field "s": expected string, found text that is no UTF-8 at byte 3'],
    ['negative length', changed(2, 1), 'field "s": a length of -1 bytes at byte 2'],
    ['length beyond the end', changed(2, 0x7e), 'field "s": a length of 63 bytes where 21 are left at byte 2'],
    [
      'absurd block count',
      changed(6, 0xfe, 0xff, 0xff, 0xff, 0x0f),
      'field "l": a block of 2147483647 items where 13 bytes are left at byte 6',
    ],
    [
      'most negative block count',
      changed(6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01),
      /field "l": (a block of|a length|an integer)/,
    ],
    [
      'integer of too many bits',
      changed(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
      'field "n": an integer of too many bits at byte 1',
    ],
    ['boolean', changed(14, 2), 'field "b": expected a boolean (0 or 1), found byte 2 at byte 14'],
    ['enum symbol', changed(15, 4), 'field "e": symbol 2 of 2 at byte 15'],
  ])('%s', (_, bytes, reason) => {
    const found = decodeOne(json, columns, bytes)
    if (reason instanceof RegExp) expect(found).toMatch(reason)
    else expect(found).toBe(reason)
  })

  it('the last of two equal keys of a map counts', () => {
    const map = record({ m: { type: 'map', values: 'int' } })
    const bytes = Buffer.from([6, 2, 0x61, 2, 2, 0x62, 4, 2, 0x61, 6, 0])
    expect(decodeOne(map, 'm: map<string, int>', bytes)).toEqual({
      m: [
        ['b', 2],
        ['a', 3],
      ],
    })
    expect(decodeOne(map, 'm: json', bytes)).toEqual({ m: '{"a":3,"b":2}' })
  })

  it('blocks with their length, more than one', () => {
    const list = record({ l: { type: 'array', items: 'long' }, x: 'int' })
    const bytes = Buffer.from([3, 4, 2, 4, 1, 2, 6, 0, 8])
    expect(decodeOne(list, 'l: list<long>, x: int', bytes)).toEqual({ l: [1n, 2n, 3n], x: 4 })
    expect(decodeOne(list, 'x: int', bytes)).toEqual({ x: 4 })
    expect(decodeOne(list, 'l: list<long>, x: int', Buffer.from([3, 6, 2, 4, 1, 2, 6, 0, 8]))).toBe(
      'field "l": a block of another length than it says at byte 4',
    )
  })

  it('lists that would take much more memory than the record has bytes are refused', () => {
    const wide = Array.from({ length: 300 }, (_, index) => `c${index}: decimal(38,0)`).join(', ')
    const list = record({ l: { type: 'array', items: record({ a: 'boolean' }, 'I') } })
    const bytes = Buffer.concat([Buffer.from([0xc0, 0x84, 0x3d]), Buffer.alloc(500_000, 1), Buffer.from([0])])
    expect(decodeOne(list, 'l: list<struct<a: boolean>>', bytes)).toMatchObject({ l: { length: 500_000 } })
    expect(decodeOne(list, `l: list<struct<a: boolean, ${wide}>>`, bytes)).toBe(
      'field "l": more list items than fit in 128 MiB at byte 3',
    )
  })

  it('items that take no bytes are bounded', () => {
    const nulls = record({ l: { type: 'array', items: 'null' } })
    expect(decodeOne(nulls, 'l: list<int>', Buffer.from([0xfe, 0xff, 0xff, 0xff, 0x0f, 0]))).toMatch(
      /a block of 2147483647 items/,
    )
    expect(decodeOne(nulls, 'l: list<int>', Buffer.from([6, 0]))).toEqual({ l: [null, null, null] })
  })
})

describe('schemas that changed (against the resolution of avsc where both mean the same)', () => {
  const v1 = record({ id: 'int', name: 'string', score: 'float', inner: record({ x: 'int', y: 'string' }, 'I') })
  const v2 = {
    type: 'record',
    name: 'R',
    fields: [
      { name: 'score', type: 'double' },
      { name: 'added', type: ['null', 'string'], default: null },
      { name: 'id', type: 'long' },
      {
        name: 'inner',
        type: {
          type: 'record',
          name: 'I',
          fields: [
            { name: 'z', type: ['null', 'int'], default: null },
            { name: 'x', type: 'long' },
          ],
        },
      },
    ],
  }
  it('v1 read as v2: widened, reordered, added null, dropped skipped', () => {
    const one = avro.Type.forSchema(v1 as avro.Schema)
    const two = avro.Type.forSchema(v2 as avro.Schema)
    const resolver = two.createResolver(one)
    const schema = tableOf(open(v2).columns.fields)
    const decoder = open(v1).createDecoder(schema, allTargets(schema))
    fc.assert(
      fc.property(
        fc.record({
          id: fc.integer(),
          name: fc.string(),
          score: fc.float({ noNaN: true }),
          inner: fc.record({ x: fc.integer(), y: fc.string() }),
        }),
        (value) => {
          const bytes = one.toBuffer(value)
          const builder = createBatchBuilder(schema)
          expect(decoder.decode(bytes, 0, bytes.length, builder)).toBe(undefined)
          builder.finishRow(builder.sourceIndex('s'), 0, 0, 0, 0)
          const [row] = batchRows(builder.seal(), ['score', 'added', 'id', 'inner'])
          const resolved = two.fromBuffer(bytes, resolver) as {
            score: number
            id: number
            added: null
            inner: { x: number; z: null }
          }
          expect(row).toEqual({
            ...resolved,
            id: BigInt(resolved.id),
            inner: { ...resolved.inner, x: BigInt(resolved.inner.x) },
          })
        },
      ),
    )
  })

  it('both versions, row by row, into one batch; renamed by field id and by alias', () => {
    const first = {
      type: 'record',
      name: 'R',
      fields: [
        { name: 'a', type: 'int', 'field-id': 1 },
        { name: 'b', type: 'int' },
      ],
    }
    const second = {
      type: 'record',
      name: 'R',
      fields: [
        { name: 'c', type: ['null', 'string'] },
        { name: 'bb', type: 'int', aliases: ['b'] },
        { name: 'aa', type: 'long', 'field-id': 1 },
      ],
    }
    const fields: Field[] = [
      { fieldId: 0, name: 'aa', type: { kind: 'long' }, required: false, sourceId: 1 },
      { fieldId: 0, name: 'b', type: { kind: 'int' }, required: false },
      { fieldId: 0, name: 'c', type: { kind: 'string' }, required: false },
    ]
    const schema = tableOf(fields)
    const ways = [first, second].map((json) => ({
      type: avro.Type.forSchema(json as avro.Schema, { wrapUnions: true }),
      decoder: open(json).createDecoder(schema, allTargets(schema)),
    }))
    const builder = createBatchBuilder(schema)
    for (let row = 0; row < 1000; row += 1) {
      const value =
        row % 2 === 0 ? { a: row, b: -row } : { c: row % 3 === 0 ? null : { string: `t${row}` }, bb: -row, aa: row }
      const { type, decoder } = ways[row % 2]
      const bytes = type.toBuffer(value)
      expect(decoder.decode(bytes, 0, bytes.length, builder)).toBe(undefined)
      builder.finishRow(builder.sourceIndex('s'), 0, row, 0, 0)
    }
    const rows = batchRows(builder.seal(), ['aa', 'b', 'c'])
    rows.forEach((row, index) => {
      expect(row).toEqual({
        aa: BigInt(index),
        b: index === 0 ? 0 : -index,
        c: index % 2 === 1 && index % 3 !== 0 ? `t${index}` : null,
      })
    })
  })
})

describe('Avro as Connect data', () => {
  it("has the types that Confluent's converter gives it", () => {
    const json = {
      type: 'record',
      name: 'shop.Order',
      doc: 'an order',
      fields: [
        { name: 'id', type: 'long' },
        { name: 'small', type: { type: 'int', 'connect.type': 'int16' }, default: 3 },
        { name: 'at', type: timestamp('timestamp-micros') },
        { name: 'day', type: { type: 'int', logicalType: 'date' } },
        { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
        { name: 'tags', type: { type: 'map', values: 'string' } },
        { name: 'any', type: ['null', 'int', 'string'] },
        { name: 'kind', type: ['null', { type: 'enum', name: 'Kind', symbols: ['A', 'B'] }] },
        { name: 'to', type: record({ city: 'string' }, 'Address') },
      ],
    }
    const type = avro.Type.forSchema(json as avro.Schema, { wrapUnions: true })
    const bytes = type.toBuffer({
      id: 5,
      small: 7,
      at: 1_700_000_000_123_456,
      day: 3,
      price: Buffer.from([0x30, 0x39]),
      tags: { x: 'y' },
      any: { string: 's' },
      kind: { 'shop.Kind': 'B' },
      to: { city: 'Z' },
    })
    const result = open(json).read(bytes, 0, bytes.length)
    if ('failure' in result) throw new Error(result.failure.reason)
    const { schema, value } = result
    expect(schema).toMatchObject({ type: 'struct', name: 'shop.Order', doc: 'an order', optional: false })
    expect(
      schema?.fields.map(
        ({ schema: each }) => `${each.type}${each.optional ? '?' : ''} ${each.name?.split('.').at(-1) ?? ''}`,
      ),
    ).toEqual([
      'int64 ',
      'int16 ',
      'int64 Timestamp',
      'int32 Date',
      'bytes Decimal',
      'map ',
      'struct? Union',
      'string? Kind',
      'struct Address',
    ])
    expect(schema?.field('small')?.schema.defaultValue).toBe(3)
    expect(schema?.field('price')?.schema.parameters).toEqual(
      new Map([
        ['scale', '2'],
        ['connect.decimal.precision', '9'],
      ]),
    )
    const any = schema!.field('any')!.schema
    const to = schema!.field('to')!.schema
    expect((value as Struct).values).toEqual([
      5n,
      7,
      new Instant(1_700_000_000_123, 456),
      new Instant(3 * 86_400_000),
      new Decimal(12345n, 2),
      new Map([['x', 'y']]),
      new Struct(any, [null, 's']),
      'B',
      new Struct(to, ['Z']),
    ])
    expect(open(json).read(bytes, 0, bytes.length - 1)).toMatchObject({
      failure: { reason: expect.stringMatching(/^malformed Avro/) },
    })
  })
})
