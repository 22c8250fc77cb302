/**
 * A scan's filters as DuckDB's plan writes them, as filters of ours:
 *
 *   t3_c16>=1 AND t3_c16<=10          lines are joined by AND, too
 *   t3_c17='it''s'                    t3_c18>='2026-01-01 00:00:00+00'::TIMESTAMP WITH TIME ZONE
 *   optional: t3_c16 IN (1, 2, 9)     (t3_c16 IS NULL)
 *
 * Everything that is not exactly of these shapes is left out, which excludes fewer rows than could be: a line with an OR,
 * a cast, a function; a literal that is not of the column's own type; a text with a line feed in it (the plan is cut there).
 * When quotes do not come out even, nothing of the text is believed. Fields of structs are printed as they are, without quotes:
 * `t3_c16.name>5`. Such a comparison is left out, and a name that would end it excludes all (`isPlainInPlan`).
 */
import type { FilterValue, PlainFilter } from '../../lake/parquet/prune.ts'
import type { ColumnType } from '../../schemas/column-type.ts'
import { isWord, splitAt, type Token, tokenize } from './plan-text.ts'

export function readFilters(
  text: string,
  tableId: number,
  typeOf: (fieldId: number) => ColumnType | undefined,
): PlainFilter[] {
  const tokens = tokenize(text)
  if (!tokens) return []
  const filters: PlainFilter[] = []
  for (const line of splitAt(tokens, (token) => token.kind === 'line')) {
    const plain = isWord(line[0], 'optional') && line[1]?.text === ':' ? line.slice(2) : line
    if (
      plain.some((token) => isWord(token, 'OR') || (isWord(token, 'NOT') && !plain.some((each) => isWord(each, 'IS'))))
    )
      continue
    for (const atom of splitAt(plain, (token) => isWord(token, 'AND'))) {
      const filter = readAtom(atom, tableId, typeOf)
      if (filter) filters.push(filter)
    }
  }
  return filters
}

/** Whether a struct's field called so leaves the lines and comparisons around it as they are. */
export function isPlainInPlan(name: string): boolean {
  const tokens = tokenize(name)
  return tokens?.every((token) => token.kind !== 'line' && token.kind !== 'text' && !isWord(token, 'AND')) ?? false
}

function readAtom(
  given: readonly Token[],
  tableId: number,
  typeOf: (fieldId: number) => ColumnType | undefined,
): PlainFilter | undefined {
  const isWrapped = given[0]?.text === '(' && given[0].kind === 'symbol' && given.at(-1)?.text === ')'
  const tokens = isWrapped ? given.slice(1, -1) : given
  const name = /^t(\d+)_c(\d+)$/.exec(tokens[0]?.kind === 'word' ? tokens[0].text : '')
  if (!name || Number(name[1]) !== tableId) return undefined
  const fieldId = Number(name[2])
  const type = typeOf(fieldId)
  if (!type) return undefined
  const rest = tokens.slice(1)
  if (isWord(rest[0], 'IS')) {
    if (rest.length === 2 && isWord(rest[1], 'NULL')) return { fieldId, op: 'is null' }
    if (rest.length === 3 && isWord(rest[1], 'NOT') && isWord(rest[2], 'NULL')) return { fieldId, op: 'is not null' }
    return undefined
  }
  if (isWord(rest[0], 'IN')) {
    if (rest[1]?.text !== '(' || rest.at(-1)?.text !== ')') return undefined
    const values = splitAt(rest.slice(2, -1), (token) => token.kind === 'symbol' && token.text === ',').map((part) =>
      readLiteral(part, type),
    )
    return values.length > 0 && values.every((value) => value !== undefined)
      ? { fieldId, op: 'in', type, values: values as FilterValue[] }
      : undefined
  }
  const op = rest[0]?.kind === 'symbol' ? rest[0].text : ''
  if (op !== '=' && op !== '<' && op !== '<=' && op !== '>' && op !== '>=') return undefined
  const value = readLiteral(rest.slice(1), type)
  return value === undefined ? undefined : { fieldId, op, type, value }
}

