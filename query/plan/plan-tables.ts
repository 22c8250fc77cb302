/**
 * From table versions and a checked statement to views that DuckDB can open:
 *
 *   1. EXPLAIN over stubs: which columns and filters each scan has
 *   2. files: those whose table partition and bounds let a row through; the rest is never opened
 *   3. footers of those files (kept in memory): is the file what its schema says, which row groups can match, by statistics and,
 *      for equalities, bloom filters
 *   4. a statement that needs few rows of one table: which ones, before the other columns are fetched
 *   5. remote files: exactly the column chunks needed, into sparse local files; local files are opened where they are
 *   6. one temp view per table over the files, or the rows of them, that are left
 *
 * What can fail: a file that is gone (`file-missing`), damaged or not of its schema (`file-damaged`,
 * `file-schema-mismatch`, naming it), no room in the cache (`overloaded`), S3 away (`store-unavailable`).
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import type { KnownRow } from '../../lake/engine/known-row.ts'
import {
  isReadAsWritten,
  type MappedFile,
  mayTellPlaces,
  quoteName,
  relationGroups,
  relationSql,
} from '../../lake/file-mapping.ts'
import { withPlaceColumns } from '../../lake/mask-sql.ts'
import { FILE_SCHEME } from '../../lake/object-store/object-path.ts'
import { mergeRanges, totalBytes } from '../../lake/parquet/ranges.ts'
import type { EnsuredFile, RangeCache } from '../../lake/range-cache/range-cache.ts'
import { isMillraceError } from '../../schemas/errors.ts'
import type { Column } from '../../schemas/table-schema.ts'
import { createRecent } from '../run/recent.ts'
import type { UnpackedFiles } from '../run/unpacked-files.ts'
import type { Statement } from '../statement/statement.ts'
import { fastTimesSql } from './fast-times.ts'
import { fasterSql } from './faster-sql.ts'
import { knownPlan } from './known-plan.ts'
import type { LiftedStatement } from './lifted-needs.ts'
import { emptyTableStats, type PlanStats, refuseLargeScan, type TableStats, totalStats } from './plan-stats.ts'
import {
  createFilesReader,
  type FilesReader,
  type OpenFile,
  type ReadSavings,
  type SettledFile,
  type SettleOptions,
} from './read-files.ts'
import { keptRowGroups } from './row-groups.ts'
import type { TableScan } from './scan-needs.ts'
import {
  type AskedStatement,
  type AskOptions,
  createNeedsReader,
  currentSchema,
  everything,
  type StatementNeeds,
  wantedColumns,
  withPlaces,
} from './statement-needs.ts'
import { type StatementShape, statementShape, wholeTreeSql } from './statement-shape.ts'
import type { Stubs } from './stubs.ts'
import { type TableFile, type TableFileReader, whyPruned } from './table-files.ts'
import { viewRowsSql } from './view-rows.ts'
import { filesOfShape, lookForRows, onlyHolding, placesSql, rowGroupsOfShape } from './wanted-rows.ts'

export type { PlanStats } from './plan-stats.ts'
export { currentSchema } from './statement-needs.ts'

export type PlannedTable = {
  readonly version: TableVersion
  readonly snapshotId: bigint | undefined
}

export type QueryPlan = {
  /** Statements that make the views, for the engine's connection. */
  readonly setup: readonly string[]
  /** What to run in the statement's place: the answer is known, and made of constants, or comes faster so. */
  readonly sql?: string
  /** What `sql` gives, where that needs no engine. */
  readonly row?: KnownRow
  readonly tables: readonly PlannedTable[]
  readonly stats: PlanStats
  /** Or unpacked ones: they may be bad where the table's own are not. */
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
  readonly unpacked?: Pick<UnpackedFiles, 'use'>
  /** Footers read at a time. */
  readonly parallelMax: number
  /** Tests with small files lower these. */
  readonly savings?: Savings
}

export type Savings = {
  /** Bytes of column chunks that looking for rows first must save; 1 MiB. */
  readonly lookingMin: number
} & ReadSavings

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
  /** Who asks runs `sql` of the plan when there is one. */
  readonly mayReplace?: boolean
}

export type Planner = {
  plan(statement: PlannedStatement, versions: readonly TableVersion[], options: PlanOptions): Promise<QueryPlan>
}

/** `lifted`: others that differ only in the values they compare with need alike. */
export type PlannedStatement = Statement & { readonly lifted?: LiftedStatement }

const SAVINGS: Savings = {
  lookingMin: 1 << 20,
  restrictMin: 32 << 10,
  bloomMin: 512 << 10,
  wholeSegmentMax: 8 << 20,
}
const SHAPES_KEPT_MAX = 1000
const SHAPE_KEPT_LENGTH_MAX = 20_000

