/**
 * The demo's answers: asked over HTTP like anybody would, printed as tables, and in a check compared with bare DuckDB
 * over the source files.
 */
import { request } from 'undici'
import type { Engine } from '../../lake/engine/engine.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { datasets } from './flights.ts'
import type { Question } from './questions.ts'

export type Answer = {
  readonly columns: readonly { readonly name: string; readonly type: string }[]
  readonly data: readonly (readonly unknown[])[]
  readonly elapsedMs: number | undefined
  readonly freshnessMs: number | undefined
}

export async function ask(queryUrl: string, sql: string, signal?: AbortSignal): Promise<Answer> {
  const { statusCode, body } = await request(`${queryUrl}/v1/sql`, {
    method: 'POST',
    signal,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ sql }),
  })
  const answer = (await body.json()) as {
    columns: Answer['columns']
    data: Answer['data']
    stats?: { elapsed_ms?: number }
    tables?: { freshness_ms?: number | null }[]
    error?: { message: string }
  }
  if (statusCode !== 200)
    throw new MillraceError('internal', `${answer.error?.message ?? `status ${statusCode}`}: ${sql}`)
  const freshness = answer.tables?.map((table) => table.freshness_ms).filter((each) => typeof each === 'number')
  return {
    columns: answer.columns,
    data: answer.data,
    elapsedMs: answer.stats?.elapsed_ms,
    freshnessMs: freshness && freshness.length > 0 ? Math.max(...freshness) : undefined,
  }
}

/** The same question to bare DuckDB over the first `rows` flights of the source. */
export async function askSource(
  engine: Engine,
  folder: string,
  rows: number,
  question: Question,
): Promise<readonly (readonly unknown[])[]> {
  const { flights, airports } = datasets(folder)
  const columns = 'date::TIMESTAMP AS date, delay, distance, origin, destination'
  const chunks: Uint8Array[] = []
  await engine.query(
    {
      queryId: 'demo-check',
      setup: [
        `CREATE OR REPLACE TEMP VIEW flights AS SELECT ${columns} FROM (${flights.selectSql}) LIMIT ${rows}`,
        `CREATE OR REPLACE TEMP VIEW airports AS ${airports.selectSql}`,
      ],
      sql: question.sql,
      params: [],
      format: 'json',
      rowsMax: 1000,
      bytesMax: 2 ** 24,
      timeoutMs: 120_000,
    },
    {
      onChunk(chunk) {
        chunks.push(chunk)
      },
    },
  )
  // The engine gives rows with commas between them; what stands around them is the door's business.
  return JSON.parse(`[${Buffer.concat(chunks).toString()}]`) as unknown[][]
}

/** Exact columns must be equal; approximate ones within their published error. Returns what differs. */
export function differences(question: Question, found: Answer, expected: readonly (readonly unknown[])[]): string[] {
  if (found.data.length !== expected.length)
    return [`${question.title}: ${found.data.length} rows, expected ${expected.length}`]
  const different: string[] = []
  found.data.forEach((row, index) => {
    row.forEach((value, column) => {
      const name = found.columns[column].name
      const wanted = expected[index][column]
      const same = question.approximate?.includes(name) ? isNear(value, wanted) : String(value) === String(wanted)
      if (!same) different.push(`${question.title}: row ${index + 1}, ${name} is ${value}, expected ${wanted}`)
    })
  })
  return different
}

function isNear(value: unknown, wanted: unknown): boolean {
  const distance = Math.abs(Number(value) - Number(wanted))
  return distance <= Math.max(2, 0.1 * Math.abs(Number(wanted)))
}
