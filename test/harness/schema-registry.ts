/**
 * A real schema registry for tests: Apicurio from Maven Central, which speaks the Confluent API under `/apis/ccompat/v7`.
 * One JVM on a free port that stays the same over a restart, its schemas in an H2 file in a temporary folder: about 2 s to
 * start on a quiet machine, 300 MiB. Release 2.6 is the newest that runs on Java 17, which the broker of the tests needs too
 * (3.x asks for Java 21).
 *
 *   await using registry = await startSchemaRegistry()
 *   const id = await registry.register('orders-value', { schemaType: 'AVRO', schema: '{"type":"record",…}' })
 *
 * `MILLRACE_TEST_SCHEMA_REGISTRY=http://host:port/path` uses one that runs already; what would stop it is then an error.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { type JavaProgram, quickStart, SHORT_LIVED } from './class-archive.ts'
import { freePort } from './free-port.ts'
import { runToEnd, type StartedProcess, startProcess } from './processes.ts'

const VERSION = '2.6.13.Final'
const READY_TIMEOUT_MS = 90_000
const JAVA_NEEDED =
  'a schema registry for tests needs Java 17 or newer and Maven: install them (Debian: apt-get install openjdk-17-jdk-headless maven), or set MILLRACE_TEST_SCHEMA_REGISTRY=http://host:port/path to a running one'

export type RegisteredSchema = {
  /** Default AVRO. */
  readonly schemaType?: 'AVRO' | 'JSON' | 'PROTOBUF'
  readonly schema: string
  readonly references?: readonly { readonly name: string; readonly subject: string; readonly version: number }[]
}

export type SchemaRegistry = {
  /** Base address of its Confluent API. */
  readonly url: string
  readonly port: number
  /** The schema's id. */
  register(subject: string, schema: RegisteredSchema): Promise<number>
  stop(): Promise<void>
  kill9(): Promise<void>
  /** On the same port with the same schemas, stopping it first where it runs. */
  restart(): Promise<void>
  pause(): void
  resume(): void
  [Symbol.asyncDispose](): Promise<void>
}

export async function startSchemaRegistry(): Promise<SchemaRegistry> {
  const given = process.env.MILLRACE_TEST_SCHEMA_REGISTRY
  return given ? runningRegistry(given.replace(/\/+$/, '')) : ownRegistry()
}

async function ownRegistry(): Promise<SchemaRegistry> {
  const jar = await registryJar()
  const folder = await mkdtemp(join(tmpdir(), 'millrace-registry-'))
  const port = await freePort()
  const url = addressOf(port)
  const quick = await quickStart(`apicurio-registry-${VERSION}-classes`, async (scratch) =>
    programOf(jar, await freePort(), scratch),
  )
  let running: StartedProcess | undefined

  async function start(): Promise<void> {
    const { args, ready } = programOf(jar, port, folder)
    running = await startProcess({
      name: 'schema registry',
      command: 'java',
      args: [...quick, ...SHORT_LIVED, '-Xmx384m', ...args],
      ready,
      readyTimeoutMs: READY_TIMEOUT_MS,
    })
  }

  async function dispose(): Promise<void> {
    running?.resume()
    await running?.kill()
    running = undefined
    await rm(folder, { recursive: true, force: true })
  }

  async function stop(): Promise<void> {
    await running?.stop()
    running = undefined
  }

  try {
    await start()
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    url,
    port,
    register: (subject, schema) => register(url, subject, schema),
    stop,
    async kill9() {
      await running?.kill()
      running = undefined
    },
    async restart() {
      await stop()
      await start()
    },
    pause: () => running?.pause(),
    resume: () => running?.resume(),
    [Symbol.asyncDispose]: dispose,
  }
}

function addressOf(port: number): string {
  return `http://127.0.0.1:${port}/apis/ccompat/v7`
}

function programOf(jar: string, port: number, folder: string): JavaProgram {
  return {
    args: [
      '-Dquarkus.http.host=127.0.0.1',
      `-Dquarkus.http.port=${port}`,
      // Written before it answers: a registered schema outlives a kill.
      `-Dquarkus.datasource.jdbc.url=jdbc:h2:file:${join(folder, 'schemas')};WRITE_DELAY=0`,
      '-jar',
      jar,
    ],
    ready: { url: `${addressOf(port)}/subjects` },
  }
}

function runningRegistry(url: string): SchemaRegistry {
  function notOurs(): never {
    throw new Error(`this test stops the schema registry, and ${url} is not its own`)
  }
  return {
    url,
    port: Number(new URL(url).port || 80),
    register: (subject, schema) => register(url, subject, schema),
    stop: async () => notOurs(),
    kill9: async () => notOurs(),
    restart: async () => notOurs(),
    pause: notOurs,
    resume: notOurs,
    [Symbol.asyncDispose]: async () => {},
  }
}

async function register(url: string, subject: string, schema: RegisteredSchema): Promise<number> {
  const response = await fetch(`${url}/subjects/${encodeURIComponent(subject)}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify(schema),
  })
  const answer = (await response.json()) as { id?: number; message?: string }
  if (!response.ok || answer.id === undefined) {
    throw new Error(`registering ${subject}: ${response.status} ${answer.message ?? ''}`)
  }
  return answer.id
}

async function registryJar(): Promise<string> {
  const folder = await cachedFolder({ name: `apicurio-registry-${VERSION}`, build: fetchRegistry })
  return join(folder, `apicurio-registry-app-${VERSION}-runner.jar`)
}

async function fetchRegistry(folder: string): Promise<void> {
  try {
    await runToEnd({ name: 'java', command: 'java', args: ['-version'] })
    await runToEnd({ name: 'maven', command: 'mvn', args: ['-v'] })
  } catch (cause) {
    throw new Error(JAVA_NEEDED, { cause })
  }
  const archive = `apicurio-registry-app-${VERSION}-all.tar.gz`
  await runToEnd({
    name: 'maven',
    command: 'mvn',
    args: [
      '-q',
      '-B',
      'dependency:copy',
      `-Dartifact=io.apicurio:apicurio-registry-app:${VERSION}:tar.gz:all`,
      `-DoutputDirectory=${folder}`,
    ],
    cwd: folder,
  })
  await runToEnd({ name: 'tar', command: 'tar', args: ['xzf', archive], cwd: folder })
  await rm(join(folder, archive))
}
