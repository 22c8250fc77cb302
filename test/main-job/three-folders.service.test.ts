// Ingest, compactor and query as on three machines: folders that no other process opens or even knows, a bucket and PostgreSQL
// between them. The whole main job works: Kafka and HTTP in, SQL out, compaction, Iceberg tables for other engines; and a
// machine that is lost with its disk takes nothing along (G-1, G-2, G-4, G-8).
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace, type ServiceName, type StartedService } from '../harness/millrace.ts'
import { createProducer as createKafkaProducer, type Producer as KafkaProducer } from '../harness/produce.ts'
import { duckdbExtensionFile, runPython } from '../harness/python.ts'
import { createProducer, SMALL_STEPS } from '../lake/open-lake.ts'
import { type Servers, startServers } from '../lake/places.ts'
import { expectEveryOffsetOnce } from './table-checks.ts'

const FOREIGN_READERS = join(import.meta.dirname, '..', 'lake', 'foreign-readers.py')
const TOPIC = 'orders'
const PARTITIONS = 3
const BATCH = 200
const CITIES = ['Oslo', 'Bern', 'Lima'] as const

type Machine = { readonly millrace: Millrace; readonly service: StartedService }

let servers: Servers
let kafka: KafkaBroker
let kafkaProducer: KafkaProducer
let settings: string
const machines: Machine[] = []

beforeAll(async () => {
  ;[servers, kafka] = await Promise.all([
    startServers(['PostgreSQL and a bucket']),
    startKafka({ properties: { 'group.min.session.timeout.ms': '500' } }),
  ])
  await kafka.createTopic(TOPIC, PARTITIONS)
  kafkaProducer = await createKafkaProducer(kafka.bootstrap)
  settings = `${await servers.settingsFor('PostgreSQL and a bucket', 'machines')}
${SMALL_STEPS}
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 1 s
query.memory: 256 MiB
tables:
  orders:
    columns: { id: long required, name: string, amount: "decimal(12,2)" }
    partition: [name]
    sort: [id]
pipelines:
  orders: { topics: [${TOPIC}], tables: [orders] }
`
})
afterAll(async () => {
  await Promise.all(machines.map(({ millrace }) => millrace.close()))
  kafkaProducer?.close()
  await Promise.all([kafka?.[Symbol.asyncDispose](), servers?.stop()])
})

/** A folder of its own for everything that a process keeps, its temporary files too, and one process there. */
async function startMachine(name: ServiceName): Promise<Machine> {
  const millrace = await createMillrace({ settings })
  const machine = { millrace, service: await millrace.start(name, { env: { TMPDIR: millrace.folder } }) }
  machines.push(machine)
  return machine
}

/** The process and its children. */
function processesOf({ service }: Machine): number[] {
  const found = [service.pid]
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const group = read(`/proc/${entry}/stat`).split(') ').at(-1)?.split(' ')[2]
    if (Number(group) === service.pid && Number(entry) !== service.pid) found.push(Number(entry))
  }
  return found
}

