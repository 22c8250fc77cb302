/**
 * Fetch, version 13 (topics by id), without a fetch session: each request names all it wants. The reply's records stay
 * where they are in the reply; `FetchedPartition` only says where.
 *
 * Reads are read_committed. With the leader epoch of the last batch read, the broker says (`diverged`) when its log is
 * not the one that was read: records were lost in an unclean election and others written in their place.
 */
import type { BrokerLink, ReplyMemory } from './client.ts'
import type { AbortedTransaction } from './kafka-source.ts'
import { WireReader, WireWriter } from './wire.ts'

const FETCH = 1
const FETCH_VERSION = 13
const READ_COMMITTED = 1
const DIVERGING_EPOCH_TAG = 0

export type WantedPartition = {
  readonly topicId: string
  readonly partition: number
  readonly leaderEpoch: number
  readonly offset: number
  /** -1: unknown. */
  readonly lastFetchedEpoch: number
  readonly bytesMax: number
}

export type FetchedPartition = {
  readonly topicId: string
  readonly partition: number
  readonly errorCode: number
  readonly highWatermark: number
  readonly lastStableOffset: number
  readonly logStart: number
  readonly aborted: readonly AbortedTransaction[]
  readonly diverged: boolean
  /** Records are [start, end) of the reply. */
  readonly start: number
  readonly end: number
}

export type FetchReply = {
  readonly errorCode: number
  readonly buffer: Buffer
  readonly partitions: readonly FetchedPartition[]
}

export async function requestFetch(
  link: BrokerLink,
  wanted: readonly WantedPartition[],
  limits: { waitMs: number; bytesMin: number; bytesMax: number },
  memory: ReplyMemory,
): Promise<FetchReply> {
  const body = new WireWriter(256 + wanted.length * 64)
    .int32(-1)
    .int32(limits.waitMs)
    .int32(limits.bytesMin)
    .int32(limits.bytesMax)
    .int8(READ_COMMITTED)
    .int32(0)
    .int32(-1)
  // The order of topics is the order of the wish list: whoever is first gets its batch whole, whatever its size.
  body.compactArray([...Map.groupBy(wanted, (each) => each.topicId)], ([topicId, partitions]) => {
    body.uuid(topicId)
    body.compactArray(partitions, (each) =>
      body
        .int32(each.partition)
        .int32(each.leaderEpoch)
        .int64(each.offset)
        .int32(each.lastFetchedEpoch)
        .int64(-1)
        .int32(each.bytesMax)
        .noTags(),
    )
    body.noTags()
  })
  body
    .compactArray([], () => {})
    .compactString('')
    .noTags()
  return parseFetchReply(await link.request(FETCH, FETCH_VERSION, body.bytes(), memory))
}

export function parseFetchReply(buffer: Buffer): FetchReply {
  const reader = new WireReader(buffer)
  reader.int32()
  const errorCode = reader.int16()
  reader.int32()
  const partitions: FetchedPartition[] = []
  reader.compactArray(() => {
    const topicId = reader.uuid()
    reader.compactArray(() => partitions.push(readPartition(reader, topicId)))
    reader.skipTags()
  })
  return { errorCode, buffer, partitions }
}

function readPartition(reader: WireReader, topicId: string): FetchedPartition {
  const partition = reader.int32()
  const errorCode = reader.int16()
  const highWatermark = reader.int53()
  const lastStableOffset = reader.int53()
  const logStart = reader.int53()
  const aborted = reader.compactArray(() => {
    const transaction = { producerId: reader.int64(), firstOffset: reader.int53() }
    reader.skipTags()
    return transaction
  })
  reader.int32()
  const length = Math.max(reader.unsignedVarint() - 1, 0)
  const start = reader.skip(length)
  const diverged = readDiverged(reader)
  return {
    topicId,
    partition,
    errorCode,
    highWatermark,
    lastStableOffset,
    logStart,
    aborted,
    diverged,
    start,
    end: start + length,
  }
}

function readDiverged(reader: WireReader): boolean {
  let diverged = false
  for (let left = reader.unsignedVarint(); left > 0; left--) {
    const tag = reader.unsignedVarint()
    const length = reader.unsignedVarint()
    const start = reader.skip(length)
    // Epoch and end offset of the log as the broker has it; -1 where it has nothing to say.
    if (tag === DIVERGING_EPOCH_TAG && length >= 12) diverged = reader.buffer.readInt32BE(start) >= 0
  }
  return diverged
}
