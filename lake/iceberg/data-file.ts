/**
 * A written Parquet file → the row that a manifest keeps of it: counts, sizes and bounds from the footer, once the footer
 * was found to have every column of the schema, and every field inside one, by field id, in the exact Iceberg type, and no
 * other. Metrics are of leaves; those in lists and maps have sizes and value counts, and no bounds.
 *
 * Errors: `file-schema-mismatch`, naming file and column. A file that lacks a column would read as NULLs elsewhere.
 */
import { type ColumnType, childFields, type Field, formatColumnType, isNested } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import { insideNodes, nodeText } from '../parquet/inside-nodes.ts'
import type { ColumnChunk, LeafColumn, ParquetFooter, SchemaNode } from '../parquet/parquet.ts'
import { compareBounds, cutLowerBound, cutUpperBound } from './bounds.ts'
import type { DataFile, PartitionValue } from './iceberg.ts'
import { decimalSize } from './manifest-schema.ts'
import { bigEndianValue, decodeSingleValue, encodeSingleValue, type SingleValue } from './single-value.ts'

export type DataFileFacts = {
  readonly path: string
  readonly bytes: number
  readonly footer: ParquetFooter
  readonly table: Table
  readonly schema: TableSchema
  readonly partition: readonly PartitionValue[]
  readonly sortOrderId: number
}

export function dataFileFromFooter(facts: DataFileFacts): DataFile {
  const { path, bytes, footer, partition, sortOrderId } = facts
  const columnSizes = new Map<number, number>()
  const valueCounts = new Map<number, number>()
  const nullCounts = new Map<number, number>()
  const lowerBounds = new Map<number, Uint8Array>()
  const upperBounds = new Map<number, Uint8Array>()
  for (const { field, columnIndex, isRepeated, isAlwaysThere } of checkedLeaves(facts)) {
    const { fieldId, type } = field
    const chunks = footer.rowGroups.flatMap((group) =>
      group.chunks.filter((chunk) => chunk.columnIndex === columnIndex),
    )
    columnSizes.set(fieldId, sum(chunks.map((chunk) => chunk.end - chunk.start)))
    valueCounts.set(fieldId, sum(chunks.map((chunk) => chunk.valueCount)))
    // A bound is of the values of rows, a list or map has many or none in one; and their nulls are not counted alike by all.
    if (isRepeated) continue
    const nulls = chunks.map((chunk) => chunk.statistics?.nullCount)
    if (nulls.every((each) => each !== undefined)) nullCounts.set(fieldId, sum(nulls))
    if (isAlwaysThere && sum(nulls.map((each) => each ?? 0)) > 0) {
      throw mismatch(facts, field, 'no nulls in a required column', `${sum(nulls.map((each) => each ?? 0))} nulls`)
    }
    const { lower, upper } = boundsOf(type, footer.columns[columnIndex], chunks)
    if (lower) lowerBounds.set(fieldId, lower)
    if (upper) upperBounds.set(fieldId, upper)
  }
  return {
    path,
    partition,
    rowCount: footer.rowCount,
    bytes,
    columnSizes,
    valueCounts,
    nullCounts,
    nanCounts: new Map(),
    lowerBounds,
    upperBounds,
    splitOffsets: footer.rowGroups
      .filter((group) => group.chunks.length > 0)
      .map((group) => Math.min(...group.chunks.map((chunk) => chunk.start))),
    sortOrderId,
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0)
}

type CheckedLeaf = {
  readonly field: Field
  readonly columnIndex: number
  /** In a list or map. */
  readonly isRepeated: boolean
  /** It and everything around it is required. */
  readonly isAlwaysThere: boolean
}

function checkedLeaves(facts: DataFileFacts): readonly CheckedLeaf[] {
  const { footer, schema } = facts
  const leaves: CheckedLeaf[] = []
  const visit = (fields: readonly Field[], nodes: readonly SchemaNode[], isRepeated: boolean, isThere: boolean) => {
    checkIds(facts, fields, nodes)
    for (const field of fields) {
      const { type } = field
      const node = nodes.find((each) => each.fieldId === field.fieldId)
      if (!node) throw mismatch(facts, field, describeExpected(type), 'no such column')
      if (node.name !== field.name) throw mismatch(facts, field, `the name "${field.name}"`, `"${node.name}"`)
      const isAlwaysThere = isThere && field.required
      if (isNested(type)) {
        const inside = insideNodes(node, type.kind)
        if (!inside) throw mismatch(facts, field, describeExpected(type), nodeText(node))
        visit(childFields(type), inside, isRepeated || type.kind !== 'struct', isAlwaysThere && type.kind === 'struct')
        continue
      }
      const { columnIndex } = node
      if (columnIndex === undefined) throw mismatch(facts, field, describeExpected(type), nodeText(node))
      const leaf = footer.columns[columnIndex]
      if (node.repetition === 'REPEATED' || !isExactType(type, leaf)) {
        throw mismatch(facts, field, describeExpected(type), describeFound(leaf))
      }
      leaves.push({ field, columnIndex, isRepeated, isAlwaysThere })
    }
  }
  visit(schema.columns, footer.fields, false, true)
  return leaves
}

/** Every node has an id, its own, of one of the fields. */
function checkIds(facts: DataFileFacts, fields: readonly Field[], nodes: readonly SchemaNode[]): void {
  const { path, schema } = facts
  const seen = new Set<number>()
  for (const { name, fieldId } of nodes) {
    const isOne = fieldId !== undefined && !seen.has(fieldId) && fields.some((field) => field.fieldId === fieldId)
    if (!isOne) {
      throw new MillraceError(
        'file-schema-mismatch',
        `${path}: column "${name}" with field id ${fieldId ?? 'none'} is not one of schema ${schema.schemaId}`,
        { facts: { path, column: name } },
      )
    }
    seen.add(fieldId)
  }
}

