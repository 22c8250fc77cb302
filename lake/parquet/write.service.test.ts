import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runPython } from '../../test/harness/python.ts'
import { sampleBatch } from './sample-batches.ts'
import { writeParquet } from './write.ts'

const SCRIPT = `
import json, sys
import pyarrow.parquet as pq
file = pq.ParquetFile(sys.argv[1], page_checksum_verification=True)
table = file.read()
def text(value):
    if isinstance(value, bytes): return value.hex()
    return None if value is None else str(value)
first = file.metadata.row_group(0)
print(json.dumps({
    'types': [str(field.type) for field in table.schema],
    'ids': [field.metadata[b'PARQUET:field_id'].decode() for field in table.schema],
    'values': [[text(value) for value in column.to_pylist()] for column in table.columns],
    'nulls': [first.column(i).statistics.null_count for i in range(first.num_columns)],
    'minimum': text(first.column(2).statistics.min),
    'groups': file.metadata.num_row_groups,
}))
`

test('pyarrow reads every type as it was written, page checksums included', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-pyarrow-'))
  try {
    const file = join(folder, 'a.parquet')
    const columns = [
      { name: 'b', type: { kind: 'boolean' }, values: [true, null, false] },
      { name: 'i', type: { kind: 'int' }, values: [2147483647, null, -1] },
      { name: 'l', type: { kind: 'long' }, values: [-(2n ** 63n), null, 2n ** 63n - 1n] },
      { name: 'd', type: { kind: 'double' }, values: [0.1, null, Number.POSITIVE_INFINITY] },
      { name: 'm9', type: { kind: 'decimal', precision: 9, scale: 2 }, values: [-999999999n, null, 1n] },
      { name: 'm18', type: { kind: 'decimal', precision: 18, scale: 0 }, values: [10n ** 17n, null, -1n] },
      { name: 'm38', type: { kind: 'decimal', precision: 38, scale: 2 }, values: [-(10n ** 38n) + 1n, null, 5n] },
      { name: 'day', type: { kind: 'date' }, values: [-1, null, 20000] },
      { name: 'time', type: { kind: 'time' }, values: [1n, null, 86_399_999_999n] },
      { name: 'ts', type: { kind: 'timestamp' }, values: [-1n, null, 1_000_001n] },
      { name: 'tz', type: { kind: 'timestamptz' }, values: [-1n, null, 1_000_001n] },
      { name: 's', type: { kind: 'string' }, values: ['', null, '🚀'] },
      {
        name: 'u',
        type: { kind: 'uuid' },
        values: ['01234567-89ab-cdef-8123-456789abcdef', null, 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
      },
      { name: 'raw', type: { kind: 'binary' }, values: [Uint8Array.of(0, 255), null, new Uint8Array()] },
      { name: 'j', type: { kind: 'json' }, values: ['{"a":1}', null, '[]'] },
    ] as const
    const options = { compression: 'zstd', level: 1, rowGroupRows: 2, keyValues: {} } as const
    writeFileSync(file, writeParquet(sampleBatch(columns), options).bytes)
    const found = (await runPython({ text: SCRIPT }, [file])) as Record<string, unknown>
    expect(found.groups).toBe(2)
    expect(found.ids).toEqual(columns.map((_, i) => String(16 + i)))
    expect(found.nulls).toEqual(columns.map(() => 1))
    expect(found.minimum).toBe('-9223372036854775808')
    const types = found.types as string[]
    expect(types.filter((_, i) => columns[i].name !== 'u')).toEqual([
      'bool',
      'int32',
      'int64',
      'double',
      'decimal128(9, 2)',
      'decimal128(18, 0)',
      'decimal128(38, 2)',
      'date32[day]',
      'time64[us]',
      'timestamp[us]',
      'timestamp[us, tz=UTC]',
      'string',
      'binary',
      'string',
    ])
    const values = Object.fromEntries((found.values as string[][]).map((each, i) => [columns[i].name, each]))
    expect(values).toMatchObject({
      b: ['True', null, 'False'],
      i: ['2147483647', null, '-1'],
      l: ['-9223372036854775808', null, '9223372036854775807'],
      d: ['0.1', null, 'inf'],
      m9: ['-9999999.99', null, '0.01'],
      m18: ['100000000000000000', null, '-1'],
      m38: ['-999999999999999999999999999999999999.99', null, '0.05'],
      day: ['1969-12-31', null, '2024-10-04'],
      time: ['00:00:00.000001', null, '23:59:59.999999'],
      ts: ['1969-12-31 23:59:59.999999', null, '1970-01-01 00:00:01.000001'],
      tz: ['1969-12-31 23:59:59.999999+00:00', null, '1970-01-01 00:00:01.000001+00:00'],
      s: ['', null, '🚀'],
      raw: ['00ff', null, ''],
      j: ['{"a":1}', null, '[]'],
    })
    expect(values.u.map((each) => each?.replaceAll('-', '') ?? null)).toEqual([
      '0123456789abcdef8123456789abcdef',
      null,
      'f'.repeat(32),
    ])
  } finally {
    rmSync(folder, { recursive: true })
  }
})
