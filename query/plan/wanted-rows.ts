/**
 * The first of two steps: which rows of a table a statement of a known shape needs (`statement-shape.ts`), before columns that
 * neither filter nor order are fetched.
 *
 *   by bounds   files and row groups that cannot hold one of the first rows of an order, or an extreme, or are beyond a LIMIT
 *   by looking  the engine is asked for the rows' places, over the columns of filters and order only
 *
 * The statement itself then runs over the row groups that hold them: the same filter, order and limit give the same answer there.
 * Without a LIMIT that holds only when all places are known, so they are given up when there are too many.
 */
import type { TableVersion } from '../../lake/catalog/catalog.ts'
import type { Engine } from '../../lake/engine/engine.ts'
import { FILE_COLUMN, quoteName, ROW_COLUMN, relationSql } from '../../lake/file-mapping.ts'
import { type KnownColumn, knownOfRowGroup } from '../../lake/parquet/prune.ts'
import type { Column } from '../../schemas/table-schema.ts'
import type { OpenFile, SettledFile } from './read-files.ts'
import { rowGroupsHolding } from './row-groups.ts'
import { type AskOptions, currentSchema } from './statement-needs.ts'
import { type OrderKey, type StatementShape, treeTextSql } from './statement-shape.ts'
import { knownOf, type TableFile } from './table-files.ts'
import { partsWithTopRows } from './top-rows.ts'

/** More rows than these are read like any others. */
export const LOOKED_FOR_MAX = 2_000
const LOOKED_FOR_WITHOUT_LIMIT_MAX = 1_000

/** Files that can hold rows the statement needs, by bounds and counts alone. */
export function filesOfShape(
  files: readonly TableFile[],
  version: TableVersion,
  shape: StatementShape,
): readonly TableFile[] {
  const kept = partsOfShape(
    files.map(({ rowCount }) => rowCount),
    version,
    shape,
    (fieldId) => files.map((file) => knownOf(file, version.table.schemas, fieldId)),
  )
  return kept === undefined ? files : kept.map((index) => files[index])
}

/** Row groups likewise; undefined: all. */
export function rowGroupsOfShape(
  files: readonly OpenFile[],
  version: TableVersion,
  shape: StatementShape,
): ReadonlyMap<OpenFile, ReadonlySet<number>> | undefined {
  const groups = files.flatMap((file) =>
    file.footer.rowGroups.map(({ rowCount }, index) => ({ file, index, rowCount })),
  )
  const kept = partsOfShape(
    groups.map(({ rowCount }) => rowCount),
    version,
    shape,
    (fieldId) => groups.map(({ file, index }) => knownOfRowGroup(file.footer, index, { fieldId })),
  )
  if (kept === undefined) return undefined
  const found = new Map<OpenFile, Set<number>>(files.map((file) => [file, new Set()]))
  for (const each of kept) found.get(groups[each].file)?.add(groups[each].index)
  return found
}

function partsOfShape(
  rowCounts: readonly number[],
  version: TableVersion,
  { kind, hasFilter, rowsMax, order }: StatementShape,
  known: (fieldId: number) => readonly (KnownColumn | undefined)[],
): readonly number[] | undefined {
  if (hasFilter || (version.masks ?? []).length > 0) return undefined
  if (kind === 'first') return rowsMax === undefined ? undefined : firstParts(rowCounts, rowsMax)
  const columns = order.map((key) => columnOf(version, key))
  if (kind === 'extremes') {
    if (columns.some((column) => column === undefined)) return undefined
    const kept = columns.flatMap((column, place) =>
      partsWithTopRows(known(column!.fieldId), { ...order[place], rowsMax: 1 }),
    )
    return [...new Set(kept)].sort((a, b) => a - b)
  }
  const [first] = columns
  return first === undefined || rowsMax === undefined || rowsMax === 0
    ? undefined
    : partsWithTopRows(known(first.fieldId), { ...order[0], rowsMax })
}

function columnOf({ table }: TableVersion, { column }: OrderKey): Column | undefined {
  return currentSchema(table).columns.find(({ name }) => name.toLowerCase() === column)
}

/** As many from the front as have so many rows. */
function firstParts(rowCounts: readonly number[], rowsMax: number): readonly number[] {
  const kept: number[] = []
  let rows = 0
  for (const [index, count] of rowCounts.entries()) {
    if (rows >= rowsMax && kept.length > 0) break
    kept.push(index)
    rows += count
  }
  return kept
}

export type RowsOfFiles = ReadonlyMap<string, readonly number[]>

/** The text that asks for places; undefined when the shape does not say, or would ask for too many. */
export async function placesSql(
  engine: Engine,
  shape: StatementShape,
): Promise<{ sql: string; rowsMax: number } | undefined> {
  const rowsMax = shape.rowsMax ?? LOOKED_FOR_WITHOUT_LIMIT_MAX
  if (shape.placesTree === undefined || rowsMax > LOOKED_FOR_MAX || rowsMax === 0) return undefined
  // Without a LIMIT one more than are kept: so that it shows when there are more.
  const asked = shape.rowsMax === undefined ? rowsMax + 1 : rowsMax
  const [row] = await engine.run(treeTextSql(shape.placesTree([FILE_COLUMN, ROW_COLUMN], asked)))
  return { sql: String(row.text), rowsMax }
}

/** Rows by what DuckDB opens; undefined when there are too many. */
export async function lookForRows(
  files: readonly SettledFile[],
  version: TableVersion,
  wanted: readonly Column[],
  asked: { readonly sql: string; readonly rowsMax: number },
  options: AskOptions,
): Promise<RowsOfFiles | undefined> {
  const { table } = version
  const relation = relationSql(files, table.schemas, wanted, { withPlaces: true })
  const found = new Map<string, number[]>()
  let count = 0
  await options.engine.query(
    {
      queryId: 'rows',
      setup: [...options.sessionSetup, `CREATE TEMP VIEW ${quoteName(table.name)} AS ${relation}`],
      sql: asked.sql,
      params: options.params,
      format: 'rows',
      rowsMax: asked.rowsMax + 1,
      bytesMax: Number.MAX_SAFE_INTEGER,
      timeoutMs: options.timeoutMs,
    },
    {
      onChunk: () => {},
      onRows: (rows) => {
        count += rows.length
        for (const [file, row] of rows) {
          const list = found.get(String(file)) ?? []
          list.push(Number(row))
          found.set(String(file), list)
        }
      },
    },
    options.signal,
  )
  return count > asked.rowsMax ? undefined : found
}

/** What the second step reads: the row groups that hold these rows. */
export function onlyHolding(rows: RowsOfFiles): (file: OpenFile) => ReadonlySet<number> {
  return ({ localFile, footer }) => rowGroupsHolding(footer, rows.get(localFile) ?? [])
}
