/**
 * Two tables for the benchmarks of small queries and of exports, sent over HTTP (no broker): the records of the benchmarks,
 * compacted but for live segments at the end, and the first 100,000 of them in a small table.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Millrace } from '../test/harness/millrace.ts'
import { openLakeReader, waitForLake } from './lake-reader.ts'
import { COLUMNS, recordOf, TABLE } from './records.ts'
import { thousands } from './report.ts'
import type { Stage } from './stage.ts'

export const SMALL_TABLE = 'small'
export const SMALL_ROWS = 100_000
export const LIVE_SEGMENTS = 12
const LIVE_ROWS = 2_000
const ROWS_PER_REQUEST = 50_000
const REQUESTS_AT_ONCE = 3
const QUIET_MS = 3_500

export type SmallStage = {
  readonly millrace: Millrace
  /** Of the large table, live ones included. */
  readonly rows: number
  readonly text: string
}

const made = new WeakMap<Stage, Promise<SmallStage>>()

/** Once a run. */
export function smallStage(stage: Stage): Promise<SmallStage> {
  const known = made.get(stage) ?? make(stage)
  made.set(stage, known)
  return known
}

async function make(stage: Stage): Promise<SmallStage> {
  const millrace = await stage.millrace(`
tables:
  ${TABLE}: { columns: ${COLUMNS}, event-time: ts, partition: [day(ts)], sort: [ts] }
  ${SMALL_TABLE}: { columns: ${COLUMNS}, event-time: ts, sort: [ts] }
snapshot.age.ms: 5 s
log.level: warn
`)
  const ingest = await millrace.start('ingest')
  const compacted = stage.rows - LIVE_SEGMENTS * LIVE_ROWS
  const started = performance.now()
  await send(millrace, SMALL_TABLE, 0, SMALL_ROWS)
  await send(millrace, TABLE, 0, compacted)
  stage.say(`${stage.rows} rows over HTTP in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  const compactor = await millrace.start('compactor')
  const lake = await openLakeReader(millrace.configFile)
  for (const table of [SMALL_TABLE, TABLE]) await waitForLake(lake, table, ({ segments }) => segments.length === 0)
  await sleep(QUIET_MS)
  await compactor.stop()
  for (let segment = 0; segment < LIVE_SEGMENTS; segment += 1) {
    const from = compacted + segment * LIVE_ROWS
    await send(millrace, TABLE, from, from + LIVE_ROWS)
  }
  await ingest.stop()
  const { files } = await lake.snapshot(TABLE)
  await lake.close()
  return {
    millrace,
    rows: stage.rows,
    text: `${thousands(stage.rows)} rows of 12 columns in ${files.length} data files and ${LIVE_SEGMENTS} live segments, and a table of ${thousands(SMALL_ROWS)} of them (bench/records.ts), sent over HTTP`,
  }
}

async function send(millrace: Millrace, table: string, start: number, end: number): Promise<void> {
  const sending: Promise<void>[] = []
  for (let from = start; from < end; from += ROWS_PER_REQUEST) {
    const lines: string[] = []
    for (let index = from; index < Math.min(end, from + ROWS_PER_REQUEST); index += 1)
      lines.push(String(recordOf(index).value))
    sending.push(
      millrace.ingest(table, lines.join('\n')).then(({ status, body }) => {
        if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
      }),
    )
    if (sending.length >= REQUESTS_AT_ONCE) await sending.shift()
  }
  await Promise.all(sending)
}