/** Paths that a process has open, works in, maps, or was told. */
function known(pid: number): string {
  const opened: string[] = []
  for (const fd of list(`/proc/${pid}/fd`)) {
    try {
      opened.push(readlinkSync(`/proc/${pid}/fd/${fd}`))
    } catch {
      // Closed meanwhile.
    }
  }
  return [...opened, read(`/proc/${pid}/maps`), read(`/proc/${pid}/cmdline`), read(`/proc/${pid}/environ`)].join('\n')
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function expectApart(): void {
  for (const machine of machines.filter(({ service }) => service.exit() === undefined)) {
    const everything = [read(machine.millrace.configFile), ...processesOf(machine).map(known)].join('\n')
    expect(everything).toContain(machine.millrace.folder)
    for (const other of machines) {
      if (other !== machine)
        expect([machine.service.name, everything.includes(other.millrace.folder)]).toEqual([
          machine.service.name,
          false,
        ])
    }
  }
}

const rowOf = (id: number) => ({ id, name: CITIES[id % 3], amount: `${id % 1000}.25` })

function sums(ids: readonly number[]) {
  const cents = ids.reduce((sum, id) => sum + (id % 1000) * 100 + 25, 0)
  return [ids.length, ids.reduce((sum, id) => sum + id, 0), (cents / 100).toFixed(2)] as const
}

test('the main job over three folders', { timeout: 180_000 }, async () => {
  let [ingest, compactor, query] = await Promise.all([
    startMachine('ingest'),
    startMachine('compactor'),
    startMachine('query'),
  ])
  let watching = true
  const watch = (async () => {
    for (; watching; await sleep(250)) expectApart()
  })()
  watch.catch(() => {})
  let sent = 0
  async function produce(batches: number): Promise<void> {
    for (let batch = 0; batch < batches; batch++, sent += BATCH) {
      const records = Array.from({ length: BATCH }, (_, each) => ({ value: JSON.stringify(rowOf(2 * (sent + each))) }))
      await kafkaProducer.send(TOPIC, (sent / BATCH) % PARTITIONS, records, { codec: 'zstd' })
    }
  }
  const numbers = (text: string) => query.millrace.sql(text).then(({ data }) => data[0])
  /** Kafka's rows have even ids, those over HTTP odd ones. */
  const expected = (posted: number) =>
    sums([...Array.from({ length: sent }, (_, i) => 2 * i), ...Array.from({ length: posted }, (_, i) => 2 * i + 1)])
  async function expectAnswer(posted: number): Promise<void> {
    const wanted = expected(posted)
    await query.millrace.eventually('SELECT count(*) FROM orders', (rows) => Number(rows) >= wanted[0])
    const [rows, ids, amount] = await numbers('SELECT count(*), sum(id), CAST(sum(amount) AS VARCHAR) FROM orders')
    expect([Number(rows), Number(ids), amount]).toEqual(wanted)
    await expectEveryOffsetOnce(query.millrace, kafka, { table: 'orders', topic: TOPIC, partitions: PARTITIONS })
  }
  async function tableThere(): Promise<{ metadata_location: string; location: string; segments_live: number }> {
    return (await fetch(`${query.service.url}/v1/tables/orders`)).json() as Promise<never>
  }
  async function compacted(): Promise<void> {
    for (let tries = 0; tries < 300; tries++, await sleep(100)) if ((await tableThere()).segments_live === 0) return
    throw new Error('segments stay live')
  }

  const http = createProducer(ingest.millrace, 'orders', 'p')
  async function post(requests: number): Promise<number> {
    for (let request = 0; request < requests; request++) {
      const first = http.next
      await http.send(Array.from({ length: 10 }, (_, each) => JSON.stringify(rowOf(2 * (first + each) + 1))))
    }
    return http.next
  }

  await Promise.all([produce(20), post(10)])
  await expectAnswer(http.next)
  await compacted()
  await Promise.all([produce(20), post(10)])
  await expectAnswer(http.next)

  // A machine dies and its disk with it: another one goes on, and what was answered is there.
  const production = produce(10)
  const answered = await post(5)
  await ingest.service.kill()
  await rm(ingest.millrace.folder, { recursive: true, force: true })
  ingest = await startMachine('ingest')
  await production
  await expectAnswer(answered)
  const reply = await (await fetch(`${ingest.service.url}/v1/ingest/orders/producers/p`)).json()
  expect(reply).toMatchObject({ next_sequence: String(answered) })

  await compactor.service.kill()
  await rm(compactor.millrace.folder, { recursive: true, force: true })
  compactor = await startMachine('compactor')
  await produce(5)
  await expectAnswer(answered)
  await compacted()
  query = await startMachine('query')
  await expectAnswer(answered)
  watching = false
  await watch

  const { metadata_location: metadata, location } = await tableThere()
  const names = ['avro', 'iceberg', 'httpfs'] as const
  const request = {
    tables: [{ name: 'orders', metadata, location }],
    filters: CITIES.map((city) => [city, 'name', city]),
    extensions: Object.fromEntries(
      await Promise.all(names.map(async (name) => [name, await duckdbExtensionFile(name)])),
    ),
    s3: { ...servers.s3 },
  }
  const { orders } = (await runPython({ file: FOREIGN_READERS }, [JSON.stringify(request)])) as Record<
    string,
    Record<string, string[]>
  >
  const cities = await Promise.all(
    CITIES.map(async (city) => String((await numbers(`SELECT count(*) FROM orders WHERE name = '${city}'`))[0])),
  )
  const wanted = [...expected(answered).map(String), ...cities]
  expect([orders.pyiceberg, orders.duckdb, orders.chdb]).toEqual([wanted, wanted, wanted])
  for (const { service } of [ingest, compactor, query]) expect(await service.stop()).toEqual({ code: 0, signal: null })
})
