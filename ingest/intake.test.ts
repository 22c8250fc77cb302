// The flush interval grows with the number of live segments, so that ingest never outruns the compactor for long.
import { expect, test } from 'vitest'
import { lengthenedInterval } from './intake.ts'

test('the interval is as set up to half of segments.live.max, and twenty times as long at it', () => {
  expect(lengthenedInterval(500, 0, 200)).toBe(500)
  expect(lengthenedInterval(500, 100, 200)).toBe(500)
  expect(lengthenedInterval(500, 200, 200)).toBe(10_000)
  expect(lengthenedInterval(500, 150, 200)).toBe(500 * 10.5)
  expect(lengthenedInterval(500, 300, 200)).toBeGreaterThan(10_000)
})
