// Connectors with rows flowing: made, paused, resumed, stopped, changed and deleted over REST; two processes see the same ones, and
// when one dies another takes its task. Each offset is in the table once, all the while (G-1, G-2).
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { createMillrace, type Millrace, type StartedService } from '../harness/millrace.ts'
import { createProducer, type Producer } from '../harness/produce.ts'
import { expectEveryOffsetOnce } from '../main-job/table-checks.ts'

const PASSWORD = 'hunter2-hunter2-hunter2'

let kafka: KafkaBroker
let producer: Producer
let millrace: Millrace
let first: StartedService

beforeAll(async () => {
  kafka = await startKafka({ properties: { 'group.min.session.timeout.ms': '500' } })
  producer = await createProducer(kafka.bootstrap)
  millrace = await createMillrace({
    settings: `
kafka.bootstrap: ["${kafka.bootstrap}"]
kafka.session.timeout.ms: 3000
kafka.topics.refresh.ms: 500
flush.interval.ms: 100
snapshot.age.ms: 2 s
compaction.memory: 256 MiB
query.memory: 256 MiB
connectors:
  from-file: { topics: filed, tasks.max: 2, millrace: { columns: id long required } }
`,
    env: { REGISTRY_PASSWORD: PASSWORD },
  })
  await kafka.createTopic('filed', 1)
  first = await millrace.start('ingest')
  await millrace.start('query')
})

afterAll(async () => {
  await millrace?.close()
  producer?.close()
  await kafka?.[Symbol.asyncDispose]()
})

afterEach(() => {
  // Whatever a test did with it, the password was shown to nobody.
  expect(first.output()).not.toContain(PASSWORD)
})

type Status = {
  connector: { state: string }
  tasks: { id: number; state: string; worker_id: string; trace?: string }[]
  millrace: { warnings?: string[] }
}

async function rest(
  method: string,
  path: string,
  body?: unknown,
  url = millrace.url('ingest'),
): Promise<{ status: number; body: unknown }> {
  const reply = await fetch(`${url}${path}`, {
    method,
    headers: body === undefined ? {} : { 'content-type': 'application/json' },
    body: body === undefined ? undefined : JSON.stringify(body),
  })
  const text = await reply.text()
  expect(text).not.toContain(PASSWORD)
  return { status: reply.status, body: text === '' ? undefined : JSON.parse(text) }
}

async function create(name: string, config: Readonly<Record<string, string>>): Promise<void> {
  const { status, body } = await rest('POST', '/connectors', {
    name,
    config: { 'connector.class': 'Millrace', ...config },
  })
  expect({ status, body }).toMatchObject({ status: 201 })
}

async function until(name: string, wanted: (status: Status) => boolean, url?: string): Promise<Status> {
  const deadline = AbortSignal.timeout(60_000)
  for (;;) {
    const { body } = await rest('GET', `/connectors/${name}/status`, undefined, url)
    if (wanted(body as Status)) return body as Status
    if (deadline.aborted) throw new Error(`not in time: ${JSON.stringify(body)}`)
    await sleep(100)
  }
}

async function untilTopics(name: string, topics: readonly string[]): Promise<void> {
  const deadline = AbortSignal.timeout(30_000)
  for (;;) {
    const { body } = await rest('GET', `/connectors/${name}/topics`)
    if (JSON.stringify(body) === JSON.stringify({ [name]: { topics } })) return
    if (deadline.aborted) throw new Error(`topics of ${name}: ${JSON.stringify(body)}`)
    await sleep(100)
  }
}

const isRunning = (tasks: number) => (status: Status) =>
  status.tasks.length === tasks && status.tasks.every(({ state }) => state === 'RUNNING')

let sent = 0
async function produce(topic: string, partition: number, count: number): Promise<void> {
  const records = Array.from({ length: count }, (_, each) => ({
    value: JSON.stringify({ id: sent + each, name: 'x' }),
  }))
  await producer.send(topic, partition, records)
  sent += count
}

const rowsOf = (table: string, count: number) =>
  millrace.eventually(`SELECT count(*)::INTEGER FROM ${table}`, (value) => value === count, 60_000)

