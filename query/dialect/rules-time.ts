/** Functions of time that other systems have: arithmetic, epochs, texts. Buckets are in `rules-buckets.ts`. */
import { quoteText } from '../../lake/file-mapping.ts'
import { type Argument, literalText, literalWord } from './call.ts'
import { intervalSql, parseInterval, unitInterval } from './interval-literal.ts'
import { argument, type CallRewrite, filled, type Rule, rule } from './rule.ts'
import { type Rewriter, timeOf } from './rules-buckets.ts'
import { type FormatStyle, strftimeFormat } from './time-format.ts'

/** `unit, count, time` */
function shifted(unitAt: number, countAt: number, timeAt: number, sign: 1 | -1 = 1): Rewriter {
  return (rewrite) => {
    const { call, own } = rewrite
    const word = literalWord(rewrite.tokens, call.args[unitAt].range)?.replace(/^sql_tsi_/, '')
    const unit = word === undefined ? undefined : unitInterval(word)
    if (!unit) {
      return rewrite.refuse(
        `expected a unit (second, minute, hour, day, week, month, quarter, year) as argument ${unitAt + 1}`,
      )
    }
    const operator = sign === 1 ? '+' : '-'
    return [
      own('('),
      ...timeOf(rewrite, call.args[timeAt]),
      own(` ${operator} CAST(`),
      ...rewrite.render(call.args[countAt].range),
      own(` AS BIGINT) * ${intervalSql(unit)})`),
    ]
  }
}

function shiftedBy(unit: string, sign: 1 | -1): Rewriter {
  return (rewrite) => {
    const { call, own, render } = rewrite
    const operator = sign === 1 ? '+' : '-'
    const [time, count] = call.args
    const by = intervalSql(unitInterval(unit)!)
    return [
      own('('),
      ...timeOf(rewrite, time),
      own(` ${operator} CAST(`),
      ...render(count.range),
      own(` AS BIGINT) * ${by})`),
    ]
  }
}

/** Of which DuckDB function; the positions of unit, start and end. */
function difference(name: 'date_diff' | 'date_sub', unitAt: number, startAt: number, endAt: number): Rewriter {
  return (rewrite) => {
    const { call, own } = rewrite
    const word = literalWord(rewrite.tokens, call.args[unitAt].range)
      ?.replace(/^sql_tsi_/, '')
      .replace(/^(iso)?week(\(.*\))?$/, 'week')
    if (word === undefined || !unitInterval(word))
      return rewrite.refuse(
        `expected a unit (second, minute, hour, day, week, month, quarter, year) as argument ${unitAt + 1}`,
      )
    return [
      own(`${name}('${word}', `),
      ...timeOf(rewrite, call.args[startAt]),
      own(', '),
      ...timeOf(rewrite, call.args[endAt]),
      own(')'),
    ]
  }
}

/** DuckDB's own order is unit, start, end; BigQuery's end, start, unit. Only calls that DuckDB would not take are changed. */
const dateDiff: Rewriter = (rewrite) => {
  const { call, tokens } = rewrite
  const isBare = (at: number) => {
    const [from, to] = call.args[at].range
    return to - from === 1 && tokens[from].kind === 'name' && unitInterval(tokens[from].value) !== undefined
  }
  if (isBare(2)) return difference('date_diff', 2, 1, 0)(rewrite)
  const isText = (at: number) => literalText(tokens, call.args[at].range) !== undefined
  const isUnit = isText(0) && unitInterval(literalText(tokens, call.args[0].range)!) !== undefined
  return isBare(0) || (isUnit && (isText(1) || isText(2))) ? difference('date_diff', 0, 1, 2)(rewrite) : undefined
}

function formatted(style: FormatStyle, timeAt: number, formatAt: number, zoneAt = -1): Rewriter {
  return (rewrite) => {
    const { call, own, render } = rewrite
    const zone = call.args[zoneAt]
    const format = formatLiteral(rewrite, style, call.args[formatAt])
    const time = timeOf(rewrite, call.args[timeAt])
    const local = zone
      ? [own('timezone('), ...render(zone.range), own(', make_timestamptz(epoch_us('), ...time, own(')))')]
      : time
    return [own('strftime('), ...local, own(`, ${quoteText(format)})`)]
  }
}

function parsed(style: FormatStyle, textAt: number, formatAt: number, type = 'TIMESTAMP'): Rewriter {
  return (rewrite) => {
    const { call, own, render } = rewrite
    const format = formatLiteral(rewrite, style, call.args[formatAt])
    return [own('CAST(strptime('), ...render(call.args[textAt].range), own(`, ${quoteText(format)}) AS ${type})`)]
  }
}

