/**
 * Runs benchmarks: `node bench/run.ts [name…] [--rows N] [--commits N] [--out FILE] [--write-page]` (or `npm run bench -- …`).
 *
 *   name          ingest, peers, pipeline, query, small-queries, export, freshness, hour, s3-bytes, cold, decoder, sketches, many-users, …; none: all, in this order
 *   --rows N      records to work on, default 5,000,000; freshness runs N / 20,000 seconds, at most 60
 *   --commits N   snapshot commits of that benchmark, default 10,000
 *   --codec C     of the topic: lz4 (default) or zstd; --bytes B: 200 (default) or 290 a record; --partitions N: default 4;
 *   --skew S      share of the records in one topic-partition: 0.8; default: all have the same
 *   --format F    json (default) or avro, of the ingest benchmark; --rate N: records a second of freshness, default 20,000
 *   --slow-puts   ingest and freshness over S3, each request of the ingest process 100 ± 300 ms late; --bucket: the same in time
 *   --out FILE    results as JSON (default: not written)
 *   --write-page  puts the figures into docs/benchmarks.md
 *
 * Every benchmark checks its answers and ends with an error when one is wrong; a missed target is told, not an error:
 * these are figures of one machine at one time, not tests.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { benchCold } from './cold.ts'
import { benchDecoder } from './decoder-figures.ts'
import { benchExport } from './export.ts'
import { benchFlushTick } from './flush-tick.ts'
import { benchFreshness } from './freshness.ts'
import { benchHour } from './hour.ts'
import { benchIngest } from './ingest.ts'
import { benchManyUsers } from './many-users.ts'
import { benchPeers } from './peers/peers.ts'
import { benchPipeline } from './pipeline.ts'
import { benchQuery } from './query.ts'
import { type BenchResult, machineText, markdownOf, replaceBlock, versionsText } from './report.ts'
import { benchS3Bytes } from './s3-bytes.ts'
import { benchSketches } from './sketches.ts'
import { benchSmallQueries } from './small-queries.ts'
import { benchSnapshotCommits } from './snapshot-commits.ts'
import { createStage, type Stage, type TopicShape, USUAL_TOPIC } from './stage.ts'

const BENCHMARKS: Readonly<Record<string, (stage: Stage) => Promise<BenchResult>>> = {
  ingest: benchIngest,
  peers: benchPeers,
  pipeline: benchPipeline,
  query: benchQuery,
  'small-queries': benchSmallQueries,
  export: benchExport,
  freshness: benchFreshness,
  hour: benchHour,
  's3-bytes': benchS3Bytes,
  cold: benchCold,
  decoder: benchDecoder,
  'flush-tick': benchFlushTick,
  sketches: benchSketches,
  'many-users': benchManyUsers,
  'snapshot-commits': ({ say }) => benchSnapshotCommits({ commits, say }),
}
const ROWS = 5_000_000
const COMMITS = 10_000
const PAGE = new URL('../docs/benchmarks.md', import.meta.url)

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: String(ROWS) },
    commits: { type: 'string', default: String(COMMITS) },
    codec: { type: 'string', default: USUAL_TOPIC.codec },
    bytes: { type: 'string', default: String(USUAL_TOPIC.bytes) },
    partitions: { type: 'string', default: String(USUAL_TOPIC.partitions) },
    skew: { type: 'string', default: '0' },
    format: { type: 'string', default: USUAL_TOPIC.format },
    rate: { type: 'string', default: '20000' },
    'slow-puts': { type: 'boolean', default: false },
    bucket: { type: 'boolean', default: false },
    out: { type: 'string' },
    'write-page': { type: 'boolean', default: false },
  },
})
const rows = Number(values.rows)
if (!Number.isInteger(rows) || rows < 10_000) throw new Error('--rows: a whole number of at least 10000 is expected')
const commits = Number(values.commits)
if (!Number.isInteger(commits) || commits < 1) throw new Error('--commits: a whole number of at least 1 is expected')
const shape = topicShape(values)
const names = positionals.length > 0 ? positionals : Object.keys(BENCHMARKS)
for (const name of names) {
  if (!BENCHMARKS[name]) throw new Error(`no benchmark "${name}"; there are ${Object.keys(BENCHMARKS).join(', ')}`)
}

const command = [
  'node bench/run.ts',
  ...positionals,
  ...(rows === ROWS ? [] : [`--rows ${rows}`]),
  ...(commits === COMMITS ? [] : [`--commits ${commits}`]),
  ...shapeOptions(shape),
  ...(values.rate === '20000' ? [] : [`--rate ${values.rate}`]),
  ...(values['slow-puts'] ? ['--slow-puts'] : values.bucket ? ['--bucket'] : []),
].join(' ')
const date = new Date().toISOString().slice(0, 10)
const results: BenchResult[] = []
const rate = Number(values.rate)
if (!Number.isInteger(rate) || rate < 1000) throw new Error('--rate: a whole number of at least 1000 is expected')
const puts = values['slow-puts'] ? 'slow' : values.bucket ? 'bucket' : 'disk'
const stage = createStage(rows, (line) => process.stderr.write(`${line}\n`), { shape, rate, puts })
try {
  for (const name of names) {
    stage.say(`${name} …`)
    const started = performance.now()
    const result = await BENCHMARKS[name](stage)
    const seconds = (performance.now() - started) / 1000
    const text = markdownOf(result, { command, date, seconds })
    process.stdout.write(`\n## ${name}\n\n${text}\n`)
    results.push(result)
    if (values['write-page']) writeFileSync(PAGE, replaceBlock(readFileSync(PAGE, 'utf8'), name, text))
    if (values.out) {
      const all = { command, date, machine: machineText(), versions: versionsText(), results }
      writeFileSync(values.out, `${JSON.stringify(all, null, 2)}\n`)
    }
  }
} finally {
  await stage.close()
}

function topicShape(given: {
  codec: string
  bytes: string
  partitions: string
  skew: string
  format: string
}): TopicShape {
  const { codec, format } = given
  const bytes = Number(given.bytes)
  const partitions = Number(given.partitions)
  const skew = Number(given.skew)
  if (codec !== 'lz4' && codec !== 'zstd') throw new Error('--codec: lz4 or zstd is expected')
  if (bytes !== 200 && bytes !== 290) throw new Error('--bytes: 200 or 290 is expected')
  if (!Number.isInteger(partitions) || partitions < 1) throw new Error('--partitions: a whole number is expected')
  if (!(skew >= 0 && skew < 1)) throw new Error('--skew: a share below 1 is expected')
  if (format !== 'json' && format !== 'avro') throw new Error('--format: json or avro is expected')
  return { codec, bytes, partitions, skew, format }
}

function shapeOptions(shape: TopicShape): string[] {
  const names = ['codec', 'bytes', 'partitions', 'skew', 'format'] as const
  return names.flatMap((name) => (shape[name] === USUAL_TOPIC[name] ? [] : [`--${name} ${shape[name]}`]))
}
