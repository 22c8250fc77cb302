/**
 * What is wrong with settings, told so that a person can mend it: where it stands, which setting, what was expected,
 * what was found, and the nearest key when one was misspelt. All problems are told at once.
 */
import { MillraceError } from './errors.ts'
import { withoutPassword } from './url-password.ts'

export type SettingsProblem = {
  /** `millrace.yaml:3:5`, `variable MILLRACE_FLUSH_BYTES`, `--set flush.bytes`, or `default`. */
  readonly where: string
  /** `flush.interval.ms`; empty for the file as a whole. */
  readonly path: string
  readonly expected: string
  readonly found: string
  readonly suggestion?: string
  /** What to do, where that is known. */
  readonly hint?: string
}

const PROBLEMS_SHOWN_MAX = 100
const FOUND_LENGTH_MAX = 80

export function formatProblem(problem: SettingsProblem): string {
  const path = problem.path === '' ? '' : ` ${problem.path}:`
  const suggestion = problem.suggestion === undefined ? '' : `; did you mean "${problem.suggestion}"?`
  const hint = problem.hint === undefined ? '' : `; ${problem.hint}`
  return `${problem.where}:${path} expected ${problem.expected}, found ${problem.found}${suggestion}${hint}`
}

export function settingsError(problems: readonly SettingsProblem[]): MillraceError {
  const lines = problems.slice(0, PROBLEMS_SHOWN_MAX).map(formatProblem)
  if (problems.length > lines.length) lines.push(`… and ${problems.length - lines.length} more`)
  const noun = problems.length === 1 ? 'one problem' : `${problems.length} problems`
  return new MillraceError('settings-invalid', `settings have ${noun}:\n${lines.join('\n')}`, {
    facts: { problems },
  })
}

/** A value as people recognise it, cut to a line. Secrets show only that something is there. */
export function showFound(value: unknown, secret: boolean): string {
  if (value === undefined || value === null) return 'nothing'
  if (secret) return Array.isArray(value) ? 'a list (not shown)' : 'a secret (not shown)'
  const text = withoutPassword(
    typeof value === 'object' ? JSON.stringify(value) : typeof value === 'string' ? `"${value}"` : String(value),
  )
  return text.length > FOUND_LENGTH_MAX ? `${text.slice(0, FOUND_LENGTH_MAX)}…` : text
}

export type TornText = {
  readonly hint: string
  /** Keys or places in the same collection that hold the rest of the text. */
  readonly rest: readonly (string | number)[]
}

/**
 * Within `[…]` and `{…}` YAML ends a text at a comma: `[bucket(16, id)]` is a list of `bucket(16` and `id)`, and
 * `{price: decimal(10,2)}` has a key `2)`. Tells so, with the text put together again.
 */
export function tornAtComma(
  collection: unknown,
  step: string | number | undefined,
  value: unknown,
): TornText | undefined {
  if (typeof value !== 'string' || openBrackets(value) <= 0) return undefined
  let whole = value
  const rest: (string | number)[] = []
  for (const [place, text] of partsAfter(collection, step)) {
    whole += `, ${text}`
    rest.push(place)
    if (openBrackets(whole) <= 0) return { hint: `put it in quotes: "${whole}"`, rest }
  }
  return { hint: 'put the whole text in quotes: a comma ended it here', rest: [] }
}

function openBrackets(text: string): number {
  return text.split(/[(<]/).length - text.split(/[)>]/).length
}

/** What follows in the same list or mapping, as far as it may be the rest of a text. */
function partsAfter(collection: unknown, step: string | number | undefined): [string | number, string][] {
  if (Array.isArray(collection)) {
    const from = Number(step) + 1
    return collection.slice(from).map((each, index) => [from + index, String(each)])
  }
  if (collection === null || typeof collection !== 'object') return []
  const entries = Object.entries(collection)
  const from = entries.findIndex(([key]) => key === String(step)) + 1
  const after = entries.slice(from)
  const end = after.findIndex(([, value]) => value !== null)
  return (end < 0 ? after : after.slice(0, end)).map(([key]) => [key, key])
}

/** The candidate with the fewest edits, if those are few enough to be a slip of the hand. */
export function nearestKey(key: string, candidates: readonly string[]): string | undefined {
  const wanted = key.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(wanted.length / 3)) + 1
  for (const candidate of candidates) {
    const lower = candidate.toLowerCase()
    // A key cut short or with its unit forgotten counts as one edit.
    const distance =
      lower.replaceAll(/[.-]/g, '_') === wanted.replaceAll(/[.-]/g, '_')
        ? 0
        : lower.startsWith(`${wanted}.`) || lower.endsWith(`.${wanted}`)
          ? 1
          : editDistance(wanted, lower)
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Levenshtein with transposed neighbours counted as one edit. */
function editDistance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 40) return Number.MAX_SAFE_INTEGER
  let beforePrevious: number[] = []
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)
      current[j] = Math.min(previous[j] + 1, current[j - 1] + 1, substitution)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        current[j] = Math.min(current[j], beforePrevious[j - 2] + 1)
      }
    }
    beforePrevious = previous
    previous = current
  }
  return previous[b.length]
}
