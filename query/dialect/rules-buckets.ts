/**
 * Buckets of time under the names of other systems: `time_bucket` with a zone, `date_bin`, `date_trunc`, `toStartOf…`, `time_floor`,
 * `time_slice`. Without a zone they are DuckDB's own; with one, `zone-buckets.ts` says where they begin.
 */
import { type Argument, literalNumber, literalText, literalWord } from './call.ts'
import { type Interval, intervalSql, literalInterval, parseInterval, times, unitInterval } from './interval-literal.ts'
import type { Piece } from './pieces.ts'
import { type CallRewrite, filled, type Rule, rule } from './rule.ts'
import { bucketInZone } from './zone-buckets.ts'

export type Rewriter = (rewrite: CallRewrite) => Piece[] | undefined

/** A time; a text literal is taken as one. */
export function timeOf({ tokens, render, own }: CallRewrite, given: Argument): Piece[] {
  const text = literalText(tokens, given.range)
  if (text === undefined) return render(given.range)
  return [own(/(Z|[+-]\d\d(:?\d\d)?)$/.test(text.slice(10)) ? 'TIMESTAMPTZ ' : 'TIMESTAMP '), ...render(given.range)]
}

function inZone(
  rewrite: CallRewrite,
  width: Interval | Argument,
  time: Argument,
  zone: Argument,
  origin?: Argument,
): Piece[] {
  return bucketInZone({
    width: 'months' in width ? width : (literalInterval(rewrite.tokens, width.range) ?? rewrite.render(width.range)),
    time: timeOf(rewrite, time),
    zone: rewrite.render(zone.range),
    zoneName: literalText(rewrite.tokens, zone.range),
    origin: origin && [rewrite.own('make_timestamptz(epoch_us('), ...timeOf(rewrite, origin), rewrite.own('))')],
    own: rewrite.own,
  })
}

/** `time_bucket(width, time [, zone | origin | offset])`, and by name: `timezone =>`, `origin =>`, `"offset" =>`. */
const timeBucket: Rewriter = (rewrite) => {
  const { call, tokens, own, render } = rewrite
  const plain = call.args.filter((each) => each.name === undefined)
  const named = (...names: string[]) => call.args.find((each) => each.name !== undefined && names.includes(each.name))
  const [width, time, third, fourth] = plain
  if (!width || !time) return undefined
  if (literalNumber(tokens, width.range) !== undefined) {
    if (call.args.length > 2)
      rewrite.refuse('a whole number as width goes with a whole number as time, and nothing else')
    // Floor, also below zero.
    return filled('(({2}) - ((({2}) % {1}) + {1}) % {1})', rewrite)
  }
  const text = third && literalText(tokens, third.range)
  const isTime = text !== undefined && /^\s*\d{4}-\d\d?-\d\d?/.test(text)
  const isOffset = text !== undefined && !isTime && parseInterval(text) !== undefined
  const isParameter = third !== undefined && isParameterAt(rewrite, third)
  const zone =
    named('timezone', 'zone') ??
    (third && (isParameter || (text !== undefined && !isTime && !isOffset)) ? third : undefined)
  const origin = named('origin') ?? (zone === third ? fourth : isTime ? third : undefined)
  const offset = named('offset') ?? (isOffset ? third : undefined)
  const stray = call.args.find(
    (each) => each.name !== undefined && !['timezone', 'zone', 'origin', 'offset'].includes(each.name),
  )
  if (stray) rewrite.refuse(`there is no argument ${stray.name}; there are timezone, origin and "offset"`)
  if (zone) {
    if (offset) rewrite.refuse('offset does not go with a time zone: use origin')
    return inZone(rewrite, width, time, zone, origin)
  }
  const isNativeCall = !origin && !offset && literalText(tokens, time.range) === undefined
  if (isNativeCall) return undefined
  const head = [own('time_bucket('), ...render(width.range), own(', '), ...timeOf(rewrite, time), own(', ')]
  if (offset) return [...head, own('CAST('), ...render(offset.range), own(' AS INTERVAL))')]
  return origin ? [...head, ...timeOf(rewrite, origin), own(')')] : [...head.slice(0, -1), own(')')]
}

function isParameterAt({ tokens }: CallRewrite, { range: [from, to] }: Argument): boolean {
  return tokens[from].value === '$' || (to - from === 1 && tokens[from].value === '?')
}

const TRUNCATIONS = new Map<string, Interval>(
  ['microsecond', 'millisecond', 'second', 'minute', 'hour', 'day', 'week', 'month', 'quarter', 'year'].map((unit) => [
    unit,
    unitInterval(unit)!,
  ]),
)

export function truncation(rewrite: CallRewrite, given: Argument): string {
  const word = literalWord(rewrite.tokens, given.range)?.replace(/s$/, '')
  if (word === undefined || !TRUNCATIONS.has(word.replace(/^iso/, '')))
    rewrite.refuse(`expected a unit: ${[...TRUNCATIONS.keys()].join(', ')}`)
  return word.replace(/^iso/, '')
}

