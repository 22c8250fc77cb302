/**
 * From when until when gaps are filled, as `WHERE` says it: comparisons of the time with something, joined by AND.
 *
 *   ts >= X   ts > X   X <= ts   ts BETWEEN X AND Y   ts < Y   ts <= Y   …
 */
import type { Range } from './call.ts'
import { isSame } from './select-core.ts'
import { isName, isSymbol, nextOutside, type Token } from './tokens.ts'

export type Bound = { readonly range: Range; readonly isInclusive: boolean }

export type TimeRange = { readonly start: Bound | undefined; readonly finish: Bound | undefined }

const SWAPPED: Readonly<Record<string, string>> = { '<': '>', '<=': '>=', '>': '<', '>=': '<=', '=': '=' }

export function rangeOfWhere(tokens: readonly Token[], where: Range | undefined, time: Range): TimeRange {
  let found: TimeRange = { start: undefined, finish: undefined }
  if (!where) return found
  for (const part of conjuncts(tokens, where) ?? []) {
    const [from, to] = withoutBrackets(tokens, part)
    if (part[0] !== from) {
      const inner = rangeOfWhere(tokens, [from, to], time)
      found = { start: inner.start ?? found.start, finish: inner.finish ?? found.finish }
      continue
    }
    for (const { op, value } of comparisons(tokens, [from, to], time)) {
      const bound = { range: value, isInclusive: op.includes('=') }
      if (op.startsWith('>') || op === '=') found = { ...found, start: found.start ?? bound }
      if (op.startsWith('<') || op === '=') found = { ...found, finish: found.finish ?? bound }
    }
  }
  return found
}

/** undefined: they are not joined by AND alone. */
function conjuncts(tokens: readonly Token[], [from, to]: Range): Range[] | undefined {
  const parts: Range[] = []
  let start = from
  let isBetween = false
  for (let at = from; at < to; at = nextOutside(tokens, at)) {
    if (isName(tokens[at], 'or')) return undefined
    if (isName(tokens[at], 'case')) return undefined
    if (isName(tokens[at], 'between')) isBetween = true
    if (!isName(tokens[at], 'and')) continue
    if (isBetween) {
      isBetween = false
      continue
    }
    parts.push([start, at])
    start = at + 1
  }
  return [...parts, [start, to]]
}

function withoutBrackets(tokens: readonly Token[], [from, to]: Range): Range {
  return isSymbol(tokens[from], '(') && tokens[from].match === to - 1 ? [from + 1, to - 1] : [from, to]
}

function comparisons(
  tokens: readonly Token[],
  [from, to]: Range,
  time: Range,
): { readonly op: string; readonly value: Range }[] {
  for (let at = from; at < to; at = nextOutside(tokens, at)) {
    if (isName(tokens[at], 'between') && isSame(tokens, [from, at], time)) {
      let and = at + 1
      while (and < to && !isName(tokens[and], 'and')) and = nextOutside(tokens, and)
      return [
        { op: '>=', value: [at + 1, and] },
        { op: '<=', value: [and + 1, to] },
      ]
    }
    const op = tokens[at].kind === 'symbol' ? tokens[at].value : ''
    if (!Object.hasOwn(SWAPPED, op)) continue
    if (isSame(tokens, [from, at], time)) return [{ op, value: [at + 1, to] }]
    if (isSame(tokens, [at + 1, to], time)) return [{ op: SWAPPED[op], value: [from, at] }]
    return []
  }
  return []
}
