/**
 * Date formats of other systems as strftime's: MySQL's `%i` (ClickHouse, Presto's date_format), Joda's `yyyy-MM-dd` (Druid, Presto's
 * format_datetime), Oracle's and PostgreSQL's `YYYY-MM-DD HH24:MI`. A part that strftime has no letter for is undefined as a whole.
 */
export type FormatStyle = 'mysql' | 'joda' | 'postgres'

export function strftimeFormat(style: FormatStyle, format: string): string | undefined {
  switch (style) {
    case 'mysql':
      return fromPercents(format)
    case 'joda':
      return fromLetters(format)
    case 'postgres':
      return fromPatterns(format)
  }
}

const MYSQL: Readonly<Record<string, string>> = {
  a: '%a',
  b: '%b',
  c: '%-m',
  D: '%m/%d/%y',
  d: '%d',
  e: '%-d',
  F: '%Y-%m-%d',
  f: '%f',
  G: '%G',
  H: '%H',
  h: '%I',
  I: '%I',
  i: '%M',
  j: '%j',
  k: '%-H',
  l: '%-I',
  M: '%B',
  m: '%m',
  p: '%p',
  R: '%H:%M',
  r: '%I:%M:%S %p',
  S: '%S',
  s: '%S',
  T: '%H:%M:%S',
  V: '%V',
  v: '%V',
  W: '%A',
  x: '%G',
  Y: '%Y',
  y: '%y',
  '%': '%%',
}

function fromPercents(format: string): string | undefined {
  let isKnown = true
  const text = format.replaceAll(/%([\s\S]?)/g, (_, letter: string) => {
    const found = Object.hasOwn(MYSQL, letter) ? MYSQL[letter] : undefined
    isKnown &&= found !== undefined
    return found ?? ''
  })
  return isKnown ? text : undefined
}

const JODA: readonly (readonly [RegExp, string])[] = [
  [/^y{3,}$|^Y{3,}$|^u{3,}$|^[yYu]$/, '%Y'],
  [/^yy$|^YY$/, '%y'],
  [/^xxxx$/, '%G'],
  [/^MMMM$/, '%B'],
  [/^MMM$/, '%b'],
  [/^MM$/, '%m'],
  [/^M$/, '%-m'],
  [/^dd$/, '%d'],
  [/^d$/, '%-d'],
  [/^D{3}$/, '%j'],
  [/^D$/, '%-j'],
  [/^EEEE$/, '%A'],
  [/^E{1,3}$/, '%a'],
  [/^e$/, '%u'],
  [/^ww$/, '%V'],
  [/^HH$/, '%H'],
  [/^H$/, '%-H'],
  [/^hh$/, '%I'],
  [/^h$/, '%-I'],
  [/^mm$/, '%M'],
  [/^m$/, '%-M'],
  [/^ss$/, '%S'],
  [/^s$/, '%-S'],
  [/^SSS$/, '%g'],
  [/^SSSSSS$/, '%f'],
  [/^a$/, '%p'],
  [/^Z{1,2}$/, '%z'],
  [/^z{1,4}$|^ZZZ$/, '%Z'],
]

/** Runs of one letter; `'text'` stands for itself and `''` for a quote. */
function fromLetters(format: string): string | undefined {
  let isKnown = true
  const text = format.replaceAll(/'((?:[^']|'')*)'|([A-Za-z])\2*|%/g, (run: string, literal: string | undefined) => {
    if (run === '%') return '%%'
    if (literal !== undefined) return literal === '' ? "'" : literal.replaceAll("''", "'").replaceAll('%', '%%')
    const found = JODA.find(([pattern]) => pattern.test(run))?.[1]
    isKnown &&= found !== undefined
    return found ?? ''
  })
  return isKnown ? text : undefined
}

const POSTGRES: readonly (readonly [string, string])[] = [
  ['IYYY', '%G'],
  ['YYYY', '%Y'],
  ['YY', '%y'],
  ['FMMONTH', '%B'],
  ['MONTH', '%B'],
  ['MON', '%b'],
  ['MM', '%m'],
  ['MI', '%M'],
  ['HH24', '%H'],
  ['HH12', '%I'],
  ['HH', '%I'],
  ['SS', '%S'],
  ['MS', '%g'],
  ['US', '%f'],
  ['FF3', '%g'],
  ['FF6', '%f'],
  ['FMDAY', '%A'],
  ['DAY', '%A'],
  ['DDD', '%j'],
  ['DD', '%d'],
  ['DY', '%a'],
  ['ID', '%u'],
  ['IW', '%V'],
  ['AM', '%p'],
  ['PM', '%p'],
  ['TZ', '%Z'],
]

function fromPatterns(format: string): string | undefined {
  let out = ''
  for (let at = 0; at < format.length; ) {
    const rest = format.slice(at)
    const quoted = /^"([^"]*)"/.exec(rest)
    const found = POSTGRES.find(([pattern]) => rest.toUpperCase().startsWith(pattern))
    if (quoted) {
      out += quoted[1].replaceAll('%', '%%')
      at += quoted[0].length
    } else if (found) {
      out += found[1]
      at += found[0].length
    } else if (rest.startsWith('T')) {
      out += 'T'
      at++
    } else if (/[A-Za-z0-9]/.test(rest[0])) return undefined
    else {
      out += rest[0] === '%' ? '%%' : rest[0]
      at++
    }
  }
  return out
}
