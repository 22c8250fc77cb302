/**
 * Which rows and columns of the tables that cost something (`millrace.files` reads manifests) a statement needs, told by DuckDB
 * as it is for the lake's own tables: an EXPLAIN over stubs, here with a stub of every system table too. What cannot be read
 * from the plan excludes nothing.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import { withoutPrefix } from '../../lake/engine/duckdb-error.ts'
import type { Engine, EngineQuery } from '../../lake/engine/engine.ts'
import { EXPLAIN_PREFIX } from '../../lake/engine/engine-messages.ts'
import { type ColumnType, parseColumnType } from '../../schemas/column-type.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import type { TableSchema } from '../../schemas/table-schema.ts'
import { type ScanNeeds, scanNeeds } from '../plan/scan-needs.ts'
import { currentSchema, wantedColumns } from '../plan/statement-needs.ts'
import type { Stubs } from '../plan/stubs.ts'
import type { Statement } from '../statement/statement.ts'
import { readFrom, SYSTEM_TABLES, type SystemTable } from './columns.ts'
import type { SystemType } from './system-column.ts'

export type SystemNeed = {
  hasColumn(...names: readonly string[]): boolean
  /** Undefined: any; else no row with another text in this column is needed. */
  valuesOf(name: string): ReadonlySet<string> | undefined
}

export const EVERYTHING: SystemNeed = { hasColumn: () => true, valuesOf: () => undefined }

/** Clear of the numbers that tables have. */
const FIRST_ID = 4_000_000_000

const COLUMN_TYPES: Readonly<Record<SystemType, string>> = {
  VARCHAR: 'string',
  'VARCHAR[]': 'list<string>',
  BOOLEAN: 'boolean',
  INTEGER: 'int',
  BIGINT: 'long',
  TIMESTAMPTZ: 'timestamptz',
  'MAP(VARCHAR, VARCHAR)': 'map<string, string>',
  'MAP(VARCHAR, STRUCT(null_count BIGINT, lower VARCHAR, upper VARCHAR))':
    'map<string, struct<null_count: long, lower: string, upper: string>>',
}

const IDS = new Map((Object.keys(SYSTEM_TABLES) as SystemTable[]).map((id, index) => [id, FIRST_ID + index]))

function schemaOf(id: SystemTable): TableSchema {
  const columns = SYSTEM_TABLES[id].map(({ name, type }, index) => ({
    fieldId: index + 1,
    name,
    type: parseColumnType(COLUMN_TYPES[type]) as ColumnType,
    required: false,
  }))
  return { schemaId: 0, columns }
}

export async function systemNeeds(
  parts: { readonly engine: Engine; readonly stubs: Stubs },
  statement: Statement,
  versions: readonly TableVersion[],
  query: Pick<EngineQuery, 'params' | 'timeoutMs'> & { readonly sessionSetup: readonly string[] },
  signal: AbortSignal,
): Promise<ReadonlyMap<SystemTable, SystemNeed>> {
  const ids = [...new Set([...statement.systemTables].map(readFrom))]
  const everything = new Map(ids.map((id) => [id, EVERYTHING]))
  if (statement.kind === 'explain') return everything
  const setup = [...query.sessionSetup]
  for (const id of ids)
    setup.push(await parts.stubs.viewSql(id, IDS.get(id) as number, schemaOf(id), schemaOf(id).columns))
  for (const { table } of versions) {
    const schema = currentSchema(table)
    setup.push(
      await parts.stubs.viewSql(table.name, table.tableId, schema, wantedColumns(schema, statement.hiddenColumns)),
    )
  }
  const tables = [
    ...ids.map((id) => ({ tableId: IDS.get(id) as number, columns: schemaOf(id).columns })),
    ...versions.map(({ table }) => ({ tableId: table.tableId, columns: currentSchema(table).columns })),
  ]
  try {
    const plan = await explained(parts.engine, { ...query, setup, sql: EXPLAIN_PREFIX + statement.sql }, signal)
    const needs = scanNeeds(plan, tables, { usesClock: statement.usesClock })
    return new Map(ids.map((id) => [id, needOf(id, needs.get(IDS.get(id) as number))]))
  } catch (error) {
    // The statement itself is wrong: no byte is read for it. Its positions count from EXPLAIN's text.
    if (isMillraceError(error) && (error.kind === 'invalid' || error.kind === 'unavailable'))
      throw withoutPrefix(error, EXPLAIN_PREFIX)
    return everything
  }
}

async function explained(
  engine: Engine,
  query: Pick<EngineQuery, 'params' | 'timeoutMs' | 'setup' | 'sql'>,
  signal: AbortSignal,
): Promise<string> {
  const plans: string[] = []
  await engine.query(
    {
      queryId: 'plan',
      setup: query.setup,
      sql: query.sql,
      params: query.params,
      timeoutMs: query.timeoutMs,
      format: 'rows',
      rowsMax: 100,
      bytesMax: 64 * 1024 * 1024,
    },
    { onChunk: () => {}, onRows: (rows) => void plans.push(...rows.map((row) => String(row.at(-1)))) },
    signal,
  )
  return plans[0] ?? '[]'
}

function needOf(id: SystemTable, need: ScanNeeds | undefined): SystemNeed {
  if (!need) return EVERYTHING
  const fieldId = (name: string) => SYSTEM_TABLES[id].findIndex((column) => column.name === name) + 1
  return {
    hasColumn: (...names) => names.some((name) => need.scans.some(({ columns }) => columns.has(fieldId(name)))),
    valuesOf(name) {
      const lists = need.scans.map(({ filters }) =>
        filters.flatMap((filter) => {
          if (filter.op !== '=' && filter.op !== 'in') return []
          if (filter.fieldId !== fieldId(name)) return []
          const values = filter.op === 'in' ? filter.values : [filter.value]
          return values.every((each) => typeof each === 'string') ? [values] : []
        }),
      )
      // Each scan must say it of itself; of several that it says, one is enough.
      if (lists.some((list) => list.length === 0)) return undefined
      return new Set(lists.flatMap(([values]) => values))
    },
  }
}
