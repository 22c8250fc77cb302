/**
 * Java's SimpleDateFormat in English and UTC: patterns such as `yyyy-MM-dd'T'HH:mm:ss.SSSXXX`, with all of its leniency: months
 * above 12 roll over, text after what the pattern needs is ignored, numbers of abutting fields have the pattern's width.
 *
 *   G era   y year   Y week year   M L month   w week of year   W week of month   D day of year   d day of month
 *   F weekday in month   E u weekday   a AM/PM   H 0-23   k 1-24   K 0-11   h 1-12   m   s   S milliseconds   z Z X zone
 *
 * Zones by name are read where their abbreviation means one offset (`ZONES`); Java knows some hundred more.
 */
import { type CalendarDate, type CalendarField, calendarDate, calendarMillis, DAY_MS } from './calendar.ts'

export type DateFormat = {
  readonly pattern: string
  format(millis: number): string
  /** undefined: the text does not match. */
  parse(text: string): number | undefined
}

type Part = { readonly letter: string; readonly count: number } | { readonly literal: string }

/** `nowMillis` is for two-digit years: they lie within 80 years before and 20 years after. Throws `RangeError` for a bad pattern. */
export function dateFormat(pattern: string, nowMillis: number): DateFormat {
  const parts = partsOf(pattern)
  const now = calendarDate(Math.floor(nowMillis / DAY_MS))
  const centuryYear = now.year - 80
  const centuryStart = calendarMillis(
    new Map<CalendarField, number>([
      ['year', centuryYear],
      ['month', now.month],
      ['dayOfMonth', now.dayOfMonth],
      ['millisecond', nowMillis - Math.floor(nowMillis / DAY_MS) * DAY_MS],
    ]),
  )
  return {
    pattern,
    format(millis) {
      const day = Math.floor(millis / DAY_MS)
      const date = calendarDate(day)
      const time = millis - day * DAY_MS
      let text = ''
      for (const part of parts)
        text += 'literal' in part ? part.literal : formatPart(part.letter, part.count, date, time)
      return text
    },
    parse: (text) => parseText(parts, text, centuryYear, centuryStart),
  }
}

const LETTERS = 'GyMdkHmsSEDFwWahKzZYuXL'

function partsOf(pattern: string): readonly Part[] {
  const parts: Part[] = []
  let at = 0
  while (at < pattern.length) {
    const char = pattern[at]
    if (char === "'") {
      if (pattern[at + 1] === "'") {
        parts.push({ literal: "'" })
        at += 2
        continue
      }
      const quoted = /'((?:[^']|'')*)'/y
      quoted.lastIndex = at
      const found = quoted.exec(pattern)
      if (found === null) throw new RangeError(`quote at ${at} of "${pattern}" is not closed`)
      parts.push({ literal: found[1].replaceAll("''", "'") })
      at += found[0].length
    } else if (/[A-Za-z]/.test(char)) {
      if (!LETTERS.includes(char)) throw new RangeError(`"${char}" in "${pattern}" is no letter of a date pattern`)
      let end = at
      while (pattern[end] === char) end += 1
      if (char === 'X' && end - at > 3)
        throw new RangeError(`at most 3 "X" in a row, found ${end - at} in "${pattern}"`)
      parts.push({ letter: char, count: end - at })
      at = end
    } else {
      parts.push({ literal: char })
      at += 1
    }
  }
  return parts
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ')
const WEEKDAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ')
const SHORT_MONTHS = MONTHS.map((name) => name.slice(0, 3))
const SHORT_WEEKDAYS = WEEKDAYS.map((name) => name.slice(0, 3))
const ERAS = ['BC', 'AD']
const LONG_ERAS = ['Before Christ', 'Anno Domini']
const HALVES = ['AM', 'PM']

