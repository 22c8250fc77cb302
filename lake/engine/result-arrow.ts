/**
 * Result chunks as an Arrow IPC stream: schema message first, then one record batch for every encoded chunk, then the
 * end-of-stream mark. Read back by pyarrow and apache-arrow.
 *
 *   8..64-bit integers, float, double, boolean, varchar, blob, date   their Arrow types
 *   hugeint → Decimal128(38,0) (a wider value is `value-out-of-range`) · decimal(p,s) → Decimal128(p,s)
 *   time → Time64 µs · timestamp (s, ms, µs, ns) → Timestamp in that unit · timestamptz → Timestamp µs, zone UTC
 *   interval → month-day-nano · struct, list and array, map → Struct, List, Map of what they hold
 *   everything else (uuid, enum, unsigned hugeint, union, …) → Utf8, a union as JSON
 *
 * Every field's metadata names DuckDB's own type under `millrace.duckdb-type`.
 */
import {
  type DuckDBArrayType,
  type DuckDBArrayValue,
  DuckDBBlobValue,
  type DuckDBDataChunk,
  type DuckDBDateValue,
  type DuckDBDecimalType,
  type DuckDBDecimalValue,
  type DuckDBIntervalValue,
  type DuckDBListType,
  type DuckDBListValue,
  type DuckDBMapType,
  type DuckDBMapValue,
  type DuckDBStructType,
  type DuckDBStructValue,
  type DuckDBTimestampMillisecondsValue,
  type DuckDBTimestampNanosecondsValue,
  type DuckDBTimestampSecondsValue,
  type DuckDBTimestampTZValue,
  type DuckDBTimestampValue,
  type DuckDBTimeValue,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
} from '@duckdb/node-api'
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Decimal,
  Field,
  Float32,
  Float64,
  Int8,
  Int16,
  Int32,
  Int64,
  IntervalMonthDayNano,
  List,
  Map_,
  makeData,
  RecordBatch,
  RecordBatchStreamWriter,
  Schema,
  Struct,
  TimeMicrosecond,
  TimestampMicrosecond,
  TimestampMillisecond,
  TimestampNanosecond,
  TimestampSecond,
  Uint8,
  Uint16,
  Uint32,
  Uint64,
  Utf8,
} from 'apache-arrow'
import { MillraceError } from '../../schemas/errors.ts'
import { rawColumn } from './raw-arrow.ts'
import type { ResultEncoder } from './result-encoder.ts'
import { columnText } from './value-text.ts'

type Numbers =
  | Int8Array
  | Int16Array
  | Int32Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Float32Array
  | Float64Array
type BigNumbers = BigInt64Array | BigUint64Array

type ArrowColumn = {
  readonly type: DataType
  /** Values of one column as Arrow buffers. */
  readonly build: (values: readonly DuckDBValue[], validity: Uint8Array | undefined, nullCount: number) => Data
}

export function createArrowEncoder(types: readonly DuckDBType[], names: readonly string[]): ResultEncoder {
  const columns = types.map(arrowColumn)
  const raw = columns.map((column, index) => rawColumn(types[index], column.type))
  const fields = columns.map(
    (column, index) =>
      new Field(names[index], column.type, true, new Map([['millrace.duckdb-type', String(types[index])]])),
  )
  const schema = new Schema(fields)
  const writer = new CollectingWriter()
  writer.reset(undefined, schema)
  return {
    begin: () => writer.take(),
    encode(chunk, rowCount) {
      const children = columns.map(
        (column, index) =>
          raw[index]?.(chunk.getColumnVector(index), rowCount) ?? columnData(column, chunk, index, rowCount),
      )
      const data = makeData({ type: new Struct(fields), length: rowCount, nullCount: 0, children })
      writer.write(new RecordBatch(schema, data))
      return writer.take() ?? new Uint8Array(0)
    },
    end() {
      writer.close()
      return writer.take()
    },
  }
}

