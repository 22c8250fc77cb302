/**
 * What a source hands out → rows of every table, in one go: on this thread, whichever it is.
 *
 *   batches as fetched ─▶ CRC, unpack, walk ─▶ blocks ─▶ BlockDecoder ─▶ pieces ─▶ added up
 *   a block            ─────────────────────────────────▶ BlockDecoder ─▶ pieces
 *
 * A damaged batch ends what is decoded before it, and is told. A block that needs something ends everything: nothing of the
 * unit is kept, and its owner gives the whole again with another plan.
 */
import { isMillraceError } from '../../schemas/errors.ts'
import type { BlockDecoder, DecodedBlock, DecodedPiece, DecodeNeeds } from '../decoder/decode-plan.ts'
import type { FetchedRecords, RecordBlock } from '../kafka/kafka-source.ts'
import { topicPartitionKey } from '../kafka/kafka-source.ts'
import { RecordArrays } from '../kafka/record-arrays.ts'
import { BatchWalk } from '../kafka/record-batch.ts'
import { releaseBatch } from '../open-tick.ts'

/** Consumed together: the offsets [from, nextOffset) of one topic-partition. */
export type SourceUnit = RecordBlock | FetchedRecords

export type DecodedUnit = Omit<DecodedBlock, 'kind'> & {
  readonly kind: 'decoded'
  /** Records from the wanted offset on. */
  readonly records: number
  /** Control and aborted records among the offsets. */
  readonly skipped: number
  /** Of the values, as they came. */
  readonly valueBytes: number
  /** Where the next unit goes on: before a damaged batch. */
  readonly nextOffset: number
  readonly damage: Error | undefined
}

export type UnitQuestion = {
  readonly unit: SourceUnit
  /** The first offset that is wanted. */
  readonly from: number
  readonly source: string
  readonly arrivedMicros: number
  /** See `BlockDecoder.decode`. */
  readonly isFinal: boolean
}

/** Used again for every unit that this thread walks over. */
const arrays = new RecordArrays()

/** Throws only for bugs. */
export function decodeUnit(
  decoder: BlockDecoder,
  question: UnitQuestion,
  unpackedBytesMax: number,
): DecodedUnit | DecodeNeeds {
  const { unit } = question
  return 'batches' in unit
    ? decodeFetched(decoder, question, unit, unpackedBytesMax)
    : decodeBlock(decoder, question, unit)
}

function decodeBlock(
  decoder: BlockDecoder,
  { from, source, arrivedMicros, isFinal }: UnitQuestion,
  block: RecordBlock,
): DecodedUnit | DecodeNeeds {
  let first = 0
  while (first < block.count && block.offsets[first] < from) first += 1
  const decoded = decoder.decode(block, first, source, arrivedMicros, isFinal)
  if (decoded.kind === 'needs') return decoded
  const records = block.count - first
  // Of a block that is covered in part, what was skipped before it is not known apart from what was skipped after.
  const skipped = Math.min(block.filtered, block.nextOffset - from - records)
  const valueBytes = bytesOfValues(block, first)
  return { ...decoded, records, skipped, valueBytes, nextOffset: block.nextOffset, damage: undefined }
}

function decodeFetched(
  decoder: BlockDecoder,
  { from, source, arrivedMicros, isFinal }: UnitQuestion,
  fetched: FetchedRecords,
  unpackedBytesMax: number,
): DecodedUnit | DecodeNeeds {
  const { batches, topic, topicId, partition, logEnd } = fetched
  const walk = new BatchWalk({
    buffer: Buffer.from(batches.buffer, batches.byteOffset, batches.length),
    start: 0,
    end: batches.length,
    position: from,
    aborted: fetched.aborted,
    name: topicPartitionKey(fetched),
    unpackedBytesMax,
  })
  const pieces: DecodedPiece[] = []
  const sum = { records: 0, skipped: 0, valueBytes: 0, dead: 0, filtered: 0, unknownKeys: 0, nextOffset: from }
  let deadReason: string | undefined
  let damage: Error | undefined
  try {
    while (walk.next(arrays)) {
      const block = cutBlock({ ...arrays.view(), topic, topicId, partition, logEnd }, fetched.nextOffset)
      const decoded = decoder.decode(block, 0, source, arrivedMicros, isFinal)
      if (decoded.kind === 'needs') return decoded
      for (const piece of decoded.pieces) pieces.push(piece)
      sum.records += block.count
      sum.skipped += block.filtered
      sum.valueBytes += bytesOfValues(block, 0)
      sum.dead += decoded.dead
      sum.filtered += decoded.filtered
      sum.unknownKeys += decoded.unknownKeys
      deadReason ??= decoded.deadReason
      sum.nextOffset = block.nextOffset
      if (block.nextOffset >= fetched.nextOffset) break
    }
    // Compaction may have taken the last offsets away.
    sum.nextOffset = Math.max(sum.nextOffset, fetched.nextOffset)
  } catch (error) {
    if (!isMillraceError(error, 'record-damaged')) throw error
    damage = error
  }
  return { kind: 'decoded', pieces, ...sum, deadReason, damage }
}

function bytesOfValues({ count, valueStarts, valueEnds }: RecordBlock, first: number): number {
  let bytes = 0
  // Of a tombstone both are -1.
  for (let index = first; index < count; index += 1) bytes += valueEnds[index] - valueStarts[index]
  return bytes
}

/** Of a result that nobody takes. */
export function releasePieces(result: DecodedUnit | DecodeNeeds): void {
  if (result.kind === 'decoded') for (const { batch } of result.pieces) releaseBatch(batch)
}

/** Nothing at or behind `until`. */
export function cutUnit(unit: SourceUnit, until: number): SourceUnit {
  if ('batches' in unit) return { ...unit, nextOffset: Math.min(unit.nextOffset, Math.max(until, unit.startOffset)) }
  return cutBlock(unit, until)
}

/** What the broker skipped in the block is not known apart from what it skipped behind. */
function cutBlock(block: RecordBlock, until: number): RecordBlock {
  if (block.nextOffset <= until) return block
  let count = block.count
  while (count > 0 && block.offsets[count - 1] >= until) count -= 1
  return { ...block, count, nextOffset: Math.max(until, block.startOffset), filtered: 0 }
}
