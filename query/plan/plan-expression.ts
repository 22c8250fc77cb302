/**
 * An expression as DuckDB's plan prints it, as a tree:
 *
 *   ((t3_c16 = 1) OR (t3_c16 = 5))             CAST(t3_c18 AS DATE)       t3_c19.city='x'
 *   (NOT prefix(t3_c17, 'd'))                  timezone('Europe/Berlin', t3_c18)
 *   '2026-01-01 00:00:00+00'::TIMESTAMP WITH TIME ZONE                    "year"(t3_c18)
 *
 * Whatever is not of these shapes is `opaque`: an expression of which nothing is known. Inside of parentheses only they become
 * so, in a line the whole line; a line is never half understood.
 */
import { isSymbol, isWord, type Token } from './plan-text.ts'

export type PlanExpression =
  | { readonly kind: 'opaque' }
  | { readonly kind: 'name'; readonly name: string; readonly path: readonly string[] }
  /** `cast` is the type after `::`, empty without one. */
  | { readonly kind: 'literal'; readonly text: string; readonly isQuoted: boolean; readonly cast: string }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly PlanExpression[] }
  | { readonly kind: 'cast'; readonly to: string; readonly of: PlanExpression }
  | { readonly kind: 'compare'; readonly op: string; readonly left: PlanExpression; readonly right: PlanExpression }
  | { readonly kind: 'is null'; readonly isNot: boolean; readonly of: PlanExpression }
  | { readonly kind: 'in'; readonly of: PlanExpression; readonly values: readonly PlanExpression[] }
  | { readonly kind: 'and' | 'or'; readonly of: readonly PlanExpression[] }
  | { readonly kind: 'not'; readonly of: PlanExpression }

const OPAQUE: PlanExpression = { kind: 'opaque' }
const COMPARISONS = new Set(['=', '<', '<=', '>', '>=', '!=', '<>'])
const LIKE = [
  ['~', '~'],
  ['^', '@'],
] as const
const NOT_NAMES = new Set(['AND', 'OR', 'NOT', 'IS', 'IN', 'AS', 'CASE', 'WHEN', 'THEN', 'ELSE', 'END', 'BETWEEN'])
const DEPTH_MAX = 200

class Unreadable extends Error {}

