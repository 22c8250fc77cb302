/**
 * `?` as `$1`, `$2`, … in the order in which they stand: what is rewritten may repeat an argument or change the order, and must not
 * make two parameters of one.
 */
import { joinPieces, type Piece, type Rewritten } from './pieces.ts'
import { isSymbol, tokenize } from './tokens.ts'

/** undefined: there is none, or parameters have names already. */
export function numberParameters(text: string): Rewritten | undefined {
  if (!text.includes('?')) return undefined
  const tokens = tokenize(text) ?? []
  if (tokens.some((token) => isSymbol(token, '$'))) return undefined
  const marks = tokens.filter((token) => isSymbol(token, '?'))
  if (marks.length === 0) return undefined
  const pieces: Piece[] = []
  let done = 0
  marks.forEach(({ start, end }, index) => {
    pieces.push({ start: done, end: start }, { text: `$${index + 1}`, at: start, call: '?' })
    done = end
  })
  return joinPieces(text, [...pieces, { start: done, end: text.length }])
}
