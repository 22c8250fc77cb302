/**
 * The fetch loop of one broker, for all topic-partitions it leads: one request at a time, the next one while the receiver
 * still works on the last, as long as what waits is below this broker's share of `fetchBytesMax`.
 *
 * Fair: each request begins its list with another topic-partition, since the broker fills a reply in list order. A batch
 * larger than asked for is asked for again with room for it, first in the list, so that it comes whole.
 * A topic-partition with enough waiting is left out; as that may change any moment, such a request does not wait.
 *
 * What can fail: the broker goes away (back-off, trouble, metadata again, for ever), a topic-partition moves, is gone or
 * was truncated: `failed` says so and the owner decides.
 */
import type { World } from '../../runtime/world.ts'
import { type Bell, createBell } from './bell.ts'
import { addressText, type BrokerLink } from './client.ts'
import type { Cluster } from './cluster.ts'
import { KAFKA_ERRORS } from './error-codes.ts'
import { type FetchedPartition, type FetchReply, requestFetch } from './fetch-request.ts'
import type { PartitionFeed } from './partition-feed.ts'
import type { ReplyPool } from './reply-memory.ts'

const PARTITION_BYTES_MIN = 256 * 1024
const REQUEST_BYTES_MIN = 64 * 1024
/** A reply comes in small pieces that lie about until it is whole: larger ones cost memory and save nothing. */
const REPLY_BYTES_MAX = 2 * 1024 * 1024
/** A batch beyond this was never accepted by a broker: its length is damaged. */
const BATCH_BYTES_MAX = 1024 * 1024 * 1024
const FULL_POLL_MS = 20
const IDLE_POLL_MS = 1_000
/** After a reply below this, wait a little: at low rates fewer, larger replies cost less, and a flush takes longer. */
const SMALL_REPLY_BYTES = 32 * 1024
const SMALL_REPLY_PAUSE_MS = 5

export type FetchLimits = {
  readonly fetchBytesMax: number
  readonly fetchWaitMs: number
  readonly retryMs: number
  readonly retryMaxMs: number
}

export type FetcherOwner = {
  feedsOf(nodeId: number): readonly PartitionFeed[]
  /** Brokers that share the limit. */
  fetcherCount(): number
  isPaused(): boolean
  failed(feed: PartitionFeed, part: FetchedPartition): void
  /** The first answer without an error after failures. */
  recovered(feed: PartitionFeed): void
  trouble(reason: string | undefined): void
  refreshMetadata(): void
}

export type LeaderFetcher = {
  readonly nodeId: number
  wake(): void
  /** Returns when aborted. */
  run(signal: AbortSignal): Promise<void>
}

