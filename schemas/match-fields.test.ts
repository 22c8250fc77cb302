import { expect, test } from 'vitest'
import type { Field } from './column-type.ts'
import { matchFields } from './match-fields.ts'
import type { RecordField } from './record-schema.ts'

const field = (name: string, more: Partial<RecordField> = {}): RecordField => ({
  fieldId: 0,
  name,
  type: { kind: 'string' },
  required: false,
  ...more,
})
const match = (records: RecordField[], table: Field[]) => [...matchFields(records, table)]

test('a field is found by its number, then by its name, an earlier name, its name in another case', () => {
  const table = [field('a', { sourceId: 1 }), field('b'), field('C'), field('d')]
  expect(match([field('renamed', { sourceId: 1 }), field('b')], table)).toEqual([0, 1])
  expect(match([field('new', { aliases: ['x', 'b'] })], table)).toEqual([1])
  expect(match([field('c'), field('e')], table)).toEqual([2, -1])
  expect(match([field('D'), field('d')], table)).toEqual([-1, 3])
})

test('a name used again under another number is another field', () => {
  expect(match([field('a', { sourceId: 7 })], [field('a', { sourceId: 1 })])).toEqual([-1])
  expect(match([field('a', { sourceId: 7 })], [field('a')])).toEqual([0])
})

test('the name wins over an earlier name, whatever their order, and nothing is taken twice', () => {
  const table = [field('a'), field('b')]
  expect(match([field('n', { aliases: ['a'] }), field('a')], table)).toEqual([-1, 0])
  expect(match([field('n', { aliases: ['a', 'b'] }), field('a')], table)).toEqual([1, 0])
})
