/**
 * docker-compose.yml at work without a container engine: a folder is filled as the Dockerfile fills the image, and the
 * compose file's own commands run in it, with its variables and its settings file. Rewritten are only what a container
 * would have of its own: addresses, ports, the folders of volumes. Broker and S3 store are the harness's real ones.
 *
 * What is shown: certificate, topic and bucket are made, and made once; the services become healthy by the compose
 * file's own health checks; records of the topic and rows over HTTPS are in the table; who has no token gets nothing;
 * SIGTERM ends each service with exit code 0.
 */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, request } from 'undici'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { freePort } from '../harness/free-port.ts'
import { type KafkaBroker, startKafka } from '../harness/kafka.ts'
import { runToEnd, type StartedProcess, startProcess } from '../harness/processes.ts'
import { createProducer } from '../harness/produce.ts'
import { type S3Server, startS3Server } from '../harness/s3-server.ts'
import { type ComposeService, copiesOf, listOf, ROOT, readCompose, readDockerfile } from './compose-file.ts'

const SERVICES = ['ingest', 'compactor', 'query'] as const
const TOKEN = 'a-token-for-the-compose-test'
const HEALTHY_WITHIN_MS = 60_000
const VISIBLE_WITHIN_MS = 60_000
const RECORDS = 300
const CONTAINER_PORT = { ingest: 8081, compactor: 8082, query: 8080 } as const

let folder: string
let kafka: KafkaBroker
let s3: S3Server
let services: Record<string, ComposeService>
let entrypoint: readonly string[]
let ports: Record<(typeof SERVICES)[number], number>
let trust: Agent
const started: { name: string; process: StartedProcess }[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-compose-'))
  ;[kafka, s3] = await Promise.all([startKafka(), startS3Server()])
  ports = { ingest: await freePort(), compactor: await freePort(), query: await freePort() }
  services = readCompose({
    MILLRACE_TOKEN: TOKEN,
    S3_ACCESS_KEY_ID: s3.accessKeyId,
    S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  }).services
  const [, image] = readDockerfile()
  entrypoint = listOf(image, 'ENTRYPOINT')
  await fillImage(copiesOf(image))
  await mkdir(join(folder, 'data'))
  await mkdir(join(folder, 'etc', 'millrace'), { recursive: true })
  const settings = await readFile(join(ROOT, 'deploy', 'millrace.compose.yaml'), 'utf8')
  await writeFile(join(folder, 'etc', 'millrace', 'millrace.yaml'), here(settings))
})

afterAll(async () => {
  await Promise.all(started.map(({ process }) => process.kill()))
  await Promise.all([kafka?.[Symbol.asyncDispose](), s3?.stop(), trust?.close()])
  if (folder) await rm(folder, { recursive: true, force: true })
})

test('the compose file brings Kafka records and HTTP rows into a table, over TLS and with the token', async () => {
  for (const name of ['setup', 'topics', 'bucket'] as const) {
    await oneShot(name)
    // As after "docker compose up" for the second time.
    await oneShot(name)
  }
  trust = new Agent({ connect: { ca: await readFile(join(folder, 'data', 'tls', 'millrace-cert.pem')) } })
  for (const name of SERVICES) await start(name)
  for (const name of SERVICES) await untilHealthy(name)

  const run = `run-${process.pid}`
  {
    await using producer = await createProducer(kafka.bootstrap)
    await producer.sendMany('events', {
      partitions: 3,
      count: RECORDS,
      recordsPerBatch: 50,
      make: (index) => ({
        value: JSON.stringify({ ts: '2026-01-31T12:00:00Z', user: run, action: 'read', amount: `${index}.25` }),
      }),
    })
    await producer.send('events', 0, [{ value: `{"user": "${run}", "broken` }])
  }
  const row = JSON.stringify({ ts: '2026-02-01T00:00:00Z', user: run, action: 'write', amount: 1000 })
  const taken = await call('ingest', '/v1/ingest/events', row)
  expect(taken).toMatchObject({ status: 200, body: { table: 'events', rows: 1, dead_letters: 0 } })

  const sum = (RECORDS * (RECORDS - 1)) / 2 + RECORDS * 0.25 + 1000
  const mine = `FROM events WHERE "user" = '${run}'`
  await eventually(`SELECT count(*) ${mine}`, RECORDS + 1)
  expect(await value(`SELECT sum(amount)::double ${mine}`)).toBe(sum)
  expect(await value(`SELECT count(DISTINCT (_source, _partition, _offset)) ${mine}`)).toBe(RECORDS + 1)
  await eventually(`SELECT count(*) FROM events__dead_letters WHERE decode(raw) LIKE '%${run}%'`, 1)

  expect(await call('query', '/v1/sql', JSON.stringify({ sql: 'SELECT 1' }), null)).toMatchObject({ status: 401 })
  expect(await call('ingest', '/v1/ingest/events', row, 'not-the-token')).toMatchObject({ status: 401 })
  expect(await value(`SELECT count(*) ${mine}`)).toBe(RECORDS + 1)

  for (const { name, process } of started) expect(await process.stop(), name).toEqual({ code: 0, signal: null })
})

