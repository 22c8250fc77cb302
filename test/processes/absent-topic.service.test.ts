// A pipeline whose topic does not exist says so in /readyz, by the topic's name, until it does; then its records come (G-13).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer } from '../harness/produce.ts'
import { readiness, until } from './observe.ts'

let kafka: KafkaBroker
let millrace: Millrace

beforeAll(async () => {
  kafka = await startKafka()
  await kafka.createTopic('present')
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
query.memory: 256 MiB
tables: { visits: { columns: { id: long required } } }
pipelines:
  visits: { topics: [present, missspelt], tables: [visits] }
`,
  })
  await Promise.all([millrace.start('ingest'), millrace.start('query')])
})

afterAll(async () => {
  await millrace?.close()
  await kafka?.[Symbol.asyncDispose]()
})

test('ingest is degraded, names the topic, reads the others, and is healthy once the topic is there', async () => {
  const state = await until(
    'ingest degraded',
    () => readiness(millrace.url('ingest')),
    ({ status }) => status === 'degraded',
  )
  expect([state.code, state.reasons]).toEqual([
    200,
    [
      {
        component: 'pipeline visits',
        status: 'degraded',
        reason: 'topic "missspelt" does not exist; it is read as soon as it does',
      },
    ],
  ])
  await using producer = await createProducer(kafka.bootstrap)
  await producer.send('present', 0, [{ value: '{"id": 1}' }])
  await millrace.eventually('SELECT count(*) FROM visits', (rows) => Number(rows) === 1)

  await kafka.createTopic('missspelt')
  await until(
    'ingest healthy',
    () => readiness(millrace.url('ingest')),
    ({ status }) => status === 'healthy',
  )
  await producer.send('missspelt', 0, [{ value: '{"id": 2}' }])
  await millrace.eventually('SELECT sum(id) FROM visits', (sum) => Number(sum) === 3)
})
