/**
 * The latest row of each key, `row_number() OVER (PARTITION BY a, b ORDER BY ts DESC, …) = 1`, without sorting the table.
 *
 * A row that comes first among those of its keys has the greatest value of the first sort key there. So the view that the statement
 * reads is made of such rows only, found by a group-by over keys and first sort key; the statement itself, its window with all
 * sort keys and ties included, then runs over them as it is. DuckDB skips row groups by the values that it looks for.
 *
 *   SELECT … FROM t [WHERE …] QUALIFY row_number() OVER (…) = 1
 *   SELECT … FROM (SELECT …, row_number() OVER (…) AS n FROM t [WHERE …]) WHERE n = 1
 *   WITH c AS (SELECT …, row_number() OVER (…) AS n FROM t [WHERE …]) SELECT … FROM c WHERE n = 1
 *
 * Also `rank` and `dense_rank`. Read from the text's tokens, strictly: anything else in it, and the statement runs as ever. Its
 * conditions are repeated in the group-by, so they are only comparisons of columns with literals. Not where the first sort key has
 * NULLs, or is of a type whose equality is not that of its order (floating point); and not where most rows may have keys of their own
 * (`groupsMax`), nor under an equality: few rows are left then, and sorting them is cheaper than reading twice.
 */
import { quoteName } from '../../lake/file-mapping.ts'
import type { ParquetFooter } from '../../lake/parquet/parquet.ts'
import { type KnownColumn, knownOfRowGroup } from '../../lake/parquet/prune.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { endOfItems } from '../dialect/select-items.ts'
import { isName, isSymbol, nextOutside, splitAtCommas, type Token, tokenize } from '../dialect/tokens.ts'

export type LatestRows = {
  readonly keys: readonly Column[]
  readonly first: Column
  readonly isDescending: boolean
  /** What its columns may be qualified with. */
  readonly alias: string
  /** As it stands in the text. */
  readonly where: string | undefined
}

const WINDOWS = ['row_number', 'rank', 'dense_rank']
/** Words of clauses that change which rows a window sees, or that make more of them. */
const OTHERS =
  'union intersect except join window sample tablesample using pivot pivot_wider unpivot values lateral unnest filter within exists any some all recursive or into for at positional asof fetch generate_subscripts'.split(
    ' ',
  )
const SORTABLE = ['int', 'long', 'decimal', 'date', 'time', 'timestamp', 'timestamptz']
const GROUPABLE = [...SORTABLE, 'boolean', 'string', 'json', 'uuid']

/** Lower-case names of functions that a statement calls. */
export function callsRank(functions: ReadonlySet<string>): boolean {
  return WINDOWS.some((name) => functions.has(name))
}

/**
 * undefined: no such statement.
 * @param columns of the only table it reads
 * @param givenNames names that it may give to columns, in lower case
 */
export function latestRows(
  sql: string,
  table: string,
  columns: readonly Column[],
  givenNames: ReadonlySet<string>,
): LatestRows | undefined {
  const all = tokenize(sql)
  if (!all) return undefined
  const tokens = isSymbol(all.at(-1), ';') ? all.slice(0, -1) : all
  const count = (...names: readonly string[]) => tokens.filter((token) => isName(token, ...names)).length
  const selects = count('select')
  if (count('over') !== 1 || count('from') !== selects || count(...OTHERS) > 0) return undefined
  const reader: Reader = { sql, tokens, table, columns, givenNames }
  if (selects === 1) return qualified(reader)
  return selects === 2 ? (inSubquery(reader) ?? inCte(reader)) : undefined
}

type Reader = {
  readonly sql: string
  readonly tokens: readonly Token[]
  readonly table: string
  readonly columns: readonly Column[]
  readonly givenNames: ReadonlySet<string>
}

type Ranked = Omit<LatestRows, 'where' | 'alias'>
type Source = { readonly alias: string; readonly where: string | undefined; readonly end: number }

function qualified(reader: Reader): LatestRows | undefined {
  const { tokens } = reader
  const items = itemsAt(reader, 0)
  const source = items && sourceAt(reader, items.end)
  if (!items || !source || !isName(tokens[source.end], 'qualify')) return undefined
  const at = source.end + 1
  const isNamed = items.rank !== undefined && isSame(tokens[at], items.rank.name)
  const rank = rankAt(reader, isNamed ? items.rank.from : at, source.alias)
  if (rank === undefined || (isNamed && rank.end !== items.rank.to)) return undefined
  const end = isNamed ? at + 1 : rank.end
  if (!isFirst(tokens, end) || !endsHere(tokens, end + 2, ['order', 'limit', 'offset'])) return undefined
  return { ...rank.ranked, alias: source.alias, where: source.where }
}

