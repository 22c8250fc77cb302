/**
 * System tables for DuckDB. A view of each, `millrace.<table>`, is there from the engine's start; it reads a temp view of the
 * connection's own, which the setup of a query makes over a file with that query's rows. So each query sees the rows of its own
 * moment, under a name that needs no rewriting of its text.
 *
 * The rows lie in a file, a JSON object a line: ten thousand as VALUES take DuckDB more than a second to parse. The engine reads
 * them as it needs them.
 */
import { quoteName, quoteText } from '../../lake/file-mapping.ts'
import type { SystemRow, SystemValue } from '../../lake/pipeline-rows.ts'
import { OWN_STANDARD_SCHEMA, STANDARD_SCHEMA } from '../statement/standard-schema.ts'
import { LAKE_CATALOG, partsOf, readFrom, SYSTEM_SCHEMA, SYSTEM_TABLES, type SystemTable } from './columns.ts'
import type { SystemColumn, SystemType } from './system-column.ts'

/** Run once in a new engine: the views outlive the temp views of the connection that makes them. */
export function systemViewsSql(): string[] {
  const tables = Object.keys(SYSTEM_TABLES) as SystemTable[]
  const own = tables.filter((id) => readFrom(id) === id)
  return [
    `CREATE SCHEMA ${SYSTEM_SCHEMA}`,
    `CREATE SCHEMA ${OWN_STANDARD_SCHEMA}`,
    ...own.flatMap((id) => {
      const [schema, name] = partsOf(id)
      return [
        emptySystemTableSql(id),
        `CREATE VIEW ${schema === STANDARD_SCHEMA ? OWN_STANDARD_SCHEMA : schema}.${name} AS SELECT * FROM temp.main.${quoteName(id)}`,
      ]
    }),
    `CREATE VIEW ${SYSTEM_SCHEMA}.table_partitions AS
       SELECT table_name, "partition", count(*) AS files, sum(rows)::BIGINT AS rows, sum(bytes)::BIGINT AS bytes,
              max(added_at) AS newest_file_at
       FROM ${SYSTEM_SCHEMA}.files GROUP BY table_name, "partition"`,
    `CREATE MACRO current_database() AS ${quoteText(LAKE_CATALOG)}`,
    `CREATE MACRO current_catalog() AS ${quoteText(LAKE_CATALOG)}`,
  ]
}

/**
 * The table over a file of its rows, as `systemLine` writes them. `lineBytesMax`: its longest line; DuckDB takes twice as much
 * memory for each thread that reads (32 MiB at least), so that it must not be more than needed.
 */
export function systemTableSql(id: SystemTable, localFile: string, lineBytesMax: number): string {
  const list = SYSTEM_TABLES[id]
  const types = list.map(({ name, type }) => `${quoteText(name)}: ${quoteText(fileType(type))}`).join(', ')
  const selected = list.map(({ name, type }) =>
    type === 'TIMESTAMPTZ' ? `make_timestamptz(${quoteName(name)}) AS ${quoteName(name)}` : quoteName(name),
  )
  return `CREATE TEMP VIEW ${quoteName(id)} AS SELECT ${selected.join(', ')} FROM read_json(${quoteText(localFile)},
    format='newline_delimited', maximum_object_size=${Math.max(OBJECT_BYTES_MIN, lineBytesMax + 1)}, columns={${types}})`
}

const OBJECT_BYTES_MIN = 256 * 1024

export function emptySystemTableSql(id: SystemTable): string {
  const columns = SYSTEM_TABLES[id].map(({ name, type }) => `CAST(NULL AS ${type}) AS ${quoteName(name)}`)
  return `CREATE TEMP VIEW ${quoteName(id)} AS SELECT ${columns.join(', ')} WHERE false`
}

/** A row as one line of such a file, with its line feed. */
export function systemLine(columns: readonly SystemColumn[], row: SystemRow): string {
  const parts: string[] = []
  for (const { name } of columns) {
    const value = row[name]
    if (value !== null && value !== undefined) parts.push(`${JSON.stringify(name)}:${valueJson(value)}`)
  }
  return `{${parts.join(',')}}\n`
}

function valueJson(value: NonNullable<SystemValue>): string {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'string') return textJson(value)
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === 'string' ? plainText(each) : each))
}

function textJson(text: string): string {
  return JSON.stringify(plainText(text))
}

/** DuckDB takes neither half a surrogate pair nor a zero character in JSON. */
function plainText(text: string): string {
  return text.toWellFormed().replaceAll('\0', '\u2400')
}

function fileType(type: SystemType): string {
  return type === 'TIMESTAMPTZ' ? 'BIGINT' : type
}
