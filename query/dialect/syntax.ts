/**
 * Ways of writing that DuckDB's parser does not take, as it takes them. Asked only when a statement does not parse, and what
 * comes out is parsed again.
 *
 *   any(x)                                        any_value(x)
 *   last(v, ts) OVER …                            arg_max(v, ts) OVER …
 *   quantile(0.9)(x), topK(3)(x)                  quantile_cont(x, 0.9), topk(x, 3)
 *   listagg(x, ',') WITHIN GROUP (ORDER BY y)     listagg(x, ',' ORDER BY y)
 *   approx_percentile(0.9) WITHIN GROUP (ORDER BY x)    approx_quantile(x, 0.9)
 *   lag(x) IGNORE NULLS OVER …                    lag(x IGNORE NULLS) OVER …
 *   floor(ts TO hour)                             date_trunc('hour', ts)
 *   date(ts, zone)                                todate(ts, zone)
 *   safe_cast(x AS t)                             try_cast(x AS t)
 *   group_concat(x ORDER BY y SEPARATOR ',')      string_agg(x, ',' ORDER BY y)
 *   GROUP BY a, b WITH ROLLUP                     GROUP BY ROLLUP (a, b)
 *   LIMIT 10, 5                                   LIMIT 5 OFFSET 10
 */
import { literalNumber, readCall } from './call.ts'
import { joinPieces, type Piece, type Rewritten } from './pieces.ts'
import { endOfItems } from './select-items.ts'
import { isName, isSymbol, nextOutside, type Token, tokenize } from './tokens.ts'

/** Replaces tokens [from, to); the empty range puts something in front of a token. */
type Edit = { readonly from: number; readonly to: number; readonly pieces: readonly Piece[] }

/** ClickHouse's functions with parameters; `undefined` in front of the name: the parameters become a list. */
const PARAMETRIC = new Map<string, readonly [name: string, isList: boolean]>([
  ['quantile', ['quantile_cont', false]],
  ['quantileexact', ['quantile_disc', false]],
  ['quantileexactinclusive', ['quantile_cont', false]],
  ['quantiletdigest', ['approx_quantile', false]],
  ['quantiletiming', ['approx_quantile', false]],
  ['quantiledd', ['approx_quantile', false]],
  ['quantiles', ['quantile_cont', true]],
  ['quantilesexact', ['quantile_disc', true]],
  ['quantilestdigest', ['approx_quantile', true]],
  ['topk', ['approx_top_k', false]],
  ['grouparray', ['grouparray', false]],
])

const FRACTION_AGGREGATES = ['approx_percentile', 'percentile_approx', 'approx_quantile']
const COMPARISONS = ['=', '==', '<', '>', '<=', '>=', '<>', '!=']

export function adaptSyntax(text: string): Rewritten | undefined {
  const tokens = tokenize(text)
  if (!tokens) return undefined
  const edits: Edit[] = []
  tokens.forEach((token, at) => {
    const found = token.kind === 'name' ? editAt(text, tokens, at) : undefined
    if (found) edits.push(...found)
  })
  if (edits.length === 0) return undefined
  edits.sort((a, b) => a.from - b.from || a.to - b.to)
  const pieces: Piece[] = []
  let done = 0
  for (const { from, to, pieces: inside } of edits) {
    const start = tokens[from]?.start ?? text.length
    if (start < done) return undefined
    pieces.push({ start: done, end: start }, ...inside)
    done = to > from ? tokens[to - 1].end : start
  }
  pieces.push({ start: done, end: text.length })
  return joinPieces(text, pieces)
}

function editAt(text: string, tokens: readonly Token[], at: number): Edit[] | undefined {
  const token = tokens[at]
  const own = (ours: string): Piece => ({ text: ours, at: token.start, call: text.slice(token.start, token.end) })
  const range = (from: number, to: number): Piece[] =>
    to > from ? [{ start: tokens[from].start, end: tokens[to - 1].end }] : []
  if (token.value === 'limit') return limitEdits(tokens, at, own, range)
  if (token.value === 'by' && isName(tokens[at - 1], 'group')) return rollupEdits(tokens, at, own)
  const open = at + 1
  if (!isSymbol(tokens[open], '(')) return undefined
  const close = tokens[open].match
  const rename = (name: string): Edit => ({ from: at, to: open, pieces: [own(name)] })
  const name = token.value
  if (name === 'any' && !isSymbol(tokens[at - 1], ...COMPARISONS) && !isName(tokens[at - 1], 'like', 'ilike'))
    return [rename('any_value')]
  if (name === 'safe_cast') return [rename('try_cast')]
  if (name === 'floor' || name === 'ceil') return floorEdits(tokens, at, own, range)
  if (name === 'group_concat' || name === 'groupconcat') return separatorEdits(tokens, at, own, range)
  const call = readCall(text, tokens, at)
  if (!call) return undefined
  if (['first', 'last', 'first_value', 'last_value'].includes(name) && call.args.length === 2)
    return [rename(name.startsWith('first') ? 'arg_min' : 'arg_max')]
  if (name === 'date' && call.args.length === 2) return [rename('todate')]
  const parametric = PARAMETRIC.get(name)
  if (parametric && isSymbol(tokens[close + 1], '(')) {
    const [target, isList] = parametric
    const end = tokens[close + 1].match
    const parameters = isList
      ? [own(', ['), ...range(open + 1, close), own('])')]
      : [own(', '), ...range(open + 1, close), own(')')]
    return [{ from: at, to: end + 1, pieces: [own(`${target}(`), ...range(close + 2, end), ...parameters] }]
  }
  const after = close + 1
  if (isName(tokens[after], 'ignore', 'respect') && isName(tokens[after + 1], 'nulls')) {
    return [
      { from: close, to: close, pieces: [own(' '), ...range(after, after + 2)] },
      { from: after, to: after + 2, pieces: [] },
    ]
  }
  if (isName(tokens[after], 'within') && isName(tokens[after + 1], 'group') && isSymbol(tokens[after + 2], '('))
    return withinGroupEdits(tokens, at, own, range)
  return undefined
}

