import { expect, test } from 'vitest'
import { parseColumnType } from '../../schemas/column-type.ts'
import { checkTables } from './check.ts'

function tableOf(partition: readonly string[], eventTime?: string) {
  const columns = ['id long', 'raw binary', 'at timestamp'].map((text) => {
    const [name, type] = text.split(' ')
    return { name, type: parseColumnType(type)!, required: false }
  })
  const infer = { records: 1000, timestamps: true }
  return { tables: [{ name: 't', columns, partition, sort: [], eventTime, infer }] }
}

test('partitions that no table could have are told by check, before ingest meets them', () => {
  expect(() => checkTables(tableOf(['bucket(4, raw)', 'day(at)'], 'at'))).not.toThrow()
  expect(() => checkTables(tableOf(['truncate(2, raw)']))).toThrow('raw')
  expect(() => checkTables(tableOf(['hour(id)']))).toThrow('id')
  expect(() => checkTables(tableOf([], 'id'))).toThrow('event-time')
})
