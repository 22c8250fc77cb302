import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { asOneLine, ENTRIES_MAX, historyFile, isKept, openHistory } from './history.ts'
import { splitStatements } from './split-statements.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-history-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('what was typed is there in the next shell, for its owner only', () => {
  const file = join(folder, 'state', 'millrace', 'sql_history')
  const history = openHistory(file)
  for (const entry of ['select 1;', 'select 1;', ' select 2;', "select 'x' AS password = 'y'", 'select 3;'])
    history.add(entry)
  expect(history.entries).toEqual(['select 3;', 'select 1;'])
  expect(openHistory(file).entries).toEqual(['select 3;', 'select 1;'])
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('the file is bounded', () => {
  const file = join(folder, 'sql_history')
  writeFileSync(file, Array.from({ length: 5_000 }, (_, i) => `select ${i};\n`).join(''))
  expect(openHistory(file).entries.length).toBe(ENTRIES_MAX)
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  expect([lines.length, lines.at(-1)]).toEqual([ENTRIES_MAX, 'select 4999;'])
})

test('a folder that cannot be written to is no error', () => {
  const file = join(folder, 'file')
  writeFileSync(file, '')
  const history = openHistory(join(file, 'millrace', 'sql_history'))
  history.add('select 1;')
  expect(history.entries).toEqual(['select 1;'])
  expect(historyFile({ XDG_STATE_HOME: '/s' })).toBe('/s/millrace/sql_history')
})

test.each([
  ['select\n  1;', 'select   1;'],
  ['select 1 -- one\n+ 2;', 'select 1 /* one */ + 2;'],
  ["select 'a\nb';", undefined],
  ['select 1 -- */\n;', undefined],
  ['select 1 /* a\nb */;', 'select 1 /* a b */;'],
] as const)('%j as one line', (statement, line) => {
  expect(asOneLine(statement)).toBe(line)
})

test('a line never has another meaning: texts and names stay, and it ends where it ended', () => {
  const piece = fc.constantFrom("'a'", '"b c"', '$$ d $$', '-- e\n', '/* f\n */', '\n', ' ', '1', 'x', ',', "'g\nh'")
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 10 }), (pieces) => {
      const statement = `select ${pieces.join(' ')} end`
      const line = asOneLine(statement)
      if (line === undefined) return
      expect(line).not.toMatch(/\n/)
      const split = splitStatements(`${line}\n;`)
      expect(split.pieces.map(({ text }) => text)).toEqual([line.trim()])
      for (const quoted of ["'a'", '"b c"', '$$ d $$'])
        expect(line.split(quoted).length).toBe(statement.split(quoted).length)
    }),
  )
})

test('secrets are not kept', () => {
  for (const entry of ['\\set password hunter2', "select * from t where token = 'abc'", "select 'Bearer abc'"])
    expect(isKept(entry, undefined)).toBe(false)
  for (const entry of ['select token from t;', 'select passenger from t;']) expect(isKept(entry, undefined)).toBe(true)
})