function formatPart(letter: string, count: number, date: CalendarDate, time: number): string {
  const number = (value: number) => (value < 0 ? '-' : '') + String(Math.abs(value)).padStart(count, '0')
  const twoDigits = (value: number) => (value < 0 ? '-' : '') + String(Math.abs(value) % 100).padStart(2, '0')
  const hour = Math.floor(time / 3_600_000)
  switch (letter) {
    case 'G':
      return count >= 4 ? LONG_ERAS[date.era] : ERAS[date.era]
    case 'y':
      return count === 2 ? twoDigits(date.year) : number(date.year)
    case 'Y':
      return count === 2 ? twoDigits(date.weekYear) : number(date.weekYear)
    case 'M':
    case 'L':
      return count >= 4 ? MONTHS[date.month] : count === 3 ? SHORT_MONTHS[date.month] : number(date.month + 1)
    case 'w':
      return number(date.weekOfYear)
    case 'W':
      return number(date.weekOfMonth)
    case 'D':
      return number(date.dayOfYear)
    case 'd':
      return number(date.dayOfMonth)
    case 'F':
      return number(date.dayOfWeekInMonth)
    case 'E':
      return count >= 4 ? WEEKDAYS[date.dayOfWeek - 1] : SHORT_WEEKDAYS[date.dayOfWeek - 1]
    case 'u':
      return number(date.dayOfWeek === 1 ? 7 : date.dayOfWeek - 1)
    case 'a':
      return HALVES[hour < 12 ? 0 : 1]
    case 'H':
      return number(hour)
    case 'k':
      return number(hour === 0 ? 24 : hour)
    case 'K':
      return number(hour % 12)
    case 'h':
      return number(hour % 12 === 0 ? 12 : hour % 12)
    case 'm':
      return number(Math.floor(time / 60_000) % 60)
    case 's':
      return number(Math.floor(time / 1000) % 60)
    case 'S':
      return number(time % 1000)
    case 'z':
      return count >= 4 ? 'Coordinated Universal Time' : 'UTC'
    case 'Z':
      return '+0000'
    default:
      return 'Z'
  }
}

type Reader = {
  readonly text: string
  readonly fields: Map<CalendarField, number>
  readonly centuryYear: number
  isAmbiguousYear: boolean
}

function parseText(
  parts: readonly Part[],
  text: string,
  centuryYear: number,
  centuryStart: number,
): number | undefined {
  const reader: Reader = { text, fields: new Map(), centuryYear, isAmbiguousYear: false }
  let at = 0
  for (let i = 0; i < parts.length; i += 1) {
    const part = parts[i]
    if ('literal' in part) {
      for (const char of part.literal.split('')) {
        if (text[at] !== char && !(isBlank(text[at]) && isBlank(char))) return undefined
        at += 1
      }
      continue
    }
    const next = parts[i + 1]
    const isAbutting = next !== undefined && 'letter' in next && isNumeric(next.letter, next.count)
    at = parsePart(reader, at, part.letter, part.count, isAbutting)
    if (at < 0) return undefined
  }
  const millis = calendarMillis(reader.fields)
  if (!reader.isAmbiguousYear || millis >= centuryStart) return millis
  const year: CalendarField = reader.fields.has('year') ? 'year' : 'weekYear'
  reader.fields.set(year, reader.fields.get(year)! + 100)
  return calendarMillis(reader.fields)
}

function isBlank(char: string | undefined): boolean {
  return char !== undefined && /^\p{Zs}$/u.test(char)
}

/** Fields whose digits end where those of the next begin. */
function isNumeric(letter: string, count: number): boolean {
  return letter === 'M' || letter === 'L' ? count <= 2 : !'GEazZX'.includes(letter)
}

const NUMBER_FIELDS: Readonly<Record<string, CalendarField>> = {
  d: 'dayOfMonth',
  H: 'hourOfDay',
  m: 'minute',
  s: 'second',
  S: 'millisecond',
  D: 'dayOfYear',
  F: 'dayOfWeekInMonth',
  w: 'weekOfYear',
  W: 'weekOfMonth',
  K: 'hour',
}

/** Where the next part begins; -1: no match. */
function parsePart(reader: Reader, start: number, letter: string, count: number, isAbutting: boolean): number {
  const { text } = reader
  let at = start
  while (text[at] === ' ' || text[at] === '\t') at += 1
  if (at >= text.length) return -1
  switch (letter) {
    case 'G':
      return parseName(reader, start, 'era', [...ERAS, ...LONG_ERAS], (index) => index % 2)
    case 'a':
      return parseName(reader, start, 'amPm', HALVES, (index) => index)
    case 'E':
      return parseName(reader, start, 'dayOfWeek', [...WEEKDAYS, ...SHORT_WEEKDAYS], (index) => (index % 7) + 1)
    case 'M':
    case 'L':
      if (count > 2) return parseName(reader, start, 'month', [...MONTHS, ...SHORT_MONTHS], (index) => index % 12)
      break
    case 'z':
    case 'Z':
      return parseZone(reader, start, at)
    case 'X':
      return parseIsoZone(reader, at, count)
  }
  if (isAbutting && start + count > text.length) return -1
  const digits = /-?\d+/y
  digits.lastIndex = at
  const found = digits.exec(isAbutting ? text.slice(0, start + count) : text)
  if (found === null) return -1
  setNumber(reader, letter, count, found[0])
  return at + found[0].length
}

