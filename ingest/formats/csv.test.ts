import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseColumnType } from '../../schemas/column-type.ts'
import { HIDDEN_COLUMNS, type TableSchema } from '../../schemas/table-schema.ts'
import { batchRows } from '../../test/harness/vector-values.ts'
import type { Struct } from '../connect/data/values.ts'
import { createBatchBuilder } from '../decoder/batch-builder.ts'
import { openCsv } from './csv.ts'
import { allTargets, isReadFailure } from './format.ts'

function schemaOf(columns: Record<string, string>): TableSchema {
  const user = Object.entries(columns).map(([name, type], index) => ({
    fieldId: 16 + index,
    name,
    type: parseColumnType(type.replace(' required', ''))!,
    required: type.endsWith(' required'),
  }))
  return { schemaId: 1, columns: [...user, ...HIDDEN_COLUMNS] }
}

function decodeLine(columns: Record<string, string>, line: string | Uint8Array, options: { nullText?: string } = {}) {
  const schema = schemaOf(columns)
  const format = openCsv({
    format: 'csv',
    fields: Object.keys(columns),
    delimiter: ',',
    quote: '"',
    nullText: options.nullText ?? '',
  })
  const builder = createBatchBuilder(schema)
  const bytes = Buffer.concat([
    Buffer.from('x"'),
    typeof line === 'string' ? Buffer.from(line) : line,
    Buffer.from('",'),
  ])
  const failure = format.createDecoder(schema, allTargets(schema)).decode(bytes, 2, bytes.length - 2, builder)
  const read = format.read(bytes, 2, bytes.length - 2)
  if (failure) return failure.reason
  builder.finishRow(builder.sourceIndex('s'), 0, 0, Number.NaN, 0)
  const row = Object.values(batchRows(builder.seal(), Object.keys(columns))[0])
  if (Object.values(columns).every((type) => type === 'string')) {
    expect(isReadFailure(read)).toBe(false)
    if (!isReadFailure(read)) expect((read.value as Struct).values).toEqual(row)
  }
  return row
}

test('what a CSV writer wrote is read again, quotes, delimiters, line ends and nulls as they were', () => {
  const field = fc.option(fc.string({ unit: fc.constantFrom('a', '"', ',', '\n', '\r', 'ü', ' '), maxLength: 6 }))
  fc.assert(
    fc.property(
      fc.array(field, { minLength: 1, maxLength: 5 }),
      fc.constantFrom('', '\n', '\r\n'),
      (values, ending) => {
        const text = values.map((value) => {
          if (value === null) return ''
          return value === '' || /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
        })
        const columns = Object.fromEntries(values.map((_, index) => [`c${index}`, 'string']))
        expect(decodeLine(columns, text.join(',') + ending)).toEqual(values)
        expect(decodeLine({ ...columns, more: 'string' }, text.join(',') + ending)).toBe(
          `expected ${values.length + 1} fields, found ${values.length}`,
        )
      },
    ),
    { numRuns: 2000 },
  )
})

const abc = { a: 'string', b: 'int', c: 'timestamptz' }

test.each([
  [abc, 'x,7,2026-01-01T00:00:00Z', ['x', 7, 1767225600000000n]],
  [abc, 'x,,1767225600000', ['x', null, 1767225600000000n]],
  [abc, '"","7",', ['', 7, null]],
  [abc, 'x,7', 'expected 3 fields, found 2'],
  [abc, 'x,7,,', 'expected 3 fields, found 4'],
  [abc, '', 'expected 3 fields, found 1'],
  [abc, 'x,seven,', 'column "b": expected int, found text at byte 2'],
  [abc, 'x,7.5,', 'column "b": expected int, found number with a fraction at byte 2'],
  [abc, 'x,3000000000,', 'column "b": expected int, found number out of range at byte 2'],
  [abc, '"x,7,', 'malformed CSV: the line ends inside quotes at byte 5'],
  [abc, '"x"y,7,', 'malformed CSV: text behind a closing quote at byte 3'],
  [abc, 'x,7,\ny,8,', 'malformed CSV: more than one line at byte 4'],
  [{ a: 'string', b: 'int required' }, 'x,', 'column "b": expected int, found nothing; it is required'],
  [{ a: 'double', b: 'boolean', d: 'decimal(5,2)' }, '1e3,true,-1.5', [1000, true, -150n]],
  [{ a: 'json' }, '"{""k"": [1]}"', ['{"k": [1]}']],
])('%j from %j', (columns, line, expected) => {
  expect(decodeLine(columns as Record<string, string>, line)).toEqual(expected)
})

test('bytes that are no UTF-8 are refused; the null text is null only without quotes', () => {
  expect(decodeLine({ a: 'string' }, Buffer.from([0x61, 0xff]))).toBe('text is not valid UTF-8')
  expect(decodeLine({ a: 'string', b: 'string' }, '\\N,"\\N"', { nullText: '\\N' })).toEqual([null, '\\N'])
  expect(decodeLine({ a: 'string', b: 'string' }, ',""', { nullText: '\\N' })).toEqual(['', ''])
})

test('a nested column takes no CSV field', () => {
  expect(() => decodeLine({ a: 'list<int>' }, '1')).toThrow('column "a": expected list<int>, found text')
})
