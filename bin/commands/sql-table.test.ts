/** Tables for the terminal: alignment, NULL, hostile text, and the caret under an error. */
import { describe, expect, it } from 'vitest'
import { formatTable, markPosition } from './sql-table.ts'

describe('a table on the terminal', () => {
  it('puts numbers to the right and tells NULL from an empty text', () => {
    const columns = [
      { name: 'origin', type: 'VARCHAR' },
      { name: 'n', type: 'BIGINT' },
    ]
    const rows = [
      ['ATL', 7],
      ['', 12345],
      [null, null],
    ]
    expect(formatTable(columns, rows)).toBe(
      ['origin |     n', '-------+------', 'ATL    |     7', '       | 12345', 'NULL   |  NULL', '(3 rows)', ''].join(
        '\n',
      ),
    )
  })

  it('keeps wide characters aligned and control sequences out', () => {
    const columns = [
      { name: 'a', type: 'VARCHAR' },
      { name: 'b', type: 'VARCHAR' },
    ]
    const rows = [
      ['東京', 'x'],
      ['\u001b[31mred', 'y\nz'],
    ]
    expect(formatTable(columns, rows)).toBe(
      ['a    | b', '-----+----', '東京 | x', 'red  | y⏎z', '(2 rows)', ''].join('\n'),
    )
  })

  it('shows the line of an error with a caret', () => {
    expect(markPosition('select 1,\n\tfoo from t', { line: 2, column: 2 })).toBe('   foo from t\n   ^')
    expect(markPosition('selec', { line: 1, column: 1 })).toBe('  selec\n  ^')
    expect(markPosition("select '東京🚕' x, foo", { line: 1, column: 17 })).toBe(
      `  select '東京🚕' x, foo\n  ${' '.repeat(19)}^`,
    )
    expect(markPosition('a', { line: 1, column: 99 })).toBe('  a\n   ^')
    expect(markPosition('a', { line: 9, column: 1 })).toBe('  \n  ^')
  })
})
