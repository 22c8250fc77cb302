/**
 * The cells of one column as bytes of a text format, straight from what lies in the engine's vector: numbers, times and UUIDs digit
 * by digit (`write-bytes.ts`), texts byte by byte (`text-bytes.ts`). What has no such way (nested columns, intervals, a time before
 * the year 1684) goes through the text of its value (`value-text.ts`); that is also what every other one must equal, byte for byte.
 */
import { type DuckDBDecimalType, type DuckDBType, DuckDBTypeId, type DuckDBVector } from '@duckdb/node-api'
import { itemBytesOf, type TextItems, textItemsOf } from './raw-vectors.ts'
import { GROWTH, growthOf, type TextStyle, WRITE_TEXT } from './text-bytes.ts'
import { csvCell, tsvCell } from './text-cells.ts'
import { type ColumnText, columnText, isBareJson } from './value-text.ts'
import {
  DAY_SECONDS,
  EXACT_BELOW,
  FIRST_DAY,
  LAST_DAY,
  writeDay,
  writeDecimal,
  writeFraction,
  writeInt32,
  writeInt64,
  writeShortDouble,
  writeTime,
  writeUint64,
} from './write-bytes.ts'

export type CellWriter = {
  /** JSON has it in quotes, which the writer of rows sets around it. */
  readonly isQuoted: boolean
  /** It tells NULL itself. */
  readonly writesNull: boolean
  /** Takes the column of a chunk; gives how many bytes its cells have at most, all together. */
  load(vector: DuckDBVector, count: number, bits: Uint8Array | undefined): number
  /** Writes the cell of a row; gives where it ends. `view`: of the same bytes. */
  write(out: Buffer, at: number, row: number, view: DataView): number
}

/** @param nullText what NULL is */
export function cellWriter(type: DuckDBType, style: TextStyle, nullText: string, wideNumbers: boolean): CellWriter {
  const column = columnText(type, wideNumbers)
  const isQuoted = style === 'json' && column.kind === 'quoted'
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return booleans()
    case DuckDBTypeId.TINYINT:
      return integers((bytes) => new Int8Array(bytes.buffer, bytes.byteOffset), 1)
    case DuckDBTypeId.UTINYINT:
      return integers((bytes) => bytes, 1)
    case DuckDBTypeId.SMALLINT:
      return integers((bytes) => new Int16Array(bytes.buffer, bytes.byteOffset), 2)
    case DuckDBTypeId.USMALLINT:
      return integers((bytes) => new Uint16Array(bytes.buffer, bytes.byteOffset), 2)
    case DuckDBTypeId.INTEGER:
      return integers((bytes) => new Int32Array(bytes.buffer, bytes.byteOffset), 4)
    case DuckDBTypeId.UINTEGER:
      return integers((bytes) => new Uint32Array(bytes.buffer, bytes.byteOffset), 4)
    case DuckDBTypeId.BIGINT:
      return longs(isQuoted, true)
    case DuckDBTypeId.UBIGINT:
      return longs(isQuoted, false)
    case DuckDBTypeId.DECIMAL: {
      const { width, scale } = type as DuckDBDecimalType
      if (width > LONG_DIGITS || scale > SCALE_MAX) return values(style, column, nullText)
      return decimals(width, scale, isQuoted, column)
    }
    case DuckDBTypeId.DOUBLE:
      return doubles(style, column)
    case DuckDBTypeId.DATE:
      return dates(isQuoted, column)
    case DuckDBTypeId.TIMESTAMP:
      return times(isQuoted, column, 1e6, false)
    case DuckDBTypeId.TIMESTAMP_TZ:
      return times(isQuoted, column, 1e6, true)
    case DuckDBTypeId.TIMESTAMP_MS:
      return times(isQuoted, column, 1e3, false)
    case DuckDBTypeId.TIMESTAMP_S:
      return times(isQuoted, column, 1, false)
    case DuckDBTypeId.UUID:
      return uuids(isQuoted)
    case DuckDBTypeId.VARCHAR:
      return texts(style)
    default:
      return values(style, column, nullText)
  }
}

const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')

function booleans(): CellWriter {
  let items: Uint8Array = new Uint8Array(0)
  return {
    isQuoted: false,
    writesNull: false,
    load(vector, count) {
      items = itemBytesOf(vector, count, 1)
      return count * 5
    },
    write(out, at, row) {
      const text = items[row] === 0 ? FALSE : TRUE
      for (let index = 0; index < text.length; index++) out[at + index] = text[index]
      return at + text.length
    },
  }
}

