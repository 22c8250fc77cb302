// Avro and Protobuf from a real broker through a real schema registry into tables: nested, with references, versions in turn, an id
// that nobody knows, and a registry that dies meanwhile. Each offset is in the table or its dead letters once (G-1, G-2).
import avro from 'avsc'
import protobuf from 'protobufjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type SchemaRegistry, startSchemaRegistry } from '../harness/schema-registry.ts'
import { expectEveryOffsetOnce } from '../main-job/table-checks.ts'
import { readiness, until } from '../processes/observe.ts'

const ADDRESS = { type: 'record', name: 'Address', namespace: 'shop', fields: [{ name: 'city', type: 'string' }] }
const V1 = {
  type: 'record',
  name: 'Order',
  namespace: 'shop',
  fields: [
    { name: 'id', type: 'int' },
    { name: 'to', type: 'shop.Address' },
    { name: 'tags', type: { type: 'array', items: 'string' } },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
  ],
}
const V2 = {
  ...V1,
  fields: [
    { name: 'id', type: 'long' },
    ...V1.fields.slice(1),
    { name: 'price', type: ['null', { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 }], default: null },
  ],
}
const V3 = { ...V2, fields: [...V2.fields, { name: 'late', type: ['null', 'string'], default: null }] }
const PROTO = `syntax = "proto3";
package shop;

import "google/protobuf/timestamp.proto";

message Payment {
  int64 id = 1;
  optional string note = 2;
  repeated Line lines = 3;
  map<string, double> rates = 4;
  google.protobuf.Timestamp at = 5;
  message Line {
    uint32 count = 1;
  }
}
`

let kafka: KafkaBroker
let registry: SchemaRegistry
let producer: Producer
let millrace: Millrace

