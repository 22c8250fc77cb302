/** Pipelines with transforms: the rows of the general way, where records go and what is asked for. */
import { expect, test } from 'vitest'
import { askFor, decodeRecords, planOf, schemaOf, tablePlan } from '../../test/harness/decode-block.ts'
import { recordBlock, type TestRecord } from '../../test/harness/record-block.ts'
import { createBlockDecoder } from './block-decoder.ts'
import type { DecodePlan, TransformPlan } from './decode-plan.ts'

const json = (value: unknown): TestRecord => ({ value: JSON.stringify(value) })
const transform = (
  type: string,
  settings: Record<string, string>,
  more: Partial<TransformPlan> = {},
): TransformPlan => ({
  name: 't',
  type: `org.apache.kafka.connect.transforms.${type}`,
  settings,
  ...more,
})
/** Changes nothing that a column has. */
const NOTHING = transform('InsertHeader', { header: 'h', 'value.literal': 'x' })

const TYPES = {
  b: 'boolean',
  i: 'int',
  l: 'long',
  f: 'float',
  d: 'double',
  dec: 'decimal(9,2)',
  date: 'date',
  time: 'time',
  ts: 'timestamptz',
  s: 'string',
  u: 'uuid',
  bin: 'binary',
  j: 'json',
  st: 'struct<a: int, b: list<string>>',
  li: 'list<struct<x: long>>',
  m: 'map<string, double>',
  mi: 'map<int, string>',
}
const RECORD = {
  b: true,
  i: 5,
  l: '9007199254740993',
  f: 0.5,
  d: 1,
  dec: 1.25,
  date: '2026-01-31',
  time: 1000,
  ts: '2026-01-01T00:00:00.000001Z',
  s: 'grüße',
  u: '00112233-4455-6677-8899-aabbccddeeff',
  bin: 'aGk=',
  j: { x: [1, null] },
  st: { a: 1, b: ['x', null], unknown: null },
  li: [{ x: 1 }, null],
  m: { k: 1.5, n: null },
  mi: { 1: 'one' },
}

test('records without a schema come to the same rows through transforms as without', () => {
  const plain = planOf([tablePlan('a', TYPES)])
  const records = [json(RECORD), json({}), json({ i: null, other: null }), { value: null }]
  const through = { ...plain, transforms: [NOTHING] }
  expect(decodeRecords(through, records)).toEqual({
    ...decodeRecords(plain, records),
    counts: { dead: 0, filtered: 1, unknownKeys: 1 },
  })
})

test.each([
  ['i', 1.5],
  ['i', 'x'],
  ['i', 2 ** 31],
  ['l', 'x'],
  ['b', 1],
  ['dec', 1.255],
  ['dec', 1e9],
  ['date', '2026-02-30'],
  ['time', '25:00'],
  ['ts', 'soon'],
  ['s', 1],
  ['u', 'x'],
  ['bin', '?'],
  ['st', []],
  ['li', {}],
  ['li', [{ x: 'y' }]],
  ['m', { k: 'x' }],
  ['mi', { x: 'y' }],
])('what a column %s refuses without transforms it refuses with them: %j', (name, value) => {
  const plain = planOf([tablePlan('a', TYPES)])
  const outcomes = [plain, { ...plain, transforms: [NOTHING] }].map((plan) =>
    decodeRecords(plan, [json({ [name]: value })]),
  )
  for (const { letters, rows } of outcomes) {
    expect([letters.length, rows.length]).toEqual([1, 0])
    expect(letters[0].reason).toMatch(new RegExp(`^column "${name}.*": expected `))
    expect(letters[0].raw).toEqual(Buffer.from(JSON.stringify({ [name]: value })))
  }
})

test('transforms change, rename, drop and route; what they refuse is a dead letter', () => {
  const tables = [tablePlan('a', { id: 'long', n: 'string' })]
  const plan = (transforms: readonly TransformPlan[], more: Partial<DecodePlan> = {}) =>
    planOf(tables, { transforms, ...more })
  const rename = transform('ReplaceField$Value', { renames: 'key:id' })
  expect(decodeRecords(plan([rename]), [json({ key: 5, n: 'x' })]).rows).toEqual([{ id: 5n, n: 'x' }])
  const drop = transform(
    'Filter',
    {},
    {
      predicate: {
        type: 'org.apache.kafka.connect.transforms.predicates.RecordIsTombstone',
        settings: {},
        negate: true,
      },
    },
  )
  expect(decodeRecords(plan([drop]), [json({ id: 1 }), { value: null }]).counts).toEqual({
    dead: 0,
    filtered: 2,
    unknownKeys: 0,
  })
  const cast = transform('Cast$Value', { spec: 'id:int64' })
  const { rows, letters } = decodeRecords(plan([cast]), [json({ id: '12' }), json({ id: 'x' }), { value: '{' }])
  expect(rows).toEqual([{ id: 12n, n: null }])
  expect(letters.map(({ reason }) => reason)).toEqual([
    expect.stringMatching(/^transform "t" \(org.apache.kafka.connect.transforms.Cast\$Value\): /),
    'malformed JSON: text ends inside an object at byte 1',
  ])
  const router = transform('RegexRouter', { regex: '.*', replacement: 'other' })
  const needs = askFor(plan([router]), [json({ id: 1 })])
  expect(needs.topics.map(({ topic, samples }) => [topic, samples.map(String)])).toEqual([
    ['other', [String(Buffer.from('{"id":1}'))]],
  ])
  expect(decodeRecords(plan([router], { routes: { other: ['a'] } }), [json({ id: 1 })]).rows).toEqual([
    { id: 1n, n: null },
  ])
  // The bad record never met the router: it goes to the pipeline's table all the same.
  expect(decodeRecords(plan([router], { routes: { other: ['a'] } }), [{ value: '{' }]).letters).toHaveLength(1)
})