type Work = {
  readonly asked: AskedStatement
  readonly options: PlanOptions
  readonly ask: AskOptions
  readonly needs: StatementNeeds
  readonly held: EnsuredFile[]
  /** On its way since the statement came; undefined: of a statement of several tables, or one that is read in one step. */
  readonly shaping: Promise<StatementShape | undefined> | undefined
  /** Paths of files that are read from copies. */
  readonly copies: Set<string>
  /** Column chunks are only counted: nothing of them is read. */
  readonly isOnlyCounted: boolean
  readonly bytesNeeded: () => number
}

type PreparedLooking = {
  readonly asked: { readonly sql: string; readonly rowsMax: number }
  readonly scans: readonly TableScan[]
}

export function createPlanner(parts: PlannerParts): Planner {
  const { stubs, cache, files: reader, savings = SAVINGS } = parts
  const needsReader = createNeedsReader({ stubs })
  const shapes = createRecent<{ readonly shape: StatementShape | undefined }>(SHAPES_KEPT_MAX)

  async function planTable(version: TableVersion, work: Work, stats: TableStats, opened: MappedFile[]) {
    const { table, masks = [] } = version
    const { options } = work
    const wanted = wantedColumns(currentSchema(table), work.asked.hiddenColumns)
    const { scans } = withPlaces(work.needs.ofTable.get(table.tableId)!, version)
    const { snapshotId, files } = await reader.filesOf(version)
    const kept = filesLeft(files, version, scans, stats)
    const shape = await shapeOf(kept, version, work)
    const fewer = shape === undefined ? kept : filesOfShape(kept, version, shape)
    stats.filesPrunedByBounds += kept.length - fewer.length
    const filesReader = createFilesReader({
      cache,
      stats,
      signal: options.signal,
      wholeFiles: options.wholeFiles,
      parallelMax: parts.parallelMax,
      savings,
      held: work.held,
    })
    // While footers are on their way there is time to ask what may be asked next.
    const looking = shape && fewer.some(hasNoFooter) ? prepareLooking(shape, version, work) : undefined
    looking?.catch(() => {})
    const open = await filesReader.open(fewer, scans)
    const settled = await settle(filesReader, open, version, wanted, scans, shape, work, stats, looking)
    countLeft(settled, open, scans, stats)
    refuseLargeScan(work.bytesNeeded(), stats, options.scanBytesMax)
    if (!work.isOnlyCounted) await filesReader.fetch(settled)
    const read = work.isOnlyCounted || options.wholeFiles ? settled : settled.map((file) => unpacked(file, work))
    opened.push(...read)
    const relation = relationSql(read, table.schemas, withPlaceColumns(wanted, masks))
    return {
      sql: `CREATE TEMP VIEW ${quoteName(table.name)} AS ${viewRowsSql(relation, version, wanted, work, settled)}`,
      planned: { version, snapshotId },
    }
  }

  function unpacked(file: SettledFile, { held, copies }: Work): SettledFile {
    const copy = file.rows === undefined ? parts.unpacked?.use(file.file) : undefined
    if (copy === undefined) return file
    held.push({ ...copy, fetchedBytes: 0, requests: 0 })
    copies.add(file.path)
    return { ...file, localFile: copy.localFile }
  }

  /** Only where something remote may be left unread. */
  async function shapeOf(
    files: readonly TableFile[],
    version: TableVersion,
    { needs, shaping }: Work,
  ): Promise<StatementShape | undefined> {
    if (shaping === undefined || files.every(isLocal) || needs.ofTable.size !== 1) return undefined
    const shape = await shaping
    if (shape === undefined || shape.table !== version.table.name.toLowerCase()) return undefined
    return shape.kind === 'extremes' || needs.isPlain ? shape : undefined
  }

  /** Beside the question for its plan: both are short, and the second one would wait for the first. */
  async function readEarly(
    { sql, usesClock }: AskedStatement,
    version: TableVersion,
    options: PlanOptions,
    ask: AskOptions,
  ): Promise<StatementShape | undefined> {
    if (options.wholeFiles || usesClock || !mayTellPlaces(version.table.schemas)) return undefined
    const known = shapes.get(sql)
    if (known) return known.shape
    const { files } = await reader.filesOf(version)
    if (files.every(isLocal)) return undefined
    const shape = await readShape(sql, ask)
    if (sql.length <= SHAPE_KEPT_LENGTH_MAX) shapes.set(sql, { shape })
    return shape
  }

  async function readShape(sql: string, { engine, signal }: AskOptions): Promise<StatementShape | undefined> {
    try {
      const [row] = await engine.run(wholeTreeSql(sql), { signal })
      return statementShape(String(row.tree))
    } catch (error) {
      // More is read then, and nothing else is lost.
      if (isMillraceError(error) && error.kind === 'invalid') return undefined
      throw error
    }
  }

  function hasNoFooter({ path, bytes, etag }: TableFile): boolean {
    return cache.missingBytes(path, bytes, etag, [{ start: Math.max(0, bytes - 8), end: bytes }]) > 0
  }

  /** The statement that looks for rows, and what it needs; undefined: such rows are not looked for. */
  async function prepareLooking(
    shape: StatementShape,
    version: TableVersion,
    work: Work,
  ): Promise<PreparedLooking | undefined> {
    if (mayNotLook(version, work)) return undefined
    const asked = await placesSql(work.ask.engine, shape)
    if (!asked) return undefined
    const places = { ...work.asked, sql: asked.sql }
    const needs = await needsReader.needsOf(places, [version], { ...work.ask, withPlaces: true })
    return { asked, scans: needs.ofTable.get(version.table.tableId)!.scans }
  }

  async function settle(
    filesReader: FilesReader,
    open: readonly OpenFile[],
    version: TableVersion,
    wanted: readonly Column[],
    scans: readonly TableScan[],
    shape: StatementShape | undefined,
    work: Work,
    stats: TableStats,
    early: Promise<PreparedLooking | undefined> | undefined,
  ): Promise<readonly SettledFile[]> {
    const rowGroups = shape && rowGroupsOfShape(open, version, shape)
    const only = rowGroups && ((file: OpenFile) => rowGroups.get(file))
    const plain = settled(filesReader, open, version, wanted, scans, { only })
    if (shape === undefined || mayNotLook(version, work)) return plain
    const missing = (files: readonly SettledFile[]) =>
      files.reduce((sum, { file, needed }) => sum + filesReader.missingBytes(file, needed), 0)
    if (missing(plain) < savings.lookingMin) return plain
    const prepared = await (early ?? prepareLooking(shape, version, work))
    if (!prepared) return plain
    const { asked, scans: first } = prepared
    // What the statement does not need, neither do its places; a file that is not there has no row group.
    const left = new Map(plain.map(({ path, needs: { kept } }) => [path, new Set(kept)]))
    const looking = settled(filesReader, open, version, wanted, first, {
      only: ({ path }) => left.get(path) ?? new Set(),
    })
    if (missing(plain) - missing(looking) < savings.lookingMin) return plain
    await filesReader.fetch(looking)
    const found = await lookForRows(looking, version, wanted, asked, work.ask).catch((error: unknown) => {
      // A read into a hole, or broken bytes: the statement itself will meet it, where it is counted and told.
      if (isMillraceError(error, 'file-damaged')) return undefined
      throw error
    })
    if (!found) return plain
    stats.isInTwoSteps = true
    const last = settled(filesReader, open, version, wanted, scans, { only: onlyHolding(found) })
    return withLooked(last, looking, stats)
  }

  return {
    async plan(statement, versions, options) {
      const answer = options.mayReplace ? await knownPlan(statement, versions, options, parts) : undefined
      if (answer) return answer
      const byTable = new Map<string, TableStats>(versions.map(({ table }) => [table.name, emptyTableStats()]))
      const opened: MappedFile[] = []
      const held: EnsuredFile[] = []
      const copies = new Set<string>()
      const release = () => {
        for (const ensured of held) ensured.release()
      }
      try {
        const { engine = parts.engine, params, sessionSetup, timeoutMs, signal } = options
        const ask = { engine, params, sessionSetup, timeoutMs, signal }
        const asked = askedOf(statement)
        const isAsked = asked !== undefined && statement.kind !== 'describe'
        const shaping = isAsked && versions.length === 1 ? readEarly(asked, versions[0], options, ask) : undefined
        shaping?.catch(() => {})
        const needs = isAsked
          ? await needsReader.needsOf(asked, versions, ask)
          : everything(asked ?? statement, versions)
        const work: Work = {
          asked: asked ?? statement,
          options,
          ask,
          needs,
          held,
          shaping,
          copies,
          isOnlyCounted: statement.kind === 'explain' && statement.explained?.isAnalyzed !== true,
          bytesNeeded: () => [...byTable.values()].reduce((sum, { bytesNeeded }) => sum + bytesNeeded, 0),
        }
        const setup = [...options.sessionSetup, ...(needs.wantsFastTimes ? fastTimesSql() : [])]
        const tables: PlannedTable[] = []
        for (const version of versions) {
          const stats = byTable.get(version.table.name)!
          if (statement.kind === 'describe') {
            setup.push(emptyViewSql(version, statement))
            tables.push({ version, snapshotId: (await reader.filesOf(version)).snapshotId })
            continue
          }
          const { sql, planned } = await planTable(version, work, stats, opened)
          setup.push(sql)
          tables.push(planned)
        }
        const hasSparseFiles = copies.size > 0 || opened.some(({ path }) => !path.startsWith(FILE_SCHEME))
        const distrust = () => {
          for (const ensured of held) ensured.distrust()
        }
        const sql = options.mayReplace
          ? await fasterSql(statement, versions, options.engine ?? parts.engine)
          : undefined
        return {
          setup,
          ...(sql === undefined ? {} : { sql }),
          tables,
          stats: totalStats(byTable),
          hasSparseFiles,
          files: opened,
          release,
          distrust,
        }
      } catch (error) {
        release()
        throw error
      }
    },
  }
}

