/**
 * The Kafka source of a simulated process: what `ingest/kafka/fetch-source.ts` does, over the simulated cluster.
 *
 *   join ─▶ log ends ─▶ owner: start positions ─▶ one feed per topic-partition ─▶ blocks, one after the other
 *   heartbeat says another generation ─▶ feeds stop, blocks in hand settle (or not, in time) ─▶ revoked ─▶ join
 *   another topic id, or `restart` ─▶ feeds stop ─▶ positions are asked anew
 *
 * As there, a position lives as long as one assignment, whatever fails is tried again for ever, and a feed that is outside
 * of its log stops and tells.
 */
import {
  type AssignedPartition,
  type KafkaSource,
  type KafkaSourceHandlers,
  type RecordBlock,
  topicPartitionKey,
} from '../../ingest/kafka/kafka-source.ts'
import { isMillraceError, MillraceError } from '../../schemas/errors.ts'
import { request } from './requests.ts'
import { type Broker, type LogRecord, logEnd, TOPIC } from './simulated-kafka.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import type { Universe } from './universe.ts'

const HEARTBEAT_MS = 500
const RETRY_MS = 300
const SETTLE_MS = 1500
const EMPTY_WAIT_MS = 700
const BLOCK_RECORDS_MAX = 6

type Feed = {
  readonly partition: AssignedPartition
  position: number
  isAlive: boolean
  inHand: Promise<void>
  lastAtEndMs: number | undefined
}

type Fetched =
  | { readonly outcome: 'another topic' }
  | { readonly outcome: 'out of range'; readonly logStart: number; readonly logEnd: number }
  | { readonly outcome: 'records'; readonly records: readonly LogRecord[]; readonly logEnd: number }

const TEXT = new TextEncoder()

