/** One SELECT in a statement's tokens: its clauses, its columns with their names. */
import { isNameLike, type Range } from './call.ts'
import { endOfItems } from './select-items.ts'
import { isName, isSymbol, nextOutside, splitAtCommas, type Token } from './tokens.ts'

const CLAUSES = ['from', 'where', 'group', 'having', 'window', 'qualify', 'using', 'order', 'limit', 'offset'] as const
export type Clause = (typeof CLAUSES)[number]

export type Column = {
  /** Without its name. */
  readonly expression: Range
  /** Given with AS, or behind the expression, or in front with a colon; as written. */
  readonly alias: Range | undefined
}

export type SelectCore = {
  /** From SELECT to before what follows: a bracket, a set operation. */
  readonly range: Range
  /** SELECT and DISTINCT. */
  readonly head: Range
  readonly columns: readonly Column[]
  /** What is in a clause, without its first words. */
  readonly clauses: ReadonlyMap<Clause, Range>
}

/** The SELECT among whose columns this token stands. */
export function selectAround(tokens: readonly Token[], at: number): SelectCore | undefined {
  for (let start = at; start >= 0; start--) {
    if (!isName(tokens[start], 'select') || isSymbol(tokens[start - 1], '.')) continue
    const core = readSelect(tokens, start)
    const last = core.columns.at(-1)
    if (last && at < (last.alias ?? last.expression)[1] && at >= core.head[1]) return core
  }
  return undefined
}

function readSelect(tokens: readonly Token[], start: number): SelectCore {
  let from = start + 1
  if (isName(tokens[from], 'distinct', 'all')) from++
  if (isName(tokens[from], 'on') && isSymbol(tokens[from + 1], '(')) from = tokens[from + 1].match + 1
  const end = endOfItems(tokens, from)
  const columns = splitAtCommas(tokens, from, end).map((range) => readColumn(tokens, range))
  const isInSetOperation = isName(tokens[start - 1], 'union', 'intersect', 'except', 'all', 'name')
  const clauses = new Map<Clause, Range>()
  let at = end
  let open: { readonly name: Clause; readonly from: number } | undefined
  const close = () => {
    if (open) clauses.set(open.name, [open.from, at])
  }
  for (; at < tokens.length; at = nextOutside(tokens, at)) {
    const token = tokens[at]
    if (isSymbol(token, ')', ']', '}', ';') || isName(token, 'union', 'intersect', 'except')) break
    const name = CLAUSES.find((each) => isName(token, each))
    if (!name || isSymbol(tokens[at - 1], '.') || !beginsClause(tokens, at, name)) continue
    if (isInSetOperation && (name === 'order' || name === 'limit' || name === 'offset')) break
    close()
    open = { name, from: at + (name === 'group' || name === 'order' ? 2 : 1) }
  }
  close()
  return { range: [start, at], head: [start, from], columns, clauses }
}

/** `IS DISTINCT FROM`, `WITHIN GROUP`, `JOIN … USING (…)` are none. */
function beginsClause(tokens: readonly Token[], at: number, name: Clause): boolean {
  if (name === 'from') return !isName(tokens[at - 1], 'distinct')
  if (name === 'group' || name === 'order') return isName(tokens[at + 1], 'by')
  return name !== 'using' || isName(tokens[at + 1], 'sample')
}

const NOT_BEFORE_ALIAS = ['and', 'or', 'not', 'is', 'over', 'collate', 'zone', 'in', 'like', 'ilike', 'between', 'from']
const NO_ALIAS = ['end', 'null', 'true', 'false']

function readColumn(tokens: readonly Token[], [from, to]: Range): Column {
  if (isNameLike(tokens[from]) && isSymbol(tokens[from + 1], ':') && to - from > 2)
    return { expression: [from + 2, to], alias: [from, from + 1] }
  if (isName(tokens[to - 2], 'as')) return { expression: [from, to - 2], alias: [to - 1, to] }
  const last = tokens[to - 1]
  const before = tokens[to - 2]
  const endsOperand =
    to - from > 1 &&
    (isSymbol(before, ')', ']', '}') ||
      ['quoted', 'text', 'number'].includes(before.kind) ||
      (before.kind === 'name' && !isName(before, ...NOT_BEFORE_ALIAS)))
  const isAlias = endsOperand && isNameLike(last) && !isName(last, ...NO_ALIAS)
  return isAlias ? { expression: [from, to - 1], alias: [to - 1, to] } : { expression: [from, to], alias: undefined }
}

/** The same tokens, whatever stands between them. */
export function isSame(tokens: readonly Token[], a: Range, b: Range): boolean {
  if (a[1] - a[0] !== b[1] - b[0]) return false
  for (let each = 0; each < a[1] - a[0]; each++) {
    const [left, right] = [tokens[a[0] + each], tokens[b[0] + each]]
    const isEqual = isNameLike(left) && isNameLike(right) ? sameName(left, right) : left.value === right.value
    if (!isEqual || isNameLike(left) !== isNameLike(right)) return false
  }
  return true
}

export function sameName(a: Token, b: Token): boolean {
  return a.value.toLowerCase() === b.value.toLowerCase()
}
