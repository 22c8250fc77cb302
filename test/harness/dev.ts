/**
 * `npm run dev`: everything real on this machine, with sample data: a Kafka broker, an S3 server, and Millrace's three
 * services over them. Prints the URLs and stays until Ctrl-C; then all of it goes, data included.
 *
 * 2,000 JSON records a second flow into the topic `events`, so that there is always something fresh to ask about.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './free-port.ts'
import { startKafka } from './kafka.ts'
import { startProcess } from './processes.ts'
import { createProducer } from './produce.ts'
import { startS3Server } from './s3-server.ts'

const RECORDS_PER_SECOND = 2000
const BATCHES_PER_SECOND = 10
const PARTITIONS = 4

const folder = await mkdtemp(join(tmpdir(), 'millrace-dev-'))
const stopping = new AbortController()
process.once('SIGINT', () => stopping.abort())
process.once('SIGTERM', () => stopping.abort())

process.stdout.write('Starting Kafka and S3 (the first time they are fetched and built) …\n')
const [kafka, s3] = await Promise.all([startKafka(), startS3Server()])
const bucket = await s3.bucket('millrace')
await kafka.createTopic('events', PARTITIONS)
const ports = { ingest: await freePort(), compactor: await freePort(), query: await freePort() }
const configFile = join(folder, 'millrace.yaml')
await writeFile(
  configFile,
  `data: ${JSON.stringify(join(folder, 'data'))}
lake.root: s3://${bucket}/lake
storage.s3:
  endpoint: ${s3.endpoint}
  region: ${s3.region}
  access-key-id: ${s3.accessKeyId}
  secret-access-key: ${s3.secretAccessKey}
  path-style: true
kafka.bootstrap: [${kafka.bootstrap}]
listen.ingest: 127.0.0.1:${ports.ingest}
listen.compactor: 127.0.0.1:${ports.compactor}
listen.query: 127.0.0.1:${ports.query}
snapshot.age.ms: 10 s
tables:
  events:
    columns: { ts: timestamptz, user: string, action: string, amount: 'decimal(10,2)', ok: boolean }
    event-time: ts
    partition: [hour(ts)]
    sort: [ts]
pipelines:
  events: { topics: [events], tables: [events] }
`,
)
const services = await startProcess({
  name: 'millrace',
  command: process.execPath,
  args: [join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts'), 'up', '--config', configFile],
  ready: { line: /Millrace is up/ },
  readyTimeoutMs: 60_000,
})
const producer = await createProducer(kafka.bootstrap)
const queryUrl = `http://127.0.0.1:${ports.query}`
process.stdout.write(`
  Kafka     ${kafka.bootstrap}   topic events (${RECORDS_PER_SECOND} records/s)
  S3        ${s3.endpoint}   bucket ${bucket}, keys ${s3.accessKeyId} / ${s3.secretAccessKey}
  ingest    http://127.0.0.1:${ports.ingest}
  compactor http://127.0.0.1:${ports.compactor}
  query     ${queryUrl}
  settings  ${configFile}

  ./millrace sql --url ${queryUrl} "SELECT action, count(*), max(ts) FROM events GROUP BY 1 ORDER BY 2 DESC"

Ctrl-C ends everything and removes its data.
`)

let made = 0
while (!stopping.signal.aborted && services.exit() === undefined) {
  const records = Array.from({ length: RECORDS_PER_SECOND / BATCHES_PER_SECOND }, () => ({ value: sampleRecord() }))
  await producer.send('events', made++ % PARTITIONS, records, { codec: 'lz4' })
  await sleep(1000 / BATCHES_PER_SECOND, undefined, { signal: stopping.signal }).catch(() => {})
}
if (services.exit() !== undefined) process.stderr.write(`the services ended:\n${services.output().slice(-4000)}\n`)
process.stdout.write('Stopping …\n')
producer.close()
await services.stop()
await Promise.all([kafka.stop(), s3.stop()])
await rm(folder, { recursive: true, force: true })
process.exit(0)

function sampleRecord(): Buffer {
  const pick = <T>(from: readonly T[]) => from[Math.floor(Math.random() * from.length)]
  return Buffer.from(
    JSON.stringify({
      ts: new Date().toISOString(),
      user: `user-${Math.floor(Math.random() * 5000)}`,
      action: pick(['view', 'view', 'view', 'search', 'cart', 'buy']),
      amount: (Math.random() * 200).toFixed(2),
      ok: Math.random() > 0.02,
    }),
  )
}
