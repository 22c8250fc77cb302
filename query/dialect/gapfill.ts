/**
 * Rows for buckets in which nothing happened, the way Timescale writes it:
 *
 *   SELECT time_bucket_gapfill('1 hour', ts) AS hour, device, avg(x), locf(avg(x)), interpolate(avg(x))
 *   FROM t WHERE ts >= … AND ts < … GROUP BY hour, device
 *
 * It becomes: the groups as they are; every bucket of the range for every series (the other keys of GROUP BY) that has a group;
 * the second joined with the first; and over that the user's columns, in which an aggregate without a group is NULL.
 *
 *   locf(e [, before])   the last value before that is not NULL; `before` where there is none
 *   interpolate(e)       on the straight line between the values around it; NULL outside of them
 *
 * The range is `start` and `finish` of the call, or what WHERE says about the time (`gapfill-range.ts`), or reaches from the first
 * group to the last. Columns, HAVING and so on stay the user's text; groups that HAVING takes out are gaps.
 */
import { type Call, isNameLike, literalNumber, literalText, type Range, readCall } from './call.ts'
import { type Bound, rangeOfWhere, type TimeRange } from './gapfill-range.ts'
import { literalInterval } from './interval-literal.ts'
import { joinPieces, type Piece, positionAt, type Rewritten } from './pieces.ts'
import { dialectError, joined } from './rule.ts'
import { AGGREGATES } from './rules-aggregates.ts'
import { type Column, isSame, type SelectCore, sameName, selectAround } from './select-core.ts'
import { isName, isSymbol, splitAtCommas, type Token, tokenize } from './tokens.ts'

const NAME = 'time_bucket_gapfill'
const FILLERS = ['locf', 'interpolate']

/** DuckDB's; those of other systems have rules. */
const AGGREGATE_NAMES: ReadonlySet<string> = new Set([
  ...'any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_min arg_min_null argmax argmin array_agg avg bit_and bit_or bit_xor bitstring_agg bool_and bool_or corr count count_if count_star countif covar_pop covar_samp entropy favg first fsum group_concat histogram histogram_exact kahan_sum kurtosis kurtosis_pop last list listagg mad max max_by mean median min min_by mode product quantile quantile_cont quantile_disc percentile_cont percentile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy reservoir_quantile sem skewness stddev stddev_pop stddev_samp string_agg sum sumkahan var_pop var_samp variance'.split(
    ' ',
  ),
  ...AGGREGATES.flatMap(({ names }) => names).filter((name) => name !== 'ratio_to_report'),
])

/** One after the other: a SELECT in another one's FROM is rewritten first. */
export function rewriteGapfill(text: string): Rewritten | undefined {
  const tokens = tokenize(text)
  if (!tokens) return undefined
  const isHere = (at: number) => isName(tokens[at], NAME) && isSymbol(tokens[at + 1], '(')
  let at = tokens.length - 1
  while (at >= 0 && !(isHere(at) && selectAround(tokens, at))) at--
  if (at < 0) {
    const stray = tokens.findIndex((_, index) => isHere(index))
    if (stray >= 0)
      throw dialectError(`${NAME} belongs among the columns of a SELECT`, positionAt(text, tokens[stray].start))
    return undefined
  }
  const core = selectAround(tokens, at)!
  const pieces = createFilling(text, tokens, core, readCall(text, tokens, at)!).pieces()
  const [from, to] = core.range
  return joinPieces(text, [
    { start: 0, end: tokens[from].start },
    ...pieces,
    { start: tokens[to - 1].end, end: text.length },
  ])
}

export function mayNeedGapfill(text: string): boolean {
  return /time_bucket_gapfill/i.test(text)
}

type Key = { readonly range: Range; readonly column: string }