/** One line of a plan's filters. */
export function parseExpression(tokens: readonly Token[]): PlanExpression {
  let at = 0

  function attempt(read: () => PlanExpression, isEnd: () => boolean): PlanExpression | undefined {
    try {
      const found = read()
      return isEnd() ? found : undefined
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error
      return undefined
    }
  }

  function take(text: string): void {
    if (!isSymbol(tokens[at], text)) throw new Unreadable()
    at++
  }

  /** `a`, `a AND b AND c`, `a OR b`: both in one are never printed without parentheses. */
  function joined(depth: number): PlanExpression {
    if (depth > DEPTH_MAX) throw new Unreadable()
    const parts = [negated(depth)]
    const word = tokens[at]
    if (!isWord(word, 'AND') && !isWord(word, 'OR')) return parts[0]
    while (isWord(tokens[at], word.text)) {
      at++
      parts.push(negated(depth))
    }
    return { kind: word.text === 'AND' ? 'and' : 'or', of: parts }
  }

  function negated(depth: number): PlanExpression {
    if (!isWord(tokens[at], 'NOT')) return predicate(depth)
    at++
    return { kind: 'not', of: negated(depth + 1) }
  }

  function predicate(depth: number): PlanExpression {
    const left = operand(depth)
    const next = tokens[at]
    if (isWord(next, 'IS')) return isNull(left)
    if (isWord(next, 'IN')) {
      at++
      return { kind: 'in', of: left, values: list(depth) }
    }
    if (isWord(next, 'NOT') && isWord(tokens[at + 1], 'IN')) {
      at += 2
      return { kind: 'not', of: { kind: 'in', of: left, values: list(depth) } }
    }
    const op = comparison()
    return op === undefined ? left : { kind: 'compare', op, left, right: operand(depth) }
  }

  function isNull(of: PlanExpression): PlanExpression {
    at++
    const isNot = isWord(tokens[at], 'NOT')
    if (isNot) at++
    if (!isWord(tokens[at], 'NULL')) throw new Unreadable()
    at++
    return { kind: 'is null', isNot, of }
  }

  function comparison(): string | undefined {
    const token = tokens[at]
    if (token?.kind !== 'symbol') return undefined
    const pair = LIKE.find(([first, second]) => token.text === first && isSymbol(tokens[at + 1], second))
    // `~~` is LIKE, but `~~*` and `~~~` are others.
    if (pair) {
      at += 2
      if (isSymbol(tokens[at], '*') || isSymbol(tokens[at], '~')) throw new Unreadable()
      return pair.join('')
    }
    if (!COMPARISONS.has(token.text)) return undefined
    at++
    return token.text
  }

  function list(depth: number): readonly PlanExpression[] {
    take('(')
    const values: PlanExpression[] = []
    while (!isSymbol(tokens[at], ')')) {
      values.push(joined(depth + 1))
      if (isSymbol(tokens[at], ',')) at++
      else if (!isSymbol(tokens[at], ')')) throw new Unreadable()
    }
    at++
    return values
  }

  function operand(depth: number): PlanExpression {
    const token = tokens[at]
    if (token === undefined) throw new Unreadable()
    if (isSymbol(token, '(')) return group(depth)
    if (isSymbol(token, '"')) return quotedCall(depth)
    if (token.kind === 'text') {
      at++
      return literal(token.text, true)
    }
    if (token.kind !== 'word' || NOT_NAMES.has(token.text)) throw new Unreadable()
    at++
    if (/^-?\d/.test(token.text) || ['true', 'false', 'NULL'].includes(token.text)) return literal(token.text, false)
    if (isSymbol(tokens[at], '(')) return token.text === 'CAST' ? cast(depth) : call(token.text, depth)
    const path: string[] = []
    while (isSymbol(tokens[at], '.')) {
      const field = tokens[at + 1]
      if (field?.kind !== 'word' || /^-?\d/.test(field.text)) throw new Unreadable()
      path.push(field.text)
      at += 2
    }
    return { kind: 'name', name: token.text, path }
  }

  /** What is in parentheses may be unreadable for itself. */
  function group(depth: number): PlanExpression {
    const end = closing(at)
    at++
    const inside = attempt(
      () => joined(depth + 1),
      () => at === end,
    )
    at = end + 1
    return inside ?? OPAQUE
  }

  function call(name: string, depth: number): PlanExpression {
    const end = closing(at)
    let args: readonly PlanExpression[] = []
    const found = attempt(
      () => {
        args = list(depth)
        return { kind: 'call', name, args }
      },
      () => at === end + 1,
    )
    at = end + 1
    return found ?? OPAQUE
  }

  function quotedCall(depth: number): PlanExpression {
    const name = tokens[at + 1]
    if (name?.kind !== 'word' || !isSymbol(tokens[at + 2], '"') || !isSymbol(tokens[at + 3], '(')) {
      throw new Unreadable()
    }
    at += 3
    return call(name.text, depth)
  }

  function cast(depth: number): PlanExpression {
    const end = closing(at)
    at++
    const of = attempt(
      () => joined(depth + 1),
      () => isWord(tokens[at], 'AS'),
    )
    const to = tokens
      .slice(at + 1, end)
      .map(({ text }) => text)
      .join(' ')
    at = end + 1
    return of === undefined ? OPAQUE : { kind: 'cast', to, of }
  }

  function literal(text: string, isQuoted: boolean): PlanExpression {
    if (!isSymbol(tokens[at], '::')) return { kind: 'literal', text, isQuoted, cast: '' }
    at++
    const words: string[] = []
    while (tokens[at]?.kind === 'word' && !NOT_NAMES.has(tokens[at].text)) words.push(tokens[at++].text)
    if (words.length === 0) throw new Unreadable()
    if (isSymbol(tokens[at], '(')) {
      const end = closing(at)
      at = end + 1
      if (words[0] !== 'DECIMAL') throw new Unreadable()
    }
    if (isSymbol(tokens[at], '[')) throw new Unreadable()
    return { kind: 'literal', text, isQuoted, cast: words.join(' ') }
  }

  function closing(open: number): number {
    let depth = 0
    for (let i = open; i < tokens.length; i++) {
      if (isSymbol(tokens[i], '(')) depth++
      else if (isSymbol(tokens[i], ')') && --depth === 0) return i
    }
    throw new Unreadable()
  }

  const whole = attempt(
    () => joined(0),
    () => at === tokens.length,
  )
  return whole ?? OPAQUE
}
