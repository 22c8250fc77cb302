/** Tables for the terminal: alignment, NULL, hostile text, and the caret under an error. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatBlocks, formatTable, markPosition, textWidth } from './table-text.ts'

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

describe('a table in a terminal of a width', () => {
  const columns = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `c${i}`, type: 'VARCHAR' }))
  const value = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 200 }),
    fc.constantFrom(null, '東京', '🚕🚕', 'e\u0301', '\u001b[2J', 'a\nb'),
  )

  it('cuts the widest columns, whatever is in them', () => {
    fc.assert(
      fc.property(
        fc
          .integer({ min: 1, max: 6 })
          .chain((count) =>
            fc.tuple(
              fc.constant(count),
              fc.array(fc.array(value, { minLength: count, maxLength: count }), { maxLength: 5 }),
            ),
          ),
        fc.integer({ min: 60, max: 200 }),
        ([count, rows], width) => {
          const lines = formatTable(columns(count), rows, { width }).trimEnd().split('\n')
          expect(lines.length).toBe(rows.length + 3)
          for (const line of lines) expect(textWidth(line)).toBeLessThanOrEqual(width)
        },
      ),
    )
  })

  it('becomes blocks when its columns would be too narrow', () => {
    const many = formatTable(columns(30), [Array.from({ length: 30 }, () => 'x'.repeat(50))], { width: 80 })
    expect(many.split('\n').slice(0, 2)).toEqual(['-[ 1 ]', `c0  | ${'x'.repeat(50)}`])
    expect(formatTable(columns(2), [['x'.repeat(50), 'y']], { width: 20 }).split('\n')[2]).toBe('xxxxxxxxxxxxxx… | y')
  })

  it('shows a row as a block', () => {
    const shown = [
      { name: 'origin', type: 'VARCHAR' },
      { name: 'n', type: 'BIGINT' },
    ]
    expect(
      formatBlocks(shown, [
        ['ATL', '7'],
        [null, '8'],
      ]),
    ).toBe('-[ 1 ]---\norigin | ATL\nn      | 7\n-[ 2 ]---\norigin | NULL\nn      | 8\n(2 rows)\n')
  })
})
