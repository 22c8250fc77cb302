/**
 * Millrace's ingest and three others over the same topic in one run, one after the other, each in processes of its own: CPU
 * seconds per million rows, rows a second, largest resident memory, files.
 *
 *   millrace        `millrace ingest`: exactly once, committed segments
 *   naive           kafkajs, JSON.parse, row objects, hyparquet-writer
 *   iceberg sink    the Apache Iceberg sink in a Connect worker: exactly once, commits every 10 s
 *   clickhouse      confluent-kafka and chdb, JSON lines into a MergeTree
 *
 * Each one's count of rows and sum of ids is checked. CPU is the kernel's, of the reading processes alone; start-up is in it,
 * but the Connect worker's, which is told apart since a worker runs for many connectors. Prerequisites come from the package
 * registries once and stay in the user's cache folder.
 */
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { cachedFolder } from '../../test/harness/cache-folder.ts'
import { runToEnd, startProcess } from '../../test/harness/processes.ts'
import { openLakeReader, waitForLake } from '../lake-reader.ts'
import { cpuSeconds, peakMemory } from '../process-cost.ts'
import { CHECK_SQL, checkRow, eventsYaml, TABLE, TOPIC } from '../records.ts'
import { type BenchResult, mebibytes, thousands } from '../report.ts'
import { type Stage, topicText } from '../stage.ts'
import { ICEBERG_VERSION, startIcebergSink } from './iceberg-sink.ts'

const KAFKAJS = 'kafkajs@2.2.4'
const PARQUET_WRITER = 'hyparquet-writer@0.17.0'
const COMMIT_INTERVAL_MS = 10_000
const POLL_MS = 250
const PEER_MS = 600_000

type Cost = {
  readonly name: string
  readonly rows: number
  readonly seconds: number
  readonly cpu: number
  readonly memory: number
  readonly files: string
  readonly note: string
}

export async function benchPeers(stage: Stage): Promise<BenchResult> {
  const topic = await stage.filledTopic()
  const { rows, idSum } = topic.expected
  const costs: Cost[] = []
  for (const measure of [millrace, naive, clickhouse, icebergSink]) {
    const cost = await measure(stage, topic.bootstrap, rows, idSum)
    stage.say(`${cost.name}: ${((cost.cpu / cost.rows) * 1e6).toFixed(2)} CPU-s per million rows`)
    costs.push(cost)
  }
  const perMillion = ({ cpu, rows: count }: Cost) => (cpu / count) * 1e6
  const own = perMillion(costs[0])
  return {
    name: 'peers',
    data: topicText(topic),
    settings: `Millrace: defaults. kafkajs: 8 MiB a partition, a file for every 100,000 rows. chdb: an insert for every 100,000 rows. Iceberg sink: one task, commits every ${COMMIT_INTERVAL_MS / 1000} s, 1 GiB of heap. One after the other, the broker on the same machine`,
    figures: costs.slice(1).map((cost) => ({
      what: `${cost.name}: its CPU-seconds per million rows, times Millrace’s`,
      value: `${(perMillion(cost) / own).toFixed(1)} ×`,
    })),
    tables: [
      {
        head: ['', 'CPU-s per M rows', 'rows per second', 'peak memory', 'files', ''],
        lines: costs.map((cost) => [
          cost.name,
          perMillion(cost).toFixed(2),
          thousands(cost.rows / cost.seconds),
          mebibytes(cost.memory),
          cost.files,
          cost.note,
        ]),
      },
    ],
    checked: 'rows and sum of ids of each; amounts to the cent of Millrace and ClickHouse.',
    limitedBy:
      'one process each that reads alone, the broker beside it; kafkajs, confluent-kafka and the Connect task read on one thread',
    numbers: Object.fromEntries(
      costs.flatMap((cost) => [
        [`${cost.name}.cpuSecondsPerMillion`, perMillion(cost)],
        [`${cost.name}.rowsPerSecond`, cost.rows / cost.seconds],
        [`${cost.name}.peakMemoryBytes`, cost.memory],
      ]),
    ),
  }
}

async function millrace(stage: Stage, bootstrap: string, rows: number): Promise<Cost> {
  const { expected } = await stage.filledTopic()
  const own = await stage.millrace(eventsYaml(bootstrap))
  const started = performance.now()
  const ingest = await own.start('ingest')
  const lake = await openLakeReader(own.configFile)
  const { segments } = await waitForLake(lake, TABLE, ({ consumed }) => consumed >= rows)
  const seconds = (performance.now() - started) / 1000
  const cpu = cpuSeconds([ingest.pid])
  const memory = peakMemory(ingest.pid)
  await lake.close()
  await ingest.stop()
  const query = await own.start('query')
  checkRow((await own.sql(CHECK_SQL)).data[0], expected)
  await query.stop()
  const note = 'exactly once, SQL after half a second'
  return { name: 'Millrace', rows, seconds, cpu, memory, files: `${segments.length} segments`, note }
}

