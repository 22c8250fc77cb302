/** Avro and Protobuf behind a registry's frame, in blocks as they come: schemas asked for, versions in turn, every bad kind. */
import avro from 'avsc'
import protobuf from 'protobufjs'
import { describe, expect, test } from 'vitest'
import { formatColumnType } from '../../schemas/column-type.ts'
import { askFor, decodeRecords, planOf, tablePlan } from '../../test/harness/decode-block.ts'
import type { DecodePlan, RegistrySchema } from '../decoder/decode-plan.ts'

const V1 = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'id', type: 'int' },
    { name: 'note', type: ['null', 'string'] },
  ],
}
const V2 = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'note', type: ['null', 'string'] },
    { name: 'id', type: 'long' },
    { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
  ],
}
const PROTO = `syntax = "proto3"; message Other { string x = 1; } message Order { int64 id = 1; optional string note = 2;
  message Line { int32 count = 1; } repeated Line lines = 3; }`

function registered(id: number, type: RegistrySchema['type'], text: string): RegistrySchema {
  return { id, type, text, references: [], label: `orders-value version ${id} (id ${id})` }
}

const schemas: DecodePlan['schemas'] = {
  1: registered(1, 'AVRO', JSON.stringify(V1)),
  2: registered(2, 'AVRO', JSON.stringify(V2)),
  3: registered(3, 'PROTOBUF', PROTO),
  4: registered(4, 'AVRO', '{"type":"record"}'),
  6: registered(6, 'AVRO', JSON.stringify({ ...V1, fields: [{ name: 'id', type: 'string' }] })),
}

function framed(id: number, data: Uint8Array, indexes: readonly number[] = []): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, Buffer.from(indexes), data])
}

const v1 = avro.Type.forSchema(V1 as avro.Schema)
const v2 = avro.Type.forSchema(V2 as avro.Schema)
const order = protobuf.parse(PROTO, { keepCase: true }).root.lookupType('Order')
const avroPlan = (more: Partial<DecodePlan> = {}) =>
  planOf([tablePlan('orders', { id: 'long', note: 'string', price: 'decimal(9,2)' })], {
    value: { format: 'avro', registry: true },
    schemas,
    ...more,
  })
const protoPlan = (more: Partial<DecodePlan> = {}) =>
  planOf([tablePlan('orders', { id: 'long', note: 'string', lines: 'list<struct<count: int>>' })], {
    value: { format: 'protobuf', registry: true },
    schemas,
    ...more,
  })

