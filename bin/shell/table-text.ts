/**
 * Rows for a terminal: an aligned table, or with `\x` a block for each row. Numbers to the right, NULL told apart from an empty
 * text, wide characters counted as two columns, line breaks shown, so that every row is one line; nothing in the data can
 * steer the terminal.
 *
 * A table that is wider than the terminal has its widest columns cut; when they would be too narrow to be read, it becomes
 * blocks by itself.
 */
import { stripVTControlCharacters } from 'node:util'

export type ShownColumn = { readonly name: string; readonly type: string }

export type TableOptions = {
  /** Columns of the terminal; undefined: a file or a pipe, as wide as it comes. */
  readonly width?: number | undefined
  /** Put below; default: how many rows there are. Empty: nothing. */
  readonly footer?: string
}

const NUMBER_TYPE = /^(?:u?(?:tiny|small|big|huge)?int(?:eger)?|long|float|real|double|decimal.*|numeric.*)$/i
const CELL_WIDTH_MAX = 120
/** Narrower than that, columns are not cut. */
const CUT_WIDTH_MIN = 8
const BETWEEN = ' | '
let segmenter: Intl.Segmenter | undefined

export function formatTable(
  columns: readonly ShownColumn[],
  rows: readonly (readonly unknown[])[],
  options: TableOptions = {},
): string {
  const cells = rows.map((row) => columns.map((_, index) => cellText(row[index], CELL_WIDTH_MAX)))
  const names = columns.map(({ name }) => cellText(name, CELL_WIDTH_MAX))
  const wanted = names.map((name, index) =>
    cells.reduce((widest, row) => Math.max(widest, textWidth(row[index])), textWidth(name)),
  )
  const widths = fittingWidths(wanted, options.width)
  if (widths === undefined) return formatBlocks(columns, rows, options)
  const right = columns.map(({ type }) => NUMBER_TYPE.test(type))
  const line = (row: readonly string[]) =>
    row
      .map((cell, index) => pad(cutText(cell, widths[index]), widths[index], right[index]))
      .join(BETWEEN)
      .trimEnd()
  const lines = [line(names), widths.map((each) => '-'.repeat(each)).join('-+-'), ...cells.map(line)]
  return `${[...lines, ...footerOf(rows, options)].join('\n')}\n`
}

/** The widest give way first; undefined: they would have to be too narrow. */
export function fittingWidths(wanted: readonly number[], width: number | undefined): readonly number[] | undefined {
  if (width === undefined) return wanted
  const room = width - BETWEEN.length * (wanted.length - 1)
  const total = (limit: number) => wanted.reduce((sum, each) => sum + Math.min(each, limit), 0)
  if (total(Number.POSITIVE_INFINITY) <= room) return wanted
  let limit = Math.max(...wanted)
  while (limit > CUT_WIDTH_MIN && total(limit) > room) limit--
  return total(limit) <= room ? wanted.map((each) => Math.min(each, limit)) : undefined
}

/** `\x`: name and value a line. */
export function formatBlocks(
  columns: readonly ShownColumn[],
  rows: readonly (readonly unknown[])[],
  options: TableOptions = {},
): string {
  const names = columns.map(({ name }) => cellText(name, CELL_WIDTH_MAX))
  const widest = names.reduce((most, name) => Math.max(most, textWidth(name)), 0)
  const valueWidth =
    options.width === undefined ? Number.POSITIVE_INFINITY : Math.max(CUT_WIDTH_MIN, options.width - widest - 3)
  const lines = rows.flatMap((row, index) => {
    const title = `-[ ${index + 1} ]`
    return [
      title + '-'.repeat(Math.max(0, Math.min(widest + 3, 40) - title.length)),
      ...names.map((name, at) => `${pad(name, widest, false)}${BETWEEN}${cellText(row[at], valueWidth)}`.trimEnd()),
    ]
  })
  return `${[...lines, ...footerOf(rows, options)].join('\n')}\n`
}

function footerOf(rows: readonly unknown[], { footer }: TableOptions): string[] {
  if (footer === '') return []
  return [footer ?? `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`]
}

export type ErrorPlace = { readonly line: number; readonly column: number }

/** The line of the statement that an error is about, with a caret under the place. Both count from 1, columns in characters. */
export function markPosition(sql: string, { line, column }: ErrorPlace): string {
  const text = (sql.split('\n')[line - 1] ?? '').replaceAll('\t', ' ').replaceAll('\r', '')
  const before = [...text].slice(0, column - 1).join('')
  return `  ${text}\n  ${' '.repeat(textWidth(before))}^`
}

export function cellText(value: unknown, widthMax: number): string {
  if (value === null || value === undefined) return 'NULL'
  return cutText(plainText(typeof value === 'object' ? JSON.stringify(value) : String(value)), widthMax)
}

/** Control sequences, and what turns the direction of writing, must not reach the terminal. */
export function plainText(text: string): string {
  return stripVTControlCharacters(text)
    .replaceAll('\n', '⏎')
    .replaceAll('\t', ' ')
    .replaceAll(/[\p{Cc}\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u2069\ufeff]/gu, '·')
}

/** At most so many columns wide, with an ellipsis where something is missing. */
export function cutText(text: string, widthMax: number): string {
  if (text.length <= widthMax / 2 || textWidth(text) <= widthMax) return text
  let [kept, columns] = ['', 0]
  for (const { segment } of segmentsOf(text)) {
    columns += segmentWidth(segment)
    if (columns > widthMax - 1) break
    kept += segment
  }
  return `${kept}…`
}

function pad(text: string, wanted: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, wanted - textWidth(text)))
  return right ? space + text : text + space
}

/** Columns of a terminal. */
export function textWidth(text: string): number {
  // What is plain ASCII needs no segments.
  if (/^[\x20-\x7e]*$/.test(text)) return text.length
  let columns = 0
  for (const { segment } of segmentsOf(text)) columns += segmentWidth(segment)
  return columns
}

/** Made with the first text that needs it: its tables of Unicode take 20 ms to load. */
function segmentsOf(text: string): Intl.Segments {
  segmenter ??= new Intl.Segmenter()
  return segmenter.segment(text)
}

function segmentWidth(segment: string): number {
  if (WIDE.test(segment)) return 2
  return ALONE_ZERO.test(segment) ? 0 : 1
}

/** East Asian wide and full-width characters, and emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|\ufe0f/u
/** Marks that nothing stands before. */
const ALONE_ZERO = /^[\p{Mn}\p{Me}\u200d]+$/u
