/**
 * The rows that a table's view is made of, as SQL over the relation of its files: without masked ones, and only those that a
 * statement for the latest row of each key can give (`latest-rows.ts`).
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import { unmaskedSql } from '../../lake/mask-sql.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { callsRank, isWorthIt, latestRows, latestSql } from './latest-rows.ts'
import type { SettledFile } from './read-files.ts'
import type { AskedStatement, StatementNeeds } from './statement-needs.ts'

export function viewRowsSql(
  relation: string,
  version: TableVersion,
  wanted: readonly Column[],
  { asked, needs }: { readonly asked: AskedStatement; readonly needs: Pick<StatementNeeds, 'ofTable'> },
  files: readonly SettledFile[],
): string {
  const { table, masks = [] } = version
  const { sql, functions = new Set(), givenNames } = asked
  if (masks.length === 0 && needs.ofTable.size === 1 && givenNames !== undefined && callsRank(functions)) {
    const latest = latestRows(sql, table.name.toLowerCase(), wanted, givenNames)
    if (latest && isWorthIt(latest, files)) return latestSql(relation, latest)
  }
  return unmaskedSql(relation, wanted, masks)
}
