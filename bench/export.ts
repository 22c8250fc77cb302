/**
 * A million rows of twelve columns out over HTTP, in every format, and a small query every 50 ms meanwhile.
 *
 * The client (`export-client.ts`) reads all bytes and counts rows (lines, or Arrow's own count) and the sum of ids that it finds in
 * them after the clock has stopped. Small queries count that began while an export was read: not those beside the counting.
 */
import { on } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import type { ExportAsked, ExportFound, ExportRead } from './export-client.ts'
import { cpuSeconds, watchMachine } from './process-cost.ts'
import { TABLE } from './records.ts'
import { type BenchResult, loadText, mebibytes, thousands } from './report.ts'
import { SMALL_TABLE, smallStage } from './small-stage.ts'
import type { Stage } from './stage.ts'
import { median, percentile } from './statistics.ts'

const ROWS = 1_000_000
const ROUNDS = 3
const SMALL_EVERY_MS = 50
const SMALL_TARGET_MS = 20
const TARGETS: Readonly<Record<string, number>> = { arrow: 1_000_000, csv: 800_000, jsonl: 800_000 }

type Exported = { readonly seconds: number; readonly cpu: number; readonly bytes: number }

export async function benchExport(stage: Stage): Promise<BenchResult> {
  const { millrace, rows, text } = await smallStage(stage)
  const count = Math.min(ROWS, rows)
  const query = await millrace.start('query', { set: ['query.result.bytes.max=2 GiB', 'query.rows.max=10000000'] })
  const columns = 'ts, id, user_id, country, device, url, status, latency, amount, ok, items, session'
  const sql = `SELECT ${columns} FROM ${TABLE} WHERE id < ${count}`
  const expected = (BigInt(count) * BigInt(count - 1)) / 2n

  const client = new Worker(new URL('./export-client.ts', import.meta.url))
  const url = `${millrace.url('query')}/v1/sql`
  let isReading = false

  async function exportOnce(format: string): Promise<Exported> {
    const before = cpuSeconds([query.pid])
    const answers = on(client, 'message')
    const next = async <T>(): Promise<T> => ((await answers.next()).value as unknown as readonly [T])[0]
    isReading = true
    client.postMessage({ url, sql, format } satisfies ExportAsked)
    const { seconds, bytes } = await next<ExportRead>()
    isReading = false
    const cpu = cpuSeconds([query.pid]) - before
    const found = await next<ExportFound>()
    await answers.return?.()
    if (found.rows !== count || found.sum !== expected) {
      throw new Error(`${format}: expected ${count} rows with ids of ${expected}, found ${found.rows}, ${found.sum}`)
    }
    return { seconds, cpu, bytes }
  }

  const load = watchMachine()
  const before = cpuSeconds([query.pid])
  const formats = Object.keys(TARGETS)
  const exported = new Map<string, Exported[]>(formats.map((format) => [format, []]))
  const meanwhile = askSmall(millrace.sql, () => isReading)
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const format of formats) {
      const one = await exportOnce(format)
      if (round > 0) exported.get(format)!.push(one)
    }
  }
  const times = await meanwhile.stop()
  await client.terminate()
  const cpu = cpuSeconds([query.pid]) - before
  const machine = load()
  await query.stop()

  const rate = (format: string) => count / median(exported.get(format)!.map(({ seconds }) => seconds))
  const slowest = percentile(times, 0.99)
  return {
    name: 'export',
    data: text,
    settings: `defaults but for the limits of a result; ${ROUNDS} rounds, medians, the first round left out; a group-by over the small table every ${SMALL_EVERY_MS} ms meanwhile, another bound each time`,
    figures: [
      ...formats.map((format) => ({
        what: `${format}: rows a second`,
        value: thousands(rate(format)),
        target: { text: `≥ ${thousands(TARGETS[format])}`, met: rate(format) >= TARGETS[format] },
      })),
      {
        what: `small query meanwhile, p99 of ${times.length} (p50 ${median(times).toFixed(1)} ms)`,
        value: `${slowest.toFixed(1)} ms`,
        target: { text: `≤ ${SMALL_TARGET_MS} ms`, met: slowest <= SMALL_TARGET_MS },
      },
    ],
    tables: [
      {
        head: ['format', 'rows a second', 'CPU-s per M rows (door and engines)', 'bytes'],
        lines: formats.map((format) => {
          const runs = exported.get(format)!
          const perMillion = (median(runs.map((each) => each.cpu)) / count) * 1e6
          return [format, thousands(rate(format)), perMillion.toFixed(2), mebibytes(runs[0].bytes)]
        }),
      },
    ],
    checked: 'rows and the sum of ids in the bytes of every export, Arrow read by apache-arrow.',
    limitedBy: `${loadText(machine, cpu, 'the query service')}; the client reads on the same cores.`,
    numbers: {
      ...Object.fromEntries(formats.map((format) => [`${format}RowsPerSecond`, rate(format)])),
      smallP99Ms: slowest,
    },
  }
}

function askSmall(ask: (sql: string) => Promise<unknown>, counts: () => boolean) {
  const times: number[] = []
  let isOver = false
  const asking = (async () => {
    for (let asked = 1; !isOver; asked += 1) {
      const isCounted = counts()
      const started = performance.now()
      await ask(`SELECT country, count(*) FROM ${SMALL_TABLE} WHERE latency > ${(asked * 37) % 800} GROUP BY country`)
      if (isCounted) times.push(performance.now() - started)
      await sleep(SMALL_EVERY_MS)
    }
  })()
  return {
    async stop() {
      isOver = true
      await asking
      return times
    },
  }
}
