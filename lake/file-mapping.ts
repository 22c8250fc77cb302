/**
 * Rows of several files as one relation in the table's current schema.
 *
 * Every file is read by its own columns, and the fields inside them: found by field id in its footer, selected by the name they
 * have there, widened to the current type (PROTOCOL 4). Files whose columns map alike share one `read_parquet`; groups are joined by
 * UNION ALL. A file that lacks a column it should have, or has it in another type, is an error naming the file, never
 * NULLs: only a column added after the file's own schema is NULL in it.
 */
import { type ColumnType, childFields, type Field, formatColumnType, isNested } from '../schemas/column-type.ts'
import { MillraceError } from '../schemas/errors.ts'
import { holds } from '../schemas/evolution.ts'
import type { Column, TableSchema } from '../schemas/table-schema.ts'
import { insideNodes, nodeText } from './parquet/inside-nodes.ts'
import type { LeafColumn, ParquetFooter, SchemaNode } from './parquet/parquet.ts'

/** Key in the footer of every file that Millrace writes. */
export const SCHEMA_ID_KEY = 'millrace.schema-id'

export type MappedFile = {
  /** For messages. */
  readonly path: string
  /** What DuckDB opens. */
  readonly localFile: string
  readonly footer: ParquetFooter
  /** Only these rows of it, sorted and disjoint, each range a branch of its own; left out: all. No other row group is looked at. */
  readonly rows?: readonly RowRange[]
}

/** Rows by their place in the file, `[start, end)`. */
export type RowRange = { readonly start: number; readonly end: number }

/** Names of the columns that say where a row is: what DuckDB opens, and the row's place in that file. */
export const FILE_COLUMN = '__millrace_file'
export const ROW_COLUMN = '__millrace_row'

/** Columns of files that DuckDB's own about files and rows would hide. */
const FILE_NAMES: ReadonlySet<string> = new Set(['filename', 'file_row_number', 'file_index'])

/** False where a column of the table has a name that DuckDB gives to a row's place. */
export function mayTellPlaces(schemas: readonly Pick<TableSchema, 'columns'>[]): boolean {
  return !schemas.some(({ columns }) => columns.some(({ name }) => FILE_NAMES.has(name.toLowerCase())))
}

export type RelationOptions = {
  /** With `FILE_COLUMN` and `ROW_COLUMN` besides. */
  readonly withPlaces?: boolean
}

export function relationSql(
  files: readonly MappedFile[],
  schemas: readonly TableSchema[],
  wanted: readonly Column[],
  options: RelationOptions = {},
): string {
  const found = relationGroups(files, schemas, wanted)
  if (found.length === 0) return emptyRelationSql(wanted, options)
  const places = options.withPlaces ? `, filename AS ${FILE_COLUMN}, file_row_number AS ${ROW_COLUMN}` : ''
  const named = options.withPlaces ? ', filename=true' : ''
  return found
    .map(({ select, locals, rows }) => {
      const list = locals.map(quoteText).join(', ')
      const numbered = options.withPlaces || rows !== '' ? ', file_row_number=true' : ''
      const where = rows === '' ? '' : ` WHERE ${rows}`
      return `SELECT ${select}${places} FROM read_parquet([${list}], hive_partitioning=false, union_by_name=false${named}${numbered})${where}`
    })
    .join(' UNION ALL ')
}

type RelationGroup = { readonly select: string; readonly locals: string[]; readonly rows: string }