/** A stream writer whose bytes are taken out after every batch instead of being read as a stream. */
class CollectingWriter extends RecordBatchStreamWriter {
  private readonly parts: Uint8Array[] = []

  protected override _write(chunk: ArrayBuffer | ArrayBufferView | Iterable<number> | null | undefined): this {
    const bytes =
      chunk instanceof Uint8Array
        ? chunk
        : ArrayBuffer.isView(chunk)
          ? new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
          : new Uint8Array((chunk as ArrayBuffer | null | undefined) ?? new ArrayBuffer(0))
    if (bytes.byteLength > 0) {
      // The writer's own buffers live on until `take`; values are built anew for each batch.
      this.parts.push(bytes)
      this._position += bytes.byteLength
    }
    return this
  }

  take(): Uint8Array | undefined {
    if (this.parts.length === 0) return undefined
    const bytes = Buffer.concat(this.parts)
    this.parts.length = 0
    return bytes
  }
}

function columnData(column: ArrowColumn, chunk: DuckDBDataChunk, index: number, rowCount: number): Data {
  const vector = chunk.getColumnVector(index)
  const values = new Array<DuckDBValue>(rowCount)
  for (let row = 0; row < rowCount; row++) values[row] = vector.getItem(row)
  return dataOf(column, values)
}

function dataOf(column: ArrowColumn, values: readonly DuckDBValue[]): Data {
  const validity = new Uint8Array((values.length + 7) >> 3)
  let nullCount = 0
  for (let row = 0; row < values.length; row++) {
    if (values[row] === null) nullCount++
    else validity[row >> 3] |= 1 << (row & 7)
  }
  return column.build(values, nullCount === 0 ? undefined : validity, nullCount)
}

function arrowColumn(type: DuckDBType): ArrowColumn {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
      return { type: new Bool(), build: buildBooleans }
    case DuckDBTypeId.TINYINT:
      return numbers(new Int8(), (length) => new Int8Array(length))
    case DuckDBTypeId.SMALLINT:
      return numbers(new Int16(), (length) => new Int16Array(length))
    case DuckDBTypeId.INTEGER:
      return numbers(new Int32(), (length) => new Int32Array(length))
    case DuckDBTypeId.UTINYINT:
      return numbers(new Uint8(), (length) => new Uint8Array(length))
    case DuckDBTypeId.USMALLINT:
      return numbers(new Uint16(), (length) => new Uint16Array(length))
    case DuckDBTypeId.UINTEGER:
      return numbers(new Uint32(), (length) => new Uint32Array(length))
    case DuckDBTypeId.FLOAT:
      return numbers(new Float32(), (length) => new Float32Array(length))
    case DuckDBTypeId.DOUBLE:
      return numbers(new Float64(), (length) => new Float64Array(length))
    case DuckDBTypeId.DATE:
      return numbers(
        new DateDay(),
        (length) => new Int32Array(length),
        (value) => (value as DuckDBDateValue).days,
      )
    case DuckDBTypeId.BIGINT:
      return bigNumbers(new Int64(), signed, (value) => value as bigint)
    case DuckDBTypeId.UBIGINT:
      return bigNumbers(
        new Uint64(),
        (length) => new BigUint64Array(length),
        (value) => value as bigint,
      )
    case DuckDBTypeId.TIME:
      return bigNumbers(new TimeMicrosecond(), signed, (value) => (value as DuckDBTimeValue).micros)
    case DuckDBTypeId.TIMESTAMP:
      return bigNumbers(new TimestampMicrosecond(), signed, (value) => (value as DuckDBTimestampValue).micros)
    case DuckDBTypeId.TIMESTAMP_TZ:
      return bigNumbers(new TimestampMicrosecond('UTC'), signed, (value) => (value as DuckDBTimestampTZValue).micros)
    case DuckDBTypeId.TIMESTAMP_S:
      return bigNumbers(new TimestampSecond(), signed, (value) => (value as DuckDBTimestampSecondsValue).seconds)
    case DuckDBTypeId.TIMESTAMP_MS:
      return bigNumbers(
        new TimestampMillisecond(),
        signed,
        (value) => (value as DuckDBTimestampMillisecondsValue).millis,
      )
    case DuckDBTypeId.TIMESTAMP_NS:
      return bigNumbers(new TimestampNanosecond(), signed, (value) => (value as DuckDBTimestampNanosecondsValue).nanos)
    case DuckDBTypeId.DECIMAL: {
      const { width, scale } = type as DuckDBDecimalType
      return decimals(new Decimal(scale, width, 128), (value) => (value as DuckDBDecimalValue).value)
    }
    case DuckDBTypeId.HUGEINT:
      return decimals(new Decimal(0, 38, 128), hugeint)
    case DuckDBTypeId.INTERVAL:
      return { type: new IntervalMonthDayNano(), build: buildIntervals }
    case DuckDBTypeId.STRUCT:
      return structs(type as DuckDBStructType)
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY:
      return lists((type as DuckDBListType | DuckDBArrayType).valueType)
    case DuckDBTypeId.MAP:
      return maps(type as DuckDBMapType)
    case DuckDBTypeId.BLOB:
      return variableLength(new Binary(), (value) =>
        value instanceof DuckDBBlobValue ? value.bytes : new Uint8Array(0),
      )
    default: {
      const { text } = columnText(type)
      return variableLength(new Utf8(), (value) => Buffer.from(text(value), 'utf8'))
    }
  }
}

