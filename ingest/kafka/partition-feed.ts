/**
 * One topic-partition between fetch and receiver: what was fetched waits in a queue and goes out block by block, the next
 * one when the receiver resolved the last. So what is ahead of the receiver is what waits here, and the fetcher asks for
 * more only while that is little.
 *
 * `delivered` is where the receiver stands, `fetchFrom` where the fetcher goes on. A damaged batch throws the queue away
 * and is fetched once more; damaged again at the same offset, the topic-partition stops. A feed lives for one assignment:
 * after `stop` no block goes out, and the next assignment makes another feed with a position of its own.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isMillraceError } from '../../schemas/errors.ts'
import type { FetchedPartition } from './fetch-request.ts'
import type { AssignedPartition, RecordBlock } from './kafka-source.ts'
import { topicPartitionKey } from './kafka-source.ts'
import type { RecordArrays } from './record-arrays.ts'
import { BATCH_HEADER_BYTES, BatchWalk } from './record-batch.ts'
import type { HeldReply } from './reply-memory.ts'

const CUT_BATCH_BYTES_UNKNOWN = 1024 * 1024

type Fetched = {
  readonly asked: number
  readonly buffer: Buffer
  readonly part: FetchedPartition
  readonly held: HeldReply
}

export type FeedHandlers = {
  block(block: RecordBlock): Promise<void>
  /** Room again. */
  delivered(): void
  /** It stopped for good. */
  damaged(feed: PartitionFeed, error: Error, stopped: boolean): void
  /** The receiver threw. */
  refused(feed: PartitionFeed, error: unknown): void
}

export type ArraysPool = { take(): RecordArrays; give(arrays: RecordArrays): void }

export class PartitionFeed {
  readonly partition: AssignedPartition
  readonly key: string
  readonly #handlers: FeedHandlers
  readonly #arrays: ArraysPool
  readonly #unpackedBytesMax: number
  readonly #queue: Fetched[] = []
  #delivering: Promise<void> | undefined
  #damagedAt = -1
  #paused = false
  alive = true
  delivered: number
  fetchFrom: number
  lastFetchedEpoch = -1
  /** Bytes that wait, as fetched. */
  waitingBytes = 0
  /** Size of a batch that did not fit the last reply; 0: none. */
  cutBatchBytes = 0
  leader = -1
  leaderEpoch = -1
  retryAtMs = 0
  /** When an empty reply last said that the log ends where the receiver stands. */
  lastAtEndMs: number | undefined
  failures = 0

  constructor(feed: {
    partition: AssignedPartition
    position: number
    handlers: FeedHandlers
    arrays: ArraysPool
    unpackedBytesMax: number
  }) {
    this.partition = feed.partition
    this.key = topicPartitionKey(feed.partition)
    this.delivered = feed.position
    this.fetchFrom = feed.position
    this.#handlers = feed.handlers
    this.#arrays = feed.arrays
    this.#unpackedBytesMax = feed.unpackedBytesMax
  }

  /** An empty reply to a question from `asked`: nothing is behind it. */
  noteEmpty(asked: number, logEnd: number, nowMs: number): void {
    if (this.alive && asked === this.delivered && asked === this.fetchFrom && logEnd <= asked) this.lastAtEndMs = nowMs
  }

  /** Takes what a reply brought for this topic-partition, asked for from `asked`. */
  take(asked: number, buffer: Buffer, part: FetchedPartition, held: HeldReply): void {
    if (!this.alive || asked !== this.fetchFrom || part.end === part.start) return
    this.#scan(buffer, part)
    if (this.fetchFrom === asked && this.cutBatchBytes > 0) return
    held.hold()
    this.#queue.push({ asked, buffer, part, held })
    this.waitingBytes += part.end - part.start
    this.#deliverSoon()
  }

  pause(paused: boolean): void {
    this.#paused = paused
    if (!paused) this.#deliverSoon()
  }

  stop(): void {
    this.alive = false
    this.#clear()
  }

  /** Until the receiver has resolved what it was given. */
  async settled(): Promise<void> {
    await this.#delivering
  }

