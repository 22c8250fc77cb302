/** The catalog's own tables, read past every service: what a test can't ask through the catalog's methods. */
import { DatabaseSync } from 'node:sqlite'

export type CatalogRow = Readonly<Record<string, unknown>>

/** Integers come as numbers. */
export async function catalogRows(url: string, sql: string): Promise<readonly CatalogRow[]> {
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
