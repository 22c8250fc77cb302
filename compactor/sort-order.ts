/**
 * ORDER BY for a table's sort order, and the statement that counts the places where a written file breaks it: a sort
 * order is claimed only for files that were checked (PROTOCOL 4). DuckDB compares text by bytes, as Iceberg does.
 */
import type { SortField } from '../lake/catalog/catalog.ts'
import { quoteName, quoteText } from '../lake/file-mapping.ts'
import type { TableSchema } from '../schemas/table-schema.ts'

export function orderBySql(sort: readonly SortField[], schema: TableSchema): string {
  if (sort.length === 0) return ''
  const keys = sort.map((field) => {
    const direction = field.descending ? 'DESC' : 'ASC'
    return `${nameOf(field, schema)} ${direction} NULLS ${field.nullsFirst ? 'FIRST' : 'LAST'}`
  })
  return ` ORDER BY ${keys.join(', ')}`
}

/** One row, `violations`: rows that should stand before the row in front of them. */
export function violationsSql(localFile: string, sort: readonly SortField[], schema: TableSchema): string {
  const columns = sort.map((field) => nameOf(field, schema))
  const previous = columns.map((column, index) => `lag(${column}) OVER () AS previous_${index}`)
  return `SELECT count(*) FILTER (WHERE row_number > 1 AND ${out(sort, columns, 0)}) AS violations FROM (
    SELECT row_number() OVER () AS row_number, ${columns.join(', ')}, ${previous.join(', ')}
    FROM read_parquet(${quoteText(localFile)}, hive_partitioning=false))`
}

/** This row belongs before the previous one by key `index`, or is equal in it and belongs before by the later keys. */
function out(sort: readonly SortField[], columns: readonly string[], index: number): string {
  const { descending, nullsFirst } = sort[index]
  const [current, previous] = [columns[index], `previous_${index}`]
  const valueFirst = `(${current} ${descending ? '>' : '<'} ${previous})`
  const nullFirst = nullsFirst
    ? `(${current} IS NULL AND ${previous} IS NOT NULL)`
    : `(${current} IS NOT NULL AND ${previous} IS NULL)`
  const here = `(coalesce(${valueFirst}, false) OR ${nullFirst})`
  if (index === sort.length - 1) return here
  return `(${here} OR (${current} IS NOT DISTINCT FROM ${previous} AND ${out(sort, columns, index + 1)}))`
}

function nameOf(field: SortField, schema: TableSchema): string {
  return quoteName(schema.columns.find((column) => column.fieldId === field.fieldId)!.name)
}
