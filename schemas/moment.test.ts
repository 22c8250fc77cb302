import { expect, test } from 'vitest'
import { parseMoment } from './moment.ts'

const DAY = BigInt(Date.UTC(2026, 0, 31)) * 1000n
const HOUR = 3_600_000_000n

test.each([
  ['2026-01-31', DAY],
  ['2026-01-31T10:00', DAY + 10n * HOUR],
  ['2026-01-31 10:00:00', DAY + 10n * HOUR],
  ['2026-01-31T10:00:00Z', DAY + 10n * HOUR],
  ['2026-01-31T10:00:00.000001Z', DAY + 10n * HOUR + 1n],
  ['2026-01-31T10:00+02:00', DAY + 8n * HOUR],
  ['2026-01-31T10:00:00-0130', DAY + 11n * HOUR + HOUR / 2n],
  ['1969-12-31T23:59:59.5Z', -500_000n],
])('%s is a moment, of UTC where nothing else is said', (text, micros) => {
  expect(parseMoment('--since', text)).toBe(micros)
})

test.each([
  '2026-02-31',
  '2026-01-31 junk',
  '2026-01-31 (x)',
  '2026-13-01',
  '2026-01-31T24:00',
  '2026-01-31T10:00+99:00',
  '31.1.2026',
  'yesterday',
  '',
])('%j is none', (text) => {
  expect(() => parseMoment('--since', text)).toThrow(
    `--since: expected a moment such as 2026-01-31T10:00:00Z, found ${text}`,
  )
})
