/**
 * Aggregates of other systems. All of them take FILTER and OVER, and DISTINCT and ORDER BY where that means something.
 * NULLs are left out, as every one of these systems does, unless the page says otherwise.
 */
import { literalNumber } from './call.ts'
import type { Piece } from './pieces.ts'
import { argument, type CallRewrite, filled, joined, MANY, type Rule, renamed, rule, tail } from './rule.ts'

/** Several columns count as one value; rows with a NULL in them are left out. */
function countedTogether(rewrite: CallRewrite): Piece[] {
  const { call, own, render } = rewrite
  if (call.args.length === 1) return argument(rewrite, 1)
  const parts = call.args.map(({ range }) => render(range))
  const present = joined(
    parts.map((part) => [own('('), ...part, own(') IS NOT NULL')]),
    own(' AND '),
  )
  return [own('CASE WHEN '), ...present, own(' THEN row('), ...joined(parts, own(', ')), own(') END')]
}

function distinctApproximately(rewrite: CallRewrite): Piece[] {
  return [rewrite.own('approx_count_distinct('), ...countedTogether(rewrite), rewrite.own(')'), ...tail(rewrite)]
}

function distinctExactly(rewrite: CallRewrite): Piece[] {
  return [rewrite.own('count(DISTINCT '), ...countedTogether(rewrite), rewrite.own(')'), ...tail(rewrite)]
}

/** Pinot counts percentiles from 0 to 100. */
function percentOf(name: string) {
  return (rewrite: CallRewrite): Piece[] => {
    const percent = literalNumber(rewrite.tokens, rewrite.call.args[1]?.range)
    if (percent === undefined || percent < 0 || percent > 100)
      rewrite.refuse('expected a percentile from 0 to 100 as the second argument')
    return filled(`${name}({1}, ${percent / 100}){t}`, rewrite)
  }
}

/** `countIf`, `sumIf`, …: the last argument is a filter. */
const WITH_IF = new Map([
  ['sum', 'sum'],
  ['avg', 'avg'],
  ['min', 'min'],
  ['max', 'max'],
  ['any', 'any_value'],
  ['anylast', 'last'],
  ['uniq', 'approx_count_distinct'],
  ['uniqexact', 'uniqexact'],
  ['median', 'median'],
  ['grouparray', 'list'],
  ['groupuniqarray', 'grouparray distinct'],
  ['argmin', 'arg_min'],
  ['argmax', 'arg_max'],
  ['stddevpop', 'stddev_pop'],
  ['stddevsamp', 'stddev_samp'],
  ['varpop', 'var_pop'],
  ['varsamp', 'var_samp'],
])

function conditional(base: string, meaning: string): Rule {
  const args = base.startsWith('arg') ? 3 : 2
  const given = args === 3 ? '{1}, {2}' : '{1}'
  const notNull = meaning === 'list' || meaning.endsWith('distinct') ? '({1}) IS NOT NULL AND ' : ''
  const inner =
    meaning === 'uniqexact'
      ? `count(DISTINCT ${given})`
      : meaning.endsWith('distinct')
        ? `list(DISTINCT ${given})`
        : `${meaning}({d}${given}{o})`
  return rule(`${base}If`, args, `${inner}{t:${notNull}({${args}})}`)
}

/** `[0, 1/n, …, 1]` */
function quantileList(rewrite: CallRewrite): Piece[] {
  const count = literalNumber(rewrite.tokens, rewrite.call.args[1].range)
  if (count === undefined || !Number.isInteger(count) || count < 1 || count > 10_000)
    rewrite.refuse('expected a whole number from 1 to 10000 as the second argument')
  const shares = Array.from({ length: count + 1 }, (_, index) => index / count)
  return filled(`approx_quantile({1}, [${shares.join(', ')}]){t}`, rewrite)
}

const IN_ORDER = 'list({1} ORDER BY {2}, {1}){t:({1}) IS NOT NULL AND ({2}) IS NOT NULL}'
/** Sum of the values before each fall, over the values in time order. */
const LOST_AT_RESETS = `list_sum(list_transform(range(2, len(${IN_ORDER}) + 1), lambda i: CASE WHEN ${IN_ORDER}[i] < ${IN_ORDER}[i - 1] THEN ${IN_ORDER}[i - 1] ELSE 0 END))`
const INCREASE = `(CASE WHEN len(${IN_ORDER}) > 1 THEN ${IN_ORDER}[-1] + ${LOST_AT_RESETS} - ${IN_ORDER}[1] END)`
const SPAN = '(epoch_us(max({2}){t:({1}) IS NOT NULL}) - epoch_us(min({2}){t:({1}) IS NOT NULL}))'
const DELTA = `(CASE WHEN len(${IN_ORDER}) > 1 THEN ${IN_ORDER}[-1] - ${IN_ORDER}[1] END)`
const STEPS = (condition: string) =>
  `(CASE WHEN len(${IN_ORDER}) > 0 THEN len(list_filter(range(2, len(${IN_ORDER}) + 1), lambda i: ${condition})) END)`

