/**
 * Tables and their schemas. Field ids are handed out by compare-and-set on the number of schemas known: of two processes
 * that add a schema at once one wins, the other decodes again. An id that was dropped is never given out a second time, so
 * old values never appear under a new column.
 *
 * Each method is one transaction: if we stop before it, a restart sees nothing of it; after it, all of it.
 */
import { type Selectable, sql } from 'kysely'
import { childFields, type Field, fieldsWithin, formatColumnType, isNested } from '../../schemas/column-type.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { canNameColumn, holds } from '../../schemas/evolution.ts'
import { foldName } from '../../schemas/match-fields.ts'
import {
  type Column,
  FIRST_USER_FIELD_ID,
  HIDDEN_COLUMNS,
  OWN_ID_KEY,
  type TableSchema,
} from '../../schemas/table-schema.ts'
import type { Catalog, Table } from './catalog.ts'
import type { TableRow, Tx } from './database.ts'
import type { CatalogDialect, RowInsert } from './dialect.ts'
import { schemaOf, tableOf } from './rows-as-values.ts'
import { OvertakenError, type Transactions } from './transactions.ts'

type Part = Pick<
  Catalog,
  'createTable' | 'findTable' | 'getTable' | 'listTables' | 'addSchema' | 'schemaCounts' | 'versions' | 'bindPipeline'
>

export function tablesAndSchemas({ dialect, read, write }: Transactions): Part {
  return {
    createTable: (table) => {
      checkColumns(table.name, table.columns ?? [])
      const schema = table.columns && withHidden(table.columns)
      return write(async (tx, time, mayHaveLanded) => {
        const taken = await tx.selectFrom('tables').selectAll().where('name', '=', table.name).executeTakeFirst()
        if (taken) {
          // Locations are made for one table each: this is the row of our own earlier attempt.
          if (mayHaveLanded && taken.location === table.location) return tableById(tx, Number(taken.table_id))
          throw new MillraceError('already-exists', `table "${table.name}" already exists`)
        }
        const now = await time()
        const row = await tx
          .insertInto('tables')
          .values({
            name: table.name,
            location: table.location,
            partition_json: JSON.stringify(table.partition),
            sort_json: JSON.stringify(table.sort),
            properties_json: JSON.stringify(table.properties),
            version: 0,
            metadata_location: null,
            metadata_checksum: null,
            last_field_id: largestFieldId(table.columns ?? []),
            snapshot_rows: 0,
            created_at: now,
          })
          .returning('table_id')
          .executeTakeFirstOrThrow()
        if (schema) await insertSchema(tx, Number(row.table_id), 0, schema, now)
        return tableById(tx, Number(row.table_id))
      })
    },

    findTable: (name) =>
      read(async (tx) => {
        const row = await tx.selectFrom('tables').selectAll().where('name', '=', name).executeTakeFirst()
        return row && withSchemas(tx, row)
      }),

    getTable: (tableId) => read((tx) => tableById(tx, tableId)),

    listTables: () =>
      read(async (tx) => {
        const rows = await tx.selectFrom('tables').selectAll().orderBy('name').execute()
        const schemas = await tx.selectFrom('schema_versions').selectAll().orderBy('schema_id').execute()
        const byTable = Map.groupBy(schemas, (schema) => schema.table_id)
        return rows.map((row) => tableOf(row, byTable.get(row.table_id) ?? []))
      }),

    addSchema: (tableId, expectedSchemas, columns) =>
      write(async (tx, time) => {
        // Of two that add a schema at once the second reads on when the first has landed.
        await lockTables(tx, dialect, [tableId])
        const table = await tableById(tx, tableId)
        if (table.schemas.length !== expectedSchemas) return undefined
        checkColumns(table.name, columns)
        if (expectedSchemas > 0) checkSuccessor(table, columns)
        const all = withHidden(columns)
        await insertSchema(tx, tableId, expectedSchemas, all, await time())
        await tx
          .updateTable('tables')
          .set({ last_field_id: Math.max(table.lastFieldId, largestFieldId(columns)) })
          .where('table_id', '=', BigInt(tableId))
          .execute()
        return { schemaId: expectedSchemas, columns: all } satisfies TableSchema
      }),

    schemaCounts: () =>
      read(async (tx) => {
        const rows = await tx
          .selectFrom('schema_versions')
          .select(({ fn }) => ['table_id', fn.countAll<bigint>().as('count')])
          .groupBy('table_id')
          .execute()
        return new Map(rows.map(({ table_id, count }) => [Number(table_id), Number(count)]))
      }),

    versions: () =>
      read(async (tx) => {
        const rows = await tx.selectFrom('tables').select(['name', 'version']).execute()
        return new Map(rows.map(({ name, version }) => [name, version]))
      }),

    bindPipeline: (pipeline, tableIds, topics) =>
      write(async (tx) => {
        // Two pipelines that come at once take turns.
        await lockTables(tx, dialect, tableIds)
        for (const tableId of new Set(tableIds)) {
          const table = await tableById(tx, tableId)
          const bound = await tx
            .selectFrom('pipeline_bindings')
            .selectAll()
            .where('table_id', '=', BigInt(tableId))
            .execute()
          const other = bound.find((each) => each.pipeline !== pipeline && topics.includes(each.topic))
          if (other) {
            throw new MillraceError(
              'settings-invalid',
              `pipelines "${other.pipeline}" and "${pipeline}" both read topic "${other.topic}" into table "${table.name}": every row would be there twice; go on as "${other.pipeline}", which resumes where it ended, or name another table`,
            )
          }
          const bindings = topics.length === 0 ? [NO_TOPIC] : [...new Set(topics)]
          await insertBindings(
            tx,
            dialect,
            bindings.map((topic) => [pipeline, tableId, topic] as const),
          )
        }
      }),
  }
}

