/**
 * Rows as text made by DuckDB itself, for large results: a statement around the user's that gives one text a row, exactly as
 * `result-text.ts` would write it, ten times faster and beside the engine's thread for JavaScript.
 *
 * DuckDB writes most values as we do. Where it does not (a double beyond 10^15 or below 10^-4, NaN, a date before year 1 or
 * after 9999, a text with control characters) the row's value goes through a function of ours, which calls the same code as
 * the other way (`registerTextFunctions`). A result with a column of another type has no such statement.
 */
import {
  DATE,
  DOUBLE,
  type DuckDBConnection,
  DuckDBScalarFunction,
  type DuckDBType,
  DuckDBTypeId,
  TIMESTAMP,
  TIMESTAMPTZ,
  VARCHAR,
} from '@duckdb/node-api'
import { columnText, isBareJson } from './value-text.ts'

export type TextFormat = 'json' | 'jsonl' | 'csv'

const FUNCTION = 'millrace_row_text'

/** What JavaScript's `trim` takes away; `csvCell` quotes such texts. */
const BLANKS =
  '\\t\\n\\v\\f\\r \\x{00a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}\\x{feff}'
const CSV_QUOTED = `[",\\r\\n]|^[${BLANKS}]|[${BLANKS}]$`
/** Those that DuckDB escapes in other letters than JSON.stringify. */
const JSON_OTHERWISE = '[\\x00-\\x07\\x0b\\x0e-\\x1f]'

/** undefined: some type is not written alike. */
export function textSql(
  format: TextFormat,
  sql: string,
  types: readonly DuckDBType[],
  names: readonly string[],
  wideNumbers: boolean,
): string | undefined {
  const cells: string[] = []
  for (const [index, type] of types.entries()) {
    const cell = format === 'csv' ? csvSql(type, `c${index}`) : jsonSql(type, `c${index}`, wideNumbers)
    if (cell === undefined) return undefined
    cells.push(cell)
  }
  const [start, between, end] = PUNCTUATION[format](names)
  const parts = cells.flatMap((cell, index) => [literal(index === 0 ? start : between(index)), cell])
  const columns = cells.map((_, index) => `c${index}`).join(', ')
  return `SELECT concat(${[...parts, literal(end)].join(', ')}) FROM (\n${sql.replace(/;\s*$/, '')}\n) AS r(${columns})`
}

type Punctuation = readonly [start: string, between: (index: number) => string, end: string]

const PUNCTUATION: Readonly<Record<TextFormat, (names: readonly string[]) => Punctuation>> = {
  // The first row's comma is cut off.
  json: () => [',\n[', () => ',', ']'],
  jsonl: (names) => [`{${JSON.stringify(names[0])}:`, (index) => `,${JSON.stringify(names[index])}:`, '}\n'],
  csv: () => ['', () => ',', '\r\n'],
}

function jsonSql(type: DuckDBType, column: string, wideNumbers: boolean): string | undefined {
  const { kind } = columnText(type, wideNumbers)
  if (type.typeId === DuckDBTypeId.DOUBLE) {
    return `coalesce(${doubleSql(column, `${FUNCTION}_json_double`)}, 'null')`
  }
  if (type.typeId === DuckDBTypeId.VARCHAR || type.typeId === DuckDBTypeId.ENUM) {
    const text = `${column}::VARCHAR`
    return `CASE WHEN ${column} IS NULL THEN 'null' WHEN regexp_matches(${text}, ${literal(JSON_OTHERWISE)})
      THEN ${FUNCTION}_json_string(${text}) ELSE to_json(${text})::VARCHAR END`
  }
  const text = plainSql(type, column)
  if (text === undefined || kind === 'nested') return undefined
  return kind === 'bare' ? `coalesce(${text}, 'null')` : `coalesce('"' || ${text} || '"', 'null')`
}

