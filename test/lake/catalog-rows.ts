/** The catalog's own tables, read past every service: what a test can't ask through the catalog's methods. */
import { DatabaseSync } from 'node:sqlite'
import { isPostgresUrl } from '../../lake/catalog/postgres-url.ts'
import { runSql } from '../harness/postgres.ts'

export type CatalogRow = Readonly<Record<string, unknown>>

/** Integers come as they are in the database's own client: numbers, or texts of digits. */
export async function catalogRows(url: string, sql: string): Promise<readonly CatalogRow[]> {
  if (isPostgresUrl(url)) return runSql(url, sql)
  const database = new DatabaseSync(url.replace(/^sqlite:/, ''), { readOnly: true, timeout: 10_000 })
  try {
    return database
      .prepare(sql)
      .all()
      .map((row) => ({ ...row }))
  } finally {
    database.close()
  }
}
