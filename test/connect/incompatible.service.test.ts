/**
 * Records that change under way, through a real registry: two versions row by row, then one that the table cannot take. Those
 * are dead letters, health and the connector's own status say why, other connectors do not notice; after a fix they are
 * replayed, are rows once, and everything reconciles (G-1, G-2, G-5).
 */
import avro from 'avsc'
import protobuf from 'protobufjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { type SchemaRegistry, startSchemaRegistry } from '../harness/schema-registry.ts'
import { runJson, runMillrace } from '../operations/run-command.ts'
import { readiness, until } from '../processes/observe.ts'

let kafka: KafkaBroker
let registry: SchemaRegistry
let producer: Producer
let millrace: Millrace

beforeAll(async () => {
  const started = await Promise.all([startKafka(), startSchemaRegistry()])
  kafka = started[0]
  registry = started[1]
  producer = await createProducer(kafka.bootstrap)
  for (const topic of ['avros', 'protos', 'others']) await kafka.createTopic(topic, 2)
  const converter = (name: string) => ({
    'value.converter': `io.confluent.connect.${name}`,
    'value.converter.schema.registry.url': registry.url,
  })
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.topics.refresh.ms: 500
flush.interval.ms: 100
snapshot.age.ms: 500 ms
compaction.interval.ms: 200
compaction.memory: 256 MiB
query.memory: 256 MiB
connectors:
  avros: ${JSON.stringify({ topics: 'avros', ...converter('avro.AvroConverter') })}
  protos: ${JSON.stringify({ topics: 'protos', ...converter('protobuf.ProtobufConverter') })}
  others: { topics: others }
`,
  })
  await Promise.all([millrace.start('ingest'), millrace.start('query'), millrace.start('compactor')])
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await registry?.[Symbol.asyncDispose]()
  await kafka?.[Symbol.asyncDispose]()
})

const framed = (id: number, data: Uint8Array, indexes: readonly number[] = []) => {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(id, 1)
  return Buffer.concat([head, Buffer.from(indexes), data])
}

type Version = (id: number) => Buffer

async function avroVersion(fields: readonly unknown[], value: (id: number) => object): Promise<Version> {
  const schema = { type: 'record', name: 'Order', namespace: 'shop', fields }
  const id = await registry.register('avros-value', { schema: JSON.stringify(schema) })
  const type = avro.Type.forSchema(schema as avro.Schema, { wrapUnions: true })
  return (each) => framed(id, type.toBuffer(value(each)))
}

async function protoVersion(fields: string, value: (id: number) => Record<string, unknown>): Promise<Version> {
  const schema = `syntax = "proto3";\npackage shop;\nmessage Order {\n${fields}\n}\n`
  const id = await registry.register('protos-value', { schemaType: 'PROTOBUF', schema })
  const type = protobuf.parse(schema, { keepCase: true }).root.lookupType('shop.Order')
  return (each) => framed(id, type.encode(value(each)).finish(), [0])
}

type Status = {
  connector: { state: string }
  tasks: { state: string }[]
  millrace: { warnings: string[]; dead_letters: number; records_dead: number }
}
async function statusOf(name: string): Promise<Status> {
  const reply = await fetch(`${millrace.url('ingest')}/connectors/${name}/status`)
  return (await reply.json()) as Status
}

let sent = 0
/** To the two topic-partitions in turn, the versions row by row. */
async function send(topic: string, count: number, versions: readonly Version[]): Promise<void> {
  for (const partition of [0, 1]) {
    const records = Array.from({ length: count / 2 }, (_, each) => ({
      value: versions[each % versions.length](sent + each),
    }))
    sent += records.length
    await producer.send(topic, partition, records)
  }
}

const rowsOf = (table: string, count: number) =>
  millrace.eventually(`SELECT count(*)::INTEGER FROM ${table}`, (value) => value === count, 60_000)

async function expectOnce(table: string, rows: number): Promise<void> {
  const once = `SELECT count(*)::INTEGER, count(DISTINCT (_source, _partition, _offset))::INTEGER, count(DISTINCT id)::INTEGER FROM ${table}`
  expect((await millrace.sql(once)).data).toEqual([[rows, rows, rows]])
  expect(await runJson(millrace, 'reconcile', table)).toMatchObject({ balanced: true, findings: [] })
}

test.each([
  {
    table: 'avros',
    versions: async () => [
      await avroVersion(
        [
          { name: 'id', type: 'int' },
          { name: 'qty', type: 'int' },
          { name: 'code', type: ['null', 'long'] },
        ],
        (id) => ({ id, qty: 5, code: { long: id } }),
      ),
      await avroVersion(
        [
          { name: 'id', type: 'long' },
          { name: 'amount', type: 'long', aliases: ['qty'] },
          { name: 'code', type: ['null', 'long'] },
          { name: 'note', type: ['null', 'string'], default: null },
        ],
        (id) => ({ id, amount: 2 ** 40, code: null, note: { string: `n${id}` } }),
      ),
      await avroVersion(
        [
          { name: 'id', type: 'long' },
          { name: 'amount', type: 'long' },
          { name: 'code', type: 'string' },
        ],
        (id) => ({ id, amount: 7, code: `c${id}` }),
      ),
    ],
  },
  {
    table: 'protos',
    versions: async () => [
      await protoVersion('int64 id = 1; int32 qty = 2; optional int64 code = 3;', (id) => ({ id, qty: 5, code: id })),
      await protoVersion(
        'int64 id = 1; int64 amount = 2; optional int64 code = 3; optional string note = 4;',
        (id) => ({
          id,
          amount: 2 ** 40,
          note: `n${id}`,
        }),
      ),
      await protoVersion('int64 id = 1; int64 amount = 2; optional string code = 3;', (id) => ({
        id,
        amount: 7,
        code: `c${id}`,
      })),
    ],
  },
])(
  '$table: versions row by row; one that does not fit waits among the dead letters until the table fits',
  async ({ table, versions }) => {
    const [v1, v2, v3] = await versions()
    await send(table, 200, [v1])
    await rowsOf(table, 200)
    await send(table, 1000, [v1, v2])
    await rowsOf(table, 1200)
    expect(
      (
        await millrace.sql(
          `SELECT count(*) FILTER (amount = 5)::INTEGER, count(*) FILTER (amount = ${2 ** 40})::INTEGER, count(note)::INTEGER FROM ${table}`,
        )
      ).data,
    ).toEqual([[700, 500, 500]])

    await send(table, 100, [v3, v2])
    await send('others', 100, [(id) => Buffer.from(JSON.stringify({ id }))])
    await rowsOf(table, 1250)
    await rowsOf(`${table}__dead_letters`, 50)
    const { data } = await millrace.sql(`SELECT DISTINCT reason, kind FROM ${table}__dead_letters`)
    expect(data).toEqual([[expect.stringMatching(/code.*long.*string|code.*string.*long/), 'schema']])
    const health = await until(
      'health names topic, table and reason',
      () => readiness(millrace.url('ingest')),
      ({ reasons }) => reasons.some(({ reason }) => reason.includes(`table "${table}"`) && reason.includes('code')),
    )
    expect(health).toMatchObject({ status: 'degraded', code: 200 })
    const { connector, tasks } = await until(
      'the connector says so itself',
      () => statusOf(table),
      ({ millrace: own }) => own.dead_letters === 50 && own.warnings.some((each) => each.includes('code')),
    )
    expect([connector.state, tasks.map(({ state }) => state)]).toEqual(['RUNNING', ['RUNNING']])
    expect((await statusOf('others')).millrace).toMatchObject({ warnings: [], dead_letters: 0 })

    const columns = (...change: readonly string[]) => runMillrace(millrace, 'columns', table, ...change)
    expect(await columns('rename', 'code', 'code_old')).toMatchObject({ code: 0 })
    expect(await columns('add', 'code', 'string')).toMatchObject({ code: 0 })
    await send(table, 100, [v3])
    await rowsOf(table, 1350)
    expect(await runJson(millrace, 'dead-letters', 'replay', table)).toMatchObject({ replayed: 50, failed: 0 })
    await rowsOf(table, 1400)
    await rowsOf(`${table}__dead_letters`, 0)
    expect(await runJson(millrace, 'dead-letters', 'replay', table)).toMatchObject({ replayed: 0, failed: 0 })
    expect(
      (await millrace.sql(`SELECT count(code)::INTEGER, count(*) FILTER (code = 'c' || id)::INTEGER FROM ${table}`))
        .data,
    ).toEqual([[150, 150]])
    await expectOnce(table, 1400)
    await until(
      'nothing is wrong any more',
      () => statusOf(table),
      ({ millrace: own }) => own.dead_letters === 0 && own.warnings.length === 0,
    )
  },
)

test('the other connector has every record once', async () => {
  await rowsOf('others', 200)
  await expectOnce('others', 200)
})