test('a connector of the settings is there, and its rows come', async () => {
  await produce('filed', 0, 100)
  await rowsOf('filed', 100)
  const { body } = await rest('GET', '/connectors/from-file')
  expect(body).toMatchObject({ name: 'from-file', config: { topics: 'filed', 'tasks.max': '2' }, type: 'sink' })
})

test('made, paused, resumed, stopped, changed and deleted while rows come: each offset once', async () => {
  await kafka.createTopic('orders', 4)
  for (let partition = 0; partition < 4; partition += 1) await produce('orders', partition, 200)
  await create('orders', { topics: 'orders', 'millrace.sort': 'id' })
  await rowsOf('orders', 800)
  await untilTopics('orders', ['orders'])

  expect((await rest('PUT', '/connectors/orders/pause')).status).toBe(202)
  await until('orders', ({ tasks }) => tasks[0]?.state === 'PAUSED')
  // What was fetched before may still come; then nothing does.
  await sleep(1_000)
  for (let partition = 0; partition < 4; partition += 1) await produce('orders', partition, 50)
  await sleep(2_000)
  expect(await millrace.value('SELECT count(*)::INTEGER FROM orders')).toBe(800)
  const { body: group } = await rest('GET', '/v1/pipelines')
  expect(group).toMatchObject({ pipelines: expect.arrayContaining([expect.objectContaining({ name: 'orders' })]) })
  expect((await rest('PUT', '/connectors/orders/resume')).status).toBe(202)
  await rowsOf('orders', 1000)

  expect((await rest('PUT', '/connectors/orders/stop')).status).toBe(204)
  await until('orders', ({ connector, tasks }) => connector.state === 'STOPPED' && tasks.length === 0)
  await produce('orders', 0, 100)
  const offsets = (await rest('GET', '/connectors/orders/offsets')).body as { offsets: unknown[] }
  expect(offsets.offsets).toEqual(
    [0, 1, 2, 3].map((partition) => ({
      partition: { kafka_topic: 'orders', kafka_partition: partition },
      offset: { kafka_offset: 250 },
    })),
  )
  const config = { 'connector.class': 'Millrace', topics: 'orders', 'millrace.flush.interval.ms': '50' }
  expect((await rest('PUT', '/connectors/orders/config', config)).status).toBe(200)
  expect((await rest('PUT', '/connectors/orders/resume')).status).toBe(202)
  await rowsOf('orders', 1100)
  expect((await rest('POST', '/connectors/orders/restart?includeTasks=true')).status).toBe(202)
  await produce('orders', 1, 100)
  await rowsOf('orders', 1200)

  expect((await rest('DELETE', '/connectors/orders')).status).toBe(204)
  await produce('orders', 2, 100)
  await sleep(1_000)
  expect(await millrace.value('SELECT count(*)::INTEGER FROM orders')).toBe(1200)
  // Made again under its name, it goes on where it ended.
  await create('orders', { topics: 'orders' })
  await rowsOf('orders', 1300)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'orders', topic: 'orders', partitions: 4 })
  expect((await rest('DELETE', '/connectors/orders')).status).toBe(204)
  // Under another name the same records would be there twice.
  await create('orders-again', { topics: 'orders', 'millrace.table': 'orders' })
  const failed = await until('orders-again', ({ tasks }) => tasks[0]?.state === 'FAILED')
  expect(failed.tasks[0].trace).toContain('every row would be there twice')
  expect((await rest('DELETE', '/connectors/orders-again')).status).toBe(204)
})

test('one that never took a record is forgotten when it is deleted: another may read its topic into its table', async () => {
  await kafka.createTopic('misspelt', 1)
  await create('mispelt', { topics: 'misspelt' })
  await until('mispelt', isRunning(1))
  await millrace.eventually(
    "SELECT count(*)::INTEGER FROM millrace.partitions WHERE pipeline = 'mispelt' AND state = 'running'",
    (value) => value === 1,
  )
  expect((await rest('DELETE', '/connectors/mispelt')).status).toBe(204)
  await create('misspelt', { topics: 'misspelt' })
  await produce('misspelt', 0, 10)
  await rowsOf('misspelt', 10)
  await until('misspelt', isRunning(1))
  await rest('DELETE', '/connectors/misspelt')
})

