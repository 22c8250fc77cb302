/**
 * How a name of another system is said in DuckDB. A rule is a row of a table: names, number of arguments, and what stands for
 * the call:
 *
 *   'arg_max'                              another name; everything else of the call stays as it is
 *   'count({d}{1}){t}'                     an aggregate: {d} DISTINCT, {1} {2} … arguments, {*} all of them, {o} ORDER BY,
 *                                          {t} FILTER and OVER
 *   "'list({1}){t:({1}) IS NOT NULL}'"     {t:…} FILTER with one more condition
 *   'epoch({1})'                           a function of one row: no {t}, so FILTER and OVER stay where they are
 *   (call) => …                            decided in code; undefined leaves the call as it is
 *
 * A call with DISTINCT or ORDER BY for which the rule has no place is refused rather than answered without it.
 */
import { MillraceError } from '../../schemas/errors.ts'
import type { Call, Range } from './call.ts'
import type { Piece } from './pieces.ts'
import type { Token } from './tokens.ts'

export type CallRewrite = {
  readonly call: Call
  readonly tokens: readonly Token[]
  /** Pieces of a range of the user's text, calls in it rewritten. */
  render(range: Range): Piece[]
  /** A text of ours. */
  own(text: string): Piece
  refuse(message: string): never
}

export type Rule = {
  readonly names: readonly string[]
  /** A number, or the least and the most. */
  readonly args: number | readonly [number, number]
  readonly to: string | ((rewrite: CallRewrite) => Piece[] | undefined)
}

export function rule(names: string, args: Rule['args'], to: Rule['to']): Rule {
  return { names: names.toLowerCase().split(' '), args, to }
}

export const MANY = Number.MAX_SAFE_INTEGER

/** `undefined`: the rule is not for this call. */
export function applyRule(each: Rule, rewrite: CallRewrite): Piece[] | undefined {
  const { call } = rewrite
  const [least, most] = typeof each.args === 'number' ? [each.args, each.args] : each.args
  if (call.args.length < least || call.args.length > most) return undefined
  if (typeof each.to !== 'string') return each.to(rewrite)
  if (/^\w+$/.test(each.to)) return renamed(each.to, rewrite)
  return filled(each.to, rewrite)
}

/** Only the name changes. */
export function renamed(name: string, { call, own, render }: CallRewrite): Piece[] {
  return [...render([call.start, call.nameAt]), own(name), ...render([call.nameAt + 1, call.end])]
}

/** A template with the call's parts in it. */
export function filled(template: string, rewrite: CallRewrite): Piece[] {
  const { call, own, render, refuse } = rewrite
  if (call.isDistinct && !template.includes('{d}')) refuse('DISTINCT does not go with it')
  if (call.orderBy && !template.includes('{o}')) refuse('ORDER BY does not go with it')
  if (call.nulls !== undefined) refuse(`${call.nulls.toUpperCase()} NULLS does not go with it`)
  const pieces: Piece[] = []
  const add = (more: readonly Piece[]) => {
    for (const piece of more) pieces.push(piece)
  }
  const isAggregate = /\{t[:}]/.test(template)
  for (const part of template.split(/(\{(?:\d|\*|d|o|t)\}|\{t:(?:[^{}]|\{\d\})*\})/)) {
    if (part === '') continue
    const key = part.startsWith('{') && part.endsWith('}') ? part.slice(1, -1) : undefined
    if (key === undefined) pieces.push(own(part))
    else if (key === 'd') pieces.push(own(call.isDistinct ? 'DISTINCT ' : ''))
    else if (key === 'o') add(call.orderBy ? [own(' '), ...render(call.orderBy)] : [])
    else if (key === '*')
      add(
        joined(
          call.args.map(({ range }) => render(range)),
          own(', '),
        ),
      )
    else if (/^\d$/.test(key)) add(argument(rewrite, Number(key)))
    else add(tail(rewrite, key === 't' ? undefined : key.slice(2)))
  }
  if (!isAggregate && (call.filter || call.over)) pieces.push(own(' '), ...render([call.close + 1, call.end]))
  return pieces
}

export function argument({ call, render, refuse }: CallRewrite, number: number): Piece[] {
  const found = call.args[number - 1]
  return found ? render(found.range) : refuse(`expected an argument ${number}`)
}

export function joined(parts: readonly (readonly Piece[])[], separator: Piece): Piece[] {
  return parts.flatMap((part, index) => (index === 0 ? [...part] : [separator, ...part]))
}

/** FILTER and OVER of the call, with a condition (a template over the arguments) besides. */
export function tail(rewrite: CallRewrite, condition?: string): Piece[] {
  const { call, own, render } = rewrite
  const conditions: Piece[][] = []
  if (condition !== undefined) {
    const parts = condition.split(/(\{\d\})/)
    conditions.push(parts.flatMap((part) => (/^\{\d\}$/.test(part) ? argument(rewrite, Number(part[1])) : [own(part)])))
  }
  if (call.filter) conditions.push([own('('), ...render(call.filter), own(')')])
  return [
    ...(conditions.length === 0 ? [] : [own(' FILTER (WHERE '), ...joined(conditions, own(' AND ')), own(')')]),
    ...(call.over ? [own(' '), ...render(call.over)] : []),
  ]
}

export function dialectError(message: string, position: unknown): MillraceError {
  return new MillraceError('query-invalid', message, { facts: position ? { position } : {} })
}
