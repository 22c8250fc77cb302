/**
 * PIVOT whose columns are in the data, which DuckDB makes of two statements (it keeps the values as a type, which is a write):
 *
 *   PIVOT t ON kind USING sum(x)                 which values has kind? → PIVOT t ON kind IN ('a', 'b') USING sum(x)
 *   FROM t PIVOT (sum(x) FOR kind IN (ANY))      the same as Snowflake and BigQuery write it, also with a subquery in IN
 *
 * Here they are found in a statement's tokens, one after the other: the first one's values are asked with a SELECT over the same
 * source and the CTEs that it sees, and put in. Like DuckDB's, they are texts, in the order of texts, without NULL.
 */
import { quoteText } from '../../lake/file-mapping.ts'
import { isNameLike, type Range } from './call.ts'
import { type Piece, positionAt } from './pieces.ts'
import { dialectError } from './rule.ts'
import { isName, isSymbol, nextOutside, splitAtCommas, type Token, tokenize } from './tokens.ts'

export const PIVOT_VALUES_MAX = 10_000
/** Part of the name of columns for values that are not there: an empty source has only the columns that are not pivoted. */
const NO_VALUE = 'millrace: no value'

export type DynamicPivot = {
  /** From PIVOT to before what follows: a bracket, a set operation. Undefined: written in FROM. */
  readonly statement: Range | undefined
  readonly source: Range
  readonly expression: Range
  /** SELECT with the values, as it stands in IN. */
  readonly valuesFrom: Range | undefined
  /** Tokens to be replaced by the list; an empty range: it is put in front of the token. */
  readonly list: Range
}

export function mayPivot(text: string): boolean {
  return /\bpivot/i.test(text)
}

/** The one whose values can be asked first. */
export function firstDynamicPivot(text: string, tokens: readonly Token[]): DynamicPivot | undefined {
  const found: DynamicPivot[] = []
  tokens.forEach((token, at) => {
    if (!isName(token, 'pivot', 'pivot_wider') || isSymbol(tokens[at - 1], '.')) return
    const pivot = isStatementStart(tokens, at) ? readStatement(tokens, at) : readClause(text, tokens, at)
    if (pivot) found.push(pivot)
  })
  return found.sort((a, b) => a.list[0] - b.list[0])[0]
}

function isStatementStart(tokens: readonly Token[], at: number): boolean {
  const before = tokens[at - 1]
  if (!before || isSymbol(before, '(', ';')) return true
  if (isName(before, 'describe', 'summarize', 'show', 'explain', 'union', 'all', 'except', 'intersect', 'name'))
    return true
  // `WITH a AS (…) PIVOT`: the bracket is a CTE's.
  if (!isSymbol(before, ')')) return false
  return isName(tokens[levelStart(tokens, at)], 'with') && isName(tokens[before.match - 1], 'as', 'materialized')
}

const ENDS = ['using', 'group', 'order', 'limit', 'offset', 'union', 'intersect', 'except']

function readStatement(tokens: readonly Token[], at: number): DynamicPivot | undefined {
  let joins = 0
  let on = at + 1
  for (; on < tokens.length; on = nextOutside(tokens, on)) {
    if (isSymbol(tokens[on], ')', ';') || isName(tokens[on], 'group', 'order', 'limit')) return undefined
    if (isName(tokens[on], 'join') && !isName(tokens[on - 1], 'cross', 'positional', 'natural')) joins++
    if (!isName(tokens[on], 'on', 'using')) continue
    // Every JOIN in front of it has one of its own.
    if (joins-- > 0) continue
    break
  }
  if (!isName(tokens[on], 'on')) return undefined
  let end = on + 1
  while (end < tokens.length && !isSymbol(tokens[end], ')', ';') && !isName(tokens[end], ...ENDS))
    end = nextOutside(tokens, end)
  const expression = splitAtCommas(tokens, on + 1, end).find((range) => !hasList(tokens, range))
  if (!expression) return undefined
  let last = end
  while (
    last < tokens.length &&
    !isSymbol(tokens[last], ')', ';') &&
    !isName(tokens[last], 'union', 'intersect', 'except')
  )
    last = nextOutside(tokens, last)
  const list: Range = [expression[1], expression[1]]
  return { statement: [at, last], source: [at + 1, on], expression, valuesFrom: undefined, list }
}

function hasList(tokens: readonly Token[], [from, to]: Range): boolean {
  for (let at = from; at < to; at = nextOutside(tokens, at)) if (isName(tokens[at], 'in')) return true
  return false
}

/** `source PIVOT (aggregates FOR x IN (ANY) FOR …)` */
function readClause(text: string, tokens: readonly Token[], at: number): DynamicPivot | undefined {
  if (!isSymbol(tokens[at + 1], '(')) return undefined
  const close = tokens[at + 1].match
  for (let each = at + 2; each < close; each = nextOutside(tokens, each)) {
    if (!isName(tokens[each], 'in') || !isSymbol(tokens[each + 1], '(')) continue
    const [from, to] = [each + 2, tokens[each + 1].match]
    const isAny = isName(tokens[from], 'any')
    if (!isAny && !isName(tokens[from], 'select', 'from', 'with', 'values')) continue
    let start = each - 1
    while (start > at + 1 && !isName(tokens[start - 1], 'for') && !isSymbol(tokens[start - 1], ')')) start--
    const source = sourceBefore(tokens, at)
    if (!source && isAny) {
      const message = 'PIVOT with ANY goes with one table or one subquery in FROM'
      throw dialectError(message, positionAt(text, tokens[at].start))
    }
    return {
      statement: undefined,
      source: source ?? [at, at],
      expression: [start, each],
      valuesFrom: isAny ? undefined : [from, to],
      list: [each, to + 1],
    }
  }
  return undefined
}