function setNumber(reader: Reader, letter: string, count: number, digits: string) {
  const value = toInt(digits)
  switch (letter) {
    case 'y':
    case 'Y':
      return set(reader, letter === 'y' ? 'year' : 'weekYear', fullYear(reader, count, digits, value))
    case 'M':
    case 'L':
      return set(reader, 'month', value - 1)
    case 'k':
      return set(reader, 'hourOfDay', value === 24 ? 0 : value)
    case 'h':
      return set(reader, 'hour', value === 12 ? 0 : value)
    case 'u':
      return set(reader, 'dayOfWeek', value >= 1 && value <= 7 ? (value === 7 ? 1 : value + 1) : value)
    default:
      return set(reader, NUMBER_FIELDS[letter], value)
  }
}

/** `Number.intValue`: of a long its lowest 32 bits, of a larger number the nearest int. */
function toInt(digits: string): number {
  const significant = digits.replace(/^(-?)0+(?=\d)/, '$1')
  const value = significant.length > 20 ? (digits.startsWith('-') ? -(2n ** 64n) : 2n ** 64n) : BigInt(significant)
  if (BigInt.asIntN(64, value) === value) return Number(BigInt.asIntN(32, value))
  return value > 0n ? 2 ** 31 - 1 : -(2 ** 31)
}

function fullYear(reader: Reader, count: number, digits: string, value: number): number {
  if (count > 2 || !/^\d\d$/.test(digits)) return value
  const pivot = reader.centuryYear % 100
  reader.isAmbiguousYear = value === pivot
  return value + Math.floor(reader.centuryYear / 100) * 100 + (value < pivot ? 100 : 0)
}

function set(reader: Reader, field: CalendarField, value: number): void {
  reader.fields.delete(field)
  reader.fields.set(field, value)
}

function parseName(
  reader: Reader,
  start: number,
  field: CalendarField,
  names: readonly string[],
  fieldValue: (index: number) => number,
): number {
  let best = -1
  names.forEach((name, index) => {
    if (best >= 0 && names[best].length >= name.length) return
    if (reader.text.slice(start, start + name.length).toLowerCase() === name.toLowerCase()) best = index
  })
  if (best < 0) return -1
  set(reader, field, fieldValue(best))
  return start + names[best].length
}

/** Abbreviations with one meaning in Java's list, in hours. */
const ZONES: Readonly<Record<string, number>> = {
  UTC: 0,
  UT: 0,
  PST: -8,
  PDT: -7,
  MST: -7,
  MDT: -6,
  CST: -6,
  CDT: -5,
  EST: -5,
  EDT: -4,
  CET: 1,
  CEST: 2,
}

function parseZone(reader: Reader, start: number, at: number): number {
  const { text } = reader
  if (text[at] === '+' || text[at] === '-') return parseOffset(reader, at + 1, text[at] === '+' ? 1 : -1, 0, false)
  if (text.slice(start, start + 3).toUpperCase() === 'GMT') {
    const after = start + 3
    const sign = text[after] === '+' ? 1 : text[after] === '-' ? -1 : 0
    if (sign !== 0) return parseOffset(reader, after + 1, sign, 0, true)
    set(reader, 'zoneOffset', 0)
    return after
  }
  const names = Object.keys(ZONES).filter((name) => text.slice(at, at + name.length).toUpperCase() === name)
  const name = names.sort((a, b) => b.length - a.length)[0]
  if (name === undefined) return -1
  set(reader, 'zoneOffset', ZONES[name] * 3_600_000)
  return at + name.length
}

function parseIsoZone(reader: Reader, at: number, count: number): number {
  const char = reader.text[at]
  if (char === 'Z') {
    set(reader, 'zoneOffset', 0)
    return at + 1
  }
  if (char !== '+' && char !== '-') return -1
  return parseOffset(reader, at + 1, char === '+' ? 1 : -1, count, count === 3)
}

/** `hh`, `hhmm`, `hh:mm`; `count` 0: of GMT or RFC 822, otherwise the number of `X`. */
function parseOffset(reader: Reader, at: number, sign: number, count: number, hasColon: boolean): number {
  const pattern =
    count === 1 ? /(\d\d)/y : hasColon ? (count === 0 ? /(\d\d?):(\d\d)/y : /(\d\d):(\d\d)/y) : /(\d\d)(\d\d)/y
  pattern.lastIndex = at
  const found = pattern.exec(reader.text)
  if (found === null) return -1
  const [hours, minutes] = [Number(found[1]), Number(found[2] ?? 0)]
  if (hours > 23 || minutes > 59) return -1
  set(reader, 'zoneOffset', sign * (hours * 60 + minutes) * 60_000)
  return at + found[0].length
}
