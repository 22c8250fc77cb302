/**
 * What several benchmarks of one run share, made when first needed: a broker, the topic with all records in it, and the
 * table that the pipeline benchmark made of them, which the query benchmark then asks.
 */
import type { LiveFile } from '../lake/iceberg/iceberg.ts'
import { type KafkaBroker, startKafka } from '../test/harness/kafka.ts'
import { createMillrace, type Millrace } from '../test/harness/millrace.ts'
import { createProducer } from '../test/harness/produce.ts'
import { startS3Server } from '../test/harness/s3-server.ts'
import { s3Yaml } from '../test/lake/open-lake.ts'
import { avroRecordOf } from './avro-records.ts'
import type { LakeReader } from './lake-reader.ts'
import { startLateProxy } from './load/late-proxy.ts'
import { type Expected, expectedOf, PARTITIONS, recordOf, TOPIC } from './records.ts'

const RECORDS_PER_BATCH = 2_000

/** How the topic of the ingest benchmark is filled. */
export type TopicShape = {
  readonly codec: 'lz4' | 'zstd'
  /** About so many bytes a record. */
  readonly bytes: 200 | 290
  readonly partitions: number
  /** Share of the records in the first topic-partition; 0: all have the same. */
  readonly skew: number
  readonly format: 'json' | 'avro'
}

export type PipelineRun = {
  readonly millrace: Millrace
  readonly lake: LakeReader
  readonly topic: FilledTopic
  readonly files: readonly LiveFile[]
  readonly figures: {
    readonly ingestCpu: number
    readonly compactorCpu: number
    readonly seconds: number
    readonly snapshots: number
    readonly memory: { readonly ingest: number; readonly compactor: number; readonly engine: number }
    readonly machineText: string
  }
}

export type StageOptions = {
  readonly shape?: TopicShape
  /** Records a second of the freshness benchmark. */
  readonly rate?: number
  /** Where the lake is: on disk, in a bucket, or in one whose requests of the ingest process come late. */
  readonly puts?: 'disk' | 'bucket' | 'slow'
}

export const USUAL_TOPIC: TopicShape = { codec: 'lz4', bytes: 200, partitions: PARTITIONS, skew: 0, format: 'json' }

export type FilledTopic = {
  readonly bootstrap: string
  readonly shape: TopicShape
  readonly expected: Expected
  readonly recordBytes: number
}

export type Stage = {
  readonly rows: number
  readonly rate: number
  say(line: string): void
  broker(): Promise<KafkaBroker>
  /** All records, in the shape that was asked for (default: lz4, spread evenly over four topic-partitions). */
  filledTopic(): Promise<FilledTopic>
  millrace(settings: string): Promise<Millrace>
  /** The same where the lake was asked to be; `set`: what an ingest process is started with. */
  placedMillrace(settings: string): Promise<{ millrace: Millrace; set: string[]; place: string }>
  /** The pipeline's table, once per run. */
  pipelineRun(make: () => Promise<PipelineRun>): Promise<PipelineRun>
  /** Runs at the end, last one first. */
  atEnd(close: () => Promise<void>): void
  close(): Promise<void>
}

export function createStage(rows: number, say: (line: string) => void, options: StageOptions = {}): Stage {
  const { shape = USUAL_TOPIC, rate = 20_000, puts = 'disk' } = options
  const closing: (() => Promise<void>)[] = []
  let broker: Promise<KafkaBroker> | undefined
  let topic: Promise<FilledTopic> | undefined
  let pipeline: Promise<PipelineRun> | undefined

  async function start(): Promise<KafkaBroker> {
    const started = await startKafka({ isLongLived: true })
    closing.push(() => started[Symbol.asyncDispose]())
    return started
  }

  async function fill(): Promise<FilledTopic> {
    const kafka = await stage.broker()
    const { codec, partitions, skew } = shape
    const isLong = shape.bytes === 290
    const make = shape.format === 'avro' ? avroRecordOf : recordOf
    await kafka.createTopic(TOPIC, partitions)
    const producer = await createProducer(kafka.bootstrap)
    const started = performance.now()
    let sample = 0
    const samples = Math.min(rows, 1_000)
    for (let index = 0; index < samples; index += 1) sample += make(index, undefined, isLong).value?.length ?? 0
    await producer.sendMany(TOPIC, {
      partitions,
      count: rows,
      codec,
      recordsPerBatch: RECORDS_PER_BATCH,
      ...(skew > 0 ? { partitionOf: (batch: number) => skewedPartition(batch, partitions, skew) } : {}),
      make: (index) => make(index, undefined, isLong),
    })
    producer.close()
    say(`${rows} records produced in ${((performance.now() - started) / 1000).toFixed(1)} s`)
    return { bootstrap: kafka.bootstrap, shape, expected: expectedOf(rows), recordBytes: sample / samples }
  }

  const stage: Stage = {
    rows,
    rate,
    say,
    broker() {
      broker ??= start()
      return broker
    },
    filledTopic() {
      topic ??= fill()
      return topic
    },
    async millrace(settings) {
      const made = await createMillrace({ settings })
      closing.push(() => made.close())
      return made
    },
    async placedMillrace(settings) {
      if (puts === 'disk') return { millrace: await stage.millrace(settings), set: [], place: 'on local disk' }
      const server = await startS3Server()
      closing.push(() => server.stop())
      const bucket = await server.bucket('bench')
      const millrace = await stage.millrace(`${settings}\n${s3Yaml(server, { root: `s3://${bucket}/lake` })}`)
      if (puts === 'bucket') return { millrace, set: [], place: 'in a bucket' }
      const proxy = await startLateProxy(Number(new URL(server.endpoint).port))
      closing.push(() => proxy.close())
      const set = [`storage.s3.endpoint=http://127.0.0.1:${proxy.port}`]
      return { millrace, set, place: 'in a bucket, each request of the ingest process 100 ± 300 ms late (at least 0)' }
    },
    pipelineRun(make) {
      pipeline ??= make()
      return pipeline
    },
    atEnd: (close) => closing.push(close),
    async close() {
      for (const close of closing.splice(0).reverse()) await close()
    },
  }
  return stage
}

/** Of a hundred batches the first `skew` go to topic-partition 0, the others in turn to the others. */
function skewedPartition(batch: number, partitions: number, skew: number): number {
  return (batch * 37) % 100 < skew * 100 || partitions === 1 ? 0 : 1 + (batch % (partitions - 1))
}

export function topicText({ expected, recordBytes, shape }: FilledTopic): string {
  return `${expected.rows.toLocaleString('en-US')} ${shape.format === 'avro' ? 'Avro' : 'JSON'} records of ${Math.round(recordBytes)} bytes and 12 columns in one topic of ${shape.partitions} partitions${shape.skew > 0 ? ` (${Math.round(shape.skew * 100)} % of them in one)` : ''}, ${shape.codec}, ${RECORDS_PER_BATCH} records a batch, all there before the start (bench/records.ts)`
}