test('a table that contradicts its first records: FAILED with the reason, the other topic goes on, a change heals it', async () => {
  for (const topic of ['contrary', 'obliging']) await kafka.createTopic(topic, 1)
  await producer.send('contrary', 0, [{ value: '{"id": 1, "at": "noon"}' }])
  await producer.send('obliging', 0, [{ value: '{"id": 1, "at": "2026-01-31T10:00:00Z"}' }])
  const config = { 'connector.class': 'Millrace', topics: 'contrary,obliging' }
  await create('moody', { ...config, 'millrace.event-time': 'at' })
  const failed = await until('moody', ({ tasks }) => tasks[0]?.state === 'FAILED')
  expect(failed.tasks[0].trace).toBe(
    'table "contrary": event-time column "at" is a string, expected date, timestamp or timestamptz',
  )
  await rowsOf('obliging', 1)
  expect((await rest('PUT', '/connectors/moody/config', config)).status).toBe(200)
  await rowsOf('contrary', 1)
  await until('moody', isRunning(1))
  await rest('DELETE', '/connectors/moody')
})

test('topics that match a pattern are read, also those that come later, each into its table', async () => {
  await kafka.createTopic('region.eu', 1)
  await produce('region.eu', 0, 10)
  await create('regions', { 'topics.regex': 'region\\..*', 'millrace.table': `r_\${topic}` })
  await rowsOf('r_region_eu', 10)
  await kafka.createTopic('region.us', 1)
  await produce('region.us', 0, 20)
  await rowsOf('r_region_us', 20)
  await produce('region.eu', 0, 5)
  await rowsOf('r_region_eu', 15)
  await untilTopics('regions', ['region.eu', 'region.us'])
  expect((await rest('PUT', '/connectors/regions/topics/reset')).status).toBe(202)
  await produce('region.eu', 0, 5)
  await untilTopics('regions', ['region.eu'])
  await rest('DELETE', '/connectors/regions')
})

test('converters, keys, headers and transforms as a Connect sink has them', async () => {
  await kafka.createTopic('sales', 1)
  await kafka.createTopic('lines', 1)
  const envelope = (id: number, price: number) => ({
    schema: {
      type: 'struct',
      fields: [
        { field: 'id', type: 'int64', optional: false },
        { field: 'price', type: 'double', optional: true },
      ],
    },
    payload: { id, price },
  })
  const records = [1, 2, 3].map((id) => ({ key: `k${id}`, value: JSON.stringify(envelope(id, id / 2)) }))
  await producer.send('sales', 0, records)
  await create('sales', {
    topics: 'sales',
    'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
    'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'value.converter.schemas.enable': 'true',
    'millrace.key.prefix': 'key_',
    transforms: 'route,mark,drop',
    'transforms.route.type': 'org.apache.kafka.connect.transforms.RegexRouter',
    'transforms.route.regex': '(.*)',
    'transforms.route.replacement': 'routed-$1',
    'transforms.mark.type': 'org.apache.kafka.connect.transforms.InsertField$Value',
    'transforms.mark.static.field': 'origin',
    'transforms.mark.static.value': 'shop',
    'transforms.drop.type': 'org.apache.kafka.connect.transforms.Filter',
    'transforms.drop.predicate': 'isTombstone',
    predicates: 'isTombstone',
    'predicates.isTombstone.type': 'org.apache.kafka.connect.transforms.predicates.RecordIsTombstone',
  })
  await rowsOf('routed_sales', 3)
  const { data } = await millrace.sql('SELECT key, id::INTEGER, price, origin FROM routed_sales ORDER BY id')
  expect(data).toEqual([
    ['k1', 1, 0.5, 'shop'],
    ['k2', 2, 1, 'shop'],
    ['k3', 3, 1.5, 'shop'],
  ])
  await rest('DELETE', '/connectors/sales')

  await producer.send('lines', 0, [{ value: '7;"a;b"' }, { value: '8;' }])
  await create('lines', {
    topics: 'lines',
    'millrace.value.format': 'csv',
    'millrace.value.csv.fields': 'id,name',
    'millrace.value.csv.delimiter': ';',
    'millrace.columns': 'id long required, name string',
  })
  await rowsOf('lines', 2)
  expect((await millrace.sql('SELECT id::INTEGER, name FROM lines ORDER BY id')).data).toEqual([
    [7, 'a;b'],
    [8, null],
  ])
  await rest('DELETE', '/connectors/lines')
})