const isLocal = ({ path }: TableFile): boolean => path.startsWith(FILE_SCHEME)

/** Places of rows would tell of columns that are masked; a plan alone reads nothing. */
function mayNotLook({ masks = [] }: TableVersion, { isOnlyCounted }: Work): boolean {
  return masks.length > 0 || isOnlyCounted
}

/** What an EXPLAIN explains, or the statement itself. */
function askedOf(statement: PlannedStatement): AskedStatement | undefined {
  if (statement.kind !== 'explain') return statement
  return statement.explained && { ...statement, sql: statement.explained.sql, lifted: undefined }
}

function emptyViewSql({ table }: TableVersion, { hiddenColumns }: Statement): string {
  const relation = relationSql([], table.schemas, wantedColumns(currentSchema(table), hiddenColumns))
  return `CREATE TEMP VIEW ${quoteName(table.name)} AS ${relation}`
}

function filesLeft(
  files: readonly TableFile[],
  { table }: TableVersion,
  scans: readonly TableScan[],
  stats: TableStats,
): readonly TableFile[] {
  const lists = scans.map(({ filters }) => filters)
  stats.files = files.length
  return files.filter((file) => {
    const why = whyPruned(file, table, lists)
    if (why === 'partition') stats.filesPrunedByPartition++
    if (why === 'bounds') stats.filesPrunedByBounds++
    return why === undefined
  })
}

