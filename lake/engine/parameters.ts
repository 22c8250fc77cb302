/**
 * Parameters of a statement, typed by their JSON: `$1` from an array, `$name` from an object.
 *
 *   true, 1, 1.5, null      BOOLEAN, BIGINT (DOUBLE when not an exact integer), DOUBLE, NULL
 *   "text"                  cast to the type that the statement expects there, when it expects one (so that "123" works
 *                           for a BIGINT without losing digits); else VARCHAR
 *   [1, 2]                  a list of values of one kind, lists too
 *   {"type": "DECIMAL(18,2)", "value": "1.50"}   cast to exactly that type; STRUCT(a INT, b VARCHAR[]) and MAP(…) take objects
 *
 * Errors: `parameter-missing`, `request-invalid` (one too many, or a shape that means nothing), `conversion-failed`.
 */
import {
  BIGINT,
  BOOLEAN,
  DOUBLE,
  type DuckDBConnection,
  type DuckDBPreparedStatement,
  type DuckDBType,
  DuckDBTypeId,
  type DuckDBValue,
  VARCHAR,
} from '@duckdb/node-api'
import { MillraceError } from '../../schemas/errors.ts'
import { duckdbError } from './duckdb-error.ts'

export type ParameterValues = readonly unknown[] | Readonly<Record<string, unknown>>
export type BoundValue = { readonly value: DuckDBValue; readonly type: DuckDBType | undefined }

/** Of every parameter of the statement, by its name (`1`, `2`, … or `name`). */
export async function parameterValues(
  connection: DuckDBConnection,
  statement: DuckDBPreparedStatement,
  params: ParameterValues,
): Promise<ReadonlyMap<string, BoundValue>> {
  const bound = new Map<string, BoundValue>()
  for (let index = 1; index <= statement.parameterCount; index++) {
    const name = statement.parameterName(index)
    bound.set(name, await boundValue(connection, statement, index, name, given(params, name)))
  }
  const unused = Array.isArray(params)
    ? params.length > bound.size && `${params.length} parameters are given, the statement has ${bound.size}`
    : Object.keys(params).find((name) => !bound.has(name))
  if (unused) {
    const message = Array.isArray(params)
      ? unused
      : `parameter $${unused} is given, but the statement has none of that name`
    throw new MillraceError('request-invalid', message)
  }
  return bound
}

export function bindParameters(statement: DuckDBPreparedStatement, values: ReadonlyMap<string, BoundValue>): void {
  for (let index = 1; index <= statement.parameterCount; index++) {
    const bound = values.get(statement.parameterName(index))
    if (bound === undefined) continue
    if (bound.value === null) statement.bindNull(index)
    else statement.bindValue(index, bound.value, bound.type)
  }
}

function given(params: ParameterValues, name: string): unknown {
  const value = Array.isArray(params)
    ? params[Number(name) - 1]
    : Object.hasOwn(params, name)
      ? (params as Record<string, unknown>)[name]
      : undefined
  if (value !== undefined) return value
  throw new MillraceError('parameter-missing', `no value is given for parameter $${name}`, {
    facts: { parameter: name },
  })
}

async function boundValue(
  connection: DuckDBConnection,
  statement: DuckDBPreparedStatement,
  index: number,
  name: string,
  value: unknown,
): Promise<BoundValue> {
  if (value === null) return { value: null, type: undefined }
  if (typeof value === 'boolean') return { value, type: BOOLEAN }
  if (typeof value === 'bigint') return castText(connection, value.toString(), integerType(value), name)
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) return { value: BigInt(value), type: BIGINT }
    return { value, type: DOUBLE }
  }
  if (typeof value === 'string') {
    const expected = expectedType(statement, index)
    return expected === undefined ? { value, type: VARCHAR } : castText(connection, value, expected, name)
  }
  if (Array.isArray(value)) return castText(connection, jsonText(value), listType(value, name), name, 'json')
  if (isTyped(value)) return typedValue(connection, value, name)
  throw new MillraceError(
    'request-invalid',
    `parameter $${name}: expected a JSON scalar, an array of scalars, or {"type", "value"}`,
  )
}

function isTyped(value: unknown): value is { readonly type: string; readonly value: unknown } {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { type?: unknown }).type === 'string' &&
    'value' in value
  )
}

/** Names, numbers, brackets and quoted field names: nothing that could end the type and go on with something else. */
const TYPE_TEXT = /^[A-Za-z](?:[A-Za-z0-9_ ,()[\]]|"[^"]*")*$/
const TYPE_LENGTH_MAX = 2000

