// A table without declared columns: its schema comes from the first records of the topic, is made once even when two
// processes see different first records at the same moment, and with `evolution: freeze` is fixed afterwards.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'

const RACES = 2
/** The topic-partitions whose values of `shared` the inferred type takes: numbers are in the first two, texts in the others. */
const FITTING: Readonly<Record<string, readonly number[]>> = { long: [0, 1], string: [2, 3], json: [0, 1, 2, 3] }

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
flush.interval.ms: 100
query.memory: 256 MiB
tables:
  events: { infer.records: 20, evolution: freeze }
pipelines:
  events: { topics: [${topic}], tables: [events] }
`
}

async function columnsOf(millrace: Millrace): Promise<string[]> {
  const reply = await fetch(`${millrace.url('query')}/v1/tables/events`)
  const { columns } = (await reply.json()) as { columns: { name: string; type: string; hidden: boolean }[] }
  return columns.filter(({ hidden }) => !hidden).map(({ name, type }) => `${name} ${type}`)
}

test('types are found in the first records and then fixed: what does not fit is a dead letter', async () => {
  await kafka.createTopic('inferred', 1)
  const millrace = await createMillrace({ settings: settingsFor('inferred') })
  try {
    await Promise.all([millrace.start('query'), millrace.start('ingest')])
    const first = Array.from({ length: 30 }, (_, id) => ({
      value: JSON.stringify({
        id,
        ratio: id / 4,
        ok: id % 2 === 0,
        at: '2024-02-29T12:00:00Z',
        name: `n${id}`,
        nested: { a: [id] },
      }),
    }))
    await producer.send('inferred', 0, first)
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 30)
    expect(await columnsOf(millrace)).toEqual([
      'id long',
      'ratio double',
      'ok boolean',
      'at timestamptz',
      'name string',
      'nested json',
    ])
    await producer.send('inferred', 0, [
      { value: '{"id": "a text", "name": "does not fit"}' },
      { value: '{"id": 30, "later": "a key without a column"}' },
    ])
    await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 31)
    const sums = await millrace.sql(`SELECT count(*), sum(id), sum(ratio), count(*) FILTER (WHERE ok),
      min(epoch_ms("at")), max(nested), count(name) FROM events`)
    expect(sums.data[0].map((each) => (typeof each === 'string' && /^\d+$/.test(each) ? Number(each) : each))).toEqual([
      31,
      465,
      108.75,
      15,
      Date.UTC(2024, 1, 29, 12),
      '{"a":[9]}',
      30,
    ])
    const dead = await millrace.sql('SELECT "offset", "column" FROM events__dead_letters')
    expect(dead.data.map(([offset, column]) => [Number(offset), column])).toEqual([[30, 'id']])
  } finally {
    await millrace.close()
  }
})

test.each(Array.from({ length: RACES }, (_, race) => race))('two processes race to infer, round %i', async (race) => {
  const topic = `race-${race}`
  await kafka.createTopic(topic, 4)
  // Other keys first in every topic-partition, one of them with another type: whoever wins, each record lands once.
  for (let partition = 0; partition < 4; partition++) {
    const records = Array.from({ length: 500 }, (_, id) => ({
      value: JSON.stringify(partition < 2 ? { id, left: 'x', shared: id } : { id, right: true, shared: `text ${id}` }),
    }))
    await producer.send(topic, partition, records, { codec: 'lz4' })
  }
  const millrace = await createMillrace({ settings: settingsFor(topic) })
  try {
    const services = await Promise.all([
      millrace.start('ingest'),
      millrace.start('ingest', { extra: true }),
      millrace.start('query'),
    ])
    const all = `SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM events__dead_letters)`
    await millrace.eventually(all, (rows) => Number(rows) === 2000)
    const columns = await columnsOf(millrace)
    expect(columns[0]).toBe('id long')
    const places = await millrace.sql(`
      SELECT _partition, count(*), count(DISTINCT _offset), min(_offset), max(_offset), count(DISTINCT _source)
      FROM (SELECT _source, _partition, _offset FROM events
        UNION ALL SELECT _source, _partition, _offset FROM events__dead_letters) GROUP BY ALL ORDER BY 1`)
    expect(places.data.map((row) => row.map(Number))).toEqual([0, 1, 2, 3].map((each) => [each, 500, 500, 0, 499, 1]))
    // What the first records did not have is a dead letter, and nothing else is.
    const type = columns.find((each) => each.startsWith('shared '))!.slice('shared '.length)
    const rows = await millrace.sql('SELECT DISTINCT _partition FROM events ORDER BY 1')
    expect(rows.data.map((row) => Number(row[0]))).toEqual(FITTING[type])
    const dead = await millrace.sql('SELECT DISTINCT "partition", "column" FROM events__dead_letters ORDER BY 1')
    const others = [0, 1, 2, 3].filter((each) => !FITTING[type].includes(each))
    expect(dead.data.map(([partition, column]) => [Number(partition), column])).toEqual(
      others.map((each) => [each, 'shared']),
    )
    for (const service of services) expect((await service.stop()).code).toBe(0)
  } finally {
    await millrace.close()
  }
})
