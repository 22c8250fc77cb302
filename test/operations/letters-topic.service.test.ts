/**
 * Dead letters copied to a Kafka topic, as a Kafka Connect sink makes it: key, value, headers and timestamp as they came, why in
 * Connect's own headers; the table has every one of them all the same (G-5).
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createKafkaSource } from '../../ingest/kafka/fetch-source.ts'
import { readHeaders } from '../../ingest/kafka/record-headers.ts'
import { createSystemWorld } from '../../runtime/system-world.ts'
import type { Log } from '../../runtime/world.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace } from '../harness/millrace.ts'
import { createProducer } from '../harness/produce.ts'

let kafka: KafkaBroker
beforeAll(async () => {
  kafka = await startKafka()
})
afterAll(() => kafka?.[Symbol.asyncDispose]())

const silent: Log = { debug() {}, info() {}, warn() {}, error() {}, child: () => silent }
const TIME = Date.UTC(2026, 0, 31)

test('bad records of a connector are in its table of dead letters and in its topic, which is made for them', async () => {
  await kafka.createTopic('orders', 1)
  const millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 50
query.memory: 256 MiB
connectors:
  orders:
    topics: orders
    value.converter: org.apache.kafka.connect.json.JsonConverter
    value.converter.schemas.enable: "false"
    millrace.table: orders
    millrace.columns: id long required
    errors.tolerance: all
    errors.deadletterqueue.topic.name: orders-dead
    errors.deadletterqueue.topic.replication.factor: "1"
    errors.deadletterqueue.context.headers.enable: "true"
`,
  })
  await using producer = await createProducer(kafka.bootstrap)
  try {
    await Promise.all([millrace.start('query'), millrace.start('ingest')])
    const good = Array.from({ length: 5 }, (_, id) => ({ value: JSON.stringify({ id }) }))
    const bad = { key: 'k', value: '{"id": "none"}', timestamp: TIME, headers: [['trace', 't-1']] as const }
    await producer.send('orders', 0, [...good, bad])
    await millrace.eventually('SELECT count(*) FROM orders__dead_letters', (rows) => Number(rows) === 1)
    expect(await kafka.logEnd('orders-dead', 0)).toBeGreaterThanOrEqual(1)

    const seen: { value: string; key: string; timestamp: number; headers: Record<string, string> }[] = []
    const source = createKafkaSource({
      settings: { bootstrap: [kafka.bootstrap], clientId: 'test', fetchBytesMax: 1024 ** 2, topicsRefreshMs: 1000 },
      world: createSystemWorld({ log: silent, crashAt: '' }),
      topics: ['orders-dead'],
      groupId: 'letters-test',
      handlers: {
        assigned: async (partitions) =>
          new Map(partitions.map(({ topic, partition }) => [`${topic}/${partition}`, { at: 'earliest' as const }])),
        revoked: async () => {},
        async block(block) {
          for (let index = 0; index < block.count; index += 1) {
            const text = (from: Int32Array, to: Int32Array) =>
              Buffer.from(block.bytes.subarray(from[index], to[index])).toString()
            const headers = readHeaders(block.bytes, block.headerStarts[index], block.headerEnds[index]) ?? []
            seen.push({
              key: text(block.keyStarts, block.keyEnds),
              value: text(block.valueStarts, block.valueEnds),
              timestamp: block.timestamps[index],
              headers: Object.fromEntries(
                headers.map(({ name, value }) => [name, Buffer.from(value ?? []).toString()]),
              ),
            })
          }
        },
        outOfRange: () => {},
        trouble: () => {},
      },
    })
    await source.start()
    for (let attempt = 0; attempt < 300 && seen.length === 0; attempt += 1) {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await source.close()
    expect(seen[0]).toMatchObject({
      key: 'k',
      value: '{"id": "none"}',
      timestamp: TIME,
      headers: {
        trace: 't-1',
        '__connect.errors.topic': 'orders',
        '__connect.errors.partition': '0',
        '__connect.errors.offset': '5',
        '__connect.errors.connector.name': 'orders',
        '__connect.errors.stage': 'VALUE_CONVERTER',
      },
    })
    expect(seen[0].headers['__connect.errors.exception.message']).toContain('column "id"')
  } finally {
    await millrace.close()
  }
})
