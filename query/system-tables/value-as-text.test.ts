// Bounds and table partitions as texts: what SQL would read back from them is the value.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { PartitionField } from '../../lake/catalog/catalog.ts'
import { encodeSingleValue, type SingleValue } from '../../lake/iceberg/single-value.ts'
import { type ColumnType, parseColumnType } from '../../schemas/column-type.ts'
import { boundText, partitionText, transformText } from './value-as-text.ts'

const text = (type: string, value: SingleValue) => {
  const parsed = parseColumnType(type) as ColumnType
  return boundText(parsed, encodeSingleValue(parsed, value))
}

test.each([
  ['int', -7, '-7'],
  ['long', 2n ** 63n - 1n, '9223372036854775807'],
  ['boolean', true, 'true'],
  ['double', -0.5, '-0.5'],
  ['date', 0, '1970-01-01'],
  ['date', -719162, '0001-01-01'],
  ['time', 86_399_999_999n, '23:59:59.999999'],
  ['time', 3_600_000_000n, '01:00:00'],
  ['timestamp', -500_000n, '1969-12-31 23:59:59.5'],
  ['timestamptz', 1_767_323_045_000_001n, '2026-01-02 03:04:05.000001+00'],
  ['decimal(10,2)', -5n, '-0.05'],
  ['decimal(10,0)', 42n, '42'],
  ['decimal(38,10)', 10n ** 37n, `1${'0'.repeat(27)}.${'0'.repeat(10)}`],
  ['string', 'ö🚕', 'ö🚕'],
  ['uuid', '00112233-4455-6677-8899-aabbccddeeff', '00112233-4455-6677-8899-aabbccddeeff'],
  ['binary', Uint8Array.of(0x41, 0, 0x5c, 0xff), 'A\\x00\\x5C\\xFF'],
] as const)('%s %s', (type, value, expected) => {
  expect(text(type, value)).toBe(expected)
})

test('a bound that is no value of the type, or is not there, has no text', () => {
  expect(boundText({ kind: 'long' }, Uint8Array.of(1))).toBeUndefined()
  expect(boundText({ kind: 'long' }, undefined)).toBeUndefined()
})

test('moments and days are those of the clock', () => {
  fc.assert(
    fc.property(fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }), (ms) => {
      const iso = new Date(ms).toISOString()
      const shown = text('timestamptz', BigInt(ms) * 1000n) as string
      expect(new Date(`${shown.replace(' ', 'T').replace(/(\.\d{3})\d+/, '$1')}:00`).getTime()).toBe(ms)
      expect(text('date', Math.floor(ms / 86_400_000))).toBe(iso.slice(0, 10))
    }),
  )
})

test('table partitions', () => {
  const field = (transform: PartitionField['transform']): PartitionField => ({
    fieldId: 16,
    transform,
    name: 'p',
    partitionFieldId: 1000,
  })
  expect(partitionText(field({ kind: 'hour' }), undefined, -1)).toBe('1969-12-31-23')
  expect(partitionText(field({ kind: 'day' }), undefined, 20_454)).toBe('2026-01-01')
  expect(partitionText(field({ kind: 'month' }), undefined, 672)).toBe('2026-01')
  expect(partitionText(field({ kind: 'month' }), undefined, -1)).toBe('1969-12')
  expect(partitionText(field({ kind: 'bucket', width: 8 }), undefined, 3)).toBe('3')
  expect(partitionText(field({ kind: 'identity' }), { kind: 'date' }, 0)).toBe('1970-01-01')
  expect(partitionText(field({ kind: 'identity' }), { kind: 'string' }, null)).toBeNull()
  expect([
    transformText(field({ kind: 'bucket', width: 8 }), 'id'),
    transformText(field({ kind: 'identity' }), 'id'),
  ]).toEqual(['bucket(8, id)', 'id'])
})