/**
 * Fields of structs are read one by one only where DuckDB does so: in one branch, from files that have the struct as it is now,
 * without masks above.
 */
function settled(
  filesReader: FilesReader,
  open: readonly OpenFile[],
  version: TableVersion,
  wanted: readonly Column[],
  scans: readonly TableScan[],
  options: Omit<SettleOptions, 'mayReadInside'>,
): readonly SettledFile[] {
  const { schemas } = version.table
  const asWritten = new Map(
    wanted
      .filter(({ fieldId }) => scans.some(({ inside }) => inside.has(fieldId)))
      .map((column) => [column.fieldId, open.every((file) => isReadAsWritten(file, schemas, column))]),
  )
  const mayReadInside = (fieldId: number) => (version.masks ?? []).length === 0 && asWritten.get(fieldId) === true
  const files = filesReader.settle(open, scans, { ...options, mayReadInside })
  if (asWritten.size === 0 || relationGroups(files, schemas, wanted).length <= 1) return files
  return filesReader.settle(open, scans, { ...options, mayReadInside: () => false })
}

/** What was needed to look for rows is needed too. */
function withLooked(
  files: readonly SettledFile[],
  looking: readonly SettledFile[],
  stats: TableStats,
): readonly SettledFile[] {
  for (const { path, needed } of looking) {
    const own = files.find((file) => file.path === path)?.needed ?? []
    stats.bytesNeeded += totalBytes(mergeRanges([...needed, ...own])) - totalBytes(own)
  }
  const holding = files.reduce((sum, { needs }) => sum + needs.kept.length, 0)
  stats.rowGroupsPrunedByRows += looking.reduce((sum, { needs }) => sum + needs.kept.length, 0) - holding
  return files
}

function countLeft(
  files: readonly SettledFile[],
  open: readonly OpenFile[],
  scans: readonly TableScan[],
  stats: TableStats,
): void {
  let byStatistics = 0
  for (const { footer, excluded } of open) {
    const left = keptRowGroups(footer, scans)
    stats.rowGroups += footer.rowGroups.length
    byStatistics += footer.rowGroups.length - left.length
    stats.rowGroupsPrunedByBloom += left.length - keptRowGroups(footer, scans, { excluded }).length
  }
  let kept = 0
  for (const { footer, needs, needed } of files) {
    kept += needs.kept.length
    stats.bytesNeeded += totalBytes(needed)
    for (const index of needs.kept) stats.rows += footer.rowGroups[index].rowCount
  }
  stats.filesPrunedByRowGroups += open.length - files.length
  // By an order and its bounds as well.
  const rest = stats.rowGroups - kept - byStatistics - stats.rowGroupsPrunedByBloom - stats.rowGroupsPrunedByRows
  stats.rowGroupsPrunedByStatistics += byStatistics + Math.max(0, rest)
}
