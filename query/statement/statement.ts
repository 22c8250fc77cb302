/**
 * Is this text one SELECT that may be run here, and which tables does it read?
 *
 * DuckDB itself parses it (`json_serialize_sql`, which takes nothing but SELECTs: also WITH, VALUES, `FROM t`, DESCRIBE,
 * SUMMARIZE, SHOW TABLES) and gives its syntax tree; this file walks the tree:
 *
 *   tables      only plain names (or `main.name`), each a table of ours or a CTE in scope, and the tables of the schemas
 *               `millrace` and `information_schema`; a file name, another schema, a system view is refused
 *   functions   table functions by an allow-list; scalar functions that tell about the server by a list of refusals
 *
 * Everything else the tree may hold is data. The engine's own walls (read-only transaction, statement type, folders,
 * locked configuration) stand behind this one. Errors: `syntax-error`, `statement-refused`, with line and column.
 */
import { positionOf, type StatementPosition } from '../../lake/engine/duckdb-error.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { HIDDEN_COLUMNS } from '../../schemas/table-schema.ts'
import {
  isSystemSchema,
  isSystemTable,
  LAKE_CATALOG,
  LAKE_SCHEMA,
  SYSTEM_SCHEMAS,
  type SystemTable,
  systemTablesOf,
} from '../system-tables/columns.ts'
import { givenNames } from './given-names.ts'
import {
  type ForeignName,
  isAnalyzed,
  STANDARD_SCHEMA,
  withEngineNames,
  withoutExplain,
  withoutShowColumns,
} from './standard-schema.ts'
import { CLOCK_NAMES, isRefusedFunction, isSystemName, TABLE_FUNCTIONS } from './statement-rules.ts'
import { type WholeTableItem, wholeTableItems } from './whole-table.ts'

export type TableReference = { readonly name: string; readonly position: StatementPosition | undefined }

