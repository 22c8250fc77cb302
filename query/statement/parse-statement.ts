/**
 * From a text to a checked statement that DuckDB understands:
 *
 *   parse → (does not parse: other systems' syntax, parse again) → gaps to fill → other systems' functions → check what came out
 *
 * What is checked is the text that will run. Errors about it, then and later, are told for the text that the user wrote
 * (`inOriginal`): line, column, and the name of the function that they wrote. Most statements have nothing to rewrite and are
 * parsed once.
 */

import { MillraceError } from '../../schemas/errors.ts'
import { mayNeedGapfill, rewriteGapfill } from '../dialect/gapfill.ts'
import { numberParameters } from '../dialect/number-parameters.ts'
import { asTold, chainOrigins, errorInOriginal, type Origin, type Rewritten } from '../dialect/pieces.ts'
import { rewriteCalls } from '../dialect/rewrite-calls.ts'
import { dialectRules } from '../dialect/rules.ts'
import { adaptSyntax } from '../dialect/syntax.ts'
import { withPivotValues, withPlaceholders } from './pivot-statement.ts'
import { checkStatement, parseSql, prepareText, type Statement } from './statement.ts'

export type ParsedStatement = Statement & {
  /** An error about the statement that runs, as one about the text that the user wrote. */
  inOriginal(error: unknown): unknown
  /**
   * Its PIVOTs have place-holders for values, which are in the data: this gives the statement to run. `valuesOf` runs a checked
   * SELECT of one text column. Errors come out of it as they are to be told.
   */
  readonly withValues?: (valuesOf: (select: ParsedStatement) => Promise<readonly string[]>) => Promise<ParsedStatement>
}

const GAPFILLS_MAX = 100

type Json = Parameters<typeof rewriteCalls>[1]

/** `ask` runs a statement of ours and gives the first value of its first row. */
export async function parseStatement(sql: string, ask: (sql: string) => Promise<string>): Promise<ParsedStatement> {
  const { parsed } = prepareText(sql)
  const treeOf = (text: string) => ask(parseSql(text))
  const tree = await treeOf(parsed)
  const start = { text: parsed, tree, origin: (index: number) => ({ index, call: undefined }) }
  if (!isParsed(tree)) {
    const pivots = await parsePivots(sql, parsed, ask)
    if (pivots) return pivots
  }
  const adapted = isParsed(tree) ? start : ((await adapt(sql, start, adaptSyntax, treeOf)) ?? start)
  let filled = adapted
  for (let round = 0; mayNeedGapfill(filled.text) && isParsed(filled.tree); round++) {
    if (round === GAPFILLS_MAX)
      throw new MillraceError('statement-refused', `more than ${GAPFILLS_MAX} SELECTs with gaps to fill`)
    const next = await adapt(sql, filled, rewriteGapfill, treeOf)
    if (!next) break
    filled = next
  }
  const last = (await adapt(sql, filled, (text, root) => rewriteCalls(text, root, dialectRules()), treeOf)) ?? filled
  if (last === start) return { ...checkStatement(sql, tree), inOriginal: (error) => error }
  const numbered = numberParameters(sql)
  if (numbered) return parseInside(sql, numbered.text, numbered.origin, ask)
  // EXPLAIN was blanked out for the parser, and stands in front again.
  const explain = sql.slice(0, lengthOfHead(sql, parsed))
  const head = explain === '' ? '' : `${explain} `
  const text = head + last.text
  const origin: Origin = (index) =>
    index < head.length ? { index, call: undefined } : last.origin(index - head.length)
  const inOriginal = (error: unknown) => errorInOriginal(error, sql, text, origin)
  try {
    return { ...checkStatement(text, head === '' ? last.tree : await treeOf(prepareText(text).parsed)), inOriginal }
  } catch (error) {
    throw inOriginal(error)
  }
}

/** undefined: there is no PIVOT without values, or something else is wrong. */
async function parsePivots(
  sql: string,
  parsed: string,
  ask: (sql: string) => Promise<string>,
): Promise<ParsedStatement | undefined> {
  if (withPlaceholders(parsed) === undefined) return undefined
  const held = withPlaceholders(sql)
  if (!held) return undefined
  const numbered = numberParameters(sql)
  if (numbered) return parseInside(sql, numbered.text, numbered.origin, ask)
  const statement = await parseInside(sql, held.text, held.origin, ask)
  const withValues: ParsedStatement['withValues'] = async (valuesOf) => {
    try {
      const filled = await withPivotValues(sql, async (select) => {
        const values = await parseStatement(select, ask)
        try {
          return await valuesOf(values)
        } catch (error) {
          throw values.inOriginal(error)
        }
      })
      return await parseInside(sql, filled.text, filled.origin, ask)
    } catch (error) {
      throw asTold(error)
    }
  }
  return { ...statement, withValues }
}

/** Parses a text that was made of the user's. */
async function parseInside(
  sql: string,
  text: string,
  origin: Origin,
  ask: (sql: string) => Promise<string>,
): Promise<ParsedStatement> {
  const toUser = (error: unknown) => errorInOriginal(error, sql, text, origin)
  try {
    const statement = await parseStatement(text, ask)
    return { ...statement, inOriginal: (error) => toUser(statement.inOriginal(error)) }
  } catch (error) {
    throw toUser(error)
  }
}

type Stage = { readonly text: string; readonly tree: string; readonly origin: Origin }

/** undefined: nothing to change, or what came out does not parse either: then the error is about what the user wrote. */
async function adapt(
  sql: string,
  stage: Stage,
  change: (text: string, tree: Json) => Rewritten | undefined,
  treeOf: (text: string) => Promise<string>,
): Promise<Stage | undefined> {
  let changed: Rewritten | undefined
  try {
    changed = change(stage.text, JSON.parse(stage.tree) as Json)
  } catch (error) {
    throw errorInOriginal(error, sql, stage.text, stage.origin)
  }
  if (!changed) return undefined
  const tree = await treeOf(prepareText(changed.text).parsed)
  if (!isParsed(stage.tree) && !isParsed(tree)) return undefined
  return { text: changed.text, tree, origin: chainOrigins(stage.origin, changed.origin) }
}

function isParsed(tree: string): boolean {
  return !/^\{"error":true/.test(tree)
}

function lengthOfHead(sql: string, parsed: string): number {
  let length = 0
  for (let at = 0; at < sql.length; at++) if (sql[at] !== parsed[at]) length = at + 1
  return length
}