/** `5`, `-1.50`, `true`, `'text'`, `'2026-01-01'::DATE`: only as the column's own type prints. */
function readLiteral(tokens: readonly Token[], type: ColumnType): FilterValue | undefined {
  const [first, colons, ...castTokens] = tokens
  if (!first || first.kind === 'symbol') return undefined
  if (colons !== undefined && colons.text !== '::') return undefined
  const cast = castTokens.map((token) => token.text).join(' ')
  return first.kind === 'word' && colons !== undefined
    ? undefined
    : literalValue({ text: first.text, isQuoted: first.kind === 'text', cast }, type)
}

/** `cast` is what stands after `::`. */
export function literalValue(
  { text, isQuoted, cast }: { readonly text: string; readonly isQuoted: boolean; readonly cast: string },
  type: ColumnType,
): FilterValue | undefined {
  if (isQuoted) return text.includes('\n') ? undefined : readQuoted(text, cast, type)
  return cast === '' ? readBare(text, type) : undefined
}

const LONG_MIN = -(2n ** 63n)
const LONG_MAX = 2n ** 63n - 1n

function readBare(text: string, type: ColumnType): FilterValue | undefined {
  switch (type.kind) {
    case 'boolean':
      return text === 'true' ? true : text === 'false' ? false : undefined
    case 'int':
    case 'long': {
      if (!/^-?\d+$/.test(text)) return undefined
      const value = BigInt(text)
      return value >= LONG_MIN && value <= LONG_MAX ? value : undefined
    }
    case 'float':
    case 'double': {
      const value = Number(text)
      return /^-?\d/.test(text) && Number.isFinite(value) ? value : undefined
    }
    case 'decimal': {
      const parts = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text)
      if (!parts || (parts[3] ?? '').length !== type.scale) return undefined
      const unscaled = BigInt(parts[2] + (parts[3] ?? ''))
      return parts[1] === '-' ? -unscaled : unscaled
    }
    default:
      return undefined
  }
}

function readQuoted(text: string, cast: string, type: ColumnType): FilterValue | undefined {
  switch (type.kind) {
    case 'string':
    case 'json':
      return cast === '' ? text : undefined
    case 'uuid':
      return cast === 'UUID' && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text) ? text : undefined
    case 'date': {
      const millis = cast === 'DATE' && /^\d{4}-\d\d-\d\d$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : Number.NaN
      return Number.isNaN(millis) ? undefined : BigInt(millis / 86_400_000)
    }
    case 'time': {
      const parts = cast === 'TIME' ? /^(\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?$/.exec(text) : null
      if (!parts) return undefined
      const seconds = Number(parts[1]) * 3600 + Number(parts[2]) * 60 + Number(parts[3])
      return BigInt(seconds) * 1_000_000n + microsOf(parts[4])
    }
    case 'timestamp':
      return cast === 'TIMESTAMP' ? timestampMicros(text, false) : undefined
    case 'timestamptz':
      return cast === 'TIMESTAMP WITH TIME ZONE' ? timestampMicros(text, true) : undefined
    default:
      return undefined
  }
}

/** `2026-01-01 00:00:00.5`, for an instant with its distance from UTC: `+02`, `-03:30`, `-00:44:30`. */
function timestampMicros(text: string, hasZone: boolean): bigint | undefined {
  const parts = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?$/.exec(
    text,
  )
  if (!parts || (parts[4] !== undefined) !== hasZone) return undefined
  const millis = Date.parse(`${parts[1]}T${parts[2]}Z`)
  if (Number.isNaN(millis)) return undefined
  const ahead = (Number(parts[5] ?? 0) * 60 + Number(parts[6] ?? 0)) * 60 + Number(parts[7] ?? 0)
  const zoneMillis = (parts[4] === '-' ? -ahead : ahead) * 1000
  return BigInt(millis - zoneMillis) * 1000n + microsOf(parts[3])
}

function microsOf(fraction: string | undefined): bigint {
  return BigInt((fraction ?? '').padEnd(6, '0') || '0')
}