function createFilling(text: string, tokens: readonly Token[], core: SelectCore, call: Call) {
  const at = tokens[call.nameAt].start
  const own = (ours: string): Piece => ({ text: ours, at, call: call.written })
  const user = ([from, to]: Range): Piece[] =>
    to > from ? [{ start: tokens[from].start, end: tokens[to - 1].end }] : []
  const refuse = (message: string, token: Token = tokens[call.nameAt]): never => {
    throw dialectError(`${call.written}: ${message}`, positionAt(text, token.start))
  }

  const { width, time, zone, start, finish, rest } = readArguments()
  const keys = readKeys()
  /** Aggregates of the inner SELECT: `a0`, `a1`, … */
  const aggregates: Range[] = []

  function readArguments() {
    const plain = call.args.filter(({ name }) => name === undefined)
    const named = (name: string) => call.args.find((each) => each.name === name)
    const [width, time, ...more] = plain
    if (!width || !time) return refuse('expected a width and a time')
    const first = more[0] && literalText(tokens, more[0].range)
    const isZone = first !== undefined && !/^\s*\d{4}-\d/.test(first)
    const zone = named('timezone') ?? (isZone ? more[0] : undefined)
    const [start, finish] = isZone ? more.slice(1) : more
    const rest = call.args.filter(({ name }) => name === 'origin' || name === 'offset')
    return { width, time, zone, start: named('start') ?? start, finish: named('finish') ?? finish, rest }
  }

  function isBucket(range: Range): boolean {
    return isSame(tokens, range, [call.start, call.end])
  }

  function readKeys(): readonly Key[] {
    const group = core.clauses.get('group')
    if (!group) return refuse('expected a GROUP BY')
    const ranges: Range[] = []
    const isAll = group[1] - group[0] === 1 && isName(tokens[group[0]], 'all')
    const parts = isAll
      ? core.columns.filter(({ expression }) => !hasAggregate(expression)).map(({ expression }) => expression)
      : splitAtCommas(tokens, ...group).map(groupExpression)
    for (const part of parts) if (!ranges.some((known) => isSame(tokens, known, part))) ranges.push(part)
    const others = ranges.filter((range) => !isBucket(range))
    if (others.length === ranges.length) return refuse('expected it in GROUP BY as well, by itself')
    for (const range of others) {
      const inside = findIn(range, (index) => isName(tokens[index], NAME))
      if (inside !== undefined) refuse('expected only one of it, and by itself in GROUP BY', tokens[inside])
    }
    return others.map((range, index) => ({ range, column: `"millrace key ${index}"` }))
  }

  /** `1`, the name of a column, or the expression itself. */
  function groupExpression(part: Range): Range {
    const [from, to] = part
    const number = literalNumber(tokens, part)
    if (number !== undefined)
      return core.columns[number - 1]?.expression ?? refuse(`there is no column ${number}`, tokens[from])
    if (isSymbol(tokens[from], '(') && tokens[from].match === to - 1 && to - from > 2)
      return groupExpression([from + 1, to - 1])
    if (isName(tokens[from], 'rollup', 'cube', 'grouping') || to === from || tokens[from].match === to - 1)
      refuse('grouping sets have no gaps to fill: expected plain expressions in GROUP BY', tokens[from])
    if (to - from === 1 && isNameLike(tokens[from])) {
      const named = core.columns.find(({ alias }) => alias && sameName(tokens[alias[0]], tokens[from]))
      if (named) return named.expression
    }
    return part
  }

  function hasAggregate(range: Range): boolean {
    return findIn(range, (index) => isAggregate(index) || isFiller(index)) !== undefined
  }

  function findIn([from, to]: Range, holds: (index: number) => boolean): number | undefined {
    for (let index = from; index < to; index++) if (holds(index)) return index
    return undefined
  }

  function isFiller(index: number): boolean {
    return isName(tokens[index], ...FILLERS) && isSymbol(tokens[index + 1], '(')
  }

  function isAggregate(index: number): boolean {
    const token = tokens[index]
    if (token.kind !== 'name' || !isSymbol(tokens[index + 1], '(') || !AGGREGATE_NAMES.has(token.value)) return false
    return !isSymbol(tokens[index - 1], '.') && readCall(text, tokens, index)?.over === undefined
  }

  /** A user's expression over the filled groups: keys and aggregates by the names they have there. */
  function outside([from, to]: Range): Piece[] {
    const pieces: Piece[] = []
    let plain = from
    let index = from
    const put = (inside: readonly Piece[], end: number) => {
      if (index > plain) pieces.push({ start: tokens[plain].start, end: tokens[index].start })
      else if (plain > from) pieces.push({ start: tokens[plain - 1].end, end: tokens[plain].start })
      pieces.push(...inside)
      if (end < to && end > 0) {
        const gap = { start: tokens[end - 1].end, end: tokens[end].start }
        if (gap.end > gap.start && plainFollows(end)) pieces.push(gap)
      }
      plain = end
      index = end
    }
    const plainFollows = (end: number) => end < to && replacementAt(end, to) === undefined
    while (index < to) {
      const found = replacementAt(index, to)
      if (found) put(found.pieces(), found.end)
      else index++
    }
    if (plain < to) pieces.push(...user([plain, to]))
    return pieces
  }

  function replacementAt(index: number, to: number): { readonly end: number; pieces(): Piece[] } | undefined {
    const isInside = isSymbol(tokens[index - 1], '.')
    if (isName(tokens[index], NAME) && isSymbol(tokens[index + 1], '(')) {
      const other = readCall(text, tokens, index)!
      if (!isBucket([other.start, other.end])) refuse('expected only one of it', tokens[index])
      return { end: other.end, pieces: () => [own('"millrace bucket"')] }
    }
    if (isFiller(index)) {
      const filler = readCall(text, tokens, index)!
      return { end: filler.end, pieces: () => filled(filler) }
    }
    const key = isInside ? undefined : keyAt(index, to)
    if (key) return { end: key.end, pieces: () => [own(key.column)] }
    if (!isAggregate(index)) return undefined
    const { end } = endOfAggregate(index)
    return { end, pieces: () => [own(aggregateColumn([index, end]))] }
  }

  /** With WITHIN GROUP, which `readCall` knows nothing of. */
  function endOfAggregate(index: number): { readonly end: number } {
    const close = tokens[index + 1].match
    if (!isName(tokens[close + 1], 'within')) return { end: readCall(text, tokens, index)!.end }
    let end = tokens[close + 3].match + 1
    if (isName(tokens[end], 'filter')) end = tokens[end + 1].match + 1
    return { end }
  }

  function keyAt(index: number, to: number): { readonly end: number; readonly column: string } | undefined {
    for (const { range, column } of [...keys].sort((a, b) => b.range[1] - b.range[0] - (a.range[1] - a.range[0]))) {
      const length = range[1] - range[0]
      const isColumn = [...Array(length).keys()].every((each) => each % 2 === 1 || isNameLike(tokens[range[0] + each]))
      // `device` and `t.device` are the same column.
      const candidates: Range[] = isColumn && length > 1 ? [range, [range[1] - 1, range[1]]] : [range]
      for (const each of candidates) {
        const end = index + each[1] - each[0]
        if (end <= to && isSame(tokens, each, [index, end]) && !isSymbol(tokens[end], '.', '(')) return { end, column }
      }
      if (isColumn && length === 1 && isNameLike(tokens[index]) && isSymbol(tokens[index + 1], '.')) {
        const end = index + 3
        if (end <= to && isSame(tokens, range, [index + 2, end]) && !isSymbol(tokens[end], '.', '('))
          return { end, column }
      }
    }
    return undefined
  }

  /** HAVING is asked of the groups, which know the bucket and the columns' new names no more than they know the gaps. */
  function inGroups([from, to]: Range): Piece[] {
    const pieces: Piece[] = []
    let plain = from
    const put = (inside: readonly Piece[], at: number, end: number) => {
      pieces.push(...user([plain, at]), own(' ('), ...inside, own(') '))
      plain = end
    }
    for (let at = from; at < to; at++) {
      if (at < plain || isSymbol(tokens[at - 1], '.')) continue
      if (isAggregate(at)) {
        at = endOfAggregate(at).end - 1
        continue
      }
      const isCall = isSymbol(tokens[at + 1], '(')
      const called = isCall && isName(tokens[at], NAME) ? readCall(text, tokens, at)! : undefined
      if (called && isBucket([called.start, called.end])) put(bucketOf(user(time.range)), at, called.end)
      if (isCall || !isNameLike(tokens[at]) || isSymbol(tokens[at + 1], '.')) continue
      const column = core.columns.find(({ alias }) => alias && sameName(tokens[alias[0]], tokens[at]))
      if (!column || findIn(column.expression, isFiller) !== undefined) continue
      put(isBucket(column.expression) ? bucketOf(user(time.range)) : user(column.expression), at, at + 1)
    }
    return [...pieces, ...user([plain, to])]
  }

  function aggregateColumn(range: Range): string {
    const known = aggregates.findIndex((each) => isSame(tokens, each, range))
    if (known < 0) aggregates.push(range)
    return `"millrace value ${known < 0 ? aggregates.length - 1 : known}"`
  }

  function filled(filler: Call): Piece[] {
    const [value, before] = filler.args.filter(({ name }) => name === undefined)
    const nulls = filler.args.find(({ name }) => name === 'treat_null_as_missing')
    const isLocf = filler.name === 'locf'
    if (!value) refuse(`${filler.written}: expected an aggregate`, tokens[filler.nameAt])
    if (nulls && !isName(tokens[nulls.range[0]], 'true'))
      refuse(`${filler.written}: NULL is always taken as missing`, tokens[nulls.range[0]])
    if (!isLocf && filler.args.length > 1)
      refuse(`${filler.written}: expected one argument: it looks no further than the range`, tokens[filler.nameAt])
    if (findIn(value.range, isFiller) !== undefined)
      refuse(`${filler.written}: cannot be inside of another`, tokens[filler.nameAt])
    const e = () => outside(value.range)
    const series = keys.length === 0 ? '' : `PARTITION BY ${keys.map(({ column }) => column).join(', ')} `
    const backward = `(${series}ORDER BY "millrace bucket" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)`
    const forward = `(${series}ORDER BY "millrace bucket" ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)`
    const last = [own('last_value(('), ...e(), own(`) IGNORE NULLS) OVER ${backward}`)]
    if (isLocf) return before ? [own('coalesce('), ...last, own(', '), ...outside(before.range), own(')')] : last
    const next = [own('first_value(('), ...e(), own(`) IGNORE NULLS) OVER ${forward}`)]
    const axis = isCounted() ? '"millrace bucket"' : 'epoch_us("millrace bucket")'
    const placed = [own('CASE WHEN ('), ...e(), own(`) IS NOT NULL THEN ${axis} END IGNORE NULLS) OVER `)]
    const from = [own('last_value('), ...placed, own(backward)]
    const to = [own('first_value('), ...placed, own(forward)]
    return [
      own('coalesce('),
      ...e(),
      own(', '),
      ...last,
      own(' + ('),
      ...next,
      own(' - '),
      ...last,
      own(`) * (${axis} - `),
      ...from,
      own(') / ('),
      ...to,
      own(' - '),
      ...from,
      own('))'),
    ]
  }

  /** A bucket of whole numbers rather than of time. */
  function isCounted(): boolean {
    return literalNumber(tokens, width.range) !== undefined
  }

  function bucketOf(value: readonly Piece[]): Piece[] {
    const more = [
      ...(zone ? [own(', timezone => '), ...user(zone.range)] : []),
      ...rest.flatMap(({ name, range }) => [own(`, ${name === 'offset' ? '"offset"' : name} => `), ...user(range)]),
    ]
    return [own('time_bucket('), ...user(width.range), own(', '), ...value, ...more, own(')')]
  }

  /** Steps so short that no bucket is stepped over: a day may have 23 hours, a month 28 days. */
  function step(): Piece[] {
    if (isCounted()) return user(width.range)
    const known = literalInterval(tokens, width.range)
    if (known && known.months > 0) return [own('INTERVAL 1 DAY')]
    if (known && known.days > 0) return [own('INTERVAL 12 HOURS')]
    if (known && !zone) return [own(`INTERVAL '${known.micros} microseconds'`)]
    if (known) return [own(`INTERVAL '${Math.min(known.micros, 1_800_000_000)} microseconds'`)]
    return [
      own('CASE WHEN CAST('),
      ...user(width.range),
      own(' AS INTERVAL) >= INTERVAL 1 DAY THEN INTERVAL 12 HOURS ELSE least(CAST('),
      ...user(width.range),
      own(' AS INTERVAL), INTERVAL 30 MINUTES) END'),
    ]
  }

  /** Of the same type as the buckets, also when it is a text or has a zone and they have none. */
  function typed(bound: Bound | undefined, extreme: 'min' | 'max'): Piece[] {
    const found = `(SELECT ${extreme}("millrace bucket") FROM "millrace groups")`
    if (!bound) return [own(found)]
    return [own(`coalesce(CASE WHEN false THEN ${found} END, `), ...user(bound.range), own(')')]
  }

  function pieces(): Piece[] {
    const where = core.clauses.get('where')
    const fromWhere: TimeRange = rangeOfWhere(tokens, where, time.range)
    const from = start ? { range: start.range, isInclusive: true } : fromWhere.start
    const until = finish ? { range: finish.range, isInclusive: false } : fromWhere.finish
    if (!core.clauses.has('from')) refuse('expected a FROM')
    if (core.clauses.has('using')) refuse('a sample has no gaps to fill')
    const columns = joined(core.columns.map(outerColumn), own(', '))
    const tailOf = (clause: 'qualify' | 'window' | 'order', words: string) => {
      const range = core.clauses.get(clause)
      return range ? [own(` ${words} `), ...outside(range)] : []
    }
    const tails = [
      ...tailOf('window', 'WINDOW'),
      ...tailOf('qualify', 'QUALIFY'),
      ...tailOf('order', 'ORDER BY'),
      ...(['limit', 'offset'] as const).flatMap((clause) => {
        const range = core.clauses.get(clause)
        return range ? [own(` ${clause.toUpperCase()} `), ...user(range)] : []
      }),
    ]
    const inner = [
      own('SELECT '),
      ...bucketOf(user(time.range)),
      own(' AS "millrace bucket"'),
      ...keys.flatMap(({ range, column }) => [own(', '), ...user(range), own(` AS ${column}`)]),
      ...aggregates.flatMap((range, index) => [own(', '), ...user(range), own(` AS "millrace value ${index}"`)]),
      own(' FROM '),
      ...user(core.clauses.get('from')!),
      ...(where ? [own(' WHERE '), ...user(where)] : []),
      own(` GROUP BY ${['1', ...keys.map((_, index) => String(index + 2))].join(', ')}`),
      ...(core.clauses.has('having') ? [own(' HAVING '), ...inGroups(core.clauses.get('having')!)] : []),
    ]
    const keyList = keys.map(({ column }) => column).join(', ')
    const conditions = ['"millrace bucket"', ...keys.map(({ column }) => column)].map(
      (name) => `g.${name} IS NOT DISTINCT FROM v.${name}`,
    )
    const values = aggregates.map((_, index) => `, v."millrace value ${index}"`).join('')
    const isBefore = until ? (until.isInclusive ? '<=' : '<') : '<='
    return [
      ...user(core.head),
      own(' '),
      ...columns,
      own(' FROM (WITH "millrace groups" AS MATERIALIZED ('),
      ...inner,
      own('), "millrace range" AS (SELECT '),
      ...bucketOf(typed(from, 'min')),
      own(' AS lo, '),
      ...typed(until, 'max'),
      own(` AS hi), "millrace grid" AS (SELECT DISTINCT `),
      ...bucketOf([own('moment')]),
      own(' AS "millrace bucket" FROM (SELECT unnest(generate_series(lo, hi, '),
      ...step(),
      own(
        `)) AS moment, hi FROM "millrace range") WHERE moment ${isBefore} hi UNION SELECT "millrace bucket" FROM "millrace groups" WHERE "millrace bucket" IS NOT NULL`,
      ),
      own(
        `), "millrace slots" AS (SELECT * FROM "millrace grid"${keys.length > 0 ? ` CROSS JOIN (SELECT DISTINCT ${keyList} FROM "millrace groups")` : ''}) `,
      ),
      own(
        `SELECT g.*${values} FROM "millrace slots" g LEFT JOIN "millrace groups" v ON ${conditions.join(' AND ')}) AS "millrace filled"`,
      ),
      ...tails,
    ]
  }

  function outerColumn({ expression, alias }: Column): Piece[] {
    if (isSymbol(tokens[expression[0]], '*') && expression[1] - expression[0] === 1)
      refuse('expected columns by name, not *', tokens[expression[0]])
    const name = alias ? user(alias) : [own(`"${nameOf(expression).replaceAll('"', '""')}"`)]
    return [...outside(expression), own(' AS '), ...name]
  }

  function nameOf([from, to]: Range): string {
    const last = tokens[to - 1]
    const isColumn = isNameLike(last) && (to - from === 1 || isSymbol(tokens[to - 2], '.'))
    if (isColumn) return last.kind === 'quoted' ? last.value : text.slice(last.start, last.end)
    return text.slice(tokens[from].start, last.end).replaceAll(/\s+/g, ' ')
  }

  return { pieces }
}