function formatLiteral(rewrite: CallRewrite, style: FormatStyle, given: Argument | undefined): string {
  const text = given && literalText(rewrite.tokens, given.range)
  if (text === undefined) rewrite.refuse('expected the format as a text literal')
  const format = strftimeFormat(style, text)
  return (
    format ?? rewrite.refuse(`the format ${quoteText(text)} has a part that is not known here; strftime can do more`)
  )
}

const timeShift: Rewriter = (rewrite) => {
  const { call, own, render } = rewrite
  const [time, period, steps] = call.args
  const width = parseInterval(literalText(rewrite.tokens, period.range) ?? '')
  if (!width) return rewrite.refuse("expected a period like 'PT1H' or 'P1D' as the second argument")
  return [
    own('('),
    ...timeOf(rewrite, time),
    own(' + CAST('),
    ...render(steps.range),
    own(` AS BIGINT) * ${intervalSql(width)})`),
  ]
}

const SHIFT_UNITS = ['Second', 'Minute', 'Hour', 'Day', 'Week', 'Month', 'Quarter', 'Year']

export const TIMES: readonly Rule[] = [
  rule('time_shift', 3, timeShift),
  rule('time_extract', [2, 3], (rewrite) => {
    const [time, unit, zone] = rewrite.call.args
    const { own, render } = rewrite
    const word = literalWord(rewrite.tokens, unit.range)
    if (word === undefined || !/^[a-z]+$/.test(word))
      return rewrite.refuse("expected a unit like 'HOUR' as the second argument")
    const value = timeOf(rewrite, time)
    const local = zone
      ? [own('timezone('), ...render(zone.range), own(', make_timestamptz(epoch_us('), ...value, own(')))')]
      : value
    return [own(`date_part('${word}', `), ...local, own(')')]
  }),
  rule('time_format', [1, 3], (rewrite) =>
    rewrite.call.args.length === 1
      ? [rewrite.own('strftime('), ...timeOf(rewrite, rewrite.call.args[0]), rewrite.own(", '%Y-%m-%dT%H:%M:%S.%gZ')")]
      : formatted('joda', 0, 1, 2)(rewrite),
  ),
  rule('time_parse', [1, 2], (rewrite) =>
    rewrite.call.args.length === 1 ? filled('CAST({1} AS TIMESTAMPTZ)', rewrite) : parsed('joda', 0, 1)(rewrite),
  ),
  rule('date_add', 3, shifted(0, 1, 2)),
  rule('dateadd timeadd timestampadd', 3, shifted(0, 1, 2)),
  rule('timestamp_add datetime_add', 2, '(({1}) + {2})'),
  rule('timestamp_sub datetime_sub', 2, '(({1}) - {2})'),
  // DuckDB's own has three arguments.
  rule('date_sub', 2, '(({1}) - {2})'),
  ...SHIFT_UNITS.map((unit) => rule(`add${unit}s`, 2, shiftedBy(unit, 1))),
  ...SHIFT_UNITS.map((unit) => rule(`subtract${unit}s`, 2, shiftedBy(unit, -1))),
  ...SHIFT_UNITS.map((unit) =>
    rule(`toInterval${unit}`, 1, `(CAST({1} AS BIGINT) * ${intervalSql(unitInterval(unit)!)})`),
  ),
  rule('date_diff datediff', 3, dateDiff),
  rule('datediff', 2, "date_diff('day', {2}, {1})"),
  rule('timediff timestampdiff', 3, difference('date_sub', 0, 1, 2)),
  rule('timestamp_diff datetime_diff', 3, difference('date_sub', 2, 1, 0)),
  rule('from_unixtime', [1, 2], (rewrite) => {
    const format = rewrite.call.args[1] && literalText(rewrite.tokens, rewrite.call.args[1].range)
    if (format?.includes('%')) {
      const pattern = formatLiteral(rewrite, 'mysql', rewrite.call.args[1])
      return [rewrite.own('strftime(to_timestamp('), ...argument(rewrite, 1), rewrite.own(`), ${quoteText(pattern)})`)]
    }
    return filled('to_timestamp({1})', rewrite)
  }),
  rule('from_unixtime_nanos', 1, 'make_timestamptz(CAST({1} AS BIGINT) // 1000)'),
  rule('fromUnixTimestamp timestamp_seconds', 1, 'to_timestamp({1})'),
  rule(
    'fromUnixTimestamp64Milli timestamp_millis millis_to_timestamp',
    1,
    'make_timestamptz(CAST({1} AS BIGINT) * 1000)',
  ),
  rule('fromUnixTimestamp64Micro timestamp_micros', 1, 'make_timestamptz(CAST({1} AS BIGINT))'),
  rule('to_unixtime', 1, '(epoch_us({1}) / 1000000)'),
  rule('toUnixTimestamp unix_seconds unix_timestamp', 1, '(epoch_us({1}) // 1000000)'),
  rule('toUnixTimestamp64Milli unix_millis timestamp_to_millis', 1, '(epoch_us({1}) // 1000)'),
  rule('toUnixTimestamp64Micro unix_micros', 1, 'epoch_us({1})'),
  rule('toEpochSeconds', 1, '(CAST({1} AS BIGINT) // 1000)'),
  rule('toEpochMinutes', 1, '(CAST({1} AS BIGINT) // 60000)'),
  rule('toEpochHours', 1, '(CAST({1} AS BIGINT) // 3600000)'),
  rule('toEpochDays', 1, '(CAST({1} AS BIGINT) // 86400000)'),
  rule('fromEpochSeconds', 1, '(CAST({1} AS BIGINT) * 1000)'),
  rule('fromEpochMinutes', 1, '(CAST({1} AS BIGINT) * 60000)'),
  rule('fromEpochHours', 1, '(CAST({1} AS BIGINT) * 3600000)'),
  rule('fromEpochDays', 1, '(CAST({1} AS BIGINT) * 86400000)'),
  rule('date_format', 2, formatted('mysql', 0, 1)),
  rule('formatDateTime', [2, 3], formatted('mysql', 0, 1, 2)),
  rule('format_datetime', 2, formatted('joda', 0, 1)),
  rule('to_char to_varchar', 2, formatted('postgres', 0, 1)),
  rule('format_timestamp', [2, 3], (rewrite) => {
    const { own, render, call } = rewrite
    const zone = call.args[2]
    const time = timeOf(rewrite, call.args[1])
    const local = zone
      ? [own('timezone('), ...render(zone.range), own(', make_timestamptz(epoch_us('), ...time, own(')))')]
      : time
    return [own('strftime('), ...local, own(', '), ...render(call.args[0].range), own(')')]
  }),
  rule('format_date', 2, 'strftime({2}, {1})'),
  rule('date_parse str_to_date', 2, parsed('mysql', 0, 1)),
  rule('parse_datetime', 2, parsed('joda', 0, 1)),
  rule('to_timestamp', 2, parsed('postgres', 0, 1)),
  rule('to_date', 2, parsed('postgres', 0, 1, 'DATE')),
  rule('to_date', 1, 'CAST({1} AS DATE)'),
  rule('parse_timestamp', 2, "timezone('UTC', strptime({2}, {1}))"),
  rule('parse_date', 2, 'CAST(strptime({2}, {1}) AS DATE)'),
  rule('from_iso8601_timestamp parseDateTimeBestEffort', 1, 'CAST({1} AS TIMESTAMPTZ)'),
  rule('from_iso8601_date', 1, 'CAST({1} AS DATE)'),
  rule('to_iso8601', 1, "strftime({1}, '%Y-%m-%dT%H:%M:%S.%gZ')"),
  rule('convert_timezone', [2, 3], (rewrite) => {
    const { call, own, render } = rewrite
    if (call.args.length === 2) return filled('timezone({1}, make_timestamptz(epoch_us({2})))', rewrite)
    return [
      own('timezone('),
      ...render(call.args[1].range),
      own(', timezone('),
      ...render(call.args[0].range),
      own(', CAST('),
      ...timeOf(rewrite, call.args[2]),
      own(' AS TIMESTAMP)))'),
    ]
  }),
  rule('toTimeZone', 2, 'timezone({2}, make_timestamptz(epoch_us({1})))'),
  rule('with_timezone', 2, 'timezone({2}, CAST({1} AS TIMESTAMP))'),
  rule('toDate', 1, 'CAST({1} AS DATE)'),
  rule('toDate date', 2, 'CAST(timezone({2}, make_timestamptz(epoch_us({1}))) AS DATE)'),
  rule('toDateTime toDateTime64', [1, 2], (rewrite) => filled('CAST({1} AS TIMESTAMP)', rewrite)),
  rule('toYear', 1, 'year({1})'),
  rule('toQuarter', 1, 'quarter({1})'),
  rule('toMonth', 1, 'month({1})'),
  rule('toDayOfMonth day_of_month', 1, 'day({1})'),
  rule('toDayOfWeek day_of_week dow', 1, 'isodow({1})'),
  rule('toDayOfYear day_of_year doy', 1, 'dayofyear({1})'),
  rule('toHour', 1, 'hour({1})'),
  rule('toMinute', 1, 'minute({1})'),
  rule('toSecond', 1, 'second({1})'),
  rule('toISOWeek week_of_year', 1, 'week({1})'),
  rule('toISOYear year_of_week yow', 1, 'isoyear({1})'),
  rule('toYYYYMM', 1, `CAST(strftime({1}, '%Y%m') AS INTEGER)`),
  rule('toYYYYMMDD', 1, `CAST(strftime({1}, '%Y%m%d') AS INTEGER)`),
  rule('last_day_of_month', 1, 'last_day({1})'),
  rule('date_from_parts datefromparts', 3, 'make_date'),
]