export const AGGREGATES: readonly Rule[] = [
  rule('approx_distinct approx_count_distinct_builtin distinctcounthll distinctcounthllplus hll', [1, 2], (rewrite) => [
    ...filled('approx_count_distinct({1}){t}', rewrite),
  ]),
  rule(
    'uniq uniqCombined uniqCombined64 uniqHLL12 uniqTheta approx_count_distinct_ds_hll approx_count_distinct_ds_theta distinctcountthetasketch ndv',
    [1, MANY],
    distinctApproximately,
  ),
  rule('uniqExact distinctcount', [1, MANY], distinctExactly),
  rule('approx_percentile percentile_approx approx_quantile_ds', [2, 3], (rewrite) => {
    const [, , third] = rewrite.call.args
    if (third && rewrite.call.name === 'approx_percentile' && literalNumber(rewrite.tokens, third.range) !== undefined)
      rewrite.refuse('weights are not available: expected a column and a fraction (or a list of fractions)')
    return filled('approx_quantile({1}, {2}){t}', rewrite)
  }),
  rule('approx_quantile', 3, 'approx_quantile({1}, {2}){t}'),
  rule('quantileExact quantileExactLow', 2, 'quantile_disc({1}, {2}){t}'),
  rule('quantileTDigest quantileTiming quantileBFloat16 quantileDD', 2, 'approx_quantile({1}, {2}){t}'),
  rule('quantiles quantilesExact', [2, MANY], (rewrite) => quantiles(rewrite)),
  rule('percentile', 2, percentOf('quantile_cont')),
  rule('percentileest percentiletdigest percentilekll', [2, 3], percentOf('approx_quantile')),
  rule('approx_quantiles', 2, quantileList),
  rule(
    'approx_top_count',
    2,
    'list_transform(list_slice(list_reverse_sort(list_transform(map_entries(histogram({1}){t}), lambda e: row(e.value, e.key))), 1, {2}), lambda e: {value: e[2], count: e[1]})',
  ),
  rule('topK', 2, 'approx_top_k({1}, {2}){t}'),
  rule('countIf', 1, 'count(*){t:({1})}'),
  ...[...WITH_IF].map(([base, meaning]) => conditional(base, meaning)),
  rule('anyLast', 1, 'last'),
  rule('groupArray', 1, 'list({d}{1}{o}){t:({1}) IS NOT NULL}'),
  rule('groupArray', 2, 'list_slice(list({d}{1}{o}){t:({1}) IS NOT NULL}, 1, {2})'),
  rule('groupUniqArray', 1, 'list(DISTINCT {1}){t:({1}) IS NOT NULL}'),
  rule('groupConcat', [1, 2], 'string_agg'),
  rule('groupBitAnd bitand_agg bitwise_and_agg', 1, 'bit_and'),
  rule('groupBitOr bitor_agg bitwise_or_agg', 1, 'bit_or'),
  rule('groupBitXor bitxor_agg bitwise_xor_agg', 1, 'bit_xor'),
  rule('logical_and booland_agg every', 1, 'bool_and'),
  rule('logical_or boolor_agg', 1, 'bool_or'),
  rule('stddevPop stddevPopStable', 1, 'stddev_pop'),
  rule('stddevSamp stddevSampStable', 1, 'stddev_samp'),
  rule('varPop varPopStable', 1, 'var_pop'),
  rule('varSamp varSampStable', 1, 'var_samp'),
  rule('covarPop', 2, 'covar_pop'),
  rule('covarSamp', 2, 'covar_samp'),
  rule('avgWeighted', 2, '(sum(({1}) * ({2})){t} / nullif(sum({2}){t:({1}) IS NOT NULL}, 0))'),
  rule('minmaxrange', 1, '(max({1}){t} - min({1}){t})'),
  rule('map_agg', 2, 'map(list({1}{o}){t:({1}) IS NOT NULL}, list({2}{o}){t:({1}) IS NOT NULL})'),
  rule('latest_by lastwithtime', [2, 3], 'arg_max({1}, {2}){t}'),
  rule('earliest_by firstwithtime', [2, 3], 'arg_min({1}, {2}){t}'),
  rule('last', 2, 'arg_max({1}, {2}){t}'),
  rule('first', 2, 'arg_min({1}, {2}){t}'),
  rule('first_value last_value', 2, (rewrite) =>
    rewrite.call.over ? undefined : renamed(rewrite.call.name === 'first_value' ? 'arg_min' : 'arg_max', rewrite),
  ),
  rule('ratio_to_report', 1, (rewrite) =>
    filled('({1}) / nullif(sum({1}){t}, 0)', rewrite.call.over ? rewrite : rewrite.refuse('expected OVER after it')),
  ),
  rule('increase', 2, INCREASE),
  rule('rate', 2, `(${INCREASE} / nullif(${SPAN} / 1000000, 0))`),
  rule('delta', 2, DELTA),
  rule('derivative deriv', 2, `(CASE WHEN ${SPAN} > 0 THEN regr_slope({1}, epoch({2})){t} END)`),
  rule('resets', 2, STEPS(`${IN_ORDER}[i] < ${IN_ORDER}[i - 1]`)),
  rule('changes', 2, STEPS(`${IN_ORDER}[i] <> ${IN_ORDER}[i - 1]`)),
]

/** `quantiles(x, 0.5, 0.9)`, `quantiles(x, [0.5, 0.9])`: a list of what lies between the values. */
function quantiles(rewrite: CallRewrite): Piece[] {
  const { call, own, render } = rewrite
  const name = call.name.endsWith('exact') ? 'quantile_disc' : 'quantile_cont'
  if (call.args.length === 2 && literalNumber(rewrite.tokens, call.args[1].range) === undefined)
    return filled(`${name}({1}, {2}){t}`, rewrite)
  const shares = joined(
    call.args.slice(1).map(({ range }) => render(range)),
    own(', '),
  )
  return [own(`${name}(`), ...render(call.args[0].range), own(', ['), ...shares, own('])'), ...tail(rewrite)]
}