const signed = (length: number): BigInt64Array => new BigInt64Array(length)

const HUGEINT_LIMIT = 10n ** 38n

function hugeint(value: DuckDBValue): bigint {
  const number = value as bigint
  if (number < HUGEINT_LIMIT && number > -HUGEINT_LIMIT) return number
  throw new MillraceError(
    'value-out-of-range',
    `${number} has more than the 38 digits of an Arrow decimal; cast it to VARCHAR`,
  )
}

function numbers(
  type: DataType,
  allocate: (length: number) => Numbers,
  numberOf: (value: DuckDBValue) => number = (value) => value as number,
): ArrowColumn {
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const data = allocate(values.length)
      for (let row = 0; row < values.length; row++) {
        const value = values[row]
        if (value !== null) data[row] = numberOf(value)
      }
      return makeData({ type: type as Int32, length: values.length, nullCount, nullBitmap, data: data as Int32Array })
    },
  }
}

function bigNumbers(
  type: DataType,
  allocate: (length: number) => BigNumbers,
  bigintOf: (value: DuckDBValue) => bigint,
): ArrowColumn {
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const data = allocate(values.length)
      for (let row = 0; row < values.length; row++) {
        const value = values[row]
        if (value !== null) data[row] = bigintOf(value)
      }
      return makeData({
        type: type as Int64,
        length: values.length,
        nullCount,
        nullBitmap,
        data: data as BigInt64Array,
      })
    },
  }
}

/** 16 bytes little-endian two's complement each. */
function decimals(type: Decimal, unscaledOf: (value: DuckDBValue) => bigint): ArrowColumn {
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const words = new BigInt64Array(values.length * 2)
      for (let row = 0; row < values.length; row++) {
        const value = values[row]
        if (value === null) continue
        const unscaled = unscaledOf(value)
        words[row * 2] = BigInt.asIntN(64, unscaled)
        words[row * 2 + 1] = BigInt.asIntN(64, unscaled >> 64n)
      }
      const data = new Uint32Array(words.buffer)
      return makeData({ type, length: values.length, nullCount, nullBitmap, data })
    },
  }
}

function buildBooleans(values: readonly DuckDBValue[], nullBitmap: Uint8Array | undefined, nullCount: number): Data {
  const data = new Uint8Array((values.length + 7) >> 3)
  for (let row = 0; row < values.length; row++) if (values[row] === true) data[row >> 3] |= 1 << (row & 7)
  return makeData({ type: new Bool(), length: values.length, nullCount, nullBitmap, data })
}

