import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseInterval } from './interval-literal.ts'
import { chainOrigins, indexAt, joinPieces, positionAt } from './pieces.ts'
import { strftimeFormat } from './time-format.ts'
import { tokenize } from './tokens.ts'

describe('tokens', () => {
  test.each([
    ["SELECT 'it''s', E'it\\'s', $$a'b$$, $x$ $$ $x$", ['select', "it's", ',', "it's", ',', "a'b", ',', ' $$ ']],
    ['"a""b".c -- ) \n /* ( /* nested */ */ + 1_000.5e-3', ['a"b', '.', 'c', '+', '1_000.5e-3']],
    ['x->>1 AND y::INT := z => 2 <> 3', ['x', '->>', '1', 'and', 'y', '::', 'int', ':=', 'z', '=>', '2', '<>', '3']],
    ['né.übung(ß)', ['né', '.', 'übung', '(', 'ß', ')']],
  ])('%s', (text, expected) => {
    expect(tokenize(text)?.map(({ value }) => value)).toEqual(expected)
  })

  test.each(["'open", '"open', '/* open', '$$open', '(', ')', '([)]'])('a text that does not end: %s', (text) => {
    expect(tokenize(text)).toBeUndefined()
  })

  test('tokens of any text lie in order, and brackets match', () => {
    const word = fc.constantFrom(
      'a',
      "'b''c'",
      '(',
      ')',
      '[',
      ']',
      ',',
      '"q"',
      '--x\n',
      '/*y*/',
      '1.5',
      '$$z$$',
      ' ',
      'é',
      '?',
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 30 }), (words) => {
        const text = words.join(' ')
        const tokens = tokenize(text)
        for (const [index, { start, end, match }] of (tokens ?? []).entries()) {
          expect(start).toBeGreaterThanOrEqual(index === 0 ? 0 : tokens![index - 1].end)
          expect(end).toBeGreaterThan(start)
          if (match >= 0) expect(tokens![match].match).toBe(index)
        }
      }),
    )
  })
})

test('an index in a rewritten text goes back to where it was written, through several rewrites', () => {
  const text = 'ab(cd) ef'
  const first = joinPieces(text, [
    { text: 'LONGER', at: 0, call: 'ab' },
    { start: 2, end: 9 },
  ])
  expect(first.text).toBe('LONGER(cd) ef')
  const second = joinPieces(first.text, [
    { start: 0, end: 7 },
    { text: 'x', at: 7, call: 'cd' },
    { start: 9, end: 13 },
  ])
  expect(second.text).toBe('LONGER(x) ef')
  const origin = chainOrigins(first.origin, second.origin)
  expect([0, 3, 6, 7, 8, 10].map((index) => origin(index))).toEqual([
    { index: 0, call: 'ab' },
    { index: 0, call: 'ab' },
    { index: 2, call: undefined },
    { index: 3, call: 'cd' },
    { index: 5, call: undefined },
    { index: 7, call: undefined },
  ])
  for (let index = 0; index <= 7; index++)
    expect(indexAt('a\n😀b\n\nc', positionAt('a\n😀b\n\nc', index))).toBe(index === 3 ? 4 : index)
})

test.each([
  ['15m', { months: 0, days: 0, micros: 900_000_000 }],
  ['1 hour 30 minutes', { months: 0, days: 0, micros: 5_400_000_000 }],
  ['P1Y2M3DT4H5M6S', { months: 14, days: 3, micros: 14_706_000_000 }],
  ['2 weeks', { months: 0, days: 14, micros: 0 }],
  ['PT15M', { months: 0, days: 0, micros: 900_000_000 }],
  ['0.5 days', undefined],
  ['P', undefined],
  ['soon', undefined],
  ['', undefined],
])('width %s', (text, expected) => {
  expect(parseInterval(text)).toEqual(expected)
})

test.each([
  ['mysql', '%Y-%m-%d %H:%i:%s 100%%', '%Y-%m-%d %H:%M:%S 100%%'],
  ['mysql', '%Q', undefined],
  ['joda', "yyyy-MM-dd'T'HH:mm:ss.SSS''", "%Y-%m-%dT%H:%M:%S.%g'"],
  ['joda', 'QQ', undefined],
  ['postgres', 'YYYY-MM-DD"T"HH24:MI:SS.MS', '%Y-%m-%dT%H:%M:%S.%g'],
  ['postgres', '999', undefined],
] as const)('a format of %s: %s', (style, format, expected) => {
  expect(strftimeFormat(style, format)).toBe(expected)
})
