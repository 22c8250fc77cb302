// Statements and commands out of text: whatever is inside of quotes and comments cuts nothing.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitStatements } from './split-statements.ts'

const statements = (text: string) => splitStatements(text).pieces.map((piece) => piece.text)

test.each([
  ['select 1; select 2', ['select 1'], 'select 2', ''],
  ["select ';', '''; ';\n", ["select ';', '''; '"], '', ''],
  ['select ";""" ; x', ['select ";"""'], 'x', ''],
  ["select $$a;'b$$; select $t$ ; $$ $t$;", ["select $$a;'b$$", 'select $t$ ; $$ $t$'], '', ''],
  ['select $1; select a$b$ ;', ['select $1', 'select a$b$'], '', ''],
  ['/* a /* ; */ ; */ select 1;', ['select 1'], '', ''],
  ['select 1 -- ; no\n+ 1;', ['select 1 -- ; no\n+ 1'], '', ''],
  ["select E'\\';' ;", ["select E'\\';'"], '', ''],
  ["select 'a\\' ;", ["select 'a\\'"], '', ''],
  ["select name'x' ;", ["select name'x'"], '', ''],
  [';;  ;\n-- nothing\n;', [], '', ''],
  ["select 'a;", [], "select 'a;", "'"],
  ['select "a;', [], 'select "a;', '"'],
  ['select $x$ ;', [], 'select $x$ ;', '$'],
  ['select /* ;', [], 'select /* ;', '*'],
  ['/* ;', [], '/* ;', '*'],
  ['-- only a comment', [], '', ''],
] as const)('%j', (text, expected, rest, inside) => {
  const split = splitStatements(text)
  expect([split.pieces.map((piece) => piece.text), split.rest, split.inside]).toEqual([expected, rest, inside])
})

test('commands end with their line, and know the statement before them', () => {
  expect(splitStatements("\\d flights\nselect 1;\nselect 2 \\watch 2 \nselect '\\d' -- \\x\n").pieces).toEqual([
    { kind: 'command', text: '\\d flights', statement: '', start: 0 },
    { kind: 'statement', text: 'select 1', start: 11 },
    { kind: 'command', text: '\\watch 2', statement: 'select 2', start: 21 },
  ])
})

const token = fc.constantFrom(
  "'a;b'",
  '"c;""d"',
  '$$;$$',
  '$q$ $$; $q$',
  '/* ; /* */ */',
  '-- ;\n',
  ' ',
  '\n',
  'x',
  '1',
  ',',
  '(',
  ')',
  "E'\\';'",
  'ö',
  "''",
)
const statement = fc.array(token, { minLength: 1, maxLength: 12 }).map((tokens) => `select ${tokens.join(' ')} end`)

test('what is joined by semicolons comes apart again, in whatever pieces it is typed', () => {
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 6 }), fc.integer({ min: 1, max: 20 }), (given, size) => {
      const text = given.map((each) => `${each};`).join('\n')
      expect(statements(text)).toEqual(given)
      const found: string[] = []
      let pending = ''
      for (let i = 0; i < text.length; i += size) {
        pending += text.slice(i, i + size)
        // As a terminal does: only whole lines are looked at.
        if (!pending.endsWith('\n') && i + size < text.length) continue
        const split = splitStatements(pending)
        found.push(...split.pieces.map((piece) => piece.text))
        pending = split.rest
      }
      expect(found).toEqual(given)
    }),
  )
})

test('every piece stands where it says, for any text', () => {
  fc.assert(
    fc.property(
      fc.string({
        unit: fc.constantFrom("'", '"', '$', '$a$', ';', '\\', '\n', ' ', '-', '--', '/*', '*/', 'a', 'E', '1'),
      }),
      (text) => {
        const { pieces, rest, restStart } = splitStatements(text)
        for (const piece of pieces) {
          const begins = piece.kind === 'command' && piece.statement !== '' ? piece.statement : piece.text
          expect(text.startsWith(begins, piece.start)).toBe(true)
        }
        expect(text.startsWith(rest, restStart)).toBe(true)
      },
    ),
  )
})
