/**
 * From table versions and a checked statement to views that DuckDB can open:
 *
 *   1. EXPLAIN over stubs: which columns and filters each scan has
 *   2. files: those whose bounds let a row through; the rest is never opened
 *   3. footers of those files (kept in memory): is the file what its schema says, which row groups can match
 *   4. remote files: exactly the column chunks needed, into sparse local files; local files are opened where they are
 *   5. one temp view per table over the files that are left
 *
 * What can fail: a file that is gone (`file-missing`), damaged or not of its schema (`file-damaged`,
 * `file-schema-mismatch`, naming it), no room in the cache (`overloaded`), S3 away (`store-unavailable`).
 */

import type { TableVersion } from '../../lake/catalog/catalog.ts'
import { withoutPrefix } from '../../lake/engine/duckdb-error.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { EXPLAIN_PREFIX } from '../../lake/engine/engine-messages.ts'
import { type MappedFile, quoteName, relationSql } from '../../lake/file-mapping.ts'
import { PLACE_COLUMNS, unmaskedSql, withPlaceColumns } from '../../lake/mask-sql.ts'
import type { ByteRange } from '../../lake/object-store/object-store.ts'
import type { ParquetFooter } from '../../lake/parquet/parquet.ts'
import { pruneRowGroups } from '../../lake/parquet/prune.ts'
import { planRanges } from '../../lake/parquet/ranges.ts'
import type { EnsuredFile, RangeCache } from '../../lake/range-cache/range-cache.ts'
import { inParallel } from '../../runtime/in-parallel.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { type Column, isHidden, type TableSchema } from '../../schemas/table-schema.ts'
import { createRecent } from '../run/recent.ts'
import type { Statement } from '../statement/statement.ts'
import { createLiftedNeeds, type LiftedStatement } from './lifted-needs.ts'
import { needsEverything, type ScanNeeds, scanNeeds } from './scan-needs.ts'
import type { Stubs } from './stubs.ts'
import { mayHoldRows, type TableFile, type TableFileReader } from './table-files.ts'

export type PlanStats = {
  files: number
  filesPruned: number
  rowGroups: number
  rowGroupsPruned: number
  /** Rows of the row groups that are left. */
  rows: number
  /** Exactly the column chunks (and bloom filters) that the statement needs. */
  bytesNeeded: number
  /** Bytes and GETs that this query caused. */
  bytesFetched: number
  requests: number
}

export type PlannedTable = {
  readonly version: TableVersion
  readonly snapshotId: bigint | undefined
}

export type QueryPlan = {
  /** Statements that make the views, for the engine's connection. */
  readonly setup: readonly string[]
  readonly tables: readonly PlannedTable[]
  readonly stats: PlanStats
  readonly hasSparseFiles: boolean
  readonly files: readonly MappedFile[]
  /** The cache may let the files go. */
  release(): void
  /** A file of these could not be read: the cache compares what it has of them before it is used again. */
  distrust(): void
}

export type PlannerParts = {
  readonly engine: Engine
  readonly stubs: Stubs
  readonly cache: RangeCache
  readonly files: TableFileReader
  /** Footers read at a time. */
  readonly parallelMax: number
}

export type PlanOptions = {
  /** Where to ask for the statement's plan; undefined: the planner's own engine. */
  readonly engine?: Engine
  readonly params: readonly unknown[] | Readonly<Record<string, unknown>>
  readonly sessionSetup: readonly string[]
  readonly timeoutMs: number
  /** More bytes than these are not fetched for one statement; it is refused. */
  readonly scanBytesMax?: number
  readonly signal: AbortSignal
  /** After a read into a hole: fetch every file whole. */
  readonly wholeFiles: boolean
}

export type Planner = {
  plan(statement: PlannedStatement, versions: readonly TableVersion[], options: PlanOptions): Promise<QueryPlan>
}

const NEEDS_KEPT_MAX = 1000
const NEEDS_KEY_LENGTH_MAX = 20_000

