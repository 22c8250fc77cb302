/**
 * Does a text begin like a statement that only reads? A wall of the engine process of its own, behind the check of the whole
 * syntax tree in `query/statement/`: DuckDB does something for a few statements while it merely prepares them (EXPORT
 * makes its folder), and runs what EXPLAIN ANALYZE explains, whatever it is. So they are not even prepared.
 */
const READS = new Set([
  'select',
  'with',
  'from',
  'values',
  'table',
  'describe',
  'desc',
  'summarize',
  'show',
  'pivot',
  'pivot_wider',
  'unpivot',
  'pivot_longer',
])

export function beginsLikeReading(text: string): boolean {
  let at = skipBlanks(text, 0)
  for (;;) {
    const word = wordAt(text, at)
    if (word !== 'explain') return READS.has(word)
    at = skipBlanks(text, at + word.length)
    if (wordAt(text, at) === 'analyze') at = skipBlanks(text, at + 'analyze'.length)
    if (/^\(\s*(?:format|analyze)\b/i.test(text.slice(at, at + 100))) at = skipBlanks(text, text.indexOf(')', at) + 1)
    if (wordAt(text, at) === 'explain') return false
  }
}

function wordAt(text: string, at: number): string {
  return (/^\w*/.exec(text.slice(at, at + 20)) as RegExpExecArray)[0].toLowerCase()
}

/** Blanks, comments (which nest) and the parentheses that a query may stand in. */
function skipBlanks(text: string, from: number): number {
  let at = from
  let depth = 0
  while (at < text.length) {
    const two = text.slice(at, at + 2)
    if (two === '/*') {
      depth += 1
      at += 2
    } else if (depth > 0) {
      if (two === '*/') depth -= 1
      at += two === '*/' ? 2 : 1
    } else if (two === '--') {
      const end = text.indexOf('\n', at)
      if (end < 0) return text.length
      at = end + 1
    } else if (/[\s;]/.test(text[at])) at += 1
    else if (text[at] === '(' && !/^\(\s*(?:format|analyze)\b/i.test(text.slice(at, at + 100))) at += 1
    else return at
  }
  return at
}
