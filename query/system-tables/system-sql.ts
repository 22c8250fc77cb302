/**
 * System tables for DuckDB. A view of each, `millrace.<table>`, is there from the engine's start; it reads a temp table of the
 * connection's own, which the setup of a query fills. So each query sees the rows of its own moment, under a name that needs no
 * rewriting of its text.
 */
import { quoteName, quoteText } from '../../lake/file-mapping.ts'
import type { SystemRow, SystemTable, SystemValue } from '../../lake/pipeline-rows.ts'
import { SYSTEM_TABLES, type SystemColumn } from './columns.ts'

export const SYSTEM_SCHEMA = 'millrace'

function temporaryName(table: SystemTable): string {
  return quoteName(`${SYSTEM_SCHEMA}.${table}`)
}

/** Run once in a new engine: the views outlive the temp tables of the connection that makes them. */
export function systemViewsSql(): string[] {
  const tables = Object.keys(SYSTEM_TABLES) as SystemTable[]
  return [
    `CREATE SCHEMA ${SYSTEM_SCHEMA}`,
    ...tables.flatMap((table) => [
      systemTableSql(table, []),
      `CREATE VIEW ${SYSTEM_SCHEMA}.${table} AS SELECT * FROM temp.main.${temporaryName(table)}`,
    ]),
  ]
}

export function systemTableSql(table: SystemTable, rows: readonly SystemRow[]): string {
  const columns: readonly SystemColumn[] = SYSTEM_TABLES[table]
  const line = (row: SystemRow) => `(${columns.map(({ name, type }) => valueSql(row[name], type)).join(', ')})`
  const empty = `(${columns.map(({ type }) => `CAST(NULL AS ${type})`).join(', ')})`
  const names = columns.map(({ name }) => quoteName(name)).join(', ')
  const values =
    rows.length === 0 ? `${empty}) AS t(${names}) WHERE false` : `${rows.map(line).join(', ')}) AS t(${names})`
  return `CREATE TEMP TABLE ${temporaryName(table)} AS SELECT ${names} FROM (VALUES ${values}`
}

function valueSql(value: SystemValue, type: SystemColumn['type']): string {
  if (value === null || value === undefined) return `CAST(NULL AS ${type})`
  if (Array.isArray(value)) return `CAST([${(value as readonly string[]).map(quoteText).join(', ')}] AS ${type})`
  if (type === 'TIMESTAMPTZ') return `make_timestamptz(${value as bigint})`
  return `CAST(${typeof value === 'string' ? quoteText(value) : String(value)} AS ${type})`
}