function inSubquery(reader: Reader): LatestRows | undefined {
  const { tokens } = reader
  if (!isName(tokens[0], 'select')) return undefined
  const from = endOfItems(tokens, 1)
  const open = from + 1
  if (!isName(tokens[from], 'from') || !isSymbol(tokens[open], '(')) return undefined
  const inner = rankedSelect(reader, open + 1, tokens[open].match)
  return inner && outerTakesFirst(tokens, tokens[open].match + 1, inner.name) ? inner.found : undefined
}

function inCte(reader: Reader): LatestRows | undefined {
  const { tokens } = reader
  const [first, name, as, open] = tokens
  if (!isName(first, 'with') || !isNameLike(name) || !isName(as, 'as') || !isSymbol(open, '(')) return undefined
  if (name.value.toLowerCase() === reader.table || !isName(tokens[open.match + 1], 'select')) return undefined
  const inner = rankedSelect(reader, 4, open.match)
  const from = endOfItems(tokens, open.match + 2)
  if (!inner || !isName(tokens[from], 'from') || !isSame(tokens[from + 1], name)) return undefined
  return outerTakesFirst(tokens, from + 2, inner.name) ? inner.found : undefined
}

/** `SELECT …, row_number() OVER (…) AS n FROM t [WHERE …]` and nothing behind it. */
function rankedSelect(reader: Reader, from: number, to: number) {
  const items = itemsAt(reader, from)
  const source = items && sourceAt(reader, items.end)
  if (!items?.rank || source?.end !== to) return undefined
  const { name } = items.rank
  const rank = rankAt(reader, items.rank.from, source.alias)
  if (rank?.end !== items.rank.to) return undefined
  return { name, found: { ...rank.ranked, alias: source.alias, where: source.where } satisfies LatestRows }
}

/** `[AS x] WHERE [x.]n = 1`, and then nothing that lets other rows in again. */
function outerTakesFirst(tokens: readonly Token[], from: number, name: Token): boolean {
  const { end, alias } = aliasAt(tokens, from, ['where'])
  if (!isName(tokens[end], 'where')) return false
  const isQualified = alias !== undefined && isSame(tokens[end + 1], alias) && isSymbol(tokens[end + 2], '.')
  const at = isQualified ? end + 3 : end + 1
  const after = ['order', 'limit', 'offset', 'group', 'having']
  return isSame(tokens[at], name) && isFirst(tokens, at + 1) && endsHere(tokens, at + 3, after)
}

function isFirst(tokens: readonly Token[], at: number): boolean {
  return isSymbol(tokens[at], '=', '<=') && tokens[at + 1]?.kind === 'number' && tokens[at + 1].value === '1'
}

function endsHere(tokens: readonly Token[], at: number, words: readonly string[]): boolean {
  return at === tokens.length || isName(tokens[at], ...words)
}

/** From SELECT to FROM; `rank`: the column that is a rank and nothing else, and its name, which nothing else has. */
function itemsAt({ tokens, columns }: Reader, at: number) {
  if (!isName(tokens[at], 'select') || isName(tokens[at + 1], 'distinct', 'all')) return undefined
  const end = endOfItems(tokens, at + 1)
  const ranks = splitAtCommas(tokens, at + 1, end).filter(([from]) => isName(tokens[from], ...WINDOWS))
  const [rank] = ranks
  if (rank === undefined) return { end, rank: undefined }
  const [from, to] = rank
  const name = tokens[to - 1]
  const isNamed = isName(tokens[to - 2], 'as') || isSymbol(tokens[to - 2], ')')
  if (ranks.length > 1 || !isNamed || !isNameLike(name)) return undefined
  const others = tokens.slice(at, end).filter((token) => isSame(token, name)).length - 1
  const isColumn = columns.some((column) => column.name.toLowerCase() === name.value.toLowerCase())
  return others === 0 && !isColumn
    ? { end, rank: { from, to: isName(tokens[to - 2], 'as') ? to - 2 : to - 1, name } }
    : undefined
}

/** `FROM t [[AS] x] [WHERE …]`. */
function sourceAt(reader: Reader, at: number): Source | undefined {
  const { tokens, table, sql } = reader
  if (!isName(tokens[at], 'from') || !isNameLike(tokens[at + 1])) return undefined
  if (tokens[at + 1].value.toLowerCase() !== table) return undefined
  const { alias: given, end } = aliasAt(tokens, at + 2, ['where', 'qualify'])
  const alias = (given ?? tokens[at + 1]).value
  if (!isName(tokens[end], 'where')) return { alias, where: undefined, end }
  let after = end + 1
  for (;;) {
    const next = conditionAt(reader, after, alias)
    if (next === undefined) return undefined
    after = next
    if (!isName(tokens[after], 'and')) break
    after += 1
  }
  return { alias, where: sql.slice(tokens[end + 1].start, tokens[after - 1].end), end: after }
}

