/**
 * The demo's data as JSON lines: 3,000,000 flights of the first half of 2001 and the airports they fly between, from
 * the `vega-datasets` package. DuckDB reads the files and writes the JSON; the order of rows is that of the file, so
 * a second run can skip what is there already.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Engine } from '../../lake/engine/engine.ts'
import { quoteText } from '../../lake/file-mapping.ts'
import { MillraceError } from '../../schemas/errors.ts'

export type Dataset = {
  readonly table: 'flights' | 'airports'
  readonly rows: number
  readonly selectSql: string
}

export function datasetFolder(): string {
  const require = createRequire(import.meta.url)
  let folder: string | undefined
  try {
    folder = join(dirname(require.resolve('vega-datasets/package.json')), 'data')
  } catch {
    // Some versions do not export their package.json: look where it is installed.
    folder = join(import.meta.dirname, '..', '..', 'node_modules', 'vega-datasets', 'data')
  }
  if (existsSync(join(folder, 'flights-3m.parquet'))) return folder
  throw new MillraceError(
    'not-found',
    'the demo needs the development dependency vega-datasets: run "npm ci" without --omit=dev',
  )
}

export function datasets(folder: string): { flights: Dataset; airports: Dataset } {
  return {
    flights: {
      table: 'flights',
      rows: 3_000_000,
      selectSql: `SELECT strftime(date, '%Y-%m-%dT%H:%M:%S') AS date, delay::INTEGER AS delay, distance::INTEGER AS distance, origin, destination
        FROM read_parquet(${quoteText(join(folder, 'flights-3m.parquet'))})`,
    },
    airports: {
      table: 'airports',
      rows: 3376,
      selectSql: `SELECT iata, name, city, state, country, latitude, longitude
        FROM read_csv(${quoteText(join(folder, 'airports.csv'))}, header = true)`,
    },
  }
}

/**
 * Calls `send` with the lines of rows [from, to), `linesPerSend` at a time and one after the other. Every chunk ends
 * with a line feed; `firstRow` is the number of its first row.
 */
export async function streamLines(
  engine: Engine,
  dataset: Dataset,
  options: { from: number; to: number; linesPerSend: number },
  send: (chunk: Uint8Array, firstRow: number, rows: number) => Promise<void>,
  signal?: AbortSignal,
): Promise<void> {
  const { from, to, linesPerSend } = options
  let pieces: Uint8Array[] = []
  let lines = 0
  let row = 0
  const flush = async () => {
    if (lines === 0) return
    const chunk = Buffer.concat(pieces)
    const first = row - lines
    pieces = []
    lines = 0
    await send(chunk, first, row - first)
  }
  await engine.query(
    {
      queryId: `demo-${dataset.table}`,
      setup: [],
      sql: `SELECT * FROM (${dataset.selectSql}) LIMIT ${to}`,
      params: [],
      format: 'jsonl',
      rowsMax: Number.MAX_SAFE_INTEGER,
      bytesMax: Number.MAX_SAFE_INTEGER,
      timeoutMs: 3_600_000,
    },
    {
      async onChunk(chunk) {
        let start = 0
        for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, end + 1)) {
          const wanted = row >= from && row < to
          if (wanted) {
            pieces.push(chunk.subarray(start, end + 1))
            lines += 1
          }
          start = end + 1
          row += 1
          if (wanted && lines >= linesPerSend) await flush()
        }
        if (start < chunk.length)
          throw new MillraceError('internal', 'a chunk of JSON lines ended in the middle of a line')
        if (row >= to) await flush()
      },
    },
    signal,
  )
  await flush()
}
