/**
 * Several quantiles of one column are one aggregate: `approx_quantile(x, 0.5), approx_quantile(x, 0.95)` keep two digests of the same
 * values in DuckDB, `approx_quantile(x, [0.5, 0.95])[1]` and `[2]` are found to be the same aggregate and keep one. The values are
 * the same, since a list's elements are asked of the digest (or of the sorted values) like single ones: but for FLOAT, where a list is
 * rounded and a single one is not. So only columns that are surely a table's own, of another type.
 *
 * Only plain calls: a column, a number as `0.95`, no DISTINCT, FILTER, OVER or ORDER BY. A column of the result keeps the name that
 * DuckDB makes of the user's text; where that is more than the call itself, it stays as it is.
 */
import type { Column } from '../../schemas/table-schema.ts'
import { type SelectItem, selectItems } from '../dialect/select-items.ts'
import { isName, isSymbol, type Token, tokenize } from '../dialect/tokens.ts'

const NAMES = ['approx_quantile', 'quantile_cont', 'quantile_disc']
const SHARE = /^0\.\d{1,9}$/
const TAILS = ['filter', 'over', 'within']

type Call = {
  readonly name: string
  readonly column: string
  readonly share: string
  /** Of tokens, half-open. */
  readonly from: number
  readonly to: number
}

const SHARABLE = ['int', 'long', 'double', 'decimal', 'date', 'timestamp', 'timestamptz']

/** `givenNames`: in lower case, names that the statement itself may give to columns; undefined: any. */
export function sharableColumns(
  tables: readonly { readonly columns: readonly Column[] }[],
  givenNames: ReadonlySet<string> | undefined,
): (column: string) => boolean {
  return (name) => {
    const columns = tables.flatMap((table) => table.columns.filter((column) => column.name.toLowerCase() === name))
    const isOwn = columns.length > 0 && givenNames !== undefined && !givenNames.has(name)
    return isOwn && columns.every(({ type }) => SHARABLE.includes(type.kind))
  }
}

/** Lower-case names of functions that a statement calls. */
export function callsQuantiles(functions: ReadonlySet<string>): boolean {
  return NAMES.some((name) => functions.has(name))
}

export type NamesKnown = {
  /** DuckDB prints it in quotes. */
  readonly isWord: (name: string) => boolean
  /** Whatever is called so is a table's column, of a type of which quantiles can be shared. */
  readonly isSharable: (column: string) => boolean
}

/** The text to run in the statement's place; undefined: nothing is shared. */
export function sharedQuantiles(sql: string, names: NamesKnown): string | undefined {
  const tokens = tokenize(sql)
  if (!tokens || tokens.some((token) => isName(token, 'pivot', 'pivot_wider', 'unpivot'))) return undefined
  const unnamed = selectItems(tokens).filter(({ isNamed }) => !isNamed)
  const calls = callsIn(sql, tokens, names).filter((call) => keepsNames(call, unnamed))
  const shares = new Map<string, Set<string>>()
  for (const call of calls) shares.set(keyOf(call), (shares.get(keyOf(call)) ?? new Set()).add(call.share))
  let text = ''
  let at = 0
  for (const call of calls) {
    const all = [...(shares.get(keyOf(call)) as ReadonlySet<string>)]
    if (all.length < 2) continue
    const { name, column, share, from, to } = call
    const isColumn = unnamed.some((item) => item.from === from && item.to === to)
    const title = isColumn ? ` AS "${name}(${column}, ${share})"` : ''
    text += `${sql.slice(at, tokens[from].start)}(${name}(${column}, [${all.join(', ')}])[${all.indexOf(share) + 1}])${title}`
    at = tokens[to - 1].end
  }
  return at === 0 ? undefined : text + sql.slice(at)
}

function callsIn(sql: string, tokens: readonly Token[], { isWord, isSharable }: NamesKnown): readonly Call[] {
  const calls: Call[] = []
  tokens.forEach((token, from) => {
    if (!isName(token, ...NAMES) || token.kind !== 'name' || !isSymbol(tokens[from + 1], '(')) return
    if (isSymbol(tokens[from - 1], '.')) return
    const close = tokens[from + 1].match
    const inside = tokens.slice(from + 2, close)
    const comma = inside.findIndex((each) => isSymbol(each, ','))
    const [column, share] = [inside.slice(0, comma), inside.slice(comma + 1)]
    const isColumn = column.every((each, index) => (index % 2 === 0 ? each.kind === 'name' : isSymbol(each, '.')))
    if (comma < 1 || !isColumn || (column.length !== 1 && column.length !== 3)) return
    if (column.some(({ kind, value }) => kind === 'name' && (isWord(value) || !/^[a-z_]\w*$/.test(value)))) return
    if (!isSharable(column[column.length - 1].value)) return
    if (share.length !== 1 || share[0].kind !== 'number' || !SHARE.test(share[0].value)) return
    const next = tokens[close + 1]
    if (isName(next, ...TAILS) || isSymbol(next, '.') || isSymbol(next, '[')) return
    const written = column.map(({ start, end }) => sql.slice(start, end)).join('')
    calls.push({ name: token.value, column: written, share: share[0].value, from, to: close + 1 })
  })
  return calls
}

/** A column of a result without a name is the call itself, or does not have it. */
function keepsNames({ from, to }: Call, unnamed: readonly SelectItem[]): boolean {
  return unnamed.every((item) => from < item.from || from >= item.to || (item.from === from && item.to === to))
}

function keyOf({ name, column }: Call): string {
  return `${name} ${column}`
}
