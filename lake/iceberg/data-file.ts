/**
 * A written Parquet file → the row that a manifest keeps of it: counts, sizes and bounds from the footer, once the footer
 * was found to have every column of the schema, by field id, in the exact Iceberg type, and no other.
 *
 * Errors: `file-schema-mismatch`, naming file and column. A file that lacks a column would read as NULLs elsewhere.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import type { Column, TableSchema } from '../../schemas/table-schema.ts'
import type { Table } from '../catalog/catalog.ts'
import type { ColumnChunk, LeafColumn, ParquetFooter } from '../parquet/parquet.ts'
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
  const { path, bytes, footer, schema, partition, sortOrderId } = facts
  const columnSizes = new Map<number, number>()
  const valueCounts = new Map<number, number>()
  const nullCounts = new Map<number, number>()
  const lowerBounds = new Map<number, Uint8Array>()
  const upperBounds = new Map<number, Uint8Array>()
  const indexes = checkColumns(facts)
  for (const column of schema.columns) {
    const index = indexes.get(column.fieldId)!
    const chunks = footer.rowGroups.flatMap((group) => group.chunks.filter((chunk) => chunk.columnIndex === index))
    columnSizes.set(column.fieldId, sum(chunks.map((chunk) => chunk.end - chunk.start)))
    valueCounts.set(column.fieldId, sum(chunks.map((chunk) => chunk.valueCount)))
    const nulls = chunks.map((chunk) => chunk.statistics?.nullCount)
    if (nulls.every((each) => each !== undefined)) nullCounts.set(column.fieldId, sum(nulls))
    if (column.required && sum(nulls.map((each) => each ?? 0)) > 0) {
      throw mismatch(facts, column, 'no nulls in a required column', `${sum(nulls.map((each) => each ?? 0))} nulls`)
    }
    const { lower, upper } = boundsOf(column.type, footer.columns[index], chunks)
    if (lower) lowerBounds.set(column.fieldId, lower)
    if (upper) upperBounds.set(column.fieldId, upper)
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

/** Field id → index of the leaf column. */
function checkColumns(facts: DataFileFacts): ReadonlyMap<number, number> {
  const { footer, schema, path } = facts
  const indexes = new Map<number, number>()
  footer.columns.forEach((leaf, index) => {
    const column = schema.columns.find((each) => each.fieldId === leaf.fieldId)
    if (leaf.fieldId === undefined || !column || indexes.has(leaf.fieldId)) {
      throw new MillraceError(
        'file-schema-mismatch',
        `${path}: column "${leaf.path}" with field id ${leaf.fieldId ?? 'none'} is not one of schema ${schema.schemaId}`,
        { facts: { path, column: leaf.path } },
      )
    }
    indexes.set(leaf.fieldId, index)
  })
  for (const column of schema.columns) {
    const index = indexes.get(column.fieldId)
    if (index === undefined) throw mismatch(facts, column, describeExpected(column.type), 'no such column')
    const leaf = footer.columns[index]
    if (leaf.path !== column.name) throw mismatch(facts, column, `the name "${column.name}"`, `"${leaf.path}"`)
    if (leaf.repetition === 'REPEATED' || !isExactType(column.type, leaf)) {
      throw mismatch(facts, column, describeExpected(column.type), describeFound(leaf))
    }
  }
  return indexes
}

function mismatch(facts: DataFileFacts, column: Column, expected: string, found: string): MillraceError {
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