/** Bindings are only added: what a pipeline once fed stays in the table (`forgetUnused` is about one that fed nothing). */
export const NO_TOPIC = ''

/** A connector that is gone, runs nowhere and never took a record: another may read its topics into its tables. */
export async function forgetUnused(tx: Tx, pipeline: string): Promise<void> {
  const named = await tx.selectFrom('connectors').select('name').where('name', '=', pipeline).executeTakeFirst()
  const running = await tx
    .selectFrom('pipeline_tasks')
    .select('pipeline')
    .where('pipeline', '=', pipeline)
    .limit(1)
    .execute()
  const covered = await tx
    .selectFrom('coverage')
    .select('pipeline')
    .where('pipeline', '=', pipeline)
    // A row of its own says where it would have begun.
    .where((row) => row.or([row('range_end', '>', row.ref('range_start')), row('earlier_ranges_json', '!=', '[]')]))
    .limit(1)
    .execute()
  if (named || running.length > 0 || covered.length > 0) return
  await tx.deleteFrom('pipeline_bindings').where('pipeline', '=', pipeline).execute()
}

const BINDINGS: RowInsert = {
  table: 'pipeline_bindings',
  columns: { pipeline: 'text', table_id: 'bigint', topic: 'text' },
  ending: 'on conflict do nothing',
}

export async function insertBindings(
  tx: Tx,
  dialect: CatalogDialect,
  bindings: readonly (readonly [pipeline: string, tableId: number, topic: string])[],
): Promise<void> {
  await dialect.insertRows(tx, BINDINGS, bindings)
}

export async function tableById(tx: Tx, tableId: number): Promise<Table> {
  const row = await tx.selectFrom('tables').selectAll().where('table_id', '=', BigInt(tableId)).executeTakeFirst()
  if (!row) throw new MillraceError('undefined-table', `there is no table with id ${tableId}`)
  return withSchemas(tx, row)
}

async function withSchemas(tx: Tx, row: Selectable<TableRow>): Promise<Table> {
  const schemas = await tx
    .selectFrom('schema_versions')
    .selectAll()
    .where('table_id', '=', row.table_id)
    .orderBy('schema_id')
    .execute()
  return tableOf(row, schemas)
}

/** Versions of these tables, as far as they exist; nobody else moves them until this transaction ends. */
export async function lockTables(
  tx: Tx,
  dialect: CatalogDialect,
  tableIds: readonly number[],
): Promise<Map<number, bigint>> {
  if (tableIds.length === 0) return new Map()
  const rows = await tx
    .selectFrom('tables')
    .select(['table_id', 'version'])
    .where(dialect.idIn('table_id', tableIds))
    .orderBy('table_id')
    .modifyEnd(dialect.locked)
    .execute()
  return new Map(rows.map(({ table_id, version }) => [Number(table_id), version]))
}