export function createSimulatedKafkaSource(
  universe: Universe,
  broker: Broker,
  process: SimulatedProcess,
  handlers: KafkaSourceHandlers,
): KafkaSource {
  const { world } = process
  const closing = new AbortController()
  const feeds = new Map<string, Feed>()
  let assigned: readonly AssignedPartition[] = []
  let generation = 0
  let owned: readonly number[] = []
  let turn: Promise<unknown> = Promise.resolve()
  let again: Promise<void> | undefined

  function ask<T>(verb: string, detail: string, answer: () => T): Promise<T> {
    const options = {
      service: 'kafka' as const,
      verb,
      detail,
      isInside: false,
      unavailable: (why: string) => new MillraceError('broker-unavailable', why),
    }
    return request(universe, process, options, async () => answer())
  }

  const pause = (ms: number) => world.clock.sleep(ms, closing.signal).catch(() => {})

  /** One assignment step at a time. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work, work)
    turn = result.catch(() => {})
    return result
  }

  function stopFeeds(): void {
    for (const feed of feeds.values()) feed.isAlive = false
  }

  async function settled(): Promise<void> {
    const enough = new AbortController()
    const all = Promise.all([...feeds.values()].map((feed) => feed.inHand.catch(() => {})))
    await Promise.race([all, world.clock.sleep(SETTLE_MS, enough.signal).catch(() => {})])
    enough.abort()
    feeds.clear()
  }

  async function giveUp(): Promise<void> {
    stopFeeds()
    await settled()
    const partitions = assigned
    assigned = []
    if (partitions.length > 0) await handlers.revoked(partitions).catch(() => {})
  }

  /** From owned partitions to running feeds, tried until it succeeds or the generation is over. */
  async function begin(mine: number): Promise<void> {
    const isOver = () => generation !== mine || closing.signal.aborted
    while (!isOver()) {
      try {
        const listed = await ask('list offsets', owned.join(), () => listLogs())
        if (isOver()) return
        const positions = listed.length === 0 ? new Map() : await handlers.assigned(listed)
        if (isOver()) return
        assigned = listed
        for (const partition of listed) {
          const start = positions.get(topicPartitionKey(partition))
          if (!start || start.at === 'none') continue
          const position = start.offset as number
          if (position < partition.logStart || position > partition.logEnd) handlers.outOfRange(partition, position)
          else startFeed(partition, position)
        }
        return
      } catch (error) {
        if (!isMillraceError(error)) throw error
        await pause(RETRY_MS)
      }
    }
  }

  function listLogs(): AssignedPartition[] {
    const { topicId, logs } = broker.topic()
    return logs
      .filter(({ partition }) => owned.includes(partition))
      .map((log) => ({ topic: TOPIC, topicId, partition: log.partition, logStart: log.logStart, logEnd: logEnd(log) }))
  }

  function startFeed(partition: AssignedPartition, position: number): void {
    const feed: Feed = { partition, position, isAlive: true, inHand: Promise.resolve(), lastAtEndMs: undefined }
    feeds.set(topicPartitionKey(partition), feed)
    void run(feed).catch((error: unknown) => {
      feed.isAlive = false
      world.log.warn('a receiver of records failed; starting again from its positions', { error })
      void pause(RETRY_MS).then(() => beginAgain())
    })
  }

  async function run(feed: Feed): Promise<void> {
    while (feed.isAlive && !closing.signal.aborted) {
      let fetched: Fetched
      try {
        fetched = await ask('fetch', `${feed.partition.partition} from ${feed.position}`, () => fetchFor(feed))
      } catch {
        await pause(RETRY_MS)
        continue
      }
      if (!feed.isAlive) return
      if (fetched.outcome === 'another topic') {
        await pause(EMPTY_WAIT_MS)
        continue
      }
      if (fetched.outcome === 'out of range') {
        feed.isAlive = false
        handlers.outOfRange({ ...feed.partition, logStart: fetched.logStart, logEnd: fetched.logEnd }, feed.position)
        return
      }
      if (fetched.records.length === 0) {
        feed.lastAtEndMs = world.clock.monotonicMs()
        await pause(EMPTY_WAIT_MS)
        continue
      }
      const block = blockOf(feed, fetched.records, fetched.logEnd)
      feed.inHand = handlers.block(block)
      await feed.inHand
      feed.position = block.nextOffset
    }
  }

  function fetchFor(feed: Feed): Fetched {
    const { topicId, logs } = broker.topic()
    if (topicId !== feed.partition.topicId) return { outcome: 'another topic' }
    const log = logs[feed.partition.partition]
    const end = logEnd(log)
    if (feed.position < log.logStart || feed.position > end) {
      return { outcome: 'out of range', logStart: log.logStart, logEnd: end }
    }
    const from = feed.position - log.logStart
    const count = 1 + Math.floor(universe.scheduler.random.float() * BLOCK_RECORDS_MAX)
    const records = log.records.slice(from, from + count)
    log.fetchedTo = Math.max(log.fetchedTo, feed.position + records.length)
    return { outcome: 'records', records, logEnd: end }
  }

  function beginAgain(): Promise<void> {
    again ??= inTurn(async () => {
      again = undefined
      if (closing.signal.aborted) return
      stopFeeds()
      await settled()
      await begin(generation)
    })
    return again
  }

  async function membership(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        const joined = await ask('join', '', () => broker.join(process.id))
        generation = joined.generation
        owned = joined.partitions
        void inTurn(() => begin(joined.generation))
        await whileMember(joined.generation)
        stopFeeds()
        generation = -2
        await inTurn(giveUp)
      } catch (error) {
        if (!isMillraceError(error)) throw error
        await pause(RETRY_MS)
      }
    }
  }

  /** Returns when the group has moved on. */
  async function whileMember(mine: number): Promise<void> {
    while (!closing.signal.aborted) {
      await pause(HEARTBEAT_MS)
      const beat = await ask('heartbeat', '', () => ({
        generation: broker.heartbeat(process.id),
        topicId: broker.topic().topicId,
      })).catch(() => undefined)
      if (!beat) continue
      if (beat.generation !== mine) return
      if (assigned.some((each) => each.topicId !== beat.topicId)) {
        await inTurn(giveUp)
        await beginAgain()
      }
    }
  }

  return {
    async start() {
      await membership()
    },
    pause() {},
    resume() {},
    restart: (partition) =>
      assigned.some((each) => topicPartitionKey(each) === topicPartitionKey(partition))
        ? beginAgain()
        : Promise.resolve(),
    commitAdvisory: async () => {},
    assignments: () => assigned,
    lastAtEndMs: (partition) => feeds.get(topicPartitionKey(partition))?.lastAtEndMs,
    async close() {
      closing.abort()
      await inTurn(giveUp)
      await ask('leave', '', () => broker.leave(process.id)).catch(() => {})
    },
  }
}

function blockOf(feed: Feed, records: readonly LogRecord[], end: number): RecordBlock {
  const there = records.filter(({ kind }) => kind !== 'aborted' && kind !== 'hole')
  const count = there.length
  const values = there.map(({ value }) => TEXT.encode(value))
  // A record without headers has their count, 0, behind its value.
  const bytes = new Uint8Array(values.reduce((sum, value) => sum + value.length + 1, 0))
  const block = {
    topic: feed.partition.topic,
    topicId: feed.partition.topicId,
    partition: feed.partition.partition,
    count,
    bytes,
    offsets: Float64Array.from(there, ({ offset }) => offset),
    timestamps: new Float64Array(count).fill(Number.NaN),
    keyStarts: new Int32Array(count).fill(-1),
    keyEnds: new Int32Array(count).fill(-1),
    valueStarts: new Int32Array(count),
    valueEnds: new Int32Array(count),
    headerStarts: new Int32Array(count),
    headerEnds: new Int32Array(count),
    startOffset: feed.position,
    nextOffset: feed.position + records.length,
    filtered: records.filter(({ kind }) => kind === 'aborted').length,
    logEnd: end,
  }
  let at = 0
  values.forEach((value, index) => {
    bytes.set(value, at)
    block.valueStarts[index] = there[index].kind === 'tombstone' ? -1 : at
    at += value.length
    block.valueEnds[index] = at
    block.headerStarts[index] = at
    at += 1
    block.headerEnds[index] = at
  })
  return block
}