function truncated(rewrite: CallRewrite, unit: string, time: Argument, zone: Argument | undefined): Piece[] {
  if (zone) return inZone(rewrite, TRUNCATIONS.get(unit)!, time, zone)
  return [rewrite.own(`date_trunc('${unit}', `), ...timeOf(rewrite, time), rewrite.own(')')]
}

/** `toStartOfHour(time [, zone])` */
function startOf(width: string): Rewriter {
  const interval = unitInterval(width) ?? parseInterval(width)!
  return (rewrite) => {
    const [time, zone] = rewrite.call.args
    if (zone) return inZone(rewrite, interval, time, zone)
    return TRUNCATIONS.has(width)
      ? truncated(rewrite, width, time, undefined)
      : [rewrite.own(`time_bucket(${intervalSql(interval)}, `), ...timeOf(rewrite, time), rewrite.own(')')]
  }
}

/** ClickHouse's weeks begin on Sunday, but on Monday in the modes with an odd number. */
const startOfWeek: Rewriter = (rewrite) => {
  const { call, own } = rewrite
  const mode = call.args[1] ? literalNumber(rewrite.tokens, call.args[1].range) : 0
  if (mode === undefined) return rewrite.refuse('expected a number as the mode')
  const isSunday = mode % 2 === 0
  const [time, , zone] = call.args
  if (!zone) {
    const parts = timeOf(rewrite, time)
    return isSunday
      ? [own("(date_trunc('week', ("), ...parts, own(') + INTERVAL 1 DAY) - INTERVAL 1 DAY)')]
      : [own("date_trunc('week', "), ...parts, own(')')]
  }
  return bucketInZone({
    width: { months: 0, days: 7, micros: 0 },
    time: timeOf(rewrite, time),
    zone: rewrite.render(zone.range),
    zoneName: literalText(rewrite.tokens, zone.range),
    origin: isSunday
      ? [own('make_timestamptz(epoch_us(timezone('), ...rewrite.render(zone.range), own(", TIMESTAMP '2000-01-02')))")]
      : undefined,
    own,
  })
}

/** Druid's: an ISO period. */
const timeFloor: Rewriter = (rewrite) => {
  const { call, own } = rewrite
  const [time, period, origin, zone] = call.args
  const width = period && parseInterval(literalText(rewrite.tokens, period.range) ?? '')
  if (!width) return rewrite.refuse("expected a period like 'PT1H' or 'P1D' as the second argument")
  const hasOrigin = origin && !/^null$/i.test(originText(rewrite, origin))
  if (zone) return inZone(rewrite, width, time, zone, hasOrigin ? origin : undefined)
  const at = hasOrigin ? [own(', '), ...timeOf(rewrite, origin)] : []
  return [own(`time_bucket(${intervalSql(width)}, `), ...timeOf(rewrite, time), ...at, own(')')]
}

function originText({ tokens }: CallRewrite, { range: [from, to] }: Argument): string {
  return to - from === 1 ? tokens[from].value : ''
}

const timeCeil: Rewriter = (rewrite) => {
  const floor = timeFloor(rewrite)!
  const { call, own } = rewrite
  const width = parseInterval(literalText(rewrite.tokens, call.args[1].range) ?? '')!
  const time = timeOf(rewrite, call.args[0])
  return [
    own('CASE WHEN '),
    ...floor,
    own(' = '),
    ...time,
    own(' THEN '),
    ...floor,
    own(' ELSE '),
    ...floor,
    own(` + ${intervalSql(width)} END`),
  ]
}

/** Snowflake's `time_slice(time, length, unit [, 'START' | 'END'])`. Its slices count from 1970, weeks begin on Monday. */
const timeSlice: Rewriter = (rewrite) => {
  const { call, tokens, own } = rewrite
  const length = literalNumber(tokens, call.args[1].range)
  const unit = unitInterval(literalWord(tokens, call.args[2].range) ?? '')
  if (length === undefined || !unit) return rewrite.refuse("expected a number and a unit, as in (time, 15, 'MINUTE')")
  const end = call.args[3] ? literalWord(tokens, call.args[3].range) : 'start'
  if (end !== 'start' && end !== 'end') return rewrite.refuse("expected 'START' or 'END' as the fourth argument")
  const width = intervalSql(times(unit, length))
  const origin = unit.days === 7 ? '1970-01-05' : '1970-01-01'
  const bucket = [own(`time_bucket(${width}, `), ...timeOf(rewrite, call.args[0]), own(`, TIMESTAMP '${origin}')`)]
  return end === 'end' ? [own('('), ...bucket, own(` + ${width})`)] : bucket
}

/** `SECONDS` … of an epoch, in microseconds. */
const EPOCH_UNITS = new Map([
  ['microseconds', 1],
  ['milliseconds', 1000],
  ['seconds', 1_000_000],
  ['minutes', 60_000_000],
  ['hours', 3_600_000_000],
  ['days', 86_400_000_000],
])