/** `lifted`: others that differ only in the values they compare with need alike. */
export type PlannedStatement = Statement & { readonly lifted?: LiftedStatement }

type OpenedFile = MappedFile & { readonly ensured: EnsuredFile }

export function createPlanner(parts: PlannerParts): Planner {
  const { engine, stubs, cache, files: reader } = parts
  const liftedNeeds = createLiftedNeeds<ReadonlyMap<number, ScanNeeds>>()
  const recentNeeds = createRecent<ReadonlyMap<number, ScanNeeds>>(NEEDS_KEPT_MAX)

  async function needsOf(
    statement: PlannedStatement,
    versions: readonly TableVersion[],
    options: PlanOptions,
  ): Promise<ReadonlyMap<number, ScanNeeds>> {
    const everything = new Map(
      versions.map(({ table }) => [
        table.tableId,
        needsEverything(wantedColumns(currentSchema(table), statement).map((column) => column.fieldId)),
      ]),
    )
    if (versions.length === 0 || statement.kind === 'explain') return everything
    const key = needsKey(statement, versions, options)
    const known = key === undefined ? undefined : recentNeeds.get(key)
    if (known) return known
    const lifted = await liftedNeedsOf(statement, versions, options)
    if (lifted) return lifted
    try {
      const needs = await explain(statement, versions, options)
      if (key !== undefined) recentNeeds.set(key, needs)
      return needs
    } catch (error) {
      // The statement itself is wrong: say so before any byte is fetched for it. Its positions count from EXPLAIN's text.
      if (isMillraceError(error) && (error.kind === 'invalid' || error.kind === 'unavailable'))
        throw withoutPrefix(error, EXPLAIN_PREFIX)
      return everything
    }
  }

  /** Without asking: a statement of the same shape was asked about, and the values are clear in a session of UTC. */
  async function liftedNeedsOf(statement: PlannedStatement, versions: readonly TableVersion[], options: PlanOptions) {
    if (!statement.lifted || statement.usesClock || options.sessionSetup.length > 0) return undefined
    const schemas = versions.map(({ table }) => [table.tableId, currentSchema(table).schemaId])
    return liftedNeeds.of(statement.lifted, statement.sql, options.params, schemas, (sql, params) =>
      explain({ ...statement, sql }, versions, { ...options, params }),
    )
  }

  async function explain(
    statement: Statement,
    versions: readonly TableVersion[],
    options: PlanOptions,
  ): Promise<ReadonlyMap<number, ScanNeeds>> {
    const setup = [...options.sessionSetup]
    for (const { table } of versions) {
      const schema = currentSchema(table)
      setup.push(await stubs.viewSql(table.name, table.tableId, schema, wantedColumns(schema, statement)))
    }
    const plans: string[] = []
    await (options.engine ?? engine).query(
      {
        queryId: 'plan',
        setup,
        sql: EXPLAIN_PREFIX + statement.sql,
        params: options.params,
        format: 'rows',
        rowsMax: 100,
        bytesMax: 64 * 1024 * 1024,
        timeoutMs: options.timeoutMs,
        isSmall: true,
      },
      { onChunk: () => {}, onRows: (rows) => void plans.push(...rows.map((row) => String(row.at(-1)))) },
      options.signal,
    )
    const typeOf = (tableId: number, fieldId: number) =>
      currentSchema(versions.find(({ table }) => table.tableId === tableId)!.table).columns.find(
        (column) => column.fieldId === fieldId,
      )?.type
    return scanNeeds(
      plans[0] ?? '[]',
      versions.map(({ table }) => table.tableId),
      typeOf,
      statement.usesClock,
    )
  }

  async function planTable(
    version: TableVersion,
    needs: ScanNeeds,
    statement: Statement,
    options: PlanOptions,
    stats: PlanStats,
    opened: OpenedFile[],
  ): Promise<{ readonly sql: string; readonly planned: PlannedTable }> {
    const { table } = version
    const schema = currentSchema(table)
    const wanted = wantedColumns(schema, statement)
    const { snapshotId, files } = await reader.filesOf(version)
    const kept = files.filter((file) => mayHoldRows(file, table.schemas, needs.filters))
    stats.files += files.length
    stats.filesPruned += files.length - kept.length
    const mapped: MappedFile[] = []
    const isDescription = statement.kind === 'describe'
    await inParallel(
      isDescription ? [] : kept,
      async (file) => {
        const one = await openFile(file, needs, options, stats)
        if (!one) return
        opened.push(one)
        mapped.push(one)
      },
      parts.parallelMax,
    )
    // In a fixed order, so that the same question over the same version reads its files in the same order.
    mapped.sort((a, b) => (a.path < b.path ? -1 : 1))
    const masks = version.masks ?? []
    const relation = unmaskedSql(relationSql(mapped, table.schemas, withPlaceColumns(wanted, masks)), wanted, masks)
    return {
      sql: `CREATE TEMP VIEW ${quoteName(table.name)} AS ${relation}`,
      planned: { version, snapshotId },
    }
  }

  /** Undefined when its row groups' statistics prove that no row of it is needed. */
  async function openFile(
    file: TableFile,
    needs: ScanNeeds,
    options: PlanOptions,
    stats: PlanStats,
  ): Promise<OpenedFile | undefined> {
    const { path, bytes, etag, checksum } = file
    const fetch = async (ranges: readonly ByteRange[]): Promise<EnsuredFile> => {
      const ensured = await cache.ensure(path, bytes, etag, ranges, options.signal, checksum)
      stats.bytesFetched += ensured.fetchedBytes
      stats.requests += ensured.requests
      return ensured
    }
    // Brings the footer of a remote file, and what it costs is ours; a local file costs nothing.
    const held = await fetch([])
    try {
      const footer = await cache.footer(path, bytes, etag, options.signal, checksum)
      return await openHeld(file, footer, needs, options, stats, fetch)
    } finally {
      held.release()
    }
  }

  async function openHeld(
    file: TableFile,
    footer: ParquetFooter,
    needs: ScanNeeds,
    options: PlanOptions,
    stats: PlanStats,
    fetch: (ranges: readonly ByteRange[]) => Promise<EnsuredFile>,
  ): Promise<OpenedFile | undefined> {
    if (footer.rowCount !== file.rowCount) {
      throw new MillraceError(
        'file-damaged',
        `${file.path}: it has ${footer.rowCount} rows, ${file.rowCount} are recorded`,
        {
          facts: { path: file.path },
        },
      )
    }
    const kept = keptRowGroups(footer, needs)
    stats.rowGroups += footer.rowGroups.length
    stats.rowGroupsPruned += footer.rowGroups.length - kept.length
    if (kept.length === 0 && footer.rowGroups.length > 0 && needs.filters !== undefined) {
      stats.filesPruned++
      return undefined
    }
    const plan = planRanges(footer, pathsOf(footer, needs.columns), kept, {
      bloom: pathsOf(footer, needs.bloomColumns),
    })
    stats.bytesNeeded += plan.neededBytes
    for (const index of kept) stats.rows += footer.rowGroups[index].rowCount
    // Nothing more is fetched; the rest is only added up, so that the error can say what the statement would read.
    if (stats.bytesNeeded > (options.scanBytesMax ?? Number.POSITIVE_INFINITY)) return undefined
    // New segments come whole in one GET: the next question needs other columns of them, and soon they are gone.
    const isWhole = options.wholeFiles || file.isSegment
    const ranges = isWhole ? [{ start: 0, end: file.bytes }] : plan.ranges
    const ensured = await fetch(ranges)
    return { path: file.path, localFile: ensured.localFile, footer, ensured }
  }

  return {
    async plan(statement, versions, options) {
      const stats: PlanStats = {
        files: 0,
        filesPruned: 0,
        rowGroups: 0,
        rowGroupsPruned: 0,
        rows: 0,
        bytesNeeded: 0,
        bytesFetched: 0,
        requests: 0,
      }
      const opened: OpenedFile[] = []
      const release = () => {
        for (const { ensured } of opened) ensured.release()
      }
      try {
        const needs = await needsOf(statement, versions, options)
        const setup = [...options.sessionSetup]
        const tables: PlannedTable[] = []
        for (const version of versions) {
          const need = withPlaces(needs.get(version.table.tableId)!, version)
          const { sql, planned } = await planTable(version, need, statement, options, stats, opened)
          setup.push(sql)
          tables.push(planned)
        }
        refuseLargeScan(stats, options.scanBytesMax)
        const hasSparseFiles = opened.some(({ path }) => !path.startsWith('file://'))
        const distrust = () => {
          for (const { ensured } of opened) ensured.distrust()
        }
        return { setup, tables, stats, hasSparseFiles, files: opened, release, distrust }
      } catch (error) {
        release()
        throw error
      }
    },
  }
}

