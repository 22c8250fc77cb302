/**
 * What a statement needs of each table, read from DuckDB's plan over stubs (`stubs.ts`): `EXPLAIN (FORMAT JSON)` gives one
 * READ_PARQUET node per scan with the columns it reads and the filters it applies while reading; what is too much for a scan
 * stands in FILTER nodes above it.
 *
 * A stub's columns are called `t<table id>_c<field id>`, so every such name in a plan tells table and column, whatever the
 * statement calls them. Plan text can be trusted only so far, hence:
 *  - columns: every name in a scan's projections or filters is needed (too many does no harm). Of a struct only the fields that
 *    are named, when all are found in its type
 *  - filters: taken only when read without doubt; what is not understood excludes nothing
 *  - names of the statement's own (a FILTER may print `ts` in place of `t3_c18`): taken for the column so called only when the
 *    statement gives no such name itself and no struct has a field so called
 *  - a scan without any name (count(*)) could be of any table when there are several: then no table's rows are excluded
 */

import { mayTellPlaces } from '../../lake/file-mapping.ts'
import { type ColumnFilter, type PlainFilter, plainFilters } from '../../lake/parquet/prune.ts'
import { type ColumnType, childFields, type Field, fieldsWithin, isNested } from '../../schemas/column-type.ts'
import { type FindField, filterOf } from './expression-filter.ts'
import { isPlainInPlan, readFilters } from './filter-text.ts'
import { parseExpression } from './plan-expression.ts'
import { isSymbol, isWord, splitAt, tokenize } from './plan-text.ts'

/** One scan of one table. */
export type TableScan = {
  /** Field ids of the table's columns whose chunks are read. */
  readonly columns: ReadonlySet<number>
  /** Of these structs only the fields so placed: names from the column's own field down. */
  readonly inside: ReadonlyMap<number, readonly (readonly string[])[]>
  /** Field ids compared for equality: DuckDB looks at their bloom filters. */
  readonly bloomColumns: ReadonlySet<number>
  /** Joined by AND: rows that do not pass are not needed, and DuckDB itself skips row groups where it is so. */
  readonly engineFilters: readonly ColumnFilter[]
  /** Joined by AND: rows that do not pass are not needed. */
  readonly filters: readonly ColumnFilter[]
}

export type ScanNeeds = { readonly scans: readonly TableScan[] }

type PlanNode = {
  readonly name: string
  readonly children?: readonly PlanNode[]
  readonly extra_info?: Readonly<Record<string, unknown>>
}

export type StubTable = { readonly tableId: number; readonly columns: readonly Field[] }

export type PlanReading = {
  /** The statement asks for the current time. */
  readonly usesClock?: boolean
  /** Names that the statement gives, in lower case; undefined: any. */
  readonly givenNames?: ReadonlySet<string>
}

type FoundScan = {
  readonly node: PlanNode
  readonly above: readonly string[]
  /** It reads further columns of rows that this one finds (DuckDB's late materialisation). */
  readonly rowsOf?: PlanNode | undefined
}

/** By table id. `plan` is the text of EXPLAIN (FORMAT JSON). */
export function scanNeeds(
  plan: string,
  tables: readonly StubTable[],
  reading: PlanReading = {},
): ReadonlyMap<number, ScanNeeds> {
  const found: FoundScan[] = []
  for (const root of JSON.parse(plan) as PlanNode[]) collectScans(root, [], found)
  const scansOf = new Map<number, TableScan[]>(tables.map(({ tableId }) => [tableId, []]))
  const strays = new Map<number, Set<number>>()
  let hasNamelessScan = false
  for (const { node, above, rowsOf } of found) {
    const projections = listOf(node.extra_info?.Projections)
    const filterText = listOf(node.extra_info?.Filters).join('\n')
    const names = namesIn([...projections, filterText, ...above].join('\n'))
    const own = [...namesIn(projections.join('\n')), ...namesIn(withoutTexts(filterText))].find(({ tableId }) =>
      scansOf.has(tableId),
    )
    const table = own
      ? tables.find(({ tableId }) => tableId === own.tableId)
      : tables.length === 1
        ? tables[0]
        : undefined
    if (!table) {
      hasNamelessScan = true
      continue
    }
    // A text literal may look like another table's column; needing it then is harmless.
    for (const { tableId, fieldId } of names) {
      if (tableId !== table.tableId) strays.set(tableId, (strays.get(tableId) ?? new Set()).add(fieldId))
    }
    const scan = scanOf(table, projections, filterText, above, reading)
    const finding = mayTellPlaces([table]) ? found.find((each) => each.node === rowsOf) : undefined
    const filters =
      finding && filtersOf(table, listOf(finding.node.extra_info?.Filters).join('\n'), finding.above, reading)
    scansOf.get(table.tableId)?.push(filters ? { ...scan, filters } : scan)
  }
  return new Map(
    [...scansOf].map(([tableId, scans]) => {
      const stray = strays.get(tableId)
      const all = stray ? [...scans, unfiltered(stray)] : scans
      return [tableId, { scans: hasNamelessScan || all.length === 0 ? [...all, unfiltered(new Set())] : all }]
    }),
  )
}

