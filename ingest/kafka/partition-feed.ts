/**
 * One topic-partition between fetch and receiver: what was fetched is cut into sets of batches and handed out at once, in
 * the order of the offsets. The receiver may have several in its hands; what is ahead of it is what it has not delivered, and the
 * fetcher asks for more only while that is little.
 *
 * `delivered` is where the receiver stands, `fetchFrom` where the fetcher goes on. A damaged batch makes everything behind it
 * void and is fetched once more; damaged again at the same offset, the topic-partition stops. A feed lives for one assignment:
 * after `stop` nothing goes out, and the next assignment makes another feed with a position of its own.
 */
import type { FetchedPartition } from './fetch-request.ts'
import type { AssignedPartition, Delivered, FetchedRecords } from './kafka-source.ts'
import { topicPartitionKey } from './kafka-source.ts'
import { splitRecords } from './record-sets.ts'
import type { HeldReply } from './reply-memory.ts'

type InFeed = {
  readonly fetched: FetchedRecords
  readonly held: HeldReply
  /** What is before it was damaged: it is fetched again. */
  isVoid: boolean
}

export type FeedHandlers = {
  records(fetched: FetchedRecords, before: Promise<Delivered> | undefined): Promise<Delivered>
  /** Room again. */
  delivered(): void
  /** It stopped for good. */
  damaged(feed: PartitionFeed, error: Error, stopped: boolean): void
  /** The receiver threw. */
  refused(feed: PartitionFeed, error: unknown): void
}

export class PartitionFeed {
  readonly partition: AssignedPartition
  readonly key: string
  readonly #handlers: FeedHandlers
  /** Not handed out, since the source is paused. */
  #waiting: InFeed[] = []
  readonly #inHand = new Map<InFeed, Promise<void>>()
  /** The answer to what was handed out last. */
  #last: Promise<Delivered> | undefined
  #damagedAt = -1
  #paused = false
  alive = true
  delivered: number
  fetchFrom: number
  lastFetchedEpoch = -1
  /** Bytes that are not delivered, as fetched. */
  waitingBytes = 0
  /** Size of a batch that did not fit the last reply; 0: none. */
  cutBatchBytes = 0
  leader = -1
  leaderEpoch = -1
  retryAtMs = 0
  /** When an empty reply last said that the log ends where the receiver stands. */
  lastAtEndMs: number | undefined
  failures = 0

  constructor(feed: { partition: AssignedPartition; position: number; handlers: FeedHandlers }) {
    this.partition = feed.partition
    this.key = topicPartitionKey(feed.partition)
    this.delivered = feed.position
    this.fetchFrom = feed.position
    this.#handlers = feed.handlers
  }

  /** An empty reply to a question from `asked`: nothing is behind it. */
  noteEmpty(asked: number, logEnd: number, nowMs: number): void {
    if (this.alive && asked === this.delivered && asked === this.fetchFrom && logEnd <= asked) this.lastAtEndMs = nowMs
  }

  /** Takes what a reply brought for this topic-partition, asked for from `asked`. */
  take(asked: number, buffer: Buffer, part: FetchedPartition, held: HeldReply): void {
    if (!this.alive || asked !== this.fetchFrom || part.end === part.start) return
    const { sets, nextOffset, leaderEpoch, cutBatchBytes } = splitRecords(buffer, part, asked)
    this.cutBatchBytes = cutBatchBytes
    this.fetchFrom = nextOffset
    if (leaderEpoch >= 0) this.lastFetchedEpoch = leaderEpoch
    const { topic, topicId, partition } = this.partition
    const logEnd = part.lastStableOffset >= 0 ? part.lastStableOffset : part.highWatermark
    for (const { start, end, ...offsets } of sets) {
      held.hold()
      this.waitingBytes += end - start
      const batches = buffer.subarray(start, end)
      const fetched = { topic, topicId, partition, batches, aborted: part.aborted, ...offsets, logEnd }
      this.#waiting.push({ fetched, held, isVoid: false })
    }
    this.#handOut()
  }

  pause(paused: boolean): void {
    this.#paused = paused
    if (!paused) this.#handOut()
  }

  stop(): void {
    this.alive = false
    this.#clear()
  }

  /** Until the receiver has resolved what it was given. */
  async settled(): Promise<void> {
    while (this.#inHand.size > 0) await Promise.all(this.#inHand.values())
  }

  #handOut(): void {
    if (this.#paused || !this.alive) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const each of waiting) this.#inHand.set(each, this.#give(each))
  }

  async #give(each: InFeed): Promise<void> {
    try {
      const answer = this.#handlers.records(each.fetched, this.#last)
      this.#last = answer
      const { nextOffset, damage } = await answer
      if (!this.alive || each.isVoid) return
      this.delivered = nextOffset
      if (this.delivered > this.#damagedAt) this.#damagedAt = -1
      if (damage) this.#failed(damage)
    } catch (error) {
      if (!this.alive || each.isVoid) return
      this.stop()
      this.#handlers.refused(this, error)
    } finally {
      this.#inHand.delete(each)
      this.#drop(each)
    }
  }

  #failed(damage: Error): void {
    const again = this.#damagedAt === this.delivered
    this.#damagedAt = this.delivered
    if (again) this.stop()
    else {
      this.#clear()
      this.fetchFrom = this.delivered
      this.lastFetchedEpoch = -1
    }
    this.#handlers.damaged(this, damage, again)
  }

  #drop({ fetched, held }: InFeed): void {
    this.waitingBytes -= fetched.batches.length
    held.release()
    this.#handlers.delivered()
  }

  #clear(): void {
    const waiting = this.#waiting
    this.#waiting = []
    this.#last = undefined
    for (const each of this.#inHand.keys()) each.isVoid = true
    for (const each of waiting) this.#drop(each)
  }
}
