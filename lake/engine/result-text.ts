/**
 * Result chunks as bytes of the text formats. Every encoder gets whole DuckDB chunks (2,048 rows) column by column and
 * gives the bytes of those rows; what stands around them (the envelope of `json`) is the door's.
 *
 *   json    one array a row, rows joined by `,` and a line feed: `[1,"a"],\n[2,null]`; the first row of a later chunk
 *           is preceded by `,\n`, so that chunks can be concatenated between `[` and `]`
 *   jsonl   one object a line, ended by a line feed
 *   csv     RFC 4180: header first, CRLF; NULL is nothing, an empty text is `""`
 */
import type { DuckDBDataChunk, DuckDBType } from '@duckdb/node-api'
import { type ColumnText, columnText, isBareJson } from './value-text.ts'

export type ResultEncoder = {
  /** Bytes before the first row; undefined when there are none. */
  begin(): Uint8Array | undefined
  encode(chunk: DuckDBDataChunk, rowCount: number): Uint8Array
  /** Bytes after the last row. */
  end(): Uint8Array | undefined
}

export function createJsonEncoder(types: readonly DuckDBType[], wideNumbers = false): ResultEncoder {
  const columns = types.map((type) => columnText(type, wideNumbers))
  let isFirst = true
  return {
    begin: () => undefined,
    encode(chunk, rowCount) {
      const cells = columns.map((column, index) => jsonCells(chunk, index, column, rowCount))
      let text = ''
      for (let row = 0; row < rowCount; row++) {
        text += isFirst ? '[' : ',\n['
        isFirst = false
        for (let column = 0; column < cells.length; column++) {
          text += column === 0 ? cells[column][row] : `,${cells[column][row]}`
        }
        text += ']'
      }
      return Buffer.from(text, 'utf8')
    },
    end: () => undefined,
  }
}

export function createJsonLinesEncoder(
  types: readonly DuckDBType[],
  names: readonly string[],
  wideNumbers = false,
): ResultEncoder {
  const columns = types.map((type) => columnText(type, wideNumbers))
  const keys = names.map((name, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`)
  return {
    begin: () => undefined,
    encode(chunk, rowCount) {
      const cells = columns.map((column, index) => jsonCells(chunk, index, column, rowCount))
      let text = ''
      for (let row = 0; row < rowCount; row++) {
        for (let column = 0; column < cells.length; column++) text += keys[column] + cells[column][row]
        text += '}\n'
      }
      return Buffer.from(text, 'utf8')
    },
    end: () => undefined,
  }
}

function jsonCells(chunk: DuckDBDataChunk, index: number, column: ColumnText, rowCount: number): string[] {
  const vector = chunk.getColumnVector(index)
  const cells = new Array<string>(rowCount)
  for (let row = 0; row < rowCount; row++) {
    const value = vector.getItem(row)
    if (value === null) {
      cells[row] = 'null'
      continue
    }
    const text = column.text(value)
    cells[row] = column.kind === 'nested' || (column.kind === 'bare' && isBareJson(text)) ? text : JSON.stringify(text)
  }
  return cells
}

export function createCsvEncoder(types: readonly DuckDBType[], names: readonly string[]): ResultEncoder {
  const columns = types.map((type) => columnText(type))
  return {
    begin: () => Buffer.from(`${names.map(csvCell).join(',')}\r\n`, 'utf8'),
    encode(chunk, rowCount) {
      const vectors = columns.map((_, index) => chunk.getColumnVector(index))
      let text = ''
      for (let row = 0; row < rowCount; row++) {
        for (let column = 0; column < vectors.length; column++) {
          const value = vectors[column].getItem(row)
          if (column > 0) text += ','
          if (value !== null) text += csvCell(columns[column].text(value))
        }
        // A lone column that is NULL would be an empty line, which readers skip: RFC 4180 has no other way to say it.
        text += '\r\n'
      }
      return Buffer.from(text, 'utf8')
    },
    end: () => undefined,
  }
}

export function csvCell(text: string): string {
  if (text === '') return '""'
  return /[",\r\n]/.test(text) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text
}
