/**
 * Apache Kafka for tests: its jars from Maven Central, once per user, with a formatted empty data folder beside them that
 * each broker copies (formatting takes a JVM of its own, about three seconds).
 */
import { cp, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { runToEnd } from './processes.ts'

export const KAFKA_VERSION = '4.3.1'
export const NODE_ID = 1

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>kafka-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
`

const LOG4J = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %m (%c)%n
rootLogger.level = info
rootLogger.appenderRefs = console
rootLogger.appenderRef.console.ref = console
`

const JAVA_NEEDED =
  'a Kafka broker for tests needs Java 17 or newer and Maven: install them (Debian: apt-get install openjdk-17-jdk-headless maven), or set MILLRACE_TEST_KAFKA=host:port to a running broker'

export type KafkaJars = { readonly classPath: string; readonly logging: string; readonly formatted: string }

export async function kafkaJars(): Promise<KafkaJars> {
  const folder = await cachedFolder({ name: `kafka-${KAFKA_VERSION}`, build: fetchAndFormat })
  return jarsIn(folder)
}

function jarsIn(folder: string): KafkaJars {
  return {
    classPath: join(folder, 'libs', '*'),
    logging: join(folder, 'log4j2.properties'),
    formatted: join(folder, 'formatted'),
  }
}

async function fetchAndFormat(folder: string): Promise<void> {
  await requireJava()
  const jars = jarsIn(folder)
  await writeFile(join(folder, 'pom.xml'), POM)
  await writeFile(jars.logging, LOG4J)
  await runToEnd({
    name: 'maven',
    command: 'mvn',
    args: [
      '-q',
      '-B',
      'dependency:copy-dependencies',
      `-DoutputDirectory=${join(folder, 'libs')}`,
      '-DincludeScope=runtime',
    ],
    cwd: folder,
  })
  await mkdir(jars.formatted, { recursive: true })
  const properties = join(folder, 'format.properties')
  await writeFile(properties, brokerProperties({ data: jars.formatted, brokerPort: 9092, controllerPort: 9093 }))
  await runToEnd({
    name: 'kafka format',
    command: 'java',
    args: [
      `-Dlog4j2.configurationFile=${jars.logging}`,
      '-cp',
      jars.classPath,
      'kafka.tools.StorageTool',
      'format',
      '-t',
      'bWlsbHJhY2UtdGVzdHMtMQ',
      '-c',
      properties,
    ],
  })
}

async function requireJava(): Promise<void> {
  try {
    await runToEnd({ name: 'java', command: 'java', args: ['-version'] })
    await runToEnd({ name: 'maven', command: 'mvn', args: ['-v'] })
  } catch (cause) {
    throw new Error(JAVA_NEEDED, { cause })
  }
}

export async function copyFormatted(jars: KafkaJars, data: string): Promise<void> {
  await cp(jars.formatted, data, { recursive: true })
}

export function brokerProperties(options: {
  data: string
  brokerPort: number
  controllerPort: number
  extra?: Readonly<Record<string, string>>
  /** Beside the plain one: `{ SASL: { port: 9094, protocol: 'SASL_PLAINTEXT' } }`. */
  listeners?: Readonly<Record<string, { readonly port: number; readonly protocol: string }>>
}): string {
  const { brokerPort, controllerPort } = options
  const more = Object.entries(options.listeners ?? {})
  const places = more.map(([name, { port }]) => `,${name}://127.0.0.1:${port}`).join('')
  const protocols = more.map(([name, { protocol }]) => `,${name}:${protocol}`).join('')
  const properties: Record<string, string> = {
    'process.roles': 'broker,controller',
    'node.id': String(NODE_ID),
    'controller.quorum.voters': `${NODE_ID}@127.0.0.1:${controllerPort}`,
    listeners: `PLAINTEXT://127.0.0.1:${brokerPort},CONTROLLER://127.0.0.1:${controllerPort}${places}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${brokerPort}${places}`,
    'inter.broker.listener.name': 'PLAINTEXT',
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': `PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT${protocols}`,
    'log.dirs': options.data,
    'auto.create.topics.enable': 'false',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'transaction.state.log.num.partitions': '4',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'share.coordinator.state.topic.num.partitions': '2',
    'group.initial.rebalance.delay.ms': '0',
    'num.network.threads': '2',
    'num.io.threads': '2',
    'log.cleaner.dedupe.buffer.size': '16777216',
    'background.threads': '2',
    'broker.session.timeout.ms': '2000',
    'broker.heartbeat.interval.ms': '500',
    'log.cleaner.backoff.ms': '200',
    'log.segment.delete.delay.ms': '1000',
    'log.initial.task.delay.ms': '500',
    // Records of tests may bear any time, also one that retention would find far too old.
    'log.retention.ms': '-1',
    ...options.extra,
  }
  return `${Object.entries(properties)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')}\n`
}