describe('Avro behind a frame', () => {
  test('two versions in turn go into one table, in their order', () => {
    const records = Array.from({ length: 100 }, (_, index) =>
      index % 2 === 0
        ? framed(1, v1.toBuffer({ id: index, note: null }))
        : framed(2, v2.toBuffer({ id: index, note: `n${index}`, price: Buffer.from([index]) })),
    )
    const { rows, counts } = decodeRecords(
      avroPlan(),
      records.map((value) => ({ value })),
    )
    expect(counts).toEqual({ dead: 0, filtered: 0, unknownKeys: 0 })
    expect(rows).toEqual(
      records.map((_, index) => ({
        id: BigInt(index),
        note: index % 2 === 0 ? null : `n${index}`,
        price: index % 2 === 0 ? null : BigInt(index),
      })),
    )
  })

  test('a schema that nobody asked for yet is asked for, then the columns that the table lacks', () => {
    const value = framed(2, v2.toBuffer({ id: 1, note: null, price: Buffer.from([1]) }))
    expect(askFor(avroPlan({ schemas: {} }), [{ value }])).toMatchObject({
      kind: 'needs',
      schemas: [{ id: 2, isKey: false, topic: 't' }],
    })
    const narrow = planOf([tablePlan('orders', { id: 'int' })], { value: { format: 'avro', registry: true }, schemas })
    const { columns } = askFor(narrow, [{ value }])
    expect(columns[0].schemaName).toBe('orders-value version 2 (id 2)')
    expect(columns[0].fields.map(({ name, type }) => `${name} ${formatColumnType(type)}`).sort()).toEqual([
      'id long',
      'note string',
      'price decimal(9,2)',
    ])
  })

  test('each kind of bad record is one dead letter with its reason, whole; those around it are rows', () => {
    const good = framed(1, v1.toBuffer({ id: 7, note: 'ok' }))
    const body = v1.toBuffer({ id: 7, note: 'ok' })
    const bad: (readonly [Uint8Array, string])[] = [
      [Buffer.alloc(0), 'empty record: expected a registry frame (magic byte 0, schema id)'],
      [Buffer.from('{"id":1}'), 'expected magic byte 0 of a registry frame, found 123 at byte 0'],
      [Buffer.from([0, 0, 0]), 'truncated: a registry frame has 5 bytes, the record 3'],
      [framed(5, body), 'schema id 5 is not in the schema registry'],
      [framed(3, body), 'schema orders-value version 3 (id 3) is PROTOBUF, expected AVRO'],
      [framed(4, body), 'Avro schema: expected a name for the record, found nothing'],
      [
        framed(6, Buffer.from([2, 0x78])),
        'table "orders" did not get the columns that records of orders-value version 6 (id 6) need',
      ],
      [framed(1, Buffer.alloc(0)), 'field "id": truncated: the record ends where more is expected at byte 0'],
      [framed(1, body.subarray(0, 3)), 'field "note": a length of 2 bytes where 0 are left at byte 2'],
      [framed(1, Buffer.concat([body, body])), 'malformed Avro: 5 bytes too many, from byte 5'],
      [framed(1, Buffer.from([2, 6])), 'field "note": union branch 3 of 2 at byte 1'],
      [framed(1, Buffer.from([2, 2, 2, 0xff])), 'field "note": expected string, found text that is no UTF-8 at byte 3'],
      [framed(1, Buffer.from([2, 2, 1])), 'field "note": a length of -1 bytes at byte 2'],
    ]
    const records = [good, ...bad.flatMap(([value]) => [value, good])].map((value) => ({ value }))
    const plan = avroPlan({ refusedSchemas: { 5: 'schema id 5 is not in the schema registry' } })
    const { rows, letters, counts } = decodeRecords(plan, records, true)
    expect(letters.map(({ reason }) => reason)).toEqual(bad.map(([, reason]) => expect.stringContaining(reason)))
    expect(letters.map(({ raw }) => raw)).toEqual(bad.map(([value]) => Buffer.from(value)))
    expect([rows.length, counts.dead]).toEqual([bad.length + 1, bad.length])
  })

  test('a schema that a header names is told as that, not taken for a frame', () => {
    const headers = [['__value_schema_id', Buffer.alloc(17, 1)]] as const
    const value = Buffer.from([0, 0, 0, 0, 1, 0, 0])
    const { letters, rows } = decodeRecords(avroPlan(), [
      { value, headers },
      { value: framed(1, v1.toBuffer({ id: 1, note: null })), headers: [['other', '__value_schema_id']] },
      { value: framed(1, v1.toBuffer({ id: 2, note: null })), headers: [['__key_schema_id', 'x']] },
    ])
    expect(letters.map(({ reason }) => reason)).toEqual([
      'the header "__value_schema_id" names the schema, expected its id in the value: set value.schema.id.serializer to PrefixSchemaIdSerializer where it is produced',
    ])
    expect(rows.map(({ id }) => id)).toEqual([1n, 2n])
  })

  test('keys and values, each by its own schema', () => {
    const plan = planOf([tablePlan('orders', { id: 'long', note: 'string', k: 'string' })], {
      value: { format: 'avro', registry: true },
      key: { format: 'avro', registry: true },
      keyColumns: { prefix: 'k_' },
      schemas: { ...schemas, 9: registered(9, 'AVRO', '"string"') },
    })
    const value = framed(1, v1.toBuffer({ id: 1, note: null }))
    const key = framed(9, Buffer.from([4, 0x61, 0x62]))
    const { rows, letters } = decodeRecords(plan, [
      { key, value },
      { key: Buffer.from('x'), value },
      { key: null, value },
    ])
    expect(rows).toEqual([
      { id: 1n, note: null, k: 'ab' },
      { id: 1n, note: null, k: null },
    ])
    expect(letters.map(({ reason }) => reason)).toEqual([
      'key: expected magic byte 0 of a registry frame, found 120 at byte 0',
    ])
  })

  test('given for all records, without a frame', () => {
    const plan = avroPlan({ value: { format: 'avro', registry: false, schema: JSON.stringify(V1) } })
    const { rows } = decodeRecords(plan, [{ value: v1.toBuffer({ id: 4, note: 'x' }) }])
    expect(rows).toEqual([{ id: 4n, note: 'x', price: null }])
  })
})

