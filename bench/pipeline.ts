/**
 * Broker → final sorted data files: what all processes together cost (ingest, compactor and the compactor's engine
 * process). It is over when every record is consumed, no segment is live, and the compactor has found nothing more to
 * merge for a while. The table stays for the query benchmark.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LiveFile } from '../lake/iceberg/iceberg.ts'
import { localFileOf } from '../lake/object-store/object-path.ts'
import { startBareDuckdb } from './duckdb/start-bare-duckdb.ts'
import { type LakeReader, openLakeReader, waitForLake } from './lake-reader.ts'
import { cpuSeconds, peakMemories, watchMachine } from './process-cost.ts'
import { CHECK_SQL, checkRow, eventsYaml, TABLE } from './records.ts'
import { type BenchResult, loadText, mebibytes, thousands } from './report.ts'
import { type PipelineRun, type Stage, topicText } from './stage.ts'

const CPU_TARGET = 3.5
/** The compactor looks every second. */
const QUIET_MS = 3_500
const QUIET_POLL_MS = 250

export async function runPipeline(stage: Stage): Promise<PipelineRun> {
  const topic = await stage.filledTopic()
  const { rows } = topic.expected
  const millrace = await stage.millrace(`${eventsYaml(topic.bootstrap)}\nsnapshot.age.ms: 10 s\n`)
  const load = watchMachine()
  const started = performance.now()
  const ingest = await millrace.start('ingest')
  const compactor = await millrace.start('compactor')
  const lake = await openLakeReader(millrace.configFile)
  stage.atEnd(() => lake.close())
  await waitForLake(lake, TABLE, ({ consumed, segments }) => consumed >= rows && segments.length === 0)
  const lastChange = await untilQuiet(lake)
  const seconds = (lastChange - started) / 1000
  const ingestCpu = cpuSeconds([ingest.pid])
  const compactorCpu = cpuSeconds([compactor.pid])
  const [engine = 0, own = 0] = peakMemories(compactor.pid)
  const [ingestMemory] = peakMemories(ingest.pid)
  const machineText = loadText(load(), ingestCpu + compactorCpu, 'ingest and compactor')
  await ingest.stop()
  await compactor.stop()
  const { files, snapshots } = await lake.snapshot(TABLE)
  const memory = { ingest: ingestMemory, compactor: own, engine }
  return {
    millrace,
    lake,
    topic,
    files,
    figures: { ingestCpu, compactorCpu, seconds, snapshots, memory, machineText },
  }
}

export async function benchPipeline(stage: Stage): Promise<BenchResult> {
  const { millrace, topic, files, figures } = await stage.pipelineRun(() => runPipeline(stage))
  const { rows } = topic.expected
  const { ingestCpu, compactorCpu, seconds, snapshots, memory } = figures
  const query = await millrace.start('query')
  checkRow((await millrace.sql(CHECK_SQL)).data[0], topic.expected)
  await query.stop()
  await checkSorted(files)

  const perMillion = ((ingestCpu + compactorCpu) / rows) * 1e6
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  return {
    name: 'pipeline',
    data: topicText(topic),
    settings:
      'defaults but snapshot.age.ms 10 s (so that the end of the topic is compacted at once, not a minute later); table partitioned by day(ts), sorted by ts',
    figures: [
      {
        what: 'CPU-seconds per million rows, all processes, start-up and waiting included',
        value: perMillion.toFixed(2),
        target: { text: `≤ ${CPU_TARGET.toFixed(1)}`, met: perMillion <= CPU_TARGET },
      },
      { what: 'of these ingest', value: ((ingestCpu / rows) * 1e6).toFixed(2) },
      { what: 'of these compactor with its engine', value: ((compactorCpu / rows) * 1e6).toFixed(2) },
      { what: 'seconds to the last snapshot', value: seconds.toFixed(1) },
      { what: 'snapshots', value: String(snapshots) },
      {
        what: 'final data files',
        value: `${files.length}, ${mebibytes(bytes)}, ${(bytes / rows).toFixed(1)} bytes a row`,
      },
      {
        what: 'peak resident memory: ingest, compactor, its engine',
        value: [memory.ingest, memory.compactor, memory.engine].map(mebibytes).join(', '),
      },
      { what: 'rows per second to final files', value: thousands(rows / seconds) },
    ],
    checked:
      'row count, sum of ids, sum of amounts, distinct (partition, offset); no live segment left; every data file read row by row is in order of ts and its manifest claims that order.',
    limitedBy: `${figures.machineText}. A share of the time is waiting for the age at which the last segments are compacted.`,
    numbers: {
      rows,
      seconds,
      ingestCpuSeconds: ingestCpu,
      compactorCpuSeconds: compactorCpu,
      cpuSecondsPerMillion: perMillion,
      snapshots,
      files: files.length,
    },
  }
}

/** When the table changed last, once it has not for long enough. */
async function untilQuiet(lake: LakeReader): Promise<number> {
  let { version } = await lake.progress(TABLE)
  let changedAt = performance.now()
  while (performance.now() - changedAt < QUIET_MS) {
    await sleep(QUIET_POLL_MS)
    const now = await lake.progress(TABLE)
    if (now.version !== version) changedAt = performance.now()
    version = now.version
  }
  return changedAt
}

async function checkSorted(files: readonly LiveFile[]): Promise<void> {
  const duckdb = await startBareDuckdb({ threads: 2 })
  try {
    for (const { path, sortOrderId } of files) {
      if (sortOrderId !== 1) throw new Error(`${path} does not claim the table's sort order`)
      const { rows } = await duckdb.run(
        `SELECT count(*) FROM (SELECT ts < lag(ts) OVER (ORDER BY file_row_number) AS wrong
         FROM read_parquet('${localFileOf(path)}', file_row_number = true)) WHERE wrong`,
      )
      if (Number(rows[0][0]) !== 0) throw new Error(`${path} is not sorted by ts`)
    }
  } finally {
    await duckdb.close()
  }
}
