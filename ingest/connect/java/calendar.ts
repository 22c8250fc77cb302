/**
 * Java's GregorianCalendar in UTC: milliseconds → fields, and fields → milliseconds the lenient way (month 13 is January of
 * the next year). Before 15 October 1582 it counts by the Julian calendar, so that 0001-01-01 lies two days earlier than ISO
 * says. Weeks are those of the United States: they begin on Sunday, and the first has 1 January in it.
 *
 * Days are counted from 1970-01-01. Which of several fields that contradict each other counts: the last one set.
 */
export const DAY_MS = 86_400_000
/** 1582-10-15 */
const CUTOVER_DAY = -141_427
const CUTOVER_YEAR = 1582

export type CalendarField =
  | 'era'
  | 'year'
  | 'month'
  | 'dayOfMonth'
  | 'dayOfYear'
  | 'dayOfWeek'
  | 'dayOfWeekInMonth'
  | 'weekOfYear'
  | 'weekOfMonth'
  | 'weekYear'
  | 'hourOfDay'
  | 'hour'
  | 'amPm'
  | 'minute'
  | 'second'
  | 'millisecond'
  | 'zoneOffset'

/** Values in the order in which they were set: a field set again moves to the end. Months from 0, Sunday is 1, BC is era 0. */
export type CalendarFields = ReadonlyMap<CalendarField, number>

export type CalendarDate = {
  /** 0: BC, 1: AD; the year is at least 1. */
  readonly era: number
  readonly year: number
  readonly month: number
  readonly dayOfMonth: number
  readonly dayOfYear: number
  readonly dayOfWeek: number
  readonly dayOfWeekInMonth: number
  readonly weekOfYear: number
  readonly weekOfMonth: number
  readonly weekYear: number
}

export function calendarDate(day: number): CalendarDate {
  const { year, month, dayOfMonth } = day >= CUTOVER_DAY ? gregorianDate(day) : julianDate(day)
  const firstOfYear = firstDay(year, 0)
  const dayOfWeek = weekdayOf(day)
  const nextWeekYear = weekOneStart(year + 1) <= day
  return {
    era: year > 0 ? 1 : 0,
    year: year > 0 ? year : 1 - year,
    month,
    dayOfMonth,
    dayOfYear: day - firstOfYear + 1,
    dayOfWeek,
    dayOfWeekInMonth: Math.floor((dayOfMonth - 1) / 7) + 1,
    weekOfYear: nextWeekYear ? 1 : Math.floor((day - weekOneStart(year)) / 7) + 1,
    weekOfMonth: Math.floor((day - onOrBefore(day - dayOfMonth + 1, 1)) / 7) + 1,
    weekYear: nextWeekYear ? year + 1 : year,
  }
}

export function weekdayOf(day: number): number {
  return ((((day + 4) % 7) + 7) % 7) + 1
}

/** Weekdays beyond 1..7 count on. */
function onOrBefore(day: number, weekday: number): number {
  const after = (weekdayOf(day) - weekday) % 7
  return day - (after < 0 ? after + 7 : after)
}

function weekOneStart(year: number): number {
  return onOrBefore(firstDay(year, 0), 1)
}

/** Of a month (0..11) of a year in the calendar that is in force then. */
function firstDay(year: number, month: number): number {
  if (year > CUTOVER_YEAR || (year === CUTOVER_YEAR && month > 9)) return gregorianDay(year, month)
  return julianDay(year, month)
}

/** The first of a month: shifts the year to begin in March, so that the leap day is its last. */
function gregorianDay(year: number, month: number): number {
  const [y, m] = month < 2 ? [year - 1, month + 10] : [year, month - 2]
  return (
    365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + Math.floor((153 * m + 2) / 5) - 719_468
  )
}

function julianDay(year: number, month: number): number {
  const [y, m] = month < 2 ? [year - 1, month + 10] : [year, month - 2]
  return 365 * y + Math.floor(y / 4) + Math.floor((153 * m + 2) / 5) - 719_470
}

type PlainDate = { readonly year: number; readonly month: number; readonly dayOfMonth: number }

function gregorianDate(day: number): PlainDate {
  const shifted = day + 719_468
  const era = Math.floor(shifted / 146_097)
  const dayOfEra = shifted - era * 146_097
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  )
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  return fromMarch(yearOfEra + era * 400, dayOfYear)
}

function julianDate(day: number): PlainDate {
  const shifted = day + 719_470
  const cycle = Math.floor(shifted / 1461)
  const dayOfCycle = shifted - cycle * 1461
  const yearOfCycle = Math.floor((dayOfCycle - Math.floor(dayOfCycle / 1460)) / 365)
  return fromMarch(cycle * 4 + yearOfCycle, dayOfCycle - 365 * yearOfCycle)
}

/** `dayOfYear` from 1 March. */
function fromMarch(year: number, dayOfYear: number): PlainDate {
  const m = Math.floor((5 * dayOfYear + 2) / 153)
  const dayOfMonth = dayOfYear - Math.floor((153 * m + 2) / 5) + 1
  return m < 10 ? { year, month: m + 2, dayOfMonth } : { year: year + 1, month: m - 10, dayOfMonth }
}

/** Lenient; missing fields are those of 1970-01-01T00:00:00Z. */
export function calendarMillis(fields: CalendarFields): number {
  const dates = weekDateApplies(fields) ? withWeekDate(fields) : fields
  const given = dates.get('year') ?? 1970
  const year = dates.get('era') === 0 ? 1 - given : given
  return dateOf(dates, year) * DAY_MS + timeOfDay(dates) - (dates.get('zoneOffset') ?? 0)
}

