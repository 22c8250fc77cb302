import { describe, expect, test } from 'vitest'
import { parseColumnType } from '../../schemas/column-type.ts'
import type { RecordField, RecordSchema } from '../../schemas/record-schema.ts'
import { HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import type { TablePlan } from './decode-plan.ts'
import { fitRecord } from './fit-record.ts'

function fieldsOf(text: string): RecordField[] {
  const type = parseColumnType(`struct<${text}>`)
  return type?.kind === 'struct' ? [...type.fields] : []
}

function verdict(
  columns: string,
  record: string,
  more: Partial<TablePlan> = {},
  refusedSchemas: Record<string, string> = {},
) {
  const schema = {
    schemaId: 0,
    columns: [...fieldsOf(columns).map((field, index) => ({ ...field, fieldId: 16 + index })), ...HIDDEN_COLUMNS],
  }
  const incoming: RecordSchema = { name: 'v1', fields: fieldsOf(record) }
  return fitRecord({ refusedSchemas }, { name: 't', ignoredKeys: [], ...more, schema }, incoming)
}

describe('fitRecord', () => {
  test.each([
    ['a: long', 'a: int'],
    ['a: long, b: string', 'a: long'],
    ['a: long', 'a: long required'],
  ])('a table of %s takes records of %s as it is', (columns, record) => {
    expect(verdict(columns, record)).toEqual({ kind: 'fits' })
  })

  test.each([
    ['a: int', 'a: long'],
    ['a: long', 'a: long, b: string'],
    ['a: long required', 'a: long'],
    ['a: long', 'a: string'],
    ['s: struct<x: int>', 's: struct<y: int>'],
  ])('a table of %s is to be asked about records of %s', (columns, record) => {
    expect(verdict(columns, record)).toEqual({ kind: 'ask', fields: fieldsOf(record) })
  })

  test('a required column that the records lack is asked for as an optional one', () => {
    const result = verdict('a: long required, b: int', 'b: int')
    expect(result.kind === 'ask' && result.fields.map(({ name, required }) => ({ name, required }))).toEqual([
      { name: 'b', required: false },
      { name: 'a', required: false },
    ])
  })

  test('what was answered is not asked for again', () => {
    expect(verdict('a: long', 'a: long, b: string', { ignoredKeys: ['b'] })).toEqual({ kind: 'fits' })
    expect(verdict('a: long', 'a: long, b: string', { isFull: true })).toEqual({ kind: 'fits' })
    expect(verdict('a: long', 'a: string', { settledSchemas: ['v1'] })).toEqual({ kind: 'fits' })
    expect(verdict('a: long', 'a: string', {}, { 't:v1': 'no' })).toEqual({ kind: 'dead', reason: 'no' })
    expect(verdict('s: struct<x: int>', 's: struct<y: int>', { ignoredKeys: ['s.y'] })).toEqual({ kind: 'fits' })
    // A full table may still become wider.
    expect(verdict('a: int', 'a: long', { isFull: true })).toMatchObject({ kind: 'ask' })
  })
})
