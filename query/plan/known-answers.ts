/**
 * Counts, and least and greatest values, of a whole table from what its manifests and segments' rows in the catalog say of each file: a
 * SELECT of constants for the engine, so that types, formats, limits and zones are as ever. No file is opened.
 *
 * Only what is exact: counts of rows; values that are not NULL where every file tells its NULLs; bounds of whole numbers, dates, times
 * of day and moments, booleans and decimals up to 18 digits. Not of texts, which are cut in bounds; not of floating point, where
 * bounds know neither NaN nor which zero; not of a column that some file lacks or has in another type, nor of moments at infinity.
 * Rows that are masked make everything inexact. One item that is not known, and the statement is run as ever.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { KnownCell, KnownRow } from '../../lake/engine/known-row.ts'
import { duckdbType, quoteName } from '../../lake/file-mapping.ts'
import { decodeSingleValue } from '../../lake/iceberg/single-value.ts'
import { type ColumnType, formatColumnType, isNested } from '../../schemas/column-type.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { WholeTableItem } from '../statement/whole-table.ts'
import type { TableFile } from './table-files.ts'

type Answered = Pick<TableVersion, 'table' | 'masks'>

export type KnownAnswer = {
  readonly sql: string
  /** The same, when each value is a count, a whole number or a boolean. */
  readonly row: KnownRow | undefined
}

/** undefined: files have to be read. */
export function knownAnswer(
  items: readonly WholeTableItem[],
  { table, masks = [] }: Answered,
  files: readonly TableFile[],
): KnownAnswer | undefined {
  const columns = table.schemas.at(-1)?.columns
  if (masks.length > 0 || columns === undefined) return undefined
  const rows = sum(files.map(({ rowCount }) => rowCount))
  const selected: string[] = []
  const cells: (KnownCell | undefined)[] = []
  for (const { kind, column: name, name: result } of items) {
    const value = kind === 'rows' ? count(rows) : extremeOrCount(kind, name, columns, table, files, rows)
    if (value === undefined) return undefined
    selected.push(`${value.sql} AS ${quoteName(result)}`)
    cells.push(value.cell && { name: result, ...value.cell })
  }
  const row = cells.flatMap((cell) => cell ?? [])
  return { sql: `SELECT ${selected.join(', ')}`, row: row.length === cells.length ? row : undefined }
}

type KnownValue = { readonly sql: string; readonly cell: Omit<KnownCell, 'name'> | undefined }

function extremeOrCount(
  kind: 'values' | 'min' | 'max',
  name: string | undefined,
  columns: readonly Column[],
  table: Answered['table'],
  files: readonly TableFile[],
  rows: number,
): KnownValue | undefined {
  const named = columns.filter((column) => column.name.toLowerCase() === name)
  const [column] = named
  if (named.length !== 1 || isNested(column.type) || !isOneType(column, table)) return undefined
  const facts = files.map((file) => ({ file, bounds: file.bounds.find(({ fieldId }) => fieldId === column.fieldId) }))
  const nulls = facts.map(({ bounds }) => bounds?.nullCount)
  if (!nulls.every((each) => each !== undefined && Number.isSafeInteger(each))) return undefined
  if (kind === 'values') return count(rows - sum(nulls as readonly number[]))
  if (!hasExactBounds(column.type)) return undefined
  let extreme: bigint | undefined
  for (const { file, bounds } of facts) {
    // Nothing but NULLs: no bounds, and nothing to compare.
    if (bounds?.nullCount === file.rowCount) continue
    const value = exactValue(column.type, kind === 'min' ? bounds?.lower : bounds?.upper)
    if (value === undefined) return undefined
    if (extreme === undefined || (kind === 'min' ? value < extreme : value > extreme)) extreme = value
  }
  const sql = extreme === undefined ? `CAST(NULL AS ${duckdbType(column.type)})` : literal(column.type, extreme)
  return { sql, cell: plainCell(column.type, extreme) }
}

function plainCell({ kind }: ColumnType, value: bigint | undefined): KnownValue['cell'] {
  if (kind === 'boolean') return { type: 'BOOLEAN', value: value === undefined ? null : value === 1n }
  if (kind === 'int' || kind === 'long') return { type: kind === 'int' ? 'INTEGER' : 'BIGINT', value: value ?? null }
  return undefined
}

/** In every schema that the table had: a bound does not say in which type it was written. */
function isOneType({ fieldId, type }: Column, { schemas }: Answered['table']): boolean {
  return schemas.every(({ columns }) =>
    columns.every((each) => each.fieldId !== fieldId || formatColumnType(each.type) === formatColumnType(type)),
  )
}

const DIGITS_MAX = 18

function hasExactBounds(type: ColumnType): boolean {
  if (type.kind === 'decimal') return type.precision <= DIGITS_MAX
  return ['boolean', 'int', 'long', 'date', 'timestamp', 'timestamptz'].includes(type.kind)
}

/** Beyond them are infinity, and moments that no calendar prints. */
const DAYS_MAX = 1n << 21n
const MICROS_MAX = 1n << 57n

function exactValue(type: ColumnType, bytes: Uint8Array | undefined): bigint | undefined {
  const value = bytes === undefined ? undefined : decodeSingleValue(type, bytes)
  if (typeof value === 'boolean') return value ? 1n : 0n
  if (typeof value !== 'bigint' && typeof value !== 'number') return undefined
  const whole = BigInt(value)
  const max = type.kind === 'date' ? DAYS_MAX : type.kind.startsWith('timestamp') ? MICROS_MAX : undefined
  return max !== undefined && (whole > max || whole < -max) ? undefined : whole
}

function literal(type: ColumnType, value: bigint): string {
  switch (type.kind) {
    case 'boolean':
      return value === 1n ? 'true' : 'false'
    case 'date':
      return `(DATE '1970-01-01' + CAST(${value} AS INTEGER))`
    case 'timestamp':
      return `make_timestamp(CAST(${value} AS BIGINT))`
    case 'timestamptz':
      return `make_timestamptz(CAST(${value} AS BIGINT))`
    case 'decimal':
      return `CAST('${decimalText(value, type.scale)}' AS ${duckdbType(type)})`
    default:
      return `CAST('${value}' AS ${duckdbType(type)})`
  }
}

function decimalText(value: bigint, scale: number): string {
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, '0')
  const whole = digits.slice(0, digits.length - scale)
  return `${value < 0n ? '-' : ''}${whole}${scale > 0 ? `.${digits.slice(-scale)}` : ''}`
}

function count(rows: number): KnownValue | undefined {
  if (!Number.isSafeInteger(rows)) return undefined
  return { sql: `CAST(${rows} AS BIGINT)`, cell: { type: 'BIGINT', value: BigInt(rows) } }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, each) => total + each, 0)
}
