import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMillraceError } from '../../schemas/errors.ts'
import {
  type BatchRecord,
  type Codec,
  encodeBatch,
  encodeControlBatch,
  writeCrc,
} from '../../test/harness/batch-encoder.ts'
import type { AbortedTransaction } from './kafka-source.ts'
import { RecordArrays } from './record-arrays.ts'
import { BatchWalk } from './record-batch.ts'

type Seen = { offset: number; timestamp: number; key: string | null; value: string | null }
type Block = { start: number; next: number; filtered: number; records: Seen[] }

const CODECS: readonly Codec[] = ['none', 'gzip', 'snappy', 'snappy-framed', 'lz4', 'zstd']
const UNPACKED_BYTES_MAX = 8 * 1024 * 1024

function startWalk(buffer: Buffer, position = 0, aborted: readonly AbortedTransaction[] = []): BatchWalk {
  return new BatchWalk({
    buffer,
    start: 0,
    end: buffer.length,
    position,
    aborted,
    name: 'flights/3',
    unpackedBytesMax: UNPACKED_BYTES_MAX,
  })
}

function walkAll(buffer: Buffer, position = 0, aborted: readonly AbortedTransaction[] = []): Block[] {
  const walk = startWalk(buffer, position, aborted)
  const arrays = new RecordArrays()
  const blocks: Block[] = []
  while (walk.next(arrays)) blocks.push(blockOf(arrays))
  return blocks
}

function blockOf(arrays: RecordArrays): Block {
  const text = (start: number, end: number) =>
    start < 0 ? null : Buffer.from(arrays.bytes.subarray(start, end)).toString('latin1')
  const records: Seen[] = []
  for (let index = 0; index < arrays.count; index++) {
    records.push({
      offset: arrays.offsets[index],
      timestamp: arrays.timestamps[index],
      key: text(arrays.keyStarts[index], arrays.keyEnds[index]),
      value: text(arrays.valueStarts[index], arrays.valueEnds[index]),
    })
  }
  return { start: arrays.startOffset, next: arrays.nextOffset, filtered: arrays.filtered, records }
}

function recordsOf(blocks: readonly Block[]): Seen[] {
  return blocks.flatMap((block) => block.records)
}

function values(count: number, from = 0): BatchRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    value: `value ${from + index}`,
    timestamp: 1000 + from + index,
  }))
}

const arbitraryBytes = fc.option(fc.uint8Array({ maxLength: 300 }), { nil: null })
const arbitraryRecord = fc.record({
  key: arbitraryBytes,
  value: arbitraryBytes,
  timestamp: fc.oneof(fc.constant(-1), fc.integer({ min: 0, max: 2 ** 45 })),
  headers: fc.array(fc.tuple(fc.string({ maxLength: 10 }), arbitraryBytes), { maxLength: 3 }),
})
const arbitraryBatch = fc.record({
  records: fc.array(arbitraryRecord, { minLength: 1, maxLength: 30 }),
  codec: fc.constantFrom(...CODECS),
  hole: fc.integer({ min: 0, max: 5 }),
})

/** Batches one after the other, and the records they hold. */
function encodeLog(batches: readonly { records: readonly BatchRecord[]; codec: Codec; hole: number }[]) {
  const parts: Buffer[] = []
  const expected: Seen[] = []
  let offset = 0
  for (const { records, codec, hole } of batches) {
    offset += hole
    parts.push(encodeBatch(records, { codec, baseOffset: offset }))
    for (const record of records) {
      const shown = (bytes: BatchRecord['value']) => (bytes === null ? null : Buffer.from(bytes).toString('latin1'))
      expected.push({
        offset: offset++,
        timestamp: record.timestamp === -1 ? Number.NaN : (record.timestamp ?? 0),
        key: shown(record.key ?? null),
        value: shown(record.value),
      })
    }
  }
  return { buffer: Buffer.concat(parts), expected, end: offset }
}

