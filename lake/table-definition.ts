/**
 * A table as settings declare it → a table as the catalog keeps it: field ids for its columns, Iceberg partition
 * fields from `day(ts)`, sort fields from `id desc`. Used by whoever creates tables.
 */
import { assignFieldIds, type ColumnType, isNested } from '../schemas/column-type.ts'
import { MillraceError } from '../schemas/errors.ts'
import {
  type Column,
  DEAD_LETTER_COLUMNS,
  DEAD_LETTERS_SUFFIX,
  FIRST_USER_FIELD_ID,
  HIDDEN_COLUMNS,
} from '../schemas/table-schema.ts'
import type { NewTable, PartitionField, PartitionTransform, SortField } from './catalog/catalog.ts'

export type TableDeclaration = {
  readonly name: string
  readonly columns: readonly { readonly name: string; readonly type: ColumnType; readonly required: boolean }[]
  /** `ts`, `identity(x)`, `hour(ts)`, `day(ts)`, `month(ts)`, `bucket(16, id)`, `truncate(4, code)`. */
  readonly partition: readonly string[]
  /** `ts`, `id desc`, `id desc nulls last`. Ascending puts nulls first, descending last, unless said. */
  readonly sort: readonly string[]
  readonly eventTime: string | undefined
  /** Times that are taken for real, where they are not the usual ones. */
  readonly time?: { readonly earliest: string; readonly aheadMs: number } | undefined
}

export const EVENT_TIME_PROPERTY = 'millrace.event-time-field-id'
/** A date such as 1970-01-01, and milliseconds; what the compactor goes by when they are missing is in its `time-window.ts`. */
export const TIME_EARLIEST_PROPERTY = 'millrace.time-earliest'
export const TIME_AHEAD_PROPERTY = 'millrace.time-ahead-ms'

const FIRST_PARTITION_FIELD_ID = 1000

export function defineTable(declaration: TableDeclaration, location: string): NewTable {
  const declared = declaration.columns.map((column) => ({ ...column, fieldId: 0 }))
  // Columns first, then what is inside of them.
  const columns = assignFieldIds(declared, FIRST_USER_FIELD_ID).fields
  const all = [...columns, ...HIDDEN_COLUMNS]
  const eventTime =
    declaration.eventTime === undefined ? undefined : findColumn(declaration, all, declaration.eventTime)
  const properties: Record<string, string> = {}
  if (eventTime) {
    if (!['date', 'timestamp', 'timestamptz'].includes(eventTime.type.kind)) {
      throw invalid(
        declaration,
        `event-time column "${eventTime.name}" is a ${eventTime.type.kind}, expected date, timestamp or timestamptz`,
      )
    }
    properties[EVENT_TIME_PROPERTY] = String(eventTime.fieldId)
  }
  if (declaration.time) {
    properties[TIME_EARLIEST_PROPERTY] = declaration.time.earliest
    properties[TIME_AHEAD_PROPERTY] = String(declaration.time.aheadMs)
  }
  return {
    name: declaration.name,
    location,
    columns,
    partition: partitionFields(declaration, all),
    sort: declaration.sort.map((text) => sortField(declaration, all, text)),
    properties,
  }
}

/** The dead letters of a table are a table like any other, newest by its own offset order. */
export function defineDeadLetters(tableName: string, location: string): NewTable {
  return {
    name: `${tableName}${DEAD_LETTERS_SUFFIX}`,
    location,
    columns: DEAD_LETTER_COLUMNS,
    partition: [],
    sort: [],
    properties: {},
  }
}

const TRANSFORM =
  /^(?:(identity|hour|day|month)\(\s*([^\s,()]+)\s*\)|(bucket|truncate)\(\s*(\d{1,9})\s*,\s*([^\s,()]+)\s*\)|([^\s,()]+))$/i

