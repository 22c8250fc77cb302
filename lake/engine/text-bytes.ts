/**
 * The bytes of a text (UTF-8, as the engine has them) as a cell of each format: copied four at a time until one comes that must not
 * stand there as it is. Most texts have none, and go through without a string being made of them.
 *
 *   json   in quotes; `"`, `\` and control characters escaped as JSON.stringify does
 *   csv    in quotes only when it is empty, has a quote, comma or line break, or begins or ends with a blank
 *   tsv    backslash, tab and line breaks escaped
 *
 * `Bytes` are written from `at` on; each function gives where it ended. At most `GROWTH` bytes for one are written, and two quotes.
 */
export type TextStyle = 'json' | 'csv' | 'tsv'

export const GROWTH: Readonly<Record<TextStyle, number>> = { json: 6, csv: 2, tsv: 2 }

/** How many bytes a text grows by its escapes; without the two quotes. */
export function growthOf(style: TextStyle, from: DataView, start: number, end: number): number {
  let growth = 0
  for (let index = start; index < end; index++) {
    const byte = from.getUint8(index)
    if (style === 'tsv') growth += TSV_SPECIAL[byte]
    else if (style === 'csv') growth += byte === QUOTE ? 1 : 0
    else if (JSON_SPECIAL[byte] !== 0) growth += JSON_LETTERS[byte] === 0 ? 5 : 1
  }
  return growth
}

export type WriteText = (out: DataView, at: number, from: DataView, start: number, end: number) => number