/** The final stage of the Dockerfile, with the packages that are installed here. */
async function fillImage(copies: ReturnType<typeof copiesOf>): Promise<void> {
  await mkdir(join(folder, 'millrace'))
  for (const { from, sources, target } of copies) {
    if (from === undefined) {
      for (const source of sources) {
        const place = target.endsWith('/') ? join(target, source) : target
        await cp(join(ROOT, source), join(folder, 'millrace', place), { recursive: true })
      }
    } else await symlink(join(ROOT, target), join(folder, 'millrace', target))
  }
}

/** What a container has of its own, as it is on this machine. */
function here(text: string): string {
  let shown = text
    .replaceAll(/(?<![\w.])\/data\b/g, join(folder, 'data'))
    .replaceAll('/etc/millrace/', `${join(folder, 'etc', 'millrace')}/`)
    .replaceAll('/buckets', s3.folder ?? join(folder, 'buckets'))
    .replaceAll('http://s3:7070', s3.endpoint)
    .replaceAll('kafka:9092', kafka.bootstrap)
  for (const name of SERVICES) {
    shown = shown.replaceAll(new RegExp(`(?:0\\.0\\.0\\.0|(localhost)):${CONTAINER_PORT[name]}\\b`, 'g'), (_, local) =>
      local ? `localhost:${ports[name]}` : `127.0.0.1:${ports[name]}`,
    )
  }
  return shown
}

function environmentOf({ environment }: ComposeService): Record<string, string> {
  return Object.fromEntries(Object.entries(environment).map(([name, text]) => [name, here(text)]))
}

async function oneShot(name: 'setup' | 'topics' | 'bucket'): Promise<void> {
  const { command = [], entrypoint: own = [] } = services[name]
  const [program, ...args] = [...own, ...command].map(here)
  if (name === 'topics') {
    // The script in Kafka's image starts this class.
    expect(program).toBe('/opt/kafka/bin/kafka-topics.sh')
    await kafka.tool('org.apache.kafka.tools.TopicCommand', args)
    return
  }
  if (name === 'bucket' && s3.folder === undefined) {
    await s3.bucket('millrace')
    return
  }
  const cwd = join(folder, 'millrace')
  await runToEnd({ name, command: program, args, cwd, env: environmentOf(services[name]) })
}

async function start(name: (typeof SERVICES)[number]): Promise<void> {
  const [command, ...args] = [...entrypoint, ...(services[name].command ?? [])]
  const env = { NODE_ENV: 'production', ...environmentOf(services[name]) }
  started.push({ name, process: await startProcess({ name, command, args, cwd: join(folder, 'millrace'), env }) })
}

/** The compose file's own check, as often as it takes. */
async function untilHealthy(name: (typeof SERVICES)[number]): Promise<void> {
  const [kind, command, ...args] = services[name].healthcheck?.test ?? []
  expect(kind).toBe('CMD')
  const env = environmentOf(services[name])
  const service = started.find((each) => each.name === name)
  for (const deadline = performance.now() + HEALTHY_WITHIN_MS; ; ) {
    try {
      await runToEnd({ name: `${name} health`, command, args: args.map(here), env })
      return
    } catch (error) {
      if (service?.process.exit() || performance.now() > deadline) {
        throw new Error(`${name} is not healthy\n${service?.process.output()}`, { cause: error })
      }
    }
  }
}

type Reply = { readonly status: number; readonly body: Record<string, unknown> }

async function call(
  service: 'ingest' | 'query',
  path: string,
  body: string,
  token: string | null = TOKEN,
): Promise<Reply> {
  const reply = await request(`https://localhost:${ports[service]}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token === null ? {} : { authorization: `Bearer ${token}` }) },
    body,
    dispatcher: trust,
  })
  return { status: reply.statusCode, body: (await reply.body.json()) as Record<string, unknown> }
}

async function value(sql: string): Promise<unknown> {
  const { status, body } = await call('query', '/v1/sql', JSON.stringify({ sql }))
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}: ${sql}`)
  const found = (body.data as unknown[][])[0]?.[0]
  return typeof found === 'string' && /^\d+$/.test(found) ? Number(found) : found
}

async function eventually(sql: string, expected: number): Promise<void> {
  let last: unknown
  for (const deadline = performance.now() + VISIBLE_WITHIN_MS; performance.now() < deadline; ) {
    last = await value(sql).catch((error: unknown) => error)
    if (last === expected) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`expected ${expected}, last found ${String(last)}: ${sql}`)
}
