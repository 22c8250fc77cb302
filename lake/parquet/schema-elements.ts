/**
 * The schema of a file as its footer lists it: elements in a flat list, parents before their children, each with its field
 * id and exact logical type.
 *
 *   list   group (LIST)  →  repeated group list       →  element
 *   map    group (MAP)   →  repeated group key_value  →  key, value
 *   struct group         →  its fields
 */
import { type ColumnType, type Field, isNested } from '../../schemas/column-type.ts'
import { decimalBytes } from './column-values.ts'
import type { ParquetAnnotation, PhysicalType } from './parquet.ts'
import type { ThriftWriter } from './thrift.ts'

/** A field, or the repeated group between a list or map and what is in it. */
type Element = Field | { readonly repeated: 'list' | 'key_value'; readonly children: number }

function elementsOf(field: Field): Element[] {
  const { type } = field
  switch (type.kind) {
    case 'struct':
      return [field, ...type.fields.flatMap(elementsOf)]
    case 'list':
      return [field, { repeated: 'list', children: 1 }, ...elementsOf(type.element)]
    case 'map':
      return [field, { repeated: 'key_value', children: 2 }, ...elementsOf(type.key), ...elementsOf(type.value)]
    default:
      return [field]
  }
}

/** Field 2 of the file's metadata. */
export function writeSchema(
  writer: ThriftWriter,
  fieldNumber: number,
  columns: readonly Field[],
  annotations: ReadonlyMap<number, ParquetAnnotation> = new Map(),
): void {
  writer.structListField(fieldNumber, [undefined, ...columns.flatMap(elementsOf)], (element) => {
    if (element === undefined) {
      writer.textField(4, 'schema')
      writer.i32Field(5, columns.length)
    } else if ('repeated' in element) {
      writer.i32Field(3, REPETITION.repeated)
      writer.textField(4, element.repeated)
      writer.i32Field(5, element.children)
    } else if (isNested(element.type)) writeGroup(writer, element)
    else writeLeaf(writer, element, annotations.get(element.fieldId))
  })
}

function writeGroup(writer: ThriftWriter, { name, fieldId, type, required }: Field): void {
  writer.i32Field(3, required ? REPETITION.required : REPETITION.optional)
  writer.textField(4, name)
  writer.i32Field(5, type.kind === 'struct' ? type.fields.length : 1)
  if (type.kind === 'list' || type.kind === 'map') writer.i32Field(6, CONVERTED[type.kind])
  writer.i32Field(9, fieldId)
  if (type.kind === 'list' || type.kind === 'map') {
    writer.structField(10, () => writer.structField(LOGICAL[type.kind], () => {}))
  }
}

function writeLeaf(
  writer: ThriftWriter,
  { name, fieldId, type, required }: Field,
  annotation: ParquetAnnotation | undefined,
): void {
  const physical = physicalOf(type)
  writer.i32Field(1, PHYSICAL.indexOf(physical))
  if (type.kind === 'uuid') writer.i32Field(2, 16)
  else if (type.kind === 'decimal' && type.precision > 18) writer.i32Field(2, decimalBytes(type.precision))
  writer.i32Field(3, required ? REPETITION.required : REPETITION.optional)
  writer.textField(4, name)
  if (type.kind === 'string' || type.kind === 'json') writer.i32Field(6, CONVERTED.utf8)
  else if (type.kind === 'date') writer.i32Field(6, CONVERTED.date)
  else if (type.kind === 'timestamptz') writer.i32Field(6, CONVERTED.timestampMicros)
  else if (type.kind === 'decimal') {
    writer.i32Field(6, CONVERTED.decimal)
    writer.i32Field(7, type.scale)
    writer.i32Field(8, type.precision)
  } else if (annotation !== undefined && annotation !== 'timestamp-ns') {
    writer.i32Field(6, INTEGERS[annotation].converted)
  }
  writer.i32Field(9, fieldId)
  if (annotation === undefined) writeLogicalType(writer, type)
  else writeAnnotation(writer, annotation)
}

function writeAnnotation(writer: ThriftWriter, annotation: ParquetAnnotation): void {
  writer.structField(10, () => {
    if (annotation === 'timestamp-ns') {
      writer.structField(8, () => {
        writer.booleanField(1, false)
        writer.structField(2, () => writer.structField(3, () => {}))
      })
      return
    }
    const { bits, isSigned } = INTEGERS[annotation]
    writer.structField(10, () => {
      writer.byteField(1, bits)
      writer.booleanField(2, isSigned)
    })
  })
}

/** Times and timestamps without a zone have no older annotation: it would claim UTC. */
function writeLogicalType(writer: ThriftWriter, type: ColumnType): void {
  const logical = (id: number, write: () => void) => writer.structField(10, () => writer.structField(id, write))
  const inMicros = (isUtc: boolean) => () => {
    writer.booleanField(1, isUtc)
    writer.structField(2, () => writer.structField(2, () => {}))
  }
  switch (type.kind) {
    case 'string':
    case 'json':
      logical(1, () => {})
      return
    case 'decimal':
      logical(5, () => {
        writer.i32Field(1, type.scale)
        writer.i32Field(2, type.precision)
      })
      return
    case 'date':
      logical(6, () => {})
      return
    case 'time':
      logical(7, inMicros(false))
      return
    case 'timestamp':
      logical(8, inMicros(false))
      return
    case 'timestamptz':
      logical(8, inMicros(true))
      return
    case 'uuid':
      logical(14, () => {})
      return
  }
}

export const PHYSICAL: readonly PhysicalType[] = [
  'BOOLEAN',
  'INT32',
  'INT64',
  'INT96',
  'FLOAT',
  'DOUBLE',
  'BYTE_ARRAY',
  'FIXED_LEN_BYTE_ARRAY',
]
const CONVERTED = { utf8: 0, map: 1, list: 3, decimal: 5, date: 6, timestampMicros: 10 } as const
const INTEGERS = {
  uint8: { converted: 11, bits: 8, isSigned: false },
  uint16: { converted: 12, bits: 16, isSigned: false },
  int8: { converted: 15, bits: 8, isSigned: true },
  int16: { converted: 16, bits: 16, isSigned: true },
} as const
const LOGICAL = { map: 2, list: 3 } as const
const REPETITION = { required: 0, optional: 1, repeated: 2 } as const

export function physicalOf(type: ColumnType): PhysicalType {
  switch (type.kind) {
    case 'boolean':
      return 'BOOLEAN'
    case 'int':
    case 'date':
      return 'INT32'
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return 'INT64'
    case 'float':
      return 'FLOAT'
    case 'double':
      return 'DOUBLE'
    case 'decimal':
      return type.precision <= 9 ? 'INT32' : type.precision <= 18 ? 'INT64' : 'FIXED_LEN_BYTE_ARRAY'
    case 'uuid':
      return 'FIXED_LEN_BYTE_ARRAY'
    default:
      return 'BYTE_ARRAY'
  }
}
