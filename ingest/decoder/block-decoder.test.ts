/**
 * Blocks through a plan: rows, dead letters with their reasons and bytes, what is asked for, and that nothing is lost or counted
 * twice on the way.
 */
import { expect, test } from 'vitest'
import { askFor, decodeRecords, type Outcome, planOf, tablePlan } from '../../test/harness/decode-block.ts'
import { recordBlock, type TestRecord } from '../../test/harness/record-block.ts'
import { batchRows } from '../../test/harness/vector-values.ts'
import { createBlockDecoder } from './block-decoder.ts'
import type { DecodePlan, TablePlan } from './decode-plan.ts'

const json = (value: unknown): TestRecord => ({ value: JSON.stringify(value) })
const reasons = ({ letters }: Outcome) => letters.map(({ reason }) => reason)

/** Of every format: each bad record is one dead letter with its reason and its bytes, the good ones around it are rows. */
function expectBad(
  plan: DecodePlan,
  good: TestRecord,
  bad: readonly (readonly [TestRecord, string])[],
  isFinal = false,
) {
  const records = [good, ...bad.flatMap(([record]) => [record, good])]
  const { rows, letters, counts } = decodeRecords(plan, records, isFinal)
  expect(letters.map(({ reason }) => reason)).toEqual(bad.map(([, reason]) => reason))
  expect(letters.map(({ offset, raw }) => [offset, raw])).toEqual(
    bad.map(([{ value }], index) => [BigInt(index * 2 + 1), Buffer.from(value as string | Uint8Array)]),
  )
  expect([rows.length, counts.dead]).toEqual([bad.length + 1, bad.length])
}

const flipped = (text: string, at: number, byte: number): TestRecord => {
  const value = Buffer.from(text)
  value[at] = byte
  return { value }
}

test('plain JSON: every kind of bad record is kept whole with its reason', () => {
  const plan = planOf([tablePlan('a', { id: 'int required', name: 'string', at: 'struct<zip: int>' })], {
    recordBytesMax: 60,
  })
  expectBad(plan, json({ id: 1, name: 'x', at: { zip: 5 } }), [
    [{ value: '{"id":1,}' }, 'malformed JSON: expected a key at byte 8'],
    [{ value: '{"id":1,"name":"cut' }, 'malformed JSON: text ends inside a string at byte 19'],
    [{ value: '{"id":"x"}' }, 'column "id": expected int, found string at byte 6'],
    [{ value: '{"id":1,"at":{"zip":"x"}}' }, 'column "at.zip": expected int, found string at byte 20'],
    [{ value: '{"name":"x"}' }, 'column "id": expected int, found nothing; it is required'],
    [json({ id: 1, name: 'x'.repeat(60) }), 'record of 78 bytes is larger than ingest.record.bytes.max (60)'],
    [flipped('{"id":1,"name":"?"}', 16, 0xff), 'malformed JSON: invalid UTF-8 at byte 16'],
    [{ value: '' }, 'malformed JSON: empty record at byte 0'],
    [{ value: '[1]' }, 'expected an object, found array at byte 0'],
  ])
})

test('text, bytes: the whole value is one column', () => {
  const text = planOf([tablePlan('a', { value: 'string' })], { value: { format: 'string' }, recordBytesMax: 20 })
  expect(decodeRecords(text, [{ value: 'grüße' }, { value: '' }, { value: null }]).rows).toEqual([
    { value: 'grüße' },
    { value: '' },
  ])
  expectBad(text, { value: 'x' }, [
    [flipped('abc', 1, 0xff), 'text is not valid UTF-8'],
    [{ value: 'x'.repeat(21) }, 'record of 21 bytes is larger than ingest.record.bytes.max (20)'],
  ])
  const long = planOf([tablePlan('a', { value: 'long required' })], { value: { format: 'string' } })
  expect(decodeRecords(long, [{ value: '42' }]).rows).toEqual([{ value: 42n }])
  expectBad(long, { value: '1' }, [
    [{ value: 'x' }, 'column "value": expected long, found text at byte 0'],
    [{ value: '' }, 'column "value": expected long, found text at byte 0'],
  ])
  const bytes = planOf([tablePlan('a', { value: 'binary' })], { value: { format: 'bytes' } })
  expect(decodeRecords(bytes, [{ value: Buffer.from([0, 255]) }]).rows).toEqual([{ value: Buffer.from([0, 255]) }])
  const mismatch = planOf([tablePlan('a', { value: 'int' })], { value: { format: 'bytes' } })
  expect(askFor(mismatch, [{ value: 'x' }]).columns).toHaveLength(1)
  expect(reasons(decodeRecords(mismatch, [{ value: 'x' }], true))).toEqual([
    'table "a" did not get the columns that records of bytes need',
  ])
})