function sourceBefore(tokens: readonly Token[], at: number): Range | undefined {
  let from = at
  while (from > 0 && !isName(tokens[from - 1], 'from')) {
    from--
    if (isSymbol(tokens[from], ')', ']')) from = tokens[from].match
    if (isSymbol(tokens[from], ',', '(', ';') && tokens[from].match <= from) return undefined
    if (isName(tokens[from], 'join', 'where', 'select')) return undefined
  }
  return from > 0 && from < at ? [from, at] : undefined
}

/** What is known before the values are: the tables that are read. */
export function withoutValues(tokens: readonly Token[], text: string, pivot: DynamicPivot): Piece[] {
  return withList(tokens, text, pivot, undefined)
}

/** `SELECT DISTINCT` for the values, with the CTEs that the source sees. */
export function valuesSelect(tokens: readonly Token[], pivot: DynamicPivot): Piece[] {
  const user = ([from, to]: Range): Piece[] =>
    to > from ? [{ start: tokens[from].start, end: tokens[to - 1].end }] : []
  const own = (ours: string): Piece => ({ text: ours, at: tokens[pivot.expression[0]].start, call: 'PIVOT' })
  const { entries, isRecursive } = visibleCtes(tokens, pivot.list[0])
  const ctes = entries.flatMap((range, index) => [
    own(index === 0 ? `WITH ${isRecursive ? 'RECURSIVE ' : ''}` : ', '),
    ...user(range),
  ])
  const values = pivot.valuesFrom
    ? [own(' FROM ('), ...user(pivot.valuesFrom), own(') AS "millrace values"("millrace value"))')]
    : [own(' FROM '), ...user(pivot.source), own(')')]
  const value = pivot.valuesFrom ? [own('"millrace value"')] : user(pivot.expression)
  return [
    ...ctes,
    own(' SELECT DISTINCT value FROM (SELECT CAST('),
    ...value,
    own(' AS VARCHAR) AS value'),
    ...values,
    own(` WHERE value IS NOT NULL ORDER BY value LIMIT ${PIVOT_VALUES_MAX + 1}`),
  ]
}

export function withList(
  tokens: readonly Token[],
  text: string,
  pivot: DynamicPivot,
  values: readonly string[] | undefined,
): Piece[] {
  const at = tokens[pivot.expression[0]].start
  const own = (ours: string): Piece => ({ text: ours, at, call: 'PIVOT' })
  const [from, to] = pivot.list
  const given = values === undefined || values.length === 0 ? [NO_VALUE] : values
  const list = own(` IN (${given.map(quoteText).join(', ')}) `)
  const start = from < tokens.length ? tokens[from].start : text.length
  const end = to > from ? tokens[to - 1].end : start
  const isEmpty = values?.length === 0 && pivot.statement !== undefined
  if (!isEmpty) return [{ start: 0, end: start }, list, { start: end, end: text.length }]
  const [first, last] = pivot.statement!
  const open = tokens[first].start
  const close = last > first ? tokens[last - 1].end : open
  return [
    { start: 0, end: open },
    own(`SELECT COLUMNS(lambda c: NOT contains(c, ${quoteText(NO_VALUE)})) FROM (`),
    { start: open, end: Math.min(start, close) },
    list,
    { start: end, end: Math.max(close, end) },
    own(')'),
    { start: Math.max(close, end), end: text.length },
  ]
}

/** First token of the query that this one is in. */
function levelStart(tokens: readonly Token[], at: number): number {
  for (let index = at - 1; index >= 0; index--) {
    if (tokens[index].match >= 0 && tokens[index].match < index) index = tokens[index].match
    else if (isSymbol(tokens[index], '(')) return index + 1
  }
  return 0
}

/** `name AS (…)` of all queries around, those that stand before; of two with the same name the inner one. */
function visibleCtes(
  tokens: readonly Token[],
  at: number,
): { readonly entries: readonly Range[]; readonly isRecursive: boolean } {
  const byName = new Map<string, Range>()
  let isRecursive = false
  const levels: number[] = []
  for (let level = levelStart(tokens, at); ; level = levelStart(tokens, level - 1)) {
    levels.unshift(level)
    if (level === 0) break
  }
  for (const level of levels) {
    const first = isName(tokens[level], 'describe', 'summarize', 'explain') ? level + 1 : level
    if (!isName(tokens[first], 'with')) continue
    let index = first + 1
    if (isName(tokens[index], 'recursive')) {
      isRecursive = true
      index++
    }
    while (index < at && isNameLike(tokens[index])) {
      let end = index + 1
      while (end < tokens.length && !isName(tokens[end], 'as')) end = nextOutside(tokens, end)
      end++
      while (isName(tokens[end], 'not', 'materialized')) end++
      if (!isSymbol(tokens[end], '(')) break
      end = tokens[end].match + 1
      if (end > at) break
      const name = tokens[index].value.toLowerCase()
      byName.delete(name)
      byName.set(name, [index, end])
      index = isSymbol(tokens[end], ',') ? end + 1 : tokens.length
    }
  }
  return { entries: [...byName.values()], isRecursive }
}

export function tokensOf(text: string): readonly Token[] {
  return tokenize(text) ?? []
}
