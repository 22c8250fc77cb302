/**
 * Rows of a rewrite, by table partition. The rows are loaded once into a table of the engine (it spills), beside one
 * text column per partition field; each table partition is then a filter over it.
 *
 * At most so many table partitions get a part of their own, those with most rows; the rows of the others, and those with
 * times outside the table's window, come out together as `aside` (ADR 16).
 *
 * hour, day, month and truncate are SQL; identity keeps the value; bucket has no SQL in DuckDB: the distinct values go
 * through `partitionValue` here and come back as a small mapping file.
 */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PartitionField, Table } from '../lake/catalog/catalog.ts'
import type { Engine } from '../lake/engine/engine.ts'
import { quoteName, quoteText } from '../lake/file-mapping.ts'
import type { PartitionValue } from '../lake/iceberg/iceberg.ts'
import { partitionValue, transformSql } from '../lake/iceberg/partition-transform.ts'
import type { ColumnType } from '../schemas/column-type.ts'
import { invariant } from '../schemas/errors.ts'
import type { Column, TableSchema } from '../schemas/table-schema.ts'
import { type TimeWindow, valuesWithin } from './time-window.ts'

export type Part = {
  readonly values: readonly PartitionValue[]
  /** What follows FROM: the rows of this table partition, all columns of the schema. */
  readonly fromSql: string
  readonly rows: number
}

export type Parts = {
  readonly parts: readonly Part[]
  /** What follows FROM, of all rows that are in no part; `outside` of them have times outside the window. */
  readonly aside: { readonly fromSql: string; readonly rows: number; readonly outside: number } | undefined
}

export type PartLimits = { readonly partitionsMax: number; readonly window: TimeWindow }

export type Partitioner = {
  load(relationSql: string, limits: PartLimits): Promise<Parts>
  drop(): Promise<void>
}

const LINE_BYTES_MIN = 1 << 16

export function createPartitioner(options: {
  engine: Engine
  table: Table
  schema: TableSchema
  /** Unique among the partitioners of the engine. */
  name: string
  workFolder: string
}): Partitioner {
  const { engine, table, schema, name, workFolder } = options
  const rowsTable = quoteName(`${name}_rows`)
  const fields = table.partition.map((field, index) => {
    const column = schema.columns.find((each) => each.fieldId === field.fieldId)
    invariant('partition.column', column !== undefined, { table: table.name, fieldId: field.fieldId })
    return { field, column, key: quoteName(`__partition_${index}`), mapping: `${name}_bucket_${index}` }
  })

  async function load(relationSql: string, { partitionsMax, window }: PartLimits): Promise<Parts> {
    const keys = fields.map(({ field, column, key }) => `${keySql(field, column)} AS ${key}`)
    await engine.run(`CREATE TABLE ${rowsTable} AS SELECT *, ${keys.join(', ')} FROM (${relationSql})`)
    for (const each of fields) if (each.field.transform.kind === 'bucket') await mapBuckets(each)
    const keyList = fields.map(({ key }) => key).join(', ')
    const within = withinSql(window)
    const tuples = await engine.run(
      `SELECT ${keyList}, CAST(count(*) AS VARCHAR) AS rows FROM ${rowsTable} WHERE ${within}
       GROUP BY ${keyList} ORDER BY count(*) DESC, ${keyList} LIMIT ${partitionsMax}`,
    )
    const parts = tuples.map((tuple) => {
      const texts = fields.map((_, index) => tuple[`__partition_${index}`] as string | null)
      const where = fields.map(({ key }, index) => `${key} IS NOT DISTINCT FROM ${literal(texts[index])}`)
      return {
        values: fields.map(({ field, column }, index) => keyValue(field, column.type, texts[index])),
        where: `(${where.join(' AND ')})`,
        rows: Number(tuple.rows),
      }
    })
    const inParts = parts.reduce((sum, { rows }) => sum + rows, 0)
    const [total] = await engine.run(
      `SELECT CAST(count(*) AS VARCHAR) AS rows, CAST(count(*) FILTER (NOT (${within})) AS VARCHAR) AS outside FROM ${rowsTable}`,
    )
    const rows = Number(total.rows) - inParts
    const others = parts.length === 0 ? 'true' : `NOT (${parts.map(({ where }) => where).join(' OR ')})`
    return {
      parts: parts.map(({ values, where, rows }) => ({ values, rows, fromSql: `${rowsTable} WHERE ${where}` })),
      aside: rows === 0 ? undefined : { fromSql: `${rowsTable} WHERE ${others}`, rows, outside: Number(total.outside) },
    }
  }

  /** Never null: a key that is null is within. */
  function withinSql(window: TimeWindow): string {
    const conditions = fields.flatMap(({ field, column, key }) => {
      const values = valuesWithin(field, column.type, window)
      return values ? [`coalesce(CAST(${key} AS BIGINT) BETWEEN ${values[0]} AND ${values[1]}, true)`] : []
    })
    return conditions.length === 0 ? 'true' : conditions.join(' AND ')
  }

  /** Replaces the key column's raw values by their bucket numbers. */
  async function mapBuckets({ field, column, key, mapping }: (typeof fields)[number]): Promise<void> {
    const file = join(workFolder, `${mapping}.csv`)
    const distinct = await engine.run(`SELECT DISTINCT ${key} AS raw FROM ${rowsTable} WHERE ${key} IS NOT NULL`)
    const lines = distinct.map(({ raw }) => {
      const bucket = partitionValue(field.transform, column.type, rawValue(column.type, raw as string))
      return `x${Buffer.from(raw as string)
        .toString('hex')
        .toUpperCase()},${bucket}`
    })
    if (lines.length === 0) return
    const longest = lines.reduce((most, { length }) => Math.max(most, length), LINE_BYTES_MIN)
    try {
      await writeFile(file, lines.join('\n'))
      // Not JSON: its reader takes 32 MiB for each thread, whatever it reads.
      await engine.run(
        `UPDATE ${rowsTable} SET ${key} = mapping.bucket FROM read_csv(${quoteText(file)}, auto_detect = false, header = false, delim = ',',
         max_line_size = ${2 * longest}, buffer_size = ${16 * longest}, columns = {raw: 'VARCHAR', bucket: 'VARCHAR'}) AS mapping
         WHERE 'x' || hex(${key}) = mapping.raw`,
      )
    } finally {
      await rm(file, { force: true })
    }
  }

  return {
    load,
    async drop() {
      await engine.run(`DROP TABLE IF EXISTS ${rowsTable}`)
    },
  }
}