test('CSV: fields become values of their columns, new ones are asked for as text', () => {
  const value = { format: 'csv', fields: ['id', 'name', 'new'], delimiter: ';', quote: '"', nullText: '' } as const
  const plan = planOf([tablePlan('a', { id: 'int required', name: 'string' })], { value, recordBytesMax: 30 })
  expect(askFor(plan, [{ value: '1;x;y' }]).columns).toMatchObject([{ table: 'a', fields: [{}, {}, { name: 'new' }] }])
  const settled = planOf([tablePlan('a', { id: 'int required', name: 'string' }, { ignoredKeys: ['new'] })], {
    value,
    recordBytesMax: 30,
  })
  const { rows, counts } = decodeRecords(settled, [{ value: '1;"x;y";z\r\n' }, { value: '2;;' }])
  expect(rows).toEqual([
    { id: 1, name: 'x;y' },
    { id: 2, name: null },
  ])
  expect(counts.unknownKeys).toBe(2)
  expectBad(settled, { value: '1;x;y' }, [
    [{ value: '1;"x;y' }, 'malformed CSV: the line ends inside quotes at byte 6'],
    [{ value: '1;x' }, 'expected 3 fields, found 2'],
    [{ value: 'a;x;y' }, 'column "id": expected int, found text at byte 0'],
    [{ value: ';x;y' }, 'column "id": expected int, found nothing; it is required'],
    [{ value: `1;x;${'y'.repeat(30)}` }, 'record of 34 bytes is larger than ingest.record.bytes.max (30)'],
    [flipped('1;?;y', 2, 0xc0), 'text is not valid UTF-8'],
    [{ value: '' }, 'expected 3 fields, found 1'],
  ])
})

const envelope = (schema: unknown, payload: unknown): TestRecord => json({ schema, payload })
const struct = (fields: readonly unknown[], name = 'order', version = 1) => ({
  type: 'struct',
  fields,
  optional: false,
  name,
  version,
})
const V1 = struct([
  { type: 'int64', optional: false, field: 'id' },
  { type: 'string', optional: true, field: 'name' },
])
const V2 = struct([...V1.fields, { type: 'int32', optional: true, default: 7, field: 'count' }], 'order', 2)

