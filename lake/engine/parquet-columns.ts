/**
 * Columns of a result as the vectors that our Parquet writer takes, grown value by value and used again for the next row
 * group.
 *
 *   boolean · 8..32-bit integers → INT(8), INT(16), INT32 · unsigned 8, 16 → UINT · unsigned 32 → INT64 ·
 *   64-bit → INT64 · unsigned 64 → DECIMAL(20,0) · hugeint → DECIMAL(38,0) (a wider value is `value-out-of-range`)
 *   float, double · decimal · date · time · timestamp (s, ms, µs) → micros, timestamp_ns → nanos · timestamptz → micros, UTC
 *   varchar, blob, uuid · struct, list and array, map → what they hold, every field optional
 *   everything else (enum, interval, time with zone, bit, union, …) → STRING as in JSON
 */
import {
  type DuckDBArrayType,
  type DuckDBArrayValue,
  type DuckDBBlobValue,
  type DuckDBDateValue,
  type DuckDBDecimalType,
  type DuckDBDecimalValue,
  type DuckDBListType,
  type DuckDBListValue,
  type DuckDBMapEntry,
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
  type DuckDBUUIDValue,
  type DuckDBValue,
} from '@duckdb/node-api'
import type { ColumnType, Field } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { ColumnVector } from '../../schemas/micro-batch.ts'
import type { ParquetAnnotation } from '../parquet/parquet.ts'
import { columnText } from './value-text.ts'

export type RowsBuilder = {
  add(value: DuckDBValue): void
  /** What was added since `clear`; valid until the next call of `add`. */
  vector(): ColumnVector
  bytes(): number
  clear(): void
}

export type ParquetColumns = {
  readonly fields: readonly Field[]
  readonly builders: readonly RowsBuilder[]
  readonly annotations: ReadonlyMap<number, ParquetAnnotation>
}

/** Ids are given out as columns appear, from 1. */
type Ids = { next: number; readonly annotations: Map<number, ParquetAnnotation> }

type Built = { readonly field: Field; readonly builder: RowsBuilder }

export function parquetColumns(types: readonly DuckDBType[], names: readonly string[]): ParquetColumns {
  const ids: Ids = { next: 1, annotations: new Map() }
  const built = types.map((type, index) => columnOf(type, names[index], ids))
  return {
    fields: built.map(({ field }) => field),
    builders: built.map(({ builder }) => builder),
    annotations: ids.annotations,
  }
}

const LONG_MAX = 2n ** 63n - 1n
const DECIMAL_LIMIT = 10n ** 38n

