/**
 * Statements that differ only in the values they compare with, as one shape: `WHERE id = 17` and `WHERE id = 18`.
 *
 * A literal is lifted only where its value decides which rows pass and nothing else: compared with something by = < <= > >=,
 * BETWEEN or IN, in a condition that is joined by AND all the way up to a WHERE or HAVING. Ordinals, limits, intervals,
 * patterns, arguments, casts (but those to dates and timestamps) and everything under OR, NOT or CASE stays as it is written,
 * and so does a shape with other values there. The same for parameters.
 *
 * Each lifted literal has a class, which is part of the shape: what DuckDB makes of it depends on no more than that. Probes
 * (`probeSql`) hold other values of the same class, by which `query/plan/lifted-needs.ts` learns what becomes of them.
 * A text with anything unusual (escape strings, dollar quotes, letters beyond ASCII) is not lifted at all.
 */
import { CLOCK_NAMES } from './statement-rules.ts'

export type LiteralClass =
  | { readonly kind: 'integer'; readonly bits: 32 | 64 }
  | { readonly kind: 'decimal'; readonly before: number; readonly after: number }
  | { readonly kind: 'date' | 'uuid' | 'text' }
  /** The format after the date: separator, digits of the fraction, zone. */
  | { readonly kind: 'timestamp'; readonly separator: string; readonly fraction: number; readonly zone: string }

/** What stands in the text between `start` and `end`; of a text without its quotes. */
export type Literal = {
  readonly start: number
  readonly end: number
  readonly class: LiteralClass
  readonly value: string
}

/** Which side of the compared values lets rows through, so that probes contradict nothing. */
export type Role = 'low' | 'middle' | 'high'

export type LiftedPlace = { readonly literal: number; readonly role: Role; readonly isNegative: boolean }
export type LiftedParameter = { readonly name: string; readonly role: Role; readonly isNegative: boolean }

export type Shape = {
  /** The text with every literal replaced by its class. */
  readonly key: string
  readonly literals: readonly Literal[]
}

export type Lifting = {
  readonly places: readonly LiftedPlace[]
  readonly parameters: readonly LiftedParameter[]
}

const TOKENS =
  /'((?:[^']|'')*)'|"(?:[^"]|"")*"|--[^\n]*|\/\*(?:[^*]|\*(?!\/))*\*\/|[A-Za-z_][A-Za-z0-9_$]*|\$[A-Za-z0-9_]+|(\d[A-Za-z0-9_.]*(?:(?<=[eE])[+-]\d+)?|\.\d[A-Za-z0-9_.]*)|[\s\S]/g

/** undefined: not a text whose literals are found without doubt. */
export function shapeOf(sql: string): Shape | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  if (!/^[\x01-\x7f]*$/.test(sql) || /\$\$|\$[A-Za-z_][A-Za-z0-9_]*\$/.test(sql)) return undefined
  const literals: Literal[] = []
  let key = ''
  let wordEnd = -1
  for (const match of sql.matchAll(TOKENS)) {
    const [token, text, number] = match
    const start = match.index
    // `E'…'`, `X'…'`, or a text right after one: not what it looks like.
    if (text !== undefined && start === wordEnd) return undefined
    if (text !== undefined || number !== undefined || /^\w/.test(token)) wordEnd = start + token.length
    // A quote that nothing closes, and a comment within a comment.
    if (token === "'" || token === '"' || (token.startsWith('/*') && token.indexOf('/*', 2) >= 0)) return undefined
    const literalClass =
      text !== undefined ? classOfText(text) : number !== undefined ? classOfNumber(number) : undefined
    if (literalClass === undefined) {
      key += token
      continue
    }
    const value = text === undefined ? number : text.replaceAll("''", "'")
    literals.push({ start, end: start + token.length, class: literalClass, value })
    key += `\u0000${JSON.stringify(literalClass)}\u0000`
  }
  return { key, literals }
}

const DIGITS_MAX = 15
const INT_MAX = 2n ** 31n - 1n
const LONG_MAX = 2n ** 63n - 1n