test('Connect envelopes: payloads by their schema, defaults, logical types, versions in turn', () => {
  const value = { format: 'json', envelope: true } as const
  const columns = { id: 'long required', name: 'string', count: 'int' }
  const plan = planOf([tablePlan('a', columns)], { value, recordBytesMax: 1000 })
  const records = [
    envelope(V1, { id: 1, name: 'x' }),
    envelope(V2, { id: 2, name: null, count: 3 }),
    envelope(V2, { id: 3 }),
  ]
  const { rows } = decodeRecords(plan, [...records, ...records, { value: '{ "payload": {"id": 9}, "schema": null }' }])
  expect(rows).toEqual([
    ...[...Array(2)].flatMap(() => [
      { id: 1n, name: 'x', count: null },
      { id: 2n, name: null, count: 3 },
      { id: 3n, name: null, count: 7 },
    ]),
    { id: 9n, name: null, count: null },
  ])
  const { counts } = decodeRecords(plan, [
    envelope(V1, null),
    { value: null },
    records[0],
    { value: '{"schema":null,"payload":null}' },
  ])
  expect(counts).toEqual({ dead: 0, filtered: 3, unknownKeys: 0 })
  const text = JSON.stringify({ schema: V1, payload: { id: 1, name: 'x' } })
  expectBad(plan, envelope(V1, { id: 1, name: 'x' }), [
    [{ value: text.replace('"id":1', '"id":1,,') }, 'malformed JSON: expected a key at byte 197'],
    [{ value: text.slice(0, -2) }, 'malformed JSON: text ends inside a container at byte 207'],
    [envelope(V1, { id: 'x' }), 'column "id": expected long, found text that is no number at byte 6'],
    [envelope(V1, { name: 'x' }), 'column "id": expected long, found nothing; it is required'],
    [envelope(V1, { id: null }), 'column "id": expected long, found null; it is required'],
    [
      envelope(V1, { id: 1, name: 'x'.repeat(1000) }),
      'record of 1208 bytes is larger than ingest.record.bytes.max (1000)',
    ],
    [flipped(text, text.length - 4, 0xff), 'malformed JSON: invalid UTF-8 at byte 205'],
    [{ value: '' }, 'malformed JSON: empty record at byte 0'],
    [json({ payload: 1 }), 'expected an envelope {"schema", "payload"}, found no "schema"'],
    [json({ id: 1 }), 'expected an envelope {"schema", "payload"}, found another key at byte 1'],
    [
      json({ schema: { type: 'int65' }, payload: 1 }),
      'the envelope\'s schema is none of Connect\'s: unknown type "int65"',
    ],
    [{ value: `{"schema":${JSON.stringify(V1)},"payload":nul}` }, 'malformed JSON: unexpected character at byte 192'],
  ])
  const every = struct(
    [
      { type: 'int8', field: 'i8' },
      { type: 'float', field: 'f' },
      { type: 'double', field: 'd' },
      { type: 'boolean', field: 'b' },
      { type: 'bytes', field: 'by' },
      { type: 'bytes', name: 'org.apache.kafka.connect.data.Decimal', parameters: { scale: '2' }, field: 'dec' },
      { type: 'int32', name: 'org.apache.kafka.connect.data.Date', field: 'date' },
      { type: 'int32', name: 'org.apache.kafka.connect.data.Time', field: 'time' },
      { type: 'int64', name: 'org.apache.kafka.connect.data.Timestamp', field: 'ts' },
      { type: 'array', items: { type: 'int32', optional: true }, field: 'list' },
      { type: 'map', keys: { type: 'string' }, values: { type: 'int32' }, field: 'map' },
      { type: 'map', keys: { type: 'int32' }, values: { type: 'string' }, field: 'pairs' },
      struct([
        { type: 'string', field: 's' },
        { type: 'string', default: 'x', field: 'dflt' },
      ]),
    ].map((field) => ({ field: 'inner', ...field })),
  )
  const types = {
    i8: 'int',
    f: 'float',
    d: 'double',
    b: 'boolean',
    by: 'binary',
    dec: 'decimal(38,2)',
    date: 'date',
    time: 'time',
    ts: 'timestamptz',
    list: 'list<int>',
    map: 'map<string, int required>',
    pairs: 'map<int, string required>',
    inner: 'struct<s: string required, dflt: string>',
  }
  const record = envelope(every, {
    i8: -5,
    f: 0.5,
    d: 1e300,
    b: true,
    by: 'aGk=',
    dec: 'BNI=',
    date: 1,
    time: 1000,
    ts: 1767225600123,
    list: [1, null],
    map: { k: 1 },
    pairs: [
      [1, 'one'],
      [2, 'two'],
      [1, 'uno'],
    ],
    inner: { s: 'y' },
  })
  expect(decodeRecords(planOf([tablePlan('a', types)], { value }), [record]).rows).toEqual([
    {
      i8: -5,
      f: 0.5,
      d: 1e300,
      b: true,
      by: Buffer.from('hi'),
      dec: 1234n,
      date: 1,
      time: 1_000_000n,
      ts: 1_767_225_600_123_000n,
      list: [1, null],
      map: [['k', 1]],
      pairs: [
        [2, 'two'],
        [1, 'uno'],
      ],
      inner: { s: 'y', dflt: 'x' },
    },
  ])
  const needs = askFor(planOf([tablePlan('a', undefined)], { value }), [record])
  expect(needs.topics[0].samples).toEqual([])
  expect(needs.topics[0].fields.map(({ name }) => name)).toEqual(Object.keys(types))
})