test('offsets: moved while stopped, and never doubled unless asked for in words', async () => {
  await kafka.createTopic('moved', 1)
  await produce('moved', 0, 10)
  await create('moved', { topics: 'moved' })
  await rowsOf('moved', 10)
  const at = (offset: number | null) => ({
    offsets: [
      {
        partition: { kafka_topic: 'moved', kafka_partition: 0 },
        offset: offset === null ? null : { kafka_offset: offset },
      },
    ],
  })
  expect((await rest('PATCH', '/connectors/moved/offsets', at(4))).status).toBe(400)
  await rest('PUT', '/connectors/moved/stop')
  const back = await rest('PATCH', '/connectors/moved/offsets', at(4))
  expect(back).toEqual({ status: 200, body: { message: expect.stringContaining('are not read again') } })
  expect((await rest('PATCH', '/connectors/moved/offsets', at(99))).status).toBe(400)
  const other = { offsets: [{ partition: { kafka_topic: 'orders', kafka_partition: 0 }, offset: { kafka_offset: 1 } }] }
  expect((await rest('PATCH', '/connectors/moved/offsets', other)).status).toBe(400)
  await produce('moved', 0, 10)
  // Five of the new ones are skipped, by a human's will.
  expect((await rest('PATCH', '/connectors/moved/offsets', at(15))).body).toEqual({
    message: 'The offsets for this connector have been altered successfully',
  })
  await rest('PUT', '/connectors/moved/resume')
  await rowsOf('moved', 15)
  await rest('PUT', '/connectors/moved/stop')
  const twice = await rest('PATCH', '/connectors/moved/offsets?allowDuplicates=true', at(0))
  expect(twice.body).toEqual({ message: 'The offsets for this connector have been altered successfully' })
  await rest('PUT', '/connectors/moved/resume')
  await rowsOf('moved', 35)
  expect(
    (await millrace.sql('SELECT count(DISTINCT (_source, _partition, _offset))::INTEGER FROM moved')).data,
  ).toEqual([[35]])
  await rest('DELETE', '/connectors/moved')
})

test('errors.tolerance=none: a bad record fails the task with a trace, nothing is lost, and a fix lets it go on', async () => {
  await kafka.createTopic('strict', 1)
  await producer.send('strict', 0, [{ value: '{"id": 1}' }, { value: 'not JSON' }, { value: '{"id": 2}' }])
  const config = { topics: 'strict', 'millrace.columns': 'id long required', 'errors.tolerance': 'none' }
  await create('strict', config)
  const failed = await until('strict', ({ tasks }) => tasks[0]?.state === 'FAILED')
  expect(failed.tasks[0].trace).toMatch(/bad record with errors\.tolerance=none: .*topic strict, partition 0/)
  expect(failed.connector.state).toBe('RUNNING')
  // Others are not concerned.
  await produce('filed', 0, 10)
  await rowsOf('filed', 110)
  await rest('PUT', '/connectors/strict/config', {
    'connector.class': 'Millrace',
    ...config,
    'errors.tolerance': 'all',
  })
  await rowsOf('strict', 2)
  await until('strict', isRunning(1))
  expect(await millrace.value('SELECT count(*)::INTEGER FROM strict__dead_letters')).toBe(1)
  await rest('DELETE', '/connectors/strict')
})

test('a secret that is not there fails its task by name; one that is, is shown as its reference', async () => {
  const registry = {
    topics: 'filed',
    'millrace.table': 'avro_rows',
    'value.converter': 'io.confluent.connect.avro.AvroConverter',
    'value.converter.schema.registry.url': 'http://127.0.0.1:1',
    'value.converter.basic.auth.credentials.source': 'USER_INFO',
  }
  await create('missing', { ...registry, 'value.converter.basic.auth.user.info': `me:\${env:NO_SUCH_VARIABLE}` })
  const failed = await until('missing', ({ tasks }) => tasks[0]?.state === 'FAILED')
  expect(failed.tasks[0].trace).toContain(`\${env:NO_SUCH_VARIABLE}: that variable is not set`)
  await rest('DELETE', '/connectors/missing')

  const reference = `me:\${env:REGISTRY_PASSWORD}`
  await create('secret', { ...registry, 'value.converter.basic.auth.user.info': reference })
  await until('secret', ({ tasks }) => tasks.length === 1)
  const { body } = await rest('GET', '/connectors/secret/config')
  expect(body).toMatchObject({ 'value.converter.basic.auth.user.info': reference })
  await rest('GET', '/connectors?expand=info&expand=status')
  const literal = { ...registry, 'value.converter.basic.auth.user.info': `me:${PASSWORD}` }
  const refused = await rest('POST', '/connectors', {
    name: 'l',
    config: { 'connector.class': 'Millrace', ...literal },
  })
  expect(refused).toMatchObject({
    status: 400,
    body: { message: expect.stringContaining('write a reference instead') },
  })
  await rest('DELETE', '/connectors/secret')
})