function isTypeText(type: string): boolean {
  if (type.length > TYPE_LENGTH_MAX || !TYPE_TEXT.test(type)) return false
  const bare = type.replace(/"[^"]*"/g, '')
  // What stands in parentheses is an expression to the parser: no query may be among them.
  if (/\b(?:select|from|values|table|with|pivot|unpivot|describe|show|summarize)\b/i.test(bare)) return false
  let depth = 0
  for (const letter of bare) {
    if (letter === '(') depth++
    else if (letter === ')') depth--
    if (depth < 0) return false
  }
  return depth === 0
}

function typedValue(
  connection: DuckDBConnection,
  { type, value }: { readonly type: string; readonly value: unknown },
  name: string,
): Promise<BoundValue> | BoundValue {
  if (!isTypeText(type)) throw new MillraceError('request-invalid', `parameter $${name}: ${type} is no type`)
  if (value === null) return { value: null, type: undefined }
  if (typeof value === 'object') return castText(connection, jsonText(value), type, name, 'json')
  if (!['string', 'number', 'boolean', 'bigint'].includes(typeof value)) {
    throw new MillraceError('request-invalid', `parameter $${name}: expected JSON as value`)
  }
  return castText(connection, String(value), type, name)
}

/** DuckDB itself reads the text, so a parameter is read exactly as a literal of that type is. */
async function castText(
  connection: DuckDBConnection,
  text: string,
  type: string,
  name: string,
  via: 'text' | 'json' = 'text',
): Promise<BoundValue> {
  const source = via === 'json' ? '$1::VARCHAR::JSON' : '$1::VARCHAR'
  const sql = `SELECT CAST(${source} AS ${type})`
  try {
    const result = await connection.run(sql, [text], [VARCHAR])
    const rows = await result.getRows()
    return { value: rows[0][0], type: result.columnType(0) }
  } catch (error) {
    const known = duckdbError(error, sql)
    const code = known.code === 'value-out-of-range' ? known.code : 'conversion-failed'
    throw new MillraceError(code, `parameter $${name}: ${known.message}`, { facts: { parameter: name } })
  }
}

function integerType(value: bigint): string {
  return BigInt.asIntN(64, value) === value ? 'BIGINT' : 'HUGEINT'
}

// Not in the compiler's library yet; in every engine that `engines` of package.json asks for.
const rawJson = (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON

/** Whole numbers beyond 2^53 come as bigint and leave with all their digits. */
function jsonText(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? rawJson(each.toString()) : each))
}

/** `BIGINT[]` for whole numbers, `DOUBLE[][]` for lists of fractions, …: the narrowest that holds all of them. */
function listType(values: readonly unknown[], name: string): string {
  return `${itemType(values, name) ?? 'VARCHAR'}[]`
}

const NUMBERS = ['BIGINT', 'HUGEINT', 'DOUBLE']

function itemType(values: readonly unknown[], name: string): string | undefined {
  let found: string | undefined
  for (const value of values) {
    const type = typeOfItem(value, name)
    if (type === undefined || type === found) continue
    if (found === undefined) found = type
    else if (NUMBERS.includes(found) && NUMBERS.includes(type)) {
      found = NUMBERS[Math.max(NUMBERS.indexOf(found), NUMBERS.indexOf(type))]
    } else {
      throw new MillraceError(
        'request-invalid',
        `parameter $${name}: expected an array of values of one kind, found ${found} and ${type}; {"type", "value"} says which`,
      )
    }
  }
  return found
}

/** undefined: anything (a null, an empty list of any kind). */
function typeOfItem(value: unknown, name: string): string | undefined {
  if (value === null) return undefined
  if (typeof value === 'boolean') return 'BOOLEAN'
  if (typeof value === 'string') return 'VARCHAR'
  if (typeof value === 'bigint') return integerType(value)
  if (typeof value === 'number') return Number.isSafeInteger(value) && !Object.is(value, -0) ? 'BIGINT' : 'DOUBLE'
  if (Array.isArray(value)) {
    const inner = itemType(value, name)
    return inner === undefined ? undefined : `${inner}[]`
  }
  throw new MillraceError(
    'request-invalid',
    `parameter $${name}: expected an array of scalars or arrays; {"type", "value"} takes objects`,
  )
}

/** What the statement makes of the parameter; undefined when it leaves it open, or takes text. */
function expectedType(statement: DuckDBPreparedStatement, index: number): string | undefined {
  let type: DuckDBType
  try {
    type = statement.parameterType(index)
  } catch {
    // The binding has no type for a parameter that nothing around it explains.
    return undefined
  }
  switch (type.typeId) {
    case DuckDBTypeId.ANY:
    case DuckDBTypeId.VARCHAR:
    case DuckDBTypeId.SQLNULL:
      return undefined
    default:
      return String(type)
  }
}
