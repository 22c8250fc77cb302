import { describe, expect, test } from 'vitest'
import { type ColumnType, parseColumnType } from '../../schemas/column-type.ts'
import { isPlainInPlan, readFilters } from './filter-text.ts'

const TYPES = new Map<number, ColumnType>(
  [
    'int',
    'long',
    'double',
    'decimal(10,2)',
    'date',
    'time',
    'timestamp',
    'timestamptz',
    'string',
    'uuid',
    'boolean',
    'binary',
  ].map((text, index) => [16 + index, parseColumnType(text)!]),
)

function read(text: string): unknown[] {
  return readFilters(text, 3, (fieldId) => TYPES.get(fieldId)).map((filter) =>
    filter.op === 'in'
      ? [filter.fieldId, 'in', filter.values]
      : [filter.fieldId, filter.op, ...('value' in filter ? [filter.value] : [])],
  )
}

describe('plan text that is understood', () => {
  test.each([
    [
      't3_c16>=1 AND t3_c16<=10',
      [
        [16, '>=', 1n],
        [16, '<=', 10n],
      ],
    ],
    ['t3_c17=-5', [[17, '=', -5n]]],
    ['t3_c18>1e+30', [[18, '>', 1e30]]],
    ['t3_c19<-1.50', [[19, '<', -150n]]],
    ["t3_c20>='1969-12-31'::DATE", [[20, '>=', -1n]]],
    ["t3_c21<'12:00:00.5'::TIME", [[21, '<', 43_200_500_000n]]],
    ["t3_c22>'1970-01-01 00:00:00.000001'::TIMESTAMP", [[22, '>', 1n]]],
    ["t3_c23>='1970-01-01 02:00:00+02'::TIMESTAMP WITH TIME ZONE", [[23, '>=', 0n]]],
    ["t3_c23>='1969-12-31 20:30:00.5-03:30'::TIMESTAMP WITH TIME ZONE", [[23, '>=', 500_000n]]],
    ["t3_c24='it''s AND t3_c16=5 OR'", [[24, '=', "it's AND t3_c16=5 OR"]]],
    ["t3_c25='00000000-0000-0000-0000-00000000000a'::UUID", [[25, '=', '00000000-0000-0000-0000-00000000000a']]],
    ['t3_c26=true', [[26, '=', true]]],
    ['optional: t3_c16 IN (1, -2, 9)', [[16, 'in', [1n, -2n, 9n]]]],
    ["optional: t3_c24 IN ('a', 'b''c, d')", [[24, 'in', ['a', "b'c, d"]]]],
    ['(t3_c16 IS NULL)', [[16, 'is null']]],
    ['(t3_c16 IS NOT NULL)', [[16, 'is not null']]],
    [
      "t3_c16>1 AND t3_c16<10\nt3_c24='q'",
      [
        [16, '>', 1n],
        [16, '<', 10n],
        [24, '=', 'q'],
      ],
    ],
  ])('%s', (text, filters) => {
    expect(read(text)).toEqual(filters)
  })
})

describe('plan text that excludes nothing', () => {
  test.each([
    '',
    't3_c16!=5',
    't3_c16=1 OR t3_c16=2',
    'optional: t3_c16<1 OR t3_c16>10 AND t3_c16<20',
    "((t3_c24 IS NULL) OR (t3_c24 = 'x'))",
    '(CAST(t3_c16 AS BIGINT) > 5)',
    '(NOT t3_c26)',
    't3_c26',
    "suffix(t3_c24, 'x')",
    'optional: Dynamic Filter (t3_c22)',
    '(t3_c16 IS DISTINCT FROM 5)',
    "t3_c18='nan'::DOUBLE",
    "t3_c22='infinity'::TIMESTAMP",
    "t3_c22>'0044-03-15 (BC) 00:00:00'::TIMESTAMP",
    "t3_c20>'12345-01-01'::DATE",
    "t3_c23>'2026-01-01 00:00:00'::TIMESTAMP",
    "t3_c27='\\x00'::BLOB",
    't3_c16=1.5',
    't3_c19=1.5',
    't4_c16=5',
    't3_c99=5',
    't3_c16=t3_c17',
    't3_c16=5 + 1',
    't3_c17=99999999999999999999',
    't3_c16 IN (1, x)',
    "t3_c24='two\nlines'",
    "t3_c24='quote does not end\nt3_c16=5",
  ])('%s', (text) => {
    expect(read(text)).toEqual([])
  })

  test('a text that holds what looks like a filter on a line of its own', () => {
    expect(read("t3_c24='a\nt3_c16=5\nb'\nt3_c17=1")).toEqual([[17, '=', 1n]])
  })
})

describe("names of a struct's fields, which a plan has without quotes", () => {
  test.each(['a', 'a b', 'x.y', 'OR', 'x-1', 'optional: a', 't3_c16', 'say "q"'])('%s splits nothing', (name) => {
    expect(isPlainInPlan(name)).toBe(true)
    expect(read(`t3_c99.${name}>5`)).toEqual([])
  })

  test.each(['x>1 AND t3_c16=5 AND y', '1AND', 'ÄAND t3_c16=5', "it's", "'a'", 'a\nt3_c16=5'])('%j may', (name) => {
    expect(isPlainInPlan(name)).toBe(false)
  })
})
