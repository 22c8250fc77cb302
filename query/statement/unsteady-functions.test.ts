import { expect, test } from 'vitest'
import { unsteadyFunctions } from './unsteady-functions.ts'

test('what DuckDB calls volatile, the clock, and every macro that reaches one of them', () => {
  const scalar = (name: string, stability: string) => ({ name, stability, text: '' })
  const macro = (name: string, text: string) => ({ name, stability: '', text })
  const found = unsteadyFunctions(
    [
      scalar('sum', 'CONSISTENT'),
      scalar('random', 'VOLATILE'),
      scalar('get_current_time', 'CONSISTENT_WITHIN_QUERY'),
      macro('last_hour', 'x > "now"() - hours(1)'),
      macro('outer_one', 'Dice(6) + 1'),
      macro('dice', 'CAST(Random() * sides AS INTEGER)'),
      macro('plain', 'a + nowhere(b)'),
    ],
    new Set(['now']),
  )
  expect([...found].toSorted()).toEqual(['dice', 'get_current_time', 'last_hour', 'now', 'outer_one', 'random'])
})
