/**
 * The columns of every SELECT in a statement, as ranges of tokens. A list ends at the next clause of its SELECT; words that
 * may stand inside of an expression as well (`IS DISTINCT FROM`, `WITHIN GROUP`) do not end it.
 */
import { isName, isSymbol, nextOutside, splitAtCommas, type Token } from './tokens.ts'

export type SelectItem = {
  readonly from: number
  readonly to: number
  /** `x AS n`, `x n`, `n: x`; also said of what merely may be one. */
  readonly isNamed: boolean
  /** `COLUMNS(…)`, `*`: one name would be given to several columns. */
  readonly hasStar: boolean
}

const CLAUSES = [
  'from',
  'where',
  'group',
  'having',
  'window',
  'qualify',
  'order',
  'limit',
  'offset',
  'union',
  'intersect',
  'except',
  'using',
  'fetch',
  'into',
  'for',
]

/** Words that end an expression, so that nothing is called like them. */
const ENDINGS = ['end', 'null', 'true', 'false']

export function selectItems(tokens: readonly Token[]): SelectItem[] {
  const items: SelectItem[] = []
  tokens.forEach((token, index) => {
    if (!isName(token, 'select') || isSymbol(tokens[index - 1], '.')) return
    let from = index + 1
    if (isName(tokens[from], 'distinct', 'all')) {
      from++
      if (isName(tokens[from], 'on') && isSymbol(tokens[from + 1], '(')) from = tokens[from + 1].match + 1
    }
    for (const [start, end] of splitAtCommas(tokens, from, endOfItems(tokens, from)))
      if (end > start) items.push(readItem(tokens, start, end))
  })
  return items
}

export function endOfItems(tokens: readonly Token[], from: number): number {
  let at = from
  while (at < tokens.length) {
    const token = tokens[at]
    if (isSymbol(token, ')', ']', '}', ';') || (isName(token, ...CLAUSES) && endsList(tokens, at, from))) break
    at = nextOutside(tokens, at)
  }
  return at
}

function endsList(tokens: readonly Token[], at: number, from: number): boolean {
  const before = tokens[at - 1]
  if (at > from && isSymbol(before, '.')) return false
  if (isName(tokens[at], 'from') && isName(before, 'distinct')) return false
  return !(isName(tokens[at], 'group') && isName(before, 'within'))
}

function readItem(tokens: readonly Token[], from: number, to: number): SelectItem {
  const last = tokens[to - 1]
  const before = tokens[to - 2]
  const hasStar = tokens
    .slice(from, to)
    .some((token, index) => isName(token, 'columns') || (isSymbol(token, '*') && index === 0))
  const endsLikeName = last.kind === 'quoted' || (last.kind === 'name' && !ENDINGS.includes(last.value))
  const isNamed =
    (to - from > 1 && ((endsLikeName && !isName(before, 'over')) || isName(before, 'as'))) ||
    isSymbol(tokens[from + 1], ':') ||
    to - from === 1
  return { from, to, isNamed, hasStar }
}
