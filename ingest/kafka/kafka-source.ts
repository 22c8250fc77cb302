/**
 * Records of Kafka topics as blocks of typed arrays: no object per record. `fetch-source.ts` is our own fetch and
 * record-batch walk; `stream-source.ts` the client library's stream, for comparison row for row.
 *
 * The owner keeps positions (the catalog's coverage), never the source: on every assignment the source asks where to
 * start, and forgets a topic-partition when it is revoked. Reads are read_committed: up to the last stable offset,
 * without aborted transactions and control records.
 */
export type TopicPartition = {
  readonly topic: string
  /** Lower-case UUID text, as Kafka shows it in base64 or hex; changes when a topic is recreated. */
  readonly topicId: string
  readonly partition: number
}

/** Entries [0, count) are valid; a block is the receiver's until its promise resolves, then the arrays are reused. */
export type RecordBlock = TopicPartition & {
  readonly count: number
  readonly bytes: Uint8Array
  readonly offsets: Float64Array
  /** Milliseconds since epoch; NaN where the record has none (-1). */
  readonly timestamps: Float64Array
  /** Positions in `bytes`; start = -1 where the key is null. */
  readonly keyStarts: Int32Array
  readonly keyEnds: Int32Array
  /** start = -1 for a tombstone. */
  readonly valueStarts: Int32Array
  readonly valueEnds: Int32Array
  /** The headers as they lie in the record, their count first: `record-headers.ts` reads them. */
  readonly headerStarts: Int32Array
  readonly headerEnds: Int32Array
  /** Consumed half-open [startOffset, nextOffset): wider than the records where the log has holes. May hold count 0. */
  readonly startOffset: number
  readonly nextOffset: number
  /** Control and aborted records skipped in the range. */
  readonly filtered: number
  /** Last stable offset when this block was fetched; nextOffset >= logEnd means caught up. */
  readonly logEnd: number
}

/** Record batches of one topic-partition as they came: nothing but their headers was looked at. */
export type FetchedRecords = TopicPartition & {
  /** Whole batches, the first one perhaps from before `startOffset`. The receiver's until its promise resolves. */
  readonly batches: Uint8Array
  readonly aborted: readonly AbortedTransaction[]
  /** Offsets [startOffset, nextOffset) by the headers. `nextOffset` = `startOffset`: only the walk can tell what is wrong. */
  readonly startOffset: number
  readonly nextOffset: number
  /** Last stable offset when it was fetched. */
  readonly logEnd: number
}

export type AbortedTransaction = { readonly producerId: bigint; readonly firstOffset: number }

/** How far the receiver took fetched records: to their end, or up to a damaged batch. */
export type Delivered = { readonly nextOffset: number; readonly damage: Error | undefined }

export type StartPosition =
  | { readonly at: 'offset'; readonly offset: number }
  | { readonly at: 'earliest' | 'latest' }
  /** The owner does not want this one (yet): not fetched until `start` is called for it. */
  | { readonly at: 'none' }

export type AssignedPartition = TopicPartition & { readonly logStart: number; readonly logEnd: number }

export type KafkaSourceHandlers = {
  /** Called on every (re)assignment for all partitions now assigned. The source resolves earliest/latest itself by logStart/logEnd. */
  assigned(partitions: readonly AssignedPartition[]): Promise<ReadonlyMap<string, StartPosition>>
  /** Awaited before the group moves on where the client allows; blocks of these may not arrive afterwards. */
  revoked(partitions: readonly TopicPartition[]): Promise<void>
  /**
   * One block after the other per topic-partition. Back-pressure: the source fetches no more than `fetchBytesMax` ahead of
   * resolved promises.
   */
  block(block: RecordBlock): Promise<void>
  /**
   * Instead of `block`, for a receiver that walks over batches itself: several of one topic-partition may be in its hands at
   * once, given in the order of their offsets, and it takes them in that order. `before` is the answer to those just before
   * these in the same assignment: when it ended earlier (damage), these are void, and come again.
   */
  records?(fetched: FetchedRecords, before: Promise<Delivered> | undefined): Promise<Delivered>
  /** The position is outside the log (truncation or retention). The partition stays stopped. */
  outOfRange(partition: AssignedPartition, position: number): void
  /** Broker trouble and its end, for health. */
  trouble(reason: string | undefined): void
}

export type KafkaSource = {
  /** Joins the group and begins. Rejects only for settings errors; an absent broker is retried for ever. */
  start(): Promise<void>
  pause(): void
  resume(): void
  /**
   * Ask `assigned` again (after a stale commit): for all that is assigned, as always, since a position lives as long as
   * one assignment. Blocks of old positions do not arrive any more.
   */
  restart(partition: TopicPartition): Promise<void>
  /** Advisory, for lag displays: group offsets. Never read back. */
  commitAdvisory(positions: readonly (TopicPartition & { readonly offset: number })[]): Promise<void>
  assignments(): readonly AssignedPartition[]
  /** Where the assigned logs begin and end now, asked of the broker; those it does not tell are left out. */
  currentEnds?(): Promise<readonly AssignedPartition[]>
  /**
   * Monotonic milliseconds when a reply last said that this partition's log ends at its position, all before delivered;
   * undefined: not yet. A broker that does not answer says nothing, so this grows old.
   */
  lastAtEndMs(partition: TopicPartition): number | undefined
  /** Leaves the group. */
  close(): Promise<void>
}

export function topicPartitionKey(partition: { readonly topic: string; readonly partition: number }): string {
  return `${partition.topic}/${partition.partition}`
}