function scanOf(
  table: StubTable,
  projections: readonly string[],
  filterText: string,
  above: readonly string[],
  reading: PlanReading,
): TableScan {
  const { tableId } = table
  const columns = new Set<number>()
  for (const name of namesIn([...projections, filterText, ...above].join('\n'))) {
    if (name.tableId === tableId) columns.add(name.fieldId)
  }
  const nested = table.columns.filter(({ fieldId, type }) => columns.has(fieldId) && isNested(type))
  const isSimple = hasSimpleNames(nested)
  const filters = filtersOf(table, filterText, above, reading)
  const bloomColumns = new Set<number>()
  for (const filter of plainFilters(filters)) {
    if ((filter.op === '=' || filter.op === 'in') && filter.fieldId !== undefined) bloomColumns.add(filter.fieldId)
  }
  // What of a nested column could not be read may be an equality all the same.
  if (filterText !== '') for (const field of nested) for (const id of idsWithin(field)) bloomColumns.add(id)
  return {
    columns,
    inside: insideOf(nested, tableId, projections, isSimple ? filterText : undefined),
    bloomColumns,
    engineFilters: engineFiltersOf(table, filterText, reading),
    filters,
  }
}

function hasSimpleNames(nested: readonly Field[]): boolean {
  return nested.every(({ type }) => namesInside(type).every((name) => SIMPLE_NAME.test(name)))
}

function nestedIn(table: StubTable, texts: readonly string[]): readonly Field[] {
  const ids = new Set(namesIn(texts.join('\n')).map(({ fieldId }) => fieldId))
  return table.columns.filter(({ fieldId, type }) => ids.has(fieldId) && isNested(type))
}

/** Simple comparisons, that DuckDB skips row groups by. */
function plainFiltersOf(table: StubTable, filterText: string, reading: PlanReading): ColumnFilter[] {
  const nested = nestedIn(table, [filterText])
  if (!nested.every(({ type }) => namesInside(type).every(isPlainInPlan))) return []
  const typeOf = (id: number) => table.columns.find(({ fieldId }) => fieldId === id)?.type
  return readFilters(filterText, table.tableId, typeOf).filter((filter) => !reading.usesClock || holdsLater(filter))
}

function engineFiltersOf(table: StubTable, filterText: string, reading: PlanReading): readonly ColumnFilter[] {
  return plainFiltersOf(table, filterText, reading).filter(isSkippedByEngine)
}

function filtersOf(
  table: StubTable,
  filterText: string,
  above: readonly string[],
  reading: PlanReading,
): readonly ColumnFilter[] {
  const texts = [filterText, ...above]
  const more = hasSimpleNames(nestedIn(table, texts)) ? texts.flatMap((text) => filtersIn(text, table, reading)) : []
  const holding = more.filter((filter) => !reading.usesClock || holdsLater(filter))
  return [...plainFiltersOf(table, filterText, reading), ...holding]
}

/**
 * DuckDB 1.5.6 skips row groups by comparisons with one constant for sure; by IN and IS NULL it does with some other filters beside
 * them and not with others; and it reads no bounds of UUIDs.
 */
function isSkippedByEngine(filter: ColumnFilter): boolean {
  const isComparison = ['=', '<', '<=', '>', '>='].includes(filter.op)
  return isComparison && 'type' in filter && filter.type.kind !== 'uuid'
}

function unfiltered(columns: ReadonlySet<number>): TableScan {
  return { columns, inside: new Map(), bloomColumns: columns, engineFilters: [], filters: [] }
}

/** A field's name that is one token of a plan, and none that means something there. */
const SIMPLE_NAME = /^(?!(?:AND|OR|NOT|IS|IN|AS|CASE|WHEN|THEN|ELSE|END|BETWEEN)$)[A-Za-z_][A-Za-z0-9_]*$/

function filtersIn(text: string, table: StubTable, { givenNames }: PlanReading): ColumnFilter[] {
  const tokens = tokenize(text)
  if (!tokens) return []
  const find: FindField = (name, path) => {
    const stub = /^t(\d+)_c(\d+)$/.exec(name)
    if (stub && Number(stub[1]) !== table.tableId) return undefined
    const column = stub
      ? table.columns.find(({ fieldId }) => fieldId === Number(stub[2]))
      : isOwnName(name, table, givenNames)
        ? table.columns.find((each) => each.name === name)
        : undefined
    const field = column && fieldAt(column, path)
    return field && !isNested(field.type)
      ? { fieldId: field.fieldId, type: field.type, isInside: path.length > 0 }
      : undefined
  }
  return splitAt(tokens, (token) => token.kind === 'line').flatMap((line) => {
    const plain = isWord(line[0], 'optional') && isSymbol(line[1], ':') ? line.slice(2) : line
    const filter = filterOf(parseExpression(plain), find)
    return filter === undefined ? [] : [filter]
  })
}

