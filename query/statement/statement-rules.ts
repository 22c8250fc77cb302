/**
 * Which functions a statement may call. Table functions can reach files, settings and other statements, so only those that
 * work on their arguments are let in. Scalar functions are far too many to list; refused are those that tell about the
 * server (settings, environment, paths in view definitions), change something, or run text as SQL.
 */
export const TABLE_FUNCTIONS: ReadonlySet<string> = new Set([
  'unnest',
  'range',
  'generate_series',
  'generate_subscripts',
  'json_each',
  'json_tree',
  'repeat',
  'repeat_row',
  'values',
])

const REFUSED: ReadonlySet<string> = new Set([
  'add_parquet_key',
  'current_setting',
  'currval',
  'getenv',
  'getvariable',
  'json_execute_serialized_sql',
  // Binds a text as SQL: it opens files and tells about them.
  'json_serialize_plan',
  'nextval',
  'query',
  'query_table',
  'set_config',
  'setseed',
  'txid_current',
  'which_secret',
  'write_log',
])

/** `pg_get_viewdef` would show the files behind a table; `duckdb_…` show settings, views, secrets. */
const REFUSED_START =
  /^(__internal_|pg_|duckdb_|read_|parquet_|sqlite_|sniff_|glob|arrow_|seq_scan|from_substrait|shell)/

export function isRefusedFunction(name: string): boolean {
  return REFUSED.has(name) || REFUSED_START.test(name)
}

/** Views that every DuckDB database has. */
export function isSystemName(name: string): boolean {
  return /^(pg_|duckdb_|sqlite_|pragma_|information_schema)/.test(name)
}

/** Written with or without parentheses. */
export const CLOCK_NAMES: ReadonlySet<string> = new Set([
  'age',
  'ago',
  'current_date',
  'current_localtime',
  'current_localtimestamp',
  'current_time',
  'current_timestamp',
  'get_current_time',
  'get_current_timestamp',
  'localtime',
  'localtimestamp',
  'now',
  'today',
  'transaction_timestamp',
])
