/** A table of 20 columns in S3, filled over HTTP and compacted: what the benchmarks of reading a bucket ask. */
import type { LiveFile } from '../lake/iceberg/iceberg.ts'
import type { Millrace } from '../test/harness/millrace.ts'
import type { S3Server } from '../test/harness/s3-server.ts'
import { openLakeReader, waitForLake } from './lake-reader.ts'
import type { Stage } from './stage.ts'

export const WIDE_TABLE = 'wide'
const ROWS_PER_REQUEST = 20_000
const SENDERS = 2
const TEXTS = ['region', 'plan', 'host', 'agent']
const LONGS = ['bytes_in', 'bytes_out', 'hits', 'errors', 'retries', 'parent']
const DOUBLES = ['cpu', 'memory', 'disk', 'latency', 'cost', 'score', 'load', 'share']

export function wideSettings(server: S3Server, bucket: string): string {
  return `
lake.root: s3://${bucket}/lake
storage.s3: { endpoint: ${server.endpoint}, region: ${server.region}, access-key-id: ${server.accessKeyId}, secret-access-key: ${server.secretAccessKey}, path-style: true }
snapshot.age.ms: 2 s
tables:
  ${WIDE_TABLE}:
    columns: { ts: timestamptz required, id: long required, ${columnsOf(TEXTS, 'string')}, ${columnsOf(LONGS, 'long')}, ${columnsOf(DOUBLES, 'double')} }
    sort: [ts]
log.level: warn
`
}

function columnsOf(names: readonly string[], type: string): string {
  return names.map((name) => `${name}: ${type}`).join(', ')
}

/** All rows are in data files when it resolves, and nothing writes any more. */
export async function fillWideTable(stage: Stage, millrace: Millrace, rows: number): Promise<readonly LiveFile[]> {
  const ingest = await millrace.start('ingest')
  const started = performance.now()
  let next = 0
  const send = async () => {
    while (next < rows) {
      const start = next
      next += ROWS_PER_REQUEST
      const lines: string[] = []
      for (let index = start; index < Math.min(rows, start + ROWS_PER_REQUEST); index += 1) lines.push(wideRow(index))
      const { status, body } = await millrace.ingest(WIDE_TABLE, lines.join('\n'))
      if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
    }
  }
  await Promise.all(Array.from({ length: SENDERS }, send))
  stage.say(`${rows} rows over HTTP in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  const compactor = await millrace.start('compactor')
  const lake = await openLakeReader(millrace.configFile)
  try {
    await waitForLake(lake, WIDE_TABLE, ({ segments }) => segments.length === 0)
    // Ends after the work under way: the snapshot does not change while it is read.
    await compactor.stop()
    await ingest.stop()
    const { files } = await lake.snapshot(WIDE_TABLE)
    const there = files.reduce((sum, file) => sum + file.rowCount, 0)
    if (there !== rows) throw new Error(`${there} rows in the snapshot, ${rows} were sent`)
    return files
  } finally {
    await lake.close()
  }
}

function wideRow(index: number): string {
  const bits = (Math.imul(index + 1, 0x9e3779b1) ^ (index >>> 7)) >>> 0
  const row: Record<string, unknown> = { ts: new Date(1_767_225_600_000 + index * 40).toISOString(), id: index }
  row.region = `region-${bits % 12}`
  row.plan = ['free', 'team', 'large'][bits % 3]
  row.host = `host-${bits % 400}.example.net`
  row.agent = `agent/${bits % 7}.${bits % 31}`
  LONGS.forEach((name, place) => {
    row[name] = (bits >>> place) % 1_000_003
  })
  DOUBLES.forEach((name, place) => {
    row[name] = ((bits >>> place) % 100_000) / 64
  })
  return JSON.stringify(row)
}
