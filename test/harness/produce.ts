/**
 * A producer for tests and benchmarks: batches of our own encoder, acknowledged by all replicas. Fast (several hundred
 * thousand records a second to one broker) and with what tests need: any codec, tombstones, batches as they are given,
 * transactions that commit or abort.
 *
 *   await using producer = await createProducer(kafka.bootstrap)
 *   await producer.send('flights', 0, records, { codec: 'lz4' })
 *   const transaction = await producer.begin('t-1')
 *   await transaction.send('flights', 0, records)
 *   await transaction.abort()
 *
 * It speaks to the one broker it is given, which leads every topic-partition of a test.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerLink } from '../../ingest/kafka/client.ts'
import { KAFKA_ERRORS, kafkaErrorText } from '../../ingest/kafka/error-codes.ts'
import { requestCoordinator } from '../../ingest/kafka/requests.ts'
import { WireReader, WireWriter } from '../../ingest/kafka/wire.ts'
import { type BatchOptions, type BatchRecord, type Codec, encodeBatch } from './batch-encoder.ts'
import { openLink } from './kafka-admin.ts'

const API = { produce: 0, initProducer: 22, addPartitions: 24, endTransaction: 26 } as const
const ACKS_ALL = -1
const PRODUCE_TIMEOUT_MS = 30_000
const BATCH_BYTES = 512 * 1024
const BATCH_RECORDS_MAX = 10_000
const INFLIGHT_MAX = 8
const TRANSACTION_TIMEOUT_MS = 60_000
const TRANSACTION_COORDINATOR = 1
const CONCURRENT_TRANSACTIONS = 51
const PATIENCE_MS = 20_000

export type SendOptions = {
  readonly codec?: Codec
  /** Default: as many as fit 512 KiB. */
  readonly recordsPerBatch?: number
}

export type Producer = {
  /** Gives the offset of the first record. */
  send(topic: string, partition: number, records: readonly BatchRecord[], options?: SendOptions): Promise<number>
  /** One batch as it is, right or not; the broker gives offsets. Gives the base offset. */
  sendBatch(topic: string, partition: number, batch: Buffer): Promise<number>
  /** Makes records by their number, over all partitions in turn batch by batch; waits for all. */
  sendMany(
    topic: string,
    options: {
      partitions: number
      count: number
      codec?: Codec
      recordsPerBatch?: number
      /** Of the n-th batch; default: one after the other. */
      partitionOf?(batch: number): number
      make(index: number): BatchRecord
    },
  ): Promise<void>
  begin(transactionalId: string): Promise<Transaction>
  close(): void
  [Symbol.asyncDispose](): Promise<void>
}

export type Transaction = {
  send(topic: string, partition: number, records: readonly BatchRecord[], options?: SendOptions): Promise<number>
  commit(): Promise<void>
  abort(): Promise<void>
}

export async function createProducer(bootstrap: string): Promise<Producer> {
  const link = await openLink(bootstrap)

  async function send(
    topic: string,
    partition: number,
    records: readonly BatchRecord[],
    options: SendOptions = {},
  ): Promise<number> {
    const batches = batchesOf(records, options.recordsPerBatch, (part) => encodeBatch(part, { codec: options.codec }))
    const bases = await Promise.all(batches.map((batch) => produce(link, topic, partition, batch, null)))
    return bases[0] ?? -1
  }

  return {
    send,
    sendBatch: (topic, partition, batch) => produce(link, topic, partition, batch, null),
    async sendMany(topic, { partitions, count, codec, recordsPerBatch = 2_000, partitionOf, make }) {
      const inflight = new Set<Promise<unknown>>()
      let batch = 0
      for (let start = 0; start < count; start += recordsPerBatch) {
        const records: BatchRecord[] = []
        for (let index = start; index < Math.min(start + recordsPerBatch, count); index++) records.push(make(index))
        const partition = partitionOf?.(batch) ?? batch % partitions
        const sent: Promise<unknown> = produce(link, topic, partition, encodeBatch(records, { codec }), null).then(() =>
          inflight.delete(sent),
        )
        inflight.add(sent)
        batch += 1
        if (inflight.size >= INFLIGHT_MAX) await Promise.race(inflight)
      }
      await Promise.all(inflight)
    },
    begin: (transactionalId) => beginTransaction(bootstrap, transactionalId),
    close: link.close,
    async [Symbol.asyncDispose]() {
      link.close()
    },
  }
}

function batchesOf(
  records: readonly BatchRecord[],
  recordsPerBatch: number | undefined,
  encode: (records: readonly BatchRecord[], start: number) => Buffer,
): Buffer[] {
  const batches: Buffer[] = []
  let start = 0
  while (start < records.length) {
    let end = start
    let bytes = 0
    const most = Math.min(records.length, start + (recordsPerBatch ?? BATCH_RECORDS_MAX))
    while (end < most && (end === start || recordsPerBatch !== undefined || bytes < BATCH_BYTES)) {
      bytes += (records[end].value?.length ?? 0) + 32
      end += 1
    }
    batches.push(encode(records.slice(start, end), start))
    start = end
  }
  return batches
}