type Make = (ours: string) => Piece
type Ranges = (from: number, to: number) => Piece[]

function withinGroupEdits(tokens: readonly Token[], at: number, own: Make, range: Ranges): Edit[] | undefined {
  const { value: name } = tokens[at]
  if (['percentile_cont', 'percentile_disc', 'mode', 'quantile_cont', 'quantile_disc'].includes(name)) return undefined
  const close = tokens[at + 1].match
  const from = close + 4
  const to = tokens[close + 3].match
  if (!FRACTION_AGGREGATES.includes(name)) {
    return [
      { from: close, to: close, pieces: [own(' '), ...range(from, to)] },
      { from: close + 1, to: to + 1, pieces: [] },
    ]
  }
  const isDescending = isName(tokens[to - 1], 'desc')
  const last = isDescending || isName(tokens[to - 1], 'asc') ? to - 1 : to
  const fraction = literalNumber(tokens, [at + 2, close])
  if (isDescending && fraction === undefined) return undefined
  const share = isDescending ? [own(String(1 - fraction!))] : range(at + 2, close)
  return [
    {
      from: at,
      to: to + 1,
      pieces: [own('approx_quantile('), ...range(from + 2, last), own(', '), ...share, own(')')],
    },
  ]
}

/** Calcite's: `floor(time TO unit)`. */
function floorEdits(tokens: readonly Token[], at: number, own: Make, range: Ranges): Edit[] | undefined {
  const close = tokens[at + 1].match
  const unit = tokens[close - 1]
  if (!isName(tokens[close - 2], 'to') || unit.kind !== 'name') return undefined
  if (tokens[at].value === 'floor')
    return [
      { from: at, to: close + 1, pieces: [own(`date_trunc('${unit.value}', `), ...range(at + 2, close - 2), own(')')] },
    ]
  const time = range(at + 2, close - 2)
  const floor = [own(`date_trunc('${unit.value}', `), ...time, own(')')]
  const pieces = [
    own('(CASE WHEN '),
    ...floor,
    own(' = ('),
    ...time,
    own(') THEN '),
    ...floor,
    own(' ELSE '),
    ...floor,
    own(` + INTERVAL 1 ${unit.value} END)`),
  ]
  return [{ from: at, to: close + 1, pieces }]
}

function separatorEdits(tokens: readonly Token[], at: number, own: Make, range: Ranges): Edit[] | undefined {
  const close = tokens[at + 1].match
  if (!isName(tokens[close - 2], 'separator')) return undefined
  let order = at + 2
  while (order < close - 2 && !isName(tokens[order], 'order')) order = nextOutside(tokens, order)
  return [
    {
      from: at,
      to: close + 1,
      pieces: [
        own('string_agg('),
        ...range(at + 2, order),
        own(', '),
        ...range(close - 1, close),
        own(' '),
        ...range(order, close - 2),
        own(')'),
      ],
    },
  ]
}

/** MySQL's and ClickHouse's. */
function rollupEdits(tokens: readonly Token[], at: number, own: Make): Edit[] | undefined {
  const end = endOfItems(tokens, at + 1)
  const kind = tokens[end - 1]
  if (!isName(kind, 'rollup', 'cube') || !isName(tokens[end - 2], 'with')) return undefined
  return [
    { from: at + 1, to: at + 1, pieces: [own(`${kind.value} (`)] },
    { from: end - 2, to: end, pieces: [own(')')] },
  ]
}

/** MySQL's and ClickHouse's: the offset first. */
function limitEdits(tokens: readonly Token[], at: number, own: Make, range: Ranges): Edit[] | undefined {
  const isList = tokens[at + 1]?.kind === 'number' && isSymbol(tokens[at + 2], ',') && tokens[at + 3]?.kind === 'number'
  if (!isList) return undefined
  return [{ from: at + 1, to: at + 4, pieces: [...range(at + 3, at + 4), own(' OFFSET '), ...range(at + 1, at + 2)] }]
}
