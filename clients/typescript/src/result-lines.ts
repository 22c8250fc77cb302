/**
 * A result in the format `json`, read as it comes: each row stands on a line of its own.
 *
 *   {"query_id": …, "columns": […], "data":[ [row],⏎ [row],⏎ … [row] ],"rows": …, "stats": …}⏎
 *
 * Inside a JSON text quotes are escaped and there are no line feeds, so the head ends with the first `,"data":[`, and the
 * tail begins with the last `],"rows":` (or `],"error":`) of the last line.
 */
import { errorOf, incomplete } from './error.ts'
import type { Column, Value } from './types.ts'

export type Head = { readonly query_id: string; readonly columns: readonly Column[] }

export type Tail = {
  readonly rows: number
  readonly truncated: boolean
  readonly stats: Readonly<Record<string, number>>
  readonly tables: readonly { readonly name: string; readonly version: string; readonly freshness_ms: number | null }[]
}

export type ResultPart =
  | { readonly kind: 'head'; readonly head: Head }
  | { readonly kind: 'row'; readonly values: readonly Value[] }
  | { readonly kind: 'tail'; readonly tail: Tail }

const HEAD_END = ',"data":['

export async function* resultParts(
  body: ReadableStream<Uint8Array>,
  queryId: string | undefined,
): AsyncGenerator<ResultPart> {
  let hasHead = false
  let isWhole = false
  for await (const line of linesOf(body, queryId)) {
    let text = line
    if (!hasHead) {
      const at = text.indexOf(HEAD_END)
      if (at < 0) throw incomplete(queryId)
      yield { kind: 'head', head: JSON.parse(`${text.slice(0, at)}}`) as Head }
      hasHead = true
      text = text.slice(at + HEAD_END.length)
    }
    if (!text.endsWith('}')) {
      yield { kind: 'row', values: JSON.parse(text.replace(/,$/, '')) as Value[] }
      continue
    }
    const at = Math.max(text.lastIndexOf('],"rows":'), text.lastIndexOf('],"error":'))
    if (at < 0) throw incomplete(queryId)
    if (at > 0) yield { kind: 'row', values: JSON.parse(text.slice(0, at)) as Value[] }
    const tail = JSON.parse(`{${text.slice(at + 2)}`) as Tail & { error?: Parameters<typeof errorOf>[0] }
    if (tail.error) throw errorOf(tail.error, 200)
    isWhole = true
    yield { kind: 'tail', tail }
  }
  if (!isWhole) throw incomplete(queryId)
}

async function* linesOf(body: ReadableStream<Uint8Array>, queryId: string | undefined): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of chunksOf(body, queryId)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  rest += decoder.decode()
  if (rest !== '') yield rest
}

/** The bytes; a connection that ends early is told as such. Who stops reading cancels the query. */
export async function* chunksOf(
  body: ReadableStream<Uint8Array>,
  queryId: string | undefined,
): AsyncGenerator<Uint8Array> {
  const reader = body.getReader()
  let isOver = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      yield value
    }
    isOver = true
  } catch (cause) {
    isOver = true
    if (cause instanceof Error && cause.name === 'AbortError') throw cause
    throw incomplete(queryId, cause)
  } finally {
    if (!isOver) await reader.cancel().catch(() => {})
  }
}
