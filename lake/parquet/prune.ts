/**
 * Which row groups, and which whole files, can hold a row that passes all of a query's simple filters. Three-valued and
 * conservative: only what provably holds no such row is dropped; whatever is not known (no statistics, another type than
 * the filter's, a nested column, a column that the file lacks, a bound that makes no sense) is kept.
 *
 * Comparisons follow DuckDB: texts by bytes, NaN equal to itself and above every number (bounds never show it, so `>` and
 * `>=` cannot drop a float column), -0 equal to 0. A number may be compared after a cast that rounds it (a FLOAT column,
 * a long against a double), so every reading of the filter's value must exclude the rows before they are dropped.
 */
import type { ColumnType, Field } from '../../schemas/column-type.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import type { ColumnBounds } from '../catalog/catalog.ts'
import {
  type Comparable,
  compareValues,
  type Domain,
  domainOfLeaf,
  domainOfType,
  type FilterValue,
  icebergValue,
  leafValue,
  readingsOf,
} from './comparable.ts'
import type { LeafColumn, ParquetFooter } from './parquet.ts'

export type { FilterValue } from './comparable.ts'

/** One of the two; a field id also finds a column that was renamed. */
export type FilterColumn = { readonly fieldId?: number; readonly path?: string }

/** About one column: of the table, or of a field in its structs. Never of one inside a list or map. */
export type PlainFilter = FilterColumn &
  (
    | { readonly op: 'is null' }
    | { readonly op: 'is not null' }
    | { readonly op: '=' | '<' | '<=' | '>' | '>='; readonly type: ColumnType; readonly value: FilterValue }
    | { readonly op: 'in'; readonly type: ColumnType; readonly values: readonly FilterValue[] }
  )

/** A list of them is joined by AND. */
export type ColumnFilter =
  | PlainFilter
  | { readonly op: 'all'; readonly of: readonly ColumnFilter[] }
  | { readonly op: 'any'; readonly of: readonly ColumnFilter[] }

/** Three-valued logic needs no third value here: true is "may match", and NOT was pushed down to the comparisons. */
export function mayPass(filter: ColumnFilter, mayPassPlain: (filter: PlainFilter) => boolean): boolean {
  if (filter.op === 'all') return filter.of.every((each) => mayPass(each, mayPassPlain))
  if (filter.op === 'any') return filter.of.some((each) => mayPass(each, mayPassPlain))
  return mayPassPlain(filter)
}

/** Every filter about one column, however deep. */
export function plainFilters(filters: readonly ColumnFilter[]): PlainFilter[] {
  return filters.flatMap((filter) => (filter.op === 'all' || filter.op === 'any' ? plainFilters(filter.of) : [filter]))
}

export type PruneOptions = {
  /** Texts are compared by so many bytes of them at most, and no further than the filter's own text goes. */
  readonly textBytesMax?: number
}

/** Indices of the row groups to read, ascending. */
export function pruneRowGroups(
  footer: ParquetFooter,
  filters: readonly ColumnFilter[],
  options: PruneOptions = {},
): number[] {
  const kept: number[] = []
  footer.rowGroups.forEach((group, index) => {
    const mayPassPlain = (filter: PlainFilter) => {
      const known = knownOfRowGroup(footer, index, filter)
      return known === undefined || mayMatch(known, filter, options)
    }
    if (group.rowCount > 0 && filters.every((filter) => mayPass(filter, mayPassPlain))) kept.push(index)
  })
  return kept
}

/** undefined when nothing is known: no such column, no statistics, a column of many values in a row. */
export function knownOfRowGroup(
  footer: ParquetFooter,
  rowGroup: number,
  column: FilterColumn,
): KnownColumn | undefined {
  const index = findLeaf(footer.columns, column)
  if (index < 0) return undefined
  const { chunks, rowCount } = footer.rowGroups[rowGroup]
  return knownOfChunk(footer.columns[index], chunks[index].statistics, rowCount)
}

type FileFacts = { readonly rowCount: number; readonly bounds: readonly ColumnBounds[] }

/** By the bounds of a manifest or a segment's row: false when the file provably holds no matching row. */
export function mayFileMatch(
  file: FileFacts,
  schema: TableSchema,
  filters: readonly ColumnFilter[],
  isUsable: (filter: PlainFilter) => boolean = () => true,
): boolean {
  return filters.every((filter) =>
    mayPass(filter, (plain) => {
      const known = isUsable(plain) ? knownOfFile(file, schema, plain) : undefined
      return known === undefined || mayMatch(known, plain)
    }),
  )
}

export function knownOfFile(file: FileFacts, schema: TableSchema, filter: FilterColumn): KnownColumn | undefined {
  const column = fieldOf(schema.columns, filter)
  const bounds = file.bounds.find((each) => each.fieldId === column?.fieldId)
  if (column === undefined || bounds === undefined) return undefined
  return knownOfBounds(column.type, bounds, file.rowCount)
}

