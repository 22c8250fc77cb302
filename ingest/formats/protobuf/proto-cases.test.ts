import protobuf from 'protobufjs'
import descriptor from 'protobufjs/ext/descriptor.js'
import { describe, expect, it } from 'vitest'
import { assignFieldIds, type Field, formatColumnType, parseColumnType } from '../../../schemas/column-type.ts'
import { numberedIn } from '../../../schemas/match-fields.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../../schemas/table-schema.ts'
import { batchRows } from '../../../test/harness/vector-values.ts'
import { Decimal, Instant, type Struct } from '../../connect/data/values.ts'
import { createBatchBuilder } from '../../decoder/batch-builder.ts'
import { allTargets, type WriterFormat, type WriterSchema } from '../format.ts'
import { openProtobuf } from './proto-format.ts'

const PROTO3 = 'syntax = "proto3";\n'

function open(text: string, more: Partial<WriterSchema> = {}): WriterFormat {
  return openProtobuf({ text, references: [], label: 'test', ...more }, { format: 'protobuf', registry: true })
}

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

/** The row, or the reason why there is none. `schema` undefined: the columns that the schema makes. */
function decodeOne(format: WriterFormat, schema: TableSchema, bytes: Uint8Array): unknown {
  const decoder = format.createDecoder(schema, allTargets(schema))
  const builder = createBatchBuilder(schema)
  const failure = decoder.decode(bytes, 0, bytes.length, builder)
  if (failure) return failure.reason
  builder.finishRow(builder.sourceIndex('s'), 0, 0, 0, 0)
  const names = schema.columns.filter(({ fieldId }) => fieldId >= 16).map(({ name }) => name)
  return batchRows(builder.seal(), names)[0]
}

function put(text: string, columns: string, bytes: readonly number[]): unknown {
  return decodeOne(open(text), table(columns), Uint8Array.from(bytes))
}

const message = (fields: string, more = '') => `${PROTO3}${more}\nmessage M { ${fields} }`

