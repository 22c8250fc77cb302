/**
 * Another text with the same answer, of what is known when a statement has been planned: its tables' columns, and the words that
 * DuckDB quotes in a name that it makes of an expression.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import type { Statement } from '../statement/statement.ts'
import { callsQuantiles, sharableColumns, sharedQuantiles } from './shared-quantiles.ts'
import { currentSchema } from './statement-needs.ts'

const KEYWORDS_SQL = 'SELECT lower(keyword_name) AS keyword FROM duckdb_keywords()'

let keywords: ReadonlySet<string> | undefined

/** In lower case; the same for every engine. */
export async function keywordsOf(engine: Engine): Promise<ReadonlySet<string>> {
  keywords ??= new Set((await engine.run(KEYWORDS_SQL)).map(({ keyword }) => String(keyword)))
  return keywords
}

/** `undefined`: the statement runs as it is. */
export async function fasterSql(
  { sql, functions, givenNames }: Pick<Statement, 'sql' | 'functions' | 'givenNames'>,
  versions: readonly TableVersion[],
  engine: Engine,
): Promise<string | undefined> {
  if (!callsQuantiles(functions)) return undefined
  const reserved = await keywordsOf(engine)
  const isSharable = sharableColumns(
    versions.map(({ table }) => currentSchema(table)),
    givenNames,
  )
  return sharedQuantiles(sql, { isWord: (name) => reserved.has(name), isSharable })
}
