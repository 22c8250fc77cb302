/**
 * Avro schemas of Iceberg v2 manifests and manifest lists, with the spec's field ids, and the Avro form of each
 * partition value.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { PartitionField, Table } from '../catalog/catalog.ts'
import { type AvroField, type AvroSchema, isUnion } from './avro-decoder.ts'
import type { PartitionValue } from './iceberg.ts'
import { bigEndianValue, paddedDecimalBytes } from './single-value.ts'

type WrittenField = AvroField & { readonly default?: null }

/** A field of the table's partition spec with the type of its values. */
export type SpecField = PartitionField & { readonly type: ColumnType; readonly source: Column }

export function specFields(table: Table): readonly SpecField[] {
  return table.partition.map((field) => {
    const source = table.schemas
      .toReversed()
      .flatMap((schema) => schema.columns)
      .find((column) => column.fieldId === field.fieldId)
    if (source) return { ...field, source, type: resultType(field, source.type) }
    throw new MillraceError('undefined-column', `partition field ${field.name} of table ${table.name} has no column`)
  })
}

function resultType({ transform }: PartitionField, source: ColumnType): ColumnType {
  switch (transform.kind) {
    case 'identity':
    case 'truncate':
      return source.kind === 'json' ? { kind: 'string' } : source
    case 'day':
      return { kind: 'date' }
    default:
      return { kind: 'int' }
  }
}

const required = (id: number, name: string, type: AvroSchema): WrittenField => ({ name, type, 'field-id': id })
const optional = (id: number, name: string, type: AvroSchema): WrittenField => ({
  name,
  type: ['null', type],
  default: null,
  'field-id': id,
})

function countMap(id: number, name: string, keyId: number, valueId: number, value: AvroSchema): WrittenField {
  return optional(id, name, {
    type: 'array',
    logicalType: 'map',
    items: {
      type: 'record',
      name: `k${keyId}_v${valueId}`,
      fields: [required(keyId, 'key', 'int'), required(valueId, 'value', value)],
    },
  })
}

export function manifestSchema(spec: readonly SpecField[]): AvroSchema {
  const partition: AvroSchema = {
    type: 'record',
    name: 'r102',
    fields: spec.map((field) => {
      const name = avroName(field.name)
      const written = optional(field.partitionFieldId, name, partitionAvroType(field))
      return name === field.name ? written : { ...written, 'iceberg-field-name': field.name }
    }),
  }
  const dataFile: AvroSchema = {
    type: 'record',
    name: 'r2',
    fields: [
      required(134, 'content', 'int'),
      required(100, 'file_path', 'string'),
      required(101, 'file_format', 'string'),
      required(102, 'partition', partition),
      required(103, 'record_count', 'long'),
      required(104, 'file_size_in_bytes', 'long'),
      countMap(108, 'column_sizes', 117, 118, 'long'),
      countMap(109, 'value_counts', 119, 120, 'long'),
      countMap(110, 'null_value_counts', 121, 122, 'long'),
      countMap(137, 'nan_value_counts', 138, 139, 'long'),
      countMap(125, 'lower_bounds', 126, 127, 'bytes'),
      countMap(128, 'upper_bounds', 129, 130, 'bytes'),
      optional(131, 'key_metadata', 'bytes'),
      optional(132, 'split_offsets', { type: 'array', items: 'long', 'element-id': 133 }),
      optional(135, 'equality_ids', { type: 'array', items: 'int', 'element-id': 136 }),
      optional(140, 'sort_order_id', 'int'),
    ],
  }
  return {
    type: 'record',
    name: 'manifest_entry',
    fields: [
      required(0, 'status', 'int'),
      optional(1, 'snapshot_id', 'long'),
      optional(3, 'sequence_number', 'long'),
      optional(4, 'file_sequence_number', 'long'),
      required(2, 'data_file', dataFile),
    ],
  }
}

