/**
 * Java's regular expressions on names of topics: `matches` (the whole text) and `replaceFirst`, by translation into JavaScript's.
 *
 *   Java                                       JavaScript (flag v)
 *   (a)  \1                                    (?<g1>a)  \k<g1>: by name, since the next line adds groups
 *   a*+  (?>a)                                 (?=(?<a1>a*))\k<a1>: what a lookahead captured is not given back
 *   (?i)a[b-d]  (?i:a)                         [aA][b-dB-D]: written out, since V8 lets classes within (?i:) leak
 *   [a-c[x-z]&&[^b]]                           [[a-cx-z]&&[^b]]
 *   \Q..\E  \x{41}  \07  \cA  \A \z \Z         the characters, ^ and $
 *   \d \w \s \h \v \R  \p{Alpha} \p{javaLowerCase}   ASCII classes, written out
 *
 * Not translated, and refused with the reason: the flag `x`, `\G`, `\X`, `\N{..}`, classes of blocks (`\p{InGreek}`). A
 * reference to a group that took no part matches nothing here, and fails in Java. A group within a repeated one is forgotten when a
 * repetition does without it; Java remembers it from the one before. A repeated group that can match nothing (`(a?)*`) may stop
 * at another place.
 */
import { CLASS_ESCAPES, type Cursor, namedClass, RegexProblem, readCharacter } from './regex-escapes.ts'

export { RegexProblem } from './regex-escapes.ts'

export type JavaRegex = {
  matches(text: string): boolean
  /**
   * The text with the first place that the expression finds replaced, `$1`, `${name}` and `\` as in Java. `malformed`: Java
   * throws an IllegalArgumentException; `no group`: the replacement has the number of a group that is not there.
   */
  replaceFirst(text: string, replacement: string): { readonly text: string } | 'malformed' | 'no group'
}

/** Throws `RegexProblem`. */
export function javaRegex(pattern: string): JavaRegex {
  const { source, groupCount, names } = translate(pattern)
  const whole = compile(`^(?:${source})$`)
  const first = compile(source)
  return {
    matches: (text) => whole.test(text),
    replaceFirst(text, replacement) {
      const found = first.exec(text)
      if (found === null) return { text }
      const put = expand(replacement, groupCount, names, found)
      if (typeof put === 'string') return put
      return { text: text.slice(0, found.index) + put.text + text.slice(found.index + found[0].length) }
    },
  }
}

function compile(source: string): RegExp {
  try {
    return new RegExp(source, 'v')
  } catch (cause) {
    throw new RegexProblem(cause instanceof Error ? cause.message : String(cause))
  }
}

const REFERENCE = /\$(?:\{([a-zA-Z][a-zA-Z0-9]*)\}|(\d+))/y

function expand(
  replacement: string,
  groupCount: number,
  names: ReadonlyMap<string, number>,
  found: RegExpExecArray,
): ReturnType<JavaRegex['replaceFirst']> {
  let put = ''
  let at = 0
  while (at < replacement.length) {
    const char = replacement[at]
    if (char === '\\') {
      if (at + 1 === replacement.length) return 'malformed'
      put += replacement[at + 1]
      at += 2
    } else if (char !== '$') {
      put += char
      at += 1
    } else {
      REFERENCE.lastIndex = at
      const [whole, name, digits] = REFERENCE.exec(replacement) ?? []
      if (whole === undefined) return 'malformed'
      // As many digits as still name a group.
      let length = digits === undefined ? 0 : 1
      while (length > 0 && length < digits.length && Number(digits.slice(0, length + 1)) <= groupCount) length += 1
      const group = name === undefined ? Number(digits.slice(0, length)) : names.get(name)
      if (group === undefined) return 'malformed'
      if (group > groupCount) return 'no group'
      put += group === 0 ? found[0] : (found.groups?.[`g${group}`] ?? '')
      at += name === undefined ? 1 + length : whole.length
    }
  }
  return { text: put }
}

type Translation = {
  readonly source: string
  readonly groupCount: number
  readonly names: ReadonlyMap<string, number>
}

type Flags = { readonly i: boolean; readonly s: boolean }

type Frame = {
  /** Where in `output` its opening stands. */
  readonly start: number
  readonly closing: string
  /** In force before the group, and again after it. */
  readonly outer: Flags
}

/** State of one translation. `output` holds pieces; the last atom are those from `atom` on (-1: nothing to repeat). */
type State = Cursor & {
  readonly output: string[]
  atom: number
  flags: Flags
  groupCount: number
  atomicCount: number
  readonly names: Map<string, number>
  readonly frames: Frame[]
  /** A reference to a higher group matches nothing. */
  readonly groupsInAll: number
}

function translate(pattern: string): Translation {
  const state: State = {
    text: pattern,
    at: 0,
    output: [],
    atom: -1,
    flags: { i: false, s: false },
    groupCount: 0,
    atomicCount: 0,
    names: new Map(),
    frames: [],
    groupsInAll: countGroups(pattern),
  }
  while (state.at < pattern.length) step(state)
  if (state.frames.length > 0) throw new RegexProblem(`group is not closed at the end of the pattern`)
  return { source: state.output.join(''), groupCount: state.groupCount, names: state.names }
}

