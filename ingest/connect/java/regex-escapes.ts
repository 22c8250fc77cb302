/** Escapes of Java's regular expressions: single characters, and classes of characters by name. */
export class RegexProblem extends Error {}

export type Cursor = { readonly text: string; at: number }

const ASCII: Readonly<Record<string, string>> = {
  Lower: 'a-z',
  Upper: 'A-Z',
  ASCII: '\\u{0}-\\u{7f}',
  Alpha: 'a-zA-Z',
  Digit: '0-9',
  Alnum: 'a-zA-Z0-9',
  Punct: '\\u{21}-\\u{2f}\\u{3a}-\\u{40}\\u{5b}-\\u{60}\\u{7b}-\\u{7e}',
  Graph: '\\u{21}-\\u{7e}',
  Print: '\\u{20}-\\u{7e}',
  Blank: ' \\t',
  Cntrl: '\\u{0}-\\u{1f}\\u{7f}',
  XDigit: '0-9a-fA-F',
  Space: ' \\t\\n\\v\\f\\r',
  javaLowerCase: '\\p{Lowercase}',
  javaUpperCase: '\\p{Uppercase}',
  javaWhitespace: '\\s',
}

/** What stands in brackets for each; `\R` stands alone. */
export const CLASS_ESCAPES: Readonly<Record<string, string>> = {
  d: '0-9',
  D: '^0-9',
  w: 'a-zA-Z0-9_',
  W: '^a-zA-Z0-9_',
  s: ' \\t\\n\\v\\f\\r',
  S: '^ \\t\\n\\v\\f\\r',
  h: ' \\t\\u{a0}\\u{1680}\\u{180e}\\u{2000}-\\u{200a}\\u{202f}\\u{205f}\\u{3000}',
  H: '^ \\t\\u{a0}\\u{1680}\\u{180e}\\u{2000}-\\u{200a}\\u{202f}\\u{205f}\\u{3000}',
  v: '\\n\\v\\f\\r\\u{85}\\u{2028}\\u{2029}',
  V: '^\\n\\v\\f\\r\\u{85}\\u{2028}\\u{2029}',
  R: '(?:\\r\\n|[\\n\\v\\f\\r\\u{85}\\u{2028}\\u{2029}])',
}

/** At `\p` or `\P`. */
export function namedClass(cursor: Cursor, isIgnoreCase: boolean): string {
  const found = /\\[pP](?:\{([^}]*)\}|(.))/suy
  found.lastIndex = cursor.at
  const match = found.exec(cursor.text)
  if (match === null) throw new RegexProblem(`unclosed character family at ${cursor.at}`)
  const isNegated = cursor.text[cursor.at + 1] === 'P'
  cursor.at += match[0].length
  const name = match[1] ?? match[2]
  const ascii = ASCII[isIgnoreCase && (name === 'Lower' || name === 'Upper') ? 'Alpha' : name]
  if (ascii !== undefined) return `[${isNegated ? '^' : ''}${ascii}]`
  const plain = name.startsWith('Is') ? name.slice(2) : name
  for (const property of [plain, `Script=${plain}`, `gc=${plain}`, name.replace(/^(?:sc|script)=/i, 'Script=')]) {
    const source = `\\${isNegated ? 'P' : 'p'}{${property}}`
    try {
      new RegExp(source, 'v')
      return source
    } catch {
      // Not under this name: the next one.
    }
  }
  throw new RegexProblem(`character family "${name}" is unknown or not translated`)
}

const CONTROLS: Readonly<Record<string, number>> = { t: 9, n: 10, r: 13, f: 12, a: 7, e: 27 }
const NUMBERED = /\\(?:x([\da-fA-F]{2})|x\{([\da-fA-F]+)\}|u([\da-fA-F]{4})|0([0-3]?[0-7]{1,2})|c(.))/suy

/** At a backslash: the character that the escape stands for. */
export function readCharacter(cursor: Cursor): number {
  const char = cursor.text[cursor.at + 1]
  if (char === undefined) throw new RegexProblem('backslash at the end')
  NUMBERED.lastIndex = cursor.at
  const numbered = NUMBERED.exec(cursor.text)
  if (numbered) {
    cursor.at += numbered[0].length
    const [, short, long, unit, octal, control] = numbered
    if (control !== undefined) return control.codePointAt(0)! ^ 64
    const codePoint = octal !== undefined ? Number.parseInt(octal, 8) : Number.parseInt(short ?? long ?? unit, 16)
    if (codePoint > 0x10ffff) throw new RegexProblem(`no character has the number ${codePoint.toString(16)}`)
    return codePoint
  }
  const at = cursor.at
  const codePoint = cursor.text.codePointAt(at + 1)!
  cursor.at += codePoint > 0xffff ? 3 : 2
  if (CONTROLS[char] !== undefined) return CONTROLS[char]
  if (/[A-Za-z0-9]/.test(char)) throw new RegexProblem(`escape "\\${char}" at ${at} is unknown or not translated`)
  return codePoint
}