type SmallIntegers = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array

function integers(view: (bytes: Uint8Array) => SmallIntegers, itemBytes: number): CellWriter {
  let items: SmallIntegers = new Int8Array(0)
  return {
    isQuoted: false,
    writesNull: false,
    load(vector, count) {
      items = view(itemBytesOf(vector, count, itemBytes))
      return count * 11
    },
    write: (out, at, row) => writeInt32(out, at, items[row]),
  }
}

/** Vectors of 64 bits as pairs: the lower half first. */
function halvesOf(vector: DuckDBVector, count: number): Int32Array {
  const bytes = itemBytesOf(vector, count, 8)
  return new Int32Array(bytes.buffer, bytes.byteOffset, count * 2)
}

function longs(isQuoted: boolean, isSigned: boolean): CellWriter {
  let halves: Int32Array = new Int32Array(0)
  return {
    isQuoted,
    writesNull: false,
    load(vector, count) {
      halves = halvesOf(vector, count)
      return count * 20
    },
    write: isSigned
      ? (out, at, row) => writeInt64(out, at, halves[row * 2 + 1], halves[row * 2])
      : (out, at, row) => writeUint64(out, at, halves[row * 2 + 1] >>> 0, halves[row * 2] >>> 0),
  }
}

/** Those of a decimal that is kept in 64 bits. */
const LONG_DIGITS = 18
const SCALE_MAX = 9

function decimals(width: number, scale: number, isQuoted: boolean, column: ColumnText): CellWriter {
  const itemBytes = width <= 4 ? 2 : width <= 9 ? 4 : 8
  const power = 10 ** scale
  let whole: Int16Array | Int32Array = new Int32Array(0)
  let source: DuckDBVector | undefined
  return {
    isQuoted,
    writesNull: false,
    load(vector, count) {
      const bytes = itemBytesOf(vector, count, itemBytes)
      source = vector
      whole =
        itemBytes === 2
          ? new Int16Array(bytes.buffer, bytes.byteOffset)
          : new Int32Array(bytes.buffer, bytes.byteOffset)
      return count * (LONG_DIGITS + 3)
    },
    write(out, at, row) {
      if (itemBytes < 8) return writeDecimal(out, at, whole[row], scale, power)
      const value = whole[row * 2 + 1] * 2 ** 32 + (whole[row * 2] >>> 0)
      if (Math.abs(value) < EXACT_BELOW) return writeDecimal(out, at, value, scale, power)
      return writeValue(out, at, source, row, column)
    },
  }
}

/** With the quotes that JSON needs around NaN. */
const DOUBLE_BYTES_MAX = 28

function doubles(style: TextStyle, column: ColumnText): CellWriter {
  let items: Float64Array = new Float64Array(0)
  const finished = finisher(style, column)
  return {
    isQuoted: false,
    writesNull: false,
    load(vector, count) {
      const bytes = itemBytesOf(vector, count, 8)
      items = new Float64Array(bytes.buffer, bytes.byteOffset, count)
      return count * DOUBLE_BYTES_MAX
    },
    write(out, at, row) {
      const value = items[row]
      return writeShortDouble(out, at, value) || writeAscii(out, at, finished(column.text(value)))
    },
  }
}

/** What DuckDB may write for a date or time of a far year. */
const TIME_BYTES_MAX = 48

function dates(isQuoted: boolean, column: ColumnText): CellWriter {
  let items: Int32Array = new Int32Array(0)
  let source: DuckDBVector | undefined
  return {
    isQuoted,
    writesNull: false,
    load(vector, count) {
      const bytes = itemBytesOf(vector, count, 4)
      items = new Int32Array(bytes.buffer, bytes.byteOffset, count)
      source = vector
      return count * TIME_BYTES_MAX
    },
    write(out, at, row) {
      const day = items[row]
      return day >= FIRST_DAY && day <= LAST_DAY ? writeDay(out, at, day) : writeValue(out, at, source, row, column)
    },
  }
}