export type Statement = {
  /** What the engine runs: the text, with names that only we know by those that the engine knows. */
  readonly sql: string
  readonly kind:
    | 'select'
    | 'explain'
    | 'describe'
    | 'show-tables'
    | 'show-all-tables'
    | 'show-schemas'
    | 'show-databases'
  /** Lower-case names of the tables read, each once, in order of appearance. */
  readonly tables: readonly TableReference[]
  /** Tables of the schemas `millrace` and `information_schema`, with the schema. */
  readonly systemTables: ReadonlySet<SystemTable>
  /** Names of hidden columns that the text mentions. */
  readonly hiddenColumns: ReadonlySet<string>
  /** It asks for the current time, which is not the same when it is planned and when it runs. */
  readonly usesClock: boolean
  /** Lower-case names of all functions that it calls. */
  readonly functions: ReadonlySet<string>
  /** It asks for a random sample. */
  readonly isSampled: boolean
  /** Names that it may give to columns, in lower case; undefined: any. */
  readonly givenNames: ReadonlySet<string> | undefined
  /** Its columns, when it asks for nothing but counts and extremes of a whole table. */
  readonly wholeTable?: readonly WholeTableItem[]
  /** For an EXPLAIN: the statement it is about, at its own position, and whether that is run. */
  readonly explained?: { readonly sql: string; readonly isAnalyzed: boolean }
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Node = { readonly [key: string]: Json }

/** What to ask DuckDB for the tree of a text. */
export function parseSql(text: string): string {
  return `SELECT json_serialize_sql('${text.replaceAll("'", "''")}', skip_default := true, skip_null := true, skip_empty := true) AS tree`
}

const SQL_BYTES_MAX = 1024 * 1024
const DEPTH_MAX = 2_000

/** DuckDB's lexer looks at each comment of such a run as often as there are comments before it, and nothing interrupts it. */
const SYMBOLS = /[~!@#^&|`?+\-*/%<>=]{1000,}/g
const COMMENTS_MAX = 300

/** An EXPLAIN is parsed as what it explains; blanks in its place keep all positions. */
export function prepareText(text: string): { readonly parsed: string; readonly isExplain: boolean } {
  if (Buffer.byteLength(text) > SQL_BYTES_MAX) {
    throw new MillraceError('request-too-large', `the statement is longer than ${SQL_BYTES_MAX} bytes`)
  }
  if (text.includes('\0')) throw new MillraceError('syntax-error', 'the statement holds a zero character')
  if (text.match(SYMBOLS)?.some((run) => run.split('/*').length > COMMENTS_MAX))
    throw new MillraceError(
      'request-too-large',
      `more than ${COMMENTS_MAX} comments with nothing between them; leave them out`,
    )
  const known = withoutShowColumns(text)
  const parsed = withoutExplain(known)
  return { parsed, isExplain: parsed !== known }
}

/** `tree` is what `parseSql` gave for `prepareText(text).parsed`. */
export function checkStatement(text: string, tree: string): Statement {
  const { isExplain } = prepareText(text)
  const root = JSON.parse(tree) as Node
  if (root.error === true) throw parseError(text, root)
  const statements = root.statements as readonly Node[]
  if (statements.length !== 1) {
    const found = statements.length === 0 ? 'none' : String(statements.length)
    throw new MillraceError('statement-refused', `expected one statement, found ${found}`)
  }
  const walk = createWalk(text, asNode(asNode(statements[0].node)?.from_table))
  walk.query(statements[0].node, new Set(), 0)
  const sql = withEngineNames(withoutShowColumns(text), walk.found.names)
  const wholeTable = wholeTableItems(text, statements[0].node)
  if (sql === undefined) throw new MillraceError('statement-refused', 'write qualified names without comments in them')
  return {
    sql,
    kind: isExplain ? 'explain' : walk.found.kind,
    tables: [...walk.found.tables.values()],
    systemTables: walk.found.systemTables,
    hiddenColumns: walk.found.hidden,
    usesClock: walk.found.usesClock,
    functions: walk.found.functions,
    isSampled: walk.found.isSampled,
    givenNames: givenNames(statements[0].node),
    ...(wholeTable ? { wholeTable } : {}),
    ...(isExplain ? { explained: { sql: withoutExplain(sql), isAnalyzed: isAnalyzed(sql) } } : {}),
  }
}

function parseError(text: string, root: Node): MillraceError {
  const message = String(root.error_message)
  if (/^Only SELECT|^A CTE needs a SELECT|SELECT INTO not supported/.test(message)) {
    return new MillraceError('statement-refused', 'only a SELECT can be run here')
  }
  const position = positionOf(root.position, text)
  const code = root.error_type === 'parser' || root.error_type === 'syntax' ? 'syntax-error' : 'query-invalid'
  return new MillraceError(code, message, { facts: position ? { position } : {} })
}

type Found = {
  kind: Statement['kind']
  readonly tables: Map<string, TableReference>
  readonly systemTables: Set<SystemTable>
  readonly hidden: Set<string>
  readonly names: ForeignName[]
  readonly functions: Set<string>
  usesClock: boolean
  isSampled: boolean
}

const SHOWN: Readonly<Record<string, Statement['kind']>> = {
  tables: 'show-tables',
  __show_tables: 'show-tables',
  [`tables from ${LAKE_SCHEMA}`]: 'show-tables',
  __show_tables_expanded: 'show-all-tables',
  schemas: 'show-schemas',
  databases: 'show-databases',
}

const HIDDEN_NAMES = new Set(HIDDEN_COLUMNS.map((column) => column.name))

/** `root`: what the statement itself selects from. */
function createWalk(text: string, root: Node | undefined) {
  const found: Found = {
    kind: 'select',
    tables: new Map(),
    systemTables: new Set(),
    hidden: new Set(),
    names: [],
    functions: new Set(),
    usesClock: false,
    isSampled: false,
  }

  function refuse(message: string, node: Node): never {
    const position = positionOf(node.query_location, text)
    throw new MillraceError('statement-refused', message, { facts: position ? { position } : {} })
  }

  /** A query node: its CTEs come into scope one after the other, then everything in it is walked. */
  function query(value: Json, outer: ReadonlySet<string>, depth: number): void {
    const node = asNode(value)
    if (!node) return
    if (node.sample !== undefined) found.isSampled = true
    const scope = new Set(outer)
    for (const entry of cteEntries(node)) {
      const name = String(entry.key).toLowerCase()
      const inner = asNode(asNode(entry.value)?.query)?.node ?? null
      // A recursive CTE sees itself; any other sees what stood before it.
      const isRecursive = asNode(inner)?.type === 'RECURSIVE_CTE_NODE'
      query(inner, isRecursive ? new Set([...scope, name]) : scope, depth + 1)
      walkRest(asNode(entry.value) ?? {}, scope, depth + 1, ['query'])
      scope.add(name)
    }
    if (node.type === 'RECURSIVE_CTE_NODE') scope.add(String(node.cte_name).toLowerCase())
    walkRest(node, scope, depth + 1, ['cte_map'])
  }

  function walk(value: Json, scope: ReadonlySet<string>, depth: number): void {
    if (depth > DEPTH_MAX) throw new MillraceError('statement-refused', 'the statement is nested too deeply')
    if (Array.isArray(value)) {
      for (const each of value) walk(each, scope, depth + 1)
      return
    }
    if (typeof value === 'string') {
      const name = value.toLowerCase()
      if (HIDDEN_NAMES.has(name)) found.hidden.add(name)
      if (CLOCK_NAMES.has(name)) found.usesClock = true
      return
    }
    const node = asNode(value)
    if (!node) return
    if (typeof node.type === 'string' && (node.type.endsWith('_NODE') || 'cte_map' in node)) {
      query(node, scope, depth)
      return
    }
    if (node.sample !== undefined) found.isSampled = true
    if (node.type === 'BASE_TABLE') table(node, scope)
    if (node.type === 'TABLE_FUNCTION') tableFunction(node)
    else if (node.class === 'FUNCTION') scalarFunction(node)
    if (node.class === 'WINDOW' && typeof node.function_name === 'string') scalarFunction(node)
    if (node.type === 'SHOW_REF') show(node)
    if (node.class === 'COLUMN_REF') columnReference(node)
    walkRest(node, scope, depth + 1, [])
  }

  function walkRest(node: Node, scope: ReadonlySet<string>, depth: number, without: readonly string[]): void {
    for (const [key, value] of Object.entries(node)) if (!without.includes(key)) walk(value, scope, depth)
  }

  function table(node: Node, scope: ReadonlySet<string>): void {
    const name = String(node.table_name)
    const lower = name.toLowerCase()
    const part = (value: Json | undefined) => (value === undefined ? undefined : String(value).toLowerCase())
    const [catalog, schema] = [part(node.catalog_name), part(node.schema_name)]
    const isOwn = catalog === undefined || catalog === LAKE_CATALOG
    if (isOwn && schema !== undefined && isSystemSchema(schema)) {
      const id = `${schema}.${lower}`
      if (!isSystemTable(id))
        refuse(`there is no ${schema}.${name}; there are ${systemTablesOf(schema).join(', ')}`, node)
      if (node.at_clause !== undefined) refuse(`AT is not available: ${id} tells of this moment`, node)
      foreignName(node, catalog !== undefined, schema === STANDARD_SCHEMA)
      found.systemTables.add(id)
      return
    }
    if (!isOwn || (schema !== undefined && schema !== LAKE_SCHEMA)) {
      const full = [node.catalog_name, node.schema_name, name].filter((each) => each !== undefined).join('.')
      refuse(
        `the lake's tables are in the schema ${LAKE_SCHEMA}: name ${name} with it or without one, not ${full}`,
        node,
      )
    }
    if (node.at_clause !== undefined) refuse('AT is not available: a query reads the newest version', node)
    if (isSystemName(lower)) refuse(`${name} is not a table of the lake`, node)
    if (schema === undefined && scope.has(lower)) return
    if (catalog !== undefined) foreignName(node, true, false)
    if (/[/\\.:*?[\]]/.test(name)) refuse(`files cannot be read here: ${name}`, node)
    if (!found.tables.has(lower))
      found.tables.set(lower, { name: lower, position: positionOf(node.query_location, text) })
  }

  function tableFunction(node: Node): void {
    const call = asNode(node.function)
    const name = String(call?.function_name).toLowerCase()
    const isOurs = call?.class === 'FUNCTION' && isPlainSchema(call) && TABLE_FUNCTIONS.has(name)
    if (!isOurs) refuse(`table function ${name} is not available`, node)
    found.functions.add(name)
  }

  function scalarFunction(node: Node): void {
    const name = String(node.function_name).toLowerCase()
    // A qualifier may be a column: `x.upper()` is `upper(x)`. Names are refused whatever stands in front of them.
    if (isRefusedFunction(name)) refuse(`function ${name} is not available`, node)
    found.functions.add(name)
  }

  function foreignName(node: Node, hasCatalog: boolean, isStandard: boolean): void {
    if (hasCatalog || isStandard) found.names.push({ offset: Number(node.query_location), hasCatalog, isStandard })
  }

  /** One that names its table with schema, or catalog and schema. */
  function columnReference(node: Node): void {
    const parts = ((node.column_names ?? []) as readonly Json[]).map((each) => String(each).toLowerCase())
    const hasCatalog =
      parts.length > 3 && parts[0] === LAKE_CATALOG && [LAKE_SCHEMA, ...SYSTEM_SCHEMAS].includes(parts[1])
    const [schema, table, column] = hasCatalog ? parts.slice(1) : parts
    const isStandard =
      column !== undefined && schema === STANDARD_SCHEMA && isSystemTable(`${STANDARD_SCHEMA}.${table}`)
    foreignName(node, hasCatalog, isStandard)
  }

  function show(node: Node): void {
    const isWhole = node === root
    if (node.query !== undefined) {
      if (node.show_type === 'DESCRIBE' && isWhole) found.kind = 'describe'
      return
    }
    const what = String(node.table_name ?? node.schema_name ?? '')
      .replaceAll('"', '')
      .toLowerCase()
    const kind = SHOWN[node.show_type === 'SHOW_FROM' ? `tables from ${what}` : what]
    if (kind === undefined) refuse(`SHOW ${what} is not available`, node)
    if (!isWhole) refuse(`SHOW is a statement of its own here; select from ${STANDARD_SCHEMA}.tables instead`, node)
    found.kind = kind
  }

  return { found, query }
}

/** DuckDB puts its own functions into `main` or `pg_catalog`-like schemas; a user's qualifier may only name `main`. */
function isPlainSchema(node: Node): boolean {
  return (node.schema === undefined || node.schema === 'main') && node.catalog === undefined
}

function cteEntries(node: Node): readonly { readonly key: Json; readonly value: Json }[] {
  const map = asNode(node.cte_map)?.map
  return Array.isArray(map) ? (map as unknown as readonly { key: Json; value: Json }[]) : []
}

function asNode(value: Json | undefined): Node | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : undefined
}
