/**
 * What several benchmarks of one run share, made when first needed: a broker, the topic with all records in it, and the
 * table that the pipeline benchmark made of them, which the query benchmark then asks.
 */
import { type KafkaBroker, startKafka } from '../test/harness/kafka.ts'
import { createMillrace, type Millrace } from '../test/harness/millrace.ts'
import { createProducer } from '../test/harness/produce.ts'
import type { PipelineRun } from './pipeline.ts'
import { type Expected, expectedOf, PARTITIONS, recordOf, TOPIC } from './records.ts'

const RECORDS_PER_BATCH = 2_000

export type FilledTopic = {
  readonly bootstrap: string
  readonly expected: Expected
  readonly recordBytes: number
}

export type Stage = {
  readonly rows: number
  say(line: string): void
  broker(): Promise<KafkaBroker>
  /** All records, lz4, spread over the partitions. */
  filledTopic(): Promise<FilledTopic>
  millrace(settings: string): Promise<Millrace>
  /** The pipeline's table, once per run. */
  pipelineRun(make: () => Promise<PipelineRun>): Promise<PipelineRun>
  /** Runs at the end, last one first. */
  atEnd(close: () => Promise<void>): void
  close(): Promise<void>
}

export function createStage(rows: number, say: (line: string) => void): Stage {
  const closing: (() => Promise<void>)[] = []
  let broker: Promise<KafkaBroker> | undefined
  let topic: Promise<FilledTopic> | undefined
  let pipeline: Promise<PipelineRun> | undefined

  async function start(): Promise<KafkaBroker> {
    const started = await startKafka()
    closing.push(() => started[Symbol.asyncDispose]())
    return started
  }

  async function fill(): Promise<FilledTopic> {
    const kafka = await stage.broker()
    await kafka.createTopic(TOPIC, PARTITIONS)
    const producer = await createProducer(kafka.bootstrap)
    const started = performance.now()
    let sample = 0
    const samples = Math.min(rows, 1_000)
    for (let index = 0; index < samples; index += 1) sample += String(recordOf(index).value).length
    await producer.sendMany(TOPIC, {
      partitions: PARTITIONS,
      count: rows,
      codec: 'lz4',
      recordsPerBatch: RECORDS_PER_BATCH,
      make: (index) => recordOf(index),
    })
    producer.close()
    say(`${rows} records produced in ${((performance.now() - started) / 1000).toFixed(1)} s`)
    return { bootstrap: kafka.bootstrap, expected: expectedOf(rows), recordBytes: sample / samples }
  }

  const stage: Stage = {
    rows,
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

export function topicText({ expected, recordBytes }: FilledTopic): string {
  return `${expected.rows.toLocaleString('en-US')} JSON records of ${Math.round(recordBytes)} bytes and 12 columns in one topic of ${PARTITIONS} partitions, lz4, ${RECORDS_PER_BATCH} records a batch, all there before the start (bench/records.ts)`
}