function csvSql(type: DuckDBType, column: string): string | undefined {
  if (type.typeId === DuckDBTypeId.DOUBLE) return `coalesce(${doubleSql(column, `${FUNCTION}_double`)}, '')`
  if (type.typeId === DuckDBTypeId.VARCHAR || type.typeId === DuckDBTypeId.ENUM) {
    const text = `${column}::VARCHAR`
    return `CASE WHEN ${column} IS NULL THEN '' WHEN ${text} = '' THEN '""'
      WHEN regexp_matches(${text}, ${literal(CSV_QUOTED)}) THEN '"' || replace(${text}, '"', '""') || '"' ELSE ${text} END`
  }
  const text = plainSql(type, column)
  return text === undefined ? undefined : `coalesce(${text}, '')`
}

function plainSql(type: DuckDBType, column: string): string | undefined {
  switch (type.typeId) {
    case DuckDBTypeId.BOOLEAN:
    case DuckDBTypeId.TINYINT:
    case DuckDBTypeId.SMALLINT:
    case DuckDBTypeId.INTEGER:
    case DuckDBTypeId.BIGINT:
    case DuckDBTypeId.HUGEINT:
    case DuckDBTypeId.UTINYINT:
    case DuckDBTypeId.USMALLINT:
    case DuckDBTypeId.UINTEGER:
    case DuckDBTypeId.UBIGINT:
    case DuckDBTypeId.DECIMAL:
    case DuckDBTypeId.UUID:
      return `${column}::VARCHAR`
    case DuckDBTypeId.DATE:
      return `CASE WHEN ${column} IS NULL THEN NULL WHEN ${column} BETWEEN DATE '0001-01-01' AND DATE '9999-12-31'
        THEN ${column}::VARCHAR ELSE ${FUNCTION}_date(${column}) END`
    case DuckDBTypeId.TIMESTAMP:
      return `CASE WHEN ${column} IS NULL THEN NULL
        WHEN ${column} BETWEEN TIMESTAMP '0001-01-01' AND TIMESTAMP '9999-12-31 23:59:59.999999'
        THEN replace(${column}::VARCHAR, ' ', 'T') ELSE ${FUNCTION}_timestamp(${column}) END`
    case DuckDBTypeId.TIMESTAMP_TZ:
      return `CASE WHEN ${column} IS NULL THEN NULL
        WHEN ${column} BETWEEN TIMESTAMPTZ '0001-01-01 00:00:00+00' AND TIMESTAMPTZ '9999-12-31 23:59:59.999999+00'
        THEN replace(make_timestamp(epoch_us(${column}))::VARCHAR, ' ', 'T') || 'Z' ELSE ${FUNCTION}_instant(${column}) END`
    default:
      return undefined
  }
}

/** Both write the fewest digits that give the same double, but not where the exponent begins, nor the `.0`. */
function doubleSql(column: string, otherwise: string): string {
  return `CASE WHEN ${column} IS NULL THEN NULL
    WHEN ${column} = trunc(${column}) AND abs(${column}) < 1e15 AND ${column} <> 0 THEN ${column}::BIGINT::VARCHAR
    WHEN ${column} = 0 AND NOT signbit(${column}) THEN '0'
    WHEN abs(${column}) >= 1e-4 AND abs(${column}) < 1e15 THEN ${column}::VARCHAR ELSE ${otherwise}(${column}) END`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

/** Once for a database. They write a value as the encoders in JavaScript do, because they are the same. */
export function registerTextFunctions(connection: DuckDBConnection): void {
  const register = (name: string, type: DuckDBType, isJson: boolean) => {
    const { text, kind } = columnText(type)
    connection.registerScalarFunction(
      DuckDBScalarFunction.create({
        name: `${FUNCTION}_${name}`,
        parameterTypes: [type],
        returnType: VARCHAR,
        mainFunction(_, chunk, output) {
          const input = chunk.getColumnVector(0)
          for (let row = 0; row < chunk.rowCount; row++) {
            const value = input.getItem(row)
            const written = value === null ? null : text(value)
            const isBare = written === null || !isJson || (kind === 'bare' && isBareJson(written))
            output.setItem(row, isBare ? written : JSON.stringify(written))
          }
          output.flush()
        },
      }),
    )
  }
  register('double', DOUBLE, false)
  register('json_double', DOUBLE, true)
  register('json_string', VARCHAR, true)
  register('date', DATE, false)
  register('timestamp', TIMESTAMP, false)
  register('instant', TIMESTAMPTZ, false)
}
