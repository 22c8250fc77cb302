// Avro behind a real schema registry, whose schema changes while rows come in to two processes: versions side by side, row by
// row; one that the table cannot take, beside a topic that goes on; and how it heals. Each record is in one place (G-1, G-2, G-5).
import { setTimeout as sleep } from 'node:timers/promises'
import avro from 'avsc'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace, type StartedService } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type SchemaRegistry, startSchemaRegistry } from '../harness/schema-registry.ts'
import { checkCommand } from '../lake/check-lake.ts'
import { expectEveryOffsetOnce } from './table-checks.ts'

const PARTITIONS = 4
const ROWS = 500

let kafka: KafkaBroker
let producer: Producer
let registry: SchemaRegistry
let millrace: Millrace
let services: StartedService[]

beforeAll(async () => {
  ;[kafka, registry] = await Promise.all([startKafka(), startSchemaRegistry()])
  producer = await createProducer(kafka.bootstrap)
  for (const topic of ['orders', 'visits']) await kafka.createTopic(topic, PARTITIONS)
  const connector = (topic: string) => `
  ${topic}:
    topics: ${topic}
    tasks.max: "2"
    value.converter: io.confluent.connect.avro.AvroConverter
    value.converter.schema.registry.url: ${registry.url}`
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.topics.refresh.ms: 500
flush.interval.ms: 100
snapshot.age.ms: 1 s
compaction.memory: 256 MiB
query.memory: 256 MiB
connectors:${connector('orders')}${connector('visits')}
`,
  })
  services = await Promise.all([
    millrace.start('ingest'),
    millrace.start('ingest', { extra: true }),
    millrace.start('query'),
    millrace.start('compactor'),
  ])
}, 180_000)

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await registry?.[Symbol.asyncDispose]()
  await kafka?.[Symbol.asyncDispose]()
})

type Version = { readonly id: number; readonly type: avro.Type }

async function register(topic: string, name: string, fields: readonly unknown[]): Promise<Version> {
  const schema = { type: 'record', name, fields } as avro.Schema
  // Each under a subject of its own: whether versions go together is ours to say here.
  const id = await registry.register(`${topic}-${name}`, { schema: JSON.stringify(schema) })
  return { id, type: avro.Type.forSchema(schema) }
}

function encode({ id, type }: Version, value: unknown): Uint8Array {
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(id, 1)
  return Buffer.concat([frame, type.toBuffer(value)])
}

/** To every topic-partition in one go; `id` counts through all of them. */
async function send(topic: string, first: number, value: (id: number) => Uint8Array): Promise<void> {
  await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) => {
      const records = Array.from({ length: ROWS }, (_, at) => ({ value: value(first + at * PARTITIONS + partition) }))
      return producer.send(topic, partition, records, { codec: 'lz4' })
    }),
  )
}

const BATCH = ROWS * PARTITIONS
const counted = (table: string, rows: number) =>
  millrace.eventually(`SELECT count(*) FROM ${table}`, (count) => Number(count) === rows, 60_000)

async function columnsOf(table: string): Promise<string[]> {
  const reply = await fetch(`${millrace.url('query')}/v1/tables/${table}`)
  const { columns } = (await reply.json()) as { columns: { name: string; type: string; hidden: boolean }[] }
  return columns.filter(({ hidden }) => !hidden).map(({ name, type }) => `${name} ${type}`)
}

async function changed(change: Record<string, string>): Promise<void> {
  const reply = await fetch(`${millrace.url('ingest')}/v1/tables/orders/columns`, {
    method: 'POST',
    body: JSON.stringify(change),
  })
  expect(reply.status).toBe(200)
}

async function troubles(): Promise<string> {
  const texts = await Promise.all(services.slice(0, 2).map(async ({ url }) => (await fetch(`${url}/readyz`)).text()))
  return texts.join('\n')
}

async function untilTroubles(wanted: (text: string) => boolean): Promise<string> {
  const deadline = AbortSignal.timeout(60_000)
  for (;;) {
    const text = await troubles()
    if (wanted(text)) return text
    if (deadline.aborted) throw new Error(`not in time: ${text}`)
    await sleep(200)
  }
}

test('versions side by side, an incompatible one beside a topic that goes on, and its healing', {
  timeout: 240_000,
}, async () => {
  const v1 = await register('orders', 'V1', [
    { name: 'id', type: 'long' },
    { name: 'n', type: 'int' },
    { name: 'label', type: 'string' },
    { name: 'gone', type: 'string' },
  ])
  const one = (id: number) => encode(v1, { id, n: id, label: `l${id}`, gone: 'g' })
  await send('orders', 0, one)
  await counted('orders', BATCH)
  expect(await columnsOf('orders')).toEqual(['id long', 'n int', 'label string', 'gone string'])

  // Both versions row by row, everywhere at once: widened, renamed by alias, a field more, a required one less.
  const v2 = await register('orders', 'V2', [
    { name: 'id', type: 'long' },
    { name: 'n', type: 'long' },
    { name: 'title', type: 'string', aliases: ['label'] },
    { name: 'gate', type: ['null', 'string'], default: null },
  ])
  const two = (id: number) => encode(v2, { id, n: 5_000_000_000 + id, title: `t${id}`, gate: `g${id}` })
  await send('orders', BATCH, (id) => (id % 8 < 4 ? one(id) : two(id)))
  await counted('orders', 2 * BATCH)
  expect(await columnsOf('orders')).toEqual(['id long', 'n long', 'title string', 'gone string', 'gate string'])
  const { data } =
    await millrace.sql(`SELECT count(*) FILTER (WHERE n = id AND title = 'l' || id AND gone = 'g' AND gate IS NULL),
    count(*) FILTER (WHERE n = 5000000000 + id AND title = 't' || id AND gone IS NULL AND gate = 'g' || id) FROM orders`)
  expect(data[0].map(Number)).toEqual([BATCH + BATCH / 2, BATCH / 2])

  // Text for a number: kept with the reason, and said; v1 beside it and the other topic go on.
  const v3 = await register('orders', 'V3', [
    { name: 'id', type: 'long' },
    { name: 'n', type: 'string' },
  ])
  const three = (id: number) => encode(v3, { id, n: `n${id}` })
  await send('orders', 2 * BATCH, (id) => (id % 8 < 4 ? one(id) : three(id)))
  await send('visits', 0, one)
  await counted('visits', BATCH)
  await counted('orders', 2.5 * BATCH)
  await counted('orders__dead_letters', BATCH / 2)
  const reason = 'column "n" of table "orders" is long, in'
  expect(await millrace.value('SELECT count(DISTINCT reason) FROM orders__dead_letters')).toBe('1')
  expect(await millrace.value('SELECT min(reason) FROM orders__dead_letters')).toContain(reason)
  const said = await untilTroubles((text) => text.includes('topic orders into table orders'))
  expect(said).toContain('"status":"degraded"')
  expect(said).not.toContain('into table visits')

  // Room is made for the new type: the next records of v3 are rows, and health is well again.
  await changed({ op: 'rename', column: 'n', to: 'n_old' })
  await changed({ op: 'add', column: 'n', type: 'string' })
  await untilTroubles((text) => !text.includes('topic orders into table orders'))
  await send('orders', 3 * BATCH, three)
  await counted('orders', 3.5 * BATCH)
  expect(Number(await millrace.value("SELECT count(*) FROM orders WHERE n = 'n' || id"))).toBe(BATCH)
  expect(Number(await millrace.value('SELECT count(*) FROM orders WHERE n IS NULL AND n_old IS NOT NULL'))).toBe(
    2.5 * BATCH,
  )
  expect(Number(await millrace.value('SELECT count(*) FROM orders__dead_letters'))).toBe(BATCH / 2)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'visits', topic: 'visits', partitions: PARTITIONS })
  const places = await millrace.sql(`SELECT _partition, count(*), count(DISTINCT _offset), max(_offset) FROM
    (SELECT _partition, _offset FROM orders UNION ALL SELECT _partition, _offset FROM orders__dead_letters) GROUP BY 1 ORDER BY 1`)
  expect(places.data.map((row) => row.map(Number))).toEqual(
    [0, 1, 2, 3].map((partition) => [partition, 4 * ROWS, 4 * ROWS, 4 * ROWS - 1]),
  )
  for (const service of services.toReversed()) expect((await service.stop()).code).toBe(0)
  expect(await checkCommand({ millrace }, '--deep')).toMatchObject({ code: 0 })
})
