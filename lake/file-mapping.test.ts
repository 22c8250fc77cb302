import { expect, test } from 'vitest'
import { type ColumnType, parseColumnType } from '../schemas/column-type.ts'
import type { Column, TableSchema } from '../schemas/table-schema.ts'
import { emptyRelationSql, hasType, type MappedFile, relationSql, SCHEMA_ID_KEY, selectList } from './file-mapping.ts'
import type { LeafColumn } from './parquet/parquet.ts'

const column = (fieldId: number, name: string, type: string): Column => ({
  fieldId,
  name,
  type: parseColumnType(type) as ColumnType,
  required: false,
})
/** `a` of the first schema was dropped; the second one's `a` is another column. */
const OLD: TableSchema = { schemaId: 0, columns: [column(16, 'a', 'int'), column(17, 'b', 'string')] }
const NEW: TableSchema = { schemaId: 1, columns: [column(17, 'c', 'string'), column(18, 'a', 'int')] }

function leaf(fieldId: number, path: string, physical: LeafColumn['physical'], logical?: string): LeafColumn {
  return { fieldId, path, physical, logical } as LeafColumn
}

function file(name: string, schemaId: string | undefined, columns: readonly LeafColumn[]): MappedFile {
  const keyValues = new Map(schemaId === undefined ? [] : [[SCHEMA_ID_KEY, schemaId]])
  const fields = columns.map(({ fieldId, path: name }, columnIndex) => ({ fieldId, name, columnIndex, children: [] }))
  const footer = { fields, columns, keyValues, rowGroups: [], rowCount: 0 } as unknown as MappedFile['footer']
  return { path: `s3://b/${name}`, localFile: `/cache/${name}`, footer }
}
const OLD_LEAVES = [leaf(16, 'a', 'INT32'), leaf(17, 'b', 'BYTE_ARRAY', 'STRING')]
const oldFile = (name: string) => file(name, '0', OLD_LEAVES)

test('a renamed column is found by its field id, a new one under an old name is NULL (PROTOCOL 2)', () => {
  expect(selectList(oldFile('x'), [OLD, NEW], NEW.columns)).toBe('"b" AS "c", CAST(NULL AS INTEGER) AS "a"')
})

test('a widened column is cast to its current type', () => {
  const wide: TableSchema = { schemaId: 1, columns: [column(16, 'a', 'long')] }
  expect(selectList(oldFile('x'), [OLD, wide], wide.columns)).toBe('CAST("a" AS BIGINT) AS "a"')
})

test('files that map alike share one read', () => {
  const newFile = file("n'1", '1', [leaf(17, 'c', 'BYTE_ARRAY', 'STRING'), leaf(18, 'a', 'INT32')])
  expect(relationSql([oldFile('x'), newFile, oldFile('y')], [OLD, NEW], NEW.columns)).toBe(
    `SELECT "b" AS "c", CAST(NULL AS INTEGER) AS "a" FROM read_parquet(['/cache/x', '/cache/y'], hive_partitioning=false, union_by_name=false)` +
      ` UNION ALL SELECT "c", "a" FROM read_parquet(['/cache/n''1'], hive_partitioning=false, union_by_name=false)`,
  )
})

test('no files are a relation without rows and with every type', () => {
  const sql = emptyRelationSql([column(16, 'x "y"', 'decimal(38,10)'), column(17, 'doc', 'json')])
  expect(sql).toBe('SELECT CAST(NULL AS DECIMAL(38,10)) AS "x ""y""", CAST(NULL AS VARCHAR) AS "doc" WHERE false')
  expect(relationSql([], [OLD], OLD.columns)).toBe(emptyRelationSql(OLD.columns))
})

test.each([
  ['a column that should be there', file('f', '0', OLD_LEAVES.slice(1)), 'column "a" (field id 16) is missing'],
  ['a column of another type', file('f', '0', [leaf(16, 'a', 'INT64'), OLD_LEAVES[1]]), 'expected int'],
  ['no schema id', file('f', undefined, OLD_LEAVES), 'names no millrace.schema-id'],
  ['an unknown schema', file('f', '7', OLD_LEAVES), 'names schema 7, which the table does not have'],
])('%s is an error naming the file, never NULLs (G-9)', (_, damaged, message) => {
  expect(() => selectList(damaged, [OLD, NEW], OLD.columns)).toThrow(message)
  expect(() => selectList(damaged, [OLD, NEW], OLD.columns)).toThrow('s3://b/f')
})

test.each([
  ['int', 'INT32', undefined, true],
  ['int', 'INT32', 'DATE', false],
  ['long', 'INT64', 'TIMESTAMP(MICROS,true)', false],
  ['time', 'INT64', 'TIME(NANOS,false)', false],
  ['timestamp', 'INT64', 'TIMESTAMP(MICROS,true)', false],
  ['timestamptz', 'INT64', 'TIMESTAMP(MICROS,true)', true],
  ['decimal(9,2)', 'INT32', 'DECIMAL(9,2)', true],
  ['decimal(9,2)', 'INT32', 'DECIMAL(9,3)', false],
  ['binary', 'BYTE_ARRAY', 'STRING', false],
  ['json', 'BYTE_ARRAY', 'STRING', true],
  ['uuid', 'FIXED_LEN_BYTE_ARRAY', 'UUID', true],
] as const)('%s as %s %s: %s', (type, physical, logical, answer) => {
  expect(hasType(leaf(16, 'x', physical, logical), parseColumnType(type) as ColumnType)).toBe(answer)
})
