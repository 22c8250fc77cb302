/**
 * Stubs: for every table schema one Parquet file without rows, whose columns are called `t<table id>_c<field id>`. A
 * statement over views on stubs is planned by DuckDB like one over the real files, in about a millisecond and without
 * touching data; `scan-needs.ts` reads that plan. DuckDB never folds a zero-row Parquet file into nothing.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Engine } from '../../lake/engine/engine.ts'
import { duckdbType, FILE_COLUMN, quoteName, quoteText, ROW_COLUMN } from '../../lake/file-mapping.ts'
import type { Column, TableSchema } from '../../schemas/table-schema.ts'

export type Stubs = {
  /** `CREATE TEMP VIEW` of a table's stub with these of its columns. */
  viewSql(
    tableName: string,
    tableId: number,
    schema: TableSchema,
    wanted: readonly Column[],
    /** With the columns that tell a row's place. */
    withPlaces?: boolean,
  ): Promise<string>
}

export function createStubs(components: { engine: Engine; folder: string }): Stubs {
  const { engine, folder } = components
  const written = new Map<string, Promise<string>>()

  function stubFile(tableId: number, schema: TableSchema): Promise<string> {
    const key = `${tableId}-${schema.schemaId}`
    const known = written.get(key)
    if (known) return known
    const writing = writeStub(join(folder, `stub-${key}.parquet`), tableId, schema)
    writing.catch(() => written.delete(key))
    written.set(key, writing)
    return writing
  }

  async function writeStub(file: string, tableId: number, schema: TableSchema): Promise<string> {
    await mkdir(folder, { recursive: true })
    const columns = schema.columns.map(
      (column) => `CAST(NULL AS ${duckdbType(column.type)}) AS ${stubColumn(tableId, column)}`,
    )
    await engine.run(`COPY (SELECT ${columns.join(', ')} WHERE false) TO ${quoteText(file)} (FORMAT parquet)`)
    return file
  }

  return {
    async viewSql(tableName, tableId, schema, wanted, withPlaces = false) {
      const file = await stubFile(tableId, schema)
      const columns = wanted.map((column) => `${stubColumn(tableId, column)} AS ${quoteName(column.name)}`)
      if (withPlaces) columns.push(`filename AS ${FILE_COLUMN}`, `file_row_number AS ${ROW_COLUMN}`)
      const options = withPlaces ? ', filename=true, file_row_number=true' : ''
      const relation = `SELECT ${columns.join(', ')} FROM read_parquet(${quoteText(file)}, hive_partitioning=false${options})`
      return `CREATE TEMP VIEW ${quoteName(tableName)} AS ${relation}`
    },
  }
}

function stubColumn(tableId: number, column: Column): string {
  return `t${tableId}_c${column.fieldId}`
}
