/**
 * One call in a statement's text, taken apart:
 *
 *   name ( [DISTINCT] argument, … [ORDER BY …] [IGNORE NULLS] ) [FILTER (WHERE …)] [OVER w | OVER (…)]
 *
 * Ranges are of tokens, half-open. What is in them is rendered by whoever rewrites the call, so that calls inside of
 * arguments are rewritten too.
 */
import { isName, isSymbol, nextOutside, splitAtCommas, type Token } from './tokens.ts'

export type Range = readonly [from: number, to: number]

export type Argument = {
  /** Of `timezone => 'UTC'` and `timezone := 'UTC'`, in lower case. */
  readonly name: string | undefined
  readonly range: Range
}

export type Call = {
  /** As the user wrote it, without quotes. */
  readonly written: string
  /** In lower case. */
  readonly name: string
  /** First token of the name with all in front of it that belongs to it: `main.`, or what it is called on (`x.name()`). */
  readonly start: number
  readonly nameAt: number
  readonly open: number
  readonly close: number
  /** After the tail. */
  readonly end: number
  readonly args: readonly Argument[]
  readonly isDistinct: boolean
  /** From ORDER on. */
  readonly orderBy: Range | undefined
  readonly nulls: 'ignore' | 'respect' | undefined
  /** What is in `FILTER (WHERE …)`, without WHERE. */
  readonly filter: Range | undefined
  /** From OVER on. */
  readonly over: Range | undefined
}

/**
 * The call whose name, plain or qualified, begins at this token; undefined when there is none. `x.name(y)` and `f(x).name(y)`
 * are `name(x, y)`.
 */
export function readCall(text: string, tokens: readonly Token[], place: number): Call | undefined {
  let nameAt = place
  if (!isNameLike(tokens[nameAt])) return undefined
  while (isSymbol(tokens[nameAt + 1], '.') && isNameLike(tokens[nameAt + 2])) nameAt += 2
  const open = nameAt + 1
  if (!isSymbol(tokens[open], '(')) return undefined
  const start = isSymbol(tokens[place - 1], '.') ? startOfOperand(tokens, place - 2) : place
  if (start === undefined) return undefined
  const isChained = start < nameAt && !(nameAt === start + 2 && isName(tokens[start], 'main'))
  const receiver: readonly Argument[] = isChained ? [{ name: undefined, range: [start, nameAt - 1] }] : []
  const close = tokens[open].match
  let from = open + 1
  const isDistinct = isName(tokens[from], 'distinct')
  if (isDistinct || isName(tokens[from], 'all')) from++
  let to = close
  let nulls: Call['nulls']
  if (isName(tokens[to - 1], 'nulls') && isName(tokens[to - 2], 'ignore', 'respect')) {
    nulls = tokens[to - 2].value as 'ignore' | 'respect'
    to -= 2
  }
  let orderBy: Range | undefined
  for (let at = from; at < to; at = nextOutside(tokens, at)) {
    if (isName(tokens[at], 'order') && isName(tokens[at + 1], 'by')) {
      orderBy = [at, to]
      to = at
    }
  }
  let end = close + 1
  let filter: Range | undefined
  if (isName(tokens[end], 'filter') && isSymbol(tokens[end + 1], '(')) {
    const last = tokens[end + 1].match
    filter = [isName(tokens[end + 2], 'where') ? end + 3 : end + 2, last]
    end = last + 1
  }
  let over: Range | undefined
  if (isName(tokens[end], 'over') && tokens[end + 1]) {
    const last = nextOutside(tokens, end + 1)
    over = [end, last]
    end = last
  }
  return {
    written: nameOf(text, tokens[nameAt]),
    name: tokens[nameAt].value.toLowerCase(),
    start,
    nameAt,
    open,
    close,
    end,
    args: [...receiver, ...splitAtCommas(tokens, from, to).map((range) => readArgument(tokens, range))],
    isDistinct,
    orderBy,
    nulls,
    filter,
    over,
  }
}

/** Where the operand of a `.` begins that ends with this token: a name, a literal, brackets with what they belong to. */
function startOfOperand(tokens: readonly Token[], last: number): number | undefined {
  let at = last
  for (;;) {
    const token = tokens[at]
    if (!token) return undefined
    if (isSymbol(token, ')', ']', '}')) {
      at = token.match
      const before = tokens[at - 1]
      // A call's name, a list's or map's elements, `MAP {…}`.
      if (isNameLike(before) || isSymbol(before, ')', ']')) {
        at--
        if (isSymbol(before, ')', ']')) continue
      }
    } else if (token.kind === 'symbol') return undefined
    if (!isSymbol(tokens[at - 1], '.')) return at
    at -= 2
  }
}

function readArgument(tokens: readonly Token[], [from, to]: Range): Argument {
  const isNamed = isNameLike(tokens[from]) && isSymbol(tokens[from + 1], '=>', ':=') && from + 2 < to
  return isNamed
    ? { name: tokens[from].value.toLowerCase(), range: [from + 2, to] }
    : { name: undefined, range: [from, to] }
}

export function isNameLike(token: Token | undefined): boolean {
  return token?.kind === 'name' || token?.kind === 'quoted'
}

function nameOf(text: string, token: Token): string {
  return token.kind === 'quoted' ? token.value : text.slice(token.start, token.end)
}

/** The text of an argument that is one string literal. */
export function literalText(tokens: readonly Token[], range: Range | undefined): string | undefined {
  if (!range || range[1] - range[0] !== 1) return undefined
  const token = tokens[range[0]]
  return token.kind === 'text' ? token.value : undefined
}

/** `'hour'`, `hour`, `HOUR`: how units are named; in lower case. */
export function literalWord(tokens: readonly Token[], range: Range | undefined): string | undefined {
  if (!range || range[1] - range[0] !== 1) return undefined
  const token = tokens[range[0]]
  return token.kind === 'text' || token.kind === 'name' ? token.value.toLowerCase() : undefined
}

export function literalNumber(tokens: readonly Token[], range: Range | undefined): number | undefined {
  if (!range) return undefined
  const [from, to] = range
  const isNegative = isSymbol(tokens[from], '-')
  const at = isNegative ? from + 1 : from
  if (to - at !== 1 || tokens[at].kind !== 'number') return undefined
  const value = Number(tokens[at].value.replaceAll('_', ''))
  return isNegative ? -value : value
}
