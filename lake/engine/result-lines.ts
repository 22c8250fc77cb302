/**
 * Result chunks as bytes of the text formats: cells are written behind each other into one array of bytes that is used again for
 * the next chunk (`cell-writers.ts`), without strings and objects for them. What stands around the rows (the envelope of `json`) is
 * the door's.
 *
 *   json    one array a row, rows joined by `,` and a line feed: `[1,"a"],\n[2,null]`; the first row of a later chunk
 *           is preceded by `,\n`, so that chunks can be concatenated between `[` and `]`
 *   jsonl   one object a line, ended by a line feed
 *   csv     RFC 4180: header first, CRLF; NULL is nothing, an empty text is `""`
 *   tsv     in the form that PostgreSQL's and ClickHouse's loaders read: names first, line feed, NULL as `\N`; a line is always a
 *           row, and a tab always the end of a value
 *
 * A lone column that is NULL is an empty line in CSV, which readers skip: RFC 4180 has no other way to say it.
 */
import type { DuckDBDataChunk, DuckDBType } from '@duckdb/node-api'
import { type CellWriter, cellWriter } from './cell-writers.ts'
import { isValid, validityOf } from './raw-vectors.ts'
import type { ResultEncoder } from './result-encoder.ts'
import type { TextStyle } from './text-bytes.ts'
import { csvCell, tsvCell } from './text-cells.ts'

export type LineFormat = 'json' | 'jsonl' | 'csv' | 'tsv'

/** What stands around the cells of a row. */
type Punctuation = {
  readonly style: TextStyle
  readonly head: string | undefined
  readonly before: (column: number) => string
  readonly after: string
  readonly null: string
  /** Bytes of the very first row that do not belong there. */
  readonly cut: number
}

function punctuation(format: LineFormat, names: readonly string[]): Punctuation {
  switch (format) {
    case 'json':
      return {
        style: 'json',
        head: undefined,
        before: (i) => (i === 0 ? ',\n[' : ','),
        after: ']',
        null: 'null',
        cut: 2,
      }
    case 'jsonl': {
      const keys = names.map((name, index) => `${index === 0 ? '{' : ','}${JSON.stringify(name)}:`)
      return { style: 'json', head: undefined, before: (i) => keys[i], after: '}\n', null: 'null', cut: 0 }
    }
    case 'csv': {
      const head = `${names.map(csvCell).join(',')}\r\n`
      return { style: 'csv', head, before: (i) => (i === 0 ? '' : ','), after: '\r\n', null: '', cut: 0 }
    }
    case 'tsv': {
      const head = `${names.map(tsvCell).join('\t')}\n`
      return { style: 'tsv', head, before: (i) => (i === 0 ? '' : '\t'), after: '\n', null: '\\N', cut: 0 }
    }
  }
}

/** A larger array is let go of after its chunk. */
const KEPT_BYTES_MAX = 8 * 1024 * 1024

export function createLinesEncoder(
  format: LineFormat,
  types: readonly DuckDBType[],
  names: readonly string[],
  wideNumbers = false,
): ResultEncoder {
  const { style, head, before, after, null: nullText, cut } = punctuation(format, names)
  const cells = types.map((type) => cellWriter(type, style, nullText, wideNumbers))
  const keys = types.map((_, index) => piece(before(index)))
  const quotedKeys = types.map((_, index) => piece(`${before(index)}"`))
  const [end, nothing] = [piece(after), piece(nullText)]
  const rowBytes = keys.reduce((sum, key) => sum + key.length + nothing.length + 2, end.length)
  const bits: (Uint8Array | undefined)[] = []
  let kept = Buffer.alloc(0)
  let isFirst = true

  return {
    begin: () => (head === undefined ? undefined : Buffer.from(head, 'utf8')),
    encode(chunk, rowCount) {
      const room = rowCount * rowBytes + load(chunk, cells, bits, rowCount) + WORD_BYTES
      const out = room <= kept.length ? kept : Buffer.allocUnsafeSlow(room)
      if (room <= KEPT_BYTES_MAX) kept = out
      const view = new DataView(out.buffer, out.byteOffset, out.byteLength)
      let at = 0
      for (let row = 0; row < rowCount; row++) {
        for (let column = 0; column < cells.length; column++) {
          if (!isValid(bits[column], row)) {
            at = put(view, put(view, at, keys[column]), nothing)
            continue
          }
          const cell = cells[column]
          if (cell.isQuoted) {
            at = cell.write(out, put(view, at, quotedKeys[column]), row, view)
            out[at++] = 0x22
          } else at = cell.write(out, put(view, at, keys[column]), row, view)
        }
        at = put(view, at, end)
      }
      const from = isFirst ? cut : 0
      isFirst = false
      return out.subarray(from, at)
    },
    end: () => undefined,
  }
}

function load(
  chunk: DuckDBDataChunk,
  cells: readonly CellWriter[],
  bits: (Uint8Array | undefined)[],
  rowCount: number,
): number {
  let room = 0
  for (let column = 0; column < cells.length; column++) {
    const vector = chunk.getColumnVector(column)
    bits[column] = cells[column].writesNull ? undefined : validityOf(vector, rowCount)
    room += cells[column].load(vector, rowCount, bits[column])
  }
  return room
}

/** A short text that is written often: in words, of which the last one may go beyond its end (what comes next stands over it). */
type Piece = { readonly words: Uint32Array; readonly length: number }

const WORD_BYTES = 4

function piece(text: string): Piece {
  const bytes = Buffer.from(text, 'utf8')
  const words = new Uint32Array(Math.ceil(bytes.length / WORD_BYTES))
  const view = new DataView(words.buffer)
  for (const [index, byte] of bytes.entries()) view.setUint8(index, byte)
  for (const index of words.keys()) words[index] = view.getUint32(index * WORD_BYTES, true)
  return { words, length: bytes.length }
}

function put(view: DataView, at: number, { words, length }: Piece): number {
  for (let index = 0; index < words.length; index++) view.setUint32(at + index * WORD_BYTES, words[index], true)
  return at + length
}