test('a schema that differs in every record is read like any other, block after block', () => {
  const plan = planOf([tablePlan('a', { id: 'long' })], { value: { format: 'json', envelope: true } })
  const decoder = createBlockDecoder(plan)
  for (let round = 0; round < 4; round += 1) {
    const records = Array.from({ length: 150 }, (_, index) => {
      const fields = [{ type: 'int64', optional: true, field: 'id' }]
      return envelope({ type: 'struct', name: 'o', doc: `${round} ${index}`, optional: false, fields }, { id: index })
    })
    const result = decoder.decode(recordBlock('t', records), 0, 's', 5, false)
    expect(result).toMatchObject({ kind: 'decoded', dead: 0, pieces: [{ batch: { rowCount: 150 } }] })
  }
})

test('an envelope of a value that is no struct makes the column value', () => {
  const value = { format: 'json', envelope: true } as const
  const plan = planOf([tablePlan('a', { value: 'int' })], { value })
  expect(decodeRecords(plan, [envelope({ type: 'int32', optional: true }, 5)]).rows).toEqual([{ value: 5 }])
  expect(reasons(decodeRecords(plan, [envelope({ type: 'int32', optional: true }, 'x')]))).toEqual([
    'column "value": expected int, found string at byte 0',
  ])
})

const framed = (id: number, text: string | Uint8Array): TestRecord => {
  const header = Buffer.alloc(5)
  header.writeUInt32BE(id, 1)
  return { value: Buffer.concat([header, Buffer.from(text)]) }
}
const registered = (id: number, properties: Record<string, unknown>, required: readonly string[] = []) => ({
  id,
  type: 'JSON' as const,
  text: JSON.stringify({ type: 'object', properties, required }),
  references: [],
  label: `orders-value version ${id} (id ${id})`,
})

test('a registry: unknown ids are asked for, every kind of bad record is kept whole with its reason', () => {
  const value = { format: 'json-schema', registry: true } as const
  const schemas = {
    1: registered(1, { id: { type: 'integer' } }, ['id']),
    2: registered(2, { id: { type: 'integer' }, name: { type: 'string' } }, ['id']),
    3: { ...registered(3, {}), type: 'AVRO' as const },
  }
  const plan = planOf([tablePlan('a', { id: 'long required', name: 'string' })], {
    value,
    schemas,
    refusedSchemas: { 9: 'schema id 9 was deleted from the registry' },
    recordBytesMax: 40,
  })
  const two = [framed(1, '{"id":1}'), framed(2, '{"id":2,"name":"x"}')]
  expect(decodeRecords(plan, [...two, ...two]).rows).toEqual(
    [...Array(2)].flatMap(() => [
      { id: 1n, name: null },
      { id: 2n, name: 'x' },
    ]),
  )
  expect(askFor(plan, [...two, framed(5, '{}'), framed(6, '{}'), framed(5, '{}')])).toEqual({
    kind: 'needs',
    schemas: [
      { id: 5, isKey: false, topic: 't' },
      { id: 6, isKey: false, topic: 't' },
    ],
    columns: [],
    topics: [],
  })
  const bad: (readonly [TestRecord, string])[] = [
    [framed(1, '{"id":1,}'), 'malformed JSON: expected a key at byte 8'],
    [framed(1, '{"id":'), 'malformed JSON: text ends where a value is expected at byte 6'],
    [framed(1, '{"id":true}'), 'column "id": expected long, found boolean at byte 6'],
    [framed(1, '{}'), 'column "id": expected long, found nothing; it is required'],
    [
      framed(2, `{"id":1,"name":"${'x'.repeat(30)}"}`),
      'record of 53 bytes is larger than ingest.record.bytes.max (40)',
    ],
    [
      framed(2, Buffer.from([...Buffer.from('{"name":"'), 0xff, 0x22, 0x7d])),
      'malformed JSON: invalid UTF-8 at byte 9',
    ],
    [{ value: '{"id":1}' }, 'expected magic byte 0 of a registry frame, found 123 at byte 0'],
    [{ value: Buffer.from([0, 0, 1]) }, 'truncated: a registry frame has 5 bytes, the record 3'],
    [{ value: '' }, 'empty record: expected a registry frame (magic byte 0, schema id)'],
    [framed(1, ''), 'malformed JSON: empty record at byte 0'],
    [framed(9, '{"id":1}'), 'schema id 9 was deleted from the registry'],
    [framed(3, '{"id":1}'), 'schema orders-value version 3 (id 3) is AVRO, expected JSON'],
  ]
  expectBad(plan, two[0], bad)
  expectBad(plan, two[0], [[framed(5, '{"id":1}'), 'unknown schema id 5: the registry did not give it']], true)
})