/** int32 months, int32 days, int64 nanoseconds. */
function buildIntervals(values: readonly DuckDBValue[], nullBitmap: Uint8Array | undefined, nullCount: number): Data {
  const data = new Int32Array(values.length * 4)
  const view = new DataView(data.buffer)
  for (let row = 0; row < values.length; row++) {
    const value = values[row] as DuckDBIntervalValue | null
    if (value === null) continue
    view.setInt32(row * 16, value.months, true)
    view.setInt32(row * 16 + 4, value.days, true)
    view.setBigInt64(row * 16 + 8, value.micros * 1000n, true)
  }
  return makeData({ type: new IntervalMonthDayNano(), length: values.length, nullCount, nullBitmap, data })
}

function variableLength(type: Utf8 | Binary, bytesOf: (value: DuckDBValue) => Uint8Array): ArrowColumn {
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const valueOffsets = new Int32Array(values.length + 1)
      const parts: Uint8Array[] = []
      let position = 0
      for (let row = 0; row < values.length; row++) {
        const value = values[row]
        if (value !== null) {
          const bytes = bytesOf(value)
          parts.push(bytes)
          position += bytes.length
        }
        valueOffsets[row + 1] = position
      }
      const data = Buffer.concat(parts)
      return makeData({ type: type as Utf8, length: values.length, nullCount, nullBitmap, valueOffsets, data })
    },
  }
}

function fieldOf(name: string, column: ArrowColumn, nullable = true): Field {
  return new Field(name, column.type, nullable)
}

function structs({ entryNames, entryTypes }: DuckDBStructType): ArrowColumn {
  const columns = entryTypes.map(arrowColumn)
  const type = new Struct(columns.map((column, i) => fieldOf(entryNames[i], column)))
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const children = columns.map((column, i) => {
        const name = entryNames[i]
        const inside = values.map((value) => (value === null ? null : (value as DuckDBStructValue).entries[name]))
        return dataOf(column, inside)
      })
      return makeData({ type, length: values.length, nullCount, nullBitmap, children })
    },
  }
}

function lists(itemType: DuckDBType): ArrowColumn {
  const item = arrowColumn(itemType)
  const type = new List(fieldOf('item', item))
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const { valueOffsets, inside } = flattened(values, (value) => (value as DuckDBListValue | DuckDBArrayValue).items)
      return makeData({ type, length: values.length, nullCount, nullBitmap, valueOffsets, child: dataOf(item, inside) })
    },
  }
}

function maps({ keyType, valueType }: DuckDBMapType): ArrowColumn {
  const [key, item] = [arrowColumn(keyType), arrowColumn(valueType)]
  const entries = new Struct([fieldOf('key', key, false), fieldOf('value', item)])
  const type = new Map_(new Field('entries', entries, false))
  return {
    type,
    build(values, nullBitmap, nullCount) {
      const { valueOffsets, inside } = flattened(values, (value) => (value as DuckDBMapValue).entries)
      const keys = inside.map((entry) => entry.key)
      const items = inside.map((entry) => entry.value)
      const children = [dataOf(key, keys), dataOf(item, items)]
      const child = makeData({ type: entries, length: inside.length, nullCount: 0, children })
      return makeData({ type, length: values.length, nullCount, nullBitmap, valueOffsets, child })
    },
  }
}

function flattened<T>(
  values: readonly DuckDBValue[],
  insideOf: (value: DuckDBValue) => readonly T[],
): { readonly valueOffsets: Int32Array; readonly inside: readonly T[] } {
  const valueOffsets = new Int32Array(values.length + 1)
  const inside: T[] = []
  for (let row = 0; row < values.length; row++) {
    const value = values[row]
    if (value !== null) for (const each of insideOf(value)) inside.push(each)
    valueOffsets[row + 1] = inside.length
  }
  return { valueOffsets, inside }
}
