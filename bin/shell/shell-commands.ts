/**
 * The commands that begin with a backslash: their names, what they say of themselves, and the statements behind those that ask
 * the service. Pure; `session.ts` does what they say.
 */
export type CommandName =
  | 'describe'
  | 'system'
  | 'schemas'
  | 'catalogs'
  | 'timing'
  | 'expanded'
  | 'format'
  | 'limit'
  | 'output'
  | 'include'
  | 'watch'
  | 'go'
  | 'go-expanded'
  | 'set'
  | 'unset'
  | 'print'
  | 'reset'
  | 'echo'
  | 'connection'
  | 'help'
  | 'quit'

type Command = { readonly name: CommandName; readonly spellings: readonly string[]; readonly help: string }

export const COMMANDS: readonly Command[] = [
  {
    name: 'describe',
    spellings: ['\\d', '\\dt'],
    help: '\\d [table]       tables; columns of one, how it is sorted and partitioned',
  },
  { name: 'system', spellings: ['\\dS', '\\dv'], help: '\\dS              tables that tell about the lake' },
  { name: 'schemas', spellings: ['\\dn'], help: '\\dn              schemas' },
  { name: 'catalogs', spellings: ['\\l'], help: '\\l               catalogs' },
  { name: 'timing', spellings: ['\\timing'], help: '\\timing [on|off] how long each statement takes' },
  { name: 'expanded', spellings: ['\\x'], help: '\\x [on|off]      a block for each row' },
  {
    name: 'format',
    spellings: ['\\f', '\\format'],
    help: '\\f [format]      table, csv, tsv, json, jsonl, arrow, parquet',
  },
  { name: 'limit', spellings: ['\\limit'], help: '\\limit [rows]    rows of a table at most; 0: all' },
  { name: 'output', spellings: ['\\o'], help: '\\o [file]        answers into a file; without one, here again' },
  { name: 'include', spellings: ['\\i'], help: '\\i file          run the statements of a file' },
  {
    name: 'watch',
    spellings: ['\\watch'],
    help: '\\watch [seconds] run the statement again and again until Ctrl-C (2)',
  },
  { name: 'go', spellings: ['\\g'], help: '\\g [file]        run the statement, its answer into a file' },
  { name: 'go-expanded', spellings: ['\\gx'], help: '\\gx              run it, a block for each row' },
  { name: 'set', spellings: ['\\set'], help: '\\set [name value] a parameter: $name in statements' },
  { name: 'unset', spellings: ['\\unset'], help: '\\unset name      no longer' },
  { name: 'print', spellings: ['\\p'], help: '\\p               the statement so far' },
  { name: 'reset', spellings: ['\\r'], help: '\\r               forget the statement so far' },
  { name: 'echo', spellings: ['\\echo'], help: '\\echo text       print it' },
  { name: 'connection', spellings: ['\\conninfo', '\\c'], help: '\\conninfo        which service is asked' },
  { name: 'help', spellings: ['\\?', '\\h', '\\help'], help: '\\?               this' },
  { name: 'quit', spellings: ['\\q', '\\quit', '\\exit'], help: '\\q               leave; Ctrl-D too' },
]

export const FORMATS: readonly string[] = ['table', 'csv', 'tsv', 'json', 'jsonl', 'arrow', 'parquet']

export const SPELLINGS: readonly string[] = COMMANDS.flatMap(({ spellings }) => spellings)

export type ParsedCommand = { readonly name: CommandName; readonly argument: string; readonly spelling: string }

/** undefined: there is no such command. A plus or an `S` behind `\d…` is taken and means nothing more. */
export function parseCommand(text: string): ParsedCommand | undefined {
  const [, spelling, rest] = /^(\\\S*)\s*([\s\S]*)$/.exec(text) ?? []
  if (spelling === undefined) return undefined
  const argument = rest.trim().replace(/;$/, '').trim()
  const bare = spelling.replace(/\+$/, '')
  const command = COMMANDS.find(({ spellings }) => spellings.includes(spelling) || spellings.includes(bare))
  return command && { name: command.name, argument: plainArgument(argument), spelling }
}

/** `'a file'` without its quotes. */
function plainArgument(argument: string): string {
  const quoted = /^'((?:[^']|'')*)'$/.exec(argument)
  return quoted ? quoted[1].replaceAll("''", "'") : argument
}

export const HELP = `${COMMANDS.map(({ help }) => help).join('\n')}

A statement ends with a semicolon. Ctrl-C stops the running statement, or forgets the one being typed. Tab completes.
`

/** `on`, `off`, or the other one. */
export function switched(before: boolean, argument: string): boolean | undefined {
  if (argument === '') return !before
  if (/^(on|true|1)$/i.test(argument)) return true
  return /^(off|false|0)$/i.test(argument) ? false : undefined
}

export const LIST_TABLES = `SELECT table_name AS name, rows, bytes, files, freshness_ms, array_to_string(partitioning, ', ') AS partitioning,
  array_to_string(sort_order, ', ') AS sort_order FROM millrace.tables ORDER BY table_name`

export const LIST_SYSTEM_TABLES = `SELECT table_schema AS schema, table_name AS name FROM information_schema.tables
  WHERE table_schema <> 'main' ORDER BY table_schema DESC, table_name`

/** Every name that can be completed. */
export const LIST_COLUMNS = `SELECT table_schema, table_name, list(column_name ORDER BY ordinal_position)
  FROM information_schema.columns GROUP BY ALL ORDER BY ALL`

export type TableName = { readonly schema: string; readonly name: string }

/** `flights`, `main.flights`, `"odd name"`, `millrace.files`. */
export function parseTableName(text: string): TableName | undefined {
  const part = String.raw`("(?:[^"]|"")*"|[^\s".]+)`
  const found = new RegExp(`^(?:${part}\\.)?${part}$`).exec(text)
  if (!found) return undefined
  const plain = (each: string) => (each.startsWith('"') ? each.slice(1, -1).replaceAll('""', '"') : each).toLowerCase()
  return { schema: found[1] === undefined ? 'main' : plain(found[1]), name: plain(found[2]) }
}

/** With `$name`. */
export const COLUMNS_OF = `SELECT column_name AS "column", sql_type AS type, CASE WHEN required THEN 'not null' ELSE '' END AS required,
  concat_ws(', ', CASE WHEN sort_position IS NOT NULL THEN 'sort ' || sort_position END,
    CASE WHEN len(partitioning) > 0 THEN 'partition' END, CASE WHEN hidden THEN 'hidden' END) AS key
  FROM millrace.columns WHERE table_name = $name ORDER BY ordinal`

export const FACTS_OF = `SELECT rows, bytes, files, segments_live, version, freshness_ms, array_to_string(partitioning, ', '),
  array_to_string(sort_order, ', '), location FROM millrace.tables WHERE table_name = $name`
