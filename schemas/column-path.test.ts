import fc from 'fast-check'
import { expect, it } from 'vitest'
import { formatPath, parsePath } from './column-path.ts'

it('reads back every path it writes', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ minLength: 1 }), { minLength: 1 }), (path) => {
      expect(parsePath(formatPath(path))).toEqual(path)
    }),
  )
})

it.each([
  ['a', ['a']],
  ['a.b', ['a', 'b']],
  ['"a.b".c', ['a.b', 'c']],
  ['"say ""x"""', ['say "x"']],
])('%s', (text, path) => {
  expect(parsePath(text)).toEqual(path)
})

it.each(['', '.', 'a.', '.a', 'a..b', '"a', 'a b', '""', 'a"b"'])('is no path: %s', (text) => {
  expect(parsePath(text)).toBeUndefined()
})
