// What Tab offers, at every place of a statement.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { complete, type Vocabulary } from './complete.ts'

const vocabulary: Vocabulary = {
  tables: [
    { schema: 'main', name: 'flights', columns: ['id', 'origin', 'order', 'Dep Time'] },
    { schema: 'main', name: 'airports', columns: ['iata', 'city'] },
    { schema: 'millrace', name: 'tables', columns: ['table_name', 'rows'] },
    { schema: 'millrace', name: 'files', columns: ['path'] },
  ],
  commands: ['\\d', '\\dt', '\\timing', '\\q'],
  formats: ['csv', 'json'],
}

/** `|` is the cursor. */
function at(text: string) {
  const [before, after = ''] = text.split('|')
  return complete(before, after, vocabulary)
}

test.each([
  ['select * from fl|', ['flights'], 'fl'],
  ['SELECT * FROM |', ['flights', 'airports', 'millrace'], ''],
  ['select * from flights f join a|', ['airports'], 'a'],
  ['select * from flights, a|', ['airports'], 'a'],
  ['select count(*) from (select * from millrace.f|', ['files'], 'f'],
  ['with busy as (select 1) select * from b|', ['busy'], 'b'],
  ['select f.| from flights f', ['id', 'origin', '"order"', '"Dep Time"'], ''],
  ['select f.or| from flights as f', ['origin', '"order"'], 'or'],
  ['select F."D| from flights f', ['"Dep Time"'], '"D'],
  ['select airports.c| from airports', ['city'], 'c'],
  ['select t.r| from millrace.tables t where 1', ['rows'], 'r'],
  ['select ori| from flights', ['origin'], 'ori'],
  ['select * from flights where ia|', [], 'ia'],
  ['select id\nfrom flights\nwhere\n  orig|', ['origin'], 'orig'],
  ["select 'fl|", [], ''],
  ['select 1 -- fl|', [], ''],
  ['select /* fl|', [], ''],
  ['select $$ fl|', [], ''],
  ['\\d|', ['\\d', '\\dt'], '\\d'],
  ['\\d fl|', ['flights'], 'fl'],
  ['\\d millrace.f|', ['millrace.files'], 'millrace.f'],
  ['\\f c|', ['csv'], 'c'],
  ['describe air|', ['airports'], 'air'],
  ['select 1; select * from ai|', ['airports'], 'ai'],
] as const)('%j', (text, candidates, word) => {
  expect(at(text)).toEqual({ candidates, word })
})

test('keywords and functions come in the case that is typed, columns first', () => {
  expect(at('sel|').candidates).toContain('select')
  expect(at('SEL|').candidates).toContain('SELECT')
  expect(at('select approx_c|').candidates).toEqual(['approx_count_distinct'])
  expect(at('select i| from flights').candidates[0]).toBe('id')
})

test('it offers only what begins with what is typed, and never fails', () => {
  const piece = fc.constantFrom(
    'select ',
    'from ',
    'flights',
    ' f',
    '.',
    ',',
    '(',
    ')',
    "'",
    '"',
    '$$',
    '--',
    '/*',
    '\n',
    '\\',
    'o',
    ';',
    ' where ',
    ' as ',
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 15 }), fc.array(piece, { maxLength: 5 }), (before, after) => {
      const { candidates, word } = complete(before.join(''), after.join(''), vocabulary)
      expect(before.join('').endsWith(word)).toBe(true)
      const plain = word.replace(/^"/, '').toLowerCase()
      for (const each of candidates) expect(each.replace(/^"/, '').toLowerCase().startsWith(plain)).toBe(true)
    }),
  )
})