const SOURCES: Record<PartitionTransform['kind'], readonly string[]> = {
  identity: [
    'boolean',
    'int',
    'long',
    'decimal',
    'date',
    'time',
    'timestamp',
    'timestamptz',
    'string',
    'uuid',
    'binary',
  ],
  hour: ['timestamp', 'timestamptz'],
  day: ['date', 'timestamp', 'timestamptz'],
  month: ['date', 'timestamp', 'timestamptz'],
  bucket: ['int', 'long', 'decimal', 'date', 'time', 'timestamp', 'timestamptz', 'string', 'uuid', 'binary'],
  truncate: ['int', 'long', 'decimal', 'string'],
}

/** Iceberg wants names of partition fields to be unique, and to differ from column names unless they are that column. */
function partitionFields(declaration: TableDeclaration, columns: readonly Column[]): PartitionField[] {
  const fields: PartitionField[] = []
  for (const text of declaration.partition) {
    const field = partitionField(declaration, columns, text, FIRST_PARTITION_FIELD_ID + fields.length)
    const same = (each: PartitionField) =>
      each.fieldId === field.fieldId && JSON.stringify(each.transform) === JSON.stringify(field.transform)
    if (fields.some(same)) throw invalid(declaration, `partition "${text}" is there twice`)
    const isTaken = (name: string) =>
      fields.some((each) => each.name === name) ||
      columns.some(
        (column) => column.name === name && !(field.transform.kind === 'identity' && column.fieldId === field.fieldId),
      )
    let { name } = field
    for (let count = 2; isTaken(name); count++) name = `${field.name}_${count}`
    fields.push({ ...field, name })
  }
  return fields
}

function partitionField(
  declaration: TableDeclaration,
  columns: readonly Column[],
  text: string,
  partitionFieldId: number,
): PartitionField {
  const match = TRANSFORM.exec(text.trim())
  if (!match) {
    throw invalid(
      declaration,
      `partition "${text}" is not identity(c), hour(c), day(c), month(c), bucket(n, c) or truncate(n, c)`,
    )
  }
  const [, plain, plainColumn, wide, width, wideColumn, bare] = match
  const kind = (plain ?? wide ?? 'identity').toLowerCase() as PartitionTransform['kind']
  const column = findColumn(declaration, columns, plainColumn ?? wideColumn ?? bare)
  if (!SOURCES[kind].includes(column.type.kind)) {
    throw invalid(
      declaration,
      `partition "${text}": ${kind} does not take a ${column.type.kind}, but ${SOURCES[kind].join(', ')}`,
    )
  }
  const suffix = { identity: '', hour: '_hour', day: '_day', month: '_month', bucket: '_bucket', truncate: '_trunc' }[
    kind
  ]
  const name = `${column.name}${suffix}`
  if (kind === 'bucket' || kind === 'truncate') {
    if (Number(width) < 1) throw invalid(declaration, `partition "${text}": the width must be at least 1`)
    return { fieldId: column.fieldId, transform: { kind, width: Number(width) }, name, partitionFieldId }
  }
  return { fieldId: column.fieldId, transform: { kind }, name, partitionFieldId }
}

function sortField(declaration: TableDeclaration, columns: readonly Column[], text: string): SortField {
  const match = /^(\S+)(?:\s+(asc|desc))?(?:\s+nulls\s+(first|last))?$/i.exec(text.trim())
  if (!match) throw invalid(declaration, `sort "${text}" is not "column [asc|desc] [nulls first|last]"`)
  const column = findColumn(declaration, columns, match[1])
  if (isNested(column.type)) {
    throw invalid(declaration, `sort "${text}": a ${column.type.kind} has no order; name a column of one value`)
  }
  const descending = match[2]?.toLowerCase() === 'desc'
  const nullsFirst = match[3] ? match[3].toLowerCase() === 'first' : !descending
  return { fieldId: column.fieldId, descending, nullsFirst }
}

function findColumn(declaration: TableDeclaration, columns: readonly Column[], name: string): Column {
  const column = columns.find((each) => each.name === name)
  if (column) return column
  throw invalid(
    declaration,
    `there is no column "${name}"; its columns are ${columns.map((each) => each.name).join(', ')}`,
  )
}

function invalid(declaration: TableDeclaration, message: string): MillraceError {
  return new MillraceError('settings-invalid', `table "${declaration.name}": ${message}`)
}