/** The partition key of a row as text; for bucket, the raw value that `mapBuckets` will map. */
function keySql(field: PartitionField, column: Column): string {
  const name = quoteName(column.name)
  const { transform } = field
  if (transform.kind === 'identity' || transform.kind === 'bucket') return rawSql(name, column.type)
  const sql = transformSql(transform, name, column.type)
  invariant('partition.sql', sql !== undefined, { transform: transform.kind, type: column.type.kind })
  return `CAST(${sql} AS VARCHAR)`
}

function keyValue(field: PartitionField, type: ColumnType, text: string | null): PartitionValue {
  if (text === null) return null
  switch (field.transform.kind) {
    case 'identity':
      return partitionValue(field.transform, type, rawValue(type, text))
    case 'truncate':
      return type.kind === 'string' ? text : partitionValue({ kind: 'identity' }, type, rawValue(type, text))
    default:
      return Number(text)
  }
}

function rawSql(name: string, type: ColumnType): string {
  switch (type.kind) {
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return `CAST(epoch_us(${name}) AS VARCHAR)`
    case 'date':
      return `CAST(date_diff('day', DATE '1970-01-01', ${name}) AS VARCHAR)`
    case 'binary':
      return `hex(${name})`
    default:
      return `CAST(${name} AS VARCHAR)`
  }
}

/** Text of `rawSql` → the value as `partitionValue` takes it. */
function rawValue(type: ColumnType, text: string): PartitionValue {
  switch (type.kind) {
    case 'boolean':
      return text === 'true'
    case 'int':
    case 'date':
      return Number(text)
    case 'long':
    case 'time':
    case 'timestamp':
    case 'timestamptz':
      return BigInt(text)
    case 'decimal':
      return BigInt(text.replace('.', ''))
    case 'binary':
      return Buffer.from(text, 'hex')
    default:
      return text
  }
}

/** A statement's text ends at a zero character, so a value that holds one is spelled in bytes. */
function literal(text: string | null): string {
  if (text === null) return 'NULL'
  return text.includes('\0') ? `decode(from_hex('${Buffer.from(text).toString('hex')}'))` : quoteText(text)
}