function timeOfDay(fields: CalendarFields): number {
  const order = [...fields.keys()]
  const last = (...names: CalendarField[]) => Math.max(...names.map((name) => order.indexOf(name)))
  const hasHour = fields.has('hour') && fields.has('amPm')
  const isHourOfDay = fields.has('hourOfDay') && (!hasHour || last('hourOfDay') > last('hour', 'amPm'))
  const hour = isHourOfDay ? fields.get('hourOfDay')! : (fields.get('hour') ?? 0) + 12 * (fields.get('amPm') ?? 0)
  const minutes = hour * 60 + (fields.get('minute') ?? 0)
  return (minutes * 60 + (fields.get('second') ?? 0)) * 1000 + (fields.get('millisecond') ?? 0)
}

function dateOf(fields: CalendarFields, year: number): number {
  const how = datePartsOf(fields)
  const gregorian = dayIn(gregorianDay, fields, how, year)
  if (year > CUTOVER_YEAR && gregorian >= CUTOVER_DAY) return gregorian
  const julian = dayIn(julianDay, fields, how, year)
  if (year < CUTOVER_YEAR && julian < CUTOVER_DAY) return julian
  return gregorian >= CUTOVER_DAY ? gregorian : julian
}

type DateParts = 'dayOfMonth' | 'weekOfMonth' | 'dayOfWeekInMonth' | 'dayOfYear' | 'weekOfYear'

/** Which fields make the date: those of the group whose last field was set last. */
function datePartsOf(fields: CalendarFields): DateParts {
  const order = [...fields.keys()]
  const stamp = (name: CalendarField) => order.indexOf(name) + 1
  const weekday = stamp('dayOfWeek')
  const both = (a: number) => (a === 0 || weekday === 0 ? 0 : Math.max(a, weekday))
  const [day, weekOfMonth, inMonth] = [stamp('dayOfMonth'), stamp('weekOfMonth'), stamp('dayOfWeekInMonth')]
  let candidates: readonly (readonly [DateParts, number])[] = [
    ['dayOfMonth', day],
    ['weekOfMonth', both(weekOfMonth)],
    ['dayOfWeekInMonth', both(inMonth)],
    ['dayOfYear', stamp('dayOfYear')],
    ['weekOfYear', both(stamp('weekOfYear'))],
  ]
  let best = Math.max(...candidates.map(([, at]) => at))
  if (best === 0) {
    candidates = [
      ['weekOfMonth', weekOfMonth],
      ['dayOfWeekInMonth', Math.max(inMonth, weekday)],
      ['weekOfYear', stamp('weekOfYear')],
    ]
    best = Math.max(...candidates.map(([, at]) => at))
    if (best === 0) return 'dayOfMonth'
  }
  const [first, second] = candidates.filter(([, at]) => at === best).map(([name]) => name)
  // The day of the week was last: the week that was set later counts.
  return second === undefined || stamp(first) >= stamp(second) ? first : second
}

function dayIn(
  firstOf: (year: number, month: number) => number,
  fields: CalendarFields,
  how: DateParts,
  year: number,
): number {
  const weekday = fields.get('dayOfWeek')
  if (how === 'dayOfYear') return firstOf(year, 0) + fields.get('dayOfYear')! - 1
  if (how === 'weekOfYear') {
    const start = onOrBefore(onOrBefore(firstOf(year, 0), 1) + 6, weekday ?? 1)
    return start + 7 * (fields.get('weekOfYear')! - 1)
  }
  const month = fields.get('month') ?? 0
  const wholeYears = Math.floor(month / 12)
  const [realYear, realMonth] = [year + wholeYears, month - 12 * wholeYears]
  const first = firstOf(realYear, realMonth)
  if (how === 'dayOfMonth') return first + (fields.get('dayOfMonth') ?? 1) - 1
  if (how === 'weekOfMonth')
    return onOrBefore(onOrBefore(first, 1) + 6, weekday ?? 1) + 7 * (fields.get('weekOfMonth')! - 1)
  const count = fields.get('dayOfWeekInMonth') ?? 1
  if (count >= 0) return onOrBefore(first + 7 * count - 1, weekday ?? 1)
  const length = (realMonth === 11 ? firstOf(realYear + 1, 0) : firstOf(realYear, realMonth + 1)) - first
  return onOrBefore(first + length + 7 * (count + 1) - 1, weekday ?? 1)
}

function weekDateApplies(fields: CalendarFields): boolean {
  const order = [...fields.keys()]
  return fields.has('weekYear') && order.indexOf('weekYear') > order.indexOf('year')
}

/** A year of weeks beats year, month and day, also where it was meant to be the calendar's (`YYYY-MM-dd`). */
function withWeekDate(fields: CalendarFields): CalendarFields {
  let week = fields.get('weekOfYear') ?? 1
  let weekday = fields.get('dayOfWeek') ?? 1
  if (weekday >= 8) {
    week += Math.floor((weekday - 1) / 7)
    weekday = ((weekday - 1) % 7) + 1
  }
  while (weekday <= 0) {
    weekday += 7
    week -= 1
  }
  const day = weekOneStart(fields.get('weekYear')!) + (weekday - 1) + 7 * (week - 1)
  const { era, year, month, dayOfMonth } = calendarDate(day)
  const time = [...fields].filter(([name]) => TIME_FIELDS.has(name))
  return new Map<CalendarField, number>([
    ['era', era],
    ['year', year],
    ['month', month],
    ['dayOfMonth', dayOfMonth],
    ...time,
  ])
}

const TIME_FIELDS: ReadonlySet<CalendarField> = new Set([
  'hourOfDay',
  'hour',
  'amPm',
  'minute',
  'second',
  'millisecond',
  'zoneOffset',
])
