/**
 * The object store away for a while under load: memory stays below its ceiling, lag grows and is told, nothing is committed, and
 * afterwards everything is there once (G-1, G-2, G-6). And a rate limit holds up its own pipeline only.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace } from '../harness/millrace.ts'
import { createProducer } from '../harness/produce.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { s3Yaml } from '../lake/open-lake.ts'
import { expectEveryOffsetOnce } from '../main-job/table-checks.ts'

let kafka: KafkaBroker
let s3: S3Server

beforeAll(async () => {
  ;[kafka, s3] = await Promise.all([startKafka(), startS3Server()])
})
afterAll(async () => {
  await Promise.all([kafka?.[Symbol.asyncDispose](), s3?.stop()])
})

const PARTITIONS = 2
const NOTE = 'n'.repeat(2000)
const HELD_MAX = 24 * 1024 ** 2
const MEMORY_MAX = 16 * 1024 ** 2

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

test('the store away: waiting, with lag that grows and the reason; then all of it, once', async () => {
  await kafka.createTopic('away', PARTITIONS)
  const bucket = await s3.bucket('outage')
  const millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
${s3Yaml(s3, { root: `s3://${bucket}/lake` })}
kafka.fetch.bytes.max: 1 MiB
ingest.memory.max: ${MEMORY_MAX / 1024 ** 2} MiB
ingest.request.bytes.max: 1 MiB
flush.interval.ms: 100
flush.bytes: 2 MiB
query.memory: 256 MiB
log.level: warn
tables:
  events: { columns: { id: long required, note: string } }
pipelines:
  main: { topics: [away], tables: [events] }
`,
  })
  const told = async () =>
    (
      await millrace.sql(
        `SELECT min(state), sum(lag)::BIGINT, sum(committed_offset)::BIGINT, max(detail), max(freshness_ms) FROM millrace.partitions`,
      )
    ).data[0]
  const held = async () => {
    const metrics = await (await fetch(`${millrace.url('ingest')}/metrics`)).text()
    return Number(/^millrace_ingest_bytes_held\{.*\} (\S+)/m.exec(metrics)?.[1] ?? 0)
  }
  await using producer = await createProducer(kafka.bootstrap)
  let sent = 0
  const send = async (batches: number) => {
    for (let batch = 0; batch < batches; batch += 1) {
      const records = Array.from({ length: 200 }, (_, each) => ({
        value: JSON.stringify({ id: sent + each, note: NOTE }),
      }))
      await producer.send('away', batch % PARTITIONS, records)
      sent += records.length
    }
  }
  try {
    await Promise.all([millrace.start('query'), millrace.start('ingest')])
    await send(4)
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === sent)

    await s3.kill()
    await send(100)
    let last: readonly unknown[] = []
    let mostHeld = 0
    for (let second = 0; second < 20; second += 1) {
      await pause(1000)
      last = await told()
      mostHeld = Math.max(mostHeld, await held())
    }
    const [state, lag, committed, detail, freshness] = last
    expect(state).toBe('waiting')
    expect(String(detail)).toMatch(/segment upload|store|connect|ECONNREFUSED/i)
    // Nothing was committed since; the broker says where the log ends though no block can be taken.
    expect(Number(committed)).toBe(800)
    expect(Number(lag)).toBe(sent - 800)
    expect(Number(freshness)).toBeGreaterThan(10_000)
    expect(mostHeld).toBeLessThan(HELD_MAX)
    const ready = (await (await fetch(`${millrace.url('ingest')}/readyz`)).json()) as { status: string }
    expect(ready.status).not.toBe('healthy')

    await s3.restart()
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === sent, 60_000)
    await expectEveryOffsetOnce(millrace, kafka, { table: 'events', topic: 'away', partitions: PARTITIONS })
    await millrace.eventually(
      `SELECT min(state) = 'running' AND max(state) = 'running' AND sum(lag) = 0 FROM millrace.partitions`,
      (isOver) => isOver === true,
    )
  } finally {
    await millrace.close()
  }
})

test('a rate limit is kept and told, and holds up nobody else', async () => {
  await kafka.createTopic('slow', 1)
  await kafka.createTopic('fast', 1)
  const millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
query.memory: 256 MiB
tables:
  slow: { columns: { id: long required } }
  fast: { columns: { id: long required } }
pipelines:
  slow: { topics: [slow], tables: [slow], rate.rows.max: 2000 }
  fast: { topics: [fast], tables: [fast] }
`,
  })
  await using producer = await createProducer(kafka.bootstrap)
  const records = Array.from({ length: 500 }, (_, id) => ({ value: JSON.stringify({ id }) }))
  let sent = 0
  let isTold = false
  /** More than the limit: a unit of records passes whole, and the next one waits for what it took too much. */
  async function feed(): Promise<void> {
    while (!isTold) {
      for (const topic of ['slow', 'fast']) await producer.send(topic, 0, records)
      sent += records.length
      await pause(100)
    }
  }
  try {
    await Promise.all([millrace.start('query'), millrace.start('ingest')])
    const feeding = feed()
    await millrace
      .eventually(
        "SELECT detail FROM millrace.partitions WHERE pipeline = 'slow' AND state = 'waiting'",
        (detail) => detail === 'waits at its rate limit',
      )
      .finally(() => {
        isTold = true
      })
    await feeding
    for (const table of ['fast', 'slow']) {
      await millrace.eventually(`SELECT count(*) FROM ${table}`, (rows) => Number(rows) === sent, 60_000)
    }
  } finally {
    await millrace.close()
  }
})
