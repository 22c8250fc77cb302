import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Field } from './column-type.ts'
import { keysOfFields, matchFields, numberedIn } from './match-fields.ts'
import type { RecordField } from './record-schema.ts'
import { HIDDEN_COLUMNS } from './table-schema.ts'

const field = (name: string, more: Partial<RecordField> = {}): RecordField => ({
  fieldId: 0,
  name,
  type: { kind: 'string' },
  required: false,
  ...more,
})
const match = (records: readonly RecordField[], table: readonly Field[]) => [...matchFields(records, table)]

test('a field is found by its number, then by its name, an earlier name, its name in another case', () => {
  const table = [field('a', { sourceId: 1 }), field('b'), field('C'), field('d')]
  expect(match([field('renamed', { sourceId: 1 }), field('b')], table)).toEqual([0, 1])
  expect(match([field('new', { aliases: ['x', 'b'] })], table)).toEqual([1])
  expect(match([field('c'), field('e')], table)).toEqual([2, -1])
  expect(match([field('D'), field('d')], table)).toEqual([-1, 3])
})

test('two fields may swap their names when they have numbers', () => {
  const table = [field('a', { sourceId: 1 }), field('b', { sourceId: 2 })]
  expect(match([field('b', { sourceId: 1 }), field('a', { sourceId: 2 })], table)).toEqual([0, 1])
})

test('a name used again under another number is another field', () => {
  expect(match([field('a', { sourceId: 7 })], [field('a', { sourceId: 1 })])).toEqual([-1])
  expect(match([field('a', { sourceId: 7 })], [field('a')])).toEqual([0])
})

test('numbers of another message say nothing: its fields are found by name', () => {
  const table = [field('a', { sourceId: numberedIn('x.One', 1) }), field('b', { sourceId: numberedIn('x.One', 2) })]
  const other = (name: string, number: number) => field(name, { sourceId: numberedIn('x.Other', number) })
  expect(match([other('b', 1), other('a', 2), other('c', 3)], table)).toEqual([1, 0, -1])
  const own = (name: string, number: number) => field(name, { sourceId: numberedIn('x.One', number) })
  expect(match([own('b', 1), own('a', 2), own('c', 3)], table)).toEqual([0, 1, -1])
})

test('a number stays apart from those of other messages, and is a safe integer', () => {
  expect(numberedIn('x.One', 536_870_911)).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER)
  const all = ['a', 'b', 'x.One', 'x.Other', ''].map((name) => numberedIn(name, 1))
  expect(new Set(all).size).toBe(all.length)
})

test('the name wins over an earlier name, whatever their order, and nothing is taken twice', () => {
  const table = [field('a'), field('b')]
  expect(match([field('n', { aliases: ['a'] }), field('a')], table)).toEqual([-1, 0])
  expect(match([field('n', { aliases: ['a', 'b'] }), field('a')], table)).toEqual([1, 0])
})

test('a renamed column is known by the names it had, unless another column has the name now', () => {
  const renamed = field('b', { formerNames: ['a'] })
  expect(match([field('a')], [renamed])).toEqual([0])
  expect(match([field('a'), field('b')], [renamed, field('a')])).toEqual([1, 0])
  expect(match([field('c', { aliases: ['a'] })], [renamed])).toEqual([0])
})

test('hidden columns are never found', () => {
  expect(match([field('_offset'), field('_source', { sourceId: 1 })], HIDDEN_COLUMNS)).toEqual([-1, -1])
})

test('each field of the table is taken once, whatever the records claim', () => {
  const names = fc.constantFrom('a', 'b', 'c', 'A')
  const sourceId = fc.constantFrom(undefined, 1, 2, 3)
  const tables = fc.array(fc.record({ name: names, sourceId, formerNames: fc.array(names, { maxLength: 2 }) }), {
    maxLength: 4,
  })
  const records = fc.array(fc.record({ name: names, sourceId, aliases: fc.array(names, { maxLength: 2 }) }), {
    maxLength: 5,
  })
  const full = (each: { name: string; sourceId: number | undefined }): RecordField => {
    const { sourceId: number, ...rest } = each
    return field(each.name, number === undefined ? rest : { ...rest, sourceId: number })
  }
  fc.assert(
    fc.property(tables, records, (ofTable, ofRecord) => {
      const taken = match(ofRecord.map(full), ofTable.map(full)).filter((position) => position >= 0)
      expect(new Set(taken).size).toBe(taken.length)
    }),
  )
})

test('keys of records without a schema: own names before former ones', () => {
  const table = [field('b', { formerNames: ['a', 'c'] }), field('a'), ...HIDDEN_COLUMNS]
  expect([...keysOfFields(table)].sort()).toEqual([
    ['a', 1],
    ['b', 0],
    ['c', 0],
  ])
})
