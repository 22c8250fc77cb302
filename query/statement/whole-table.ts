/**
 * `SELECT count(*), count(a), min(b), max(c) FROM t [WHERE true]`: what of a statement may be answered by what is known of a table's
 * files, without reading them. Read from the statement's tree; anything more than that (a filter, a group, DISTINCT, a sample,
 * a CTE, an expression) is no such statement.
 *
 * A column of the result without a name has the one that DuckDB makes of the expression. It is made here only of simple names that
 * were written without quotes; words of the language, which DuckDB prints in quotes, are left to who knows them (`words`).
 */

export type WholeTableItem = {
  readonly kind: 'rows' | 'values' | 'min' | 'max'
  /** In lower case; undefined for `rows`. */
  readonly column: string | undefined
  /** Of the result's column. */
  readonly name: string
  /** In lower case, those in the name that DuckDB would quote if they were words of its language. */
  readonly words: readonly string[]
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Node = { readonly [key: string]: Json }

const SELECT_KEYS = new Set([
  'type',
  'select_list',
  'from_table',
  'where_clause',
  'aggregate_handling',
  'query_location',
])
const FROM_KEYS = new Set(['type', 'query_location', 'table_name', 'alias', 'schema_name'])
const CALL_KEYS = new Set(['class', 'type', 'alias', 'query_location', 'function_name', 'children', 'order_bys'])
const COLUMN_KEYS = new Set(['class', 'type', 'query_location', 'column_names'])
const SIMPLE = /^[A-Za-z_][A-Za-z0-9_]*$/
const ITEMS_MAX = 200

/** `node`: the statement's own, of a tree without defaults. */
export function wholeTableItems(text: string, node: unknown): readonly WholeTableItem[] | undefined {
  if (!isNode(node) || node.type !== 'SELECT_NODE' || !hasOnly(node, SELECT_KEYS)) return undefined
  const { from_table: from, select_list: list, where_clause: where } = node
  if (!isNode(from) || from.type !== 'BASE_TABLE' || !hasOnly(from, FROM_KEYS)) return undefined
  if (node.aggregate_handling !== 'STANDARD_HANDLING' || !(where === undefined || isTrue(where))) return undefined
  if (!Array.isArray(list) || list.length === 0 || list.length > ITEMS_MAX) return undefined
  const table = String(from.alias ?? from.table_name).toLowerCase()
  const items = list.map((each) => itemOf(text, each, table))
  return items.every((each) => each !== undefined) ? items : undefined
}

function itemOf(text: string, call: Json, table: string): WholeTableItem | undefined {
  if (!isNode(call) || call.class !== 'FUNCTION' || !hasOnly(call, CALL_KEYS)) return undefined
  const order = call.order_bys
  if (order !== undefined && !(isNode(order) && hasOnly(order, new Set(['type'])))) return undefined
  const name = String(call.function_name)
  const given = call.alias === undefined ? undefined : String(call.alias)
  const args = (call.children ?? []) as readonly Json[]
  if (name === 'count_star' && args.length === 0)
    return { kind: 'rows', column: undefined, name: given ?? 'count_star()', words: [] }
  const kind = name === 'count' ? 'values' : name === 'min' || name === 'max' ? name : undefined
  const [column] = args
  if (!kind || args.length !== 1 || !isNode(column)) return undefined
  if (column.class !== 'COLUMN_REF' || !hasOnly(column, COLUMN_KEYS)) return undefined
  const names = column.column_names as readonly string[]
  if (names.length > 2 || (names.length === 2 && names[0].toLowerCase() !== table)) return undefined
  const written = names.join('.')
  const at = Number(column.query_location)
  // A place is in bytes.
  const isPlain = names.every((each) => SIMPLE.test(each)) && isAscii(text) && text.startsWith(written, at)
  if (given === undefined && !isPlain) return undefined
  const lower = names.map((each) => each.toLowerCase())
  return { kind, column: lower.at(-1), name: given ?? `${name}(${written})`, words: given === undefined ? lower : [] }
}

/** What the parser makes of `true`. */
function isTrue(where: Json): boolean {
  if (!isNode(where) || where.type !== 'OPERATOR_CAST' || !isNode(where.child)) return false
  const value = where.child.value
  const to = where.cast_type
  return isNode(value) && value.value === 't' && isNode(to) && to.id === 'BOOLEAN' && where.child.class === 'CONSTANT'
}

function isAscii(text: string): boolean {
  return Buffer.byteLength(text) === text.length
}

function hasOnly(node: Node, keys: ReadonlySet<string>): boolean {
  return Object.keys(node).every((key) => keys.has(key))
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
