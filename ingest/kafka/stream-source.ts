/**
 * The client library's own consumer and message stream behind the same interface as `fetch-source.ts`, to compare with it row
 * for row: another group protocol, another fetch, another record-batch walk. An object exists for every record, so it costs
 * two to three times the CPU; the services do not use it.
 *
 *   group join ─▶ where logs begin and end ─▶ owner: start positions ─▶ a stream of its own ─▶ blocks per topic-partition
 *
 * Its limits, which are the library's: records of aborted transactions are not left out, and offsets that hold no record (holes
 * of compaction, control records) are seen only when a later record comes. A stream keeps its offsets in memory over a
 * rebalance: so each assignment has a new stream, from positions asked anew.
 */
import { Consumer, type Message, type MessagesStream } from '@platformatic/kafka'
import type { World } from '../../runtime/world.ts'
import { brokerClientOptions, parseBrokerAddress } from './client.ts'
import { createCluster } from './cluster.ts'
import type { KafkaSourceSettings } from './fetch-source.ts'
import {
  type AssignedPartition,
  type KafkaSource,
  type KafkaSourceHandlers,
  topicPartitionKey,
} from './kafka-source.ts'
import { listLogEnds } from './log-ends.ts'
import { RecordArrays } from './record-arrays.ts'
import { encodeHeaders } from './record-headers.ts'

const RECORDS_IN_BLOCK_MAX = 4_096
const SESSION_MS = 15_000
const RETRY_MS = 200
const READ_COMMITTED = 1

type RawMessage = Message<Buffer, Buffer, Buffer, Buffer>
type RawStream = MessagesStream<Buffer, Buffer, Buffer, Buffer>
type Assignment = { readonly topic: string; readonly partitions: readonly number[] }
type Tenure = { stream: RawStream | undefined; over: boolean; reading: Promise<void> | undefined }

