/**
 * A rewritten statement, put together of pieces: ranges of the user's own text, and texts of ours that stand for one of the
 * user's calls. Where something is in the outcome tells where it was written, so that errors name the user's line and column.
 *
 *   select argMax(a, nosuch)      user's text
 *   select arg_max(a, nosuch)     ours for `argMax`, then the user's own again
 */
import type { StatementPosition } from '../../lake/engine/duckdb-error.ts'
import { MillraceError } from '../../schemas/errors.ts'

export type Piece =
  /** [start, end) of the text, as it is. */
  | { readonly start: number; readonly end: number }
  /** Ours, for what the user wrote at `at`; `call` is the name to tell when something is wrong in it. */
  | { readonly text: string; readonly at: number; readonly call: string }

type Segment = { readonly out: number; readonly from: number; readonly isOwn: boolean; readonly call: string }

/** An index into the outcome → one into the text, and the call it stands for if the text is ours. */
export type Origin = (index: number) => { readonly index: number; readonly call: string | undefined }

export type Rewritten = { readonly text: string; readonly origin: Origin }

export function joinPieces(text: string, pieces: readonly Piece[]): Rewritten {
  const segments: Segment[] = []
  let out = ''
  for (const piece of pieces) {
    if ('text' in piece) {
      segments.push({ out: out.length, from: piece.at, isOwn: false, call: piece.call })
      out += piece.text
    } else {
      segments.push({ out: out.length, from: piece.start, isOwn: true, call: '' })
      out += text.slice(piece.start, piece.end)
    }
  }
  return {
    text: out,
    origin(index) {
      let low = 0
      let high = segments.length - 1
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if (segments[middle].out <= index) low = middle
        else high = middle - 1
      }
      const segment = segments[low]
      if (!segment) return { index, call: undefined }
      return segment.isOwn
        ? { index: segment.from + index - segment.out, call: undefined }
        : { index: segment.from, call: segment.call }
    },
  }
}

/** Of two rewrites, one after the other. The later one's calls are what the user wrote, unless the earlier knows better. */
export function chainOrigins(first: Origin, second: Origin): Origin {
  return (index) => {
    const between = second(index)
    const { index: at, call } = first(between.index)
    return { index: at, call: call ?? between.call }
  }
}

/** Lines and columns (in code points) from 1. */
export function positionAt(text: string, index: number): StatementPosition {
  const before = text.slice(0, index)
  const lines = before.split('\n')
  return { line: lines.length, column: [...(lines.at(-1) ?? '')].length + 1 }
}

export function indexAt(text: string, { line, column }: StatementPosition): number {
  let start = 0
  for (let each = 1; each < line; each++) {
    const end = text.indexOf('\n', start)
    if (end < 0) return text.length
    start = end + 1
  }
  let index = start
  for (let each = 1; each < column && index < text.length; each++)
    index += (text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1
  return index
}

/** Errors that are about the user's own text already. */
const told = new WeakSet<MillraceError>()

/** Nothing more is to be said about where it is. */
export function asTold(error: unknown): unknown {
  if (error instanceof MillraceError) told.add(error)
  return error
}

const INNER_CALL = /^No function matches the given name and argument types/

/** An error about `rewritten` as one about `original`: its place there, and the name of the call that it is about. */
export function errorInOriginal(error: unknown, original: string, rewritten: string, origin: Origin): unknown {
  if (!(error instanceof MillraceError) || told.has(error)) return error
  const position = error.facts.position as StatementPosition | undefined
  if (!position) return error
  const { index, call } = origin(indexAt(rewritten, position))
  const place = positionAt(original, index)
  // What is missing is a function that the user has not written: neither its name nor what it takes says anything.
  if (call !== undefined && INNER_CALL.test(error.message)) {
    const message = `${call}: an argument has a type that it does not take`
    return new MillraceError(error.code, message, { facts: { position: place }, cause: error })
  }
  const message = call === undefined ? error.message : `${call}: ${error.message}`
  return new MillraceError(error.code, message, { facts: { ...error.facts, position: place }, cause: error })
}