async function produce(
  link: BrokerLink,
  topic: string,
  partition: number,
  batch: Buffer,
  transactionalId: string | null,
): Promise<number> {
  const body = new WireWriter(batch.length + 256)
    .compactString(transactionalId)
    .int16(ACKS_ALL)
    .int32(PRODUCE_TIMEOUT_MS)
  body.compactArray([topic], (name) => {
    body.compactString(name)
    body.compactArray([partition], (index) => body.int32(index).compactBytes(batch).noTags())
    body.noTags()
  })
  body.noTags()
  let baseOffset = -1
  await patiently(`produce to ${topic}/${partition}`, async () => {
    const reader = new WireReader(await link.request(API.produce, 9, body.bytes()))
    reader.unsignedVarint()
    reader.compactString()
    reader.unsignedVarint()
    reader.int32()
    const errorCode = reader.int16()
    baseOffset = reader.int53()
    return errorCode
  })
  return baseOffset
}

async function beginTransaction(bootstrap: string, transactionalId: string): Promise<Transaction> {
  const link = await openLink(bootstrap)
  await patiently(`coordinator of ${transactionalId}`, async () => {
    return (await requestCoordinator(link, transactionalId, TRANSACTION_COORDINATOR)).errorCode
  })
  let producerId = -1n
  let producerEpoch = -1
  await patiently(`producer id of ${transactionalId}`, async () => {
    const body = new WireWriter().compactString(transactionalId).int32(TRANSACTION_TIMEOUT_MS).int64(-1).int16(-1)
    const reader = new WireReader(await link.request(API.initProducer, 4, body.noTags().bytes()))
    reader.int32()
    const errorCode = reader.int16()
    producerId = reader.int64()
    producerEpoch = reader.int16()
    return errorCode
  })
  const sequences = new Map<string, number>()

  async function addPartition(topic: string, partition: number): Promise<void> {
    const body = new WireWriter().compactString(transactionalId).int64(producerId).int16(producerEpoch)
    body.compactArray([topic], (name) => {
      body.compactString(name)
      body.compactArray([partition], (index) => body.int32(index)).noTags()
    })
    body.noTags()
    await patiently(`${topic}/${partition} in ${transactionalId}`, async () => {
      const reader = new WireReader(await link.request(API.addPartitions, 3, body.bytes()))
      reader.int32()
      reader.unsignedVarint()
      reader.compactString()
      reader.unsignedVarint()
      reader.int32()
      return reader.int16()
    })
  }

  async function end(committed: boolean): Promise<void> {
    const body = new WireWriter().compactString(transactionalId).int64(producerId).int16(producerEpoch)
    body.boolean(committed).noTags()
    await patiently(`end of ${transactionalId}`, async () => {
      const reader = new WireReader(await link.request(API.endTransaction, 3, body.bytes()))
      reader.int32()
      return reader.int16()
    })
    link.close()
  }

  return {
    async send(topic, partition, records, options = {}) {
      const key = `${topic}/${partition}`
      if (!sequences.has(key)) await addPartition(topic, partition)
      const base = sequences.get(key) ?? 0
      sequences.set(key, base + records.length)
      const batches = batchesOf(records, options.recordsPerBatch, (part, start) =>
        encodeBatch(part, {
          codec: options.codec,
          producerId,
          producerEpoch,
          baseSequence: base + start,
          transactional: true,
        }),
      )
      let first = -1
      for (const batch of batches) {
        const offset = await produce(link, topic, partition, batch, transactionalId)
        if (first < 0) first = offset
      }
      return first
    },
    commit: () => end(true),
    abort: () => end(false),
  }
}

/** A broker that just started leads nothing yet; a coordinator may be loading, or at work on the transaction before. */
async function patiently(what: string, attempt: () => Promise<number>): Promise<void> {
  const deadline = AbortSignal.timeout(PATIENCE_MS)
  const later: number[] = [
    CONCURRENT_TRANSACTIONS,
    KAFKA_ERRORS.coordinatorLoading,
    KAFKA_ERRORS.coordinatorNotAvailable,
    KAFKA_ERRORS.notCoordinator,
    KAFKA_ERRORS.notLeaderOrFollower,
    KAFKA_ERRORS.leaderNotAvailable,
    KAFKA_ERRORS.unknownTopicOrPartition,
  ]
  for (;;) {
    const errorCode = await attempt()
    if (errorCode === 0) return
    if (!later.includes(errorCode) || deadline.aborted) throw new Error(`${what}: ${kafkaErrorText(errorCode)}`)
    await sleep(25)
  }
}

export type { BatchOptions, BatchRecord, Codec }
