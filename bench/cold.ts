/**
 * Questions over a cold table of 20 columns in S3, with 20 ms added to every request, against DuckDB's own remote reader
 * (httpfs of the same DuckDB, caches off) over the same files.
 *
 * Each question starts a query process with an empty cache folder and is asked once after the process has seen the table's
 * metadata (a question that reads no file of it). The bytes that are needed are counted here from the footers of the
 * files on the S3 server's disk: the chunks of the columns that the question names, in the row groups whose statistics let a row
 * through; the coalesced minimum of requests is one a run of neighbouring chunks, and one a file for its footer.
 */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import type { ParquetFooter } from '../lake/parquet/parquet.ts'
import { mergeRanges, totalBytes } from '../lake/parquet/ranges.ts'
import type { Millrace } from '../test/harness/millrace.ts'
import { duckdbExtensionFile, runPython } from '../test/harness/python.ts'
import { startS3Server } from '../test/harness/s3-server.ts'
import { startSlowProxy } from '../test/harness/slow-proxy.ts'
import { cpuSeconds } from './process-cost.ts'
import { type BenchResult, mebibytes, thousands } from './report.ts'
import type { Stage } from './stage.ts'
import { fillWideTable, WIDE_TABLE, wideSettings } from './wide-table.ts'

const BUCKET = 'bench'
const REQUEST_DELAY_MS = 20
const START_MS = 1_767_225_600_000
const MS_PER_ROW = 40

type Question = {
  readonly name: string
  readonly sql: string
  /** Row groups in which columns are read, by the rows' numbers in the order of `ts` (and `id`). */
  readonly reads: readonly { readonly columns: readonly string[] | '*'; readonly rows?: readonly [number, number] }[]
  /** Which rows it needs is known only afterwards: it is left out of the ratios of bytes and requests. */
  readonly isOpen?: boolean
}

function questionsOf(rows: number): readonly Question[] {
  const at = (row: number) => new Date(START_MS + row * MS_PER_ROW).toISOString()
  const [from, to, one] = [Math.floor(rows * 0.4), Math.floor(rows * 0.4) + 60_000, Math.floor(rows * 0.7)]
  return [
    { name: 'count', sql: `SELECT count(*) AS n FROM ${WIDE_TABLE}`, reads: [] },
    {
      name: 'two-column group-by',
      sql: `SELECT region, count(*) AS n, max(bytes_out) AS m FROM ${WIDE_TABLE} GROUP BY region ORDER BY region`,
      reads: [{ columns: ['region', 'bytes_out'] }],
    },
    {
      name: 'time range',
      sql: `SELECT count(*) AS n, sum(hits) AS h FROM ${WIDE_TABLE} WHERE ts >= TIMESTAMPTZ '${at(from)}' AND ts < TIMESTAMPTZ '${at(to)}'`,
      reads: [{ columns: ['ts', 'hits'], rows: [from, to] }],
    },
    {
      name: 'id, all columns',
      sql: `SELECT * EXCLUDE (ts) FROM ${WIDE_TABLE} WHERE id = ${one}`,
      reads: [{ columns: '*', rows: [one, one + 1] }],
    },
    {
      name: 'bloom miss',
      sql: `SELECT count(*) AS n FROM ${WIDE_TABLE} WHERE host = 'host-77.example.org'`,
      reads: [],
    },
    {
      name: 'top 10, all columns',
      sql: `SELECT * EXCLUDE (ts) FROM ${WIDE_TABLE} ORDER BY ts DESC LIMIT 10`,
      reads: [
        { columns: '*', rows: [rows - 10, rows] },
        // The order's column, which the answer does not show.
        { columns: ['ts'], rows: [rows - 10, rows] },
      ],
    },
    {
      name: 'top 10 of a filter',
      sql: `SELECT id, agent, cpu, cost FROM ${WIDE_TABLE} WHERE region = 'region-3' ORDER BY bytes_in DESC, id LIMIT 10`,
      reads: [{ columns: ['region', 'bytes_in', 'id'] }],
      isOpen: true,
    },
  ]
}

