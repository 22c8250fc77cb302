// The ORDER BY and the check behind a claimed sort order, judged by DuckDB itself in `test/lake`; here the texts and their logic.
import { expect, test } from 'vitest'
import type { SortField } from '../lake/catalog/catalog.ts'
import type { TableSchema } from '../schemas/table-schema.ts'
import { orderBySql, violationsSql } from './sort-order.ts'

const SCHEMA: TableSchema = {
  schemaId: 0,
  columns: [
    { fieldId: 16, name: 'id', type: { kind: 'long' }, required: false },
    { fieldId: 17, name: 'a "b"', type: { kind: 'string' }, required: false },
  ],
}
const ID: SortField = { fieldId: 16, descending: false, nullsFirst: true }
const TEXT: SortField = { fieldId: 17, descending: true, nullsFirst: false }

test('no sort order, no ORDER BY', () => {
  expect(orderBySql([], SCHEMA)).toBe('')
})

test('direction and place of nulls are always said, names are quoted', () => {
  expect(orderBySql([ID, TEXT], SCHEMA)).toBe(' ORDER BY "id" ASC NULLS FIRST, "a ""b""" DESC NULLS LAST')
})

test('the check compares each key with the row before, later keys only among equal ones', () => {
  const sql = violationsSql("/lake/it's.parquet", [ID, TEXT], SCHEMA).replaceAll(/\s+/g, ' ')
  expect(sql).toContain(`read_parquet('/lake/it''s.parquet', hive_partitioning=false)`)
  expect(sql).toContain('lag("id") OVER () AS previous_0, lag("a ""b""") OVER () AS previous_1')
  expect(sql).toContain('(coalesce(("id" < previous_0), false) OR ("id" IS NULL AND previous_0 IS NOT NULL))')
  expect(sql).toContain(
    '("id" IS NOT DISTINCT FROM previous_0 AND (coalesce(("a ""b""" > previous_1), false) OR ("a ""b""" IS NOT NULL AND previous_1 IS NULL)))',
  )
})
