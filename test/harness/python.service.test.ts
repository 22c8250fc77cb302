import { describe, expect, test } from 'vitest'
import { duckdbExtensionFile, runPython } from './python.ts'

describe('foreign readers', () => {
  test('are there in the pinned versions', async () => {
    const text = `
import json, sys, importlib.metadata
import pyiceberg.catalog.sql, pyarrow, pyiceberg_core, duckdb, chdb
print('noise before the result')
names = ['pyiceberg', 'pyiceberg-core', 'duckdb', 'duckdb-extension-iceberg', 'chdb']
print(json.dumps([sys.argv[1:], [importlib.metadata.version(name) for name in names]]))`
    expect(await runPython({ text }, ['an argument', 'é'])).toEqual([
      ['an argument', 'é'],
      ['0.12.0', '0.11.0', '1.5.5', '1.5.5', '4.4.0'],
    ])
  })

  test('DuckDB loads its signed extensions without a download', async () => {
    const files = await Promise.all((['avro', 'httpfs', 'iceberg'] as const).map((name) => duckdbExtensionFile(name)))
    const text = `
import duckdb, json, sys
connection = duckdb.connect()
for file in sys.argv[1:]: connection.load_extension(file)
rows = connection.sql("select extension_name from duckdb_extensions() where loaded and extension_name in ('avro', 'httpfs', 'iceberg') order by 1").fetchall()
print(json.dumps([row[0] for row in rows]))`
    expect(await runPython({ text }, files)).toEqual(['avro', 'httpfs', 'iceberg'])
  })

  test('ClickHouse answers', async () => {
    const text = `import chdb, json; print(json.dumps(str(chdb.query('select 40 + 2', 'CSV')).strip()))`
    expect(await runPython({ text })).toBe('42')
  })

  test('a failing script is an error with its traceback', async () => {
    await expect(runPython({ text: `raise ValueError('the reason')` })).rejects.toThrow(/status 1[\s\S]*the reason/)
    await expect(runPython({ text: `print('no result')` })).rejects.toThrow(/result as JSON, found: no result/)
  })
})