type Cold = {
  readonly ms: number
  readonly cpuMs: number
  readonly rows: string
  readonly bytes: number
  readonly requests: number
}

export async function benchCold(stage: Stage): Promise<BenchResult> {
  const { rows } = stage
  const server = await startS3Server()
  stage.atEnd(() => server.stop())
  if (server.folder === undefined)
    throw new Error('this benchmark reads the S3 server’s folder: unset MILLRACE_TEST_S3')
  await server.bucket(BUCKET)
  const proxy = await startSlowProxy(
    { port: Number(new URL(server.endpoint).port) },
    { requestDelayMs: REQUEST_DELAY_MS },
  )
  stage.atEnd(() => proxy.close())
  const millrace = await stage.millrace(wideSettings(server, BUCKET))
  const files = await fillWideTable(stage, millrace, rows)
  const footers = await Promise.all(
    files.map(async ({ path }) => {
      const local = join(server.folder!, path.replace('s3://', ''))
      return readLocalFooter(local, (await stat(local)).size)
    }),
  )
  const questions = questionsOf(rows)
  const theirs = (await runPython({ file: join(import.meta.dirname, 'cold_httpfs.py') }, [
    JSON.stringify({
      questions: questions.map(({ sql }) => sql),
      extension: await duckdbExtensionFile('httpfs'),
      key: server.accessKeyId,
      secret: server.secretAccessKey,
      region: server.region,
      endpoint: `127.0.0.1:${proxy.port}`,
      files: files.map(({ path }) => path),
    }),
  ])) as readonly Pick<Cold, 'ms' | 'cpuMs' | 'rows'>[]
  const ours: Cold[] = []
  for (const { name, sql } of questions) {
    const cold = await askCold(millrace, proxy.port, sql)
    ours.push(cold)
    const [found, expected] = [cold.rows, theirs[ours.length - 1].rows].map((text) => normalized(JSON.parse(text)))
    if (found !== expected)
      throw new Error(`${name}: found ${found.slice(0, 500)}, httpfs says ${expected.slice(0, 500)}`)
  }
  const needs = questions.map((question) => neededOf(question, footers))
  const ratio = (index: number) => ours[index].ms / theirs[index].ms
  const total = ours.reduce((sum, { ms }) => sum + ms, 0) / theirs.reduce((sum, { ms }) => sum + ms, 0)
  const clear = questions.flatMap(({ isOpen }, index) => (isOpen ? [] : [index]))
  const withBytes = clear.filter((index) => needs[index].bytes > 0)
  const worstBytes = Math.max(...withBytes.map((index) => ours[index].bytes / needs[index].bytes))
  const sumOf = (of: (index: number) => number) => withBytes.reduce((sum, index) => sum + of(index), 0)
  const allBytes = sumOf((index) => ours[index].bytes) / sumOf((index) => needs[index].bytes)
  const worstRequests = Math.max(...clear.map((index) => ours[index].requests / needs[index].requests))
  const worst = questions.reduce((most, _, index) => (ratio(index) > ratio(most) ? index : most), 0)
  const worstTime = ratio(worst)
  const tableBytes = files.reduce((sum, { bytes }) => sum + bytes, 0)
  return {
    name: 'cold',
    data: `${thousands(rows)} rows of 20 columns in ${files.length} data files (${mebibytes(tableBytes)}) on versitygw, ${REQUEST_DELAY_MS} ms added to every request`,
    settings:
      'defaults; a new query process with an empty cache folder for every question; httpfs 1.5.5 without caches, 2 threads',
    figures: [
      { what: 'time of all questions / httpfs', value: total.toFixed(2), target: { text: '≤ 0.5', met: total <= 0.5 } },
      {
        what: `time / httpfs, worst question (${questions[worst].name})`,
        value: worstTime.toFixed(2),
        target: { text: '≤ 0.5', met: worstTime <= 0.5 },
      },
      {
        what: 'bytes fetched / column chunks needed, all questions whose rows are known before',
        value: allBytes.toFixed(3),
        target: { text: '≤ 1.05', met: allBytes <= 1.05 },
      },
      {
        what: 'bytes fetched / column chunks needed, worst question (footers are most of a small one)',
        value: worstBytes.toFixed(3),
        target: { text: '≤ 1.05', met: worstBytes <= 1.05 },
      },
      {
        what: 'requests / coalesced minimum, worst question',
        value: worstRequests.toFixed(2),
        target: { text: '≤ 1.5', met: worstRequests <= 1.5 },
      },
    ],
    tables: [
      {
        head: [
          'question',
          'ms',
          'httpfs ms',
          'ratio',
          'needed bytes',
          'fetched',
          'least GETs',
          'GETs',
          'CPU ms',
          'httpfs CPU ms',
        ],
        lines: questions.map(({ name }, index) => [
          name,
          ours[index].ms.toFixed(0),
          theirs[index].ms.toFixed(0),
          ratio(index).toFixed(2),
          thousands(needs[index].bytes),
          thousands(ours[index].bytes),
          String(needs[index].requests),
          String(ours[index].requests),
          ours[index].cpuMs.toFixed(0),
          theirs[index].cpuMs.toFixed(0),
        ]),
      },
    ],
    checked: 'answers equal to httpfs’; needed bytes counted from the footers of the files on the server’s disk.',
    limitedBy: 'round trips for small questions; two cores, shared with the S3 server and the proxy, for large ones.',
    numbers: { rows, total, worstTime, allBytes, worstBytes, worstRequests, files: files.length },
  }
}

