/**
 * What a reply brought for one topic-partition, cut into sets of whole record batches by their headers alone: the records are
 * looked at where they are decoded. A set is small enough that several threads share a topic-partition, and large enough
 * that handing it over costs little beside its records.
 *
 * Aborted transactions are told for the whole part, and whose markers come first decides: such a part stays one set.
 */
import type { FetchedPartition } from './fetch-request.ts'
import { BATCH_HEADER_BYTES } from './record-batch.ts'

const SET_BYTES = 256 * 1024
const CUT_BATCH_BYTES_UNKNOWN = 1024 * 1024
const LENGTH_END = 12

export type RecordSet = {
  /** Bytes [start, end) of the reply. */
  readonly start: number
  readonly end: number
  readonly startOffset: number
  /** Behind its last batch; `startOffset` when its headers say nothing that can be followed. */
  readonly nextOffset: number
}

export type SplitRecords = {
  readonly sets: readonly RecordSet[]
  /** Where the next request goes on. */
  readonly nextOffset: number
  /** Leader epoch of the last whole batch; -1: there was none. */
  readonly leaderEpoch: number
  /** Size of a first batch that did not come whole; 0 when it did. */
  readonly cutBatchBytes: number
}

/** @param asked the offset that the request named: batches may begin before it */
export function splitRecords(
  buffer: Buffer,
  part: Pick<FetchedPartition, 'start' | 'end' | 'aborted'>,
  asked: number,
  setBytes = SET_BYTES,
): SplitRecords {
  const sets: RecordSet[] = []
  let nextOffset = asked
  let leaderEpoch = -1
  // Not even its length came: any room is better than the last.
  let cutBatchBytes = part.end - part.start < LENGTH_END ? CUT_BATCH_BYTES_UNKNOWN : 0
  let isBroken = false
  let setStart = part.start
  let setOffset = asked
  let at = part.start
  while (part.end - at >= LENGTH_END) {
    const length = LENGTH_END + buffer.readInt32BE(at + 8)
    if (length > part.end - at) {
      if (at === part.start) cutBatchBytes = length
      break
    }
    if (length < BATCH_HEADER_BYTES || buffer[at + 16] !== 2) {
      // The walk says what is wrong with it, after what is before it.
      isBroken = true
      break
    }
    if (at > setStart && at + length - setStart > setBytes && part.aborted.length === 0) {
      sets.push({ start: setStart, end: at, startOffset: setOffset, nextOffset })
      setStart = at
      setOffset = nextOffset
    }
    const lastOffset =
      buffer.readInt32BE(at) * 0x1_0000_0000 + buffer.readUInt32BE(at + 4) + buffer.readInt32BE(at + 23)
    if (lastOffset >= nextOffset) nextOffset = lastOffset + 1
    leaderEpoch = buffer.readInt32BE(at + LENGTH_END)
    at += length
  }
  if (at > setStart || isBroken) {
    sets.push({ start: setStart, end: isBroken ? part.end : at, startOffset: setOffset, nextOffset })
  }
  return { sets, nextOffset, leaderEpoch, cutBatchBytes: nextOffset === asked ? cutBatchBytes : 0 }
}