function refuseLargeScan({ bytesNeeded, files, filesPruned }: PlanStats, bytesMax = Number.POSITIVE_INFINITY): void {
  if (bytesNeeded <= bytesMax) return
  throw new MillraceError(
    'request-too-large',
    `the statement would read ${bytesNeeded} bytes in ${files - filesPruned} files, expected at most ${bytesMax} (query.scan.bytes.max, or the limit of the token): name fewer columns, or add a filter on the columns that the table is partitioned or sorted by`,
    { facts: { bytesNeeded, bytesMax } },
  )
}

/** Where a table has masks, every row's place is read besides. */
function withPlaces(needs: ScanNeeds, { masks = [] }: TableVersion): ScanNeeds {
  if (masks.length === 0) return needs
  return { ...needs, columns: new Set([...needs.columns, ...PLACE_COLUMNS.map(({ fieldId }) => fieldId)]) }
}

/**
 * What a statement needs of its tables is told by stubs without rows: it depends on text, parameters, zone and schemas,
 * not on data. undefined: on the clock as well, or too long to keep.
 */
function needsKey(statement: Statement, versions: readonly TableVersion[], options: PlanOptions): string | undefined {
  if (statement.usesClock) return undefined
  const schemas = versions.map(({ table }) => [table.tableId, currentSchema(table).schemaId])
  const params = JSON.stringify(options.params, (_, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  )
  const key = JSON.stringify([statement.sql, params, options.sessionSetup, schemas])
  return key.length <= NEEDS_KEY_LENGTH_MAX ? key : undefined
}

export function currentSchema(table: TableVersion['table']): TableSchema {
  const schema = table.schemas.at(-1)
  if (schema) return schema
  throw new MillraceError('undefined-table', `table "${table.name}" has no columns yet: nothing has been ingested`, {
    facts: { table: table.name },
  })
}

/** `SELECT *` shows no hidden columns; naming one brings it in. */
export function wantedColumns(schema: TableSchema, statement: Statement): readonly Column[] {
  return schema.columns.filter((column) => !isHidden(column) || statement.hiddenColumns.has(column.name))
}

function keptRowGroups(footer: ParquetFooter, needs: ScanNeeds): readonly number[] {
  if (needs.filters === undefined) return footer.rowGroups.map((_, index) => index)
  const kept = new Set<number>()
  for (const list of needs.filters) for (const index of pruneRowGroups(footer, list)) kept.add(index)
  return [...kept].sort((a, b) => a - b)
}

/** Of a nested column: of all its leaves. */
function pathsOf(footer: ParquetFooter, fieldIds: ReadonlySet<number>): Set<string> {
  const paths = new Set<string>()
  for (const { fieldId, name } of footer.fields) if (fieldId !== undefined && fieldIds.has(fieldId)) paths.add(name)
  return paths
}