export const WRITE_TEXT: Readonly<Record<TextStyle, WriteText>> = {
  json: writeJsonText,
  csv: writeCsvText,
  tsv: writeTsvText,
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const JSON_SPECIAL = tableOf([QUOTE, BACKSLASH, ...Array.from({ length: 32 }, (_, byte) => byte)])
const CSV_SPECIAL = tableOf([QUOTE, 0x2c, 0x0a, 0x0d])
const TSV_SPECIAL = tableOf([BACKSLASH, 0x09, 0x0a, 0x0d])
/** What stands behind the backslash; 0: it is `u` and four hexadecimal digits. */
const JSON_LETTERS = lettersOf({ 8: 'b', 9: 't', 10: 'n', 12: 'f', 13: 'r', 34: '"', 92: '\\' })
const TSV_LETTERS = lettersOf({ 9: 't', 10: 'n', 13: 'r', 92: '\\' })
const HEX = Buffer.from('0123456789abcdef')

function tableOf(bytes: readonly number[]): Uint8Array {
  const table = new Uint8Array(256)
  for (const byte of bytes) table[byte] = 1
  return table
}

function lettersOf(letters: Readonly<Record<number, string>>): Uint8Array {
  const table = new Uint8Array(256)
  for (const [byte, letter] of Object.entries(letters)) table[Number(byte)] = letter.charCodeAt(0)
  return table
}

/**
 * Whether one of four bytes is this one (four times in `pattern`): a byte of zero is what only borrows its highest bit when one is
 * taken away. Bytes beyond ASCII never are.
 */
function hasByte(word: number, pattern: number): number {
  const zeroed = word ^ pattern
  return (zeroed - 0x01010101) & ~zeroed & 0x80808080
}

function hasControl(word: number): number {
  return (word - 0x20202020) & ~word & 0x80808080
}

const QUOTES = 0x22222222
const BACKSLASHES = 0x5c5c5c5c
const COMMAS = 0x2c2c2c2c
const TABS = 0x09090909
const LINE_FEEDS = 0x0a0a0a0a
const RETURNS = 0x0d0d0d0d

function writeJsonText(out: DataView, at: number, from: DataView, start: number, end: number): number {
  let position = at
  out.setUint8(position++, QUOTE)
  let index = start
  for (; index + 4 <= end; index += 4) {
    const word = from.getInt32(index, true)
    if ((hasControl(word) | hasByte(word, QUOTES) | hasByte(word, BACKSLASHES)) !== 0) break
    out.setInt32(position, word, true)
    position += 4
  }
  for (; index < end; index++) {
    const byte = from.getUint8(index)
    if (JSON_SPECIAL[byte] === 0) out.setUint8(position++, byte)
    else position = writeJsonEscape(out, position, byte)
  }
  out.setUint8(position++, QUOTE)
  return position
}

function writeJsonEscape(out: DataView, at: number, byte: number): number {
  out.setUint8(at, BACKSLASH)
  out.setUint8(at + 1, JSON_LETTERS[byte])
  if (JSON_LETTERS[byte] !== 0) return at + 2
  out.setUint8(at + 1, 0x75)
  out.setUint8(at + 2, 0x30)
  out.setUint8(at + 3, 0x30)
  out.setUint8(at + 4, HEX[byte >> 4])
  out.setUint8(at + 5, HEX[byte & 15])
  return at + 6
}

function writeCsvText(out: DataView, at: number, from: DataView, start: number, end: number): number {
  if (start === end || mayBeBlank(from.getUint8(start), from.getUint8(end - 1))) {
    if (start === end || hasBlankEnd(from, start, end)) return writeCsvQuoted(out, at, from, start, end)
  }
  let position = at
  let index = start
  for (; index + 4 <= end; index += 4) {
    const word = from.getInt32(index, true)
    const special = hasByte(word, QUOTES) | hasByte(word, COMMAS) | hasByte(word, LINE_FEEDS) | hasByte(word, RETURNS)
    if (special !== 0) return writeCsvQuoted(out, at, from, start, end)
    out.setInt32(position, word, true)
    position += 4
  }
  for (; index < end; index++) {
    const byte = from.getUint8(index)
    if (CSV_SPECIAL[byte] !== 0) return writeCsvQuoted(out, at, from, start, end)
    out.setUint8(position++, byte)
  }
  return position
}

/** Of bytes of UTF-8 every blank beyond ASCII has the highest bit, and so have many others. */
function mayBeBlank(first: number, last: number): boolean {
  return first <= 0x20 || first >= 0x80 || last <= 0x20 || last >= 0x80
}

/** As `trim` sees it: the characters at the ends of a text are enough. */
function hasBlankEnd(from: DataView, start: number, end: number): boolean {
  const bytes = Buffer.from(from.buffer, from.byteOffset, from.byteLength)
  const isBlank = (first: number, last: number) => {
    const text = bytes.toString('utf8', first, last)
    return text.trim() !== text
  }
  let last = end - 1
  while (last > start && (bytes[last] & 0xc0) === 0x80) last--
  if (isBlank(last, end)) return true
  let next = start + 1
  while (next < end && (bytes[next] & 0xc0) === 0x80) next++
  return isBlank(start, next)
}

function writeCsvQuoted(out: DataView, at: number, from: DataView, start: number, end: number): number {
  let position = at
  out.setUint8(position++, QUOTE)
  for (let index = start; index < end; index++) {
    const byte = from.getUint8(index)
    if (byte === QUOTE) out.setUint8(position++, QUOTE)
    out.setUint8(position++, byte)
  }
  out.setUint8(position++, QUOTE)
  return position
}

function writeTsvText(out: DataView, at: number, from: DataView, start: number, end: number): number {
  let position = at
  let index = start
  for (; index + 4 <= end; index += 4) {
    const word = from.getInt32(index, true)
    const special =
      hasByte(word, BACKSLASHES) | hasByte(word, TABS) | hasByte(word, LINE_FEEDS) | hasByte(word, RETURNS)
    if (special !== 0) break
    out.setInt32(position, word, true)
    position += 4
  }
  for (; index < end; index++) {
    const byte = from.getUint8(index)
    if (TSV_SPECIAL[byte] === 0) out.setUint8(position++, byte)
    else {
      out.setUint8(position++, BACKSLASH)
      out.setUint8(position++, TSV_LETTERS[byte])
    }
  }
  return position
}
