/**
 * Text that people type, or a file of statements → statements and commands, as the server's lexer would cut it: a semicolon
 * within quotes, dollar quotes or comments ends nothing, and a backslash outside of them begins a command that goes to the end
 * of its line. What is begun and not ended is the rest, with what it is inside of.
 *
 *   select 1; select ';'   two statements
 *   select 1 \watch 2      the command `\watch 2`, about `select 1`
 *   select $a$ ;           nothing yet: the rest, inside of `$a$`
 */

export type Piece =
  /** Without its semicolon. `start` is where its first character stands in the text. */
  | { readonly kind: 'statement'; readonly text: string; readonly start: number }
  /** `text` begins with a backslash; `statement` is what stands before it on the way, or empty. */
  | { readonly kind: 'command'; readonly text: string; readonly statement: string; readonly start: number }

export type Inside = '' | "'" | '"' | '$' | '*'

export type Split = {
  readonly pieces: readonly Piece[]
  /** Without blanks before it; empty when there is nothing but blanks and comments. */
  readonly rest: string
  readonly restStart: number
  readonly inside: Inside
}

const SPACE = /\s/
const NAME_CHARACTER = /[\w$\u0080-\uffff]/
const DOLLAR_QUOTE = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y

export function splitStatements(text: string): Split {
  const pieces: Piece[] = []
  /** Where the first thing stands that is neither blank nor comment. */
  let first: number | undefined
  let at = 0
  let inside: Inside = ''

  while (at < text.length) {
    const skipped = skip(text, at)
    if (skipped) {
      // A comment that stays open keeps its place: the next line may end it.
      if (skipped.kind !== 'comment' || skipped.open) first ??= at
      at = skipped.end
      if (skipped.open) inside = skipped.open
      continue
    }
    const character = text[at]
    if (character === ';') {
      if (first !== undefined) pieces.push({ kind: 'statement', text: text.slice(first, at).trimEnd(), start: first })
      first = undefined
      at++
    } else if (character === '\\') {
      const lineEnd = text.indexOf('\n', at)
      const end = lineEnd < 0 ? text.length : lineEnd
      const statement = first === undefined ? '' : text.slice(first, at).trimEnd()
      pieces.push({ kind: 'command', text: text.slice(at, end).trim(), statement, start: first ?? at })
      first = undefined
      at = Math.min(text.length, end + 1)
    } else {
      if (!SPACE.test(character)) first ??= at
      at++
    }
  }
  const restStart = first ?? text.length
  return { pieces, rest: text.slice(restStart), restStart, inside }
}

type Skipped = { readonly kind: 'quoted' | 'comment'; readonly end: number; readonly open: Inside | undefined }

/** Something that is passed over whole and begins here: a comment, a text, a quoted name. */
export function skip(text: string, at: number): Skipped | undefined {
  const character = text[at]
  if (character === '-' && text[at + 1] === '-') {
    const end = text.indexOf('\n', at)
    return { kind: 'comment', end: end < 0 ? text.length : end, open: undefined }
  }
  if (character === '/' && text[at + 1] === '*') return comment(text, at)
  if (character === "'" || character === '"') return quoted(text, at, character)
  if (character === '$' && !NAME_CHARACTER.test(text[at - 1] ?? ' ')) {
    DOLLAR_QUOTE.lastIndex = at
    const tag = DOLLAR_QUOTE.exec(text)?.[0]
    if (tag === undefined) return undefined
    const end = text.indexOf(tag, at + tag.length)
    return { kind: 'quoted', end: end < 0 ? text.length : end + tag.length, open: end < 0 ? '$' : undefined }
  }
  return undefined
}

/** They nest. */
function comment(text: string, from: number): Skipped {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    if (text[at] === '/' && text[at + 1] === '*') {
      depth++
      at++
    } else if (text[at] === '*' && text[at + 1] === '/') {
      at++
      if (--depth === 0) return { kind: 'comment', end: at + 1, open: undefined }
    }
  }
  return { kind: 'comment', end: text.length, open: '*' }
}

function quoted(text: string, from: number, quote: "'" | '"'): Skipped {
  const isEscaped = quote === "'" && /^e$/i.test(text[from - 1] ?? '') && !NAME_CHARACTER.test(text[from - 2] ?? ' ')
  for (let at = from + 1; at < text.length; at++) {
    if (isEscaped && text[at] === '\\') at++
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return { kind: 'quoted', end: at + 1, open: undefined }
      at++
    }
  }
  return { kind: 'quoted', end: text.length, open: quote }
}