async function naive(_stage: Stage, bootstrap: string, rows: number, idSum: bigint): Promise<Cost> {
  const modules = await cachedFolder({
    name: `peers-${KAFKAJS}-${PARQUET_WRITER}`,
    async build(folder) {
      const args = ['install', '--prefix', folder, '--no-audit', '--no-fund', KAFKAJS, PARQUET_WRITER]
      await runToEnd({ name: 'npm', command: 'npm', args })
    },
  })
  return withFolder(async (folder) => {
    const program = join(import.meta.dirname, 'naive-consumer.ts')
    const args = [program, bootstrap, TOPIC, String(rows), folder, modules]
    const run = await readingProcess('naive consumer', process.execPath, args, rows, idSum)
    const files = `${run.report.files} files`
    return { name: `${KAFKAJS}, ${PARQUET_WRITER}`, rows, ...run.cost, files, note: 'at least once' }
  })
}

async function clickhouse(stage: Stage, bootstrap: string, rows: number, idSum: bigint): Promise<Cost> {
  const { expected } = await stage.filledTopic()
  const requirements = join(import.meta.dirname, 'requirements.txt')
  const environment = await cachedFolder({
    name: 'peers-python-chdb-4.4.0',
    async build(folder) {
      await runToEnd({ name: 'venv', command: 'python3', args: ['-m', 'venv', folder] })
      await copyFile(requirements, join(folder, 'requirements.txt'))
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]
      await runToEnd({ name: 'pip', command: join(folder, 'bin', 'python'), args: pip })
    },
  })
  return withFolder(async (folder) => {
    const args = [join(import.meta.dirname, 'chdb_consumer.py'), bootstrap, TOPIC, String(rows), join(folder, 'chdb')]
    const run = await readingProcess('chdb', join(environment, 'bin', 'python'), args, rows, idSum)
    if (Number(run.report.cents) !== Number(expected.amountCents)) {
      throw new Error(`chdb: cents: expected ${expected.amountCents}, found ${run.report.cents}`)
    }
    const files = `${run.report.inserts} inserts`
    return { name: 'ClickHouse (chdb 4.4.0)', rows, ...run.cost, files, note: 'at least once, into a MergeTree' }
  })
}

async function icebergSink(stage: Stage, bootstrap: string, rows: number): Promise<Cost> {
  const kafka = await stage.broker()
  await kafka.createTopic('control-iceberg', 1)
  return withFolder(async (folder) => {
    const sink = await startIcebergSink({ bootstrap, folder })
    try {
      const startUp = cpuSeconds([sink.pid])
      const started = performance.now()
      await sink.create(TOPIC, COMMIT_INTERVAL_MS)
      let seen = { rows: 0, files: 0 }
      let seconds = 0
      let cpu = 0
      let rate = 0
      while (seen.rows < rows) {
        await sleep(POLL_MS)
        seen = await sink.committed()
        seconds = (performance.now() - started) / 1000
        cpu = cpuSeconds([sink.pid]) - startUp
        // The last commit on a topic that stands still may take two minutes: the best moment counts for the rate.
        rate = Math.max(rate, seen.rows / seconds)
        if (seconds * 1000 > PEER_MS) throw new Error(`the Iceberg sink has ${seen.rows} of ${rows} rows after 10 min`)
      }
      if (seen.rows !== rows) throw new Error(`the Iceberg sink has ${seen.rows} rows, expected ${rows}`)
      const note = `exactly once; all committed after ${seconds.toFixed(0)} s; start of the worker ${startUp.toFixed(1)} CPU-s, not counted`
      const files = `${seen.files} files`
      const cost = { rows, seconds: rows / rate, cpu, memory: peakMemory(sink.pid), files, note }
      return { name: `Iceberg Kafka Connect sink ${ICEBERG_VERSION}`, ...cost }
    } finally {
      await sink.stop()
    }
  })
}

async function readingProcess(name: string, command: string, args: readonly string[], rows: number, idSum: bigint) {
  const started = performance.now()
  await using reader = await startProcess({ name, command, args })
  const [line] = await reader.waitForLine(/^\{.*\}$/, PEER_MS)
  const seconds = (performance.now() - started) / 1000
  const cost = { seconds, cpu: cpuSeconds([reader.pid]), memory: peakMemory(reader.pid) }
  await reader.kill()
  const report = JSON.parse(line) as Record<string, unknown>
  if (Number(report.rows) !== rows || String(report.idSum) !== String(idSum)) {
    throw new Error(`${name}: expected ${rows} rows with ids of ${idSum} in all, found ${line}`)
  }
  return { cost, report }
}

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-peers-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