test('columns that a table lacks are asked for once, and the answer decides', () => {
  const value = { format: 'json', envelope: true } as const
  const lacking = (more: Partial<TablePlan> = {}) =>
    planOf([tablePlan('a', { id: 'long required', name: 'string' }, more)], { value })
  const records = [envelope(V1, { id: 1 }), envelope(V2, { id: 2, count: 3 })]
  const needs = askFor(lacking(), records)
  expect(needs.columns).toHaveLength(1)
  expect(needs.columns[0].fields.map(({ name }) => name)).toEqual(['id', 'name', 'count'])
  const { schemaName } = needs.columns[0]
  const settled = decodeRecords(lacking({ settledSchemas: [schemaName] }), records)
  expect([settled.rows.length, settled.counts.unknownKeys]).toEqual([2, 1])
  const refused = { ...lacking(), refusedSchemas: { [`a:${schemaName}`]: 'evolution is fail: field "count" is new' } }
  const dead = decodeRecords(refused, records)
  expect([dead.rows.length, reasons(dead)]).toEqual([1, ['evolution is fail: field "count" is new']])
})

test('new keys of JSON without a schema: asked for, skipped or refused by policy, nested ones by their path', () => {
  const records = [json({ id: 1 }), json({ id: 2, size: 3.5, at: { zip: 1, city: 'B' }, _x: 1, nothing: null })]
  const columns = { id: 'long', at: 'struct<zip: int>' }
  const needs = askFor(planOf([tablePlan('a', columns)]), records)
  expect(needs.columns.map(({ table, fields }) => [table, fields.map(({ name, type }) => [name, type.kind])])).toEqual([
    ['a', [['size', 'double']]],
    ['a', [['at', 'struct']]],
  ])
  expect(needs.columns[1].fields[0].type).toMatchObject({ fields: [{ name: 'city', type: { kind: 'string' } }] })
  const ignoring = decodeRecords(planOf([tablePlan('a', columns, { ignoredKeys: ['size', 'at.city'] })]), records)
  expect([ignoring.rows.length, ignoring.counts.unknownKeys]).toEqual([2, 4])
  expect(decodeRecords(planOf([tablePlan('a', columns, { evolution: 'freeze' })]), records).rows).toHaveLength(2)
  expect(decodeRecords(planOf([tablePlan('a', columns, { isFull: true })]), records).rows).toHaveLength(2)
  const strict = decodeRecords(planOf([tablePlan('a', columns, { evolution: 'fail' })]), records)
  expect([strict.rows.length, reasons(strict)]).toEqual([
    1,
    ['field "size" is no column of table "a", whose evolution is fail'],
  ])
  const decoder = createBlockDecoder(planOf([tablePlan('a', columns)]))
  const final = decoder.decode(recordBlock('t', records), 0, 'kafka:t:x', 5, true)
  expect(final.kind).toBe('decoded')
  // What cannot be had is not asked for again.
  expect(decoder.decode(recordBlock('t', records), 0, 'kafka:t:x', 5, false).kind).toBe('decoded')
})

test('keys that can be no column are looked at once', () => {
  const decoder = createBlockDecoder(planOf([tablePlan('a', { id: 'long' })]))
  const block = recordBlock('t', [json({ id: 1, _id: 5 })])
  for (let round = 0; round < 3; round += 1) {
    expect(decoder.decode(block, 0, 'kafka:t:x', 5, false)).toMatchObject({ kind: 'decoded', unknownKeys: 1 })
  }
})