test('fields that transforms insert are asked for, with and without a schema; the key and headers have columns too', () => {
  const insert = transform('InsertField$Value', { 'topic.field': 'topic', 'timestamp.field': 'at' })
  const plan = planOf([tablePlan('a', { id: 'long' })], { transforms: [insert] })
  const open = askFor(plan, [json({ id: 1 })])
  expect(open.columns.flatMap(({ fields }) => fields.map(({ name, type }) => [name, type.kind]))).toEqual([
    ['topic', 'string'],
    // Without a schema Connect inserts a Long.
    ['at', 'long'],
  ])
  const value = { format: 'json', envelope: true } as const
  const schema = {
    type: 'struct',
    name: 'o',
    optional: false,
    fields: [{ type: 'int64', optional: false, field: 'id' }],
  }
  const enveloped = json({ schema, payload: { id: 1 } })
  const typed = askFor({ ...plan, value }, [enveloped, enveloped])
  expect(typed.columns).toHaveLength(1)
  expect(typed.columns[0].fields.map(({ name, type }) => [name, type.kind])).toEqual([
    ['id', 'long'],
    ['topic', 'string'],
    ['at', 'timestamptz'],
  ])
  const full = { id: 'long', topic: 'string', at: 'timestamptz', key: 'string', headers: 'map<string, string>' }
  const whole = planOf([tablePlan('a', full)], {
    value,
    transforms: [insert, transform('InsertHeader', { header: 'h', 'value.literal': '5' }, { name: 'h' })],
    key: { format: 'string' },
    keyColumns: { prefix: 'key_' },
    headersColumn: 'headers',
  })
  expect(decodeRecords(whole, [{ ...enveloped, key: 'k', headers: [['h', 'first']] }]).rows).toEqual([
    { id: 1n, topic: 't', at: 1_767_225_600_000_000n, key: 'k', headers: [['h', '5']] },
  ])
})

test('policies hold for records without a schema behind transforms', () => {
  const records = [json({ id: 1 }), json({ id: 2, extra: 'x' })]
  const plan = (more: Parameters<typeof tablePlan>[2]) =>
    planOf([tablePlan('a', { id: 'long' }, more)], { transforms: [NOTHING] })
  expect(decodeRecords(plan({ evolution: 'freeze' }), records).counts).toEqual({ dead: 0, filtered: 0, unknownKeys: 1 })
  expect(decodeRecords(plan({ ignoredKeys: ['extra'] }), records).rows).toHaveLength(2)
  expect(decodeRecords(plan({ evolution: 'fail' }), records).letters.map(({ reason }) => reason)).toEqual([
    'field "extra" is no column of table "a", whose evolution is fail',
  ])
  const decoder = createBlockDecoder(plan({}))
  expect(decoder.decode(recordBlock('t', records), 0, 's', 5, false).kind).toBe('needs')
  expect(decoder.decode(recordBlock('t', records), 0, 's', 5, true).kind).toBe('decoded')
  expect(decoder.decode(recordBlock('t', records), 0, 's', 5, false).kind).toBe('decoded')
})

test('two versions of a schema in turn, and a required column that a record lacks', () => {
  const schema = (fields: string[]) => ({
    type: 'struct',
    name: 'o',
    optional: false,
    fields: fields.map((field) => ({ type: 'string', optional: true, field })),
  })
  const plan = planOf([{ ...tablePlan('a', undefined), schema: schemaOf({ a: 'string required', b: 'string' }) }], {
    value: { format: 'json', envelope: true },
    transforms: [NOTHING],
  })
  const ofA = json({ schema: schema(['a']), payload: { a: 'x' } })
  const ofBoth = json({ schema: schema(['a', 'b']), payload: { a: 'y', b: 'z' } })
  const needs = askFor(plan, [ofA, ofBoth])
  expect(needs.columns).toHaveLength(2)
  const settled = {
    ...plan,
    tables: { a: { ...plan.tables.a, settledSchemas: needs.columns.map((each) => each.schemaName) } },
  }
  const lacking = json({ schema: schema(['a']), payload: {} })
  const { rows, letters } = decodeRecords(settled, [ofA, ofBoth, ofA, lacking])
  expect(rows).toEqual([
    { a: 'x', b: null },
    { a: 'y', b: 'z' },
    { a: 'x', b: null },
  ])
  expect(letters.map(({ reason }) => reason)).toEqual(['column "a": expected string, found null; it is required'])
})
