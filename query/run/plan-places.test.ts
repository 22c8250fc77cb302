import { expect, test } from 'vitest'
import { withoutPlaces } from './plan-places.ts'

test('paths in boxes, side by side and over several lines', () => {
  const plan = [
    '│        Filename(s):       ││           Filters:        │',
    '│ /srv/lake/some/folder/the-││    a>1 and b=2            │',
    '│    /file-1.parquet, /srv  ││                           │',
    '│        /x.parquet         ││        Filename(s):       │',
    '│                           ││        /srv/y.parquet     │',
    '│          10 rows          ││                           │',
  ]
  const told = withoutPlaces(plan.join('\n')).split('\n')
  expect(told.join('')).not.toMatch(/srv|parquet|file-1/)
  expect(told.map((line) => line.length)).toEqual(plan.map((line) => line.length))
  expect(told.join('')).toContain('a>1 and b=2')
  expect(told.at(-1)).toContain('10 rows')
})

test('paths in JSON and in one piece', () => {
  expect(withoutPlaces('{"a": 1, "Filename(s)": "/srv/a \\" b.parquet", "b": 2}')).toBe(
    '{"a": 1, "Filename(s)": "", "b": 2}',
  )
  expect(withoutPlaces('<td>/srv/lake/a.parquet</td>')).toBe('<td></td>')
  expect(withoutPlaces('nothing / of the kind')).toBe('nothing / of the kind')
})
