// Records that change while rows come in, through a real broker into two ingest processes: new fields become columns once,
// what does not fit is kept with its reason, and a table's policy is obeyed. Every record is in one place (G-1, G-2, G-5).
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace, type StartedService } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { expectEveryOffsetOnce } from './table-checks.ts'

const PARTITIONS = 4

let kafka: KafkaBroker
let producer: Producer
let millrace: Millrace
let services: StartedService[] = []

beforeAll(async () => {
  kafka = await startKafka()
  producer = await createProducer(kafka.bootstrap)
})

afterEach(async () => {
  for (const service of services) expect((await service.stop()).code).toBe(0)
  services = []
  await millrace?.close()
})

afterAll(async () => {
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

async function started(tables: string, topics: readonly string[], pipelines: string): Promise<void> {
  for (const topic of topics) await kafka.createTopic(topic, PARTITIONS)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
flush.interval.ms: 100
query.memory: 256 MiB
tables:
${tables}
pipelines:
${pipelines}
`,
  })
  services = await Promise.all([
    millrace.start('query'),
    millrace.start('ingest'),
    millrace.start('ingest', { extra: true }),
  ])
}

/** To every topic-partition, `count` records each, all in one go. */
async function sendAll(
  topic: string,
  count: number,
  record: (id: number, partition: number) => unknown,
): Promise<void> {
  await Promise.all(
    Array.from({ length: PARTITIONS }, (_, partition) =>
      producer.send(
        topic,
        partition,
        Array.from({ length: count }, (_, at) => ({
          value: JSON.stringify(record(at * PARTITIONS + partition, partition)),
        })),
        { codec: 'lz4' },
      ),
    ),
  )
}

async function columnsOf(table: string): Promise<string[]> {
  const reply = await fetch(`${millrace.url('query')}/v1/tables/${table}`)
  const { columns } = (await reply.json()) as { columns: { name: string; type: string; hidden: boolean }[] }
  return columns.filter(({ hidden }) => !hidden).map(({ name, type }) => `${name} ${type}`)
}

async function troublesOf(service: StartedService): Promise<string> {
  return (await fetch(`${service.url}/readyz`)).text()
}

test('two processes that meet the same new field in the same second make one column of it', async () => {
  await started(
    '  events: { columns: { id: long required }, evolution: evolve }',
    ['events'],
    '  events: { topics: [events], tables: [events] }',
  )
  await sendAll('events', 100, (id) => ({ id }))
  await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 400)
  // Everywhere at once: the same field, one of each topic-partition, and one inside it.
  await sendAll('events', 1000, (id, partition) => ({ id, gate: `g${id}`, [`only${partition}`]: id, extra: { id } }))
  await millrace.eventually('SELECT count(*) FROM events', (rows) => Number(rows) === 4400)
  const columns = await columnsOf('events')
  expect(columns.toSorted()).toEqual(
    ['id long', 'gate string', 'extra json', 'only0 long', 'only1 long', 'only2 long', 'only3 long'].toSorted(),
  )
  const { data } =
    await millrace.sql(`SELECT count(gate), count(DISTINCT gate), count(extra), count(only0), count(only1),
    count(only2), count(only3), count(*) FILTER (WHERE only0 % 4 <> 0 OR only3 % 4 <> 3) FROM events`)
  expect(data[0].map(Number)).toEqual([4000, 4000, 4000, 1000, 1000, 1000, 1000, 0])
  expect(Number(await millrace.value('SELECT count(*) FROM events__dead_letters'))).toBe(0)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'events', topic: 'events', partitions: PARTITIONS })
})

test('renamed, dropped and added again while records come and old segments are live: old values never come back', async () => {
  await started(
    '  moved: { columns: { id: long required, gate: string, seats: int }, evolution: evolve }',
    ['moved'],
    '  moved: { topics: [moved], tables: [moved] }',
  )
  let sent = 0
  const next = async (record: (id: number) => Record<string, unknown>) => {
    const first = sent * PARTITIONS * 100
    await sendAll('moved', 100, (id) => ({ id: first + id, ...record(first + id) }))
    sent += 1
    await millrace.eventually('SELECT count(*) FROM moved', (rows) => Number(rows) === sent * PARTITIONS * 100)
  }
  const change = async (body: Record<string, string>) => {
    const reply = await fetch(`${millrace.url('ingest')}/v1/tables/moved/columns`, {
      method: 'POST',
      body: JSON.stringify(body),
    })
    expect(reply.status).toBe(200)
    // Both processes have it within a second or two; until then either schema is right for a row.
    await new Promise((resolve) => setTimeout(resolve, 2500))
  }
  await next((id) => ({ gate: `old${id}`, seats: id }))
  await change({ op: 'rename', column: 'seats', to: 'places' })
  // Producers go on with the old name, and some take the new one.
  await next((id) => (id % 2 === 0 ? { gate: `old${id}`, seats: id } : { gate: `old${id}`, places: id }))
  await change({ op: 'drop', column: 'gate' })
  await next((id) => ({ gate: `skipped${id}`, places: id }))
  await change({ op: 'add', column: 'gate', type: 'string' })
  await next((id) => ({ gate: `new${id}`, seats: id }))

  const check = async () => {
    const { data } = await millrace.sql(`SELECT count(*), count(gate), count(*) FILTER (WHERE gate = 'new' || id),
      count(*) FILTER (WHERE places = id), count(DISTINCT id) FROM moved`)
    expect(data[0].map(Number)).toEqual([1600, 400, 400, 1600, 1600])
  }
  expect(await columnsOf('moved')).toEqual(['id long', 'places int', 'gate string'])
  await check()
  const set = ['snapshot.age.ms=200', 'compaction.interval.ms=100', 'compaction.files.min=2']
  services.push(await millrace.start('compactor', { set }))
  const deadline = Date.now() + 60_000
  for (let live = 1; live > 0; ) {
    const reply = await fetch(`${millrace.url('query')}/v1/tables/moved`)
    live = ((await reply.json()) as { segments_live: number }).segments_live
    if (Date.now() > deadline) throw new Error(`${live} segments are still live`)
  }
  await check()
  expect(Number(await millrace.value('SELECT count(*) FROM moved__dead_letters'))).toBe(0)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'moved', topic: 'moved', partitions: PARTITIONS })
})

test('a table that nobody declared goes on growing with its records', async () => {
  await started('  grown: { infer.records: 10 }', ['grown'], '  grown: { topics: [grown], tables: [grown] }')
  for (let version = 0; version < 5; version += 1) {
    await sendAll('grown', 50, (id) => ({
      id,
      ...Object.fromEntries(Array.from({ length: version }, (_, at) => [`f${at}`, at])),
    }))
    await millrace.eventually('SELECT count(*) FROM grown', (rows) => Number(rows) === 200 * (version + 1))
  }
  expect(await columnsOf('grown')).toEqual(['id long', 'f0 long', 'f1 long', 'f2 long', 'f3 long'])
  const { data } = await millrace.sql('SELECT count(f0), count(f1), count(f2), count(f3) FROM grown')
  expect(data[0].map(Number)).toEqual([800, 600, 400, 200])
})

test('policies: freeze skips and counts, fail keeps the record and says so; the topic beside goes on', async () => {
  await started(
    `  frozen: { columns: { id: long required }, evolution: freeze }
  strict: { columns: { id: long required }, evolution: fail }
  free: { columns: { id: long required }, evolution: evolve }`,
    ['policies'],
    '  policies: { topics: [policies], tables: [frozen, strict, free] }',
  )
  await sendAll('policies', 50, (id) => (id % 2 === 0 ? { id } : { id, gate: 'g' }))
  await millrace.eventually('SELECT count(*) FROM free', (rows) => Number(rows) === 200)
  expect(await columnsOf('frozen')).toEqual(['id long'])
  expect(await columnsOf('strict')).toEqual(['id long'])
  expect(await columnsOf('free')).toEqual(['id long', 'gate string'])
  const counts = await millrace.sql(`SELECT (SELECT count(*) FROM frozen), (SELECT count(*) FROM strict),
    (SELECT count(*) FROM strict__dead_letters), (SELECT count(gate) FROM free)`)
  expect(counts.data[0].map(Number)).toEqual([200, 100, 100, 100])
  expect(await millrace.value('SELECT DISTINCT reason FROM strict__dead_letters')).toBe(
    'field "gate" is no column of table "strict", whose evolution is fail',
  )
  const troubles = await Promise.all(services.slice(1).map(troublesOf))
  expect(troubles.join()).toContain(
    'records become dead letters: topic policies: field \\"gate\\" is no column of table \\"strict\\", whose evolution is fail',
  )
})

test('so many columns at most: further keys are skipped, and every record is taken', async () => {
  await started(
    '  wide: { columns: { id: long required }, evolution: evolve, columns-max: 20 }',
    ['wide'],
    '  wide: { topics: [wide], tables: [wide] }',
  )
  await sendAll('wide', 500, (id) => ({ id, [`k${id}`]: id }))
  await millrace.eventually('SELECT count(*) FROM wide', (rows) => Number(rows) === 2000)
  expect(await columnsOf('wide')).toHaveLength(20)
  expect(Number(await millrace.value('SELECT count(*) FROM wide__dead_letters'))).toBe(0)
})