describe('walk over record batches', () => {
  test('gives what was written: any codec, keys, tombstones, headers, times, holes', () => {
    fc.assert(
      fc.property(fc.array(arbitraryBatch, { minLength: 1, maxLength: 6 }), (batches) => {
        const { buffer, expected, end } = encodeLog(batches)
        const blocks = walkAll(buffer)
        expect(recordsOf(blocks)).toEqual(expected)
        expect(blocks[0].start).toBe(0)
        expect(blocks.at(-1)?.next).toBe(end)
        for (let index = 1; index < blocks.length; index++) expect(blocks[index].start).toBe(blocks[index - 1].next)
      }),
    )
  })

  test('goes on from any offset, also within a batch', () => {
    fc.assert(
      fc.property(fc.array(arbitraryBatch, { minLength: 1, maxLength: 4 }), fc.nat(60), (batches, from) => {
        const { buffer, expected } = encodeLog(batches)
        expect(recordsOf(walkAll(buffer, from))).toEqual(expected.filter((record) => record.offset >= from))
      }),
    )
  })

  test('a reply cut anywhere gives the whole batches before the cut', () => {
    fc.assert(
      fc.property(fc.array(arbitraryBatch, { minLength: 1, maxLength: 4 }), fc.nat(), (batches, at) => {
        const { buffer, expected } = encodeLog(batches)
        const cut = at % buffer.length
        const seen = recordsOf(walkAll(buffer.subarray(0, cut)))
        expect(seen).toEqual(expected.slice(0, seen.length))
        const walk = startWalk(buffer.subarray(0, cut))
        const arrays = new RecordArrays()
        while (walk.next(arrays));
        let wholeBytes = 0
        let offset = 0
        for (const batch of batches) {
          offset += batch.hole
          const { length } = encodeBatch(batch.records, { codec: batch.codec, baseOffset: offset })
          if (wholeBytes + length > cut) {
            expect(walk.cutBatchBytes).toBe(cut - wholeBytes >= 17 ? length : 0)
            break
          }
          wholeBytes += length
          offset += batch.records.length
        }
      }),
    )
  })

  test('a flipped bit anywhere after the length is found, and what was before is delivered first', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CODECS), fc.nat(), fc.nat(7), (codec, at, bit) => {
        const good = encodeBatch(values(20), { codec })
        const bad = encodeBatch(values(20, 20), { codec, baseOffset: 20 })
        // Base offset, length and leader epoch are not under the checksum.
        const flipped = 16 + (at % (bad.length - 16))
        bad[flipped] ^= 1 << bit
        const walk = startWalk(Buffer.concat([good, bad]))
        const arrays = new RecordArrays()
        expect(walk.next(arrays)).toBe(true)
        expect(blockOf(arrays).records).toHaveLength(20)
        let failure: unknown
        try {
          walk.next(arrays)
        } catch (error) {
          failure = error
        }
        expect(isMillraceError(failure, 'record-damaged') && failure.kind).toBe('data')
        expect(String(failure)).toContain('flights/3 offset 20')
      }),
    )
  })

  test('any change under a right checksum is an error or gives records within the batch, never more', () => {
    fc.assert(
      fc.property(
        fc.nat(),
        fc.nat(255),
        fc.constantFrom<Codec>('none', 'lz4', 'snappy', 'zstd', 'gzip'),
        (at, byte, codec) => {
          const batch = encodeBatch(values(10), { codec })
          batch[21 + (at % (batch.length - 21))] = byte
          writeCrc(batch)
          const arrays = new RecordArrays()
          try {
            const walk = startWalk(batch)
            while (walk.next(arrays)) {
              for (let index = 0; index < arrays.count; index++) {
                expect(arrays.valueEnds[index]).toBeLessThanOrEqual(arrays.bytes.length)
                expect(arrays.offsets[index]).toBeLessThan(arrays.nextOffset)
              }
            }
          } catch (error) {
            expect(isMillraceError(error, 'record-damaged')).toBe(true)
          }
        },
      ),
      { numRuns: 500 },
    )
  })

  test('old message formats are refused with the reason', () => {
    const batch = encodeBatch(values(1))
    batch[16] = 1
    expect(() => walkAll(batch)).toThrow(/flights\/3 offset 0: message format 1: only format 2/)
  })

  test('unknown codecs and batches that unpack to too much are errors', () => {
    const unknown = encodeBatch(values(1))
    unknown.writeInt16BE(5, 21)
    writeCrc(unknown)
    expect(() => walkAll(unknown)).toThrow(/compression codec 5/)
    const large = [{ value: Buffer.alloc(UNPACKED_BYTES_MAX + 1) }]
    for (const codec of CODECS.slice(1)) expect(() => walkAll(encodeBatch(large, { codec }))).toThrow(/do not unpack/)
  })

  test('aborted transactions are left out until their abort marker, committed ones stay', () => {
    const one = { producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: true }
    const two = { producerId: 2n, producerEpoch: 0, baseSequence: 0, transactional: true }
    const log = Buffer.concat([
      encodeBatch(values(3, 0), { ...one, baseOffset: 0 }),
      encodeBatch(values(2, 3), { ...two, baseOffset: 3, codec: 'lz4' }),
      encodeBatch(values(1, 5), { baseOffset: 5 }),
      encodeControlBatch('abort', { producerId: 1n, baseOffset: 6 }),
      encodeBatch(values(2, 7), { ...one, baseOffset: 7, codec: 'zstd' }),
      encodeControlBatch('commit', { producerId: 2n, baseOffset: 9 }),
      encodeControlBatch('commit', { producerId: 1n, baseOffset: 10 }),
    ])
    const blocks = walkAll(log, 0, [{ producerId: 1n, firstOffset: 0 }])
    expect(recordsOf(blocks).map((record) => record.offset)).toEqual([3, 4, 5, 7, 8])
    expect(blocks.reduce((sum, block) => sum + block.filtered, 0)).toBe(6)
    expect(blocks.at(-1)?.next).toBe(11)
  })

  test('two aborted transactions of one producer; the second begins where the list says', () => {
    const one = { producerId: 1n, producerEpoch: 0, baseSequence: 0, transactional: true }
    const log = Buffer.concat([
      encodeBatch(values(2, 0), { ...one, baseOffset: 0 }),
      encodeControlBatch('abort', { producerId: 1n, baseOffset: 2 }),
      encodeBatch(values(2, 3), { ...one, baseOffset: 3 }),
      encodeControlBatch('commit', { producerId: 1n, baseOffset: 5 }),
      encodeBatch(values(2, 6), { ...one, baseOffset: 6 }),
      encodeControlBatch('abort', { producerId: 1n, baseOffset: 8 }),
    ])
    const aborted = [
      { producerId: 1n, firstOffset: 6 },
      { producerId: 1n, firstOffset: 0 },
    ]
    expect(recordsOf(walkAll(log, 0, aborted)).map((record) => record.offset)).toEqual([3, 4])
    // From within: what was before is neither delivered nor counted.
    const fromOne = walkAll(log, 1, aborted)
    expect(recordsOf(fromOne).map((record) => record.offset)).toEqual([3, 4])
    expect(fromOne.reduce((sum, block) => sum + block.filtered, 0)).toBe(6)
  })

  test('holes of compaction, empty batches and a cut tail are covered by the range', () => {
    const log = Buffer.concat([
      encodeBatch(
        [
          { value: 'a', offsetDelta: 2 },
          { value: 'b', offsetDelta: 5 },
        ],
        { baseOffset: 10, lastOffsetDelta: 9 },
      ),
      encodeBatch([], { baseOffset: 25, lastOffsetDelta: 4 }),
      encodeBatch([{ value: 'c' }], { baseOffset: 40 }),
    ])
    const blocks = walkAll(log, 4)
    expect(recordsOf(blocks).map((record) => [record.offset, record.value])).toEqual([
      [12, 'a'],
      [15, 'b'],
      [40, 'c'],
    ])
    expect([blocks[0].start, blocks.at(-1)?.next]).toEqual([4, 41])
  })

  test('the append time of the broker stands for every record', () => {
    const batch = encodeBatch(values(2), { appendTime: 1_700_000_000_000 })
    expect(recordsOf(walkAll(batch)).map((record) => record.timestamp)).toEqual([1_700_000_000_000, 1_700_000_000_000])
  })

  test('many small batches share a block, large ones and other codecs do not', () => {
    const small = Array.from({ length: 50 }, (_, index) =>
      encodeBatch(values(2, index * 2), { codec: 'lz4', baseOffset: index * 2 }),
    )
    expect(walkAll(Buffer.concat(small)).map((block) => block.records.length)).toEqual([100])
    const plain = Array.from({ length: 50 }, (_, index) => encodeBatch(values(2, index * 2), { baseOffset: index * 2 }))
    expect(walkAll(Buffer.concat(plain)).map((block) => block.records.length)).toEqual([100])
    const large = encodeBatch([{ value: 'x'.repeat(200_000) }], { codec: 'lz4', baseOffset: 100 })
    const mixed = Buffer.concat([...small, large, encodeBatch(values(1), { baseOffset: 101 })])
    expect(walkAll(mixed).map((block) => block.records.length)).toEqual([100, 1, 1])
  })
})
