/**
 * The 3,000,000 flights as Kafka record batches, made once per test file and sent as often as wanted, and the answers
 * that bare DuckDB gives over the source file.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { datasetFolder, datasets, streamLines } from '../../bin/demo/flights.ts'
import { createEngine } from '../../lake/engine/create-engine.ts'
import { createLog } from '../../runtime/log.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import { encodeBatch } from '../harness/batch-encoder.ts'
import type { Producer } from '../harness/produce.ts'

export const FLIGHTS = 3_000_000
export const PARTITIONS = 5

/** One batch of one topic-partition, compressed. */
export type FeedBatch = { readonly partition: number; readonly records: number; readonly batch: Buffer }

export type SourceAnswers = {
  readonly count: number
  readonly delay: number
  /** `origin: rows`, by origin. */
  readonly perOrigin: readonly (readonly [string, number])[]
}

const RECORDS_PER_BATCH = 2_500
const LINES_PER_CHUNK = RECORDS_PER_BATCH * 8
const INFLIGHT_MAX = 8

export const FLIGHTS_TABLE = `
  flights:
    columns: { date: timestamp required, delay: int, distance: int, origin: string, destination: string }
    event-time: date
    partition: [month(date)]
    sort: [date]`

export async function flightsFeed(): Promise<{ batches: FeedBatch[]; answers: SourceAnswers }> {
  const scratch = await mkdtemp(join(tmpdir(), 'millrace-flights-'))
  const world = createSystemWorld({ log: createLog({ level: 'error' }), crashAt: '' })
  const folder = datasetFolder()
  const engine = createEngine({
    world,
    settings: {
      name: 'source',
      mode: 'query',
      memoryBytes: 1024 ** 3,
      threads: 2,
      spillFolder: scratch,
      spillBytes: 1024 ** 3,
      folders: [folder],
    },
  })
  try {
    const batches: FeedBatch[] = []
    const { flights } = datasets(folder)
    const options = { from: 0, to: FLIGHTS, linesPerSend: LINES_PER_CHUNK }
    await streamLines(engine, flights, options, async (chunk, firstRow) => {
      const lines = linesOf(chunk)
      for (let start = 0; start < lines.length; start += RECORDS_PER_BATCH) {
        const values = lines.slice(start, start + RECORDS_PER_BATCH)
        const batch = encodeBatch(
          values.map((value, index) => ({ value, timestamp: 1_700_000_000_000 + firstRow + start + index })),
          { codec: 'lz4' },
        )
        batches.push({ partition: batches.length % PARTITIONS, records: values.length, batch })
      }
    })
    const source = `(${flights.selectSql})`
    const [sums] = await engine.run(`SELECT count(*) AS rows, sum(delay) AS delay FROM ${source}`)
    const origins = await engine.run(`SELECT origin, count(*) AS rows FROM ${source} GROUP BY origin ORDER BY origin`)
    return {
      batches,
      answers: {
        count: Number(sums.rows),
        delay: Number(sums.delay),
        perOrigin: origins.map((row) => [String(row.origin), Number(row.rows)] as const),
      },
    }
  } finally {
    await engine.close()
    await rm(scratch, { recursive: true, force: true })
  }
}

/** Sends all batches; `pace` is awaited before each, with the records sent so far. */
export async function sendFeed(
  producer: Producer,
  topic: string,
  batches: readonly FeedBatch[],
  pace: (sent: number) => Promise<void> | void = () => {},
): Promise<void> {
  // In order within a topic-partition is not needed here: what counts is each record once.
  const inflight = new Set<Promise<unknown>>()
  let sent = 0
  for (const { partition, records, batch } of batches) {
    await pace(sent)
    const sending: Promise<unknown> = producer.sendBatch(topic, partition, batch).then(() => inflight.delete(sending))
    inflight.add(sending)
    sent += records
    if (inflight.size >= INFLIGHT_MAX) await Promise.race(inflight)
  }
  await Promise.all(inflight)
}

function linesOf(chunk: Uint8Array): Uint8Array[] {
  const lines: Uint8Array[] = []
  let start = 0
  for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
    lines.push(chunk.subarray(start, end))
    start = end + 1
  }
  return lines
}
