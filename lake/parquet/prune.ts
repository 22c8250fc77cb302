/**
 * Which row groups, and which whole files, can hold a row that passes all of a query's simple filters. Three-valued and
 * conservative: only what provably holds no such row is dropped; whatever is not known (no statistics, another type than
 * the filter's, a nested column, a column that the file lacks, a bound that makes no sense) is kept.
 *
 * Comparisons follow DuckDB: texts by bytes, NaN equal to itself and above every number (bounds never show it, so `>` and
 * `>=` cannot drop a float column), -0 equal to 0. A number may be compared after a cast that rounds it (a FLOAT column,
 * a long against a double), so every reading of the filter's value must exclude the rows before they are dropped.
 */
import type { ColumnType } from '../../schemas/column-type.ts'
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

/** Joined by AND. */
export type ColumnFilter = FilterColumn &
  (
    | { readonly op: 'is null' }
    | { readonly op: 'is not null' }
    | { readonly op: '=' | '<' | '<=' | '>' | '>='; readonly type: ColumnType; readonly value: FilterValue }
    | { readonly op: 'in'; readonly type: ColumnType; readonly values: readonly FilterValue[] }
  )

/** Indices of the row groups to read, ascending. */
export function pruneRowGroups(footer: ParquetFooter, filters: readonly ColumnFilter[]): number[] {
  const kept: number[] = []
  footer.rowGroups.forEach((group, index) => {
    const mayHold = filters.every((filter) => {
      const column = findLeaf(footer.columns, filter)
      if (column < 0) return true
      const known = knownOfChunk(footer.columns[column], group.chunks[column].statistics, group.rowCount)
      return known === undefined || mayMatch(known, filter)
    })
    if (group.rowCount > 0 && mayHold) kept.push(index)
  })
  return kept
}

/** By the bounds of a manifest or a segment's row: false when the file provably holds no matching row. */
export function mayFileMatch(
  file: { readonly rowCount: number; readonly bounds: readonly ColumnBounds[] },
  schema: TableSchema,
  filters: readonly ColumnFilter[],
): boolean {
  return filters.every((filter) => {
    const column = schema.columns.find((each) =>
      filter.fieldId === undefined ? each.name === filter.path : each.fieldId === filter.fieldId,
    )
    const bounds = file.bounds.find((each) => each.fieldId === column?.fieldId)
    if (column === undefined || bounds === undefined) return true
    const domain = domainOfType(column.type)
    return mayMatch(
      {
        domain,
        min: icebergValue(column.type, bounds.lower),
        max: icebergValue(column.type, bounds.upper),
        nullCount: bounds.nullCount,
        rowCount: file.rowCount,
        mayHoldNaN: column.type.kind === 'float' || column.type.kind === 'double',
        isSingle: column.type.kind === 'float',
      },
      filter,
    )
  })
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
  const isNested = column.repetition === 'REPEATED' || column.path.includes('.')
  if (isNested || statistics === undefined) return undefined
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

function mayMatch(known: KnownColumn, filter: ColumnFilter): boolean {
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
    return readings === undefined || readings.some((reading) => mayCompare(known, op, reading))
  })
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
