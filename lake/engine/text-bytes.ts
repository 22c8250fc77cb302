/**
 * The bytes of a text (UTF-8, as the engine has them) as a cell of each format: copied byte by byte until one comes that must not
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

export type WriteText = (out: Uint8Array, at: number, from: Uint8Array, start: number, end: number) => number

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

function writeJsonText(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  let position = at
  out[position++] = QUOTE
  for (let index = start; index < end; index++) {
    const byte = from[index]
    if (JSON_SPECIAL[byte] === 0) out[position++] = byte
    else position = writeJsonEscape(out, position, byte)
  }
  out[position++] = QUOTE
  return position
}

function writeJsonEscape(out: Uint8Array, at: number, byte: number): number {
  out[at] = BACKSLASH
  out[at + 1] = JSON_LETTERS[byte]
  if (JSON_LETTERS[byte] !== 0) return at + 2
  out[at + 1] = 0x75
  out[at + 2] = 0x30
  out[at + 3] = 0x30
  out[at + 4] = HEX[byte >> 4]
  out[at + 5] = HEX[byte & 15]
  return at + 6
}

function writeCsvText(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  if (start === end || mayBeBlank(from[start], from[end - 1])) {
    if (start === end || hasBlankEnd(from, start, end)) return writeCsvQuoted(out, at, from, start, end)
  }
  let position = at
  for (let index = start; index < end; index++) {
    const byte = from[index]
    if (CSV_SPECIAL[byte] !== 0) return writeCsvQuoted(out, at, from, start, end)
    out[position++] = byte
  }
  return position
}

/** Of bytes of UTF-8 every blank beyond ASCII has the highest bit, and so have many others. */
function mayBeBlank(first: number, last: number): boolean {
  return first <= 0x20 || first >= 0x80 || last <= 0x20 || last >= 0x80
}

/** As `trim` sees it: the ends of a text are enough, a character has four bytes at most. */
function hasBlankEnd(from: Uint8Array, start: number, end: number): boolean {
  const bytes = Buffer.from(from.buffer, from.byteOffset, from.byteLength)
  const isBlank = (first: number, last: number) => {
    const text = bytes.toString('utf8', first, last)
    return text.trim() !== text
  }
  let last = end - 1
  while (last > start && (from[last] & 0xc0) === 0x80) last--
  if (isBlank(last, end)) return true
  let next = start + 1
  while (next < end && (from[next] & 0xc0) === 0x80) next++
  return isBlank(start, next)
}

function writeCsvQuoted(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  let position = at
  out[position++] = QUOTE
  for (let index = start; index < end; index++) {
    const byte = from[index]
    if (byte === QUOTE) out[position++] = QUOTE
    out[position++] = byte
  }
  out[position++] = QUOTE
  return position
}

function writeTsvText(out: Uint8Array, at: number, from: Uint8Array, start: number, end: number): number {
  let position = at
  for (let index = start; index < end; index++) {
    const byte = from[index]
    if (TSV_SPECIAL[byte] === 0) out[position++] = byte
    else {
      out[position++] = BACKSLASH
      out[position++] = TSV_LETTERS[byte]
    }
  }
  return position
}