  /** Where to go on, by the headers alone: the records are looked at when it is their turn. */
  #scan(buffer: Buffer, part: FetchedPartition): void {
    let at = part.start
    // Not even its length came: any room is better than the last.
    this.cutBatchBytes = part.end - part.start < 12 ? CUT_BATCH_BYTES_UNKNOWN : 0
    while (part.end - at >= 12) {
      const length = 12 + buffer.readInt32BE(at + 8)
      if (length > part.end - at) {
        if (at === part.start) this.cutBatchBytes = length
        return
      }
      if (length < BATCH_HEADER_BYTES || buffer[at + 16] !== 2) return
      const lastOffset =
        buffer.readInt32BE(at) * 0x1_0000_0000 + buffer.readUInt32BE(at + 4) + buffer.readInt32BE(at + 23)
      if (lastOffset >= this.fetchFrom) this.fetchFrom = lastOffset + 1
      this.lastFetchedEpoch = buffer.readInt32BE(at + 12)
      at += length
    }
  }

  #deliverSoon(): void {
    if (this.#delivering || this.#paused || this.#queue.length === 0) return
    this.#delivering = this.#deliver().finally(() => {
      this.#delivering = undefined
      this.#deliverSoon()
    })
  }

  async #deliver(): Promise<void> {
    let walk: BatchWalk | undefined
    const arrays = this.#arrays.take()
    try {
      while (this.alive && this.#queue.length > 0) {
        const fetched = this.#queue[0]
        if (fetched.asked > this.delivered) {
          this.#startOver()
          return
        }
        walk ??= new BatchWalk({
          buffer: fetched.buffer,
          start: fetched.part.start,
          end: fetched.part.end,
          position: this.delivered,
          aborted: fetched.part.aborted,
          name: this.key,
          unpackedBytesMax: this.#unpackedBytesMax,
        })
        if (!walk.next(arrays)) {
          walk = undefined
          this.#drop(fetched)
          continue
        }
        // The receiver may be given memory of a reply that the queue lets go meanwhile.
        fetched.held.hold()
        try {
          await this.#handlers.block(this.#blockOf(arrays, fetched.part))
        } finally {
          fetched.held.release()
        }
        if (!this.alive) return
        this.delivered = arrays.nextOffset
        if (this.delivered > this.#damagedAt) this.#damagedAt = -1
        await nextTurn()
        if (this.#paused) {
          // What is left of this reply is walked again from where the receiver stands.
          return
        }
      }
    } catch (error) {
      if (this.alive) this.#failed(error)
    } finally {
      this.#arrays.give(arrays)
    }
  }

  #blockOf(arrays: RecordArrays, part: FetchedPartition): RecordBlock {
    const { topic, topicId, partition } = this.partition
    return {
      topic,
      topicId,
      partition,
      count: arrays.count,
      bytes: arrays.bytes,
      offsets: arrays.offsets,
      timestamps: arrays.timestamps,
      keyStarts: arrays.keyStarts,
      keyEnds: arrays.keyEnds,
      valueStarts: arrays.valueStarts,
      valueEnds: arrays.valueEnds,
      headerStarts: arrays.headerStarts,
      headerEnds: arrays.headerEnds,
      startOffset: arrays.startOffset,
      nextOffset: arrays.nextOffset,
      filtered: arrays.filtered,
      logEnd: part.lastStableOffset >= 0 ? part.lastStableOffset : part.highWatermark,
    }
  }

  #failed(error: unknown): void {
    if (!isMillraceError(error, 'record-damaged')) {
      this.stop()
      this.#handlers.refused(this, error)
      return
    }
    const again = this.#damagedAt === this.delivered
    this.#damagedAt = this.delivered
    if (again) this.stop()
    else this.#startOver()
    this.#handlers.damaged(this, error, again)
  }

  #startOver(): void {
    this.#clear()
    this.fetchFrom = this.delivered
    this.lastFetchedEpoch = -1
    this.#handlers.delivered()
  }

  #drop(fetched: Fetched): void {
    if (this.#queue[0] !== fetched) return
    this.#queue.shift()
    this.waitingBytes -= fetched.part.end - fetched.part.start
    fetched.held.release()
    this.#handlers.delivered()
  }

  #clear(): void {
    for (const { held } of this.#queue) held.release()
    this.#queue.length = 0
    this.waitingBytes = 0
  }
}
