/**
 * A real Kafka broker for tests: one JVM (KRaft, broker and controller), data in a temporary folder, free ports that stay
 * the same over a restart. About 1 s to start on a quiet machine, 250 MiB.
 *
 *   await using kafka = await startKafka()
 *   await kafka.createTopic('flights', 4)
 *
 * `MILLRACE_TEST_KAFKA=host:port` uses a broker that runs already; what would stop or freeze it is then an error.
 */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type JavaProgram, quickStart, SHORT_LIVED } from './class-archive.ts'
import { freePorts } from './free-port.ts'
import { createKafkaAdmin, type KafkaAdmin } from './kafka-admin.ts'
import { brokerProperties, copyFormatted, KAFKA_VERSION, type KafkaJars, kafkaJars } from './kafka-jars.ts'
import { runToEnd, type StartedProcess, startProcess } from './processes.ts'

const READY_TIMEOUT_MS = 60_000
const BROKER_READY = { line: /Kafka Server started/ }

export type KafkaOptions = {
  /** Broker properties beside the usual ones. */
  readonly properties?: Readonly<Record<string, string>>
  /** Further listeners by name, and their security protocol; each gets a port (`KafkaBroker.listeners`). */
  readonly listeners?: Readonly<Record<string, string>>
  /** Default 512. */
  readonly heapMiB?: number
  /** For measurements: compiled with care, which costs a short-lived broker more than it gives. */
  readonly isLongLived?: boolean
  /** Keeps its data here, also after `stop`; default a temporary folder. */
  readonly folder?: string
}

export type KafkaBroker = KafkaAdmin & {
  /** `host:port` */
  readonly bootstrap: string
  /** `host:port` of the further listeners. */
  readonly listeners: Readonly<Record<string, string>>
  /** The end of what the broker logged. */
  log(): string
  stop(): Promise<void>
  kill9(): Promise<void>
  /** Starts it again on the same ports and data, stopping it first where it runs. */
  restart(): Promise<void>
  /** Freezes and thaws the process. */
  pause(): void
  resume(): void
  /** Runs a main class of Kafka's own jars, such as `org.apache.kafka.tools.ProducerPerformance`; gives its stdout. */
  tool(mainClass: string, args: readonly string[]): Promise<string>
  [Symbol.asyncDispose](): Promise<void>
}

export async function startKafka(options: KafkaOptions = {}): Promise<KafkaBroker> {
  const given = process.env.MILLRACE_TEST_KAFKA
  return given ? runningBroker(given) : ownBroker(options)
}

async function ownBroker(options: KafkaOptions): Promise<KafkaBroker> {
  const jars = await kafkaJars()
  if (options.folder) await mkdir(options.folder, { recursive: true })
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'millrace-kafka-')))
  const data = join(folder, 'data')
  const properties = join(folder, 'server.properties')
  const names = Object.keys(options.listeners ?? {})
  const [brokerPort, controllerPort, ...ports] = await freePorts(2 + names.length)
  const listeners = Object.fromEntries(
    names.map((name, index) => [name, { port: ports[index], protocol: options.listeners?.[name] ?? '' }]),
  )
  if (!existsSync(data)) await copyFormatted(jars, data)
  await writeFile(
    properties,
    brokerProperties({ data, brokerPort, controllerPort, extra: options.properties, listeners }),
  )
  const bootstrap = `127.0.0.1:${brokerPort}`
  const quick = await quickStart(`kafka-${KAFKA_VERSION}-classes`, (scratch) => brokerInside(jars, scratch))
  const jvm = [...quick, ...(options.isLongLived ? [] : SHORT_LIVED), '-Xms128m', `-Xmx${options.heapMiB ?? 512}m`]
  let broker: StartedProcess | undefined

  async function start(): Promise<void> {
    broker = await startProcess({
      name: 'kafka',
      command: 'java',
      args: [...jvm, ...brokerArgs(jars, properties)],
      ready: BROKER_READY,
      readyTimeoutMs: READY_TIMEOUT_MS,
    })
  }

  async function stop(): Promise<void> {
    await broker?.stop()
    broker = undefined
  }

  async function dispose(): Promise<void> {
    broker?.resume()
    await broker?.kill()
    broker = undefined
    if (options.folder === undefined) await rm(folder, { recursive: true, force: true })
  }

  try {
    await start()
  } catch (error) {
    await dispose()
    throw error
  }
  return {
    bootstrap,
    listeners: Object.fromEntries(Object.entries(listeners).map(([name, { port }]) => [name, `127.0.0.1:${port}`])),
    ...createKafkaAdmin(bootstrap),
    log: () => broker?.output() ?? '',
    stop,
    async kill9() {
      await broker?.kill()
      broker = undefined
    },
    async restart() {
      await stop()
      await start()
    },
    pause: () => broker?.pause(),
    resume: () => broker?.resume(),
    tool: (mainClass, args) => runTool(jars, mainClass, args, quick),
    [Symbol.asyncDispose]: dispose,
  }
}

function brokerArgs(jars: KafkaJars, properties: string): string[] {
  return [`-Dlog4j2.configurationFile=${jars.logging}`, '-cp', jars.classPath, 'kafka.Kafka', properties]
}

/** A broker that only starts and ends. */
async function brokerInside(jars: KafkaJars, folder: string): Promise<JavaProgram> {
  const data = join(folder, 'data')
  const properties = join(folder, 'server.properties')
  const [brokerPort, controllerPort] = await freePorts(2)
  await copyFormatted(jars, data)
  await writeFile(properties, brokerProperties({ data, brokerPort, controllerPort }))
  return { args: brokerArgs(jars, properties), ready: BROKER_READY }
}

function runningBroker(bootstrap: string): KafkaBroker {
  function notOurs(): never {
    throw new Error(`this test stops the broker, and ${bootstrap} (MILLRACE_TEST_KAFKA) is not its own`)
  }
  return {
    bootstrap,
    listeners: {},
    ...createKafkaAdmin(bootstrap),
    log: () => '',
    stop: async () => notOurs(),
    kill9: async () => notOurs(),
    restart: async () => notOurs(),
    pause: notOurs,
    resume: notOurs,
    tool: async (mainClass, args) => runTool(await kafkaJars(), mainClass, args),
    [Symbol.asyncDispose]: async () => {},
  }
}

function runTool(
  jars: KafkaJars,
  mainClass: string,
  args: readonly string[],
  quick: readonly string[] = ['-XX:+UseSerialGC'],
): Promise<string> {
  return runToEnd({
    name: mainClass,
    command: 'java',
    args: [
      ...quick,
      ...SHORT_LIVED,
      '-Xmx256m',
      `-Dlog4j2.configurationFile=${jars.logging}`,
      '-cp',
      jars.classPath,
      mainClass,
      ...args,
    ],
  })
}