describe('columns of a Protobuf schema', () => {
  it.each([
    [
      'int32 a = 1; sint64 b = 2; uint32 c = 3; fixed64 d = 4;',
      'a: int required, b: long required, c: long required, d: long required',
    ],
    ['optional int32 a = 1; oneof o { string b = 2; bool c = 3; }', 'a: int, b: string, c: boolean'],
    [
      'repeated double a = 1; map<int32, bytes> b = 2;',
      'a: list<double required> required, b: map<int, binary required> required',
    ],
    ['E e = 1; enum E { A = 0; }', 'e: string required'],
    ['In i = 1; message In { float x = 1; }', 'i: struct<x: float required>'],
    ['repeated In i = 1; message In { }', 'i: list<json required> required'],
  ])('%s', (fields, columns) => {
    expect(columnsOf(open(message(fields)))).toBe(columns)
  })

  it('of well-known types', () => {
    const text = `${PROTO3}
      import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
      import "google/protobuf/wrappers.proto"; import "google/protobuf/struct.proto"; import "google/protobuf/any.proto";
      import "google/protobuf/empty.proto"; import "google/type/date.proto"; import "google/type/timeofday.proto";
      import "confluent/type/decimal.proto"; import "confluent/meta.proto";
      message M {
        google.protobuf.Timestamp a = 1; google.protobuf.Duration b = 2; google.protobuf.Int64Value c = 3;
        google.protobuf.Struct d = 4; google.protobuf.Value e = 5; google.protobuf.ListValue f = 6; google.protobuf.Any g = 7;
        google.protobuf.Empty h = 8; google.type.Date i = 9; google.type.TimeOfDay j = 10;
        confluent.type.Decimal k = 11 [(confluent.field_meta) = { params: [{ key: "precision", value: "12" }, { key: "scale", value: "3" }] }];
        confluent.type.Decimal l = 12;
      }`
    expect(columnsOf(open(text))).toBe(
      'a: timestamptz, b: struct<seconds: long required, nanos: int required>, c: long, d: json, e: json, f: json, ' +
        'g: struct<type_url: string required, value: binary required>, h: json, i: date, j: time, k: decimal(12,3), ' +
        'l: struct<value: binary required, precision: long required, scale: int required>',
    )
  })

  it('of proto2: required, null where absent, defaults, groups', () => {
    const text = `syntax = "proto2"; message M { required int32 a = 1; optional string b = 2; optional int64 c = 3 [default = -5];
      repeated group G = 4 { optional int32 z = 1; } optional E d = 5 [default = Y]; enum E { X = 3; Y = 5; } extensions 100 to 200; }
      extend M { optional int32 ext = 100; }`
    const format = open(text)
    expect(columnsOf(format)).toBe(
      'a: int required, b: string, c: long, g: list<struct<z: int> required> required, d: string',
    )
    const schema = tableOf(format.columns.fields)
    expect(decodeOne(format, schema, Uint8Array.of(8, 7))).toEqual({ a: 7, b: null, c: -5n, g: [], d: 'Y' })
    // A group with z = 9, and one that is unknown inside it.
    expect(decodeOne(format, schema, Uint8Array.of(8, 7, 0x23, 8, 9, 0x2b, 8, 1, 0x2c, 0x24, 0x23, 0x24))).toEqual({
      a: 7,
      b: null,
      c: -5n,
      g: [{ z: 9 }, { z: null }],
      d: 'Y',
    })
    expect(decodeOne(format, schema, Uint8Array.of())).toBe('field "a": a required field is missing at byte 0')
    expect(format.read(Uint8Array.of(), 0, 0)).toMatchObject({
      failure: { reason: 'malformed Protobuf: the required field "a" is missing at byte 0' },
    })
  })

  it('of an edition', () => {
    const text = `edition = "2023"; message M { int32 a = 1; int32 b = 2 [features.field_presence = IMPLICIT];
      In c = 3 [features.message_encoding = DELIMITED]; message In { int32 x = 1; } }`
    const format = open(text)
    expect(columnsOf(format)).toBe('a: int, b: int required, c: struct<x: int>')
    expect(decodeOne(format, tableOf(format.columns.fields), Uint8Array.of(0x1b, 8, 5, 0x1c))).toEqual({
      a: null,
      b: 0,
      c: { x: 5 },
    })
  })

  it('know field numbers, at every level', () => {
    const text = `${PROTO3}package p; message M { In in = 7; message In { int32 x = 9; } }`
    const [field] = open(text).columns.fields
    const inner = { name: 'x', sourceId: numberedIn('p.M.In', 9) }
    expect(field).toMatchObject({ name: 'in', sourceId: numberedIn('p.M', 7), type: { fields: [inner] } })
  })

  it('of the message that the frame or the settings choose', () => {
    const text = `${PROTO3}package p; enum E { X = 0; } message A { int32 a = 1; message In { int32 i = 1; } message In2 { int32 j = 1; } } message B { int32 b = 1; }`
    expect(columnsOf(open(text))).toBe('a: int required')
    expect(columnsOf(open(text, { messageIndexes: '1' }))).toBe('b: int required')
    expect(columnsOf(open(text, { messageIndexes: '0,1' }))).toBe('j: int required')
    expect(columnsOf(open(text, { message: 'p.A.In' }))).toBe('i: int required')
    expect(() => open(text, { messageIndexes: '2' })).toThrow(/no message with the indexes 2/)
    expect(() => open(text, { message: 'p.C' })).toThrow(/there is no message "p.C"/)
  })

  it('of files that refer to each other', () => {
    const references = [
      { name: 'base.proto', text: `${PROTO3}package p; message First { int32 x = 1; } message Base { int32 y = 1; }` },
      { name: 'mid/mid.proto', text: `${PROTO3}package p; import "base.proto"; message Mid { Base base = 1; }` },
    ]
    const text = `${PROTO3}package p; import "mid/mid.proto"; import public "base.proto"; message Top { Mid mid = 1; p.Base base = 2; }`
    expect(columnsOf(open(text, { references }))).toBe(
      'mid: struct<base: struct<y: int required>>, base: struct<y: int required>',
    )
    expect(() => open(text, { references: references.slice(1) })).toThrow(/import "base.proto" is not known/)
  })

  it('of a descriptor', () => {
    const root = protobuf
      .parse(
        `${PROTO3}package p; message M { int32 a = 1; repeated string b = 2; map<string, int64> c = 3; } message N { int32 d = 1; }`,
        { keepCase: true },
      )
      .root.resolveAll()
    const set = (root as unknown as { toDescriptor(syntax: string): protobuf.Message }).toDescriptor('proto3')
    const text = Buffer.from(descriptor.FileDescriptorSet.encode(set as never).finish()).toString('base64')
    expect(columnsOf(open(text))).toBe(
      'a: int required, b: list<string required> required, c: map<string, long required> required',
    )
    expect(columnsOf(open(text, { messageIndexes: '1' }))).toBe('d: int required')
  })

  it.each([
    ['message M { int32 a = 1 }', /Protobuf schema: .*line 2/],
    ['message M { Missing a = 1; }', /no such Type or Enum 'Missing'/],
    ['message M { M m = 1; }', /field "m": a message inside itself \(M\)/],
    [
      'message M { A a = 1; } message A { repeated B b = 1; } message B { A a = 1; }',
      /field "a.b.a": a message inside itself/,
    ],
    ['message M { int32 a = 1; int32 A = 2; }', /differ in upper and lower case only/],
    ['message M { int32 a = 1; int32 b = 1; }', /duplicate id 1/],
    ['message M { }', /a message without fields/],
    ['', /no message with the indexes 0/],
    ['import "other.proto"; message M { int32 a = 1; }', /import "other.proto" is not known/],
  ])('are refused: %s', (text, reason) => {
    expect(() => open(PROTO3 + text)).toThrow(reason)
  })

  it('are refused when there are too many, in few words', () => {
    const messages = ['message M0 { int32 a = 1; int32 b = 2; }']
    for (let level = 1; level < 20; level += 1)
      messages.push(`message M${level} { M${level - 1} a = 1; M${level - 1} b = 2; }`)
    expect(() => open(`${PROTO3}${messages.reverse().join('\n')}`)).toThrow(/more than 10000 fields in all/)
  })
})