function columnOf(type: DuckDBType, name: string, ids: Ids, required = false): Built {
  const fieldId = ids.next++
  const fieldOf = (columnType: ColumnType): Field => ({ fieldId, name, type: columnType, required })
  const flat = (
    columnType: ColumnType,
    width: number,
    put: (view: DataView, at: number, value: DuckDBValue) => void,
    annotation?: ParquetAnnotation,
  ): Built => {
    if (annotation) ids.annotations.set(fieldId, annotation)
    const field = fieldOf(columnType)
    return { field, builder: fixedBuilder(field, width, put) }
  }
  const int = (annotation?: ParquetAnnotation) =>
    flat({ kind: 'int' }, 4, (view, at, value) => view.setInt32(at, value as number, true), annotation)
  const long = (kind: 'long' | 'time' | 'timestamp' | 'timestamptz', of: (value: DuckDBValue) => bigint) =>
    flat({ kind }, 8, (view, at, value) => view.setBigInt64(at, of(value), true))
  const decimal = (precision: number, scale: number, of: (value: DuckDBValue) => bigint) =>
    flat({ kind: 'decimal', precision, scale }, 16, (view, at, value) => {
      const unscaled = of(value)
      view.setBigInt64(at, BigInt.asIntN(64, unscaled), true)
      view.setBigInt64(at + 8, BigInt.asIntN(64, unscaled >> 64n), true)
    })
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN: {
      const field = fieldOf({ kind: 'boolean' })
      return { field, builder: booleanBuilder(field) }
    }
    case DuckDBTypeId.TINYINT:
      return int('int8')
    case DuckDBTypeId.SMALLINT:
      return int('int16')
    case DuckDBTypeId.UTINYINT:
      return int('uint8')
    case DuckDBTypeId.USMALLINT:
      return int('uint16')
    case DuckDBTypeId.INTEGER:
      return int()
    case DuckDBTypeId.UINTEGER:
      return long('long', (value) => BigInt(value as number))
    case DuckDBTypeId.BIGINT:
      return long('long', (value) => value as bigint)
    case DuckDBTypeId.UBIGINT:
      return decimal(20, 0, (value) => value as bigint)
    case DuckDBTypeId.HUGEINT:
      return decimal(38, 0, (value) => within(value as bigint, DECIMAL_LIMIT - 1n, 'the 38 digits of a decimal'))
    case DuckDBTypeId.DECIMAL: {
      const { width, scale } = type as DuckDBDecimalType
      return decimal(width, scale, (value) => (value as DuckDBDecimalValue).value)
    }
    case DuckDBTypeId.FLOAT:
      return flat({ kind: 'float' }, 4, (view, at, value) => view.setFloat32(at, value as number, true))
    case DuckDBTypeId.DOUBLE:
      return flat({ kind: 'double' }, 8, (view, at, value) => view.setFloat64(at, value as number, true))
    case DuckDBTypeId.DATE:
      return flat({ kind: 'date' }, 4, (view, at, value) => view.setInt32(at, (value as DuckDBDateValue).days, true))
    case DuckDBTypeId.TIME:
      return long('time', (value) => (value as DuckDBTimeValue).micros)
    case DuckDBTypeId.TIMESTAMP:
      return long('timestamp', (value) => (value as DuckDBTimestampValue).micros)
    case DuckDBTypeId.TIMESTAMP_TZ:
      return long('timestamptz', (value) => (value as DuckDBTimestampTZValue).micros)
    case DuckDBTypeId.TIMESTAMP_S:
      return long('timestamp', (value) => {
        const moment = value as DuckDBTimestampSecondsValue
        return moment.isFinite ? micros(moment.seconds * 1_000_000n) : moment.seconds
      })
    case DuckDBTypeId.TIMESTAMP_MS:
      return long('timestamp', (value) => {
        const moment = value as DuckDBTimestampMillisecondsValue
        return moment.isFinite ? micros(moment.millis * 1000n) : moment.millis
      })
    case DuckDBTypeId.TIMESTAMP_NS:
      return flat(
        { kind: 'timestamp' },
        8,
        (view, at, value) => view.setBigInt64(at, (value as DuckDBTimestampNanosecondsValue).nanos, true),
        'timestamp-ns',
      )
    case DuckDBTypeId.UUID:
      return flat({ kind: 'uuid' }, 16, (view, at, value) => {
        const number = (value as DuckDBUUIDValue).toUint128()
        view.setBigUint64(at, number >> 64n)
        view.setBigUint64(at + 8, BigInt.asUintN(64, number))
      })
    case DuckDBTypeId.BLOB: {
      const field = fieldOf({ kind: 'binary' })
      return { field, builder: bytesBuilder(field, (value) => (value as DuckDBBlobValue).bytes) }
    }
    case DuckDBTypeId.STRUCT: {
      const { entryNames, entryTypes } = type as DuckDBStructType
      const inside = entryTypes.map((entry, i) => columnOf(entry, entryNames[i], ids))
      const field = fieldOf({ kind: 'struct', fields: inside.map((each) => each.field) })
      return { field, builder: structBuilder(field, entryNames, inside) }
    }
    case DuckDBTypeId.LIST:
    case DuckDBTypeId.ARRAY: {
      const element = columnOf((type as DuckDBListType | DuckDBArrayType).valueType, 'element', ids)
      const field = fieldOf({ kind: 'list', element: element.field })
      const items = (value: DuckDBValue) => (value as DuckDBListValue | DuckDBArrayValue).items
      return { field, builder: repeatedBuilder(field, [element], items, (item) => item) }
    }
    case DuckDBTypeId.MAP: {
      const { keyType, valueType } = type as DuckDBMapType
      const key = columnOf(keyType, 'key', ids, true)
      const item = columnOf(valueType, 'value', ids)
      const field = fieldOf({ kind: 'map', key: key.field, value: item.field })
      const entries = (value: DuckDBValue) => (value as DuckDBMapValue).entries
      const partOf = (entry: DuckDBMapEntry, part: number) => (part === 0 ? entry.key : entry.value)
      return { field, builder: repeatedBuilder(field, [key, item], entries, partOf) }
    }
    default: {
      const field = fieldOf({ kind: 'string' })
      const { text } = columnText(type)
      return { field, builder: bytesBuilder(field, (value) => Buffer.from(text(value), 'utf8')) }
    }
  }
}

const micros = (value: bigint) => within(value, LONG_MAX, 'a timestamp in microseconds')

function within(value: bigint, max: bigint, what: string): bigint {
  if (value <= max && value >= -max) return value
  throw new MillraceError('value-out-of-range', `${value} does not fit into ${what}; cast it to VARCHAR`)
}

const ROWS_FIRST = 4096

function grown(bytes: Uint8Array<ArrayBuffer>, needed: number): Uint8Array<ArrayBuffer> {
  if (needed <= bytes.length) return bytes
  const larger = new Uint8Array(Math.max(bytes.length * 2, needed))
  larger.set(bytes)
  return larger
}

