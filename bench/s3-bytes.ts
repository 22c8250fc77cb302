/**
 * How many bytes a group-by over two columns of a 20-column table in S3 fetches, against the bytes of exactly those column
 * chunks, on a cold cache.
 *
 * The needed bytes are counted here from the footers of the files in the S3 server's folder, not taken from Millrace;
 * the fetched ones are told by the reply, and a counting proxy before the S3 server sees every byte that the query
 * process gets, table metadata and HTTP headers included. Every query starts a process with an empty cache folder.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import type { Millrace } from '../test/harness/millrace.ts'
import { startS3Server } from '../test/harness/s3-server.ts'
import { startSlowProxy } from '../test/harness/slow-proxy.ts'
import { startBareDuckdb } from './duckdb/start-bare-duckdb.ts'
import { differenceOf } from './query-set.ts'
import { type BenchResult, mebibytes, thousands } from './report.ts'
import type { Stage } from './stage.ts'
import { fillWideTable, WIDE_TABLE, wideSettings } from './wide-table.ts'

const ROWS_MAX = 2_000_000
const BUCKET = 'bench'
const TARGET = 1.1
const TOLERANCE = 1e-9

const QUESTIONS: readonly { readonly columns: readonly [string, string]; readonly sql: string }[] = [
  {
    columns: ['region', 'cost'],
    sql: `SELECT region, count(*), sum(cost) FROM ${WIDE_TABLE} GROUP BY region ORDER BY region`,
  },
  {
    columns: ['host', 'bytes_out'],
    sql: `SELECT host, count(*), max(bytes_out) FROM ${WIDE_TABLE} GROUP BY host ORDER BY host`,
  },
]

type Cold = {
  readonly fetched: number
  readonly requests: number
  readonly wire: number
  readonly ms: number
  readonly rows: readonly (readonly unknown[])[]
}

export async function benchS3Bytes(stage: Stage): Promise<BenchResult> {
  const rows = Math.min(stage.rows, ROWS_MAX)
  const server = await startS3Server()
  stage.atEnd(() => server.stop())
  if (server.folder === undefined)
    throw new Error('this benchmark reads the S3 server’s folder: unset MILLRACE_TEST_S3')
  await server.bucket(BUCKET)
  const proxy = await startSlowProxy({ port: Number(new URL(server.endpoint).port) })
  stage.atEnd(() => proxy.close())
  const millrace = await stage.millrace(wideSettings(server, BUCKET))
  const files = await fillWideTable(stage, millrace, rows)
  const local = files.map(({ path }) => join(server.folder!, path.replace('s3://', '')))
  const results: { columns: string; needed: number; cold: Cold }[] = []
  const duckdb = await startBareDuckdb({ threads: 2 })
  stage.atEnd(() => duckdb.close())
  const list = local.map((file) => `'${file}'`).join(', ')
  await duckdb.run(`CREATE VIEW ${WIDE_TABLE} AS SELECT * FROM read_parquet([${list}])`)
  for (const { columns, sql } of QUESTIONS) {
    const cold = await askCold(millrace, proxy, sql)
    const difference = differenceOf(cold.rows, (await duckdb.run(sql)).rows, TOLERANCE)
    if (difference) throw new Error(`${sql}: ${difference}`)
    results.push({ columns: columns.join(', '), needed: await chunkBytes(local, columns), cold })
  }

  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  const ratios = results.map(({ needed, cold }) => cold.fetched / needed)
  const wireRatios = results.map(({ needed, cold }) => cold.wire / needed)
  const worst = Math.max(...ratios)
  return {
    name: 's3-bytes',
    data: `${thousands(rows)} rows of 20 columns in ${files.length} data files (${mebibytes(bytes)}) on versitygw over a local folder`,
    settings: 'defaults; a new query process with an empty cache folder for every query',
    figures: [
      {
        what: 'bytes of data files fetched / bytes of the two columns’ chunks, worst query',
        value: worst.toFixed(3),
        target: { text: `≤ ${TARGET}`, met: worst <= TARGET },
      },
      {
        what: 'all bytes from the S3 server, metadata and HTTP headers included / bytes of the chunks, worst query',
        value: Math.max(...wireRatios).toFixed(3),
      },
      {
        what: 'the whole files / bytes of the chunks, best query',
        value: Math.min(...results.map(({ needed }) => bytes / needed)).toFixed(1),
      },
    ],
    tables: [
      {
        head: ['columns', 'chunk bytes', 'fetched', 'ratio', 'GETs of data files', 'on the wire', 'first answer ms'],
        lines: results.map(({ columns, needed, cold }) => [
          columns,
          thousands(needed),
          thousands(cold.fetched),
          (cold.fetched / needed).toFixed(3),
          String(cold.requests),
          thousands(cold.wire),
          cold.ms.toFixed(0),
        ]),
      },
    ],
    checked: 'answers equal to bare DuckDB over the server’s own files; chunk bytes counted from the footers there.',
    limitedBy:
      'nothing that time would tell: these are counts of bytes. Footers, and gaps joined into one request, are the difference to 1.',
    numbers: { rows, worstRatio: worst, worstWireRatio: Math.max(...wireRatios), files: files.length },
  }
}

async function askCold(
  millrace: Millrace,
  proxy: { readonly port: number; readonly counts: { readonly answerBytes: number } },
  sql: string,
): Promise<Cold> {
  const cache = join(millrace.folder, `cold-cache-${performance.now()}`)
  const query = await millrace.start('query', {
    set: [`query.cache.folder=${cache}`, `storage.s3.endpoint=http://127.0.0.1:${proxy.port}`],
  })
  const wireBefore = proxy.counts.answerBytes
  const started = performance.now()
  const { data, stats } = await millrace.sql(sql)
  const ms = performance.now() - started
  const wire = proxy.counts.answerBytes - wireBefore
  await query.stop()
  return { fetched: stats.bytes_fetched, requests: stats.requests, wire, ms, rows: data }
}

async function chunkBytes(files: readonly string[], columns: readonly string[]): Promise<number> {
  let bytes = 0
  for (const file of files) {
    const footer = await readLocalFooter(file, (await stat(file)).size)
    for (const { chunks } of footer.rowGroups) {
      for (const { columnIndex, start, end } of chunks) {
        if (columns.includes(footer.columns[columnIndex].path)) bytes += end - start
      }
    }
  }
  return bytes
}