export function createLeaderFetcher(components: {
  nodeId: number
  cluster: Cluster
  world: World
  limits: FetchLimits
  replies: ReplyPool
  owner: FetcherOwner
}): LeaderFetcher {
  const { nodeId, cluster, world, limits, replies, owner } = components
  const { clock } = world
  const bell: Bell = createBell(clock)
  let link: BrokerLink | undefined
  let turn = 0

  /** Undefined: nothing to ask for now. */
  function plan() {
    const feeds = owner.feedsOf(nodeId).filter((feed) => feed.alive)
    if (feeds.length === 0 || owner.isPaused()) return undefined
    const share = Math.max(limits.fetchBytesMax / owner.fetcherCount(), REQUEST_BYTES_MIN * 2)
    const waiting = feeds.reduce((sum, feed) => sum + feed.waitingBytes, 0)
    const room = share - waiting
    const partitionBytes = Math.min(Math.max(share / feeds.length, PARTITION_BYTES_MIN), share / 2)
    const now = clock.monotonicMs()
    const wanting = feeds.filter((feed) => feed.waitingBytes <= partitionBytes / 2 && feed.retryAtMs <= now)
    if (wanting.length === 0 || (room < REQUEST_BYTES_MIN && waiting > 0)) return undefined
    turn = (turn + 1) % wanting.length
    const rotated = [...wanting.slice(turn), ...wanting.slice(0, turn)]
    const cut = rotated.filter((feed) => feed.cutBatchBytes > 0)
    const inOrder = cut.length === 0 ? rotated : [...cut, ...rotated.filter((feed) => feed.cutBatchBytes === 0)]
    return {
      leftOut: wanting.length < feeds.length,
      bytesMax: Math.floor(Math.max(Math.min(room, share / 2, REPLY_BYTES_MAX), cut[0]?.cutBatchBytes ?? 0)),
      wanted: inOrder.map((feed) => ({
        feed,
        offset: feed.fetchFrom,
        topicId: feed.partition.topicId,
        partition: feed.partition.partition,
        leaderEpoch: feed.leaderEpoch,
        lastFetchedEpoch: feed.lastFetchedEpoch,
        bytesMax: Math.floor(Math.max(partitionBytes, Math.min(feed.cutBatchBytes, BATCH_BYTES_MAX))),
      })),
    }
  }

  async function connected(): Promise<BrokerLink> {
    if (link?.isOpen()) return link
    const address = cluster.brokerAddress(nodeId)
    if (!address) throw new Error(`broker ${nodeId} is not in the cluster's metadata`)
    link = await cluster.ownLink(address)
    return link
  }

  async function fetchOnce(request: NonNullable<ReturnType<typeof plan>>): Promise<void> {
    const held = replies.take()
    try {
      const reply = await requestFetch(
        await connected(),
        request.wanted,
        { waitMs: request.leftOut ? 0 : limits.fetchWaitMs, bytesMin: 1, bytesMax: request.bytesMax },
        held.memory,
      )
      owner.trouble(undefined)
      if (reply.errorCode !== KAFKA_ERRORS.none) throw new Error(`fetch failed with error ${reply.errorCode}`)
      const records = spread(request, reply)
      if (records === 0 && request.leftOut) await bell.wait(FULL_POLL_MS)
      else if (records < SMALL_REPLY_BYTES) await clock.sleep(SMALL_REPLY_PAUSE_MS)
    } finally {
      held.release()
    }

    /** Gives each feed its part; gives the bytes of records. */
    function spread(asked: typeof request, reply: FetchReply): number {
      const byKey = new Map(asked.wanted.map((each) => [`${each.topicId}/${each.partition}`, each]))
      let bytes = 0
      for (const part of reply.partitions) {
        const want = byKey.get(`${part.topicId}/${part.partition}`)
        if (!want?.feed.alive) continue
        bytes += part.end - part.start
        if (part.errorCode !== KAFKA_ERRORS.none || part.diverged) owner.failed(want.feed, part)
        else {
          if (want.feed.failures > 0) owner.recovered(want.feed)
          want.feed.failures = 0
          want.feed.retryAtMs = 0
          want.feed.take(want.offset, reply.buffer, part, held)
          if (part.end === part.start) {
            const logEnd = part.lastStableOffset >= 0 ? part.lastStableOffset : part.highWatermark
            want.feed.noteEmpty(want.offset, logEnd, clock.monotonicMs())
          }
        }
      }
      return bytes
    }
  }

  async function run(signal: AbortSignal): Promise<void> {
    let delayMs = limits.retryMs
    while (!signal.aborted) {
      const request = plan()
      if (!request) {
        await bell.wait(owner.feedsOf(nodeId).some((feed) => feed.retryAtMs > 0) ? FULL_POLL_MS : IDLE_POLL_MS)
        continue
      }
      try {
        await fetchOnce(request)
        delayMs = limits.retryMs
      } catch (error) {
        link?.close()
        link = undefined
        if (signal.aborted) return
        const address = cluster.brokerAddress(nodeId)
        const reason = error instanceof Error ? error.message : String(error)
        owner.trouble(reason)
        world.log.warn('cannot fetch from broker; trying again', {
          nodeId,
          broker: address && addressText(address),
          reason,
        })
        owner.refreshMetadata()
        await clock.sleep(delayMs * (0.75 + world.random.float() / 2), signal).catch(() => {})
        delayMs = Math.min(delayMs * 2, limits.retryMaxMs)
      }
    }
    link?.close()
  }

  return { nodeId, wake: bell.ring, run }
}
