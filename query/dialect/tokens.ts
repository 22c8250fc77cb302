/**
 * A statement's text as tokens, cut the way DuckDB's lexer cuts it: enough to find where a call's arguments begin and end, and
 * nothing of it is trusted. What is rewritten with their help is parsed and checked again as a whole (`statement.ts`).
 *
 * Known: 'it''s', E'it\'s', $tag$…$tag$, "quoted ""names""", comments (nested ones too), numbers, names, `->>`, `::`, `:=`,
 * `=>`. Anything else is one symbol per character. A text that ends inside of a string or comment gives undefined.
 */
export type Token = {
  readonly kind: 'name' | 'quoted' | 'text' | 'number' | 'symbol'
  /** [start, end) in UTF-16 units of the text. */
  readonly start: number
  readonly end: number
  /** Names in lower case; symbols and numbers as written; quoted names and texts without their quotes. */
  readonly value: string
  /** Of an opening bracket the index of its closing one, and the other way round; -1 otherwise. */
  readonly match: number
}

const PATTERN =
  /(\s+|--[^\n]*)|(\/\*)|([eE]'(?:[^'\\]|\\[\s\S]|'')*')|('(?:[^']|'')*')|(\$([A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$)|("(?:[^"]|"")*")|((?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?)|([A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)|(->>|->|::|:=|=>|<=|>=|<>|!=|==|\|\|)|([\s\S])/y

const OPENING = new Map([
  ['(', ')'],
  ['[', ']'],
  ['{', '}'],
])
const CLOSING = new Set(OPENING.values())

export function tokenize(text: string): readonly Token[] | undefined {
  const tokens: { -readonly [Key in keyof Token]: Token[Key] }[] = []
  const open: number[] = []
  let at = 0
  const add = (kind: Token['kind'], end: number, value: string) => {
    tokens.push({ kind, start: at, end, value, match: -1 })
    at = end
  }
  while (at < text.length) {
    PATTERN.lastIndex = at
    const found = PATTERN.exec(text)
    if (!found) return undefined
    const end = PATTERN.lastIndex
    const [whole, blank, comment, escaped, literal, dollar, , quoted, number, name] = found
    if (blank !== undefined) at = end
    else if (comment !== undefined) {
      const after = endOfComment(text, at)
      if (after === undefined) return undefined
      at = after
    } else if (escaped !== undefined) add('text', end, unescaped(whole.slice(2, -1)))
    else if (literal !== undefined) add('text', end, whole.slice(1, -1).replaceAll("''", "'"))
    else if (dollar !== undefined) {
      const close = text.indexOf(dollar, end)
      if (close < 0) return undefined
      add('text', close + dollar.length, text.slice(end, close))
    } else if (quoted !== undefined) add('quoted', end, whole.slice(1, -1).replaceAll('""', '"'))
    else if (number !== undefined) add('number', end, whole)
    else if (name !== undefined) add('name', end, whole.toLowerCase())
    else {
      if (whole === "'" || whole === '"') return undefined
      if (OPENING.has(whole)) open.push(tokens.length)
      else if (CLOSING.has(whole)) {
        const index = open.pop()
        if (index === undefined || OPENING.get(tokens[index].value) !== whole) return undefined
        tokens[index].match = tokens.length
        add('symbol', end, whole)
        tokens[tokens.length - 1].match = index
        continue
      }
      add('symbol', end, whole)
    }
  }
  return open.length === 0 ? tokens : undefined
}

function endOfComment(text: string, start: number): number | undefined {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    if (text.startsWith('/*', at)) {
      depth++
      at++
    } else if (text.startsWith('*/', at)) {
      at++
      if (--depth === 0) return at + 1
    }
  }
  return undefined
}

function unescaped(text: string): string {
  const named: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f' }
  return text.replaceAll("''", "'").replaceAll(/\\([\s\S])/g, (_, each: string) => named[each] ?? each)
}

export function isName(token: Token | undefined, ...names: readonly string[]): boolean {
  return token?.kind === 'name' && names.includes(token.value)
}

export function isSymbol(token: Token | undefined, ...symbols: readonly string[]): boolean {
  return token?.kind === 'symbol' && symbols.includes(token.value)
}

/** The token after this one and, if it opens a bracket, after all that it encloses. */
export function nextOutside(tokens: readonly Token[], index: number): number {
  const { match } = tokens[index]
  return match > index ? match + 1 : index + 1
}

/** Ranges of tokens between commas that are in no bracket; of an empty range, none. */
export function splitAtCommas(tokens: readonly Token[], from: number, to: number): (readonly [number, number])[] {
  if (from >= to) return []
  const parts: (readonly [number, number])[] = []
  let start = from
  for (let at = from; at < to; at = nextOutside(tokens, at)) {
    if (!isSymbol(tokens[at], ',')) continue
    parts.push([start, at])
    start = at + 1
  }
  parts.push([start, to])
  return parts
}

/** DuckDB counts UTF-8 bytes; tokens count UTF-16 units. */
export function byteToIndex(text: string): (bytes: number) => number {
  if (Buffer.byteLength(text) === text.length) return (bytes) => bytes
  const buffer = Buffer.from(text, 'utf8')
  return (bytes) => buffer.subarray(0, bytes).toString('utf8').length
}