/** One bit a value: 1 where it is there. */
function createValidity() {
  let bits = new Uint8Array(ROWS_FIRST / 8)
  let length = 0
  let nulls = 0
  return {
    add(isThere: boolean) {
      bits = grown(bits, (length >> 3) + 1)
      if (isThere) bits[length >> 3] |= 1 << (length & 7)
      else nulls++
      length++
    },
    get length() {
      return length
    },
    vector: () => ({ length, nullCount: nulls, validity: nulls === 0 ? undefined : bits }),
    clear() {
      bits.fill(0)
      length = 0
      nulls = 0
    },
  }
}

function fixedBuilder(
  column: Field,
  width: number,
  put: (view: DataView, at: number, value: DuckDBValue) => void,
): RowsBuilder {
  const validity = createValidity()
  let data = new Uint8Array(ROWS_FIRST * width)
  let view = new DataView(data.buffer)
  return {
    add(value) {
      const at = validity.length * width
      if (at + width > data.length) {
        data = grown(data, at + width)
        view = new DataView(data.buffer)
      }
      if (value !== null) put(view, at, value)
      validity.add(value !== null)
    },
    vector: () => ({ column, ...validity.vector(), data, offsets: undefined }),
    bytes: () => validity.length * width,
    clear: () => validity.clear(),
  }
}

function booleanBuilder(column: Field): RowsBuilder {
  const validity = createValidity()
  const values = createValidity()
  return {
    add(value) {
      validity.add(value !== null)
      values.add(value === true)
    },
    vector() {
      const { length, validity: bits } = values.vector()
      // No value is false: their bits are all set.
      const data = bits ?? new Uint8Array((length + 7) >> 3).fill(255)
      return { column, ...validity.vector(), data, offsets: undefined }
    },
    bytes: () => validity.length >> 3,
    clear() {
      validity.clear()
      values.clear()
    },
  }
}

/** Ends of what each row has in another array; the first begins at 0. */
function createOffsets() {
  let offsets = new Int32Array(ROWS_FIRST + 1)
  let length = 0
  return {
    add(end: number) {
      if (length + 2 > offsets.length) {
        const larger = new Int32Array(offsets.length * 2)
        larger.set(offsets)
        offsets = larger
      }
      offsets[++length] = end
    },
    get all() {
      return offsets
    },
    clear() {
      length = 0
    },
  }
}

const BYTES_MAX = 2 ** 31 - 1

function bytesBuilder(column: Field, bytesOf: (value: DuckDBValue) => Uint8Array): RowsBuilder {
  const validity = createValidity()
  const offsets = createOffsets()
  let data = new Uint8Array(ROWS_FIRST * 16)
  let end = 0
  return {
    add(value) {
      if (value !== null) {
        const bytes = bytesOf(value)
        if (end + bytes.length > BYTES_MAX) {
          throw new MillraceError('value-out-of-range', `column ${column.name}: 2048 rows of it are larger than 2 GiB`)
        }
        data = grown(data, end + bytes.length)
        data.set(bytes, end)
        end += bytes.length
      }
      validity.add(value !== null)
      offsets.add(end)
    },
    vector: () => ({ column, ...validity.vector(), data, offsets: offsets.all }),
    bytes: () => end + validity.length * 4,
    clear() {
      validity.clear()
      offsets.clear()
      end = 0
    },
  }
}

function structBuilder(column: Field, names: readonly string[], inside: readonly Built[]): RowsBuilder {
  const validity = createValidity()
  return {
    add(value) {
      validity.add(value !== null)
      for (let i = 0; i < inside.length; i++) {
        inside[i].builder.add(value === null ? null : (value as DuckDBStructValue).entries[names[i]])
      }
    },
    vector: () => ({
      column,
      ...validity.vector(),
      data: new Uint8Array(0),
      offsets: undefined,
      children: inside.map(({ builder }) => builder.vector()),
    }),
    bytes: () => inside.reduce((sum, { builder }) => sum + builder.bytes(), 0),
    clear() {
      validity.clear()
      for (const { builder } of inside) builder.clear()
    },
  }
}

/** A list or a map: `partOf` gives the values of one entry, one for every column inside. */
function repeatedBuilder<Entry>(
  column: Field,
  inside: readonly Built[],
  entriesOf: (value: DuckDBValue) => readonly Entry[],
  partOf: (entry: Entry, part: number) => DuckDBValue,
): RowsBuilder {
  const validity = createValidity()
  const offsets = createOffsets()
  let end = 0
  return {
    add(value) {
      if (value !== null) {
        for (const entry of entriesOf(value)) {
          for (let part = 0; part < inside.length; part++) inside[part].builder.add(partOf(entry, part))
          end++
        }
      }
      validity.add(value !== null)
      offsets.add(end)
    },
    vector: () => ({
      column,
      ...validity.vector(),
      data: new Uint8Array(0),
      offsets: offsets.all,
      children: inside.map(({ builder }) => builder.vector()),
    }),
    bytes: () => inside.reduce((sum, { builder }) => sum + builder.bytes(), 0) + validity.length * 4,
    clear() {
      validity.clear()
      offsets.clear()
      end = 0
      for (const { builder } of inside) builder.clear()
    },
  }
}
