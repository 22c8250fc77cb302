/**
 * A real Kafka Connect worker for tests, distributed mode, one JVM on a broker of the test: what our REST API is compared
 * with. Its jars come from Maven Central once per user. About 10 s to start, 200 MiB.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cachedFolder } from './cache-folder.ts'
import { freePort } from './free-port.ts'
import { KAFKA_VERSION } from './kafka-jars.ts'
import { runToEnd, startProcess } from './processes.ts'

const READY_TIMEOUT_MS = 120_000

const ARTIFACTS = ['connect-runtime', 'connect-file', 'connect-json', 'connect-transforms']

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>connect-for-tests</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
${ARTIFACTS.map(
  (name) =>
    `    <dependency><groupId>org.apache.kafka</groupId><artifactId>${name}</artifactId><version>${KAFKA_VERSION}</version></dependency>`,
).join('\n')}
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
</project>
`

const LOG4J = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRefs = console
rootLogger.appenderRef.console.ref = console
`

export type ConnectWorker = {
  readonly url: string
  log(): string
  [Symbol.asyncDispose](): Promise<void>
}

export async function startConnectWorker(bootstrap: string): Promise<ConnectWorker> {
  const jars = await cachedFolder({ name: `kafka-connect-${KAFKA_VERSION}`, build: fetchJars })
  const folder = await mkdtemp(join(tmpdir(), 'millrace-connect-'))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const properties = join(folder, 'worker.properties')
  await writeFile(properties, workerProperties(bootstrap, url, join(jars, 'libs')))
  const worker = await startProcess({
    name: 'connect',
    command: 'java',
    args: [
      '-Xmx512m',
      '-XX:+UseSerialGC',
      '-XX:TieredStopAtLevel=1',
      `-Dlog4j2.configurationFile=${join(jars, 'log4j2.properties')}`,
      '-cp',
      join(jars, 'libs', '*'),
      'org.apache.kafka.connect.cli.ConnectDistributed',
      properties,
    ],
    ready: { url: `${url}/connectors` },
    readyTimeoutMs: READY_TIMEOUT_MS,
  })
  return {
    url,
    log: () => worker.output(),
    async [Symbol.asyncDispose]() {
      await worker.kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

async function fetchJars(folder: string): Promise<void> {
  await writeFile(join(folder, 'pom.xml'), POM)
  await writeFile(join(folder, 'log4j2.properties'), LOG4J)
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
}

function workerProperties(bootstrap: string, url: string, libs: string): string {
  const properties: Record<string, string> = {
    'bootstrap.servers': bootstrap,
    'group.id': 'connect-worker',
    listeners: url,
    'key.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
    'key.converter.schemas.enable': 'false',
    'value.converter.schemas.enable': 'false',
    'config.storage.topic': 'connect-configs',
    'offset.storage.topic': 'connect-offsets',
    'status.storage.topic': 'connect-status',
    'config.storage.replication.factor': '1',
    'offset.storage.replication.factor': '1',
    'status.storage.replication.factor': '1',
    'offset.storage.partitions': '1',
    'status.storage.partitions': '1',
    'offset.flush.interval.ms': '1000',
    'scheduled.rebalance.max.delay.ms': '0',
    'plugin.path': libs,
    'plugin.discovery': 'service_load',
  }
  return `${Object.entries(properties)
    .map(([key, value]) => `${key}=${value}`)
    .join('\n')}\n`
}
