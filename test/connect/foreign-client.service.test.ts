// A client of the Kafka Connect REST API made by others (kafka-connect-py, library and command line), used as its README says,
// against the ingest service with tokens: the client knows basic auth only, and the token is the password.
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer } from '../harness/produce.ts'
import { runPython } from '../harness/python.ts'

const REQUIREMENTS = join(import.meta.dirname, '..', 'harness', 'connect-client-requirements.txt')
const TOKEN = 'a-token-of-sixteen-or-more'

let kafka: KafkaBroker
let millrace: Millrace

beforeAll(async () => {
  kafka = await startKafka()
  await kafka.createTopic('orders', 2)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
query.memory: 256 MiB
tokens: [{ name: client, token: ${TOKEN}, rights: [admin] }]
`,
  })
  await millrace.start('ingest')
})

afterAll(async () => {
  await millrace?.close()
  await kafka?.[Symbol.asyncDispose]()
})

test('makes a connector, pauses, restarts, stops, changes it, and sees what it wants to see', async () => {
  const producer = await createProducer(kafka.bootstrap)
  await producer.send('orders', 0, [{ value: '{"id": 1}' }])
  producer.close()
  const found = await runPython(
    { file: join(import.meta.dirname, 'foreign-client.py') },
    [millrace.url('ingest'), `client:${TOKEN}`, 'orders'],
    { requirements: REQUIREMENTS },
  )
  const config = {
    name: 'my-connector',
    'connector.class': 'Millrace',
    topics: 'orders',
    'tasks.max': '1',
    'millrace.table': 'by_client',
  }
  expect(found).toEqual({
    cluster: ['commit', 'kafka_cluster_id', 'version'],
    before: [],
    plugins: ['io.millrace.connect.MillraceSinkConnector'],
    validated: ['io.millrace.connect.MillraceSinkConnector', 0],
    created: { name: 'my-connector', config, tasks: [], type: 'sink' },
    listed: 'RUNNING',
    running: ['my-connector'],
    config,
    tasks: [{ connector: 'my-connector', task: 0 }],
    task: 'RUNNING',
    updated: '2',
    topics: ['my-connector'],
    'kc list': ['my-connector'],
    'kc status': 'my-connector',
    'kc update': '1',
    refused: expect.stringContaining('400'),
  })
})

test('without the token nothing is told or done', async () => {
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/connectors'],
    ['POST', '/connectors'],
    ['DELETE', '/connectors/my-connector'],
    ['PUT', '/connector-plugins/Millrace/config/validate'],
  ] as const) {
    const reply = await fetch(`${millrace.url('ingest')}${path}`, { method })
    expect([method, path, reply.status]).toEqual([method, path, 401])
    expect(await reply.json()).toEqual({ error_code: 401, message: expect.stringContaining('token') })
  }
})
