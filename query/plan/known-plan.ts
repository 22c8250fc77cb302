/**
 * The plan of a statement whose answer is known (`known-answers.ts`): no file is opened. What runs is a SELECT of constants; where they
 * are plain, they are told as they are (`row`), and no engine has to be asked.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { keywordsOf } from './faster-sql.ts'
import { knownAnswer } from './known-answers.ts'
import { emptyTableStats, totalStats } from './plan-stats.ts'
import type { PlannedStatement, PlanOptions, QueryPlan } from './plan-tables.ts'
import type { TableFileReader } from './table-files.ts'

/** `undefined`: files have to be read. */
export async function knownPlan(
  statement: PlannedStatement,
  versions: readonly TableVersion[],
  options: PlanOptions,
  parts: { readonly engine: Engine; readonly files: TableFileReader },
): Promise<QueryPlan | undefined> {
  const { wholeTable, explained } = statement
  const [version] = versions
  if (!wholeTable || versions.length !== 1) return undefined
  if (statement.systemTables.size > 0 || Object.keys(options.params).length > 0) return undefined
  if (wholeTable.some(({ words }) => words.length > 0)) {
    const reserved = await keywordsOf(options.engine ?? parts.engine)
    if (wholeTable.some(({ words }) => words.some((word) => reserved.has(word)))) return undefined
  }
  const { snapshotId, files } = await parts.files.filesOf(version)
  const answer = knownAnswer(wholeTable, version, files)
  if (answer === undefined) return undefined
  const stats = { ...emptyTableStats(), files: files.length, filesKnown: files.length }
  const explain = explained ? statement.sql.slice(0, explained.sql.search(/\S/)) : ''
  // What a session sets may be wrong, which the engine tells.
  const isPlain = statement.kind === 'select' && options.sessionSetup.length === 0
  return {
    setup: options.sessionSetup,
    sql: explain + answer.sql,
    ...(isPlain && answer.row ? { row: answer.row } : {}),
    tables: [{ version, snapshotId }],
    stats: totalStats(new Map([[version.table.name, stats]])),
    hasSparseFiles: false,
    files: [],
    release: () => {},
    distrust: () => {},
  }
}
