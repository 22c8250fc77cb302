/**
 * The arrays of one block, used again and again: they grow to the largest block seen and stay. `arena` takes the unpacked
 * bytes of small batches side by side; larger batches and uncompressed ones stay where they are.
 */
import type { RecordBlock, TopicPartition } from './kafka-source.ts'

const RECORDS_AT_FIRST = 1024
const ARENA_AT_FIRST = 64 * 1024

export class RecordArrays {
  bytes: Uint8Array = new Uint8Array(0)
  count = 0
  startOffset = 0
  nextOffset = 0
  filtered = 0
  offsets = new Float64Array(RECORDS_AT_FIRST)
  timestamps = new Float64Array(RECORDS_AT_FIRST)
  keyStarts = new Int32Array(RECORDS_AT_FIRST)
  keyEnds = new Int32Array(RECORDS_AT_FIRST)
  valueStarts = new Int32Array(RECORDS_AT_FIRST)
  valueEnds = new Int32Array(RECORDS_AT_FIRST)
  headerStarts = new Int32Array(RECORDS_AT_FIRST)
  headerEnds = new Int32Array(RECORDS_AT_FIRST)
  arena = new Uint8Array(0)
  arenaLength = 0

  reset(startOffset: number): void {
    this.bytes = this.arena
    this.count = 0
    this.startOffset = startOffset
    this.nextOffset = startOffset
    this.filtered = 0
    this.arenaLength = 0
  }

  /** The block without its topic-partition. */
  view(): Omit<RecordBlock, keyof TopicPartition | 'logEnd'> {
    return {
      count: this.count,
      bytes: this.bytes,
      offsets: this.offsets,
      timestamps: this.timestamps,
      keyStarts: this.keyStarts,
      keyEnds: this.keyEnds,
      valueStarts: this.valueStarts,
      valueEnds: this.valueEnds,
      headerStarts: this.headerStarts,
      headerEnds: this.headerEnds,
      startOffset: this.startOffset,
      nextOffset: this.nextOffset,
      filtered: this.filtered,
    }
  }

  /** Room for `count` records in all; what is there stays. */
  reserve(count: number): void {
    if (count <= this.offsets.length) return
    const capacity = Math.max(count, this.offsets.length * 2)
    this.offsets = grown(new Float64Array(capacity), this.offsets)
    this.timestamps = grown(new Float64Array(capacity), this.timestamps)
    this.keyStarts = grown(new Int32Array(capacity), this.keyStarts)
    this.keyEnds = grown(new Int32Array(capacity), this.keyEnds)
    this.valueStarts = grown(new Int32Array(capacity), this.valueStarts)
    this.valueEnds = grown(new Int32Array(capacity), this.valueEnds)
    this.headerStarts = grown(new Int32Array(capacity), this.headerStarts)
    this.headerEnds = grown(new Int32Array(capacity), this.headerEnds)
  }

  /** Copies bytes to the arena's end; gives where they begin. */
  append(bytes: Uint8Array): number {
    const start = this.arenaLength
    const length = start + bytes.length
    if (length > this.arena.length) {
      const larger = new Uint8Array(Math.max(length, this.arena.length * 2, ARENA_AT_FIRST))
      larger.set(this.arena.subarray(0, start))
      this.arena = larger
    }
    this.arena.set(bytes, start)
    this.arenaLength = length
    this.bytes = this.arena
    return start
  }
}

function grown<Numbers extends Float64Array | Int32Array>(larger: Numbers, numbers: Numbers): Numbers {
  larger.set(numbers)
  return larger
}
