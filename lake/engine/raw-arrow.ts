/**
 * A column of a chunk as Arrow buffers without making a value of every item: DuckDB's numbers, dates and times lie in memory
 * as Arrow has them, texts are copied in stretches (`raw-vectors.ts`). Types that differ are left to `result-arrow.ts`.
 */
import { type DuckDBDecimalType, type DuckDBType, DuckDBTypeId, type DuckDBVector } from '@duckdb/node-api'
import { type Data, type DataType, type Int32, makeData, type Utf8 } from 'apache-arrow'
import { nullCountOf, numbersOf, textsOf, validityOf } from './raw-vectors.ts'

export type RawColumn = (vector: DuckDBVector, count: number) => Data

/** undefined: made of its values, one by one. `type` is what it is in Arrow. */
export function rawColumn(from: DuckDBType, type: DataType): RawColumn | undefined {
  switch (from.typeId) {
    case DuckDBTypeId.TINYINT:
    case DuckDBTypeId.UTINYINT:
      return numbers(type, (bytes) => bytes, 1)
    case DuckDBTypeId.SMALLINT:
    case DuckDBTypeId.USMALLINT:
      return numbers(type, (bytes) => new Uint16Array(bytes.buffer), 2)
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.DATE:
      return numbers(type, (bytes) => new Int32Array(bytes.buffer), 4)
    case DuckDBTypeId.UINTEGER:
      return numbers(type, (bytes) => new Uint32Array(bytes.buffer), 4)
    case DuckDBTypeId.FLOAT:
      return numbers(type, (bytes) => new Float32Array(bytes.buffer), 4)
    case DuckDBTypeId.DOUBLE:
      return numbers(type, (bytes) => new Float64Array(bytes.buffer), 8)
    case DuckDBTypeId.UBIGINT:
      return numbers(type, (bytes) => new BigUint64Array(bytes.buffer), 8)
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.TIME:
    case DuckDBTypeId.TIMESTAMP:
    case DuckDBTypeId.TIMESTAMP_TZ:
    case DuckDBTypeId.TIMESTAMP_S:
    case DuckDBTypeId.TIMESTAMP_MS:
    case DuckDBTypeId.TIMESTAMP_NS:
      return numbers(type, (bytes) => new BigInt64Array(bytes.buffer), 8)
    case DuckDBTypeId.DECIMAL:
      return decimals(type, (from as DuckDBDecimalType).width)
    case DuckDBTypeId.VARCHAR:
    case DuckDBTypeId.BLOB:
      return texts(type)
    default:
      return undefined
  }
}

type Numbers = ArrayBufferView

function numbers(type: DataType, view: (bytes: Uint8Array) => Numbers, itemBytes: number): RawColumn {
  return (vector, count) => {
    const nullBitmap = validityOf(vector, count)
    const data = view(numbersOf(vector, count, itemBytes))
    return fixed(type, count, nullBitmap, data)
  }
}

/** DuckDB keeps few digits in 2, 4 or 8 bytes, Arrow all in 16. */
function decimals(type: DataType, width: number): RawColumn {
  const itemBytes = width <= 4 ? 2 : width <= 9 ? 4 : width <= 18 ? 8 : 16
  return (vector, count) => {
    const nullBitmap = validityOf(vector, count)
    const bytes = numbersOf(vector, count, itemBytes)
    if (itemBytes === 16) return fixed(type, count, nullBitmap, new Uint32Array(bytes.buffer))
    const words = new Int32Array(count * 4)
    const from = itemBytes === 2 ? new Int16Array(bytes.buffer) : new Int32Array(bytes.buffer)
    const step = itemBytes === 8 ? 2 : 1
    for (let index = 0; index < count; index++) {
      const high = from[index * step + step - 1] >> 31
      words[index * 4] = from[index * step]
      words[index * 4 + 1] = step === 2 ? from[index * 2 + 1] : high
      words[index * 4 + 2] = high
      words[index * 4 + 3] = high
    }
    return fixed(type, count, nullBitmap, new Uint32Array(words.buffer))
  }
}

function fixed(type: DataType, length: number, nullBitmap: Uint8Array | undefined, data: Numbers): Data {
  const nullCount = nullCountOf(nullBitmap, length)
  return makeData({ type: type as Int32, length, nullCount, nullBitmap, data: data as Int32Array })
}

function texts(type: DataType): RawColumn {
  return (vector, length) => {
    const nullBitmap = validityOf(vector, length)
    const nullCount = nullCountOf(nullBitmap, length)
    const { offsets: valueOffsets, bytes: data } = textsOf(vector, length, nullBitmap)
    return makeData({ type: type as Utf8, length, nullCount, nullBitmap, valueOffsets, data })
  }
}
