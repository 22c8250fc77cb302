/**
 * Fetched record batches for a receiver of blocks: walked over on this thread, one block after the other per
 * topic-partition, each in its turn.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { isMillraceError } from '../../schemas/errors.ts'
import { type KafkaSourceHandlers, type RecordBlock, topicPartitionKey } from './kafka-source.ts'
import { RecordArrays } from './record-arrays.ts'
import { BatchWalk } from './record-batch.ts'

const ARRAYS_KEPT_MAX = 64

export function walkFetched(
  block: (block: RecordBlock) => Promise<void>,
  unpackedBytesMax: number,
): NonNullable<KafkaSourceHandlers['records']> {
  const spare: RecordArrays[] = []

  return async (fetched, before) => {
    const { batches, topic, topicId, partition, startOffset, logEnd } = fetched
    const reached = (await before)?.nextOffset ?? startOffset
    if (reached < startOffset) return { nextOffset: reached, damage: undefined }
    const walk = new BatchWalk({
      buffer: Buffer.from(batches.buffer, batches.byteOffset, batches.length),
      start: 0,
      end: batches.length,
      position: startOffset,
      aborted: fetched.aborted,
      name: topicPartitionKey(fetched),
      unpackedBytesMax,
    })
    const arrays = spare.pop() ?? new RecordArrays()
    try {
      while (walk.next(arrays)) {
        await block({ ...arrays.view(), topic, topicId, partition, logEnd })
        await nextTurn()
      }
      return { nextOffset: Math.max(walk.position, fetched.nextOffset), damage: undefined }
    } catch (error) {
      if (!isMillraceError(error, 'record-damaged')) throw error
      return { nextOffset: walk.position, damage: error }
    } finally {
      if (spare.length < ARRAYS_KEPT_MAX) spare.push(arrays)
    }
  }
}
