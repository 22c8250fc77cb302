/** Sizes and durations as people write them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatBytes, formatDuration, parseBytes, parseDuration } from './units.ts'

describe('units', () => {
  it.each([
    ['128 MiB', 134_217_728],
    ['1.5GiB', 1_610_612_736],
    [' 2 kb ', 2000],
    ['7', 7],
    [4096, 4096],
  ])('%j is %d bytes', (text, bytes) => expect(parseBytes(text)).toBe(bytes))

  it.each([
    ['500 ms', 500],
    ['60s', 60_000],
    ['7 days', 604_800_000],
    ['1.5 h', 5_400_000],
    ['10 min', 600_000],
    [250, 250],
  ])('%j is %d ms', (text, ms) => expect(parseDuration(text)).toBe(ms))

  it.each([
    '',
    'MiB',
    '1 parsec',
    '-1 s',
    '1e3',
    '1 2',
    'NaN',
    1.5,
    -1,
    Number.POSITIVE_INFINITY,
    '99999999999 days',
    '1 constructor',
  ])('%j is neither', (text) => {
    expect(parseDuration(text)).toBeUndefined()
    expect(parseBytes(text)).toBeUndefined()
  })

  it('are read back as they were written', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 50 }), (amount) => {
        expect(parseBytes(formatBytes(amount))).toBe(amount)
        expect(parseDuration(formatDuration(amount))).toBe(amount)
      }),
    )
  })
})