beforeAll(async () => {
  const started = await Promise.all([
    startKafka({ properties: { 'group.min.session.timeout.ms': '500' } }),
    startSchemaRegistry(),
  ])
  kafka = started[0]
  registry = started[1]
  producer = await createProducer(kafka.bootstrap)
  for (const topic of ['orders', 'payments']) await kafka.createTopic(topic, 2)
  const converter = (side: string, name: string) => ({
    [`${side}.converter`]: `io.confluent.connect.${name}`,
    [`${side}.converter.schema.registry.url`]: registry.url,
    [`${side}.converter.schema.registry.request.timeout.ms`]: '500',
  })
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 3000
flush.interval.ms: 100
query.memory: 256 MiB
connectors:
  orders: ${JSON.stringify({ topics: 'orders', ...converter('value', 'avro.AvroConverter') })}
  payments: ${JSON.stringify({ topics: 'payments', ...converter('value', 'protobuf.ProtobufConverter') })}
`,
  })
  await millrace.start('ingest')
  await millrace.start('query')
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await registry?.[Symbol.asyncDispose]()
  await kafka?.[Symbol.asyncDispose]()
})

function framed(id: number, data: Uint8Array, indexes: readonly number[] = []): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, Buffer.from(indexes), data])
}

function typeOf(schema: unknown): avro.Type {
  const registered: Record<string, avro.Type> = {}
  avro.Type.forSchema(ADDRESS as avro.Schema, { registry: registered })
  return avro.Type.forSchema(schema as avro.Schema, { registry: registered, wrapUnions: true })
}

const references = [{ name: 'shop.Address', subject: 'address', version: 1 }]
const order = (id: number) => ({ id, to: { city: `c${id}` }, tags: ['a', `t${id}`], at: 1_700_000_000_000 + id })
const rowsOf = (table: string, count: number) =>
  millrace.eventually(`SELECT count(*)::INTEGER FROM ${table}`, (value) => value === count, 60_000)

test('Avro: nested records with a type of another subject; the next version widens and adds while both go on', async () => {
  await registry.register('address', { schema: JSON.stringify(ADDRESS) })
  const first = await registry.register('orders-value', { schema: JSON.stringify(V1), references })
  const v1 = typeOf(V1)
  await producer.send(
    'orders',
    0,
    Array.from({ length: 50 }, (_, id) => ({ value: framed(first, v1.toBuffer(order(id))) })),
  )
  await rowsOf('orders', 50)
  const { data } = await millrace.sql('SELECT id, "to".city, tags, epoch_ms("at") FROM orders WHERE id = 7')
  expect(data.map((row) => row.map((each) => (typeof each === 'object' ? each : String(each))))).toEqual([
    ['7', 'c7', ['a', 't7'], '1700000000007'],
  ])

  const second = await registry.register('orders-value', { schema: JSON.stringify(V2), references })
  const v2 = typeOf(V2)
  const records = Array.from({ length: 200 }, (_, index) => {
    const id = 50 + index
    const price = { bytes: Buffer.from([index % 100]) }
    if (index % 2 === 0) return { value: framed(first, v1.toBuffer(order(id))) }
    return { value: framed(second, v2.toBuffer({ ...order(id), id: 2 ** 40 + id, price })) }
  })
  await producer.send('orders', 1, records)
  await rowsOf('orders', 250)
  expect(
    (
      await millrace.sql(
        'SELECT count(price)::INTEGER, sum(price)::VARCHAR, max(id)::VARCHAR, count(DISTINCT "to".city)::INTEGER FROM orders',
      )
    ).data,
  ).toEqual([[100, '50.00', String(2 ** 40 + 249), 250]])
  for (const partition of [0, 1]) expect(await kafka.logEnd('orders', partition)).toBe(partition === 0 ? 50 : 200)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'orders', topic: 'orders', partitions: 2 })
})

test('an id that the registry does not know and bytes that are none: dead letters with the reason, the others are rows', async () => {
  const id = await registry.register('orders-value', { schema: JSON.stringify(V2), references })
  const v2 = typeOf(V2)
  const good = () => ({ value: framed(id, v2.toBuffer({ ...order(900), price: null })) })
  await producer.send('orders', 0, [
    good(),
    { value: framed(4711, Buffer.from([2])) },
    { value: '{"id": 1}' },
    { value: framed(id, Buffer.from([2, 100])) },
    good(),
  ])
  await rowsOf('orders', 252)
  await rowsOf('orders__dead_letters', 3)
  const { data } = await millrace.sql('SELECT reason FROM orders__dead_letters ORDER BY "offset"')
  expect(data.map(([reason]) => reason)).toEqual([
    'schema id 4711 is not in the schema registry',
    'expected magic byte 0 of a registry frame, found 123 at byte 0',
    'field "to.city": a length of 50 bytes where 0 are left at byte 1',
  ])
})

test('Protobuf: messages, lists, maps, timestamps; null where absent means something', async () => {
  const id = await registry.register('payments-value', { schemaType: 'PROTOBUF', schema: PROTO })
  const root = protobuf.parse(PROTO, { keepCase: true }).root
  root.addJSON(protobuf.common.get('google/protobuf/timestamp.proto')!.nested!)
  const type = root.resolveAll().lookupType('shop.Payment')
  const values = [
    { id: 1, note: 'n', lines: [{ count: 2 }, { count: 3 }], rates: { EUR: 1.5 }, at: { seconds: 5, nanos: 7_000 } },
    {},
  ]
  await producer.send(
    'payments',
    0,
    values.map((value) => ({ value: framed(id, type.encode(value).finish(), [0]) })),
  )
  await rowsOf('payments', 2)
  const { data } = await millrace.sql(`SELECT id::INTEGER, note, list_sum(list_transform(lines, l -> l.count))::INTEGER,
    rates['EUR'], epoch_us("at")::INTEGER, len(lines)::INTEGER FROM payments ORDER BY id`)
  expect(data).toEqual([
    [0, null, null, null, null, 0],
    [1, 'n', 5, 1.5, 5_000_007, 2],
  ])
})

test('while the registry is dead what it was not asked for waits, health says so, and it goes on by itself', async () => {
  const third = await registry.register('orders-value', { schema: JSON.stringify(V3), references })
  const known = await registry.register('orders-value', { schema: JSON.stringify(V2), references })
  await registry.kill9()
  const v3 = typeOf(V3)
  const v2 = typeOf(V2)
  await producer.send('orders', 1, [{ value: framed(known, v2.toBuffer({ ...order(1000), price: null })) }])
  await rowsOf('orders', 253)
  await producer.send('orders', 1, [
    { value: framed(third, v3.toBuffer({ ...order(1001), price: null, late: { string: 'x' } })) },
    { value: framed(known, v2.toBuffer({ ...order(1002), price: null })) },
  ])
  const state = await until(
    'degraded for the registry',
    () => readiness(millrace.url('ingest')),
    ({ reasons }) => reasons.some(({ reason }) => reason.includes(`schema registry ${registry.url}`)),
  )
  expect(state.status).toBe('degraded')
  expect(await millrace.value('SELECT count(*)::INTEGER FROM orders')).toBe(253)
  await registry.restart()
  await rowsOf('orders', 255)
  expect(await millrace.value("SELECT count(*)::INTEGER FROM orders WHERE late = 'x'")).toBe(1)
  expect(await millrace.value('SELECT count(*)::INTEGER FROM orders__dead_letters')).toBe(3)
  await until(
    'healthy again but for what was refused',
    () => readiness(millrace.url('ingest')),
    ({ reasons }) => !reasons.some(({ reason }) => reason.includes(registry.url)),
  )
})