test('a topic without a table is asked for with samples; records that teach nothing are dead letters in the end', () => {
  const plan = planOf([tablePlan('a', undefined)])
  const needs = askFor(plan, [json({ id: 1 }), { value: null }])
  expect(needs.topics).toEqual([{ topic: 't', fields: [], samples: [Uint8Array.from(Buffer.from('{"id":1}'))] }])
  const { letters, counts } = decodeRecords(plan, [json({ id: 1 }), { value: null }], true)
  expect([letters.length, counts.dead, counts.filtered]).toEqual([1, 1, 1])
  const nowhere = createBlockDecoder(planOf([], { routes: {} }))
  expect(nowhere.decode(recordBlock('t', [json({})]), 0, 'kafka:t:x', 5, false).kind).toBe('needs')
  expect(() => nowhere.decode(recordBlock('t', [json({})]), 0, 'kafka:t:x', 5, true)).toThrow('have no table')
})

test('while there is no table, a schema that makes none says why in the dead letters', () => {
  const plan = (schema: unknown) =>
    planOf([tablePlan('a', undefined)], {
      value: { format: 'avro', registry: true },
      schemas: {
        7: { id: 7, type: 'AVRO', text: JSON.stringify(schema), references: [], label: 'a-value version 1 (id 7)' },
      },
    })
  const node = { type: 'record', name: 'Node', fields: [{ name: 'next', type: ['null', 'Node'] }] }
  const record = { value: Buffer.from([0, 0, 0, 0, 7, 0]) }
  expect(decodeRecords(plan(node), [record], true).letters).toMatchObject([
    { reason: 'Avro schema: field "next": a record inside itself (Node) makes no columns' },
  ])
  const odd = { type: 'record', name: 'Odd', fields: [{ name: '_offset', type: 'int' }] }
  expect(decodeRecords(plan(odd), [record], true).letters).toMatchObject([
    { reason: 'records of a-value version 1 (id 7) make no columns' },
  ])
})

test('key columns and headers are written beside the value, and their faults are dead letters too', () => {
  const columns = { id: 'long', key_a: 'int', key_b: 'string', headers: 'map<string, string>' }
  const plan = planOf([tablePlan('a', columns)], {
    key: { format: 'json', envelope: false },
    keyColumns: { prefix: 'key_' },
    headersColumn: 'headers',
  })
  const { rows, letters, counts } = decodeRecords(plan, [
    {
      key: '{"b":"x","a":1}',
      value: '{"id":1,"key_a":9}',
      headers: [
        ['h', '1'],
        ['i', null],
        ['h', '2'],
      ],
    },
    { key: null, value: '{"id":2}' },
    { key: '{"a":"x"}', value: '{"id":3}' },
    { key: '{"a":1}', value: '{"id":4}', headers: [['h', Buffer.from([0xff])]] },
    { key: '{"a":1}', value: null },
    { key: '{"a":2}', value: '{"id":6}' },
  ])
  expect(rows).toEqual([
    {
      id: 1n,
      key_a: 1,
      key_b: 'x',
      headers: [
        ['i', null],
        ['h', '2'],
      ],
    },
    { id: 2n, key_a: null, key_b: null, headers: [] },
    { id: 6n, key_a: 2, key_b: null, headers: [] },
  ])
  expect(letters).toEqual([
    {
      offset: 2n,
      reason: 'key: column "a": expected int, found string at byte 5',
      raw: Buffer.from('{"id":3}'),
      key: Buffer.from('{"a":"x"}'),
    },
    {
      offset: 3n,
      reason: 'column "headers.value": expected string, found bytes that are not valid UTF-8',
      raw: Buffer.from('{"id":4}'),
      key: Buffer.from('{"a":1}'),
    },
  ])
  expect(counts).toEqual({ dead: 2, filtered: 1, unknownKeys: 1 })
})

test('a fault of a key names the column that it would have made; a key that is too large is told', () => {
  const more = { key: { format: 'json', envelope: false }, keyColumns: { prefix: 'key_' }, recordBytesMax: 40 } as const
  const plan = planOf([tablePlan('a', { id: 'long', key_a: 'int' })], more)
  const block = recordBlock('t', [
    { key: '{"a":"x"}', value: '{"id":1}' },
    { key: `{"a":1,"b":"${'y'.repeat(40)}"}`, value: '{"id":2}' },
  ])
  const decoded = createBlockDecoder(plan).decode(block, 0, 'kafka:t:x', 5, true)
  if (decoded.kind !== 'decoded') throw new Error('more was asked for')
  const letters = decoded.pieces.flatMap(({ batch }) => batchRows(batch))
  expect(letters).toMatchObject([
    { column: 'key_a', kind: 'key' },
    { column: null, reason: expect.stringContaining('is larger than ingest.record.bytes.max (40)') },
  ])
})