export function classOfNumber(text: string): LiteralClass | undefined {
  if (/^\d{1,19}$/.test(text)) {
    const value = BigInt(text)
    return value > LONG_MAX ? undefined : { kind: 'integer', bits: value > INT_MAX ? 64 : 32 }
  }
  const [, before, after] = /^(\d+)\.(\d+)$/.exec(text) ?? []
  if (before === undefined || before.length + after.length > DIGITS_MAX) return undefined
  return { kind: 'decimal', before: before.length, after: after.length }
}

const TIMESTAMP =
  /^\d{4}-\d\d-\d\d([ T])([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.(\d{1,6}))?(Z|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)?$/
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export function classOfText(text: string): LiteralClass | undefined {
  // A word that means the time of now, or the name of a hidden column, is more than a value.
  if (CLOCK_NAMES.has(text.toLowerCase()) || text.startsWith('_')) return undefined
  if (/^\d{4}-\d\d-\d\d$/.test(text)) return { kind: 'date' }
  const [, separator, , fraction = '', zone = ''] = TIMESTAMP.exec(text) ?? []
  if (separator !== undefined) return { kind: 'timestamp', separator, fraction: fraction.length, zone }
  return { kind: UUID.test(text) ? 'uuid' : 'text' }
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
type Node = { readonly [key: string]: Json }

/** Which literals and parameters of a statement are lifted, by the tree that DuckDB gave of exactly this text. */
export function liftingOf(sql: string, { literals }: Shape, tree: string): Lifting {
  const places: LiftedPlace[] = []
  const parameters = new Map<string, LiftedParameter>()
  const uses = new Map<string, number>()
  const byStart = new Map(literals.map(({ start }, index) => [start, index]))

  function lift(value: Json | undefined, role: Role): void {
    const node = asNode(value)
    if (!node) return
    if (node.class === 'PARAMETER') {
      const name = String(node.identifier)
      if (parameters.has(name)) uses.set(name, Number.NaN)
      parameters.set(name, { name, role, isNegative: false })
      return
    }
    if (node.class === 'CAST') {
      const id = String(asNode(node.cast_type)?.id)
      const child = asNode(node.child)
      if (child?.class !== 'CONSTANT' || node.try_cast === true) return
      if (!['DATE', 'TIMESTAMP', 'TIMESTAMP WITH TIME ZONE'].includes(id)) return
      if (asNode(asNode(child.value)?.type)?.id === 'VARCHAR') lift(child, role)
      return
    }
    if (node.class !== 'CONSTANT') return
    const at = Number(node.query_location ?? 0)
    const sign = /^-\s*/.exec(sql.slice(at))?.[0] ?? ''
    const literal = byStart.get(at + sign.length)
    if (literal === undefined) return
    const isNumber = literals[literal].class.kind === 'integer' || literals[literal].class.kind === 'decimal'
    if (sign !== '' && !isNumber) return
    places.push({ literal, role: sign === '' ? role : OTHER_SIDE[role], isNegative: sign !== '' })
  }

  /** Conditions that a row must pass, all of them. */
  function condition(value: Json | undefined): void {
    const node = asNode(value)
    if (!node) return
    if (node.type === 'CONJUNCTION_AND' && Array.isArray(node.children)) {
      for (const child of node.children) condition(child)
    } else if (node.class === 'COMPARISON') {
      const side = SIDES[String(node.type)]
      if (side === undefined) return
      lift(node.right, side)
      lift(node.left, OTHER_SIDE[side])
    } else if (node.class === 'BETWEEN') {
      lift(node.lower, 'low')
      lift(node.upper, 'high')
    } else if (node.type === 'COMPARE_IN' && Array.isArray(node.children)) {
      for (const child of node.children.slice(1)) lift(child, 'middle')
    }
  }

  function walk(value: Json | undefined): void {
    if (Array.isArray(value)) {
      for (const each of value) walk(each)
      return
    }
    const node = asNode(value)
    if (!node) return
    if (node.class === 'PARAMETER') {
      const name = String(node.identifier)
      uses.set(name, (uses.get(name) ?? 0) + 1)
    }
    if (node.type === 'SELECT_NODE') {
      condition(node.where_clause)
      condition(node.having)
    }
    for (const each of Object.values(node)) walk(each)
  }

  walk(JSON.parse(tree) as Json)
  return {
    places: unique(places),
    parameters: [...parameters.values()].filter(({ name }) => uses.get(name) === 1),
  }
}

const SIDES: Readonly<Record<string, Role>> = {
  COMPARE_EQUAL: 'middle',
  COMPARE_GREATERTHAN: 'low',
  COMPARE_GREATERTHANOREQUALTO: 'low',
  COMPARE_LESSTHAN: 'high',
  COMPARE_LESSTHANOREQUALTO: 'high',
}

const OTHER_SIDE: Readonly<Record<Role, Role>> = { low: 'high', middle: 'middle', high: 'low' }

/** What DuckDB's parser made two of (a name for an expression that it repeats) is left as it is. */
function unique(places: readonly LiftedPlace[]): readonly LiftedPlace[] {
  return places.filter(({ literal }) => places.filter((each) => each.literal === literal).length === 1)
}

function asNode(value: Json | undefined): Node | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Node) : undefined
}

