/**
 * EXPLAIN and EXPLAIN ANALYZE: DuckDB's own rows, without paths, and one more that says what of the tables' files was left out and fetched. The
 * statement runs like any other, then its rows go out as those of a statement over constants, so every format and limit of a
 * result applies.
 */
import type { EngineQuery, EngineResult } from '../../lake/engine/engine.ts'
import { quoteText } from '../../lake/file-mapping.ts'
import { type PlanStats, statsText } from '../plan/plan-stats.ts'
import { withoutPlaces } from './plan-places.ts'

const ROWS_MAX = 1000
const READING_KEY = 'millrace_reading'

/** `run` gives the rows of a query. */
export async function explainSql(
  query: EngineQuery,
  stats: PlanStats,
  run: (query: EngineQuery, onRows: (rows: readonly (readonly unknown[])[]) => void) => Promise<EngineResult>,
): Promise<string> {
  const rows: string[] = []
  await run({ ...query, format: 'rows', rowsMax: ROWS_MAX }, (found) => {
    for (const row of found) rows.push(`(${row.map((value) => quoteText(withoutPlaces(String(value)))).join(', ')})`)
  })
  if (stats.byTable.size > 0) rows.push(`(${quoteText(READING_KEY)}, ${quoteText(statsText(stats.byTable))})`)
  return `SELECT explain_key, explain_value FROM (VALUES ${rows.join(', ')}) plan(explain_key, explain_value)`
}