test('a whole key is one column; headers may be bytes; what is missing is asked for', () => {
  const columns = { id: 'long', key: 'string', headers: 'map<string, binary>' }
  const more = { key: { format: 'string' }, keyColumns: { prefix: 'key_' }, headersColumn: 'headers' } as const
  const plan = planOf([tablePlan('a', columns)], more)
  const { rows } = decodeRecords(plan, [{ key: 'k', value: '{"id":1}', headers: [['h', Buffer.from([0xff])]] }])
  expect(rows).toEqual([{ id: 1n, key: 'k', headers: [['h', Buffer.from([0xff])]] }])
  const needs = askFor(planOf([tablePlan('a', { id: 'long' })], more), [{ key: 'k', value: '{"id":1}' }])
  expect(needs.columns.flatMap(({ fields }) => fields.map(({ name }) => name)).sort()).toEqual(['headers', 'key'])
})

test('keys of JSON without a schema: objects make a column for each field, other values one column', () => {
  const more = { key: { format: 'json', envelope: false }, keyColumns: { prefix: 'key_' } } as const
  const keyed = (key: string) => ({ key, value: '{"id":1}' })
  const lacking = planOf([tablePlan('a', { id: 'long' })], more)
  expect(askFor(lacking, [keyed('{"a":1,"b":"x"}'), keyed('"text"')]).columns.flatMap(({ fields }) => fields)).toEqual([
    { fieldId: 0, name: 'key_a', type: { kind: 'long' }, required: false },
    { fieldId: 0, name: 'key_b', type: { kind: 'string' }, required: false },
    { fieldId: 0, name: 'key', type: { kind: 'string' }, required: false },
  ])
  const plan = planOf([tablePlan('a', { id: 'long', key: 'long', key_a: 'long' }, { ignoredKeys: ['key_b'] })], more)
  const { rows, letters } = decodeRecords(plan, [
    keyed('7'),
    keyed('{"a":1,"b":"x"}'),
    keyed('null'),
    keyed('"x"'),
    keyed('{'),
  ])
  expect(rows).toEqual([
    { id: 1n, key: 7n, key_a: null },
    { id: 1n, key: null, key_a: 1n },
    { id: 1n, key: null, key_a: null },
  ])
  expect(letters.map(({ reason }) => reason)).toEqual([
    'key: column "value": expected long, found text that is no number at byte 0',
    'key: malformed JSON: text ends inside an object at byte 1',
  ])
})

test('a record goes to every table of its topic and counts once', () => {
  const plan = planOf([tablePlan('a', { id: 'int' }), { ...tablePlan('b', { id: 'string' }), tableId: 9 }], {})
  const result = createBlockDecoder(plan).decode(
    recordBlock('t', [json({ id: 1 }), json({ id: 'x' }), json({ id: true })], 100),
    0,
    'kafka:t:x',
    5,
    false,
  )
  expect(result).toMatchObject({
    kind: 'decoded',
    dead: 3,
    deadReason: 'column "id": expected int, found string at byte 6',
  })
  if (result.kind !== 'decoded') return
  const offsets = result.pieces.map(({ tableId, batch }) => [tableId, batchRows(batch).map((row) => row._offset)])
  expect(offsets).toEqual([
    [7, [100n]],
    [8, [101n, 102n]],
    [9, [101n]],
    [8, [100n, 102n]],
  ])
})

test('records before the first are left alone', () => {
  const decoder = createBlockDecoder(planOf([tablePlan('a', { id: 'int' })]))
  const result = decoder.decode(recordBlock('t', [{ value: 'broken' }, json({ id: 1 })]), 1, 'kafka:t:x', 5, false)
  expect(result).toMatchObject({ kind: 'decoded', dead: 0, filtered: 0 })
})
