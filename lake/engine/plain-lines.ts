/**
 * Result chunks as text in the plainest way: every value as a string, one behind the other. Nothing but tests uses it: what
 * `result-lines.ts` writes must be the same, byte for byte.
 */
import type { DuckDBDataChunk, DuckDBType } from '@duckdb/node-api'
import type { LineFormat } from './result-lines.ts'
import { csvCell, tsvCell } from './text-cells.ts'
import { type ColumnText, columnText, isBareJson } from './value-text.ts'

export type PlainLines = { readonly head: string; lines(chunk: DuckDBDataChunk, rowCount: number): string }

export function plainLines(
  format: LineFormat,
  types: readonly DuckDBType[],
  names: readonly string[],
  wideNumbers = false,
): PlainLines {
  const columns = types.map((type) => columnText(type, wideNumbers))
  let isFirst = true
  const rowOf = (cells: readonly (string | null)[]): string => {
    switch (format) {
      case 'json': {
        const start = isFirst ? '[' : ',\n['
        isFirst = false
        return `${start}${cells.map((cell) => cell ?? 'null').join(',')}]`
      }
      case 'jsonl':
        return `{${cells.map((cell, index) => `${JSON.stringify(names[index])}:${cell ?? 'null'}`).join(',')}}\n`
      case 'csv':
        return `${cells.map((cell) => cell ?? '').join(',')}\r\n`
      case 'tsv':
        return `${cells.map((cell) => cell ?? '\\N').join('\t')}\n`
    }
  }
  const head =
    format === 'csv'
      ? `${names.map(csvCell).join(',')}\r\n`
      : format === 'tsv'
        ? `${names.map(tsvCell).join('\t')}\n`
        : ''
  return {
    head,
    lines(chunk, rowCount) {
      let text = ''
      for (let row = 0; row < rowCount; row++) {
        text += rowOf(
          columns.map((column, index) => {
            const value = chunk.getColumnVector(index).getItem(row)
            return value === null ? null : cellOf(format, column, column.text(value))
          }),
        )
      }
      return text
    },
  }
}

function cellOf(format: LineFormat, { kind }: ColumnText, text: string): string {
  if (format === 'csv') return csvCell(text)
  if (format === 'tsv') return tsvCell(text)
  return kind === 'nested' || (kind === 'bare' && isBareJson(text)) ? text : JSON.stringify(text)
}