export function requireTables(found: ReadonlyMap<number, bigint>, tableIds: readonly number[]): void {
  const missing = tableIds.find((tableId) => !found.has(tableId))
  if (missing !== undefined) throw new MillraceError('undefined-table', `there is no table with id ${missing}`)
}

/** Adds one to the version of each table. Their rows are locked. */
export async function bumpVersions(tx: Tx, dialect: CatalogDialect, tableIds: readonly number[]): Promise<void> {
  if (tableIds.length === 0) return
  const { numUpdatedRows } = await tx
    .updateTable('tables')
    .set({ version: sql<bigint>`version + 1` })
    .where(dialect.idIn('table_id', tableIds))
    .executeTakeFirst()
  if (numUpdatedRows !== BigInt(tableIds.length)) throw new OvertakenError('tables went during the commit')
}

async function insertSchema(
  tx: Tx,
  tableId: number,
  schemaId: number,
  columns: readonly Column[],
  now: bigint,
): Promise<void> {
  const row = { table_id: tableId, schema_id: schemaId, columns_json: JSON.stringify(columns), created_at: now }
  await tx.insertInto('schema_versions').values(row).execute()
  // Read back the way every reader will, so that what cannot be read is refused here.
  schemaOf({ schema_id: BigInt(schemaId), columns_json: row.columns_json })
}

function withHidden(columns: readonly Column[]): readonly Column[] {
  return [...columns, ...HIDDEN_COLUMNS]
}

/** With what is inside columns. */
function allFields(columns: readonly Column[]): readonly Field[] {
  return columns.flatMap((column) => [...fieldsWithin(column)])
}

function largestFieldId(columns: readonly Column[]): number {
  return allFields(columns).reduce((largest, { fieldId }) => Math.max(largest, fieldId), FIRST_USER_FIELD_ID - 1)
}

function checkColumns(table: string, columns: readonly Column[]): void {
  const names = new Set(HIDDEN_COLUMNS.map(({ name }) => name))
  for (const { name } of columns) {
    // The engine, and so the compactor, takes names that differ in upper and lower case only for one.
    if (names.has(foldName(name))) {
      throw new MillraceError('request-invalid', `table "${table}": column "${name}" is there twice or is a hidden one`)
    }
    names.add(foldName(name))
  }
  const ids = new Set<number>()
  for (const field of allFields(columns)) {
    const { name, fieldId } = field
    if (!Number.isSafeInteger(fieldId) || fieldId < FIRST_USER_FIELD_ID || ids.has(fieldId)) {
      throw new MillraceError(
        'request-invalid',
        `table "${table}": field id ${fieldId} of column "${name}" is there twice or is kept for hidden columns`,
      )
    }
    ids.add(fieldId)
    checkInside(table, field)
  }
}

/** Engines tell fields of a struct apart by names whatever their case. */
function checkInside(table: string, { name, type }: Field): void {
  if (!isNested(type)) return
  const fields = childFields(type)
  const names = new Set(fields.map((field) => field.name.toLowerCase()))
  if (names.size === fields.length && fields.length > 0 && fields.every((field) => canNameColumn(field.name))) return
  throw new MillraceError(
    'request-invalid',
    `table "${table}": "${name}" is a ${formatColumnType(type)}; a struct has at least one field, each name once but for case, of at most 255 bytes without control characters, and none is ${OWN_ID_KEY}`,
  )
}

/** Whoever planned it: files that were written under the schema before stay readable under the next one. */
function checkSuccessor(table: Table, columns: readonly Column[]): void {
  const before = new Map<number, Column>()
  for (const field of allFields(table.schemas.at(-1)?.columns ?? [])) before.set(field.fieldId, field)
  for (const { fieldId, name, type, required } of allFields(columns)) {
    const invalid = (reason: string) =>
      new MillraceError('request-invalid', `table "${table.name}": column "${name}" (field id ${fieldId}) ${reason}`)
    const was = before.get(fieldId)
    if (!was) {
      if (fieldId > table.lastFieldId) continue
      throw invalid(`was dropped; new ids start at ${table.lastFieldId + 1}`)
    }
    const fits = isNested(was.type) ? was.type.kind === type.kind : holds(type, was.type)
    if (!fits) throw invalid(`is ${formatColumnType(was.type)} and cannot become ${formatColumnType(type)}`)
    if (required && !was.required) throw invalid('is optional and cannot become required')
  }
}
