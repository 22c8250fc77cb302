import { expect, test } from 'vitest'
import { parseColumnType } from '../../schemas/column-type.ts'
import { checkTables } from './check.ts'
import { progressText } from './check-lake.ts'

function tableOf(partition: readonly string[], eventTime?: string) {
  const columns = ['id long', 'raw binary', 'at timestamp'].map((text) => {
    const [name, type] = text.split(' ')
    return { name, type: parseColumnType(type)!, required: false }
  })
  const infer = { records: 1000, timestamps: true, nested: 'json' as const }
  return {
    tables: [
      { name: 't', columns, partition, sort: [], eventTime, infer, evolution: 'freeze' as const, columnsMax: 1000 },
    ],
  }
}

test('partitions that no table could have are told by check, before ingest meets them', () => {
  expect(() => checkTables(tableOf(['bucket(4, raw)', 'day(at)'], 'at'))).not.toThrow()
  expect(() => checkTables(tableOf(['truncate(2, raw)']))).toThrow('raw')
  expect(() => checkTables(tableOf(['hour(id)']))).toThrow('id')
  expect(() => checkTables(tableOf([], 'id'))).toThrow('event-time')
})

test('progress says how far it is, how fast, and how long it takes', () => {
  const progress = { files: 3, filesTotal: 12, bytes: 1_500_000_000, bytesTotal: 6_000_000_000, seconds: 5 }
  expect(progressText(progress)).toBe('3 of 12 files, 1.5 GB of 6.0 GB, 300.0 MB/s, 15 s left')
  expect(progressText({ ...progress, bytes: 0, seconds: 0 })).toContain('0 bytes/s, begins')
  // Files of unknown length come on top.
  expect(progressText({ ...progress, bytes: 7_000_000_000 })).toContain('0 s left')
})
