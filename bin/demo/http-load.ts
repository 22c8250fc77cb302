/**
 * Rows into `POST /v1/ingest/{table}`, exactly once: a few producers side by side, each with its own sequence, so that
 * a run that was cut off goes on where its rows ended. Rows are dealt to producers in blocks: block b to producer
 * b mod PRODUCERS.
 */
import { request } from 'undici'
import type { Engine } from '../../lake/engine/engine.ts'
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { type Dataset, streamLines } from './flights.ts'

export type LoadProgress = (rowsCommitted: number, ackMs: number | undefined) => void

const PRODUCERS = 4
const BLOCK_ROWS = 50_000

/** Returns the rows that were there before. */
export async function loadOverHttp(
  components: { engine: Engine; world: World; ingestUrl: string; signal: AbortSignal },
  dataset: Dataset,
  rows: number,
  onProgress: LoadProgress,
): Promise<number> {
  const { engine, world, ingestUrl, signal } = components
  const table = `${ingestUrl}/v1/ingest/${dataset.table}`
  const producers = await Promise.all(
    Array.from({ length: PRODUCERS }, async (_, index) => {
      const id = `demo-${index}`
      const answer = await json<{ next_sequence: string }>(`${table}/producers/${id}`, { method: 'GET', signal })
      return { id, committed: Number(answer.next_sequence), busy: Promise.resolve() }
    }),
  )
  const before = producers.reduce((sum, producer) => sum + producer.committed, 0)
  let committed = before
  onProgress(committed, undefined)
  if (before >= rows) return before

  let failure: unknown
  await streamLines(
    engine,
    dataset,
    { from: 0, to: rows, linesPerSend: BLOCK_ROWS },
    async (chunk, firstRow, count) => {
      const block = Math.floor(firstRow / BLOCK_ROWS)
      const producer = producers[block % PRODUCERS]
      await producer.busy
      if (failure !== undefined) throw failure
      const sequence = Math.floor(block / PRODUCERS) * BLOCK_ROWS
      const known = Math.min(count, Math.max(0, producer.committed - sequence))
      if (known === count) return
      const body = known === 0 ? chunk : chunk.subarray(afterLines(chunk, known))
      const startedMs = world.clock.monotonicMs()
      producer.busy = json<{ rows: number }>(table, {
        method: 'POST',
        signal,
        body,
        headers: {
          'content-type': 'application/x-ndjson',
          'millrace-producer': producer.id,
          'millrace-sequence': String(sequence + known),
        },
      }).then(
        () => {
          producer.committed = sequence + count
          committed += count - known
          onProgress(committed, world.clock.monotonicMs() - startedMs)
        },
        (error: unknown) => {
          failure = error
        },
      )
    },
    signal,
  )
  await Promise.all(producers.map((producer) => producer.busy))
  if (failure !== undefined) throw failure
  return before
}

async function json<T>(
  url: string,
  options: { method: 'GET' | 'POST'; signal: AbortSignal; body?: Uint8Array; headers?: Record<string, string> },
): Promise<T> {
  const { statusCode, body } = await request(url, options)
  const answer = (await body.json()) as T & { error?: { message: string } }
  if (statusCode >= 300)
    throw new MillraceError('internal', `${options.method} ${url}: ${statusCode} ${answer.error?.message ?? ''}`)
  return answer
}

/** Where line `lines` + 1 begins. */
function afterLines(chunk: Uint8Array, lines: number): number {
  let position = 0
  for (let line = 0; line < lines; line += 1) position = chunk.indexOf(10, position) + 1
  return position
}
