import { expect, test } from 'vitest'
import { type ColumnType, fieldsWithin, parseColumnType } from '../schemas/column-type.ts'
import { defineDeadLetters, defineTable, EVENT_TIME_PROPERTY, type TableDeclaration } from './table-definition.ts'

function declaration(more: Partial<TableDeclaration>): TableDeclaration {
  const column = (name: string, type: string, required = false) => ({
    name,
    type: parseColumnType(type) as ColumnType,
    required,
  })
  return {
    name: 't',
    columns: [
      column('id', 'long', true),
      column('ts', 'timestamptz'),
      column('code', 'string'),
      column('ratio', 'double'),
      column('doc', 'json'),
    ],
    partition: [],
    sort: [],
    eventTime: undefined,
    ...more,
  }
}

const define = (more: Partial<TableDeclaration>) => defineTable(declaration(more), 'file:///lake/t')

test('what is inside nested columns gets ids after all columns; neither partition nor order goes by one', () => {
  const columns = [
    { name: 's', type: parseColumnType('struct<a: int, l: list<int>>') as ColumnType, required: true },
    { name: 'id', type: { kind: 'long' }, required: false },
  ] as const
  const table = define({ columns, sort: ['id'] })
  expect(table.columns!.map((column) => [...fieldsWithin(column)].map(({ fieldId }) => fieldId))).toEqual([
    [16, 18, 19, 20],
    [17],
  ])
  expect(() => define({ columns, sort: ['s'] })).toThrow('a struct has no order')
  expect(() => define({ columns, partition: ['s'] })).toThrow('identity does not take a struct')
  expect(() => define({ columns, partition: ['s.a'] })).toThrow('there is no column "s.a"')
})

test('user columns get field ids from 16 on, in declared order', () => {
  const { columns, location, properties } = define({})
  expect(columns!.map(({ fieldId, name, required }) => [fieldId, name, required])).toEqual([
    [16, 'id', true],
    [17, 'ts', false],
    [18, 'code', false],
    [19, 'ratio', false],
    [20, 'doc', false],
  ])
  expect(location).toBe('file:///lake/t')
  expect(properties).toEqual({})
})

test.each([
  ['day(ts)', { fieldId: 17, transform: { kind: 'day' }, name: 'ts_day' }],
  ['HOUR( ts )', { fieldId: 17, transform: { kind: 'hour' }, name: 'ts_hour' }],
  ['month(_arrived)', { fieldId: 5, transform: { kind: 'month' }, name: '_arrived_month' }],
  ['bucket(16, id)', { fieldId: 16, transform: { kind: 'bucket', width: 16 }, name: 'id_bucket' }],
  ['truncate(4,code)', { fieldId: 18, transform: { kind: 'truncate', width: 4 }, name: 'code_trunc' }],
  ['identity(code)', { fieldId: 18, transform: { kind: 'identity' }, name: 'code' }],
  ['code', { fieldId: 18, transform: { kind: 'identity' }, name: 'code' }],
])('partition %s', (text, field) => {
  expect(define({ partition: [text] }).partition).toEqual([{ ...field, partitionFieldId: 1000 }])
})

test.each([
  ['day(code)', 'day does not take a string'],
  ['hour(day)', 'there is no column "day"'],
  ['bucket(0, id)', 'the width must be at least 1'],
  ['bucket(id)', 'is not identity(c)'],
  ['ratio', 'identity does not take a double'],
  ['doc', 'identity does not take a json'],
  ['truncate(3, ts)', 'truncate does not take a timestamptz'],
  ['nothing', 'there is no column "nothing"; its columns are id, ts, code, ratio, doc, _source'],
])('partition %s is refused', (text, message) => {
  expect(() => define({ partition: [text] })).toThrow(message)
  expect(() => define({ partition: [text] })).toThrow('table "t"')
})

test.each([
  ['ts', { fieldId: 17, descending: false, nullsFirst: true }],
  ['ts desc', { fieldId: 17, descending: true, nullsFirst: false }],
  ['ts DESC NULLS FIRST', { fieldId: 17, descending: true, nullsFirst: true }],
  ['code asc nulls last', { fieldId: 18, descending: false, nullsFirst: false }],
])('sort %s', (text, field) => {
  expect(define({ sort: [text] }).sort).toEqual([field])
})

test.each(['ts down', 'ts nulls', '', 'ts desc nulls maybe'])('sort "%s" is refused', (text) => {
  expect(() => define({ sort: [text] })).toThrow('is not "column [asc|desc] [nulls first|last]"')
})

test('the event time is kept by field id, and must be a time', () => {
  expect(define({ eventTime: 'ts' }).properties).toEqual({ [EVENT_TIME_PROPERTY]: '17' })
  expect(() => define({ eventTime: 'id' })).toThrow('event-time column "id" is a long')
  expect(() => define({ eventTime: 'gone' })).toThrow('there is no column "gone"')
})

test('names of partition fields differ from each other and from columns', () => {
  const columns = [
    { name: 'ts', type: { kind: 'timestamp' } as const, required: false },
    { name: 'ts_day', type: { kind: 'int' } as const, required: false },
  ]
  const names = (partition: string[]) => define({ columns, partition }).partition.map(({ name }) => name)
  expect(names(['day(ts)'])).toEqual(['ts_day_2'])
  expect(names(['ts_day', 'day(ts)'])).toEqual(['ts_day', 'ts_day_2'])
  expect(names(['bucket(2, ts)', 'bucket(3, ts)', 'ts'])).toEqual(['ts_bucket', 'ts_bucket_2', 'ts'])
  expect(define({ columns, partition: ['bucket(2, ts)', 'ts'] }).partition[1].partitionFieldId).toBe(1001)
})

test('the same partition twice is refused', () => {
  expect(() => define({ partition: ['code', 'identity(code)'] })).toThrow('"identity(code)" is there twice')
})

test('dead letters are a table of their own', () => {
  const table = defineDeadLetters('clicks', 'file:///lake/x')
  expect(table.name).toBe('clicks__dead_letters')
  expect(table.columns!.map(({ name }) => name)).toEqual([
    'topic',
    'partition',
    'offset',
    'reason',
    'column',
    'raw_key',
    'raw',
    'raw_headers',
    'pipeline',
    'kind',
  ])
})