test('a password that a file in an allowed folder has, and one that lies outside', async () => {
  const folder = join(millrace.folder, 'secrets')
  await mkdir(folder)
  await writeFile(join(folder, 'registry.properties'), `user=me\npassword=${PASSWORD}\n`)
  await writeFile(join(millrace.folder, 'outside.properties'), `password=${PASSWORD}\n`)
  await symlink(join(millrace.folder, 'outside.properties'), join(folder, 'link.properties'))
  const third = await millrace.start('ingest', { extra: true, set: [`connect.secrets.folders=${folder}`] })
  const registry = {
    topics: 'filed',
    'millrace.table': 'avro_rows',
    'tasks.max': '2',
    'value.converter': 'io.confluent.connect.avro.AvroConverter',
    'value.converter.schema.registry.url': 'http://127.0.0.1:1',
    'value.converter.basic.auth.credentials.source': 'USER_INFO',
  }
  const worker = new URL(third.url).host
  const untilThere = async (name: string, state: string) => {
    const isThere = ({ worker_id, state: found }: Status['tasks'][number]) => worker_id === worker && found === state
    return (await until(name, ({ tasks }) => tasks.some(isThere))).tasks.find(isThere)
  }
  const reference = (file: string, key: string) => `me:\${file:${join(folder, file)}:${key}}`
  const auth = 'value.converter.basic.auth.user.info'
  // The first process allows no folder: its task fails. In the other the secret is read, and only the registry is away.
  await create('from-files', { ...registry, [auth]: reference('registry.properties', 'password') })
  await untilThere('from-files', 'RUNNING')
  await rest('DELETE', '/connectors/from-files')
  await create('from-link', { ...registry, [auth]: reference('link.properties', 'password') })
  expect((await untilThere('from-link', 'FAILED'))?.trace).toContain('it is outside connect.secrets.folders')
  await rest('DELETE', '/connectors/from-link')
  expect(third.output()).not.toContain(PASSWORD)
  await third.stop()
})

test('two processes see the same connectors; one dies by kill -9 and the other takes over: each offset once', async () => {
  await kafka.createTopic('clicks', 4)
  const second = await millrace.start('ingest', { extra: true })
  await create('clicks', { topics: 'clicks', 'tasks.max': '2' })
  const both = await until('clicks', isRunning(2), second.url)
  expect(new Set(both.tasks.map(({ worker_id }) => worker_id)).size).toBe(2)
  expect((await rest('GET', '/connectors', undefined, second.url)).body).toEqual(
    (await rest('GET', '/connectors')).body,
  )
  for (let round = 0; round < 10; round += 1) {
    for (let partition = 0; partition < 4; partition += 1) await produce('clicks', partition, 50)
    if (round === 5) await second.kill()
    await sleep(200)
  }
  await rowsOf('clicks', 2000)
  const after = await until('clicks', isRunning(1))
  expect(after.tasks.map(({ worker_id }) => worker_id)).toEqual([new URL(first.url).host])
  // With one task at most, one of two processes takes part; when that dies, the other does.
  await rest('PUT', '/connectors/clicks/config', { 'connector.class': 'Millrace', topics: 'clicks', 'tasks.max': '1' })
  const third = await millrace.start('ingest', { extra: true })
  await until('clicks', isRunning(1))
  await first.kill()
  await produce('clicks', 0, 100)
  await rowsOf('clicks', 2100)
  await until('clicks', ({ tasks }) => tasks[0]?.worker_id === new URL(third.url).host, third.url)
  await expectEveryOffsetOnce(millrace, kafka, { table: 'clicks', topic: 'clicks', partitions: 4 })
})
