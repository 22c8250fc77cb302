/**
 * What a statement needs of its tables, asked of DuckDB by EXPLAIN over stubs. It depends on text, parameters, zone and schemas,
 * not on data, so it is kept for statements that come again.
 *
 * What can fail: the statement itself (told before a byte is fetched for it, at its own positions). An EXPLAIN that fails for
 * another reason costs no answer: then everything is needed.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import { withoutPrefix } from '../../lake/engine/duckdb-error.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { EXPLAIN_PREFIX } from '../../lake/engine/engine-messages.ts'
import { PLACE_COLUMNS } from '../../lake/mask-sql.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { type Column, isHidden, type TableSchema } from '../../schemas/table-schema.ts'
import { createRecent } from '../run/recent.ts'
import { callsFastTimes, fastTimesSql, filtersByBuckets } from './fast-times.ts'
import { createLiftedNeeds, type LiftedStatement } from './lifted-needs.ts'
import { needsEverything, type ScanNeeds, scanNeeds } from './scan-needs.ts'
import { isPlainPlan } from './statement-shape.ts'
import type { Stubs } from './stubs.ts'

/** What of a checked statement matters here. */
export type AskedStatement = {
  readonly sql: string
  /** Names of hidden columns that the text mentions. */
  readonly hiddenColumns: ReadonlySet<string>
  readonly usesClock: boolean
  /** Lower-case names of all functions that it calls. */
  readonly functions?: ReadonlySet<string>
  /** Names that it gives to columns, in lower case; undefined: any. */
  readonly givenNames?: ReadonlySet<string> | undefined
  /** Others that differ only in the values they compare with need alike. */
  readonly lifted?: LiftedStatement
}

export type AskOptions = {
  readonly engine: Engine
  readonly params: readonly unknown[] | Readonly<Record<string, unknown>>
  readonly sessionSetup: readonly string[]
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** The tables have the columns that tell a row's place. */
  readonly withPlaces?: boolean
}

export type StatementNeeds = {
  readonly ofTable: ReadonlyMap<number, ScanNeeds>
  /** Every row of the result is a row of a table. */
  readonly isPlain: boolean
  /** It gains by `fastTimesSql`. */
  readonly wantsFastTimes?: boolean
}

export type NeedsReader = {
  needsOf(statement: AskedStatement, versions: readonly TableVersion[], options: AskOptions): Promise<StatementNeeds>
}

const NEEDS_KEPT_MAX = 1000
const NEEDS_KEY_LENGTH_MAX = 20_000
const PLAN_BYTES_MAX = 64 * 1024 * 1024