describe('Protobuf values in columns of other types', () => {
  it.each([
    ['int32 a = 1;', 'a: long', [8, 5], 5n],
    ['int32 a = 1;', 'a: double', [8, 5], 5],
    [
      'int64 a = 1;',
      'a: int',
      [8, 0xff, 0xff, 0xff, 0xff, 0x0f],
      'field "a": expected int, found number out of range at byte 1',
    ],
    ['int64 a = 1;', 'a: timestamptz', [8, 5], 5000n],
    ['uint32 a = 1;', 'a: long', [8, 0xff, 0xff, 0xff, 0xff, 0x0f], 4_294_967_295n],
    [
      'uint64 a = 1;',
      'a: long',
      [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
      'field "a": expected long, found number out of range at byte 1',
    ],
    [
      'uint64 a = 1;',
      'a: decimal(20,0)',
      [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
      18_446_744_073_709_551_615n,
    ],
    ['int32 a = 1;', 'a: int', [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], -1],
    ['sint32 a = 1;', 'a: int', [8, 3], -2],
    ['bool a = 1;', 'a: boolean', [8, 2], true],
    ['E a = 1; enum E { A = 0; B = 1; }', 'a: string', [8, 9], '9'],
    ['E a = 1; enum E { A = 0; B = 1; }', 'a: int', [8, 1], 1],
    ['string a = 1;', 'a: uuid', [10, 1, 0x78], 'field "a": expected uuid, found text that is no uuid at byte 2'],
    ['string a = 1;', 'a: json', [10, 1, 0x78], '"x"'],
    ['int64 a = 1;', 'a: json', [], '0'],
    ['optional int64 a = 1;', 'a: json', [], null],
    ['repeated int64 a = 1;', 'a: json', [8, 1, 10, 2, 2, 3], '[1,2,3]'],
    ['map<string, int64> a = 1;', 'a: json', [10, 5, 10, 1, 0x78, 16, 1, 10, 5, 10, 1, 0x78, 16, 2], '{"x":2}'],
    [
      'map<int32, string> a = 1;',
      'a: map<int, string>',
      [10, 5, 8, 1, 18, 1, 0x61, 10, 5, 8, 2, 18, 1, 0x62, 10, 5, 8, 1, 18, 1, 0x63],
      [
        [2, 'b'],
        [1, 'c'],
      ],
    ],
    [
      'map<string, I> a = 1; message I { repeated string s = 1; }',
      'a: map<string, struct<s: list<string>>>',
      [
        10, 8, 10, 1, 0x78, 18, 3, 10, 1, 0x61, 10, 8, 10, 1, 0x79, 18, 3, 10, 1, 0x62, 10, 11, 10, 1, 0x78, 18, 6, 10,
        1, 0x63, 10, 1, 0x64,
      ],
      [
        ['y', { s: ['b'] }],
        ['x', { s: ['c', 'd'] }],
      ],
    ],
    ['map<string, int32> a = 1;', 'a: map<string, int>', [10, 0], [['', 0]]],
    [
      'I a = 1; message I { int32 x = 1; string y = 2; }',
      'a: struct<y: string, z: int>',
      [10, 2, 8, 5],
      { y: '', z: null },
    ],
    [
      'I a = 1; message I { int32 x = 1; string y = 2; }',
      'a: json',
      [10, 2, 8, 5, 10, 3, 18, 1, 0x61],
      '{"x":5,"y":"a"}',
    ],
    [
      'I a = 1; message I { int32 x = 1; }',
      'a: struct<x: int> required',
      [],
      'field "a": expected struct<x: int>, found nothing; it is required at byte 0',
    ],
    [
      'oneof o { int32 a = 1; string b = 2; I c = 3; } message I { optional int32 x = 1; optional int32 y = 2; }',
      'a: int, b: string, c: struct<x: int, y: int>',
      [26, 2, 8, 1, 8, 5, 26, 2, 16, 2],
      null,
    ],
    ['google.protobuf.Timestamp a = 1;', 'a: timestamptz', [10, 4, 8, 1, 16, 0x0a], 1_000_000n],
    ['google.protobuf.Timestamp a = 1;', 'a: timestamptz', [10, 2, 8, 1, 10, 3, 16, 0xe8, 7], 1_000_001n],
    [
      'google.protobuf.Timestamp a = 1;',
      'a: timestamptz',
      [10, 11, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0],
      'malformed Protobuf: malformed tag at byte 13',
    ],
    [
      'google.protobuf.Timestamp a = 1;',
      'a: timestamptz',
      [10, 8, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
      /a timestamp out of range/,
    ],
    ['google.protobuf.Timestamp a = 1;', 'a: json', [10, 2, 8, 1], '"1970-01-01T00:00:01Z"'],
    ['google.protobuf.Int64Value a = 1;', 'a: long', [10, 0], 0n],
    ['google.protobuf.Int64Value a = 1;', 'a: long', [], null],
    ['google.protobuf.DoubleValue a = 1;', 'a: double', [10, 9, 9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f], 1],
    [
      'google.protobuf.Struct a = 1;',
      'a: json',
      [10, 18, 10, 7, 10, 1, 0x6b, 18, 2, 32, 1, 10, 7, 10, 1, 0x6e, 18, 2, 8, 0],
      '{"k":true,"n":null}',
    ],
    ['google.protobuf.Value a = 1;', 'a: json', [10, 6, 50, 4, 10, 2, 32, 0], '[false]'],
    ['google.type.Date a = 1;', 'a: date', [10, 7, 8, 0xb2, 0x0f, 16, 1, 24, 2], 1],
    ['google.type.Date a = 1;', 'a: date', [10, 7, 8, 0xb2, 0x0f, 16, 2, 24, 30], /a date that is none/],
    ['google.type.TimeOfDay a = 1;', 'a: time', [10, 4, 8, 1, 16, 2], 3_720_000_000n],
  ])('%s in %s: %o → %o', (fields, columns, bytes, expected) => {
    const imports =
      'import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/struct.proto"; import "google/type/date.proto"; import "google/type/timeofday.proto";'
    const row = put(message(fields, imports), columns, bytes)
    if (expected instanceof RegExp) expect(row).toMatch(expected)
    else expect(typeof row === 'string' ? row : (row as { a: unknown }).a).toEqual(expected)
  })

  it('a member of a oneof takes the place of the one before; a message that comes back is new', () => {
    const text = message('oneof o { int32 a = 1; I c = 3; } message I { optional int32 x = 1; optional int32 y = 2; }')
    const columns = 'a: int, c: struct<x: int, y: int>'
    expect(put(text, columns, [26, 2, 8, 1, 8, 5])).toEqual({ a: 5, c: null })
    expect(put(text, columns, [26, 2, 8, 1, 8, 5, 26, 2, 16, 2])).toEqual({ a: null, c: { x: null, y: 2 } })
    expect(put(text, columns, [26, 2, 8, 1, 26, 2, 16, 2])).toEqual({ a: null, c: { x: 1, y: 2 } })
  })

  it('lists inside a message that comes twice go on', () => {
    const text = message('I a = 1; message I { repeated int32 x = 1; repeated string y = 2; }')
    expect(
      put(text, 'a: struct<x: list<int>, y: list<string>>', [10, 5, 8, 1, 18, 1, 0x61, 10, 6, 10, 1, 2, 18, 1, 0x62]),
    ).toEqual({
      a: { x: [1, 2], y: ['a', 'b'] },
    })
  })

  it('a decimal has the scale that its field says', () => {
    const text = `${PROTO3}import "confluent/type/decimal.proto"; import "confluent/meta.proto";
      message M { confluent.type.Decimal a = 1 [(confluent.field_meta) = { params: [{ key: "precision", value: "5" }, { key: "scale", value: "2" }] }]; }`
    expect(put(text, 'a: decimal(5,2)', [10, 3, 10, 1, 0xff])).toEqual({ a: -1n })
    expect(put(text, 'a: decimal(7,3)', [10, 3, 10, 1, 0xff])).toEqual({ a: -10n })
    expect(put(text, 'a: decimal(5,2)', [10, 5, 10, 1, 0xff, 24, 1])).toBe(
      'field "a": expected decimal(5,2), found a decimal of another scale at byte 2',
    )
  })

  it.each([
    ['string a = 1;', 'a: long', 'column "a": expected long, the schema has string'],
    ['int32 a = 1;', 'a: string', 'column "a": expected string, the schema has int32'],
    ['repeated int32 a = 1;', 'a: int', 'column "a": expected int, the schema has a repeated field'],
    [
      'I a = 1; message I { int32 x = 1; }',
      'a: struct<x: string>',
      'column "a.x": expected string, the schema has int32',
    ],
    [
      'int32 a = 1;',
      'a: int, b: int required',
      'column "b": expected int, and the schema M has no such field; it is required',
    ],
  ])('%s for %s is refused before any record', (fields, columns, reason) => {
    const schema = table(columns)
    expect(() => open(message(fields)).createDecoder(schema, allTargets(schema))).toThrow(reason)
  })

  it('a renamed field keeps its column by its number, in both directions', () => {
    const first = open(message('int32 a = 1; In s = 2; message In { string x = 5; }'))
    const second = open(message('int64 b = 1; In t = 2; message In { string y = 5; optional int32 z = 6; }'))
    const schema = tableOf(second.columns.fields)
    expect(decodeOne(first, schema, Uint8Array.of(8, 3, 18, 3, 42, 1, 0x61))).toEqual({ b: 3n, t: { y: 'a', z: null } })
    const older = tableOf(first.columns.fields)
    expect(decodeOne(second, older, Uint8Array.of(8, 3, 18, 5, 42, 1, 0x61, 48, 1))).toEqual({ a: 3, s: { x: 'a' } })
  })
})

describe('malformed Protobuf', () => {
  const text = message(
    'int64 n = 1; string s = 2; repeated int32 l = 3; map<string, int32> m = 4; fixed32 f = 5; In i = 6; message In { double d = 1; }',
  )
  const columns = 'n: long, s: string, l: list<int>, m: map<string, int>, f: long, i: struct<d: double>'
  it.each([
    [
      'a varint that does not end',
      [8, 0x80],
      'field "n": truncated: the message ends where more is expected at byte 1',
    ],
    [
      'a varint of too many bits',
      [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
      'field "n": a varint of more than 64 bits at byte 1',
    ],
    ['a value that is missing', [8], 'field "n": truncated: the message ends where more is expected at byte 1'],
    ['a length beyond the end', [18, 5, 0x61], 'field "s": a length of 5 bytes where 1 are left at byte 1'],
    ['an absurd length', [18, 0xff, 0xff, 0xff, 0xff, 0x7f], 'field "s": a length of more than 2 GiB at byte 1'],
    ['text that is no UTF-8', [18, 1, 0xff], 'field "s": expected string, found text that is no UTF-8 at byte 2'],
    ['another wire type', [10, 1, 0], 'field "n": expected wire type 0 (int64), found 2 at byte 0'],
    ['another wire type inside a list', [29, 0, 0, 0, 0], 'field "l": expected wire type 0 (int32), found 5 at byte 1'],
    [
      'packed elements that do not end',
      [26, 1, 0x80],
      'field "l[]": truncated: the message ends where more is expected at byte 2',
    ],
    ['a map entry that is cut', [34, 2, 10, 5], 'field "m.key": a length of 5 bytes where 0 are left at byte 3'],
    [
      'four bytes that are three',
      [45, 0, 0, 0],
      'field "f": truncated: the message ends where more is expected at byte 1',
    ],
    [
      'a message inside that is cut',
      [50, 5, 9, 0, 0, 0, 0],
      'field "i.d": truncated: the message ends where more is expected at byte 3',
    ],
    ['field number 0', [0, 1], 'malformed Protobuf: malformed tag at byte 0'],
    ['wire type 7', [0x0f], 'field "n": expected wire type 0 (int64), found 7 at byte 0'],
    ['the end of a group that did not begin', [0x7c], 'malformed Protobuf: wire type 4 of field 15 at byte 1'],
    [
      'an unknown group that does not end',
      [0x7b, 8, 1],
      'malformed Protobuf: truncated: the message ends where more is expected at byte 3',
    ],
    [
      'an unknown group that ends with another number',
      [0x7b, 0x74],
      'malformed Protobuf: a group that ends with another number at byte 2',
    ],
    [
      'groups without end',
      [...new Array<number>(300).fill(0x7b)],
      'malformed Protobuf: groups nested deeper than 100 at byte 101',
    ],
  ])('%s', (_, bytes, reason) => {
    expect(put(text, columns, bytes)).toBe(reason)
  })

  it('unknown fields are stepped over, whatever they are', () => {
    const bytes = [
      0x78, 1, 0x79, 0, 0, 0, 0, 0, 0, 0, 0, 0x7a, 1, 0, 0x7b, 8, 1, 0x83, 1, 0x84, 1, 0x7c, 0x7d, 0, 0, 0, 0, 8, 9,
    ]
    expect(put(text, columns, bytes)).toMatchObject({ n: 9n, s: '', l: [] })
  })

  it('lists that would take much more memory than the record has bytes are refused', () => {
    const wide = Array.from({ length: 300 }, (_, index) => `c${index}: decimal(38,0)`).join(', ')
    const list = message('repeated I l = 1; message I { bool a = 1; }')
    const bytes = Buffer.concat(Array.from({ length: 100_000 }, () => Buffer.from([10, 0])))
    const row = decodeOne(open(list), table('l: list<struct<a: boolean>>'), bytes)
    expect(row).toMatchObject({ l: { length: 100_000 } })
    expect(decodeOne(open(list), table(`l: list<struct<a: boolean, ${wide}>>`), bytes)).toMatch(
      /^field "l": more list items than fit in 128 MiB/,
    )
  })

  it('messages without end of which nothing came, the general way', () => {
    const fields = Array.from({ length: 500 }, (_, index) => `int32 c${index} = ${index + 1};`).join(' ')
    const format = open(message(`repeated I l = 1; message I { ${fields} }`))
    const bytes = Buffer.concat(Array.from({ length: 20_000 }, () => Buffer.from([10, 0])))
    expect(format.read(bytes, 0, bytes.length)).toMatchObject({
      failure: { reason: expect.stringMatching(/^malformed Protobuf: more than 4000000 values/) },
    })
    expect(decodeOne(format, table('l: json'), bytes)).toMatch(/^field "l": more than 4000000 values/)
  })

  it('values nested in values without end', () => {
    const deep = message('google.protobuf.Value a = 1;', 'import "google/protobuf/struct.proto";')
    let bytes = Buffer.from([32, 1])
    for (let level = 0; level < 300; level += 1) {
      // list_value { values { … } }
      const inner = Buffer.concat([Buffer.from([10]), varint(bytes.length), bytes])
      bytes = Buffer.concat([Buffer.from([50]), varint(inner.length), inner])
    }
    const whole = Buffer.concat([Buffer.from([10]), varint(bytes.length), bytes])
    expect(decodeOne(open(deep), table('a: json'), whole)).toMatch(/messages nested deeper than 100/)
  })
})

function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80)
  return Buffer.from([...bytes, rest])
}

describe('Protobuf as Connect data', () => {
  it("has the types that Confluent's converter gives it", () => {
    const text = `${PROTO3}package shop; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";
      import "google/protobuf/struct.proto"; import "google/type/date.proto"; import "confluent/type/decimal.proto"; import "confluent/meta.proto";
      message Order {
        int32 a = 1; uint32 b = 2; optional string c = 3; repeated sint32 d = 4; map<int32, string> e = 5;
        google.protobuf.Timestamp f = 6; google.protobuf.BoolValue g = 7; Kind h = 8; enum Kind { NONE = 0; SOME = 1; }
        Address i = 9; message Address { string city = 1; } google.protobuf.Struct j = 10; google.type.Date k = 11;
        confluent.type.Decimal l = 12 [(confluent.field_meta) = { params: [{ key: "precision", value: "5" }, { key: "scale", value: "2" }] }];
      }`
    const format = open(text)
    const bytes = Uint8Array.of(
      8,
      5,
      16,
      7,
      34,
      2,
      1,
      2,
      42,
      5,
      8,
      1,
      18,
      1,
      0x78,
      50,
      5,
      8,
      1,
      16,
      0xe8,
      0x07,
      58,
      2,
      8,
      1,
      64,
      1,
      74,
      3,
      10,
      1,
      0x5a,
      82,
      9,
      10,
      7,
      10,
      1,
      0x6b,
      18,
      2,
      32,
      1,
      90,
      7,
      8,
      0xb2,
      0x0f,
      16,
      1,
      24,
      2,
      98,
      3,
      10,
      1,
      0xff,
    )
    const result = format.read(bytes, 0, bytes.length)
    if ('failure' in result) throw new Error(result.failure.reason)
    const { schema } = result
    expect(schema).toMatchObject({ type: 'struct', name: 'shop.Order', optional: false })
    expect(
      schema?.fields.map(({ name, schema: each }) =>
        `${name} ${each.type}${each.optional ? '?' : ''} ${each.name?.split('.').at(-1) ?? ''}`.trim(),
      ),
    ).toEqual([
      'a int32',
      'b int64',
      'c string?',
      'd array',
      'e map',
      'f int64? Timestamp',
      'g boolean?',
      'h string',
      'i struct? Address',
      'j string?',
      'k int32? Date',
      'l bytes? Decimal',
    ])
    const values = (result.value as Struct).values
    expect([...values.slice(0, 8), ...values.slice(9)]).toEqual([
      5,
      7n,
      null,
      [-1, 1],
      new Map([[1, 'x']]),
      new Instant(1000, 1),
      true,
      'SOME',
      '{"k":true}',
      new Instant(86_400_000),
      new Decimal(-1n, 2),
    ])
    expect((values[8] as Struct).values).toEqual(['Z'])
  })
})