export function createStreamSource(components: {
  settings: KafkaSourceSettings
  world: World
  topics: readonly string[]
  groupId: string
  handlers: KafkaSourceHandlers
}): KafkaSource {
  const { settings, world, groupId, handlers } = components
  const topics = [...new Set(components.topics)]
  const options = brokerClientOptions({ connectTimeoutMs: 5_000, requestTimeoutMs: 15_000, ...settings })
  const cluster = createCluster(settings.bootstrap.map(parseBrokerAddress), options)
  const consumer = new Consumer<Buffer, Buffer, Buffer, Buffer>({
    clientId: settings.clientId,
    groupId,
    bootstrapBrokers: [...settings.bootstrap],
    autocommit: false,
    isolationLevel: READ_COMMITTED,
    sessionTimeout: settings.sessionTimeoutMs ?? SESSION_MS,
    heartbeatInterval: settings.heartbeatMs ?? 1_000,
    tls: options.tls,
    sasl: options.sasl,
  })
  let assigned: readonly AssignedPartition[] = []
  let tenure: Tenure | undefined
  let turn: Promise<unknown> = Promise.resolve()
  let isClosed = false
  let isPaused = false
  const delivered = new Map<string, number>()

  function inTurn(work: () => Promise<void>): Promise<void> {
    const result = turn.then(work, work)
    turn = result.catch((error: unknown) => handlers.trouble(String(error)))
    return result
  }

  async function end(which: Tenure | undefined): Promise<void> {
    if (!which) return
    which.over = true
    which.stream?.destroy()
    await which.reading?.catch(() => {})
  }

  async function giveUp(): Promise<void> {
    const partitions = assigned
    assigned = []
    await end(tenure)
    tenure = undefined
    if (partitions.length > 0) await handlers.revoked(partitions)
  }

  async function begin(assignments: readonly Assignment[]): Promise<void> {
    await end(tenure)
    const mine: Tenure = { stream: undefined, over: false, reading: undefined }
    tenure = mine
    const over = () => mine.over || isClosed
    const given = assignments.map(({ topic, partitions }) => ({ topic, partitions: [...partitions] }))
    const { partitions } = await listLogEnds({ cluster, world, topics, assigned: given, over })
    if (over() || partitions.length === 0) return
    const positions = await handlers.assigned(partitions)
    if (over()) return
    assigned = partitions
    const offsets = partitions.flatMap((partition) => {
      const start = positions.get(topicPartitionKey(partition)) ?? { at: 'none' }
      if (start.at === 'none') return []
      const offset =
        start.at === 'offset' ? start.offset : start.at === 'earliest' ? partition.logStart : partition.logEnd
      delivered.set(topicPartitionKey(partition), offset)
      return [{ topic: partition.topic, partition: partition.partition, offset: BigInt(offset) }]
    })
    if (offsets.length === 0) return
    const stream = await consumer.consume({ topics, mode: 'manual', offsets, autocommit: false, maxWaitTime: 200 })
    if (over()) {
      stream.destroy()
      return
    }
    // Errors end the loop below; without a listener they would end the process.
    stream.on('error', () => {})
    mine.stream = stream
    mine.reading = read(mine, stream, new Set(offsets.map(topicPartitionKey)))
    handlers.trouble(undefined)
  }

  /** Runs of records of one topic-partition become blocks; a block waits for nothing that is not there yet. */
  async function read(mine: Tenure, stream: RawStream, wanted: ReadonlySet<string>): Promise<void> {
    const arrays = new RecordArrays()
    let key = ''
    try {
      for await (const message of stream) {
        const next = topicPartitionKey(message)
        if (arrays.count > 0 && next !== key) await deliver(key, arrays)
        while (isPaused && !mine.over) await world.clock.sleep(RETRY_MS)
        if (mine.over) return
        const from = delivered.get(next)
        if (wanted.has(next) && from !== undefined && Number(message.offset) >= from) {
          if (arrays.count === 0) {
            key = next
            arrays.reset(from)
          }
          append(arrays, message)
        }
        if (arrays.count >= RECORDS_IN_BLOCK_MAX || (arrays.count > 0 && stream.readableLength === 0)) {
          await deliver(key, arrays)
        }
      }
    } catch (error) {
      if (mine.over || isClosed) return
      handlers.trouble(String(error))
      await world.clock.sleep(RETRY_MS)
      void beginAgain()
    }
  }

  async function deliver(key: string, arrays: RecordArrays): Promise<void> {
    const partition = assigned.find((each) => topicPartitionKey(each) === key)
    const { count } = arrays
    arrays.nextOffset = arrays.offsets[count - 1] + 1
    if (partition) {
      const { topic, topicId, logEnd } = partition
      const shown = { ...arrays, count, topic, topicId, partition: partition.partition }
      await handlers.block({ ...shown, filtered: 0, logEnd: Math.max(logEnd, arrays.nextOffset) })
      delivered.set(key, arrays.nextOffset)
    }
    arrays.count = 0
  }

  function beginAgain(): Promise<void> {
    return inTurn(() => begin((consumer.assignments ?? []) as readonly Assignment[]))
  }

  async function join(): Promise<void> {
    consumer.on('consumer:group:join', ({ assignments }) => void inTurn(() => begin(assignments ?? [])))
    consumer.on('consumer:group:rebalance', () => void inTurn(giveUp))
    while (!isClosed) {
      try {
        for (const topic of topics) consumer.topics.track(topic)
        await consumer.joinGroup({})
        return
      } catch (error) {
        handlers.trouble(String(error))
        await world.clock.sleep(RETRY_MS)
      }
    }
  }

  return {
    async start() {
      void join()
    },
    pause() {
      isPaused = true
    },
    resume() {
      isPaused = false
    },
    restart: beginAgain,
    async commitAdvisory() {},
    assignments: () => assigned,
    lastAtEndMs: () => undefined,
    async close() {
      isClosed = true
      await end(tenure)
      await turn.catch(() => {})
      await consumer.close(true)
      cluster.close()
    },
  }
}

function append(arrays: RecordArrays, message: RawMessage): void {
  const { count } = arrays
  arrays.reserve(count + 1)
  const place = (bytes: Uint8Array | null | undefined): readonly [number, number] => {
    if (bytes === null || bytes === undefined) return [-1, -1]
    const start = arrays.append(bytes)
    return [start, start + bytes.length]
  }
  const timestamp = Number(message.timestamp)
  arrays.offsets[count] = Number(message.offset)
  arrays.timestamps[count] = timestamp === -1 ? Number.NaN : timestamp
  ;[arrays.keyStarts[count], arrays.keyEnds[count]] = place(message.key)
  ;[arrays.valueStarts[count], arrays.valueEnds[count]] = place(message.value)
  ;[arrays.headerStarts[count], arrays.headerEnds[count]] = place(encodeHeaders(message.headerEntries))
  arrays.count = count + 1
}
