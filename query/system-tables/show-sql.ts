/**
 * What SHOW says of a lake, as a SELECT of ours: DuckDB's own would list the views that a query happens to have.
 */
import type { Table } from '../../lake/catalog/catalog.ts'
import { duckdbType, quoteText } from '../../lake/file-mapping.ts'
import { isHidden } from '../../schemas/table-schema.ts'
import { STANDARD_SCHEMA } from '../statement/standard-schema.ts'
import type { Statement } from '../statement/statement.ts'
import { LAKE_CATALOG, LAKE_SCHEMA, partsOf, SYSTEM_SCHEMA, SYSTEM_TABLES, type SystemTable } from './columns.ts'

/** `tables`: those that the caller may read. */
export function showSql(kind: Statement['kind'], tables: readonly Table[]): string {
  const sorted = tables.toSorted((a, b) => (a.name < b.name ? -1 : 1))
  switch (kind) {
    case 'show-all-tables':
      return rowsSql(
        ['database', 'schema', 'name', 'column_names', 'column_types', 'temporary'],
        [
          ...sorted.map((table) => {
            const columns = (table.schemas.at(-1)?.columns ?? []).filter((column) => !isHidden(column))
            return listedSql(
              LAKE_SCHEMA,
              table.name,
              columns.map(({ name, type }) => ({ name, type: duckdbType(type) })),
            )
          }),
          ...(Object.keys(SYSTEM_TABLES) as SystemTable[]).map((id) => listedSql(...partsOf(id), SYSTEM_TABLES[id])),
        ],
      )
    case 'show-schemas': {
      const names = [LAKE_SCHEMA, SYSTEM_SCHEMA, STANDARD_SCHEMA]
      const rows = names.map((name) => [quoteText(LAKE_CATALOG), quoteText(name), String(name === LAKE_SCHEMA)])
      return rowsSql(['database_name', 'schema_name', 'current'], rows)
    }
    case 'show-databases':
      return rowsSql(['database_name'], [[quoteText(LAKE_CATALOG)]])
    default:
      if (sorted.length === 0) return 'SELECT NULL::VARCHAR AS name WHERE false'
      return rowsSql(
        ['name'],
        sorted.map(({ name }) => [quoteText(name)]),
      )
  }
}

function listedSql(
  schema: string,
  name: string,
  columns: readonly { readonly name: string; readonly type: string }[],
): string[] {
  const list = (texts: readonly string[]) => `[${texts.map(quoteText).join(', ')}]::VARCHAR[]`
  return [
    quoteText(LAKE_CATALOG),
    quoteText(schema),
    quoteText(name),
    list(columns.map((column) => column.name)),
    list(columns.map((column) => column.type)),
    'false',
  ]
}

function rowsSql(names: readonly string[], rows: readonly (readonly string[])[]): string {
  const values = rows.map((row) => `(${row.join(', ')})`).join(', ')
  return `SELECT * FROM (VALUES ${values}) shown(${names.map((name) => `"${name}"`).join(', ')})`
}