/** Pinot's `datetrunc(unit, epoch, inputUnit [, zone [, outputUnit]])`; with two arguments it is DuckDB's. */
const pinotTrunc: Rewriter = (rewrite) => {
  const { call, own, render, tokens } = rewrite
  const [unitGiven, epoch, input, zone, output] = call.args
  const word = literalText(tokens, input.range)?.toLowerCase()
  const scale = word === undefined ? undefined : EPOCH_UNITS.get(word)
  // PostgreSQL's third argument is a zone.
  if (scale === undefined) {
    return call.args.length === 3
      ? truncated(rewrite, truncation(rewrite, unitGiven), epoch, input)
      : rewrite.refuse(`expected a unit of the epoch (${[...EPOCH_UNITS.keys()].join(', ')}) as the third argument`)
  }
  const back = output ? EPOCH_UNITS.get(literalText(tokens, output.range)?.toLowerCase() ?? '') : scale
  if (back === undefined) return rewrite.refuse('expected a unit of the epoch as the fifth argument')
  const unit = truncation(rewrite, unitGiven)
  const time = [own('make_timestamptz(CAST('), ...render(epoch.range), own(` AS BIGINT) * ${scale})`)]
  const zoneName = zone ? literalText(tokens, zone.range) : 'UTC'
  const bucket = bucketInZone({
    width: TRUNCATIONS.get(unit)!,
    time,
    zone: zone ? render(zone.range) : [own("'UTC'")],
    zoneName,
    origin: undefined,
    own,
  })
  return [own('(epoch_us('), ...bucket, own(`) // ${back})`)]
}

const truncFirst: Rewriter = (rewrite) => {
  const [unit, time, zone] = rewrite.call.args
  // `date_trunc('hour', time)` is DuckDB's own; BigQuery's is the other way round, with a bare unit.
  const [from, to] = time.range
  const word = to - from === 1 && rewrite.tokens[from].kind === 'name' ? rewrite.tokens[from].value : ''
  if (!zone && TRUNCATIONS.has(word.replace(/^iso/, '')) && literalText(rewrite.tokens, unit.range) === undefined)
    return truncated(rewrite, word.replace(/^iso/, ''), unit, undefined)
  if (zone) return pinotTrunc(rewrite)
  return literalText(rewrite.tokens, time.range) === undefined
    ? undefined
    : truncated(rewrite, truncation(rewrite, unit), time, undefined)
}

export const BUCKETS: readonly Rule[] = [
  rule('time_bucket', [2, 5], timeBucket),
  rule('date_bin', [2, 3], (rewrite) => {
    const [, time, origin] = rewrite.call.args
    const { own, render, call } = rewrite
    const at = origin ? timeOf(rewrite, origin) : [own("TIMESTAMP '1970-01-01'")]
    return [
      own('time_bucket('),
      ...render(call.args[0].range),
      own(', '),
      ...timeOf(rewrite, time),
      own(', '),
      ...at,
      own(')'),
    ]
  }),
  rule('date_trunc datetrunc', [2, 5], truncFirst),
  rule('timestamp_trunc datetime_trunc', [2, 3], (rewrite) =>
    truncated(rewrite, truncation(rewrite, rewrite.call.args[1]), rewrite.call.args[0], rewrite.call.args[2]),
  ),
  rule('toStartOfSecond', [1, 2], startOf('second')),
  rule('toStartOfMinute', [1, 2], startOf('minute')),
  rule('toStartOfFiveMinute toStartOfFiveMinutes', [1, 2], startOf('5 minutes')),
  rule('toStartOfTenMinutes', [1, 2], startOf('10 minutes')),
  rule('toStartOfFifteenMinutes', [1, 2], startOf('15 minutes')),
  rule('toStartOfHour', [1, 2], startOf('hour')),
  rule('toStartOfDay', [1, 2], startOf('day')),
  rule('toMonday toStartOfISOWeek', [1, 2], startOf('week')),
  rule('toStartOfMonth', [1, 2], startOf('month')),
  rule('toStartOfQuarter', [1, 2], startOf('quarter')),
  rule('toStartOfYear', [1, 2], startOf('year')),
  rule('toStartOfWeek', [1, 3], startOfWeek),
  rule('toStartOfInterval', [2, 3], (rewrite) => {
    const [time, width, zone] = rewrite.call.args
    if (zone) return inZone(rewrite, width, time, zone)
    return [
      rewrite.own('time_bucket('),
      ...rewrite.render(width.range),
      rewrite.own(', '),
      ...timeOf(rewrite, time),
      rewrite.own(')'),
    ]
  }),
  rule('time_floor', [2, 4], timeFloor),
  rule('time_ceil', [2, 4], timeCeil),
  rule('time_slice', [3, 4], timeSlice),
]