function countGroups(pattern: string): number {
  const plain = pattern.replace(/\\Q.*?(?:\\E|$)|\\./gs, '').replace(/\[\^?\]?[^\]]*\]/g, '')
  return (plain.match(/\((?!\?)|\(\?<[a-zA-Z]/g) ?? []).length
}

function step(state: State) {
  const char = state.text[state.at]
  switch (char) {
    case '(':
      return openGroup(state)
    case ')':
      return closeGroup(state)
    case '|':
      state.at += 1
      state.output.push('|')
      state.atom = -1
      return
    case '*':
    case '+':
    case '?':
    case '{':
      return quantifier(state)
    case '[':
      state.at += 1
      return atom(state, readClass(state))
    case '.':
      state.at += 1
      return atom(state, state.flags.s ? '[^]' : '.')
    case '^':
    case '$':
      state.at += 1
      return atom(state, char)
    case '\\':
      return readEscape(state)
    default:
      return atom(state, character(state, plainCharacter(state)))
  }
}

function atom(state: State, source: string): void {
  state.atom = state.output.length
  state.output.push(source)
}

function literal(codePoint: number): string {
  const char = String.fromCodePoint(codePoint)
  return /[A-Za-z0-9_]/.test(char) ? char : `\\u{${codePoint.toString(16)}}`
}

/** Java folds ASCII letters only. */
function character(state: State, codePoint: number): string {
  const own = literal(codePoint)
  return state.flags.i && /^[A-Za-z]$/.test(own) ? `[${own.toLowerCase()}${own.toUpperCase()}]` : own
}

function plainCharacter(state: State): number {
  const codePoint = state.text.codePointAt(state.at)!
  state.at += codePoint > 0xffff ? 2 : 1
  return codePoint
}

const FLAGS = /\(\?([imsdu]*)(?:-([imsdu]*))?([:)])/y
const NAMED = /\(\?<([a-zA-Z][a-zA-Z0-9]*)>/y

function openGroup(state: State) {
  const { text, at } = state
  NAMED.lastIndex = at
  const name = NAMED.exec(text)?.[1]
  if (text[at + 1] !== '?' || name !== undefined) {
    if (name !== undefined && state.names.has(name)) throw new RegexProblem(`group "${name}" is defined twice`)
    state.groupCount += 1
    if (name !== undefined) state.names.set(name, state.groupCount)
    return pushFrame(state, name === undefined ? 1 : name.length + 4, `(?<g${state.groupCount}>`, ')')
  }
  for (const opening of ['(?:', '(?=', '(?!', '(?<=', '(?<!']) {
    if (text.startsWith(opening, at)) return pushFrame(state, opening.length, opening, ')')
  }
  if (text.startsWith('(?>', at)) {
    state.atomicCount += 1
    const own = `a${state.atomicCount}`
    return pushFrame(state, 3, `(?:(?=(?<${own}>`, `))\\k<${own}>)`)
  }
  FLAGS.lastIndex = at
  const flags = FLAGS.exec(text)
  if (flags === null) throw new RegexProblem(`group at ${at} is of an unknown or untranslated kind`)
  const outer = state.flags
  const [, on, off = '', end] = flags
  const set = (flag: 'i' | 's') => (on.includes(flag) || outer[flag]) && !off.includes(flag)
  if (end === ':') pushFrame(state, flags[0].length, '(?:', ')')
  else state.at += flags[0].length
  // `d`, `m` (line ends) and `u` (folding beyond ASCII) change nothing for names of topics.
  state.flags = { i: set('i'), s: set('s') }
  state.atom = -1
}

function pushFrame(state: State, length: number, opening: string, closing: string): void {
  state.at += length
  state.frames.push({ start: state.output.length, closing, outer: state.flags })
  state.output.push(opening)
  state.atom = -1
}

function closeGroup(state: State): void {
  const frame = state.frames.pop()
  if (frame === undefined) throw new RegexProblem(`) at ${state.at} closes nothing`)
  state.at += 1
  state.flags = frame.outer
  state.output.push(frame.closing)
  atom(state, state.output.splice(frame.start).join(''))
}

const QUANTIFIER = /[*+?]|\{\d+(?:,\d*)?\}/y

function quantifier(state: State): void {
  QUANTIFIER.lastIndex = state.at
  const found = QUANTIFIER.exec(state.text)
  if (found === null) throw new RegexProblem(`illegal repetition at ${state.at}`)
  if (state.atom < 0) throw new RegexProblem(`nothing to repeat before "${found[0]}" at ${state.at}`)
  state.at += found[0].length
  const suffix = state.text[state.at]
  if (suffix === '?' || suffix === '+') state.at += 1
  const repeated = state.output.splice(state.atom).join('') + found[0]
  state.atom = -1
  if (suffix !== '+') {
    state.output.push(repeated + (suffix === '?' ? '?' : ''))
    return
  }
  state.atomicCount += 1
  state.output.push(`(?:(?=(?<a${state.atomicCount}>${repeated}))\\k<a${state.atomicCount}>)`)
}

function readEscape(state: State) {
  const { text } = state
  const char = text[state.at + 1]
  if (char === undefined) throw new RegexProblem('backslash at the end')
  if (char === 'Q') {
    const end = text.indexOf('\\E', state.at + 2)
    const quoted = text.slice(state.at + 2, end < 0 ? text.length : end)
    state.at = end < 0 ? text.length : end + 2
    for (const each of quoted) atom(state, character(state, each.codePointAt(0)!))
    return
  }
  if (/[1-9]/.test(char)) return backReference(state)
  if (char === 'k') {
    const name = /\\k<([a-zA-Z][a-zA-Z0-9]*)>/y
    name.lastIndex = state.at
    const group = name.exec(text)
    const number = group ? state.names.get(group[1]) : undefined
    if (!group || number === undefined) throw new RegexProblem(`\\k at ${state.at} names no group before it`)
    state.at += group[0].length
    return atom(state, `\\k<g${number}>`)
  }
  const assertion = ASSERTIONS[char]
  if (assertion !== undefined) {
    state.at += 2
    return atom(state, assertion)
  }
  if (CLASS_ESCAPES[char] !== undefined) {
    state.at += 2
    return atom(state, char === 'R' ? CLASS_ESCAPES.R : `[${CLASS_ESCAPES[char]}]`)
  }
  if (char === 'p' || char === 'P') return atom(state, namedClass(state, state.flags.i))
  atom(state, character(state, readCharacter(state)))
}

const ASSERTIONS: Readonly<Record<string, string>> = { A: '^', z: '$', Z: '$', b: '\\b', B: '\\B' }

function backReference(state: State): void {
  const digits = /\d+/y
  digits.lastIndex = state.at + 1
  const all = digits.exec(state.text)![0]
  let length = 1
  while (length < all.length && Number(all.slice(0, length + 1)) <= state.groupsInAll) length += 1
  const group = Number(all.slice(0, length))
  state.at += 1 + length
  atom(state, group > state.groupsInAll ? '(?:(?!))' : `\\k<g${group}>`)
}

/** After `[`: to its `]`. Operands of `&&` become classes of their own. */
function readClass(state: State): string {
  const { text } = state
  const isNegated = text[state.at] === '^'
  if (isNegated) state.at += 1
  const operands: string[] = ['']
  const add = (source: string) => {
    operands[operands.length - 1] += source
  }
  let isFirst = true
  for (;;) {
    const char = text[state.at]
    if (char === undefined) throw new RegexProblem('unclosed character class')
    if (char === ']' && !(isFirst && operands.length === 1)) break
    isFirst = false
    if (char === '[') {
      state.at += 1
      add(readClass(state))
    } else if (text.startsWith('&&', state.at)) {
      while (text[state.at] === '&') state.at += 1
      operands.push('')
    } else {
      add(classItem(state))
    }
  }
  state.at += 1
  const used = operands.filter((operand, i) => operand !== '' || i === 0)
  const inside = used.length === 1 ? used[0] : used.map((operand) => `[${operand}]`).join('&&')
  return `[${isNegated ? '^' : ''}${inside}]`
}

function classItem(state: State): string {
  const { text } = state
  if (text[state.at] === '\\') {
    const char = text[state.at + 1]
    if (char === 'Q') {
      const end = text.indexOf('\\E', state.at + 2)
      const quoted = text.slice(state.at + 2, end < 0 ? text.length : end)
      state.at = end < 0 ? text.length : end + 2
      return [...quoted].map((each) => character(state, each.codePointAt(0)!)).join('')
    }
    if (char === 'p' || char === 'P') return namedClass(state, state.flags.i)
    if (char !== undefined && char !== 'R' && CLASS_ESCAPES[char] !== undefined) {
      state.at += 2
      return `[${CLASS_ESCAPES[char]}]`
    }
  }
  const low = classCharacter(state)
  if (text[state.at] !== '-' || text[state.at + 1] === ']' || text[state.at + 1] === '[') return character(state, low)
  if (text[state.at + 1] === undefined) throw new RegexProblem('unclosed character class')
  state.at += 1
  const high = classCharacter(state)
  if (high < low) throw new RegexProblem(`illegal range in a character class at ${state.at}`)
  return range(low, high) + (state.flags.i ? otherCase(low, high, 'A', 'a') + otherCase(low, high, 'a', 'A') : '')
}

function range(low: number, high: number): string {
  return `${literal(low)}-${literal(high)}`
}

/** Of the letters from `first` on that lie in the range, those in the other case. */
function otherCase(low: number, high: number, first: string, other: string): string {
  const start = first.charCodeAt(0)
  const shift = other.charCodeAt(0) - start
  const [from, to] = [Math.max(low, start), Math.min(high, start + 25)]
  return from > to ? '' : range(from + shift, to + shift)
}

function classCharacter(state: State): number {
  return state.text[state.at] === '\\' ? readCharacter(state) : plainCharacter(state)
}
