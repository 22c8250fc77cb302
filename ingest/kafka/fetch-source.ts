/**
 * Records of Kafka topics by our own fetch requests and record-batch walk, on the client library's connections.
 *
 *   group ─▶ assigned topic-partitions ─▶ where logs begin and end ─▶ owner: start positions ─▶ feeds
 *   leader fetchers ─▶ feeds ─▶ blocks, one after the other per topic-partition
 *   metadata now and then ─▶ leaders, new topic-partitions, recreated topics ─▶ the same again
 *
 * A position comes only from the owner and lives as long as one assignment; whatever ends it (rebalance, `restart`, a
 * recreated topic, a receiver that threw) makes new feeds from newly asked positions. If we stop anywhere, the owner's
 * coverage says where the next process goes on.
 *
 * What can fail is retried for ever with back-off and shown as trouble until it is over: broker away, leader moving,
 * topic not there (yet), damaged batches (once; then that topic-partition stops).
 */
import type { World } from '../../runtime/world.ts'
import { MillraceError } from '../../schemas/errors.ts'
import { createBell } from './bell.ts'
import { brokerClientOptions, type KafkaSecurity, parseBrokerAddress } from './client.ts'
import { createCluster, type TopicState } from './cluster.ts'
import { KAFKA_ERRORS, kafkaErrorText } from './error-codes.ts'
import type { FetchedPartition } from './fetch-request.ts'
import { createGroup } from './group.ts'
import type { AssignedTopic } from './group-protocol.ts'
import {
  type AssignedPartition,
  type KafkaSource,
  type KafkaSourceHandlers,
  type StartPosition,
  type TopicPartition,
  topicPartitionKey,
} from './kafka-source.ts'
import { createLeaderFetcher, type LeaderFetcher } from './leader-fetcher.ts'
import { listLogEnds } from './log-ends.ts'
import { PartitionFeed } from './partition-feed.ts'
import { createReplyPool, type ReplyPool } from './reply-memory.ts'
import { createTroubles } from './troubles.ts'
import { walkFetched } from './walk-fetched.ts'

/** `settings.kafka` of `schemas/settings.ts` fits; the rest has defaults. Times in milliseconds, sizes in bytes. */
export type KafkaSourceSettings = {
  readonly bootstrap: readonly string[]
  readonly clientId: string
  readonly security?: KafkaSecurity | undefined
  /** What may wait, as fetched, ahead of resolved blocks: of all topic-partitions together. */
  readonly fetchBytesMax: number
  readonly topicsRefreshMs: number
  readonly sessionTimeoutMs?: number
  readonly rebalanceTimeoutMs?: number
  readonly heartbeatMs?: number
  readonly fetchWaitMs?: number
  readonly connectTimeoutMs?: number
  readonly requestTimeoutMs?: number
  readonly retryMs?: number
  readonly retryMaxMs?: number
  /** A batch that unpacks to more is damaged. */
  readonly unpackedBytesMax?: number
}

const DEFAULTS = {
  sessionTimeoutMs: 15_000,
  rebalanceTimeoutMs: 45_000,
  heartbeatMs: 1_000,
  fetchWaitMs: 500,
  connectTimeoutMs: 5_000,
  requestTimeoutMs: 15_000,
  retryMs: 100,
  retryMaxMs: 5_000,
  unpackedBytesMax: 256 * 1024 * 1024,
} as const

/** How long what ends an assignment waits for blocks in the receiver's hands. */
const SETTLE_MS = 3_000
const METADATA_SPACING_MS = 100
const FEED_RETRY_MS = 200
/** Failures in a row of one topic-partition before they are called trouble: a leader moving takes a few. */
const FAILURES_QUIET = 5

type Tenure = { readonly topics: readonly AssignedTopic[]; readonly signal: AbortSignal }