function aliasAt(tokens: readonly Token[], at: number, notNames: readonly string[]) {
  const from = isName(tokens[at], 'as') ? at + 1 : at
  const isAlias = isNameLike(tokens[from]) && !isName(tokens[from], ...notNames)
  return isAlias ? { alias: tokens[from], end: from + 1 } : { alias: undefined, end: at }
}

const COMPARISONS = ['<', '<=', '>', '>=', '<>', '!=']

/** One condition that may be repeated: where it ends; undefined: another kind. */
function conditionAt(reader: Reader, at: number, alias: string): number | undefined {
  const { tokens } = reader
  if (isName(tokens[at], 'true')) return at + 1
  const column = columnAt(reader, at, alias)
  if (column === undefined) {
    const literal = literalAt(tokens, at)
    if (literal === undefined || !isSymbol(tokens[literal.end], ...COMPARISONS)) return undefined
    const other = columnAt(reader, literal.end + 1, alias)
    return other && literal.kinds.includes(other.column.type.kind) ? other.end : undefined
  }
  const { end } = column
  const literalFor = (from: number) => {
    const literal = literalAt(tokens, from)
    return literal?.kinds.includes(column.column.type.kind) ? literal.end : undefined
  }
  if (isSymbol(tokens[end], ...COMPARISONS)) return literalFor(end + 1)
  if (isName(tokens[end], 'is') && isName(tokens[end + 1], 'not') && isName(tokens[end + 2], 'null')) return end + 3
  if (!isName(tokens[end], 'between')) return undefined
  const and = literalFor(end + 1)
  return and !== undefined && isName(tokens[and], 'and') ? literalFor(and + 1) : undefined
}

/** What no row's value can fail to be compared with: an error would be told of our text. */
const NUMBER = /^\d{1,9}(\.\d{1,6})?$|^\d{1,18}$/
const NUMBERS = ['int', 'long', 'decimal', 'float', 'double']
const MOMENTS = ['date', 'timestamp', 'timestamptz']
const TEXTS = [...MOMENTS, 'string', 'time', 'uuid']

type Literal = { readonly end: number; readonly kinds: readonly string[] }

function literalAt(tokens: readonly Token[], at: number): Literal | undefined {
  const number = isSymbol(tokens[at], '-') ? at + 1 : at
  const isNumber = tokens[number]?.kind === 'number' && NUMBER.test(tokens[number].value)
  if (isNumber) return { end: number + 1, kinds: NUMBERS }
  const isTyped = isName(tokens[at], 'date', 'timestamp', 'timestamptz')
  const text = isTyped ? at + 1 : at
  return tokens[text]?.kind === 'text' ? { end: text + 1, kinds: isTyped ? MOMENTS : TEXTS } : undefined
}

/** A column of the table, by a name that nothing else in the statement has. */
function columnAt({ tokens, columns, givenNames }: Reader, at: number, alias: string) {
  const isQualified = isSymbol(tokens[at + 1], '.')
  if (isQualified && !(isNameLike(tokens[at]) && tokens[at].value.toLowerCase() === alias.toLowerCase()))
    return undefined
  const token = tokens[isQualified ? at + 2 : at]
  if (!isNameLike(token)) return undefined
  const name = token.value.toLowerCase()
  const found = columns.filter((column) => column.name.toLowerCase() === name)
  if (found.length !== 1 || givenNames.has(name)) return undefined
  return { column: found[0], end: isQualified ? at + 3 : at + 1 }
}

/** `row_number() OVER ([PARTITION BY …] ORDER BY …)`, with no frame. */
function rankAt(
  reader: Reader,
  at: number,
  alias: string,
): { readonly ranked: Ranked; readonly end: number } | undefined {
  const { tokens } = reader
  const [, open, close, over, bracket] = tokens.slice(at, at + 5)
  if (!isName(tokens[at], ...WINDOWS) || !isSymbol(open, '(') || !isSymbol(close, ')')) return undefined
  if (!isName(over, 'over') || !isSymbol(bracket, '(')) return undefined
  const last = bracket.match
  const order = outside(tokens, at + 5, last, 'order')
  if (order === undefined || !isName(tokens[order + 1], 'by')) return undefined
  const keys: Column[] = []
  if (order > at + 5) {
    if (!isName(tokens[at + 5], 'partition') || !isName(tokens[at + 6], 'by')) return undefined
    for (const [from, to] of splitAtCommas(tokens, at + 7, order)) {
      const key = columnAt(reader, from, alias)
      if (key?.end !== to || !GROUPABLE.includes(key.column.type.kind)) return undefined
      keys.push(key.column)
    }
  }
  const sorted = splitAtCommas(tokens, order + 2, last)
  const words = ['rows', 'range', 'groups', 'exclude']
  if (sorted.length === 0 || tokens.slice(order + 2, last).some((token) => isName(token, ...words))) return undefined
  const [[from, to]] = sorted
  const first = columnAt(reader, from, alias)
  if (first === undefined || !SORTABLE.includes(first.column.type.kind)) return undefined
  const direction = isName(tokens[first.end], 'asc', 'desc') ? first.end + 1 : first.end
  const hasNulls = isName(tokens[direction], 'nulls') && isName(tokens[direction + 1], 'first', 'last')
  if ((hasNulls ? direction + 2 : direction) !== to) return undefined
  const isDescending = isName(tokens[first.end], 'desc')
  return { ranked: { keys, first: first.column, isDescending }, end: last + 1 }
}