/** Bounds are Iceberg's single values of the type. */
export function knownOfBounds(
  type: ColumnType,
  bounds: Pick<ColumnBounds, 'lower' | 'upper'> & { readonly nullCount: number | undefined },
  rowCount: number,
): KnownColumn {
  return {
    domain: domainOfType(type),
    min: icebergValue(type, bounds.lower),
    max: icebergValue(type, bounds.upper),
    nullCount: bounds.nullCount,
    rowCount,
    mayHoldNaN: type.kind === 'float' || type.kind === 'double',
    isSingle: type.kind === 'float',
  }
}

/** By id also in structs; never in lists and maps, whose bounds are of many values in a row. */
function fieldOf(fields: readonly Field[], filter: FilterColumn): Field | undefined {
  if (filter.fieldId === undefined) return fields.find(({ name }) => name === filter.path)
  for (const field of fields) {
    if (field.fieldId === filter.fieldId) return field
    const inside = field.type.kind === 'struct' ? fieldOf(field.type.fields, filter) : undefined
    if (inside) return inside
  }
  return undefined
}

function findLeaf(columns: readonly LeafColumn[], filter: FilterColumn): number {
  return columns.findIndex((column) =>
    filter.fieldId === undefined ? column.path === filter.path : column.fieldId === filter.fieldId,
  )
}

/** What is known of one column in one row group or file. */
export type KnownColumn = {
  readonly domain: Domain
  readonly min: Comparable | undefined
  readonly max: Comparable | undefined
  readonly nullCount: number | undefined
  readonly rowCount: number
  readonly mayHoldNaN: boolean
  /** A 32-bit float: a filter's number may be rounded to it before it is compared. */
  readonly isSingle: boolean
}

function knownOfChunk(
  column: LeafColumn,
  statistics: ParquetFooter['rowGroups'][number]['chunks'][number]['statistics'],
  rowCount: number,
): KnownColumn | undefined {
  if (column.repetition === 'REPEATED' || statistics === undefined) return undefined
  const isFloat = column.physical === 'FLOAT' || column.physical === 'DOUBLE' || column.logical === 'FLOAT16'
  return {
    domain: domainOfLeaf(column),
    min: leafValue(column, statistics.min, 'down'),
    max: leafValue(column, statistics.max, 'up'),
    nullCount: column.repetition === 'REQUIRED' ? 0 : statistics.nullCount,
    rowCount,
    mayHoldNaN: isFloat,
    isSingle: column.physical === 'FLOAT',
  }
}

export function mayMatch(known: KnownColumn, filter: PlainFilter, options: PruneOptions = {}): boolean {
  if (filter.op === 'is null') return known.nullCount !== 0
  // Every other operator needs a value that is there.
  if (known.nullCount !== undefined && known.nullCount === known.rowCount) return false
  if (filter.op === 'is not null') return true
  if (domainOfType(filter.type) !== known.domain) return true
  const isSane = known.min === undefined || known.max === undefined || compareValues(known.min, known.max) <= 0
  if (!isSane) return true
  const values = filter.op === 'in' ? filter.values : [filter.value]
  const op = filter.op === 'in' ? '=' : filter.op
  return values.some((value) => {
    const readings = readingsOf(filter.type, value, known.isSingle)
    return readings === undefined || readings.some((reading) => mayCompareUpTo(known, op, reading, options))
  })
}

/** Cut texts that are alike say nothing about the whole ones. */
function mayCompareUpTo(
  known: KnownColumn,
  op: '=' | '<' | '<=' | '>' | '>=',
  value: Comparable,
  { textBytesMax = Number.POSITIVE_INFINITY }: PruneOptions,
): boolean {
  if (!(value instanceof Uint8Array) || textBytesMax === Number.POSITIVE_INFINITY) return mayCompare(known, op, value)
  const length = Math.min(textBytesMax, value.length)
  const cut = (bytes: Comparable | undefined) => (bytes instanceof Uint8Array ? bytes.subarray(0, length) : bytes)
  const orEqual = op === '<' ? '<=' : op === '>' ? '>=' : op
  return mayCompare({ ...known, min: cut(known.min), max: cut(known.max) }, orEqual, value.subarray(0, length))
}

function mayCompare(known: KnownColumn, op: '=' | '<' | '<=' | '>' | '>=', value: Comparable): boolean {
  const { min, max } = known
  // NaN is equal to NaN and above all else; it never shows in bounds.
  if (typeof value === 'number' && Number.isNaN(value)) return true
  switch (op) {
    case '=':
      return (
        !(min !== undefined && compareValues(value, min) < 0) && !(max !== undefined && compareValues(value, max) > 0)
      )
    case '<':
      return min === undefined || compareValues(min, value) < 0
    case '<=':
      return min === undefined || compareValues(min, value) <= 0
    case '>':
      return known.mayHoldNaN || max === undefined || compareValues(max, value) > 0
    case '>=':
      return known.mayHoldNaN || max === undefined || compareValues(max, value) >= 0
  }
}