export function createKafkaSource(components: {
  settings: KafkaSourceSettings
  world: World
  topics: readonly string[]
  groupId: string
  handlers: KafkaSourceHandlers
  /** Memory of fetch replies; default: of this source alone. */
  replies?: ReplyPool
}): KafkaSource {
  const { world, groupId, handlers } = components
  const settings = { ...DEFAULTS, ...withoutUndefined(components.settings) }
  const topics = [...new Set(components.topics)]
  if (topics.length === 0) throw new MillraceError('settings-invalid', 'a Kafka source needs at least one topic')
  if (settings.bootstrap.length === 0) throw new MillraceError('settings-invalid', 'kafka.bootstrap is empty')
  const bootstrap = settings.bootstrap.map(parseBrokerAddress)
  const cluster = createCluster(bootstrap, brokerClientOptions(settings))
  const closing = new AbortController()
  const replies = components.replies ?? createReplyPool(settings.fetchBytesMax)
  const metadataBell = createBell(world.clock)
  const troubles = createTroubles((reason) => handlers.trouble(reason))
  const feeds = new Map<string, PartitionFeed>()
  const fetchers = new Map<number, LeaderFetcher>()
  const receive = handlers.records ?? walkFetched((block) => handlers.block(block), settings.unpackedBytesMax)
  let assigned: readonly AssignedPartition[] = []
  let missing = new Set<string>()
  /** Topics that the cluster does not know. */
  let absent: readonly string[] = []
  let tenure: Tenure | undefined
  let turn: Promise<unknown> = Promise.resolve()
  let again: Promise<void> | undefined
  let paused = false
  let background: Promise<unknown> | undefined

  const group = createGroup({
    groupId,
    topics,
    times: settings,
    cluster,
    world,
    handlers: {
      assigned(given, signal) {
        tenure = { topics: given, signal }
        const mine = tenure
        void inTurn(() => begin(mine))
      },
      async revoked() {
        tenure = undefined
        stopFeeds()
        await inTurn(() => giveUp(assigned))
      },
      trouble: (reason) => troubles.set('group', reason),
    },
  })

  /** One assignment step at a time. */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work, work)
    turn = result.catch((error: unknown) => {
      world.log.error('a step of the assignment failed', { groupId, error })
    })
    return result
  }

  function stopFeeds(): void {
    for (const feed of feeds.values()) feed.stop()
  }

  async function settled(): Promise<void> {
    const all = Promise.all([...feeds.values()].map((feed) => feed.settled()))
    const enough = new AbortController()
    await Promise.race([all, world.clock.sleep(SETTLE_MS, enough.signal).catch(() => {})])
    enough.abort()
  }

  async function giveUp(partitions: readonly AssignedPartition[]): Promise<void> {
    stopFeeds()
    await settled()
    feeds.clear()
    troubles.clear('partition')
    assigned = []
    if (partitions.length === 0) return
    try {
      await handlers.revoked(partitions)
    } catch (error) {
      // The coverage decides who was first: the next owner is not harmed.
      world.log.warn('giving up topic-partitions failed', { groupId, error })
    }
  }

  /** From assigned topics to running feeds, tried until it succeeds or the assignment is over. */
  async function begin(mine: Tenure): Promise<void> {
    let delayMs = settings.retryMs
    const over = () => tenure !== mine || mine.signal.aborted || closing.signal.aborted
    while (!over()) {
      try {
        const listed = await listLogEnds({ cluster, world, topics, assigned: mine.topics, over })
        if (over()) return
        noteAbsent(cluster.topics())
        const positions =
          listed.partitions.length === 0 ? new Map<string, StartPosition>() : await handlers.assigned(listed.partitions)
        if (over()) {
          await giveUp(listed.partitions)
          return
        }
        assigned = listed.partitions
        missing = new Set(listed.missing)
        troubles.set('topics', missing.size === 0 ? undefined : `no leader yet for ${[...missing].join(', ')}`)
        troubles.set('assignment', undefined)
        // Its wait began when nothing was known to be missing.
        if (missing.size > 0 || absent.length > 0) metadataBell.ring()
        startFeeds(positions)
        return
      } catch (error) {
        if (over()) return
        const reason = messageOf(error)
        troubles.set('assignment', reason)
        world.log.warn('cannot begin with the assigned topic-partitions yet', { groupId, reason })
        const stop = AbortSignal.any([mine.signal, closing.signal])
        await world.clock.sleep(delayMs, stop).catch(() => {})
        delayMs = Math.min(delayMs * 2, settings.retryMaxMs)
      }
    }
  }

  function startFeeds(positions: ReadonlyMap<string, StartPosition>): void {
    for (const partition of assigned) {
      const start = positions.get(topicPartitionKey(partition)) ?? { at: 'none' }
      if (start.at === 'none') continue
      const position =
        start.at === 'offset' ? start.offset : start.at === 'earliest' ? partition.logStart : partition.logEnd
      if (position < partition.logStart || position > partition.logEnd) {
        handlers.outOfRange(partition, position)
        continue
      }
      const feed = new PartitionFeed({
        partition,
        position,
        handlers: {
          records: receive,
          delivered: () => fetchers.get(feed.leader)?.wake(),
          damaged: noteDamage,
          refused: noteRefusal,
        },
      })
      feed.pause(paused)
      feeds.set(feed.key, feed)
    }
    followLeaders(cluster.topics())
  }

  function followLeaders(states: ReadonlyMap<string, TopicState>): void {
    for (const feed of feeds.values()) {
      const known = states.get(feed.partition.topic)?.partitions.get(feed.partition.partition)
      if (!known || known.leader < 0) continue
      if (known.leader !== feed.leader) feed.retryAtMs = 0
      feed.leader = known.leader
      feed.leaderEpoch = known.leaderEpoch
      if (!fetchers.has(known.leader)) startFetcher(known.leader)
    }
    for (const fetcher of fetchers.values()) fetcher.wake()
  }

  /** It stays until close: a broker that leads nothing of ours is not asked anything. */
  function startFetcher(nodeId: number): void {
    const fetcher = createLeaderFetcher({
      nodeId,
      cluster,
      world,
      limits: settings,
      replies,
      owner: {
        feedsOf: (id) => [...feeds.values()].filter((feed) => feed.leader === id),
        fetcherCount: () => new Set([...feeds.values()].map((feed) => feed.leader)).size || 1,
        isPaused: () => paused,
        failed: partitionFailed,
        recovered: (feed) => troubles.set(`partition ${feed.key}`, undefined),
        trouble: (reason) => troubles.set(`broker ${nodeId}`, reason),
        refreshMetadata: metadataBell.ring,
      },
    })
    fetchers.set(nodeId, fetcher)
    void fetcher.run(closing.signal).catch((error: unknown) => {
      world.log.error('fetching from a broker ended', { nodeId, error })
      fetchers.delete(nodeId)
      metadataBell.ring()
    })
  }

  function partitionFailed(feed: PartitionFeed, part: FetchedPartition): void {
    feed.failures += 1
    feed.retryAtMs = world.clock.monotonicMs() + FEED_RETRY_MS
    if (part.diverged) {
      outOfRange(feed, part.logStart, part.lastStableOffset)
      return
    }
    if (part.errorCode === KAFKA_ERRORS.offsetOutOfRange) {
      void checkRange(feed)
      return
    }
    metadataBell.ring()
    if (feed.failures < FAILURES_QUIET) return
    troubles.set(`partition ${feed.key}`, `${feed.key}: ${kafkaErrorText(part.errorCode)}`)
  }

  /** The broker says so, but a new leader may not know its log's end yet: look before stopping. */
  async function checkRange(feed: PartitionFeed): Promise<void> {
    const { topic, partition, topicId } = feed.partition
    const over = () => !feed.alive || closing.signal.aborted
    try {
      const states = await cluster.refresh(topics)
      const assignedOne = [{ topic, partitions: [partition] }]
      const { partitions } = await listLogEnds({ cluster, world, topics, assigned: assignedOne, over })
      if (over() || states.get(topic)?.topicId !== topicId || partitions.length === 0) return
      const [{ logStart, logEnd }] = partitions
      if (feed.fetchFrom >= logStart && feed.fetchFrom <= logEnd) feed.lastFetchedEpoch = -1
      else outOfRange(feed, logStart, logEnd)
    } catch (error) {
      world.log.warn('cannot ask where the log begins and ends', { topicPartition: feed.key, reason: messageOf(error) })
    }
  }

  function outOfRange(feed: PartitionFeed, logStart: number, logEnd: number): void {
    if (!feed.alive) return
    // What was fetched before is still to be delivered.
    if (feed.waitingBytes > 0) return
    feed.stop()
    troubles.set(`partition ${feed.key}`, undefined)
    handlers.outOfRange({ ...feed.partition, logStart, logEnd }, feed.delivered)
  }

  function noteDamage(feed: PartitionFeed, error: Error, stopped: boolean): void {
    world.log.error(stopped ? 'damaged records; this topic-partition stops' : 'damaged records; fetching them again', {
      topicPartition: feed.key,
      error,
    })
    troubles.set(`partition ${feed.key}`, error.message)
  }

  function noteRefusal(feed: PartitionFeed, error: unknown): void {
    world.log.error('the receiver of records failed; starting again from its positions', {
      topicPartition: feed.key,
      error,
    })
    troubles.set(`partition ${feed.key}`, `${feed.key}: ${messageOf(error)}`)
    void world.clock
      .sleep(settings.retryMaxMs / 5, closing.signal)
      .then(beginAgain)
      .catch(() => {})
  }

  /** New positions for all that is assigned. Calls while one is waiting for its turn are one. */
  function beginAgain(): Promise<void> {
    again ??= inTurn(async () => {
      again = undefined
      const mine = tenure
      if (!mine || closing.signal.aborted) return
      stopFeeds()
      await settled()
      feeds.clear()
      troubles.clear('partition')
      await begin(mine)
    })
    return again
  }

  async function watchMetadata(): Promise<void> {
    let delayMs = settings.retryMs
    while (!closing.signal.aborted) {
      const isWaiting = missing.size > 0 || absent.length > 0
      await metadataBell.wait(isWaiting ? Math.min(settings.topicsRefreshMs, 1_000) : settings.topicsRefreshMs)
      if (closing.signal.aborted) return
      try {
        const states = await cluster.refresh(topics)
        troubles.set('metadata', undefined)
        delayMs = settings.retryMs
        await follow(states)
        await world.clock.sleep(METADATA_SPACING_MS, closing.signal).catch(() => {})
      } catch (error) {
        if (closing.signal.aborted) return
        troubles.set('metadata', messageOf(error))
        await world.clock.sleep(delayMs, closing.signal).catch(() => {})
        delayMs = Math.min(delayMs * 2, settings.retryMaxMs)
        metadataBell.ring()
      }
    }
  }

  /** Nothing else would say so: a group is content to share out no topic-partitions. */
  function noteAbsent(states: ReadonlyMap<string, TopicState>): void {
    absent = topics.filter((topic) => !states.has(topic))
    const names = absent.map((topic) => `topic "${topic}" does not exist`)
    troubles.set('absent', names.length === 0 ? undefined : `${names.join(', ')}; it is read as soon as it does`)
  }

  async function follow(states: ReadonlyMap<string, TopicState>): Promise<void> {
    noteAbsent(states)
    group.noteTopics(new Map([...states].map(([topic, state]) => [topic, state.partitions.size])))
    const gone = assigned.filter((each) => states.get(each.topic)?.topicId !== each.topicId)
    const back = [...missing].filter((key) => isLed(states, key))
    if (gone.length === 0 && back.length === 0) {
      followLeaders(states)
      return
    }
    if (gone.length > 0) {
      world.log.warn('topics were deleted or created anew', { topics: [...new Set(gone.map((each) => each.topic))] })
      await inTurn(async () => {
        if (tenure) await giveUp(assigned)
      })
    }
    await beginAgain()
  }

  function isLed(states: ReadonlyMap<string, TopicState>, key: string): boolean {
    const slash = key.lastIndexOf('/')
    const known = states.get(key.slice(0, slash))?.partitions.get(Number(key.slice(slash + 1)))
    return known !== undefined && known.leader >= 0
  }

  function setPaused(to: boolean): void {
    paused = to
    for (const feed of feeds.values()) feed.pause(to)
    for (const fetcher of fetchers.values()) fetcher.wake()
  }

  return {
    async start() {
      background ??= Promise.all([group.run(), watchMetadata()]).catch((error: unknown) => {
        world.log.error('the Kafka source ended', { groupId, error })
        handlers.trouble(messageOf(error))
      })
    },
    pause: () => setPaused(true),
    resume: () => setPaused(false),
    restart: (partition: TopicPartition) =>
      assigned.some((each) => topicPartitionKey(each) === topicPartitionKey(partition))
        ? beginAgain()
        : Promise.resolve(),
    async commitAdvisory(positions) {
      const held = new Set(assigned.map(topicPartitionKey))
      try {
        await group.commit(positions.filter((each) => held.has(topicPartitionKey(each))))
      } catch (error) {
        world.log.debug('group offsets not written', { groupId, reason: messageOf(error) })
      }
    },
    assignments: () => assigned,
    async currentEnds() {
      const wanted = tenure?.topics ?? []
      const over = () => closing.signal.aborted
      return (await listLogEnds({ cluster, world, topics, assigned: wanted, over })).partitions
    },
    lastAtEndMs: (partition) => feeds.get(topicPartitionKey(partition))?.lastAtEndMs,
    async close() {
      closing.abort()
      stopFeeds()
      metadataBell.ring()
      for (const fetcher of fetchers.values()) fetcher.wake()
      await group.close()
      cluster.close()
      await background
    },
  }
}

function withoutUndefined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