export const MANIFEST_LIST_SCHEMA: AvroSchema = {
  type: 'record',
  name: 'manifest_file',
  fields: [
    required(500, 'manifest_path', 'string'),
    required(501, 'manifest_length', 'long'),
    required(502, 'partition_spec_id', 'int'),
    required(517, 'content', 'int'),
    required(515, 'sequence_number', 'long'),
    required(516, 'min_sequence_number', 'long'),
    required(503, 'added_snapshot_id', 'long'),
    required(504, 'added_files_count', 'int'),
    required(505, 'existing_files_count', 'int'),
    required(506, 'deleted_files_count', 'int'),
    required(512, 'added_rows_count', 'long'),
    required(513, 'existing_rows_count', 'long'),
    required(514, 'deleted_rows_count', 'long'),
    optional(507, 'partitions', {
      type: 'array',
      'element-id': 508,
      items: {
        type: 'record',
        name: 'r508',
        fields: [
          required(509, 'contains_null', 'boolean'),
          optional(518, 'contains_nan', 'boolean'),
          optional(510, 'lower_bound', 'bytes'),
          optional(511, 'upper_bound', 'bytes'),
        ],
      },
    }),
    optional(519, 'key_metadata', 'bytes'),
  ],
}

/** Avro names are letters, digits and underscores; others are spelled out, as the reference implementation does. */
function avroName(name: string): string {
  const spelled = name.replace(/[^A-Za-z0-9_]/g, (each) => `_x${each.charCodeAt(0).toString(16).toUpperCase()}`)
  return /^[0-9]/.test(spelled) ? `_${spelled}` : spelled
}

export function partitionAvroName(field: PartitionField): string {
  return avroName(field.name)
}

function partitionAvroType({ type, partitionFieldId }: SpecField): AvroSchema {
  switch (type.kind) {
    case 'date':
      return { type: 'int', logicalType: 'date' }
    case 'time':
      return { type: 'long', logicalType: 'time-micros' }
    case 'timestamp':
    case 'timestamptz':
      return { type: 'long', logicalType: 'timestamp-micros', 'adjust-to-utc': type.kind === 'timestamptz' }
    case 'json':
      return 'string'
    case 'binary':
      return 'bytes'
    case 'uuid':
      return { type: 'fixed', name: `uuid_fixed_${partitionFieldId}`, size: 16, logicalType: 'uuid' }
    case 'decimal':
      return {
        type: 'fixed',
        name: `decimal_${partitionFieldId}`,
        size: decimalSize(type.precision),
        logicalType: 'decimal',
        precision: type.precision,
        scale: type.scale,
      }
    default:
      return type.kind
  }
}

/** Fewest bytes that hold every value of the precision. */
export function decimalSize(precision: number): number {
  const largest = 10n ** BigInt(precision) - 1n
  let size = 1
  while (BigInt.asIntN(size * 8, largest) !== largest) size++
  return size
}

/** As avsc's encoder wants it: longs are bigints, bytes are Buffers. */
export function partitionToAvro({ type }: SpecField, value: PartitionValue): unknown {
  if (value === null) return null
  switch (type.kind) {
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return BigInt(value as number | bigint)
    case 'decimal':
      return Buffer.from(paddedDecimalBytes(BigInt(value as number | bigint), decimalSize(type.precision)))
    case 'uuid':
    case 'binary':
      return Buffer.from(value as Uint8Array)
    default:
      return value
  }
}

/** Any engine's partition value, by the Avro type it was written with. */
export function partitionFromAvro(schema: AvroSchema, value: unknown): PartitionValue {
  if (value === null || value === undefined) return null
  const branch = isUnion(schema) ? schema.find((each) => each !== 'null') : schema
  const logical = typeof branch === 'object' && !isUnion(branch) ? branch.logicalType : undefined
  if (logical === 'decimal' && value instanceof Uint8Array) return bigEndianValue(value)
  if (typeof value === 'bigint' && logical === undefined) {
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }
  // Copied: a view would keep the manifest's whole block in memory.
  return value instanceof Uint8Array ? Uint8Array.from(value) : (value as PartitionValue)
}
