// The log contradicts what was consumed (a recreated topic, records deleted before they were read): the topic-partition
// stands still and says so with the command that goes on; after it, rows before are kept and none comes twice.
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { runToEnd } from '../harness/processes.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { checkCommand } from '../lake/check-lake.ts'

const MAIN = join(import.meta.dirname, '..', '..', 'bin', 'millrace.ts')

let kafka: KafkaBroker
let producer: Producer

beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
})

afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

function settingsFor(topic: string): string {
  return `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.topics.refresh.ms: 300
flush.interval.ms: 50
query.memory: 256 MiB
tables:
  events:
    columns: { id: long required }
pipelines:
  main: { topics: [${topic}], tables: [events] }
`
}

async function send(topic: string, partition: number, from: number, count: number): Promise<void> {
  const records = Array.from({ length: count }, (_, each) => ({ value: JSON.stringify({ id: from + each }) }))
  await producer.send(topic, partition, records)
}

type Readiness = { status: string; reasons: { component: string; status: string; reason: string }[] }

async function readiness(millrace: Millrace): Promise<Readiness> {
  return (await (await fetch(`${millrace.url('ingest')}/readyz`)).json()) as Readiness
}

async function waiting(millrace: Millrace): Promise<Record<string, string>> {
  const reply = await fetch(`${millrace.url('ingest')}/v1/pipelines`)
  const { pipelines } = (await reply.json()) as { pipelines: { needs_decision: Record<string, string> }[] }
  return pipelines[0].needs_decision
}

async function until<T>(what: string, ask: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const deadline = AbortSignal.timeout(30_000)
  for (;;) {
    const value = await ask()
    if (holds(value)) return value
    if (deadline.aborted) throw new Error(`never came: ${what}; last: ${JSON.stringify(value)}`)
    await sleep(50)
  }
}

/** The command as an operator copies it from the reason, with their choice of where to go on. */
async function runCommand(millrace: Millrace, reason: string, from: string): Promise<string> {
  const command = /to go on: (millrace decide .+--from )/.exec(reason)?.[1]
  expect(command).toBeDefined()
  const args = `${command}${from}`.split(' ').slice(1)
  return runToEnd({ name: 'decide', command: process.execPath, args: [MAIN, ...args, '--config', millrace.configFile] })
}

async function ids(millrace: Millrace): Promise<number[]> {
  return (await millrace.sql('SELECT id FROM events ORDER BY id')).data.map(([id]) => Number(id))
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, each) => from + each)

test('a topic deleted and created anew waits for a decision, then goes on as another source', async () => {
  await kafka.createTopic('recreated', 1)
  await send('recreated', 0, 0, 10)
  const millrace = await createMillrace({ settings: settingsFor('recreated') })
  try {
    await Promise.all([millrace.start('query'), millrace.start('ingest')])
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 10)
    await kafka.deleteTopic('recreated')
    await kafka.createTopic('recreated', 1)
    await send('recreated', 0, 100, 15)
    const state = await until(
      'a decision is needed',
      () => waiting(millrace),
      (found) => 'recreated/0' in found,
    )
    expect(state['recreated/0']).toMatch(
      /topic recreated was recreated: its id is \S+, rows came from kafka:recreated:\S+/,
    )
    const ready = await readiness(millrace)
    expect(ready.status).toBe('degraded')
    expect(
      ready.reasons.some(({ reason }) => reason.includes('millrace decide --pipeline main --topic recreated')),
    ).toBe(true)
    expect(await ids(millrace)).toEqual(range(0, 10))

    expect(await runCommand(millrace, state['recreated/0'], 'earliest')).toMatch(
      /^recreated\/0 goes on at 0 as kafka:recreated:/,
    )
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 25)
    expect(await ids(millrace)).toEqual([...range(0, 10), ...range(100, 115)])
    const places = await millrace.sql(
      'SELECT count(*), count(DISTINCT (_source, _partition, _offset)), count(DISTINCT _source) FROM events',
    )
    expect(places.data[0].map(Number)).toEqual([25, 25, 2])
    expect(
      await until(
        'health again',
        () => readiness(millrace),
        ({ status }) => status === 'healthy',
      ),
    ).toEqual({
      status: 'healthy',
      reasons: [],
    })
    await expect(runCommand(millrace, state['recreated/0'], 'earliest')).rejects.toThrow(/does not wait for a decision/)
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  } finally {
    await millrace.close()
  }
})

test('records deleted before they were read: the others flow, this one waits, also over a restart', async () => {
  await kafka.createTopic('trimmed', 2)
  await send('trimmed', 0, 0, 10)
  await send('trimmed', 1, 1000, 10)
  const millrace = await createMillrace({ settings: settingsFor('trimmed') })
  try {
    await millrace.start('query')
    const ingest = await millrace.start('ingest')
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 20)
    expect((await ingest.stop()).code).toBe(0)
    await send('trimmed', 0, 10, 20)
    await send('trimmed', 1, 1010, 5)
    await kafka.deleteRecords('trimmed', 0, 25)

    for (let start = 0; start < 2; start++) {
      const again = await millrace.start('ingest')
      const state = await until(
        'a decision is needed',
        () => waiting(millrace),
        (found) => 'trimmed/0' in found,
      )
      expect(Object.keys(state)).toEqual(['trimmed/0'])
      expect(state['trimmed/0']).toContain("coverage ends at 10, before the log's start 25: retention has gone past")
      // The other topic-partition is not held up.
      await millrace.eventually('SELECT count(*) FROM events WHERE id >= 1000', (rows) => Number(rows) === 15)
      expect(await ids(millrace)).toEqual([...range(0, 10), ...range(1000, 1015)])
      if (start === 0) expect((await again.stop()).code).toBe(0)
    }
    const reason = (await waiting(millrace))['trimmed/0']
    await expect(runCommand(millrace, reason, '20')).rejects.toThrow(/outside the log \[25, 30\]/)
    expect(await runCommand(millrace, reason, 'earliest')).toMatch(/^trimmed\/0 goes on at 25 as kafka:trimmed:\S+#2/)
    await send('trimmed', 0, 30, 3)
    await millrace.eventually('SELECT count(*) FROM events WHERE id < 1000', (rows) => Number(rows) === 18)
    expect(await ids(millrace)).toEqual([...range(0, 10), ...range(25, 33), ...range(1000, 1015)])
    const places = await millrace.sql('SELECT count(*), count(DISTINCT (_source, _partition, _offset)) FROM events')
    expect(places.data[0].map(Number)).toEqual([33, 33])
    await until(
      'health again',
      () => readiness(millrace),
      ({ status }) => status === 'healthy',
    )
    expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
  } finally {
    await millrace.close()
  }
})