// ---- probes ---------------------------------------------------------------------------------------------------------

export type Probe = 0 | 1

/** Another value of the class, which no other place has; undefined when the class has too few. */
export function probeValue(literalClass: LiteralClass, role: Role, index: number, probe: Probe): string | undefined {
  const rank = role === 'low' ? 0 : role === 'middle' ? 1 : 2
  switch (literalClass.kind) {
    case 'integer': {
      const value = 1_000_003 + rank * 2_000_000 + probe * 700_000 + index * 2
      return index > 1000 ? undefined : String(literalClass.bits === 32 ? value : 4_000_000_000_000 + value)
    }
    case 'decimal': {
      const { before, after } = literalClass
      const digits = before + after
      const value = Math.floor(10 ** digits * (0.15 + rank * 0.3 + probe * 0.1)) + index * 2
      const odd = value % 2 === 1 ? value : value + 1
      // Never a whole number of tenths: the last digit counts, and the room of the next probe is not touched.
      if (index * 2 + 2 > 10 ** digits * 0.1 || odd % 10 === 0) return undefined
      const text = String(odd).padStart(digits, '0')
      return `${text.slice(0, before)}.${text.slice(before)}`
    }
    case 'date':
      return index < 28 ? dateOf(rank, probe, index) : undefined
    case 'timestamp': {
      const { separator, fraction, zone } = literalClass
      if (index >= 28) return undefined
      return `${dateOf(rank, probe, index)}${separator}11:22:33${fraction === 0 ? '' : `.${'7'.repeat(fraction)}`}${zone}`
    }
    case 'uuid':
      return `${['1', '7', 'd'][rank]}a2b3c4d-000${probe}-4000-8000-${String(index).padStart(12, '0')}`
    case 'text':
      return `${['b', 'm', 't'][rank]}q~lifted${probe}~${String(index).padStart(4, '0')}`
  }
}

function dateOf(rank: number, probe: Probe, index: number): string {
  return `${['2001', '2011', '2021'][rank]}-${probe === 0 ? '03' : '08'}-${String(index + 1).padStart(2, '0')}`
}

/** The text with other values in the lifted places. */
export function probeSql(sql: string, shape: Shape, places: readonly LiftedPlace[], values: readonly string[]): string {
  let text = ''
  let from = 0
  const inOrder = places.map((place, index) => ({ ...shape.literals[place.literal], new: values[index] }))
  for (const { start, end, class: literalClass, new: value } of inOrder.toSorted((a, b) => a.start - b.start)) {
    const isNumber = literalClass.kind === 'integer' || literalClass.kind === 'decimal'
    text += sql.slice(from, start) + (isNumber ? value : `'${value}'`)
    from = end
  }
  return text + sql.slice(from)
}