function mismatch(facts: DataFileFacts, column: Field, expected: string, found: string): MillraceError {
  return new MillraceError(
    'file-schema-mismatch',
    `${facts.path}: column "${column.name}" (field id ${column.fieldId}): expected ${expected}, found ${found}`,
    { facts: { path: facts.path, column: column.name, fieldId: column.fieldId } },
  )
}

type ExactType = Pick<LeafColumn, 'physical'> & { readonly logical: readonly (string | undefined)[] }

/** Physical and logical types of Iceberg's Parquet mapping; a text without logical type is the older spelling of none. */
function exactTypes(type: ColumnType): readonly ExactType[] {
  switch (type.kind) {
    case 'boolean':
      return [{ physical: 'BOOLEAN', logical: [undefined] }]
    case 'int':
      return [{ physical: 'INT32', logical: [undefined, 'INTEGER(32,true)'] }]
    case 'long':
      return [{ physical: 'INT64', logical: [undefined, 'INTEGER(64,true)'] }]
    case 'float':
      return [{ physical: 'FLOAT', logical: [undefined] }]
    case 'double':
      return [{ physical: 'DOUBLE', logical: [undefined] }]
    case 'date':
      return [{ physical: 'INT32', logical: ['DATE'] }]
    case 'time':
      return [{ physical: 'INT64', logical: ['TIME(MICROS,false)'] }]
    case 'timestamp':
      return [{ physical: 'INT64', logical: ['TIMESTAMP(MICROS,false)'] }]
    case 'timestamptz':
      return [{ physical: 'INT64', logical: ['TIMESTAMP(MICROS,true)'] }]
    case 'string':
    case 'json':
      return [{ physical: 'BYTE_ARRAY', logical: ['STRING'] }]
    case 'uuid':
      return [{ physical: 'FIXED_LEN_BYTE_ARRAY', logical: ['UUID'] }]
    case 'binary':
      return [{ physical: 'BYTE_ARRAY', logical: [undefined] }]
    case 'decimal': {
      const logical = [`DECIMAL(${type.precision},${type.scale})`]
      if (type.precision <= 9) return [{ physical: 'INT32', logical }]
      if (type.precision <= 18) return [{ physical: 'INT64', logical }]
      return [{ physical: 'FIXED_LEN_BYTE_ARRAY', logical }]
    }
    case 'struct':
    case 'list':
    case 'map':
      return []
  }
}

function isExactType(type: ColumnType, leaf: LeafColumn): boolean {
  if (type.kind === 'uuid' && leaf.typeLength !== 16) return false
  // DuckDB writes decimals beyond 18 digits in 16 bytes, more than the fewest possible; every reader takes both.
  if (type.kind === 'decimal' && type.precision > 18) {
    const length = leaf.typeLength ?? 0
    if (length < decimalSize(type.precision) || length > 16) return false
  }
  return exactTypes(type).some(({ physical, logical }) => physical === leaf.physical && logical.includes(leaf.logical))
}

function describeExpected(type: ColumnType): string {
  if (isNested(type)) return formatColumnType(type)
  const [{ physical, logical }] = exactTypes(type)
  return logical[0] === undefined ? physical : `${physical} ${logical[0]}`
}

function describeFound(leaf: LeafColumn): string {
  const length = leaf.typeLength === undefined ? '' : `(${leaf.typeLength})`
  return `${leaf.repetition} ${leaf.physical}${length} ${leaf.logical ?? 'without logical type'}`
}

type Bounds = { readonly lower: Uint8Array | undefined; readonly upper: Uint8Array | undefined }

/** One row group without a bound, though it has values, and the file has none: a bound is a promise about all rows. */
function boundsOf(type: ColumnType, leaf: LeafColumn, chunks: readonly ColumnChunk[]): Bounds {
  let lower: SingleValue | undefined
  let upper: SingleValue | undefined
  let hasLower = true
  let hasUpper = true
  for (const { statistics, valueCount } of chunks) {
    if (statistics?.nullCount === valueCount) continue
    const min = statisticValue(type, leaf, statistics?.min)
    const max = statisticValue(type, leaf, statistics?.max)
    if (min === undefined) hasLower = false
    else if (lower === undefined || compareBounds(type, min, lower) < 0) lower = min
    if (max === undefined) hasUpper = false
    else if (upper === undefined || compareBounds(type, max, upper) > 0) upper = max
  }
  return {
    lower:
      hasLower && lower !== undefined ? cutLowerBound(type, encodeSingleValue(type, lowZero(type, lower))) : undefined,
    upper:
      hasUpper && upper !== undefined ? cutUpperBound(type, encodeSingleValue(type, highZero(type, upper))) : undefined,
  }
}

/** Texts stay bytes: a truncated one may end inside a character. NaN is no bound. */
function statisticValue(type: ColumnType, leaf: LeafColumn, bytes: Uint8Array | undefined): SingleValue | undefined {
  if (bytes === undefined) return undefined
  if (type.kind === 'decimal') {
    return bigEndianValue(leaf.physical === 'FIXED_LEN_BYTE_ARRAY' ? bytes : Uint8Array.from(bytes).reverse())
  }
  const value = decodeSingleValue(type, bytes)
  return typeof value === 'number' && Number.isNaN(value) ? undefined : value
}

/** Readers order zeros either way. */
function lowZero(type: ColumnType, value: SingleValue): SingleValue {
  return (type.kind === 'float' || type.kind === 'double') && value === 0 ? -0 : value
}

function highZero(type: ColumnType, value: SingleValue): SingleValue {
  return (type.kind === 'float' || type.kind === 'double') && value === 0 ? 0 : value
}
