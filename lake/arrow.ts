/**
 * A micro-batch as an apache-arrow RecordBatch, and back, without copying values: both hold the same Arrow buffers.
 *
 *   json          Utf8, as string (the schema's field metadata says `millrace.type`, so that the way back is exact)
 *   uuid          FixedSizeBinary(16)
 *   decimal(p,s)  Decimal(128)
 *   time          Time64 microseconds; timestamps Timestamp microseconds, timestamptz with zone UTC
 *   struct, list  Struct, List; map: Map of entries with key and value
 *
 * Field metadata also carries the Iceberg field id, under the name that Arrow's Parquet readers use.
 */
import {
  Binary,
  Bool,
  type Data,
  type DataType,
  DateDay,
  Decimal,
  Field,
  FixedSizeBinary,
  Float32,
  Float64,
  Int32,
  Int64,
  List,
  Map_,
  makeData,
  RecordBatch,
  Schema,
  Struct,
  TimeMicrosecond,
  TimestampMicrosecond,
  Utf8,
} from 'apache-arrow'
import {
  type ColumnType,
  childFields,
  formatColumnType,
  parseColumnType,
  withChildFields,
} from '../schemas/column-type.ts'
import { invariant } from '../schemas/errors.ts'
import type { ColumnVector, MicroBatch } from '../schemas/micro-batch.ts'
import type { Column } from '../schemas/table-schema.ts'

const FIELD_ID = 'PARQUET:field_id'
const TYPE = 'millrace.type'
const SCHEMA_ID = 'millrace.schema-id'

type MapEntry = { key: DataType; value: DataType }

export function arrowType(type: ColumnType): DataType {
  switch (type.kind) {
    case 'boolean':
      return new Bool()
    case 'int':
      return new Int32()
    case 'long':
      return new Int64()
    case 'float':
      return new Float32()
    case 'double':
      return new Float64()
    case 'decimal':
      return new Decimal(type.scale, type.precision, 128)
    case 'date':
      return new DateDay()
    case 'time':
      return new TimeMicrosecond()
    case 'timestamp':
      return new TimestampMicrosecond()
    case 'timestamptz':
      return new TimestampMicrosecond('UTC')
    case 'uuid':
      return new FixedSizeBinary(16)
    case 'binary':
      return new Binary()
    case 'struct':
      return new Struct(type.fields.map(arrowField))
    case 'list':
      return new List(arrowField(type.element))
    case 'map':
      return new Map_(new Field('entries', new Struct<MapEntry>([arrowField(type.key), arrowField(type.value)]), false))
    default:
      return new Utf8()
  }
}

function arrowField(column: Column): Field {
  const metadata = new Map([
    [FIELD_ID, String(column.fieldId)],
    [TYPE, formatColumnType(column.type)],
  ])
  return new Field(column.name, arrowType(column.type), !column.required, metadata)
}

export function toRecordBatch(batch: MicroBatch): RecordBatch {
  const fields = batch.vectors.map(({ column }) => arrowField(column))
  const children = batch.vectors.map((vector, i) => vectorData(vector, fields[i].type, batch.rowCount))
  const schema = new Schema(fields, new Map([[SCHEMA_ID, String(batch.schema.schemaId)]]))
  const struct = makeData({ type: new Struct(fields), length: batch.rowCount, nullCount: 0, children })
  return new RecordBatch(schema, struct)
}

type WholeWords = Int32Array | BigInt64Array | Float32Array | Float64Array | Uint32Array

function vectorData(vector: ColumnVector, type: DataType, length: number): Data {
  const nulls =
    vector.nullCount === 0
      ? { nullCount: 0 }
      : { nullCount: vector.nullCount, nullBitmap: vector.validity?.subarray(0, (length + 7) >> 3) }
  if (vector.children !== undefined) return nestedData(vector, vector.children, type, length, nulls)
  if (vector.offsets !== undefined) {
    const valueOffsets = vector.offsets.subarray(0, length + 1)
    return makeData({ type: type as Utf8, length, ...nulls, valueOffsets, data: vector.data })
  }
  return makeData({ type: type as Int32, length, ...nulls, data: typedView(vector, length) as Int32Array })
}

type Nulls = { readonly nullCount: number; readonly nullBitmap?: Uint8Array | undefined }