/** @param perSecond ticks of the type in a second, a power of ten */
function times(isQuoted: boolean, column: ColumnText, perSecond: number, isZoned: boolean): CellWriter {
  let halves: Int32Array = new Int32Array(0)
  let source: DuckDBVector | undefined
  const digits = Math.round(Math.log10(perSecond))
  // Times of one result are mostly of few days.
  const dayText = Buffer.alloc(10)
  let dayWritten = Number.NaN
  return {
    isQuoted,
    writesNull: false,
    load(vector, count) {
      halves = halvesOf(vector, count)
      source = vector
      return count * TIME_BYTES_MAX
    },
    write(out, at, row) {
      const ticks = halves[row * 2 + 1] * 2 ** 32 + (halves[row * 2] >>> 0)
      let second = Math.floor(ticks / perSecond)
      // The quotient may have been rounded up.
      if (second * perSecond > ticks) second -= 1
      const day = Math.floor(second / DAY_SECONDS)
      if (!Number.isSafeInteger(ticks) || day < FIRST_DAY || day > LAST_DAY) {
        return writeValue(out, at, source, row, column)
      }
      if (day !== dayWritten) {
        writeDay(dayText, 0, day)
        dayWritten = day
      }
      for (let index = 0; index < 10; index++) out[at + index] = dayText[index]
      out[at + 10] = 0x54
      let position = writeTime(out, at + 11, second - day * DAY_SECONDS)
      position = writeFraction(out, position, ticks - second * perSecond, digits)
      if (isZoned) out[position++] = 0x5a
      return position
    },
  }
}

const HEX_DIGITS = Buffer.from('0123456789abcdef')
/** Bytes of a UUID before which a `-` stands. */
const DASHES: readonly boolean[] = Array.from({ length: 16 }, (_, index) => [4, 6, 8, 10].includes(index))

function uuids(isQuoted: boolean): CellWriter {
  let items: Uint8Array = new Uint8Array(0)
  return {
    isQuoted,
    writesNull: false,
    load(vector, count) {
      items = itemBytesOf(vector, count, 16)
      return count * 36
    },
    write(out, at, row) {
      let position = at
      for (let index = 0; index < 16; index++) {
        // The last byte first; its highest bit is turned over, so that they sort as numbers.
        const byte = items[row * 16 + 15 - index] ^ (index === 0 ? 0x80 : 0)
        if (DASHES[index]) out[position++] = 0x2d
        out[position++] = HEX_DIGITS[byte >> 4]
        out[position++] = HEX_DIGITS[byte & 15]
      }
      return position
    },
  }
}

/** Of more text, room is made for what it needs and not for the most that it may need. */
const ROUGHLY_BYTES_MAX = 1024 * 1024

function texts(style: TextStyle): CellWriter {
  const write = WRITE_TEXT[style]
  let items: TextItems | undefined
  return {
    isQuoted: false,
    writesNull: false,
    load(vector, count, bits) {
      items = textItemsOf(vector, count, bits)
      const quotes = count * 2
      if (items.length <= ROUGHLY_BYTES_MAX) return items.length * GROWTH[style] + quotes
      let length = items.length + quotes
      for (let row = 0; row < count; row++) {
        const start = items.starts[row]
        length += growthOf(style, items.from[row], start, start + items.lengths[row])
      }
      return length
    },
    write(_, at, row, view) {
      const { from, starts, lengths } = items as TextItems
      const start = starts[row]
      return write(view, at, from[row], start, start + lengths[row])
    },
  }
}

/** Of every type, value by value. */
function values(style: TextStyle, column: ColumnText, nullText: string): CellWriter {
  let cells: readonly string[] = []
  const finished = finisher(style, column)
  return {
    isQuoted: false,
    writesNull: true,
    load(vector, count) {
      let length = 0
      cells = Array.from({ length: count }, (_, row) => {
        const value = vector.getItem(row)
        const cell = value === null ? nullText : finished(column.text(value))
        length += cell.length
        return cell
      })
      return length * UTF8_BYTES_MAX
    },
    write: (out, at, row) => at + out.write(cells[row], at),
  }
}

/** Of a UTF-16 unit. */
const UTF8_BYTES_MAX = 3

/** The cell of a text: quoted and escaped as its format has it. */
function finisher(style: TextStyle, { kind }: ColumnText): (text: string) => string {
  if (style === 'csv') return csvCell
  if (style === 'tsv') return tsvCell
  if (kind === 'nested') return (text) => text
  if (kind === 'quoted') return (text) => JSON.stringify(text)
  return (text) => (isBareJson(text) ? text : JSON.stringify(text))
}

/** A number or a time in its own words: nothing in them needs quotes or escapes. */
function writeValue(
  out: Uint8Array,
  at: number,
  vector: DuckDBVector | undefined,
  row: number,
  column: ColumnText,
): number {
  return writeAscii(out, at, column.text(vector?.getItem(row) ?? null))
}

function writeAscii(out: Uint8Array, at: number, text: string): number {
  for (let index = 0; index < text.length; index++) out[at + index] = text.charCodeAt(index)
  return at + text.length
}
