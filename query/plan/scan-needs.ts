/**
 * What a statement needs of each table, read from DuckDB's plan over stubs (`stubs.ts`): `EXPLAIN (FORMAT JSON)` gives one
 * READ_PARQUET node per scan with the columns it reads and the filters it applies while reading.
 *
 * A stub's columns are called `t<table id>_c<field id>`, so every name in a plan tells table and column, whatever the
 * statement calls them. Plan text can be trusted only so far, hence:
 *  - columns: every name in a scan's projections or filters is needed (too many does no harm);
 *  - filters: taken only when read without doubt (see `readFilters`); what is not understood excludes nothing;
 *  - a scan without any name (count(*)) could be of any table: then no table's rows are excluded.
 */

import type { ColumnFilter } from '../../lake/parquet/prune.ts'
import { type ColumnType, childFields, fieldsWithin, isNested } from '../../schemas/column-type.ts'
import { isPlainInPlan, readFilters } from './filter-text.ts'

export type ScanNeeds = {
  /** Field ids whose column chunks are read. */
  readonly columns: ReadonlySet<number>
  /** Field ids compared for equality: DuckDB looks at their bloom filters. */
  readonly bloomColumns: ReadonlySet<number>
  /**
   * One list of filters (joined by AND) per scan; a row is needed when one of the lists lets it through. Undefined: every row.
   */
  readonly filters: readonly (readonly ColumnFilter[])[] | undefined
}

type PlanNode = {
  readonly name: string
  readonly children?: readonly PlanNode[]
  readonly extra_info?: Readonly<Record<string, unknown>>
}

export type TypeOfField = (tableId: number, fieldId: number) => ColumnType | undefined

/** By table id. `plan` is the text of EXPLAIN (FORMAT JSON). */
export function scanNeeds(
  plan: string,
  tableIds: readonly number[],
  typeOf: TypeOfField,
  usesClock = false,
): ReadonlyMap<number, ScanNeeds> {
  const scans: PlanNode[] = []
  for (const root of JSON.parse(plan) as PlanNode[]) collectScans(root, scans)
  const needs = new Map(
    tableIds.map((id) => [
      id,
      { columns: new Set<number>(), bloomColumns: new Set<number>(), filters: [] as ColumnFilter[][] },
    ]),
  )
  let hasNamelessScan = false
  for (const scan of scans) {
    const projections = textOf(scan.extra_info?.Projections)
    const filterText = textOf(scan.extra_info?.Filters)
    const names = [...`${projections}\n${filterText}`.matchAll(/\bt(\d+)_c(\d+)\b/g)]
    const tableId = Number(names[0]?.[1] ?? Number.NaN)
    const need = needs.get(tableId)
    if (!need) {
      hasNamelessScan = true
      continue
    }
    for (const [, table, field] of names) {
      // A text literal may look like another table's column; needing it then is harmless.
      needs.get(Number(table))?.columns.add(Number(field))
    }
    const nested = names
      .filter(([, table]) => Number(table) === tableId)
      .map(([, , field]) => ({ fieldId: Number(field), type: typeOf(tableId, Number(field)) }))
      .filter(({ type }) => type !== undefined && isNested(type))
    const isReadable = nested.every(({ type }) => namesInside(type!).every(isPlainInPlan))
    const all = isReadable ? readFilters(filterText, tableId, (fieldId) => typeOf(tableId, fieldId)) : []
    const filters = usesClock ? all.filter(holdsLater) : all
    need.filters.push(filters)
    for (const filter of filters) {
      if ((filter.op === '=' || filter.op === 'in') && filter.fieldId !== undefined)
        need.bloomColumns.add(filter.fieldId)
    }
    // Of a field of a struct nothing is read from the filter, but DuckDB may look.
    if (filterText !== '') for (const { fieldId } of nested) need.bloomColumns.add(fieldId)
  }
  return new Map(
    [...needs].map(([id, { columns, bloomColumns, filters }]) => {
      const excludesNothing = hasNamelessScan || filters.length === 0 || filters.some((each) => each.length === 0)
      return [id, { columns, bloomColumns, filters: excludesNothing ? undefined : filters }]
    }),
  )
}

/**
 * The statement runs a moment after its plan was made: a lower bound made of the current time lets through more now than
 * then, anything else made of it may not. Texts and the like are not made of it.
 */
function holdsLater(filter: ColumnFilter): boolean {
  if (filter.op === '>' || filter.op === '>=' || filter.op === 'is null' || filter.op === 'is not null') return true
  return ['string', 'uuid', 'boolean', 'json'].includes(filter.type.kind)
}

/** When there is no plan to read: all columns, all rows. */
export function needsEverything(fieldIds: readonly number[]): ScanNeeds {
  const columns = new Set(fieldIds)
  return { columns, bloomColumns: columns, filters: undefined }
}

function namesInside(type: ColumnType): readonly string[] {
  return childFields(type).flatMap((field) => [...fieldsWithin(field)].map(({ name }) => name))
}

function collectScans(node: PlanNode, scans: PlanNode[]): void {
  if (/PARQUET/i.test(node.name)) scans.push(node)
  for (const child of node.children ?? []) collectScans(child, scans)
}

/** A text, or a list that DuckDB made by cutting the text at line feeds, also at those inside of literals. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join('\n')
  return typeof value === 'string' ? value : ''
}
