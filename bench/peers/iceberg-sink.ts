/**
 * The Apache Iceberg Kafka Connect sink as a peer: its jars from Maven Central, a distributed Connect worker of its own beside
 * the benchmark's broker, a table in a Hadoop catalog on local disk (Parquet, zstd: its defaults).
 *
 * It commits every `commitIntervalMs` (its default is 300,000). On a topic that stands still a commit may take two minutes,
 * since control events are read only when records come. How far it is is told by its snapshots.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { cachedFolder } from '../../test/harness/cache-folder.ts'
import { freePort } from '../../test/harness/free-port.ts'
import { KAFKA_VERSION, kafkaJars } from '../../test/harness/kafka-jars.ts'
import { runToEnd, type StartedProcess, startProcess } from '../../test/harness/processes.ts'

export const ICEBERG_VERSION = '1.12.0'
const HADOOP_VERSION = '3.4.2'
const READY_MS = 120_000

const dependency = (group: string, artifact: string, version: string) =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`

const pom = (name: string, dependencies: readonly string[]) => `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>${name}</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>${dependencies.join('\n')}</dependencies>
</project>
`

async function jarsOf(name: string, dependencies: readonly string[]): Promise<string> {
  return cachedFolder({
    name,
    async build(folder) {
      await writeFile(join(folder, 'pom.xml'), pom(name, dependencies))
      const out = `-DoutputDirectory=${join(folder, 'libs')}`
      const args = ['-q', '-B', 'dependency:copy-dependencies', out, '-DincludeScope=runtime']
      await runToEnd({ name: 'maven', command: 'mvn', args, cwd: folder })
    },
  })
}

export type IcebergSink = {
  readonly pid: number
  /** Starts the connector. */
  create(topic: string, commitIntervalMs: number): Promise<void>
  /** Rows and data files of the table's newest snapshot. */
  committed(): Promise<{ readonly rows: number; readonly files: number }>
  stop(): Promise<void>
}

/** A worker that is ready and has no connector yet: what it cost so far is start-up. Needs topic `control-iceberg`. */
export async function startIcebergSink(options: { bootstrap: string; folder: string }): Promise<IcebergSink> {
  const { bootstrap, folder } = options
  const kafka = await kafkaJars()
  const worker = await jarsOf(`connect-worker-${KAFKA_VERSION}`, [
    ...['connect-runtime', 'connect-json', 'connect-transforms'].map((each) =>
      dependency('org.apache.kafka', each, KAFKA_VERSION),
    ),
    dependency('org.apache.logging.log4j', 'log4j-slf4j-impl', '2.25.4'),
  ])
  const plugin = await jarsOf(`iceberg-sink-${ICEBERG_VERSION}`, [
    ...['iceberg-kafka-connect', 'iceberg-kafka-connect-events', 'iceberg-parquet'].map((each) =>
      dependency('org.apache.iceberg', each, ICEBERG_VERSION),
    ),
    ...['hadoop-client-api', 'hadoop-client-runtime'].map((each) =>
      dependency('org.apache.hadoop', each, HADOOP_VERSION),
    ),
  ])
  const port = await freePort()
  const warehouse = join(folder, 'warehouse')
  await mkdir(warehouse, { recursive: true })
  const properties = join(folder, 'connect.properties')
  await writeFile(
    properties,
    Object.entries({
      'bootstrap.servers': bootstrap,
      'group.id': `bench-connect-${process.pid}`,
      'key.converter': 'org.apache.kafka.connect.converters.ByteArrayConverter',
      'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
      'value.converter.schemas.enable': 'false',
      'config.storage.topic': 'bench-connect-config',
      'offset.storage.topic': 'bench-connect-offset',
      'offset.storage.partitions': '1',
      'status.storage.topic': 'bench-connect-status',
      'status.storage.partitions': '1',
      'config.storage.replication.factor': '1',
      'offset.storage.replication.factor': '1',
      'status.storage.replication.factor': '1',
      listeners: `http://127.0.0.1:${port}`,
      'plugin.path': plugin,
      'plugin.discovery': 'service_load',
      'connector.client.config.override.policy': 'All',
    })
      .map(([key, value]) => `${key}=${value}`)
      .join('\n'),
  )
  const url = `http://127.0.0.1:${port}`
  const started: StartedProcess = await startProcess({
    name: 'connect worker',
    command: 'java',
    args: [
      '-Xmx1g',
      '-XX:+UseSerialGC',
      `-Dlog4j2.configurationFile=${kafka.logging}`,
      '-cp',
      join(worker, 'libs', '*'),
      'org.apache.kafka.connect.cli.ConnectDistributed',
      properties,
    ],
    ready: { url: `${url}/connectors` },
    readyTimeoutMs: READY_MS,
  })

  return {
    pid: started.pid,
    async create(topic, commitIntervalMs) {
      const config = {
        'connector.class': 'org.apache.iceberg.connect.IcebergSinkConnector',
        'tasks.max': '1',
        topics: topic,
        'iceberg.tables': 'db.events',
        'iceberg.tables.auto-create-enabled': 'true',
        'iceberg.catalog.type': 'hadoop',
        'iceberg.catalog.warehouse': `file://${warehouse}`,
        'iceberg.control.commit.interval-ms': String(commitIntervalMs),
        'consumer.override.auto.offset.reset': 'earliest',
        'consumer.override.max.poll.records': '5000',
        'consumer.override.fetch.min.bytes': '1000000',
      }
      const { statusCode, body } = await request(`${url}/connectors/iceberg/config`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(config),
      })
      const text = await body.text()
      if (statusCode >= 300) throw new Error(`the Iceberg sink was refused: ${statusCode} ${text}`)
      await sleep(1_000)
    },
    async committed() {
      const answer = await request(`${url}/connectors/iceberg/status`)
      const status = (await answer.body.json()) as { tasks?: { state: string; trace?: string }[] }
      const failed = status.tasks?.find(({ state }) => state === 'FAILED')
      if (failed) throw new Error(`the Iceberg sink failed: ${failed.trace?.slice(0, 2_000)}`)
      return newestSnapshot(join(warehouse, 'db', 'events', 'metadata'))
    },
    async stop() {
      await started.kill()
    },
  }
}

async function newestSnapshot(folder: string): Promise<{ rows: number; files: number }> {
  const names = await readdir(folder).catch(() => [])
  const versions = names.flatMap((name) => /^v(\d+)\.metadata\.json$/.exec(name)?.[1] ?? []).map(Number)
  if (versions.length === 0) return { rows: 0, files: 0 }
  const text = await readFile(join(folder, `v${Math.max(...versions)}.metadata.json`), 'utf8').catch(() => '{}')
  type Metadata = {
    'current-snapshot-id'?: number
    snapshots?: { 'snapshot-id': number; summary: Record<string, string> }[]
  }
  const metadata = JSON.parse(text.replace(/("(?:current-)?snapshot-id"\s*:\s*)(-?\d+)/g, '$1"$2"')) as Metadata
  const current = metadata.snapshots?.find((each) => each['snapshot-id'] === metadata['current-snapshot-id'])
  return {
    rows: Number(current?.summary['total-records'] ?? 0),
    files: Number(current?.summary['total-data-files'] ?? 0),
  }
}
