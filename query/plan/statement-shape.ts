/**
 * Statements of a few shapes need only some rows of one table, and which ones can be told before their columns are read:
 *
 *   first      SELECT … FROM t [WHERE …] [LIMIT n [OFFSET m]]           any n + m rows that pass, or all of them when they are few
 *   top        SELECT … FROM t [WHERE …] ORDER BY … LIMIT n [OFFSET m]  the n + m rows that come first
 *   extremes   SELECT min(a), max(b) FROM t                             the rows that hold them
 *
 * `placesSql` asks for the places of those rows and reads nothing but what filters and orders. It is the statement's own tree, as
 * DuckDB gives and takes it, with other columns and a limit. Numbers go through as they are written: a long has more digits
 * than a number of JavaScript.
 *
 * No shape: a statement that reads a table twice or has a subquery, DISTINCT, grouping, a sample, a place of its own in
 * mind (a parameter among its columns, a position that is a star). Whether a function is an aggregate, a window or an unnest, a
 * tree does not tell; the plan does (`isPlainPlan`).
 */

export type OrderKey = {
  /** undefined: an expression. */
  readonly column: string | undefined
  readonly isDescending: boolean
  readonly areNullsFirst: boolean
}

export type StatementShape = {
  readonly kind: 'first' | 'top' | 'extremes'
  readonly table: string
  readonly hasFilter: boolean
  /** LIMIT and OFFSET together; undefined without a LIMIT. */
  readonly rowsMax: number | undefined
  /** For `extremes` each for itself, else one after the other. */
  readonly order: readonly OrderKey[]
  /** A tree for DuckDB; undefined for `extremes`. */
  readonly placesTree: ((columns: readonly string[], rowsMax: number) => string) | undefined
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Node = { readonly [key: string]: Json }

/** What to ask DuckDB for a statement's tree: whole, so that it takes it back. */
export function wholeTreeSql(text: string): string {
  return `SELECT json_serialize_sql('${text.replaceAll("'", "''")}') AS tree`
}

export function treeTextSql(tree: string): string {
  return `SELECT json_deserialize_sql('${tree.replaceAll("'", "''")}') AS text`
}

const PLAIN_OPERATORS = new Set(['PROJECTION', 'FILTER', 'READ_PARQUET', 'PARQUET_SCAN', 'TOP_N', 'ORDER_BY', 'LIMIT'])
const ROW_JOINS = /^(SEMI|MARK)$/

type PlanNode = {
  readonly name: string
  readonly children?: readonly PlanNode[]
  readonly extra_info?: Readonly<Record<string, unknown>>
}

/** Whether every row of the result is a row of the table: nothing is grouped, joined, counted or made more of. */
export function isPlainPlan(plan: string): boolean {
  const isPlain = (node: PlanNode): boolean => {
    const name = node.name.trim()
    const isJoin = name === 'HASH_JOIN' && ROW_JOINS.test(String(node.extra_info?.['Join Type']))
    const isKnown = PLAIN_OPERATORS.has(name) || name === 'STREAMING_LIMIT' || name === 'COLUMN_DATA_SCAN' || isJoin
    return isKnown && (node.children ?? []).every(isPlain)
  }
  return (JSON.parse(plan) as PlanNode[]).every(isPlain)
}

export function statementShape(tree: string): StatementShape | undefined {
  const root = JSON.parse(tree) as Node
  const statements = root.statements as readonly Node[] | undefined
  const node = statements?.length === 1 ? (statements[0].node as Node) : undefined
  if (!node || !isPlainSelect(node)) return undefined
  const from = node.from_table as Node
  const list = node.select_list as readonly Node[]
  const limit = modifierOf(node, 'LIMIT_MODIFIER')
  const order = modifierOf(node, 'ORDER_MODIFIER')
  const hasFilter = isThere(node.where_clause)
  const base = { table: String(from.table_name).toLowerCase(), hasFilter }
  if (!limit && !order && !hasFilter) {
    const keys = list.map(extremeOf)
    return keys.every((key) => key !== undefined)
      ? { ...base, kind: 'extremes', rowsMax: undefined, order: keys, placesTree: undefined }
      : undefined
  }
  if (order && !limit) return undefined
  const rowsMax = limit ? rowsOf(limit) : undefined
  if (limit && rowsMax === undefined) return undefined
  const sorted = order ? sortKeys(order, list) : []
  if (!sorted) return undefined
  return {
    ...base,
    kind: order ? 'top' : 'first',
    rowsMax,
    order: sorted.map(({ key }) => key),
    placesTree: hasParameter(list)
      ? undefined
      : (columns, rows) =>
          placesTree(
            tree,
            columns,
            rows,
            sorted.map(({ place }) => place),
          ),
  }
}

/** Functions that give another answer in the second step. */
const CHANGING = new Set(['random', 'uuid', 'uuidv4', 'uuidv7', 'gen_random_uuid', 'nextval', 'setseed'])
const MODIFIERS = new Set(['LIMIT_MODIFIER', 'ORDER_MODIFIER'])

function isPlainSelect(node: Node): boolean {
  const from = node.from_table as Node | null
  const modifiers = (node.modifiers ?? []) as readonly Node[]
  const isOneTable =
    from?.type === 'BASE_TABLE' &&
    !isThere(from.sample) &&
    !isThere(from.at_clause) &&
    !isThere(from.schema_name) &&
    !isThere(from.catalog_name) &&
    !isThere(from.column_name_alias)
  return (
    node.type === 'SELECT_NODE' &&
    isOneTable &&
    !isThere(node.group_expressions) &&
    !isThere(node.group_sets) &&
    !isThere(node.having) &&
    !isThere(node.qualify) &&
    !isThere(node.sample) &&
    !isThere((node.cte_map as Node | undefined)?.map) &&
    node.aggregate_handling === 'STANDARD_HANDLING' &&
    modifiers.every((modifier) => MODIFIERS.has(String(modifier.type))) &&
    new Set(modifiers.map(({ type }) => type)).size === modifiers.length &&
    !holds(
      node,
      (each) =>
        each.class === 'SUBQUERY' || each.class === 'WINDOW' || CHANGING.has(String(each.function_name).toLowerCase()),
    )
  )
}

function isThere(value: Json | undefined): boolean {
  if (value === null || value === undefined || value === '' || value === false) return false
  return !Array.isArray(value) || value.length > 0
}

function holds(value: Json | undefined, isIt: (node: Node) => boolean): boolean {
  if (Array.isArray(value)) return value.some((each) => holds(each, isIt))
  if (typeof value !== 'object' || value === null) return false
  const node = value as Node
  return isIt(node) || Object.values(node).some((each) => holds(each, isIt))
}

function hasParameter(list: readonly Node[]): boolean {
  return holds(list, (node) => node.class === 'PARAMETER')
}

function modifierOf(node: Node, type: string): Node | undefined {
  return ((node.modifiers ?? []) as readonly Node[]).find((modifier) => modifier.type === type)
}

function rowsOf(limit: Node): number | undefined {
  const rows = wholeOf(limit.limit)
  const skipped = isThere(limit.offset) ? wholeOf(limit.offset) : 0
  return rows === undefined || skipped === undefined ? undefined : rows + skipped
}

function wholeOf(expression: Json | undefined): number | undefined {
  const node = expression as Node | null | undefined
  const value = node?.class === 'CONSTANT' ? (node.value as Node).value : undefined
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined
}

function extremeOf(expression: Node): OrderKey | undefined {
  const name = String(expression.function_name).toLowerCase()
  const children = (expression.children ?? []) as readonly Node[]
  const isOne = expression.class === 'FUNCTION' && (name === 'min' || name === 'max') && children.length === 1
  const column =
    isOne && !isThere(expression.filter) && !isThere(expression.distinct) ? columnOf(children[0]) : undefined
  const isOrdered = isThere((expression.order_bys as Node | undefined)?.orders)
  if (column === undefined || isOrdered || isThere(expression.schema)) return undefined
  return { column, isDescending: name === 'max', areNullsFirst: false }
}

function columnOf(expression: Node | undefined): string | undefined {
  const names = expression?.class === 'COLUMN_REF' ? (expression.column_names as readonly string[]) : []
  return names.length === 1 ? names[0].toLowerCase() : undefined
}

/** Where the expression of a sort key stands: in the ORDER BY itself, or among the selected ones. */
type Place = { readonly order: number } | { readonly selected: number }

function sortKeys(order: Node, list: readonly Node[]): { key: OrderKey; place: Place }[] | undefined {
  const keys: { key: OrderKey; place: Place }[] = []
  for (const [index, each] of ((order.orders ?? []) as readonly Node[]).entries()) {
    const place = placeOf(each.expression as Node, index, list)
    if (!place) return undefined
    const expression = 'selected' in place ? list[place.selected] : (each.expression as Node)
    keys.push({
      key: {
        column: columnOf(expression),
        isDescending: each.type === 'DESCENDING',
        areNullsFirst: each.null_order === 'ORDER_DEFAULT_NULLS_FIRST' || each.null_order === 'NULLS FIRST',
      },
      place,
    })
  }
  return keys
}

function placeOf(expression: Node, index: number, list: readonly Node[]): Place | undefined {
  if (expression.class === 'STAR') return undefined
  const isStarFree = list.every((each) => !holds(each, (node) => node.class === 'STAR'))
  if (expression.class === 'CONSTANT') {
    const position = wholeOf(expression)
    if (position === undefined || position < 1 || position > list.length || !isStarFree) return undefined
    return { selected: position - 1 }
  }
  const name = columnOf(expression)
  const selected = list.findIndex((each) => name !== undefined && String(each.alias ?? '').toLowerCase() === name)
  if (selected >= 0) return { selected }
  // Inside of an expression a name given in the list could be meant.
  const given = new Set(list.map((each) => String(each.alias ?? '').toLowerCase()).filter((alias) => alias !== ''))
  const isGiven = holds(expression, (node) => {
    const names = node.class === 'COLUMN_REF' ? (node.column_names as readonly string[]) : []
    return names.some((each) => given.has(each.toLowerCase()))
  })
  return isGiven ? undefined : { order: index }
}

type RawJson = typeof JSON & { rawJSON(text: string): unknown }

function placesTree(tree: string, columns: readonly string[], rowsMax: number, places: readonly Place[]): string {
  type Tree = { [key: string]: unknown }
  const keepDigits = (_: string, value: unknown, context?: { readonly source?: string }): unknown =>
    typeof value === 'number' && context?.source !== undefined ? (JSON as RawJson).rawJSON(context.source) : value
  const root = JSON.parse(tree, keepDigits as (key: string, value: unknown) => unknown) as Tree
  const node = (root.statements as Tree[])[0].node as Tree
  const list = node.select_list as Tree[]
  const modifiers = ((node.modifiers ?? []) as Tree[]).filter(({ type }) => type === 'ORDER_MODIFIER')
  for (const order of modifiers) {
    for (const [index, each] of (order.orders as Tree[]).entries()) {
      const place = places[index]
      if ('selected' in place) each.expression = { ...list[place.selected], alias: '' }
    }
  }
  const constant = {
    class: 'CONSTANT',
    type: 'VALUE_CONSTANT',
    alias: '',
    query_location: 0,
    value: { type: { id: 'BIGINT', type_info: null }, is_null: false, value: rowsMax },
  }
  node.modifiers = [...modifiers, { type: 'LIMIT_MODIFIER', limit: constant, offset: null }]
  node.select_list = columns.map((name) => ({
    class: 'COLUMN_REF',
    type: 'COLUMN_REF',
    alias: '',
    query_location: 0,
    column_names: [name],
  }))
  return JSON.stringify(root)
}