/** Files that one `read_parquet` reads. */
export function relationGroups(
  files: readonly MappedFile[],
  schemas: readonly TableSchema[],
  wanted: readonly Column[],
): readonly RelationGroup[] {
  // One read has the columns of its first file: others must have the same types, not only the same names.
  const groups = new Map<string, RelationGroup>()
  const typesOf = new Map<TableSchema, string>()
  for (const file of files) {
    const written = schemaOfFile(file, schemas)
    const select = selectOf(file, written, wanted)
    const types = typesOf.get(written) ?? typesText(written, wanted)
    typesOf.set(written, types)
    // DuckDB skips row groups by one range of rows' numbers, as by any column's bounds, but not by several joined by OR.
    const ranges = file.rows?.map(({ start, end }) => `file_row_number BETWEEN ${start} AND ${end - 1}`)
    for (const rows of ranges ?? ['']) {
      const key = `${select}\n${types}\n${rows}`
      const group = groups.get(key)
      if (group) group.locals.push(file.localFile)
      else groups.set(key, { select, locals: [file.localFile], rows })
    }
  }
  const found = [...groups.values()]
  // A single branch would be read a second time by DuckDB's late materialisation, for further columns and without its rows:
  // a branch behind the file's end prevents that.
  const [only] = found
  if (found.length !== 1 || only.rows === '') return found
  const rows = files[0].footer.rowCount
  return [only, { ...only, locals: only.locals.slice(0, 1), rows: `file_row_number BETWEEN ${rows} AND ${rows}` }]
}

/** Whether a nested column is read as the file has it: DuckDB then reads only the fields that a statement uses. */
export function isReadAsWritten(file: MappedFile, schemas: readonly TableSchema[], column: Column): boolean {
  const own = schemaOfFile(file, schemas).columns.find(({ fieldId }) => fieldId === column.fieldId)
  return own !== undefined && readsAlike(own.type, column.type)
}

function typesText({ columns }: TableSchema, wanted: readonly Column[]): string {
  const ids = new Set(wanted.map(({ fieldId }) => fieldId))
  return columns
    .filter(({ fieldId }) => ids.has(fieldId))
    .map(({ type }) => duckdbType(type))
    .join(', ')
}

export function emptyRelationSql(wanted: readonly Column[], { withPlaces }: RelationOptions = {}): string {
  const columns = wanted.map((column) => `${nullOf(column.type)} AS ${quoteName(column.name)}`)
  if (withPlaces) columns.push(`CAST(NULL AS VARCHAR) AS ${FILE_COLUMN}`, `CAST(NULL AS BIGINT) AS ${ROW_COLUMN}`)
  return `SELECT ${columns.join(', ')} WHERE false`
}

/** `"a" AS "b", CAST(NULL AS BIGINT) AS "c"`: the wanted columns in terms of the file's own. */
export function selectList(file: MappedFile, schemas: readonly TableSchema[], wanted: readonly Column[]): string {
  return selectOf(file, schemaOfFile(file, schemas), wanted)
}

function selectOf(file: MappedFile, written: TableSchema, wanted: readonly Column[]): string {
  return wanted
    .map((column) => {
      const own = written.columns.find((each) => each.fieldId === column.fieldId)
      if (!own) return `${nullOf(column.type)} AS ${quoteName(column.name)}`
      checkNode(file, own, nodeOf(file, own, file.footer.fields), own.name)
      const value = valueSql({ file, path: own.name, depth: 0 }, own, column, quoteName(own.name))
      return value === quoteName(column.name) ? value : `${value} AS ${quoteName(column.name)}`
    })
    .join(', ')
}

function nodeOf(file: MappedFile, own: Field, nodes: readonly SchemaNode[], path = own.name): SchemaNode {
  const node = nodes.find((each) => each.fieldId === own.fieldId)
  if (!node) throw mismatch(file, `column "${path}" (field id ${own.fieldId}) is missing`)
  // What is read by name is this node.
  if (node.name === own.name) return node
  throw mismatch(file, `column "${path}" (field id ${own.fieldId}) is called "${node.name}"`)
}

