import { expect, test } from 'vitest'
import { MillraceError } from '../../schemas/errors.ts'
import { createCulprits } from './culprits.ts'

const ended = (code: 'out-of-memory' | 'engine-lost' | 'query-timeout', died: string) =>
  new MillraceError(code, 'x', { facts: { died } })

test('a statement that ended its engine is known, and its user for a minute', () => {
  let now = 0
  const culprits = createCulprits(() => now)
  expect(culprits.has('a', 'SELECT 1')).toBe(false)
  culprits.learn(ended('out-of-memory', 'alone'), 'a', 'SELECT 1')
  expect([culprits.has('a', 'SELECT 2'), culprits.has('b', 'SELECT 1'), culprits.has('b', 'SELECT 2')]).toEqual([
    true,
    true,
    false,
  ])
  now = 60_000
  expect([culprits.has('a', 'SELECT 2'), culprits.has('a', 'SELECT 1')]).toEqual([false, true])
})

test('without users, the statement alone', () => {
  const culprits = createCulprits(() => 0)
  culprits.learn(ended('query-timeout', 'culprit'), undefined, 'SELECT 1')
  expect([culprits.has(undefined, 'SELECT 1'), culprits.has(undefined, 'SELECT 2')]).toEqual([true, false])
})

test.each([
  ['an engine that was killed from outside', ended('engine-lost', 'alone')],
  ['one that died of another', ended('out-of-memory', 'among-others')],
  ["its engine's own limit", new MillraceError('out-of-memory', 'x')],
  ['anything else', new Error('x')],
])('%s says nothing about the statement', (_, error) => {
  const culprits = createCulprits(() => 0)
  culprits.learn(error, 'a', 'SELECT 1')
  expect(culprits.has('a', 'SELECT 1')).toBe(false)
})
