import { expect, test } from 'vitest'
import type { ColumnType } from '../../schemas/column-type.ts'
import { scanNeeds } from './scan-needs.ts'

const long: ColumnType = { kind: 'long' }

function plan(...scans: Record<string, unknown>[]): string {
  const children = scans.map((extra_info) => ({ name: 'READ_PARQUET', children: [], extra_info }))
  return JSON.stringify([{ name: 'HASH_JOIN', children, extra_info: {} }])
}

function needs(text: string, usesClock = false) {
  const columns = [16, 17, 18, 20, 21].map((fieldId) => ({ fieldId, name: `c${fieldId}`, type: long, required: false }))
  const tables = [1, 2].map((tableId) => ({ tableId, columns }))
  return [...scanNeeds(text, tables, { usesClock })].map(([id, { scans }]) => [
    id,
    [...new Set(scans.flatMap((scan) => [...scan.columns]))],
    [...new Set(scans.flatMap((scan) => [...scan.bloomColumns]))],
    scans.every(({ filters }) => filters.length > 0)
      ? scans.map(({ engineFilters }) => engineFilters.length)
      : undefined,
  ])
}

test('columns of projections and filters, filters by scan', () => {
  expect(
    needs(
      plan(
        { Projections: ['t1_c16', 't1_c17'], Filters: 't1_c18=5' },
        { Projections: 't2_c20', Filters: ['t2_c20>1', 't2_c21<2'] },
      ),
    ),
  ).toEqual([
    [1, [16, 17, 18], [18], [1]],
    [2, [20, 21], [], [2]],
  ])
})

test('a scan without filters lets every row of its table through', () => {
  expect(needs(plan({ Projections: 't1_c16', Filters: 't1_c16=5' }, { Projections: 't1_c16' }))).toEqual([
    [1, [16], [16], undefined],
    [2, [], [], undefined],
  ])
})

test('a scan that names nothing may be of any table: nobody loses rows', () => {
  expect(needs(plan({ Projections: '' }, { Projections: 't1_c16', Filters: 't1_c16=5' }))[0][3]).toBeUndefined()
})

test('only lower bounds hold while time passes', () => {
  expect(needs(plan({ Projections: '', Filters: ['t1_c16>5', 't1_c17<5'] }), true)[0][3]).toEqual([1])
})
