/**
 * What somebody could change, for errors where that can be said: the nearest name for one that is unknown, else advice that
 * belongs to the kind of error. Pure; no hint is better than one that misleads.
 */
import type { MillraceError } from '../../schemas/errors.ts'
import { isRefusedFunction } from '../statement/statement-rules.ts'

const NAMES_TOLD_MAX = 10
const QUERYABLE = 'SELECT, WITH, VALUES, FROM, DESCRIBE, SUMMARIZE, SHOW TABLES and EXPLAIN'

/** @param tables names that the caller may read */
export function hintFor(error: MillraceError, tables: readonly string[]): string | undefined {
  switch (error.code) {
    case 'undefined-table':
      return nameHint(String(error.facts.table ?? ''), tables, 'tables')
    case 'undefined-column':
      return columnHint(unknownName(error), candidatesOf(error))
    case 'undefined-function':
      return functionHint(error)
    case 'query-invalid':
      if (/^Unknown TimeZone/.test(error.message))
        return 'time zones are those of the IANA database, such as Europe/Rome'
      return nameHint(/"([^"]+)"/.exec(error.message)?.[1] ?? '', candidatesOf(error), 'names')
    case 'syntax-error':
      return 'the position is where the parser stopped; what is wrong may stand just before it'
    case 'statement-refused':
      return /^expected one statement/.test(error.message)
        ? 'send one statement a request'
        : /SELECT can be run/.test(error.message)
          ? `statements that read can be run: ${QUERYABLE}`
          : undefined
    case 'parameter-missing':
      return 'give "params": an array for $1, $2, …, or an object for $name'
    case 'conversion-failed':
      return error.facts.parameter === undefined ? 'TRY_CAST gives NULL where a value cannot be converted' : undefined
    case 'type-mismatch':
      return 'cast one side to the type of the other: CAST(x AS type)'
    case 'value-out-of-range':
      return /DECIMAL|decimal|INT|cast it/i.test(error.message)
        ? 'cast to a wider type such as DOUBLE or HUGEINT, or to VARCHAR'
        : undefined
    case 'query-timeout':
      return error.facts.waited
        ? 'raise "timeout_ms", or look at GET /v1/tables/{table} for how far each source is'
        : 'ask for less: a shorter time range, fewer groups; or raise "timeout_ms" up to query.timeout.ms'
    case 'out-of-memory':
      return 'group by fewer distinct values, filter first, or use approximate functions such as approx_count_distinct'
    case 'request-too-large':
      return 'ask for fewer rows with LIMIT or "max_rows"'
    case 'overloaded':
      return 'come back after Retry-After'
    case 'already-exists':
      return 'choose another "query_id", or leave it out'
    default:
      return undefined
  }
}

/** The engine proposes the few names that are most like the unknown one, not all. */
function columnHint(wanted: string, known: readonly string[]): string | undefined {
  const close = nearest(wanted, known)
  if (close !== undefined) return `did you mean "${close}"?`
  if (known.length === 0) return undefined
  return `most like it: ${known.map((name) => `"${name}"`).join(', ')}; DESCRIBE lists all columns`
}

function candidatesOf(error: MillraceError): readonly string[] {
  const { candidates } = error.facts
  return Array.isArray(candidates) ? candidates.map(String) : []
}

/** `Referenced column "citi" not found …`, `Table "f" does not have a column named "x"`. */
function unknownName(error: MillraceError): string {
  return /column (?:named )?"([^"]*)"/.exec(error.message)?.[1] ?? ''
}

function functionHint(error: MillraceError): string | undefined {
  const [name] = /with name "?([^"\s]+)"? does not exist/.exec(error.message)?.slice(1) ?? []
  if (name === undefined) {
    const signatures = candidatesOf(error)
    return signatures.length === 0
      ? 'cast the arguments to types that the function takes'
      : `it takes: ${signatures.slice(0, 3).join('; ')}`
  }
  const known = candidatesOf(error).filter((each) => !isRefusedFunction(each.toLowerCase()))
  return nearest(name, known) === undefined ? undefined : `did you mean "${nearest(name, known)}"?`
}

function nameHint(wanted: string, known: readonly string[], what: string): string | undefined {
  const close = nearest(wanted, known)
  if (close !== undefined) return `did you mean "${close}"?`
  if (known.length === 0) return undefined
  const told = known.slice(0, NAMES_TOLD_MAX).map((name) => `"${name}"`)
  return `${what} here: ${told.join(', ')}${known.length > NAMES_TOLD_MAX ? ', …' : ''}`
}

/** The name that fewest changes lead to, if those are few beside its length; a qualifier does not count. */
export function nearest(wanted: string, known: readonly string[]): string | undefined {
  const target = wanted.toLowerCase()
  let best: { readonly name: string; readonly changes: number } | undefined
  for (const name of known) {
    const plain = name.toLowerCase().split('.').at(-1) ?? ''
    const changes = Math.min(distance(target, name.toLowerCase()), distance(target, plain))
    if (best === undefined || changes < best.changes) best = { name, changes }
  }
  return best && best.changes <= Math.max(1, Math.floor(target.length / 3)) ? best.name : undefined
}

/** Insertions, deletions, replacements, and neighbours swapped. */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 20 || a.length > 200) return 200
  let before: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let least = Math.min(previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) least = Math.min(least, before[j - 2] + 1)
      current.push(least)
    }
    before = previous
    previous = current
  }
  return previous[b.length]
}
