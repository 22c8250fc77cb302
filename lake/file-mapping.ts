/**
 * Rows of several files as one relation in the table's current schema.
 *
 * Every file is read by its own columns: found by field id in its footer, selected by the name they have there, cast
 * to the current type (PROTOCOL 4). Files whose columns map alike share one `read_parquet`; groups are joined by
 * UNION ALL. A file that lacks a column it should have, or has it in another type, is an error naming the file, never
 * NULLs: only a column added after the file's own schema is NULL in it.
 */
import { type ColumnType, formatColumnType } from '../schemas/column-type.ts'
import { MillraceError } from '../schemas/errors.ts'
import type { Column, TableSchema } from '../schemas/table-schema.ts'
import type { LeafColumn, ParquetFooter } from './parquet/parquet.ts'

/** Key in the footer of every file that Millrace writes. */
export const SCHEMA_ID_KEY = 'millrace.schema-id'

export type MappedFile = {
  /** For messages. */
  readonly path: string
  /** What DuckDB opens. */
  readonly localFile: string
  readonly footer: ParquetFooter
}

export function relationSql(
  files: readonly MappedFile[],
  schemas: readonly TableSchema[],
  wanted: readonly Column[],
): string {
  if (files.length === 0) return emptyRelationSql(wanted)
  const groups = new Map<string, string[]>()
  for (const file of files) {
    const select = selectList(file, schemas, wanted)
    const group = groups.get(select)
    if (group) group.push(file.localFile)
    else groups.set(select, [file.localFile])
  }
  return [...groups]
    .map(([select, locals]) => {
      const list = locals.map(quoteText).join(', ')
      return `SELECT ${select} FROM read_parquet([${list}], hive_partitioning=false, union_by_name=false)`
    })
    .join(' UNION ALL ')
}

export function emptyRelationSql(wanted: readonly Column[]): string {
  const columns = wanted.map((column) => `CAST(NULL AS ${duckdbType(column.type)}) AS ${quoteName(column.name)}`)
  return `SELECT ${columns.join(', ')} WHERE false`
}

/** `"a" AS "b", CAST(NULL AS BIGINT) AS "c"`: the wanted columns in terms of the file's own. */
export function selectList(file: MappedFile, schemas: readonly TableSchema[], wanted: readonly Column[]): string {
  const written = schemaOfFile(file, schemas)
  return wanted
    .map((column) => {
      const own = written.columns.find((each) => each.fieldId === column.fieldId)
      const type = duckdbType(column.type)
      if (!own) return `CAST(NULL AS ${type}) AS ${quoteName(column.name)}`
      const leaf = file.footer.columns.find((each) => each.fieldId === column.fieldId)
      if (!leaf) throw mismatch(file, `column "${own.name}" (field id ${own.fieldId}) is missing`)
      if (!hasType(leaf, own.type)) {
        throw mismatch(
          file,
          `column "${leaf.path}" is ${leaf.physical} ${leaf.logical ?? ''}, expected ${formatColumnType(own.type)}`,
        )
      }
      const source = quoteName(leaf.path)
      const value = duckdbType(own.type) === type ? source : `CAST(${source} AS ${type})`
      return value === quoteName(column.name) ? value : `${value} AS ${quoteName(column.name)}`
    })
    .join(', ')
}

function schemaOfFile(file: MappedFile, schemas: readonly TableSchema[]): TableSchema {
  const id = file.footer.keyValues.get(SCHEMA_ID_KEY)
  const schema = schemas.find((each) => String(each.schemaId) === id)
  if (schema) return schema
  throw mismatch(
    file,
    id === undefined ? `it names no ${SCHEMA_ID_KEY}` : `it names schema ${id}, which the table does not have`,
  )
}

/** Physical and logical type as `column-type.ts` lists them. */
export function hasType(leaf: LeafColumn, type: ColumnType): boolean {
  const { physical, logical } = leaf
  switch (type.kind) {
    case 'boolean':
      return physical === 'BOOLEAN'
    case 'int':
      return physical === 'INT32' && (logical === undefined || logical.startsWith('INT'))
    case 'long':
      return physical === 'INT64' && (logical === undefined || logical.startsWith('INT'))
    case 'float':
      return physical === 'FLOAT'
    case 'double':
      return physical === 'DOUBLE'
    case 'decimal':
      return logical === `DECIMAL(${type.precision},${type.scale})`
    case 'date':
      return physical === 'INT32' && logical === 'DATE'
    case 'time':
      return physical === 'INT64' && logical === 'TIME(MICROS,false)'
    case 'timestamp':
      return physical === 'INT64' && logical === 'TIMESTAMP(MICROS,false)'
    case 'timestamptz':
      return physical === 'INT64' && logical === 'TIMESTAMP(MICROS,true)'
    case 'string':
    case 'json':
      return physical === 'BYTE_ARRAY' && (logical === 'STRING' || logical === 'JSON')
    case 'uuid':
      return physical === 'FIXED_LEN_BYTE_ARRAY' && logical === 'UUID'
    case 'binary':
      return physical === 'BYTE_ARRAY' && logical === undefined
    case 'struct':
    case 'list':
    case 'map':
      return false
  }
}

export function duckdbType(type: ColumnType): string {
  switch (type.kind) {
    case 'struct':
      return `STRUCT(${type.fields.map((field) => `${quoteName(field.name)} ${duckdbType(field.type)}`).join(', ')})`
    case 'list':
      return `${duckdbType(type.element.type)}[]`
    case 'map':
      return `MAP(${duckdbType(type.key.type)}, ${duckdbType(type.value.type)})`
    case 'decimal':
      return `DECIMAL(${type.precision},${type.scale})`
    case 'boolean':
      return 'BOOLEAN'
    case 'int':
      return 'INTEGER'
    case 'long':
      return 'BIGINT'
    case 'float':
      return 'FLOAT'
    case 'double':
      return 'DOUBLE'
    case 'date':
      return 'DATE'
    case 'time':
      return 'TIME'
    case 'timestamp':
      return 'TIMESTAMP'
    case 'timestamptz':
      return 'TIMESTAMP WITH TIME ZONE'
    case 'string':
    case 'json':
      return 'VARCHAR'
    case 'uuid':
      return 'UUID'
    case 'binary':
      return 'BLOB'
  }
}

export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function quoteText(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

function mismatch(file: MappedFile, message: string): MillraceError {
  return new MillraceError('file-schema-mismatch', `${file.path}: ${message}`, { facts: { path: file.path } })
}
