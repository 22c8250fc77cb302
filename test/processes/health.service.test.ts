// Every process says how it is: alive, ready, degraded with a reason while the broker or the object store is away, and healthy
// again by itself (G-13); metrics for Prometheus; JSON logs.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace, type ServiceName } from '../harness/millrace.ts'
import type { StartedProcess } from '../harness/processes.ts'
import { createProducer } from '../harness/produce.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { expectLogLines, parseMetrics, readiness, until } from './observe.ts'

const SERVICES: readonly ServiceName[] = ['ingest', 'compactor', 'query']
const TOPIC = 'events'

let kafka: KafkaBroker
let s3: S3Server
let millrace: Millrace
let processes: Record<ServiceName, StartedProcess>

beforeAll(async () => {
  ;[kafka, s3] = await Promise.all([startKafka(), startS3Server()])
  await kafka.createTopic(TOPIC, 2)
  const bucket = await s3.bucket('health')
  millrace = await createMillrace({
    settings: `
lake.root: s3://${bucket}/lake
storage.s3:
  endpoint: ${s3.endpoint}
  region: ${s3.region}
  path-style: true
  access-key-id: ${s3.accessKeyId}
  secret-access-key: ${s3.secretAccessKey}
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
snapshot.age.ms: 500
compaction.interval.ms: 200
compaction.memory: 256 MiB
query.memory: 256 MiB
tables:
  events:
    columns: { id: long required }
pipelines:
  events: { topics: [${TOPIC}], tables: [events] }
`,
  })
  const [ingest, compactor, query] = await Promise.all(SERVICES.map((name) => millrace.start(name)))
  processes = { ingest, compactor, query }
})

afterAll(async () => {
  await millrace?.close()
  await Promise.all([kafka?.[Symbol.asyncDispose](), s3?.stop()])
})

async function produce(from: number, count: number): Promise<void> {
  await using producer = await createProducer(kafka.bootstrap)
  const records = Array.from({ length: count }, (_, each) => ({ value: JSON.stringify({ id: from + each }) }))
  await producer.send(TOPIC, from % 2, records)
}

async function untilAllHealthy(): Promise<void> {
  for (const name of SERVICES) {
    const state = await until(
      `${name} is healthy`,
      () => readiness(millrace.url(name)),
      ({ status }) => status === 'healthy',
    )
    expect(state).toEqual({ code: 200, status: 'healthy', reasons: [] })
  }
}

test.each(SERVICES)('%s is alive, ready, measured', async (name) => {
  const alive = await fetch(`${millrace.url(name)}/healthz`)
  expect([alive.status, await alive.json()]).toEqual([200, { status: 'alive', service: name }])
  expect(
    await until(
      'ready',
      () => readiness(millrace.url(name)),
      ({ status }) => status === 'healthy',
    ),
  ).toEqual({
    code: 200,
    status: 'healthy',
    reasons: [],
  })
  const metrics = await fetch(`${millrace.url(name)}/metrics`)
  expect(metrics.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
  const samples = parseMetrics(await metrics.text())
  const own = [...samples.keys()].filter((key) => key.startsWith('millrace_'))
  expect(own.length).toBeGreaterThan(3)
  expect([...samples.keys()].every((key) => key.includes(`service="${name}"`))).toBe(true)
  expect(samples.get(`process_start_time_seconds{service="${name}"}`)).toBeGreaterThan(1_700_000_000)
})

test('the broker away: ingest is degraded and says which, the others are not; rows go on when it is back', async () => {
  await produce(0, 10)
  await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 10)
  await kafka.kill9()
  const away = await until(
    'ingest degraded',
    () => readiness(millrace.url('ingest')),
    ({ status }) => status === 'degraded',
  )
  expect(away.code).toBe(200)
  const reason = away.reasons.find(({ component }) => component === 'pipeline events')
  expect(reason).toMatchObject({ status: 'degraded', reason: expect.stringContaining(kafka.bootstrap) })
  for (const name of ['compactor', 'query'] as const)
    expect((await readiness(millrace.url(name))).status).toBe('healthy')
  // HTTP ingestion does not care, and neither does a stop.
  const another = await millrace.start('ingest', { extra: true })
  expect(await another.stop()).toEqual({ code: 0, signal: null })
  expect((await millrace.ingest('events', '{"id": 1000}\n')).status).toBe(200)
  await kafka.restart()
  await untilAllHealthy()
  await produce(11, 10)
  await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 21)
})

test('the object store away: all are degraded and say which, nothing is lost, and they heal by themselves', async () => {
  await s3.kill()
  expect((await millrace.ingest('events', '{"id": 2000}\n', { query: '?ack=buffered' })).status).toBe(202)
  await produce(100, 10)
  for (const name of SERVICES) {
    const away = await until(
      `${name} degraded`,
      () => readiness(millrace.url(name)),
      ({ status }) => status === 'degraded',
    )
    expect(away.code).toBe(200)
    const reason = away.reasons.find(({ component }) => component.startsWith('store s3://'))
    expect([name, reason?.component]).toEqual([name, 'store s3://health/lake'])
    expect(reason?.reason).toMatch(/ECONNREFUSED|connection/i)
  }
  await s3.restart()
  await untilAllHealthy()
  await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 32)
  const places = await millrace.sql(
    'SELECT count(*), count(DISTINCT (_source, _partition, _offset)), sum(id) FROM events',
  )
  expect(places.data[0].map(Number)).toEqual([32, 32, 45 + 1000 + 155 + 2000 + 1045])
})

test('all they printed is JSON lines, also about trouble, and no secret is in them; SIGTERM ends each with code 0', async () => {
  for (const name of SERVICES) {
    expect(await processes[name].stop()).toEqual({ code: 0, signal: null })
    expectLogLines(processes[name], name)
    expect(processes[name].output()).not.toContain(s3.secretAccessKey)
    expect(processes[name].output()).toMatch(/"message":"ready"[\s\S]*"message":"stopped"/)
  }
})
