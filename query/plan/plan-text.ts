/**
 * The tokens of DuckDB's plan texts. Texts in quotes are one token whatever they hold; when quotes do not come out even,
 * nothing of the text is believed.
 */
export type Token = {
  readonly kind: 'word' | 'symbol' | 'text' | 'line'
  readonly text: string
}

export function tokenize(text: string): Token[] | undefined {
  const tokens: Token[] = []
  const pattern =
    /'((?:[^']|'')*)'|(\n)|([A-Za-z_][A-Za-z0-9_]*)|(-?\d[\d.]*(?:[eE][+-]?\d+)?)|(>=|<=|!=|<>|::|[=<>(),:])|([ \t\r]+)|([\s\S])/g
  for (const [, literal, line, word, number, symbol, blank, other] of text.matchAll(pattern)) {
    if (literal !== undefined) tokens.push({ kind: 'text', text: literal.replaceAll("''", "'") })
    else if (line !== undefined) tokens.push({ kind: 'line', text: line })
    else if (word !== undefined) tokens.push({ kind: 'word', text: word })
    else if (number !== undefined) tokens.push({ kind: 'word', text: number })
    else if (symbol !== undefined) tokens.push({ kind: 'symbol', text: symbol })
    else if (blank === undefined) {
      if (other === "'") return undefined
      tokens.push({ kind: 'symbol', text: other })
    }
  }
  return tokens
}

export function splitAt(tokens: readonly Token[], isSeparator: (token: Token) => boolean): Token[][] {
  const parts: Token[][] = [[]]
  for (const token of tokens) {
    if (isSeparator(token)) parts.push([])
    else parts.at(-1)?.push(token)
  }
  return parts.filter((part) => part.length > 0)
}

export function isWord(token: Token | undefined, word: string): boolean {
  return token?.kind === 'word' && token.text === word
}

export function isSymbol(token: Token | undefined, text: string): boolean {
  return token?.kind === 'symbol' && token.text === text
}