/** Nobody but the table can have given the name. */
function isOwnName(name: string, table: StubTable, givenNames: ReadonlySet<string> | undefined): boolean {
  if (givenNames === undefined || givenNames.has(name.toLowerCase())) return false
  return !table.columns.some(({ type }) =>
    namesInside(type).some((inside) => inside.toLowerCase() === name.toLowerCase()),
  )
}

function fieldAt(column: Field, path: readonly string[]): Field | undefined {
  let field: Field | undefined = column
  for (const name of path) {
    field = field?.type.kind === 'struct' ? field.type.fields.find((each) => each.name === name) : undefined
  }
  return field
}

/** Structs of which only some fields are read; `filterText` undefined: nobody knows what else is. */
function insideOf(
  nested: readonly Field[],
  tableId: number,
  projections: readonly string[],
  filterText: string | undefined,
): ReadonlyMap<number, readonly (readonly string[])[]> {
  const inside = new Map<number, readonly (readonly string[])[]>()
  if (filterText === undefined) return inside
  for (const column of nested) {
    const name = `t${tableId}_c${column.fieldId}`
    const mentions = [...projections, ...(filterText === '' ? [] : mentionsIn(filterText, name))].filter(
      (text) => text === name || text.startsWith(`${name}.`),
    )
    const paths = mentions.map((text) => text.split('.').slice(1))
    const isPartial = paths.every((path) => path.length > 0 && fieldAt(column, path) !== undefined)
    if (paths.length > 0 && isPartial) inside.set(column.fieldId, paths)
  }
  return inside
}

/** `t3_c19.city` where the text has that, `t3_c19` where it stands alone. */
function mentionsIn(text: string, name: string): string[] {
  return [...text.matchAll(new RegExp(`\\b${name}\\b((?:\\.[A-Za-z_][A-Za-z0-9_]*)*)`, 'g'))].map(([all]) => all)
}

/**
 * The statement runs a moment after its plan was made: a lower bound made of the current time lets through more now than
 * then, anything else made of it may not. Texts and the like are not made of it.
 */
function holdsLater(filter: ColumnFilter): boolean {
  return plainFilters([filter]).every((plain: PlainFilter) => {
    if (plain.op === '>' || plain.op === '>=' || plain.op === 'is null' || plain.op === 'is not null') return true
    return ['string', 'uuid', 'boolean', 'json'].includes(plain.type.kind)
  })
}

/** When there is no plan to read: all columns, all rows. */
export function needsEverything(fieldIds: readonly number[]): ScanNeeds {
  return { scans: [unfiltered(new Set(fieldIds))] }
}

function namesInside(type: ColumnType): readonly string[] {
  return childFields(type).flatMap((field) => [...fieldsWithin(field)].map(({ name }) => name))
}

function idsWithin(field: Field): readonly number[] {
  return [...fieldsWithin(field)].map(({ fieldId }) => fieldId)
}

function namesIn(text: string): { readonly tableId: number; readonly fieldId: number }[] {
  return [...text.matchAll(/\bt(\d+)_c(\d+)\b/g)].map(([, table, field]) => ({
    tableId: Number(table),
    fieldId: Number(field),
  }))
}

function withoutTexts(text: string): string {
  return text.replaceAll(/'(?:[^']|'')*'/g, '')
}

/** `above`: what the FILTER nodes over a scan say, as long as nothing but projections lies between. */
function collectScans(node: PlanNode, above: readonly string[], found: FoundScan[], rowsOf?: PlanNode): void {
  if (/PARQUET/i.test(node.name)) found.push({ node, above, rowsOf })
  const expression = node.extra_info?.Expression
  const own = node.name === 'FILTER' && typeof expression === 'string' ? [expression] : []
  const passed = node.name === 'FILTER' || node.name === 'PROJECTION' ? [...above, ...own] : []
  const [first, second] = node.children ?? []
  const finding = second !== undefined && isOfRows(node) ? onlyScan(second) : undefined
  for (const child of node.children ?? []) {
    const isFirst = child === first
    collectScans(
      child,
      isFirst ? passed : [],
      found,
      isFirst ? (finding ?? (own.length > 0 ? undefined : rowsOf)) : undefined,
    )
  }
}

const SAME_ROWS = ['file_index = file_index', 'file_row_number = file_row_number']

function isOfRows({ name, extra_info: info }: PlanNode): boolean {
  const conditions = listOf(info?.Conditions)
  return name === 'HASH_JOIN' && info?.['Join Type'] === 'SEMI' && SAME_ROWS.every((each, n) => conditions[n] === each)
}

function onlyScan(node: PlanNode): PlanNode | undefined {
  const found: FoundScan[] = []
  collectScans(node, [], found)
  return found.length === 1 ? found[0].node : undefined
}

/** A text, or a list that DuckDB made by cutting the text at line feeds, also at those inside of literals. */
function listOf(value: unknown): readonly string[] {
  if (Array.isArray(value)) return value.map(String)
  return typeof value === 'string' && value !== '' ? [value] : []
}