async function askCold(millrace: Millrace, port: number, sql: string): Promise<Cold> {
  const cache = join(millrace.folder, `cold-cache-${performance.now()}`)
  const query = await millrace.start('query', {
    set: [`query.cache.folder=${cache}`, `storage.s3.endpoint=http://127.0.0.1:${port}`],
  })
  // The table's metadata: what httpfs is told as a list of files.
  await millrace.sql(`SELECT count(*) FROM ${WIDE_TABLE} WHERE ts < TIMESTAMPTZ '2000-01-01 00:00:00Z'`)
  const cpuBefore = cpuSeconds([query.pid])
  const started = performance.now()
  const { data, stats } = await millrace.sql(sql)
  const ms = performance.now() - started
  const cpuMs = (cpuSeconds([query.pid]) - cpuBefore) * 1000
  await query.stop()
  return { ms, cpuMs, rows: JSON.stringify(data), bytes: stats.bytes_fetched, requests: stats.requests }
}

/** Rows as lists of texts: names and number formats of two clients differ. */
function normalized(rows: readonly unknown[]): string {
  return JSON.stringify(
    rows.map((row) =>
      (Array.isArray(row) ? row : Object.values(row as object)).map((value) =>
        typeof value === 'number' || /^-?\d+(\.\d+)?$/.test(String(value)) ? Number(value) : value,
      ),
    ),
  )
}

function neededOf(
  { name, reads }: Question,
  footers: readonly ParquetFooter[],
): { readonly bytes: number; readonly requests: number } {
  if (name === 'count') return { bytes: 0, requests: footers.length }
  // The footers, and the bloom filters in one GET a file.
  if (name === 'bloom miss') return { bytes: 0, requests: footers.length * 2 }
  let bytes = 0
  let requests = 0
  for (const footer of footers) {
    const ranges: { start: number; end: number }[] = []
    const idColumn = footer.columns.findIndex(({ path }) => path === 'id')
    for (const { chunks } of footer.rowGroups) {
      const bounds = chunks[idColumn].statistics
      const [min, max] = [bounds?.min, bounds?.max].map((each) => Number(Buffer.from(each!).readBigInt64LE()))
      for (const { columns, rows } of reads) {
        if (rows !== undefined && (max < rows[0] || min >= rows[1])) continue
        for (const { columnIndex, start, end } of chunks) {
          const { path } = footer.columns[columnIndex]
          const isWanted = columns === '*' ? !path.startsWith('_') && path !== 'ts' : columns.includes(path)
          if (isWanted) ranges.push({ start, end })
        }
      }
    }
    const merged = mergeRanges(ranges)
    bytes += totalBytes(merged)
    requests += merged.length + 1
  }
  return { bytes, requests: Math.max(1, requests) }
}