export function createNeedsReader({ stubs }: { readonly stubs: Stubs }): NeedsReader {
  const recent = createRecent<StatementNeeds>(NEEDS_KEPT_MAX)
  const liftedNeeds = createLiftedNeeds<StatementNeeds>()

  /** Without asking: a statement of the same shape was asked about, and the values are clear in a session of UTC. */
  async function liftedNeedsOf(statement: AskedStatement, versions: readonly TableVersion[], options: AskOptions) {
    if (!statement.lifted || statement.usesClock || options.sessionSetup.length > 0) return undefined
    return liftedNeeds.of(statement.lifted, statement.sql, options.params, schemasOf(versions), (sql, params) =>
      explain({ ...statement, sql }, versions, { ...options, params }),
    )
  }

  async function explain(
    statement: AskedStatement,
    versions: readonly TableVersion[],
    options: AskOptions,
  ): Promise<StatementNeeds> {
    const setup = [...options.sessionSetup]
    for (const { table } of versions) {
      const schema = currentSchema(table)
      const wanted = wantedColumns(schema, statement.hiddenColumns)
      setup.push(await stubs.viewSql(table.name, table.tableId, schema, wanted, options.withPlaces))
    }
    const fast = callsFastTimes(statement.functions ?? new Set())
      ? await planText(statement.sql, [...setup, ...fastTimesSql()], options).catch(ignoreInvalid)
      : undefined
    const wantsFastTimes = fast !== undefined && !filtersByBuckets(fast)
    const plan = wantsFastTimes ? fast : await planText(statement.sql, setup, options)
    const tables = versions.map(({ table }) => ({ tableId: table.tableId, columns: currentSchema(table).columns }))
    const { usesClock, givenNames } = statement
    return {
      ofTable: scanNeeds(plan, tables, { usesClock, givenNames }),
      isPlain: isPlainPlan(plan),
      ...(wantsFastTimes ? { wantsFastTimes } : {}),
    }
  }

  async function planText(sql: string, setup: readonly string[], options: AskOptions): Promise<string> {
    const plans: string[] = []
    await options.engine.query(
      {
        queryId: 'plan',
        setup,
        sql: EXPLAIN_PREFIX + sql,
        params: options.params,
        format: 'rows',
        rowsMax: 100,
        bytesMax: PLAN_BYTES_MAX,
        timeoutMs: options.timeoutMs,
        isSmall: true,
      },
      { onChunk: () => {}, onRows: (rows) => void plans.push(...rows.map((row) => String(row.at(-1)))) },
      options.signal,
    )
    return plans[0] ?? '[]'
  }

  return {
    async needsOf(statement, versions, options) {
      if (versions.length === 0) return { ofTable: new Map(), isPlain: false }
      const key = needsKey(statement, versions, options)
      const known = key === undefined ? undefined : recent.get(key)
      if (known) return known
      const lifted = await liftedNeedsOf(statement, versions, options)
      if (lifted) return lifted
      try {
        const needs = await explain(statement, versions, options)
        if (key !== undefined) recent.set(key, needs)
        return needs
      } catch (error) {
        // The statement itself is wrong: say so before any byte is fetched for it. Its positions count from EXPLAIN's text.
        if (isMillraceError(error) && (error.kind === 'invalid' || error.kind === 'unavailable'))
          throw withoutPrefix(error, EXPLAIN_PREFIX)
        return everything(statement, versions)
      }
    },
  }
}

export function everything(statement: AskedStatement, versions: readonly TableVersion[]): StatementNeeds {
  const needs = versions.map(({ table }): [number, ScanNeeds] => {
    const wanted = wantedColumns(currentSchema(table), statement.hiddenColumns)
    return [table.tableId, needsEverything(wanted.map((column) => column.fieldId))]
  })
  return { ofTable: new Map(needs), isPlain: false }
}

/** The statement may be wrong; DuckDB's own function then says why. */
function ignoreInvalid(error: unknown): undefined {
  if (!isMillraceError(error) || error.kind !== 'invalid') throw error
  return undefined
}

/** undefined: it depends on the clock as well, or is too long to keep. */
function needsKey(statement: AskedStatement, versions: readonly TableVersion[], options: AskOptions) {
  if (statement.usesClock) return undefined
  const params = JSON.stringify(options.params, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  )
  const key = JSON.stringify([
    statement.sql,
    params,
    options.sessionSetup,
    schemasOf(versions),
    options.withPlaces === true,
  ])
  return key.length <= NEEDS_KEY_LENGTH_MAX ? key : undefined
}

function schemasOf(versions: readonly TableVersion[]) {
  return versions.map(({ table }) => [table.tableId, currentSchema(table).schemaId])
}

export function currentSchema(table: TableVersion['table']): TableSchema {
  const schema = table.schemas.at(-1)
  if (schema) return schema
  throw new MillraceError('undefined-table', `table "${table.name}" has no columns yet: nothing has been ingested`, {
    facts: { table: table.name },
  })
}

/** `SELECT *` shows no hidden columns; naming one brings it in. */
export function wantedColumns(schema: TableSchema, hidden: ReadonlySet<string>): readonly Column[] {
  return schema.columns.filter((column) => !isHidden(column) || hidden.has(column.name))
}

/** Where a table has masks, every row's place is read besides. */
export function withPlaces(needs: ScanNeeds, { masks = [] }: TableVersion): ScanNeeds {
  if (masks.length === 0) return needs
  const places = PLACE_COLUMNS.map(({ fieldId }) => fieldId)
  return { scans: needs.scans.map((scan) => ({ ...scan, columns: new Set([...scan.columns, ...places]) })) }
}