function outside(tokens: readonly Token[], from: number, to: number, name: string): number | undefined {
  for (let at = from; at < to; at = nextOutside(tokens, at)) if (isName(tokens[at], name)) return at
  return undefined
}

function isNameLike(token: Token | undefined): token is Token {
  return token?.kind === 'name' || token?.kind === 'quoted'
}

function isSame(token: Token | undefined, name: Token): boolean {
  return isNameLike(token) && token.value.toLowerCase() === name.value.toLowerCase()
}

/** What of a file is read. */
type ReadGroups = { readonly footer: ParquetFooter; readonly needs: { readonly kept: readonly number[] } }

/** So many rows must share their keys, on average, that finding them costs less than sorting all. */
const ROWS_OF_KEYS_MIN = 5

/** By footers alone: the first sort key has no NULLs, and keys repeat. */
export function isWorthIt({ keys, first }: Pick<LatestRows, 'keys' | 'first'>, files: readonly ReadGroups[]): boolean {
  let rows = 0
  for (const { footer, needs } of files) {
    for (const group of needs.kept) {
      if (knownOfRowGroup(footer, group, first)?.nullCount !== 0) return false
      rows += footer.rowGroups[group].rowCount
    }
  }
  return rows > 0 && groupsMax(keys, files) * ROWS_OF_KEYS_MIN <= rows
}

/** At most so many different keys are there, as far as distinct counts and bounds of row groups say. */
function groupsMax(keys: readonly Column[], files: readonly ReadGroups[]): number {
  let ofGroups = 0
  const ofKeys = keys.map(() => ({ counted: 0, known: [] as (KnownColumn | undefined)[] }))
  for (const { footer, needs } of files) {
    for (const group of needs.kept) {
      const { rowCount, chunks } = footer.rowGroups[group]
      let product = 1
      keys.forEach((key, place) => {
        const leaf = footer.columns.findIndex(({ fieldId }) => fieldId === key.fieldId)
        const counted = chunks[leaf]?.statistics?.distinctCount
        const known = knownOfRowGroup(footer, group, key)
        const values = Math.min(counted === undefined ? rowCount : counted + 1, range([known]))
        ofKeys[place].counted += values
        ofKeys[place].known.push(known)
        product *= values
      })
      ofGroups += Math.min(rowCount, product)
    }
  }
  return Math.min(
    ofGroups,
    ofKeys.reduce((product, { counted, known }) => product * Math.min(counted, range(known)), 1),
  )
}

/** Whole numbers between all bounds, and NULL. */
function range(parts: readonly (KnownColumn | undefined)[]): number {
  let [least, greatest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for (const part of parts) {
    if (part === undefined || typeof part.min !== 'bigint' || typeof part.max !== 'bigint')
      return Number.POSITIVE_INFINITY
    least = Math.min(least, Number(part.min))
    greatest = Math.max(greatest, Number(part.max))
  }
  return greatest - least + 2
}

/** Of a relation, the rows that may come first among those of their keys. */
export function latestSql(relation: string, { keys, first, isDescending, alias, where }: LatestRows): string {
  const named = keys.map(({ name }, index) => ({ column: quoteName(name), key: `__key_${index}` }))
  const selected = named.map(({ column, key }) => `${column} AS ${key}, `).join('')
  const grouped = named.length === 0 ? '' : ` GROUP BY ${named.map(({ column }) => column).join(', ')}`
  const extreme = `${isDescending ? 'max' : 'min'}(${quoteName(first.name)}) AS __first`
  const found = `SELECT ${selected}${extreme} FROM (${relation}) AS ${quoteName(alias)}${where === undefined ? '' : ` WHERE ${where}`}${grouped}`
  const same = named.map(({ column, key }) => ` AND __rows.${column} IS NOT DISTINCT FROM __latest.${key}`).join('')
  return `SELECT __rows.* FROM (${relation}) AS __rows SEMI JOIN (${found}) AS __latest ON __rows.${quoteName(first.name)} = __latest.__first${same}`
}
