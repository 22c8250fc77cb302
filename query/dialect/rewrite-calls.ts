/**
 * Replaces calls of functions that other systems have, and DuckDB has not, by what they mean:
 *
 *   1. DuckDB's tree of the statement tells which names are calls, and where they stand: never a text, a comment, a CTE
 *   2. the tokens around that place tell the call's parts
 *   3. a rule says what stands for it; arguments are rewritten inside
 *   4. a column of a SELECT that would be called after our text is called as the user wrote it
 *
 * Names that DuckDB has itself keep its meaning, but for those calls that it would not take.
 */
import { MillraceError } from '../../schemas/errors.ts'
import { type Call, readCall } from './call.ts'
import { joinPieces, type Piece, positionAt, type Rewritten } from './pieces.ts'
import { applyRule, type CallRewrite, dialectError, MANY, type Rule } from './rule.ts'
import { isDuckdbName } from './rules.ts'
import { type SelectItem, selectItems } from './select-items.ts'
import { byteToIndex, type Token, tokenize } from './tokens.ts'

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

const WRITTEN_MAX = 4 * 1024 * 1024

type Calls = ReadonlyMap<number, readonly Call[]>

/** `undefined`: there is nothing to rewrite. */
export function rewriteCalls(
  text: string,
  tree: Json,
  rules: ReadonlyMap<string, readonly Rule[]>,
): Rewritten | undefined {
  const places = callPlaces(tree, rules)
  if (places.length === 0) return undefined
  const tokens = tokenize(text)
  if (!tokens) return undefined
  const calls = findCalls(text, tokens, places)
  if (calls.size === 0) return undefined
  const { render, changed } = createRenderer(text, tokens, calls, rules)
  const pieces = render(0, tokens.length)
  return changed() ? joinPieces(text, pieces) : undefined
}

/** Where calls stand whose names have rules: bytes. */
function callPlaces(tree: Json, rules: ReadonlyMap<string, unknown>): readonly number[] {
  const places: number[] = []
  const walk = (value: Json): void => {
    if (typeof value !== 'object' || value === null) return
    if (Array.isArray(value)) {
      for (const each of value) walk(each)
      return
    }
    const node = value as { readonly [key: string]: Json }
    const isCall = node.class === 'FUNCTION' || node.class === 'WINDOW'
    if (isCall && rules.has(String(node.function_name).toLowerCase()) && typeof node.query_location === 'number')
      places.push(node.query_location)
    for (const each of Object.values(node)) walk(each)
  }
  walk(tree)
  return places
}

/** By their first token, the longest first: `f(x).g(y)` begins where `f(x)` begins. */
function findCalls(text: string, tokens: readonly Token[], places: readonly number[]): Calls {
  const toIndex = byteToIndex(text)
  const byStart = new Map(tokens.map((token, index) => [token.start, index]))
  const calls = new Map<number, Call[]>()
  for (const place of new Set(places)) {
    const at = byStart.get(toIndex(place))
    const call = at === undefined ? undefined : readCall(text, tokens, at)
    if (!call) continue
    const known = calls.get(call.start) ?? []
    calls.set(
      call.start,
      [...known, call].sort((a, b) => b.end - a.end),
    )
  }
  return calls
}

function createRenderer(
  text: string,
  tokens: readonly Token[],
  calls: Calls,
  rules: ReadonlyMap<string, readonly Rule[]>,
) {
  const items = new Map<number, SelectItem>()
  for (const item of selectItems(tokens)) if (!item.isNamed) items.set(item.from, item)
  let changes = 0
  let grown = 0

  /** Some rules say an argument several times: a few calls inside of each other would be gigabytes. */
  function grow(characters: number): void {
    grown += characters + 1
    if (grown <= WRITTEN_MAX) return
    throw new MillraceError(
      'request-too-large',
      `the statement is longer than ${WRITTEN_MAX} bytes once its functions are written out; nest fewer of them`,
    )
  }

  /** Ranges are rendered with the blanks in front of their first token left out. */
  function render(from: number, to: number): Piece[] {
    const pieces: Piece[] = []
    let plain = from
    let at = from
    const flush = (end: number) => {
      if (end <= plain) return
      const piece = { start: tokens[plain].start, end: tokens[end - 1].end }
      grow(piece.end - piece.start)
      pieces.push(piece)
    }
    const blank = (index: number) => {
      if (index > from && index < to && tokens[index].start > tokens[index - 1].end)
        pieces.push({ start: tokens[index - 1].end, end: tokens[index].start })
    }
    const put = (index: number, inside: readonly Piece[], end: number) => {
      flush(index)
      blank(index)
      // Not by spreading: there may be more of them than a call takes arguments.
      for (const piece of inside) pieces.push(piece)
      blank(end)
      plain = end
      at = end
    }
    while (at < to) {
      const item = items.get(at)
      if (item && item.to <= to) {
        items.delete(at)
        const before = changes
        const inside = render(item.from, item.to)
        const own: Piece = { text: ` AS ${nameOf(text, tokens, item)}`, at: tokens[item.from].start, call: '' }
        put(at, changes > before && !item.hasStar ? [...inside, own] : inside, item.to)
        continue
      }
      const call = calls.get(at)?.find(({ end }) => end <= to)
      const inside = call ? renderCall(call) : undefined
      if (call && inside) put(at, inside, call.end)
      else at++
    }
    flush(to)
    return pieces
  }

  function renderCall(call: Call): Piece[] | undefined {
    const at = tokens[call.nameAt].start
    const rewrite: CallRewrite = {
      call,
      tokens,
      render: ([from, to]) => render(from, to),
      own(own) {
        grow(own.length)
        return { text: own, at, call: call.written }
      },
      refuse(message) {
        throw dialectError(`${call.written}: ${message}`, positionAt(text, at))
      },
    }
    for (const each of rules.get(call.name) ?? []) {
      const pieces = applyRule(each, rewrite)
      if (!pieces) continue
      changes++
      return pieces
    }
    if (!isDuckdbName(call.name))
      rewrite.refuse(`expected ${countsOf(rules.get(call.name) ?? [])}, found ${call.args.length}`)
    return undefined
  }

  return { render, changed: () => changes > 0 }
}

/** `1 or 2 arguments`, `at least 3 arguments` */
function countsOf(rules: readonly Rule[]): string {
  const counts = rules.map(({ args }) => {
    const [least, most] = typeof args === 'number' ? [args, args] : args
    if (most === MANY) return `at least ${least}`
    return least === most ? String(least) : `${least} to ${most}`
  })
  return `${[...new Set(counts)].join(' or ')} ${counts.length === 1 && counts[0] === '1' ? 'argument' : 'arguments'}`
}

/** What DuckDB calls a column without a name is its expression's text; here that is the user's own. */
function nameOf(text: string, tokens: readonly Token[], { from, to }: SelectItem): string {
  const written = text.slice(tokens[from].start, tokens[to - 1].end).replaceAll(/\s+/g, ' ')
  return `"${written.replaceAll('"', '""')}"`
}
