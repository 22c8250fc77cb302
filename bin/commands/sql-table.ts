/**
 * Rows as an aligned table for a terminal: numbers to the right, NULL told apart from an empty text, wide characters
 * counted as two columns, line breaks shown, so that every row is one line.
 */
import { stripVTControlCharacters } from 'node:util'

export type ShownColumn = { readonly name: string; readonly type: string }

const NUMBER_TYPE = /^(?:u?(?:tiny|small|big|huge)?int(?:eger)?|long|float|real|double|decimal.*|numeric.*)$/i
const CELL_WIDTH_MAX = 120
const segments = new Intl.Segmenter()

export function formatTable(columns: readonly ShownColumn[], rows: readonly (readonly unknown[])[]): string {
  const cells = rows.map((row) => columns.map((_, index) => cellText(row[index])))
  const widths = columns.map(({ name }, index) =>
    cells.reduce((widest, row) => Math.max(widest, width(row[index])), width(cellText(name))),
  )
  const right = columns.map(({ type }) => NUMBER_TYPE.test(type))
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) => pad(cell, widths[index], right[index]))
      .join(' | ')
      .trimEnd()
  const lines = [
    line(columns.map(({ name }) => cellText(name))),
    widths.map((each) => '-'.repeat(each)).join('-+-'),
    ...cells.map(line),
    `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`,
  ]
  return `${lines.join('\n')}\n`
}

export type ErrorPlace = { readonly line: number; readonly column: number }

/** The line of the statement that an error is about, with a caret under the place. Both count from 1, columns in characters. */
export function markPosition(sql: string, { line, column }: ErrorPlace): string {
  const text = (sql.split('\n')[line - 1] ?? '').replaceAll('\t', ' ').replaceAll('\r', '')
  const before = [...text].slice(0, column - 1).join('')
  return `  ${text}\n  ${' '.repeat(width(before))}^`
}

function cellText(value: unknown): string {
  if (value === null || value === undefined) return 'NULL'
  const text = typeof value === 'object' ? JSON.stringify(value) : String(value)
  // Control sequences in data must not reach the terminal.
  const clean = stripVTControlCharacters(text)
    .replaceAll('\n', '⏎')
    .replaceAll('\t', ' ')
    .replaceAll(/\p{Cc}/gu, '·')
  return clean.length > CELL_WIDTH_MAX ? `${clean.slice(0, CELL_WIDTH_MAX - 1)}…` : clean
}

function pad(text: string, wanted: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, wanted - width(text)))
  return right ? space + text : text + space
}

function width(text: string): number {
  let columns = 0
  for (const { segment } of segments.segment(text)) columns += WIDE.test(segment) ? 2 : 1
  return columns
}

/** East Asian wide and full-width characters, and emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u
