/**
 * Result chunks as tab-separated text, in the form that PostgreSQL's and ClickHouse's loaders read: names first, one row a
 * line ended by a line feed, NULL as `\N`; backslash, tab, line feed and carriage return inside a value as `\\`, `\t`,
 * `\n`, `\r`. So a line is always a row, and a tab always the end of a value. Values as in CSV.
 */
import type { DuckDBType } from '@duckdb/node-api'
import type { ResultEncoder } from './result-text.ts'
import { columnText } from './value-text.ts'

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' }

export function createTsvEncoder(types: readonly DuckDBType[], names: readonly string[]): ResultEncoder {
  const columns = types.map((type) => columnText(type))
  return {
    begin: () => Buffer.from(`${names.map(tsvCell).join('\t')}\n`, 'utf8'),
    encode(chunk, rowCount) {
      const vectors = columns.map((_, index) => chunk.getColumnVector(index))
      let text = ''
      for (let row = 0; row < rowCount; row++) {
        for (let column = 0; column < vectors.length; column++) {
          const value = vectors[column].getItem(row)
          if (column > 0) text += '\t'
          text += value === null ? '\\N' : tsvCell(columns[column].text(value))
        }
        text += '\n'
      }
      return Buffer.from(text, 'utf8')
    },
    end: () => undefined,
  }
}

export function tsvCell(text: string): string {
  return /[\\\t\n\r]/.test(text) ? text.replace(/[\\\t\n\r]/g, (found) => ESCAPES[found]) : text
}