/** The file has what its own schema says, all the way down. */
function checkNode(file: MappedFile, own: Field, node: SchemaNode, path: string): void {
  const { type } = own
  const leaf = node.columnIndex === undefined ? undefined : file.footer.columns[node.columnIndex]
  if (!isNested(type)) {
    if (leaf && node.repetition !== 'REPEATED' && hasType(leaf, type)) return
    const found = leaf ? `${leaf.physical} ${leaf.logical ?? ''}` : nodeText(node)
    throw mismatch(file, `column "${path}" is ${found}, expected ${formatColumnType(type)}`)
  }
  const inside = insideNodes(node, type.kind)
  if (!inside) throw mismatch(file, `column "${path}" is ${nodeText(node)}, expected ${formatColumnType(type)}`)
  for (const field of childFields(type)) {
    const below = `${path}.${field.name}`
    checkNode(file, field, nodeOf(file, field, inside, below), below)
  }
}

type Place = { readonly file: MappedFile; readonly path: string; readonly depth: number }

/**
 * A value of the file's field as one of the current field, which has the same id. Inside structs, lists and maps as well: what
 * was added since is NULL, what was dropped is left out, names and order are the current ones. A NULL struct stays NULL and
 * a struct of NULLs a struct. Where nothing changed the value is read as it is.
 */
function valueSql(place: Place, own: Field, current: Field, source: string): string {
  const { type: from } = own
  const { type: to } = current
  if (readsAlike(from, to)) return source
  const inside = (field: Field, target: Field, sql: string, more: number) =>
    valueSql({ ...place, path: `${place.path}.${field.name}`, depth: place.depth + more }, field, target, sql)
  if (from.kind === 'struct' && to.kind === 'struct') {
    const parts = to.fields.map((field) => {
      const before = from.fields.find(({ fieldId }) => fieldId === field.fieldId)
      const value = before
        ? inside(before, field, `struct_extract(${source}, ${quoteText(before.name)})`, 0)
        : nullOf(field.type)
      return `${quoteName(field.name)} := ${value}`
    })
    return `CASE WHEN ${source} IS NULL THEN NULL ELSE struct_pack(${parts.join(', ')}) END`
  }
  // No name of a column: inside a lambda its own would hide that.
  const item = `__item_${place.depth}`
  if (from.kind === 'list' && to.kind === 'list') {
    return `list_transform(${source}, lambda ${item}: ${inside(from.element, to.element, item, 1)})`
  }
  if (from.kind === 'map' && to.kind === 'map') {
    const key = inside(from.key, to.key, `struct_extract(${item}, 'key')`, 1)
    const value = inside(from.value, to.value, `struct_extract(${item}, 'value')`, 1)
    // A map that has a key twice is read, but never made: of such entries the last one stays.
    const isLast = `lambda ${item}, ${item}_index: NOT list_contains(map_keys(${source})[${item}_index + 1:], struct_extract(${item}, 'key'))`
    const entries = `list_transform(list_filter(map_entries(${source}), ${isLast}), lambda ${item}: struct_pack("key" := ${key}, "value" := ${value}))`
    return `map_from_entries(${entries})`
  }
  if (holds(to, from)) return `CAST(${source} AS ${duckdbType(to)})`
  throw mismatch(
    place.file,
    `column "${place.path}" was written as ${formatColumnType(from)}, which is never read as ${formatColumnType(to)}`,
  )
}

/** The same ids under the same names in the same order, and the same types for the engine: as it is for most files. */
function readsAlike(from: ColumnType, to: ColumnType): boolean {
  if (!isNested(from) || !isNested(to)) return duckdbType(from) === duckdbType(to)
  const [before, now] = [childFields(from), childFields(to)]
  return (
    from.kind === to.kind &&
    before.length === now.length &&
    before.every(
      (field, i) =>
        field.fieldId === now[i].fieldId && field.name === now[i].name && readsAlike(field.type, now[i].type),
    )
  )
}

function nullOf(type: ColumnType): string {
  return `CAST(NULL AS ${duckdbType(type)})`
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

/** Physical and logical type as `column-type.ts` lists them. Of nested types a file has no leaf. */
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
