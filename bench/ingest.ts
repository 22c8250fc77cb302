/**
 * Kafka → committed segments, catching up on everything: what one ingest process costs, how fast it is, what memory it
 * takes, and how large a row is, hidden columns told apart.
 *
 * The process is started as anyone starts it; its CPU seconds are the kernel's, from exec to the last commit, so start-up
 * and compilation of the hot code are in them. A second start with nothing to read says how much start-up alone is.
 */
import { statSync } from 'node:fs'
import { localFileOf } from '../lake/object-store/object-path.ts'
import { readLocalFooter } from '../lake/parquet/footer-file.ts'
import { HIDDEN_COLUMNS } from '../schemas/table-schema.ts'
import { avroEventsYaml } from './avro-records.ts'
import { openLakeReader, waitForLake } from './lake-reader.ts'
import { cpuSeconds, cpuTimes, peakMemory, watchMachine } from './process-cost.ts'
import { CHECK_SQL, checkRow, eventsYaml, TABLE } from './records.ts'
import { type BenchResult, loadText, mebibytes, thousands } from './report.ts'
import { type Stage, topicText } from './stage.ts'

const CPU_TARGET = 2.0
const MEMORY_TARGET = 512 * 1024 ** 2
const RATE_TARGET = 600_000

export async function benchIngest(stage: Stage): Promise<BenchResult> {
  const topic = await stage.filledTopic()
  const { rows } = topic.expected
  const settings = topic.shape.format === 'avro' ? avroEventsYaml(topic.bootstrap) : eventsYaml(topic.bootstrap)
  const { millrace, set, place } = await stage.placedMillrace(settings)
  const load = watchMachine()
  const started = performance.now()
  const ingest = await millrace.start('ingest', { set })
  const lake = await openLakeReader(millrace.configFile)
  stage.atEnd(() => lake.close())
  let first: { readonly at: number; readonly consumed: number } | undefined
  const { segments } = await waitForLake(lake, TABLE, ({ consumed }) => {
    if (first === undefined && consumed > 0) first = { at: performance.now(), consumed }
    return consumed >= rows
  })
  const afterFirst = first === undefined ? 0 : ((rows - first.consumed) / (performance.now() - first.at)) * 1000
  const { user, system } = cpuTimes([ingest.pid])
  const cpu = user + system
  const seconds = (performance.now() - started) / 1000
  const machine = load()
  const memory = peakMemory(ingest.pid)
  await ingest.stop()

  const again = await millrace.start('ingest')
  const startUp = cpuSeconds([again.pid])
  await again.stop()

  const query = await millrace.start('query')
  checkRow((await millrace.sql(CHECK_SQL)).data[0], topic.expected)
  await query.stop()

  const sizes = await segmentSizes(segments.flatMap(({ path }) => (path.startsWith('file:') ? localFileOf(path) : [])))
  const perMillion = (cpu / rows) * 1e6
  const withoutStart = (Math.max(0, cpu - startUp) / rows) * 1e6
  return {
    name: 'ingest',
    data: topicText(topic),
    settings: `defaults (flush.interval.ms 500, flush.bytes 64 MiB, ingest.memory.max 64 MiB, ingest.threads auto); one ingest process; the lake ${place}`,
    figures: [
      {
        what: 'CPU-seconds per million rows, start-up included',
        value: perMillion.toFixed(2),
        target: { text: `≤ ${CPU_TARGET.toFixed(1)}`, met: perMillion <= CPU_TARGET },
      },
      {
        what: 'the same without start-up',
        value: `${withoutStart.toFixed(2)} (start-up: ${startUp.toFixed(2)} CPU-s)`,
      },
      { what: 'of all CPU-seconds in the kernel', value: `${((system / cpu) * 100).toFixed(0)} %` },
      {
        what: 'peak resident memory of the process',
        value: mebibytes(memory),
        target: { text: '≤ 512 MiB', met: memory < MEMORY_TARGET },
      },
      {
        what: 'rows per second, start-up included',
        value: thousands(rows / seconds),
        target: { text: '≥ 600,000', met: rows / seconds >= RATE_TARGET },
      },
      { what: 'rows per second from the first commit to the last', value: thousands(afterFirst) },
      { what: 'segments', value: `${segments.length}, ${mebibytes(sizes.total)}` },
      { what: 'bytes per row in segments', value: (sizes.total / rows).toFixed(1) },
      {
        what: 'of these the five hidden columns',
        value: `${(sizes.hidden / rows).toFixed(2)} (${sizes.byColumn.map(([name, bytes]) => `${name} ${(bytes / rows).toFixed(2)}`).join(', ')})`,
      },
    ],
    checked: 'row count, sum of ids, sum of amounts to the cent, and as many distinct (partition, offset) as rows.',
    limitedBy: `${loadText(machine, cpu, 'ingest')}. The broker shares the cores.`,
    numbers: {
      rows,
      seconds,
      cpuSeconds: cpu,
      cpuSecondsPerMillion: perMillion,
      startUpCpuSeconds: startUp,
      peakMemoryBytes: memory,
      segmentBytesPerRow: sizes.total / rows,
      hiddenBytesPerRow: sizes.hidden / rows,
    },
  }
}

/** From the footers: bytes of all column chunks of a column. */
async function segmentSizes(files: readonly string[]) {
  const byName = new Map<string, number>(HIDDEN_COLUMNS.map(({ name }) => [name, 0]))
  let total = 0
  for (const file of files) {
    total += statSync(file).size
    const footer = await readLocalFooter(file)
    for (const { chunks } of footer.rowGroups) {
      for (const { columnIndex, start, end } of chunks) {
        const { path } = footer.columns[columnIndex]
        if (byName.has(path)) byName.set(path, byName.get(path)! + end - start)
      }
    }
  }
  const byColumn = [...byName]
  return { total, byColumn, hidden: byColumn.reduce((sum, [, bytes]) => sum + bytes, 0) }
}