function nestedData(
  vector: ColumnVector,
  children: readonly ColumnVector[],
  type: DataType,
  length: number,
  nulls: Nulls,
): Data {
  const types = insideTypes(type)
  const slots = vector.offsets === undefined ? length : vector.offsets[length]
  const inside = children.map((child, i) => vectorData(child, types[i], slots))
  if (type instanceof Struct) return makeData({ type, length, ...nulls, children: inside })
  const valueOffsets = vector.offsets!.subarray(0, length + 1)
  if (type instanceof List) return makeData({ type, length, ...nulls, valueOffsets, child: inside[0] })
  const entries = (type as Map_).children[0].type
  const child = makeData({ type: entries, length: slots, nullCount: 0, children: inside })
  return makeData({ type: type as Map_, length, ...nulls, valueOffsets, child })
}

/** Of a map: of key and value, not of the entries between. */
function insideTypes(type: DataType): readonly DataType[] {
  return insideFields(type).map((field) => field.type)
}

function insideFields(type: DataType): readonly Field[] {
  const fields: readonly Field[] = type.children ?? []
  return type instanceof Map_ ? ((fields[0].type as Struct).children as readonly Field[]) : fields
}

function typedView(vector: ColumnVector, length: number): WholeWords | Uint8Array {
  const { type } = vector.column
  switch (type.kind) {
    case 'boolean':
      return vector.data.subarray(0, (length + 7) >> 3)
    case 'uuid':
      return vector.data.subarray(0, length * 16)
    case 'int':
    case 'date':
      return view(vector.data, 4, length, (buffer, at, count) => new Int32Array(buffer, at, count))
    case 'float':
      return view(vector.data, 4, length, (buffer, at, count) => new Float32Array(buffer, at, count))
    case 'double':
      return view(vector.data, 8, length, (buffer, at, count) => new Float64Array(buffer, at, count))
    case 'decimal':
      return view(vector.data, 4, length * 4, (buffer, at, count) => new Uint32Array(buffer, at, count))
    default:
      return view(vector.data, 8, length, (buffer, at, count) => new BigInt64Array(buffer, at, count))
  }
}

/** Typed arrays need an aligned start; builders give one, so the copy is the exception. */
function view<T>(
  data: Uint8Array,
  width: number,
  count: number,
  make: (buffer: ArrayBufferLike, at: number, count: number) => T,
): T {
  const aligned = data.byteOffset % width === 0 ? data : new Uint8Array(data.subarray(0, count * width))
  return make(aligned.buffer, aligned.byteOffset, count)
}

/** The way back, for a record batch with the schema's own fields (as `toRecordBatch` makes, also after IPC). */
export function fromRecordBatch(record: RecordBatch): MicroBatch {
  const columns = record.schema.fields.map(columnOf)
  const vectors = record.data.children.map((data, i) => vectorOf(data, columns[i]))
  const schemaId = Number(record.schema.metadata.get(SCHEMA_ID))
  invariant('arrow-schema-id', Number.isInteger(schemaId), { metadata: [...record.schema.metadata] })
  return { schema: { schemaId, columns }, rowCount: record.numRows, vectors }
}

function columnOf(field: Field): Column {
  const text = parseColumnType(field.metadata.get(TYPE) ?? '')
  const fieldId = Number(field.metadata.get(FIELD_ID))
  invariant('arrow-field-is-ours', text !== undefined && Number.isInteger(fieldId), { field: field.name })
  // The type's text has no ids: what is inside says its own.
  const inside = insideFields(field.type).map(columnOf)
  invariant('arrow-field-inside', inside.length === childFields(text).length, { field: field.name })
  const type = withChildFields(text, inside)
  invariant('arrow-field-type', String(arrowType(type)) === String(field.type), {
    field: field.name,
    type: String(field.type),
  })
  return { fieldId, name: field.name, type, required: !field.nullable }
}

function vectorOf(data: Data, column: Column): ColumnVector {
  const isPlain = data.offset === 0 || data.nullCount === 0
  const fields = childFields(column.type)
  invariant(
    'arrow-not-sliced',
    isPlain && (data.offset === 0 || (column.type.kind !== 'boolean' && fields.length === 0)),
    {
      field: column.name,
      offset: data.offset,
    },
  )
  const values = data.values as Uint8Array | WholeWords | undefined
  const inside = column.type.kind === 'map' ? data.children[0].children : data.children
  return {
    column,
    length: data.length,
    nullCount: data.nullCount,
    validity: data.nullCount === 0 ? undefined : (data.nullBitmap as Uint8Array),
    data:
      values === undefined || fields.length > 0
        ? new Uint8Array(0)
        : new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
    offsets: data.valueOffsets === undefined ? undefined : (data.valueOffsets as Int32Array),
    ...(fields.length > 0 ? { children: inside.map((child, i) => vectorOf(child, fields[i])) } : undefined),
  }
}
