import { expect, test } from 'vitest'
import { type ColumnType, parseColumnType } from '../../schemas/column-type.ts'
import { filterOf } from './expression-filter.ts'
import { parseExpression } from './plan-expression.ts'
import { tokenize } from './plan-text.ts'

const TYPES = new Map<string, ColumnType>(
  Object.entries({ i: 'int', s: 'string', t: 'timestamp', tz: 'timestamptz', day: 'date', b: 'boolean' }).map(
    ([name, text]) => [name, parseColumnType(text)!],
  ),
)

/** `>=1`, `(a and b)`: enough to see. */
function read(text: string): string | undefined {
  const found = filterOf(parseExpression(tokenize(text)!), (name, path) => {
    const type = TYPES.get([name, ...path].join('_'))
    return type && { fieldId: [...TYPES.keys()].indexOf(name), type, isInside: path.length > 0 }
  })
  const show = (filter: NonNullable<ReturnType<typeof filterOf>>): string => {
    if (filter.op === 'all' || filter.op === 'any') {
      return `(${filter.of.map(show).join(filter.op === 'all' ? ' and ' : ' or ')})`
    }
    const name = [...TYPES.keys()][filter.fieldId!]
    if (filter.op === 'in') return `${name} in ${filter.values.join(',')}`
    return 'value' in filter ? `${name} ${filter.op} ${filter.value}` : `${name} ${filter.op}`
  }
  return found && show(found)
}

const HOURS = 3_600_000_000n

test.each([
  ['((i = 1) OR (i = 5) OR (i = 7))', 'i in 1,5,7'],
  ['((i IS NULL) OR (i = 2))', '(i is null or i = 2)'],
  ["((i = 1) OR (s = 'x'))", '(i = 1 or s = x)'],
  ['(NOT ((i = 5) OR (i > 10)))', 'i <= 10'],
  ['(NOT ((i < 5) OR (i > 10)))', '(i >= 5 and i <= 10)'],
  ["(s ~~ 'ab%c')", '(s >= ab and s < ac)'],
  ["((s ~~ '%c') OR (i = 1))", undefined],
  ["(NOT prefix(s, 'd'))", undefined],
  ["starts_with(s, 'x')", '(s >= x and s < y)'],
  ["(substr(s, 1, 2) = 'ab')", '(s >= ab and s < ac)'],
  ['(CAST(i AS DECIMAL(11,1)) > 5.5)', 'i > 55'],
  ['b', 'b = true'],
  ['(NOT b)', 'b = false'],
  ["(CAST(t AS DATE) = '1970-01-02'::DATE)", `(t >= ${24n * HOURS} and t <= ${48n * HOURS})`],
  ["(CAST(tz AS DATE) >= '1970-01-02'::DATE)", `tz >= ${8n * HOURS}`],
  ["(timezone('Europe/Berlin', tz) < '1970-01-02 00:00:00'::TIMESTAMP)", `tz <= ${40n * HOURS}`],
  ["(time_bucket('01:00:00'::INTERVAL, t) >= '1970-01-02 00:00:00'::TIMESTAMP)", `t >= ${24n * HOURS}`],
  ['(epoch_ms(tz) >= 5000)', 'tz >= 4999000'],
  ['(i = 1 AND i = 2 OR i = 3)', undefined],
  ["(s = 'a') AND (i + 1 = 5)", 's = a'],
  ["((s = 'a') AND (i IN (1, 2)))", '(s = a and i in 1,2)'],
  ["(lower(s) = 'x')", undefined],
  ['(i != 4)', undefined],
])('%s', (text, expected) => {
  expect(read(text)).toBe(expected)
})