describe('Protobuf behind a frame', () => {
  const value = { id: 5, note: 'n', lines: [{ count: 1 }, { count: 2 }] }
  const data = order.encode(value).finish()
  const row = { id: 5n, note: 'n', lines: [{ count: 1 }, { count: 2 }] }

  test('the message is the one that the frame says', () => {
    const { rows, letters } = decodeRecords(protoPlan(), [
      { value: framed(3, data, [2, 2]) },
      { value: framed(3, Buffer.alloc(0), [2, 2]) },
      { value: framed(3, data, [2, 10]) },
    ])
    expect(rows).toEqual([row, { id: 0n, note: null, lines: [] }])
    expect(letters.map(({ reason }) => reason)).toEqual(['Protobuf schema: there is no message with the indexes 5'])
  })

  test('each kind of bad record is one dead letter with its reason, whole', () => {
    const good = framed(3, data, [2, 2])
    const bad: (readonly [Uint8Array, string])[] = [
      [Buffer.from([1, 0, 0, 0, 3, 0]), 'expected magic byte 0 of a registry frame, found 1 at byte 0'],
      [Buffer.from([0, 0, 0, 0, 3]), 'truncated: the record ends inside the message indexes of its registry frame'],
      [framed(3, data, [1]), 'malformed message index in the registry frame at byte 6'],
      [framed(1, data, [0]), 'schema orders-value version 1 (id 1) is AVRO, expected PROTOBUF'],
      [framed(3, Buffer.from([8]), [2, 2]), 'field "id": truncated: the message ends where more is expected at byte 1'],
      [framed(3, Buffer.from([18, 9, 0x61]), [2, 2]), 'field "note": a length of 9 bytes where 1 are left at byte 1'],
      [
        framed(3, Buffer.from([18, 1, 0xff]), [2, 2]),
        'field "note": expected string, found text that is no UTF-8 at byte 2',
      ],
      [framed(3, Buffer.from([10, 1, 0x61]), [2, 2]), 'field "id": expected wire type 0 (int64), found 2 at byte 0'],
      [framed(3, Buffer.from([26, 2, 8]), [2, 2]), 'field "lines[]": a length of 2 bytes where 1 are left at byte 1'],
      [framed(3, Buffer.from([0x0b]), [2, 2]), 'field "id": expected wire type 0 (int64), found 3 at byte 0'],
      [framed(3, Buffer.from([0x7b, 8, 1]), [2, 2]), 'malformed Protobuf: truncated'],
    ]
    const records = [good, ...bad.flatMap(([each]) => [each, good])].map((each) => ({ value: each }))
    const { rows, letters, counts } = decodeRecords(protoPlan(), records, true)
    expect(letters.map(({ reason }) => reason)).toEqual(bad.map(([, reason]) => expect.stringContaining(reason)))
    expect(letters.map(({ raw }) => raw)).toEqual(bad.map(([each]) => Buffer.from(each)))
    expect([rows.length, counts.dead]).toEqual([bad.length + 1, bad.length])
  })

  test('through transforms the same rows come out', () => {
    const rename = {
      name: 'rename',
      type: 'org.apache.kafka.connect.transforms.ReplaceField$Value',
      settings: { renames: 'note:remark' },
    }
    const plan = protoPlan({
      transforms: [rename],
      tables: { orders: tablePlan('orders', { id: 'long', remark: 'string', lines: 'list<struct<count: int>>' }) },
    })
    const { rows } = decodeRecords(plan, [{ value: framed(3, data, [2, 2]) }])
    expect(rows).toEqual([{ id: 5n, remark: 'n', lines: row.lines }])
    const avroRename = avroPlan({
      transforms: [rename],
      tables: { orders: tablePlan('orders', { id: 'long', remark: 'string' }) },
    })
    expect(decodeRecords(avroRename, [{ value: framed(1, v1.toBuffer({ id: 3, note: 'x' })) }]).rows).toEqual([
      { id: 3n, remark: 'x' },
    ])
  })
})
