// Three ingest processes of one group come and go in order (SIGTERM) while records flow: each record once, and nobody waits
// for a session to time out.
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import type { StartedProcess } from '../harness/processes.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { expectEveryOffsetOnce } from './table-checks.ts'

const TOPIC = 'clicks'
const PARTITIONS = 6
const BATCH = 500

let kafka: KafkaBroker
let producer: Producer
let millrace: Millrace

beforeAll(async () => {
  kafka = await startKafka({ properties: { 'group.min.session.timeout.ms': '500' } })
  producer = await createProducer(kafka.bootstrap)
  await kafka.createTopic(TOPIC, PARTITIONS)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
snapshot.age.ms: 2 s
compaction.memory: 256 MiB
query.memory: 256 MiB
tables:
  clicks:
    columns: { id: long required, name: string }
    sort: [id]
pipelines:
  clicks: { topics: [${TOPIC}], tables: [clicks] }
`,
  })
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

async function assignedTo(process: StartedProcess): Promise<number> {
  const url = /"url":"(http:[^"]+)"/.exec(process.output())?.[1]
  const reply = await fetch(`${url}/v1/pipelines`)
  const { pipelines } = (await reply.json()) as { pipelines: { partitions: unknown[] }[] }
  return pipelines[0].partitions.length
}

/** The members have so many topic-partitions each, in any order. */
async function expectSplit(processes: readonly StartedProcess[], split: readonly number[]): Promise<void> {
  const deadline = AbortSignal.timeout(30_000)
  for (;;) {
    const counts = (await Promise.all(processes.map(assignedTo))).sort((a, b) => a - b)
    if (counts.join() === split.join()) return
    if (deadline.aborted) throw new Error(`expected the split ${split}, found ${counts}`)
    await sleep(100)
  }
}

test('three processes come and go under load: every record once, rows go on arriving', {
  timeout: 120_000,
}, async () => {
  await Promise.all([millrace.start('query'), millrace.start('compactor')])
  let sent = 0
  let producing = true
  const production = (async () => {
    while (producing) {
      const partition = (sent / BATCH) % PARTITIONS
      const from = sent
      const records = Array.from({ length: BATCH }, (_, each) => ({
        value: JSON.stringify({ id: from + each, name: 'x' }),
      }))
      await producer.send(TOPIC, partition, records, { codec: 'snappy' })
      sent += BATCH
      await sleep(25)
    }
  })()
  /** What was sent up to now arrives though members change. */
  const arrives = async () => {
    const wanted = sent
    await millrace.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) >= wanted)
  }

  const first = await millrace.start('ingest')
  await expectSplit([first], [6])
  const second = await millrace.start('ingest', { extra: true })
  await expectSplit([first, second], [3, 3])
  await arrives()
  const third = await millrace.start('ingest', { extra: true })
  await expectSplit([first, second, third], [2, 2, 2])
  await arrives()
  expect(await first.stop()).toEqual({ code: 0, signal: null })
  await expectSplit([second, third], [3, 3])
  await arrives()
  const fourth = await millrace.start('ingest')
  await expectSplit([second, third, fourth], [2, 2, 2])
  // Two at once.
  const exits = await Promise.all([second.stop(), third.stop()])
  expect(exits).toEqual([
    { code: 0, signal: null },
    { code: 0, signal: null },
  ])
  await expectSplit([fourth], [6])
  await arrives()
  producing = false
  await production
  await arrives()
  expect(Number(await millrace.value('SELECT count(*) FROM clicks'))).toBe(sent)
  expect(Number(await millrace.value('SELECT sum(id) FROM clicks'))).toBe((sent * (sent - 1)) / 2)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'clicks', topic: TOPIC, partitions: PARTITIONS })
  expect(await fourth.stop()).toEqual({ code: 0, signal: null })
})

test('a process frozen past its session wakes up to others at its work: no record twice, none lost', async () => {
  await kafka.createTopic('frozen', 2)
  const frozen = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 1 s
flush.interval.ms: 300
query.memory: 256 MiB
tables:
  clicks:
    columns: { id: long required, name: string }
pipelines:
  frozen: { topics: [frozen], tables: [clicks] }
`,
  })
  try {
    await frozen.start('query')
    const sleeper = await frozen.start('ingest')
    let sent = 0
    const send = async (count: number) => {
      for (let batch = 0; batch < count; batch++) {
        const from = sent
        const records = Array.from({ length: BATCH }, (_, each) => ({ value: JSON.stringify({ id: from + each }) }))
        await producer.send('frozen', batch % 2, records, { codec: 'lz4' })
        sent += BATCH
      }
    }
    const arrives = () => frozen.eventually('SELECT count(*) FROM clicks', (rows) => Number(rows) >= sent)
    await send(4)
    await arrives()
    for (let round = 0; round < 3; round++) {
      // Frozen with rows decoded and not committed yet.
      await send(6)
      await sleep(round * 120)
      sleeper.pause()
      const other = await frozen.start('ingest', { extra: true })
      await send(4)
      await arrives()
      sleeper.resume()
      await send(4)
      await arrives()
      expect(await other.stop()).toEqual({ code: 0, signal: null })
    }
    await arrives()
    expect(Number(await frozen.value('SELECT count(*) FROM clicks'))).toBe(sent)
    await expectEveryOffsetOnce(frozen, kafka, { table: 'clicks', topic: 'frozen', partitions: 2 })
    expect(await sleeper.stop()).toEqual({ code: 0, signal: null })
  } finally {
    await frozen.close()
  }
})
